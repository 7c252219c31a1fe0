"""One row of each form as an item."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evaluations.datasets.items import Item, Wanted
from evaluations.datasets.rows import Row
from evaluations.suites.schema import DataSource

_YES = frozenset({"true", "yes", "1", "answerable", "partial"})
_NO = frozenset({"false", "no", "0", "unanswerable", "underspecified"})
_SUPPORTED = frozenset({"supported", "true", "yes", "1"})
_UNSUPPORTED = frozenset({"unsupported", "partially_supported", "not_supported", "false", "no", "0"})


@dataclass(frozen=True, slots=True)
class Hidden:
    """The rows that nobody may read, by id, and what all others say: `readable` is their texts, folded."""

    rows: Set[str]
    readable: str

    def leaks(self, text: str) -> bool:
        """Whether this text can come only from a hidden row."""
        return folded(text) not in self.readable


def folded(text: str) -> str:
    """The text as leaks are looked for: in one case, with single blanks."""
    return " ".join(text.split()).casefold()


def question(row: Row, source: DataSource, hidden: Hidden) -> Item:
    """A question with what is wanted: answers, pages, documents, quotes, forbidden texts, or that it be refused."""
    item_id = row.text("id")
    relevant = dict.fromkeys(_pages(row), 1.0)
    spans = [span for span in row.values.get("spans") or () if len(span["value"]) > 4]
    forbidden = _texts(row, "forbidden")
    asked = row.text("question") if "question" in row.values else _without(row.text("text"), spans)
    if item_id in hidden.rows:  # what must not be seen must not come out, unless the question or an open row holds it
        values = (span["value"] for span in spans)
        forbidden += tuple(each for each in values if folded(each) not in folded(asked) and hidden.leaks(each))
    wanted = Wanted(
        answers=_texts(row, "answers") or _texts(row, "answer"),
        scale=str(row.values.get("scale") or ""),
        answerable=_answerable(row, source),
        relevant=relevant,
        documents=frozenset(Path(name).stem for name in _texts(row, "documents"))
        or frozenset(page.rpartition(" ")[0] for page in relevant),
        quotes=_texts(row, "quotes"),
        forbidden=forbidden,
        injection=str(row.values.get("injection") or ""),
    )
    return Item(item_id, asked, wanted, (), (), "", _slices(row, source), _cluster(row, source))


def conversation(row: Row, source: DataSource, hidden: Hidden) -> Item:  # noqa: ARG001 - one form for all
    """The last turn is asked after the others; the passages that came with it are the relevant ones."""
    turns = [_turn(row, each) for each in row.values.get("turns") or ()]
    if not turns or turns[-1][0] != "user":
        row.refuse("the last of the turns must be the user's question")
    contexts = [str(each["id"]) for each in row.values.get("contexts") or ()]
    answerable = _answerable(row, source)
    wanted = Wanted(
        answers=_texts(row, "answer") if answerable else (),
        answerable=answerable,
        relevant=dict.fromkeys(contexts, 1.0),
    )
    return Item(
        row.text("id"), turns[-1][1], wanted, tuple(turns[:-1]), (), "", _slices(row, source), _cluster(row, source)
    )


def statement(row: Row, source: DataSource, hidden: Hidden) -> Item:  # noqa: ARG001 - one form for all
    """A statement, what it is checked against, and whether that supports it."""
    label = row.text("label").lower()
    if label not in _SUPPORTED | _UNSUPPORTED:
        row.refuse(f"the label is {row.text('label')!r}; write supported or unsupported")
    evidence = _texts(row, "evidence")
    if not evidence:
        row.refuse("'evidence' is missing or empty")
    wanted = Wanted(label="supported" if label in _SUPPORTED else "unsupported")
    about = str(row.values.get("about") or "")
    text = row.text("statement")
    return Item(row.text("id"), text, wanted, (), evidence, about, _slices(row, source), _cluster(row, source))


def _turn(row: Row, turn: Mapping[str, Any]) -> tuple[Literal["user", "assistant"], str]:
    text = str(turn.get("text") or turn.get("content") or "")
    if not text.strip():
        row.refuse("a turn has no text")
    return ("user" if (turn.get("speaker") or turn.get("role")) == "user" else "assistant"), text


def _texts(row: Row, name: str) -> tuple[str, ...]:
    """One text, a list of them, or the cells of a spreadsheet between bars."""
    value = row.values.get(name)
    if value is None or value == "":
        return ()
    if isinstance(value, list):
        return tuple(str(each) for each in value)
    if row.path.suffix.lower() == ".csv":
        return tuple(part.strip() for part in str(value).split("|") if part.strip())
    return (str(value),)


def _pages(row: Row) -> list[str]:
    """Places as `file page`: written so, or as objects (FinanceBench counts its page_index from 0)."""
    pages = []
    for each in row.values.get("pages") or () if not isinstance(row.values.get("pages"), str) else _texts(row, "pages"):
        if isinstance(each, Mapping):
            document = str(each.get("document") or each.get("doc_name") or "")
            number = each["page"] if "page" in each else each.get("page_index", -1) + 1
        else:
            document, _, number = str(each).rpartition(" ")
        if not document or not str(number).isdigit() or int(number) < 1:
            row.refuse(f"the page {each!r} is not a document and a page number from 1")
        pages.append(f"{Path(document).stem if document.lower().endswith('.pdf') else document} {number}")
    return pages


def _answerable(row: Row, source: DataSource) -> bool | None:
    value = row.values.get("answerable")
    if value is None or value == "":
        return bool(row.values["quotes"]) if "quotes" in row.values else source.answerable
    word = str(value).lower()
    if word not in _YES | _NO:
        row.refuse(f"answerable is {value!r}; write true or false")
    return word in _YES


def _slices(row: Row, source: DataSource) -> dict[str, str]:
    found = {}
    for name in source.slices:
        value = row.values.get(name)
        found[name] = ", ".join(str(each) for each in value) if isinstance(value, list) else str(value)
    return found


def _cluster(row: Row, source: DataSource) -> str:
    return str(row.values.get(source.cluster) or "") if source.cluster else ""


def _without(text: str, spans: list[dict[str, Any]]) -> str:
    """The text as a question, with what is personal cut out of it."""
    for span in sorted(spans, key=lambda each: -int(each["start"])):
        text = text[: span["start"]] + "…" + text[span["end"] :]
    left = " ".join(text.split())
    return left if any(letter.isalpha() for letter in left) else f"What do the documents say about {left}?"
