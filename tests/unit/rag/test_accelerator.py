"""Which card, driver, torch and bitsandbytes go together, and what the operator is told where they do not."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from rag.operations.accelerator import BITSANDBYTES, GB, TORCH, Card, Load, Machine, judge
from rag.operations.installed import this_machine

ROOT = Path(__file__).parents[3]

V100 = Card("Tesla V100-SXM2-16GB", (7, 0), 17 * GB, 16 * GB)
T4 = Card("Tesla T4", (7, 5), 16 * GB, 15 * GB)
A10 = Card("NVIDIA A10", (8, 6), 24 * GB, 23 * GB)
H100 = Card("NVIDIA H100 80GB HBM3", (9, 0), 85 * GB, 84 * GB)
B200 = Card("NVIDIA B200", (10, 0), 190 * GB, 180 * GB)
P40 = Card("Tesla P40", (6, 1), 24 * GB, 23 * GB)
K80 = Card("Tesla K80", (3, 7), 12 * GB, 11 * GB)

CU126 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
CU128_OLD = ("sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
CU128 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
CU130 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_110", "sm_120", "compute_120")


def machine(card: Card | None, cuda: str | None, arches: tuple[str, ...] = (), driver: str = "580.95.05") -> Machine:
    return Machine(
        cards=(card,) if card else (),
        driver=driver if card else None,
        torch="2.13.0" + (f"+cu{cuda.replace('.', '')}" if cuda else "+cpu"),
        torch_cuda=cuda,
        arches=arches,
        bitsandbytes="0.50.2",
    )


@pytest.mark.parametrize(
    "good",
    [
        machine(V100, "12.6", CU126),
        machine(V100, "12.6", CU126, driver="535.161.08"),
        machine(V100, "12.6"),  # the build could not be asked: the table says the same
        machine(V100, "12.8", CU128_OLD),  # torch up to 2.10
        replace(machine(V100, "12.8"), torch="2.10.0+cu128"),
        machine(P40, "12.6", CU126),  # sm_60 runs on 6.1
        machine(T4, "12.6", CU126, driver="550.54.15"),
        machine(T4, "13.0", CU130),
        machine(A10, "12.8", CU128),
        machine(A10, "13.0", ("sm_80",)),
        machine(H100, "13.0", CU130),
        machine(H100, "12.6"),
        machine(B200, "12.8", CU128),
        machine(Card("a card from the future", (13, 0), 80 * GB, 80 * GB), "13.0", CU130),  # compute_120
    ],
    ids=lambda m: f"{m.cards[0].name} CUDA {m.torch_cuda} driver {m.driver} asked {bool(m.arches)}",
)
def test_these_fit(good: Machine) -> None:
    found = judge(good, Load())
    assert found.fits, found.text
    assert good.cards[0].name in found.text


@pytest.mark.parametrize(
    ("bad", "trouble", "build"),
    [
        (machine(V100, "13.0", CU130), "CUDA 13.0 has no kernels for the card", "12.6"),
        (machine(V100, "13.0"), "CUDA 13.0 has no kernels for the card", "12.6"),
        (machine(V100, "12.8", CU128), "CUDA 12.8 has no kernels for the card", "12.6"),
        (machine(V100, "12.8"), "CUDA 12.8 has no kernels for the card", "12.6"),
        (machine(P40, "12.8", CU128_OLD), "CUDA 12.8 has no kernels for the card", "12.6"),
        (machine(T4, "13.0", driver="550.54.15"), "CUDA 13.0 needs driver 580 or newer", "12.6"),
        (machine(V100, "12.6", driver="470.82.01"), "CUDA 12.6 needs driver 525 or newer; update the driver", "12.6"),
        (machine(B200, "12.6", CU126), "CUDA 12.6 has no kernels for the card", "13.0"),
        (machine(B200, "12.6", CU126, driver="570.86.15"), "CUDA 12.6 has no kernels for the card", "12.8"),
        (machine(H100, None), "torch is a build for processors", "13.0"),
        (machine(A10, None, driver="535.161.08"), "torch is a build for processors", "12.6"),
        (replace(machine(T4, None), torch=None), "torch is missing", "13.0"),
    ],
)
def test_what_does_not_fit_is_told_with_the_build_to_install(bad: Machine, trouble: str, build: str) -> None:
    found = judge(bad, Load())
    assert not found.fits
    assert trouble in found.text
    assert f"install the CUDA {build} build of torch" in found.text
    assert f'"torch==2.13.0+cu{build.replace(".", "")}"' in found.text


def test_missing_bitsandbytes_gives_the_command_that_installs_the_pinned_one() -> None:
    found = judge(replace(machine(V100, "12.6", CU126), bitsandbytes=None), Load())
    assert not found.fits
    assert f'pip install "{BITSANDBYTES}"' in found.text
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert BITSANDBYTES in extras["gpu"]
    assert f"torch=={TORCH}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_a_build_of_torch_whose_kernels_of_bitsandbytes_lack_the_card_is_told() -> None:
    own = ("sm_61", "sm_70")  # somebody compiled torch for CUDA 12.8 himself; bitsandbytes begins at sm_70 there
    assert "bitsandbytes for CUDA 12.8 has no kernels" in judge(machine(P40, "12.8", own), Load()).text


def test_a_card_that_is_too_old_is_told_what_else_there_is() -> None:
    assert "openai_compatible" in judge(machine(K80, "12.6", CU126), Load()).text


@pytest.mark.parametrize("cuda", [None, "13.0"])
def test_no_card_is_said_plainly(cuda: str | None) -> None:
    found = judge(machine(None, cuda), Load())
    assert not found.fits
    assert found.text.startswith("no card; torch 2.13.0+")
    assert ("processor build is smaller" in found.text) == (cuda is not None)


def test_memory_is_weights_and_work_and_128_kib_for_each_token_of_each_slot() -> None:
    load = Load(slots=8, tokens=2560)
    assert load.bytes == 4_140_000_000 + 1_600_000_000 + 8 * 2560 * 131_072
    exact = replace(V100, free=load.bytes)
    assert "enough for 8 slots of 2,560 tokens" in judge(machine(exact, "12.6", CU126), load).text
    busy = judge(machine(replace(exact, free=load.bytes - 1), "12.6", CU126), load).text
    assert "8.4 GB free, 8.4 GB needed for 8 slots of 2,560 tokens; end what else uses the card" in busy
    small = judge(machine(replace(V100, memory=8 * GB, free=8 * GB), "12.6", CU126), load).text
    assert "take fewer slots or shorter contexts" in small


def test_the_card_that_fits_is_chosen_among_several() -> None:
    both = replace(machine(V100, "13.0", CU130), cards=(V100, A10))
    assert judge(both, Load()).fits
    assert "NVIDIA A10" in judge(both, Load()).text


def test_this_machine_is_read_without_an_error() -> None:
    found = this_machine()
    assert found.torch is not None
    assert (found.torch_cuda is None) == found.torch.endswith("+cpu")
