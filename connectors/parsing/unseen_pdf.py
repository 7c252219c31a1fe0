"""Text of a PDF that its reader does not see: white on white, transparent, tiny, or beside the page.

Colours alone prove nothing: tables have white heads on dark bars, and scans carry the invisible text of their letters
under the picture. So a page with such text is drawn, and text counts as unseen where nothing stands out in its place.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator

import pypdfium2 as pdfium
from pypdfium2 import raw

from connectors.base import Concealed, Concealment

_WHITE = 235  # of 255, in each of red, green and blue
_OPAQUE = 30  # of 255; less is as good as transparent
_TINY_POINTS = 1.5  # footnote marks have 4 and more
_CONTRAST = 24  # of 255 levels of grey between the darkest and the brightest pixel of a place where one can read
_PIXELS = 2000  # of the longer side of a page when it is drawn
_SCALE = 1.5  # pixels per point
_DEEPEST = 8  # forms inside forms

_Box = tuple[float, float, float, float]  # left, bottom, right, top in points


def concealed_on(page: pdfium.PdfPage, text_page: pdfium.PdfTextPage, number: int) -> Iterator[Concealed]:
    """The unseen text of a page, in the order in which it is drawn."""
    drawn: _Drawn | None = None
    look = _Look(page.get_bbox())
    for item, nested in _text_objects(page):
        how = look.doubt(item, nested)
        if how is None:
            continue
        if how in ("white", "invisible"):
            if nested:  # its box is in the coordinates of the form
                continue
            drawn = drawn or _Drawn(page)
            if drawn.shows_something(_box(item)):
                continue
        if text := _text(item, text_page):
            yield Concealed(how, number, text)


def _text_objects(page: pdfium.PdfPage) -> Iterator[tuple[raw.FPDF_PAGEOBJECT, bool]]:
    """Text objects, and whether they are inside a form."""
    pending = [(raw.FPDFPage_GetObject(page, index), 0) for index in reversed(range(raw.FPDFPage_CountObjects(page)))]
    while pending:
        item, depth = pending.pop()
        kind = raw.FPDFPageObj_GetType(item)
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            yield item, depth > 0
        elif kind == raw.FPDF_PAGEOBJ_FORM and depth < _DEEPEST:
            inner = range(raw.FPDFFormObj_CountObjects(item))
            pending.extend((raw.FPDFFormObj_GetObject(item, index), depth + 1) for index in reversed(inner))


class _Look:
    """Asks PDFium about one text after the other: a page can have thousands, so the places for its replies are kept."""

    def __init__(self, frame: _Box) -> None:
        self._frame = frame
        self._colour = [ctypes.c_uint() for _ in range(4)]
        self._size, self._matrix = ctypes.c_float(), raw.FS_MATRIX()
        self._colour_places = [ctypes.byref(each) for each in self._colour]
        self._size_place, self._matrix_place = ctypes.byref(self._size), ctypes.byref(self._matrix)

    def doubt(self, item: raw.FPDF_PAGEOBJECT, nested: bool) -> Concealment | None:  # noqa: FBT001
        """Why this text may not be seen where it stands. Sizes and places are without those of a form around it."""
        if raw.FPDFTextObj_GetFontSize(item, self._size_place) and raw.FPDFPageObj_GetMatrix(item, self._matrix_place):
            matrix = self._matrix
            if abs(self._size.value) * math.hypot(matrix.c, matrix.d) < _TINY_POINTS:
                return "tiny"
            left, bottom, right, top = self._frame
            inside = left <= matrix.e <= right and bottom <= matrix.f <= top
            if not inside and not nested and not _meet(_box(item), self._frame):
                return "off_page"
        if raw.FPDFTextObj_GetTextRenderMode(item) == raw.FPDF_TEXTRENDERMODE_INVISIBLE:
            return "invisible"
        if not raw.FPDFPageObj_GetFillColor(item, *self._colour_places):
            return None
        red, green, blue, alpha = self._colour
        if alpha.value < _OPAQUE:
            return "invisible"
        return "white" if min(red.value, green.value, blue.value) >= _WHITE else None


def _box(item: raw.FPDF_PAGEOBJECT) -> _Box:
    sides = [ctypes.c_float() for _ in range(4)]
    raw.FPDFPageObj_GetBounds(item, *sides)
    left, bottom, right, top = (side.value for side in sides)
    return left, bottom, right, top


def _meet(box: _Box, frame: _Box) -> bool:
    return box[0] < frame[2] and box[2] > frame[0] and box[1] < frame[3] and box[3] > frame[1]


def _text(item: raw.FPDF_PAGEOBJECT, text_page: pdfium.PdfTextPage) -> str:
    size = raw.FPDFTextObj_GetText(item, text_page, None, 0)
    buffer = ctypes.create_string_buffer(size)
    raw.FPDFTextObj_GetText(item, text_page, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw.decode("utf-16-le", errors="replace").rstrip("\0").strip()


class _Drawn:
    """A page as grey pixels."""

    def __init__(self, page: pdfium.PdfPage) -> None:
        self._page = page
        scale = min(_SCALE, _PIXELS / max(1.0, *page.get_size()))
        bitmap = page.render(scale=scale, grayscale=True)
        self._width, self._height, self._stride = bitmap.width, bitmap.height, bitmap.stride
        self._pixels = bytes(bitmap.buffer)
        bitmap.close()

    def shows_something(self, box: _Box) -> bool:
        """Whether darker and brighter pixels stand in this place."""
        corners = [self._pixel(x, y) for x in (box[0], box[2]) for y in (box[1], box[3])]
        left, right = (limit(x for x, _ in corners) for limit in (min, max))
        top, bottom = (limit(y for _, y in corners) for limit in (min, max))
        first, last = max(0, left), min(self._width, right + 1)
        rows = range(max(0, top), min(self._height, bottom + 1))
        found = {
            level for row in rows for level in self._pixels[row * self._stride + first : row * self._stride + last]
        }
        return bool(found) and max(found) - min(found) >= _CONTRAST

    def _pixel(self, x: float, y: float) -> tuple[int, int]:
        column, row = ctypes.c_int(), ctypes.c_int()
        raw.FPDF_PageToDevice(self._page, 0, 0, self._width, self._height, 0, x, y, column, row)
        return column.value, row.value
