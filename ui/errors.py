"""What can go wrong between the UI and the API, by what the reader of the chat can do about it.

BackendError
├── BackendDown         wait: nothing answers at the API's address
├── BackendBusy         wait `retry_after` seconds: the API is at its limit
├── BackendTimeout      try again: no word for too long, or no end
├── StreamCut           try again: the answer ended in its middle
├── SignInNeeded        sign in again: the key or session does not count, or no more
├── QuestionRejected    ask differently: the API's own sentence says how
├── SourceNotFound      ask again: the document is gone, or may not be read
└── BackendFailed       tell the operator: everything else
"""

from __future__ import annotations


class BackendError(Exception):
    """Anything that keeps the API from answering. The text is for the log, never for the browser."""


class BackendDown(BackendError):
    """Nothing answers at the API's address."""


class BackendBusy(BackendError):
    """The API is at its limit, or still starting."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BackendTimeout(BackendError):
    """The API did not say anything for too long, or did not finish in time."""


class StreamCut(BackendError):
    """The stream ended without `done`, so what was shown may be half an answer."""


class SignInNeeded(BackendError):
    """The API does not know who asks: there is no key, or it does not count."""


class QuestionRejected(BackendError):
    """The API does not take the question as it stands. `advice` is its sentence for the person who asks."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


class SourceNotFound(BackendError):
    """The document or page does not exist, or may not be read."""


class BackendFailed(BackendError):
    """The API failed, or answered in a way that the contract does not know."""
