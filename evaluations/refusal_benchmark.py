"""How well questions are sent to people, told from other subjects, and refused: three figures beside trivial ones.

    python -m evaluations.refusal_benchmark --data ../shared/data --cache .cache/evaluation --models .cache/models

Scope and answerability are cross-validated: no question is judged by a model that saw it. Answerability is measured
over rulebook questions, each with and without its rulebook, with a model fitted on such questions only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from evaluations import fit_refusal, fit_scope
from evaluations.fit_refusal import Example
from rag.models.embedding import open_embedding
from rag.query.routing import escalation_topic
from rag.settings import load_settings

PHRASINGS: Final = Path(__file__).parent / "datasets" / "escalations.jsonl"
_KEPT: Final = 0.95  # share of answerable questions that are let through
_RESAMPLES: Final = 1000
_SEED: Final = 7


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="The evaluation data.")
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="Where ingested corpora are kept.")
@click.option("--models", type=click.Path(path_type=Path), required=True, help="Where the exported encoder is kept.")
@click.option("--questions", default=300, show_default=True, help="Rulebook questions, each with and without its book.")
def main(data: Path, cache: Path, models: Path, questions: int) -> None:
    """Print the figures as JSON."""
    examples = fit_scope.read_examples(data)
    encoder = open_embedding(load_settings("laptop", environment={}).embedding, models, "query")
    threshold = fit_scope.shipped_threshold()
    inside = fit_scope.cross_validated(examples, fit_scope.embedded(encoder, examples), threshold)
    rulebooks = [each for each in fit_refusal.rulebook_examples(data, cache, questions) if each.group == "rulebooks"]
    figures = {
        "people": people_figures(),
        "scope": fit_scope.report(examples, inside, threshold),
        "answerability": answerability_figures(rulebooks),
    }
    click.echo(json.dumps(figures, indent=1))


def people_figures() -> dict[str, Any]:
    """How many of the phrasings reach the right people, and how many look-alikes do; escalating nothing finds none."""
    rows = [json.loads(line) for line in PHRASINGS.read_text("utf-8").splitlines()]
    found = [(row["topic"], escalation_topic(row["question"])) for row in rows]
    meant = [(topic, said) for topic, said in found if topic]
    return {
        "phrasings": len(meant),
        "sent_to_the_right_people": sum(topic == said for topic, said in meant),
        "sent_if_nothing_is_escalated": 0,
        "look_alikes": len(found) - len(meant),
        "look_alikes_sent": sum(said is not None for topic, said in found if not topic),
    }


def answerability_figures(examples: Sequence[Example]) -> dict[str, Any]:
    """The share of unanswerable questions let through at 95 % of answerable ones, with a 95 % bootstrap interval.

    Questions are resampled, with both of their variants. Questions that lack a variant are left out.
    """
    probabilities = fit_refusal.cross_validated(examples)
    model, cosine = (
        _paired(examples, probabilities),
        _paired(examples, np.array([each.signals[0] for each in examples])),
    )
    draw = np.random.default_rng(_SEED)
    resampled = [_let_through(model[draw.integers(0, len(model), len(model))]) for _ in range(_RESAMPLES)]
    low, high = np.quantile(resampled, (0.025, 0.975))
    return {
        "questions": len(model),
        "unanswerable_let_through": round(_let_through(model), 3),
        "interval": [round(float(low), 3), round(float(high), 3)],
        "unanswerable_let_through_by_best_cosine": round(_let_through(cosine), 3),
    }


def _paired(examples: Sequence[Example], values: fit_refusal.Column) -> fit_refusal.Column:
    """float64[questions, 2]: the value of each question when answerable, and when not."""
    of: dict[str, dict[bool, float]] = {}
    for example, value in zip(examples, values, strict=True):
        of.setdefault(example.question, {})[example.answerable] = float(value)
    return np.array([[each[True], each[False]] for each in of.values() if len(each) == 2])


def _let_through(pairs: fit_refusal.Column) -> float:
    return float((pairs[:, 1] >= np.quantile(pairs[:, 0], 1 - _KEPT)).mean())


if __name__ == "__main__":
    main()
