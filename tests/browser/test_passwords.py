"""Signing in to the chat with a password, and out of it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class PasswordUi:
    """A UI where people sign in with a password."""

    url: str
    folder: Path

    def password_of(self, name: str) -> str:
        return f"correct horse battery staple of {name}"

    def add(self, name: str) -> None:
        """Somebody whose key of the API is `bsk_<name>`."""
        self.users("add", name, given=f"{self.password_of(name)}\nbsk_{name}\n")

    def users(self, *arguments: str, given: str = "") -> None:
        """`banksight users` on the data folder of this UI."""
        command = [sys.executable, "-c", "from ui.users import users; users()", *arguments, "--data", str(self.folder)]
        command += ["--stdin"] if given else []
        subprocess.run(command, input=given, text=True, check=True, cwd=PROJECT, timeout=120)


@pytest.fixture(scope="module")
def password_ui(ui_with, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PasswordUi]:
    """A UI where Ann and Bob sign in with a password."""
    folder = tmp_path_factory.mktemp("passwords")
    for name in ("ann", "bob"):
        PasswordUi("", folder).add(name)
    with ui_with({"LOGIN": "password"}, folder) as url:
        yield PasswordUi(url, folder)


def signed_in(ui, name: str) -> httpx.Client:
    client = httpx.Client(base_url=ui.url, trust_env=False)
    answer = client.post("/login", data={"username": name, "password": ui.password_of(name)})
    assert answer.status_code == 200
    return client


def test_a_wrong_password_is_refused_and_the_right_one_asks_as_its_person(visit_of, password_ui, api) -> None:
    url = password_ui.url
    chat = visit_of(url)
    page = chat.page
    page.goto(url)
    page.wait_for_selector("#email")
    expect(page.get_by_label("Password")).to_be_visible()
    page.fill("#email", "Ann")
    page.fill("input[type=password]", password_ui.password_of("bob"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Name and password were not accepted.")).to_be_visible()
    expect(page.get_by_text("credentialssignin")).to_be_hidden()
    page.fill("input[type=password]", password_ui.password_of("ann"))
    page.keyboard.press("Enter")
    page.wait_for_selector("#chat-input")
    chat.ask("What is the deadline, with a password?")
    expect(page.get_by_role("button", name="[1] Regulation E · § 1005.11")).to_be_visible()
    assert api.callers["What is the deadline, with a password?"] == "Bearer bsk_ann"
    expect(page).to_have_url(re.compile("/thread/"))

    thread = page.url.rpartition("/")[2]
    with closing(signed_in(password_ui, "bob")) as bob:
        listed = bob.post("/project/threads", json={"pagination": {"first": 20}, "filter": {}})
        assert listed.json()["data"] == []
        assert bob.get(f"/project/thread/{thread}").status_code == 404

    [cookie] = [each for each in page.context.cookies() if each["name"] == "access_token"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.click("#user-nav-button")
    page.get_by_role("menuitem", name="Sign out").click()
    page.wait_for_url("**/login")
    with httpx.Client(base_url=url, trust_env=False, cookies={"access_token": cookie["value"]}) as thief:
        assert thief.get("/user").status_code == 401
        assert thief.get(f"/project/thread/{thread}").status_code == 401


def test_unknown_names_and_wrong_passwords_look_the_same(password_ui) -> None:
    tries = (("nobody", password_ui.password_of("bob")), ("bob", "wrong"), ("bob", "x" * 100_000))
    given = ({"username": name, "password": password} for name, password in tries)
    answers = [httpx.post(f"{password_ui.url}/login", data=each, trust_env=False) for each in given]
    assert {(each.status_code, each.text) for each in answers} == {(401, '{"detail":"credentialssignin"}')}


def test_who_is_removed_is_signed_out_at_once(password_ui) -> None:
    password_ui.add("eve")
    with closing(signed_in(password_ui, "eve")) as eve:
        assert eve.get("/user").json()["identifier"] == "bank/eve"
        password_ui.users("remove", "eve")
        assert eve.get("/user").status_code == 401
