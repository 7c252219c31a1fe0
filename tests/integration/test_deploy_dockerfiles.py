"""What images are made of: Dockerfiles, names, and whether the packages in each are enough for our code in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rag.storage.ownership import Ownership

DEPLOY = Path(__file__).parents[2] / "configs" / "deploy"


def test_worker_is_well_while_a_process_holds_the_lock_of_its_data_folder(tmp_path: Path) -> None:
    def check(folder: Path) -> int:
        return subprocess.run(
            [DEPLOY / "images" / "worker.sh", "check"], env=os.environ | {"BANKSIGHT_DATA_DIR": str(folder)},
            capture_output=True, check=False, timeout=30,
        ).returncode  # fmt: skip

    assert check(tmp_path / "absent") == 1
    ownership = Ownership(tmp_path)
    assert check(tmp_path) == 0
    ownership.release()
    assert check(tmp_path) == 1


DOCKERFILES = sorted((DEPLOY / "images").glob("*.Dockerfile"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_image_is_not_root_and_says_what_is_in_it(path: Path) -> None:
    *_, last = path.read_text(encoding="utf-8").split("\nFROM ")
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert 'banksight.sbom="/opt/banksight/share/sbom.cdx.json"' in last
    assert "pip install" not in last
    assert not re.search(r"\b(gcc|build-essential|make|git)\b", last)


@pytest.mark.proves("SOC 2 CC6.8")
@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_image_stands_on_one_pinned_base(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.match(r"(#.*\n)*ARG BASE=\S+:3\.11\.\d+-slim-bookworm\n", text)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) <= {"${BASE}", "packages"}


@pytest.mark.proves("PCI DSS 6.3.2")
def test_bill_of_materials_lists_what_is_installed() -> None:
    command = [sys.executable, str(DEPLOY / "images" / "sbom.py")]
    listed = yaml.safe_load(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    assert listed["bomFormat"] == "CycloneDX"
    assert any(re.match("pkg:pypi/chromadb@1", each["purl"]) for each in listed["components"])


def _names(environment: Mapping[str, str], command: str) -> subprocess.CompletedProcess[str]:
    script = f". configs/deploy/images/names.sh; {command}"
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "TOOL": "buildah"}
    return subprocess.run(
        ["bash", "-c", script], env=base | dict(environment), cwd=DEPLOY.parents[1],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


def test_target_is_in_the_tag_of_the_backend_only() -> None:
    named = _names({"TARGET": "gn6v", "REGISTRY": "r.example/bank"}, "name_of backend; name_of ui").stdout.split()
    assert re.fullmatch(r"r\.example/bank/banksight-backend:\d+\.\d+\.\d+-gn6v-[0-9a-f]{12}(-dirty)?", named[0])
    assert re.fullmatch(r"r\.example/bank/banksight-ui:\d+\.\d+\.\d+-[0-9a-f]{12}(-dirty)?", named[1])


def test_unknown_target_builds_nothing_and_lists_the_known_ones() -> None:
    refused = _names({"TARGET": "v100"}, "true")
    assert refused.returncode == 2
    assert "cpu cuda gn6v" in refused.stderr


def test_push_without_a_registry_says_what_is_missing() -> None:
    refused = subprocess.run(
        [DEPLOY / "images" / "push.sh", "ui"], env={"PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "set REGISTRY" in refused.stderr


# What the process of an image imports before it serves. Packages of this machine that are not in the image are hidden.
ENTRY = {
    "proxy": "import rag.cli, rag.commands.proxy, rag.proxy.placing, rag.settings as s; s.load_settings('test')",
    "ui": "import pkgutil, ui.launching; "
    "[__import__(each.name) for each in pkgutil.walk_packages(ui.__path__, 'ui.') if '.migrations' not in each.name]",
}
SANDBOX = """
import sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    absent = frozenset(ABSENT)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.absent:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)
        return None
sys.meta_path.insert(0, Absent())
"""


def _needed(requirement: Requirement, seen: set[tuple[str, frozenset[str]]]) -> Iterator[str]:
    """Names of the packages that pip installs for this one, it among them."""
    name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return
    yield name
    for line in lines:
        more = Requirement(line)
        if more.marker is None or any(more.marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield from _needed(more, seen)


@pytest.mark.parametrize("image", sorted(ENTRY))
def test_packages_of_the_image_are_enough_for_our_code_in_it(image: str, tmp_path: Path) -> None:
    text = (DEPLOY / "images" / f"{image}.Dockerfile").read_text(encoding="utf-8")
    listed = re.search(r"--constraint /build/constraints\.txt (.+) \\\n", text)
    assert listed
    there = {name for word in listed[1].replace('"', "").split() for name in _needed(Requirement(word), set())}
    absent = [
        module
        for module, owners in packages_distributions().items()
        if not there & {*map(canonicalize_name, owners)} and module not in ("rag", "ui", "connectors")
    ]
    script = SANDBOX.replace("ABSENT", json.dumps(absent)) + ENTRY[image]
    environment = os.environ | {"CHAINLIT_APP_ROOT": str(tmp_path), "BANKSIGHT_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=DEPLOY.parents[1], capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
