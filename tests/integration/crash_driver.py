"""Kills an ingesting process with SIGKILL again and again, and looks at what the next run makes of it.

Run by `test_ingestion_crash.py` as a program of its own: it forks a child for every run, which is safe only in a
process that has opened nothing. Prints one JSON line per round.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rag.bootstrap import Workspace, open_workspace
from rag.settings import Settings, load_settings

STEPS = (
    ("registry", "begin"), ("vectors", "upsert"), ("originals", "save"), ("lexical", "apply"), ("registry", "commit"),
    ("vectors", "delete"), ("registry", "forget"), ("registry", "remove"), ("registry", "withdraw"),
)  # fmt: skip
WORDS = ("account", "balance", "card", "charge", "claim", "credit", "customer", "deadline", "deposit", "error", "fee")


def settings_for(folder: Path) -> Settings:
    return load_settings(
        "test",
        environment={},
        overrides={
            "data_dir": str(folder / "data"),
            "sources": [{"name": "papers", "collection": "rules", "root": str(folder / "papers")}],
            "ingestion": {"window_chunks": 3},
            "embedding": {"bulk_backend": "onnx"},
        },
    )


def change_sources(papers: Path, chance: random.Random) -> None:
    """Add, change, relabel, break and delete some documents."""
    papers.mkdir(exist_ok=True)
    files = sorted(papers.glob("*.md"))
    for path in chance.sample(files, min(len(files), 3)):
        path.unlink()
    for path in chance.sample(sorted(papers.glob("*.md")), min(len(list(papers.glob("*.md"))), 2)):
        path.write_text(text(chance))
    for _ in range(5):
        path = papers / f"{chance.randrange(10_000):04}.md"
        path.write_text(text(chance))
        labels = {0: "access: [hr]\n", 1: "title: Renamed\n"}.get(chance.randrange(4))
        if labels:
            path.with_name(path.name + ".meta.yaml").write_text(labels)
    (papers / "broken.pdf").write_bytes(b"%PDF-1.7 nothing follows" + str(chance.random()).encode())
    for sidecar in papers.glob("*.meta.yaml"):
        if not sidecar.with_name(sidecar.name.removesuffix(".meta.yaml")).exists():
            sidecar.unlink()


def text(chance: random.Random) -> str:
    sections = []
    for number in range(chance.randrange(1, 4)):
        sentences = (" ".join(chance.choices(WORDS, k=8)).capitalize() + "." for _ in range(chance.randrange(2, 12)))
        sections.append(f"## Section {number}\n\n" + " ".join(sentences))
    return "# Paper\n\n" + "\n\n".join(sections) + "\n"


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked child; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    finally:
        sys.stdout.flush()
        os._exit(status)


def ingest(settings: Settings, before_step: Callable[[], None] = lambda: None) -> None:
    workspace = open_workspace(settings)
    for store, method in STEPS:
        intercept(getattr(workspace.stores, store), method, before_step)
    workspace.ingest()
    workspace.close()


def intercept(store: Any, method: str, before_step: Callable[[], None]) -> None:
    """Call `before_step` before and after every call of a store's method."""
    original = getattr(store, method)

    def around(*args: Any, **options: Any) -> Any:
        before_step()
        result = original(*args, **options)
        before_step()
        return result

    object.__setattr__(store, method, around)


def die_at(step: int) -> Callable[[], None]:
    passed = 0

    def count() -> None:
        nonlocal passed
        if passed == step:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    return count


def verify(settings: Settings, papers: Path) -> None:
    """Finish the work in a fresh process and compare everything with the sources."""
    workspace = open_workspace(settings)
    report = workspace.ingest()
    found = workspace.check("report")
    say(
        {
            "agrees": found.agrees,
            "differences": repr(found),
            "failed": [each.uri for each in report.failed],
            "sources": sources_as_indexed(workspace, papers),
            "unfindable": unfindable(workspace),
            "originals": originals_are_right(workspace),
        }
    )
    workspace.close()


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def sources_as_indexed(workspace: Workspace, papers: Path) -> str:
    """Empty when the registry holds exactly the readable files, with their labels; else the first difference."""
    wanted = {f"file:{path.name}": labels(path) for path in papers.glob("*.md")}
    known = {each.uri: sorted(each.access) for each, _ in workspace.registry.indexed()}
    if known != wanted:
        return f"{known} != {wanted}"
    for document, _ in workspace.registry.indexed():
        whole = "".join(workspace.registry.page(document.id, n).text for n in range(1, document.pages + 1))
        source = (papers / document.uri.removeprefix("file:")).read_text()
        if "".join(word for word in letters(whole)) != "".join(letters(source)):
            return f"{document.uri} has other text"
    return ""


def labels(path: Path) -> list[str]:
    sidecar = path.with_name(path.name + ".meta.yaml")
    return ["hr"] if sidecar.exists() and "hr" in sidecar.read_text() else []


def letters(content: str) -> list[str]:
    return [character for character in content.lower() if character.isalpha()]


def unfindable(workspace: Workspace) -> int:
    """How many chunks are not the nearest neighbour of their own vector, up to equal texts."""
    pairs = workspace.registry.chunk_pairs()
    vectors = workspace.stores.vectors.vectors(pairs)
    missing = 0
    for scope, chunk_id in pairs:
        hits = workspace.stores.vectors.query([scope], vectors[chunk_id], 5)
        best = [found for found, similarity in hits if similarity > 0.999]
        missing += chunk_id not in best
    return missing


def originals_are_right(workspace: Workspace) -> bool:
    stored = {path.name for path in (workspace.settings.data_dir / "originals").glob("*/*")}
    return stored == workspace.registry.content_hashes()


def run(folder: Path, rounds: int, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    settings, papers = settings_for(folder), folder / "papers"
    change_sources(papers, chance)
    duration = timed(settings)
    step = 0
    for number in range(rounds):
        killed = 0
        for attempt in range(kills):
            change_sources(papers, chance)
            if attempt == 0:  # at a step of the protocol, one after the other
                pid = in_child(partial(ingest, settings, die_at(step)))
                step += 1
            else:  # at any instant
                pid = in_child(lambda: ingest(settings))
                time.sleep(chance.uniform(0.1, duration))
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        say({"round": number, "killed": killed})
        _, status = os.waitpid(in_child(lambda: verify(settings, papers)), 0)
        if status:
            say({"agrees": False, "differences": f"the verifying run ended with {status}"})


def timed(settings: Settings) -> float:
    """Seconds that a whole run takes."""
    started = time.monotonic()
    os.waitpid(in_child(lambda: ingest(settings)), 0)
    return time.monotonic() - started


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
