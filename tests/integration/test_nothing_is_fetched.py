"""Addresses in documents, questions and file names are text: nobody goes there."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
import pytest
from docx.opc.constants import RELATIONSHIP_TYPE
from reportlab.pdfgen.canvas import Canvas

from rag.bootstrap import Workspace, open_workspace
from rag.domain import IngestReport
from rag.query.events import AskRequest
from rag.settings import load_settings

TEMPLATE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/attachedTemplate"
FEE = "The fee for a wire transfer is 25 dollars."


class Listener:
    """Counts who connects."""

    def __init__(self) -> None:
        self.calls = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if connection.recv(4) == b"stop":
                    return
            self.calls += 1

    def knock(self, said: bytes) -> None:
        with socket.create_connection(self._socket.getsockname()) as caller:
            caller.sendall(said)
            caller.recv(1)

    def close(self) -> None:
        self.knock(b"stop")
        self._thread.join()
        self._socket.close()


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def _html(url: str) -> str:
    return (
        f'<html><head><base href="{url}/"><link rel="stylesheet" href="{url}/a.css"><script src="{url}/a.js"></script>'
        f"<style>@import url({url}/b.css);</style></head><body><p>{FEE}</p>"
        f'<img src="{url}/a.png"><iframe src="{url}/frame"></iframe><object data="{url}/object"></object></body></html>'
    )


def _docx(url: str) -> bytes:
    document = docx.Document()
    document.add_paragraph(FEE)
    for kind in (RELATIONSHIP_TYPE.IMAGE, RELATIONSHIP_TYPE.HYPERLINK, TEMPLATE):
        document.part.relate_to(f"{url}/{kind.rsplit('/', 1)[-1]}", kind, is_external=True)
    return _saved(document)


def _pptx(url: str) -> bytes:
    slides = pptx.Presentation()
    slide = slides.slides.add_slide(slides.slide_layouts[1])
    slide.shapes.title.text = FEE
    slide.part.relate_to(f"{url}/image", RELATIONSHIP_TYPE.IMAGE, is_external=True)
    return _saved(slides)


def _xlsx(url: str) -> bytes:
    book = openpyxl.Workbook()
    book.active.append(["fee", 25, f'=WEBSERVICE("{url}/cell")'])
    return _saved(book)


def _saved(document: Any) -> bytes:
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


def _pdf(url: str) -> bytes:
    stream = io.BytesIO()
    canvas = Canvas(stream)
    canvas.drawString(72, 700, FEE)
    canvas.linkURL(f"{url}/link", (72, 690, 300, 720))
    canvas.save()
    return stream.getvalue()


def _with_members(archive: bytes, *names: str) -> bytes:
    stream = io.BytesIO(archive)
    with zipfile.ZipFile(stream, "a") as opened:
        for name in names:
            opened.writestr(name, "escaped")
    return stream.getvalue()


def _documents(url: str) -> dict[str, bytes]:
    return {
        "page.html": _html(url).encode(),
        "entity.html": f'<!DOCTYPE html SYSTEM "{url}/dtd"><html><body><p>{FEE}</p></body></html>'.encode(),
        "notes.md": f"# Fees\n\n{FEE} ![a]({url}/a.png) [b]({url}/b)\n\n<img src='{url}/c.png'>\n".encode(),
        "terms.docx": _docx(url),
        "slides.pptx": _pptx(url),
        "sheet.xlsx": _xlsx(url),
        "paper.pdf": _pdf(url),
        "rows.csv": f'fee,source\n25,"=WEBSERVICE(""{url}/csv"")"\n'.encode(),
        "mail.eml": (
            f"From: a@bank.example\nSubject: Fees\nMIME-Version: 1.0\nContent-Type: text/html\n\n{_html(url)}"
        ).encode(),
        "slip.docx": _with_members(_docx(url), "../../escaped.txt", "/tmp/escaped-banksight.txt"),
    }


@pytest.fixture(scope="module")
def ingested(listener: Listener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, IngestReport]]:
    root = tmp_path_factory.mktemp("addresses")
    (root / "corpus").mkdir()
    for name, content in _documents(listener.url).items():
        (root / "corpus" / name).write_bytes(content)
    overrides: dict[str, Any] = {
        "data_dir": str(root / "data"),
        "sources": [{"name": "papers", "root": str(root / "corpus")}],
    }
    workspace = open_workspace(load_settings("test", environment={}, overrides=overrides))
    try:
        yield workspace, workspace.ingest()
    finally:
        workspace.close()


def _called(listener: Listener) -> int:
    listener.knock(b"look")  # it is counted after all that came before, so that nothing is still on its way
    listener.calls -= 1
    return listener.calls


def test_the_listener_counts_who_connects(listener: Listener) -> None:
    before = listener.calls
    listener.knock(b"look")
    assert listener.calls == before + 1
    listener.calls = before


@pytest.mark.proves("LLM06", "ASVS 5.3.2", "PCI DSS 6.2.4", "ISO A.8.12")
def test_documents_that_name_an_address_are_read_without_going_there(
    listener: Listener, ingested: tuple[Workspace, IngestReport]
) -> None:
    outcomes = {each.uri: each.outcome for each in ingested[1].outcomes}
    assert {name: outcomes[f"file:{name}"] for name in _documents("")} == dict.fromkeys(_documents(""), "added")
    assert _called(listener) == 0


@pytest.mark.proves("LLM06", "AISVS 7.3.3")
def test_a_question_that_names_an_address_is_answered_without_going_there(
    listener: Listener, ingested: tuple[Workspace, IngestReport]
) -> None:
    question = f"What does {listener.url}/tariff.html say about the fee for a wire transfer? file:///etc/hostname"
    answer = asyncio.run(ingested[0].answers.ask(AskRequest(question), ingested[0].principal()))
    assert answer.status in {"answered", "refused"}
    assert _called(listener) == 0


@pytest.mark.proves("ASVS 5.3.2")
def test_an_upload_named_like_an_address_is_a_name(
    listener: Listener, ingested: tuple[Workspace, IngestReport]
) -> None:
    workspace = ingested[0]
    stored = workspace.add_upload(
        f"{listener.url}/tariff.txt".rsplit("/", 1)[-1], FEE.encode(), principal=workspace.principal(),
        title=f"{listener.url}/title",
    )  # fmt: skip
    assert {each.outcome for each in workspace.ingest(["uploads"]).outcomes if each.uri == stored.uri} == {"added"}
    assert _called(listener) == 0


@pytest.mark.proves("ASVS 5.3.3")
def test_paths_inside_an_archive_are_written_nowhere(ingested: tuple[Workspace, IngestReport]) -> None:
    folder = ingested[0].settings.data_dir.parent
    assert list(folder.rglob("*escaped*")) == []
    assert not [path for path in (Path("../../escaped.txt"), Path("/tmp/escaped-banksight.txt")) if path.exists()]
