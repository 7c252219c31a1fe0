"""What Prometheus reads beyond counters: cards as NVML knows them, and what commands left behind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rag.operations.exposition import exposition, series_names
from rag.operations.gpu import CARD_METRICS, Cards
from rag.operations.recorded import BACKED_UP, record


class NVMLError(Exception):
    """As the one of pynvml."""


class FakeNvml:
    """NVML with two cards; the second is a slice (MIG) that has neither utilisation nor power."""

    NVMLError = NVMLError

    def __init__(self) -> None:
        self.opened = self.closed = 0

    def nvmlInit(self) -> None:  # noqa: N802
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.closed += 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802
        return number

    def nvmlDeviceGetUtilizationRates(self, card: int) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=self._unless_slice(card, 73))

    def nvmlDeviceGetTemperature(self, card: int, sensor: int) -> int:  # noqa: N802
        return 64 + card

    def nvmlDeviceGetMemoryInfo(self, card: int) -> Any:  # noqa: N802
        return SimpleNamespace(used=5 * 2**30, total=80 * 2**30)

    def nvmlDeviceGetPowerUsage(self, card: int) -> int:  # noqa: N802
        return self._unless_slice(card, 250_500)

    def _unless_slice(self, card: int, value: int) -> int:
        if card == 1:
            raise NVMLError("Not Supported")
        return value


def test_cards_are_reported_and_a_figure_that_one_lacks_is_left_out() -> None:
    nvml = FakeNvml()
    cards = Cards(lambda: nvml)
    text = exposition(cards=cards).decode()
    assert 'gpu_utilization_percent{gpu="0"} 73.0' in text
    assert 'gpu_temperature_celsius{gpu="1"} 65.0' in text
    assert 'gpu_memory_used_bytes{gpu="0"} 5.36870912e+09' in text
    assert 'gpu_power_watts{gpu="0"} 250.5' in text
    assert 'gpu_utilization_percent{gpu="1"}' not in text
    exposition(cards=cards)
    cards.close()
    assert (nvml.opened, nvml.closed) == (1, 1)


@pytest.mark.parametrize("trouble", [ImportError("no pynvml"), NVMLError("Driver Not Loaded")])
def test_without_a_card_its_metrics_are_absent_and_not_zero(trouble: Exception) -> None:
    def load() -> Any:
        raise trouble

    assert "gpu_" not in exposition(cards=Cards(load)).decode()


def test_cards_of_this_machine_can_be_asked_for() -> None:
    cards = Cards()
    for family in cards.collect():
        assert family.name in CARD_METRICS
    cards.close()


def test_a_value_that_a_command_recorded_is_shown_and_the_last_one_wins(tmp_path: Path) -> None:
    assert BACKED_UP not in exposition(data_dir=tmp_path).decode()
    record(tmp_path, BACKED_UP, 1.0)
    record(tmp_path, BACKED_UP, 1764061200.25)
    assert f"{BACKED_UP} 1.76406120025e+09" in exposition(data_dir=tmp_path).decode()


def test_what_all_nodes_share_is_shown_instead_of_what_this_one_knew(tmp_path: Path) -> None:
    record(tmp_path, BACKED_UP, 1.0)
    assert f"{BACKED_UP} 2.0" in exposition(data_dir=tmp_path, shared={BACKED_UP: 2.0}).decode()


@pytest.mark.parametrize("content", ["", "yesterday", "nan", "inf\n"])
def test_a_damaged_value_is_absent(tmp_path: Path, content: str) -> None:
    record(tmp_path, BACKED_UP, 1.0)
    (tmp_path / "metrics" / BACKED_UP).write_text(content)
    assert BACKED_UP not in exposition(data_dir=tmp_path).decode()


def test_only_known_names_are_recorded(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        record(tmp_path, "../escape", 1.0)


def test_the_names_that_operators_rely_on_exist() -> None:
    assert series_names() >= {
        "http_requests_total", "http_request_duration_seconds_bucket", "llm_inference_duration_seconds_bucket",
        "vector_db_query_duration_seconds_bucket", "llm_time_to_first_token_seconds_bucket", "llm_tokens_total",
        "answers_total", "response_cache_requests_total", "ingestion_documents_total", "corpus_snapshot",
        "corpus_ingested_timestamp_seconds", "feedback_total", "escalations_total", "gpu_utilization_percent",
        "gpu_temperature_celsius", "gpu_memory_used_bytes",
    }  # fmt: skip
