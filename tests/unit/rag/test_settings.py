from __future__ import annotations

from pathlib import Path

import pytest

from rag.errors import ConfigurationError
from rag.settings import load_settings

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "base.yaml").write_text((CONFIGS / "base.yaml").read_text())
    (folder / "laptop.yaml").write_text("{}")
    return folder


def test_every_shipped_profile_loads() -> None:
    environment = {"DATABASE_URL": "postgresql://x/y", "VECTOR_DB_HOST": "chroma", "REDIS_URL": "redis://r"}
    environment["CACHE_SECRET"] = "0123456789abcdef" * 4
    for path in CONFIGS.glob("*.yaml"):
        if path.stem != "base":
            assert load_settings(path.stem, environment=environment).profile == path.stem


def test_profile_overrides_base_and_environment_overrides_both(configs: Path) -> None:
    (configs / "laptop.yaml").write_text("retrieval: {top_k: 4, candidates: 60}")
    settings = load_settings(config_dir=configs, environment={"BANKSIGHT__RETRIEVAL__TOP_K": "5"})
    assert (settings.retrieval.top_k, settings.retrieval.candidates) == (5, 60)
    assert settings.retrieval.max_top_k == 50


def test_placeholder_without_default_names_file_key_and_variable(configs: Path) -> None:
    (configs / "laptop.yaml").write_text("storage: {database_url: '${SOME_DATABASE}'}")
    with pytest.raises(ConfigurationError, match=r"laptop\.yaml: storage\.database_url needs .* SOME_DATABASE"):
        load_settings(config_dir=configs, environment={})


def test_a_secret_may_come_from_a_file(configs: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("redis://:of-the-file@there\n")
    environment = {"REDIS_URL_FILE": str(tmp_path / "secret")}
    assert load_settings(config_dir=configs, environment=environment).redis.url.get_secret_value().endswith("@there")
    with pytest.raises(ConfigurationError, match=r"REDIS_URL_FILE names .* cannot be read"):
        load_settings(config_dir=configs, environment={"REDIS_URL_FILE": str(tmp_path / "none")})


def test_placeholder_takes_the_environment_before_its_default(configs: Path) -> None:
    assert load_settings(config_dir=configs, environment={"VECTOR_DB_HOST": "there"}).storage.chroma_host == "there"
    assert load_settings(config_dir=configs, environment={}).storage.chroma_host == "localhost"


def test_unknown_key_is_an_error_that_names_it(configs: Path) -> None:
    (configs / "laptop.yaml").write_text("retrieval: {topk: 4}")
    with pytest.raises(ConfigurationError, match=r"retrieval\.topk"):
        load_settings(config_dir=configs, environment={})


def test_unknown_profile_lists_the_known_ones(configs: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"profiles found: laptop; set BANKSIGHT_PROFILE"):
        load_settings("desktop", config_dir=configs, environment={})


def test_broken_yaml_names_the_file(configs: Path) -> None:
    (configs / "laptop.yaml").write_text("retrieval: [")
    with pytest.raises(ConfigurationError, match=r"laptop\.yaml is not valid YAML"):
        load_settings(config_dir=configs, environment={})


def test_two_sources_of_one_name_are_refused(configs: Path) -> None:
    (configs / "laptop.yaml").write_text("sources: [{name: a, root: x}, {name: a, root: y}]")
    with pytest.raises(ConfigurationError, match="same name"):
        load_settings(config_dir=configs, environment={})


def test_several_workers_on_embedded_chroma_are_refused(configs: Path) -> None:
    (configs / "laptop.yaml").write_text("server: {workers: 2}")
    with pytest.raises(ConfigurationError, match=r"storage\.chroma: server"):
        load_settings(config_dir=configs, environment={})


def test_relative_folders_belong_to_the_folder_that_holds_configs(configs: Path) -> None:
    (configs / "laptop.yaml").write_text("sources: [{name: a, root: papers}]")
    settings = load_settings(config_dir=configs, environment={})
    assert settings.data_dir == configs.parent / "var"
    assert settings.sources[0].root == configs.parent / "papers"
