"""The child process in which files are parsed: `python -m connectors.parsing.worker`, started by `ParsingSandbox`.

It reads requests from standard input and writes replies to what was standard output, in the frames of `framing`. Each
document gets limits on memory and processor time of its own. The process ends when its parent does, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import sys
from collections.abc import Iterator
from typing import IO, Any

from connectors.errors import SourceUnreadable
from connectors.parsing.document import ParsedDocument, ParsingLimits
from connectors.parsing.framing import read_frame, read_json, write_json
from connectors.parsing.parser import parse_document

_STATM = "/proc/self/statm"
_MIB = 2**20
# Of the memory limit: a process that a document left larger is replaced. 40 MiB is usual, the limit 1,024.
_MOST_RESIDENT = 0.25


def main() -> None:
    """Serve until the parent closes its end."""
    requests, replies = sys.stdin.buffer, _private_stdout()
    _drop_rights()
    write_json(replies, {"ready": os.getpid()})
    while (request := read_json(requests)) is not None:
        limits = ParsingLimits(**request["limits"])
        with _limited(limits):
            reply = _answer(requests, request["name"], limits)
        if _statm()[1] > limits.memory_mib * _MIB * _MOST_RESIDENT:
            reply["retire"] = True
        write_json(replies, reply)


def _answer(requests: IO[bytes], name: str, limits: ParsingLimits) -> dict[str, Any]:
    """The parsed document or the reason why there is none. `retire` asks the parent for a fresh process."""
    try:
        content = read_frame(requests, limits.max_bytes)
        with _ending_with_parent(requests.fileno()):
            return _as_reply(parse_document(name, content, limits))
    except SourceUnreadable as error:
        return {"reason": error.reason, "message": str(error)}
    except MemoryError:
        message = "The file needs more memory than is allowed; split it or save it again."
        return {"reason": "too_large", "message": message, "retire": True}
    except Exception as error:  # noqa: BLE001  whatever a parser raises on a hostile file is about that file
        message = f"The file is damaged ({type(error).__name__}); get it again from where it was made."
        return {"reason": "malformed", "message": message, "retire": isinstance(error, RecursionError)}


def _as_reply(document: ParsedDocument) -> dict[str, Any]:
    pages = [(page.text, page.label, page.headings) for page in document.pages]
    concealed = [(each.how, each.page, each.text) for each in document.concealed]
    return {"title": document.title, "media_type": document.media_type, "pages": pages, "concealed": concealed}


def _private_stdout() -> IO[bytes]:
    """Where replies go. Standard output itself is pointed elsewhere, or a library that prints would break a frame."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies


def _drop_rights() -> None:
    """No core files, which would hold the document's text, and no writing of files."""
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (0, 0))


@contextlib.contextmanager
def _limited(limits: ParsingLimits) -> Iterator[None]:
    """Soft limits for one document, on top of what the process already uses; lifted afterwards for the reply."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + limits.timeout_seconds) + 2
    _set_soft(resource.RLIMIT_CPU, seconds)
    if mapped := _statm()[0]:
        _set_soft(resource.RLIMIT_AS, mapped + limits.memory_mib * _MIB)
    try:
        yield
    finally:
        _set_soft(resource.RLIMIT_AS, resource.RLIM_INFINITY)


def _set_soft(limit: int, value: int) -> None:
    # macOS refuses some of these; the parent's wall clock holds there all the same.
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(limit)
        if hard != resource.RLIM_INFINITY and (value == resource.RLIM_INFINITY or value > hard):
            value = hard
        resource.setrlimit(limit, (value, hard))


def _statm() -> tuple[int, int]:
    """Bytes mapped by this process and bytes resident now; zeros where the system does not tell."""
    try:
        with open(_STATM, "rb") as statm:  # noqa: PTH123  pathlib costs more than the read
            mapped, resident = statm.read().split()[:2]
    except OSError:
        return 0, 0
    return int(mapped) * resource.getpagesize(), int(resident) * resource.getpagesize()


@contextlib.contextmanager
def _ending_with_parent(descriptor: int) -> Iterator[None]:
    """While a document is parsed, the parent's death kills this process, even inside a library that never returns.

    The kernel sends SIGIO, whose default action on Linux is to end the process, when the other end of the pipe closes.
    (PR_SET_PDEATHSIG will not do: it follows the parent's *thread*.) Nothing else arrives here before the reply.
    """
    if sys.platform != "linux":
        yield
        return
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    if _is_closed(descriptor):  # the parent died just before the signal was asked for
        os._exit(1)
    try:
        yield
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


def _is_closed(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))


if __name__ == "__main__":
    main()
