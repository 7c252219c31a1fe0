"""Keys in sessions."""

from __future__ import annotations

import pytest

from ui.credentials import seal, unseal

SECRET = "5" * 64


def test_a_sealed_key_is_read_with_the_secret_only() -> None:
    sealed = seal("bsk_a.b", SECRET)
    assert "bsk" not in sealed
    assert unseal(sealed, SECRET) == "bsk_a.b"
    assert unseal(sealed, "6" * 64) == ""


@pytest.mark.parametrize("nothing", [None, "", "x", 7, b""])
def test_what_is_no_sealed_key_is_none(nothing: object) -> None:
    assert unseal(nothing, SECRET) == ""
