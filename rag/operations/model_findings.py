"""Are Mistral-7B and a card for it here? An error only where an engine of this machine needs them."""

from __future__ import annotations

from rag.models.manifest import MISTRAL, manifest_of
from rag.models.places import faults_of_size, find_place
from rag.operations.accelerator import Load, Machine, judge
from rag.operations.findings import Finding, Verdict
from rag.settings import Settings


def model_finding(settings: Settings) -> Finding:
    """By size, because hashing 14.5 GB is not for one screen; a start hashes all of it."""
    manifest = manifest_of(MISTRAL)
    place = find_place(manifest, settings)
    needed = needs_a_model(settings)
    name = manifest.repository.partition("/")[2]
    if place is None:
        text = f"{name} is not here"
        if not needed:
            return Finding("model", "ok", f"{text}; the configured engine needs none")
        return Finding("model", _missing(settings), f"{text}; run `banksight models pull {name}`")
    if faults := faults_of_size(place, manifest):
        text = f"{name} in {place.folder} lacks {len(faults)} of {len(manifest.files)} files"
        return Finding("model", _missing(settings) if needed else "note", f"{text}; run `banksight models pull {name}`")
    return Finding("model", "ok", f"{name} in {place.folder}, complete by size; `banksight models verify` hashes it")


def card_finding(settings: Settings, machine: Machine) -> Finding:
    """A card is needed by the engines that run a model in this process only."""
    found = judge(machine, Load())
    if found.fits:
        return Finding("gpu", "ok", found.text)
    if not needs_a_model(settings):
        return Finding("gpu", "ok", f"{found.text}; the configured engine needs no card")
    if not machine.cards:
        slow = "the model would run on the processor, slowly; BANKSIGHT__GENERATION__ENGINE=extractive needs no card"
        return Finding("gpu", "note", f"{found.text}; {slow}")
    return Finding("gpu", _missing(settings), f"{found.text}; or set BANKSIGHT__GENERATION__ENGINE=extractive")


def needs_a_model(settings: Settings) -> bool:
    """Whether an engine that runs a model in our own processes is configured, also as a fallback."""
    return not {"mistral", "huggingface"}.isdisjoint((settings.generation.engine, *settings.generation.fallback))


def _missing(settings: Settings) -> Verdict:
    """A Generator service may run on another machine; then this one needs neither card nor model."""
    return "wrong" if settings.generation.serving == "in_process" else "note"
