"""Fits the model that decides whether the documents answer a question, and writes it into the package.

    python -m evaluations.fit_refusal --data ../shared/data --cache .cache/evaluation [--write]

Every question goes through the real pipeline up to the decision. Unanswerable are: rulebook questions whose rulebook
is left out of the search, questions about companies without filings here, and questions about anything else. Figures
are from five folds over questions, so a question never judges itself.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import click
import numpy as np
from numpy.typing import NDArray

from evaluations.retrieval_benchmark import opened
from rag.bootstrap import Workspace, open_workspace
from rag.domain import SearchFilter
from rag.query import refusal
from rag.query.signals import Signals
from rag.settings import load_settings

Column = NDArray[np.float64]
Label = Literal["answerable", "unanswerable"]

OWN_QUESTIONS: Final = Path(__file__).parent / "datasets" / "answers.jsonl"
MODEL: Final = Path(refusal.__file__).parent / refusal.MODEL_FILE
# How much each kind of question counts, however many there are. Rulebooks are the hardest and the most; the more the
# groups without answerable questions count, the more the model learns what such questions look like instead.
_WEIGHTS: Final = {"rulebooks": 4.0, "regulations": 1.0, "bank": 1.0, "filings": 0.3, "companies": 0.05, "scope": 0.2}
_LABELLED: Final[tuple[tuple[str, str, Label], ...]] = (
    ("sec10q/questions.jsonl", "filings", "answerable"),
    ("sec10q/unanswerable.jsonl", "filings", "unanswerable"),
    ("financebench/unanswerable.jsonl", "companies", "unanswerable"),
)
_REGULATIONS: Final = 250  # questions about regulations, at most
_FOLDS: Final = 5
_PENALTY: Final = 1.0  # of squared standardised weights
_KEPT: Final = 0.9  # share of answerable rulebook questions for which the printed threshold lets through
_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Example:
    """A question with its signals. `group` says which data it is from."""

    group: str
    question: str
    answerable: bool
    signals: tuple[float, ...]


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="The evaluation data.")
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="Where ingested corpora are kept.")
@click.option("--questions", default=800, show_default=True, help="Rulebook questions, each with and without its book.")
@click.option("--threshold", default=0.4, show_default=True, help="Probability from which an answer is given.")
@click.option("--write", is_flag=True, help=f"Write {refusal.MODEL_FILE}; else only print.")
def main(data: Path, cache: Path, questions: int, threshold: float, write: bool) -> None:  # noqa: FBT001 - click's flag
    """Measure, fit, print, and write on request."""
    examples = [*rulebook_examples(data, cache, questions), *bank_examples(data, cache)]
    probabilities = cross_validated(examples)
    figures = report(examples, probabilities, threshold)
    click.echo(json.dumps(figures, indent=1))
    if write:
        stored = {**fitted(examples), "threshold": threshold, "data": digest(examples), "figures": figures}
        MODEL.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def rulebook_examples(data: Path, cache: Path, questions: int) -> Iterator[Example]:
    """Questions about one rulebook, with and without that rulebook among the documents that are searched."""
    counts = (("obliqa", "rulebooks", questions), ("cfpb-regs", "regulations", min(questions, _REGULATIONS)))
    for name, group, count in counts:
        with opened(name, data / name, cache) as task:
            document_of = _documents(task.workspace, data / name)
            all_documents = frozenset(document_of.values())
            chosen = [
                (question, documents)
                for key, question in task.questions.items()
                if len(documents := {document_of[passage] for passage in task.relevant[key]}) == 1
            ]
            random.Random(_SEED).shuffle(chosen)  # noqa: S311 - a sample, not a secret
            for question, documents in chosen[:count]:
                yield from _example(task.workspace, group, question, "answerable")
                others = SearchFilter(document_ids=tuple(sorted(all_documents - documents)))
                yield from _example(task.workspace, group, question, "unanswerable", others)


def bank_examples(data: Path, cache: Path) -> Iterator[Example]:
    """Questions to the sample bank: own ones, about filings, about companies it has nothing on, and out of scope."""
    workspace = open_workspace(
        load_settings("laptop", environment={}, overrides={"data_dir": str((cache / "bank").resolve())})
    )
    try:
        workspace.ingest()
        for row in _rows(OWN_QUESTIONS):
            yield from _example(workspace, "bank", row["question"], "answerable" if row["quotes"] else "unanswerable")
        for file, group, label in _LABELLED:
            for row in _rows(data / file):
                yield from _example(workspace, group, row["question"], label)
        for text in _out_of_scope(data / "scope" / "queries.jsonl"):
            yield from _example(workspace, "scope", text, "unanswerable")
    finally:
        workspace.close()


def cross_validated(examples: Sequence[Example]) -> Column:
    """For each example the probability from a model that did not see its question."""
    folds = np.array([int(hashlib.sha1(each.question.encode()).hexdigest(), 16) % _FOLDS for each in examples])  # noqa: S324 - a split
    probabilities = np.zeros(len(examples))
    for fold in range(_FOLDS):
        model = _logistic([each for each, of in zip(examples, folds, strict=True) if of != fold])
        held_out = np.array([each.signals for each in examples])[folds == fold]
        probabilities[folds == fold] = _probabilities(model, held_out)
    return probabilities


def fitted(examples: Sequence[Example]) -> dict[str, Any]:
    """The model over all examples, in the form in which it is stored."""
    means, scales, weights = _logistic(examples)
    return {
        "signals": list(Signals.names()),
        "means": [round(float(each), 6) for each in means],
        "scales": [round(float(each), 6) for each in scales],
        "weights": [round(float(each), 6) for each in weights[:-1]],
        "intercept": round(float(weights[-1]), 6),
    }


def report(examples: Sequence[Example], probabilities: Column, threshold: float) -> dict[str, Any]:
    """Per group, the share let through at the threshold; for the rulebooks also at 90 and 95 % of answerable ones."""
    groups = np.array([each.group for each in examples])
    answerable = np.array([each.answerable for each in examples])
    cosine = np.array([each.signals[Signals.names().index("best_cosine")] for each in examples])
    figures: dict[str, Any] = {"examples": len(examples), "threshold": threshold}
    for group in dict.fromkeys(groups):
        of = groups == group
        yes, no = probabilities[of & answerable], probabilities[of & ~answerable]
        figures[str(group)] = {
            "answerable_let_through": _share(yes, threshold),
            "unanswerable_let_through": _share(no, threshold),
            "auroc": _auroc(yes, no),
            "auroc_cosine_alone": _auroc(cosine[of & answerable], cosine[of & ~answerable]),
        }
    of = groups == "rulebooks"
    for kept in (0.9, 0.95):
        name = f"rulebooks_unanswerable_let_through_at_{kept:.0%}"
        figures[name] = _let_through(probabilities[of & answerable], probabilities[of & ~answerable], kept)
        figures[f"{name}_cosine_alone"] = _let_through(cosine[of & answerable], cosine[of & ~answerable], kept)
    figures["expected_calibration_error"] = _calibration_error(probabilities, answerable)
    figures["brier_score"] = round(float(((probabilities - answerable) ** 2).mean()), 3)
    return figures


def digest(examples: Sequence[Example]) -> str:
    """SHA-256 of the questions and labels that a model was fitted on."""
    lines = "\n".join(f"{each.group}\t{each.answerable}\t{each.question}" for each in examples)
    return hashlib.sha256(lines.encode()).hexdigest()


def _example(
    workspace: Workspace,
    group: str,
    question: str,
    label: Label,
    narrow: SearchFilter | None = None,
) -> Iterator[Example]:
    signals = workspace.pipeline.signals(question, workspace.principal(), narrow or SearchFilter())
    if signals is not None:
        yield Example(group, question, label == "answerable", signals.values())


def _documents(workspace: Workspace, folder: Path) -> dict[str, str]:
    """Passage id of the data -> id of the document that holds it."""
    from evaluations.datasets.beir import read_collection  # noqa: PLC0415

    by_uri = {document.uri: document.id for document in workspace.registry.documents()}
    books = read_collection(folder).rulebooks
    return {passage: by_uri[book.name] for book in books for passage in book.passage_ids}


def _out_of_scope(path: Path) -> list[str]:
    rows = [row for row in _rows(path) if row["label"] in ("out_of_scope", "chitchat")]
    random.Random(_SEED).shuffle(rows)  # noqa: S311
    return [row["text"] for row in rows[:200]]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _logistic(examples: Sequence[Example]) -> tuple[Column, Column, Column]:
    """Means, scales and weights (intercept last) of a penalised logistic regression, by Newton's method."""
    signals = np.array([each.signals for each in examples])
    target = np.array([float(each.answerable) for each in examples])
    counts = _example_weights(examples)
    means, scales = signals.mean(axis=0), signals.std(axis=0) + 1e-6
    rows = np.c_[(signals - means) / scales, np.ones(len(signals))]
    penalty = _PENALTY * np.eye(rows.shape[1])
    penalty[-1, -1] = 0.0
    weights = np.zeros(rows.shape[1])
    for _ in range(50):
        estimate = 1 / (1 + np.exp(-rows @ weights))
        gradient = rows.T @ (counts * (estimate - target)) + penalty @ weights
        curvature = rows.T @ (rows * (counts * estimate * (1 - estimate))[:, None]) + penalty
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    return means, scales, weights


def _example_weights(examples: Sequence[Example]) -> Column:
    """Each group and label together weigh the same, times the group's weight, in units of 200 questions."""
    sizes: dict[tuple[str, bool], int] = {}
    for each in examples:
        sizes[each.group, each.answerable] = sizes.get((each.group, each.answerable), 0) + 1
    return np.array([200 * _WEIGHTS[each.group] / sizes[each.group, each.answerable] for each in examples])


def _probabilities(model: tuple[Column, Column, Column], signals: Column) -> Column:
    means, scales, weights = model
    logits: Column = np.c_[(signals - means) / scales, np.ones(len(signals))] @ weights
    return 1 / (1 + np.exp(-logits))


def _share(values: Column, threshold: float) -> float | None:
    return round(float((values >= threshold).mean()), 3) if len(values) else None


def _let_through(yes: Column, no: Column, kept: float) -> float:
    return round(float((no >= np.quantile(yes, 1 - kept)).mean()), 3)


def _auroc(yes: Column, no: Column) -> float | None:
    """The chance that an answerable question scores above an unanswerable one."""
    if not len(yes) or not len(no):
        return None
    return round(float((yes[:, None] > no[None, :]).mean() + 0.5 * (yes[:, None] == no[None, :]).mean()), 3)


def _calibration_error(probabilities: Column, answerable: NDArray[np.bool_]) -> float:
    """Expected calibration error over ten bins of equal width."""
    bins = np.minimum((probabilities * 10).astype(int), 9)
    gaps = [
        abs(probabilities[bins == each].mean() - answerable[bins == each].mean()) * (bins == each).mean()
        for each in range(10)
        if (bins == each).any()
    ]
    return round(float(sum(gaps)), 3)


if __name__ == "__main__":
    main()
