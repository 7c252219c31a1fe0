"""One answer on its way into the chat: a step for the search, the text as it is verified, a button for each source."""

from __future__ import annotations

import asyncio
import logging
import traceback
import uuid
from contextlib import aclosing
from dataclasses import replace

import chainlit as cl
from chainlit.utils import utc_now

from ui import wording
from ui.client import ApiClient
from ui.conversation import Conversation, FailedQuestion
from ui.errors import BackendError, BackendFailed, QuestionRejected
from ui.rendering import citation_labels, citation_tooltip, sentence_markdown, step_body, step_name
from ui.resuming import stored_answer
from ui.wire import Answer, Citation, PassageHeader, Sentence, Stage, StreamEvent

OPEN_SOURCE = "open_source"
ASK_AGAIN = "ask_again"

log = logging.getLogger(__name__)


async def reply(client: ApiClient, conversation: Conversation, asked: FailedQuestion, history_turns: int) -> None:
    """Answer one question in the current chat. Whatever happens, the chat says so; only cancellation is raised."""
    # Chainlit registers neither edited messages nor actions as the task that its stop button cancels.
    cl.context.session.current_task = asyncio.current_task()
    shown = Reply(asked)
    try:
        await shown.begin()
        if asked.freshness == "fresh":
            conversation.rewind(asked.message_id)  # or the question would be a follow-up of itself
        history = conversation.history(history_turns)
        async with aclosing(client.ask(asked.question, history, asked.freshness)) as events:
            async for event in events:
                if isinstance(event, Answer):
                    shown.offer_fresh(event, conversation)
                await shown.add(event)
                if isinstance(event, Answer):
                    conversation.answered(asked.message_id, asked.question, event)
    except asyncio.CancelledError:
        await asyncio.shield(shown.stop())
        raise
    except BackendError as problem:
        await shown.fail(problem, conversation)
    except Exception as problem:  # noqa: BLE001 - Chainlit would send the text of anything else to the browser
        where = "".join(traceback.format_tb(problem.__traceback__))  # without the message, which may hold a question
        log.error("reply failed: %s\n%s", type(problem).__name__, where)
        await shown.fail(BackendFailed(type(problem).__name__), conversation)


class Reply:
    """What the chat shows of one answer so far."""

    def __init__(self, asked: FailedQuestion) -> None:
        self._asked = asked
        self._message = cl.Message(content="")
        self._step: cl.Step | None = None
        self._rewritten = ""
        self._fresh: list[cl.Action] = []

    async def begin(self) -> None:
        """Show that the search runs."""
        run = cl.context.current_run
        self._step = cl.Step(
            name=wording.SEARCHING, type="tool", icon="search", show_input=False, parent_id=run.id if run else None
        )
        self._step.start = utc_now()
        await self._step.send()

    async def add(self, event: StreamEvent) -> None:
        """Show the next thing that the API said."""
        match event:
            case Stage(stage="rewrite"):
                self._rewritten = event.rewritten()
            case Stage(stage="retrieve"):
                await self._searched(event.passages())
            case Sentence():
                await self._message.stream_token(sentence_markdown(event.text))
            case Answer():
                await self._finish(event)
            case Stage() | Citation():
                pass  # the finished answer repeats the citations, with its text

    def offer_fresh(self, answer: Answer, conversation: Conversation) -> None:
        """Give an answer that was given before a button with which it is worked out anew."""
        if answer.cached:
            reference = uuid.uuid4().hex[:8]
            conversation.failed(reference, replace(self._asked, freshness="fresh"))
            self._fresh = [_fresh_answer(reference)]

    async def stop(self) -> None:
        """Keep what is there, and say that it was stopped."""
        await self._drop_running_step()
        partial = self._message.content.rstrip()
        self._message.content = f"{partial}\n\n{wording.STOPPED}" if partial else wording.STOPPED
        await self._message.send()

    async def fail(self, problem: BackendError, conversation: Conversation) -> None:
        """Keep what is there, and say what went wrong and what to do."""
        reference = uuid.uuid4().hex[:8]
        log.warning("answer failed: reference=%s kind=%s cause=%s", reference, type(problem).__name__, problem)
        await self._drop_running_step()
        if self._message.content:
            await self._message.send()
        message = cl.Message(content=wording.failure(problem, reference))
        message.is_error = True
        if not isinstance(problem, QuestionRejected):
            conversation.failed(reference, self._asked)
            message.actions = [_ask_again(reference)]
        await message.send()

    async def _searched(self, passages: tuple[PassageHeader, ...]) -> None:
        if self._step:
            self._step.name, self._step.end = step_name(passages), utc_now()
            self._step.output = step_body(passages, self._rewritten)
            await self._step.update()

    async def _drop_running_step(self) -> None:
        if self._step and not self._step.end:
            await self._step.remove()

    async def _finish(self, answer: Answer) -> None:
        await self._drop_running_step()  # some questions are answered without a search
        self._message.content = wording.finished(answer)
        sign = wording.sign(answer)
        self._message.metadata = stored_answer(answer) | ({"icon": sign} if sign else {})
        self._message.actions = [*source_buttons(answer), *self._fresh]
        await self._message.send()


def source_buttons(answer: Answer) -> list[cl.Action]:
    """A button for each source of an answer."""
    return [
        cl.Action(
            name=OPEN_SOURCE,
            payload={"answer": answer.id, "marker": citation.marker},
            label=label,
            tooltip=citation_tooltip(citation),
            icon="book-open",
        )
        for citation, label in zip(answer.citations, citation_labels(answer.citations), strict=True)
    ]


def _ask_again(reference: str) -> cl.Action:
    return cl.Action(name=ASK_AGAIN, payload={"reference": reference}, label=wording.TRY_AGAIN, icon="rotate-cw")


def _fresh_answer(reference: str) -> cl.Action:
    return cl.Action(
        name=ASK_AGAIN,
        payload={"reference": reference},
        label=wording.FRESH_ANSWER,
        tooltip=wording.FRESH_ANSWER_HINT,
        icon="refresh-cw",
    )
