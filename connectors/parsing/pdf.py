"""PDF, page by page, with PDFium. Its text comes in reading order with table rows on one line."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pypdfium2 as pdfium
from pypdfium2 import raw

from connectors.errors import SourceUnreadable
from connectors.parsing import titles
from connectors.parsing.document import Draft, PageDraft, ParsingLimits
from connectors.parsing.text import clean

_TRAILER_BYTES = 4096  # the end mark stands in the last kilobyte; some programs append padding
_LINE_BREAK_HYPHEN = "\ufffe"  # how PDFium marks a hyphen that ended a line, after which it joined the word's halves
_BROKEN_WORD = re.compile(rf"(\w+){_LINE_BREAK_HYPHEN}(\w+)")
_WORD = re.compile(r"[^\W\d_]{4,}")
_BOLD = re.compile(rb"bold|black|heavy|semib|demi", re.IGNORECASE)
_BOLD_WEIGHT = 600

# A heading is a short line, larger than the body or all bold and not smaller than it. Column heads of tables are
# smaller or hold years; "Table of Contents" is the link on every page of a filing.
_HEADING = re.compile(r"(?!table of contents$)(?=.*[^\W\d_]{3})[^\W_].{2,119}(?<![,;])", re.IGNORECASE)
_COLUMN_HEAD = re.compile(
    r"(january|february|march|april|may|june|july|august|september|october|november|december)\b[\s\d,]*$"
    r"|.*\b(19|20)\d\d\b.*\b(19|20)\d\d\b|.*\$|(three|six|nine|twelve|\d+) (months|weeks) ended|years? ended",
    re.IGNORECASE,
)
_LARGER = ((1.6, 1), (1.25, 2), (1.1, 3))  # size against the body's size, and the level it means
_BOLD_LEVEL = 3
_ITEM = re.compile(r"(item|part|note|article|section|appendix|schedule|annex|§)\s*[\divxlc]+\b", re.IGNORECASE)
_ITEM_LEVEL = 2
_RUNNING_SHARE = 0.2  # of the pages: a line that is a heading on more of them is a running head

# Shares of a line's height. Two pieces of text stand on one line when they overlap by half and do not cross; a gap of
# three quarters starts a paragraph.
_SAME_LINE = 0.5
_PARAGRAPH_GAP = 0.75


@dataclass(slots=True)
class _Line:
    """A line of a page: text, box in points, and whether its first and last letters are bold."""

    text: str
    left: float
    right: float
    bottom: float
    top: float
    bold: bool

    @property
    def height(self) -> float:
        return self.top - self.bottom


def parse(content: bytes, limits: ParsingLimits) -> Draft:
    """The pages of a PDF. Raises `SourceUnreadable` (encrypted, malformed, no_text, too_large)."""
    if b"%%EOF" not in content[-_TRAILER_BYTES:]:
        message = "The PDF is incomplete: its end is missing; get it again from where it was made."
        raise SourceUnreadable("malformed", message)
    with _open(content) as document:
        if len(document) > limits.max_pages:
            message = f"The PDF has {len(document)} pages, more than the {limits.max_pages} allowed; split it."
            raise SourceUnreadable("too_large", message)
        pages = _read_pages(document, limits.max_characters)
        title = titles.tidy(document.get_metadata_value("Title"))
        labels = _labels(document)
    return Draft(title, _finish(pages, labels))


def _open(content: bytes) -> pdfium.PdfDocument:
    try:
        document = pdfium.PdfDocument(content)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise SourceUnreadable("encrypted", "The PDF is encrypted; save it without a password.") from None
        raise SourceUnreadable("malformed", "The PDF is damaged; get it again from where it was made.") from None
    if len(document) == 0:
        raise SourceUnreadable("malformed", "The PDF has no pages; get it again from where it was made.")
    return document


def _read_pages(document: pdfium.PdfDocument, most_characters: int) -> list[list[_Line]]:
    pages: list[list[_Line]] = []
    characters = 0
    for index in range(len(document)):
        try:
            lines, length = _read_page(document, index, most_characters - characters)
        except pdfium.PdfiumError:
            message = f"Page {index + 1} of the PDF cannot be read; get the file again or print it to a new PDF."
            raise SourceUnreadable("malformed", message) from None
        characters += length
        pages.append(lines)
    if characters == 0:
        message = "The PDF holds pictures of pages and no text; run text recognition (OCR) on it first."
        raise SourceUnreadable("no_text", message)
    return pages


def _read_page(document: pdfium.PdfDocument, index: int, most_characters: int) -> tuple[list[_Line], int]:
    """The lines of a page, and how many characters PDFium found on it."""
    page = document[index]
    text_page = page.get_textpage()
    try:
        count = text_page.count_chars()
        if count > most_characters:
            raise SourceUnreadable("too_large", "The PDF holds more text than is allowed; split it.")
        return _join_rows(list(_lines(text_page, count))), count
    finally:
        text_page.close()
        page.close()


def _lines(text_page: pdfium.PdfTextPage, count: int) -> Iterator[_Line]:
    """Lines as PDFium orders them. Boxes and fonts are those of the first and last letters, which is cheap."""
    text = text_page.get_text_range()
    has_boxes = count == len(text)  # else positions in the text are not those of letters on the page
    position = 0
    for line in text.split("\r\n"):
        visible = line.strip()
        if visible:
            first = position + line.index(visible[0])
            last = first + len(visible) - 1
            yield _measure(text_page, visible, first, last) if has_boxes else _Line(visible, 0, 0, 0, 0, bold=False)
        position += len(line) + 2


def _measure(text_page: pdfium.PdfTextPage, text: str, first: int, last: int) -> _Line:
    start, end = raw.FS_RECTF(), raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(text_page, first, ctypes.byref(start))
    raw.FPDFText_GetLooseCharBox(text_page, last, ctypes.byref(end))
    bold = _is_bold(text_page, first) and _is_bold(text_page, last)
    return _Line(text, start.left, end.right, start.bottom, start.top, bold)


def _is_bold(text_page: pdfium.PdfTextPage, index: int) -> bool:
    """By the font's name, because programs forget the weight; by the weight where the name says nothing."""
    name = ctypes.create_string_buffer(96)
    raw.FPDFText_GetFontInfo(text_page, index, name, 96, None)
    return bool(_BOLD.search(name.value)) or raw.FPDFText_GetFontWeight(text_page, index) >= _BOLD_WEIGHT


def _join_rows(lines: list[_Line]) -> list[_Line]:
    """Lines with pieces that stand side by side joined: a footnote mark would part a row's label from its numbers."""
    joined: list[_Line] = []
    for line in lines:
        before = joined[-1] if joined else None
        if before is not None and _continues(before, line):
            before.text += " " + line.text
            before.right = line.right
            before.bold = before.bold and line.bold
        else:
            joined.append(line)
    return joined


def _continues(before: _Line, line: _Line) -> bool:
    overlap = min(before.top, line.top) - max(before.bottom, line.bottom)
    smaller = min(before.height, line.height)
    return smaller > 0 and overlap >= _SAME_LINE * smaller and line.left >= before.right - _SAME_LINE * smaller


def _labels(document: pdfium.PdfDocument) -> list[str]:
    """What each page is called in the PDF ("iv", "A-3"), or "" where that is its number."""
    labels = [clean(document.get_page_label(index) or "") for index in range(len(document))]
    return ["" if label == str(number) else label for number, label in enumerate(labels, start=1)]


def _finish(pages: list[list[_Line]], labels: list[str]) -> list[PageDraft]:
    words = _vocabulary(pages)
    body = _body_height(pages)
    levels = [[_level(line, body) for line in lines] for lines in pages]
    running = _running_heads(pages, levels)
    return [
        _draft(lines, page_levels, label, words, running)
        for lines, page_levels, label in zip(pages, levels, labels, strict=True)
    ]


def _draft(
    lines: list[_Line], levels: list[int], label: str, words: frozenset[str], running: frozenset[str]
) -> PageDraft:
    parts: list[str] = []
    headings: list[tuple[int, int, str]] = []
    length = 0
    before: _Line | None = None
    for line, level in zip(lines, levels, strict=True):
        text = clean(_mend(line.text, words))
        if not text:
            continue
        is_heading = level > 0 and line.text not in running
        gap = "" if before is None else "\n\n" if _starts_paragraph(before, line) else "\n"
        if is_heading:
            headings.append((length + len(gap), level, " ".join(text.split())))
        parts.append(gap + text)
        length += len(gap) + len(text)
        before = line
    return PageDraft("".join(parts), label, tuple(headings))


def _starts_paragraph(before: _Line, line: _Line) -> bool:
    height = min(before.height, line.height)
    return height > 0 and before.bottom - line.top > _PARAGRAPH_GAP * height


def _level(line: _Line, body: float) -> int:
    """The heading level of a line, 0 for body text."""
    if not _HEADING.fullmatch(line.text) or _COLUMN_HEAD.match(line.text) or body <= 0:
        return 0
    size = line.height / body
    for factor, level in _LARGER:
        if size >= factor:
            return level
    if line.bold and size >= 0.97:
        return _ITEM_LEVEL if _ITEM.match(line.text) else _BOLD_LEVEL
    return 0


def _body_height(pages: list[list[_Line]]) -> float:
    """The height of most text, in points."""
    heights: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            heights[round(line.height, 1)] += len(line.text)
    return heights.most_common(1)[0][0] if heights else 0.0


def _running_heads(pages: list[list[_Line]], levels: list[list[int]]) -> frozenset[str]:
    seen: Counter[str] = Counter()
    for lines, page_levels in zip(pages, levels, strict=True):
        seen.update({line.text for line, level in zip(lines, page_levels, strict=True) if level})
    most = max(2, _RUNNING_SHARE * len(pages))
    return frozenset(text for text, count in seen.items() if count > most)


def _vocabulary(pages: list[list[_Line]]) -> frozenset[str]:
    """The words of the document in lower case, where a word must be mended; else empty."""
    texts = [line.text for lines in pages for line in lines]
    if not any(_LINE_BREAK_HYPHEN in text for text in texts):
        return frozenset()
    return frozenset(word.lower() for text in texts for word in _WORD.findall(text))


def _mend(text: str, words: frozenset[str]) -> str:
    """Words that were broken over two lines: joined where the document writes them so elsewhere, else hyphenated."""
    if _LINE_BREAK_HYPHEN not in text:
        return text

    def join(match: re.Match[str]) -> str:
        joined = match[1] + match[2]
        return joined if joined.lower() in words else f"{match[1]}-{match[2]}"

    return _BROKEN_WORD.sub(join, text).replace(_LINE_BREAK_HYPHEN, "-")
