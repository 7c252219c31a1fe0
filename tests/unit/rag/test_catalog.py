from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from rag.domain import Document, DocumentPage, Principal, SearchFilter
from rag.errors import QuestionError
from rag.storage.catalog import Catalog, scope_name
from rag.storage.database import open_database
from rag.storage.records import Version
from rag.storage.registry import Registry

TODAY = date(2026, 6, 15)
EVERYTHING = SearchFilter()


def document(name: str, **fields: object) -> Document:
    known: dict[str, object] = {
        "id": name, "source": "papers", "uri": f"file:{name}", "title": name, "collection": "rules",
        "tenant": "default",
        "media_type": "text/plain", "fingerprint": "1", "content_hash": name, "access": frozenset(), "state": "indexed",
    }  # fmt: skip
    return Document(**(known | fields))  # type: ignore[arg-type]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(open_database(f"sqlite:///{tmp_path / 'registry.sqlite3'}"))


def put(registry: Registry, *documents: Document) -> None:
    for each in documents:
        scope = scope_name(each.tenant, each.collection, each.access)
        version = Version(each, scope, (DocumentPage(each.id, 1, "", "text"),), ())
        registry.begin([version])
        registry.commit([version])


def seen(registry: Registry, who: Principal, narrow: SearchFilter = EVERYTHING) -> set[str]:
    catalog = Catalog(registry, today=lambda: TODAY)
    return {each.id for each, _ in registry.indexed() if catalog.visible(each.id, who, narrow)}


def test_a_reader_needs_every_label_of_a_document(registry: Registry) -> None:
    put(registry, document("open"), document("hr", access=frozenset({"hr"})))
    put(registry, document("both", access=frozenset({"hr", "board"})))
    assert seen(registry, Principal("a")) == {"open"}
    assert seen(registry, Principal("a", clearances=frozenset({"hr"}))) == {"open", "hr"}
    assert seen(registry, Principal("a", clearances=frozenset({"hr", "board", "x"}))) == {"open", "hr", "both"}


def test_another_tenant_sees_nothing(registry: Registry) -> None:
    put(registry, document("open"))
    stranger = Principal("a", tenant="other")
    assert seen(registry, stranger) == set()
    assert Catalog(registry).scopes(stranger, EVERYTHING) == []


def test_scopes_are_those_whose_labels_are_held(registry: Registry) -> None:
    put(registry, document("open"), document("hr", access=frozenset({"hr"})))
    catalog = Catalog(registry)
    assert catalog.scopes(Principal("a"), EVERYTHING) == [scope_name("default", "rules", ())]
    assert len(catalog.scopes(Principal("a", clearances=frozenset({"hr"})), EVERYTHING)) == 2
    with pytest.raises(QuestionError, match="unknown collection 'other'; collections that you may search: rules"):
        catalog.scopes(Principal("a"), SearchFilter(collections=("other",)))


def test_first_and_last_day_in_force_count(registry: Registry) -> None:
    put(registry, document("d", effective_from=date(2026, 1, 1), effective_to=date(2026, 1, 31)))
    for day, expected in ((date(2025, 12, 31), set()), (date(2026, 1, 1), {"d"}), (date(2026, 1, 31), {"d"}),
                          (date(2026, 2, 1), set())):  # fmt: skip
        assert seen(registry, Principal("a"), SearchFilter(as_of=day)) == expected


def test_today_decides_when_no_day_is_asked_for(registry: Registry) -> None:
    put(registry, document("past", effective_to=TODAY - timedelta(days=1)))
    put(registry, document("now", effective_from=TODAY), document("future", effective_from=TODAY + timedelta(days=1)))
    assert seen(registry, Principal("a")) == {"now"}


def test_a_successor_ends_its_predecessor_the_day_before_it_begins(registry: Registry) -> None:
    put(registry, document("old"), document("new", supersedes="file:old", effective_from=date(2026, 3, 1)))
    assert seen(registry, Principal("a"), SearchFilter(as_of=date(2026, 2, 28))) == {"old"}
    assert seen(registry, Principal("a"), SearchFilter(as_of=date(2026, 3, 1))) == {"new"}


def test_a_successor_without_a_date_replaces_for_every_day(registry: Registry) -> None:
    put(registry, document("old"), document("new", supersedes="file:old"))
    assert seen(registry, Principal("a"), SearchFilter(as_of=date(2000, 1, 1))) == {"new"}


def test_filters_narrow_and_never_widen(registry: Registry) -> None:
    put(registry, document("a"), document("b", collection="filings"), document("secret", access=frozenset({"hr"})))
    assert seen(registry, Principal("a"), SearchFilter(collections=("filings",))) == {"b"}
    assert seen(registry, Principal("a"), SearchFilter(document_ids=("a", "secret"))) == {"a"}


def test_a_change_is_seen_after_a_refresh(registry: Registry) -> None:
    put(registry, document("d"))
    catalog = Catalog(registry)
    before = catalog.snapshot
    put(registry, document("d", access=frozenset({"hr"})))
    assert catalog.refresh() == before + 1
    assert not catalog.visible("d", Principal("a"), EVERYTHING)


def test_a_document_that_is_not_committed_is_invisible(registry: Registry) -> None:
    version = Version(document("d"), "scope", (), ())
    registry.begin([version])
    assert not Catalog(registry).visible("d", Principal("a"), EVERYTHING)
