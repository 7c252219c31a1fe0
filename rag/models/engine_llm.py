"""LlamaIndex `LLM`s over an `Engine`: what the pipeline, and anybody who knows LlamaIndex, asks for text.

The streaming methods are not decorated with LlamaIndex's callbacks: those wrap the generator in another one that does
not pass its closing on, so that a stream nobody reads would keep its slot, and send an event with the prompt per token.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from llama_index.core.base.llms.generic_utils import completion_response_to_chat_response
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms.custom import CustomLLM
from pydantic import ConfigDict, PrivateAttr, SkipValidation

from rag.errors import ModelError, ModelTimeout
from rag.models.background import Background
from rag.models.engine import Decoding, Engine, Finished, GenerationRequest, Piece
from rag.operations import deadline

_DECODING_OPTIONS: Final = ("max_tokens", "temperature", "top_p", "seed")


class EngineLLM(CustomLLM):
    """Text of `engine`, with `decoding` unless a call says otherwise (`max_tokens`, `temperature`, `stop`, …).

    The last response of a stream has `Finished` in `raw` and token counts in `additional_kwargs`. A stream that is
    closed gives its slot back. Raises as `Engine.submit`, `ModelTimeout` and `ModelError`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    engine: SkipValidation[Engine]
    decoding: Decoding = Decoding()
    deadline_seconds: float = 30.0
    token_deadline_seconds: float = 10.0
    _background: Background = PrivateAttr(default_factory=Background)

    @classmethod
    def class_name(cls) -> str:
        """The name under which answers show this engine."""
        return "engine"

    @property
    def metadata(self) -> LLMMetadata:
        """The engine's model and window. Prompts are put into the model's chat template."""
        return LLMMetadata(
            model_name=self.engine.model_name,
            context_window=self.engine.context_window,
            num_output=self.decoding.max_tokens,
            is_chat_model=True,
        )

    def count_tokens(self, text: str) -> int:
        """Tokens that `text` adds to a prompt, by the engine's own tokenizer."""
        return max(0, self.engine.count_tokens(text) - self.engine.count_tokens(""))

    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002, FBT001 - the signature is LlamaIndex's
        **kwargs: Any,
    ) -> CompletionResponseAsyncGen:
        """Pieces of the answer, as they are generated."""
        return self._stream(prompt, self._decoding(kwargs))

    async def acomplete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: FBT001 - the signature is LlamaIndex's
        **kwargs: Any,
    ) -> CompletionResponse:
        """The whole answer."""
        response = CompletionResponse(text="")
        async for response in await self.astream_complete(prompt, formatted, **kwargs):  # noqa: B007 - the last one
            pass
        return response

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The whole answer to a conversation."""
        return completion_response_to_chat_response(await self.acomplete(as_prompt(messages), **kwargs))

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Pieces of the answer to a conversation."""
        return _as_chat(self._stream(as_prompt(messages), self._decoding(kwargs)))

    def complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: FBT001 - the signature is LlamaIndex's
        **kwargs: Any,
    ) -> CompletionResponse:
        """The whole answer, for callers without an event loop."""
        return self._background.run(self.acomplete(prompt, formatted, **kwargs))

    def stream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002, FBT001 - the signature is LlamaIndex's
        **kwargs: Any,
    ) -> CompletionResponseGen:
        """Pieces of the answer, for callers without an event loop."""
        return self._background.iterate(self._stream(prompt, self._decoding(kwargs)))

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The whole answer to a conversation, for callers without an event loop."""
        return self._background.run(self.achat(messages, **kwargs))

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Pieces of the answer to a conversation, for callers without an event loop."""
        return self._background.iterate(_as_chat(self._stream(as_prompt(messages), self._decoding(kwargs))))

    async def aclose(self) -> None:
        """Close the engine."""
        await self.engine.close()
        self._background.close()

    def close(self) -> None:
        """Close the engine, from a thread without an event loop."""
        self._background.run(self.engine.close())
        self._background.close()

    def _decoding(self, options: dict[str, Any]) -> Decoding:
        chosen: dict[str, Any] = {name: options[name] for name in _DECODING_OPTIONS if name in options}
        if (stop := options.get("stop")) is not None:
            chosen["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
        return replace(self.decoding, **chosen)

    async def _stream(self, prompt: str, decoding: Decoding) -> AsyncGenerator[CompletionResponse, None]:
        deadline.check()
        seconds = deadline.remaining(self.deadline_seconds)
        request = GenerationRequest(prompt, decoding, seconds, self.token_deadline_seconds)
        generation = self.engine.submit(request)
        text = ""
        try:
            async for event in generation:
                if isinstance(event, Piece):
                    text += event.text
                    yield CompletionResponse(text=text, delta=event.text)
                else:
                    _raise_if_failed(event)
                    yield CompletionResponse(text=text, delta="", raw=event, additional_kwargs=_counts(event))
        finally:
            generation.cancel()


class MistralLLM(EngineLLM):
    """Mistral-7B, in this process or in the Generator's."""

    @classmethod
    def class_name(cls) -> str:
        """See `EngineLLM`."""
        return "mistral"


class OpenAICompatibleLLM(EngineLLM):
    """A model behind somebody else's server."""

    @classmethod
    def class_name(cls) -> str:
        """See `EngineLLM`."""
        return "openai_compatible"


class SimulatedLLM(EngineLLM):
    """No model: the pace of one, for load tests."""

    @classmethod
    def class_name(cls) -> str:
        """See `EngineLLM`."""
        return "simulated"


def as_prompt(messages: Sequence[ChatMessage]) -> str:
    """A conversation as one message of the user. Engines take one, and one turn is all that our prompts have."""
    if len(messages) == 1:
        return messages[0].content or ""
    names = {MessageRole.USER: "User: ", MessageRole.ASSISTANT: "Assistant: "}
    return "\n\n".join(f"{names.get(each.role, '')}{each.content or ''}" for each in messages)


def _raise_if_failed(event: Finished) -> None:
    if event.reason == "deadline":
        raise ModelTimeout(event.detail or "the engine did not finish in time")
    if event.reason in ("failed", "cancelled"):
        raise ModelError(event.detail or f"the engine {event.reason} the request")


def _counts(event: Finished) -> dict[str, int]:
    """Token counts, under the names that LlamaIndex's token counter reads."""
    usage = event.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
    }


async def _as_chat(responses: AsyncGenerator[CompletionResponse, None]) -> AsyncGenerator[ChatResponse, None]:
    async with aclosing(responses):
        async for each in responses:
            message = ChatMessage(role=MessageRole.ASSISTANT, content=each.text)
            yield ChatResponse(
                message=message, delta=each.delta, raw=each.raw, additional_kwargs=each.additional_kwargs
            )
