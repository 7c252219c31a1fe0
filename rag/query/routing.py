"""Which questions go to people at once: fraud, a lost card, hardship, self-harm and the like, recognised by rule.

A wrong answer costs most here, so nothing is searched and no model is asked. The rules are in `escalation.yaml`: what
somebody tells of himself ("I lost my card") goes to people; what asks about documents ("What does Regulation E say
about lost cards?") or supposes a case ("How much can I lose if my card is stolen?") does not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, Literal, get_args

import yaml

Topic = Literal["self_harm", "fraud", "lost_card", "dispute", "hardship", "complaint", "person"]
TOPICS: Final[tuple[Topic, ...]] = get_args(Topic)  # the first one that fits wins

_RULES_FILE: Final = "escalation.yaml"
_SENTENCE: Final = re.compile(r"(?<=[.!?;])\s+|\n\s*\n")
_NOISE: Final = re.compile(r"[^a-z0-9'?!§. -]+")
_FILLER: Final = re.compile(
    r"\b(?:just|really|actually|also|please|now|today|yesterday|very|so|somehow|recently|probably|totally) (?=[a-z])"
)
_CONTRACTIONS: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\b(?:can'?t|can not)\b", "cannot"),
        (r"\bwon't\b", "will not"),
        (r"\b(do|does|did|is|are|was|were|have|has|had|would|could|should)n'?t\b", r"\1 not"),
        (r"\bi'?m\b", "i am"),
        (r"\b(i|we|they|you)'?ve\b", r"\1 have"),
        (r"\b(i|we|they|you)'d\b", r"\1 would"),
        (r"\b(i|we|they|you)'ll\b", r"\1 will"),
        (r"\b(we|they|you)'re\b", r"\1 are"),
        (r"\b(there|it|he|she|that|who|what|someone|somebody|card)'?s\b", r"\1 is"),
        (r"\bunauthoris", "unauthoriz"),
        (r"\brecognis", "recogniz"),
        (r"\bauthoris", "authoriz"),
    )
)


@dataclass(frozen=True, slots=True)
class _Rules:
    told: Mapping[str, re.Pattern[str]]
    named: Mapping[str, re.Pattern[str]]
    supposed: re.Pattern[str]
    urgent: re.Pattern[str]
    documentary: re.Pattern[str]


def escalation_topic(question: str) -> Topic | None:
    """What `question` is about when a person at the bank has to answer it, else None."""
    sentences = [_normalised(each) for each in _SENTENCE.split(question)]
    return next((topic for topic in TOPICS if any(_speaks_of(topic, each) for each in sentences)), None)


def _speaks_of(topic: Topic, sentence: str) -> bool:
    rules = _rules()
    documentary = rules.documentary.search(sentence) is not None
    own = not documentary and rules.urgent.search(sentence) is not None
    for patterns, counts in ((rules.told, True), (rules.named, not documentary)):
        found = patterns[topic].search(sentence) if counts and topic in patterns else None
        if found and (own or not rules.supposed.search(sentence, 0, found.end())):
            return True
    return False


@lru_cache(maxsize=1)
def _rules() -> _Rules:
    stored = yaml.safe_load((files("rag.query") / _RULES_FILE).read_text(encoding="utf-8"))
    words: dict[str, str] = stored["words"]

    def compiled(pattern: str) -> re.Pattern[str]:
        for _ in range(2):  # words may be made of other words
            for name, meaning in words.items():
                pattern = pattern.replace(f"<{name}>", meaning)
        return re.compile(re.sub(r"(?<!\?)<(\d)>", r"(?:\\w+ ){0,\1}?", pattern))

    def by_topic(patterns: Mapping[str, Any]) -> dict[str, re.Pattern[str]]:
        return {topic: compiled("|".join(f"(?:{each})" for each in some)) for topic, some in patterns.items()}

    sentences = (compiled(stored[name]) for name in ("supposed", "urgent", "documentary"))
    return _Rules(by_topic(stored["told"]), by_topic(stored["named"]), *sentences)


def _normalised(text: str) -> str:
    """Lower case without accents, contractions written out, punctuation and filler words removed."""
    folded = unicodedata.normalize("NFKD", text.lower().replace("’", "'").replace("`", "'"))
    for pattern, replacement in _CONTRACTIONS:
        folded = pattern.sub(replacement, folded)
    words = " ".join(_NOISE.sub(" ", folded).replace(" '", " ").split())
    return _FILLER.sub("", words)
