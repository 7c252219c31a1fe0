"""Where a model may come from: what a person may name, and a mounted folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rag.errors import ConfigurationError, ModelError
from rag.models.checking import check
from rag.models.fetching import FolderSource, WebSource, source_at
from rag.models.manifest import Manifest, PinnedFile
from rag.models.pulling import pull


class Silent:
    """Hears how a pull goes on, and says nothing."""

    def waiting(self) -> None:
        raise AssertionError("nobody else pulls")

    def begin(self, files: tuple[PinnedFile, ...], present: int) -> None:
        return

    def advance(self, file: PinnedFile, count: int) -> None:
        return


@pytest.mark.parametrize("place", ["s3://bucket/model", "oss://bucket/model", "/no/such/folder"])
def test_a_source_that_cannot_be_read_is_a_configuration_error(place: str) -> None:
    with pytest.raises(ConfigurationError, match=r"https:// URL"):
        source_at(place)


def test_a_url_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    assert source_at("https://store.example/models") == WebSource("https://store.example/models")
    assert source_at(str(tmp_path)) == FolderSource(tmp_path)


def test_a_mounted_folder_is_copied_from_and_continued_and_what_it_lacks_is_named(tmp_path: Path) -> None:
    content = b"weights" * 1000
    file = PinnedFile(name="sub/model.safetensors", sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    manifest = Manifest(repository="bank/tiny", revision="a" * 40, license="none", origin="a test", files=(file,))
    mounted, target = tmp_path / "mounted", tmp_path / "target"
    (target / "sub").mkdir(parents=True)
    (target / "sub" / "model.safetensors.part").write_bytes(content[:1234])
    mounted.mkdir()
    with pytest.raises(ModelError, match=r"mounted has no sub/model\.safetensors"):
        pull(manifest, target, source_at(str(mounted)), Silent())
    (mounted / "sub").mkdir()
    (mounted / "sub" / "model.safetensors").write_bytes(content)
    assert pull(manifest, target, source_at(str(mounted)), Silent()) == (file,)
    assert check(target, manifest) == ()
    assert not (target / "sub" / "model.safetensors.part").exists()
