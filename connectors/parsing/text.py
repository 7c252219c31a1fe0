"""Text as everything downstream may rely on it: NFC, newlines only as `\\n`, no control characters."""

from __future__ import annotations

import re
import unicodedata

from connectors.errors import SourceUnreadable

# Newlines of other systems become ours; tabs and fixed spaces become spaces; typographic ligatures become letters, or
# a search for "fiduciary" misses "ﬁduciary"; two private-use code points are how Symbol and Wingdings write a bullet.
# What is matched and not named here is removed: controls, soft hyphens, byte order marks, surrogates, noncharacters.
# Other zero-width and bidirectional characters stay, because quarantine must see text that was hidden with them.
_REPLACEMENTS = {
    **dict.fromkeys("\r\x0b\x0c\x85\u2028\u2029", "\n"),
    **dict.fromkeys("\t\xa0\u2007\u202f", " "),
    **dict(
        zip("\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06", ("ff", "fi", "fl", "ffi", "ffl", "st", "st"), strict=True)
    ),
    **dict.fromkeys("\uf0b7\uf0a7", "•"),
}
_RARE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\xa0\xad\u2007\u2028\u2029\u202f\ud800-\udfff\uf0a7\uf0b7\ufb00-\ufb06\ufdd0-\ufdef\ufeff\ufffe\uffff]"
)
_BROKEN_WORD = re.compile("\xad[ \t]*\r?\n[ \t]*")
_SPACE_BEFORE_NEWLINE = re.compile(" +\n")
_EMPTY_LINES = re.compile("\n{3,}")

_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_SAMPLE_BYTES = 65536


def clean(text: str) -> str:
    """The text in NFC with `\\n` newlines, at most one empty line in a row, and nothing that cannot be shown.

    Words that a soft hyphen breaks over two lines are joined. Applying it twice changes nothing more.
    """
    if "\xad" in text:
        text = _BROKEN_WORD.sub("", text)
    text = _RARE.sub(lambda match: _REPLACEMENTS.get(match[0], ""), text.replace("\r\n", "\n"))
    text = unicodedata.normalize("NFC", text)
    text = _EMPTY_LINES.sub("\n\n", _SPACE_BEFORE_NEWLINE.sub("\n", text))
    return text.strip(" \n")


def decode(content: bytes, declared: str = "") -> str:
    """The text of a file of unknown encoding: byte order mark, then `declared`, then UTF-8, then a guess.

    Raises `SourceUnreadable` (malformed) where the bytes are damaged UTF-8 or no encoding explains them, because text
    with wrong letters would be quoted as if it stood in the document.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return _decode_as(content, encoding)
    if declared and declared.lower().replace("_", "-") not in ("utf-8", "utf8"):
        return _decode_as(content, declared)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        around = content[max(0, error.start - _SAMPLE_BYTES // 2) : error.start + _SAMPLE_BYTES // 2]
        if _is_damaged_utf8(around):
            raise SourceUnreadable(
                "malformed", f"Byte {error.start + 1} is not valid UTF-8; save the file again as UTF-8."
            ) from None
    return _decode_as(content, _guess(around))


def _decode_as(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except (UnicodeError, LookupError):
        message = f"The text is not valid {encoding[:40]}; save the file again as UTF-8."
        raise SourceUnreadable("malformed", message) from None


def _is_damaged_utf8(sample: bytes) -> bool:
    """True when there are multi-byte characters that are valid UTF-8, and as many as bytes that are not.

    In text of a one-byte encoding, accented letters hardly ever form valid sequences.
    """
    text = sample.decode("utf-8", errors="replace")
    damaged = text.count("\ufffd")
    return sum(1 for letter in text if letter > "\x7f") - damaged >= max(1, damaged)


def _guess(sample: bytes) -> str:
    """The most likely one-byte encoding of a sample."""
    # Imported here: it takes 50 ms, and nearly every file is UTF-8.
    from charset_normalizer import from_bytes  # noqa: PLC0415

    best = from_bytes(sample, cp_isolation=["cp1252", "cp1250", "cp1251", "latin_1"]).best()
    if best is None:
        raise SourceUnreadable("malformed", "The encoding of the text cannot be told; save the file again as UTF-8.")
    return best.encoding
