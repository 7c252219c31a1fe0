"""What every connector promises. A new kind is added to `open_source` and passes all of this."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.base import Connector, document_id
from connectors.errors import SourceUnavailable, SourceUnreadable
from connectors.parsing import ParsingSandbox
from connectors.registry import CONNECTORS, open_connector

DOCUMENTS = {"b/fees.csv": "Fee,Price\nWire,25\n", "a.txt": "Open at 9:00.", "b/a/policy.md": "# Policy\n\nText."}


@dataclasses.dataclass(frozen=True)
class Source:
    """A source of one kind: how to open it, and how to change what is in it."""

    open: Callable[[], Connector]
    put: Callable[[str, str], None]
    remove: Callable[[str], None]
    vanish: Callable[[], None]


@pytest.fixture(params=sorted(CONNECTORS))
def source(request: pytest.FixtureRequest, tmp_path: Path, sandbox: ParsingSandbox) -> Source:
    open_source = {"filesystem": folder_source}[request.param]
    source = open_source(tmp_path / "root", sandbox)
    for name, text in DOCUMENTS.items():
        source.put(name, text)
    return source


def folder_source(root: Path, sandbox: ParsingSandbox) -> Source:
    def put(name: str, text: str) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    options = {"source": "bank", "include": ("**/*",), "exclude": (), "sandbox": sandbox, "max_bytes": 2**20}
    return Source(
        open=lambda: open_connector("filesystem", root=root, **options),
        put=put,
        remove=lambda name: (root / name).unlink(),
        vanish=lambda: shutil.rmtree(root),
    )


def test_every_document_is_listed_once_in_an_order_that_does_not_change(source: Source) -> None:
    first = [item.uri for item in source.open().list_items()]
    second = [item.uri for item in source.open().list_items()]

    assert first == second
    assert len(first) == len(set(first)) == len(DOCUMENTS)


def test_ids_stay_the_same_and_come_from_source_and_uri(source: Source) -> None:
    items = list(source.open().list_items())

    assert [item.id for item in items] == [document_id("bank", item.uri) for item in items]


def test_reading_gives_the_document_that_was_listed(source: Source) -> None:
    connector = source.open()
    for item in connector.list_items():
        document = connector.read(item)

        assert (document.id, document.uri, document.fingerprint) == (item.id, item.uri, item.fingerprint)
        assert document.content
        assert document.title
        assert [page.number for page in document.pages] == list(range(1, len(document.pages) + 1))


def test_fingerprints_stay_until_a_document_changes_and_only_its_own_changes(source: Source) -> None:
    before = {item.uri: item.fingerprint for item in source.open().list_items()}
    assert {item.uri: item.fingerprint for item in source.open().list_items()} == before

    source.put("a.txt", "Open at 8:00.")
    after = {item.uri: item.fingerprint for item in source.open().list_items()}

    assert [uri for uri in before if before[uri] != after[uri]] == ["file:a.txt"]


def test_what_was_removed_is_no_longer_listed_and_cannot_be_read(source: Source) -> None:
    connector = source.open()
    item = next(item for item in connector.list_items() if item.uri.endswith("a.txt"))
    source.remove("a.txt")

    assert len(list(connector.list_items())) == len(DOCUMENTS) - 1
    with pytest.raises(SourceUnreadable) as caught:
        connector.read(item)
    assert caught.value.reason == "inaccessible"


def test_a_document_that_cannot_be_read_is_listed_and_says_why(source: Source) -> None:
    source.put("broken.pdf", "not a PDF")
    source.put("program.exe", "MZ")
    connector = source.open()
    reasons = {}
    for item in connector.list_items():
        try:
            connector.read(item)
        except SourceUnreadable as error:
            reasons[item.uri] = error.reason

    assert reasons == {"file:broken.pdf": "mislabelled", "file:program.exe": "unsupported"}


def test_a_source_that_went_away_is_an_error_and_not_an_empty_list(source: Source) -> None:
    connector = source.open()
    item = next(connector.list_items())
    source.vanish()

    with pytest.raises(SourceUnavailable, match="bank"):
        connector.list_items()
    with pytest.raises(SourceUnavailable, match="bank"):
        connector.read(item)


def test_an_empty_source_is_an_empty_list(source: Source) -> None:
    for name in DOCUMENTS:
        source.remove(name)

    assert list(source.open().list_items()) == []


def test_closing_one_connector_twice_leaves_others_working(source: Source) -> None:
    connector, other = source.open(), source.open()
    connector.close()
    connector.close()

    assert other.read(next(other.list_items())).pages
