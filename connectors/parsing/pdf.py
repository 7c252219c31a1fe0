"""PDF, page by page, with PDFium. Its text comes in reading order with table rows on one line."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator

import pypdfium2 as pdfium
from pypdfium2 import raw

from connectors.base import Concealed
from connectors.errors import SourceUnreadable
from connectors.parsing import titles
from connectors.parsing.document import Draft, PageDraft, ParsingLimits
from connectors.parsing.headings import heading_levels
from connectors.parsing.layout import Line, join_heads, join_rows, starts_paragraph
from connectors.parsing.text import clean
from connectors.parsing.unseen_pdf import concealed_on

_TRAILER_BYTES = 4096  # the end mark stands in the last kilobyte; some programs append padding
_LINE_BREAK_HYPHEN = "\ufffe"  # how PDFium marks a hyphen that ended a line, after which it joined the word's halves
_BROKEN_WORD = re.compile(rf"(\w+){_LINE_BREAK_HYPHEN}(\w+)")
_WORD = re.compile(r"[^\W\d_]{4,}")
_BOLD = re.compile(rb"bold|black|heavy|semib|demi", re.IGNORECASE)
_BOLD_WEIGHT = 600


def parse(content: bytes, limits: ParsingLimits) -> Draft:
    """The pages of a PDF. Raises `SourceUnreadable` (encrypted, malformed, no_text, too_large)."""
    if b"%%EOF" not in content[-_TRAILER_BYTES:]:
        message = "The PDF is incomplete: its end is missing; get it again from where it was made."
        raise SourceUnreadable("malformed", message)
    with _open(content) as document:
        if len(document) > limits.max_pages:
            message = f"The PDF has {len(document)} pages, more than the {limits.max_pages} allowed; split it."
            raise SourceUnreadable("too_large", message)
        pages, concealed = _read_pages(document, limits.max_characters)
        title = titles.tidy(document.get_metadata_value("Title"))
        labels = _labels(document)
    return Draft(title, _finish(pages, labels), concealed)


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


def _read_pages(document: pdfium.PdfDocument, most_characters: int) -> tuple[list[list[Line]], list[Concealed]]:
    pages: list[list[Line]] = []
    concealed: list[Concealed] = []
    characters = 0
    for index in range(len(document)):
        try:
            lines, length, unseen = _read_page(document, index, most_characters - characters)
        except pdfium.PdfiumError:
            message = f"Page {index + 1} of the PDF cannot be read; get the file again or print it to a new PDF."
            raise SourceUnreadable("malformed", message) from None
        characters += length
        pages.append(lines)
        concealed += unseen
    if characters == 0:
        message = "The PDF holds pictures of pages and no text; run text recognition (OCR) on it first."
        raise SourceUnreadable("no_text", message)
    return pages, concealed


def _read_page(
    document: pdfium.PdfDocument, index: int, most_characters: int
) -> tuple[list[Line], int, list[Concealed]]:
    """The lines of a page, how many characters PDFium found on it, and those of them that nobody sees."""
    page = document[index]
    text_page = page.get_textpage()
    try:
        count = text_page.count_chars()
        if count > most_characters:
            raise SourceUnreadable("too_large", "The PDF holds more text than is allowed; split it.")
        lines = join_heads(join_rows(list(_lines(text_page, count))))
        return lines, count, list(concealed_on(page, text_page, index + 1)) if count else []
    finally:
        text_page.close()
        page.close()


def _lines(text_page: pdfium.PdfTextPage, count: int) -> Iterator[Line]:
    """Lines as PDFium orders them. Boxes and fonts are those of the first and last letters, which is cheap."""
    text = text_page.get_text_range()
    has_boxes = count == len(text)  # else positions in the text are not those of letters on the page
    position = 0
    for line in text.split("\r\n"):
        visible = line.strip()
        if visible:
            first = position + line.index(visible[0])
            last = first + len(visible) - 1
            yield _measure(text_page, visible, first, last) if has_boxes else Line(visible, 0, 0, 0, 0, 0, bold=False)
        position += len(line) + 2


def _measure(text_page: pdfium.PdfTextPage, text: str, first: int, last: int) -> Line:
    start, end = raw.FS_RECTF(), raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(text_page, first, ctypes.byref(start))
    raw.FPDFText_GetLooseCharBox(text_page, last, ctypes.byref(end))
    bold = _is_bold(text_page, first) and _is_bold(text_page, last)
    return Line(text, start.left, end.right, start.bottom, start.top, start.top - start.bottom, bold)


def _is_bold(text_page: pdfium.PdfTextPage, index: int) -> bool:
    """By the font's name, because programs forget the weight; by the weight where the name says nothing."""
    name = ctypes.create_string_buffer(96)
    raw.FPDFText_GetFontInfo(text_page, index, name, 96, None)
    return bool(_BOLD.search(name.value)) or raw.FPDFText_GetFontWeight(text_page, index) >= _BOLD_WEIGHT


def _labels(document: pdfium.PdfDocument) -> list[str]:
    """What each page is called in the PDF ("iv", "A-3"), or "" where that is its number."""
    labels = [clean(document.get_page_label(index) or "") for index in range(len(document))]
    return ["" if label == str(number) else label for number, label in enumerate(labels, start=1)]


def _finish(pages: list[list[Line]], labels: list[str]) -> list[PageDraft]:
    words = _vocabulary(pages)
    for lines in pages:
        for line in lines:
            line.text = clean(_mend(line.text, words))
    levels = heading_levels(pages)
    return [_draft(*page) for page in zip(pages, levels, labels, strict=True)]


def _draft(lines: list[Line], levels: list[int], label: str) -> PageDraft:
    """A page's text with empty lines before paragraphs and headings."""
    parts: list[str] = []
    headings: list[tuple[int, int, str]] = []
    length = 0
    before: tuple[Line, int] | None = None
    for line, level in zip(lines, levels, strict=True):
        if not line.text:
            continue
        gap = (
            "" if before is None else "\n\n" if (level and not before[1]) or starts_paragraph(before[0], line) else "\n"
        )
        if level:
            headings.append((length + len(gap), level, " ".join(line.text.split())))
        parts.append(gap + line.text)
        length += len(gap) + len(line.text)
        before = line, level
    return PageDraft("".join(parts), label, tuple(headings))


def _vocabulary(pages: list[list[Line]]) -> frozenset[str]:
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
