"""All metrics as Prometheus reads them: what processes counted, and what is looked up at the moment of reading.

Looked up are things of which there is one for a machine, not one for a process: engines, cards, backups.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from rag.models.engine import EngineStats
from rag.operations import telemetry
from rag.operations.gpu import CARD_METRICS, Cards
from rag.operations.recorded import RECORDED, recorded

_ENGINE_METRICS = {
    "llm_engine_requests": "Requests in the engine.",
    "llm_engine_limit": "How many may run, and wait.",
    "llm_engine_ended": "Requests by how they ended.",
    "llm_engine_tokens": "Tokens by their kind.",
}


class _Engines(Collector):
    """What engines do at this moment, as they count it themselves."""

    def __init__(self, stats: Mapping[str, EngineStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        requests, room = (
            GaugeMetricFamily(name, _ENGINE_METRICS[name], labels=("engine", "state"))
            for name in ("llm_engine_requests", "llm_engine_limit")
        )
        ended, tokens = (
            CounterMetricFamily(name, _ENGINE_METRICS[name], labels=("engine", label))
            for name, label in (("llm_engine_ended", "outcome"), ("llm_engine_tokens", "kind"))
        )
        for name, each in self._stats.items():
            requests.add_metric((name, "running"), each.running)
            requests.add_metric((name, "waiting"), each.waiting)
            room.add_metric((name, "running"), each.slots)
            room.add_metric((name, "waiting"), each.queue_limit)
            for outcome in ("completed", "cancelled", "failed"):
                ended.add_metric((name, outcome), getattr(each, outcome))
            for kind in ("prompt", "cached", "completion"):
                tokens.add_metric((name, kind), getattr(each, f"{kind}_tokens"))
        yield from (requests, room, ended, tokens)


class _Recorded(Collector):
    """What commands left behind."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self._values = values

    def collect(self) -> Iterator[Metric]:
        for name, value in self._values.items():
            yield GaugeMetricFamily(name, RECORDED[name], value=value)


def exposition(
    engines: Mapping[str, EngineStats] = MappingProxyType({}),
    data_dir: Path | None = None,
    cards: Cards | None = None,
    shared: Mapping[str, float] = MappingProxyType({}),
) -> bytes:
    """Everything in Prometheus' text format: of this process, or of all that share `PROMETHEUS_MULTIPROC_DIR`.

    Added are `engines` by name, what commands recorded in `data_dir`, `cards`, and what is `shared` by all nodes, by
    name. Blocks: call it in a thread.
    """
    now = CollectorRegistry()
    now.register(_Engines(engines))
    now.register(_Recorded({**(recorded(data_dir) if data_dir else {}), **shared}))
    if cards is not None:
        now.register(cards)
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return generate_latest() + generate_latest(now)
    _forget_dead_processes(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no annotation here
    return generate_latest(registry) + generate_latest(now)


def _forget_dead_processes(folder: Path) -> None:
    """What a process was doing when it was killed is not being done any more. What it had counted stays."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = path.stem.rsplit("_", 1)[-1]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]


def series_names() -> frozenset[str]:
    """Every name under which we export samples, such as `answers_total`. Dashboards and alerts are held against it."""
    ours = {metric for metric in vars(telemetry).values() if isinstance(metric, (Counter, Gauge, Histogram))}
    names = {name for metric in ours for name in REGISTRY._collector_to_names[metric]}
    for counter in ("llm_engine_ended", "llm_engine_tokens"):
        names.add(f"{counter}_total")
    return frozenset(names | {"llm_engine_requests", "llm_engine_limit"} | set(CARD_METRICS) | set(RECORDED))
