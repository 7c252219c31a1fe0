"""YAML files that analysts write, read into models, with the line of whatever is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from rag.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)


def read_model(path: Path, model: type[Model]) -> Model:
    """The file as a `model`. Raises `ConfigurationError` with file, line and reason."""
    content = read_yaml(path)
    try:
        return model.model_validate(_plain(content))
    except ValidationError as error:
        # A misspelt key is why another one is missing, so it is told first.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        said = f"{where + ': ' if where else ''}{_reason(first)}"
        raise ConfigurationError(f"{path} line {line_of(content, first['loc'])}: {said}") from error


def read_yaml(path: Path) -> CommentedMap:
    """The mapping in a file, with its lines. Raises `ConfigurationError`."""
    try:
        content = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{path}{line}: this is not YAML: {error.problem or error.context}") from error
    except YAMLError as error:
        raise ConfigurationError(f"{path}: this is not YAML: {error}") from error
    if not isinstance(content, CommentedMap):
        raise ConfigurationError(f"{path}: this file holds no mapping of names to values")
    return content


def line_of(node: Any, place: Sequence[Any]) -> int:
    """The line of the deepest part of `place` that stands in the file, counted from 1."""
    line = 1
    for part in place:
        try:
            position = node.lc.key(part) if isinstance(node, CommentedMap) else node.lc.item(part)
            line, node = position[0] + 1, node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line


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
