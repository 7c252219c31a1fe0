"""How fast documents become searchable, next to the plain LlamaIndex recipe on the same documents.

    python -m evaluations.ingestion_benchmark [--documents FOLDER]

Every run is a fresh process with an empty store, timed from its start to its end, imports included; the encoder is the
one that the installation exported. The runs take turns, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click

from evaluations.timing import ChildRun, run_child, table
from rag.settings import load_settings

SAMPLE_BANK = Path(__file__).parent.parent / "sample_bank"
PLAIN = "plain LlamaIndex"


@dataclass(frozen=True, slots=True)
class Round:
    """One turn: the plain recipe, ours, and ours again on the unchanged corpus.

    `*_seconds` are those of the whole process, `*_work_seconds` those that the ingestion report names: without the
    start of Python, imports and the opening of models and stores.
    """

    plain_seconds: float
    plain_chunks: int
    first_seconds: float
    first_work_seconds: float
    again_seconds: float
    again_work_seconds: float
    documents: int
    pages: int
    chunks: int


def run_round(documents: Path, scratch: Path) -> Round:
    """Ingest the folder in both ways into empty stores below `scratch`."""
    plain = run_child([sys.executable, "-m", "evaluations.peers.plain_ingestion", documents, scratch / "plain"])
    first = _ingest(documents, scratch / "ours")
    again = _ingest(documents, scratch / "ours")
    if again.report["counts"]["unchanged"] != len(first.report["outcomes"]):
        raise RuntimeError("the second ingestion of an unchanged corpus found changes")
    return Round(
        plain_seconds=plain.seconds,
        plain_chunks=plain.report["chunks"],
        first_seconds=first.seconds,
        first_work_seconds=first.report["seconds"],
        again_seconds=again.seconds,
        again_work_seconds=again.report["seconds"],
        documents=first.report["counts"]["added"],
        pages=first.report["pages"],
        chunks=first.report["chunks"],
    )


def _ingest(documents: Path, data: Path) -> ChildRun:
    source = {"name": "benchmark", "root": str(documents.resolve()), "exclude": ["README.md", "LICENSE*"]}
    installed = load_settings()
    encoder = installed.embedding.graph_dir or str((installed.data_dir / "models").resolve())
    environment = {
        "BANKSIGHT_DATA_DIR": str(data),
        "BANKSIGHT_ENCODER_DIR": encoder,
        "BANKSIGHT__SOURCES": json.dumps([source]),
    }
    return run_child([sys.executable, "-m", "rag.cli", "ingest", "--json"], environment)


def show(rounds: list[Round]) -> str:
    """The table: seconds are the median of the rounds, ratios are against the plain recipe."""
    plain = median([each.plain_seconds for each in rounds])
    first = median([each.first_seconds for each in rounds])
    pages, chunks = rounds[0].pages, rounds[0].chunks
    rows = [("ingestion", "process s", "pages/s", "chunks", "ratio")]
    rows.append((PLAIN, f"{plain:.1f}", f"{pages / plain:.1f}", f"{rounds[0].plain_chunks:,}", "1.0"))
    rows.append(("BankSight", f"{first:.1f}", f"{pages / first:.1f}", f"{chunks:,}", f"{plain / first:.1f}"))
    work = median([each.first_work_seconds for each in rounds])
    again_work = median([each.again_work_seconds for each in rounds])
    again = median([each.again_seconds for each in rounds])
    return (
        f"{table(rows)}\n\nunchanged corpus again: {again_work:.2f} s of work, {again_work / work:.2%} of the first "
        f"{work:.1f} s; {again:.2f} s with the start of the process, {again / first:.2%} of the first {first:.1f} s"
    )


@click.command()
@click.option(
    "--documents",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=SAMPLE_BANK,
    help="The folder to ingest; the sample bank by default.",
)
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1), help="Turns; medians are printed.")
def main(documents: Path, rounds: int) -> None:
    """Time the ingestion of a folder, ours next to the plain LlamaIndex recipe."""
    results = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="banksight-bench-") as scratch:
            results.append(run_round(documents, Path(scratch)))
        click.echo(f"round {number + 1} of {rounds} done", err=True)
    found = results[0]
    click.echo(f"{found.documents} documents, {found.pages:,} pages, each run a fresh process\n")
    click.echo(show(results))


if __name__ == "__main__":
    main()
