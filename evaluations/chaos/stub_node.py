"""A node that costs nothing: it answers like the API, drains on SIGTERM, and knows no documents.

`python -m evaluations.chaos.stub_node PORT [--seconds 0.3]`. What nginx does with nodes that drain, hang and die
can so be shown with three that start in a second; three real ones need a minute of processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import signal
from contextlib import suppress

DRAIN_SECONDS = 1.2  # not ready, but still there: long enough for the proxy to learn it
TOKENS = 12


class StubNode:
    """One HTTP/1.1 server. `seconds` is how long an answer takes."""

    def __init__(self, port: int, seconds: float) -> None:
        self.port = port
        self.seconds = seconds
        self.in_flight = 0
        self.draining = False
        self.ended = asyncio.Event()

    async def serve(self) -> None:
        """Until SIGTERM, and then until the last answer is out."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: asyncio.ensure_future(self._drain()))
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=512, reuse_address=True)
        await self.ended.wait()
        server.close()

    async def _drain(self) -> None:
        self.draining = True
        await asyncio.sleep(DRAIN_SECONDS)
        while self.in_flight:  # noqa: ASYNC110 - the simplest that is right
            await asyncio.sleep(0.01)
        self.ended.set()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while (head := await reader.readuntil(b"\r\n\r\n")) and not self.ended.is_set():
                self.in_flight += 1
                try:
                    if not await self._exchange(head.decode("latin-1"), reader, writer):
                        break
                finally:
                    self.in_flight -= 1
        writer.close()

    async def _exchange(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is not to be used any more."""
        first, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        await reader.readexactly(int(headers.get("content-length", 0)))
        path = first.split(" ")[1]
        if "upgrade" in headers:
            await self._socket(headers, reader, writer)
            return False
        if self.draining:
            return await self._send(writer, 503, {"detail": "draining"}, "Retry-After: 1\r\n")
        if path.startswith("/v1/ask"):
            return await self._answer(headers, writer)
        seen = {"node": self.port, "path": path, "headers": headers}
        return await self._send(writer, 200, seen, "Set-Cookie: access_token=1; HttpOnly\r\n")

    async def _answer(self, headers: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        answer = {"status": "answered", "text": "Within 10 business days.", "notice": "", "node": self.port}
        if "text/event-stream" not in headers.get("accept", ""):
            await asyncio.sleep(self.seconds)
            return await self._send(writer, 200, answer)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for _ in range(TOKENS):
            writer.write(b"event: sentence\ndata: {}\n\n")
            await writer.drain()
            await asyncio.sleep(self.seconds / TOKENS)
        writer.write(f"event: answer\ndata: {json.dumps(answer)}\n\nevent: done\ndata: {{}}\n\n".encode())
        await writer.drain()
        return False

    async def _send(self, writer: asyncio.StreamWriter, status: int, body: object, more: str = "") -> bool:
        content = json.dumps(body).encode()
        keep = "close" if self.draining else "keep-alive"
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
            f"Connection: {keep}\r\n{more}\r\n".encode()
            + content
        )
        await writer.drain()
        return not self.draining

    async def _socket(
        self, headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """The handshake of RFC 6455; afterwards every byte comes back."""
        key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
        writer.write(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Node: {self.port}\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        while content := await reader.read(4096):
            writer.write(content)
            await writer.drain()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, default=0.3)
    given = parser.parse_args()
    asyncio.run(StubNode(given.port, given.seconds).serve())


if __name__ == "__main__":
    main()
