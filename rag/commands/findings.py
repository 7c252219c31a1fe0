"""Findings on a screen or as JSON, and the exit code that goes with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import click

from rag.commands.place import print_json
from rag.operations.findings import Finding

_SIGNS = {"ok": ("ok  ", "green"), "note": ("note", "yellow"), "wrong": ("FAIL", "red")}


def tell(findings: Iterable[Finding], *, as_json: bool) -> int:
    """Print each finding as it comes, or all as JSON; 1 where something is wrong, else 0."""
    told = []
    for finding in findings:
        told.append(finding)
        if not as_json:
            sign, color = _SIGNS[finding.verdict]
            click.echo(f"{click.style(sign, fg=color)}  {finding.subject:<13} {finding.text}")
    if as_json:
        print_json([asdict(finding) for finding in told])
    return 1 if any(finding.verdict == "wrong" for finding in told) else 0
