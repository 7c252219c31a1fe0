"""How long evaluation itself takes: a quick suite, a whole retrieval suite, scoring and comparing large runs.

Each row stands beside its bound in seconds of the clock on a machine that does nothing else, and beside the processor's
time, which another program on the machine does not lengthen. A row that misses its bound says so.
"""

from __future__ import annotations

import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import click
import numpy as np

from evaluations.commands.options import CORPORA
from evaluations.compare.comparing import ScoredItem, ScoredRun
from evaluations.compare.comparing import compare as compare_runs
from evaluations.datasets.items import Item, Wanted
from evaluations.datasets.loading import ROOT, data_path
from evaluations.metrics.catalog import metric
from evaluations.runs.records import CitedQuote, ItemRecord, Produced, RetrievedPassage
from evaluations.runs.scoring import score
from evaluations.suites.loading import find_suite
from evaluations.timing import table
from rag.errors import BankSightError, ConfigurationError

ANSWERS: Final = 10_000
METRICS: Final = 12
RESAMPLES: Final = 10_000
_SCORING: Final = 120.0  # seconds for all ANSWERS
_LEFT_OUT: Final = 0.2  # share of the words of a quotation that a reworded answer lacks
_SENTENCE: Final = re.compile(r"[A-Z][^.|#\n]{60,300}\.")


@dataclass(frozen=True, slots=True)
class Row:
    """What was done, the seconds that it took by the clock and of the processor, and the most that it may take."""

    what: str
    seconds: float
    processor: float
    bound: float


@click.command()
@click.option("--corpora", type=click.Path(path_type=Path), default=CORPORA, help="Where ingested corpora are kept.")
def main(corpora: Path) -> None:
    """Print one table."""
    rows = [_smoke()]
    try:
        data_path("obliqa", "external")
    except ConfigurationError as error:
        click.echo(f"obliqa is left out: {error}")
    else:
        rows += _obliqa(corpora)
    rows += [*_scoring(), _comparing()]
    heading = ("what", "seconds", "of the processor", "bound", "")
    click.echo(table([heading, *(_cells(row) for row in rows)]))


def _cells(row: Row) -> tuple[str, ...]:
    reached = "reached" if row.seconds <= row.bound else "missed"
    return row.what, f"{row.seconds:.1f}", f"{row.processor:.1f}", f"{row.bound:g}", reached


def _measured(what: str, bound: float, work: Callable[[], object]) -> Row:
    began, before = time.perf_counter(), _processor()
    work()
    return Row(what, time.perf_counter() - began, _processor() - before, bound)


def _processor() -> float:
    """Seconds of the processor so far, of this process and of the children that have ended."""
    used = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _smoke() -> Row:
    with tempfile.TemporaryDirectory() as folder:
        return _measured("smoke, from nothing", 60, lambda: _run("smoke", Path(folder), Path(folder, "corpora")))


def _obliqa(corpora: Path) -> list[Row]:
    suite = find_suite("retrieval")
    alone = suite.model_copy(update={"name": "obliqa", "data": suite.data[:1]})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "obliqa.yaml")
        path.write_text(alone.model_dump_json(), encoding="utf-8")  # JSON is YAML
        rows = []
        if not (corpora / "obliqa").exists():
            rows.append(_measured("obliqa, from nothing", 900, lambda: _run(str(path), Path(folder), corpora)))
        return [*rows, _measured("obliqa, index there", 60, lambda: _run(str(path), Path(folder), corpora))]


def _run(suite: str, folder: Path, corpora: Path) -> None:
    """The command as people run it. Raises `RuntimeError` when it does not come to its end."""
    command = [
        sys.executable, "-m", "rag.cli", "evaluate", "run", suite,
        "--runs", str(folder / "runs"), "--corpora", str(corpora),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode not in {0, 1}:
        raise RuntimeError(f"evaluate run {suite} ended with {done.returncode}: {done.stderr[-1000:]}")


def _scoring() -> list[Row]:
    """All metrics of the suite `answers`: over quotations, and over statements that are none, each worded anew."""
    metrics = [metric(name) for name in find_suite("answers").metrics]
    items, records = _answers()
    draw = random.Random(8)  # noqa: S311
    reworded = [_reworded(each, draw) for each in records]
    return [
        _measured(f"scoring {ANSWERS:,} {how} answers", _SCORING, partial(score, given, items, metrics))
        for how, given in (("quoted", records), ("reworded", reworded))
    ]


def _reworded(record: ItemRecord, draw: random.Random) -> ItemRecord:
    """The answer without some of its words, which keeps its markers."""
    lines = record.produced.text.split("\n")
    kept = [
        " ".join(word for word in line.split() if word.startswith("[") or draw.random() >= _LEFT_OUT) for line in lines
    ]
    return replace(record, produced=replace(record.produced, text="\n".join(kept)))


def _answers() -> tuple[dict[str, Item], list[ItemRecord]]:
    """Different answers of two to four sentences of the sample bank, cited, beside others that are wanted."""
    texts = (path.read_text(encoding="utf-8") for path in sorted((ROOT / "sample_bank" / "regulations").glob("*.md")))
    sentences = [" ".join(each.split()) for text in texts for each in _SENTENCE.findall(text)]
    draw = random.Random(7)  # noqa: S311
    items, records = {}, []
    for number in range(ANSWERS):
        said, key = draw.sample(sentences, draw.randint(2, 4)), f"q{number}"
        wanted = Wanted(
            (draw.choice(sentences),), "", number % 4 > 0, {"d 1": 1.0}, frozenset({"d"}), (re.escape(said[0][:40]),)
        )
        items[key] = Item(key, f"{said[0][:60]}?", wanted)
        quotes = [CitedQuote("d", "t", 1, each, f"d {n}", "d", str(n)) for n, each in enumerate(said, 1)]
        text = "\n".join(f"{each} [{n}]" for n, each in enumerate(said, 1))
        passages = tuple(RetrievedPassage("d", "t", page, "", 1.0, f"d {page}", "d") for page in range(1, 13))
        produced = Produced(text, "answered", "", passages, tuple(quotes), {"total": 0.1}, {}, draw.random())
        records.append(ItemRecord(key, 0, "ok", items[key].question, {"data": "bank"}, produced=produced))
    return items, records


def _comparing() -> Row:
    before, after = _scored("before", 1), _scored("after", 2)
    what = f"comparing {ANSWERS:,} × {METRICS}, {RESAMPLES:,} resamples"
    return _measured(what, 10, lambda: compare_runs(before, after, resamples=RESAMPLES))


def _scored(name: str, seed: int) -> ScoredRun:
    values = np.random.default_rng(seed).random((ANSWERS, METRICS))
    names = [f"metric_{number}" for number in range(METRICS)]
    items = tuple(
        ScoredItem(f"q{number}", f"q{number}", {"data": "bank"}, dict(zip(names, row, strict=True)))
        for number, row in enumerate(values.tolist())
    )
    return ScoredRun(name, "d", dict.fromkeys(names, "higher"), items)


if __name__ == "__main__":
    try:
        main()
    except BankSightError as error:
        sys.exit(f"Error: {error}")
