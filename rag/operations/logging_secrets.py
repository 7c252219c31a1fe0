"""Takes secrets out of what is about to be logged: keys, tokens, passwords, and URLs that carry them.

The last net. Nobody is to log a secret, but libraries put whole URLs and headers into their messages.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

HIDDEN: Final = "[hidden]"
_NAMES: Final = (
    r"pass(?:word|wd|phrase)|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|authorization|cookie"
    r"|session|signature|credential"
)
# postgresql://user:password@host: the host stays, it says which server is meant
_URL_PASSWORD: Final = (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/'\"]+@"), rf"\1{HIDDEN}@")
_PATTERNS: Final = (
    _URL_PASSWORD,
    (re.compile(r"(?i)\b(bearer|basic|digest)\s+[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    # password=…, "api_key": "…", X-Auth-Token: …; up to the next space, quote, comma or ampersand
    (
        re.compile(
            rf"(?i)([\w-]*(?:{_NAMES})[\w-]*[\"']?\s*[=:]\s*[\"']?)(?!\s*(?:bearer|basic|digest)\b)[^\s\"',;&)}}\]]+"
        ),
        rf"\1{HIDDEN}",
    ),
    # forms that give themselves away: OpenAI, Hugging Face, GitHub, AWS, Alibaba Cloud, JSON web tokens, PEM
    (
        re.compile(
            r"\b(?:sk-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|(?:AKIA|ASIA)[A-Z0-9]{12,}"
            r"|LTAI[A-Za-z0-9]{12,}|bsk_[A-Za-z0-9_-]{16,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*)"
        ),
        HIDDEN,
    ),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
)


def without_url_passwords(text: str) -> str:
    """The text with user and password of every URL in it hidden, and nothing else."""
    pattern, instead = _URL_PASSWORD
    return pattern.sub(instead, text)


@lru_cache(maxsize=1024)  # events, routes and methods come again and again
def redacted(text: str) -> str:
    """The text with every secret that can be told by its form, or by the name before it, hidden."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text
