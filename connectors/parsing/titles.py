"""What a document is called where nobody said so in a sidecar."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

from connectors.parsing.document import PageDraft
from connectors.parsing.text import clean

_LONGEST_TITLE = 200
_WORD = re.compile(r"[^\W\d_]{3,}")
_PROGRAM_PREFIX = re.compile(r"^(microsoft (word|powerpoint|excel) - |slide 1$)", re.IGNORECASE)
_FILE_NAME = re.compile(r"\.(docx?|pdf|xlsx?|pptx?|html?|indd|qxd|rtf|txt)$", re.IGNORECASE)
_MEANINGLESS = re.compile(
    r"^(untitled|document|presentation|workbook|book|scan|img|image|file|new|default|title|temp|tmp|export|download"
    r"|powerpoint presentation|normal)[\s\d_().-]*$",
    re.IGNORECASE,
)
_MOSTLY_LETTERS = 0.6
_RANDOM_NAME = re.compile(r"^[0-9a-f-]{16,}$", re.IGNORECASE)


def is_sane(title: str) -> bool:
    """True for a title that a person wrote: not a file name, an accession number, a time stamp or a placeholder."""
    if not 3 <= len(title) <= _LONGEST_TITLE or _FILE_NAME.search(title) or _MEANINGLESS.match(title):
        return False
    visible = title.replace(" ", "")
    return bool(_WORD.search(title)) and sum(map(str.isalpha, visible)) >= _MOSTLY_LETTERS * len(visible)


def tidy(title: object) -> str:
    """A metadata title on one line without the name of the program that wrote it; "" unless it is a sane one."""
    if not isinstance(title, str):
        return ""
    line = _PROGRAM_PREFIX.sub("", " ".join(clean(title).split()))
    return line if is_sane(line) else ""


def from_name(name: str) -> str:
    """The file name without folders and extension, with separators as spaces; "Untitled" where nothing is left."""
    stem = PurePosixPath(name.replace("\\", "/")).name
    base, dot, extension = stem.rpartition(".")
    if dot and base and len(extension) <= 10:
        stem = base
    readable = "".join(" " if unicodedata.category(letter)[0] in "CZ" or letter == "_" else letter for letter in stem)
    return " ".join(readable.split())[:_LONGEST_TITLE] or "Untitled"


def from_headings(pages: Sequence[PageDraft]) -> str:
    """The first heading that can stand as a title, or ""."""
    for page in pages:
        for _, _, heading in page.headings:
            if is_sane(heading):
                return heading
    return ""


def is_telling(name: str) -> bool:
    """True for a file name that says what the file is, unlike scan0001.pdf or the random names of download folders."""
    title = from_name(name)
    return sum(map(str.isalpha, title)) > 1 and not _MEANINGLESS.match(title) and not _RANDOM_NAME.match(title)
