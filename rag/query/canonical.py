"""The form in which two questions are the same: case, typography, greetings and politeness do not count, words do.

Only spellings are folded. No synonym, no stem and no similarity is involved, because near-misses of banking questions
are closer to each other than paraphrases are (docs/caching.md). What may carry meaning stays: digits, signs,
currencies, negations, the words and their order, and punctuation between them.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

# Typographic variants of one character, and the character that people type.
_VARIANTS: Final = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛`´ʼ", "'"),
        **dict.fromkeys("“”„‟«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
    }
)
# Words that, in capitals, mean something else. They become "u.s" and so on, where their neighbours are not in capitals.
_ACRONYM: Final = re.compile(r"ACT|AIM|ARM|CAP|CAR|FAST|GAP|IN|IT|ME|OR|PAY|SAFE|US|WHO")
_WORD: Final = re.compile(r"[^\W\d_]+")

_ASKS: Final = (
    r"(?:what|how|when|where|which|who|whom|whose|why|can|could|do|does|did|is|are|was|were|am|i|may|must|should|shall"
    r"|will|would|has|have|please|pls|tell|explain|describe)\b"
)
_ADDRESSEE: Final = r"(?: (?:there|all|team|everyone|everybody|folks|banksight|bot|assistant|sir|madam|sir or madam))?"
_PAUSE: Final = r" ?(?:[,;:!.]+|-(?= )) ?"
_GREETING: Final = re.compile(
    rf"(?:hi|hello|hey|hiya|greetings|dear|good (?:morning|afternoon|evening|day)){_ADDRESSEE}"
    rf"(?:{_PAUSE}| (?={_ASKS}))"
)
_REQUEST: Final = re.compile(
    r"(?:please|pls|kindly) (?=\w)|(?:please|pls|thanks|thank you){PAUSE}"
    r"|(?:please )?(?:(?:can|could|would|will) you (?:please |kindly )?)?(?:tell me|let me know)[,:]? (?!about\b)"
    r"|i(?: would| 'd|'d) (?:like|love) to know,? (?!about\b)|i want to know,? (?!about\b)"
    r"|i (?:have|'ve got) a (?:quick )?question{PAUSE}|quick question{PAUSE}".replace("{PAUSE}", _PAUSE)
)
_THANKS: Final = re.compile(
    r"(?:[,;.!?]+ ?| - )(?:many )?(?:thanks|thank you|thx|cheers)(?: (?:so much|very much|a lot|in advance))*$"
)
_PLEASE: Final = re.compile(r"(?:(?P<before>\w+) |[,;.!?]+ ?)(?:please|pls)$")
# Words after which "please" is spoken of, or a verb.
_NO_REQUEST: Final = re.compile(r"a|and|as|he|i|no|one|or|says?|she|spell|the|they|to|type|use|we|with|word|write|you")
_EDGES: Final = " ?!,;:"

_VERBS: Final = (
    "is",
    "are",
    "was",
    "were",
    "do",
    "does",
    "did",
    "has",
    "have",
    "had",
    "would",
    "could",
    "should",
    "must",
)
_SHORT: Final = {  # after an apostrophe; "'d" may be had or would
    "s is": ("what", "who", "where", "when", "how", "why", "that", "there", "here", "it", "he", "she"),
    "re are": ("you", "we", "they", "what", "who"),
    "ve have": ("i", "you", "we", "they"),
    "ll will": ("i", "you", "we", "they", "it", "he", "she", "what", "who", "that"),
    "m am": ("i",),
}
_CONTRACTIONS: Final = {
    **{f"{verb}n't": f"{verb} not" for verb in _VERBS},
    **{f"{verb}nt": f"{verb} not" for verb in ("is", "are", "was", "do", "does", "did")},
    **{f"{who}'{how.split()[0]}": f"{who} {how.split()[1]}" for how, all_of in _SHORT.items() for who in all_of},
    "can't": "can not",
    "cannot": "can not",
    "won't": "will not",
    "shan't": "shall not",
    "whats": "what is",
}
_CONTRACTED: Final = re.compile(
    r"(?<![\w'])(?:" + "|".join(sorted(map(re.escape, _CONTRACTIONS), key=len, reverse=True)) + r")(?![\w'])"
)


def canonical_question(question: str) -> str:
    """The canonical form of a question. The canonical form of a canonical form is itself; it is never empty.

    Two questions get the same form only when they have the same words, numbers and signs in the same order, apart from
    what `docs/caching.md` lists.
    """
    text = _acronyms_kept(_folded_characters(question)).casefold()
    while (shorter := _trimmed(text)) != text:
        text = shorter
    return text


def _folded_characters(text: str) -> str:
    """Compatibility forms, typographic variants and white space made one; a character never becomes a digit of another.

    NFKC would make "10²" the number 102 and "2½" the number 21⁄2, so what is no plain digit stays as it is.
    """
    folded = "".join(_folded(each) for each in unicodedata.normalize("NFC", text).translate(_VARIANTS))
    return " ".join(unicodedata.normalize("NFC", folded).translate(_VARIANTS).split())


@lru_cache(maxsize=4096)
def _folded(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", character)
    return character if any(each.isnumeric() for each in plain) else plain


def _acronyms_kept(text: str) -> str:
    """Acronyms dotted, unless they stand beside other words in capitals: somebody shouts, and capitals mean nothing."""
    words = list(_WORD.finditer(text))
    loud = [False, *(len(word.group()) > 1 and word.group().isupper() for word in words), False]
    pieces, end = [], 0
    for place, word in enumerate(words, start=1):
        if _ACRONYM.fullmatch(word.group()) and not loud[place - 1] and not loud[place + 1]:
            pieces += [text[end : word.start()], ".".join(word.group())]
            end = word.end()
    return "".join([*pieces, text[end:]])


def _trimmed(text: str) -> str:
    """One round of what does not count: contractions, greetings, requests, thanks, and punctuation at both ends."""
    text = _folded_characters(text).casefold()
    shorter = _CONTRACTED.sub(lambda match: _CONTRACTIONS[match.group()], text)
    for pattern in (_GREETING, _REQUEST):
        if match := pattern.match(shorter):
            shorter = shorter[match.end() :]
    if match := _THANKS.search(shorter):
        shorter = shorter[: match.start()]
    if (match := _PLEASE.search(shorter)) and not _NO_REQUEST.fullmatch(match["before"] or ""):
        shorter = shorter[: match.end("before") if match["before"] else match.start()]
    shorter = _without_edges(shorter)
    return shorter if any(each.isalnum() for each in shorter) else text


def _without_edges(text: str) -> str:
    text = text.lstrip(_EDGES).rstrip(_EDGES + ".")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and text.count(text[0]) == 2:
        text = text[1:-1]
    return text.lstrip(".") if re.match(r"\.+(?!\.*\d)", text) else text
