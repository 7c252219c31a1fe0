"""`banksight doctor`."""

from __future__ import annotations

from dataclasses import asdict

import click

from rag.commands.place import print_json
from rag.governance.roles import for_roles
from rag.settings import load_settings

_SIGNS = {"ok": ("ok  ", "green"), "note": ("note", "yellow"), "wrong": ("FAIL", "red")}


@for_roles("operator")
@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def doctor(*, as_json: bool) -> int:
    """Say on one screen whether this machine is fit to run BankSight, and what to do where it is not."""
    from rag.operations.doctor import examine  # noqa: PLC0415  seconds of imports that `--help` must not pay

    settings = load_settings()
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            sign, color = _SIGNS[finding.verdict]
            click.echo(f"{click.style(sign, fg=color)}  {finding.subject:<12} {finding.text}")
    if as_json:
        print_json([asdict(finding) for finding in findings])
    return 1 if any(finding.verdict == "wrong" for finding in findings) else 0
