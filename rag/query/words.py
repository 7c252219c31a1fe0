"""Words as questions and documents share them: British and American spelling folded, endings removed."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Set
from functools import lru_cache
from typing import Final

import Stemmer

from rag.query.vocabulary import ALSO_CALLED, FAMILIES

_WORD: Final = re.compile(r"[^\W_]+(?:[&'’][^\W_]+)*")
_THREAD: Final = threading.local()  # a stemmer keeps state while it works: one for each thread

# Words that carry grammar or politeness, not subject matter. Question words are among them: passages do not ask.
_STOP_WORDS: Final = """
    a about above after again all also am an and any anyone are as at be because been before being below between both
    but by came can come could did do does doing done down each either else ever every explain few find for from further
    get gets getting give given go got had happen happens has have having he help her here hers him his how however i if
    in into is it its just know let like list many may me might mine more most much must my need needs no nor not now of
    off on once one only or other our ours out over own please provide really same say says shall she should show so
    some still such summarize describe tell than that the their theirs them then there these they thing things this
    those through to too under until up upon us use very want was we were what when where whether which while who whom
    whose why will with within without would yes yet you your yours
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS.split())

# Ordered endings. Both sides of a comparison are folded alike, so a word that is folded needlessly still equals itself.
_SPELLINGS: Final = tuple(
    (re.compile(pattern), american)
    for pattern, american in (
        (r"is(e|es|ed|er|ers|ing|ation|ations|ational)$", r"iz\1"),
        (r"ys(e|es|ed|er|ing)$", r"yz\1"),
        (r"^(.{2,})our(s|ed|ing|able|ite|al|ful|less|hood|)$", r"\1or\2"),
        (r"^(cent|met|theat|lit|fib)re(s|d|)$", r"\1er\2"),
        (r"^cheque(s|book|books|)$", r"check\1"),
        (r"^(licen|defen|offen|preten)ce(s|d|)$", r"\1se\2"),
        (r"ll(ed|ing|er|ers)$", r"l\1"),
        (r"^(enrol|instal|fulfil|skil)l?(ment|ments|s|ful|)$", r"\1l\2"),
        (r"^programme(s|)$", r"program\1"),
        (r"^judgement(s|)$", r"judgment\1"),
        (r"^ageing$", "aging"),
        (r"^grey$", "gray"),
    )
)
_STAND_IN: Final = 0.7
_FOLD_FIRST_AT: Final = 4  # letters; "our", "use" and "ise" itself stay as they are


def tokens(text: str) -> list[str]:
    """Every word and number of `text` in lower case, in order; "R&D" and "bank's" stay whole."""
    return [match.group().lower().replace("’", "'").removesuffix("'s") for match in _WORD.finditer(text)]


_FAMILY_OF: Final = {word: family.split()[0] for family in FAMILIES for word in family.split()}


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The form under which `word`, in lower case, is compared: "unauthorised" and "unauthorized" are one."""
    folded = american(word)
    stemmer = getattr(_THREAD, "stemmer", None)
    if stemmer is None:
        stemmer = _THREAD.stemmer = Stemmer.Stemmer("english")
    return str(stemmer.stemWord(_FAMILY_OF.get(folded, folded)))


@lru_cache(maxsize=65_536)
def american(word: str) -> str:
    """`word`, in lower case, in a folded spelling that both sides of the Atlantic share."""
    if len(word) < _FOLD_FIRST_AT:
        return word
    for pattern, replacement in _SPELLINGS:
        folded, count = pattern.subn(replacement, word)
        if count:
            return folded
    return word


def stems(text: str) -> list[str]:
    """The stems of all content words and numbers of `text`, in order, stop words left out."""
    return list(_stems(text))


@lru_cache(maxsize=2048)  # the decision, the engine and the next question look at the same passages; about 10 MB
def _stems(text: str) -> tuple[str, ...]:
    return tuple(stem(word) for word in tokens(text) if word not in STOP_WORDS)


@lru_cache(maxsize=4096)
def also_called(word: str) -> frozenset[str]:
    """The stems under which documents may speak of `word`, in lower case, besides its own."""
    singular = word.removesuffix("s")
    return frozenset(stem(each) for each in ALSO_CALLED.get(word, ALSO_CALLED.get(singular, "")).split())


def also_asked(question: str) -> str:
    """The words under which documents may speak of what `question` says otherwise; empty when there are none."""
    asked = tokens(question)
    found = (ALSO_CALLED.get(word, ALSO_CALLED.get(word.removesuffix("s"), "")) for word in asked)
    return " ".join(dict.fromkeys(each for words in found for each in words.split() if each not in asked))


def coverage(wanted: Mapping[str, frozenset[str]], weights: Mapping[str, float], present: Set[str]) -> float:
    """The weighted share, 0..1, of the `wanted` stems that are `present`; 0 when nothing is wanted.

    `wanted` maps each stem to what it is also called; such a stand-in counts 0.7.
    """
    total = found = 0.0
    for each, others in wanted.items():
        weight = weights.get(each, 1.0)
        total += weight
        found += weight if each in present else _STAND_IN * weight if others & present else 0.0
    return found / total if total else 0.0
