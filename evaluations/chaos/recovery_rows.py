"""Backups that are taken, damaged and brought back, and bits that turn over on the disk."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaluations.chaos.lone import ROOT, Lone
from evaluations.chaos.rows import LoneRow, Outcome, Plan


def backups_during_writes(folder: Path, plan: Plan) -> Outcome:
    """F24"""
    if shutil.which("restic") is None:
        return Outcome(None, "restic is not installed (Debian: restic)")
    command = [sys.executable, "-m", "evaluations.backup_drill", "--backups", str(plan.times(50))]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line for line in ended.stdout.splitlines() if "backup" in line]
    return Outcome(ended.returncode == 0, "; ".join(lines[:2]) or ended.stderr.strip()[-200:])


def bad_backups(folder: Path, plan: Plan) -> Outcome:
    """F25"""
    if shutil.which("restic") is None:
        return Outcome(None, "restic is not installed (Debian: restic)")
    lone, chance = _saved(folder), random.Random(plan.seed)  # noqa: S311 - repeatable on purpose
    packs = sorted(path for path in (folder / "backups" / "data").rglob("*") if path.is_file())
    flips, found = max(2, plan.times(20)), 0
    for _ in range(flips):
        with flipped(chance.choice(packs), chance):
            said = lone.command("backup", "verify")
            found += said.code != 0 and not said.crashed
    shutil.rmtree(folder / "data")
    refused = {}
    with flipped(chance.choice(packs), chance):
        refused["damaged"] = lone.command("backup", "restore", "latest")
    refused["another tenant's"] = lone.command("backup", "restore", "latest", BANKSIGHT__TENANT="stranger")
    (folder / "password").write_text("guessed")
    refused["wrong password"] = lone.command("backup", "restore", "latest")
    well = [name for name, said in refused.items() if said.code and not said.crashed]
    untouched = not (folder / "data" / "registry.sqlite3").exists()
    words = (
        f"{found} of {flips} flipped bits found; refused in a sentence: {', '.join(well)} (of {', '.join(refused)}); "
        f"{'nothing was put in place' if untouched else 'SOMETHING WAS PUT IN PLACE'}"
    )
    return Outcome(found == flips and len(well) == len(refused) and untouched, words)


def everything_lost(folder: Path, plan: Plan) -> Outcome:
    """F27"""
    if shutil.which("restic") is None:
        return Outcome(None, "restic is not installed (Debian: restic)")
    lone = _saved(folder)
    (folder / "source" / "later.md").write_text("# Later\n\nThis came after the backup was taken.\n")
    lone.need("ingest")
    shutil.rmtree(folder / "data")
    began = time.monotonic()
    lone.need("backup", "restore", "latest")
    answer = lone.answer()
    back = time.monotonic() - began
    counts = json.loads(lone.need("ingest", "--json").output)["counts"]
    shutil.rmtree(folder / "data")
    shutil.rmtree(folder / "backups")
    began = time.monotonic()
    lone.need("ingest")
    anew, again = lone.answer(), time.monotonic() - began
    passed = answer == anew == "right" and counts["added"] == 1
    words = (
        f"from the backup a {answer} answer after {back:.0f} s (promised 30 min), and the sources gave back the "
        f"{counts['added']} document that came after it; without backups a {anew} answer from the sources after "
        f"{again:.0f} s (promised 8 h); a corpus of a few pages, the commands' own start included"
    )
    return Outcome(passed, words, {"restore_seconds": back, "rebuild_seconds": again})


@dataclass(frozen=True, slots=True)
class Target:
    """Where a bit turns over: files of the data folder by pattern, or of the encoder's; at `needle`, or anywhere."""

    name: str
    pattern: str
    needle: bytes = b""


TARGETS = (
    Target("a figure in the registry", "data/registry.sqlite3", b"10 business days"),
    Target("the registry", "data/registry.sqlite3"),
    Target("Chroma's vectors", "data/chroma/*/data_level0.bin"),
    Target("Chroma's database", "data/chroma/chroma.sqlite3"),
    Target("the lexical index", "data/lexical/*"),
    Target("an original", "data/originals/*/*"),
    Target("the configuration", "configs/base.yaml"),
)


def flipped_bits(folder: Path, plan: Plan) -> Outcome:
    """F26"""
    chance = random.Random(plan.seed)  # noqa: S311 - repeatable on purpose
    whole = Lone(folder / "whole")
    whole.folder.mkdir()
    whole.prepare()
    shutil.copytree(ROOT / "configs", whole.folder / "configs")
    whole.need("ingest")
    words, passed, slowest = [], True, 0.0
    for target in TARGETS:
        ends = []
        for _ in range(1 if plan.short else 5):
            end, seconds = _one_bit(whole.folder, folder / "hurt", target, chance)
            ends.append(end)
            slowest = max(slowest, seconds)
        passed = passed and not any("WRONG" in each or "CRASH" in each or "NOT" in each for each in ends)
        words.append(f"{target.name}: {', '.join(sorted(set(ends)))}")
    return Outcome(passed, f"{'; '.join(words)}; longest recovery {slowest:.0f} s")


def _one_bit(whole: Path, hurt: Path, target: Target, chance: random.Random) -> tuple[str, float]:
    """What comes of one bit, and how long it took to be as before."""
    shutil.rmtree(hurt, ignore_errors=True)
    shutil.copytree(whole, hurt)
    lone = Lone(hurt)
    files = sorted(path for path in hurt.glob(target.pattern) if path.is_file() and path.stat().st_size)
    if not files:
        return "no such file in a corpus so small", 0.0
    _flip(max(files, key=lambda path: path.stat().st_size), chance, target.needle)
    changed = {"BANKSIGHT_CONFIG_DIR": str(hurt / "configs")}
    answer = lone.answer(**changed)
    if answer in ("WRONG", "CRASH"):
        return answer, 0.0
    checked = lone.command("index", "check", **changed)
    if checked.crashed:
        return "CRASH of the check", 0.0
    if checked.code == 0 and answer == "right":
        return "harmless", 0.0
    began = time.monotonic()
    way = _recovered(lone, whole)
    return f"{answer if answer == 'right' else 'no'} answer, {way}", time.monotonic() - began


def _recovered(lone: Lone, whole: Path) -> str:
    """Make it good again, by the gentlest way that does it."""
    shutil.rmtree(lone.folder / "configs")
    shutil.copytree(whole / "configs", lone.folder / "configs")
    if _is_well(lone):
        return "good with the right configuration"
    if lone.command("index", "check", "--repair").code == 0 and lone.command("ingest").code == 0 and _is_well(lone):
        return "repaired"
    if lone.command("ingest", "--rebuild").code == 0 and _is_well(lone):
        return "rebuilt from what the registry and the sources hold"
    shutil.rmtree(lone.folder / "data")
    return "made anew from the sources" if lone.command("ingest").code == 0 and _is_well(lone) else "NOT repaired"


def _is_well(lone: Lone) -> bool:
    return lone.command("index", "check").code == 0 and lone.answer() == "right"


def _saved(folder: Path) -> Lone:
    """A product whose corpus was ingested and saved."""
    lone = Lone(folder)
    lone.prepare()
    lone.need("ingest")
    lone.need("backup", "create", "--no-verify")
    return lone


def _flip(path: Path, chance: random.Random, needle: bytes = b"") -> None:
    content = bytearray(path.read_bytes())
    places = [found.start() for found in re.finditer(re.escape(needle), content)] if needle else []
    for place in places or [chance.randrange(len(content))]:
        content[place] ^= 1 << (3 if needle else chance.randrange(8))  # a 1 becomes a 9
    path.chmod(0o600)
    path.write_bytes(content)


@contextmanager
def flipped(path: Path, chance: random.Random) -> Iterator[None]:
    """One bit of the file, the other way round for a while."""
    before = path.read_bytes()
    _flip(path, chance)
    try:
        yield
    finally:
        path.write_bytes(before)


ROWS = (
    LoneRow("F24", "backups while documents are written", "every one whole when restored", backups_during_writes),
    LoneRow("F25", "a damaged backup, a wrong password, another tenant's", "refused with the reason", bad_backups),
    LoneRow("F26", "one bit turns over on the disk", "never a wrong answer; found, and made good again", flipped_bits),
    LoneRow("F27", "everything is lost but the backups, then they too", "answers again; how soon", everything_lost),
)
