"""From the quotes behind a statement to citations that open the right page at the quoted words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from rag.domain import Citation
from rag.query.evidence import Evidence
from rag.query.grounding import MARKER_GROUP, Quote, Verdict
from rag.query.statements import Statement

_QUOTED_MARKER: Final = re.compile(r"\\+\[(\d+)\]")
_PAGE_URL: Final = "/v1/documents/{document}/pages/{page}?start={start}&end={end}"


class Citations:
    """The citations of one answer, numbered from 1 in the order of their first use."""

    def __init__(self, evidence: Sequence[Evidence]) -> None:
        self._evidence = evidence
        self._numbers: dict[tuple[str, int, int, int], Citation] = {}

    @property
    def all(self) -> tuple[Citation, ...]:
        """Every citation so far."""
        return tuple(self._numbers.values())

    def cite(self, statement: Statement, verdict: Verdict) -> tuple[str, tuple[int, ...]]:
        """The statement's text with its final markers, and these markers."""
        groups = iter(verdict.quotes)
        used: list[int] = []

        def renumber(_: re.Match[str]) -> str:
            markers = list(dict.fromkeys(self._cite(quote).marker for quote in next(groups, ())))
            used.extend(marker for marker in markers if marker not in used)
            return " " + "".join(f"[{marker}]" for marker in markers) if markers else ""

        text = MARKER_GROUP.sub(renumber, statement.text)
        return plain(text), tuple(used)

    def _cite(self, quote: Quote) -> Citation:
        """The citation of these words: a new one, or the one that quotes the same words already."""
        source = self._evidence[quote.number - 1]
        start, end = source.start + quote.start, source.start + quote.end
        key = (source.page.document_id, source.page.number, start, end)
        if key not in self._numbers:
            passage = source.passage
            url = _PAGE_URL.format(document=passage.document_id, page=passage.page, start=start, end=end)
            self._numbers[key] = Citation(
                marker=len(self._numbers) + 1,
                document_id=passage.document_id,
                title=passage.title,
                section=passage.section,
                page=passage.page,
                page_label=passage.page_label,
                start=start,
                end=end,
                quote=source.page.text[start:end],
                url=url,
            )
        return self._numbers[key]


def plain(text: str) -> str:
    """`text` for people: what only looked like a marker, in a quotation, becomes a number in round brackets."""
    return _QUOTED_MARKER.sub(r"(\1)", text)
