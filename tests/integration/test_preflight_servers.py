"""`banksight preflight` against real servers: down, of another version, with an old schema, with an old backup."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from rag.operations.backup_repository import BackupRepository
from rag.operations.preflight import Part, Plan, inspect
from rag.operations.preflight_servers import (
    look_at_backups,
    look_at_database,
    look_at_issuer,
    look_at_language_model,
    look_at_traces,
)
from rag.settings import Settings
from rag.storage.database import open_database
from rag.testing_issuer import FakeIssuer

SECRET = "6f1c0b7de2a94835b1f07c2d9e8a4463"
Settle = Callable[..., Settings]


@pytest.fixture
def environment(
    tmp_path: Path, postgres_url: str, start_redis: Callable[..., object], free_port: int
) -> dict[str, str]:
    """Of a node in production whose PostgreSQL and Redis run and whose Chroma does not."""
    start_redis("--requirepass", SECRET)
    return {
        "BANKSIGHT_DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": postgres_url,
        "REDIS_URL": f"redis://:{SECRET}@127.0.0.1:{free_port}/0", "VECTOR_DB_HOST": "127.0.0.1",
        "BANKSIGHT__STORAGE__CHROMA_PORT": "1", "CACHE_SECRET": SECRET, "KEY_PEPPER": SECRET,
        "BANKSIGHT__SERVER__ALLOWED_HOSTS": "[api.bank.eu]", "BANKSIGHT__GENERATION__ENGINE": "extractive",
        "BANKSIGHT__GENERATION__FALLBACK": "[]", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
    }  # fmt: skip


def verdicts(environment: dict[str, str], part: Part = "node") -> dict[str, str]:
    """The worst verdict on each subject."""
    order = ("ok", "note", "wrong")
    worst: dict[str, str] = {}
    for finding in inspect("production", environment, part, hash_model=False):
        worst[finding.subject] = max(worst.get(finding.subject, "ok"), finding.verdict, key=order.index)
    return worst


def test_each_server_that_is_down_is_named_and_the_others_are_well(environment: dict[str, str]) -> None:
    open_database(environment["DATABASE_URL"]).dispose()
    found = verdicts(environment)
    assert {name for name, verdict in found.items() if verdict == "wrong"} - {"ports"} == {"chroma", "traces"}
    assert (found["database"], found["redis"], found["weights"]) == ("ok", "ok", "ok")
    assert not Path(environment["BANKSIGHT_DATA_DIR"]).exists()


def test_a_wrong_password_of_redis_is_called_that(environment: dict[str, str]) -> None:
    environment["REDIS_URL"] = environment["REDIS_URL"].replace(SECRET, SECRET[::-1])
    found = inspect("production", environment, "node", hash_model=False)
    said = [finding.text for finding in found if finding.subject == "redis"]
    assert len(said) == 1
    assert said[0].startswith("it refuses us")


@pytest.mark.parametrize(
    ("revision", "verdict", "said"),
    [("0001", "wrong", "is older than"), ("9999", "wrong", "is newer than"), (None, "note", "makes the schema")],
)
def test_another_schema_is_named_and_left_as_it_is(
    revision: str | None, verdict: str, said: str, postgres_url: str, make_settings: Settle
) -> None:
    engine = create_engine(postgres_url)
    if revision:
        open_database(postgres_url).dispose()
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :new"), {"new": revision})
    (found,) = look_at_database(Plan(make_settings(storage={"database_url": postgres_url}), {}, "worker"))
    with engine.connect() as connection:
        tables = connection.execute(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")).scalar_one()
        stays = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() if tables else None
    engine.dispose()
    assert (found.verdict, said in found.text) == (verdict, True)
    assert stays == revision


def test_a_user_who_may_make_no_tables_is_told_what_the_owner_must_grant(
    postgres_url: str, make_settings: Settle
) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE ROLE reader LOGIN"))
    try:
        url = postgres_url.replace("banksight@", "reader@", 1)
        found = list(look_at_database(Plan(make_settings(storage={"database_url": url}), {}, "worker")))
    finally:
        with engine.begin() as connection:
            connection.execute(text("DROP ROLE reader"))
        engine.dispose()
    assert found[0].verdict == "wrong"
    assert "GRANT CREATE" in found[0].text


def test_backups_that_are_missing_old_or_of_a_newer_version_are_wrong(tmp_path: Path, make_settings: Settle) -> None:
    (tmp_path / "password").write_text(SECRET)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "registry").write_text("a corpus")
    places = {"repository": str(tmp_path / "backups"), "password_file": str(tmp_path / "password")}

    def look(hours: float = 26) -> list[tuple[str, str]]:
        settings = make_settings(backup=places, preflight={"backup_hours": hours})
        return [(each.verdict, each.text) for each in look_at_backups(Plan(settings, {}, "worker"))]

    assert look()[0][0] == "note", "before the first start there is nothing to save"
    assert not (tmp_path / "backups").exists()
    settings = make_settings(backup=places)
    settings.data_dir.mkdir(parents=True)
    open_database(settings.database_url).dispose()
    assert look()[0][0] == "wrong"
    repository = BackupRepository(settings.backup, settings.root)
    repository.prepare()
    repository.save(tmp_path / "corpus", {"version": "0.0.1"}, lambda _: None)
    assert [verdict for verdict, _ in look()] == ["ok"]
    assert [verdict for verdict, _ in look(hours=1e-9)] == ["wrong"]
    repository.save(tmp_path / "corpus", {"version": "99.0.0"}, lambda _: None)
    assert [verdict for verdict, _ in look()] == ["wrong", "ok"]


def test_an_issuer_under_another_name_is_wrong(make_settings: Settle) -> None:
    with FakeIssuer() as issuer:
        for url, verdict in ((issuer.url, "ok"), (f"{issuer.url}/", "wrong"), ("http://127.0.0.1:1", "wrong")):
            identity = {"mode": "oidc", "oidc": {"issuer": url, "audience": "banksight"}}
            (found,) = look_at_issuer(Plan(make_settings(identity=identity), {}, "node"))
            assert found.verdict == verdict, found.text


class Answers(BaseHTTPRequestHandler):
    """A server with one model that takes spans, for whoever has the key."""

    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == f"Bearer {SECRET}"
        self._say(200 if allowed and self.path == "/v1/models" else 401, {"data": [{"id": "mistral"}]})

    def do_POST(self) -> None:
        empty = self.headers["Content-Length"] == "0" and self.headers["Content-Type"] == "application/x-protobuf"
        self._say(200 if empty and self.path == "/v1/traces" else 404, {})

    def _say(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def http_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "mistral at"),
        ({"model": "llama"}, "has no model llama, but mistral"),
        ({"api_key": "other"}, "LLM_API_KEY"),
    ],
)
def test_the_model_server_is_asked_for_our_model_with_our_key(
    wrong: dict[str, str], said: str, http_server: str, make_settings: Settle
) -> None:
    server = {"base_url": f"{http_server}/v1", "model": "mistral", "api_key": SECRET} | wrong
    generation = {"engine": "openai_compatible", "fallback": [], "openai_compatible": server}
    (found,) = look_at_language_model(Plan(make_settings(generation=generation), {}, "node"))
    assert found.verdict == ("wrong" if wrong else "ok")
    assert said in found.text
    assert SECRET not in found.text


def test_a_collector_gets_an_export_without_spans(http_server: str, make_settings: Settle) -> None:
    for endpoint, verdict in ((http_server, "ok"), (f"{http_server}/elsewhere", "wrong")):
        (found,) = look_at_traces(Plan(make_settings(tracing={"endpoint": endpoint}), {}, "node"))
        assert found.verdict == verdict, found.text


def test_the_command_prints_findings_and_ends_with_1_while_something_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rag.cli", "preflight", "--part", "node", "--json"]
    environment = os.environ | {"BANKSIGHT_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 1, done.stderr
    assert {each["subject"] for each in json.loads(done.stdout)} == {"configuration"}
    assert not (tmp_path / "data").exists()
