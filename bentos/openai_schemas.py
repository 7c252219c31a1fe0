"""Wire models of the routes that speak OpenAI's dialect, as far as a document assistant can speak it.

Sampling options are accepted, because clients send them unasked, and have no effect: the operator's configuration
decides how answers are made. Options that would change the shape of the answer are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bentos.problems import Problem
from bentos.schemas import Citation, Narrowed, Text
from rag.domain import AnswerStatus, Degraded

ANSWERS_MODEL = "banksight"
MAX_INPUTS = 256
_REFUSED = (
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "logprobs",
    "audio",
    "stop",
    "logit_bias",
    "prediction",
)


class Spoken(BaseModel):
    """What OpenAI's clients send. Unknown options are refused as OpenAI does."""

    model_config = ConfigDict(extra="forbid")


class TextPart(Spoken):
    """A piece of a message. Only text can be read."""

    type: Literal["text"]
    text: Text


class Message(Spoken):
    """One message. System and developer messages are accepted and have no effect: the bank decides on instructions."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart]
    name: str | None = None

    @property
    def text(self) -> str:
        """The message as one text."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(Spoken):
    """How a stream ends."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(Spoken, Narrowed):
    """A conversation whose last message is the question. `as_of`, `filters` and `fresh` do what they do on /v1/ask."""

    model: str = Field(max_length=200)
    messages: list[Message] = Field(min_length=1, max_length=200)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    fresh: bool = False
    n: int | None = None
    response_format: dict[str, Any] | None = None
    modalities: list[str] | None = None
    frequency_penalty: float | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    metadata: dict[str, str] | None = None
    parallel_tool_calls: bool | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    safety_identifier: str | None = None
    seed: int | None = None
    service_tier: str | None = None
    store: bool | None = None
    temperature: float | None = None
    top_logprobs: int | None = None
    top_p: float | None = None
    user: str | None = None
    verbosity: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_cannot_be_done(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        asked = next((name for name in _REFUSED if data.get(name)), None)
        if asked:
            raise Problem(400, "unsupported_parameter", f"{asked} is not supported here; leave it out.", param=asked)
        return {name: value for name, value in data.items() if name not in _REFUSED}

    @model_validator(mode="after")
    def _one_plain_answer(self) -> ChatRequest:
        if self.n not in (None, 1):
            raise Problem(400, "unsupported_value", "n must be 1: there is one answer to a question.", param="n")
        if self.response_format and self.response_format.get("type") != "text":
            raise Problem(400, "unsupported_value", "response_format must be text.", param="response_format")
        if self.modalities not in (None, ["text"]):
            raise Problem(400, "unsupported_value", "modalities must be text alone.", param="modalities")
        if self.messages[-1].role != "user":
            raise Problem(400, "invalid_messages", "The last message must be the user's question.", param="messages")
        return self


class Usage(BaseModel):
    """Tokens as the engine counts them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Reply(BaseModel):
    """The answer as a chat message."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: str | None = None


class Choice(BaseModel):
    """The one choice."""

    index: int = 0
    message: Reply
    logprobs: None = None
    finish_reason: Literal["stop"] = "stop"


class ChatCompletion(BaseModel):
    """OpenAI's chat completion; what comes after `usage` is ours, with the same meaning as in our own `Answer`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    citations: list[Citation]
    status: AnswerStatus
    confidence: float
    engine: str
    degraded: Degraded | Literal[""]
    notice: str


def _no_tokens(value: Any) -> Any:
    """Refuse lists of token ids in a way that says so."""
    flat = value[0] if isinstance(value, list) and value else value
    if isinstance(flat, int) or (isinstance(flat, list) and flat and isinstance(flat[0], int)):
        raise Problem(
            400, "unsupported_value", "Send texts, not token ids: this model has another tokeniser.", param="input"
        )
    return value


class EmbeddingsRequest(Spoken):
    """Texts to embed, at most 256 of at most 256 word pieces each."""

    model: str = Field(max_length=200)
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_INPUTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _texts_only(cls, data: Any) -> Any:
        if isinstance(data, dict):
            _no_tokens(data.get("input"))
        return data


class EmbeddingItem(BaseModel):
    """One vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(BaseModel):
    """Word pieces of all texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """Vectors in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[EmbeddingItem]
    model: str
    usage: EmbeddingsUsage


class ModelCard(BaseModel):
    """A model that can be asked for."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: Literal["banksight"] = "banksight"


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class OpenAIError(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorDocument(BaseModel):
    """OpenAI's error shape."""

    error: OpenAIError
