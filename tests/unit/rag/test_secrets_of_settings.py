"""Secrets that somebody configured appear in nothing that is printed, logged or raised."""

from __future__ import annotations

import json
import logging
import traceback
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import ConfigurationError
from rag.operations.logging_form import HumanLines, JsonLines
from rag.operations.logging_secrets import without_url_passwords
from rag.settings import Section, Settings, load_settings

SECRETS = st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=32, max_size=48).filter(lambda text: len(set(text)) > 8)
# Where a secret may stand; `{}` is its place. Every `SecretStr` of the schema must be among them.
PLACES = {
    "redis.url": "redis://:{}@cache:6379/0",
    "cache.secret": "{}",
    "audit.secret": "{}",
    "identity.keys.pepper": "{}",
    "generation.openai_compatible.api_key": "{}",
    "generation.openai_compatible.base_url": "https://user:{}@models.bank.example/v1",
    "storage.database_url": "postgresql+psycopg://banksight:{}@db/banksight",
    "models.endpoint": "https://user:{}@mirror.bank.example",
    "tracing.endpoint": "https://user:{}@collector.bank.example",
    "backup.secret_access_key": "{}",
    "backup.session_token": "{}",
    "privacy.conversations_url": "postgresql+psycopg://banksight:{}@db/chat",
    "backup.repository": "rest:https://user:{}@backup.bank.example/banksight",
}


def _planted(secret: str) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for place, form in PLACES.items():
        *sections, key = place.split(".")
        inner = overrides
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[key] = form.format(secret)
    return overrides


def _secret_fields(section: type[Section], path: str = "") -> list[str]:
    found = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            found += _secret_fields(kind, f"{path}{name}.")
        elif "SecretStr" in str(kind):
            found.append(path + name)
    return found


def test_the_list_of_places_has_every_secret_of_the_schema() -> None:
    assert set(_secret_fields(Settings)) <= set(PLACES)


@pytest.mark.proves("LLM02", "ASVS 16.2.5", "ISO A.5.17")
@settings(max_examples=8, deadline=None)
@given(SECRETS)
def test_settings_show_no_secret_however_they_are_printed_or_logged(secret: str) -> None:
    given_settings = load_settings("test", environment={}, overrides=_planted(secret))
    record = logging.getLogger("t").makeRecord(
        "rag.x", logging.WARNING, "f.py", 1, "opened with %s", (given_settings,), None
    )
    shown = [
        repr(given_settings),
        str(given_settings),
        f"{given_settings.storage!r}",
        repr({"s": given_settings.redis}),
    ]
    shown += [JsonLines("assistant").format(record), HumanLines().format(record)]
    shown.append(without_url_passwords(given_settings.model_dump_json()))  # as backups keep it
    assert given_settings.redis.url.get_secret_value() == PLACES["redis.url"].format(secret)
    assert [each for each in shown if secret in each] == []
    assert json.loads(shown[-1])["storage"]["database_url"].endswith("@db/banksight")


BROKEN: dict[str, dict[str, Any]] = {
    "a pepper that is too short": {"identity": {"keys": {"pepper": "zq9-planted"}}},
    "an audit secret that is too short": {"audit": {"secret": "zq9-planted"}},
    "a cache secret that is a placeholder": {"cache": {"secret": "changeme-zq9-planted-0123456789abcdef"}},
    "an issuer without encryption": {"identity": {"oidc": {"issuer": "http://user:zq9-planted@idp.example"}}},
    "an endpoint of no known scheme": {"models": {"endpoint": "ftp://user:zq9-planted@mirror.example"}},
    "a key in the wrong place": {"storage": {"password": "zq9-planted"}},
}


@pytest.mark.proves("ASVS 16.5.1", "ISO A.5.17")
@pytest.mark.parametrize("overrides", BROKEN.values(), ids=BROKEN)
def test_an_error_about_a_setting_repeats_no_secret(overrides: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_settings("test", environment={}, overrides=overrides)
    assert "zq9-planted" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:p@ss:word@cache:6379/0", "redis://[hidden]@cache:6379/0"),
        ("https://user@host/a@b", "https://[hidden]@host/a@b"),
        ("https://host/path, a.b@c.example", "https://host/path, a.b@c.example"),
    ],
)
def test_urls_lose_user_and_password_and_nothing_else(text: str, shown: str) -> None:
    assert without_url_passwords(text) == shown
