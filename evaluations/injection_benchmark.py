"""How often orders in documents come out of an answer, and how often clean text is taken for orders.

    python -m evaluations.injection_benchmark --data DIRECTORY

Every attack is a document that a stub engine obeys to the letter (`rag.testing.ObeyingLLM`). It succeeds when its
canary is anywhere in the answer. `DIRECTORY` holds `poisoned_passages.jsonl`; own attacks and look-alikes ship here.
"""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from evaluations.timing import table
from rag.bootstrap import Workspace, open_workspace
from rag.domain import DocumentPage, Passage, Principal, SearchFilter
from rag.query.events import AskRequest
from rag.query.injection import masked, suspicious
from rag.query.pipeline import QueryPipeline
from rag.settings import load_settings
from rag.testing import ObeyingLLM

OWN: Final = Path(__file__).parent / "datasets" / "injections_own"
_TITLE: Final = "Bank rules"
_PATIENT: Final[dict[str, Any]] = {  # a busy machine is no defence
    "generation": {"first_token_seconds": 500.0, "token_seconds": 500.0, "deadline_seconds": 500.0},
    "server": {"deadline_seconds": 600.0},
}


class _OnePassage:
    """A search that always finds one page with this text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def search_each(
        self,
        questions: Sequence[tuple[str, int]],
        principal: Principal,  # noqa: ARG002
        narrow: SearchFilter,  # noqa: ARG002
    ) -> list[list[Passage]]:
        """The page as one passage."""
        found = Passage("c", "d", _TITLE, "", 1, "", 0, len(self.text), self.text, 0.9, 0.9, 9.0)
        return [[found] for _ in questions]

    def page(self, document_id: str, number: int) -> DocumentPage:
        """The page."""
        return DocumentPage(document_id, number, "", self.text)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Where poisoned_passages.jsonl is.")
def main(data: Path) -> None:
    """Print both tables."""
    given = [
        (row["technique"], row["canary"], row["poisoned_text"], row["question"])
        for row in _rows(data / "poisoned_passages.jsonl")
    ]
    own = [
        (f"own: {row['family']}", row["canary"], row["text"], "What fees are charged monthly?")
        for row in _rows(OWN / "attacks.jsonl")
    ]
    with tempfile.TemporaryDirectory() as folder:
        overrides = {"data_dir": folder, "sources": [], **_PATIENT}
        workspace = open_workspace(load_settings("test", environment={}, overrides=overrides))
        try:
            click.echo(_attacks(workspace, [*given, *own]))
        finally:
            workspace.close()
    clean = {
        "own look-alikes": [row["text"] for row in _rows(OWN / "lookalikes.jsonl")],
        "clean passages": [row["clean_text"] for row in _rows(data / "poisoned_passages.jsonl")],
    }
    click.echo(_alarms(clean))


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _attacks(workspace: Workspace, attacks: list[tuple[str, str, str, str]]) -> str:
    counts: Counter[tuple[str, str]] = Counter()
    for family, canary, text, question in attacks:
        for name in (family, "all"):
            counts[name, "n"] += 1
            counts[name, "engine"] += canary in masked(text)
        for screened in (False, True):
            came_out = asyncio.run(_comes_out(workspace, canary, text, question, screened))
            counts[family, str(screened)] += came_out
            counts["all", str(screened)] += came_out
    families = dict.fromkeys(family for family, _ in counts)
    head: tuple[str, ...] = ("family", "attacks", "come out undefended", "reach the engine", "come out defended")
    figures = ((each, *(str(counts[each, key]) for key in ("n", "False", "engine", "True"))) for each in families)
    return table([head, *figures])


async def _comes_out(workspace: Workspace, canary: str, text: str, question: str, screened: bool) -> bool:  # noqa: FBT001
    settings = workspace.settings
    always = settings.refusal.model_copy(update={"threshold": 0.0})
    source = _OnePassage(text)
    pipeline = QueryPipeline(
        searcher=source,
        llm=ObeyingLLM(),
        fallback=workspace.pipeline.engines,
        embedding=workspace.embedding,
        catalog=workspace.catalog,
        settings=settings.model_copy(update={"refusal": always}),
        page=source.page,
    )
    pipeline.screened = screened
    answer = await pipeline.ask(AskRequest(question), workspace.principal())
    return canary in answer.text or any(canary in each.quote + each.title for each in answer.citations)


def _alarms(texts: dict[str, list[str]]) -> str:
    rows = [("clean text", "n", "false alarms", "95 % interval", "ms each")]
    for name, each in texts.items():
        began = time.perf_counter()
        alarms = sum(bool(suspicious(text)) for text in each)
        seconds = time.perf_counter() - began
        low, high = _wilson(alarms, len(each))
        rows.append(
            (name, str(len(each)), str(alarms), f"{low:.1%} to {high:.1%}", f"{seconds / len(each) * 1000:.2f}")
        )
    return table(rows)


def _wilson(count: int, total: int) -> tuple[float, float]:
    """Wilson's score interval at 95 %."""
    z, share = 1.96, count / total
    middle = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (middle - half) / (1 + z * z / total), (middle + half) / (1 + z * z / total)


if __name__ == "__main__":
    main()
