"""What becomes of personal data under each policy, and what the asker is told."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from rag.errors import PersonalDataRefused
from rag.governance.privacy import find
from rag.governance.privacy_policies import protect
from rag.settings import load_settings
from rag.settings.privacy import Kind, Policy

CARD = "4111 1111 1111 1111"
KEY = b"k" * 32
US = ("US",)


def kept(text: str, **policies: Policy) -> str:
    named: dict[Kind, Policy] = dict(policies)  # type: ignore[arg-type]
    return protect(text, named, KEY, US).text


def test_what_is_allowed_stays_and_what_is_masked_goes() -> None:
    text = f"Card {CARD}, mail jane@bank.example"
    assert kept(text, card="mask", email="allow") == "Card [card], mail jane@bank.example"
    assert kept(text, email="mask") == f"Card {CARD}, mail [email]"
    assert kept(text) == text


def test_what_is_blocked_is_refused_with_its_kind_but_without_the_number() -> None:
    with pytest.raises(PersonalDataRefused, match="card number") as refused:
        kept(f"Is {CARD} mine?", card="block")
    assert "4111" not in str(refused.value)


def test_a_pseudonym_is_the_same_however_the_digits_are_written_and_another_under_another_key() -> None:
    one = kept("card 4111111111111111", card="pseudonymise")
    assert one == kept("card 4111-1111-1111-1111", card="pseudonymise")
    assert one != kept("card 5555 5555 5555 4444", card="pseudonymise")
    assert one != protect("card 4111111111111111", {"card": "pseudonymise"}, b"x" * 32, US).text
    assert "4111" not in one


@pytest.mark.parametrize("policy", ["mask", "pseudonymise"])
@pytest.mark.parametrize("text", [f"pay {CARD}", "account number 00123456", "ssn 536-90-4399", "at 10.1.200.255"])
def test_a_protected_text_holds_nothing_more_to_protect(text: str, policy: Policy) -> None:
    kinds = {each.kind: policy for each in find(text)}
    assert kinds
    assert find(protect(text, kinds, KEY, US).text) == []


def test_the_asker_is_told_what_was_done_and_gets_their_own_words_back() -> None:
    protected = protect(f"Is {CARD} or jane@bank.example known?", {"card": "mask", "email": "pseudonymise"}, KEY, US)
    assert "card number was taken out" in protected.notice
    assert "e-mail address was processed under a pseudonym" in protected.notice
    (pseudonym,) = protected.pseudonyms
    assert protected.revealed(f"No {pseudonym}.") == "No jane@bank.example."


def test_by_default_numbers_of_customers_are_masked_in_questions_and_answers_stay_verbatim() -> None:
    privacy = load_settings("test", environment={}).privacy
    assert {privacy.questions[each] for each in ("card", "iban", "ssn", "account")} == {"mask"}
    assert "phone" not in privacy.questions
    assert privacy.answers == privacy.exports == {}


def test_a_kind_that_is_none_and_a_block_of_answers_are_refused() -> None:
    for wrong in ({"questions": {"shoe_size": "mask"}}, {"answers": {"card": "block"}}, {"regions": []}):
        with pytest.raises((ValidationError, Exception), match="privacy"):
            load_settings("test", environment={}, overrides={"privacy": wrong})
