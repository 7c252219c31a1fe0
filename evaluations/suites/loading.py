"""Suites read from YAML, with the line of whatever is wrong."""

from __future__ import annotations

from pathlib import Path

from evaluations.metrics.catalog import metric
from evaluations.suites.schema import Suite
from evaluations.yaml_files import line_of, read_model, read_yaml
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
    suite = read_model(path, Suite)
    for index, name in enumerate(suite.metrics):
        try:
            metric(name)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path} line {line_of(read_yaml(path), ('metrics', index))}: {error}") from error
    return suite
