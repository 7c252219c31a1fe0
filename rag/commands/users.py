"""`banksight users`: people. Packages above `rag` add commands by the entry points `banksight.commands.users`."""

from __future__ import annotations

import click

from rag.commands.lazy import LazyGroup
from rag.governance.roles import for_roles


@for_roles("admin")
@click.group(cls=LazyGroup, group="banksight.commands.users")
def users() -> None:
    """Say who may sign in to the chat with a password."""
