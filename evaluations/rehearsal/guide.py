"""The checklists of docs/operations.md as they stand there: commands, and what each has to say."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
GUIDE: Final = ROOT / "docs" / "operations.md"
_LINE: Final = re.compile(r"^(?P<command>\S.*?)\s+# → (?P<expected>.+)$")
_NOTHING: Final = "nothing"
_SECONDS: Final = 240


@dataclass(frozen=True, slots=True)
class Check:
    """A command line, and a regular expression for what it prints; None: it must print nothing."""

    command: str
    expected: str | None

    def failure(self, environment: Mapping[str, str]) -> str:
        """Run it in a shell: empty when it says what it has to, else what it said."""
        try:
            done = subprocess.run(
                ["bash", "-c", self.command], cwd=ROOT, env=dict(environment), capture_output=True, text=True,
                check=False, timeout=_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"nothing within {_SECONDS} s"
        said = done.stdout.strip()
        as_expected = not said if self.expected is None else re.search(self.expected, said) is not None
        if as_expected:
            return ""
        return " ".join((said or done.stderr.strip() or f"exit code {done.returncode}").split())[-400:]


def checks(heading: str) -> list[Check]:
    """The checks below a heading of the third level. Raises `KeyError` for one that has none."""
    parts = re.split(r"^### ", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    (part,) = (each for each in parts if each.split("\n", 1)[0] == heading)
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", re.split(r"^## ", part, flags=re.MULTILINE)[0], re.DOTALL))
    found = [_LINE.match(line) for line in blocks.splitlines()]
    listed = [Check(each["command"], _expected(each["expected"])) for each in found if each]
    if not listed:
        raise KeyError(f"{GUIDE.name} has no checks below {heading!r}")
    return listed


def _expected(text: str) -> str | None:
    return None if text.strip() == _NOTHING else text.strip()
