"""Everything that BankSight reports as wrong, by who must act. The text of each is one sentence that says what to do.

BankSightError
├── ConfigurationError      the operator: a setting, a file or a version is not as it must be
│   ├── IndexMismatch       ... the index was made by another encoder or another version
│   ├── DataFolderInUse     ... another process owns the data folder
│   └── BackupRejected      ... a backup is damaged, mixed, foreign, or newer than this software
├── StorageUnavailable      the operator: a database, Chroma or the disk does not answer
├── ModelError              us: a model could not be loaded or did not answer
│   ├── ModelTimeout        ... it did not answer in time
│   └── WeightsRejected     ... the weights are not the ones that were pinned
├── QuestionError           the user: the question cannot be processed as it stands
│   └── PersonalDataRefused ... it holds personal data that a policy blocks
├── NotFound                the user: what was asked for does not exist, or may not be seen
├── UploadRejected          the user: the file is refused
├── NotSignedIn             the user: no key or token that counts was sent
├── NotAllowed              the user: their roles do not cover this
│   └── ConsentNeeded       ... they have not agreed to a purpose
├── ConsentOutdated         the user: they agree to a text that is no longer the one that holds
└── Busy                    nobody: try again in `retry_after` seconds
    └── Full                ... all places are taken; the service itself is well
"""

from __future__ import annotations

from collections.abc import Mapping


class BankSightError(Exception):
    """Root of everything that BankSight reports. `code` is stable, for programs."""

    code = "internal"


class ConfigurationError(BankSightError):
    """A setting, a file or a version is not as it must be."""

    code = "configuration"


class IndexMismatch(ConfigurationError):
    """The index was made by another encoder or by another version of the software."""

    code = "index_mismatch"


class DataFolderInUse(ConfigurationError):
    """Another process owns the data folder. `url` is its HTTP address, or empty."""

    code = "data_folder_in_use"

    def __init__(self, message: str, url: str = "") -> None:
        super().__init__(message)
        self.url = url


class BackupRejected(ConfigurationError):
    """A backup is damaged, mixed, foreign, or newer than this software, and is not used."""

    code = "backup_rejected"


class StorageUnavailable(BankSightError):
    """A database, Chroma or the disk does not answer or refuses to write."""

    code = "storage_unavailable"


class ModelError(BankSightError):
    """A model could not be loaded or did not answer."""

    code = "model_error"


class ModelTimeout(ModelError):
    """A model did not answer in time."""

    code = "model_timeout"


class WeightsRejected(ModelError):
    """The weights on disk are not the ones that were pinned."""

    code = "weights_rejected"


class QuestionError(BankSightError):
    """The question cannot be processed as it stands."""

    code = "invalid_question"


class PersonalDataRefused(QuestionError):
    """The text holds personal data of a kind that is blocked. The message names the kinds, not the data."""

    code = "personal_data"


class NotFound(BankSightError):
    """What was asked for does not exist, or the principal may not know that it does."""

    code = "not_found"


class UploadRejected(BankSightError):
    """The uploaded file is refused. `status` is 413 for its size, 415 for its type, 422 for its content or name."""

    code = "upload_rejected"

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


class Busy(BankSightError):
    """The service is at its limit."""

    code = "busy"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Full(Busy):
    """All places are taken, or this caller's share of them is. `code` says which."""

    code = "full"

    def __init__(self, message: str, retry_after: int = 1, code: str = "full") -> None:
        super().__init__(message, retry_after)
        self.code = code


class NotSignedIn(BankSightError):
    """Nobody is signed in, or the key or token does not count. `presented`: whether there was one."""

    code = "not_signed_in"

    def __init__(self, *, presented: bool) -> None:
        super().__init__("Sign in: send a valid key or access token as Authorization: Bearer.")
        self.presented = presented


class ConsentOutdated(BankSightError):
    """What was agreed to is not the text that holds now."""

    code = "consent_outdated"


class NotAllowed(BankSightError):
    """The caller's roles do not cover this."""

    code = "not_allowed"


class ConsentNeeded(NotAllowed):
    """Something must be agreed to first. `missing` has the purposes with version and text."""

    code = "consent_required"

    def __init__(self, missing: Mapping[str, str]) -> None:
        super().__init__("Nothing is answered before you agree to: " + ", ".join(missing) + "; POST /v1/me/consent.")
        self.missing = missing
