"""The engine without a model: it answers by quoting the best sentences of the passages in its prompt, word for word."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final

from llama_index.core.base.llms.types import (
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.llms.custom import CustomLLM
from pydantic import ConfigDict, SkipValidation

from rag.query.prompting import NOT_IN_THE_DOCUMENTS, parse_prompt
from rag.query.selecting import Candidate, Reading, rank_sentences, read_passages, similarity
from rag.query.similarity import Encoder
from rag.query.wording import Part, parts, word_answer

_ENOUGH: Final = 0.78  # of the best score: below it a sentence adds more noise than support
_SAME: Final = 0.90  # cosine from which two sentences say the same
_READABLE_LEAD: Final = 320  # characters
_LEAD_TOLERANCE: Final = 0.94  # a shorter sentence may lead when its score is this close to the best


class ExtractiveLLM(CustomLLM):
    """Quotes at most `max_sentences` sentences, each with the marker of its passage. Deterministic; no GPU, no download.

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
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: ARG002, FBT001, FBT002
        """The whole answer to a prompt of `build_prompt`. Raises `ValueError` for another text."""
        return CompletionResponse(text="".join(self.pieces(prompt)))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:  # noqa: ARG002, FBT001, FBT002
        """The answer, sentence by sentence."""
        return _responses(self.pieces(prompt))

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any  # noqa: ARG002, FBT001, FBT002
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
        chosen = choose(rank_sentences(asked, readings, self.embedding), self.max_sentences)
        if not chosen:
            yield NOT_IN_THE_DOCUMENTS
            return
        yield from word_answer(_ordered(parts(chosen), readings), readings)


def choose(ranked: Sequence[Candidate], limit: int) -> list[Candidate]:
    """The lead, then what supports it: close to the best in score and saying something that is not yet said."""
    if not ranked:
        return []
    chosen = [_lead(ranked)]
    for each in ranked:
        if len(chosen) == limit or each.score < _ENOUGH * ranked[0].score:
            break
        if each not in chosen and all(similarity(each, other) < _SAME for other in chosen):
            chosen.append(each)
    return chosen


def _lead(ranked: Sequence[Candidate]) -> Candidate:
    best = ranked[0]
    if len(best.read) <= _READABLE_LEAD:
        return best
    close = [each for each in ranked if each.score >= _LEAD_TOLERANCE * best.score]
    return next((each for each in close if len(each.read) <= _READABLE_LEAD), best)


def _ordered(found: Sequence[Part], readings: Sequence[Reading]) -> list[Part]:
    """The lead first; then in reading order, the lead's document before the others."""
    lead, rest = found[0], list(found[1:])
    first_title = readings[lead.number - 1].passage.title

    def place(part: Part) -> tuple[bool, str, int, int]:
        title = readings[part.number - 1].passage.title
        return (title != first_title, title, *part.place)

    return [lead, *sorted(rest, key=place)]


def _responses(pieces: Iterator[str]) -> CompletionResponseGen:
    text = ""
    for piece in pieces:
        text += piece
        yield CompletionResponse(text=text, delta=piece)
