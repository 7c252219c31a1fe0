"""What a file is, judged by its content; its name must agree."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from connectors.errors import SourceUnreadable
from connectors.parsing.archive import member_names

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = "text/csv"
HTML = "text/html"
MARKDOWN = "text/markdown"
PLAIN = "text/plain"
EML = "message/rfc822"

EXTENSIONS = {
    ".pdf": PDF,
    ".docx": DOCX,
    ".pptx": PPTX,
    ".xlsx": XLSX,
    ".csv": CSV,
    ".tsv": CSV,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".txt": PLAIN,
    ".text": PLAIN,
    ".eml": EML,
}
_TEXT_TYPES = frozenset({CSV, HTML, MARKDOWN, PLAIN, EML})
_MAIN_PARTS = {"word/document.xml": DOCX, "ppt/presentation.xml": PPTX, "xl/workbook.xml": XLSX}
_NAMES = {PDF: "a PDF", DOCX: "a Word document", PPTX: "a PowerPoint presentation", XLSX: "an Excel workbook"}
_SAVE_AS = {
    **dict.fromkeys((".doc", ".dot", ".docm", ".dotx", ".rtf", ".odt", ".pages", ".wpd"), ".docx"),
    **dict.fromkeys((".xls", ".xlsm", ".xlsb", ".ods", ".numbers"), ".xlsx"),
    **dict.fromkeys((".ppt", ".pptm", ".ppsx", ".odp", ".key"), ".pptx"),
    ".msg": ".eml",
}

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_OFFICE = "EncryptedPackage".encode("utf-16-le")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_SAMPLE_BYTES = 65536
# Possessive, so that a file made of comments cannot make them backtrack.
_HTML_START = re.compile(
    rb"\s*+(<\?xml[^>]*+>\s*+)?+(?:<!--(?:(?!-->).)*+-->\s*+)*+<(!doctype\s+html|html|head|body)\b", re.I | re.S
)
_HTML_TAG = re.compile(rb"<(/?[a-z][a-z0-9]*[\s/>]|!doctype|!--)", re.I)
_MAIL_HEADER = re.compile(rb"(From [^\n]*+\n)?+(?:[!-9;-~]++:[^\n]*+\n(?:[ \t][^\n]*+\n)*+)++")
_MAIL_FIELDS = re.compile(rb"^(from|to|subject|date|received|message-id|return-path|mime-version):", re.I | re.M)


def detect_media_type(name: str, content: bytes) -> str:
    """The media type of a file, from its content.

    Raises `SourceUnreadable`: empty (no bytes), unsupported (a type that cannot be read, with advice), mislabelled
    (the extension of `name` says something else), encrypted or malformed where the container already shows it.
    """
    if not content:
        raise SourceUnreadable("empty", "The file is empty; put the document's content in it or remove it.")
    extension = PurePosixPath(name.replace("\\", "/")).suffix.lower()
    expected = EXTENSIONS.get(extension)
    _refuse_known_unreadable(extension, content)
    if extension and expected is None:
        known = ", ".join(sorted(each.removeprefix(".") for each in EXTENSIONS))
        raise SourceUnreadable("unsupported", f"Files of this type cannot be read; use one of {known}.")
    container = _container(content)
    if container:
        return _agree(container, expected, extension)
    return _text_type(content, expected, extension)


def _refuse_known_unreadable(extension: str, content: bytes) -> None:
    """Old and foreign office formats are told by name or by magic bytes; the advice is what to save them as."""
    if content.startswith(_OLE_MAGIC) and _ENCRYPTED_OFFICE in content:
        raise SourceUnreadable("encrypted", "The file is encrypted; save it without a password.")
    if extension in _SAVE_AS:
        better = _SAVE_AS[extension]
        raise SourceUnreadable("unsupported", f"Files of type {extension} cannot be read; save it as {better}.")
    if content.startswith(_OLE_MAGIC):
        message = "This is an old Office file (.doc, .xls or .ppt); save it as .docx, .xlsx or .pptx."
        raise SourceUnreadable("mislabelled" if extension in EXTENSIONS else "unsupported", message)
    if content.startswith(b"{\\rtf"):
        raise SourceUnreadable("mislabelled", "This is a rich text file (.rtf); save it as .docx.")


def _container(content: bytes) -> str:
    """The type of a PDF or of an Office archive; "" for everything else."""
    if b"%PDF-" in content[:1024] and not _HTML_START.match(content[:_SAMPLE_BYTES]):
        return PDF
    if not content.startswith(_ZIP_MAGIC):
        return ""
    names = member_names(content)
    for part, media_type in _MAIN_PARTS.items():
        if part in names:
            return media_type
    raise SourceUnreadable("unsupported", "This is an archive; unpack it and add the documents themselves.")


def _agree(found: str, expected: str | None, extension: str) -> str:
    if expected is None or found == expected:
        return found
    correct = next(each for each, media_type in EXTENSIONS.items() if media_type == found)
    message = f"The name ends in {extension} but the content is {_NAMES[found]}; rename it to end in {correct}."
    raise SourceUnreadable("mislabelled", message)


def _text_type(content: bytes, expected: str | None, extension: str) -> str:
    sample = content[:_SAMPLE_BYTES]
    is_text = sample.startswith(_UTF16_MARKS) or len(_CONTROLS.findall(sample)) * 100 <= len(sample)
    if not is_text and expected is None:
        raise SourceUnreadable("unsupported", "The type of the file cannot be told; give it its proper extension.")
    if not is_text or (expected is not None and expected not in _TEXT_TYPES):
        message = f"The name ends in {extension} but the content is something else; give it its proper extension."
        raise SourceUnreadable("mislabelled", message)
    looks_like_html = _HTML_START.match(sample) is not None
    if expected is None:
        return HTML if looks_like_html else PLAIN
    _check_text(sample, expected, extension, looks_like_html=looks_like_html)
    return expected


def _check_text(sample: bytes, expected: str, extension: str, *, looks_like_html: bool) -> None:
    """Text types can be mistaken for each other; only what would be read wrongly is refused."""
    if expected != HTML and looks_like_html:
        message = f"The name ends in {extension} but the content is a web page; rename it to end in .html."
        raise SourceUnreadable("mislabelled", message)
    if expected == HTML and not _HTML_TAG.search(sample) and not sample.startswith(_UTF16_MARKS):
        message = "The name ends in .html but there is no markup in it; rename it to end in .txt."
        raise SourceUnreadable("mislabelled", message)
    if expected == EML:
        header = _MAIL_HEADER.match(sample.replace(b"\r\n", b"\n"))
        if header is None or not _MAIL_FIELDS.search(header[0]):
            message = "The name ends in .eml but the content does not begin with the headers of a message; rename it."
            raise SourceUnreadable("mislabelled", message)
