"""The engine without a model: it answers by quoting the best sentences of the passages in its prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from llama_index.core.base.llms.types import (
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.llms.custom import CustomLLM
from pydantic import ConfigDict, SkipValidation

from rag.query.composing import compose
from rag.query.prompting import NOT_IN_THE_DOCUMENTS, parse_prompt
from rag.query.selecting import rank_sentences, read_passages
from rag.query.similarity import Encoder
from rag.query.wording import word_answer


class ExtractiveLLM(CustomLLM):
    """Quotes at most `max_sentences` sentences, each with the marker of its passage. Deterministic, without a GPU.

    `embedding` has `embed(texts) -> float32[n, d]`, L2-normalised, such as `MiniLM` or `SentenceVectors`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    embedding: SkipValidation[Encoder]
    max_sentences: int = 5

    @classmethod
    def class_name(cls) -> str:
        """The name under which answers show this engine."""
        return "extractive"

    @property
    def metadata(self) -> LLMMetadata:
        """No model and no window: any prompt is read in full."""
        return LLMMetadata(model_name="none", context_window=1_000_000, num_output=1_000, is_chat_model=False)

    @llm_completion_callback()
    def complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002, FBT001 - the signature is LlamaIndex's
        **kwargs: Any,  # noqa: ARG002
    ) -> CompletionResponse:
        """The whole answer to a prompt of `build_prompt`. Raises `ValueError` for another text."""
        return CompletionResponse(text="".join(self.pieces(prompt)))

    @llm_completion_callback()
    def stream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002, FBT001
        **kwargs: Any,  # noqa: ARG002
    ) -> CompletionResponseGen:
        """The answer, sentence by sentence."""
        return _responses(self.pieces(prompt))

    @llm_completion_callback()
    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002, FBT001 - the signature is LlamaIndex's
        **kwargs: Any,  # noqa: ARG002
    ) -> CompletionResponseAsyncGen:
        """The answer, sentence by sentence; the work happens in threads and ends with the consumer."""
        responses = _responses(self.pieces(prompt))

        async def stream() -> CompletionResponseAsyncGen:
            while (response := await asyncio.to_thread(next, responses, None)) is not None:
                yield response

        return stream()

    def pieces(self, prompt: str) -> Iterator[str]:
        """The pieces of the answer, each ending with its marker."""
        asked = parse_prompt(prompt)
        readings = read_passages(asked)
        parts = compose(rank_sentences(asked, readings, self.embedding), readings, self.max_sentences)
        if parts:
            yield from word_answer(parts, readings)
        else:
            yield NOT_IN_THE_DOCUMENTS


def _responses(pieces: Iterator[str]) -> CompletionResponseGen:
    text = ""
    for piece in pieces:
        text += piece
        yield CompletionResponse(text=text, delta=piece)
