"""What bandit and detect-secrets find in the code, compared with what somebody has looked at.

    python -m evaluations.code_findings

`docs/reviewed-findings.yaml` says of each known finding why it is none. A finding that is not there, and one that is
there but no longer in the code, end with 1. A made-up secret can also be told where it stands, by a comment
`# pragma: allowlist secret`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click
import yaml
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import default_settings
from pydantic import BaseModel, ConfigDict, Field

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # bandit 1.9 calls stevedore 5.10 in a way of former versions
    from bandit.core.config import BanditConfig
    from bandit.core.manager import BanditManager

ROOT: Final = Path(__file__).parents[1]
REVIEWED: Final = Path("docs/reviewed-findings.yaml")
_CODE: Final = ("bentos/", "configs/", "connectors/", "evaluations/", "rag/", "ui/")
# Public documents with their own numbers and digests, and pictures: nobody writes a secret there.
_NOT_OURS: Final = ("sample_bank/", "evaluations/datasets/human_labels/", "constraints.txt", "docs/images/")
_PROCESSES: Final = 2
_MANY: Final = 40  # files, from which on a second process pays
# What was found in a file of this content under this name, by everybody's checkouts on this machine.
_CACHE: Final = Path.home() / ".cache" / "banksight" / "code-findings.json"
_MOST_CACHED: Final = 20_000
_PRAGMA: Final = ", or, where it is made up, in a comment beside it: # pragma: allowlist secret"
# Kinds that are told by a word beside a text, or by its letters alone. Tests and documents are full of made-up
# passwords and digests; there, only what has the form of a real key counts.
_GUESSED: Final = ("Secret Keyword", "Hex High Entropy", "Base64 High Entropy", "Basic Auth")
_MADE_UP: Final = ("tests/", "docs/")
_RULES: Final = 1  # of scanning; another number when they change, so that nothing remembered counts
Found = Counter[tuple[str, str]]  # (file, what was found there): how often
Scan = Callable[[Path, Sequence[str]], Found]


class Review(BaseModel):
    """Findings that one reason explains: by file, what was found, as `B310`, or as a kind and digest of a secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    why: str = Field(min_length=20)
    findings: dict[str, list[str]]


def reviewed(path: Path) -> Found:
    """Every finding that was looked at, as often as it was found."""
    reviews = [Review.model_validate(each) for each in yaml.safe_load(path.read_text(encoding="utf-8"))]
    return Counter((file, each) for review in reviews for file, some in review.findings.items() for each in some)


def calls_in(root: Path, files: Sequence[str]) -> Found:
    """What bandit finds in these Python files, by its rules."""
    logging.getLogger("bandit").setLevel(logging.ERROR)
    config = BanditConfig(str(ROOT / "pyproject.toml"))
    manager = BanditManager(config, "file", profile={"exclude": config.get_option("skips") or []}, quiet=True)
    manager.discover_files([str(root / each) for each in files])
    manager.run_tests()
    return Counter((Path(each.fname).relative_to(root).as_posix(), each.test_id) for each in manager.results)


def secrets_in(root: Path, files: Sequence[str]) -> Found:
    """What detect-secrets takes for a secret in these files, by kind and the beginning of its SHA-1."""
    if len(files) < _MANY:
        return Counter(_secrets(root, files))
    with ProcessPoolExecutor(_PROCESSES) as pool:
        parts = [files[number::_PROCESSES] for number in range(_PROCESSES)]
        return Counter(each for part in pool.map(_secrets, [root] * _PROCESSES, parts) for each in part)


def _secrets(root: Path, files: Sequence[str]) -> list[tuple[str, str]]:
    collection = SecretsCollection(root=str(root))
    with default_settings():
        for each in files:
            collection.scan_file(each)
    return [(file, f"{secret.type} {secret.secret_hash[:12]}") for file, secret in collection]


def tracked(root: Path) -> list[str]:
    """The files that are ours, as git has them."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True, text=True).stdout
    return [each for each in listed.split("\0") if each and not each.startswith(_NOT_OURS) and (root / each).is_file()]


def remembered(scan: Scan, root: Path, files: Sequence[str], cache: Path = _CACHE) -> Found:
    """What `scan` finds; files that it has seen with this content are not looked at again."""
    versions = " ".join(version(each) for each in ("bandit", "detect-secrets"))
    tools = f"{scan.__name__} {versions} {_RULES} {(ROOT / 'pyproject.toml').read_text(encoding='utf-8')}"
    keys = {each: _key(tools, each, root / each) for each in files}
    known: dict[str, list[str]] = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}
    new = [each for each in files if keys[each] not in known]
    if new:
        found = scan(root, new)
        known |= {keys[each]: [what for file, what in found.elements() if file == each] for each in new}
        cache.parent.mkdir(parents=True, exist_ok=True)
        scratch = cache.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps(dict(list(known.items())[-_MOST_CACHED:])), encoding="utf-8")
        scratch.replace(cache)
    return Counter((each, what) for each in files for what in known[keys[each]])


def _key(tools: str, name: str, path: Path) -> str:
    return hashlib.sha256(f"{tools}\0{name}\0".encode() + path.read_bytes()).hexdigest()


def differences(found: Found, known: Found) -> Iterator[str]:
    """A sentence for each finding that nobody looked at, and for each that is gone. `Kind *`: all of it in a file."""
    every = {(file, what.removesuffix(" *")) for file, what in known if what.endswith(" *")}
    kinds = {each: (each[0], each[1].rpartition(" ")[0]) for each in found}
    known = Counter({each: count for each, count in known.items() if not each[1].endswith(" *")})
    known += Counter({(file, f"{kind} *"): 1 for file, kind in every - set(kinds.values())})
    found = Counter({each: count for each, count in found.items() if kinds[each] not in every})
    for (file, what), count in sorted((found - known).items()):
        pragma = _PRAGMA if " " in what else ""
        yield f"{file}: {what} ({count}): put it right, or say in {REVIEWED} why it is none{pragma}"
    for (file, what), count in sorted((known - found).items()):
        yield f"{file}: {what} ({count}) is no longer found: take it out of {REVIEWED}"


def _counts(file: str, what: str) -> bool:
    return not (file.startswith(_MADE_UP) and what.startswith(_GUESSED))


@click.command()
def main() -> None:
    """Compare what is found with what was looked at."""
    files = tracked(ROOT)
    code = [each for each in files if each.endswith(".py") and each.startswith(_CODE)]
    secrets = remembered(secrets_in, ROOT, files)
    found = remembered(calls_in, ROOT, code) + Counter({each: secrets[each] for each in secrets if _counts(*each)})
    told = list(differences(found, reviewed(ROOT / REVIEWED)))
    for each in told:
        click.echo(each, err=True)
    sys.exit(bool(told))


if __name__ == "__main__":
    main()
