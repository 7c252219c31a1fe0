"""Groundedness is judged by the check that answers must pass, with the same encoder."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from evaluations.datasets.items import Item, Wanted
from evaluations.metrics.catalog import metric
from evaluations.metrics.support import Claim, as_evidence, groundedness, statement_supported, supported_among
from evaluations.runs.records import CitedQuote, ItemRecord, Produced
from evaluations.runs.scoring import score
from rag.models.embedding import open_embedding
from rag.query.grounding import SupportCheck, judge
from rag.query.similarity import SentenceVectors
from rag.query.statements import Statement
from rag.query.support import SupportModel, shipped_model
from rag.settings import load_settings

RULE = (
    "A financial institution shall determine whether an error occurred within 10 business days of receiving a notice "
    "of error."
)


@pytest.mark.parametrize(
    ("statement", "supported"),
    [
        (RULE, True),
        ("The institution must determine whether an error occurred within 10 business days of the notice.", True),
        ("The institution must determine whether an error occurred within 20 business days of the notice.", False),
        ("Mortgage servicers must keep their records for several years.", False),
    ],
)
def test_a_paraphrase_is_supported_and_another_number_or_subject_is_not(statement: str, *, supported: bool) -> None:
    assert statement_supported(statement, (RULE,)) is supported


def test_an_answer_is_grounded_by_the_share_of_its_statements() -> None:
    text = (
        "The institution must determine whether an error occurred within 10 business days of the notice. [1]\n\n"
        "Mortgage servicers must keep their records for several years. [1]"
    )
    answer = Produced(text, "answered", citations=(CitedQuote("d", "", 1, RULE, marker="1"),))
    assert groundedness([answer]) == [0.5]


SENTENCES = (
    RULE,
    "If the institution is unable to complete its investigation within 10 business days, it may take up to 45 days.",
    "The consumer must give an oral or written notice of error no later than 60 days after the periodic statement.",
    "A bank shall disclose fees for the electronic fund transfer service at the time the consumer contracts for it.",
    "An unauthorized transfer may be reported to Banco Ribeira by telephone, and the liability is limited to $50.",
)


def claims() -> list[Claim]:
    """Sentences without some of their words, which cite themselves, another sentence, or both."""
    draw = random.Random(5)
    found = []
    for number in range(120):
        said, beside = draw.sample(SENTENCES, 2)
        words = [word for word in said.split() if draw.random() > number / 150]
        cited = (said,) if number % 3 == 0 else (beside,) if number % 3 == 1 else (beside, said)
        found.append((" ".join(words), cited))
    return [*found, *found[:10]]


def one_by_one(given: list[Claim], model: SupportModel) -> set[Claim]:
    """Those that the check supports with the vectors of the encoder, none assumed."""
    settings = load_settings()
    encoder = SentenceVectors(open_embedding(settings.embedding, settings.data_dir / "models", "query"))
    check = SupportCheck(encoder, model, settings.verification.arithmetic)

    def supported(claim: Claim) -> bool:
        text, cited = claim
        markers = "".join(f" [{number}]" for number in range(1, len(cited) + 1))
        return judge(Statement("", text + markers), [as_evidence(each) for each in cited], "overlap", check).supported

    return {claim for claim in given if supported(claim)}


def leaning(weight: float) -> SupportModel:
    """The shipped model, but one that listens to vectors as much as to words, for or against a statement."""
    shipped = shipped_model()
    return replace(shipped, weights=(weight, *shipped.weights[1:]))


@pytest.mark.parametrize("model", [shipped_model(), leaning(0.8), leaning(-0.8)], ids=["shipped", "for", "against"])
def test_many_statements_are_decided_as_one_after_the_other(model: SupportModel) -> None:
    given = claims()
    expected = one_by_one(given, model)
    assert 10 < len(expected) < len(set(given)) - 10
    assert supported_among(given, model) == expected


def test_a_run_is_scored_as_its_items_would_be_alone() -> None:
    metrics = [metric(name) for name in ("groundedness", "number_grounding", "token_f1", "false_refusal", "seconds")]
    items = {str(n): Item(str(n), "q", Wanted((SENTENCES[n],), answerable=n % 2 == 0)) for n in range(len(SENTENCES))}
    records = [
        ItemRecord(
            str(n), 0, "failed" if n == 2 else "ok", "q",
            produced=Produced(
                f"{text} [1]\n{' '.join(said.split()[::2])} [2]", "answered",
                citations=(CitedQuote("d", "", 1, said, marker="1"), CitedQuote("d", "", 1, said, marker="2")),
                timings={"total": float(n)},
            ),
        )
        for n, ((text, _), said) in enumerate(zip(claims(), SENTENCES, strict=False))
    ]  # fmt: skip
    together = score(records, items, metrics)
    assert together == [score([record], items, metrics)[0] for record in records]
    assert together[2].metrics == {
        "groundedness": 0.0, "number_grounding": 0.0, "token_f1": 0.0, "false_refusal": 1.0, "seconds": 2.0,
    }  # fmt: skip
