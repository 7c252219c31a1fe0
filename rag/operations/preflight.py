"""Is production ready to be started here? Every look says what to do, and none changes anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from rag.errors import BankSightError
from rag.operations.findings import Finding
from rag.settings import Settings, load_settings, missing_variables

Part = Literal["all", "node", "worker", "proxy"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be started here, and with which settings. `environment` is where those came from.

    `hash_model`: whether to read every byte of the language model, which takes minutes.
    """

    settings: Settings
    environment: Mapping[str, str]
    part: Part
    hash_model: bool = False

    def starts(self, *parts: Part) -> bool:
        """Whether one of these parts is to run here."""
        return self.part == "all" or self.part in parts


Look = Callable[[Plan], Iterator[Finding]]


def inspect(profile: str, environment: Mapping[str, str], part: Part, *, hash_model: bool) -> Iterator[Finding]:
    """All findings, the configuration first: while that cannot be read, nothing else is looked at.

    Never raises for what it finds.
    """
    try:
        missing = missing_variables(profile, environment)
        if missing:
            for name in missing:
                yield Finding("configuration", "wrong", f"{name} is not set; set it, or {name}_FILE to a file with it")
            return
        settings = load_settings(profile, environment=environment)
    except BankSightError as error:
        yield Finding("configuration", "wrong", str(error))
        return
    yield Finding("configuration", "ok", f"profile {profile}, to start {'everything' if part == 'all' else part}")
    plan = Plan(settings, environment, part, hash_model)
    for look in _looks():
        try:
            yield from look(plan)
        except BankSightError as error:
            yield Finding(look.__name__.removeprefix("look_at_").replace("_", " "), "wrong", str(error))


def _looks() -> tuple[Look, ...]:
    """In the order in which they help: what is read from files first, then servers, models last."""
    from rag.operations import preflight_machine as machine  # noqa: PLC0415
    from rag.operations import preflight_servers as servers  # noqa: PLC0415
    from rag.operations.preflight_certificate import look_at_certificate  # noqa: PLC0415
    from rag.operations.preflight_secrets import look_at_secret_files, look_at_secrets, look_at_settings  # noqa: PLC0415

    return (
        look_at_settings, look_at_secrets, look_at_secret_files, look_at_certificate,
        machine.look_at_versions, machine.look_at_ports, machine.look_at_memory, machine.look_at_disk,
        machine.look_at_sources,
        servers.look_at_database, servers.look_at_redis, servers.look_at_chroma, servers.look_at_traces,
        servers.look_at_issuer, servers.look_at_language_model, servers.look_at_nodes, servers.look_at_backups,
        machine.look_at_weights, machine.look_at_model,
    )  # fmt: skip
