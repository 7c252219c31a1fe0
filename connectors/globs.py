"""Which paths a pattern means. Written out once, because every library means something else by `**`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from connectors.errors import SourceMisconfigured


class PathPatterns:
    """A set of glob patterns against POSIX paths relative to a root, without regard to case.

    `*` and `?` match within a name, `[abc]` and `[!abc]` one character of it, `**` any number of folders, also none.
    A pattern without a slash matches names in every folder (`./name` only in the root); one that ends in a slash means
    all that is in the folder.
    Raises `SourceMisconfigured` for a pattern that is absolute, empty or climbs out of the root.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._expressions = [re.compile(_translate(pattern), re.IGNORECASE | re.DOTALL) for pattern in patterns]

    def match(self, path: str) -> bool:
        """True when any of the patterns means this path."""
        return any(expression.fullmatch(path) for expression in self._expressions)


def _translate(pattern: str) -> str:
    parts = pattern.removeprefix("./").split("/")
    if not pattern or pattern.startswith("/") or ".." in parts:
        raise SourceMisconfigured(f"The pattern {pattern!r} is not a path below the root; write one like **/*.pdf.")
    if len(parts) == 1 and not pattern.startswith("./"):
        parts = ["**", *parts]
    if parts[-1] == "":
        parts[-1] = "**"
    folders = ["(?:[^/]+/)*" if part == "**" else _translate_name(part) + "/" for part in parts[:-1]]
    return "".join(folders) + (".+" if parts[-1] == "**" else _translate_name(parts[-1]))


def _translate_name(name: str) -> str:
    """One part of a path. A bracket without its end stands for itself."""
    expression = []
    position = 0
    while position < len(name):
        letter = name[position]
        end = name.find("]", position + 2) if letter == "[" else -1
        if end > 0:
            inside = name[position + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            expression.append(f"[^/{inside[1:]}]" if inside[0] in "!^" else f"(?!/)[{inside}]")
            position = end
        else:
            expression.append({"*": "[^/]*", "?": "[^/]"}.get(letter) or re.escape(letter))
        position += 1
    return "".join(expression)
