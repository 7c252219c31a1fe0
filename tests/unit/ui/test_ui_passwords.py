"""Which passwords are good enough, how they are kept, and how guessing is slowed down."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from ui.signing_in.passwords import MOST_CHARACTERS, hashed, is_outdated, matches, wait_seconds, weakness

GOOD = "correct horse battery staple"


def test_only_the_password_matches_its_hash_and_the_hash_does_not_show_it() -> None:
    kept = hashed(GOOD)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert GOOD not in kept
    assert matches(kept, GOOD)
    assert not matches(kept, GOOD + " ")
    assert not matches("no hash at all", GOOD)


def test_a_letter_counts_the_same_however_a_keyboard_composes_it() -> None:
    assert matches(hashed("caf\u00e9 caf\u00e9 caf\u00e9"), "cafe\u0301 cafe\u0301 cafe\u0301")


def test_a_hash_with_weaker_parameters_is_outdated() -> None:
    assert is_outdated(PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(GOOD))
    assert not is_outdated(hashed(GOOD))


@pytest.mark.parametrize(
    ("password", "says"),
    [
        (GOOD, ""),
        ("fourteen chars", "at least 15 characters"),
        ("x" * (MOST_CHARACTERS + 1), "at most"),
        ("abababababababab", "harder to guess"),
        ("AnnabelleAnnabelle", "harder to guess"),
    ],
)
def test_length_counts_and_repetition_does_not(password: str, says: str) -> None:
    reason = weakness(password, "annabelle", 15)
    assert says in reason
    assert bool(reason) is bool(says)


def test_guessing_waits_longer_each_time_up_to_a_quarter_of_an_hour() -> None:
    waits = [wait_seconds(failures) for failures in (0, 4, 5, 6, 7, 10, 1000)]
    assert waits == [0, 0, 30, 60, 120, 900, 900]
