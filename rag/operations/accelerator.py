"""Does this card, with this driver, this build of torch and these 4-bit kernels, run Mistral-7B? Facts in, words out.

Sources: PyTorch's build matrix and its issues on Volta (CUDA 12.6 builds keep sm_70, 12.8 had it up to torch 2.10, CUDA
13 begins at sm_75); the fat binaries of bitsandbytes 0.50; NVIDIA's table of drivers for each CUDA major version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

Capability = tuple[int, int]

GB: Final = 1_000_000_000
WEIGHTS_BYTES: Final = 4_140_000_000  # Mistral-7B in nf4 with double quantisation; embedding and head in fp16
WORK_BYTES: Final = 1_600_000_000  # CUDA context, activations, and the buffer in which a layer is dequantised
KV_BYTES_PER_TOKEN: Final = 128 * 1024  # 2 x 32 layers x 8 heads x 128 x 2 bytes

BITSANDBYTES: Final = "bitsandbytes==0.50.2"
TORCH: Final = "2.13.0"  # what our tests run with

_LEAST_DRIVER: Final = {11: 450, 12: 525, 13: 580}  # by major version of CUDA; minor versions are compatible
_BITSANDBYTES_NEEDS: Final[Capability] = (6, 0)
_TURING: Final[Capability] = (7, 5)
_BLACKWELL: Final[Capability] = (10, 0)


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU, as its driver describes it. Memory in bytes."""

    name: str
    capability: Capability
    memory: int
    free: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What is installed. `torch_cuda` is None for a build for processors; `arches` are its `sm_70`, `compute_90`, …

    `arches` is empty when the build could not be asked; then the table of builds decides.
    """

    cards: tuple[Card, ...]
    driver: str | None
    torch: str | None
    torch_cuda: str | None
    arches: tuple[str, ...]
    bitsandbytes: str | None


@dataclass(frozen=True, slots=True)
class Load:
    """What is to run at the same time: sequences, and tokens of each (prompt and answer)."""

    slots: int = 8
    tokens: int = 2560

    @property
    def bytes(self) -> int:
        """Memory of a card for the weights, the working space and the keys and values of all slots."""
        return WEIGHTS_BYTES + WORK_BYTES + self.slots * self.tokens * KV_BYTES_PER_TOKEN


@dataclass(frozen=True, slots=True)
class Judgement:
    """`fits`: Mistral-7B in 4 bit runs here on a card. `text` says on what, or why not and what to do."""

    fits: bool
    text: str


def judge(machine: Machine, load: Load) -> Judgement:
    """The first card that fits, or what is wrong with the first one."""
    if not machine.cards:
        build = f"torch {machine.torch or 'not installed'}"
        if machine.torch_cuda:
            build += (
                f" for CUDA {machine.torch_cuda}, which runs on the processor too, but the processor build is smaller"
            )
        return Judgement(False, f"no card; {build}")
    judgements = [_judge_card(card, machine, load) for card in machine.cards]
    return next((judgement for judgement in judgements if judgement.fits), judgements[0])


def _judge_card(card: Card, machine: Machine, load: Load) -> Judgement:
    shown = f"{card.name} (sm_{card.capability[0]}{card.capability[1]}), driver {machine.driver}, torch {machine.torch}"
    for look in (_too_old_a_card, _no_build, _too_old_a_driver, _build_without_the_card, _kernels, _memory):
        if trouble := look(card, machine, load):
            return Judgement(False, f"{shown}: {trouble}")
    room = (card.free - WEIGHTS_BYTES - WORK_BYTES) // (load.tokens * KV_BYTES_PER_TOKEN)
    free = f"{card.free / GB:.1f} GB free, enough for {room} slots of {load.tokens:,} tokens"
    return Judgement(True, f"{shown}, CUDA {machine.torch_cuda}, bitsandbytes {machine.bitsandbytes}; {free}")


def _too_old_a_card(card: Card, _: Machine, __: Load) -> str | None:
    if card.capability >= _BITSANDBYTES_NEEDS:
        return None
    return "the 4-bit kernels need compute capability 6.0; use a newer card or the engine openai_compatible"


def _no_build(card: Card, machine: Machine, _: Load) -> str | None:
    if machine.torch_cuda:
        return None
    why = "torch is a build for processors" if machine.torch else "torch is missing"
    return f"{why}, so the card is not used; {_install(card, machine)}"


def _too_old_a_driver(card: Card, machine: Machine, _: Load) -> str | None:
    needed = _LEAST_DRIVER.get(_major(machine.torch_cuda), 0)
    if _major(machine.driver) >= needed:
        return None
    return f"CUDA {machine.torch_cuda} needs driver {needed} or newer; {_install(card, machine)}"


def _build_without_the_card(card: Card, machine: Machine, _: Load) -> str | None:
    covered = (
        any(_runs_on(arch, card.capability) for arch in machine.arches)
        if machine.arches
        else _least_of_build(machine.torch_cuda, machine.torch) <= card.capability <= _most_of_build(machine.torch_cuda)
    )
    if covered:
        return None
    return f"this build for CUDA {machine.torch_cuda} has no kernels for the card; {_install(card, machine)}"


def _kernels(card: Card, machine: Machine, _: Load) -> str | None:
    if machine.bitsandbytes is None:
        return f'bitsandbytes is missing; run `pip install "{BITSANDBYTES}"`'
    if card.capability >= _least_of_kernels(machine.torch_cuda):
        return None
    return f"bitsandbytes for CUDA {machine.torch_cuda} has no kernels for the card; {_install(card, machine)}"


def _memory(card: Card, _: Machine, load: Load) -> str | None:
    if card.free >= load.bytes:
        return None
    asked = f"{load.slots} slots of {load.tokens:,} tokens"
    advice = "end what else uses the card" if card.memory >= load.bytes else "take fewer slots or shorter contexts"
    return f"{card.free / GB:.1f} GB free, {load.bytes / GB:.1f} GB needed for {asked}; {advice}"


def _install(card: Card, machine: Machine) -> str:
    """The build for this card and driver, and the driver first where no build would do."""
    driver, cuda = _major(machine.driver), build_for(card.capability, machine.driver)
    first = ""
    if driver < (least := _LEAST_DRIVER[_major(cuda)]):
        first = f"update the driver to {least} or newer, then "
    version = machine.torch.partition("+")[0] if machine.torch else TORCH
    tag = f"cu{cuda.replace('.', '')}"
    command = f'pip install --force-reinstall "torch=={version}+{tag}"'
    return f"{first}install the CUDA {cuda} build of torch, from PyTorch's {tag} index: `{command}`"


def build_for(capability: Capability, driver: str | None) -> str:
    """The CUDA version of the build of torch that a card and its driver want."""
    if capability < _TURING:
        return "12.6"
    if _major(driver) >= _LEAST_DRIVER[13]:
        return "13.0"
    return "12.8" if capability >= _BLACKWELL else "12.6"


def _runs_on(arch: str, capability: Capability) -> bool:
    """`sm_XY` runs on the same major version from that minor on; `compute_XY` is compiled on the card, on any newer."""
    parsed = re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", arch)
    if not parsed:
        return False
    built = (int(parsed[2]), int(parsed[3]))
    return built <= capability and (parsed[1] == "compute" or built[0] == capability[0])


def _least_of_build(cuda: str | None, torch: str | None) -> Capability:
    version = _numbers(cuda)
    if version >= (13,):
        return _TURING
    if version >= (12, 8):
        return (7, 0) if _numbers(torch) < (2, 11) else _TURING
    return (5, 0)


def _most_of_build(cuda: str | None) -> Capability:
    return (9, 9) if _numbers(cuda) < (12, 8) else (99, 0)


def _least_of_kernels(cuda: str | None) -> Capability:
    version = _numbers(cuda)
    if version >= (13,):
        return _TURING
    return (7, 0) if version >= (12, 8) else _BITSANDBYTES_NEEDS


def _major(version: str | None) -> int:
    return (*_numbers(version), 0)[0]


def _numbers(version: str | None) -> tuple[int, ...]:
    """`2.13.0+cu126` becomes (2, 13, 0)."""
    found = re.match(r"\d+(\.\d+)*", version or "")
    return tuple(int(part) for part in found[0].split(".")) if found else ()
