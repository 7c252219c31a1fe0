"""The environment, the folder and the port of the UI's process."""

from __future__ import annotations

import json
import socket
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from ui.commands import data_folder, ui
from ui.frontend import (
    STAMP,
    FrontendError,
    merged,
    prepare,
    prepare_build,
    without_foreign_addresses,
    writable_folder,
)
from ui.guests import GUEST, THE_ONE_PERSON, newcomer
from ui.launching import LaunchError, address, check_port, child_environment, history_environment
from ui.settings import SettingsError, UiSettings

UI = Path(__file__).resolve().parents[3] / "ui"


def test_the_child_gets_nothing_that_would_change_what_it_does() -> None:
    environment = {
        "DATABASE_URL": "postgresql://x",
        "LITERAL_API_KEY": "k",
        "SLACK_BOT_TOKEN": "t",
        "DISCORD_BOT_TOKEN": "t",
        "TEAMS_APP_ID": "t",
        "OAUTH_GITHUB_CLIENT_ID": "c",
        "OPENAI_API_KEY": "k",
        "CHAINLIT_ROOT_PATH": "/x",
        "REDIS_URL": "r",
        "HTTP_PROXY": "p",
        "PATH": "/usr/bin",
        "LC_ALL": "C.UTF-8",
        "BANKSIGHT_UI_HISTORY_TURNS": "2",
        "CHAINLIT_AUTH_SECRET": "s",
    }
    child = child_environment(
        environment, Path("/data/ui/app-1"), "http://api:3000", {"CHAINLIT_AUTH_SECRET": "of the folder"}
    )
    assert {name for name in environment if name in child} == {
        "PATH",
        "LC_ALL",
        "BANKSIGHT_UI_HISTORY_TURNS",
        "CHAINLIT_AUTH_SECRET",
    }
    assert child["CHAINLIT_APP_ROOT"] == "/data/ui/app-1"
    assert child["BANKSIGHT_API_URL"] == "http://api:3000"
    assert child["CHAINLIT_AUTH_SECRET"] == "s"
    assert child["CHAINLIT_COOKIE_SAMESITE"] == "strict"
    assert child["PYTHONPATH"].split(":")[0] == str(UI.parent)


def test_conversations_are_kept_in_the_data_folder_with_a_secret_of_its_own(tmp_path: Path) -> None:
    kept = history_environment("127.0.0.1", tmp_path)
    assert kept["BANKSIGHT_UI_DATABASE_URL"] == f"sqlite:///{tmp_path}/conversations.db"
    assert len(kept["CHAINLIT_AUTH_SECRET"]) == 64
    assert (tmp_path / "session.key").stat().st_mode & 0o777 == 0o600
    assert history_environment("192.0.2.1", tmp_path) == kept | {"BANKSIGHT_UI_LISTENS": "network"}


@pytest.mark.parametrize(
    ("headers", "loopback", "known"),
    [
        ({"host": "127.0.0.1:8000"}, True, True),
        ({"host": "localhost"}, True, True),
        ({"host": "[::1]:8000"}, True, True),
        ({"host": "127.0.0.1:8000"}, False, False),
        ({"host": "127.0.0.1:8000", "x-forwarded-for": "192.0.2.7"}, True, False),
        ({"host": "rebound.example:8000"}, True, False),
        ({}, True, False),
    ],
)
def test_only_who_sits_at_this_machine_is_its_one_person(
    headers: dict[str, str], *, loopback: bool, known: bool
) -> None:
    first, second = (newcomer(headers, listens_on_loopback=loopback) for _ in range(2))
    assert (first == second == THE_ONE_PERSON) is known
    assert (first != second and first.startswith(GUEST)) is not known


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_taken_port_is_one_sentence(taken_port: int) -> None:
    with pytest.raises(LaunchError, match=rf"^Port {taken_port} on 127.0.0.1 is taken: .* --port\.$"):
        check_port("127.0.0.1", taken_port)


def test_the_command_ends_with_code_3_when_the_port_is_taken(
    taken_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANKSIGHT_DATA_DIR", str(tmp_path))
    result = CliRunner().invoke(ui, ["--port", str(taken_port)])
    assert result.exit_code == 3
    assert result.output.startswith(f"Error: Port {taken_port}")
    assert list(tmp_path.iterdir()) == []


def test_the_command_names_the_setting_that_cannot_be_used() -> None:
    result = CliRunner().invoke(ui, ["--api", "not an address"])
    assert result.exit_code == 3
    assert "BANKSIGHT_API_URL='not an address'" in result.output


def test_an_address_is_one_that_a_browser_can_open() -> None:
    assert address("0.0.0.0", 8000) == "http://127.0.0.1:8000"  # noqa: S104 - translated, not listened on
    assert address("::", 8000) == "http://[::1]:8000"
    assert address("192.0.2.7", 80) == "http://192.0.2.7:80"


def test_settings_come_from_the_environment_and_empty_means_absent() -> None:
    settings = UiSettings.from_environment(
        {"BANKSIGHT_API_URL": "https://api.example/", "BANKSIGHT_UI_ANSWER_SECONDS": ""}
    )
    assert settings.api_base == "https://api.example"
    assert settings.ui_answer_seconds == UiSettings().ui_answer_seconds
    with pytest.raises(SettingsError, match=r"^BANKSIGHT_UI_HISTORY_TURNS='-1' cannot be used"):
        UiSettings.from_environment({"BANKSIGHT_UI_HISTORY_TURNS": "-1"})


def test_the_data_folder_is_the_one_of_the_other_parts() -> None:
    assert data_folder({"BANKSIGHT_DATA_DIR": "/data"}) == Path("/data")
    assert data_folder({}) == UI.parent / "var"


def test_the_prepared_front_end_refers_to_no_other_host(tmp_path: Path) -> None:
    prepare(tmp_path, 8000)
    page = (tmp_path / "frontend" / "index.html").read_text(encoding="utf-8")
    assert "//" not in page
    assert "/assets/index-" in page
    assert list((tmp_path / "frontend").rglob("*.map")) == []


def test_preparing_again_keeps_the_front_end_and_another_version_replaces_it(tmp_path: Path) -> None:
    prepare(tmp_path, 8000)
    build = tmp_path / "frontend"
    before = build.stat().st_ino
    prepare(tmp_path, 8001)
    assert build.stat().st_ino == before
    (build / STAMP).write_text("chainlit 1.0", encoding="utf-8")
    prepare(tmp_path, 8000)
    assert build.stat().st_ino != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app-8000", "app-8001", "frontend"]


def test_a_front_end_that_still_calls_out_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    packaged = tmp_path / "packaged"
    packaged.mkdir()
    (packaged / "index.html").write_text('<body style="background:url(//cdn.example/x.png)">', encoding="utf-8")
    with pytest.raises(FrontendError, match=r"cdn\.example"):
        prepare_build(packaged, tmp_path / "frontend")
    assert [path.name for path in tmp_path.iterdir()] == ["packaged"]


@pytest.mark.parametrize(
    "tag",
    [
        '<link rel="stylesheet" href="https://fonts.example/css">',
        '<link\n  rel="preconnect"\n  href="//fonts.example"\n  crossorigin\n/>',
        '<script src="https://cdn.example/a.js"></script>',
        "<img src='http://cdn.example/a.png'>",
    ],
)
def test_tags_that_load_from_elsewhere_are_removed(tag: str) -> None:
    own = '<link rel="stylesheet" href="/assets/own.css">'
    assert without_foreign_addresses(f"<head>{tag}{own}</head>") == f"<head>{own}</head>"


def test_every_language_has_our_words_and_its_own_about_page(tmp_path: Path) -> None:
    root = prepare(tmp_path, 8000)
    for path in (root / ".chainlit" / "translations").glob("*.json"):
        words = json.loads(path.read_text(encoding="utf-8"))
        assert words["chat"]["messages"]["status"] == {"using": "", "used": ""}
        assert words["chat"]["input"]["placeholder"]
        assert (root / f"chainlit_{path.stem}.md").is_file()


@pytest.mark.parametrize(("login", "second_field"), [("key", "Key"), ("password", "Password")])
def test_the_page_to_sign_in_asks_for_what_people_sign_in_with(tmp_path: Path, login: str, second_field: str) -> None:
    words = json.loads(
        (prepare(tmp_path, 8000, login) / ".chainlit" / "translations" / "en-US.json").read_text("utf-8")
    )
    assert words["auth"]["login"]["form"]["password"]["label"] == second_field
    assert words["auth"]["login"]["title"] == "Sign in to BankSight"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"UI_OIDC_CLIENT": ""}, r"^BANKSIGHT_UI_LOGIN=oidc needs BANKSIGHT_UI_OIDC_CLIENT\.$"),
        ({"UI_OIDC_ISSUER": "http://provider.example"}, r"^BANKSIGHT_UI_OIDC_ISSUER=.* must begin with https://"),
        ({"UI_OIDC_SCOPE": "profile"}, r"^BANKSIGHT_UI_OIDC_SCOPE='profile' cannot be used"),
    ],
)
def test_a_provider_that_is_not_whole_or_not_safe_is_named(changes: dict[str, str], says: str) -> None:
    whole = {
        "UI_LOGIN": "oidc",
        "UI_PUBLIC_URL": "https://chat.example",
        "UI_OIDC_ISSUER": "https://provider.example",
        "UI_OIDC_CLIENT": "chat",
        "UI_OIDC_SECRET": "hidden",
    }
    named = {f"BANKSIGHT_{name}": value for name, value in whole.items()}
    assert "hidden" not in repr(UiSettings.from_environment(named))
    with pytest.raises(SettingsError, match=says):
        UiSettings.from_environment(named | {f"BANKSIGHT_{name}": value for name, value in changes.items()})


def test_our_translations_change_only_words_that_exist() -> None:
    def paths(words: object, above: str = "") -> set[str]:
        if not isinstance(words, dict):
            return {above}
        return {path for key, value in words.items() for path in paths(value, f"{above}/{key}")}

    ours = {path.stem: paths(json.loads(path.read_text("utf-8"))) for path in (UI / "translations").glob("*.json")}
    assert ours["en-US"] == ours["zh-CN"] == ours["ar-SA"]
    spec = find_spec("chainlit")
    assert spec is not None
    assert spec.origin is not None
    packaged = Path(spec.origin).parent
    known = paths(json.loads((packaged / "translations" / "en-US.json").read_text("utf-8")))
    of_keys = [paths(json.loads(path.read_text("utf-8"))) for path in (UI / "translations").glob("*/*.json")]
    assert set().union(*ours.values(), *of_keys) <= known


def test_merging_goes_level_by_level() -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 9}, "e": 4}) == {"a": {"b": 9, "c": 2}, "d": 3, "e": 4}


def test_a_folder_that_cannot_be_written_is_replaced_by_a_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    assert writable_folder(tmp_path / "ui") == tmp_path / "ui"
    replacement = writable_folder(tmp_path / "file")
    assert replacement.is_dir()
    assert replacement != tmp_path / "file"
    replacement.rmdir()


def test_the_shipped_settings_keep_the_chat_closed() -> None:
    settings = tomllib.loads((UI / ".chainlit" / "config.toml").read_text(encoding="utf-8"))
    features = settings["features"]
    assert not features["unsafe_allow_html"]
    assert not features["spontaneous_file_upload"]["enabled"]
    assert not features["mcp"]["enabled"]
    assert not features["audio"]["enabled"]
    assert not features["allow_thread_sharing"]
    assert settings["project"]["allow_origins"] == []
    assert settings["project"]["user_session_timeout"] <= 28800
