"""Passwords: how they are kept, which are good enough, and how long guessing has to wait."""

from __future__ import annotations

import secrets
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

MOST_CHARACTERS = 256  # longer ones cost memory and are typed by nobody
FEWEST_DIFFERENT = 5
FREE_FAILURES = 5  # in a row, before anybody waits
FIRST_WAIT_SECONDS = 30  # doubles with each further failure
LONGEST_WAIT_SECONDS = 900  # so that who guesses on purpose does not keep the owner out for long

# argon2id with 64 MiB, 3 passes and 4 lanes: the second recommended choice of RFC 9106, section 4.
_HASHER = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


def hashed(password: str) -> str:
    """What the database keeps of a password: parameters, salt and hash in one text. Takes a tenth of a second."""
    return str(_HASHER.hash(_normal(password)))


def nobodys_hash() -> str:
    """The hash of a password that nobody has: checking against it takes as long as for a name that exists."""
    return hashed(secrets.token_hex(32))


def matches(kept: str, password: str) -> bool:
    """Whether this is the password of that hash. Takes the same time whether it is or not."""
    try:
        return bool(_HASHER.verify(kept, _normal(password[: MOST_CHARACTERS + 1])))
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(kept: str) -> bool:
    """Whether the hash was made with weaker parameters than those of today."""
    return bool(_HASHER.check_needs_rehash(kept))


def weakness(password: str, name: str, fewest: int) -> str:
    """Why a password is not good enough, in one sentence; empty when it is. After NIST SP 800-63B-4, 3.1.1.2.

    Length is what counts; no mixture of kinds of characters is asked for.
    """
    normal = _normal(password)
    if len(normal) < fewest:
        return f"The password needs at least {fewest} characters; a few words in a row are good."
    if len(normal) > MOST_CHARACTERS:
        return f"The password may have at most {MOST_CHARACTERS} characters."
    if len(set(normal)) < FEWEST_DIFFERENT or normal.casefold().replace(name.casefold(), "") == "":
        return "The password repeats itself, or the name; choose one that is harder to guess."
    return ""


def wait_seconds(failures: int) -> int:
    """How long nobody may try a name after so many failures in a row."""
    if failures < FREE_FAILURES:
        return 0
    return int(min(FIRST_WAIT_SECONDS * 2 ** min(failures - FREE_FAILURES, 16), LONGEST_WAIT_SECONDS))


def _normal(password: str) -> str:
    # Keyboards differ in how they compose a letter; NFKC makes them agree.
    return unicodedata.normalize("NFKC", password)
