"""Follow-up questions become questions that stand alone, by rule; what stands alone is left as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from rag.query.asked import periods, read_question
from rag.query.events import Turn
from rag.query.words import stems, tokens

_ELLIPSIS: Final = re.compile(
    r"^(?:(?:and|but|or|so|ok(?:ay)?|then|also)\b[\s,]*)*"
    r"(?:(?:what|how) about|same (?:question )?for)\s+(?P<topic>.+)$",
    re.IGNORECASE,
)
_CONTINUES: Final = re.compile(r"^(?:and|but|or|then|also|so)\b[\s,]+(?P<rest>.+)$", re.IGNORECASE)
_PHRASE: Final = re.compile(
    r"^(?:for|in|on|with|by|under|at|if|when|after|before|during|without|from|within|to|of)\b", re.IGNORECASE
)
_PRONOUN: Final = re.compile(r"\b(?:it|they|them|this|that|these|those|its|their|he|she|him|her)\b", re.IGNORECASE)
_ALONE: Final = re.compile(  # a pronoun that stands for a thing, not one that points at the noun after it
    r"\b(?:it|they|them|(?:this|that|these|those)(?=\s*(?:[?.!,]|$|is\b|are\b|was\b|were\b|be\b|do\b|does\b|apply"
    r"|applies|mean|have\b|has\b|can\b|must\b|work|change|expire|happen|cost|last\b|end\b|differ|compare)))\b",
    re.IGNORECASE,
)
_THING: Final = re.compile(
    r"^(?:please\s+)?(?:(?:can|could|would) you\s+)?(?:tell me(?: about)?|explain|describe|what|which|who|where|when)?"
    r"\s*(?:is|are|was|were)\s+(?P<thing>(?:(?:the|an|a)\s+)?.+)$|^(?:tell me about|explain|describe)\s+(?P<told>.+)$",
    re.IGNORECASE,
)
_ASKS: Final = re.compile(r"\b(?:what|how|who|which|why|where|do|does|can|must|may|should)\b", re.IGNORECASE)
_YEAR: Final = re.compile(r"\b(?:19|20)\d\d\b")
_FEW_TERMS: Final = 4  # content words: a longer question brings its own subject, even with a pronoun in it
_VERY_FEW_TERMS: Final = 1
_FRAGMENT_WORDS: Final = 3
_LOOK_BACK: Final = 6  # turns of the user that can matter


def stand_alone(question: str, history: Sequence[Turn]) -> str:
    """`question` with what it owes to earlier questions of the user; unchanged when it stands alone."""
    subject = ""
    for turn in [each for each in history if each.role == "user"][-_LOOK_BACK:]:
        subject = _with_subject(" ".join(turn.content.split()), subject)
    return _with_subject(question, subject)


def points_back(question: str) -> bool:
    """True when a pronoun, or how the question begins, may refer to something said before."""
    return any(pattern.search(question) for pattern in (_PRONOUN, _ELLIPSIS, _CONTINUES))


def _with_subject(question: str, subject: str) -> str:
    if not subject or not question:
        return question
    elliptic = _ELLIPSIS.match(question)
    continued = _CONTINUES.match(question)
    rest = elliptic["topic"] if elliptic else continued["rest"] if continued else question
    few = len(stems(rest)) <= _FEW_TERMS
    short = continued is not None and (_PHRASE.match(rest) is not None or len(rest.split()) <= _FRAGMENT_WORDS)
    if elliptic or short or (few and _PHRASE.match(rest) and not _ASKS.search(rest)):
        return _substituted(subject, rest, "for")
    if few and _PRONOUN.search(rest) and not _brings_its_noun(rest):
        return _resolved(rest, subject)
    if len(stems(rest)) <= _VERY_FEW_TERMS or (continued and few):
        return f"{rest.rstrip(' ?.!')}, regarding: {subject}"
    return question


def _brings_its_noun(question: str) -> bool:
    """True when content words come before the pronoun, so that it can point at them."""
    match = _PRONOUN.search(question)
    return match is not None and len(stems(question[: match.start()])) >= 2


def _substituted(subject: str, topic: str, word: str) -> str:
    """The earlier question about another period, company or thing."""
    topic = topic.rstrip(" ?.!")
    old, new = read_question(subject), read_question(f"x {topic}")
    new_names = new.names or {each.lower() for each in re.findall(r"^[A-Z][a-z]+$|^[A-Z]{3,}$", topic)}
    bare = re.sub(rf"^(?:{word}|in|of|on|with|at|from)\s+(?:the\s+)?", "", topic, flags=re.IGNORECASE)
    if len(old.names) == 1 and len(new_names) == 1 and not new.periods:
        (name,), (new_name,) = old.names, new_names
        # Of "the Silver account" after "of the Gold account" only the name is new.
        if set(tokens(bare)) - {new_name, "the", "a", "an"} <= set(tokens(subject)):
            bare = next((word for word in bare.split() if new_name in tokens(word)), bare)
        return re.sub(rf"\b{re.escape(name)}\b", bare, subject, flags=re.IGNORECASE)
    changed = _other_period(subject, topic)
    if changed:
        return changed
    phrase = topic if _PHRASE.match(topic) else f"{word} {topic}"
    return f"{subject.rstrip(' ?.!')} {phrase}?"


def _other_period(subject: str, topic: str) -> str:
    old, new = periods(subject), periods(topic)
    quarter = next((each.upper() for each in new if len(each) == len("q1")), "")
    year = next((each for each in new if each.isdigit()), "")
    if not new or not old or not (stems(topic) and len(stems(topic)) <= 3):
        return ""
    changed = _YEAR.sub(year, subject) if year else subject
    changed = re.sub(r"\bQ[1-4]\b", quarter, changed) if quarter else changed
    return changed if changed != subject else ""


def _resolved(question: str, subject: str) -> str:
    """The question with the thing of the earlier question in the place of its pronoun."""
    match = _THING.match(subject.rstrip(" ?.!"))
    thing = (match["thing"] or match["told"]) if match else ""
    if thing and _ALONE.search(question):
        return _ALONE.sub(lambda _: thing, question, count=1)
    return f"{question.rstrip(' ?.!')}, regarding: {subject}"
