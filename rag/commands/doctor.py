"""`banksight doctor`."""

from __future__ import annotations

import click

from rag.commands.findings import tell
from rag.governance.roles import for_roles
from rag.settings import load_settings


@for_roles("operator")
@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def doctor(*, as_json: bool) -> int:
    """Say on one screen whether this machine is fit to run BankSight, and what to do where it is not."""
    from rag.operations.doctor import examine  # noqa: PLC0415  seconds of imports that `--help` must not pay

    return tell(examine(load_settings()), as_json=as_json)
