"""The routes that OpenAI's clients know: models, chat completions, embeddings."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic_core import to_json

from bentos import openai_schemas as wire
from bentos.answering import answer_events, complete, first_of, for_caller, paced
from bentos.contract import OpenWorkspace, TheSettings, checked_filter, errors, needs_consent
from bentos.principals import Caller, requires
from bentos.problems import Problem
from bentos.schemas import Citation
from bentos.streaming import KEEP_ALIVE, EventStream, broken_off, event_schema
from rag.domain import Answer
from rag.operations import deadline
from rag.query.events import AskRequest, Completed, Event, SentenceReleased, Turn
from rag.settings import Settings

if TYPE_CHECKING:
    from rag.bootstrap import Workspace

router = APIRouter(tags=["OpenAI-compatible"])

_MAX_PIECES = 256  # of MiniLM, [CLS] and [SEP] included; what is longer would be cut in silence


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses, in OpenAI's shape; what our own routes call 422 is 400 there."""
    ours = errors(400, *statuses)
    return {
        status: {"description": each["description"], "model": wire.OpenAIErrorDocument}
        for status, each in ours.items()
        if status != 422
    } | {422: {"description": "Never: such faults are 400 here"}}


@router.get("/v1/models", dependencies=[requires("user")], response_model=wire.ModelList, responses=_errors())
async def list_models(settings: TheSettings) -> wire.ModelList:
    """The models: one that answers, one that embeds."""
    return wire.ModelList(data=[wire.ModelCard(id=name) for name in _models(settings)])


@router.get(
    "/v1/models/{model:path}", dependencies=[requires("user")], response_model=wire.ModelCard, responses=_errors(404)
)
async def get_model(model: str, settings: TheSettings) -> wire.ModelCard:
    """One model, by its name as the list gives it."""
    return wire.ModelCard(id=_known(model, _models(settings)))


@router.post(
    "/v1/chat/completions",
    dependencies=[requires("user"), needs_consent],
    response_model=wire.ChatCompletion,
    responses={
        200: {"description": "The answer; with `stream: true`, chunks as server-sent events, then `[DONE]`.",
              "content": {"text/event-stream": {"schema": event_schema()}}},
        **_errors(404, 413, 504),
    },
)  # fmt: skip
async def chat(
    asked: wire.ChatRequest, request: Request, workspace: OpenWorkspace, settings: TheSettings, caller: Caller
) -> Any:
    """Ask as in a chat: the last message is the question, the earlier ones are what was said before."""
    _known(asked.model, (wire.ANSWERS_MODEL,))
    earlier = tuple(Turn(m.role, m.text) for m in asked.messages[:-1] if m.role in ("user", "assistant"))
    narrow = checked_filter(asked.narrow(), workspace, caller)
    question = AskRequest(asked.messages[-1].text, earlier, narrow, asked.fresh)
    left = deadline.remaining(settings.server.deadline_seconds)
    if not asked.stream:
        answer = await for_caller(request, complete(workspace, question, caller), left)
        return _completion(answer, _usage(answer, asked, workspace))
    events = paced(answer_events(workspace, question, caller), settings.server.heartbeat_seconds, left)
    first = await for_caller(request, first_of(events), left)
    wanted = asked.stream_options is not None and asked.stream_options.include_usage
    count = partial(_usage, asked=asked, workspace=workspace) if wanted else None
    response: Response = EventStream(_chunks(first, events, count))
    return response


@router.post(
    "/v1/embeddings",
    dependencies=[requires("analyst")],
    response_model=wire.EmbeddingsResponse,
    responses=_errors(404, 413),
)
async def embed(asked: wire.EmbeddingsRequest, workspace: OpenWorkspace, settings: TheSettings) -> Any:
    """Embed texts with all-MiniLM-L6-v2: 384 numbers each, of length 1."""
    _known(asked.model, _models(settings)[1:])
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    sizes = await asyncio.to_thread(
        lambda: [len(each.ids) for each in workspace.embedding.tokenizer.encode_batch(texts)]
    )
    _check_sizes(texts, sizes)
    vectors = await asyncio.to_thread(workspace.embedding.embed, texts)
    if asked.dimensions not in (None, vectors.shape[1]):
        raise Problem(400, "unsupported_value", f"dimensions can only be {vectors.shape[1]}.", param="dimensions")
    as_text = asked.encoding_format == "base64"
    data = [
        wire.EmbeddingItem(
            index=index,
            embedding=base64.b64encode(row.astype("<f4").tobytes()).decode() if as_text else row.tolist(),
        )
        for index, row in enumerate(vectors)
    ]
    usage = wire.EmbeddingsUsage(prompt_tokens=sum(sizes), total_tokens=sum(sizes))
    return wire.EmbeddingsResponse(data=data, model=asked.model, usage=usage)


def _models(settings: Settings) -> tuple[str, ...]:
    name = settings.embedding.model
    return (wire.ANSWERS_MODEL, name, name.rsplit("/", 1)[-1])


def _known(model: str, known: tuple[str, ...]) -> str:
    if model not in known:
        raise Problem(
            404, "model_not_found", f"There is no model {model[:80]!r} here; use {' or '.join(known)}.", param="model"
        )
    return model


def _check_sizes(texts: list[str], sizes: list[int]) -> None:
    for place, (text, size) in enumerate(zip(texts, sizes, strict=True)):
        if not text.strip():
            raise Problem(400, "invalid_input", f"input {place} is empty.", param="input")
        if size > _MAX_PIECES:
            sentence = f"input {place} has {size} word pieces; this model reads {_MAX_PIECES}. Split it."
            raise Problem(400, "context_length_exceeded", sentence, param="input")


def _completion(answer: Answer, usage: wire.Usage) -> wire.ChatCompletion:
    return wire.ChatCompletion(
        id=f"chatcmpl-{answer.id}",
        created=int(time.time()),
        model=wire.ANSWERS_MODEL,
        choices=[wire.Choice(message=wire.Reply(content=answer.text))],
        usage=usage,
        **_ours(answer),
    )


def _ours(answer: Answer) -> dict[str, Any]:
    """What OpenAI's shape has no place for."""
    return {
        "citations": [Citation.model_validate(each) for each in answer.citations],
        "status": answer.status,
        "confidence": answer.confidence,
        "engine": answer.engine,
        "degraded": answer.degraded,
        "notice": answer.notice,
    }


def _usage(answer: Answer, asked: wire.ChatRequest, workspace: Workspace) -> wire.Usage:
    """What the engine counted; where it counts nothing, the word pieces of the conversation and of the answer."""

    def pieces(text: str) -> int:
        return len(workspace.embedding.tokenizer.encode(text, add_special_tokens=False).ids)

    read = answer.tokens.get("prompt") or sum(pieces(message.text) for message in asked.messages)
    written = answer.tokens.get("completion") or pieces(answer.text)
    return wire.Usage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


async def _chunks(
    first: Event, rest: AsyncGenerator[Event | None, None], count: Callable[[Answer], wire.Usage] | None
) -> AsyncGenerator[str, None]:
    """One chunk per sentence; the last has `finish_reason`, the citations and the status; then `[DONE]`."""
    head = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": "banksight",
    }
    try:
        yield _data(head | _delta({"role": "assistant", "content": ""}))
        event: Event | None = first
        while not isinstance(event, Completed):
            if event is None:
                yield KEEP_ALIVE
            elif isinstance(event, SentenceReleased):
                yield _data(head | _delta({"content": event.text}))
            event = await anext(rest)
        answer = event.answer
        yield _data(head | _delta({}, "stop") | _ours(answer))
        if count is not None:
            yield _data(head | {"choices": [], "usage": count(answer)})
        yield "data: [DONE]\n\n"
    except Exception as error:  # noqa: BLE001 - the status line is gone, so the error travels as an event
        yield _data(broken_off(error, "/v1/chat/completions").openai_document())
    finally:
        await rest.aclose()


def _delta(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]}


def _data(body: dict[str, Any]) -> str:
    return f"data: {to_json(body).decode()}\n\n"
