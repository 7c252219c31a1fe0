"""Roles, and what each route and each command says about who may use it.

user      asks, and reads the documents whose labels they hold
analyst   a user who also searches, embeds and uploads
operator  runs ingestion, deletes and labels documents, watches the service
auditor   reads what was done, not what documents say
admin     everything, keys included
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from rag.settings.identity import ROLES, Role

Stated = TypeVar("Stated")

_INCLUDED: Final[dict[str, frozenset[str]]] = {"analyst": frozenset({"user"}), "admin": frozenset(ROLES)}
_STATED: Final[dict[object, frozenset[Role]]] = {}


def expanded(roles: Iterable[str]) -> frozenset[str]:
    """These roles and those that they include. Names that are no role are dropped."""
    known = frozenset(ROLES) & frozenset(roles)
    return known.union(*(_INCLUDED.get(role, frozenset()) for role in known))


def for_roles(*roles: Role) -> Callable[[Stated], Stated]:
    """States, above a command or a group of commands, which roles it is for; commands inherit from their group.

    At the command line nobody asks: whoever may read and write the data folder is its admin. Commands that reach a
    running service send `BANKSIGHT_API_KEY`, and the service asks for the role of the route.
    """

    def state(command: Stated) -> Stated:
        _STATED[command] = frozenset(roles)
        return command

    return state


def stated_roles(command: object) -> frozenset[Role] | None:
    """What `for_roles` said of this command; None where nothing was said."""
    return _STATED.get(command)
