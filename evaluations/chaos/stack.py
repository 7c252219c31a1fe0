"""The whole product on this machine, as production has it, each part to be hurt.

nginx, Assistants that read, one worker that writes, PostgreSQL, Chroma, Redis, an identity provider, a language model's
server.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from evaluations.chaos.callers import Caller, Watch
from evaluations.chaos.calling import Entry
from evaluations.chaos.corpus import TENANTS, Tenant, write_corpus
from evaluations.chaos.disks import mounted, unmount
from evaluations.chaos.environment import settings_of, signing_in, source_of, sources_of
from evaluations.chaos.link import Link
from evaluations.chaos.nginx import Nginx, answers, open_nginx
from evaluations.chaos.postgres import postgres_server, url_of
from evaluations.chaos.processes import Child
from evaluations.servers import free_ports
from rag.domain import Principal
from rag.governance.keys import KeyStore
from rag.proxy.placing import update
from rag.storage.database import open_database
from rag.testing_issuer import FakeIssuer

ROOT = Path(__file__).parents[2]
PEOPLE = 8  # of each tenant; none of them asks for more than its share of the places


@dataclass
class Stack:
    """Everything that runs. Nodes and worker reach Chroma, and nodes Redis and the issuer's keys, over links that can
    be made bad. `entry` is the proxy, called by people of two tenants in turn.
    """

    folder: Path
    nodes: list[Child]
    ports: list[int]
    worker: Child
    postgres: Child
    chroma: Child
    redis: Child
    llm: Child
    chroma_link: Link
    redis_link: Link
    issuer_link: Link
    issuer: FakeIssuer
    nginx: Nginx
    llm_port: int
    people: tuple[Caller, ...]
    operator: Caller
    observer: Caller  # who asks for nothing else than a row says
    watch: Watch
    audit_disk: bool  # whether the audit trail has a disk of its own, which can be filled

    @property
    def children(self) -> list[Child]:
        """All processes, each after those that it needs."""
        stores = [self.postgres, self.chroma, self.redis, self.llm]
        return [*stores, self.worker, *self.nodes, self.nginx.child]

    @property
    def entry(self) -> Entry:
        """The proxy."""
        return replace(self.nginx.api, callers=self.people, watch=self.watch)

    def node_entry(self, number: int) -> Entry:
        """One node, past the proxy."""
        return Entry(f"http://127.0.0.1:{self.ports[number]}", callers=self.people, watch=self.watch)

    @property
    def environment(self) -> dict[str, str]:
        """The settings of all nodes and of commands beside them."""
        return {name: value for name, value in self.worker.environment.items() if name != "BANKSIGHT_DATA_DIR"}

    def llm_mode(self, mode: str) -> None:
        """Let the language model's server be `good`, or not: `stub_llm.MODES`."""
        urllib.request.urlopen(f"http://127.0.0.1:{self.llm_port}/mode", mode.encode(), timeout=5).close()

    def llm_counts(self) -> dict[str, int]:
        """How many requests came to it, and how many run."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.llm_port}/counts", timeout=5) as response:
            return {str(name): int(count) for name, count in json.loads(response.read()).items()}

    def heal(self) -> None:
        """Undo every fault, and return when everything is ready."""
        for link in (self.chroma_link, self.redis_link, self.issuer_link):
            link.become("none")
        for child in self.children:
            child.thaw()
            if not child.tree():
                child.begin()
        for child in self.children:
            child.wait()
        self.llm_mode("good")
        update(self.nginx.settings)


@contextmanager
def running_stack(folder: Path, nodes: int, identity: Literal["none", "oidc"] = "none") -> Iterator[Stack]:
    """The product with so many nodes, its corpus ingested; everything is ended in the end.

    With `oidc`, which takes keys too, callers are people of two tenants; with `none` all are one person of the first.
    """
    with ExitStack() as ends:

        def begun(child: Child) -> Child:
            child.begin()
            ends.callback(child.stop)
            return child

        sql, chroma_port, chroma_link, redis_port, redis_link, issuer_link, llm_port, *ports = free_ports(7 + nodes)
        audit_disk = mounted(folder / "audit", "64m")
        if audit_disk:
            ends.callback(unmount, folder / "audit")
        postgres = begun(postgres_server(_short_folder(ends), sql))
        chroma = begun(chroma_server(folder, chroma_port))
        redis = begun(_redis(folder, redis_port))
        llm = begun(_llm(folder, llm_port))
        issuer = ends.enter_context(FakeIssuer())
        to_chroma, to_redis = Link(chroma_link, chroma_port).start(), Link(redis_link, redis_port).start()
        to_issuer = Link(issuer_link, int(issuer.url.rsplit(":", 1)[1])).start()
        for link in (to_chroma, to_redis, to_issuer):
            ends.callback(link.stop)
        for child in (postgres, chroma, redis, llm):
            child.wait()
        environment = settings_of(folder, sql, chroma_link, redis_link, llm_port)
        if identity == "oidc":
            environment |= signing_in(issuer.url, f"http://127.0.0.1:{issuer_link}/jwks")
        _ingest(folder, environment)
        people: tuple[Caller, ...] = ()
        operator = observer = Caller()
        if identity == "oidc":
            people, operator, observer = _keys(url_of(sql), environment["KEY_PEPPER"])
        worker = begun(_worker(folder, environment))
        places = [folder / f"node-{number}" for number in range(nodes)]
        assistants = [begun(_assistant(place, port, environment)) for place, port in zip(places, ports, strict=True)]
        for child in (worker, *assistants):
            child.wait()
        nginx = open_nginx(folder / "proxy", ports, supervised=True)
        ends.callback(nginx.child.stop)
        yield Stack(
            folder, assistants, ports, worker, postgres, chroma, redis, llm, to_chroma, to_redis, to_issuer, issuer,
            nginx, llm_port, people, operator, observer, Watch(), audit_disk,
        )  # fmt: skip


def _short_folder(ends: ExitStack) -> Path:
    """A folder that another user can reach, which one in our own temporary folder is not."""
    place = Path(tempfile.mkdtemp(prefix="banksight-pg-"))
    place.chmod(0o755)
    ends.callback(shutil.rmtree, place, ignore_errors=True)
    return place / "server"


def chroma_server(folder: Path, port: int) -> Child:
    """A Chroma server with its data in a folder below this one."""
    program = Path(sys.executable).with_name("chroma")
    command = [str(program), "run", "--path", str(folder / "chroma"), "--port", str(port)]
    return Child(
        "chroma", command, lambda: answers(f"http://127.0.0.1:{port}/api/v2/heartbeat", 200), folder / "chroma.log"
    )


def _redis(folder: Path, port: int) -> Child:
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]

    def pings() -> bool:
        asked = ["redis-cli", "-p", str(port), "ping"]
        return b"PONG" in subprocess.run(asked, capture_output=True, check=False, timeout=5).stdout

    return Child("redis", command, pings, folder / "redis.log")


def _llm(folder: Path, port: int) -> Child:
    command = [sys.executable, "-m", "evaluations.chaos.stub_llm", str(port)]
    return Child("llm", command, lambda: answers(f"http://127.0.0.1:{port}/counts", 200), folder / "llm.log")


def _worker(folder: Path, environment: dict[str, str]) -> Child:
    log = folder / "worker.log"
    log.touch()
    ours = environment | {"BANKSIGHT_DATA_DIR": str(folder / "worker")}
    child = Child("worker", [sys.executable, "-m", "rag.cli", "worker"], lambda: False, log, ours)
    child.answers = lambda: b"worker: ready" in log.read_bytes()[child.log_from :]
    return child


def _assistant(place: Path, port: int, environment: dict[str, str]) -> Child:
    command = [sys.executable, "-m", "bentoml", "serve", "bentos.assistant:Assistant", "--port", str(port)]
    ours = environment | {
        "BANKSIGHT_DATA_DIR": str(place),
        "BENTOML_HOME": str(place / "bentoml"),
        "PROMETHEUS_MULTIPROC_DIR": str(place / "prometheus"),
    }
    log = place.with_suffix(".log")
    return Child(f"node {port}", command, lambda: answers(f"http://127.0.0.1:{port}/readyz", 200), log, ours)


def _ingest(folder: Path, environment: dict[str, str]) -> None:
    """The documents of every tenant, each by a run of its own, as nobody serves two of them with one worker."""
    for tenant in reversed(TENANTS):
        write_corpus(source_of(folder, tenant), tenant)
        ours = {"BANKSIGHT__TENANT": tenant.name, "BANKSIGHT__SOURCES": sources_of(folder, tenant)}
        subprocess.run(
            [sys.executable, "-m", "rag.cli", "ingest"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
            env={**os.environ, **environment, "BANKSIGHT_DATA_DIR": str(folder / "worker"), **ours},
        )  # fmt: skip


def _keys(database_url: str, pepper: str) -> tuple[tuple[Caller, ...], Caller, Caller]:
    """Keys of people of every tenant, in turn, of an operator of the first, and of one more of its people."""
    database = open_database(database_url, "require")
    try:
        store = KeyStore(database, pepper.encode())

        def caller(tenant: Tenant, name: str, *roles: str) -> Caller:
            return Caller(tenant, store.create(name, Principal(name, tenant.name, frozenset(roles)), 86_400)[1])

        people = [caller(tenant, f"{tenant.name}-{n}", "user") for n in range(PEOPLE) for tenant in TENANTS]
        operator = caller(TENANTS[0], "operator", "user", "analyst", "operator")
        return tuple(people), operator, caller(TENANTS[0], "observer", "user", "analyst")
    finally:
        database.dispose()
