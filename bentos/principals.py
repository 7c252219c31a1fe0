"""Who calls. The one place that turns a request into a `Principal`; sign-in of any kind belongs here."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from bentos.admission import is_loopback
from rag.domain import Principal
from rag.errors import ConfigurationError
from rag.settings import Settings


def refuse_unprotected(settings: Settings) -> None:
    """Raise `ConfigurationError` when everybody on a network would be taken for the one local person."""
    if (
        settings.identity.mode == "none"
        and settings.identity.peers == "loopback"
        and not is_loopback(settings.server.host)
    ):
        raise ConfigurationError(
            f"server.host is {settings.server.host}, which others can reach, but identity.mode is none, so nobody "
            "would sign in; set server.host to 127.0.0.1, or, where a gateway in front signs people in, set "
            "identity.peers to private_network"
        )


async def current_principal(request: Request) -> Principal:
    """The caller. Mode `none`: the one person that the settings name."""
    settings: Settings = request.app.state.settings
    identity = settings.identity
    return Principal(identity.subject, settings.tenant, identity.roles, identity.clearances)


Caller = Annotated[Principal, Depends(current_principal)]
