"""Greetings, thanks and questions about BankSight itself: recognised by rule, answered with one fixed sentence."""

from __future__ import annotations

import re
from typing import Final, Literal

SmallTalk = Literal["greeting", "thanks", "farewell", "identity"]

_POLITE: Final = (
    r"(?:\s*(?:there|all|team|everyone|bank ?sight|bot|again|so much|very much|a lot|for (?:your|the|all your) help))*"
)
_PATTERNS: Final[dict[SmallTalk, str]] = {
    "greeting": r"hi+|hello|hey|hiya|greetings|good (?:morning|afternoon|evening|day)|what'?s up"
    r"|how are you(?: doing)?(?: today)?",
    "thanks": r"(?:ok(?:ay)?|great|perfect|nice|cool)?[,.! ]*(?:thanks|thank you|thx|cheers|much appreciated)",
    "farewell": r"(?:thanks[,. ]*)?(?:good ?)?(?:bye|bye bye)|see (?:you|ya)(?: later)?|good ?night",
    "identity": r"who are you|what are you|what can you do(?: for me)?|help|what is your name"
    r"|are you (?:a )?(?:human|real|robot|bot|an? (?:ai|person))(?: person)?",
}
_COMPILED: Final = {
    kind: re.compile(rf"^\W*(?:{pattern}){_POLITE}\W*$", re.IGNORECASE) for kind, pattern in _PATTERNS.items()
}
_REPLIES: Final[dict[SmallTalk, str]] = {
    "greeting": "Hello. Ask me about the bank's documents; I answer with their exact words and the page they stand on.",
    "thanks": "You are welcome. Ask me anything else about the bank's documents.",
    "farewell": "Goodbye.",
    "identity": (
        "I am BankSight. I answer questions about the bank's documents by quoting them, with a link to the page of "
        "every quotation, and I say so when they hold no answer."
    ),
}


def small_talk(question: str) -> SmallTalk | None:
    """The kind of small talk that `question` is, or None when it asks for something."""
    return next((kind for kind, pattern in _COMPILED.items() if pattern.match(question)), None)


def small_talk_reply(kind: SmallTalk) -> str:
    """A fixed, short reply."""
    return _REPLIES[kind]
