"""A corpus of about 13,000 chunks for the service benchmark: the sample bank, several times, under distinct titles.

It is kept in a folder, so that a second benchmark starts at once.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from evaluations.ingestion_benchmark import SAMPLE_BANK
from evaluations.timing import run_child
from rag.bootstrap import open_workspace
from rag.settings import load_settings

ENOUGH_CHUNKS = 13_000
MOST_COPIES = 12


@dataclass(frozen=True, slots=True)
class BenchmarkCorpus:
    """Where everything lies. `environment` makes BankSight use it; `nodes` are the same chunks for the plain peer."""

    environment: dict[str, str]
    nodes: Path
    chunks: int


def prepare(folder: Path) -> BenchmarkCorpus:
    """Copies of the sample bank below `folder`, ingested by `banksight ingest`, until there are enough chunks."""
    documents = folder / "documents"
    source = {"name": "benchmark", "kind": "filesystem", "root": str(documents.resolve())}
    environment = {"BANKSIGHT_DATA_DIR": str(folder / "data"), "BANKSIGHT__SOURCES": json.dumps([source])}
    chunks = 0
    for number in range(1, MOST_COPIES + 1):
        _copy_sample_bank(documents / f"copy-{number:02}", number)
        run_child([sys.executable, "-m", "rag.cli", "ingest", "--json"], environment)
        chunks = _export(environment, folder / "nodes.jsonl")
        click.echo(f"{chunks:,} chunks are ready", err=True)
        if chunks >= ENOUGH_CHUNKS:
            break
    return BenchmarkCorpus(environment, folder / "nodes.jsonl", chunks)


def questions() -> list[str]:
    """One question per section heading of the sample regulations, all different."""
    headings = []
    for file in sorted((SAMPLE_BANK / "regulations").glob("*.md")):
        headings += re.findall(r"^## § \S+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return [
        f"What does the regulation say about {heading[0].lower()}{heading[1:]}?" for heading in dict.fromkeys(headings)
    ]


def _copy_sample_bank(folder: Path, number: int) -> None:
    for file in sorted(SAMPLE_BANK.rglob("*")):
        if file.suffix not in (".md", ".pdf", ".yaml") or file.parent == SAMPLE_BANK:
            continue
        copy = folder / file.relative_to(SAMPLE_BANK)
        if copy.exists():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".pdf":
            shutil.copyfile(file, copy)
        else:
            text = re.sub(r"\A(# [^\n]+|title: \"[^\"]+)", rf"\1, copy {number}", file.read_text(encoding="utf-8"))
            copy.write_text(text, encoding="utf-8")


def _export(environment: dict[str, str], nodes: Path) -> int:
    """Write id, text, metadata and vector of every chunk as JSON lines; returns how many."""
    workspace = open_workspace(load_settings("laptop", environment=environment))
    try:
        pairs = sorted(workspace.registry.chunk_pairs())
        vectors = workspace.stores.vectors.vectors(pairs)
        passages = workspace.registry.passages([chunk_id for _, chunk_id in pairs])
    finally:
        workspace.close()
    with nodes.open("w", encoding="utf-8") as lines:
        for chunk_id, chunk in passages.items():
            metadata = {"title": chunk.title, "section": chunk.section, "page": chunk.page}
            vector = [float(number) for number in vectors[chunk_id]]
            lines.write(json.dumps({"id": chunk_id, "text": chunk.text, "metadata": metadata, "vector": vector}) + "\n")
    return len(passages)
