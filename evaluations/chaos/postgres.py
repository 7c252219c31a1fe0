"""A PostgreSQL server of our own on a port of this machine, with checksums of its pages."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import psycopg

from evaluations.chaos.processes import Child

_USER = "banksight"


def postgres_server(folder: Path, port: int) -> Child:
    """A server with its data in this folder, which must be reachable for the user `postgres`, not started yet.

    Raises `FileNotFoundError` where PostgreSQL is not installed.
    """
    programs = _programs()
    owner = "postgres" if os.geteuid() == 0 else getpass.getuser()  # PostgreSQL refuses to run as root
    folder.mkdir(parents=True, exist_ok=True)
    shutil.chown(folder, owner)
    made = [str(programs / "initdb"), "--pgdata", f"{folder}/data", "--username", _USER, "--auth", "trust"]
    subprocess.run([*made, "--data-checksums", "--no-sync"], user=owner, cwd=folder, check=True, capture_output=True)
    command = [str(programs / "postgres"), "-D", f"{folder}/data", "-k", "", "-h", "127.0.0.1", "-p", str(port)]
    if owner == "postgres":
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
    return Child("postgres", command, lambda: _answers(port), folder.with_name("postgres.log"))


def url_of(port: int) -> str:
    """The address of the database that every server has."""
    return f"postgresql+psycopg://{_USER}@127.0.0.1:{port}/postgres"


def _answers(port: int) -> bool:
    with suppress(psycopg.Error):
        psycopg.connect(host="127.0.0.1", port=port, user=_USER, dbname="postgres", connect_timeout=2).close()
        return True
    return False


def _programs() -> Path:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("postgres")
    candidates = [*installed, *([Path(found).parent] if found else [])]
    for each in candidates:
        if (each / "postgres").exists() and (each / "initdb").exists():
            return each
    raise FileNotFoundError("PostgreSQL's initdb and postgres are not installed; install the package postgresql")
