"""Which test proves which requirement of which standard: writes `docs/security-matrix.md`.

    python -m evaluations.proof_matrix [--check]

A test says what it proves, `@pytest.mark.proves("AISVS 5.2.1", "ASVS 8.2.2")`; `docs/requirements/*.yaml` say what is
asked. Both are read without running anything, so a row names only tests that exist, and loses them when they go.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import click
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from rag.errors import BankSightError, ConfigurationError

ROOT: Final = Path(__file__).parents[1]
MATRIX: Final = Path("docs/security-matrix.md")
# A test with one of these is not run in CI, or may fail there. `skipif` is none of them: in CI, skipped is failed.
_PROVES_NOTHING: Final = frozenset({"skip", "xfail", "gpu", "benchmark", "image"})
State = Literal["proved", "in part", "open", "documented", "organisation", "does not apply"]
_STATES: Final[tuple[State, ...]] = ("proved", "in part", "open", "documented", "organisation", "does not apply")
_HEAD: Final = """# What is asked, and which test proves it

Written by `python -m evaluations.proof_matrix` from `docs/requirements/*.yaml` and from the marks of the tests, and
compared by `make check`. A row links the tests that carry its id. *In part*: tests prove some of it, and the sentence
says what is missing. *Open*: nothing proves it. *Organisation*: software cannot do it. The texts are ours; the
standards' own are where their names lead.

"""


class Requirement(BaseModel):
    """One row. Of `open`, `duty` and `not_applicable` at most one says what no test proves, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    level: Literal[1, 2, 3] | None = None
    asks: str
    open: str = ""
    duty: str = ""
    not_applicable: str = ""
    document: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _one_reason(self) -> Requirement:
        if sum(map(bool, (self.open, self.duty, self.not_applicable))) > 1:
            raise ValueError(f"{self.id} has several of open, duty and not_applicable: keep one")
        return self


class Chapter(BaseModel):
    """Rows under a title."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    rows: tuple[Requirement, ...]


class Standard(BaseModel):
    """A standard, or several that share a table of sums."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    standard: str
    source: str
    chapters: tuple[Chapter, ...]

    @property
    def rows(self) -> tuple[Requirement, ...]:
        """Those of all chapters."""
        return tuple(row for chapter in self.chapters for row in chapter.rows)


@dataclass(frozen=True, slots=True)
class Proof:
    """A test that says it proves a requirement. `path` is relative to the checkout."""

    requirement: str
    path: str
    test: str


def read_standards(folder: Path) -> tuple[Standard, ...]:
    """What is asked, in the order of file names. Raises `ConfigurationError` that names the file."""
    found = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            found.append(Standard.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))))
        except (ValidationError, yaml.YAMLError) as error:
            raise ConfigurationError(f"{path.name}: {error}") from error
    twice = [name for name, count in Counter(row.id for each in found for row in each.rows).items() if count > 1]
    if twice:
        raise ConfigurationError(f"docs/requirements has these twice: {', '.join(twice)}")
    return tuple(found)


def read_proofs(root: Path) -> list[Proof]:
    """What the tests below `root / "tests"` prove. Raises `ConfigurationError` for a mark that cannot count."""
    proofs: list[Proof] = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.proves" in text:
            proofs += _proofs_of(ast.parse(text), path.relative_to(root).as_posix())
    return proofs


def _proofs_of(tree: ast.Module, path: str) -> Iterator[Proof]:
    counted: set[int] = set()
    whole_file = [each for each in tree.body if isinstance(each, ast.Assign) and _assigns_marks(each)]
    of_file = {name for each in whole_file for name, _ in _marks(ast.walk(each.value))}
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        marks = list(_marks(node.decorator_list))
        calls = [call for name, call in marks if name == "proves" and isinstance(call, ast.Call)]
        weak = _PROVES_NOTHING & (of_file | {name for name, _ in marks})
        if calls and weak:
            raise ConfigurationError(f"{path}: {node.name} proves nothing while it is marked {', '.join(sorted(weak))}")
        for call in calls:
            counted.add(id(call))
            yield from (Proof(name, path, node.name) for name in _texts(call, path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _mark_name(node) == "proves" and id(node) not in counted:
            raise ConfigurationError(f"{path}, line {node.lineno}: put the mark `proves` on one test")


def _assigns_marks(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)


def _marks(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    return ((name, node) for node in nodes if (name := _mark_name(node)))


def _mark_name(node: ast.AST) -> str:
    """`proves` of `pytest.mark.proves(…)` and of `pytest.mark.proves`; empty for everything else."""
    inner = node.func if isinstance(node, ast.Call) else node
    return inner.attr if isinstance(inner, ast.Attribute) and ast.unparse(inner.value) == "pytest.mark" else ""


def _texts(call: ast.Call, path: str) -> list[str]:
    texts = [each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    if call.keywords or len(texts) != len(call.args) or not texts:
        raise ConfigurationError(f"{path}, line {call.lineno}: the mark `proves` takes ids as plain texts")
    return texts


def state(row: Requirement, proofs: Sequence[Proof]) -> State:
    """How the row stands. Raises `ConfigurationError` where tests prove what is said not to apply."""
    if proofs and row.not_applicable:
        raise ConfigurationError(f"{row.id} does not apply, yet {proofs[0].test} proves it")
    if proofs:
        return "in part" if row.open else "proved"
    if row.duty:
        return "organisation"
    if row.not_applicable:
        return "does not apply"
    return "documented" if row.document and not row.open else "open"


def matrix(standards: Sequence[Standard], proofs: Sequence[Proof], root: Path) -> str:
    """The document. Raises `ConfigurationError` for an id that nothing asks for, or a document that is not there."""
    by_id: defaultdict[str, list[Proof]] = defaultdict(list)
    for proof in proofs:
        by_id[proof.requirement].append(proof)
    rows = {row.id: row for each in standards for row in each.rows}
    for unknown in sorted(set(by_id) - set(rows)):
        where = by_id[unknown][0]
        raise ConfigurationError(f"{where.path}: {where.test} proves {unknown}, which docs/requirements does not have")
    for row in rows.values():
        if row.document and not (root / row.document).is_file():
            raise ConfigurationError(f"{row.id} names {row.document}, which is not there")
    parts = [_HEAD + _sums(standards, by_id)]
    for standard in standards:
        parts.append(f"## {standard.standard}\n\nSource: {standard.source}\n")
        for chapter in standard.chapters:
            lines = [f"### {chapter.title}\n", "| id | what is asked | how it stands | tests |", "|---|---|---|---|"]
            parts.append("\n".join([*lines, *(_line(row, by_id[row.id]) for row in chapter.rows)]) + "\n")
    return "\n".join(parts)


def _sums(standards: Sequence[Standard], by_id: Mapping[str, list[Proof]]) -> str:
    lines = [f"| standard | {' | '.join(_STATES)} | all |", f"|---|{'--:|' * (len(_STATES) + 1)}"]
    for standard in standards:
        counts = Counter(state(row, by_id.get(row.id, ())) for row in standard.rows)
        lines.append(
            f"| {standard.standard} | {' | '.join(str(counts[each]) for each in _STATES)} | {counts.total()} |"
        )
    tests = {(proof.path, proof.test) for proofs in by_id.values() for proof in proofs}
    return "\n".join(lines) + f"\n\n{len(tests)} tests carry the mark.\n"


def _line(row: Requirement, proofs: Sequence[Proof]) -> str:
    document = f"[{row.document}]({_link(row.document)})." if row.document else ""
    remarks = (row.open, row.duty, row.not_applicable, document, row.note)
    stands = " ".join((f"**{state(row, proofs)}**", *filter(None, remarks)))
    links = [f"[{each.test.removeprefix('test_').replace('_', ' ')}]({_link(each.path)})" for each in proofs]
    level = f" (L{row.level})" if row.level else ""
    return f"| {row.id}{level} | {row.asks} | {stands} | {'<br>'.join(links)} |"


def _link(path: str) -> str:
    return path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"


def written(root: Path) -> str:
    """The document as the checkout at `root` says it. Raises `ConfigurationError`."""
    return matrix(read_standards(root / "docs" / "requirements"), read_proofs(root), root)


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; end with 1 when the document is not current.")
def main(check: bool) -> None:  # noqa: FBT001 - click gives flags so
    """Write the matrix anew."""
    try:
        text = written(ROOT)
    except BankSightError as error:
        click.echo(str(error), err=True)
        sys.exit(3)
    path = ROOT / MATRIX
    if not check:
        path.write_text(text, encoding="utf-8")
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        click.echo(f"{MATRIX} is not current: run `python -m evaluations.proof_matrix` and commit it", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
