"""What an image is built for: one of the constraint files beside this one, which says which build of torch it holds.

python -m bentos.targets    # in the image, while it is built: is the torch inside the one of BANKSIGHT_TARGET?
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rag.errors import ConfigurationError, ModelError
from rag.operations.accelerator import Load, Machine, build_for, judge

VARIABLE: Final = "BANKSIGHT_TARGET"


def targets() -> dict[str, str | None]:
    """Name of each target to the CUDA version of its torch, `12.6`; None for processors."""
    return {path.stem: _cuda(path) for path in sorted(Path(__file__).parent.glob("*.txt"))}


def target_of(environment: Mapping[str, str]) -> str | None:
    """The target this software was built for; None where nothing says so, as in a checkout.

    Raises `ConfigurationError` for a target that does not exist.
    """
    target = environment.get(VARIABLE)
    if target and target not in targets():
        raise ConfigurationError(f"{VARIABLE} is {target!r}; there are {', '.join(targets())}")
    return target or None


def refuse_wrong_build(target: str, torch_cuda: str | None) -> None:
    """Raise `ConfigurationError` unless the installed torch is that of the target."""
    wanted = targets()[target]
    if torch_cuda != wanted:
        has = f"for CUDA {torch_cuda}" if torch_cuda else "for processors"
        raise ConfigurationError(
            f"this is the target {target}, but the installed torch is one {has}; "
            f"build the image again with PyTorch's index for bentos/targets/{target}.txt"
        )


def refuse_wrong_card(target: str, machine: Machine) -> None:
    """Raise `ModelError`, in one sentence, unless the machine has a card that this target runs on."""
    if targets()[target] is None:
        return
    if not machine.cards:
        raise ModelError(
            f"this image is for cards (target {target}) and sees none here; give the container its card "
            "(docker: --gpus all), or take the image of target cpu"
        )
    card = machine.cards[0]
    found = judge(machine, Load(slots=1))
    if found.fits:
        return
    right = "gn6v" if build_for(card.capability, machine.driver) == "12.6" else "cuda"
    if right == target:
        raise ModelError(found.text)
    major, minor = card.capability
    raise ModelError(
        f"{card.name} (sm_{major}{minor}, driver {machine.driver}) cannot run this image, whose target is {target}; "
        f"take the image of target {right}"
    )


def _cuda(path: Path) -> str | None:
    found = re.search(r"^torch==\S+\+cu(\d+)(\d)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return f"{found[1]}.{found[2]}" if found else None
