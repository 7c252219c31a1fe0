"""What the tests of connectors share: limits, a parser without a process, a sandbox, small files of every format."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator

import docx
import openpyxl
import pptx
import pytest
from reportlab.pdfgen.canvas import Canvas

from connectors.errors import SourceUnreadable
from connectors.parsing import ParsedDocument, ParsingLimits, ParsingSandbox
from connectors.parsing.parser import parse_document

LIMITS = ParsingLimits(timeout_seconds=30, memory_mib=512, max_bytes=2**24, max_pages=500, max_characters=2_000_000)


@pytest.fixture(scope="session")
def limits() -> ParsingLimits:
    return LIMITS


@pytest.fixture(scope="session")
def sandbox() -> Iterator[ParsingSandbox]:
    sandbox = ParsingSandbox(LIMITS)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="session")
def parse() -> Callable[[str, bytes | str], ParsedDocument]:
    """Parses in this process, for files that are not hostile."""

    def parse(name: str, content: bytes | str) -> ParsedDocument:
        return parse_document(name, content.encode() if isinstance(content, str) else content, LIMITS)

    return parse


@pytest.fixture(scope="session")
def refusal() -> Callable[..., str]:
    """The reason with which parsing in this process refuses a file."""

    def refuse(name: str, content: bytes, limits: ParsingLimits = LIMITS) -> str:
        with pytest.raises(SourceUnreadable) as caught:
            parse_document(name, content, limits)
        assert str(caught.value).endswith(".")
        return caught.value.reason

    return refuse


def _pdf() -> bytes:
    stream = io.BytesIO()
    canvas = Canvas(stream)
    for number in (1, 2):
        canvas.setFont("Helvetica-Bold", 18)
        canvas.drawString(72, 780, f"Chapter {('One', 'Two')[number - 1]}")
        canvas.setFont("Helvetica", 10)
        canvas.drawString(72, 740, f"The monthly fee of plan {number} is $4.50 and is charged on the first day.")
        canvas.showPage()
    canvas.save()
    return stream.getvalue()


def _docx() -> bytes:
    document = docx.Document()
    document.core_properties.title = "Account terms"
    document.add_paragraph("These terms hold from January.")
    document.add_heading("Fees", 1)
    document.add_paragraph("The monthly fee is $4.50.")
    table = document.add_table(2, 2)
    for row, cells in enumerate((("Service", "Price"), ("Wire transfer", "$25.00"))):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    document.add_heading("Closing", 1)
    document.add_paragraph("Closing the account is free.")
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


def _pptx() -> bytes:
    presentation = pptx.Presentation()
    for title, body in (("Rates", "The rate is 3.5 %."), ("Risks", "Rates may change.")):
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    presentation.slides[0].notes_slide.notes_text_frame.text = "Say that this is a promotional rate."
    stream = io.BytesIO()
    presentation.save(stream)
    return stream.getvalue()


def _xlsx() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Fees"
    for row in (("Service", "Price", "Rate"), ("Wire transfer", 25, 0.035), ("Cheque", 1.5, None)):
        sheet.append(row)
    sheet["C2"].number_format = "0.00%"
    book.create_sheet("Branches").append(("Main Street 1",))
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


@pytest.fixture(scope="session")
def samples() -> dict[str, bytes]:
    """One small file of every format: name -> content."""
    return {
        "terms.pdf": _pdf(),
        "terms.docx": _docx(),
        "rates.pptx": _pptx(),
        "fees.xlsx": _xlsx(),
        "fees.csv": b"Service,Price\nWire transfer,25.00\nCheque,1.50\n",
        "notice.html": b"<!doctype html><title>Privacy notice</title><h1>Privacy</h1><p>We never sell data.</p>",
        "policy.md": b"# Policy\n\nRule one.\n\n## Limits\n\nAt most $500 a day.\n",
        "note.txt": b"Branches open at 9:00.\n\nThey close at 16:30.\n",
        "mail.eml": b"From: a@bank.example\nTo: b@bank.example\nSubject: Rate change\n\nThe rate rises to 4 %.\n",
    }


@pytest.fixture
def rezip() -> Callable[..., bytes]:
    """An archive with some members replaced or added: `rezip(content, {"word/document.xml": b"..."})`."""

    def rezip(content: bytes, changes: dict[str, bytes]) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                if name not in changes:
                    new.writestr(name, old.read(name))
            for name, data in changes.items():
                new.writestr(name, data)
        return stream.getvalue()

    return rezip
