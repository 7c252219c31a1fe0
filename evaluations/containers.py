"""Images built and containers run on this machine, with no registry in reach: by Debian's buildah and podman, as root.

`make test-image` and `make test-compose` stand on it. The base of the images is a Debian that mmdebstrap makes.
TEST_IMAGE_BASE names another one that is there already, and BUILD_ARGS, where set, goes to the builder: it can mount
pip's settings and wheels of this site, which belong into no image.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
IMAGES: Final = ("backend", "ui", "chroma", "proxy")
PROGRAMS: Final = (
    "buildah", "podman", "runc", "netavark", "aardvark-dns", "catatonit", "mmdebstrap", "docker-registry",
)  # fmt: skip
HARDENED: Final = (
    "--read-only", "--tmpfs=/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges",
    "--memory", "4g", "--pids-limit", "512",
)  # fmt: skip

QUESTION: Final = "Within how many business days must a bank determine whether an error occurred?"
DOCUMENT: Final = (
    "# Electronic transfers\n\n## Procedures for resolving errors\n\nA financial institution shall determine whether "
    "an error occurred within 10 business days of receiving a notice of error.\n"
)

_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates,restic"
_BASE = f"localhost/banksight-test-base:{hashlib.sha256(_PACKAGES.encode()).hexdigest()[:8]}"  # with these packages
_BUILDER = {"TOOL": "buildah", "BUILDAH_ISOLATION": "chroot", "TARGET": "cpu"}  # builds need no cgroups and no network
_PLACES = ("/usr/lib/podman", "/usr/libexec/podman")  # where Debian puts what only podman calls


class ContainersUnavailable(RuntimeError):
    """A command failed or is missing; the text says which and how."""


def missing() -> list[str]:
    """Debian packages, by the name of their program, that are needed and not installed."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", *_PLACES))
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


def run(*command: str | Path, seconds: float = 3000, **environment: str) -> str:
    """What a command in the repository's root prints, without white space at its ends.

    Raises `ContainersUnavailable` when it fails.
    """
    done = subprocess.run(
        command, env=os.environ | _BUILDER | environment, cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=seconds,
    )  # fmt: skip
    if done.returncode:
        words = " ".join(map(str, command))
        raise ContainersUnavailable(f"{words}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout.strip()


def base_image(folder: Path) -> str:
    """The name of a Debian with Python as an image; made in `folder` when it is not there yet, in about two minutes."""
    if named := os.environ.get("TEST_IMAGE_BASE"):
        return named
    if not _is_there(_BASE):
        archive = folder / "base.tar"
        run("mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", archive)
        container = run("buildah", "from", "scratch")
        run("buildah", "add", "--quiet", container, archive, "/")
        run("buildah", "commit", "--quiet", "--rm", container, _BASE)
        archive.unlink()
    return _BASE


def built(base: str) -> dict[str, str]:
    """Each of `IMAGES` to its name, built from this commit by `make image`, if it was not before."""
    script = f". configs/deploy/images/names.sh; for each in {' '.join(IMAGES)}; do name_of $each; done"
    names = dict(zip(IMAGES, run("bash", "-c", script).split(), strict=True))
    for image, name in names.items():
        if name.endswith("-dirty") or not _is_there(f"localhost/{name}"):
            run("make", "image", f"IMAGE={image}", BASE=base)
    return names


def stores_image(base: str) -> str:
    """Stands in for the images of Redis and of PostgreSQL."""
    name = "localhost/banksight-test-stores"
    folder = ROOT / "tests" / "integration" / "containers"
    more = os.environ.get("BUILD_ARGS", "").split()
    run("buildah", "build", "--layers", "--build-arg", f"BASE={base}", *more, "--file", folder / "stores.Dockerfile",
        "--tag", name, folder)  # fmt: skip
    return name


def size_bytes(name: str) -> int:
    """Size of an image with everything that it stands on."""
    found: list[dict[str, Any]] = json.loads(run("podman", "image", "inspect", name))
    return int(found[0]["Size"])


def _is_there(name: str) -> bool:
    done = subprocess.run(["buildah", "inspect", "--type", "image", name], capture_output=True, check=False)
    return done.returncode == 0


@dataclass(frozen=True, slots=True)
class Podman:
    """podman with settings for machines that it does not run on as Debian sets it up."""

    settings: Path

    def __call__(self, *words: str | Path, seconds: float = 300) -> str:
        """What `podman WORDS` prints. Raises `ContainersUnavailable`."""
        return run("podman", *words, seconds=seconds, **self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """What makes any podman use these settings, compose's too."""
        return {"CONTAINERS_CONF": str(self.settings)}

    @contextmanager
    def running(self, image: str, options: Sequence[str], *command: str) -> Iterator[Container]:
        """A container in the background, hardened like those of our compose file, on this machine's own network."""
        container = Container(self, self("run", "--detach", "--network=host", *HARDENED, *options, image, *command))
        try:
            yield container
        finally:
            self("rm", "--force", "--volumes", "--time", "30", container.id)


@dataclass(frozen=True, slots=True)
class Container:
    """One container, ended or not."""

    podman: Podman
    id: str

    def log(self) -> str:
        """What it printed so far."""
        done = subprocess.run(
            ["podman", "logs", self.id], env=os.environ | self.podman.environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        return done.stdout

    def execute(self, *command: str) -> str:
        """What another command in it prints. Raises `ContainersUnavailable` when that fails."""
        return self.podman("exec", self.id, *command)

    def process(self) -> int:
        """The process id, on this machine, of its first process; 0 when it has ended."""
        return int(self.podman("inspect", "--format", "{{.State.Pid}}", self.id))

    def terminate(self) -> None:
        """SIGTERM, as an orchestrator sends it."""
        self.podman("kill", "--signal", "TERM", self.id)

    def exit_code(self, seconds: float) -> int:
        """The code with which it ends within that time."""
        return int(self.podman("wait", self.id, seconds=seconds))


def open_podman(folder: Path) -> Podman:
    """podman with settings in `folder` that take this machine as it is: cgroups of version 1, limits that nobody may
    raise, no systemd."""
    limits = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    # Half of what this process may have: runc takes less, where it may not raise limits, but not the limit itself.
    halves = {name: _most(limit) // 2 for name, limit in limits.items()}
    ulimits = [f"{name}={half}:{half}" for name, half in halves.items()]
    settings = folder / "containers.conf"
    settings.write_text(
        f"[containers]\ndefault_ulimits = {json.dumps(ulimits)}\n"
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        '[network]\nnetwork_backend = "netavark"\n',
        encoding="utf-8",
    )
    return Podman(settings)


def _most(limit: int) -> int:
    hard = resource.getrlimit(limit)[1]
    return 2**16 if hard == resource.RLIM_INFINITY else hard


def addresses_of(text: str) -> list[str]:
    """References by digest, `name@sha256:…`, that a push printed."""
    return re.findall(r"^\S+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
