"""What needs a person is recognised in many phrasings; questions about documents on the same subjects are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import evaluations
from rag.query.routing import TOPICS, escalation_topic
from rag.settings import load_settings

ROWS = [
    json.loads(line)
    for line in (Path(evaluations.__file__).parent / "datasets" / "escalations.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["question"])
def test_what_needs_a_person_goes_to_people_and_what_asks_about_documents_does_not(row: dict[str, str | None]) -> None:
    assert escalation_topic(str(row["question"])) == row["topic"]


def test_every_topic_has_at_least_fifteen_phrasings_and_documents_have_fifty() -> None:
    counts = {topic: sum(row["topic"] == topic for row in ROWS) for topic in (*TOPICS, None)}
    assert min(counts[topic] for topic in TOPICS) >= 15
    assert counts[None] >= 50


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_a_text_in_the_configuration(topic: str) -> None:
    assert load_settings("test", environment={}).contacts.text(topic).endswith(".")


@pytest.mark.parametrize(
    "question",
    [
        "I LOST MY CARD",
        "I’ve lost my card!",
        "Good morning. I lost my card, what does Regulation E say?",
        "i lost  my\ncard",
    ],
)
def test_capitals_apostrophes_and_a_question_beside_it_change_nothing(question: str) -> None:
    assert escalation_topic(question) == "lost_card"


@pytest.mark.proves("AISVS 2.2.1")
def test_danger_to_life_comes_before_everything_else() -> None:
    assert escalation_topic("I lost my card and my job. I want to kill myself.") == "self_harm"


@pytest.mark.parametrize("question", ["", "?", "i " * 2000, "my " * 2000 + "card", "charge " * 1000 + "i"])
def test_empty_and_long_texts_are_read_without_harm(question: str) -> None:
    assert escalation_topic(question) is None
