"""Ingestion through the real workspace: files, parser processes, MiniLM, Chroma, lexical index, SQLite."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rag.bootstrap import Workspace, open_workspace
from rag.domain import IngestReport, Principal, SearchFilter
from rag.errors import ConfigurationError, DataFolderInUse, IndexMismatch, NotFound, UploadRejected
from rag.ingestion.looking import report_if_unchanged
from rag.ingestion.run import Progress
from rag.operations.recorded import INGESTED, registered
from rag.settings import Settings, load_settings

ANYBODY = Principal("somebody")
HR = Principal("hr-person", clearances=frozenset({"hr"}))


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "fees.md").write_text("# Fees\n\nThe wire transfer fee is 25 dollars for each transfer.\n")
    (folder / "cards.md").write_text(
        "# Cards\n\nReport a lost card within two business days of learning of the loss.\n"
    )
    return folder


@pytest.fixture
def settings(tmp_path: Path, papers: Path) -> Settings:
    return load_settings(
        "test",
        environment={},
        overrides={
            "data_dir": str(tmp_path / "data"),
            "sources": [{"name": "papers", "collection": "rules", "root": str(papers)}],
            "embedding": {"bulk_backend": "onnx"},
        },
    )


@pytest.fixture
def workspace(settings: Settings) -> Iterator[Workspace]:
    opened = open_workspace(settings)
    yield opened
    opened.close()


def found(workspace: Workspace, question: str, who: Principal = ANYBODY) -> list[str]:
    passages = workspace.searcher.search(question, who, SearchFilter(), top_k=5)
    return [passage.title for passage in passages]


def outcomes(report: IngestReport) -> dict[str, str]:
    return {each.uri: each.outcome for each in report.outcomes}


def test_a_first_run_makes_every_document_findable(workspace: Workspace) -> None:
    report = workspace.ingest()
    assert outcomes(report) == {"file:cards.md": "added", "file:fees.md": "added"}
    assert found(workspace, "What does a wire transfer cost?")[0] == "Fees"
    assert workspace.check().agrees


def test_unchanged_documents_are_neither_read_nor_embedded(workspace: Workspace) -> None:
    first = workspace.ingest()
    again = workspace.ingest()
    assert set(outcomes(again).values()) == {"unchanged"}
    assert (again.pages, again.embedded, again.snapshot) == (0, 0, first.snapshot)


def test_a_file_touched_without_a_change_is_not_embedded_again(workspace: Workspace, papers: Path) -> None:
    snapshot = workspace.ingest().snapshot
    (papers / "fees.md").write_bytes((papers / "fees.md").read_bytes())
    report = workspace.ingest()
    assert (report.embedded, report.snapshot) == (0, snapshot)


def test_only_what_changed_in_a_document_is_embedded_again(workspace: Workspace, papers: Path) -> None:
    body = "\n\n".join(
        f"## Section {n}\n\n" + f"Clause {n} of this agreement says something else. " * 30 for n in range(6)
    )
    (papers / "long.md").write_text(f"# Agreement\n\n{body}\n")
    first = workspace.ingest()
    (papers / "long.md").write_text(f"# Agreement\n\n{body.replace('Clause 3', 'Clause three')}\n")
    second = workspace.ingest()
    assert 0 < second.embedded < first.embedded / 2
    assert workspace.check().agrees


def test_changed_text_replaces_the_old_everywhere(workspace: Workspace, papers: Path) -> None:
    workspace.ingest()
    (papers / "fees.md").write_text("# Fees\n\nSafe deposit boxes are rented by the year.\n")
    assert outcomes(workspace.ingest())["file:fees.md"] == "updated"
    passages = workspace.searcher.search("wire transfer fee", ANYBODY, SearchFilter(), top_k=5)
    assert all("wire" not in passage.text for passage in passages)
    assert workspace.check().agrees


@pytest.mark.proves("AISVS 8.3.1", "ISO A.8.10")
def test_a_vanished_file_vanishes_from_every_store(workspace: Workspace, papers: Path) -> None:
    workspace.ingest()
    (papers / "fees.md").unlink()
    assert outcomes(workspace.ingest())["file:fees.md"] == "deleted"
    assert "Fees" not in found(workspace, "wire transfer fee")
    assert workspace.check().agrees
    assert len(list((workspace.settings.data_dir / "originals").glob("*/*"))) == 1


def test_a_source_that_cannot_be_listed_loses_nothing(workspace: Workspace, papers: Path) -> None:
    workspace.ingest()
    papers.rename(papers.with_name("moved"))
    report = workspace.ingest()
    assert [each.reason for each in report.failed] == ["misconfigured"] or report.failed
    assert found(workspace, "wire transfer fee")[0] == "Fees"


@pytest.mark.proves("SOC 2 PI1.3")
def test_a_broken_document_is_reported_and_does_not_stop_the_others(workspace: Workspace, papers: Path) -> None:
    (papers / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing that can be read")
    (papers / "empty.txt").write_bytes(b"")
    report = workspace.ingest()
    failed = {each.uri: each.reason for each in report.failed}
    assert failed == {"file:broken.pdf": "malformed", "file:empty.txt": "empty"}
    assert report.count("added") == 2


def test_a_failure_is_reported_again_until_the_file_changes(workspace: Workspace, papers: Path) -> None:
    (papers / "empty.txt").write_bytes(b"")
    workspace.ingest()
    assert [each.uri for each in workspace.ingest().failed] == ["file:empty.txt"]
    (papers / "empty.txt").write_text("Now there is something to read about mortgages.")
    assert outcomes(workspace.ingest())["file:empty.txt"] == "added"


def test_a_document_that_breaks_is_no_longer_searchable(workspace: Workspace, papers: Path) -> None:
    workspace.ingest()
    (papers / "fees.md").write_bytes(b"")
    workspace.ingest()
    assert "Fees" not in found(workspace, "wire transfer fee")
    assert workspace.check().agrees


@pytest.mark.proves("ASVS 8.3.2")
def test_adding_a_label_hides_the_document_from_people_without_it(workspace: Workspace, papers: Path) -> None:
    workspace.ingest()
    (papers / "fees.md.meta.yaml").write_text("access: [hr]\n")
    report = workspace.ingest()
    assert report.embedded == 0, "labels changed, texts did not"
    assert "Fees" not in found(workspace, "wire transfer fee")
    assert found(workspace, "wire transfer fee", HR)[0] == "Fees"
    document = next(each for each in workspace.registry.documents() if each.uri == "file:fees.md")
    with pytest.raises(NotFound):
        workspace.page(document.id, 1, ANYBODY)
    assert workspace.check().agrees


def test_labels_that_cannot_be_read_withdraw_the_document(workspace: Workspace, papers: Path) -> None:
    workspace.ingest()
    (papers / "fees.md.meta.yaml").write_text("acess: [hr]\n")
    report = workspace.ingest()
    assert [each.uri for each in report.failed] == ["file:fees.md"]
    assert "acess" in report.failed[0].message
    assert "Fees" not in found(workspace, "wire transfer fee")


def test_most_of_a_source_vanishing_stops_the_run(workspace: Workspace, papers: Path) -> None:
    for number in range(60):
        (papers / f"{number}.txt").write_text(f"Notice number {number} about account statements.")
    workspace.ingest()
    for number in range(50):
        (papers / f"{number}.txt").unlink()
    with pytest.raises(ConfigurationError, match="--allow-mass-delete"):
        workspace.ingest()
    assert workspace.registry.totals()["indexed"] == 62
    assert workspace.ingest(mass_delete="allow").count("deleted") == 50


def test_stopping_keeps_what_was_written_and_the_next_run_goes_on(workspace: Workspace, papers: Path) -> None:
    for number in range(200):
        (papers / f"{number:03}.txt").write_text(f"Notice number {number} about account statements.")
    stop = threading.Event()

    def stop_after_the_first_window(step: Progress) -> None:
        if step.chunks:
            stop.set()

    partial = workspace.ingest(progress=stop_after_the_first_window, stop=stop)
    assert 0 < partial.count("added") < 202
    assert workspace.check().agrees
    assert workspace.ingest().count("added") == 202 - partial.count("added")


def test_progress_counts_up_to_the_total(workspace: Workspace) -> None:
    steps: list[Progress] = []
    workspace.ingest(progress=steps.append)
    assert (steps[0].done, steps[0].total) == (0, 2)
    assert (steps[-1].stage, steps[-1].done, steps[-1].total) == ("done", 2, 2)
    assert [step.done for step in steps] == sorted(step.done for step in steps)


def test_a_deleted_document_stays_away_until_it_is_restored(workspace: Workspace) -> None:
    workspace.ingest()
    fees = next(each for each in workspace.registry.documents() if each.title == "Fees")
    workspace.delete_document(fees.id, ANYBODY)
    assert outcomes(workspace.ingest())["file:fees.md"] == "excluded"
    assert "Fees" not in found(workspace, "wire transfer fee")
    workspace.restore_document(fees.id, ANYBODY)
    assert outcomes(workspace.ingest())["file:fees.md"] == "added"
    assert workspace.check().agrees


def test_one_may_not_delete_what_one_may_not_see(workspace: Workspace, papers: Path) -> None:
    (papers / "fees.md.meta.yaml").write_text("access: [hr]\n")
    workspace.ingest()
    fees = next(each for each in workspace.registry.documents() if each.uri == "file:fees.md")
    with pytest.raises(NotFound):
        workspace.delete_document(fees.id, ANYBODY)


def test_an_upload_becomes_searchable_and_a_second_one_replaces_it(workspace: Workspace) -> None:
    def add(body: bytes) -> None:
        workspace.add_upload("notice.txt", body, principal=ANYBODY, title="Notice")

    add(b"Branches close at four on Fridays.")
    workspace.ingest(["uploads"])
    assert found(workspace, "When do branches close?")[0] == "Notice"
    add(b"Branches close at six on Fridays.")
    assert workspace.ingest(["uploads"]).count("updated") == 1
    document = next(each for each in workspace.documents(ANYBODY) if each.title == "Notice")
    workspace.delete_document(document.id, ANYBODY)
    assert workspace.ingest(["uploads"]).outcomes == ()
    assert workspace.check().agrees


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("../escape.txt", b"text", 422),
        ("nul\x00.txt", b"text", 422),
        ("right\u202eto-left.txt", b"text", 422),
        (".hidden.txt", b"text", 422),
        ("x" * 300 + ".txt", b"text", 422),
        ("labels.meta.yaml", b"access: []", 422),
        ("empty.txt", b"", 422),
        ("program.exe", b"MZ\x90\x00" + b"\x00" * 100, 415),
        ("really-a-pdf.txt", b"%PDF-1.7\n" + b"\x00\x01" * 50, 415),
    ],
)
def test_a_hostile_upload_is_refused_and_leaves_nothing(
    workspace: Workspace, name: str, content: bytes, status: int
) -> None:
    with pytest.raises(UploadRejected) as caught:
        workspace.add_upload(name, content, principal=ANYBODY)
    assert caught.value.status == status
    assert not list(workspace.settings.data_dir.glob("uploads/*/*"))


def test_labels_that_the_uploader_does_not_hold_are_refused(workspace: Workspace) -> None:
    with pytest.raises(UploadRejected, match="access labels hr"):
        workspace.add_upload("a.txt", b"text", principal=ANYBODY, access=["hr"])


def test_an_unknown_collection_or_source_lists_the_known_ones(workspace: Workspace) -> None:
    with pytest.raises(UploadRejected, match="known: rules, uploads"):
        workspace.add_upload("a.txt", b"text", principal=ANYBODY, collection="nothing")
    with pytest.raises(ConfigurationError, match="configured sources: papers"):
        workspace.ingest(["nothing"])


def test_a_second_process_is_told_who_owns_the_folder(workspace: Workspace, settings: Settings) -> None:
    workspace.close()
    workspace = open_workspace(settings, url="http://127.0.0.1:3000")
    with pytest.raises(DataFolderInUse) as caught:
        open_workspace(settings)
    assert caught.value.url == "http://127.0.0.1:3000"


@pytest.mark.proves("SOC 2 PI1.3", "SOC 2 CC7.1")
def test_repair_makes_the_stores_equal_to_the_registry(workspace: Workspace) -> None:
    workspace.ingest()
    pairs = sorted(workspace.registry.chunk_pairs())
    workspace.stores.vectors.delete(pairs[:1])
    workspace.stores.lexical.apply((), pairs[1:2])
    surplus = workspace.stores.vectors.vectors(pairs[1:2])[pairs[1][1]]
    workspace.stores.vectors.upsert(pairs[1][0], ["ffff-surplus"], surplus[None, :], [{"page": 1}])
    before = workspace.check()
    assert (before.missing_vectors, before.surplus_vectors, before.missing_lexical) == (1, 1, 1)
    workspace.check("repair")
    assert workspace.check().agrees
    assert found(workspace, "wire transfer fee")[0] == "Fees"


def test_a_lost_original_is_read_again(workspace: Workspace) -> None:
    workspace.ingest()
    next((workspace.settings.data_dir / "originals").glob("*/*")).unlink()
    assert workspace.check("repair").missing_originals == 1
    workspace.ingest()
    assert workspace.check().agrees


def test_a_damaged_original_is_found_by_its_digest_and_read_again(workspace: Workspace) -> None:
    workspace.ingest()
    place = next((workspace.settings.data_dir / "originals").glob("*/*"))
    content = place.read_bytes()
    place.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert workspace.check("repair").missing_originals == 1
    workspace.ingest()
    assert workspace.check().agrees
    assert place.read_bytes() == content


def test_a_text_that_the_disk_damaged_is_not_served_and_read_again(workspace: Workspace) -> None:
    workspace.ingest()
    with closing(sqlite3.connect(workspace.settings.data_dir / "registry.sqlite3")) as database, database:
        changed = database.execute("UPDATE pages SET text = replace(text, '25 dollars', '95 dollars')").rowcount
    assert changed
    assert "Fees" not in found(workspace, "What does a wire transfer cost?")
    assert workspace.check().damaged_texts == 1
    workspace.check("repair")
    assert outcomes(workspace.ingest()) == {"file:cards.md": "unchanged", "file:fees.md": "added"}
    assert workspace.check().agrees
    assert found(workspace, "What does a wire transfer cost?")[0] == "Fees"


def test_only_a_complete_run_counts_as_the_last_ingestion_on_every_node(workspace: Workspace, papers: Path) -> None:
    assert registered(workspace.registry) == {}
    (papers / "broken.pdf").write_bytes(b"%PDF-1.7 nothing follows")
    workspace.ingest()
    workspace.ingest(["papers"])
    assert registered(workspace.registry) == {}
    (papers / "broken.pdf").unlink()
    workspace.ingest()
    assert list(registered(workspace.registry)) == [INGESTED]


@pytest.mark.proves("AISVS 8.3.2")
def test_an_index_of_another_encoder_is_refused_and_can_be_rebuilt(settings: Settings) -> None:
    first = open_workspace(settings)
    first.ingest()
    first.registry.set_value("encoder", "another")
    first.close()
    with pytest.raises(IndexMismatch, match="--rebuild"):
        open_workspace(settings)
    again = open_workspace(settings, check_encoder="ignore")
    again.rebuild()
    assert again.ingest().count("added") == 2
    again.close()
    open_workspace(settings).close()


def test_a_folder_that_cannot_be_written_is_one_clear_sentence(settings: Settings) -> None:
    settings.data_dir.parent.mkdir(exist_ok=True)
    settings.data_dir.write_text("a file where the folder should be")
    with pytest.raises(ConfigurationError, match="BANKSIGHT_DATA_DIR"):
        open_workspace(settings)
    assert settings.data_dir.read_text() == "a file where the folder should be"


def test_chroma_files_of_another_version_are_refused_and_left_alone(settings: Settings) -> None:
    folder = settings.data_dir / "chroma"
    folder.mkdir(parents=True)
    (folder / "chroma.sqlite3").write_bytes(b"SQLite format 3\x00 but not one that Chroma made")
    with pytest.raises(ConfigurationError, match="another version or is damaged"):
        open_workspace(settings)
    assert (folder / "chroma.sqlite3").read_bytes().startswith(b"SQLite format 3\x00 but not")


def test_a_look_reports_an_unchanged_corpus_as_a_run_would(settings: Settings, papers: Path) -> None:
    (papers / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing more")
    with closing(open_workspace(settings)) as workspace:
        workspace.ingest()
        run = workspace.ingest()
        assert report_if_unchanged(settings, None) is None, "the folder is somebody else's"

    look = report_if_unchanged(settings, None)

    assert look is not None
    assert (look.outcomes, look.snapshot) == (run.outcomes, run.snapshot)


@pytest.mark.parametrize("what", ["never ingested", "new", "changed", "vanished", "retried", "killed", "other encoder"])
def test_a_look_leaves_work_to_a_run(settings: Settings, papers: Path, what: str) -> None:
    (papers / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing more")
    if what != "never ingested":
        with closing(open_workspace(settings)) as workspace:
            workspace.ingest()
            if what in ("killed", "other encoder"):
                workspace.registry.set_value("run" if what == "killed" else "encoder", "begun")
    if what == "vanished":
        (papers / "fees.md").unlink()
    if what in ("new", "changed"):
        (papers / ("new.md" if what == "new" else "fees.md")).write_text("# Fees\n\nThe fee is 30 dollars.\n")

    assert report_if_unchanged(settings, None, retry="failed" if what == "retried" else "changed") is None
