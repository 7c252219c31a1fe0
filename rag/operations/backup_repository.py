"""Where backups lie: a restic repository in a folder or in an object store, encrypted and deduplicated.

restic names every file of a repository by the SHA-256 of its content and authenticates what is inside.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from rag.errors import BackupRejected, Busy, ConfigurationError, NotFound, StorageUnavailable
from rag.operations.backup_manifest import file_digest
from rag.operations.logging_secrets import redacted
from rag.settings.backup import BackupSettings

_TAG: Final = "banksight"
_CONNECT_SECONDS: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443}
_ELSEWHERE: Final = ("400 bad request", "authorizationheadermalformed", "invalidregion", "the region ")
_REFUSED: Final = ("access denied", "accessdenied", "access key id", "invalidaccesskeyid", "signature")
_AFTERTHOUGHT: Final = "Is there a repository at the following location?"  # of restic, whatever went wrong
_ABSENT: Final = ("does not exist", "no such file", "not a directory")  # says the store, before there is a backup
_NAMED_BY_DIGEST: Final = ("data", "index", "keys", "snapshots")


@dataclass(frozen=True, slots=True)
class Saved:
    """A backup in the repository. `facts` are a few numbers, for a list; the manifest inside says everything."""

    id: str
    created_at: str
    facts: dict[str, str]


class BackupRepository:
    """One restic repository.

    Methods raise `ConfigurationError`, `StorageUnavailable`, `NotFound`, `BackupRejected`, and `Busy` while another
    process deletes backups.
    """

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
        self._environment = _environment(settings)
        self._reached = self.folder is not None

    def prepare(self) -> None:
        """Make the repository where there is none yet."""
        if self.folder is not None:
            if (self.folder / "config").exists():
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            if any(self.folder.iterdir()):
                raise ConfigurationError(f"{self.folder} holds something else than backups; name an empty folder")
        else:
            found = self._call("cat", "config", check=False)
            if found.returncode == 0:
                return
            reason = _translated(found.stderr, self._place)
            if not isinstance(reason, NotFound):  # wrong credentials would not do better at making one
                raise reason
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

    def _require_reachable(self) -> None:
        """Whether somebody listens at the address; restic would try for minutes. Unknown addresses are restic's."""
        address = _address(self._place)
        if not self._reached and address:
            try:
                socket.create_connection(address, _CONNECT_SECONDS).close()
            except OSError as error:
                raise StorageUnavailable(
                    f"nothing answers at {address[0]}:{address[1]}, where backups go ({error}); check the network and "
                    "BACKUP_REPOSITORY"
                ) from error
        self._reached = True

    def _start(self, command: Sequence[str], cwd: Path, errors: Any) -> subprocess.Popen[str]:
        self._require_reachable()
        try:
            return subprocess.Popen(
                command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=errors, env=self._environment
            )
        except FileNotFoundError as error:
            raise _no_restic() from error

    def _call(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        self._require_reachable()
        command = self._command(*arguments)
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment)
        except FileNotFoundError as error:
            raise _no_restic() from error
        if check and done.returncode != 0:
            raise _translated(done.stderr, self._place)
        return done


def damaged_files(folder: Path) -> list[str]:
    """Files of a repository in a folder that are not what their name, the SHA-256 of the content, says."""
    found = (path for part in _NAMED_BY_DIGEST for path in sorted((folder / part).rglob("*")) if path.is_file())
    return [path.relative_to(folder).as_posix() for path in found if file_digest(path) != path.name]


def _environment(settings: BackupSettings) -> dict[str, str]:
    """Credentials for restic, which nobody else on the machine sees there; without variables that lead it elsewhere."""
    ours = {
        "AWS_ACCESS_KEY_ID": settings.access_key_id,
        "AWS_SECRET_ACCESS_KEY": settings.secret_access_key.get_secret_value(),
        "AWS_SESSION_TOKEN": settings.session_token.get_secret_value(),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RESTIC_")}
    return inherited | {name: value for name, value in ours.items() if value}


def _address(place: str) -> tuple[str, int] | None:
    """Host and port of an object store or a server of restic; None for another kind, or behind a proxy."""
    kind, _, rest = place.partition(":")
    if kind not in ("s3", "rest") or os.environ.get("HTTPS_PROXY") or os.environ.get("HTTP_PROXY"):
        return None
    url = urlsplit(rest if "://" in rest else f"https://{rest}")
    return (url.hostname, url.port or _PORTS.get(url.scheme, 443)) if url.hostname else None


def _translated(errors: str, place: str) -> Exception:
    lines = [line.strip() for line in errors.splitlines() if line.strip() not in ("", place, _AFTERTHOUGHT)]
    last = redacted(" ".join(lines[-2:]) or "restic said nothing")[:300]
    where = redacted(place)
    low = errors.replace(place, "").casefold()
    if "already locked" in low:
        return Busy(
            f"another process works on the backups at {where}, or was killed there in the last half hour; "
            "try again later",
            retry_after=1800,
        )
    if any(word in low for word in _ELSEWHERE):
        return ConfigurationError(
            f"the object store of {where} takes no requests signed for this region; name the bucket's, with s3.region "
            f"in backup.options: {last}"
        )
    if any(word in low for word in _REFUSED):
        return ConfigurationError(
            f"the object store of {where} refuses these credentials; correct AWS_ACCESS_KEY_ID and "
            f"AWS_SECRET_ACCESS_KEY, or what they may do: {last}"
        )
    if "wrong password" in errors:
        return ConfigurationError(f"the password does not open the backups at {where}; correct BACKUP_PASSWORD_FILE")
    if _AFTERTHOUGHT.casefold() in low and any(word in low for word in _ABSENT):
        return NotFound(f"there are no backups at {where}; `banksight backup create` makes the first one")
    return StorageUnavailable(f"restic failed at {where}: {last}")


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
