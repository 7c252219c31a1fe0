"""Kills an erasing process with SIGKILL before each of its steps, and in the middle of rewriting collections.

Run by `test_erasure.py` as a program of its own: it forks a child for every run, which is safe only in a process that
has opened nothing. Prints one line of JSON at the end.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from chromadb.api.models.Collection import Collection
from crash_driver import die_at, in_child, say

from rag.bootstrap import Workspace, open_workspace
from rag.domain import Principal
from rag.governance.erasure_proof import search
from rag.governance.erasure_records import Erasures
from rag.settings import Settings, load_settings
from rag.storage.lexical import LexicalIndex

PERSON = Principal("maria.rossi@bank.example")
TEXT = "The quixotropic marmalade of Zanzibar is served on alternate Thursdays."
MARKERS = [TEXT[10:50].encode(), PERSON.subject.encode()]
MOST = 40


def settings_for(folder: Path) -> Settings:
    return load_settings("test", environment={}, overrides={"data_dir": str(folder / "data")})


def prepare(settings: Settings) -> None:
    workspace = open_workspace(settings)
    workspace.add_upload("marmalade.txt", TEXT.encode(), principal=PERSON)
    workspace.add_upload("other.txt", b"Branches open at nine.", principal=Principal("other"))
    workspace.ingest(["uploads"])
    workspace.personal.erasures.ask("default", PERSON.subject, "operator")
    workspace.close()


def erase(settings: Settings, step: int) -> None:
    """Take up what is to be erased, and die at the step of this number, counted over all that may be cut off."""
    workspace = open_workspace(settings)
    die = die_at(step)
    for kind, method in ((Erasures, "save"), (Collection, "modify"), (LexicalIndex, "rewrite")):
        intercept(kind, method, die)
    for each in workspace.personal.erasures.pending():
        workspace.erase_asked_for(each)
    workspace.close()


def intercept(kind: type, method: str, before_step: Callable[[], None]) -> None:
    """Call `before_step` before and after every call of a method."""
    original = getattr(kind, method)

    def around(*args: Any, **options: Any) -> Any:
        before_step()
        result = original(*args, **options)
        before_step()
        return result

    setattr(kind, method, around)


def found(settings: Settings) -> dict[str, int]:
    return search([settings.data_dir], MARKERS, [settings.data_dir / "models"]).found


def tell(settings: Settings, killed: int, before: int, erasure_id: str) -> None:
    workspace: Workspace = open_workspace(settings)
    certificate: dict[str, Any] = workspace.personal.erasures.certificate(erasure_id) or {}
    others = workspace.personal.uploaders.of("default", "other")
    state = workspace.registry.document(others[0].document_id).state
    agrees = workspace.check().agrees
    workspace.close()
    say(
        {
            "killed": killed,
            "before": before,
            "certificate": certificate,
            "after": found(settings),
            "agrees": agrees,
            "others": state,
        }
    )


def run(folder: Path) -> None:
    settings = settings_for(folder)
    os.waitpid(in_child(lambda: prepare(settings)), 0)
    before = len(found(settings))
    erasure_id, progress = state_of(settings)
    killed, step = 0, 1
    for _ in range(MOST):
        pid = in_child(partial(erase, settings, step))
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            break
        killed += os.WTERMSIG(status) == signal.SIGKILL
        _, now = state_of(settings)
        step = step + 1 if now == progress else 1  # where nothing was saved, the next one is killed a little later
        progress = now
    _, status = os.waitpid(in_child(lambda: tell(settings, killed, before, erasure_id)), 0)
    sys.exit(1 if status else 0)


def state_of(settings: Settings) -> tuple[str, str]:
    """The id of the erasure, and its sealed progress, which is another one after every step."""
    with closing(sqlite3.connect(settings.data_dir / "registry.sqlite3")) as database:
        erasure_id, sealed = database.execute("SELECT id, sealed FROM erasures").fetchone()
        return str(erasure_id), str(sealed)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
