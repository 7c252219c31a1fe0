"""What a line of the log looks like: one JSON object for machines, or a sentence for the person at the terminal.

An event is a fixed sentence with ids and counts in it. Beside it go only the named fields below, so that nobody can add
a question by mistake. JSON lines tell of an exception its type and where it was raised, never its message, which in
libraries is often made of what they were given.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from types import TracebackType
from typing import Any, Final

from rag.operations.logging_secrets import redacted
from rag.operations.tracing import trace_id

# What `extra=` may bring. Anything else is dropped.
FIELDS: Final = (
    "method", "route", "status", "seconds", "answer_id", "job_id", "document_id", "count", "citations", "engine",
    "degraded", "snapshot", "reason", "attempt", "subject_hash",
)  # fmt: skip
_LONGEST_EVENT: Final = 2_000  # characters; a longer one is a dump
_LONGEST_FIELD: Final = 200
_FRAMES: Final = 12  # innermost ones of a traceback
# What moves a terminal's cursor or ends a line: C0, C1, Unicode's own line ends, and marks that turn text around.
_CONTROL: Final = {
    each: f"\\u{each:04x}"
    for each in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


class JsonLines(logging.Formatter):
    """One JSON object in one line of ASCII, whatever is in it: `time, level, event, service, trace_id` and fields."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service
        self._second = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line: dict[str, Any] = {
            "time": self._time(record.created),
            "level": record.levelname,
            "event": redacted(record.getMessage()[:_LONGEST_EVENT]),
            "logger": record.name,
            "service": self._service,
            "process": record.process,
        }
        if trace := trace_id():
            line["trace_id"] = trace
        line |= fields_of(record)
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = _described(record.exc_info[0], record.exc_info[2])
        return json.dumps(line, ensure_ascii=True, default=repr)

    def _time(self, created: float) -> str:
        second = int(created)
        if second != self._second[0]:  # making it is the dearest part of a line
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int((created - second) * 1000):03d}Z"


class HumanLines(logging.Formatter):
    """`12:00:00 WARNING rag.query: a sentence (status=503)`, and the whole traceback. One line for each event."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        event = redacted(record.getMessage()).translate(_CONTROL)
        fields = " ".join(f"{name}={value}" for name, value in fields_of(record).items()).translate(_CONTROL)
        line = f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {record.levelname} {record.name}: {event}"
        line += f" ({fields})" if fields else ""
        if record.exc_info and record.exc_info[0] is not None:
            line += "\n" + redacted("".join(traceback.format_exception(*record.exc_info))).rstrip()
        return line


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields that `extra=` brought and that may be logged; of texts only the beginning."""
    found = {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
    return {
        name: redacted(value[:_LONGEST_FIELD]) if isinstance(value, str) else value for name, value in found.items()
    }


def _described(kind: type[BaseException], trace: TracebackType | None) -> dict[str, Any]:
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return {"type": kind.__name__, "at": [f"{each.filename}:{each.lineno} {each.name}" for each in frames]}
