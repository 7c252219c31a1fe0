"""Pages become chunks: verbatim spans of one page that fit MiniLM's window and end where the text itself pauses.

A page is read once as words with their cost in word pieces. Words are taken until the window is full; then the cut
moves back to the strongest pause in the second half of the window, and never into a table row that would fit. Every
word is looked at a bounded number of times, so time is linear in the text.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode, TextNode, TransformComponent
from pydantic import ConfigDict, SkipValidation
from tokenizers import Tokenizer

from connectors.base import Page, SourceDocument
from rag.ingestion.pauses import Pause, Words, words_of
from rag.settings import SplittingSettings
from rag.storage.records import StoredChunk

SECTION_SEPARATOR = " > "
_SPECIAL_PIECES = 2  # [CLS] and [SEP]
_TITLE_PIECES = 32  # most that a title may take of a window, estimated
_SECTION_PIECES = 48
_HEADER_PIECES = 48
_HEADER_WORDS = 64
_SECTION_MINIMUM = 4  # a heading starts a new chunk once the open one holds this fraction of its room: 1/4

_Path = tuple[tuple[int, str], ...]  # levels and headings in force, outermost first


class PageSplitter(TransformComponent):
    """Splits documents into chunks, or, as a LlamaIndex transformation, nodes that each hold the text of one page."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    tokenizer: SkipValidation[Tokenizer]
    window_tokens: int
    overlap_tokens: int

    def __call__(self, nodes: Sequence[BaseNode], **_: Any) -> list[BaseNode]:
        """The chunks of page nodes. Their metadata give `document_id`, `title`, `page` and `page_label` if known."""
        chunks: list[BaseNode] = []
        for node in nodes:
            known = node.metadata
            page = Page(int(known.get("page", 1)), node.get_content(), 0, str(known.get("page_label", "")))
            document_id, title = str(known.get("document_id", node.node_id)), str(known.get("title", ""))
            chunks.extend(self._split_pages(document_id, title, (page,)))
        return chunks

    def split(self, document: SourceDocument) -> list[TextNode]:
        """The chunks of a document in reading order. A blank page has none; all other text is in at least one."""
        return self._split_pages(document.id, document.title, document.pages)

    def _split_pages(self, document_id: str, title: str, pages: Sequence[Page]) -> list[TextNode]:
        encodings = self.tokenizer.encode_batch([page.text for page in pages], add_special_tokens=False)
        path: _Path = ()
        chunks: list[TextNode] = []
        for page, encoding in zip(pages, encodings, strict=True):
            headings = deque(sorted(page.headings))
            words = words_of(page.text, [start for start, _ in encoding.offsets], [offset for offset, _, _ in headings])
            first = 0
            while first < len(words):
                start = int(words.starts[first])
                while headings and headings[0][0] <= start:
                    path = _below(path, *headings.popleft()[1:])
                place = _Place(document_id, title, _section(path), _header(page.text, words, first))
                end = _cut(words, first, self._room(place.prefix))
                chunks.append(_chunk(place, page, start, int(words.ends[end - 1])))
                first = self._next(words, first, end)
            for _, level, name in headings:
                path = _below(path, level, name)
        return chunks

    def _room(self, prefix: str) -> int:
        """Word pieces left for the text; at least half of the window, whatever the prefix takes."""
        taken = _pieces(self.tokenizer, prefix) if prefix else 0
        return max(self.window_tokens - _SPECIAL_PIECES - taken, self.window_tokens // 2)

    def _next(self, words: Words, first: int, end: int) -> int:
        """Where the next chunk starts: at the cut, or earlier where the cut fell inside a paragraph."""
        if end >= len(words) or words.pauses[end] > Pause.SENTENCE_AND_LINE or words.row[end] >= 0:
            return end
        earliest = max(first + 1, int(np.searchsorted(words.before, words.before[end] - self.overlap_tokens)))
        best = end
        for index in range(end - 1, earliest - 1, -1):
            if words.pauses[index] > Pause.SENTENCE_AND_LINE:
                break
            if words.pauses[index] >= min(Pause.LINE, words.pauses[end]):
                best = index
        return best


@dataclass(frozen=True, slots=True)
class _Place:
    """What stands over a chunk."""

    document_id: str
    title: str
    section: str
    header: str

    @property
    def prefix(self) -> str:
        return _prefix(self.title, self.section, self.header)


def split(document: SourceDocument, tokenizer: Tokenizer, settings: SplittingSettings) -> list[TextNode]:
    """The chunks of `document`; `text == page.text[start:end]` for each.

    Their metadata are flat: document_id, title, section, page, page_label, start, end, and header where a table's
    header must be repeated. `tokenizer` is the embedding model's, without padding or truncation.
    """
    splitter = PageSplitter(
        tokenizer=tokenizer, window_tokens=settings.window_tokens, overlap_tokens=settings.overlap_tokens
    )
    return splitter.split(document)


def indexed_text(node: TextNode) -> str:
    """What is embedded and what the lexical index reads: title, section and table header in front of the text."""
    known = node.metadata
    return _under(_prefix(known["title"], known["section"], known.get("header", "")), node.text)


def is_intact(chunk: StoredChunk) -> bool:
    """Whether a chunk still says, letter by letter, what was embedded: a disk may have turned a bit of it over."""
    text = _under(_prefix(chunk.title, chunk.section, chunk.header), chunk.text)
    return hashlib.sha256(text.encode()).hexdigest() == chunk.indexed_hash


def _under(prefix: str, text: str) -> str:
    return f"{prefix}\n{text}" if prefix else text


def _cut(words: Words, first: int, room: int) -> int:
    """The end of the chunk that starts at word `first`: the strongest, then latest pause that leaves it half full."""
    spent = words.before[first]
    end = max(first + 1, int(np.searchsorted(words.before, spent + room, side="right")) - 1)
    heading = np.flatnonzero(words.pauses[first + 1 : end] == Pause.HEADING) + first + 1
    early = heading[(words.before[heading] - spent) * _SECTION_MINIMUM >= room]
    if len(early):
        return int(early[0])
    if end >= len(words):
        return len(words)
    if words.row[end] > first:  # the row that does not fit goes to the next chunk whole
        return int(words.row[end])
    half = max(first + 1, int(np.searchsorted(words.before, spent + room / 2)))
    return end - int(np.argmax(words.pauses[half : end + 1][::-1])) if half <= end else end


def _header(text: str, words: Words, first: int) -> str:
    """The first line of the table that word `first` stands in, unless the chunk starts with that line."""
    table = int(words.table[first])
    if table < 0 or words.row[first] == table:
        return ""
    width = int(np.count_nonzero(words.row[table : table + _HEADER_WORDS] == table))
    return _shortened(text[words.starts[table] : words.ends[table + width - 1]], _HEADER_PIECES)


def _prefix(title: str, section: str, header: str) -> str:
    """What stands before the text. A long section loses its outer headings, a long title its end."""
    lines = (_shortened(title, _TITLE_PIECES), _shortened(section, _SECTION_PIECES, keep="end"), header)
    return "\n".join(line for line in lines if line)


def _shortened(text: str, pieces: int, keep: str = "start") -> str:
    """`text` on one line, cut to about `pieces` word pieces: 4 letters, 2 digits or 1 other character are one."""
    words = text.split()
    taken: list[str] = []
    for word in words if keep == "start" else reversed(words):
        pieces -= _estimate(word)
        if pieces < 0:
            break
        taken.append(word)
    return " ".join(taken if keep == "start" else reversed(taken))


def _estimate(word: str) -> int:
    letters = sum(character.isascii() and character.isalpha() for character in word)
    digits = sum(character.isascii() and character.isdigit() for character in word)
    return -(-letters // 4) + -(-digits // 2) + len(word) - letters - digits


def _below(path: _Path, level: int, name: str) -> _Path:
    """The headings in force after one more: it ends those of its level and below."""
    return (*(each for each in path if each[0] < level), (level, name))


def _section(path: _Path) -> str:
    return SECTION_SEPARATOR.join(" ".join(name.split()) for _, name in path if name.strip())


def _chunk(place: _Place, page: Page, start: int, end: int) -> TextNode:
    text = page.text[start:end]
    metadata: dict[str, Any] = {
        "document_id": place.document_id,
        "title": place.title,
        "section": place.section,
        "page": page.number,
        "page_label": page.label,
        "start": start,
        "end": end,
    }
    if place.header:
        metadata["header"] = place.header
    # All that is embedded is part of the id, so that the vector of an id never changes.
    parts = (place.document_id, page.number, start, end, place.title, place.section, place.header, text)
    digest = hashlib.sha256("\x00".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()
    return TextNode(id_=f"{place.document_id}-{page.number}-{digest[:20]}", text=text, metadata=metadata)


@lru_cache(maxsize=4096)
def _pieces(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)
