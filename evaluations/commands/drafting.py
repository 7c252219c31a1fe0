"""`banksight evaluate collect` and `synthesize`: drafts of new items, into a review file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Literal

import click

from evaluations.commands.engines import open_engine_llm
from evaluations.datasets.rows import read_rows
from evaluations.drafting.collecting import collect as collect_drafts
from evaluations.drafting.review import Draft, add_drafts
from evaluations.drafting.synthesizing import SourcePage, by_model, by_rules
from rag.bootstrap import Workspace, open_workspace
from rag.errors import NotFound
from rag.models.embedding import open_embedding
from rag.models.llms import close_llm
from rag.models.minilm import MiniLM
from rag.settings import load_settings

_FILE = click.Path(dir_okay=False, path_type=Path)
_THERE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEXT = 'open it in a spreadsheet, write yes under accept, and name it in a suite with where: {accept: "yes"}'


def _against(paths: tuple[Path, ...]) -> list[tuple[str, str]]:
    """Id and question of the items in data files."""
    return [
        (row.text("id"), row.text("question"))
        for path in paths
        for row in read_rows(path)
        if row.values.get("question")
    ]


@click.command()
@click.argument("export", type=_THERE)
@click.option("--review", type=_FILE, default="review.csv", show_default=True, help="The review file that is added to.")
@click.option("--against", type=_THERE, multiple=True, help="Data file whose near-duplicates are flagged.")
def collect(*, export: Path, review: Path, against: tuple[Path, ...]) -> None:
    """Draft items from an EXPORT of feedback: thumbs down and unanswered questions, with consent, scrubbed.

    EXPORT holds a JSON object a line: question, status, rating, consent, and optionally reason and comment.
    """
    found = collect_drafts(export)
    settings = load_settings()
    added = _add(
        review, found.drafts, open_embedding(settings.embedding, settings.data_dir / "models", "query"), against
    )
    click.echo(
        f"{added} drafts added to {review}, {len(found.drafts) - added} were there or repeated; "
        f"{found.without_consent} left out without consent, {found.fine} because nothing was wrong"
    )
    click.echo(_NEXT)


@click.command()
@click.option("--review", type=_FILE, default="review.csv", show_default=True, help="The review file that is added to.")
@click.option("--against", type=_THERE, multiple=True, help="Data file whose near-duplicates are flagged.")
@click.option("--collection", "collections", multiple=True, help="Only documents of this collection.")
@click.option("--by", type=click.Choice(["rules", "model"]), default="rules", show_default=True)
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1), help="At most so many drafts.")
def synthesize(
    *, review: Path, against: tuple[Path, ...], collections: tuple[str, ...], by: Literal["rules", "model"], limit: int
) -> None:
    """Draft questions from the documents that are indexed here.

    Rules understand definitions, time limits and amounts. `--by model` asks the configured engine for one question a
    page and keeps those whose answer stands in the page.
    """
    with closing(open_workspace(load_settings())) as workspace:
        pages = _pages(workspace, collections)
        if by == "rules":
            drafts = list(islice(by_rules(pages), limit))
        else:
            llm = open_engine_llm(workspace.settings)
            try:
                drafts = list(islice(by_model(pages, llm), limit))
            finally:
                close_llm(llm)
        added = _add(review, drafts, workspace.embedding, against)
    click.echo(f"{added} drafts added to {review}, {len(drafts) - added} were there or repeated")
    click.echo(_NEXT)


def _pages(workspace: Workspace, collections: tuple[str, ...]) -> Iterator[SourcePage]:
    """The pages of all indexed documents that the local person may read."""
    there = [each for each in workspace.documents(workspace.principal()) if each.state == "indexed"]
    chosen = [each for each in there if not collections or each.collection in collections]
    if not chosen:
        raise NotFound("there is no indexed document to draft from; see `banksight documents list`")
    for document in chosen:
        stem = Path(document.uri.removeprefix("file:")).stem
        for number in range(1, document.pages + 1):
            page = workspace.registry.page(document.id, number)
            yield SourcePage(f"{stem} {number}", document.title, page.text)


def _add(review: Path, drafts: tuple[Draft, ...] | list[Draft], encoder: MiniLM, against: tuple[Path, ...]) -> int:
    return add_drafts(review, drafts, encoder.embed, _against(against))
