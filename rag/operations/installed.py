"""What `rag.operations.accelerator` judges, read from this machine: cards from NVML, builds from the packages."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from rag.errors import ModelError
from rag.operations.accelerator import Card, Machine


def this_machine() -> Machine:
    """The facts. torch is imported (seconds) only where there is a card, because only then its architectures matter.

    Raises:
        ModelError: there is a driver, and it does not answer.
    """
    driver, cards = _driver_and_cards()
    cuda = _cuda_of_torch()
    return Machine(
        cards=cards,
        driver=driver,
        torch=_version("torch"),
        torch_cuda=cuda,
        arches=_architectures() if cards and cuda else (),
        bitsandbytes=_version("bitsandbytes"),
    )


def _driver_and_cards() -> tuple[str | None, tuple[Card, ...]]:
    with _nvml() as nvml:
        if nvml is None:
            return None, ()
        cards = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            capability = tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle))
            cards.append(Card(nvml.nvmlDeviceGetName(handle), capability, int(memory.total), int(memory.free)))
        return nvml.nvmlSystemGetDriverVersion(), tuple(cards)


@contextmanager
def _nvml() -> Iterator[ModuleType | None]:
    """NVML, started; None where there is no driver, or nobody installed its Python binding."""
    try:
        import pynvml  # noqa: PLC0415  part of the extra `gpu`
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        yield None
        return
    except pynvml.NVMLError as error:
        raise ModelError(
            f"the NVIDIA driver does not answer ({error}): run nvidia-smi, and restart after updates"
        ) from error
    try:
        yield pynvml
    except pynvml.NVMLError as error:
        raise ModelError(f"the NVIDIA driver does not describe its cards ({error}): run nvidia-smi") from error
    finally:
        pynvml.nvmlShutdown()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cuda_of_torch() -> str | None:
    """The CUDA version of the installed torch, from the file in which its build wrote it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^cuda\b[^=\n]*=\s*'([\d.]+)'", text, re.MULTILINE)
    return found[1] if found else None


def _architectures() -> tuple[str, ...]:
    """Empty where torch cannot use the driver."""
    import torch  # noqa: PLC0415  seconds

    return tuple(torch.cuda.get_arch_list())
