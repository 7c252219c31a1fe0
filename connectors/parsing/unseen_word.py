"""Text of a Word document that its reader does not see: hidden runs, and white or tiny ones on plain paper."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from connectors.base import Concealed, Concealment

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_WHITE = 235  # of 255, in each of red, green and blue
_TINY_HALF_POINTS = 3  # footnote marks are drawn smaller than they are set: they are set in 20 and more
_OFF = ("0", "false", "off")


def concealed_runs(body: etree._Element, styles: etree._Element | None) -> Iterator[Concealed]:
    """The unseen runs in the order of the text. `styles` is the part with the styles, if there is one."""
    hidden_styles = {
        style.get(f"{_W}styleId")
        for style in (() if styles is None else styles.iter(f"{_W}style"))
        if _is_on(style.find(f"{_W}rPr/{_W}vanish"))
    }
    for run in body.iter(f"{_W}r"):
        text = "".join(each.text or "" for each in run.iter(f"{_W}t")).strip()
        if text and (how := _concealment(run, hidden_styles)):
            yield Concealed(how, 0, text)


def _concealment(run: etree._Element, hidden_styles: set[str | None]) -> Concealment | None:
    own = run.find(f"{_W}rPr")
    vanish = None if own is None else own.find(f"{_W}vanish")
    if vanish is not None:
        return "hidden_run" if _is_on(vanish) else None
    paragraph = next(run.iterancestors(f"{_W}p"), None)
    styles = (
        None if own is None else own.find(f"{_W}rStyle"),
        None if paragraph is None else paragraph.find(f"{_W}pPr/{_W}pStyle"),
    )
    if any(style is not None and style.get(f"{_W}val") in hidden_styles for style in styles):
        return "hidden_run"
    if own is None:
        return None
    size = own.find(f"{_W}sz")
    if size is not None and size.get(f"{_W}val", "").isdigit() and int(size.get(f"{_W}val", "")) <= _TINY_HALF_POINTS:
        return "tiny"
    return "white" if _is_white(own.find(f"{_W}color")) and not _may_be_shaded(run, own, paragraph) else None


def _is_on(switch: etree._Element | None) -> bool:
    return switch is not None and switch.get(f"{_W}val", "1").lower() not in _OFF


def _is_white(colour: etree._Element | None) -> bool:
    value = "" if colour is None else colour.get(f"{_W}val", "")
    try:
        return len(value) == 6 and min(bytes.fromhex(value)) >= _WHITE
    except ValueError:  # "auto"
        return False


def _may_be_shaded(run: etree._Element, own: etree._Element, paragraph: etree._Element | None) -> bool:
    """Whether the paper behind the run may be dark: shading of its own, or a table or box, whose style can say so."""
    shaded = own.find(f"{_W}shd") is not None or own.find(f"{_W}highlight") is not None
    if shaded or (paragraph is not None and paragraph.find(f"{_W}pPr/{_W}shd") is not None):
        return True
    return any(True for _ in run.iterancestors(f"{_W}tc", f"{_W}txbxContent"))
