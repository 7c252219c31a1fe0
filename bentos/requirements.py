"""Writes `bentos/requirements.txt`: what a bento installs, which is less than what a developer installs.

    python -m bentos.requirements > bentos/requirements.txt

The packages that `banksight[serve,gpu]` needs, and what those need in turn, each with the version in `constraints.txt`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

_NEVER_FROZEN = frozenset({"pip", "setuptools"})  # `pip freeze` leaves them out; every image has them
_HEADER = "# What a bento installs. Written by `python -m bentos.requirements`; `make constraints` comes first.\n"


def pinned(constraints: Path) -> str:
    """The text of the file. Raises `KeyError` for a package that `constraints` does not pin."""
    versions = pinned_versions(constraints)
    names = sorted(closure("banksight", frozenset({"serve", "gpu"})) - {"banksight", *_NEVER_FROZEN})
    return _HEADER + "".join(f"{name}=={versions[name]}\n" for name in names)


def closure(name: str, extras: frozenset[str]) -> set[str]:
    """Everything that installing `name[extras]` installs on this platform, itself included."""
    found: dict[str, frozenset[str]] = {}
    waiting = [(canonicalize_name(name), extras)]
    while waiting:
        package, wanted = waiting.pop()
        if package in found and wanted <= found[package]:
            continue
        found[package] = found.get(package, frozenset()) | wanted
        waiting.extend(_needs(package, found[package]))
    return set(found)


def _needs(package: str, extras: frozenset[str]) -> Iterator[tuple[NormalizedName, frozenset[str]]]:
    try:
        lines = requires(package) or []
    except PackageNotFoundError:  # needed on other platforms only
        return
    for line in lines:
        requirement = Requirement(line)
        applies = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in (extras or {""})
        )
        if applies:
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def pinned_versions(constraints: Path) -> dict[str, str]:
    """The version of every package that a file of constraints pins, by its canonical name."""
    lines = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", constraints.read_text(encoding="utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


if __name__ == "__main__":
    sys.stdout.write(pinned(Path("constraints.txt")))
