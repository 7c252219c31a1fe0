"""Office files are zip archives. What an archive claims is checked before anything is unpacked from it."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from connectors.errors import SourceUnreadable

_MOST_MEMBERS = 10_000
_LARGEST_DIRECTORY = 4 * 2**20  # bytes; 10,000 members with names of 400 characters
_HIGHEST_RATIO = 150  # Office XML reaches 20-50; deflate can do 1,032
_FREE_BYTES = 8 * 2**20  # a member that unpacks to less is harmless whatever its ratio
_MOST_BYTES = 2**31

_END_RECORD = b"PK\x05\x06"
_END_RECORD_SEARCH = 22 + 65_535  # its size and the longest comment after it
_ENCRYPTED_FLAG = 0x1
_BLOCK = 2**20
# As UTF-8 and as both kinds of UTF-16: Office writes neither, and entities are how XML bombs and file reads work.
_DECLARATIONS = tuple(
    word.encode(encoding) for word in ("<!DOCTYPE", "<!ENTITY") for encoding in ("utf-8", "utf-16-le", "utf-16-be")
)


def member_names(content: bytes) -> frozenset[str]:
    """The names in an archive. Reads its directory only. Raises `SourceUnreadable` (malformed, unsafe)."""
    with open_archive(content, _MOST_BYTES) as archive:
        return frozenset(archive.namelist())


def open_archive(content: bytes, most_bytes: int) -> zipfile.ZipFile:
    """The archive, once its directory is known to be harmless: few members, which unpack to at most `most_bytes`.

    A member never yields more bytes than its directory entry claims, so that a lying entry only damages itself.
    """
    _check_end_record(content)
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error):
        raise _damaged() from None
    _check_members(archive.infolist(), most_bytes)
    return archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes, or b"" where there is none of this name. Raises `SourceUnreadable` (malformed)."""
    try:
        return archive.read(name)
    except KeyError:
        return b""
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError):
        raise _damaged() from None


def refuse_declarations(archive: zipfile.ZipFile) -> None:
    """Raises `SourceUnreadable` (unsafe) where a part of an Office file declares a document type or an entity."""
    for member in archive.infolist():
        if member.filename.lower().endswith((".xml", ".rels", ".vml")):
            _scan(archive, member)


def _scan(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    tail = b""
    try:
        with archive.open(member) as stream:
            while block := stream.read(_BLOCK):
                window = tail + block
                if any(word in window for word in _DECLARATIONS):
                    message = "The file declares XML entities, which Office never does; do not trust its source."
                    raise SourceUnreadable("unsafe", message)
                tail = block[-32:]
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError):
        raise _damaged() from None


def _check_end_record(content: bytes) -> None:
    """The directory's own claims, before the standard library reads all of it into objects."""
    position = content.rfind(_END_RECORD, max(0, len(content) - _END_RECORD_SEARCH))
    if position < 0 or len(content) < position + 22:
        raise _damaged()
    members, directory_bytes = struct.unpack_from("<HI", content, position + 10)
    if members > _MOST_MEMBERS or directory_bytes > _LARGEST_DIRECTORY:
        raise SourceUnreadable("unsafe", f"The archive claims more than {_MOST_MEMBERS} parts; it is not a document.")


def _check_members(members: list[zipfile.ZipInfo], most_bytes: int) -> None:
    if any(member.flag_bits & _ENCRYPTED_FLAG for member in members):
        raise SourceUnreadable("encrypted", "The file is encrypted; save it without a password.")
    if len({member.filename for member in members}) != len(members):
        raise SourceUnreadable("unsafe", "The archive holds two parts of the same name; save the file again.")
    if len({member.header_offset for member in members}) != len(members):
        raise SourceUnreadable("unsafe", "Parts of the archive overlap; it is not a document.")
    if sum(member.file_size for member in members) > most_bytes:
        raise SourceUnreadable("unsafe", f"The file unpacks to more than {most_bytes // 2**20} MiB; split it.")
    for member in members:
        if member.file_size > _FREE_BYTES and member.file_size > _HIGHEST_RATIO * max(1, member.compress_size):
            raise SourceUnreadable("unsafe", "A part of the file unpacks to a suspicious size; save the file again.")


def _damaged() -> SourceUnreadable:
    return SourceUnreadable("malformed", "The file is damaged or incomplete; get it again from where it was made.")
