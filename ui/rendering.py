"""Answers, passages and pages as the chat shows them. Pure functions: data in, Markdown out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ui.markdown import answer_markdown, plain_markdown
from ui.wire import Answer, Citation, DocumentPage, PassageHeader

MAX_TITLE = 64
MAX_SECTION = 100
MAX_TOOLTIP = 420
MAX_LINK_TITLE = 220
SHORTEST_HEAD = 6  # characters; a shorter one says too little
HAIR_SPACE, EM_SPACE, NO_BREAK_SPACE = "\u200a", "\u2003", "\u00a0"
_MARKER = re.compile(r"( ?)\\\[(\d{1,3})\\\]")
_PARAGRAPH_SIGN = re.compile(r"§+\s*[\w.-]*\w")
_ADDENDUM = re.compile(r":\s|\s\(")
_BULLET = re.compile(r"^(\s*)[-*]\s+(?=\S)")
_FILE_ENDING = re.compile(r"\.(pdf|docx?|pptx?|xlsx?|csv|html?|md|txt|eml)$", re.IGNORECASE)


def shortened(text: str, length: int) -> str:
    """The text on one line, cut at a word's end where it is longer than `length` characters."""
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    return text[: length - 1].rsplit(" ", 1)[0].rstrip(",;:. ") + "…"


def source_title(title: str) -> str:
    """A document's title without the ending of its file's name."""
    return _FILE_ENDING.sub("", title.strip()) or title


def heading(section: str) -> str:
    """The innermost heading of a path such as `Subpart A > § 1005.11 Procedures`."""
    return " ".join(section.rsplit(" > ", maxsplit=1)[-1].split())


def place(section: str, page: int, page_label: str) -> str:
    """Where in its document something stands: `§ 1005.11`, the name of a sheet, or `p. 12`."""
    if sign := _PARAGRAPH_SIGN.search(heading(section)):
        return sign[0]
    if page_label and not page_label.isdecimal():
        return shortened(page_label, MAX_TITLE)
    return f"p. {page_label or page}"


def citation_labels(citations: Sequence[Citation]) -> list[str]:
    """What stands on the buttons of an answer's sources: `[1] 2023 Q2 AAPL · p. 12`.

    The next source in the same document names only its place, `[2] p. 14`: ten buttons of one document stay readable.
    """
    labels, before = [], ""
    for citation in citations:
        where = place(citation.section, citation.page, citation.page_label)
        source = f"{short_title(citation.title)} · {where}" if citation.document_id != before else where
        labels.append(f"[{citation.marker}] {source}")
        before = citation.document_id
    return labels


def short_title(title: str) -> str:
    """A document's title for a button: `Regulation E: Electronic Fund Transfers (12 CFR 1005)` is `Regulation E`."""
    title = source_title(title)
    head = _ADDENDUM.split(title, maxsplit=1)[0]
    return shortened(head if len(head) >= SHORTEST_HEAD else title, MAX_TITLE)


def citation_tooltip(citation: Citation) -> str:
    """The quote, as it appears above a source's button."""
    return f"“{shortened(citation.quote, MAX_TOOLTIP)}”" if citation.quote.strip() else "Open this source"


def panel_title(citation: Citation) -> str:
    """The heading of the panel beside the chat."""
    return f"{source_title(citation.title)} · {place(citation.section, citation.page, citation.page_label)}"


def sentence_markdown(text: str) -> str:
    """A piece of an answer while it streams. Its markers are links that the page's script turns into button clicks."""
    return _MARKER.sub(_marker_link, answer_markdown(text))


def answer_text(answer: Answer) -> str:
    """A finished answer's text, with the quote as the title of each marker."""
    quotes = {citation.marker: citation for citation in answer.citations}

    def linked(found: re.Match[str]) -> str:
        citation = quotes.get(int(found[2]))
        if citation is None:
            return found[0]
        title = _link_title(f"{panel_title(citation)}: {shortened(citation.quote, MAX_LINK_TITLE)}")
        return _marker_link(found, f' "{title}"')

    return _MARKER.sub(linked, answer_markdown(answer.text))


def _marker_link(found: re.Match[str], title: str = "") -> str:
    space = NO_BREAK_SPACE if found[1] else ""  # a marker never starts a line
    return f"{space}[\\[{found[2]}\\]](#source-{found[2]}{title})"


def _link_title(text: str) -> str:
    return " ".join(text.split()).replace("\\", "").replace('"', "'").replace("&", "and").replace("`", "'")


def step_name(passages: Sequence[PassageHeader]) -> str:
    """What the retrieval step is called once it is over."""
    documents = len({passage.document_id for passage in passages})
    if not passages:
        return "Searched the documents: nothing fits"
    return f"Searched {_counted(len(passages), 'passage')} in {_counted(documents, 'document')}"


def step_body(passages: Iterable[PassageHeader], rewritten: str = "") -> str:
    """The passages that were read, best first, as a numbered list, below the question that was searched for."""
    found = "\n".join(f"{number}. {_passage_line(passage)}" for number, passage in enumerate(passages, start=1))
    return f"Understood as: {plain_markdown(rewritten)}\n\n{found}" if rewritten else found


def _passage_line(passage: PassageHeader) -> str:
    where = _whereabouts(passage.section, place(passage.section, passage.page, passage.page_label))
    return f"**{plain_markdown(source_title(passage.title))}** · {where}"


def _whereabouts(section: str, where: str) -> str:
    section = shortened(heading(section), MAX_SECTION)
    parts = [section] if where in section else [where, section]
    return " · ".join(plain_markdown(part) for part in parts if part)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def quote_card(citation: Citation, page_address: str) -> str:
    """The quote and where it stands, above the page in the panel, with a link to the page on its own."""
    where = _whereabouts(citation.section, place(citation.section, citation.page, citation.page_label))
    return f"> {plain_markdown(citation.quote)}\n\n**{where}** · [Open in a new tab]({page_address})"


def page_markdown(page: DocumentPage) -> str:
    """A page's text, paragraph by paragraph, with the quoted words in bold."""
    start, end = (page.highlight.start, page.highlight.end) if page.highlight else (0, 0)
    blocks, offset = [], 0
    for line in page.text.split("\n"):
        mark, rest = _bullet(line)
        skipped = offset + len(line) - len(rest)
        block = _highlighted(rest, start - skipped, end - skipped)
        if block:
            blocks.append(mark + block)
        offset += len(line) + 1
    return "\n\n".join(blocks) or "*This page has no text.*"


def _bullet(line: str) -> tuple[str, str]:
    """The sign for a list item, indented as deep as it is written, and the words of the item."""
    found = _BULLET.match(line)
    return (EM_SPACE * (len(found[1]) // 2) + "• ", line[found.end() :]) if found else ("", line)


def _highlighted(line: str, start: int, end: int) -> str:
    start, end = max(0, min(start, len(line))), max(0, min(end, len(line)))
    quoted = plain_markdown(line[start:end])
    if not quoted:
        return plain_markdown(line)
    return f"{_beside(line[:start], -1)}**{quoted}**{_beside(line[end:], 0)}"


def _beside(text: str, edge: int) -> str:
    """Text next to a bold part. Markdown needs a space there, or it shows the asterisks."""
    shown = plain_markdown(text)
    if not shown:
        return ""
    space = " " if text[edge].isspace() else HAIR_SPACE
    return shown + space if edge else space + shown
