"""Suites read from YAML, with the line of whatever is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from evaluations.metrics.catalog import metric
from evaluations.suites.schema import Suite
from rag.errors import ConfigurationError

FOLDER = Path(__file__).parent


def shipped_names() -> list[str]:
    """The names of the suites that come with BankSight."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_suite(name: str) -> Suite:
    """A suite that comes with BankSight by its name, or any by the path of its file. Raises `ConfigurationError`."""
    if Path(name).suffix in {".yaml", ".yml"}:
        return read_suite(Path(name))
    if name not in shipped_names():
        raise ConfigurationError(
            f"there is no suite {name!r}; name one of {', '.join(shipped_names())}, or the path of a YAML file"
        )
    return read_suite(FOLDER / f"{name}.yaml")


def read_suite(path: Path) -> Suite:
    """The suite in a file. Raises `ConfigurationError` with file, line and reason."""
    try:
        content = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the suite {path} cannot be read: {error}") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{path}{line}: this is not YAML: {error.problem or error.context}") from error
    except YAMLError as error:
        raise ConfigurationError(f"{path}: this is not YAML: {error}") from error
    if not isinstance(content, CommentedMap):
        raise ConfigurationError(f"{path}: a suite is a mapping with a name, data and metrics; this file holds none")
    try:
        suite = Suite.model_validate(_plain(content))
    except ValidationError as error:
        wrong = error.errors()
        first = next(
            (each for each in wrong if each["type"] == "extra_forbidden"), wrong[0]
        )  # explains what is missing
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"{path} line {_line(content, first['loc'])}: {where + ': ' if where else ''}{_reason(first)}"
        ) from error
    for index, name in enumerate(suite.metrics):
        try:
            metric(name)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path} line {_line(content, ('metrics', index))}: {error}") from error
    return suite


def _reason(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "there is no such key; check its spelling"
    message: str = error["msg"]
    return message.removeprefix("Value error, ")


def _plain(node: Any) -> Any:
    if isinstance(node, CommentedMap):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    return node


def _line(node: Any, place: Sequence[Any]) -> int:
    """The line of the deepest part of `place` that stands in the file, counted from 1."""
    line = 1
    for part in place:
        try:
            position = node.lc.key(part) if isinstance(node, CommentedMap) else node.lc.item(part)
            line, node = position[0] + 1, node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line
