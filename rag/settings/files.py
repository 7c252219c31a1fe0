"""Where settings come from, before they have a schema: YAML files with placeholders, and the environment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from rag.errors import ConfigurationError

ENVIRONMENT_PREFIX: Final = "BANKSIGHT__"
_PLACEHOLDER: Final = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<default>[^}]*))?\}")


def read_yaml(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The mapping in a file, with placeholders replaced. Raises `ConfigurationError`."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml") if p.stem != "base")) or "none"
        raise ConfigurationError(f"there is no {path}; profiles found: {known}; set BANKSIGHT_PROFILE") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} must hold a mapping of sections")
    filled: dict[str, Any] = _fill(content, environment, f"{path}", "")
    return filled


def unset_variables(path: Path, environment: Mapping[str, str]) -> frozenset[str]:
    """The variables that a file needs and the environment does not have. Raises `ConfigurationError`."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return frozenset()  # `read_yaml` says what is wrong with it
    needed = {
        match["name"] for text in _texts(content) for match in _PLACEHOLDER.finditer(text) if match["default"] is None
    }
    return frozenset(name for name in needed if _variable(name, environment) is None)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _fill(value: Any, environment: Mapping[str, str], file: str, key: str) -> Any:
    """`value` with every ${VAR} and ${VAR:default} replaced. A lone placeholder is read as YAML, so `2` is a number."""
    if isinstance(value, dict):
        return {k: _fill(v, environment, file, f"{key}.{k}".lstrip(".")) for k, v in value.items()}
    if isinstance(value, list):
        return [_fill(v, environment, file, f"{key}[{i}]") for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        found = _variable(match["name"], environment)
        if found is None and match["default"] is None:
            raise ConfigurationError(
                f"{file}: {key} needs the environment variable {match['name']}; set it, or {match['name']}_FILE"
            )
        return match["default"] if found is None else found

    replaced = _PLACEHOLDER.sub(replace, value)
    if _PLACEHOLDER.fullmatch(value):
        return yaml.safe_load(replaced) if re.fullmatch(r"-?\d+(\.\d+)?|true|false", replaced) else replaced
    return replaced


def _variable(name: str, environment: Mapping[str, str]) -> str | None:
    """The variable, or what the file that `<name>_FILE` names holds, as container platforms mount secrets."""
    path = environment.get(f"{name}_FILE")
    if name in environment or not path:
        return environment.get(name)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}_FILE names {path}, which cannot be read; correct it") from error


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """`BANKSIGHT__RETRIEVAL__TOP_K=5` becomes `{"retrieval": {"top_k": 5}}`; values are read as YAML."""
    found: dict[str, Any] = {}
    for name, text in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        *sections, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        place = found
        for section in sections:
            place = place.setdefault(section, {})
        try:
            place[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigurationError(f"the environment variable {name} is not valid YAML: {error}") from error
    return found


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says instead, nested mappings key by key."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
