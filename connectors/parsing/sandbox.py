"""Parsing where it can do no harm: in child processes with limits, which are replaced when a file breaks one."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any, cast, get_args

from connectors.base import Concealed, Concealment
from connectors.errors import SourceUnavailable, SourceUnreadable
from connectors.parsing.child import ChildFailed, ParserProcess
from connectors.parsing.document import PageDraft, ParsedDocument, ParsingLimits, number_pages

logger = logging.getLogger(__name__)

_BYTES_PER_CHARACTER = 6  # of a reply: UTF-8, JSON escapes, headings
_REPLY_OVERHEAD = 2**20
_LONGEST_NAME = 1000


class ParsingSandbox:
    """Parses files in up to `workers` child processes, each started when it is first needed.

    Safe to call from many threads: a call waits for a free process. Nothing that a file does to its process reaches
    ours: it gets no environment, no other open files, and answers in JSON.
    """

    def __init__(self, limits: ParsingLimits, workers: int = 1) -> None:
        self.limits = limits
        self._processes = [ParserProcess() for _ in range(workers)]
        self._idle: queue.LifoQueue[ParserProcess] = queue.LifoQueue()
        for process in self._processes:
            self._idle.put(process)
        self._closed = threading.Event()

    def parse(self, name: str, content: bytes) -> ParsedDocument:
        """The pages of a file whose type its content shows and its name confirms.

        Raises `SourceUnreadable` with the reason, or `SourceUnavailable` where no process can be started.
        """
        if not content:
            raise SourceUnreadable("empty", "The file is empty; put the document's content in it or remove it.")
        if len(content) > self.limits.max_bytes:
            message = f"The file is larger than the {self.limits.max_bytes / 2**20:.0f} MiB allowed; split it."
            raise SourceUnreadable("too_large", message)
        process = self._idle.get()
        try:
            if self._closed.is_set():
                raise SourceUnavailable("Parsing was stopped; start the work again.")
            return self._exchange(process, name, content)
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """End all child processes, also those at work. Calling it twice does nothing more."""
        self._closed.set()
        for process in self._processes:
            process.kill()

    def _exchange(self, process: ParserProcess, name: str, content: bytes) -> ParsedDocument:
        longest = self.limits.max_characters * _BYTES_PER_CHARACTER + _REPLY_OVERHEAD
        try:
            reply = process.exchange(_sendable(name), content, self.limits, longest)
        except ChildFailed as failure:
            logger.warning("a parsing process was replaced: %s", failure.reason)
            raise SourceUnreadable(failure.reason, str(failure)) from None
        if reply.get("retire"):
            process.kill()
        return _read_reply(reply)


def _sendable(name: str) -> str:
    """The end of a name, which holds its extension, without the lone surrogates of undecodable file names."""
    return name[-_LONGEST_NAME:].encode("utf-8", errors="replace").decode()


def _read_reply(reply: dict[str, Any]) -> ParsedDocument:
    """The document in a reply. Offsets and numbers are ours, so that they are right whatever the child wrote."""
    if "reason" in reply:
        raise SourceUnreadable(str(reply["reason"]), str(reply["message"]))
    try:
        drafts = [_read_page(*page) for page in reply["pages"]]
        concealed = tuple(_read_concealed(*each) for each in reply["concealed"])
        return ParsedDocument(str(reply["title"]), str(reply["media_type"]), number_pages(drafts), concealed)
    except (KeyError, TypeError, ValueError):
        raise SourceUnreadable("unsafe", "The file took over its parser; do not trust where it comes from.") from None


def _read_concealed(how: object, page: object, text: object) -> Concealed:
    if how not in get_args(Concealment) or not isinstance(page, int) or not isinstance(text, str):
        raise TypeError(type(text).__name__)
    return Concealed(cast("Concealment", how), page, text)


def _read_page(text: object, label: object, headings: object) -> PageDraft:
    if not (isinstance(text, str) and isinstance(label, str) and isinstance(headings, list)):
        raise TypeError(type(text).__name__)
    return PageDraft(text, label, tuple((int(offset), int(level), str(name)) for offset, level, name in headings))
