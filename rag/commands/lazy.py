"""Groups of commands that are imported when they are called, so that `--help` answers at once."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose commands are imported on use. Packages above `rag` add theirs by entry point.

    `group` is the name of the entry points, `places` are commands of our own as `module:name`, which go first.
    """

    def __init__(self, *given: Any, group: str, places: Mapping[str, str] | None = None, **named: Any) -> None:
        super().__init__(*given, **named)
        self._group = group
        self._own_places = places or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted({*super().list_commands(ctx), *self._places()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None for an unknown name."""
        place = self._places().get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = place.partition(":")
        command = getattr(importlib.import_module(module), name)
        return command if isinstance(command, click.Command) else None

    def _places(self) -> dict[str, str]:
        return {point.name: point.value for point in entry_points(group=self._group)} | dict(self._own_places)
