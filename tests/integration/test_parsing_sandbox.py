"""The parsing process: its limits, its death, and ours."""

from __future__ import annotations

import concurrent.futures
import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from reportlab.pdfgen.canvas import Canvas

from connectors.errors import SourceUnavailable, SourceUnreadable
from connectors.parsing import ParsingLimits, ParsingSandbox

LIMITS = ParsingLimits(timeout_seconds=60, memory_mib=512, max_bytes=2**24, max_pages=500, max_characters=2_000_000)
PEACEFUL = ("note.txt", b"Branches open at 9:00.")


@pytest.fixture
def make_sandbox() -> Iterator[Callable[..., ParsingSandbox]]:
    sandboxes: list[ParsingSandbox] = []

    def make(workers: int = 1, **limits: float) -> ParsingSandbox:
        sandboxes.append(ParsingSandbox(replace(LIMITS, **limits), workers))
        return sandboxes[-1]

    yield make
    for sandbox in sandboxes:
        sandbox.close()


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def reason(sandbox: ParsingSandbox, name: str, content: bytes) -> str:
    with pytest.raises(SourceUnreadable) as caught:
        sandbox.parse(name, content)
    return caught.value.reason


def pdf(content: bytes, resources: bytes = b"<< /Font << /F1 5 0 R >> >>", *more: bytes) -> bytes:
    """A PDF of one page with this content stream, compressed."""
    stream = zlib.compress(content, 9)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R /Resources " + resources + b" >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(stream) + stream + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        *more,
    ]
    body = b"%PDF-1.4\n" + b"".join(b"%d 0 obj\n%s\nendobj\n" % each for each in enumerate(objects, start=1))
    return body + b"trailer << /Root 1 0 R /Size %d >>\n%%%%EOF\n" % (len(objects) + 1)


def calls_of_calls(innermost: bytes, resources: bytes, depth: int) -> bytes:
    """A PDF whose page calls a form ten times, which calls another ten times, and so on down to `innermost`."""
    forms = []
    for level in range(6, 6 + depth):
        is_last = level == 5 + depth
        stream = zlib.compress(innermost if is_last else b"/X Do " * 10, 9)
        inner = resources if is_last else b"<< /XObject << /X %d 0 R >> >>" % (level + 1)
        head = b"<< /Type /XObject /Subtype /Form /BBox [0 0 99 99] /Filter /FlateDecode"
        forms.append(head + b" /Resources %s /Length %d >>\nstream\n%s\nendstream" % (inner, len(stream), stream))
    return pdf(b"/X Do " * 10, b"<< /XObject << /X 6 0 R >> >>", *forms)


def memory_bomb() -> bytes:
    """8 KB as a file, billions of letters as text."""
    return calls_of_calls(b"BT /F1 9 Tf 1 1 Td (w) Tj ET " * 200, b"<< /Font << /F1 5 0 R >> >>", 8)


def time_bomb() -> bytes:
    """Some kilobytes as a file, billions of operators that need no memory."""
    return calls_of_calls(b"q Q " * 500_000, b"<< >>", 4)


def test_no_process_is_started_before_it_is_needed_and_none_is_left_after_closing(
    make_sandbox: Callable[..., ParsingSandbox],
) -> None:
    before = children()
    sandbox = make_sandbox(workers=2)
    assert children() == before

    sandbox.parse(*PEACEFUL)
    assert len(children()) == len(before) + 1

    sandbox.close()
    sandbox.close()
    assert children() == before
    with pytest.raises(SourceUnavailable, match="stopped"):
        sandbox.parse(*PEACEFUL)


@pytest.mark.parametrize(
    ("bomb", "reasons"),
    [(memory_bomb(), {"too_large", "malformed"}), (time_bomb(), {"too_slow"})],
    ids=["memory", "time"],
)
def test_a_pdf_of_a_few_kilobytes_that_explodes_is_stopped_and_the_next_document_is_read(
    make_sandbox: Callable[..., ParsingSandbox], bomb: bytes, reasons: set[str]
) -> None:
    sandbox = make_sandbox(timeout_seconds=6)
    resident = psutil.Process().memory_info().rss

    assert len(bomb) < 25_000
    assert reason(sandbox, "a.pdf", bomb) in reasons
    assert psutil.Process().memory_info().rss - resident < 50 * 2**20
    assert sandbox.parse(*PEACEFUL).pages[0].text == "Branches open at 9:00."


@pytest.mark.proves("LLM10")
def test_a_document_that_takes_too_long_is_refused_as_too_slow(make_sandbox: Callable[..., ParsingSandbox]) -> None:
    stream = io.BytesIO()
    canvas = Canvas(stream)
    for page in range(400):
        for line in range(50):
            canvas.drawString(20, 10 + 15 * line, f"Line {line} of page {page} " * 6)
        canvas.showPage()
    canvas.save()
    sandbox = make_sandbox(timeout_seconds=0.05)

    assert reason(sandbox, "a.pdf", stream.getvalue()) == "too_slow"
    assert reason(sandbox, "a.pdf", stream.getvalue()) == "too_slow"


@pytest.mark.proves("LLM10", "ASVS 5.2.1")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits address space")
def test_a_document_that_needs_too_much_memory_is_refused_as_too_large(
    make_sandbox: Callable[..., ParsingSandbox],
) -> None:
    sandbox = make_sandbox(memory_mib=64, max_characters=20_000_000)
    resident = psutil.Process().memory_info().rss

    assert reason(sandbox, "a.csv", b"a,b,c,d,e,f,g,h\n" * 800_000) == "too_large"
    assert psutil.Process().memory_info().rss - resident < 50 * 2**20
    assert sandbox.parse(*PEACEFUL).pages


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the size of a process")
def test_a_process_that_a_document_left_large_is_replaced(make_sandbox: Callable[..., ParsingSandbox]) -> None:
    before = children()
    sandbox = make_sandbox(memory_mib=256, max_characters=20_000_000, max_pages=100_000)
    sandbox.parse(*PEACEFUL)
    first = set(children()) - set(before)
    assert sandbox.parse(*PEACEFUL).pages
    assert first <= set(children())

    sandbox.parse("a.txt", "Branches open at nine o'clock \U0001f558. ".encode() * 400_000)

    assert not first & set(children())
    assert sandbox.parse(*PEACEFUL).pages


def test_nested_compression_in_a_pdf_does_not_reach_our_memory(make_sandbox: Callable[..., ParsingSandbox]) -> None:
    inner = zlib.compress(zlib.compress(b" " * (300 * 2**20), 9), 9)
    content = pdf(b"").replace(b"/Filter /FlateDecode", b"/Filter [/FlateDecode /FlateDecode]")
    start = content.index(b"stream\n") + 7
    bomb = content[:start] + inner + content[content.index(b"\nendstream") :]
    resident = psutil.Process().memory_info().rss

    assert reason(make_sandbox(timeout_seconds=10), "a.pdf", bomb) in {"no_text", "malformed", "too_slow", "too_large"}
    assert psutil.Process().memory_info().rss - resident < 50 * 2**20


def test_sizes_are_checked_before_anything_is_sent(make_sandbox: Callable[..., ParsingSandbox]) -> None:
    sandbox = make_sandbox(max_bytes=100)
    before = children()

    assert reason(sandbox, "a.txt", b"x" * 101) == "too_large"
    assert reason(sandbox, "a.txt", b"") == "empty"
    assert children() == before


def test_a_process_that_was_killed_while_idle_is_replaced_without_an_error(
    make_sandbox: Callable[..., ParsingSandbox],
) -> None:
    before = children()
    sandbox = make_sandbox()
    sandbox.parse(*PEACEFUL)
    (child,) = set(children()) - set(before)
    child.kill()
    psutil.wait_procs([child], timeout=10)

    assert sandbox.parse(*PEACEFUL).pages


def test_a_crash_of_the_parser_is_the_fault_of_that_document_only(make_sandbox: Callable[..., ParsingSandbox]) -> None:
    before = children()
    sandbox = make_sandbox()
    sandbox.parse(*PEACEFUL)
    (child,) = set(children()) - set(before)
    threading.Timer(0.5, child.send_signal, [signal.SIGSEGV]).start()

    assert reason(sandbox, "a.pdf", time_bomb()) == "malformed"
    assert sandbox.parse(*PEACEFUL).pages


def test_many_threads_share_the_processes_and_each_gets_its_own_document(
    make_sandbox: Callable[..., ParsingSandbox],
) -> None:
    before = len(children())
    sandbox = make_sandbox(workers=2)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda n: sandbox.parse(f"{n}.txt", f"number {n}".encode()).pages[0].text, range(40)))

    assert texts == [f"number {n}" for n in range(40)]
    assert len(children()) - before <= 2


@pytest.mark.proves("LLM02", "ISO A.8.12")
def test_the_process_inherits_no_secret_and_no_open_file(
    make_sandbox: Callable[..., ParsingSandbox], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    before = children()
    with (tmp_path / "open.txt").open("w") as open_file:
        os.set_inheritable(open_file.fileno(), True)
        sandbox = make_sandbox()
        sandbox.parse(*PEACEFUL)
        (child,) = set(children()) - set(before)

        assert "DATABASE_PASSWORD" not in child.environ()
        assert str(tmp_path / "open.txt") not in [each.path for each in child.open_files()]


@pytest.mark.proves("ASVS 5.3.2")
@pytest.mark.parametrize(
    "name", ["../../etc/passwd.txt", "a\nb.txt", "\udcff.txt", "x" * 100_000 + ".txt", "\u202efdp.txt"]
)
def test_odd_names_are_names_only(make_sandbox: Callable[..., ParsingSandbox], name: str) -> None:
    document = make_sandbox().parse(name, b"Some text.")

    assert document.pages[0].text == "Some text."
    assert "\n" not in document.title
    assert "/" not in document.title


PARENT = """
    import sys
    from connectors.parsing import ParsingLimits, ParsingSandbox

    sandbox = ParsingSandbox(ParsingLimits(300, 512, 2**24, 500, 2_000_000))
    sandbox.parse("note.txt", b"ready")
    print(sandbox._processes[0]._process.pid, flush=True)
    sandbox.parse("a.pdf", open(sys.argv[1], "rb").read()) if sys.argv[1:] else sys.stdin.read()
"""


@pytest.mark.parametrize("busy", ["busy", "idle"])
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a busy process ends after its document")
def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path, busy: str) -> None:
    bomb = tmp_path / "bomb.pdf"
    bomb.write_bytes(time_bomb())
    arguments = [str(bomb)] if busy == "busy" else []
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        if arguments:
            used = sum(child.cpu_times()[:2])
            while sum(child.cpu_times()[:2]) < used + 0.3:  # until it works on the document
                time.sleep(0.02)
        parent.kill()

    gone, alive = psutil.wait_procs([child], timeout=20)

    assert (gone, alive) == ([child], [])
