"""The chat's handlers. `banksight ui` starts Chainlit with this file; the work is in the modules beside it."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid

import chainlit as cl
from chainlit.server import app as server
from chainlit.server import get_html_template, sio
from chainlit.user import User

from ui import wording
from ui.client import ApiClient
from ui.conversation import Conversation, FailedQuestion
from ui.documents import document_routes
from ui.errors import BackendError
from ui.panel import open_panel
from ui.protection import Protection, content_security_policy, same_origin
from ui.replying import ASK_AGAIN, OPEN_SOURCE, reply
from ui.settings import UiSettings
from ui.sockets import repeating_what_was_missed, stop
from ui.starters import STARTERS

log = logging.getLogger("ui.app")
for noisy in ("chainlit", "httpx"):
    logging.getLogger(noisy).setLevel(logging.WARNING)

settings = UiSettings.from_environment(os.environ)
client = ApiClient(settings)

server.router.routes[:0] = document_routes(client)  # before Chainlit's catch-all route
server.add_middleware(Protection, policy=content_security_policy(get_html_template("")))
sio.eio.cors_allowed_origins = same_origin
sio.on("stop", stop)
sio.on("connection_successful", repeating_what_was_missed(sio.handlers["/"]["connection_successful"]))


@cl.on_app_shutdown
async def close_client() -> None:
    """Close the connections to the API."""
    await client.close()


@cl.set_starters
async def starters(_user: User | None, _language: str | None) -> list[cl.Starter]:
    """Good first questions for the sample bank."""
    return [cl.Starter(label=question, message=question) for question in STARTERS]


@cl.on_chat_start
async def begin_conversation() -> None:
    """A new chat remembers nothing."""
    cl.user_session.set("conversation", Conversation())


@cl.on_message
async def answer_message(message: cl.Message) -> None:
    """Answer a question; an edited one replaces what was said since."""
    question, conversation = message.content.strip(), _conversation()
    conversation.rewind(message.id)
    if not question:
        await cl.Message(content=wording.EMPTY_QUESTION).send()
    elif len(question) > settings.ui_max_question_characters:
        await cl.Message(content=wording.too_long(len(question), settings.ui_max_question_characters)).send()
    else:
        await reply(client, conversation, FailedQuestion(message.id, question), settings.ui_history_turns)


@cl.action_callback(OPEN_SOURCE)
async def open_source(action: cl.Action) -> None:
    """Open a source that this session was shown, and no other."""
    citation = _conversation().source(action.payload.get("answer"), action.payload.get("marker"))
    if citation is None:
        await cl.Message(content=wording.SOURCE_UNKNOWN).send()
        return
    try:
        await open_panel(client, citation)
    except BackendError as problem:
        reference = uuid.uuid4().hex[:8]
        log.warning("source not opened: reference=%s kind=%s cause=%s", reference, type(problem).__name__, problem)
        await cl.Message(content=wording.failure(problem, reference)).send()


@cl.action_callback(ASK_AGAIN)
async def ask_again(action: cl.Action) -> None:
    """Ask a question again that failed."""
    conversation = _conversation()
    asked = conversation.take_failed(action.payload.get("reference"))
    await action.remove()
    if asked is not None:
        # A task of its own, because the stop button cancels it, and cancelling this one would break the HTTP request.
        await asyncio.wait([asyncio.create_task(_answer_again(conversation, asked))])


async def _answer_again(conversation: Conversation, asked: FailedQuestion) -> None:
    await cl.context.emitter.task_start()
    try:
        async with cl.Step(name="on_message", type="run", parent_id=asked.message_id):
            await reply(client, conversation, asked, settings.ui_history_turns)
    finally:
        await cl.context.emitter.task_end()


def _conversation() -> Conversation:
    conversation = cl.user_session.get("conversation")
    if not isinstance(conversation, Conversation):
        conversation = Conversation()
        cl.user_session.set("conversation", conversation)
    return conversation
