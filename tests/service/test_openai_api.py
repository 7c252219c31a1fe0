"""OpenAI's dialect, spoken by OpenAI's own client over a real connection."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest

QUESTION = "Within how many business days must a bank determine whether an error occurred?"
MESSAGES: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]


@pytest.fixture
def official(server: Any) -> Iterator[openai.OpenAI]:
    """The official client, as a customer would configure it."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_models_are_listed_and_found(official: openai.OpenAI) -> None:
    assert next(each.id for each in official.models.list()) == "banksight"
    assert official.models.retrieve("sentence-transformers/all-MiniLM-L6-v2").object == "model"
    with pytest.raises(openai.NotFoundError) as raised:
        official.models.retrieve("gpt-4")
    assert raised.value.code == "model_not_found"


def test_chat_answers_with_citations_and_usage(official: openai.OpenAI) -> None:
    completion = official.chat.completions.create(model="banksight", messages=MESSAGES, temperature=0)
    extra = completion.model_extra or {}
    assert "10 business days" in (completion.choices[0].message.content or "")
    assert completion.choices[0].finish_reason == "stop"
    assert extra["status"] == "answered"
    assert extra["citations"][0]["url"].startswith("/v1/documents/")
    assert completion.usage is not None
    assert completion.usage.prompt_tokens > 5
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


def test_chat_streams_the_same_text_and_ends_with_usage(official: openai.OpenAI) -> None:
    whole = official.chat.completions.create(model="banksight", messages=MESSAGES)
    stream = official.chat.completions.create(
        model="banksight", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    last = [chunk for chunk in chunks if chunk.choices][-1]
    assert text == whole.choices[0].message.content
    assert last.choices[0].finish_reason == "stop"
    assert (last.model_extra or {})["citations"] == (whole.model_extra or {})["citations"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].usage is not None


def test_a_fresh_answer_can_be_asked_for(official: openai.OpenAI, server: Any) -> None:
    def not_looked_up() -> float:
        text = httpx.get(f"{server.url}/metrics", timeout=30).text
        return sum(
            float(value) for value in re.findall(r'response_cache_requests_total\{result="bypass"\} (\S+)', text)
        )

    before = not_looked_up()
    for extra in ({"fresh": True}, {}):
        official.chat.completions.create(model="banksight", messages=MESSAGES, extra_body=extra)
    assert not_looked_up() == before + 1


def test_earlier_turns_are_understood(official: openai.OpenAI) -> None:
    messages: Any = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "Within 10 business days."},
        {"role": "user", "content": [{"type": "text", "text": "And when must it report the results?"}]},
    ]
    completion = official.chat.completions.create(model="banksight", messages=messages)
    assert completion.choices[0].message.content


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"extra_body": {"surprise": 1}}, "surprise"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_done_is_refused_in_openai_s_words(
    official: openai.OpenAI, options: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        official.chat.completions.create(**({"model": "banksight", "messages": MESSAGES} | options))
    assert raised.value.type == "invalid_request_error"
    assert (raised.value.param or "").startswith(param)


def test_unknown_model_is_not_found(official: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        official.chat.completions.create(model="gpt-4o", messages=MESSAGES)


@pytest.mark.parametrize("way", [{"stream": True}, {"stream": False}], ids=["streamed", "whole"])
def test_empty_question_is_a_bad_request(official: openai.OpenAI, way: Any) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        official.chat.completions.create(model="banksight", messages=[{"role": "user", "content": "  "}], **way)
    assert raised.value.code == "invalid_question"


def test_embeddings_are_unit_vectors_in_order_in_both_encodings(official: openai.OpenAI, server: Any) -> None:
    texts = ["overdraft fee", "wire transfer", "overdraft fee"]
    made = official.embeddings.create(model="all-MiniLM-L6-v2", input=texts)  # the client asks for base64
    numbers = np.array([each.embedding for each in made.data])
    plain = httpx.post(f"{server.url}/v1/embeddings", json={"model": "all-MiniLM-L6-v2", "input": texts}).json()
    assert numbers.shape == (3, 384)
    assert np.allclose(np.linalg.norm(numbers, axis=1), 1, atol=1e-5)
    assert np.allclose(numbers[0], numbers[2])
    assert np.allclose(numbers, [each["embedding"] for each in plain["data"]], atol=1e-6)
    assert [each.index for each in made.data] == [0, 1, 2]
    assert made.usage.prompt_tokens == made.usage.total_tokens == 6 + 4 + 6  # [CLS] over ##dra ##ft fee [SEP]


def test_base64_is_little_endian_float32(server: Any) -> None:
    body = {"model": "all-MiniLM-L6-v2", "input": "one text", "encoding_format": "base64"}
    data = httpx.post(f"{server.url}/v1/embeddings", json=body).json()["data"][0]["embedding"]
    assert len(base64.b64decode(data)) == 384 * 4


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([[1, 2, 3]], "token ids"),
        ([1, 2, 3], "token ids"),
        ("", "empty"),
        (["fine", " "], "input 1 is empty"),
        ("word " * 400, "402 word pieces"),
        ([], "input"),
        (["x"] * 257, "input"),
    ],
    ids=["ids-of-texts", "ids", "empty", "blank", "long", "none", "many"],
)
def test_inputs_that_cannot_be_embedded_are_refused(official: openai.OpenAI, value: Any, told: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        official.embeddings.create(model="all-MiniLM-L6-v2", input=value)
    assert told in str(raised.value)


def test_other_dimensions_are_refused(official: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        official.embeddings.create(model="all-MiniLM-L6-v2", input="x", dimensions=128)
