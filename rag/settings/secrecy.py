"""What a secret must not look like."""

from __future__ import annotations

import re
from typing import Final

_PLACEHOLDER: Final = re.compile(
    r"change.?me|example|placeholder|your[-_ ]|password|secret|replace|todo|<|\$\{", re.IGNORECASE
)


def is_placeholder(text: str) -> bool:
    """Whether a secret is one that somebody wrote down to be replaced, as `changeme` is."""
    return _PLACEHOLDER.search(text) is not None
