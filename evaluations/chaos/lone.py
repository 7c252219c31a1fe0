"""A product of one process in a folder of its own, used by command as its operator does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from evaluations.chaos.corpus import QUESTIONS, asked, right, write_corpus
from evaluations.chaos.environment import alone

ROOT = Path(__file__).parents[2]
_LONGEST_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, and what it said. `crashed`: by a signal, or with a stack trace instead of a sentence."""

    code: int
    output: str
    errors: str

    @property
    def crashed(self) -> bool:
        """Whether this is what nobody should see."""
        return self.code < 0 or "Traceback" in self.errors

    @property
    def sentence(self) -> str:
        """The last line of what it said, shortened."""
        lines = (self.errors.strip() or self.output.strip() or "nothing").splitlines()
        return lines[-1][:140]


@dataclass(frozen=True, slots=True)
class Lone:
    """The product in `folder`, with the corpus of the first tenant in `folder/source`."""

    folder: Path

    def prepare(self) -> None:
        """Write the corpus and a password for backups. Ingests nothing."""
        write_corpus(self.folder / "source")
        (self.folder / "password").write_text("correct horse battery staple")

    def command(self, *words: str, **changed: str) -> Said:
        """Run `banksight` with these words, and with settings changed by environment variable."""
        environment = {**os.environ, **alone(self.folder, self.folder / "source"), **changed}
        ended = subprocess.run(
            [sys.executable, "-m", "rag.cli", *words], cwd=ROOT, env=environment, capture_output=True, text=True,
            timeout=_LONGEST_SECONDS, check=False,
        )  # fmt: skip
        return Said(ended.returncode, ended.stdout, ended.stderr)

    def need(self, *words: str, **changed: str) -> Said:
        """As `command`. Raises `RuntimeError` where it does not end well."""
        said = self.command(*words, **changed)
        if said.code:
            raise RuntimeError(f"banksight {' '.join(words)} ended with {said.code}: {said.sentence}")
        return said

    def answer(self, **changed: str) -> str:
        """What comes of the first question: `right`, `WRONG`, `none` (said so in a sentence) or `CRASH`."""
        body = asked(0, stream=False) | {"question": QUESTIONS[0].text}
        said = self.command("ask", "--json", body["question"], **changed)
        if said.crashed:
            return "CRASH"
        if said.code:
            return "none"
        answer = json.loads(said.output)
        if right(body, answer["text"]):
            return "right"
        return "none" if answer["status"] == "refused" or answer["notice"] else "WRONG"
