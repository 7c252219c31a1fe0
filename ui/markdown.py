"""Text of other people made safe for the chat's Markdown: it can be read, and it can neither fetch nor link anything.

The chat renders Markdown with tables, directives (`:name`) and bare addresses turned into links. An image in an answer
would be fetched by the browser at once, which is a way out for data; so answers keep paragraphs, lists, tables and bold
text, and lose everything else. Documents are shown letter by letter.
"""

from __future__ import annotations

import re

WORD_JOINER = "\u2060"  # invisible, keeps the line together: breaks what the renderer would take for an address

_IMAGE = re.compile(r"!\[([^\]\n]{0,300})\](?:\([^)\n]{0,2000}\)|\[[^\]\n]{0,300}\])")
_LINK = re.compile(r"(?<!\\)\[([^\]\n]{1,300})\]\([^)\n]{0,2000}\)")
_DEFINITION = re.compile(r"^ {0,3}\[[^\]\n]{1,300}\]:[^\n]*$", re.MULTILINE)
_ADDRESS = re.compile(r"(?:https?|ftp)(?=://)|(?:mailto|xmpp)(?=:)|www(?=\.)", re.IGNORECASE)
_AT = re.compile(r"(?<=[\w.+-])@(?=[\w-])")
_ALWAYS_ACTIVE = re.compile(r"[\\`_<>\[\]~&$]|(?<=\w):(?=\w)|(?<![\w:]):(?=[A-Za-z])|:{2,}")
_LONE_STAR = re.compile(r"(?<!\*)\*(?!\*)|\*{3,}")
_LINE_START = re.compile(r"^[ \t]*(#{1,6}|:{2,}|={2,}[ \t]*$|-{2,}[ \t]*$|\+(?=\s))", re.MULTILINE)
_INDENT = re.compile(r"^(?: {4,}|\t+)", re.MULTILINE)
_PUNCTUATION = re.compile(r"([!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~])")
_INVISIBLE = re.compile(r"[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def answer_markdown(text: str) -> str:
    """An answer's text as Markdown: paragraphs, lists, tables and bold text stay; nothing is fetched, nothing links."""
    text = _INVISIBLE.sub("", text)
    text = _DEFINITION.sub("", text)
    text = _LINK.sub(r"\1", _IMAGE.sub(r"\1", text))
    text = _INDENT.sub("   ", text)
    text = _ALWAYS_ACTIVE.sub(_escaped, _without_addresses(text))
    text = _LONE_STAR.sub(_bullet_or_escaped, text)
    return _LINE_START.sub(lambda found: found[0].replace(found[1], "\\" + found[1]), text)


def plain_markdown(text: str) -> str:
    """Markdown that shows exactly these characters, whatever they are; line breaks become spaces."""
    text = _without_addresses(_INVISIBLE.sub("", " ".join(text.split())))
    return _PUNCTUATION.sub(r"\\\1", text)


def _bullet_or_escaped(found: re.Match[str]) -> str:
    line_start = found.string.rfind("\n", 0, found.start()) + 1
    before, after = found.string[line_start : found.start()], found.string[found.end() : found.end() + 1]
    return "*" if not before.strip() and after == " " else _escaped(found)


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"\\{sign}" for sign in found[0])


def _without_addresses(text: str) -> str:
    return _AT.sub(f"{WORD_JOINER}@", _ADDRESS.sub(lambda found: found[0] + WORD_JOINER, text))
