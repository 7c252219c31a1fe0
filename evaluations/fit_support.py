"""Fit the model that tells supported statements from others, on the labels of people.

    python -m evaluations.fit_support --data DATA --cache CACHE [--write]

The claims of WiCE are halved by a hash of their ids. One half is fitted on and
cross-validated here; the other is held out, and `evaluations.grounding_benchmark` reports on it. With `--write` the
model goes to `rag/query/support.json`, with the hash of the claims that it came from and these figures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from evaluations.datasets.grounding import Claim, claims, digest
from evaluations.metrics.grounding import Flags, Scores, auroc, balanced_accuracy
from rag.models.embedding import open_embedding
from rag.query import support
from rag.query.similarity import Encoder
from rag.query.support import SupportSignals, measure_support
from rag.settings import load_settings

MODEL: Final = Path(support.__file__).parent / support.MODEL_FILE
_PENALTY: Final = 0.1  # C of the regression: few claims, so strong
_FOLDS: Final = 5
_REPEATS: Final = 10


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="The evaluation data.")
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="Where the exported encoder is kept.")
@click.option("--write", is_flag=True, help=f"Write {support.MODEL_FILE}; else only print.")
def main(data: Path, cache: Path, write: bool) -> None:  # noqa: FBT001 - click's flag
    """Measure, fit, print, and write on request."""
    items = [each for each in claims(data) if each.part == "fit"]
    encoder = open_embedding(load_settings("laptop", environment={}).embedding, cache / "models", "bulk")
    signals = measured(items, encoder)
    supported = np.array([each.supported for each in items])
    model = fitted(signals, supported)
    click.echo(json.dumps(model, indent=1))
    if write:
        stored = {**model, "data": f"WiCE, {len(items)} claims", "sha256": digest(items)}
        MODEL.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def measured(items: Sequence[Claim], encoder: Encoder) -> Scores:
    """The signals of each claim: float64[claims, signals]."""
    return np.array([measure_support(each.claim, each.sentences, encoder).values() for each in items])


def fitted(signals: Scores, supported: Flags) -> dict[str, Any]:
    """The model in the form in which it is stored, and how good it is on claims that it did not see."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=_PENALTY))
    probabilities = np.array(
        [
            cross_val_predict(
                pipeline,
                signals,
                supported,
                cv=StratifiedKFold(_FOLDS, shuffle=True, random_state=seed),
                method="predict_proba",
            )[:, 1]
            for seed in range(_REPEATS)
        ]
    )
    pipeline.fit(signals, supported)
    scaler, regression = pipeline[0], pipeline[1]
    if (regression.coef_ < 0).any():  # more in common can only speak for a statement; anything else is chance
        return fitted(signals * (regression.coef_[0] >= 0), supported)
    return {
        "signals": list(SupportSignals.labels()),
        "means": _rounded(scaler.mean_),
        "scales": _rounded(scaler.scale_),
        "weights": _rounded(regression.coef_[0]),
        "intercept": round(float(regression.intercept_[0]), 6),
        "threshold": best_threshold(supported, probabilities),
        "cross_validated_auroc": round(float(np.mean([auroc(supported, each) for each in probabilities])), 3),
    }


def best_threshold(supported: Flags, probabilities: Scores) -> float:
    """The threshold, in steps of 0.01, with the best balanced accuracy over all repeats: float64[repeats, claims]."""
    steps = np.arange(0.05, 0.95, 0.01)
    accuracy = [np.mean([balanced_accuracy(supported, each >= step) for each in probabilities]) for step in steps]
    return round(float(steps[int(np.argmax(accuracy))]), 2)


def _rounded(values: Scores) -> list[float]:
    return [round(float(each), 6) for each in values]


if __name__ == "__main__":
    main()
