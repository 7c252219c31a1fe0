"""What can go wrong with a source, by who must act.

ConnectorError
├── SourceMisconfigured   the operator: a setting or a sidecar file is wrong
├── SourceUnavailable     the operator: the whole source cannot be listed now
└── SourceUnreadable      the document's owner: this one document cannot be read
"""

from __future__ import annotations


class ConnectorError(Exception):
    """Anything that a connector reports; the text is one sentence that says what to do."""


class SourceMisconfigured(ConnectorError):
    """A setting of the source is wrong; nothing was read."""


class SourceUnavailable(ConnectorError):
    """The source could not be listed completely; nothing may be concluded about what vanished."""


class SourceUnreadable(ConnectorError):
    """One document cannot be read.

    `reason` is one of a fixed set, so that reports and metrics can count by it: encrypted, empty, too_large, too_slow,
    mislabelled, unsupported, malformed, no_text, unsafe, and inaccessible (it is there but may not be opened, or it
    went away after it was listed).
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
