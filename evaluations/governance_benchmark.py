"""What proof and privacy cost, and how well personal data is found.

    python -m evaluations.governance_benchmark [--data FOLDER] [--folder FOLDER]

Seconds of scanning are processor time. A type counts as found where what was found overlaps what is labelled, of
whatever kind; `precision` is of all that was found, whether it overlaps something labelled.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
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
def main(data: Path | None, folder: Path | None) -> None:
    """Print recall and precision by type, false alarms, and speed of scanning, recording and verifying."""
    sentences = (data or Path(os.environ.get(DATA_VARIABLE) or BESIDE)) / "pii" / "sentences.jsonl"
    if sentences.is_file():
        rows = [json.loads(line) for line in sentences.read_text(encoding="utf-8").splitlines()]
        click.echo(table([["type", "labelled", "found"], *_recall(rows)]))
        click.echo(f"precision: {_precision(rows):.3f} of what was found")
    else:
        click.echo(f"no labelled sentences: {sentences} is not there")
    click.echo(f"false alarms on random numbers of 16 digits: {_false_alarms():.2%}")
    text = "\n".join(each.read_text(encoding="utf-8") for each in sorted(_BANK.glob("*.md")))
    began = time.process_time()
    privacy.find(text)
    click.echo(f"scanning regulations: {len(text.encode()) / 1e6 / (time.process_time() - began):.1f} MB/s of one core")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        _audit(Path(place))


def _overlap(one: privacy.PersonalData, span: dict[str, Any]) -> bool:
    return bool(one.start < span["end"] and span["start"] < one.end)


def _recall(rows: list[dict[str, Any]]) -> Iterator[list[str]]:
    labelled: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for row in rows:
        seen = privacy.find(row["text"])
        for span in row["spans"]:
            kind = _TYPES.get(span["type"])
            if kind:
                labelled[kind] += 1
                found[kind] += any(_overlap(each, span) for each in seen)
    for kind, count in labelled.items():
        yield [kind, str(count), f"{found[kind] / count:.3f}"]


def _precision(rows: list[dict[str, Any]]) -> float:
    right = [any(_overlap(each, span) for span in row["spans"]) for row in rows for each in privacy.find(row["text"])]
    return sum(right) / len(right)


def _false_alarms() -> float:
    chance = random.Random(7)  # noqa: S311 - the same numbers each time
    numbers = ("".join(chance.choices("0123456789", k=16)) for _ in range(_RANDOM_NUMBERS))
    return sum(bool(privacy.find(each)) for each in numbers) / _RANDOM_NUMBERS


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
