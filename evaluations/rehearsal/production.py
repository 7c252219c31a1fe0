"""Production on this machine: profile `production`, every server real, nodes with the simulated engine.

Other than in production a node is one process (production has two, an Embedder and a Generator), and all are here.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
import yaml

from evaluations.chaos.calling import Entry
from evaluations.chaos.nginx import answers
from evaluations.chaos.postgres import postgres_server, url_of
from evaluations.chaos.processes import Child
from evaluations.chaos.stack import chroma_server
from evaluations.rehearsal.guide import ROOT
from evaluations.servers import free_ports

API_HOST: Final = "api.rehearsal.bank"
UI_HOST: Final = "chat.rehearsal.bank"
NODES: Final = 3
DOCUMENTS: Final = {
    "opening-hours.md": "# Opening hours\n\nBranches open at 9:00 and close at 16:30 on business days.\n",
    "electronic-transfers.md": """# Electronic transfers

## § 11 Procedures for resolving errors

A financial institution shall determine whether an error occurred within 10 business days of receiving a notice of
error. It shall report the results to the consumer within three business days after completing its investigation.

## § 6 Liability of the consumer

A consumer who gives notice within two business days after learning of the loss is liable for at most $50.
""",
}


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens on 127.0.0.1."""

    sql: int
    chroma: int
    redis: int
    https: int
    http: int
    prometheus: int
    nodes: tuple[int, ...]


@dataclass
class Production:
    """All processes, none of them started, and the settings that they share."""

    folder: Path
    ports: Ports
    environment: dict[str, str]
    postgres: Child
    chroma: Child
    redis: Child
    worker: Child
    nodes: list[Child]
    proxy: Child
    prometheus: Child
    key: str = ""
    later: list[Child] = field(default_factory=list)  # what was started besides

    @property
    def entry(self) -> Entry:
        """The API behind the proxy, as a person with a key."""
        certificate = self.environment["TLS_CERTIFICATE"]
        return Entry(f"https://127.0.0.1:{self.ports.https}", API_HOST, certificate=certificate, key=self.key)

    @property
    def operators_environment(self) -> dict[str, str]:
        """What an operator has who types commands on the worker's machine."""
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
        return {
            **os.environ, **self.environment, "PATH": path, "CURL_HOME": str(self.folder), "API": f"https://{API_HOST}",
            "PROMETHEUS": f"http://127.0.0.1:{self.ports.prometheus}", "BANKSIGHT_API_KEY": self.key,
        }  # fmt: skip

    def command(self, *arguments: str, over: Mapping[str, str] | None = None) -> str:
        """What `banksight …` prints, with some settings `over` ours.

        Raises `RuntimeError` with its error when it does not end with 0.
        """
        done = subprocess.run(
            [sys.executable, "-m", "rag.cli", *arguments], cwd=ROOT, env={**self.operators_environment, **(over or {})},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"banksight {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-400:]}")
        return done.stdout

    def lose_everything(self) -> None:
        """What all stores, the files and the worker's folder held; only backups, secrets and sources stay."""
        self.chroma.kill()
        shutil.rmtree(self.folder / "chroma")
        with psycopg.connect(url_of(self.ports.sql).replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        for name in ("files", "worker", *(f"node-{port}" for port in self.ports.nodes)):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self.chroma.start()

    def empty_stores(self) -> dict[str, str]:
        """Start another Chroma and make another database; the settings that lead there, to folders of their own."""
        place = self.folder / "beside"
        place.mkdir()
        (port,) = free_ports(1)
        chroma = chroma_server(place, port)
        self.later.append(chroma)
        chroma.start()
        url = url_of(self.ports.sql)
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("CREATE DATABASE beside")
        return {
            "DATABASE_URL": f"{url.rpartition('/')[0]}/beside", "BANKSIGHT__STORAGE__CHROMA_PORT": str(port),
            "FILES_DIR": str(place / "files"), "BANKSIGHT_DATA_DIR": str(place / "worker"),
        }  # fmt: skip

    def another_worker(self, over: Mapping[str, str]) -> Child:
        """One more, with some settings over ours; not started."""
        worker = worker_of(self.folder / "beside", {**self.environment, **over})
        self.later.append(worker)
        return worker


@contextmanager
def production(folder: Path) -> Iterator[Production]:
    """Everything ready to be started; all that was started is ended in the end, the last one first."""
    sql, chroma, redis, https, http, prometheus, *nodes = free_ports(6 + NODES)
    ports = Ports(sql, chroma, redis, https, http, prometheus, tuple(nodes))
    with ExitStack() as ends:
        place = Path(tempfile.mkdtemp(prefix="banksight-pg-"))  # which the user `postgres` can reach
        place.chmod(0o755)
        ends.callback(shutil.rmtree, place, ignore_errors=True)
        environment = _settings(folder, ports)
        password = environment["REDIS_URL"].split(":")[2].split("@")[0]
        made = Production(
            folder, ports, environment, postgres_server(place / "server", sql), chroma_server(folder, chroma),
            _redis(folder, redis, password), worker_of(folder, environment),
            [_node(folder, port, environment) for port in nodes], _proxy(folder, ports, environment),
            _prometheus(folder, ports),
        )  # fmt: skip
        for child in (made.postgres, made.redis, made.chroma, made.worker, *made.nodes, made.proxy, made.prometheus):
            ends.callback(child.stop)
        ends.callback(lambda: [child.stop() for child in made.later])
        yield made


def _settings(folder: Path, ports: Ports) -> dict[str, str]:
    """As an operator sets them, but for sizes of this machine, and one key that stands for all people of a load."""
    for name in ("documents", "files", "backups"):
        (folder / name).mkdir()
    for name, text in DOCUMENTS.items():
        (folder / "documents" / name).write_text(text, encoding="utf-8")
    password = folder / "backup-password"
    password.write_text(secrets.token_hex(32))
    password.chmod(0o600)
    certificate, key = new_certificate(folder)
    reached = ((443, ports.https), (80, ports.http))
    to_api = "".join(f'connect-to = "{API_HOST}:{port}:127.0.0.1:{here}"\n' for port, here in reached)
    (folder / ".curlrc").write_text(f'cacert = "{certificate}"\n{to_api}', encoding="utf-8")
    source = {"name": "papers", "kind": "filesystem", "collection": "rules", "root": str(folder / "documents")}
    nodes = ", ".join(f"127.0.0.1:{port}" for port in ports.nodes)
    return {
        "BANKSIGHT_PROFILE": "production", "BANKSIGHT_DATA_DIR": str(folder / "worker"), "NO_PROXY": "*",
        "BANKSIGHT__SOURCES": repr([source]), "FILES_DIR": str(folder / "files"), "DATABASE_URL": url_of(ports.sql),
        "VECTOR_DB_HOST": "127.0.0.1", "BANKSIGHT__STORAGE__CHROMA_PORT": str(ports.chroma),
        "REDIS_URL": f"redis://:{secrets.token_hex(16)}@127.0.0.1:{ports.redis}/0",
        **{name: secrets.token_hex(32) for name in ("CACHE_SECRET", "KEY_PEPPER", "AUDIT_SECRET")},
        "BACKUP_REPOSITORY": str(folder / "backups"), "BACKUP_PASSWORD_FILE": str(password),
        "TLS_CERTIFICATE": str(certificate), "TLS_CERTIFICATE_KEY": str(key),
        "BANKSIGHT__SERVER__HOST": "127.0.0.1", "BANKSIGHT__SERVER__ALLOWED_HOSTS": f"[{API_HOST}]",
        "BANKSIGHT__PROXY__FOLDER": str(folder / "nginx"), "BANKSIGHT__PROXY__API_HOST": API_HOST,
        "BANKSIGHT__PROXY__UI_HOST": UI_HOST, "BANKSIGHT__PROXY__USER": "root" if os.geteuid() == 0 else "",
        "BANKSIGHT__PROXY__HTTPS_PORT": str(ports.https), "BANKSIGHT__PROXY__HTTP_PORT": str(ports.http),
        "BANKSIGHT__PROXY__API_NODES": f"[{nodes}]", "BANKSIGHT__PROXY__UI_NODES": f"[{nodes}]",
        "BANKSIGHT__GENERATION__ENGINE": "simulated", "BANKSIGHT__GENERATION__SERVING": "in_process",
        "BANKSIGHT__EMBEDDING__SERVING": "in_process", "MAX_WORKERS": "1", "BANKSIGHT__EMBEDDING__BULK_BACKEND": "onnx",
        "BANKSIGHT_ENCODER_DIR": os.environ.get("BANKSIGHT_ENCODER_DIR") or str(ROOT / "var" / "models"),
        "BANKSIGHT__PREFLIGHT__DISK_GIB": "1", "BANKSIGHT__ADMISSION__USER_SLOTS": "5",
        "BANKSIGHT__LIMITS__USER": "{requests_per_minute: null, tokens_per_day: null}",
        "BANKSIGHT__LIMITS__KEY": "{requests_per_minute: null, tokens_per_day: null}",
        "ON_CALL_CONTACT": "rehearsal", "SECURITY_CONTACT": "rehearsal", "DATA_PROTECTION_CONTACT": "rehearsal",
    }  # fmt: skip


def new_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for both names that nobody but its own file vouches for, and its key; old ones are replaced."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = f"subjectAltName=DNS:{API_HOST},DNS:{UI_HOST}"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "90", "-subj", "/CN=rehearsal", "-addext", names, "-keyout", f"{key}.new",
         "-out", f"{certificate}.new"],
        check=True, capture_output=True,
    )  # fmt: skip
    for path in (key, certificate):
        Path(f"{path}.new").replace(path)
    return certificate, key


def _redis(folder: Path, port: int, password: str) -> Child:
    """Its password in a file: among the arguments everybody on the machine would see it."""
    file = folder / "redis.conf"
    file.write_text(f'port {port}\nbind 127.0.0.1\nsave ""\ndir {folder}\nrequirepass {password}\n', encoding="utf-8")
    file.chmod(0o600)
    asked = ["redis-cli", "-p", str(port), "ping"]

    def pings() -> bool:
        environment = {**os.environ, "REDISCLI_AUTH": password}
        return b"PONG" in subprocess.run(asked, capture_output=True, check=False, timeout=5, env=environment).stdout

    return Child("redis", ["redis-server", str(file)], pings, folder / "redis.log")


def worker_of(folder: Path, environment: Mapping[str, str]) -> Child:
    """A worker whose log lies in this folder."""
    log = folder / "worker.log"
    log.touch()
    child = Child("worker", [sys.executable, "-m", "rag.cli", "worker"], lambda: False, log, environment)
    child.answers = lambda: b"worker: ready" in log.read_bytes()[child.log_from :]
    return child


def _node(folder: Path, port: int, environment: dict[str, str]) -> Child:
    ours = environment | {"BANKSIGHT_DATA_DIR": str(folder / f"node-{port}")}
    command = [sys.executable, "-m", "rag.cli", "serve", "--port", str(port)]
    ready = f"http://127.0.0.1:{port}/readyz"
    return Child(f"node {port}", command, lambda: answers(ready, 200), folder / f"node-{port}.log", ours)


def _proxy(folder: Path, ports: Ports, environment: dict[str, str]) -> Child:
    command = [sys.executable, "-m", "rag.cli", "proxy", "run", "--every", "1"]
    ours = environment | {"BANKSIGHT_DATA_DIR": str(folder / "proxy")}
    return Child("proxy", command, lambda: answers(f"http://127.0.0.1:{ports.http}"), folder / "proxy.log", ours)


def _prometheus(folder: Path, ports: Ports) -> Child:
    """With our rules. It asks the nodes every two seconds, so that nobody waits for it here."""
    file = folder / "prometheus.yml"
    targets = [f"127.0.0.1:{port}" for port in ports.nodes]
    content = {
        "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
        "rule_files": [str(ROOT / "configs" / "deploy" / "prometheus" / "rules" / "*.yml")],
        "scrape_configs": [{"job_name": "banksight", "static_configs": [{"targets": targets}]}],
    }
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    command = [
        "prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'metrics'}",
        f"--web.listen-address=127.0.0.1:{ports.prometheus}",
    ]  # fmt: skip
    ready = f"http://127.0.0.1:{ports.prometheus}/-/ready"
    return Child("prometheus", command, lambda: answers(ready, 200), folder / "prometheus.log")
