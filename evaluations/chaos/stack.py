"""The whole product on this machine: nginx, Assistants, Chroma, Redis, a language model's server, each to be hurt."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaluations.chaos.corpus import write_corpus
from evaluations.chaos.link import Link
from evaluations.chaos.nginx import API_HOST, Nginx, answers, open_nginx
from evaluations.chaos.processes import Child
from evaluations.servers import free_ports
from rag.proxy.placing import update

ROOT = Path(__file__).parents[2]


@dataclass
class Stack:
    """Everything that runs. The nodes reach Chroma and Redis over links that can be made bad."""

    folder: Path
    nodes: list[Child]
    ports: list[int]
    chroma: Child
    redis: Child
    llm: Child
    chroma_link: Link
    redis_link: Link
    nginx: Nginx
    llm_port: int

    @property
    def children(self) -> list[Child]:
        """All processes."""
        return [self.nginx.child, *self.nodes, self.chroma, self.redis, self.llm]

    def llm_mode(self, mode: str) -> None:
        """Let the language model's server be `good`, or not: `stub_llm.MODES`."""
        urllib.request.urlopen(f"http://127.0.0.1:{self.llm_port}/mode", mode.encode(), timeout=5).close()

    def llm_counts(self) -> dict[str, int]:
        """How many requests came to it, and how many run."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.llm_port}/counts", timeout=5) as response:
            return {str(name): int(count) for name, count in json.loads(response.read()).items()}

    def heal(self) -> None:
        """Undo every fault, and return when all nodes are ready."""
        self.chroma_link.become("none")
        self.redis_link.become("none")
        for child in self.children:
            child.thaw()
            if not child.tree():
                child.begin()
        for child in self.children:
            child.wait()
        self.llm_mode("good")
        update(self.nginx.settings)


@contextmanager
def running_stack(folder: Path, nodes: int) -> Iterator[Stack]:
    """The product with so many nodes, its corpus ingested; everything is ended in the end."""
    with ExitStack() as ends:

        def begun(child: Child) -> Child:
            child.begin()
            ends.callback(child.stop)
            return child

        chroma_port, chroma_link, redis_port, redis_link, llm_port, *ports = free_ports(5 + nodes)
        chroma = begun(chroma_server(folder, chroma_port))
        redis = begun(_redis(folder, redis_port))
        llm = begun(_llm(folder, llm_port))
        links = [Link(chroma_link, chroma_port).start(), Link(redis_link, redis_port).start()]
        for link in links:
            ends.callback(link.stop)
        for child in (chroma, redis, llm):
            child.wait()
        environment = _environment(folder, chroma_link, redis_link, llm_port)
        places = _ingested(folder, environment, nodes)
        assistants = [begun(_assistant(place, port, environment)) for place, port in zip(places, ports, strict=True)]
        for assistant in assistants:
            assistant.wait()
        nginx = open_nginx(folder / "proxy", ports, supervised=True)
        ends.callback(nginx.child.stop)
        yield Stack(folder, assistants, ports, chroma, redis, llm, links[0], links[1], nginx, llm_port)


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


def _assistant(place: Path, port: int, environment: dict[str, str]) -> Child:
    command = [sys.executable, "-m", "bentoml", "serve", "bentos.assistant:Assistant", "--port", str(port)]
    ours = environment | {
        "BANKSIGHT_DATA_DIR": str(place),
        "BENTOML_HOME": str(place / "bentoml"),
        "PROMETHEUS_MULTIPROC_DIR": str(place / "prometheus"),
    }
    log = place.with_suffix(".log")
    return Child(f"node {port}", command, lambda: answers(f"http://127.0.0.1:{port}/readyz", 200), log, ours)


def _environment(folder: Path, chroma: int, redis: int, llm: int) -> dict[str, str]:
    """The settings of all nodes."""
    write_corpus(folder / "source")
    source = {"name": "rules", "kind": "filesystem", "collection": "regulations", "root": str(folder / "source")}
    return {
        "BANKSIGHT_PROFILE": "test",
        "BANKSIGHT__SOURCES": repr([source]),
        "BANKSIGHT__STORAGE__CHROMA": "server",
        "BANKSIGHT__STORAGE__CHROMA_PORT": str(chroma),
        "VECTOR_DB_HOST": "127.0.0.1",
        "REDIS_URL": f"redis://127.0.0.1:{redis}/0",
        "BANKSIGHT__ADMISSION__SLOTS": "8",  # of each node, as of a model on one card
        "CACHE_SECRET": secrets.token_hex(32),
        "BANKSIGHT__LIMITS__USER": "{requests_per_minute: 100000, tokens_per_day: null}",  # asks Redis for every call
        "BANKSIGHT__GENERATION__ENGINE": "openai_compatible",
        "BANKSIGHT__GENERATION__FALLBACK": "[extractive]",
        "BANKSIGHT__GENERATION__BREAKER_REST_SECONDS": "3",  # rows follow each other more quickly than faults do
        "LLM_BASE_URL": f"http://127.0.0.1:{llm}/v1",
        "BANKSIGHT__SERVER__DRAIN_NOTICE_SECONDS": "1.5",
        "BANKSIGHT__SERVER__ALLOWED_HOSTS": f"[{API_HOST}]",
        "NO_PROXY": "*",
    }


def _ingested(folder: Path, environment: dict[str, str], nodes: int) -> Sequence[Path]:
    """A data folder for each node: ingested once, copied for the others. Chroma is shared."""
    places = [folder / f"node-{number}" for number in range(nodes)]
    subprocess.run(
        [sys.executable, "-m", "rag.cli", "ingest"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
        env={**os.environ, **environment, "BANKSIGHT_DATA_DIR": str(places[0])},
    )  # fmt: skip
    for place in places[1:]:
        shutil.copytree(places[0], place, ignore=shutil.ignore_patterns("*.lock"))
    return places
