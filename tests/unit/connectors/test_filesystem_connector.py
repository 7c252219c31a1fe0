"""The connector for folders: what it lists, what it skips, what it refuses to follow."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.base import UNKNOWN_ACCESS, SourceItem
from connectors.errors import SourceMisconfigured, SourceUnavailable, SourceUnreadable
from connectors.filesystem import FilesystemConnector
from connectors.parsing import ParsingSandbox

Open = Callable[..., FilesystemConnector]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def connector(root: Path, sandbox: ParsingSandbox) -> Open:
    def connect(**options: object) -> FilesystemConnector:
        defaults = {"include": ("**/*",), "exclude": (), "max_bytes": 2**20}
        return FilesystemConnector(source="bank", root=root, sandbox=sandbox, **{**defaults, **options})

    return connect


def put(root: Path, *names: str, text: str = "Some text.") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def uris(connector: FilesystemConnector) -> list[str]:
    return [item.uri.removeprefix("file:") for item in connector.list_items()]


def only(connector: FilesystemConnector) -> SourceItem:
    (item,) = connector.list_items()
    return item


def test_folders_are_listed_below_each_other_in_the_order_of_names(root: Path, connector: Open) -> None:
    put(root, "b/z.txt", "b/a/x.txt", "a.txt", "c.txt", "B.txt")

    assert uris(connector()) == ["B.txt", "a.txt", "b/a/x.txt", "b/z.txt", "c.txt"]


def test_hidden_files_sidecars_and_what_programs_leave_behind_are_skipped(root: Path, connector: Open) -> None:
    put(root, "a.txt", ".hidden.txt", ".git/config.txt", "~$a.docx", "Thumbs.db", "b/.DS_Store")
    put(root, "a.txt.meta.yaml", "_folder.yaml", text="")

    assert uris(connector()) == ["a.txt"]


def test_patterns_choose_what_is_listed(root: Path, connector: Open) -> None:
    put(root, "a.pdf", "x/B.PDF", "x/c.txt", "drafts/d.pdf", "x/drafts/e.pdf")

    assert uris(connector(include=("*.pdf",), exclude=("drafts/",))) == ["a.pdf", "x/B.PDF", "x/drafts/e.pdf"]
    assert uris(connector(include=("**/*.pdf",), exclude=("**/drafts/**",))) == ["a.pdf", "x/B.PDF"]
    assert uris(connector(include=())) == []


@pytest.mark.proves("ASVS 5.2.5")
def test_links_are_not_followed_wherever_they_point(root: Path, tmp_path: Path, connector: Open) -> None:
    put(tmp_path, "outside/secret.txt")
    put(root, "a.txt", "inside/b.txt")
    (root / "link.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to(root)
    (root / "inner.txt").symlink_to(root / "a.txt")
    (root / "dangling.txt").symlink_to(root / "nothing")

    assert uris(connector()) == ["a.txt", "inside/b.txt"]


def test_a_folder_that_becomes_a_link_out_of_the_root_is_not_read(root: Path, tmp_path: Path, connector: Open) -> None:
    put(tmp_path, "outside/b.txt", text="secret")
    put(root, "inside/b.txt")
    item = only(connector())
    (root / "inside" / "b.txt").unlink()
    (root / "inside").rmdir()
    (root / "inside").symlink_to(tmp_path / "outside")

    with pytest.raises(SourceUnreadable) as caught:
        connector().read(item)
    assert caught.value.reason == "unsafe"


@pytest.mark.proves("ASVS 5.3.2")
@pytest.mark.parametrize(
    "location", ["file:../outside.txt", "file:/etc/hostname", "file:a/../../x", "file:%2e%2e/x", "x"]
)
def test_a_location_that_leads_out_of_the_root_is_not_read(
    root: Path, tmp_path: Path, connector: Open, location: str
) -> None:
    put(tmp_path, "outside.txt")

    with pytest.raises(SourceUnreadable) as caught:
        connector().read(SourceItem("0", location, "", location))
    assert caught.value.reason == "unsafe"


def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path, sandbox: ParsingSandbox) -> None:
    put(root, "a.txt")
    (tmp_path / "link").symlink_to(root)
    connector = FilesystemConnector("bank", tmp_path / "link", ("**/*",), (), sandbox, 2**20)

    assert connector.read(only(connector)).pages[0].text == "Some text."


def test_pipes_and_sockets_are_no_documents_and_nothing_waits_for_them(root: Path, connector: Open) -> None:
    os.mkfifo(root / "pipe.txt")
    put(root, "a.txt")
    item = only(connector())
    (root / "a.txt").unlink()
    os.mkfifo(root / "a.txt")

    with pytest.raises(SourceUnreadable) as caught:
        connector().read(item)
    assert caught.value.reason == "inaccessible"


def test_a_folder_that_may_not_be_listed_makes_the_whole_source_unavailable(
    root: Path, connector: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(root, "a.txt", "closed/b.txt")
    scan = os.scandir

    # Not with chmod: tests may run as root, who may list everything.
    def refuse(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)

    with pytest.raises(SourceUnavailable, match=r"Folder closed of source bank .*Permission denied"):
        connector().list_items()


def test_a_root_that_is_a_file_is_unavailable(root: Path, sandbox: ParsingSandbox) -> None:
    put(root, "a.txt")
    connector = FilesystemConnector("bank", root / "a.txt", ("**/*",), (), sandbox, 2**20)

    with pytest.raises(SourceUnavailable, match="root folder of source bank"):
        connector.list_items()


def test_a_file_that_is_too_large_is_refused_unread(root: Path, connector: Open) -> None:
    put(root, "a.txt", text="x" * 2000)

    with pytest.raises(SourceUnreadable) as caught:
        connector(max_bytes=1000).read(only(connector()))
    assert caught.value.reason == "too_large"


def test_folders_may_be_nested_deeper_than_functions_may(root: Path, connector: Open) -> None:
    depth = 1200
    folder = os.open(root, os.O_RDONLY)
    for _ in range(depth):  # step by step: so long a path cannot be opened at once everywhere
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(os.open("a.txt", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    os.close(folder)

    try:
        assert uris(connector()) == ["d/" * depth + "a.txt"]
    finally:
        subprocess.run(["rm", "-rf", root / "d"], check=True)  # pytest's own clearing recurses


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.binary(min_size=1, max_size=60).filter(
        lambda name: not {0, 47} & set(name) and not name.startswith((b".", b"~$")) and name != b"_folder"
    )
)
def test_any_name_that_a_file_can_have_is_listed_and_read_under_a_printable_uri(
    tmp_path_factory: pytest.TempPathFactory, sandbox: ParsingSandbox, name: bytes
) -> None:
    root = tmp_path_factory.mktemp("names")
    Path(os.fsdecode(os.fsencode(root) + b"/" + name + b".txt")).write_text("Some text.")
    connector = FilesystemConnector("bank", root, ("**/*",), (), sandbox, 2**20)

    item = only(connector)

    assert item.uri.encode()
    assert "\n" not in item.uri
    assert connector.read(item).pages[0].text == "Some text."


def test_a_touched_file_is_read_again_and_shows_the_same_content(root: Path, connector: Open) -> None:
    put(root, "a.txt")
    before = only(connector())
    os.utime(root / "a.txt", ns=(1, 1))
    after = only(connector())

    assert before.fingerprint != after.fingerprint
    assert connector().read(after).content == b"Some text."


def test_a_file_of_the_same_size_and_time_with_other_content_has_another_fingerprint(
    root: Path, connector: Open
) -> None:
    put(root, "a.txt", text="fee: $10")
    before = only(connector())
    status = (root / "a.txt").stat()
    put(root, "a.txt", text="fee: $90")
    os.utime(root / "a.txt", ns=(status.st_atime_ns, status.st_mtime_ns))

    assert only(connector()).fingerprint != before.fingerprint


def test_sidecar_and_folder_files_give_title_labels_and_dates(root: Path, connector: Open) -> None:
    put(root, "hr/2025/fees.txt", "hr/2024/fees.txt", "open.txt")
    put(root, "hr/_folder.yaml", text="access: [hr]\neffective_from: 2024-01-01\neffective_to: 2030-12-31\n")
    put(root, "hr/2025/_folder.yaml", text="access: [hr, board]\neffective_from: 2025-01-01\n")
    sidecar = "title: Fees of 2025\naccess: [branch]\nsupersedes: ../2024/fees.txt\neffective_to: 2025-12-31\n"
    put(root, "hr/2025/fees.txt.meta.yaml", text=sidecar)

    documents = {item.uri: connector().read(item) for item in connector().list_items()}
    new, old, other = (documents[f"file:{name}"] for name in ("hr/2025/fees.txt", "hr/2024/fees.txt", "open.txt"))

    assert (new.title, new.access) == ("Fees of 2025", ("hr", "board", "branch"))
    assert (new.effective_from, new.effective_to) == (date(2025, 1, 1), date(2025, 12, 31))
    assert new.supersedes == old.uri == "file:hr/2024/fees.txt"
    assert (old.access, old.effective_from) == (("hr",), date(2024, 1, 1))
    assert (other.access, other.effective_from, other.supersedes) == ((), None, None)


def test_listed_metadata_and_read_metadata_agree(root: Path, connector: Open) -> None:
    put(root, "a/b/c.txt")
    put(root, "_folder.yaml", text="access: [all-staff]")
    put(root, "a/b/c.txt.meta.yaml", text="access: [board]")
    item = only(connector())

    assert item.metadata.access == connector().read(item).access == ("all-staff", "board")


@pytest.mark.parametrize("name", ["a.txt.meta.yaml", "_folder.yaml"])
def test_a_changed_label_changes_the_fingerprint(root: Path, connector: Open, name: str) -> None:
    put(root, "a.txt")
    put(root, name, text="access: [hr]")
    before = only(connector()).fingerprint
    put(root, name, text="access: [board]")

    assert only(connector()).fingerprint != before


@pytest.mark.proves("SOC 2 C1.1", "ASVS 16.5.3")
@pytest.mark.parametrize(
    ("sidecar", "text", "message"),
    [
        ("x/a.txt.meta.yaml", "acess: [hr]", r"x/a.txt.meta.yaml, line 1: 'acess' is not one of"),
        ("x/a.txt.meta.yaml", "title: A\naccess: hr", r"line 2: access must be a list"),
        ("x/a.txt.meta.yaml", "access: [hr, 7]", r"line 1: access must be a list"),
        ("x/a.txt.meta.yaml", "access: [' ']", r"access must be a list"),
        ("x/a.txt.meta.yaml", "access: [hr]\naccess: []", r"line 2: access is there twice"),
        ("x/a.txt.meta.yaml", "effective_from: yesterday", r"effective_from must be a day"),
        ("x/a.txt.meta.yaml", "effective_from: 2025-02-30", r"line 1: "),
        ("x/a.txt.meta.yaml", "effective_from: 2025-01-02\neffective_to: 2025-01-01", r"effective_from is after"),
        ("x/a.txt.meta.yaml", "supersedes: ../../outside.txt", r"supersedes must be the path of a file below"),
        ("x/a.txt.meta.yaml", "supersedes: a.txt", r"names the document itself"),
        ("x/a.txt.meta.yaml", "title: [", r"not valid YAML"),
        ("x/a.txt.meta.yaml", "- access", r"not a list of `key: value` lines"),
        ("x/a.txt.meta.yaml", "title: !!python/object/apply:os.getcwd []", r"not valid YAML"),
        ("x/a.txt.meta.yaml", "#" * 70_000, r"larger than 65536 bytes"),
        ("x/_folder.yaml", "title: A", r"x/_folder.yaml, line 1: 'title' is not one of"),
        ("_folder.yaml", "access: 5", r"_folder.yaml, line 1: access must be"),
        ("x/_folder.yml", "access: [hr]", r"x/_folder.yml is not read; rename it to _folder.yaml"),
        ("x/a.meta.yaml", "access: [hr]", r"x/a.meta.yaml is not read; rename it to a.txt.meta.yaml"),
        ("x/A.txt.META.yaml", "access: [hr]", r"x/A.txt.META.yaml is not read; rename"),
    ],
)
def test_a_document_whose_labels_cannot_be_read_is_closed_and_says_why(
    root: Path, connector: Open, sidecar: str, text: str, message: str
) -> None:
    put(root, "x/a.txt", "other/b.txt")
    if not sidecar.startswith("_"):
        good = {item.uri: item.fingerprint for item in connector().list_items()}
    put(root, sidecar, text=text)
    items = {item.uri: item for item in connector().list_items()}
    closed = items["file:x/a.txt"]

    assert closed.metadata.access == (UNKNOWN_ACCESS,)
    with pytest.raises(SourceMisconfigured, match=message) as caught:
        connector().read(closed)
    assert str(caught.value) == closed.problem
    if not sidecar.startswith("_"):
        assert closed.fingerprint != good[closed.uri]
        assert connector().read(items["file:other/b.txt"]).access == ()


def test_a_sidecar_that_may_not_be_read_closes_its_document(root: Path, connector: Open) -> None:
    put(root, "a.txt")
    (root / "a.txt.meta.yaml").symlink_to(root / "elsewhere.yaml")

    with pytest.raises(SourceMisconfigured, match=r"a.txt.meta.yaml cannot be read"):
        connector().read(only(connector()))


def test_a_sidecar_of_a_file_without_extension_does_not_close_its_namesake(root: Path, connector: Open) -> None:
    put(root, "fees", "fees.txt")
    put(root, "fees.meta.yaml", text="access: [hr]")

    assert [item.metadata.access for item in connector().list_items()] == [("hr",), ()]


def test_nobody_can_be_given_the_label_of_closed_documents(root: Path, connector: Open) -> None:
    put(root, "a.txt")
    put(root, "a.txt.meta.yaml", text=f"access: [{UNKNOWN_ACCESS}]")

    assert only(connector()).problem
