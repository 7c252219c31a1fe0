"""Some of Chainlit's socket events, handled better: what a browser sends, a stopped answer, and a connection that comes
back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import chainlit as cl
from chainlit.chat_context import chat_context
from chainlit.context import init_ws_context
from chainlit.session import WebsocketSession

from ui.typed import question_alone

Handler = Callable[[str], Awaitable[None]]
MessageHandler = Callable[[str, dict[str, Any]], Awaitable[None]]


def believing_only_the_text(chainlits_own: MessageHandler, *, new: bool) -> MessageHandler:
    """A handler for a message that somebody typed, as a new one or over an earlier one of theirs.

    Chainlit takes author, type and metadata from the browser too, so that anybody can put words into the assistant's
    mouth. Here only the id and the text count.
    """

    async def typed(sid: str, payload: dict[str, Any]) -> None:
        session, message = WebsocketSession.get(sid), question_alone(payload)
        if session is None or message is None:
            return
        init_ws_context(session)
        types = {each.id: each.type for each in chat_context.get()}
        if types.get(message["id"]) == (None if new else "user_message"):
            await chainlits_own(sid, {"message": message, "fileReferences": None})

    return typed


async def stop(sid: str) -> None:
    """Cancel the running answer. Chainlit's own handler would add a sentence that cannot be translated."""
    if session := WebsocketSession.get(sid):
        init_ws_context(session)
        if session.current_task:
            session.current_task.cancel()


def repeating_what_was_missed(chainlits_own: Handler) -> Handler:
    """A handler for a connection that is up. What was sent while it was down is lost, so the last answer goes again."""

    async def connected(sid: str) -> None:
        await chainlits_own(sid)
        session = WebsocketSession.get(sid)
        if session is None or not session.restored:
            return
        if session.current_task and not session.current_task.done():
            await cl.context.emitter.task_start()  # Chainlit has just told the page that nothing runs
        for message in chat_context.get()[-1:]:
            await _send_again(message)

    return connected


async def _send_again(message: cl.Message) -> None:
    await cl.context.emitter.send_step(message.to_dict())
    for action in getattr(message, "actions", ()):
        await action.remove()
        await action.send(for_id=message.id)
