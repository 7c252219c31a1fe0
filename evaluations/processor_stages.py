"""Which part of an answer takes the processor's time: py-spy looks at a server's threads, and each look counts for the
innermost part of the product that it finds on the stack.

Only shares come from here. What the looks do not see, such as time in the kernel, has the same shares; how much there
is in all is told by the operating system.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LOOKS_A_SECOND: Final = 97  # no multiple of anything that a server does in time
_STOP_SECONDS: Final = 20
OTHER: Final = "everything else"

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


def part_of(stack: str) -> str:
    """The part that a stack belongs to: frames `name (file:line)`, outermost first, between semicolons."""
    for frame in reversed(stack.split(";")):
        for part, places in _PARTS.items():
            if any(place in frame for place in places):
                return part
    return OTHER


def shares(raw: str) -> dict[str, float]:
    """The share of each part, the largest first, in what py-spy writes as `raw`: a stack and its number in a line."""
    found: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, number = line.rpartition(" ")
        found[part_of(stack)] += int(number)
    total = found.total() or 1
    return {part: number / total for part, number in found.most_common()}


@contextmanager
def watched(process_id: int) -> Iterator[Callable[[], dict[str, float]]]:
    """Look at a process of Python while this is open; afterwards the call gives the shares of its parts.

    They are empty where py-spy is not installed, or may not look at other processes.
    """
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    with tempfile.TemporaryDirectory(prefix="banksight-stages-") as folder:
        raw = Path(folder) / "raw"
        command = ["record", "--pid", str(process_id), "--rate", str(_LOOKS_A_SECOND), "--format", "raw",
                   "--full-filenames", "--output", str(raw)]  # fmt: skip
        looking = None
        if program:
            quiet = subprocess.DEVNULL
            looking = subprocess.Popen([program, *command], stdin=quiet, stdout=quiet, stderr=quiet)
        found: dict[str, float] = {}
        try:
            yield lambda: found
        finally:
            if looking is not None:
                looking.send_signal(signal.SIGINT)  # upon which it writes what it saw
                looking.wait(_STOP_SECONDS)
                found.update(shares(raw.read_text(encoding="utf-8")) if raw.exists() else {})
