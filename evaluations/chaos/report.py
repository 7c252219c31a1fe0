"""What rows came to: kept by row from run to run, told on the terminal, and as a table in the documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evaluations.chaos.rows import Outcome

BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
_VERDICT = {True: "ok", False: "**not met**", None: "not run"}


@dataclass(frozen=True, slots=True)
class Result:
    """A row that was run. `form` says when and how; `seen` counts responses, own planted words, and others'."""

    id: str
    fault: str
    expected: str
    passed: bool | None
    measured: str
    form: str
    seen: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """The place of the row in the matrix."""
        return int(self.id[1:])


def result(
    named: tuple[str, str, str], outcome: Outcome, form: str, before: Mapping[str, int], after: Mapping[str, int]
) -> Result:
    """The result of a row. Whatever else came of it, a planted word that another tenant saw makes it a failure.

    `named` are its id, its fault and what is expected; `before` and `after` what all callers together had seen.
    """
    seen = {name: after[name] - before[name] for name in after}
    passed = outcome.passed and not seen.get("foreign", 0)
    return Result(*named, passed, outcome.measured, form, seen, outcome.figures)


def tell(found: Result) -> str:
    """One line for the terminal, and a second one with details of what went wrong."""
    mark = {True: "ok  ", False: "FAIL", None: "-   "}[found.passed]
    seen = ""
    if found.seen.get("responses"):
        seen = " [{responses} responses, own words in {own}, another tenant's in {foreign}]".format(**found.seen)
    line = f"{mark} {found.id:4} {found.fault}: {found.measured}{seen}"
    if found.passed is False and found.figures.get("details"):
        line += f"\n       {found.figures['details']}"
    return line


def keep(folder: Path, found: Sequence[Result]) -> list[Result]:
    """Write them to `chaos.json` and `chaos.md`, beside those of other rows from earlier runs. Returns all."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {each.id: each for each in read(folder)} | {each.id: each for each in found}
    everything = sorted(kept.values(), key=lambda each: each.number)
    (folder / "chaos.json").write_text(json.dumps([asdict(each) for each in everything], indent=1), encoding="utf-8")
    (folder / "chaos.md").write_text(table(everything), encoding="utf-8")
    return everything


def read(folder: Path) -> list[Result]:
    """What `keep` wrote; nothing where it never did."""
    path = folder / "chaos.json"
    if not path.is_file():
        return []
    return [Result(**each) for each in json.loads(path.read_text(encoding="utf-8"))]


def table(found: Sequence[Result]) -> str:
    """A table in Markdown, with what all callers together have seen below it."""
    lines = ["| # | fault | what must happen | measured | |", "|---|---|---|---|---|"]
    for each in found:
        cells = (each.id, each.fault, each.expected, f"{each.measured} ({each.form})", _VERDICT[each.passed])
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    sums = {name: sum(each.seen.get(name, 0) for each in found) for name in ("responses", "own", "foreign")}
    lines += [
        "",
        "Planted words over all {responses:,} responses of these rows: the caller's own tenant's in {own:,}, another "
        "tenant's or a hidden document's in **{foreign:,}**.".format(**sums),
    ]
    return "\n".join(lines) + "\n"


def write_into(document: Path, found: Sequence[Result]) -> None:
    """Put the table between the two marks of a document. Raises `ValueError` where it has none."""
    before, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} has no {BEGIN} … {END}")
    document.write_text(f"{before}{BEGIN}\n{table(found)}{END}{after}", encoding="utf-8")
