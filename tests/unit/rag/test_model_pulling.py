"""Pulling a model from a web server that drops connections, from a folder, twice at once, and after a kill."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rag.errors import ConfigurationError, ModelError, StorageUnavailable, WeightsRejected
from rag.models.checking import check
from rag.models.fetching import FolderSource, hub_source, source_at
from rag.models.manifest import Manifest, PinnedFile
from rag.models.pulling import pull

pytestmark = pytest.mark.network_allowed

CONTENTS = {
    "model.safetensors": random.Random(7).randbytes(3_000_000),
    "config.json": b'{"layers": 2}',
    "1_Pooling/config.json": b"{}",
    "empty.txt": b"",
}
ROOT = Path(__file__).parents[3]


def pinned(name: str, content: bytes, *, size: int | None = None, known: bool = True) -> PinnedFile:
    digest = hashlib.sha256(content).hexdigest()
    return PinnedFile(name=name, sha256=digest, size=(len(content) if size is None else size) if known else None)


def manifest_of_files(*files: PinnedFile) -> Manifest:
    return Manifest(repository="bank/tiny", revision="a" * 40, license="none", origin="a test", files=files)


TINY = manifest_of_files(*(pinned(name, content) for name, content in CONTENTS.items()))


class Watching:
    """Counts what a pull says."""

    def __init__(self) -> None:
        self.waited = 0
        self.present = 0
        self.received = 0

    def waiting(self) -> None:
        self.waited += 1

    def begin(self, files: tuple[PinnedFile, ...], present: int) -> None:
        self.present = present

    def advance(self, file: PinnedFile, count: int) -> None:
        self.received += count


class Hub:
    """A web server with Range. What it does wrong, and what it saw, are plain attributes."""

    def __init__(self) -> None:
        self.contents = dict(CONTENTS)
        self.drop_after: int | None = None  # bytes of an answer after which the connection is cut
        self.refuse_ranges = False
        self.statuses: list[int] = []  # given instead of an answer, first come first served
        self.gate: threading.Event | None = None  # the rest of an answer waits for it
        self.reached_gate = threading.Event()
        self.requests: list[tuple[str, str | None]] = []
        self.authorizations: set[str | None] = set()
        self.sent = 0

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        self.requests.append((path, handler.headers["Range"]))
        self.authorizations.add(handler.headers["Authorization"])
        content = next(
            (body for name, body in self.contents.items() if path.endswith(f"/{TINY.revision}/{name}")), None
        )
        if self.statuses or content is None:
            handler.send_error(self.statuses.pop(0) if self.statuses else 404)
            return
        begin = 0
        if handler.headers["Range"] and not self.refuse_ranges:
            begin = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if begin >= len(content):
                handler.send_error(416)
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) - begin))
        handler.end_headers()
        self._send(handler, content[begin:])

    def _send(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        half = len(body) // 2
        if self.gate is not None and half > 1000:
            handler.wfile.write(body[:half])
            handler.wfile.flush()
            self.reached_gate.set()
            self.gate.wait(60)
            handler.wfile.write(body[half:])
        else:
            handler.wfile.write(body[: self.drop_after])
        self.sent += len(body)


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def url(hub: Hub) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                hub.answer(self)
            except (BrokenPipeError, ConnectionResetError):  # the puller was killed: that is what the test is about
                return

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    if hub.gate:
        hub.gate.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "bank--tiny"


@pytest.fixture
def pull_tiny(url: str, target: Path) -> Callable[..., Watching]:
    def call(manifest: Manifest = TINY, base: str = url) -> Watching:
        watching = Watching()
        pull(manifest, target, hub_source(TINY, base, ""), watching, lambda _: None)
        return watching

    return call


def test_a_pull_brings_every_file_and_a_second_asks_for_nothing(
    pull_tiny: Callable[..., Watching], hub: Hub, target: Path
) -> None:
    assert pull_tiny().received == sum(map(len, CONTENTS.values()))
    assert {name: (target / name).read_bytes() for name in CONTENTS} == CONTENTS
    hub.requests.clear()
    assert pull_tiny().received == 0
    assert hub.requests == []


def test_dropped_connections_are_continued_where_they_broke(
    pull_tiny: Callable[..., Watching], hub: Hub, target: Path
) -> None:
    hub.drop_after = 700_000
    pull_tiny()
    ranges = [asked for path, asked in hub.requests if path.endswith("model.safetensors")]
    assert ranges == [None, "bytes=700000-", "bytes=1400000-", "bytes=2100000-", "bytes=2800000-"]
    assert check(target, TINY) == ()


def test_server_that_ignores_ranges_is_read_from_the_beginning(
    pull_tiny: Callable[..., Watching], hub: Hub, target: Path
) -> None:
    target.mkdir(parents=True)
    (target / "model.safetensors.part").write_bytes(CONTENTS["model.safetensors"][:1_000_000])
    hub.refuse_ranges = True
    watching = pull_tiny()
    assert check(target, TINY) == ()
    assert watching.present + watching.received == sum(map(len, CONTENTS.values()))


def test_a_part_with_other_bytes_is_thrown_away_and_fetched_anew(
    pull_tiny: Callable[..., Watching], hub: Hub, target: Path
) -> None:
    target.mkdir(parents=True)
    (target / "model.safetensors.part").write_bytes(b"x" * 1_000_000)
    pull_tiny()
    assert check(target, TINY) == ()
    assert [asked for path, asked in hub.requests if path.endswith("model.safetensors")] == ["bytes=1000000-", None]


def test_a_part_that_is_whole_already_is_not_fetched_again(
    pull_tiny: Callable[..., Watching], hub: Hub, target: Path
) -> None:
    target.mkdir(parents=True)
    (target / "model.safetensors.part").write_bytes(CONTENTS["model.safetensors"])
    pull_tiny()
    assert check(target, TINY) == ()
    assert not any(path.endswith("model.safetensors") for path, _ in hub.requests)


def test_file_without_a_size_on_record_is_pulled_and_continued(
    pull_tiny: Callable[..., Watching], hub: Hub, target: Path
) -> None:
    manifest = manifest_of_files(pinned("config.json", CONTENTS["config.json"], known=False))
    target.mkdir(parents=True)
    (target / "config.json.part").write_bytes(CONTENTS["config.json"])
    pull_tiny(manifest)
    assert check(target, manifest) == ()
    assert [asked for _, asked in hub.requests] == [f"bytes={len(CONTENTS['config.json'])}-"]


def test_other_bytes_from_the_source_are_thrown_away_and_named_with_both_digests(
    pull_tiny: Callable[..., Watching], hub: Hub, target: Path
) -> None:
    changed = bytes([CONTENTS["model.safetensors"][0] ^ 1]) + CONTENTS["model.safetensors"][1:]
    hub.contents["model.safetensors"] = changed
    with pytest.raises(WeightsRejected) as caught:
        pull_tiny()
    assert TINY.digests["model.safetensors"] in str(caught.value)
    assert hashlib.sha256(changed).hexdigest() in str(caught.value)
    assert not list(target.glob("model.safetensors*"))


def test_a_source_that_sends_more_than_pinned_cannot_fill_the_disk(
    pull_tiny: Callable[..., Watching], hub: Hub, target: Path
) -> None:
    hub.contents["model.safetensors"] += b"x" * 500_000
    with pytest.raises(WeightsRejected, match=r"more than the pinned 3,000,000 bytes"):
        pull_tiny()
    assert not (target / "model.safetensors").exists()


def test_a_truncated_file_and_a_changed_one_are_replaced(pull_tiny: Callable[..., Watching], target: Path) -> None:
    pull_tiny()
    (target / "model.safetensors").write_bytes(CONTENTS["model.safetensors"][:-9])
    (target / "config.json").write_bytes(b'{"layers": 3}')
    assert [fault.trouble for fault in check(target, TINY)] == ["truncated", "differs"]
    pull_tiny()
    assert check(target, TINY) == ()


def test_a_pickle_in_the_folder_is_refused_although_all_files_are_right(
    pull_tiny: Callable[..., Watching], target: Path
) -> None:
    pull_tiny()
    (target / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(WeightsRejected, match=r"pytorch_model\.bin: runs code"):
        pull_tiny()


def test_busy_answers_are_asked_again_and_a_source_that_stays_dead_is_given_up(
    pull_tiny: Callable[..., Watching], hub: Hub, target: Path
) -> None:
    hub.statuses = [503, 429, 502]
    pull_tiny()
    assert check(target, TINY) == ()
    (target / "config.json").unlink()
    hub.statuses = [503] * 50
    with pytest.raises(ModelError, match=r"does not deliver config\.json \(HTTP 503\).*goes on where"):
        pull_tiny()
    assert len(hub.statuses) == 45


@pytest.mark.parametrize(("status", "advice"), [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "correct --from")])
def test_refusals_are_not_asked_again_and_say_what_to_do(
    status: int, advice: str, pull_tiny: Callable[..., Watching], hub: Hub
) -> None:
    hub.statuses = [status]
    with pytest.raises(ModelError, match=rf"model\.safetensors \(HTTP {status}\).*{advice}"):
        pull_tiny()


def test_without_a_network_the_error_names_the_source_and_keeps_what_arrived(
    pull_tiny: Callable[..., Watching], target: Path
) -> None:
    target.mkdir(parents=True)
    (target / "model.safetensors.part").write_bytes(CONTENTS["model.safetensors"][:1000])
    with pytest.raises(ModelError, match=r"http://127\.0\.0\.1:9/.* does not deliver .*ConnectError"):
        pull_tiny(base="http://127.0.0.1:9")
    assert (target / "model.safetensors.part").stat().st_size == 1000


def test_no_room_is_said_before_the_first_byte(pull_tiny: Callable[..., Watching], hub: Hub) -> None:
    huge = manifest_of_files(pinned("model.safetensors", CONTENTS["model.safetensors"], size=1 << 60))
    with pytest.raises(StorageUnavailable, match=r"needs 1,152,921,504\.67 GB more .* make room"):
        pull_tiny(huge)
    assert hub.requests == []


def test_two_pulls_at_once_fetch_each_byte_once(hub: Hub, url: str, target: Path) -> None:
    hub.gate = threading.Event()
    watches = [Watching(), Watching()]
    source = hub_source(TINY, url, "")
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(pull, TINY, target, source, watches[0])
        assert hub.reached_gate.wait(30)
        second = threads.submit(pull, TINY, target, source, watches[1])
        while not watches[1].waited:
            time.sleep(0.01)
        hub.gate.set()
        assert len(first.result()) == len(CONTENTS)
        assert second.result() == ()
    assert len(hub.requests) == len(CONTENTS)
    assert check(target, TINY) == ()


def test_a_killed_pull_is_continued_by_the_next(
    hub: Hub, url: str, target: Path, tmp_path: Path, pull_tiny: Callable[..., Watching]
) -> None:
    hub.gate = threading.Event()
    (tmp_path / "tiny.json").write_text(TINY.model_dump_json())
    code = (
        "import sys, pathlib; from rag.models.manifest import read_manifest\n"
        "from rag.models.fetching import hub_source; from rag.models.pulling import pull\n"
        "from rag.commands.pull_progress import PullProgress\n"
        "m = read_manifest(pathlib.Path(sys.argv[1])); s = hub_source(m, sys.argv[2], '')\n"
        "pull(m, pathlib.Path(sys.argv[3]), s, PullProgress('tiny'))"
    )
    arguments = [str(tmp_path / "tiny.json"), url, str(target)]
    child = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, stderr=subprocess.DEVNULL)
    part = target / "model.safetensors.part"
    while not (part.exists() and part.stat().st_size >= 1_000_000):
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    arrived = part.stat().st_size
    assert 0 < arrived < len(CONTENTS["model.safetensors"])
    assert not (target / "model.safetensors").exists()

    hub.gate.set()
    hub.gate = None
    hub.requests.clear()
    assert pull_tiny().present == arrived
    assert (f"/bank/tiny/resolve/{TINY.revision}/model.safetensors", f"bytes={arrived}-") in hub.requests
    assert check(target, TINY) == ()


def test_a_read_only_cache_is_used_when_complete_and_named_when_not(
    pull_tiny: Callable[..., Watching], target: Path
) -> None:
    pull_tiny()
    for folder in (target, target / "1_Pooling"):
        folder.chmod(0o555)
    source = FolderSource(target)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # as nobody: root may write everywhere
        try:
            if os.geteuid() == 0:
                for parent in target.parents[:5]:
                    parent.chmod(parent.stat().st_mode | 0o055)
                os.seteuid(65534)
            complete = pull(TINY, target, source, Watching())
            more = manifest_of_files(*TINY.files, pinned("more.json", b"{}"))
            try:
                pull(more, target, source, Watching())
            except ConfigurationError as error:
                os.write(writer, f"{complete} {error}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as said:
        text = said.read()
    assert text.startswith("() ")
    assert "cannot be written (Permission denied)" in text
    assert "CACHE_DIR" in text


def test_an_object_store_keeps_its_signature_and_shows_it_to_nobody(
    hub: Hub, url: str, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    hub.statuses = [503]
    source = source_at(f"{url.replace('http://', 'http://user:secret@')}/bucket/{TINY.revision}/?Signature=hidden")
    assert source.shown == f"{url}/bucket/{TINY.revision}/"
    pull(TINY, target, source, Watching(), lambda _: None)
    assert check(target, TINY) == ()
    assert "HTTP 503; asking again" in caplog.text
    assert "Signature" not in caplog.text
    assert "secret" not in caplog.text
    assert "hidden" not in repr(hub_source(TINY, url, "hidden"))


def test_a_token_is_sent_to_the_hub(hub: Hub, url: str, target: Path) -> None:
    pull(TINY, target, hub_source(TINY, url, "hf_token"), Watching())
    assert hub.authorizations == {"Bearer hf_token"}
