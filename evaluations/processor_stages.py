"""Which part of an answer takes the processor's time: py-spy looks at a server's threads, and each look counts for the
innermost part of the product that it finds on the stack.

Only shares within a thread come from the looks; what each thread took in all is told by the operating system. So it
does not matter that a thread which waits for the processor, or for Python's lock, looks as if it worked.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

_LOOKS_A_SECOND: Final = 97  # no multiple of anything that a server does in time
_STOP_SECONDS: Final = 20
OTHER: Final = "everything else"
NATIVE: Final = "threads without Python (OpenVINO)"

# Parts of paths, by what they belong to. From the innermost frame outwards, the first one that fits decides.
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "MiniLM": ("rag/models/embedding", "rag/models/encoders", "rag/models/openvino", "rag/models/batching",
               "rag/models/gathering"),
    "Chroma's client": ("chromadb/", "rag/storage/vectors"),
    "BM25": ("rag/storage/lexical", "rag/storage/tokenizing"),
    "the registry (SQL)": ("sqlalchemy/", "rag/storage/registry", "rag/storage/database"),
    "Redis": ("/redis/", "rag/storage/redis_connection", "/limits/", "rag/operations/limits"),
    "receipts": ("rag/governance/receipts", "rag/governance/audit", "rag/governance/subjects"),
    "the model's stream": ("rag/models/engine", "/openai/", "httpx2/", "rag/query/generating", "rag/query/statements",
                           "rag/query/looping", "bentos/remote_generation"),
    "verification": ("rag/query/verification", "rag/query/grounding", "rag/query/number_grounding",
                     "rag/query/support", "rag/query/citations", "rag/query/injection.py", "rag/governance/access"),
    "search and fusion": ("rag/query/retrieval", "rag/query/fusion", "rag/query/names", "rag/storage/catalog"),
    "reading passages, the decision": ("rag/query/selecting", "rag/query/signals", "rag/query/evidence",
                                       "rag/query/segments", "rag/query/cutting", "rag/query/prompting",
                                       "rag/query/words", "rag/query/scope", "rag/query/tables"),
    "the cache of answers": ("rag/query/caching", "rag/query/canonical", "rag/query/replaying", "rag/storage/cache",
                             "rag/storage/sealing", "rag/governance/privacy"),
    "metrics and spans": ("prometheus_client/", "rag/operations/telemetry", "opentelemetry/", "rag/operations/tracing"),
    "HTTP": ("uvicorn/", "starlette/", "fastapi/", "bentos/", "bentoml/", "_bentoml", "pydantic/"),
    "the rest of the pipeline": ("rag/",),
    "event loop and threads": ("asyncio/", "concurrent/", "threading.py", "anyio/", "uvloop"),
}  # fmt: skip


# Innermost frames of a thread without work, and of the event loop itself.
_WAITING: Final = ("_worker (", "Runner.run (", "run (")
_THREAD: Final = re.compile(r"thread \((0x[0-9a-fA-F]+|\d+)\)")


def part_of(stack: str) -> str:
    """The part that a stack belongs to: frames `name (file:line)`, outermost first, between semicolons."""
    for frame in reversed(stack.split(";")):
        for part, places in _PARTS.items():
            if any(place in frame for place in places):
                return part
    return OTHER


def seconds_by_part(raw: str, threads: Mapping[int, float]) -> dict[str, float]:
    """Seconds of each part, the most first, from what each thread took and what py-spy writes as `raw` with threads.

    A line of it is a stack, whose first frame names the thread, and how often it was seen.
    """
    seen: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for line in raw.splitlines():
        stack, _, number = line.rpartition(" ")
        thread, _, frames = stack.partition(";")
        if (match := _THREAD.search(thread)) and not frames.rpartition(";")[2].startswith(_WAITING):
            seen[int(match[1], 0)][part_of(frames)] += int(number)
    found: defaultdict[str, float] = defaultdict(float)
    for thread_id, seconds in threads.items():
        parts = seen.get(thread_id) or Counter({NATIVE: 1})
        for part, times in parts.items():
            found[part] += seconds * times / parts.total()
    return dict(sorted(found.items(), key=lambda each: -each[1]))


@contextmanager
def watched(process_id: int) -> Iterator[Callable[[], dict[str, float]]]:
    """Look at a process of Python while this is open; afterwards the call gives the processor seconds of its parts.

    There are none where py-spy is not installed, or may not look at other processes.
    """
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    found: dict[str, float] = {}
    if program is None:
        yield lambda: found
        return
    with tempfile.TemporaryDirectory(prefix="banksight-stages-") as folder:
        raw, quiet = Path(folder) / "raw", subprocess.DEVNULL
        command = [program, "record", "--pid", str(process_id), "--rate", str(_LOOKS_A_SECOND), "--format", "raw",
                   "--threads", "--full-filenames", "--nonblocking", "--output", str(raw)]  # fmt: skip
        before = _threads(process_id)
        with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as looking:
            try:
                yield lambda: found
            finally:
                took = {each: seconds - before.get(each, 0.0) for each, seconds in _threads(process_id).items()}
                looking.send_signal(signal.SIGINT)  # upon which it writes what it saw
                looking.wait(_STOP_SECONDS)
        if raw.exists():
            found.update(seconds_by_part(raw.read_text(encoding="utf-8"), took))


def _threads(process_id: int) -> dict[int, float]:
    """Processor seconds of each thread so far."""
    return {each.id: each.user_time + each.system_time for each in psutil.Process(process_id).threads()}
