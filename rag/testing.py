"""Fakes that ship with the product, for tests here and in the projects of others. They record what they were asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import (
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.llms.custom import CustomLLM
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
        for start in range(0, len(reply), self.piece):
            end = start + self.piece
            yield CompletionResponse(text=reply[:end], delta=reply[start:end])
