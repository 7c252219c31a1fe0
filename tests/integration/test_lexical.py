"""The lexical index on disk: what it finds, what a commit promises, what it refuses."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag.errors import IndexMismatch
from rag.storage.lexical import LexicalEntry, LexicalIndex

TEXTS = {
    "c1": "An unauthorized electronic transfer must be reported within sixty days.",
    "c2": "The wire transfer fee is twenty dollars.",
    "c3": "Report a lost card by telephone.",
}


def entry(chunk_id: str, text: str, scope: str = "s", document_id: str = "d", title: str = "") -> LexicalEntry:
    return LexicalEntry(scope, chunk_id, document_id, title, "", text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lexical"


@pytest.fixture
def index(folder: Path) -> Iterator[LexicalIndex]:
    opened = LexicalIndex(folder)
    opened.apply([entry(chunk_id, text) for chunk_id, text in TEXTS.items()], ())
    yield opened
    opened.close()


def found(index: LexicalIndex, question: str, *scopes: str, limit: int = 10) -> list[str]:
    return [chunk_id for chunk_id, _ in index.search(question, scopes or ("s",), limit)]


def test_the_best_match_comes_first_with_a_positive_score(index: LexicalIndex) -> None:
    hits = index.search("unauthorised transfers", ["s"], 10)
    assert [chunk_id for chunk_id, _ in hits] == ["c1", "c2"]
    assert hits[0][1] > hits[1][1] > 0


def test_a_phrase_counts_more_than_its_scattered_words(index: LexicalIndex) -> None:
    index.apply([entry("apart", "a lost key and a credit card"), entry("whole", "a credit key and a lost card")], ())
    assert found(index, "lost card")[:2] != ["apart", "whole"]
    assert found(index, "lost card").index("whole") < found(index, "lost card").index("apart")


def test_title_and_section_are_searched(index: LexicalIndex) -> None:
    index.apply([LexicalEntry("s", "t", "d", "Mortgage servicing", "Escrow accounts", "It applies.", "Month")], ())
    assert [found(index, word) for word in ("mortgage", "escrow", "month")] == [["t"]] * 3


@pytest.mark.proves("AISVS 8.1.3")
def test_only_permitted_scopes_are_searched(index: LexicalIndex) -> None:
    index.apply([entry("secret", "unauthorized transfer unauthorized transfer", scope="hr")], ())
    assert found(index, "unauthorized transfer", "s")[0] == "c1"
    assert found(index, "unauthorized transfer", "hr") == ["secret"]
    assert found(index, "unauthorized transfer", "s", "hr")[0] == "secret"
    assert found(index, "unauthorized transfer", "nobody") == index.search("unauthorized transfer", [], 10) == []


def test_a_narrow_scope_is_found_behind_many_better_matches_elsewhere(index: LexicalIndex) -> None:
    index.apply([entry(f"x{n}", "sixty days sixty days", scope="other") for n in range(300)], ())
    assert found(index, "sixty days", limit=1) == ["c1"]


def test_the_search_can_be_narrowed_to_documents(index: LexicalIndex) -> None:
    index.apply([entry("c9", "transfer", document_id="e")], ())
    assert [hit[0] for hit in index.search("transfer", ["s"], 10, ["e"])] == ["c9"]


def test_hints_find_more_and_count_less(index: LexicalIndex) -> None:
    assert found(index, "sixty days") == ["c1"]
    assert [hit[0] for hit in index.search("sixty days", ["s"], 10, hints="telephone")] == ["c1", "c3"]


@pytest.mark.parametrize(
    "question", ["", "   ", "the of and", "?", "qwertyuiop", "\x00", "scope:s AND (", '"*~^2 +-', "日本語", "🏦"]
)
def test_a_question_without_a_known_word_finds_nothing(index: LexicalIndex, question: str) -> None:
    assert found(index, question) == []


def test_query_syntax_is_searched_as_words(index: LexicalIndex) -> None:
    assert found(index, '(card AND NOT "fee") OR scope:s^9 card*') == ["c3", "c2"]


def test_a_question_of_100_kilobytes_is_answered_by_its_rare_words(index: LexicalIndex) -> None:
    assert "c3" in found(index, "lost card telephone " + "transfer fee filler words " * 4_000)


def test_an_entry_replaces_the_one_with_its_id(index: LexicalIndex) -> None:
    index.apply([entry("c1", "Nothing of that kind.")], ())
    assert "c1" not in found(index, "unauthorized electronic transfer")
    assert index.ids() == {("s", "c1"), ("s", "c2"), ("s", "c3")}


def test_the_last_of_two_entries_with_one_id_stays(index: LexicalIndex) -> None:
    index.apply([entry("c7", "alpha"), entry("c7", "omega")], ())
    assert (found(index, "alpha"), found(index, "omega")) == ([], ["c7"])


def test_removed_pairs_are_gone_and_unknown_ones_do_not_matter(index: LexicalIndex) -> None:
    index.apply((), [("s", "c1"), ("s", "nobody"), ("elsewhere", "c2")])
    assert index.ids() == {("s", "c2"), ("s", "c3")}
    assert found(index, "unauthorized") == []


def test_what_is_both_removed_and_added_is_there(index: LexicalIndex) -> None:
    index.apply([entry("c1", "again")], [("s", "c1")])
    assert found(index, "again") == ["c1"]


def test_a_chunk_that_moves_between_scopes_is_found_once(index: LexicalIndex) -> None:
    index.apply([entry("c1", TEXTS["c1"], scope="new")], ())
    assert found(index, "unauthorized", "s", "new") == ["c1"]
    assert {("s", "c1"), ("new", "c1")} <= index.ids()


def test_clear_removes_everything(index: LexicalIndex) -> None:
    index.clear()
    assert index.ids() == set()
    assert found(index, "transfer") == []


def test_the_last_commit_is_there_after_reopening(index: LexicalIndex, folder: Path) -> None:
    index.close()
    again = LexicalIndex(folder)
    assert found(again, "telephone") == ["c3"]
    again.apply([entry("c4", "New after reopening.")], ())
    assert found(again, "reopening") == ["c4"]
    again.close()


def test_another_reader_sees_a_commit_at_once(index: LexicalIndex, folder: Path) -> None:
    reader = LexicalIndex(folder)
    assert found(reader, "late addition") == []
    index.apply([entry("c5", "A late addition.")], ())
    assert found(reader, "late addition") == ["c5"]


def test_searches_go_on_while_another_thread_writes(index: LexicalIndex) -> None:
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for number in range(15):
                index.apply([entry(f"w{number}", f"parallel text {number}")], [("s", f"w{number - 5}")])
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        assert found(index, "telephone") == ["c3"]
    writer.join()
    assert failures == []
    assert len(index.ids()) == len(TEXTS) + 5


KILLED = """
import sys
from pathlib import Path
from rag.storage.lexical import LexicalEntry, LexicalIndex
index = LexicalIndex(Path(sys.argv[1]))
for number in range(10_000):
    names = [f"k{number}-{part}" for part in range(20)]
    index.apply([LexicalEntry("s", name, "d", "", "", f"entry {name} text") for name in names], ())
    print(number, flush=True)
"""


@pytest.mark.parametrize("commits", [1, 4, 9])
def test_kill_9_leaves_the_last_commit_whole(folder: Path, commits: int) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for _ in range(commits):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.stdout.read()
    child.wait()
    child.stdout.close()
    again = LexicalIndex(folder)
    kept = {chunk_id.split("-")[0] for _, chunk_id in again.ids()}
    assert len(kept) >= commits
    assert len(again.ids()) == 20 * len(kept)
    again.apply([entry("after", "written after the crash")], ())
    assert found(again, "crash") == ["after"]
    again.close()


def test_an_index_of_another_version_is_refused_with_the_way_out(folder: Path) -> None:
    LexicalIndex(folder).close()
    (folder / "format.json").write_text('{"format": "0"}')
    with pytest.raises(IndexMismatch, match="index check --repair"):
        LexicalIndex(folder)


@pytest.mark.parametrize("name", ["format.json", "meta.json"])
@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_index_is_refused_with_the_way_out(folder: Path, name: str, content: str) -> None:
    index = LexicalIndex(folder)
    index.apply([entry("c1", "text")], ())
    index.close()
    (folder / name).write_text(content)
    with pytest.raises(IndexMismatch, match="index check --repair"):
        LexicalIndex(folder)


def test_an_index_that_nobody_marked_is_refused(folder: Path) -> None:
    LexicalIndex(folder).close()
    (folder / "format.json").unlink()
    with pytest.raises(IndexMismatch, match="does not say which version"):
        LexicalIndex(folder)
