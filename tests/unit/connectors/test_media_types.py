"""What a file is: by content, and the name must agree."""

import io
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import SourceUnreadable
from connectors.parsing import detect_media_type
from connectors.parsing.media import EXTENSIONS

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
REASONS = {"empty", "unsupported", "mislabelled", "encrypted", "malformed", "unsafe"}


@pytest.mark.proves("ASVS 5.2.2")
def test_every_sample_is_recognised_and_refused_under_any_extension_of_another_container(
    samples: dict[str, bytes], refusal: Callable[..., str]
) -> None:
    containers = (".pdf", ".docx", ".pptx", ".xlsx")
    for name, content in samples.items():
        extension = "." + name.rpartition(".")[2]
        assert detect_media_type(name.upper(), content) == EXTENSIONS[extension]
        for other in containers:
            if other != extension:
                assert refusal(f"file{other}", content) == "mislabelled"
        if extension in containers:
            assert refusal("file.txt", content) == "mislabelled"
            assert detect_media_type("no-extension", content) == EXTENSIONS[extension]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.pdf", b"", "empty"),
        ("a.exe", b"MZ\x90\x00" * 10, "unsupported"),
        ("a.png", b"\x89PNG\r\n\x1a\n\x00\x00", "unsupported"),
        ("a", b"\x00\x01\x02\x03" * 10, "unsupported"),
        ("a.txt", b"\x00\x01\x02\x03" * 10, "mislabelled"),
        ("a.pdf", b"just text", "mislabelled"),
        ("a.docx", b"just text", "mislabelled"),
        ("a.doc", OLE + b"\x00" * 600, "unsupported"),
        ("a.xls", b"whatever", "unsupported"),
        ("a.docx", OLE + b"\x00" * 600, "mislabelled"),
        ("a.docx", OLE + b"\x00" * 600 + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
        ("a.txt", b"{\\rtf1 text}", "mislabelled"),
        ("a.txt", b"<!DOCTYPE html><p>x", "mislabelled"),
        ("a.md", b"<!-- c --><html><p>x", "mislabelled"),
        ("a.html", b"no markup at all", "mislabelled"),
        ("a.eml", b"Dear customer,\n\nhello", "mislabelled"),
        ("a.docx", b"PK\x03\x04" + b"\x00" * 40, "malformed"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(
    name: str, content: bytes, reason: str, refusal: Callable[..., str]
) -> None:
    assert refusal(name, content) == reason


@pytest.mark.parametrize(("name", "advice"), [("a.doc", r"\.docx"), ("a.xls", r"\.xlsx"), ("a.ppt", r"\.pptx")])
def test_old_office_files_are_refused_with_what_to_save_them_as(name: str, advice: str) -> None:
    with pytest.raises(SourceUnreadable, match=f"save it as {advice}"):
        detect_media_type(name, OLE + b"\x00" * 600)


def test_an_archive_that_is_no_office_file_is_unsupported(refusal: Callable[..., str]) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("readme.txt", "hello")

    assert refusal("a.docx", stream.getvalue()) == "unsupported"


def test_text_that_only_mentions_html_or_headers_stays_text() -> None:
    assert detect_media_type("a.txt", b"The tag <html> opens a page.\nSubject: x") == "text/plain"
    assert detect_media_type("LICENSE", b"Permission is granted.") == "text/plain"


def type_or_reason(name: str, content: bytes) -> str:
    try:
        return detect_media_type(name, content)
    except SourceUnreadable as error:
        return error.reason


@given(st.binary(max_size=200) | st.text().map(str.encode), st.sampled_from([*sorted(EXTENSIONS), ".zip", "", ".doc"]))
def test_any_bytes_under_any_name_have_a_known_type_or_a_known_reason(content: bytes, extension: str) -> None:
    assert type_or_reason("file" + extension, content) in {*EXTENSIONS.values(), *REASONS}


@pytest.mark.parametrize("content", [b"<!-- a -->" * 6000, b"\n" * 60_000, b"a:b\n" * 16_000 + b"\x01", b"<" * 60_000])
def test_repetitive_files_do_not_make_the_recognition_backtrack(content: bytes) -> None:
    for extension in (".html", ".eml", ".txt"):
        assert type_or_reason("a" + extension, content) in {EXTENSIONS[extension], "mislabelled"}
