"""Files that were made to harm, and files that were broken on the way. Each is refused with its reason."""

import contextlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from connectors.errors import SourceUnreadable
from connectors.parsing import ParsingLimits
from connectors.parsing.parser import parse_document

Refusal = Callable[..., str]


def pdf_of(objects: list[bytes]) -> bytes:
    """A PDF with these objects, numbered from 1; the first is the catalogue."""
    body = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    trailer = b"trailer << /Root 1 0 R /Size %d >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(body))
    return body + b"xref\n0 %d\n0000000000 65535 f \n" % size + table + trailer


def encrypted_pdf() -> bytes:
    stream = io.BytesIO()
    canvas = Canvas(stream, encrypt=StandardEncryption("secret", strength=128))
    canvas.drawString(72, 700, "hidden")
    canvas.save()
    return stream.getvalue()


def test_an_encrypted_pdf_is_refused(refusal: Refusal) -> None:
    assert refusal("a.pdf", encrypted_pdf()) == "encrypted"


def test_a_pdf_that_was_cut_off_is_refused_wherever_it_was_cut(refusal: Refusal, samples: dict[str, bytes]) -> None:
    content = samples["terms.pdf"]
    for share in (0.1, 0.5, 0.9, 0.99):
        assert refusal("a.pdf", content[: int(len(content) * share)]) == "malformed"


@pytest.mark.parametrize("name", ["terms.docx", "rates.pptx", "fees.xlsx"])
def test_an_office_file_that_was_cut_off_is_refused(refusal: Refusal, samples: dict[str, bytes], name: str) -> None:
    content = samples[name]
    for share in (0.1, 0.5, 0.9):
        assert refusal(name, content[: int(len(content) * share)]) == "malformed"


def test_a_pdf_of_ten_thousand_pages_is_refused_for_its_pages(refusal: Refusal) -> None:
    kids = b" ".join(b"%d 0 R" % number for number in range(3, 10_003))
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"
    content = pdf_of(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Count 10000 /Kids [" + kids + b"] >>",
            *[page] * 10_000,
        ]
    )

    assert refusal("a.pdf", content) == "too_large"


def test_a_pdf_whose_page_is_missing_is_refused_and_not_read_without_it(refusal: Refusal) -> None:
    stream = b"<< /Length 37 >>\nstream\nBT /F1 12 Tf 10 10 Td (Page one) Tj ET\nendstream"
    content = pdf_of(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Count 2 /Kids [3 0 R 99 0 R] >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R /Resources 6 0 R >>",
            stream,
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            b"<< /Font << /F1 5 0 R >> >>",
        ]
    )

    assert refusal("a.pdf", content) == "malformed"


@pytest.mark.proves("ASVS 5.2.3")
def test_an_archive_that_unpacks_to_a_thousand_times_its_size_is_refused_unopened(
    refusal: Refusal, samples: dict[str, bytes], rezip: Callable[..., bytes]
) -> None:
    bomb = rezip(samples["terms.docx"], {"word/document.xml": b"<a>" + b" " * (200 * 2**20) + b"</a>"})

    assert len(bomb) < 2**20
    assert refusal("a.docx", bomb) == "unsafe"


def test_a_sheet_that_unpacks_to_more_than_is_allowed_is_refused(
    refusal: Refusal, samples: dict[str, bytes], rezip: Callable[..., bytes]
) -> None:
    rows = b"".join(b"<row r='%d'><c t='str'><v>%d</v></c></row>" % (row, row * 7919) for row in range(600_000))
    bomb = rezip(samples["fees.xlsx"], {"xl/worksheets/sheet1.xml": b"<worksheet><sheetData>" + rows})

    assert refusal("a.xlsx", bomb) == "unsafe"


@pytest.mark.proves("ASVS 5.2.3")
def test_an_archive_with_ten_thousand_members_is_refused(
    refusal: Refusal, samples: dict[str, bytes], rezip: Callable[..., bytes]
) -> None:
    assert refusal("a.docx", rezip(samples["terms.docx"], {f"x{n}": b"" for n in range(10_001)})) == "unsafe"


def test_an_archive_that_lies_about_its_sizes_is_refused(refusal: Refusal, samples: dict[str, bytes]) -> None:
    content = bytearray(samples["terms.docx"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        start = archive.start_dir
        position = content.index(b"word/document.xml", start) - 46
    struct.pack_into("<I", content, position + 24, 10)

    assert refusal("a.docx", bytes(content)) == "malformed"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_in_office_xml_are_refused(
    refusal: Refusal, samples: dict[str, bytes], rezip: Callable[..., bytes], encoding: str
) -> None:
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    xml = f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a0 "ha">{laughs}]><d>&a9;</d>'.encode(encoding)

    assert refusal("a.docx", rezip(samples["terms.docx"], {"word/document.xml": xml})) == "unsafe"
    assert refusal("a.xlsx", rezip(samples["fees.xlsx"], {"xl/sharedStrings.xml": xml})) == "unsafe"


@pytest.mark.proves("ASVS 5.3.2", "PCI DSS 6.2.4")
def test_an_entity_that_names_a_file_reads_nothing_from_it(
    refusal: Refusal, samples: dict[str, bytes], rezip: Callable[..., bytes]
) -> None:
    xml = b'<!DOCTYPE d [<!ENTITY f SYSTEM "file:///etc/hostname">]><d>&f;</d>'

    assert refusal("a.pptx", rezip(samples["rates.pptx"], {"ppt/slides/slide1.xml": xml})) == "unsafe"


def test_an_office_file_without_its_main_part_is_refused(
    refusal: Refusal, samples: dict[str, bytes], rezip: Callable[..., bytes]
) -> None:
    for name, part in (("rates.pptx", "ppt/slides/slide1.xml"), ("terms.docx", "word/document.xml")):
        assert refusal(name, rezip(samples[name], {part: b"<broken"})) == "malformed"


def test_text_of_a_member_with_a_damaged_stream_is_refused(refusal: Refusal, samples: dict[str, bytes]) -> None:
    content = bytearray(samples["terms.docx"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        offset = archive.getinfo("word/document.xml").header_offset
    content[offset + 80 : offset + 120] = b"\xff" * 40

    assert refusal("terms.docx", bytes(content)) == "malformed"


def test_a_csv_with_a_cell_that_never_ends_is_refused(refusal: Refusal) -> None:
    assert refusal("a.csv", b'a,b\n"' + b"x\n" * 600_000) == "malformed"


def test_html_of_fifty_thousand_nested_elements_is_refused_and_not_cut_off(refusal: Refusal) -> None:
    assert refusal("a.html", b"<html>" + b"<div>" * 50_000 + b"deep" + b"</div>" * 50_000) == "malformed"


def test_text_beyond_the_limit_is_refused(refusal: Refusal, samples: dict[str, bytes]) -> None:
    for name, content in (
        ("a.txt", b"word " * 500_000),
        ("a.csv", b"a,b\n" * 600_000),
        ("a.md", b"word " * 500_000),
        ("a.html", b"<p>" + b"word " * 500_000),
        ("a.eml", b"Subject: x\n\n" + b"word " * 500_000),
    ):
        assert refusal(name, content) == "too_large"


def test_a_pdf_with_more_text_than_is_allowed_is_refused(refusal: Refusal) -> None:
    operators = b"BT /F1 1 Tf 10 10 Td " + (b"(" + b"w" * 2000 + b") Tj ") * 1200 + b"ET"
    stream = zlib.compress(operators)
    content = pdf_of(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R /Resources 6 0 R >>",
            b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(stream) + stream + b"\nendstream",
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            b"<< /Font << /F1 5 0 R >> >>",
        ]
    )

    assert len(content) < 25_000
    assert refusal("a.pdf", content) == "too_large"


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(data=st.data())
def test_damaged_text_formats_give_a_document_or_a_reason(
    data: st.DataObject, samples: dict[str, bytes], limits: ParsingLimits
) -> None:
    name = data.draw(st.sampled_from(["mail.eml", "notice.html", "policy.md", "fees.csv", "note.txt"]))
    content = bytearray(samples[name])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(SourceUnreadable):
        assert parse_document(name, bytes(content), limits).pages
