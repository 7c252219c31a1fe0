"""How the parent and its parsing process talk: frames of an 8-byte big-endian length and so many bytes; JSON, never
pickle, because what comes back was made by code that read a hostile file."""

from __future__ import annotations

import json
import struct
from typing import IO, Any

_LENGTH = struct.Struct(">Q")
_LONGEST_REQUEST = 2**20


def write_frame(stream: IO[bytes], payload: bytes) -> None:
    """Write one frame. The caller flushes."""
    stream.write(_LENGTH.pack(len(payload)))
    stream.write(payload)


def read_frame(stream: IO[bytes], longest: int) -> bytes:
    """Read one frame. Raises EOFError where the stream ends, ValueError where the frame is longer than `longest`."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > longest:
        raise ValueError(length)
    payload = stream.read(length)
    if len(payload) < length:
        raise EOFError
    return payload


def write_json(stream: IO[bytes], message: dict[str, Any]) -> None:
    """Write a message as one frame, and flush."""
    write_frame(stream, json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode())
    stream.flush()


def read_json(stream: IO[bytes], longest: int = _LONGEST_REQUEST) -> dict[str, Any] | None:
    """Read a message, or None where the stream ended. Raises ValueError where it is not an object of JSON."""
    try:
        message = json.loads(read_frame(stream, longest))
    except EOFError:
        return None
    if not isinstance(message, dict):
        raise ValueError(type(message).__name__)
    return message
