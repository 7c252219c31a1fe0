"""`banksight preflight`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from rag.commands.findings import tell
from rag.governance.roles import for_roles

if TYPE_CHECKING:
    from rag.operations.preflight import Part


@for_roles("operator")
@click.command()
@click.option(
    "--profile", default=lambda: os.environ.get("BANKSIGHT_PROFILE") or "production", metavar="NAME",
    help="Whose configuration to look at; else BANKSIGHT_PROFILE, else production.",
)  # fmt: skip
@click.option(
    "--part", type=click.Choice(("all", "node", "worker", "proxy")), default="all", show_default=True,
    help="What is to be started on this machine.",
)  # fmt: skip
@click.option("--hash-model", is_flag=True, help="Read every byte of the language model too; takes minutes.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def preflight(*, profile: str, part: Part, hash_model: bool, as_json: bool) -> int:
    """Say whether production can be started here, and what to fix where it cannot. Changes nothing.

    Looks at secrets, certificate, ports, memory, disks, versions, stores and their schema, backups, weights and card.
    """
    from rag.operations.preflight import inspect  # noqa: PLC0415  seconds of imports that `--help` must not pay

    return tell(inspect(profile, os.environ, part, hash_model=hash_model), as_json=as_json)
