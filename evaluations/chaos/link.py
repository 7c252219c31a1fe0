"""A TCP connection between two of our processes that can be made bad: slow, silent, cut, or with wrong bytes."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from typing import Literal

Fault = Literal["none", "slow", "silent", "drip", "reset", "corrupt"]
_DRIP_SECONDS = 0.05


class Link:
    """Listens on `port` and passes everything on to `target`, on a thread of its own. `fault` works at once, also on
    connections that are open:

    - `slow`: what the server says arrives `delay` seconds later
    - `silent`: nothing arrives any more, in either direction, and nothing is closed
    - `drip`: what the server says arrives one byte at a time, 20 a second
    - `reset`: every connection is reset
    - `corrupt`: what the server says arrives with one bit of every byte turned over
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self.delay = 0.2
        self.opened = 0
        self._fault: Fault = "none"
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop: asyncio.AbstractEventLoop
        self._ended = asyncio.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name=f"link to {target}", daemon=True
        )
        self._ready = threading.Event()

    def start(self) -> Link:
        """Begin to listen."""
        self._thread.start()
        self._ready.wait()
        return self

    def become(self, fault: Fault, delay: float = 0.2) -> None:
        """From now on with this fault."""
        self._fault, self.delay = fault, delay
        if fault == "reset":
            self._loop.call_soon_threadsafe(self._reset_all)

    def stop(self) -> None:
        """Reset everything and listen no more."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=512)
        self._ready.set()
        await self._ended.wait()
        server.close()
        self._reset_all()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self._writers.add(writer)
        if self._fault == "reset":
            self._reset_all()
            return
        try:
            to_server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(writer)
            self._writers.discard(writer)
            return
        self._writers.add(to_server[1])
        await asyncio.gather(
            self._pass(reader, to_server[1], spoiled=False), self._pass(to_server[0], writer, spoiled=True)
        )
        self._writers -= {writer, to_server[1]}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, spoiled: bool) -> None:
        with suppress(OSError):
            while content := await reader.read(65536):
                while self._fault == "silent":  # noqa: ASYNC110 - a fault is changed from another thread
                    await asyncio.sleep(0.02)
                if spoiled and self._fault == "slow":
                    await asyncio.sleep(self.delay)
                if spoiled and self._fault == "corrupt":
                    content = bytes(byte ^ 0x10 for byte in content)
                await self._write(writer, content, drip=spoiled)
        with suppress(OSError):
            writer.close()

    async def _write(self, writer: asyncio.StreamWriter, content: bytes, *, drip: bool) -> None:
        sent = 0
        while drip and self._fault == "drip" and sent < len(content):
            writer.write(content[sent : sent + 1])
            await writer.drain()
            sent += 1
            await asyncio.sleep(_DRIP_SECONDS)
        writer.write(content[sent:])
        await writer.drain()

    def _reset_all(self) -> None:
        for writer in self._writers:
            _reset(writer)
        self._writers.clear()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    with suppress(OSError):
        handle: socket.socket = writer.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
