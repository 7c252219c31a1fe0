"""Where backups lie: a restic repository in a folder or in an object store, encrypted and deduplicated.

restic names every file of a repository by the SHA-256 of its content and authenticates what is inside.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rag.errors import BackupRejected, ConfigurationError, NotFound, StorageUnavailable
from rag.operations.backup_manifest import file_digest
from rag.operations.logging_secrets import redacted
from rag.settings.backup import BackupSettings

_TAG: Final = "banksight"
_NAMED_BY_DIGEST: Final = ("data", "index", "keys", "snapshots")


@dataclass(frozen=True, slots=True)
class Saved:
    """A backup in the repository. `facts` are a few numbers, for a list; the manifest inside says everything."""

    id: str
    created_at: str
    facts: dict[str, str]


class BackupRepository:
    """One restic repository. Methods raise `ConfigurationError`, `StorageUnavailable`, `NotFound`, `BackupRejected`."""

    def __init__(self, settings: BackupSettings, root: Path) -> None:
        """Relative paths are of `root`."""
        if not settings.repository or not settings.password_file:
            raise ConfigurationError(
                "backups are not configured; set BACKUP_REPOSITORY to a folder or an s3: address, and "
                "BACKUP_PASSWORD_FILE to a file with the password that encrypts them"
            )
        self._password_file = root / Path(settings.password_file).expanduser()
        if not self._password_file.is_file() or not self._password_file.read_bytes().strip():
            raise ConfigurationError(f"the file {self._password_file} holds no password for backups; put one there")
        self.folder = None if ":" in settings.repository else root / Path(settings.repository).expanduser()
        self._options = [part for option in settings.options for part in ("-o", option)]
        self._place = str(self.folder or settings.repository)

    def prepare(self) -> None:
        """Make the repository where there is none yet."""
        if self.folder is not None:
            if (self.folder / "config").exists():
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            if any(self.folder.iterdir()):
                raise ConfigurationError(f"{self.folder} holds something else than backups; name an empty folder")
        elif self._call("cat", "config", check=False).returncode == 0:
            return
        self._call("init")

    def save(self, folder: Path, facts: dict[str, str], progress: Callable[[float], None]) -> str:
        """Add what lies in `folder`; returns the id. `progress` gets the share that is done, 0..1."""
        self._call("unlock")  # of processes that are dead
        tags = ["--tag", ",".join([_TAG, *(f"{name}:{value}" for name, value in facts.items())])]
        command = self._command("--json", "backup", "--ignore-inode", "--ignore-ctime", *tags, ".")
        saved = ""
        with tempfile.TemporaryFile("w+", encoding="utf-8") as errors, self._start(command, folder, errors) as process:
            for line in process.stdout or ():
                said = _json_line(line)
                if said.get("message_type") == "status":
                    progress(float(said.get("percent_done", 0)))
                saved = str(said.get("snapshot_id", saved))
            code = process.wait()
            errors.seek(0)
            if code != 0 or not saved:
                raise _translated(errors.read(), self._place)
        return saved

    def backups(self) -> list[Saved]:
        """What there is, oldest first."""
        found = json.loads(self._call("--json", "snapshots", "--no-lock", "--tag", _TAG).stdout or "[]") or []
        listed = [Saved(each["short_id"], each["time"], _facts(each.get("tags") or ())) for each in found]
        return sorted(listed, key=lambda each: each.created_at)

    def find(self, backup_id: str) -> Saved:
        """The backup with this id, or the newest one for `latest`. Raises `NotFound`."""
        found = self.backups()
        fitting = found[-1:] if backup_id == "latest" else [each for each in found if each.id == backup_id[:8]]
        if not fitting:
            raise NotFound(f"there is no backup {backup_id!r}; `banksight backup list` shows those there are")
        return fitting[0]

    def fetch(self, backup_id: str, target: Path) -> None:
        """Write a backup's files into `target`."""
        self._call("restore", "--no-lock", backup_id, "--target", str(target))

    def require_whole(self) -> None:
        """Read every byte of the repository. Raises `BackupRejected` when one is not as it was written."""
        if self.folder is not None:
            damaged = damaged_files(self.folder)
            if damaged:
                raise BackupRejected(f"the repository of backups is damaged at {damaged[0]}; use a copy of it")
        try:
            self._call("check", "--no-lock", "--read-data")
        except StorageUnavailable as error:
            raise BackupRejected(f"the repository of backups is damaged; use a copy of it: {error}") from error

    def forget(self, keep_days: int) -> int:
        """Delete backups that are so many days older than the newest, and the space they took. Returns how many."""
        before = len(self.backups())
        self._call("unlock")
        self._call("forget", "--tag", _TAG, "--group-by", "", "--keep-within", f"{keep_days}d", "--prune")
        return before - len(self.backups())

    def _command(self, *arguments: str) -> list[str]:
        fixed = ["--repo", self._place, "--password-file", str(self._password_file), "--no-cache", *self._options]
        return ["restic", *fixed, *arguments]

    def _start(self, command: Sequence[str], cwd: Path, errors: Any) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=errors)
        except FileNotFoundError as error:
            raise _no_restic() from error

    def _call(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        try:
            done = subprocess.run(self._command(*arguments), capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise _no_restic() from error
        if check and done.returncode != 0:
            raise _translated(done.stderr, self._place)
        return done


def damaged_files(folder: Path) -> list[str]:
    """Files of a repository in a folder that are not what their name, the SHA-256 of the content, says."""
    found = (path for part in _NAMED_BY_DIGEST for path in sorted((folder / part).rglob("*")) if path.is_file())
    return [path.relative_to(folder).as_posix() for path in found if file_digest(path) != path.name]


def _translated(errors: str, place: str) -> Exception:
    last = redacted(" ".join(line.strip() for line in errors.strip().splitlines()[-2:]) or "restic said nothing")
    where = redacted(place)
    if "wrong password" in errors:
        return ConfigurationError(f"the password does not open the backups at {where}; correct BACKUP_PASSWORD_FILE")
    if "Is there a repository" in errors:
        return NotFound(f"there are no backups at {where}; `banksight backup create` makes the first one")
    return StorageUnavailable(f"restic failed at {where}: {last[:300]}")


def _no_restic() -> ConfigurationError:
    return ConfigurationError("restic is not installed; install it (Debian: apt-get install restic)")


def _json_line(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _facts(tags: Sequence[str]) -> dict[str, str]:
    return dict(each.split(":", 1) for each in tags if ":" in each)
