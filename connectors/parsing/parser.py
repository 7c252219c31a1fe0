"""From a file to its pages: the one function that the child process runs for each document."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace

from connectors.errors import SourceUnreadable
from connectors.parsing import media, titles
from connectors.parsing.document import Draft, ParsedDocument, ParsingLimits, number_pages

# Where each type is parsed: module, function. Imported when the first file of the type arrives.
_PARSERS = {
    media.PDF: ("connectors.parsing.pdf", "parse"),
    media.DOCX: ("connectors.parsing.office", "parse_docx"),
    media.PPTX: ("connectors.parsing.office", "parse_pptx"),
    media.XLSX: ("connectors.parsing.tabular", "parse_xlsx"),
    media.CSV: ("connectors.parsing.tabular", "parse_csv"),
    media.HTML: ("connectors.parsing.html", "parse"),
    media.MARKDOWN: ("connectors.parsing.plain", "parse_markdown"),
    media.PLAIN: ("connectors.parsing.plain", "parse_text"),
    media.EML: ("connectors.parsing.plain", "parse_message"),
}

_MOST_CONCEALED = 200  # pieces of unseen text that are reported of one file
_LONGEST_EXCERPT = 1000  # characters of each


def parse_document(name: str, content: bytes, limits: ParsingLimits) -> ParsedDocument:
    """The pages of a file, in this process and without a time limit. Raises `SourceUnreadable`."""
    media_type = media.detect_media_type(name, content)
    module, function = _PARSERS[media_type]
    parse: Callable[[bytes, ParsingLimits], Draft] = getattr(importlib.import_module(module), function)
    draft = parse(content, limits)
    _check(draft, limits)
    concealed = tuple(replace(each, text=each.text[:_LONGEST_EXCERPT]) for each in draft.concealed[:_MOST_CONCEALED])
    return ParsedDocument(_title(draft, media_type, name), media_type, number_pages(draft.pages), concealed)


def _check(draft: Draft, limits: ParsingLimits) -> None:
    if not any(page.text for page in draft.pages):
        raise SourceUnreadable("no_text", "There is no text in the file; remove it or add the text.")
    if len(draft.pages) > limits.max_pages:
        message = f"The file has {len(draft.pages)} pages, more than the {limits.max_pages} allowed; split it."
        raise SourceUnreadable("too_large", message)
    if sum(len(page.text) + 1 for page in draft.pages) > limits.max_characters:
        raise SourceUnreadable("too_large", "The file holds more text than is allowed; split it.")


def _title(draft: Draft, media_type: str, name: str) -> str:
    """The file's own title, else its first heading, else its name.

    For PDFs a telling name goes before the headings, which are guessed there: those of a filing begin with the name of
    the authority, while its file name begins with the company and the period.
    """
    heading = titles.from_headings(draft.pages)
    if media_type == media.PDF and titles.is_telling(name):
        heading = ""
    return draft.title or heading or titles.from_name(name)
