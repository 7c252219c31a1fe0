"""What proof and privacy cost, and how well personal data is found.

    python -m evaluations.governance_benchmark [--data FOLDER] [--folder FOLDER] [--presidio PYTHON]

Seconds of scanning are processor time. Recall: the share of labelled spans of a type that overlap something found, of
whatever kind. Precision: the share of what was found as a type that overlaps a labelled span, of whatever type. PYTHON
is that of an environment with Presidio, measured on the same sentences: see `evaluations/presidio_spans.py`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from evaluations.retrieval_benchmark import BESIDE, DATA_VARIABLE
from evaluations.timing import table
from rag.governance import privacy
from rag.governance.audit_lines import AuditKeys, audit_keys
from rag.governance.audit_verifying import verify
from rag.governance.audit_writer import AuditWriter, Places

_TYPES: Final = {
    "CREDIT_CARD": "card", "IBAN_CODE": "iban", "US_SSN": "ssn", "EMAIL_ADDRESS": "email", "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone",
}  # fmt: skip
_BANK: Final = Path(__file__).parents[1] / "sample_bank" / "regulations"
_RANDOM_NUMBERS: Final = 20_000
_LINES: Final = 10_000


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help=f"Default: {DATA_VARIABLE}, then shared/data beside us.")
@click.option("--folder", type=click.Path(path_type=Path), help="Disk for the audit trail.  [default: temporary]")
@click.option("--presidio", type=click.Path(path_type=Path), help="The Python of an environment with Presidio.")
def main(data: Path | None, folder: Path | None, presidio: Path | None) -> None:
    """Print recall and precision by type, false alarms, and speed of scanning, recording and verifying."""
    sentences = (data or Path(os.environ.get(DATA_VARIABLE) or BESIDE)) / "pii" / "sentences.jsonl"
    if sentences.is_file():
        rows = [json.loads(line) for line in sentences.read_text(encoding="utf-8").splitlines()]
        _detection(rows, presidio)
    else:
        click.echo(f"no labelled sentences: {sentences} is not there")
    numbers = _random_numbers()
    alarms = sum(bool(privacy.find(each)) for each in numbers) / len(numbers)
    click.echo(f"false alarms on random numbers of 16 digits: {alarms:.2%}")
    if presidio:
        theirs, _ = _by_presidio(presidio, numbers)
        click.echo(f"... by Presidio: {sum(map(bool, theirs)) / len(numbers):.2%}")
    text = "\n".join(each.read_text(encoding="utf-8") for each in sorted(_BANK.glob("*.md")))
    began = time.process_time()
    in_rules = Counter(each.kind for each in privacy.find(text))
    click.echo(f"scanning regulations: {len(text.encode()) / 1e6 / (time.process_time() - began):.1f} MB/s of one core")
    click.echo(f"found in regulations: {dict(in_rules) or 'nothing'}")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        _audit(Path(place))


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` are of this kind, as we call it."""

    kind: str
    start: int
    end: int

    def overlaps(self, other: Span) -> bool:
        """Whether they have a character in common."""
        return self.start < other.end and other.start < self.end


def _detection(rows: list[dict[str, Any]], presidio: Path | None) -> None:
    """Recall and precision of each type, ours and, where it is there, Presidio's."""
    texts = [row["text"] for row in rows]
    labelled = [[Span(_TYPES.get(s["type"], ""), s["start"], s["end"]) for s in row["spans"]] for row in rows]
    began = time.process_time()
    ours = [[Span(each.kind, each.start, each.end) for each in privacy.find(text)] for text in texts]
    seconds = time.process_time() - began
    found = [ours]
    if presidio:
        theirs, their_seconds = _by_presidio(presidio, texts)
        found.append(theirs)
        click.echo(f"processor time for {len(texts)} sentences: {seconds:.2f} s, Presidio {their_seconds:.2f} s")
    head = ["type", "labelled", "recall", "precision", *(["recall of Presidio", "precision"] if presidio else [])]
    click.echo(table([head, *_rows(labelled, found)]))


def _rows(labelled: list[list[Span]], systems: Sequence[list[list[Span]]]) -> Iterator[list[str]]:
    for kind in (*_TYPES.values(), "all"):
        wanted = [
            (place, one) for place, row in enumerate(labelled) for one in row if one.kind and kind in (one.kind, "all")
        ]
        row = [kind, str(len(wanted))]
        for found in systems:
            hits = sum(any(one.overlaps(each) for each in found[place]) for place, one in wanted)
            made = [(place, one) for place, each in enumerate(found) for one in each if kind in (one.kind, "all")]
            right = sum(any(one.overlaps(each) for each in labelled[place]) for place, one in made)
            row += [f"{hits / len(wanted):.3f}", f"{right / len(made):.3f}" if made else "-"]
        yield row


def _by_presidio(python: Path, texts: Sequence[str]) -> tuple[list[list[Span]], float]:
    """What Presidio finds in each text, and its processor time."""
    lines = "".join(json.dumps(each) + "\n" for each in texts)
    script = Path(__file__).with_name("presidio_spans.py")
    done = subprocess.run([str(python), str(script)], input=lines, capture_output=True, text=True, check=True)
    *spans, last = (json.loads(each) for each in done.stdout.splitlines())
    return [[Span(_TYPES[s["type"]], s["start"], s["end"]) for s in row] for row in spans], float(last["seconds"])


def _random_numbers() -> list[str]:
    chance = random.Random(7)  # noqa: S311 - the same numbers each time
    return ["".join(chance.choices("0123456789", k=16)) for _ in range(_RANDOM_NUMBERS)]


def _audit(folder: Path) -> None:
    keys = audit_keys("a secret for this benchmark only, of no worth", folder)
    places = Places(folder / "audit", folder / "spool", 1 << 26, folder / "anchors", 3600)
    passages = [[f"{number:016x}-1-{number:020x}", f"{number:064x}"] for number in range(12)]
    body = {"status": "answered", "passages": passages, "answer_sha256": "0" * 64, "snapshot": 7, "model": "extractive"}
    writer = AuditWriter(places, keys)
    began, used = time.perf_counter(), time.process_time()
    waiting = [writer.append("answer", "0" * 32, body) for _ in range(_LINES)]
    for each in waiting:
        each.result()
    seconds, used = time.perf_counter() - began, time.process_time() - used
    writer.close()
    click.echo(f"recording: {_LINES / seconds:,.0f} lines/s with fsync; processor {used / _LINES * 1e6:.0f} us a line")
    _verified(places, keys)


def _verified(places: Places, keys: AuditKeys) -> None:
    began = time.process_time()
    found = verify(places.folder, places.anchor_dir, keys)
    used = time.process_time() - began
    click.echo(f"verifying: {found.records / used:,.0f} records/s of one core, {len(found.faults)} faults")


if __name__ == "__main__":
    main()
