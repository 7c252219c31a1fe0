"""Prints the bill of materials of a release as CycloneDX 1.6: `make sbom` writes it to dist/banksight.cdx.json.

Packages are those that `banksight[serve,ui,eval,gpu]` brings, as cyclonedx-bom finds them in this environment, with
licences and who needs whom; tools of developers are left out. Models are ours to add: every file by its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from bentos.requirements import closure, pinned_versions
from rag.errors import ConfigurationError
from rag.models.manifest import pinned_models

ROOT: Final = Path(__file__).parents[1]
_SHIPPED: Final = frozenset({"serve", "ui", "eval", "gpu"})
_FITTED: Final = ("answerability", "scope", "support")  # small models of our own, in rag/query/*.json


def bill_of_materials() -> dict[str, Any]:
    """The document. Raises `ConfigurationError` where what is installed is not what is pinned."""
    document = _of_environment()
    shipped = closure("banksight", _SHIPPED) - {"banksight"}
    components = [each for each in document["components"] if canonicalize_name(each["name"]) in shipped]
    _require_pinned(components)
    kept = {each["bom-ref"] for each in components} | {"root-component"}
    document["components"] = components + list(_models())
    document["dependencies"] = [
        each | {"dependsOn": [one for one in each.get("dependsOn", ()) if one in kept]}
        for each in document["dependencies"]
        if each["ref"] in kept
    ]
    return document


def _of_environment() -> dict[str, Any]:
    """What cyclonedx-bom says, the same bytes for the same environment."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", "pyproject.toml"]
    command += ["--mc-type", "application", "--output-reproducible", "--spec-version", "1.6", "--output-format", "JSON"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigurationError(f"cyclonedx-bom failed: {done.stderr.strip()[-500:]}; run `make install` first")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _require_pinned(components: list[dict[str, Any]]) -> None:
    pinned = pinned_versions(ROOT / "constraints.txt")
    for each in components:
        wanted = pinned.get(canonicalize_name(each["name"]))
        if wanted not in (None, re.sub(r"\+.*", "", each["version"])):
            raise ConfigurationError(
                f"{each['name']} {each['version']} is installed, but constraints.txt pins {wanted}: run `make install`"
            )


def _models() -> Iterator[dict[str, Any]]:
    for model in pinned_models():
        name = f"{model.repository}@{model.revision}"
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"pkg:huggingface/{name}",
            "name": model.repository,
            "version": model.revision,
            "licenses": [{"license": {"id": model.license}}],
            "purl": f"pkg:huggingface/{name}",
            "components": [_file(f"{name}/{file.name}", file.name, file.sha256) for file in model.files],
        }
    for fitted in _FITTED:
        path = ROOT / "rag" / "query" / f"{fitted}.json"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        described = {"type": "machine-learning-model", "bom-ref": f"banksight/{fitted}", "name": f"banksight-{fitted}"}
        yield described | {"components": [_file(f"banksight/{path.name}", path.name, digest)]}


def _file(reference: str, name: str, sha256: str) -> dict[str, Any]:
    return {"type": "file", "bom-ref": reference, "name": name, "hashes": [{"alg": "SHA-256", "content": sha256}]}


if __name__ == "__main__":
    json.dump(bill_of_materials(), sys.stdout, indent=1)
    sys.stdout.write("\n")
