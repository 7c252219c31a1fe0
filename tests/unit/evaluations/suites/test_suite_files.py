from __future__ import annotations

from pathlib import Path

import pytest

from evaluations.suites.loading import find_suite, read_suite, shipped_names
from rag.errors import ConfigurationError

WHOLE = """\
name: mine
title: My questions
data:
  - name: bank
    format: questions
    path: questions.jsonl
    origin: written here
    licence: ours
metrics:
  - token_f1
  - ndcg@10
thresholds:
  - {metric: token_f1, at_least: 0.5}
"""


def _read(folder: Path, text: str) -> None:
    path = folder / "mine.yaml"
    path.write_text(text)
    read_suite(path)


def test_a_whole_suite_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(WHOLE)
    suite = find_suite(str(path))
    assert (suite.name, suite.metrics, suite.data[0].place) == ("mine", ("token_f1", "ndcg@10"), "external")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WHOLE.replace("    licence: ours", "    license: ours"), r"line 8: data\.0\.license: there is no such key"),
        (WHOLE + "colour: red\n", r"line 14: colour: there is no such key"),
        (WHOLE.replace("ndcg@10", "ndgc@10"), r"line 11: there is no metric 'ndgc@10'"),
        (WHOLE.replace("{metric: token_f1", "{metric: rouge_l"), r"'rouge_l' is on a metric that the suite does not"),
        (WHOLE.replace("  - token_f1\n", "  - ndcg@10\n"), r"the metric 'ndcg@10' stands twice"),
        (WHOLE.replace("title: My", 'title: "My'), r"this is not YAML"),
        ("- a\n", r"this file holds no mapping of names to values"),
        ("", r"this file holds no mapping of names to values"),
        ("name: mine\ntitle: x\n", r"line 1: a suite needs data and metrics"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        _read(tmp_path, text)


def test_an_unknown_suite_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"there is no suite 'smok'; name one of .*smoke"):
        find_suite("smok")


@pytest.mark.parametrize("name", shipped_names())
def test_every_suite_that_ships_is_whole_and_named_like_its_file(name: str) -> None:
    suite = find_suite(name)
    assert suite.name == name
    assert all(find_suite(each).data for each in suite.includes)
