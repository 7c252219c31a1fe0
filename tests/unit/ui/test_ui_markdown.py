"""Nothing that a document or a model wrote may make the browser fetch or follow anything."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ui.markdown import answer_markdown, plain_markdown

# The chat uses CommonMark with tables, struck text, bare addresses as links, and no HTML.
CHAT = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
# What GitHub's extension for bare addresses would turn into a link, once all escapes are gone.
BARE_ADDRESS = re.compile(r"https?://[-.\w]|www\.[-.\w]|[-.\w+]@[-\w]", re.IGNORECASE)
HOSTILE = [
    "![x](https://evil.example/a.png)",
    "![x][a]\n\n[a]: https://evil.example/a.png",
    "[click](https://evil.example)",
    "[click](data/javascript.html)",
    "<https://evil.example>",
    "see https://evil.example/?q=secret now",
    "see www.evil.example now",
    "mail me@evil.example",
    "![a](https://evil.example/1) ![b](https://evil.example/2)",
    "![a\\](https://evil.example/1)",
    "[![a](https://evil.example/1)](https://evil.example/2)",
    "!\\[x](https://evil.example)",
    "[x](<https://evil.example>)",
    "[x]\n(https://evil.example)",
]


def fetched_or_linked(markdown: str) -> list[str]:
    html = CHAT.render(markdown)
    return re.findall(r"<(?:a|img)\b[^>]*>", html) + BARE_ADDRESS.findall(re.sub(r"<[^>]+>", "", html))


def shown(markdown: str) -> str:
    html = CHAT.render(markdown)
    text = re.sub(r"<[^>]+>", "", html)
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        text = text.replace(entity, sign)
    return " ".join(text.replace("\u2060", "").split())


@pytest.mark.proves("LLM05", "AISVS 7.3.3")
@pytest.mark.parametrize("text", HOSTILE)
def test_an_answer_links_and_fetches_nothing(text: str) -> None:
    assert fetched_or_linked(text)  # it would, if it were shown as it is
    assert fetched_or_linked(answer_markdown(text)) == []


@pytest.mark.parametrize("text", HOSTILE)
def test_a_document_links_and_fetches_nothing(text: str) -> None:
    assert fetched_or_linked(plain_markdown(text)) == []


@pytest.mark.proves("LLM05")
@given(
    st.lists(
        st.sampled_from(["![", "]", "(", ")", "[a]", ": ", "https://e.example", "<", ">", "\\", "\n", "`", "x", "*"])
    )
)
def test_no_mixture_of_active_signs_links_or_fetches(parts: list[str]) -> None:
    text = "".join(parts)
    assert fetched_or_linked(answer_markdown(text)) == []
    assert fetched_or_linked(plain_markdown(text)) == []


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp")), max_size=60))
def test_a_document_is_shown_letter_by_letter(text: str) -> None:
    assert shown(plain_markdown(text)) == " ".join(text.split())


def test_an_answer_keeps_paragraphs_lists_tables_and_bold_text() -> None:
    html = CHAT.render(answer_markdown("One.\n\n- **two**\n- three\n\n| a | b |\n|---|---|\n| 1 | 2 |"))
    assert all(tag in html for tag in ("<p>One.</p>", "<li><strong>two</strong></li>", "<td>2</td>"))


@pytest.mark.parametrize(
    "text", ["# Heading", "Text\n---", "`code`", "```\ncode\n```", "    code", "~~struck~~", "_it_"]
)
def test_an_answer_cannot_change_how_the_chat_looks(text: str) -> None:
    assert not re.search(r"<(h\d|hr|code|pre|s|em)\b", CHAT.render(answer_markdown(text)))


def test_money_times_and_sections_are_shown_as_they_are_written() -> None:
    text = "On 12:30 it cost $4.50 (15 U.S.C. 1693) at 5% & <10 days; see § 1005.11(c)(1), note:this, a_b."
    assert shown(answer_markdown(text)) == text
    assert shown(plain_markdown(text)) == text


def test_invisible_signs_are_dropped() -> None:
    assert plain_markdown("pay\u202e 100\u200b") == "pay 100"
