"""Which kinds of sources there are."""

from __future__ import annotations

import inspect
from typing import Any

from connectors.base import Connector
from connectors.errors import SourceMisconfigured
from connectors.filesystem import FilesystemConnector

CONNECTORS: dict[str, type[Connector]] = {"filesystem": FilesystemConnector}


def open_connector(kind: str, **options: Any) -> Connector:
    """A connector of this kind. Raises `SourceMisconfigured` for an unknown kind, or options that it does not take."""
    if kind not in CONNECTORS:
        known = ", ".join(sorted(CONNECTORS))
        raise SourceMisconfigured(f"There is no source of kind {kind!r}; use one of: {known}.")
    connector = CONNECTORS[kind]
    try:
        inspect.signature(connector).bind(**options)
    except TypeError as error:
        raise SourceMisconfigured(f"A source of kind {kind} cannot be opened so: {error}.") from None
    return connector(**options)
