"""Text of a PDF that its reader does not see: white on white, transparent, tiny, or beside the page.

Colours alone prove nothing: tables have white heads on dark bars, and scans carry the invisible text of their letters
under the picture. So a page with such text is drawn, and text counts as unseen where nothing stands out in its place.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat

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
_INVISIBLE = raw.FPDF_TEXTRENDERMODE_INVISIBLE

_Box = tuple[float, float, float, float]  # left, bottom, right, top in points


def concealed_on(page: pdfium.PdfPage, text_page: pdfium.PdfTextPage, number: int) -> Iterator[Concealed]:
    """The unseen text of a page, in the order in which it is drawn."""
    drawn: _Drawn | None = None
    for item, nested, how in _Look(page).doubtful():
        if how in ("white", "invisible"):
            if nested:  # its box is in the coordinates of the form
                continue
            drawn = drawn or _Drawn(page)
            if drawn.shows_something(_box(item)):
                continue
        if text := _text(item, text_page):
            yield Concealed(how, number, text)


def _plain(function: object, *arguments: type, reply: type = ctypes.c_int) -> Callable[..., int]:
    """A function of PDFium that takes and gives handles and addresses as integers: much faster than typed."""
    address = ctypes.cast(function, _ANY).value  # type: ignore[arg-type]
    return ctypes.PYFUNCTYPE(reply, *arguments)(address or 0)


_ANY = ctypes.c_void_p
_object_on_page = _plain(raw.FPDFPage_GetObject, _ANY, ctypes.c_int, reply=_ANY)
_object_in_form = _plain(raw.FPDFFormObj_GetObject, _ANY, ctypes.c_ulong, reply=_ANY)
_type = _plain(raw.FPDFPageObj_GetType, _ANY)
_font_size = _plain(raw.FPDFTextObj_GetFontSize, _ANY, _ANY)
_matrix = _plain(raw.FPDFPageObj_GetMatrix, _ANY, _ANY)
_mode = _plain(raw.FPDFTextObj_GetTextRenderMode, _ANY)
_fill = _plain(raw.FPDFPageObj_GetFillColor, _ANY, _ANY, _ANY, _ANY, _ANY)
_REPLIES = struct.Struct("f8x4f4I")  # size, matrix without its first two, colour


class _Look:
    """Asks PDFium about one text after the other: where each letter is an object, a page has thousands."""

    def __init__(self, page: pdfium.PdfPage) -> None:
        self._page = page
        self._frame: _Box = page.get_bbox()
        self._replies = ctypes.create_string_buffer(_REPLIES.size)

    def doubtful(self) -> Iterator[tuple[raw.FPDF_PAGEOBJECT, bool, Concealment]]:
        """Texts that may not be seen where they stand, whether they are inside a form, and why."""
        parent = ctypes.cast(self._page.raw, _ANY).value
        count = raw.FPDFPage_CountObjects(self._page)
        return self._among(map(_object_on_page, repeat(parent), range(count)), 0)

    def _among(self, items: Iterable[int], depth: int) -> Iterator[tuple[raw.FPDF_PAGEOBJECT, bool, Concealment]]:
        """Sizes and places inside forms are without those of the form."""
        replies, read, hypot = self._replies, _REPLIES.unpack, math.hypot
        size_at = ctypes.addressof(replies)
        matrix_at, colour_at = size_at + 4, [size_at + offset for offset in (28, 32, 36, 40)]
        left, bottom, right, top = self._frame
        for item in items:
            if not _font_size(item, size_at):  # no text
                if depth < _DEEPEST and _type(item) == raw.FPDF_PAGEOBJ_FORM:
                    yield from self._among(_inside(item), depth + 1)
                continue
            _matrix(item, matrix_at)  # texts always have one
            coloured = _fill(item, *colour_at)
            size, c, d, x, y, red, green, blue, alpha = read(replies)
            how: Concealment
            if abs(size) * hypot(c, d) < _TINY_POINTS:
                how = "tiny"
            elif not depth and not (left <= x <= right and bottom <= y <= top) and not self._touches(item):
                how = "off_page"
            elif _mode(item) == _INVISIBLE or (coloured and alpha < _OPAQUE):
                how = "invisible"
            elif coloured and red >= _WHITE and green >= _WHITE and blue >= _WHITE:
                how = "white"
            else:
                continue
            yield _typed(item), depth > 0, how

    def _touches(self, item: int) -> bool:
        return _meet(_box(_typed(item)), self._frame)


def _inside(form: int) -> Iterator[int]:
    count = raw.FPDFFormObj_CountObjects(_typed(form))
    return map(_object_in_form, repeat(form), range(count))


def _typed(item: int) -> raw.FPDF_PAGEOBJECT:
    return ctypes.cast(item, raw.FPDF_PAGEOBJECT)


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
