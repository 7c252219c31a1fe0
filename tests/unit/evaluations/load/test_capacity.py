"""The capacity model: it agrees with arithmetic where arithmetic can say it, and with itself everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluations.load.capacity import Traffic, nodes_needed, simulate
from evaluations.load.capacity_command import curves
from evaluations.load.cards import CARDS, simulated
from evaluations.load.commands import load
from evaluations.load.node import Door, Node, Work

PACED = simulated(40, slots=8, first_seconds=0.1)
SHORT = Work(prompt=0, output=116, own_seconds=0.1)  # 3 s from slot to end

# Answers per second of three cards, and seconds once a slot is free, as they were calculated by hand for the design.
BY_HAND = [
    ("v100-24", 2300, 200, 3.0, 24), ("v100", 2300, 200, 2.2, 9.3), ("v100-int4", 2300, 200, 4.4, 11),
    ("t4", 2300, 200, 1.7, 28), ("v100-24", 1200, 150, 5.0, 14), ("v100", 1200, 150, 3.4, 6.2),
    ("v100-int4", 1200, 150, 7.7, 6.3), ("t4", 1200, 150, 3.2, 15), ("v100", 700, 120, 4.7, 4.5),
    ("v100-int4", 700, 120, 11.9, 4.0), ("t4", 700, 120, 5.0, 9.6), ("v100-24", 400, 80, 11.8, 6.1),
    ("v100", 400, 80, 7.3, 2.9), ("v100-int4", 400, 80, 19.6, 2.4), ("t4", 400, 80, 8.3, 5.8),
]  # fmt: skip


@pytest.mark.parametrize(("card", "prompt", "output", "answers", "seconds"), BY_HAND)
def test_cards_do_what_was_calculated_by_hand(
    card: str, prompt: int, output: int, answers: float, seconds: float
) -> None:
    assert 3 * CARDS[card].answers_per_second(prompt, output) == pytest.approx(answers, rel=0.05)
    assert CARDS[card].answer_seconds(prompt, output) == pytest.approx(seconds, rel=0.05)


@pytest.mark.parametrize("card", ["v100", "v100-int4", "t4"])
def test_a_crowd_gets_what_a_card_sustains(card: str) -> None:
    outcome = simulate(Traffic(200, 2, 0.0), CARDS[card], 1, Work(700, 120, 0.1))
    assert outcome.answers == pytest.approx(CARDS[card].answers_per_second(700, 120), rel=0.1)


def test_a_lone_user_waits_for_nothing_but_the_engine() -> None:
    outcome = simulate(Traffic(1, 10, 0.0), PACED, 3, SHORT)
    assert (outcome.p50, outcome.p95) == (pytest.approx(3.1), pytest.approx(3.1))
    assert outcome.answers == pytest.approx(1 / 13.1, rel=0.5)


def test_few_users_ask_as_often_as_they_think_and_wait() -> None:
    outcome = simulate(Traffic(60, 20, 0.0), PACED, 3, SHORT, seconds=3000)
    assert outcome.answers == pytest.approx(60 / (20 + 3.1), rel=0.05)  # Little's law


def test_the_door_keeps_waiting_short_and_turns_the_rest_away() -> None:
    outcome = simulate(Traffic(400, 5, 0.0), PACED, 1, SHORT, Door(queue=32, seconds=4), seconds=60)
    assert outcome.turned_away > 0.5
    assert outcome.p95 <= 3.1 + 4 + 0.1


def test_more_nodes_are_never_slower() -> None:
    waits = [simulate(Traffic(100, 5, 0.35), CARDS["v100"], nodes).p95 for nodes in (2, 4, 8)]
    assert waits == sorted(waits, reverse=True)


def test_the_cache_saves_nodes() -> None:
    def needed(cached: float) -> int | None:
        return nodes_needed(Traffic(200, 10, cached), CARDS["v100-int4"], Work(), 5)

    without, with_it = needed(0.0), needed(0.6)
    assert without is not None
    assert with_it is not None
    assert with_it < without


def test_what_no_number_of_nodes_can_do_is_said() -> None:
    assert nodes_needed(Traffic(10, 10, 0.0), CARDS["t4"], Work(2300, 200), 3.0) is None


def test_the_same_seed_gives_the_same() -> None:
    assert simulate(Traffic(50), CARDS["v100"], 2, seed=1) == simulate(Traffic(50), CARDS["v100"], 2, seed=1)


def test_who_waits_too_long_is_let_go() -> None:
    node = Node(simulated(40, 1, 0), Work(0, 40), Door(8, 4))
    assert all(node.offer(request) for request in range(5))
    assert not node.offer(5)
    node.advance(4.5)
    assert node.give_up() == [1, 2, 3, 4]


@pytest.mark.proves("SOC 2 A1.1", "ISO A.8.6")
def test_the_command_names_the_nodes_and_draws_the_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = tmp_path / "told.json"
    options = ["capacity", "--card", "simulated", "--users", "20", "--output", "60", "--json", str(told)]
    assert load.main(options, standalone_mode=False) == 0
    assert "simulated, 40 tokens/s" in capsys.readouterr().out
    assert '"nodes": 1' in told.read_text()
    picture = curves([PACED], 10, 0.35, SHORT, users=(5, 10), nodes=(1, 2))
    assert picture.count("<polyline") == 2
    assert "2 nodes" in picture


def test_traffic_that_needs_too_many_nodes_needs_attention() -> None:
    options = ["capacity", "--card", "t4", "--users", "500", "--most", "1"]
    assert load.main(options, standalone_mode=False) == 1
