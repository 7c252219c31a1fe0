"""A language model's server without a model, which can be told to fail in every way that real ones do.

`python -m evaluations.chaos.stub_llm PORT` speaks OpenAI's `/v1/chat/completions` as a stream, at 40 tokens/s unless
told otherwise. `POST /mode` with one of `MODES` as its body chooses what happens from now on; `GET /counts` says how
many requests came and how many run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from contextlib import suppress

from rag.models.engines.simulated import answer_to

MODES = ("good", "error", "hang", "slow", "garbage", "empty", "infinite", "cut", "nonsense")
TOKENS_PER_SECOND = 40.0
TOKENS_PER_EVENT = 5  # one event for each token would cost more processor time than it tells
_TOKEN = re.compile(r"\s*\S{1,5}")
_TEXTS = {
    "garbage": "the the the the " * 200,
    "empty": "",
    "nonsense": "Elephants may open savings accounts on the moon. [97] It costs 999 dollars. [98]",
    "infinite": "and so it goes on, and on, " * 10_000,
}


class StubLLM:
    """One server. Faults begin with the next request, or, where they can, with the next event."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.mode = "good"
        self.came = 0
        self.running = 0

    async def serve(self) -> None:
        """For ever."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=512)
        await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                length = re.search(r"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                path = head.split(" ", 2)[1]
                if path == "/mode":
                    self.mode = body.decode()
                    await _send(writer, 200, {})
                elif path == "/counts":
                    await _send(writer, 200, {"came": self.came, "running": self.running})
                elif not await self._counted(reader, writer, body):
                    break
        writer.close()

    async def _counted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> bool:
        """Generate, and stop when the caller goes away."""
        self.came += 1
        self.running += 1
        work = asyncio.ensure_future(self._completion(writer, json.loads(body)))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            return work.done() and work.result()
        finally:
            self.running -= 1
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _completion(self, writer: asyncio.StreamWriter, asked: dict[str, object]) -> bool:
        if self.mode == "error":
            await _send(writer, 500, {"error": {"message": "out of memory", "type": "server_error"}})
            return False
        if self.mode == "hang":
            await asyncio.sleep(3600)
        messages = asked["messages"]
        assert isinstance(messages, list)  # noqa: S101 - a stub
        text = _TEXTS.get(self.mode)
        tokens = _TOKEN.findall(answer_to(str(messages[-1]["content"])) if text is None else text)
        if self.mode != "infinite":
            tokens = tokens[: int(str(asked.get("max_tokens") or 150))]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        await asyncio.sleep(0.1)
        for start in range(0, len(tokens), TOKENS_PER_EVENT):
            if self.mode == "cut" and start >= len(tokens) // 2:
                return False
            writer.write(_event("".join(tokens[start : start + TOKENS_PER_EVENT]), None))
            await writer.drain()
            await asyncio.sleep(TOKENS_PER_EVENT / TOKENS_PER_SECOND * (10 if self.mode == "slow" else 1))
        writer.write(_event("", "stop") + b"data: [DONE]\n\n")
        await writer.drain()
        return False


def _event(text: str, why: str | None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": why}
    chunk = {"id": "stub", "object": "chat.completion.chunk", "created": 0, "model": "stub", "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


async def _send(writer: asyncio.StreamWriter, status: int, body: object) -> None:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    await writer.drain()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    asyncio.run(StubLLM(parser.parse_args().port).serve())


if __name__ == "__main__":
    main()
