"""Fits the model that tells bank questions from chit-chat and other subjects, and writes it into the package.

    python -m evaluations.fit_scope --data ../shared/data --models .cache/models [--write]

In scope are the bank questions of the `scope` set, and questions about regulations and filings, since those are asked
here, too. Near-scope questions are left out. Figures are from five folds over questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import click
import numpy as np
from numpy.typing import NDArray

from rag.models.embedding import MiniLM, open_embedding
from rag.query import scope
from rag.query.scope import Scope, ScopeModel, shipped_scope_model
from rag.settings import load_settings

MODEL: Final = Path(scope.__file__).parent / scope.MODEL_FILE
_DOCUMENT_QUESTIONS: Final = (("sec10q/questions.jsonl", "question"), ("cfpb-regs/queries.jsonl", "text"))
_FOLDS: Final = 5
_INVERSE_PENALTY: Final = 1.0  # scikit-learn's C
_DIGITS: Final = 4  # of a stored weight; the vectors have length 1
_SLICE: Final = 256  # questions embedded at once


@dataclass(frozen=True, slots=True)
class Example:
    """A question, what it is, and whether it is about documents rather than from the `scope` set."""

    text: str
    label: str
    about_documents: bool


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="The evaluation data.")
@click.option("--models", type=click.Path(path_type=Path), required=True, help="Where the exported encoder is kept.")
@click.option("--threshold", default=0.2, show_default=True, help="Probability from which a question is in scope.")
@click.option("--write", is_flag=True, help=f"Write {scope.MODEL_FILE}; else only print.")
def main(data: Path, models: Path, threshold: float, write: bool) -> None:  # noqa: FBT001 - click's flag
    """Embed, fit, print, and write on request."""
    examples = read_examples(data)
    vectors = embedded(open_embedding(load_settings("laptop", environment={}).embedding, models, "query"), examples)
    figures = report(examples, cross_validated(examples, vectors, threshold), threshold)
    click.echo(json.dumps(figures, indent=1))
    if write:
        MODEL.write_text(json.dumps(stored(fitted(examples, vectors, threshold), examples, figures)) + "\n", "utf-8")


def read_examples(data: Path) -> list[Example]:
    """The questions of the `scope` set, and those about documents."""
    rows = [row for row in _rows(data / "scope" / "queries.jsonl") if row["label"] != "near_scope"]
    asked = [row[field] for file, field in _DOCUMENT_QUESTIONS for row in _rows(data / file)]
    return [
        *(Example(row["text"], row["label"], False) for row in rows),
        *(Example(q, "in_scope", True) for q in asked),
    ]


def shipped_threshold() -> float:
    """The threshold of the model in the package."""
    return shipped_scope_model().threshold


def embedded(encoder: MiniLM, examples: Sequence[Example]) -> NDArray[np.float32]:
    """Their vectors, in order."""
    texts = [each.text for each in examples]
    return np.concatenate([encoder.embed(texts[at : at + _SLICE]) for at in range(0, len(texts), _SLICE)])


def fitted(examples: Sequence[Example], vectors: NDArray[np.float32], threshold: float) -> ScopeModel:
    """A multinomial logistic model over these examples, with weights as they are stored."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - heavy, and absent where nothing is fitted

    found = LogisticRegression(C=_INVERSE_PENALTY, max_iter=2000).fit(vectors, [each.label for each in examples])
    weights, intercepts = found.coef_.round(_DIGITS), found.intercept_.round(_DIGITS)
    labels = cast("tuple[Scope, ...]", tuple(map(str, found.classes_)))
    return ScopeModel(labels, weights, intercepts, threshold)


def cross_validated(examples: Sequence[Example], vectors: NDArray[np.float32], threshold: float) -> NDArray[np.float64]:
    """For each example the probability of being in scope, from a model that did not see its question."""
    folds = np.array([int(hashlib.sha1(each.text.encode()).hexdigest(), 16) % _FOLDS for each in examples])  # noqa: S324 - a split
    inside = np.zeros(len(examples))
    for fold in range(_FOLDS):
        model = fitted(
            [each for each, of in zip(examples, folds, strict=True) if of != fold], vectors[folds != fold], threshold
        )
        inside[folds == fold] = model.probabilities(vectors[folds == fold])[:, model.labels.index("in_scope")]
    return inside


def report(examples: Sequence[Example], inside: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    """Macro-F1 of in scope against the rest over the `scope` set, both kinds of error, and those about documents."""
    of_set = np.array([not each.about_documents for each in examples])
    truth = np.array([each.label == "in_scope" for each in examples])
    said = inside >= threshold
    return {
        "questions": len(examples),
        "threshold": threshold,
        "macro_f1": round(macro_f1(truth[of_set], said[of_set]), 4),
        "macro_f1_if_everything_is_in_scope": round(macro_f1(truth[of_set], np.ones(of_set.sum(), bool)), 4),
        "bank_questions_refused": _share(~said[of_set & truth]),
        "other_questions_let_through": _share(said[of_set & ~truth]),
        "document_questions_refused": _share(~said[~of_set]),
    }


def macro_f1(truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    """The mean of the F1 of both answers."""
    scores = []
    for true, claimed in ((truth, said), (~truth, ~said)):
        both, either = int((true & claimed).sum()), int(true.sum() + claimed.sum())
        scores.append(2 * both / either if either else 1.0)
    return sum(scores) / 2


def stored(model: ScopeModel, examples: Sequence[Example], figures: dict[str, Any]) -> dict[str, Any]:
    """The model with the origin and the SHA-256 of the questions and labels that it was fitted on."""
    lines = "\n".join(f"{each.label}\t{each.text}" for each in examples)
    return {
        "labels": list(model.labels),
        "threshold": model.threshold,
        "intercepts": model.intercepts.tolist(),
        "weights": model.weights.tolist(),
        "origin": "CLINC150 (CC BY 3.0), BANKING77 (CC BY 4.0), US regulations, docugami/KG-RAG-datasets (MIT)",
        "data": hashlib.sha256(lines.encode()).hexdigest(),
        "figures": figures,
    }


def _share(values: NDArray[np.bool_]) -> float:
    return round(float(values.mean()), 4)


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


if __name__ == "__main__":
    main()
