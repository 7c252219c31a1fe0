"""Markdown to the text that a reader of the rendered page would see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from connectors.parsing.sections import Block
from connectors.parsing.tables import row_line


def markdown_blocks(source: str) -> Iterator[Block]:
    """Headings, paragraphs, list items and table rows, without marks of emphasis, link targets, comments and tags."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(source)
    return _Renderer().render(tokens)


class _Renderer:
    """Follows the flat list of tokens, which needs no recursion however deep quotations and lists are nested."""

    def __init__(self) -> None:
        self._markers: list[str] = []  # of each open list: "-" or the number that the next item gets
        self._item = ""  # the mark of an item whose first paragraph has not come yet
        self._level = 0
        self._row: list[str] | None = None  # cells of the table row that is open
        self._row_gap = "\n"

    def render(self, tokens: Sequence[Token]) -> Iterator[Block]:
        """Blocks in the order of the source."""
        for token in tokens:
            if token.type == "inline":
                yield from self._inline(token)
            elif token.type in ("fence", "code_block"):
                yield Block(token.content)
            elif token.type == "html_block":
                yield from _html(token.content)
            elif token.type == "tr_close":
                yield Block(row_line(self._row or ()), 0, self._row_gap)
                self._row, self._row_gap = None, "\n"
            else:
                self._structure(token)

    def _structure(self, token: Token) -> None:
        """Remember where we are: in which list, heading or row."""
        if token.type in ("bullet_list_open", "ordered_list_open"):
            self._markers.append("-" if token.type.startswith("bullet") else str(token.attrs.get("start", 1)))
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            self._markers.pop()
        elif token.type == "list_item_open":
            self._item = self._next_marker(token)
        elif token.type == "heading_open":
            self._level = int(token.tag[1])
        elif token.type == "table_open":
            self._row_gap = "\n\n"
        elif token.type == "tr_open":
            self._row = []

    def _next_marker(self, token: Token) -> str:
        if self._markers[-1] == "-":
            return "- "
        # The token carries the number that the source gives the item.
        return f"{token.info or self._markers[-1]}{token.markup or '.'} "

    def _inline(self, token: Token) -> Iterator[Block]:
        text = _plain(token.children or ())
        if self._row is not None:
            self._row.append(text)
            return
        item, self._item = self._item, ""
        level, self._level = self._level, 0
        yield Block(item + text, level, "\n" if item else "\n\n")


def _plain(children: Sequence[Token]) -> str:
    """The visible text of inline tokens: no emphasis, no tags, links and pictures by their words."""
    parts = []
    for child in children:
        if child.type in ("text", "code_inline", "image"):
            parts.append(child.content)
        elif child.type == "softbreak":
            parts.append(" ")
        elif child.type == "hardbreak":
            parts.append("\n")
    return "".join(parts)


def _html(markup: str) -> Iterator[Block]:
    # Imported here: few Markdown files hold blocks of HTML.
    from connectors.parsing.html import visible_text  # noqa: PLC0415

    yield Block(visible_text(markup))
