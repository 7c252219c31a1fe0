"""Which code ran on which machine, as far as that decides a figure."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import psutil


@lru_cache(maxsize=1)
def code_version() -> str:
    """The version of BankSight, with commit and `modified` where it runs from a clone."""
    folder = Path(__file__).parent
    told = version("banksight")
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return told
    return f"{told} {commit}{' modified' if changed else ''}"


@lru_cache(maxsize=1)
def machine() -> str:
    """Processor, cores, memory and Python."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()
