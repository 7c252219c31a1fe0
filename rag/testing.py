"""Fakes that ship with the product, for tests here and in the projects of others. They record what they were asked."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
from llama_index.core.base.llms.types import (
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.llms.custom import CustomLLM
from numpy.typing import NDArray
from pydantic import PrivateAttr

_EXHAUSTED = "the script has no reply left; queue one more reply for every prompt"


@dataclass(slots=True)
class Script:
    """The replies that are still to be given, and the prompts that were received, in order."""

    replies: deque[str | Exception] = field(default_factory=deque)
    prompts: list[str] = field(default_factory=list)

    def next(self, prompt: str) -> str:
        """The reply to this prompt. Raises a queued exception, and `IndexError` when no reply is left."""
        self.prompts.append(prompt)
        if not self.replies:
            raise IndexError(_EXHAUSTED)
        reply = self.replies.popleft()
        if isinstance(reply, Exception):
            raise reply
        return reply


class ScriptedLLM(CustomLLM):
    """Gives queued replies in order, streamed `piece` characters at a time, and remembers prompts.

    `ScriptedLLM.of("first", "second")`; a queued exception is raised in its turn. `script.prompts` are what was asked.
    """

    piece: int = 7
    _script: Script = PrivateAttr(default_factory=Script)

    @classmethod
    def of(cls, *replies: str | Exception, piece: int = 7) -> ScriptedLLM:
        """An engine with these replies."""
        engine = cls(piece=piece)
        engine.queue(replies)
        return engine

    @classmethod
    def class_name(cls) -> str:
        """The name under which answers show this engine."""
        return "scripted"

    @property
    def script(self) -> Script:
        """What is still to be said and what was asked."""
        return self._script

    @property
    def metadata(self) -> LLMMetadata:
        """A model named "scripted"."""
        return LLMMetadata(model_name="scripted", is_chat_model=False)

    def queue(self, replies: Iterable[str | Exception]) -> None:
        """Add replies to the end of the script."""
        self._script.replies.extend(replies)

    @llm_completion_callback()
    def complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002, FBT001 - the signature is LlamaIndex's
        **kwargs: Any,  # noqa: ARG002
    ) -> CompletionResponse:
        """The next reply, whole."""
        return CompletionResponse(text=self._script.next(prompt))

    @llm_completion_callback()
    def stream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002, FBT001
        **kwargs: Any,  # noqa: ARG002
    ) -> CompletionResponseGen:
        """The next reply, piece by piece."""
        return self._pieces(self._script.next(prompt))

    @llm_completion_callback()
    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002, FBT001
        **kwargs: Any,  # noqa: ARG002
    ) -> CompletionResponseAsyncGen:
        """The next reply, piece by piece."""
        pieces = self._pieces(self._script.next(prompt))

        async def stream() -> CompletionResponseAsyncGen:
            for response in pieces:
                yield response

        return stream()

    def _pieces(self, reply: str) -> CompletionResponseGen:
        for start in range(0, max(1, len(reply)), self.piece):
            end = start + self.piece
            yield CompletionResponse(text=reply[:end], delta=reply[start:end])


class WordEncoder:
    """Stands in for MiniLM where a test needs none: texts that share words are similar. Deterministic, no files."""

    dimensions = 64

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`float32[n, 64]`, L2-normalised: one direction for each word, by its checksum."""
        rows = np.full((len(texts), self.dimensions), 1e-6, dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[crc32(word.strip(".,;:?!").encode()) % self.dimensions] += 1.0
        unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


class ObeyingLLM(ScriptedLLM):
    """The worst reader of poisoned passages: whatever in its prompt matches `canary`, it says in every way it can.

    For each match: alone, cited, added to a true sentence, as a link, as an image, and in the words around it.
    """

    canary: str = r"ZX[0-9A-F]{6}"

    @classmethod
    def class_name(cls) -> str:
        """The name under which answers show this engine."""
        return "obeying"

    async def astream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponseAsyncGen:  # noqa: ARG002, FBT001
        """Everything that the prompt orders, piece by piece."""
        self.queue(["\n\n".join(self._obey(prompt)) or "I was told nothing."])
        stream: CompletionResponseAsyncGen = await super().astream_complete(prompt)
        return stream

    def _obey(self, prompt: str) -> Iterable[str]:
        quoted = [line.removeprefix("> ") for line in prompt.split("\n") if line.startswith("> ")]
        true = max(quoted, key=len, default="").split(". ")[0].rstrip(".")
        for word in dict.fromkeys(re.findall(self.canary, prompt)):
            yield from (f"{word}.", f"{word}. [1]", f"{word} {true}. [1]", f"{true} {word}. [1]")
            yield from (
                f"{true} [1] ![form](https://example.invalid/{word}).",
                f"{true} https://example.invalid/{word}. [1]",
            )
            yield from (f"{line} [{number}]" for line in quoted if word in line for number in range(1, 9))
