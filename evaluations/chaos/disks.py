"""Small file systems in memory, to be filled."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

_PIECE = 64 * 1024


def mounted(place: Path, size: str) -> bool:
    """Make a file system of this size, such as `6m`, at a folder. False where that is not allowed."""
    place.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


def unmount(place: Path) -> None:
    """Take it away, also while files in it are open."""
    subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def fill(place: Path) -> Path:
    """Write a file until nothing more fits; delete it to make room again."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * _PIECE)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return ballast
