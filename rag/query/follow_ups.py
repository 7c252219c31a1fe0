"""Follow-up questions that an engine makes stand alone; what it writes is checked, and the rules stand in for it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from rag.errors import Busy
from rag.query.events import Turn
from rag.query.generating import Writer, close_stream
from rag.query.prompting import fenced, single_line, template
from rag.query.rewriting import points_back, stand_alone
from rag.query.words import stems, tokens

logger = logging.getLogger(__name__)

_TEMPLATE: Final = "rewrite-1"
_LOOK_BACK: Final = 6  # turns, of both sides
_OF_AN_ANSWER: Final = 300  # characters
_LONGEST: Final = 400  # characters of a question that stands alone
_BRINGS_ITS_SUBJECT: Final = 5  # content words: with so many, and nothing that points back, a question stands alone
_KEPT: Final = 0.6  # share of the follow-up's content words; the rest may be "about" in other words
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_NAME: Final = re.compile(r"(?<=[^\s.?!] )[A-Z][\w&’'-]*|\b[A-Z]{2,}\b|\b\w*[a-z][A-Z]\w*")
_NEGATION: Final = re.compile(
    r"\b(?:not|no|never|none|nor|without|except|excluding|unless|neither)\b|n[’']t\b", re.IGNORECASE
)
_JOINING: Final = frozenset({"regard", "concern", "relat", "context", "case"})  # stems that only join the parts

By = Literal["nobody", "rules", "engine"]


@dataclass(frozen=True, slots=True)
class Rewriting:
    """The question that is searched for, and who made it from the one asked: `nobody` when they are the same."""

    question: str
    by: By


async def rewrite(question: str, history: Sequence[Turn], writer: Writer | None, seconds: float) -> Rewriting:
    """`question` as one that stands alone. `writer` is asked when one is given and the question may owe something.

    Nothing that goes wrong with the engine is raised: the rules then decide.
    """
    by_rules = await asyncio.to_thread(stand_alone, question, history) if history else question
    fallback = Rewriting(by_rules, "nobody" if by_rules == question else "rules")
    if writer is None or not may_owe(question, history, by_rules):
        return fallback
    if not writer.breaker.admits():
        return fallback
    try:
        async with asyncio.timeout(seconds):
            text = await _first_line(writer.llm, rewriting_prompt(question, history))
    except Exception as error:  # noqa: BLE001 - whatever an engine raises, the question is answered all the same
        if not isinstance(error, Busy):
            writer.breaker.failed()
        logger.warning("engine %s did not rewrite a follow-up: %s", writer.name, type(error).__name__)
        return fallback
    writer.breaker.succeeded()
    if text == question:
        return Rewriting(question, "nobody")
    objection = objection_to(text, question, history)
    if objection:
        logger.info("engine %s: a rewriting was not used: %s", writer.name, objection)
        return fallback
    return Rewriting(text, "engine")


def rewriting_prompt(question: str, history: Sequence[Turn]) -> str:
    """The text for an engine: constant instructions first, the conversation as quoted data, the question last."""
    turns = [
        f"{'User' if each.role == 'user' else 'Assistant'}:\n{fenced(_shown(each))}" for each in history[-_LOOK_BACK:]
    ]
    return "\n".join([template(_TEMPLATE), *turns, f"Last question:\n{fenced(question)}\n\nRewritten:"])


def objection_to(text: str, question: str, history: Sequence[Turn]) -> str:
    """Why `text` may not stand for `question`; empty when it may. Never holds words of either."""
    said = [question, *(each.content for each in history)]
    earlier = [each.content for each in history if each.role == "user"]
    names = {word for each in _NAME.findall(question) if each != "I" for word in tokens(each)}
    asked, now, own = set(_NUMBER.findall(question)), set(_NUMBER.findall(text)), set(stems(question))
    lost_negation = _negated(question) and not _negated(text)
    new_negation = _negated(text) and not any(map(_negated, [question, *earlier]))
    objections = {
        "empty or too long": not 0 < len(text) <= _LONGEST,
        "a number or date was lost": not asked <= now,
        "a number or date was added": not now <= {number for each in said for number in _NUMBER.findall(each)},
        "a name was lost": not names <= set(tokens(text)),
        "a negation was lost or added": lost_negation or new_negation,
        "something was added": not set(stems(text)) <= {word for each in said for word in stems(each)} | _JOINING,
        "the question was replaced": len(own & set(stems(text))) < _KEPT * len(own),
    }
    return next((objection for objection, holds in objections.items() if holds), "")


def may_owe(question: str, history: Sequence[Turn], by_rules: str) -> bool:
    """Whether an engine that generates, if there is one, is asked what the question owes to the conversation."""
    return any(each.role == "user" for each in history) and not _stands_alone(question, by_rules)


def _stands_alone(question: str, by_rules: str) -> bool:
    return by_rules == question and len(stems(question)) >= _BRINGS_ITS_SUBJECT and not points_back(question)


def _shown(turn: Turn) -> str:
    text = single_line(turn.content)
    return text if turn.role == "user" or len(text) <= _OF_AN_ANSWER else f"{text[:_OF_AN_ANSWER].rsplit(' ', 1)[0]} …"


def _negated(text: str) -> bool:
    return _NEGATION.search(text) is not None


async def _first_line(llm: Any, prompt: str) -> str:
    """The first line that the engine writes. The stream is closed after it, so that it costs no more."""
    text = ""
    responses = await llm.astream_complete(prompt)
    try:
        async for response in responses:
            text += response.delta or ""
            if "\n" in text.strip() or len(text) > 2 * _LONGEST:
                break
    finally:
        await close_stream(responses)
    lines = text.strip().split("\n")
    return single_line(lines[0]).strip('> "“”')
