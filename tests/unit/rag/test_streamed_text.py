"""From tokens to text: whole characters, stop strings, and the draw of the next token."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from rag.models.engine import Decoding
from rag.models.engines.sampling import Sampler, next_tokens
from rag.models.engines.streamed_text import StreamedText


def decode(tokens: list[int]) -> str:
    """Tokens that are bytes."""
    return bytes(tokens).decode(errors="replace")


def stream(text: str, *stop: str) -> list[str]:
    """The pieces of `text`, one byte after the other."""
    streamed = StreamedText(decode, stop)
    pieces = []
    for token in text.encode():
        pieces.append(streamed.add(token))
        if streamed.stopped:
            break
    return [*pieces, streamed.flush()]


@given(st.text())
def test_the_pieces_are_the_text_and_whole_characters(text: str) -> None:
    pieces = stream(text)
    assert "".join(pieces) == text
    assert text.count("�") == sum(each.count("�") for each in pieces)


@given(st.text(alphabet="ab€ ", max_size=60), st.lists(st.text(alphabet="ab€ ", min_size=1, max_size=4), max_size=3))
def test_the_text_ends_before_the_first_stop_string(text: str, stop: list[str]) -> None:
    ends = [position for each in stop if (position := text.find(each)) >= 0]
    # A stop string that ends earlier is found earlier, although one that begins earlier may still be incomplete.
    first_complete = min((text.find(each) + len(each) for each in stop if each in text), default=len(text))
    expected = min((p for each in stop if (p := text[:first_complete].find(each)) >= 0), default=len(text))
    assert "".join(stream(text, *stop)) == text[:expected]
    assert not ends or expected < len(text)


def test_what_may_be_a_stop_string_is_held_back_until_it_is_none() -> None:
    streamed = StreamedText(decode, ("###",))
    assert [streamed.add(each) for each in b"a##b"] == ["a", "", "", "##b"]
    assert not streamed.stopped


def test_an_incomplete_character_at_the_end_is_left_out() -> None:
    streamed = StreamedText(decode)
    assert [streamed.add(each) for each in b"a\xe2\x82"] == ["a", "", ""]
    assert streamed.flush() == ""


def test_greedy_takes_the_most_probable_token_beside_sampled_rows() -> None:
    scores = torch.tensor([[0.0, 2.0, 1.0], [0.0, 0.0, 50.0]])
    assert next_tokens(scores, [Sampler(Decoding()), Sampler(Decoding(temperature=1.0))]) == [1, 2]


def test_a_seed_repeats_the_draws_and_another_one_does_not() -> None:
    scores = torch.zeros(1000)

    def draws(seed: int) -> list[int]:
        sampler = Sampler(Decoding(temperature=1.0, seed=seed))
        return [sampler.draw(scores) for _ in range(8)]

    assert draws(1) == draws(1) != draws(2)


def test_top_p_leaves_only_the_smallest_set_that_is_probable_enough() -> None:
    scores = torch.tensor([0.5, 0.3, 0.2]).log()
    drawn = {Sampler(Decoding(temperature=1.0, top_p=0.6, seed=seed)).draw(scores) for seed in range(60)}
    assert drawn == {0, 1}
    assert {Sampler(Decoding(temperature=1.0, top_p=0.0, seed=seed)).draw(scores) for seed in range(20)} == {0}
