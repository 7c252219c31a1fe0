"""The chat's handlers. `banksight ui` starts Chainlit with this file; the work is in the modules beside it."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import chainlit as cl
from chainlit.server import app as server
from chainlit.server import get_html_template, sio
from chainlit.types import ThreadDict
from chainlit.user import User
from starlette.routing import Route

from ui import wording
from ui.client import ApiClient
from ui.conversation import Conversation, FailedQuestion
from ui.documents import document_routes
from ui.errors import BackendError, BackendFailed
from ui.history.database import open_database
from ui.history.layer import ConversationLayer
from ui.history.store import ConversationStore
from ui.opinions import feedback_routes
from ui.panel import open_panel
from ui.protection import Protection, content_security_policy, same_origin
from ui.replying import ASK_AGAIN, OPEN_SOURCE, reply, source_buttons
from ui.resuming import answers, recalled
from ui.sessions import Identify, Sessions
from ui.settings import UiSettings
from ui.signing_in.opening import open_sign_in
from ui.sockets import believing_only_the_text, repeating_what_was_missed, stop
from ui.starters import STARTERS

log = logging.getLogger("ui.app")
for noisy in ("alembic", "chainlit", "httpx", "httpx2"):
    logging.getLogger(noisy).setLevel(logging.WARNING)

settings = UiSettings.from_environment(os.environ)
client = ApiClient(settings)


def keep_conversations(database_url: str) -> frozenset[str]:
    """Conversations in a database, for people who sign in. Returns the paths that signing in needs."""
    engine = open_database(database_url)
    store = ConversationStore(engine)
    sign_in = open_sign_in(settings, client, engine, store)
    layer, sessions = ConversationLayer(store, client.judge), Sessions(store, time.time, sign_in.kept)
    cl.data_layer(lambda: layer)
    log_out = Route("/logout", sessions.log_out, methods=["POST"])
    server.router.routes[:0] = [*feedback_routes(layer), log_out, *sign_in.routes]
    server.add_middleware(Identify, sessions=sessions)
    return sign_in.open_paths


for_signing_in = keep_conversations(settings.ui_database_url) if settings.ui_database_url else frozenset[str]()
sio.on("client_message", believing_only_the_text(sio.handlers["/"]["client_message"], new=True))
sio.on("edit_message", believing_only_the_text(sio.handlers["/"]["edit_message"], new=False))
server.router.routes[:0] = document_routes(client)  # before Chainlit's catch-all route
server.add_middleware(Protection, policy=content_security_policy(get_html_template("")), open_paths=for_signing_in)
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


def failing_kindly(handler: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """A handler whose errors reach the log only: Chainlit would send their text to the browser."""

    @functools.wraps(handler)
    async def handled(*given: Any, **named: Any) -> None:
        try:
            await handler(*given, **named)
        except Exception as problem:  # noqa: BLE001 - see above
            reference = uuid.uuid4().hex[:8]
            log.error("failed: reference=%s kind=%s in %s", reference, type(problem).__name__, handler.__name__)
            failed = cl.Message(content=wording.failure(BackendFailed(""), reference))
            failed.is_error = True
            await failed.send()

    return handled


@cl.on_chat_resume
@failing_kindly
async def resume_conversation(thread: ThreadDict) -> None:
    """Take up a stored conversation: what was said counts again, and its sources open again."""
    cl.user_session.set("conversation", recalled(thread["steps"]))
    for message_id, answer in answers(thread["steps"]):
        for button in source_buttons(answer):
            await button.send(for_id=message_id)


@cl.on_message
@failing_kindly
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
@failing_kindly
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
@failing_kindly
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
