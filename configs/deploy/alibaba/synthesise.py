"""Writes template.json from `stack`. Run it by `make cloud`; `--check` only says whether the template is current.

The template holds two digests in its metadata, so that a test without Node and ROS CDK can tell when the sources or the
template changed alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
TEMPLATE = FOLDER / "template.json"


def source_digest() -> str:
    """SHA-256 over the names and contents of everything that the template is made from."""
    digest = hashlib.sha256()
    names = ("synthesise.py", "launch.sh", "chroma.sh", "common.sh", "p95.py", "requirements.txt")
    for file in sorted((*(FOLDER / name for name in names), *(FOLDER / "stack").glob("*.py"))):
        digest.update(f"{file.relative_to(FOLDER)}\0{file.read_text(encoding='utf-8')}\0".encode())
    return digest.hexdigest()


def template_digest(template: dict[str, Any]) -> str:
    """SHA-256 of the template without its metadata."""
    body = {key: value for key, value in template.items() if key != "Metadata"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def synthesise() -> dict[str, Any]:
    """The template as ROS takes it. Needs ROS CDK and Node."""
    os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "1")
    os.environ.setdefault("JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION", "1")
    import ros_cdk_core as core  # noqa: PLC0415 - the digests are wanted where it is not installed

    sys.path.insert(0, str(FOLDER))
    from stack.assembly import build  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        app = core.App(outdir=folder)
        stack = core.Stack(
            app, "banksight", description="BankSight: answers about a bank's documents with page-exact citations",
            enable_resource_property_constraint=True,
        )  # fmt: skip
        why = build(stack)
        app.synth()
        (path,) = Path(folder).glob("*.template.json")
        template: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    template.pop("Metadata", None)
    template["Metadata"] = {
        "BankSight": {"Sources": source_digest(), "Template": template_digest(template), "Permissions": why}
    }
    return template


def main() -> int:
    """Exit code 0: written, or current; 1: not current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    made = None if parser.parse_args().check else synthesise()
    if made:
        TEMPLATE.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        sys.stdout.write(f"{TEMPLATE.name}: {len(made['Resources'])} resources\n")
        return 0
    current = json.loads(TEMPLATE.read_text(encoding="utf-8")) == synthesise()
    sys.stdout.write("template.json is current\n" if current else "template.json is not current: run `make cloud`\n")
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
