"""Text: what every page promises, and bytes of unknown encoding."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.errors import SourceUnreadable
from connectors.parsing.document import PageDraft, number_pages
from connectors.parsing.sections import Block, pages_from_blocks
from connectors.parsing.text import clean, decode

AWKWARD = st.text(alphabet=st.characters() | st.sampled_from("\r\n\t\x00\xad\ufeff\ufffe\ufb01\u0301e \ud800\x85"))


@pytest.mark.proves("AISVS 2.1.1")
@given(AWKWARD)
@example("e\u0301 \r\n\r\r\n x\x00y\ud800")
def test_clean_text_is_nfc_without_controls_and_cleaning_again_changes_nothing(text: str) -> None:
    cleaned = clean(text)

    assert unicodedata.is_normalized("NFC", cleaned)
    assert not {letter for letter in cleaned if letter != "\n" and unicodedata.category(letter) in ("Cc", "Cs")}
    assert clean(cleaned) == cleaned


@given(st.lists(AWKWARD, max_size=8))
def test_page_starts_are_offsets_in_the_pages_joined_by_newlines(texts: list[str]) -> None:
    pages = number_pages([PageDraft(clean(text)) for text in texts])
    document = "\n".join(page.text for page in pages)

    assert [page.number for page in pages] == list(range(1, len(texts) + 1))
    assert all(document[page.start : page.start + len(page.text)] == page.text for page in pages)


@given(st.lists(st.tuples(AWKWARD, st.integers(0, 6)), max_size=12), st.integers(40, 400))
def test_headings_stand_where_their_offsets_say_and_no_page_is_too_long(
    blocks: list[tuple[str, int]], longest: int
) -> None:
    pages = pages_from_blocks([Block(text, level) for text, level in blocks], longest)

    for page in pages:
        assert page.text
        assert len(page.text) <= longest + 2 or page.text.count("\n\n") == 1
        assert all(page.text.startswith(heading, offset) for offset, _, heading in page.headings)


@given(st.lists(st.text("ab \n.", min_size=1, max_size=300), max_size=6))
def test_cutting_long_paragraphs_loses_no_letter(texts: list[str]) -> None:
    pages = pages_from_blocks([Block(text) for text in texts], 50)

    kept = "".join(page.text for page in pages)
    assert kept.replace("\n", "").replace(" ", "") == "".join(texts).replace("\n", "").replace(" ", "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("infor\xad\nmation", "information"),
        ("\ufb01duciary o\ufb00er", "fiduciary offer"),
        ("a\xa0b\tc", "a b c"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("\uf0b7 item", "• item"),
        ("zero\u200bwidth", "zero\u200bwidth"),
    ],
)
def test_typographic_characters_become_what_a_search_finds(before: str, after: str) -> None:
    assert clean(before) == after


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_text_is_read_in_the_encodings_that_offices_write(encoding: str) -> None:
    text = "Die Gebühr beträgt 4,50 € für jede Überweisung, außer für Schüler und Studenten in München."

    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize(
    "content", ["Gebühr für".encode() + b"\xff\xfe" + b"Schueler", "Gebühr für Schü".encode()[:-1]]
)
def test_damaged_utf8_is_refused_rather_than_guessed(content: bytes) -> None:
    with pytest.raises(SourceUnreadable, match="not valid UTF-8") as caught:
        decode(content)

    assert caught.value.reason == "malformed"


def test_a_declared_encoding_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SourceUnreadable, match="ascii"):
        decode("für".encode(), "ascii")
