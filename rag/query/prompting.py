"""The prompt that every engine reads, and the way back: `parse_prompt(build_prompt(q, p)) == (q, p)` for any text.

Passages are fenced line by line: each line of untrusted text begins with `> `, which no text can undo. What looks like
a citation marker in a passage is written `\\[1]`, so that an engine which copies it does not cite by accident.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from rag.errors import ConfigurationError

_TEMPLATE: Final = "answer-2"
NOT_IN_THE_DOCUMENTS: Final = "NOT IN THE DOCUMENTS"  # what the template tells a model to write instead of guessing

_LIKE_A_MARKER: Final = re.compile(r"(?=\\*\[\d+\])(?<!\\)")
_ESCAPED: Final = re.compile(r"\\(\\*\[\d+\])")
_HEAD: Final = re.compile(r"^\[(\d+)\] page (.*)$")
_FENCE: Final = "> "
_PASSAGES: Final = "Passages:"
_own_templates: Mapping[str, str] = {}


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
    parts = [_instructions(), _PASSAGES]
    for number, passage in enumerate(prompt.passages, start=1):
        parts += [f"\n{head_of(number, passage)}", fenced(passage.text)]
    parts.append(f"\nQuestion:\n{fenced(prompt.question)}\n\nAnswer:")
    return "\n".join(parts)


def head_of(number: int, passage: PromptPassage) -> str:
    """The lines that stand above a passage."""
    return f"[{number}] page {passage.page}\ntitle: {passage.title}\nsection: {passage.section}"


def parse_prompt(text: str) -> Prompt:
    """What `build_prompt` was given, whatever the instructions were. Raises `ValueError` for any other text."""
    passages: list[PromptPassage] = []
    instructions, found, rest = text.partition(f"\n{_PASSAGES}\n")
    lines = iter(rest.split("\n"))
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
    if not (instructions and found and quoted):
        raise ValueError("this is not a prompt of the current version")
    return Prompt(unescape_markers("\n".join(quoted)), tuple(passages))


def _passage(head: tuple[str, str, str], quoted: Sequence[str]) -> PromptPassage:
    page, title, section = head
    return PromptPassage(title, section, page, unescape_markers("\n".join(quoted)))


def fenced(text: str) -> str:
    """`text` marked as data, line by line."""
    return "\n".join(_FENCE + line for line in escape_markers(text).split("\n"))


def prompt_version(prompt: str = "") -> str:
    """The name of the template and the beginning of its SHA-256: part of receipts and cache keys.

    Of a prompt, it is the template that this one was built with; without one, the template that the next is built with.
    """
    instructions = prompt.partition(f"\n{_PASSAGES}\n")[0] or _instructions()
    return f"{_TEMPLATE}@{hashlib.sha256(instructions.encode()).hexdigest()[:8]}"


def template(name: str) -> str:
    """A template, word for word: the operator's own, or the one that ships with BankSight."""
    return _own_templates.get(name) or _shipped(name)


def read_templates(folder: Path | None) -> dict[str, str]:
    """The operator's own templates, by name. Raises `ConfigurationError` for one that no engine could be given."""
    if folder is None:
        return {}
    try:
        found = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"prompts.folder: a template in {folder} cannot be read: {error}") from error
    if not folder.is_dir():
        raise ConfigurationError(f"prompts.folder: there is no folder {folder}")
    known = {Path(each.name).stem for each in (files("rag.query") / "templates").iterdir()}
    for name, text in found.items():
        if objection := _objection(name, text, known):
            raise ConfigurationError(f"prompts.folder: the template {folder / name}.txt {objection}")
    return found


def use_templates(own: Mapping[str, str]) -> None:
    """From the next prompt on, these replace the shipped ones of the same names."""
    global _own_templates  # noqa: PLW0603 - all of a process's engines read the same prompts
    _own_templates = dict(own)


def _objection(name: str, text: str, known: Collection[str]) -> str:
    """What is wrong with a template; empty when nothing is."""
    if name not in known:
        return f"replaces nothing; there are {', '.join(sorted(known))}"
    if not text.strip():
        return "is empty"
    if name == _TEMPLATE and NOT_IN_THE_DOCUMENTS not in text:
        return f"does not tell engines when to write {NOT_IN_THE_DOCUMENTS}"
    if any(line.startswith(_FENCE) or line in (_PASSAGES, "Question:") for line in text.split("\n")):
        return f"has a line that begins like data ({_FENCE.strip()}, {_PASSAGES} or Question:)"
    return ""


@lru_cache
def _shipped(name: str) -> str:
    return (files("rag.query") / "templates" / f"{name}.txt").read_text(encoding="utf-8")


def _instructions() -> str:
    return template(_TEMPLATE)
