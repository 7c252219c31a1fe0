"""Renders the passages of `cfpb-regs` as readable regulations, one Markdown file per part of title 12 CFR.

    python -m evaluations.datasets.render_regulations corpus.jsonl sample_bank/regulations

The passages were made by splitting long paragraphs and prefixing every piece with the text of the paragraphs around it.
Here that text stands once, and the pieces stand below it: nothing is lost and nothing is said twice.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

NOTICE = (
    "> Text as it stood in a public snapshot of 2011 to 2018. Not current law. "
    "Appendices and official interpretations are left out."
)
CUT = "…"  # marks in the passages where an enclosing paragraph was cut at 400 characters


@dataclass(frozen=True, slots=True)
class Passage:
    """One row of the corpus. `label` is the paragraph: `1005-11-c-2-i` is § 1005.11(c)(2)(i)."""

    label: str
    title: str
    text: str


@dataclass(slots=True)
class Paragraph:
    """A paragraph and those below it. `text` is empty where the corpus has only the pieces."""

    segment: str
    text: str = ""
    children: dict[str, Paragraph] = field(default_factory=dict)

    def texts(self) -> list[str]:
        """The texts of this paragraph and of all below it, in the order of the regulation."""
        own = [self.text] if self.text else []
        return own + [text for child in self.children.values() for text in child.texts()]


def load(corpus: Path) -> list[Passage]:
    """The passages of a `corpus.jsonl`, in its order. Lines that only repeat the word "none" of the source lose it."""
    rows = (json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines())
    return [Passage(row["_id"], row["title"], row["text"].removeprefix("none ")) for row in rows]


def render(passages: list[Passage]) -> dict[str, str]:
    """File name -> Markdown, one entry per part, sections under H2 headings in the order of the corpus."""
    sections: dict[str, dict[str, list[Passage]]] = {}
    for passage in passages:
        part, section, *_ = passage.label.split("-")
        sections.setdefault(part, {}).setdefault(section, []).append(passage)
    return {_file_name(part, found): _document(part, found) for part, found in sections.items()}


def words(text: str) -> list[str]:
    """The words of a text, without punctuation and layout: what must survive rendering."""
    return re.findall(r"\w+", text)


def missing(passages: list[Passage], documents: dict[str, str]) -> list[str]:
    """Labels of passages whose words do not all occur, in their order, in the section that should hold them."""
    found = {}
    for document in documents.values():
        for section in re.split(r"^## § ", document, flags=re.MULTILINE)[1:]:
            found[section.split()[0]] = words(section)
    lost = []
    for passage in passages:
        rendered = iter(found[".".join(passage.label.split("-")[:2])])
        if not all(word in rendered for word in words(passage.text)):
            lost.append(passage.label)
    return lost


def _file_name(part: str, sections: dict[str, list[Passage]]) -> str:
    name, subject = _regulation(next(iter(sections.values()))[0].title)
    slug = re.sub(r"[^a-z0-9]+", "-", f"{name} {part} {subject}".lower()).strip("-")
    return f"{slug}.md"


def _regulation(title: str) -> tuple[str, str]:
    """`("Regulation E", "Electronic Fund Transfers")`; the name is "Part" for rules without a letter."""
    regulation = title.rsplit(" — ", 1)[1]
    match = re.fullmatch(r"(Regulation [A-Z]+) \((.+)\)", regulation)
    return (match[1], match[2]) if match else ("Part", regulation)


def _document(part: str, sections: dict[str, list[Passage]]) -> str:
    name, subject = _regulation(next(iter(sections.values()))[0].title)
    title = f"{subject} (12 CFR Part {part})" if name == "Part" else f"{name}: {subject} (12 CFR Part {part})"
    blocks = [f"# {title}", NOTICE]
    for section, passages in sections.items():
        heading = re.sub(r"^12 CFR (§ \S+ )?", "", passages[0].title.rsplit(" — ", 1)[0]).rstrip(".")
        blocks.append(f"## § {part}.{section} {heading}")
        blocks += _paragraphs(_tree(passages))
    return "\n\n".join(blocks) + "\n"


def _tree(passages: list[Passage]) -> Paragraph:
    root = Paragraph("")
    for passage in passages:
        place = root
        for segment in passage.label.split("-")[2:]:
            place = place.children.setdefault(segment, Paragraph(segment))
        place.text = passage.text
    return root


def _paragraphs(root: Paragraph) -> list[str]:
    """Blocks of Markdown: each paragraph of the section with the list of what stands below it."""
    blocks: list[list[str]] = []
    for depth, text in _lines(root, 0, 0):
        for level, line in _enumerated(text, depth):
            if level == 0:
                blocks.append([line])
            else:
                blocks[-1].append(f"{'  ' * (level - 1)}- {line}")
    return ["\n\n".join([block[0], "\n".join(block[1:])]) if block[1:] else block[0] for block in blocks]


def _lines(paragraph: Paragraph, printed: int, depth: int) -> Iterator[tuple[int, str]]:
    """`(depth, text)` of this paragraph and those below it; the first `printed` characters of all stand above."""
    if paragraph.text:
        yield depth, paragraph.text[printed:]
        for child in paragraph.children.values():
            yield from _lines(child, printed + _quoted(paragraph.text[printed:], child.texts()[0][printed:]), depth + 1)
        return
    texts = paragraph.texts()
    shared = _shared([text[printed:] for text in texts], list(paragraph.children)) if len(paragraph.children) > 1 else 0
    if shared:
        yield depth, texts[0][printed : printed + shared].strip()
    for child in paragraph.children.values():
        yield from _lines(child, printed + shared, depth + (1 if shared else 0))


def _quoted(parent: str, child: str) -> int:
    """How many characters at the start of `child` repeat `parent`, wholly or up to the cut."""
    if child.startswith(f"{parent} "):
        return len(parent) + 1
    start, cut, _ = child.partition(f"{CUT} ")
    return len(start) + len(cut) if cut and parent.startswith(start.rstrip()) else 0


def _shared(texts: list[str], segments: list[str]) -> int:
    """Length of the enclosing paragraph's text with which all `texts` begin; ends before the first own word."""
    length = sum(1 for _ in itertools.takewhile(lambda same: len(set(same)) == 1, zip(*texts, strict=False)))
    common = texts[0][:length]
    if all(re.fullmatch(r"[a-z]{1,4}|[A-Z]|\d+", segment) for segment in segments):
        return common.rfind(" ") + 1
    ends = [match.end() for match in re.finditer(rf"[.:;{CUT}] ", common)]
    return ends[-1] if ends else 0


_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv", "xvi", "xvii")
_BEFORE = r"(?<=[.:;—”] )|(?<=; and )|(?<=; or )|(?<=, and )|(?<=, or )|(?<=^\([a-z]\) )|(?<=^\([a-z]{2}\) )"
_MARKER = re.compile(rf"(?:{_BEFORE})\((?P<mark>[a-z]+|[A-Z]|\d+)\) ")


def _enumerated(text: str, depth: int) -> Iterator[tuple[int, str]]:
    """`text` broken before each "(1)", "(ii)", "(A)" that continues or opens an enumeration inside it."""
    open_marks: list[str] = []
    start, level = 0, depth
    for match in _MARKER.finditer(text):
        continued = [i for i, mark in enumerate(open_marks) if match["mark"] in _successors(mark)]
        if continued:
            open_marks = open_marks[: continued[-1]]
        elif match["mark"] not in ("1", "i", "A", "a") or match["mark"] in open_marks:
            continue
        yield level, _escaped(text[start : match.start()].strip())
        open_marks.append(match["mark"])
        start, level = match.start(), depth + len(open_marks)
    yield level, _escaped(text[start:].strip())


def _successors(mark: str) -> set[str]:
    """What may follow `mark` in its enumeration: 2 after 1, ii after i, B after A; i is a letter or a numeral."""
    if mark.isdigit():
        return {str(int(mark) + 1)}
    following = {chr(ord(mark) + 1)} if len(mark) == 1 else set()
    if mark in _ROMAN[:-1]:
        following.add(_ROMAN[_ROMAN.index(mark) + 1])
    return following


def _escaped(line: str) -> str:
    """A line that Markdown reads as text: a leading "4." is not a list."""
    return re.sub(r"^(\d+)\. ", r"\1\\. ", line)


@click.command()
@click.argument("corpus", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(corpus: Path, folder: Path) -> None:
    """Render the passages of CORPUS as Markdown files in FOLDER, and check that no word was lost."""
    passages = load(corpus)
    documents = render(passages)
    if lost := missing(passages, documents):
        raise click.ClickException(f"{len(lost)} passages lost words, the first is {lost[0]}; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents.items():
        (folder / name).write_text(text, encoding="utf-8")
    click.echo(f"{len(documents)} regulations from {len(passages)} passages, every word of them kept")


if __name__ == "__main__":
    main()
