"""How busy, warm and full the cards are, asked of NVIDIA's management library (NVML) when somebody wants to know.

Without a card, a driver or the package `nvidia-ml-py` the metrics are absent: a zero would read as an idle card. Asking
at the moment of reading makes one sampler for a machine, however many processes serve.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

CARD_METRICS: Final = {
    "gpu_utilization_percent": "Share of the last sampling period in which a kernel ran, 0 to 100.",
    "gpu_temperature_celsius": "Temperature of the card's core.",
    "gpu_memory_used_bytes": "Memory in use.",
    "gpu_memory_total_bytes": "Memory of the card.",
    "gpu_power_watts": "Power drawn.",
}
_CORE: Final = 0  # NVML_TEMPERATURE_GPU


class Cards(Collector):
    """The cards of this machine, labelled with their number. NVML stays open from the first question to `close`."""

    def __init__(self, load: Callable[[], Any] = lambda: importlib.import_module("pynvml")) -> None:
        """`load` gives the module `pynvml`, or raises `ImportError`."""
        self._load = load
        self._lock = threading.Lock()
        self._nvml: Any = None
        self._absent = False

    def collect(self) -> Iterator[Metric]:
        """See `Collector`. A figure that a card does not have (MIG has no utilisation) is left out."""
        with self._lock:
            yield from self._metrics()

    def close(self) -> None:
        """Let NVML go."""
        with self._lock:
            if self._nvml is not None:
                self._nvml.nvmlShutdown()
                self._nvml = None

    def _metrics(self) -> list[Metric]:
        nvml = self._opened()
        if nvml is None:
            return []
        families = {name: GaugeMetricFamily(name, says, labels=("gpu",)) for name, says in CARD_METRICS.items()}
        try:
            handles = [nvml.nvmlDeviceGetHandleByIndex(each) for each in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError as error:
            logger.warning("the cards cannot be listed: %s", error)
            return []
        for number, handle in enumerate(handles):
            for name, ask in _QUESTIONS.items():
                try:
                    families[name].add_metric((str(number),), ask(nvml, handle))
                except nvml.NVMLError:
                    continue
        return [family for family in families.values() if family.samples]

    def _opened(self) -> Any:
        """NVML, or None where there is none. A machine without it does not get it while we run, so we ask once."""
        if self._nvml is None and not self._absent:
            try:
                nvml = self._load()
                nvml.nvmlInit()
            except Exception as error:  # noqa: BLE001 - its errors are of its own module, which may be what is missing
                logger.info("no metrics of cards here: %s", type(error).__name__)
                self._absent = True
            else:
                self._nvml = nvml
        return self._nvml


_QUESTIONS: Final[dict[str, Callable[[Any, Any], float]]] = {
    "gpu_utilization_percent": lambda nvml, card: float(nvml.nvmlDeviceGetUtilizationRates(card).gpu),
    "gpu_temperature_celsius": lambda nvml, card: float(nvml.nvmlDeviceGetTemperature(card, _CORE)),
    "gpu_memory_used_bytes": lambda nvml, card: float(nvml.nvmlDeviceGetMemoryInfo(card).used),
    "gpu_memory_total_bytes": lambda nvml, card: float(nvml.nvmlDeviceGetMemoryInfo(card).total),
    "gpu_power_watts": lambda nvml, card: nvml.nvmlDeviceGetPowerUsage(card) / 1000,  # it says milliwatts
}
