"""The prompt that every engine reads, and the way back: `parse_prompt(build_prompt(q, p)) == (q, p)` for any text.

Passages are fenced line by line: each line of untrusted text begins with `> `, which no text can undo. What looks like
a citation marker in a passage is written `\\[1]`, so that an engine which copies it does not cite by accident.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

_TEMPLATE: Final = "answer-2"
NOT_IN_THE_DOCUMENTS: Final = "NOT IN THE DOCUMENTS"  # what the template tells a model to write instead of guessing

_LIKE_A_MARKER: Final = re.compile(r"(?=\\*\[\d+\])(?<!\\)")
_ESCAPED: Final = re.compile(r"\\(\\*\[\d+\])")
_HEAD: Final = re.compile(r"^\[(\d+)\] page (.*)$")
_FENCE: Final = "> "


@dataclass(frozen=True, slots=True)
class PromptPassage:
    """A passage as an engine sees it. `title`, `section` and `page` are single lines; `text` may be anything."""

    title: str
    section: str
    page: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an engine is asked: the question, and the passages in the order of their numbers, best first."""

    question: str
    passages: tuple[PromptPassage, ...]


def single_line(text: str) -> str:
    """`text` on one line, without what could be mistaken for the end of it."""
    return " ".join(text.split())


def escape_markers(text: str) -> str:
    """`[1]` becomes `\\[1]`; what is escaped already gets one more backslash."""
    return _LIKE_A_MARKER.sub(r"\\", text)


def unescape_markers(text: str) -> str:
    """Undoes `escape_markers`."""
    return _ESCAPED.sub(r"\1", text)


def build_prompt(prompt: Prompt) -> str:
    """The text for an engine: constant instructions first, so that engines can cache them, and the question last."""
    parts = [_instructions(), "Passages:"]
    for number, passage in enumerate(prompt.passages, start=1):
        parts += [f"\n{head_of(number, passage)}", fenced(passage.text)]
    parts.append(f"\nQuestion:\n{fenced(prompt.question)}\n\nAnswer:")
    return "\n".join(parts)


def head_of(number: int, passage: PromptPassage) -> str:
    """The lines that stand above a passage."""
    return f"[{number}] page {passage.page}\ntitle: {passage.title}\nsection: {passage.section}"


def parse_prompt(text: str) -> Prompt:
    """What `build_prompt` was given. Raises `ValueError` for any other text."""
    passages: list[PromptPassage] = []
    lines = iter(text.removeprefix(_instructions()).split("\n"))
    quoted: list[str] = []
    head: tuple[str, str, str] | None = None
    for line in lines:
        match = _HEAD.match(line)
        if line.startswith(_FENCE):
            quoted.append(line.removeprefix(_FENCE))
        elif match or line == "Question:":
            passages += [_passage(head, quoted)] if head else []
            head, quoted = None, []
            if match:
                head = (match[2], next(lines).removeprefix("title: "), next(lines).removeprefix("section: "))
    if not text.startswith(_instructions()) or not quoted:
        raise ValueError("this is not a prompt of the current version")
    return Prompt(unescape_markers("\n".join(quoted)), tuple(passages))


def _passage(head: tuple[str, str, str], quoted: Sequence[str]) -> PromptPassage:
    page, title, section = head
    return PromptPassage(title, section, page, unescape_markers("\n".join(quoted)))


def fenced(text: str) -> str:
    """`text` marked as data, line by line."""
    return "\n".join(_FENCE + line for line in escape_markers(text).split("\n"))


def prompt_version() -> str:
    """The name of the template and the beginning of its SHA-256: part of receipts and cache keys."""
    return f"{_TEMPLATE}@{hashlib.sha256(_instructions().encode()).hexdigest()[:8]}"


@lru_cache
def template(name: str) -> str:
    """A template that ships with BankSight, word for word."""
    return (files("rag.query") / "templates" / f"{name}.txt").read_text(encoding="utf-8")


def _instructions() -> str:
    return template(_TEMPLATE)
