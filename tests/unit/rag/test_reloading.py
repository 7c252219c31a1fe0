"""What a reload may change, what it must not, and what it says about both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rag.errors import ConfigurationError
from rag.operations.reloading import CHANGEABLE, Reloading, merge_changes
from rag.query.prompting import (
    Prompt,
    PromptPassage,
    build_prompt,
    parse_prompt,
    prompt_version,
    template,
    use_templates,
)
from rag.settings import Section, Settings

PROMPT = Prompt("Fees?", (PromptPassage("Fees", "", "1", "The fee is $5."),))


@pytest.fixture(autouse=True)
def shipped_templates() -> Iterator[None]:
    yield
    use_templates({})


def _reloading(before: Settings, found: Callable[[], Settings]) -> tuple[Reloading, list[Settings]]:
    applied: list[Settings] = []
    return Reloading(before, found, applied.append), applied


def test_every_key_that_may_change_exists(settings: Settings) -> None:
    for name in CHANGEABLE:
        place: Any = settings
        for part in name.split("."):
            assert part in type(place).model_fields
            place = getattr(place, part)


def test_limits_thresholds_and_contacts_change_and_the_rest_waits_for_a_restart(
    make_settings: Callable[..., Settings],
) -> None:
    after = make_settings(
        limits={"user": {"requests_per_minute": 7}}, refusal={"threshold": 0.5}, contacts={"fraud": "Call 1."},
        logging={"level": "DEBUG"}, server={"port": 4000, "deadline_seconds": 40}, storage={"chroma_port": 9},
    )  # fmt: skip
    merged, changed, later = merge_changes(make_settings(), after)
    assert set(changed) == {
        "limits.user", "refusal.threshold", "contacts.fraud", "logging.level", "server.deadline_seconds",
    }  # fmt: skip
    assert set(later) == {"server.port", "storage.chroma_port"}
    assert (merged.limits, merged.refusal, merged.server.port) == (after.limits, after.refusal, 3000)


def test_what_is_the_same_changes_nothing(settings: Settings) -> None:
    assert merge_changes(settings, settings) == (settings, (), ())


def test_what_fits_together_only_after_a_restart_is_refused_whole(make_settings: Callable[..., Settings]) -> None:
    after = make_settings(
        server={"deadline_seconds": 10}, generation={"deadline_seconds": 5}, refusal={"threshold": 0.5}
    )
    reloading, applied = _reloading(make_settings(), lambda: after)
    with pytest.raises(ConfigurationError, match="restart"):
        reloading.reload()
    assert (applied, reloading.settings.refusal.threshold) == ([], None)


def test_a_configuration_that_cannot_be_read_leaves_the_old_one(settings: Settings) -> None:
    def broken() -> Settings:
        raise ConfigurationError("limits: this is not it")

    reloading, applied = _reloading(settings, broken)
    with pytest.raises(ConfigurationError, match="this is not it"):
        reloading.reload()
    assert (applied, reloading.settings) == ([], settings)


def test_an_own_template_counts_from_the_next_prompt_on_and_has_a_version_of_its_own(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    own = "Be brief. If the passages do not answer, write only: NOT IN THE DOCUMENTS\n"
    (tmp_path / "answer-2.txt").write_text(own, encoding="utf-8")
    settings = make_settings(prompts={"folder": str(tmp_path)})
    old_prompt, old_version = build_prompt(PROMPT), prompt_version()
    reloading = Reloading(settings, lambda: settings, lambda _: use_templates({"answer-2": own}))
    found = reloading.reload()
    assert found.changed == ("prompts",)
    assert found.prompt_version == prompt_version() != old_version
    assert template("rewrite-1")
    assert prompt_version(old_prompt) == old_version
    assert parse_prompt(old_prompt) == parse_prompt(build_prompt(PROMPT)) == PROMPT


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("answer-2", "Answer as you like.", "NOT IN THE DOCUMENTS"),
        ("answer-2", "  \n", "is empty"),
        ("answer-2", "NOT IN THE DOCUMENTS\nPassages:\n", "begins like data"),
        ("rewrite-1", "> quoted", "begins like data"),
        ("answer-9", "NOT IN THE DOCUMENTS", "replaces nothing; there are answer-2, rewrite-1"),
    ],
)
def test_a_template_that_no_engine_could_be_given_is_refused(
    name: str, text: str, reason: str, tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    after = make_settings(prompts={"folder": str(tmp_path)})
    reloading, applied = _reloading(make_settings(), lambda: after)
    with pytest.raises(ConfigurationError, match=reason):
        reloading.reload()
    assert applied == []


def test_the_other_processes_of_a_service_follow(make_settings: Callable[..., Settings]) -> None:
    server = {"workers": 2}
    before = make_settings(server=server, storage={"chroma": "server"}, ingestion={"serving": "worker"})
    after = before.model_copy(update={"refusal": before.refusal.model_copy(update={"threshold": 0.7})})
    before.data_dir.mkdir(parents=True)
    (told, _), (other, followed) = _reloading(before, lambda: after), _reloading(before, lambda: after)
    told.reload()
    assert other.settings == before
    other._follow()
    other._follow()
    assert (other.settings, len(followed)) == (after, 1)
    told._follow()
    assert isinstance(told.settings.refusal, Section)
