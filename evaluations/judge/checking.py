"""`judge-check`: a judge answers cases that people have labelled; only then may its figures count in a gate."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from evaluations.compare.statistics import Interval
from evaluations.judge.agreement import Agreement, agreement
from evaluations.judge.opinions import Judge
from rag.errors import ConfigurationError

# Landis and Koch (1977) call 0.61 to 0.80 substantial. The whole interval must not reach down to "slight".
LEAST_KAPPA: Final = 0.6
LEAST_KAPPA_BOUND: Final = 0.4


@dataclass(frozen=True, slots=True)
class LabelledCase:
    """A case of a rubric with what people said."""

    id: str
    case: dict[str, str]
    people: bool


@dataclass(frozen=True, slots=True)
class JudgeCheck:
    """The record of one check."""

    rubric: str
    fingerprint: str
    checked_at: str
    agreement: Agreement

    @property
    def fit_for_gates(self) -> bool:
        """True when the judge agrees well enough with people to decide anything."""
        kappa = self.agreement.kappa
        return kappa.mean >= LEAST_KAPPA and kappa.low >= LEAST_KAPPA_BOUND


def labelled_cases(rubric: str) -> Iterator[LabelledCase]:
    """The cases with human labels that ship for this rubric. Raises `ConfigurationError` for one without."""
    place = files("evaluations.datasets") / "human_labels" / f"{rubric}.jsonl"
    if not place.is_file():
        raise ConfigurationError(
            f"there are no human labels for the rubric {rubric!r}; a judge of it cannot be checked"
        )
    for line in place.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield LabelledCase(row["id"], row["case"], row["people"])


def check(
    judge: Judge, cases: Sequence[LabelledCase], progress: Callable[[int], None] = lambda _: None, *, workers: int = 1
) -> JudgeCheck:
    """Ask the judge about every case and compare. The first error of the model ends it; kept votes stay kept."""
    opinions = []
    with ThreadPoolExecutor(workers) as pool:
        for opinion in pool.map(judge.ask, [each.case for each in cases]):
            opinions.append(opinion)
            progress(len(opinions))
    found = agreement(
        [each.people for each in cases],
        [each.verdict for each in opinions],
        [each.agreement for each in opinions],
    )
    return JudgeCheck(judge.rubric.name, judge.fingerprint, datetime.now(UTC).isoformat(timespec="seconds"), found)


def write_check(found: JudgeCheck, folder: Path) -> Path:
    """Keep the record where gates look for it: one file for each judge."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.rubric}-{found.fingerprint[:16]}.json"
    path.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
    return path


def read_check(rubric: str, fingerprint: str, folder: Path) -> JudgeCheck | None:
    """The last check of exactly this judge; None when it was never checked as it now is."""
    path = folder / f"{rubric}-{fingerprint[:16]}.json"
    if not path.is_file():
        return None
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if stored["fingerprint"] != fingerprint:
        return None
    figures = stored["agreement"]
    return JudgeCheck(
        stored["rubric"],
        stored["fingerprint"],
        stored["checked_at"],
        Agreement(**{**figures, "kappa": Interval(**figures["kappa"])}),
    )
