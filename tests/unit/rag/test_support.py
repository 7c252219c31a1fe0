"""Words, vectors, names and numbers in common speak for a statement; a judge may only withhold."""

from __future__ import annotations

import asyncio

import pytest

from rag.domain import DocumentPage, Passage
from rag.query.entailment import LLMEntailment
from rag.query.evidence import Evidence
from rag.query.statements import Statement
from rag.query.support import SupportModel, SupportSignals, measure_support, shipped_model
from rag.query.verification import Verification
from rag.testing import ScriptedLLM, WordEncoder

PAGE = "The bank shall report the results to the consumer within 3 business days. Fees are listed in Schedule B."
EVIDENCE = [
    Evidence(
        Passage("c", "d", "Rules", "", 1, "", 0, len(PAGE), PAGE, 1.0),
        DocumentPage("d", 1, "", PAGE),
        0,
        len(PAGE),
        1.0,
    )
]
TRUE = "The bank must report the results to the consumer within three business days. [1]"


def verdicts(text: str, judge: ScriptedLLM | None = None) -> list[tuple[str, bool, str]]:
    async def run() -> list[tuple[str, bool, str]]:
        verification = Verification(WordEncoder(), "shown", LLMEntailment(judge) if judge else None)
        found = verification.verdicts(Statement("", text), EVIDENCE, "overlap")
        return [(sentence.text, verdict.supported, verdict.reason) async for sentence, verdict in found]

    return asyncio.run(run())


def test_what_is_in_common_is_measured() -> None:
    signals = measure_support("Acme Bank paid 5% in 2019.", ["Acme paid 5%.", "Nothing else."], WordEncoder())
    assert signals.numbers == pytest.approx(1 / 2)
    assert signals.names == 0.0
    assert 0 < signals.coverage < 1
    assert measure_support("Anything.", [], WordEncoder()) == SupportSignals(0.0, 0.0, 0.0, 0.0)


def test_more_in_common_never_makes_support_less_likely() -> None:
    model = shipped_model()
    assert all(weight >= 0 for weight in model.weights)
    little, much = SupportSignals(0.2, 0.2, 0.0, 0.0), SupportSignals(0.9, 1.0, 1.0, 1.0)
    assert model.probability(little) < model.threshold < model.probability(much)


def test_a_model_is_a_logistic_function_of_standardised_signals() -> None:
    model = SupportModel((0.5,) * 4, (0.5,) * 4, (1.0, 0.0, 0.0, 0.0), 0.0, 0.5)
    assert model.probability(SupportSignals(0.5, 0.0, 0.0, 0.0)) == pytest.approx(0.5)
    assert model.probability(SupportSignals(1.0, 0.0, 0.0, 0.0)) == pytest.approx(0.7310586)


def test_an_uncited_sentence_is_unsupported_while_its_neighbour_stands() -> None:
    found = verdicts(f"All fees are waived. {TRUE}")
    assert [(supported, reason) for _, supported, reason in found] == [
        (False, "it cites none of the passages"),
        (True, ""),
    ]


@pytest.mark.parametrize(
    ("reply", "supported"),
    [
        ("Yes.", True),
        ("no", False),
        ("No, it does not.", False),
        ("I cannot tell.", True),
        (RuntimeError("down"), True),
    ],
)
def test_a_judge_withholds_what_it_denies_and_no_opinion_changes_nothing(
    reply: str | Exception,
    supported: bool,  # noqa: FBT001
) -> None:
    assert [each[1] for each in verdicts(TRUE, ScriptedLLM.of(reply))] == [supported]


def test_a_judge_is_not_asked_about_what_is_unsupported_already_and_cannot_release_it() -> None:
    judge = ScriptedLLM.of("yes")
    assert [each[1] for each in verdicts("The bank must report the results within 9 business days. [1]", judge)] == [
        False
    ]
    assert judge.script.prompts == []


def test_a_judge_sees_the_statement_and_the_citation_as_data() -> None:
    judge = ScriptedLLM.of("yes")
    verdicts(TRUE, judge)
    assert f"> {PAGE.split('. ', maxsplit=1)[0]}." in judge.script.prompts[0]
    assert "> The bank must report the results to the consumer within three business days." in judge.script.prompts[0]
