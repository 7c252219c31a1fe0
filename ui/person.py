"""Who acts: the person whose session a request, or the socket that a task grew from, carries."""

from __future__ import annotations

from contextvars import ContextVar

# Set by `ui.sessions.Sessions` for each request and socket; tasks inherit it.
current_person: ContextVar[str] = ContextVar("current_person", default="")


class NotTheirs(PermissionError):
    """Somebody reached for what does not exist, or belongs to another person. Both look the same to them."""


def acting_person() -> str:
    """The identifier of the person who acts. Raises NotTheirs when nobody is signed in."""
    if not (person := current_person.get()):
        raise NotTheirs("nobody is signed in")
    return person
