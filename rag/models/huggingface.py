"""LlamaIndex's own `HuggingFaceLLM`, for one person in one process.

As it comes, its async methods block the event loop, an abandoned stream generates to its end, and a model that fails in
the middle leaves its reader waiting for ever. That is mended here; it still does not batch: see docs/adr/0008.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from llama_index.core.base.llms.generic_utils import completion_response_to_chat_response
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
)
from llama_index.llms.huggingface import HuggingFaceLLM
from pydantic import PrivateAttr

from rag.errors import ModelError
from rag.models.engine import Decoding
from rag.models.engine_llm import as_prompt
from rag.models.engines.loading import LoadedModel


class LocalHuggingFaceLLM(HuggingFaceLLM):
    """`HuggingFaceLLM` whose streams can be closed, on a model that was loaded already."""

    _loaded: LoadedModel = PrivateAttr()

    @classmethod
    def class_name(cls) -> str:
        """The name under which answers show this engine."""
        return "huggingface"

    def count_tokens(self, text: str) -> int:
        """Tokens that `text` adds to a prompt."""
        return len(self._loaded.tokenizer(text, add_special_tokens=False)["input_ids"])

    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002, FBT001 - the signature is LlamaIndex's
        **_: Any,
    ) -> CompletionResponseAsyncGen:
        """Pieces of the answer. Closing the stream ends the generation within a step. Raises `ModelError`."""
        return self._stream(prompt)

    async def acomplete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002, FBT001 - the signature is LlamaIndex's
        **_: Any,
    ) -> CompletionResponse:
        """The whole answer."""
        response = CompletionResponse(text="")
        async for response in self._stream(prompt):  # noqa: B007 - the last one
            pass
        return response

    async def achat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponse:
        """The whole answer to a conversation."""
        return completion_response_to_chat_response(await self.acomplete(as_prompt(messages)))

    async def _stream(self, prompt: str) -> AsyncGenerator[CompletionResponse, None]:
        text = self._loaded.prompt_text(prompt).removeprefix(self._loaded.tokenizer.bos_token or "")  # it adds its own
        watched = _Watched(self._loaded.model)
        one = self.model_copy()
        one._model = watched
        try:
            responses = await asyncio.to_thread(one.stream_complete, text, formatted=True)
            while (response := await asyncio.to_thread(_next, responses)) is not None:
                yield response
        finally:
            watched.closed.set()
        if watched.error is not None:
            raise ModelError(f"the model failed: {type(watched.error).__name__}; look at the log") from watched.error


class _Watched:
    """The model for one stream: ends when `closed` is set, and ends the stream, with `error`, when it fails."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.closed = threading.Event()
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, *, streamer: Any, **options: Any) -> None:
        """As the model's own, in the thread that LlamaIndex starts."""
        from transformers import StoppingCriteriaList  # noqa: PLC0415 - seconds to import

        until = StoppingCriteriaList([lambda ids, _scores, **_: _all(ids, value=self.closed.is_set())])
        try:
            self._model.generate(streamer=streamer, **(options | {"stopping_criteria": until}))
        except Exception as error:  # noqa: BLE001 - the reader raises it
            self.error = error
            streamer.end()


def open_huggingface(loaded: LoadedModel, decoding: Decoding, context_window: int) -> LocalHuggingFaceLLM:
    """The engine over a loaded model. Sampling follows the configuration; `seed` has no meaning here."""
    options: dict[str, Any] = {"do_sample": False, "pad_token_id": loaded.tokenizer.eos_token_id}
    if decoding.temperature:
        options |= {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p}
    if decoding.stop:
        options |= {"stop_strings": list(decoding.stop), "tokenizer": loaded.tokenizer}
    llm = LocalHuggingFaceLLM(
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        model_name=loaded.name,
        tokenizer_name=loaded.name,
        context_window=min(context_window, loaded.context_window),
        max_new_tokens=decoding.max_tokens,
        generate_kwargs=options,
        is_chat_model=True,
        tokenizer_outputs_to_remove=["token_type_ids"],
    )
    llm._loaded = loaded
    return llm


def _next(responses: CompletionResponseGen) -> CompletionResponse | None:
    return next(responses, None)


def _all(ids: Any, *, value: bool) -> Any:
    import torch  # noqa: PLC0415 - seconds to import

    return torch.full((ids.shape[0],), value, dtype=torch.bool, device=ids.device)
