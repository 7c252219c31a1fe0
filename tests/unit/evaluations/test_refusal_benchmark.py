"""The figures of the refusal benchmark, on examples whose figures are known."""

from __future__ import annotations

from evaluations.fit_refusal import Example
from evaluations.refusal_benchmark import answerability_figures, people_figures
from rag.query.signals import Signals


def examples(*, telling: bool) -> list[Example]:
    """40 questions with and without their document; the first signal tells which, or says the same of both."""
    rest = (0.0,) * (len(Signals.names()) - 1)
    return [
        Example("rulebooks", f"question {number}", answerable, (float(answerable) if telling else 0.5, *rest))
        for number in range(40)
        for answerable in (True, False)
    ]


def test_a_signal_that_tells_lets_nothing_unanswerable_through() -> None:
    figures = answerability_figures(examples(telling=True))
    assert (figures["questions"], figures["unanswerable_let_through"]) == (40, 0.0)
    assert figures["interval"] == [0.0, 0.0]


def test_a_signal_that_tells_nothing_lets_everything_through() -> None:
    assert answerability_figures(examples(telling=False))["unanswerable_let_through_by_best_cosine"] == 1.0


def test_all_phrasings_reach_the_right_people_and_no_look_alike_does() -> None:
    figures = people_figures()
    assert figures["sent_to_the_right_people"] == figures["phrasings"] >= 100
    assert figures["look_alikes_sent"] == 0
