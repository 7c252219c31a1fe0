"""Nobody sees what they may not: people, labels, documents, routes and states against an oracle of four lines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

LEAST_NEEDED = 10_000


@pytest.mark.proves("LLM02", "LLM08", "AISVS 5.2.2", "AISVS 8.1.3", "ASVS 8.2.2", "ASVS 8.4.1", "GDPR 5(1)(f)")
@pytest.mark.proves("SOC 2 C1.1", "ISO A.8.3", "ISO A.8.12")
def test_ten_thousand_cases_without_a_leak(world: Any) -> None:
    """People, labels, documents, routes and states, in an order that nobody chose."""

    class Machine(RuleBasedStateMachine):
        papers = st.sampled_from(world.papers)
        labels = st.sampled_from(world.subsets)

        def _must_not_leak(self) -> None:
            assert world.leaks(world.people, every=4) == []

        @rule(paper=papers, labels=labels)
        def source_changes(self, paper: Any, labels: frozenset[str]) -> None:
            if paper.there:
                world.relabel(paper, labels)
                self._must_not_leak()

        @rule(paper=papers, labels=labels)
        def somebody_adds_labels(self, paper: Any, labels: frozenset[str]) -> None:
            world.add_labels(paper, labels)
            world.catalog.refresh()
            self._must_not_leak()

        @rule(paper=papers, labels=labels)
        def labels_are_newer_than_the_catalog(self, paper: Any, labels: frozenset[str]) -> None:
            with world.stale_catalog():
                world.add_labels(paper, labels)
                self._must_not_leak()

        @rule(paper=papers, labels=labels)
        def a_run_is_killed(self, paper: Any, labels: frozenset[str]) -> None:
            if paper.there:
                with world.unfinished_relabel(paper, labels):
                    self._must_not_leak()

        @rule(paper=papers)
        def a_document_goes_or_comes_back(self, paper: Any) -> None:
            if paper.there:
                world.remove(paper)
            else:
                world.bring_back(paper)
            self._must_not_leak()

    world.cases = 0
    chosen = settings(
        max_examples=3, stateful_step_count=8, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    while world.cases < LEAST_NEEDED:
        run_state_machine_as_test(Machine, settings=chosen)
    world.settle()
