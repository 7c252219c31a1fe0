"""The registry on SQLite and on PostgreSQL: the same promises on both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from rag.domain import Document, DocumentPage
from rag.errors import ConfigurationError, NotFound, StorageUnavailable
from rag.storage.database import open_database
from rag.storage.records import NewChunk, Version
from rag.storage.registry import Registry
from rag.storage.schema import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    engine = open_database(url)
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(table.delete())
    opened = Registry(engine)
    yield opened
    opened.close()


def version(name: str, *chunks: tuple[str, int, int], body: str = "one two three", scope: str = "s") -> Version:
    document = Document(
        id=name, source="papers", uri=f"file:{name}", title=f"Title {name}", collection="rules", tenant="default",
        media_type="text/plain", fingerprint="1", content_hash=f"hash-{name}", access=frozenset({"b", "a"}),
        state="pending", pages=1, chunks=len(chunks), size_bytes=len(body),
    )  # fmt: skip
    made = tuple(NewChunk(f"{name}-{key}", 1, start, end, "Section", "", f"h-{key}") for key, start, end in chunks)
    return Version(document, scope, (DocumentPage(name, 1, "cover", body),), made)


def commit(registry: Registry, *versions: Version) -> tuple[set[tuple[str, str]], int]:
    registry.begin(versions)
    return registry.commit(versions)


def test_migrations_make_exactly_the_tables_of_the_schema(url: str) -> None:
    engine = open_database(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_opening_twice_changes_nothing(url: str) -> None:
    first, second = open_database(url), open_database(url)
    with first.connect() as one, second.connect() as two:
        revisions = [MigrationContext.configure(each).get_current_revision() for each in (one, two)]
    assert revisions[0] == revisions[1] is not None
    first.dispose()
    second.dispose()


def test_a_database_of_a_newer_version_is_refused_and_left_alone(url: str) -> None:
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="schema version 9999"):
        open_database(url)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    engine.dispose()


def test_a_committed_document_can_be_read_back(registry: Registry) -> None:
    _, snapshot = commit(registry, version("d", ("x", 4, 7)))
    document = registry.document("d")
    assert (document.state, document.access, document.snapshot_added) == ("indexed", frozenset({"a", "b"}), snapshot)
    assert registry.page("d", 1) == DocumentPage("d", 1, "cover", "one two three")
    chunk = registry.passages(["d-x", "unknown"])["d-x"]
    assert (chunk.text, chunk.title, chunk.page_label) == ("two", "Title d", "cover")


def test_chunks_are_not_live_before_the_commit(registry: Registry) -> None:
    registry.begin([version("d", ("x", 0, 3))])
    assert registry.passages(["d-x"]) == {}
    assert registry.chunk_pairs() == set()
    assert registry.pending() == ({("s", "d-x")}, set())


def test_commit_returns_what_became_stale_and_keeps_it_in_the_journal(registry: Registry) -> None:
    commit(registry, version("d", ("x", 0, 3), ("y", 4, 7)))
    stale, snapshot = commit(registry, version("d", ("y", 4, 7), ("z", 8, 13)))
    assert (stale, snapshot) == ({("s", "d-x")}, 2)
    assert registry.pending() == ({("s", "d-x")}, set())
    assert registry.chunk_pairs() == {("s", "d-y"), ("s", "d-z")}
    registry.forget(stale)
    assert registry.pending() == (set(), set())


def test_a_move_to_another_scope_makes_the_old_place_stale(registry: Registry) -> None:
    commit(registry, version("d", ("x", 0, 3)))
    stale, _ = commit(registry, version("d", ("x", 0, 3), scope="t"))
    assert stale == {("s", "d-x")}
    assert registry.pending() == ({("s", "d-x")}, set())
    assert registry.chunk_pairs() == {("t", "d-x")}


def test_an_update_in_progress_leaves_the_old_version_readable(registry: Registry) -> None:
    commit(registry, version("d", ("x", 0, 3)))
    registry.begin([version("d", ("y", 4, 7), body="new text here")])
    assert registry.document("d").state == "indexed"
    assert registry.passages(["d-x"])["d-x"].text == "one"


def test_removing_deletes_rows_and_names_the_chunks(registry: Registry) -> None:
    commit(registry, version("d", ("x", 0, 3)), version("e", ("x", 0, 3)))
    assert registry.remove(["d"]) == {("s", "d-x")}
    with pytest.raises(NotFound, match="no document 'd'"):
        registry.document("d")
    with pytest.raises(NotFound):
        registry.page("d", 1)
    assert registry.chunk_pairs() == {("s", "e-x")}
    assert registry.unreferenced(["hash-d", "hash-e", ""]) == {"hash-d"}


def test_every_change_of_what_can_be_retrieved_moves_the_snapshot(registry: Registry) -> None:
    seen = [registry.snapshot()]
    commit(registry, version("d", ("x", 0, 3)))
    seen.append(registry.snapshot())
    registry.touch("d", "2")
    assert registry.snapshot() == seen[-1]
    registry.withdraw(registry.document("d"), "s")
    seen.append(registry.snapshot())
    commit(registry, version("e", ("x", 0, 3)))
    registry.remove(["e"])
    seen.append(registry.snapshot())
    assert seen == sorted(set(seen))


def test_twins_find_a_chunk_with_the_same_indexed_text(registry: Registry) -> None:
    commit(registry, version("d", ("x", 0, 3)))
    assert registry.twins(["h-x", "h-unknown"]) == {"h-x": ("s", "d-x")}


def test_more_chunks_than_a_statement_takes_variables(registry: Registry) -> None:
    many = tuple((f"{number:05}", 0, 3) for number in range(2_500))
    stale, _ = commit(registry, version("d", *many))
    assert stale == set()
    assert len(registry.passages([f"d-{key}" for key, _, _ in many])) == 2_500
    assert len(registry.remove(["d"])) == 2_500
    registry.forget(registry.pending()[0])
    assert registry.pending() == (set(), set())


def test_jobs_are_kept_newest_first_and_replaced_by_id(registry: Registry) -> None:
    registry.jobs.save_job({"id": "a", "created_at": "2026-01-01", "state": "queued"})
    registry.jobs.save_job({"id": "b", "created_at": "2026-01-02", "state": "queued"})
    registry.jobs.save_job({"id": "a", "created_at": "2026-01-01", "state": "running"})
    assert [job["id"] for job in registry.jobs.list_jobs()] == ["b", "a"]
    assert registry.jobs.load_job("a")["state"] == "running"
    with pytest.raises(NotFound, match="no job 'c'"):
        registry.jobs.load_job("c")


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(StorageUnavailable) as caught:
        open_database("postgresql://reader:secret@127.0.0.1:9/nowhere")
    assert "127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)
