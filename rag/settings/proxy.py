"""The reverse proxy in front of API and UI."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, IPvAnyNetwork, StringConstraints

from rag.settings.section import Section

# These words become part of nginx's configuration, where a space, a brace or a semicolon would mean something.
Word = Annotated[str, StringConstraints(pattern=r"^[^\s;{}\"'$@\\]*$")]
HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class ProxySettings(Section):
    """Names, nodes, certificates and limits of `banksight proxy`.

    A node is `host:port`, where a name stands for all its addresses, or `file:PATH` of a file with one such a line.
    """

    folder: Word
    user: Word
    api_host: HostName
    ui_host: HostName
    https_port: Port
    http_port: Port
    api_nodes: tuple[Word, ...]
    ui_nodes: tuple[Word, ...]
    certificate: Word
    certificate_key: Word
    acme_folder: Word
    access_log: Word
    error_log: Word
    connect_seconds: int = Field(ge=1)
    read_seconds: int = Field(ge=1)
    client_seconds: int = Field(ge=1)
    requests_per_second: int = Field(ge=1)
    request_burst: int = Field(ge=1)
    connections: int = Field(ge=1)
    unlimited: tuple[IPvAnyNetwork, ...]
    trusted_proxies: tuple[IPvAnyNetwork, ...]
