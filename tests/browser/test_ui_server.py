"""The UI's own server: routes, headers and what happens when the API or the port is not there."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest
from playwright.sync_api import expect


def test_documents_come_from_our_own_route_and_not_from_the_page_of_the_chat(ui_url: str) -> None:
    pdf = httpx.get(f"{ui_url}/documents/0a1b2c3d4e5f6071/content", trust_env=False)
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-")
    page = httpx.get(f"{ui_url}/documents/5e8ca73d0f2b4419/pages/1?start=0&end=9", trust_env=False)
    assert "<mark>§ 1005.11</mark>" in page.text
    assert httpx.get(f"{ui_url}/documents/ffffffffffffffff/content", trust_env=False).status_code == 404


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/mcp", "/copilot/index.js"])
def test_routes_that_we_do_not_offer_are_closed(ui_url: str, path: str) -> None:
    assert httpx.get(f"{ui_url}{path}", trust_env=False).status_code == 404


def test_other_origins_get_no_socket_and_no_permission(ui_url: str) -> None:
    evil = {"Origin": "https://evil.example"}
    socket = httpx.get(f"{ui_url}/ws/socket.io/?EIO=4&transport=polling", headers=evil, trust_env=False)
    assert socket.status_code == 400
    same = httpx.get(f"{ui_url}/ws/socket.io/?EIO=4&transport=polling", headers={"Origin": ui_url}, trust_env=False)
    assert same.status_code == 200
    settings = httpx.get(f"{ui_url}/project/settings", headers=evil, trust_env=False)
    assert "access-control-allow-origin" not in settings.headers


@pytest.mark.proves("ASVS 14.2.3")
def test_the_page_names_no_other_host(ui_url: str) -> None:
    page = httpx.get(ui_url, trust_env=False)
    assert "https://" not in page.text
    assert "http://" not in page.text
    assert "connect-src 'self'" in page.headers["content-security-policy"]


def test_a_forged_source_opens_nothing(chat) -> None:
    page = chat.home()
    with page.expect_request("**/project/action") as opened:
        chat.ask("What is the deadline?")
        page.get_by_role("button", name="[1]").click()
    expect(page.locator(".page-text")).to_be_visible()
    page.keyboard.press("Escape")
    forged = opened.value.post_data_json
    forged["action"]["payload"] = {"answer": "another", "marker": 1, "document_id": "../../etc"}
    page.evaluate(
        "body => fetch('/project/action', {method: 'POST', headers: {'Content-Type': 'application/json'},"
        " body: JSON.stringify(body)}).then((response) => response.status)",
        forged,
    )
    expect(page.get_by_text("This source belongs to an earlier conversation.")).to_be_visible()
    expect(page.locator("#side-view-content")).to_have_count(0)


def test_an_api_that_is_down_is_said_kindly_and_a_later_try_works(chat_without_api) -> None:
    chat, bring_up_api = chat_without_api
    page = chat.home()
    chat.ask("Is anybody there?")
    expect(page.get_by_text("answering service cannot be reached")).to_be_visible()
    assert "Traceback" not in page.content()
    assert "ConnectError" not in page.content()
    bring_up_api()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("button", name="[1] Regulation E · § 1005.11")).to_be_visible()


def test_a_second_ui_on_the_same_port_says_what_to_do(ui_url: str) -> None:
    port = ui_url.rpartition(":")[2]
    command = [sys.executable, "-c", "from ui.commands import ui; ui()", "--port", port]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 3
    assert second.stderr == (
        f"Error: Port {port} on 127.0.0.1 is taken: stop the program that uses it, or choose another with --port.\n"
    )
