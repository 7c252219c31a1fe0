"""The link between two processes does what each fault says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from evaluations.chaos.link import Link
from evaluations.servers import free_ports

pytestmark = pytest.mark.network_allowed


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """A link to a server that says everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while content := await reader.read(1024):
                writer.write(content)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    [port] = free_ports(1)
    link = Link(port, server.sockets[0].getsockname()[1]).start()
    yield link
    link.stop()
    server.close()


async def _said(link: Link, content: bytes = b"hello") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        writer.write(content)
        return await asyncio.wait_for(reader.readexactly(len(content)), 0.5)
    finally:
        writer.transport.abort()


async def test_without_a_fault_everything_passes(link: Link) -> None:
    assert await _said(link) == b"hello"


async def test_corrupt_changes_every_byte_on_its_way_back(link: Link) -> None:
    link.become("corrupt")
    assert await _said(link) == bytes(byte ^ 0x10 for byte in b"hello")


async def test_silent_and_drip_hold_back_what_was_said(link: Link) -> None:
    for fault in ("silent", "drip"):
        link.become(fault)  # type: ignore[arg-type]
        with pytest.raises(TimeoutError):
            await _said(link, b"x" * 100)
    link.become("none")
    assert await _said(link) == b"hello"


async def test_reset_ends_open_and_new_connections(link: Link) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"a")
    await reader.readexactly(1)
    link.become("reset")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.readexactly(1), 5)
    writer.close()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await _said(link)
