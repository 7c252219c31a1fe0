"""Web pages: the text that a browser would show, without what scripts and styles add."""

from __future__ import annotations

import re

from lxml import etree

from connectors.base import Concealed, Concealment
from connectors.errors import SourceUnreadable
from connectors.parsing import titles
from connectors.parsing.document import Draft, ParsingLimits
from connectors.parsing.sections import Block, pages_from_blocks
from connectors.parsing.tables import row_line
from connectors.parsing.text import decode

_DECLARED = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_:-]{1,40})", re.IGNORECASE)
_UNSEEN = frozenset(
    {"head", "script", "style", "noscript", "template", "iframe", "object", "embed", "svg", "math", "canvas", "audio"}
    | {"video", "select", "datalist"}
)
_INLINE = frozenset(
    {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img"}
    | {"input", "ins", "kbd", "label", "mark", "meter", "output", "q", "rp", "rt", "ruby", "s", "samp", "small", "span"}
    | {"strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr"}
)
_TIGHT = frozenset({"li", "tr", "dd", "dt", "option", "caption"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_CELLS = frozenset({"td", "th"})
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d])", re.IGNORECASE)
_WHITE = re.compile(r"white|#fff(?:fff)?", re.IGNORECASE)
_WHITE_STYLE = re.compile(
    r"(?<![-\w])color\s*:\s*(?:white|#fff(?:fff)?\b|rgb\(\s*255\s*,\s*255\s*,\s*255)", re.IGNORECASE
)
_SMALL_STYLE = re.compile(r"font-size\s*:\s*(?:1(?:\.0)?|0?\.\d+)\s*(?:px|pt)", re.IGNORECASE)
_CLEAR_STYLE = re.compile(r"(?<![-\w])opacity\s*:\s*0?(?:\.0\d*)?\s*(?:;|$)", re.IGNORECASE)
_AWAY_STYLE = re.compile(r"(?:left|top|text-indent)\s*:\s*-\d{4,}", re.IGNORECASE)
_MOST_CONCEALED = 200  # pieces of unseen text that are reported of one page
_SPACES = re.compile(r"[ \t\r\n\f]+")


def parse(content: bytes, _limits: ParsingLimits) -> Draft:
    """The visible text of a web page; sections under h1 and h2 are pages. Raises `SourceUnreadable` (malformed)."""
    declared = _DECLARED.search(content[:4096])
    root = _parse(decode(content, declared[1].decode() if declared else ""))
    if root is None:
        raise SourceUnreadable("no_text", "There is no text in the web page; remove it or add the text.")
    title = root.findtext(".//head/title") or root.findtext(".//title")
    reader = _Reader()
    return Draft(titles.tidy(title), pages_from_blocks(reader.read(root)), reader.concealed)


def visible_text(markup: str) -> str:
    """The visible text of a piece of HTML, for formats that carry some; "" where there is none."""
    root = _parse(markup)
    return "" if root is None else "\n".join(block.text for block in _Reader().read(root))


def _parse(markup: str) -> etree._Element | None:
    """The parsed page, None where nothing is in it. Nothing is fetched; no entities but those of HTML are known."""
    parser = etree.HTMLParser(
        encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=False, recover=True
    )
    try:
        root = etree.fromstring(markup.encode("utf-8", errors="replace"), parser)
    except etree.XMLSyntaxError:
        return None
    if any(entry.level_name == "FATAL" for entry in parser.error_log):
        raise SourceUnreadable("malformed", "The web page is nested too deeply; save it again from a browser.")
    return root


class _Reader:
    """Walks a page without recursion and collects blocks."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._line: list[str] = []  # text of the block that is open
        self._gap = "\n\n"  # what parts the open block from the one before
        self._row: list[str] | None = None  # finished cells of the table row that is open
        self._outer_rows: list[bool] = []  # for each open table: whether it stands in a cell of another
        self._preformatted = 0  # open <pre> elements
        self.concealed: list[Concealed] = []

    def read(self, root: etree._Element) -> list[Block]:
        """The visible blocks of the tree in reading order."""
        walk = etree.iterwalk(root, events=("start", "end"))
        for event, element in walk:
            tag = element.tag if isinstance(element.tag, str) else ""
            unseen = tag in _UNSEEN or _is_hidden(element)
            if event == "start" and unseen:
                self._conceal(element, "not_shown" if _is_hidden(element) else None)
                walk.skip_subtree()
            elif event == "start":
                self._enter(tag)
                self._add(element.text)
                self._conceal(element, _concealment(element))
            else:
                if not unseen:
                    self._leave(tag)
                self._add(element.tail)
        self._flush()
        return self._blocks

    def _enter(self, tag: str) -> None:
        if tag == "br":
            self._line.append("\n")
        elif tag == "pre":
            self._preformatted += 1
        if tag == "table":
            self._outer_rows.append(self._row is not None)
            self._end_row()
        elif tag == "tr":
            self._end_row()
            self._row = []
        elif tag not in _INLINE and tag != "br" and tag not in _CELLS:
            self._separate("\n" if tag in _TIGHT else "\n\n")
        if tag == "li":
            self._line.append("- ")

    def _leave(self, tag: str) -> None:
        if tag in _CELLS and self._row is not None:
            self._row.append(self._take())
        elif tag == "tr":
            self._end_row()
        elif tag == "table":
            self._end_row()
            self._gap = "\n\n"
            if self._outer_rows and self._outer_rows.pop():
                self._row = []
        elif tag in _HEADINGS and self._row is None:
            self._flush(level=_HEADINGS[tag])
        elif tag not in _INLINE and tag != "br":
            self._separate("\n\n")
        if tag == "pre":
            self._preformatted -= 1

    def _conceal(self, element: etree._Element, how: Concealment | None) -> None:
        text = (
            " ".join("".join(element.itertext()).split())
            if how and element.tag not in _UNSEEN and len(self.concealed) < _MOST_CONCEALED
            else ""
        )
        if how and text:
            self.concealed.append(Concealed(how, 0, text))

    def _add(self, text: str | None) -> None:
        if text:
            self._line.append(text if self._preformatted else _SPACES.sub(" ", text))

    def _take(self) -> str:
        text = "".join(self._line)
        self._line.clear()
        if self._preformatted:
            return text.strip("\n")
        return "\n".join(" ".join(line.split(" ")).strip() for line in text.split("\n")).strip()

    def _separate(self, gap: str) -> None:
        """A block that begins or ends inside a cell is a space in its row; elsewhere it ends the open block."""
        if self._row is not None:
            self._line.append(" ")
        elif "".join(self._line).strip() != "-":  # the mark of a list item waits for its text
            self._flush()
            self._gap = gap

    def _flush(self, level: int = 0) -> None:
        text = self._take()
        if text and text != "-":
            self._blocks.append(Block(text, level, self._gap))
            self._gap = "\n\n"

    def _end_row(self) -> None:
        """Close the open block: the row with its cells, or what stood before a table."""
        if self._row is None:
            self._flush()
            return
        row = [*self._row, self._take()]
        self._row = None
        if line := row_line(row):
            self._blocks.append(Block(line, 0, self._gap))
            self._gap = "\n"


def _concealment(element: etree._Element) -> Concealment | None:
    """How a style hides text that stays in the page. Only styles in attributes are looked at."""
    style = element.get("style", "") if "style" in element.attrib else ""
    colour = element.get("color", "")
    if _SMALL_STYLE.search(style) or _AWAY_STYLE.search(style):
        return "tiny" if _SMALL_STYLE.search(style) else "off_page"
    if _CLEAR_STYLE.search(style):
        return "invisible"
    if not (_WHITE_STYLE.search(style) or _WHITE.fullmatch(colour)):
        return None
    around = (element, *element.iterancestors())
    coloured = any("background" in each.get("style", "") or each.get("bgcolor") or each.get("class") for each in around)
    return None if coloured else "white"


def _is_hidden(element: etree._Element) -> bool:
    return element.get("hidden") is not None or bool(_HIDDEN_STYLE.search(element.get("style", "")))
