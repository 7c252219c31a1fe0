"""Markdown, plain text and e-mail messages."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterable
from email.message import EmailMessage

from connectors.errors import SourceUnreadable
from connectors.parsing import titles
from connectors.parsing.document import Draft, PageDraft, ParsingLimits
from connectors.parsing.markup import markdown_blocks
from connectors.parsing.sections import PAGE_CHARACTERS, Block, pages_from_blocks, paragraphs
from connectors.parsing.text import clean, decode

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*\n", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE | re.IGNORECASE)
_MAIL_HEADERS = ("Subject", "From", "To", "Cc", "Date")


def parse_markdown(content: bytes, limits: ParsingLimits) -> Draft:
    """Markdown as it reads when rendered; sections under headings of level 1 and 2 are pages."""
    source = _within(decode(content), limits).replace("\r\n", "\n")
    title = ""
    if front := _FRONT_MATTER.match(source):
        named = _FRONT_TITLE.search(front[1])
        title = titles.tidy(named[1]) if named else ""
        source = source[front.end() :]
    return Draft(title, pages_from_blocks(markdown_blocks(source)))


def parse_text(content: bytes, limits: ParsingLimits) -> Draft:
    """Plain text. Form feeds part pages where there are any; else pages are about as long as printed ones."""
    text = _within(decode(content), limits)
    if "\f" in text.strip():
        return Draft("", [PageDraft(clean(page)) for page in text.rstrip().removesuffix("\f").split("\f")])
    return Draft("", pages_from_blocks(paragraphs(text), PAGE_CHARACTERS))


def parse_message(content: bytes, limits: ParsingLimits) -> Draft:
    """A message: its headers, its text, or its HTML where it has no text, and the names of its attachments."""
    try:
        message = email.message_from_bytes(content, policy=email.policy.default)
        headers = [f"{name}: {message[name]}" for name in _MAIL_HEADERS if message[name]]
        body = _body(message)
        attachments = [_attachment_name(part) for part in message.iter_attachments()]
    except (ValueError, LookupError, AttributeError, TypeError, IndexError, AssertionError):
        raise SourceUnreadable("malformed", "The message is damaged; save it again from the mail program.") from None
    blocks = [*_lines(headers), *paragraphs(_within(body, limits))]
    if attachments:
        blocks.append(Block("Attachments (not read): " + ", ".join(attachments)))
    return Draft(titles.tidy(message["Subject"] and str(message["Subject"])), pages_from_blocks(blocks))


def _within(text: str, limits: ParsingLimits) -> str:
    if len(text) > limits.max_characters:
        raise SourceUnreadable("too_large", "The file holds more text than is allowed; split it.")
    return text


def _lines(lines: Iterable[str]) -> Iterable[Block]:
    return (Block(" ".join(line.split()), 0, "\n") for line in lines)


def _body(message: EmailMessage) -> str:
    part = message.get_body(preferencelist=("plain", "html"))
    if part is None:
        return ""
    content = part.get_content()
    if part.get_content_type() == "text/html":
        # Imported here: most messages have a text of their own.
        from connectors.parsing.html import visible_text  # noqa: PLC0415

        return visible_text(content)
    return str(content)


def _attachment_name(part: EmailMessage) -> str:
    """What a reader calls an attachment: its file name, the subject of a forwarded message, or its type."""
    if part.get_content_type() == "message/rfc822":
        inner = part.get_payload(0)
        subject = inner["Subject"] if isinstance(inner, EmailMessage) else None
        return f"message “{clean(str(subject))}”" if subject else "message"
    return clean(part.get_filename() or "") or part.get_content_type()
