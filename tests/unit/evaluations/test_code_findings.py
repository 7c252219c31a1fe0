"""What `make check` finds in code, and what it says of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from evaluations.code_findings import REVIEWED, ROOT, calls_in, differences, remembered, reviewed, secrets_in

PLANTED = "hf_" + "q7Zp2Lk9Xw4Vb8Nn3Mt6" + "Rr5Ys1Dd0Ff"  # in parts, or it would be found here


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "rag").mkdir()
    return tmp_path


@pytest.mark.proves("ISO A.8.28", "PCI DSS 6.2.4")
def test_a_dangerous_call_is_found(checkout: Path) -> None:
    (checkout / "rag" / "a.py").write_text(
        "import pickle\nimport subprocess\n\n\ndef run(text, data):\n    subprocess.run(text, shell=True)\n"
        "    return eval(text), pickle.loads(data)\n"
    )
    rules = {rule for _, rule in calls_in(checkout, ["rag/a.py"])}
    assert {"B602", "B307", "B301"} <= rules


@pytest.mark.proves("ISO A.8.28", "PCI DSS 8.6.2")
@pytest.mark.parametrize(
    "line",
    [
        'password = "Tr0ub4dor-and-3"',
        f'HEADERS = {{"Authorization": "{PLANTED}"}}\nkey = "{PLANTED}"',
        "URL = 'https://robot:c0rrect-h0rse@api.bank.example'",
        "-----BEGIN RSA PRIVATE KEY-----",
        "AKIA" + "Q7ZP2LK9XW4VB8NN",
    ],
)
def test_a_secret_is_found_unless_its_line_says_that_it_is_none(checkout: Path, line: str) -> None:
    (checkout / "rag" / "a.py").write_text(f"{line}\n")
    assert secrets_in(checkout, ["rag/a.py"])
    (checkout / "rag" / "a.py").write_text(
        "".join(f"{each}  # pragma: allowlist secret\n" for each in line.split("\n"))
    )
    assert not secrets_in(checkout, ["rag/a.py"])


def test_ruff_holds_what_bandit_is_not_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    listed = subprocess.run(
        [sys.executable, "-m", "ruff", "rule", "--all", "--output-format", "json"], capture_output=True, check=True
    )
    stable = {each["code"] for each in json.loads(listed.stdout) if not each.get("preview")}
    assert "S" in project["ruff"]["lint"]["select"]
    asked = set(project["bandit"]["skips"]) - {"B404"}  # which is about an import, and not about a call
    assert {f"S{rule[1:]}" for rule in asked} <= stable
    assert not [each for each in project["ruff"]["lint"]["ignore"] if each[0] == "S" and each not in ("S603", "S607")]


def test_a_file_is_looked_at_again_only_when_it_changed(checkout: Path) -> None:
    looked: list[str] = []

    def scan(root: Path, files: Sequence[str]) -> Counter[tuple[str, str]]:
        looked.extend(files)
        return Counter({(each, "B1"): 2 for each in files if each != "rag/b.py"})

    names = ["rag/a.py", "rag/b.py"]
    for name in names:
        (checkout / name).write_text("a = 1\n")
    wanted = Counter({("rag/a.py", "B1"): 2})
    assert [remembered(scan, checkout, names, checkout / "cache") for _ in range(2)] == [wanted, wanted]
    (checkout / "rag" / "b.py").write_text("a = 2\n")
    assert remembered(scan, checkout, names, checkout / "cache") == wanted
    assert looked == [*names, "rag/b.py"]


def test_what_nobody_looked_at_and_what_is_gone_are_told() -> None:
    found, known = (
        Counter({("a.py", "B310"): 2, ("b.py", "B301"): 1}),
        Counter({("a.py", "B310"): 1, ("c.py", "B1"): 1}),
    )
    told = list(differences(found, known))
    assert [each.split(":")[0] for each in told] == ["a.py", "b.py", "c.py"]
    assert "no longer found" in told[2]
    assert list(differences(found, found)) == []


def test_a_star_stands_for_every_finding_of_a_kind_in_a_file() -> None:
    found = Counter({("m.json", "Hex High 0a1b"): 1, ("m.json", "Hex High 2c3d"): 2, ("m.json", "Secret 4e5f"): 1})
    known = Counter({("m.json", "Hex High *"): 1, ("m.json", "Secret 4e5f"): 1})
    assert list(differences(found, known)) == []
    assert [each.split(" (")[0] for each in differences(Counter(), known)] == [
        "m.json: Hex High *",
        "m.json: Secret 4e5f",
    ]


def test_every_reviewed_finding_has_a_reason(tmp_path: Path) -> None:
    assert reviewed(ROOT / REVIEWED).total() > 0
    (tmp_path / "a.yaml").write_text("- {why: because, findings: {a.py: [B310]}}")
    with pytest.raises(ValidationError, match="at least 20"):
        reviewed(tmp_path / "a.yaml")
