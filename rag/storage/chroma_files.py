"""What Chroma leaves in its folder of deleted collections: rows of its queue, free pages, folders with all vectors.

    python -m rag.storage.chroma_files FOLDER

cleans the folder of a Chroma server, on its machine, while it runs. Prints JSON: `rows`, `folders`, `bytes` that went.

It must be another process than the one that has Chroma open: closing a file of SQLite gives back all locks that the
process holds on it, those of Chroma's own copy of SQLite too.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from rag.errors import StorageUnavailable

_DATABASE: Final = "chroma.sqlite3"
_PATIENCE_SECONDS: Final = 60.0  # for whoever reads or writes at the same moment
_PAUSE_SECONDS: Final = 0.1
# Rows of what is not there any more. The id of a collection is part of the topic of its rows in the queue.
_REMAINS: Final = (
    "DELETE FROM embeddings_queue WHERE NOT EXISTS "
    "(SELECT 1 FROM collections WHERE instr(embeddings_queue.topic, collections.id))",
    "DELETE FROM embedding_metadata WHERE id IN "
    "(SELECT id FROM embeddings WHERE segment_id NOT IN (SELECT id FROM segments))",
    "DELETE FROM embeddings WHERE segment_id NOT IN (SELECT id FROM segments)",
)


def clean_in_other_process(folder: Path) -> dict[str, int]:
    """Clean the folder of Chroma that this process has open. Raises `StorageUnavailable`. Blocks."""
    command = [sys.executable, "-m", "rag.storage.chroma_files", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or "it says nothing").splitlines()[-1]
        raise StorageUnavailable(f"the files of Chroma in {folder} could not be cleaned: {reason}; try again")
    found: dict[str, int] = json.loads(done.stdout)
    return found


def clean(folder: Path) -> dict[str, int]:
    """Delete what belongs to no collection, and write the database anew without free pages. Raises `sqlite3.Error`."""
    before = _size(folder)
    with closing(sqlite3.connect(folder / _DATABASE, timeout=_PATIENCE_SECONDS, isolation_level=None)) as database:
        rows = sum(database.execute(each).rowcount for each in _REMAINS)
        database.execute("VACUUM")
        ends = time.monotonic() + _PATIENCE_SECONDS
        while database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:  # busy: somebody reads the log
            if time.monotonic() > ends:
                raise sqlite3.OperationalError("others read the database all the time, so its log cannot be emptied")
            time.sleep(_PAUSE_SECONDS)
        known = {str(row[0]) for row in database.execute("SELECT id FROM segments")}
    orphans = [each for each in folder.iterdir() if each.is_dir() and _is_id(each.name) and each.name not in known]
    for each in orphans:
        shutil.rmtree(each)
    return {"rows": rows, "folders": len(orphans), "bytes": before - _size(folder)}


def _is_id(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def _size(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def main(arguments: list[str]) -> Any:
    """Clean the folder that is named, and print what went."""
    sys.stdout.write(json.dumps(clean(Path(arguments[0]))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
