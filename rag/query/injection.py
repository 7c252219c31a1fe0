"""Orders to a language model that stand in documents, titles or questions, and what is done about them.

Text is judged sentence by sentence. Each rule that a sentence matches adds its weight; from 1 on the sentence is taken
out of what an engine reads and of what can be quoted. Beside a sentence that was taken out, half of that is enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Final

from rag.domain import Passage
from rag.query.events import Turn
from rag.query.evidence import Evidence
from rag.query.grounding import Verdict
from rag.query.injection_rules import CODE, RULES, readings
from rag.query.sentences import Span, sentence_spans

WITHHELD: Final = "(withheld: it gives orders to a language model)"
ONLY_ORDERS: Final = (
    "This reads as an instruction to me, not as a question, and I follow none. "
    "Ask me something about the bank's documents."
)
_ENOUGH: Final = 1.0
_ENOUGH_BESIDE: Final = 0.5
_BLOCK: Final = re.compile(r"\n\s*\n|(?<=[.!?:;>])[ \t]*\n|\n(?=[ \t]*[-*•#|(<\[])")
_MASK: Final = "\n\n█\n\n"  # a heading of its own: no segment holds it, and no quotation reaches over it
_LINKS: Final = re.compile(
    r"(?:https?|ftp|data|javascript):[^\s)>\]\"']+|www\.[^\s)>\]\"']+|[\w.+-]+@[\w-]+\.\w+", re.I
)
_ACTIVE: Final = re.compile(r"!\[[^\]]*\]\s*[(\[]|<\s*/?\s*(?:img|script|iframe|a|svg|style|form|object|embed)\b", re.I)


@dataclass(frozen=True, slots=True)
class Finding:
    """`text[start:end]` gives orders to a model; `reasons` names the rules that it matched, in order."""

    start: int
    end: int
    reasons: tuple[str, ...]
    score: float


@lru_cache(maxsize=2048)
def suspicious(text: str) -> tuple[Finding, ...]:
    """The sentences of `text` that are aimed at a language model, in order. Nothing is changed."""
    found = [_judged(text, span) for span in _sentences(text)]
    held = [each.score >= _ENOUGH for each in found]
    beside = [
        held[index] or (each.score >= _ENOUGH_BESIDE and any(held[max(0, index - 1) : index + 2]))
        for index, each in enumerate(found)
    ]
    return tuple(each for each, taken in zip(found, beside, strict=True) if taken)


def masked(text: str) -> str:
    """`text` of the same length, with a bar in the place of each suspicious sentence."""
    for each in suspicious(text):
        length = each.end - each.start
        text = text[: each.start] + (_MASK + "\n" * length)[:length] + text[each.end :]
    return text


def without_orders(text: str) -> str:
    """`text` without its suspicious sentences; unchanged when it has none."""
    findings = suspicious(text)
    if not findings:
        return text
    ends = [0, *(each.end for each in findings)]
    starts = [*(each.start for each in findings), len(text)]
    return " ".join(filter(None, (text[end:start].strip() for end, start in zip(ends, starts, strict=True))))


def screen_passages(passages: Iterable[Passage]) -> list[Passage]:
    """The passages with titles, sections and page labels that can be shown. Their text stays what is on the page."""
    return [
        replace(each, title=_label(each.title), section=_label(each.section), page_label=_label(each.page_label))
        for each in passages
    ]


def screen_evidence(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The evidence as an engine may read it and an answer may quote it. Offsets stay those of the page."""
    return [_screened(each) for each in evidence]


def screen_question(question: str, history: Sequence[Turn]) -> tuple[str, tuple[Turn, ...]]:
    """The question and what was said before it, without orders; a turn that held nothing else is left out."""
    cleaned = (Turn(each.role, without_orders(each.content)) for each in history)
    return without_orders(question), tuple(each for each in cleaned if each.content)


def foreign(statement: str, verdict: Verdict, evidence: Sequence[Evidence]) -> str:
    """Why what an engine wrote must not be shown although the evidence supports it; else ''."""
    if _ACTIVE.search(statement):
        return "it holds an image or markup"
    quotes = [quote for group in verdict.quotes for quote in group]
    cited = " ".join(evidence[each.number - 1].text[each.start : each.end] for each in quotes)
    links_and_codes = [each.group().rstrip(".,;") for found in (_LINKS, CODE) for each in found.finditer(statement)]
    if any(each not in cited for each in links_and_codes):
        return "it holds a link or a code that is not in the cited sentences"
    return "it gives orders to a language model" if suspicious(statement) else ""


def _screened(evidence: Evidence) -> Evidence:
    text, page = masked(evidence.text), evidence.page
    if text == evidence.text:
        return evidence
    return replace(evidence, page=replace(page, text=page.text[: evidence.start] + text + page.text[evidence.end :]))


def _label(text: str) -> str:
    return WITHHELD if suspicious(text) else text


def _sentences(text: str) -> list[Span]:
    """Sentences, each within one paragraph, list item or table row."""
    cuts = [0, *(each.end() for each in _BLOCK.finditer(text)), len(text)]
    return [span for start, end in pairwise(cuts) for span in sentence_spans(text, start, end)]


def _judged(text: str, span: Span) -> Finding:
    best: tuple[float, tuple[str, ...]] = (0.0, ())
    for reading in readings(text[span.start : span.end]):
        matched = [rule for rule in RULES if rule.pattern.search(reading)]
        strongest = {rule.name: max(each.weight for each in matched if each.name == rule.name) for rule in matched}
        best = max(best, (round(sum(strongest.values()), 3), tuple(strongest)))
    return Finding(span.start, span.end, best[1], best[0])
