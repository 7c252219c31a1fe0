"""DOCX and PPTX, read from their XML: also text in content controls, hyperlinks, insertions, notes and text boxes."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from lxml import etree

from connectors.errors import SourceUnreadable
from connectors.parsing import titles
from connectors.parsing.archive import open_archive, read_member, refuse_declarations
from connectors.parsing.document import Draft, PageDraft, ParsingLimits
from connectors.parsing.sections import PAGE_CHARACTERS, SECTION_CHARACTERS, Block, pages_from_blocks
from connectors.parsing.tables import row_line
from connectors.parsing.text import clean
from connectors.parsing.unseen_word import concealed_runs

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_RELATIONSHIP = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_ALTERNATIVE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"

_HEADING_STYLE = re.compile(r"heading ([1-6])$", re.IGNORECASE)
_BREAKS = {f"{_W}tab": " ", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-", f"{_A}br": "\n"}
_DEEPEST_STYLE = 20  # styles that are based on styles


def parse_docx(content: bytes, limits: ParsingLimits) -> Draft:
    """The text of a Word document. Sections under headings of level 1 and 2 are pages; without headings, pages are
    about as long as printed ones. Foot- and endnotes come last. Deleted (tracked) text is left out, inserted text not.
    """
    with _open(content, limits) as archive:
        body = _xml(archive, "word/document.xml").find(f"{_W}body")
        levels = _heading_levels(archive)
        blocks = [] if body is None else list(_docx_blocks(body, levels))
        blocks += _docx_notes(archive)
        title = _core_title(archive)
        concealed = [] if body is None else list(concealed_runs(body, _optional_xml(archive, "word/styles.xml")))
    has_sections = any(0 < block.level <= 2 for block in blocks)
    pages = pages_from_blocks(blocks, SECTION_CHARACTERS if has_sections else PAGE_CHARACTERS)
    return Draft(title, pages, concealed)


def parse_pptx(content: bytes, limits: ParsingLimits) -> Draft:
    """The slides of a presentation, one page each, with speaker notes below; the label is the slide's title."""
    with _open(content, limits) as archive:
        main = "ppt/presentation.xml"
        targets = _relationships(archive, main)
        slides = [targets.get(entry.get(f"{_R}id", ""), "") for entry in _xml(archive, main).iter(f"{_P}sldId")]
        pages = [_slide(archive, slide) for slide in slides]
        title = _core_title(archive)
    return Draft(title, pages)


def _open(content: bytes, limits: ParsingLimits) -> zipfile.ZipFile:
    archive = open_archive(content, limits.max_characters * 10)
    refuse_declarations(archive)
    return archive


def _xml(archive: zipfile.ZipFile, name: str) -> etree._Element:
    """The root of an XML part. Entities, files and networks are out of the parser's reach."""
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    part = read_member(archive, name)
    try:
        return etree.fromstring(part, parser)
    except etree.XMLSyntaxError:
        message = "A part of the file is missing or damaged; open it in its program and save it again."
        raise SourceUnreadable("malformed", message) from None


def _optional_xml(archive: zipfile.ZipFile, name: str) -> etree._Element | None:
    return _xml(archive, name) if name in archive.NameToInfo else None


def _relationships(archive: zipfile.ZipFile, part: str) -> dict[str, str]:
    """What a part refers to inside the archive: id -> name of the part."""
    folder, name = posixpath.split(part)
    root = _optional_xml(archive, f"{folder}/_rels/{name}.rels")
    if root is None:
        return {}
    return {
        entry.get("Id", ""): posixpath.normpath(posixpath.join(folder, entry.get("Target", ""))).lstrip("/")
        for entry in root.iter(_RELATIONSHIP)
        if entry.get("TargetMode") != "External"
    }


def _core_title(archive: zipfile.ZipFile) -> str:
    root = _optional_xml(archive, "docProps/core.xml")
    return "" if root is None else titles.tidy(root.findtext(f".//{_TITLE}"))


@dataclass(slots=True)
class _Style:
    level: int = 0
    based_on: str = ""


@dataclass(slots=True)
class _Levels:
    """Which paragraph styles are headings, also by way of the styles that they are based on."""

    styles: dict[str, _Style] = field(default_factory=dict)

    def of(self, style_id: str) -> int:
        for _ in range(_DEEPEST_STYLE):
            style = self.styles.get(style_id)
            if style is None or style.level:
                return style.level if style else 0
            style_id = style.based_on
        return 0


def _heading_levels(archive: zipfile.ZipFile) -> _Levels:
    root = _optional_xml(archive, "word/styles.xml")
    levels = _Levels()
    for style in () if root is None else root.iter(f"{_W}style"):
        name = _value(style.find(f"{_W}name"))
        match = _HEADING_STYLE.match(name)
        level = int(match[1]) if match else 1 if name.lower() == "title" else _outline(style)
        levels.styles[style.get(f"{_W}styleId", "")] = _Style(level, _value(style.find(f"{_W}basedOn")))
    return levels


def _value(element: etree._Element | None) -> str:
    return "" if element is None else element.get(f"{_W}val", "")


def _outline(element: etree._Element) -> int:
    """The outline level 1-6 that paragraph properties under this element give, 0 for body text."""
    outline = _value(element.find(f"{_W}pPr/{_W}outlineLvl"))
    return int(outline) + 1 if outline.isdigit() and int(outline) < 6 else 0


def _docx_blocks(parent: etree._Element, levels: _Levels) -> Iterator[Block]:
    """Paragraphs and table rows in reading order, through content controls and other wrappers."""
    pending = list(reversed(parent))
    while pending:
        element = pending.pop()
        if element.tag == f"{_W}p":
            yield from _docx_paragraph(element, levels)
        elif element.tag == f"{_W}tbl":
            yield from _docx_table(element)
        elif element.tag not in (f"{_W}del", f"{_W}moveFrom", f"{_W}sectPr"):
            pending.extend(reversed(element))


def _docx_paragraph(paragraph: etree._Element, levels: _Levels) -> Iterator[Block]:
    properties = paragraph.find(f"{_W}pPr")
    style = "" if properties is None else _value(properties.find(f"{_W}pStyle"))
    level = _outline(paragraph) or levels.of(style)
    is_item = properties is not None and properties.find(f"{_W}numPr") is not None
    text = clean(_docx_text(paragraph))
    if text:
        yield Block(f"- {text}" if is_item and not level else text, level, "\n" if is_item and not level else "\n\n")


def _docx_text(element: etree._Element) -> str:
    """The text under an element. Text boxes are paragraphs inside paragraphs and are parted by newlines."""
    parts: list[str] = []
    walk = etree.iterwalk(element, events=("start",))
    for _, node in walk:
        if node.tag in (f"{_W}del", f"{_W}moveFrom", f"{_W}pPr", _ALTERNATIVE):
            walk.skip_subtree()
        elif node.tag == f"{_W}t":
            parts.append(node.text or "")
        elif node.tag == f"{_W}p" and node is not element:
            parts.append("\n")
        elif node.tag in _BREAKS:
            parts.append(_BREAKS[node.tag])
    return "".join(parts)


def _docx_table(table: etree._Element) -> Iterator[Block]:
    """One line per row; the text of a table inside a cell stands in that cell."""
    gap = "\n\n"
    for row in table.iter(f"{_W}tr"):
        if next(row.iterancestors(f"{_W}tbl")) is not table:
            continue
        cells = [_docx_text(cell) for cell in row.iter(f"{_W}tc") if next(cell.iterancestors(f"{_W}tr")) is row]
        if line := row_line(cells):
            yield Block(line, 0, gap)
            gap = "\n"


def _docx_notes(archive: zipfile.ZipFile) -> Iterator[Block]:
    for kind in ("footnote", "endnote"):
        root = _optional_xml(archive, f"word/{kind}s.xml")
        for note in () if root is None else root.iter(f"{_W}{kind}"):
            if note.get(f"{_W}type") in (None, "normal"):  # others are the lines that part notes from text
                text = clean(_docx_text(note))
                if text:
                    yield Block(f"{kind.capitalize()} {note.get(f'{_W}id', '')}: {text}", 0, "\n")


def _slide(archive: zipfile.ZipFile, name: str) -> PageDraft:
    """A slide: its title, its other text and tables, its notes."""
    blocks: list[str] = []
    title = ""
    for shape in _shapes(_xml(archive, name)):
        text = clean(_shape_text(shape))
        if _is_title(shape) and not title:
            title = " ".join(text.split())
            blocks.insert(0, title)
        else:
            blocks.append(text)
    notes = _notes(archive, name)
    if notes:
        blocks.append(f"Notes: {notes}")
    text = "\n\n".join(block for block in blocks if block)
    return PageDraft(text, title, ((0, 1, title),) if title else ())


def _shapes(slide: etree._Element) -> Iterator[etree._Element]:
    """Shapes and graphic frames, also in groups, in drawing order."""
    for element in slide.iter(f"{_P}sp", f"{_P}graphicFrame"):
        if not any(True for _ in element.iterancestors(_ALTERNATIVE)):
            yield element


def _is_title(shape: etree._Element) -> bool:
    placeholder = shape.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")
    return placeholder is not None and placeholder.get("type") in ("title", "ctrTitle")


def _shape_text(shape: etree._Element) -> str:
    table = shape.find(f".//{_A}tbl")
    if table is not None:
        rows = [[_drawing_text(cell) for cell in row.iter(f"{_A}tc")] for row in table.iter(f"{_A}tr")]
        return "\n".join(filter(None, map(row_line, rows)))
    return _drawing_text(shape)


def _drawing_text(element: etree._Element) -> str:
    paragraphs = []
    for paragraph in element.iter(f"{_A}p"):
        parts = [
            _BREAKS.get(node.tag, "") if node.tag != f"{_A}t" else node.text or ""
            for node in paragraph.iter(f"{_A}t", f"{_A}br")
        ]
        paragraphs.append("".join(parts))
    return "\n".join(paragraphs)


def _notes(archive: zipfile.ZipFile, slide: str) -> str:
    """The speaker's notes of a slide, without the slide number and date that stand beside them."""
    for target in _relationships(archive, slide).values():
        if posixpath.dirname(target) == "ppt/notesSlides":
            bodies = (
                shape
                for shape in _shapes(_xml(archive, target))
                if (place := shape.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")) is not None and place.get("type") == "body"
            )
            return clean("\n".join(_drawing_text(shape) for shape in bodies))
    return ""
