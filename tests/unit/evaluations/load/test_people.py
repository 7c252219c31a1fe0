"""What virtual users do: by the mix, repeatable, with a conversation that they remember."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from evaluations.load.mix import KINDS, SHIPPED, Mix, load_mix, load_questions, zipf_weights
from evaluations.load.person import Person
from rag.errors import ConfigurationError

MIX = load_mix()
QUESTIONS = load_questions(MIX, 0)
ANSWERS = QUESTIONS[0]


def _with(**changes: object) -> Mix:
    return MIX.model_copy(update=changes)


def test_the_shipped_mix_asks_what_the_sample_bank_answers_and_what_it_does_not() -> None:
    answers, escalations = QUESTIONS
    assert len(answers) == 80
    assert "What is the interest rate on your savings account?" in answers
    assert "I think I've been scammed" in escalations


def test_the_shipped_mix_leaves_the_corpus_alone() -> None:
    assert MIX.weights["upload"] == 0
    assert set(MIX.weights) == set(KINDS)


def test_the_same_seed_does_the_same() -> None:
    one, same, other = (Person(MIX, QUESTIONS, seed, 5) for seed in ("1-1", "1-1", "1-2"))
    first = [one.next() for _ in range(30)]
    assert [same.next() for _ in range(30)] == first
    assert [other.next() for _ in range(30)] != first


def test_actions_come_as_often_as_their_weights_say() -> None:
    person = Person(_with(weights={"ask": 3, "search": 1}), QUESTIONS, "s", 5)
    counts = Counter(person.next().kind for _ in range(2000))
    assert set(counts) == {"ask", "search"}
    assert 0.2 < counts["search"] / 2000 < 0.3


def test_frequent_questions_are_asked_by_the_law_of_zipf() -> None:
    person = Person(_with(weights={"ask": 1}, zipf=1.0, questions={"one": 1}), [ANSWERS], "s", 5)
    counts = Counter(person.next().body["question"] for _ in range(4000))
    expected = 4000 / zipf_weights(len(ANSWERS), 1.0)[-1]
    assert 0.8 * expected < counts[ANSWERS[0]] < 1.2 * expected
    assert counts[ANSWERS[0]] > 1.5 * counts[ANSWERS[1]]


def test_the_share_of_fresh_questions_is_the_one_of_the_mix() -> None:
    person = Person(_with(weights={"ask": 1}, fresh=0.25), QUESTIONS, "s", 5)
    fresh = sum(person.next().body["fresh"] for _ in range(2000))
    assert 0.2 < fresh / 2000 < 0.3


def test_a_follow_up_carries_what_was_said_before() -> None:
    person = Person(_with(weights={"follow_up": 1}), QUESTIONS, "s", 5)
    assert person.next().kind == "ask"
    person.heard("How long?", "Ten days.")
    action = person.next()
    assert action.kind == "follow_up"
    assert action.body["question"] in MIX.follow_ups
    assert action.body["history"] == [
        {"role": "user", "content": "How long?"}, {"role": "assistant", "content": "Ten days."},
    ]  # fmt: skip


def test_no_two_uploads_have_a_name_in_common() -> None:
    people = [Person(_with(weights={"upload": 1}), QUESTIONS, f"0-{number}", 5) for number in (1, 2)]
    names = [person.next().body["name"] for person in people for _ in range(3)]
    assert len(set(names)) == 6


def test_think_times_have_the_mean_that_was_asked_for() -> None:
    person = Person(MIX, QUESTIONS, "s", 4.0)
    assert 3.6 < sum(person.think() for _ in range(4000)) / 4000 < 4.4
    assert Person(MIX, QUESTIONS, "s", 0).think() == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [("zipf: 1.0", "zipf"), ("ask: 78", "weights"), ("  - And what happens after that?", "not YAML")],
)
def test_a_wrong_mix_is_told_with_its_place(tmp_path: Path, change: str, told: str) -> None:
    wrong = {"zipf: 1.0": "zipf: -1", "ask: 78": "ask: -78"}.get(change, "  - [")
    path = tmp_path / "mix.yaml"
    path.write_text(SHIPPED.read_text().replace(change, wrong))
    with pytest.raises(ConfigurationError, match=told):
        load_mix(path)


def test_questions_that_are_not_there_are_told() -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.jsonl"):
        load_questions(_with(questions={"nowhere.jsonl": 1}), 0)
