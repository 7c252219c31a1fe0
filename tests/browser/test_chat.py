"""The chat in a real browser, in front of a scripted API. The `chat` fixture also asserts that no page ever asked
another host for anything, and that no page had an error."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

QUESTION = "What are the error-resolution deadlines for an unauthorised electronic transfer?"


def eventually(holds: Callable[[], object], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(holds())


def last_answer(page) -> Locator:
    return page.locator('[data-step-type="assistant_message"]').last


def test_an_answer_streams_and_shows_its_search_and_its_sources(chat) -> None:
    page = chat.home()
    chat.ask(QUESTION)
    expect(page.get_by_role("button", name="Searched 2 passages in 2 documents")).to_be_visible()
    expect(last_answer(page)).to_contain_text("10 business days to determine whether an error occurred")
    expect(page.get_by_role("button", name="[1] Regulation E · § 1005.11")).to_be_visible()
    page.get_by_role("button", name="[2] 2023 Q2 AAPL · p. 3").hover()
    expect(page.get_by_role("tooltip").first).to_contain_text("Total net sales for the quarter were $94,836 million")
    page.get_by_role("button", name="Searched 2 passages in 2 documents").click()
    expect(page.get_by_text("§ 1005.11 Procedures for resolving errors.")).to_be_visible()


def test_a_streaming_answer_grows_before_it_ends(chat) -> None:
    page = chat.home()
    chat.ask("Please be endless, and grow")
    expect(last_answer(page)).to_contain_text("Sentence number 2.")
    expect(page.locator("#stop-button")).to_be_visible()
    page.click("#stop-button")
    expect(page.locator("#chat-submit")).to_be_visible()


def test_a_pdf_source_opens_at_its_page_with_the_quote_marked(chat) -> None:
    page = chat.home()
    chat.ask(QUESTION)
    page.get_by_role("button", name="[2] 2023 Q2 AAPL · p. 3").click()
    expect(page.locator("#side-view-title")).to_contain_text("2023 Q2 AAPL · p. 3")
    expect(page.locator("#side-view-content blockquote")).to_contain_text("$97,278 million a year before.")
    expect(page.locator(".page-pdf")).to_contain_text("3 / 4")
    expect(page.locator(".react-pdf__Page")).to_have_attribute("data-page-number", "3")
    expect(page.locator("mark.quoted").first).to_be_visible()
    marked = " ".join(page.locator("mark.quoted").all_text_contents())
    assert marked == (
        "Total net sales for the quarter were $94,836 million, compared with $97,278 million a year before."
    )


def test_a_text_source_opens_with_the_quoted_words_marked_and_nothing_else_alive(chat) -> None:
    page = chat.home()
    chat.ask(QUESTION)
    last_answer(page).locator('a[href="#source-1"]').click()
    expect(page.locator("#side-view-title")).to_contain_text("Regulation E · § 1005.11")
    text = page.locator(".page-text")
    expect(text.locator(".font-bold")).to_have_text(
        "shall determine whether an error occurred within 10 business days of receiving a notice of error."
    )
    expect(text).to_contain_text("See https⁠://example.org/a.")
    expect(text).to_contain_text("# Not a heading, *not* bold, ![no](https⁠://example.org/picture.png)")
    assert text.locator("a, img, h1, table").count() == 0
    assert "#" not in page.url  # the marker's link was pressed, not followed


def test_one_source_replaces_the_other_and_escape_closes_it(chat) -> None:
    page = chat.home()
    chat.ask(QUESTION)
    page.get_by_role("button", name="[2]").click()
    expect(page.locator(".page-pdf")).to_be_visible()
    page.get_by_role("button", name="[1]").click()
    expect(page.locator(".page-text")).to_be_visible()
    expect(page.locator(".page-pdf")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator("#side-view-content")).to_have_count(0)


def test_no_source_opens_by_itself(chat) -> None:
    page = chat.home()
    chat.ask(QUESTION)
    expect(page.get_by_role("button", name="[2]")).to_be_visible()
    expect(page.locator("#side-view-content")).to_have_count(0)


@pytest.mark.proves("LLM05", "AISVS 7.3.3")
def test_what_a_model_wrote_is_neither_fetched_nor_linked(chat) -> None:
    page = chat.home()
    chat.ask(QUESTION)
    expect(last_answer(page)).to_contain_text("A picture and a link <img src=x>.")
    content = last_answer(page).locator(".message-content")
    assert content.locator("img").count() == 0
    assert content.locator("a:not([href^='#source-'])").count() == 0


def test_stopping_keeps_the_text_and_ends_the_work(chat, api) -> None:
    page = chat.home()
    chat.ask("Please be endless, and stop")
    expect(last_answer(page)).to_contain_text("Sentence number 1.")
    page.click("#stop-button")
    expect(last_answer(page)).to_contain_text("(stopped)")
    expect(last_answer(page)).to_contain_text("Sentence number 0.")
    assert eventually(lambda: "Please be endless, and stop" in api.cut_off)
    assert "Task manually stopped" not in page.content()


def test_stopping_an_edited_question_ends_the_work_too(chat, api) -> None:
    page = chat.home()
    chat.ask(QUESTION)
    expect(page.get_by_role("button", name="[2]")).to_be_visible()
    page.locator('[data-step-type="user_message"]').hover()
    page.locator(".edit-message").click()
    page.fill("#edit-chat-input", "Please be endless, edited")
    page.locator(".confirm-edit").click()
    expect(last_answer(page)).to_contain_text("Sentence number 1.")
    page.click("#stop-button")
    expect(last_answer(page)).to_contain_text("(stopped)")
    assert eventually(lambda: "Please be endless, edited" in api.cut_off)
    edited = next(body for body in api.asked if body["question"] == "Please be endless, edited")
    assert edited["history"] == []


def test_a_follow_up_question_sends_the_conversation(chat, api) -> None:
    page = chat.home()
    chat.ask("What is the deadline, first?")
    expect(page.get_by_role("button", name="[2]")).to_be_visible()
    chat.ask("And after that?")
    expect(page.get_by_role("button", name="[2]")).to_have_count(2)
    follow_up = next(body for body in api.asked if body["question"] == "And after that?")
    assert [turn["role"] for turn in follow_up["history"]] == ["user", "assistant"]
    assert follow_up["history"][0]["content"] == "What is the deadline, first?"
    assert "10 business days" in follow_up["history"][1]["content"]


def test_a_refusal_says_so_and_offers_a_next_step(chat) -> None:
    page = chat.home()
    chat.ask("What is the weather?")
    expect(last_answer(page)).to_contain_text("The documents do not answer this question. I searched 36 documents.")
    expect(last_answer(page)).to_contain_text("Name the product or rule you mean.")
    expect(last_answer(page).locator(".lucide-search-x")).to_be_visible()
    expect(page.get_by_text("Searched the documents: nothing fits")).to_be_visible()


def test_what_goes_to_people_says_whom_to_call_and_looks_like_no_answer(chat) -> None:
    page = chat.home()
    chat.ask("I lost my card")
    expect(last_answer(page)).to_contain_text("Call the bank now, on the number on your statement.")
    expect(last_answer(page).locator(".lucide-user-round")).to_be_visible()
    expect(page.get_by_text("Searched the documents")).to_have_count(0)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Please be busy", "Many people are asking right now"),
        ("Please cut it", "The connection broke before the answer was complete"),
        ("Please try failing", "Something went wrong while answering"),
    ],
)
def test_failures_are_explained_without_their_cause(chat, question: str, said: str) -> None:
    page = chat.home()
    chat.ask(question)
    expect(last_answer(page)).to_contain_text(said)
    expect(page.get_by_role("button", name="Try again", exact=True)).to_be_visible()
    assert "secret detail" not in page.content()


def test_trying_again_asks_the_same_question_and_can_be_stopped(chat, api) -> None:
    page = chat.home()
    chat.ask("Please cut it, then try again")
    page.get_by_role("button", name="Try again", exact=True).click()
    assert eventually(lambda: sum(body["question"] == "Please cut it, then try again" for body in api.asked) == 2)
    expect(page.get_by_role("button", name="Try again", exact=True)).to_have_count(1)
    expect(page.locator('[data-step-type="user_message"]')).to_have_count(1)


def test_an_answer_that_was_given_before_can_be_worked_out_anew(chat, api) -> None:
    page = chat.home()
    chat.ask("Was this given before?")
    expect(last_answer(page)).to_contain_text("This was given before.")
    page.get_by_role("button", name="Fresh answer", exact=True).click()
    expect(last_answer(page)).to_contain_text("This was worked out now.")
    expect(page.get_by_role("button", name="Fresh answer", exact=True)).to_have_count(0)
    asked = [body for body in api.asked if body["question"] == "Was this given before?"]
    assert [(body["fresh"], body["history"]) for body in asked] == [(False, []), (True, [])]


def test_a_question_that_is_too_long_is_refused_kindly_and_not_sent(chat, api) -> None:
    page = chat.home()
    asked = len(api.asked)
    chat.ask("long " * 2000)
    expect(last_answer(page)).to_contain_text("Please shorten it")
    assert len(api.asked) == asked


def test_a_starter_asks_its_question(chat, api) -> None:
    page = chat.home()
    page.locator("#starters button").first.click()
    expect(page.get_by_role("button", name="[2]")).to_be_visible()
    assert api.asked[-1]["question"] == QUESTION


def test_the_page_is_dark_where_the_system_is_and_light_on_demand(visit_of) -> None:
    chat = visit_of(color_scheme="dark")
    page = chat.home()
    expect(page.locator("html")).to_have_class(re.compile("dark"))
    expect(page.locator("#welcome-screen img.logo")).to_have_attribute("src", re.compile("theme=dark"))
    page.click("#theme-toggle")
    page.get_by_role("menuitem", name="Light Theme").click()
    expect(page.locator("html")).to_have_class(re.compile("light"))


def test_a_right_to_left_language_turns_the_page_and_keeps_english_answers_readable(visit_of) -> None:
    chat = visit_of(locale="ar")
    page = chat.home()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.locator("html")).to_have_attribute("lang", "ar")
    chat.ask("ما هي المواعيد النهائية؟")
    expect(page.get_by_role("button", name="[1] Regulation E · § 1005.11")).to_be_visible()
    assert "اسأل عن لائحة" in page.locator("#message-composer").inner_html()


def test_a_phone_shows_everything_without_scrolling_sideways(visit_of) -> None:
    chat = visit_of(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = chat.home()
    chat.ask(QUESTION)
    page.get_by_role("button", name="[1]").click()
    expect(page.locator(".page-text .font-bold")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_every_button_has_a_name_and_the_conversation_is_announced(chat) -> None:
    page = chat.home()
    chat.ask(QUESTION)
    page.get_by_role("button", name="[2]").click()
    expect(page.locator("mark.quoted").first).to_be_visible()
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, a[href]')].filter((each) => each.checkVisibility() &&"
        " !each.textContent.trim() && !each.getAttribute('aria-label')).map((each) => each.outerHTML)"
    )
    assert unnamed == []
    expect(page.get_by_role("log", name="Conversation")).to_have_attribute("aria-live", "polite")
    expect(page.locator("html")).to_have_attribute("lang", "en-US")


def test_the_about_page_is_ours(chat) -> None:
    page = chat.home()
    page.click("#readme-button")
    expect(page.get_by_role("heading", name="About BankSight")).to_be_visible()
    assert page.title() == "BankSight"


def test_an_answer_that_ended_while_the_connection_was_down_appears_when_it_is_back(chat, api) -> None:
    sockets, blocked = [], []

    def proxied(socket) -> None:
        if blocked:
            socket.close()
        else:
            socket.connect_to_server()
            sockets.append(socket)

    chat.page.route_web_socket(re.compile("/ws/socket.io/"), proxied)
    page = chat.home()
    chat.ask("Please be slow")
    expect(last_answer(page)).to_contain_text("The first half.")
    blocked.append(True)
    sockets[-1].close()
    assert eventually(lambda: "Please be slow" in api.finished)
    blocked.clear()
    expect(last_answer(page)).to_contain_text("The first half. The second half [1].")
    expect(page.get_by_role("button", name="[1] Regulation E · § 1005.11")).to_have_count(1)
