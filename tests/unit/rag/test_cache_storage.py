"""Names, envelopes and the answers that one process holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rag.domain import Answer, Citation, SentenceCheck
from rag.errors import ConfigurationError
from rag.query.events import CitationReleased, Completed, Event, SentenceReleased, StageFinished
from rag.query.replaying import entry_of, from_bytes, replay, to_bytes
from rag.settings import CacheSettings
from rag.storage.cache import Recent, spread
from rag.storage.sealing import Sealer, cache_secret

SEALER = Sealer(b"0" * 64)
FACTS = {"tenant": "bank", "question": "what is the fee", "snapshot": 3, "scopes": ["a", "b"]}


def test_a_name_is_the_same_on_every_node_with_the_secret_and_tells_nothing_without_it() -> None:
    reordered = dict(reversed(FACTS.items()))
    assert SEALER.name(FACTS) == Sealer(b"0" * 64).name(reordered)
    assert SEALER.name(FACTS) != Sealer(b"1" * 64).name(FACTS)


@pytest.mark.parametrize("change", [{"tenant": "other"}, {"question": "x"}, {"snapshot": 4}, {"scopes": ["a"]}])
def test_everything_that_an_answer_depends_on_changes_its_name(change: dict[str, object]) -> None:
    assert SEALER.name(FACTS) != SEALER.name({**FACTS, **change})


@given(st.binary(max_size=200), st.integers(0, 500))
def test_one_changed_byte_makes_a_value_worthless(content: bytes, place: int) -> None:
    sealed = bytearray(SEALER.seal("name", "bank", content))
    assert SEALER.unseal("name", "bank", bytes(sealed)) == content
    sealed[place % len(sealed)] ^= 1
    assert SEALER.unseal("name", "bank", bytes(sealed)) is None


@pytest.mark.proves("LLM02", "ISO A.8.24")
@pytest.mark.parametrize(
    ("name", "tenant", "sealer"),
    [("other", "bank", SEALER), ("name", "other", SEALER), ("name", "bank", Sealer(b"1" * 64))],
    ids=["another name", "another tenant", "another secret"],
)
def test_a_value_counts_only_where_it_was_put(name: str, tenant: str, sealer: Sealer) -> None:
    assert sealer.unseal(name, tenant, SEALER.seal("name", "bank", b"answer")) is None


@pytest.mark.parametrize("garbage", [b"", b"x", b"x" * 12, b"x" * 100])
def test_what_was_never_sealed_is_nothing(garbage: bytes) -> None:
    assert SEALER.unseal("name", "bank", garbage) is None


def test_without_a_configured_secret_the_data_folder_keeps_one_that_only_its_owner_reads(tmp_path: Path) -> None:
    made = cache_secret("", tmp_path)
    assert len(made) == 64
    assert cache_secret("", tmp_path) == made
    assert (tmp_path / "cache.secret").stat().st_mode & 0o777 == 0o600
    assert cache_secret("configured", tmp_path) == b"configured"


def test_a_damaged_secret_is_told_instead_of_used(tmp_path: Path) -> None:
    (tmp_path / "cache.secret").write_text("")
    with pytest.raises(ConfigurationError, match=r"cache\.secret holds no secret; delete it"):
        cache_secret("", tmp_path)


def cache_settings(secret: object) -> CacheSettings:
    values = {"mode": "on", "entries": 1, "ttl_seconds": 1, "ttl_jitter": 0, "flight_seconds": 1, "secret": secret}
    return CacheSettings.model_validate(values)


@pytest.mark.parametrize(
    "secret", ["short", "a" * 64, "please-change-me-please-change-me-1234", "<the-cache-key-of-this-installation>"]
)
def test_a_placeholder_is_no_secret(secret: str) -> None:
    with pytest.raises(ValidationError, match="openssl rand"):
        cache_settings(secret)


def test_a_random_secret_is_one_and_is_not_shown() -> None:
    secret = "4f1c0de98b7a6653" * 4
    assert secret not in repr(cache_settings(secret))


def test_the_entry_that_was_not_used_for_longest_makes_room() -> None:
    recent: Recent[str] = Recent(2)
    recent.put("a", "A", 60)
    recent.put("b", "B", 60)
    assert recent.get("a") == "A"
    recent.put("c", "C", 60)
    assert [recent.get(name) for name in "abc"] == ["A", None, "C"]


def test_an_entry_over_its_time_is_gone() -> None:
    clock = [0.0]
    recent: Recent[str] = Recent(2, lambda: clock[0])
    recent.put("a", "A", 10)
    clock[0] = 9.9
    assert recent.get("a") == "A"
    clock[0] = 10.0
    assert recent.get("a") is None


def test_times_are_spread_within_their_share() -> None:
    times = [spread(100, 0.1) for _ in range(200)]
    assert 90 <= min(times) < max(times) <= 110


CITATION = Citation(1, "0" * 16, "Fees", "§ 1", 2, "2", 0, 4, "“5 €”", "/v1/documents/0/pages/2")
ANSWER = Answer(
    id="1", question="Fee?", text="It is “5 €”. [1]", status="answered", citations=(CITATION,),
    checks=(SentenceCheck("It is “5 €”. [1]", (1,), supported=True),), snapshot=3, tokens={"prompt": 9},
    timings={"generate": 2.0, "total": 3.0},
)  # fmt: skip
EVENTS: list[Event] = [
    StageFinished("check", 0.1),
    StageFinished("retrieve", 0.2, {"passages": [{"document_id": "0" * 16, "page": 2}]}),
    CitationReleased(CITATION),
    SentenceReleased(0, "It is “5 €”. [1]"),
    StageFinished("generate", 2.0, {"engine": "extractive", "trouble": None}),
]


def test_a_kept_answer_is_told_as_it_was_the_first_time_but_for_what_is_of_the_new_question() -> None:
    kept = from_bytes(to_bytes(entry_of(ANSWER, EVENTS, {"0" * 16: "hash"})))
    assert kept is not None
    told = list(replay(kept, "The fee?", "The fee?", 0.001))
    assert told[:-1] == [StageFinished("check", 0.001), StageFinished("retrieve", 0.0, EVENTS[1].detail), *EVENTS[2:4]]  # type: ignore[union-attr]
    last = told[-1]
    assert isinstance(last, Completed)
    answer = last.answer
    assert (answer.text, answer.citations, answer.checks) == (ANSWER.text, ANSWER.citations, ANSWER.checks)
    assert (answer.question, answer.cached, answer.tokens) == ("The fee?", True, {})
    assert answer.timings == {"cache": 0.001, "total": 0.001}
    assert answer.id != ANSWER.id


def test_what_another_version_wrote_is_not_read() -> None:
    assert from_bytes(b'{"answer": {"id": "1"}, "events": [], "versions": {}}') is None
    assert from_bytes(b"\xff") is None
