"""Redis that is up, killed, frozen, full, read-only, locked, or not Redis at all: never an error."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rag.errors import ConfigurationError
from rag.operations.tracing import serving
from rag.settings import RedisSettings, Settings
from rag.storage.redis_connection import RedisConnection, open_redis

LOST = b"lost"


def connect(url: str, **changes: Any) -> RedisConnection:
    values = {
        "url": url, "timeout_seconds": 0.05, "call_seconds": 0.06, "max_connections": 4, "breaker_failures": 3,
        "breaker_rest_seconds": 600,
    }  # fmt: skip
    return RedisConnection(RedisSettings.model_validate({**values, **changes}))


def get(client: redis.Redis) -> Any:
    return client.get("key")


@pytest.fixture
def patient(redis_server: Any) -> Iterator[RedisConnection]:
    """A connection with time enough on a loaded machine, for what is not about time."""
    connection = connect(redis_server.url, timeout_seconds=20, call_seconds=20)
    connection.call(lambda client: client.set("key", b"value"), None)
    yield connection
    connection.close()


def test_without_an_address_there_is_no_redis(settings: Settings) -> None:
    assert open_redis(settings.redis) is None


@pytest.mark.proves("ASVS 16.5.1")
def test_an_address_of_something_else_is_refused_without_repeating_its_password() -> None:
    with pytest.raises(ConfigurationError, match=r"redis\.url must look like") as caught:
        connect("http://user:secret@host")
    assert "secret" not in str(caught.value)


async def test_a_healthy_server_gives_its_own_result_both_ways(patient: RedisConnection) -> None:
    assert patient.call(get, LOST) == b"value"
    assert await patient.call_async(get, LOST) == b"value"
    assert patient.reachable()


async def test_many_callers_share_the_connections(patient: RedisConnection) -> None:
    found = await asyncio.gather(*(patient.call_async(get, LOST) for _ in range(64)))
    assert found == [b"value"] * 64
    assert patient.call(lambda client: len(client.client_list()), 99) <= 4


@pytest.mark.proves("ASVS 16.5.2")
async def test_a_killed_server_gives_the_other_result_and_then_nobody_tries(redis_server: Any) -> None:
    connection = connect(redis_server.url)
    redis_server.process.kill()
    redis_server.process.wait()
    assert [await connection.call_async(get, LOST) for _ in range(3)] == [LOST] * 3
    assert connection.resting
    tried: list[str] = []
    assert connection.call(lambda _: tried.append("asked"), LOST) == LOST
    assert not tried
    assert not connection.reachable()


async def test_a_frozen_server_gives_the_other_result_and_a_thawed_one_is_used_again(redis_server: Any) -> None:
    connection = connect(redis_server.url, breaker_rest_seconds=0.01, timeout_seconds=0.3, call_seconds=0.4)
    redis_server.process.send_signal(signal.SIGSTOP)
    assert [await connection.call_async(get, LOST) for _ in range(3)] == [LOST] * 3
    assert connection.resting
    redis_server.process.send_signal(signal.SIGCONT)
    assert any(connection.reachable() for _ in range(200))
    assert not connection.resting
    assert await connection.call_async(get, LOST) is None


@pytest.mark.parametrize("setting", [("maxmemory", "1"), ("min-replicas-to-write", "1")], ids=["full", "no replicas"])
def test_a_server_that_refuses_to_write_gives_the_other_result(
    patient: RedisConnection, setting: tuple[str, str]
) -> None:
    patient.call(lambda client: client.config_set(*setting), None)
    assert patient.call(lambda client: client.set("other", b"x"), LOST) == LOST


def test_a_replica_that_may_not_write_gives_the_other_result(patient: RedisConnection) -> None:
    patient.call(lambda client: client.replicaof("127.0.0.1", "1"), None)
    assert patient.call(lambda client: client.set("other", b"x"), LOST) == LOST


def test_a_wrong_password_gives_the_other_result(start_redis: Callable[..., Any]) -> None:
    server = start_redis("--requirepass", "right")
    assert connect(server.url.replace("//", "//:wrong@"), timeout_seconds=20).call(get, LOST) == LOST
    assert connect(server.url, timeout_seconds=20).call(get, LOST) == LOST
    assert connect(server.url.replace("//", "//:right@"), timeout_seconds=20).call(get, LOST) is None


@contextmanager
def answering(port: int, answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that is not Redis: `answer` gets each connection, after the first bytes that came over it."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", port)) as listening:

        def serve() -> None:
            while not done.is_set():
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                with peer:
                    try:
                        peer.recv(1024)
                        answer(peer)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            done.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


GARBAGE = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$x\r\n", b"*9999999999\r\n", b"$-5\r\n", b"\xff\xfe\r\n", b""]


@pytest.mark.parametrize("garbage", GARBAGE, ids=repr)
def test_what_is_not_redis_gives_the_other_result(free_port: int, garbage: bytes) -> None:
    with answering(free_port, lambda peer: peer.sendall(garbage)) as url:
        connection = connect(url, timeout_seconds=2)
        assert connection.call(get, LOST) == LOST
        connection.close()


async def test_a_server_that_drips_is_given_up_although_no_byte_is_late(free_port: int) -> None:
    ended = threading.Event()

    def drip(peer: socket.socket) -> None:
        while not ended.wait(0.01):
            peer.sendall(b"+")

    with answering(free_port, drip) as url:
        connection = connect(url, breaker_failures=1, timeout_seconds=20)
        assert await connection.call_async(get, LOST) == LOST
        assert connection.resting
        ended.set()
        connection.close()


async def test_commands_are_spans_of_the_trace_that_they_belong_to_without_what_they_carry(
    patient: RedisConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("rag.operations.tracing._tracer", lambda: provider.get_tracer("test"))
    with serving({}) as request:
        await patient.call_async(get, LOST)
        patient.call(lambda client: client.incr("key"), 0)  # of a text: Redis refuses
    command, refused, _ = exporter.get_finished_spans()
    for span in (command, refused):
        assert span.context is not None
        assert span.context.trace_id == request.get_span_context().trace_id
        assert dict(span.attributes or {}) == {"db.system.name": "redis"}
        assert "key" not in span.to_json()
    assert (command.status.is_ok, refused.status.description) == (True, "ResponseError")
