"""Signing in to the chat with a key of the API: who is nobody gets nowhere, and everybody asks as themselves."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import expect


@pytest.mark.proves("ASVS 8.3.3")
def test_a_key_signs_in_and_goes_with_the_question_and_a_wrong_one_does_not(visit_of, login_url: str, api) -> None:
    chat = visit_of(login_url)
    page = chat.page
    page.goto(login_url)
    page.fill("#email", "Ann")
    page.fill("input[type=password]", "wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("This key was not accepted.")).to_be_visible()
    page.fill("input[type=password]", "bsk_ann")
    page.keyboard.press("Enter")
    page.wait_for_selector("#chat-input")
    chat.ask("What is the deadline, signed in?")
    expect(page.get_by_role("button", name="[1] Regulation E · § 1005.11")).to_be_visible()
    assert api.callers["What is the deadline, signed in?"] == "Bearer bsk_ann"
    expect(page).to_have_url(re.compile("/thread/"))
    thread = page.url.rpartition("/")[2]
    assert "bsk_ann" not in str(page.evaluate("fetch('/user').then((answer) => answer.text())"))

    with httpx.Client(base_url=login_url, trust_env=False) as other:
        assert other.get(f"/project/thread/{thread}").status_code == 401
        assert other.post("/auth/header").status_code == 400
        assert other.post("/login", data={"username": "x", "password": "bsk_bob"}).status_code == 200
        assert other.get(f"/project/thread/{thread}").status_code == 404
        assert other.post("/logout").status_code == 200
        assert other.get("/user").status_code == 401
