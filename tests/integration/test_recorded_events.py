"""Who signs in and out, and every other configuration, are recorded with everything else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rag.domain import Principal
from rag.errors import NotSignedIn
from rag.governance.identity import Authenticator, Grants
from rag.governance.keys import KeyStore
from rag.governance.receipts import Receipts, note_configuration, open_receipts
from rag.governance.recorded_sign_in import recorded_authentication
from rag.settings import Settings
from rag.storage.database import open_database
from rag.storage.registry import Registry

ROBOT = Principal("robot", "north", frozenset({"analyst"}))


@pytest.fixture
def trail(settings: Settings) -> Iterator[tuple[Registry, Receipts, Callable[[], list[dict[str, Any]]]]]:
    settings.data_dir.mkdir(parents=True)
    database = open_database(settings.database_url)
    receipts = open_receipts(settings, database)

    def records() -> list[dict[str, Any]]:
        files = sorted(Path(settings.audit_dir).rglob("*.jsonl"))
        return [json.loads(line)["record"] for each in files for line in each.read_text().splitlines()]

    yield Registry(database), receipts, records
    receipts.close()
    database.dispose()


@pytest.mark.proves("ASVS 16.3.1", "PCI DSS 10.2.1", "ISO A.8.15")
def test_signing_in_and_out_is_recorded_under_a_pseudonym(trail: Any, settings: Settings) -> None:
    _, receipts, records = trail
    store = KeyStore(open_database(settings.database_url), b"p" * 64)
    _, key = store.create("nightly", ROBOT, 86_400.0)
    authentication = recorded_authentication(Authenticator(Grants(store)), receipts)
    for _ in range(3):
        asyncio.run(authentication.principal(f"Bearer {key}"))
    with pytest.raises(NotSignedIn):
        asyncio.run(authentication.principal("Bearer bsk_0123456789abcdef." + "A" * 43))
    asyncio.run(authentication.sign_out(f"Bearer {key}"))
    found = [each for each in records() if each["kind"] in ("login", "logout")]
    assert [each["kind"] for each in found] == ["login", "logout"]
    assert "robot" not in json.dumps(found)


@pytest.mark.proves("AISVS 12.5.3", "SOC 2 CC7.1", "ISO A.8.9")
def test_a_configuration_is_recorded_when_it_changes_and_only_then(
    trail: Any, settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    registry, receipts, records = trail
    other_model = make_settings(generation={"engine": "mistral"})
    for each in (settings, settings, other_model, settings):
        note_configuration(each, receipts, registry)
    changes = [each["body"]["settings_sha256"] for each in records() if each["kind"] == "configuration"]
    assert len(changes) == 3
    assert changes[0] == changes[2] != changes[1]
