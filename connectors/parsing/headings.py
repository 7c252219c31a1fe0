"""Which lines of a PDF are headings. PDFs do not say; size and weight of the letters tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from connectors.parsing.layout import Line

# A heading is a short line, larger than the body or all bold and not smaller than it. Column heads of tables are
# smaller or hold years, rows end in numbers; "Table of Contents" is the link on every page of a filing.
_HEADING = re.compile(r"(?!table of contents$)(?!.* \| )(?=.*[^\W\d_]{3})[^\W_].{2,119}(?<![,;])", re.IGNORECASE)
_TABLE = re.compile(
    r"(january|february|march|april|may|june|july|august|september|october|november|december)\b[\s\d,]*$"
    r"|.*\b(19|20)\d\d\b.*\b(19|20)\d\d\b|.*\$|(three|six|nine|twelve|\d+) (months|weeks) ended|years? ended"
    r"|.*(\s\(?[\d.,$%—–-]+\)?){2}$",
    re.IGNORECASE,
)
_LARGER = ((1.6, 1), (1.25, 2), (1.1, 3))  # size against the body's size, and the level it means
_SAME_SIZE = 0.97  # give or take rounding
_BOLD_LEVEL = 3
_ITEM = re.compile(r"(item|part|note|article|section|appendix|schedule|annex|§)\s*[\divxlc]+\b", re.IGNORECASE)
_ITEM_LEVEL = 2
_PROSE_CHARACTERS = 50
_PROSE_LETTERS = 0.7  # of the characters, spaces included
_FEWEST_PROSE_LINES = 3
_RUNNING_SHARE = 0.2  # of the pages: a line that is a heading on more of them is a running head


def heading_levels(pages: Sequence[Sequence[Line]]) -> list[list[int]]:
    """For every line of every page its heading level 1-6, or 0 for body text and for running heads."""
    sizes = _body_sizes(pages)
    usual = _usual_size(pages)
    levels = [
        [_level(line, size, max(size, usual)) for line in lines] for lines, size in zip(pages, sizes, strict=True)
    ]
    running = _running_heads(pages, levels)
    return [
        [0 if line.text in running else level for line, level in zip(lines, page_levels, strict=True)]
        for lines, page_levels in zip(pages, levels, strict=True)
    ]


def _level(line: Line, body: float, largest_body: float) -> int:
    """The level of a line on a page whose body text is of size `body`."""
    if not _HEADING.fullmatch(line.text) or _TABLE.match(line.text) or body <= 0:
        return 0
    for factor, level in _LARGER:
        if line.size >= factor * largest_body and not line.text[0].islower():
            return level
    if line.bold and line.size >= _SAME_SIZE * body:
        return _ITEM_LEVEL if _ITEM.match(line.text) else _BOLD_LEVEL
    return 0


def _body_sizes(pages: Sequence[Sequence[Line]]) -> list[float]:
    """The size of the body text of each page, in points: the largest in which there is prose (footnotes are smaller).

    Exhibits of a filing differ from the filing. A page without prose has the size of the page before it.
    """
    body = _usual_size(pages)
    sizes = []
    for lines in pages:
        prose = Counter(round(line.size, 1) for line in lines if _is_prose(line))
        body = max((size for size, count in prose.items() if count >= _FEWEST_PROSE_LINES), default=body)
        sizes.append(body)
    return sizes


def _usual_size(pages: Sequence[Sequence[Line]]) -> float:
    """The size of most letters of the document, in points."""
    sizes: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[round(line.size, 1)] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _is_prose(line: Line) -> bool:
    """True for a line of running text, unlike the rows of tables."""
    return len(line.text) >= _PROSE_CHARACTERS and sum(map(str.isalpha, line.text)) >= _PROSE_LETTERS * len(line.text)


def _running_heads(pages: Sequence[Sequence[Line]], levels: Sequence[Sequence[int]]) -> frozenset[str]:
    seen: Counter[str] = Counter()
    for lines, page_levels in zip(pages, levels, strict=True):
        seen.update({line.text for line, level in zip(lines, page_levels, strict=True) if level})
    most = max(2, _RUNNING_SHARE * len(pages))
    return frozenset(text for text, count in seen.items() if count > most)
