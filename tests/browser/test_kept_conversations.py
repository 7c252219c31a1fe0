"""Conversations in a real browser: they are there after a reload, go when they are deleted, and are nobody else's."""

from __future__ import annotations

import json
import re
import uuid

import httpx
import pytest
from playwright.sync_api import expect


def sources(page):
    return page.get_by_role("button", name="[1] Regulation E · § 1005.11")


def answered_once(chat, question: str):
    page = chat.home()
    chat.ask(question)
    expect(sources(page)).to_be_visible()
    expect(page).to_have_url(re.compile("/thread/"))
    return page


def call(page, method: str, path: str, body: object) -> tuple[int, str]:
    """What this page's own origin answers to it."""
    script = """async ([method, path, body]) => {
        const given = {method, headers: {'Content-Type': 'application/json'}, body: body && JSON.stringify(body)}
        const response = await fetch(path, given)
        return [response.status, await response.text()]
    }"""
    status, text = page.evaluate(script, [method, path, body])
    return status, text


def thread_of(page) -> str:
    return str(page.url.rpartition("/")[2])


def test_a_conversation_is_there_after_a_reload_with_its_sources_and_its_memory(chat, api) -> None:
    page = answered_once(chat, "What is the deadline, kept?")
    page.reload()
    expect(page.get_by_text("What is the deadline, kept?").first).to_be_visible()
    expect(page.get_by_role("button", name="Searched 2 passages in 2 documents")).to_be_visible()
    sources(page).click()
    expect(page.locator(".page-text")).to_be_visible()
    chat.ask("And after the reload?")
    expect(sources(page)).to_have_count(2)
    follow_up = next(body for body in api.asked if body["question"] == "And after the reload?")
    assert follow_up["history"][0]["content"] == "What is the deadline, kept?"


def test_a_thumb_with_a_comment_stays_and_reaches_the_api(chat, api) -> None:
    page = answered_once(chat, "What is the deadline, judged?")
    page.locator(".negative-feedback-off").click()
    page.get_by_role("dialog").locator("textarea").fill("The wrong page")
    page.get_by_role("button", name="Submit feedback").click()
    expect(page.locator(".negative-feedback-on")).to_be_visible()
    said = {"value": "down", "comment": "The wrong page"}
    assert {"receipt_id": "receipt of What is the deadline, judged?", **said} in api.judged
    page.reload()
    expect(page.locator(".negative-feedback-on")).to_be_visible()
    _, stored = call(page, "GET", f"/project/thread/{thread_of(page)}", None)
    assert "The wrong page" in stored


def test_a_conversation_is_renamed_found_and_deleted(chat) -> None:
    page = answered_once(chat, "What is the deadline, renamed?")
    thread = thread_of(page)
    assert call(page, "PUT", "/project/thread", {"threadId": thread, "name": "Wire transfers"})[0] == 200
    listed = call(page, "POST", "/project/threads", {"pagination": {"first": 20}, "filter": {"search": "wire TRANS"}})
    assert thread in listed[1]
    assert call(page, "DELETE", "/project/thread", {"threadId": thread})[0] == 200
    assert call(page, "GET", f"/project/thread/{thread}", None)[0] == 404


@pytest.mark.proves("ASVS 8.2.2")
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_thumbs_of_others_cannot_be_touched_and_the_answer_tells_nothing(chat, method: str) -> None:
    page = chat.home()
    unknown = str(uuid.uuid4())
    body = {"feedback": {"forId": unknown, "value": 1}, "feedbackId": unknown, "sessionId": "x"}
    assert call(page, method, "/feedback", body) == (404, '{"detail":"There is no such answer of yours."}')


@pytest.mark.proves("ASVS 14.3.1", "ISO A.8.5")
def test_a_session_is_dead_after_signing_out_although_its_token_has_not_expired(ui_url: str) -> None:
    with httpx.Client(base_url=ui_url, trust_env=False) as browser:
        signed_in = browser.post("/auth/header")
        cookie = signed_in.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        token = {"access_token": str(signed_in.cookies["access_token"])}
        assert browser.get("/user").status_code == 200
        browser.post("/logout")
    with httpx.Client(base_url=ui_url, trust_env=False, cookies=token) as thief:
        assert thief.get("/user").status_code == 401
        assert thief.post("/project/threads", json={"pagination": {"first": 1}, "filter": {}}).status_code == 401
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    assert httpx.get(f"{ui_url}/user", headers=bearer, trust_env=False).status_code == 401
    assert httpx.post(f"{ui_url}/auth/jwt", headers=bearer, trust_env=False).status_code == 404


def test_a_guest_reads_nothing_of_others_and_leaves_nothing(chat, ui_url: str) -> None:
    page = answered_once(chat, "What is the deadline, private?")
    thread = thread_of(page)
    wanted = {"pagination": {"first": 20}, "filter": {}}
    with httpx.Client(base_url=ui_url, trust_env=False, headers={"X-Forwarded-For": "192.0.2.7"}) as guest:
        assert guest.post("/auth/header").status_code == 200
        assert guest.post("/project/threads", json=wanted).json()["data"] == []
        assert guest.get(f"/project/thread/{thread}").status_code == 404
        assert guest.put("/project/thread", json={"threadId": thread, "name": "mine"}).status_code == 404
        assert guest.request("DELETE", "/project/thread", json={"threadId": thread}).status_code == 404
        step = page.locator('[data-step-type="assistant_message"]').last.get_attribute("data-step-id")
        opinion = {"feedback": {"forId": step or thread, "value": 0}, "sessionId": "x"}
        assert guest.put("/feedback", json=opinion).status_code == 404
    assert call(page, "GET", f"/project/thread/{thread}", None)[0] == 200


def test_a_conversation_cannot_be_shared(chat) -> None:
    page = answered_once(chat, "What is the deadline, shared?")
    shared = {"threadId": thread_of(page), "isShared": True}
    assert call(page, "PUT", "/project/thread/share", shared)[0] == 404


def test_a_browser_cannot_speak_as_the_assistant(chat) -> None:
    def forging(socket) -> None:
        server = socket.connect_to_server()
        socket.on_message(lambda sent: server.send(str(sent).replace('"user_message"', '"assistant_message"')))

    chat.page.route_web_socket(re.compile("/ws/socket.io/"), forging)
    page = answered_once(chat, "What is the deadline, forged?")
    _, stored = call(page, "GET", f"/project/thread/{thread_of(page)}", None)
    asked = next(step for step in json.loads(stored)["steps"] if step["output"] == "What is the deadline, forged?")
    assert (asked["type"], asked["name"]) == ("user_message", "You")
