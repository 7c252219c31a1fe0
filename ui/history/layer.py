"""Chainlit's data layer, over our store: every method acts for the person whose session called it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, cast

from chainlit.data.base import BaseDataLayer
from chainlit.data.utils import queue_until_user_message
from chainlit.element import Element, ElementDict
from chainlit.step import StepDict
from chainlit.types import Feedback, PageInfo, PaginatedResponse, Pagination, ThreadDict, ThreadFilter
from chainlit.user import PersistedUser, User
from sqlalchemy.exc import SQLAlchemyError

from ui.errors import BackendError
from ui.history.schema import elements, steps
from ui.history.store import ConversationStore, Row
from ui.person import NotTheirs, acting_person
from ui.resuming import answers

log = logging.getLogger(__name__)
KEPT_OF_SESSION = ("chat_profile", "chat_settings")  # never `is_shared`: nobody shares conversations here
MAX_PAGE = 100
Judge = Callable[[str, str, str], Awaitable[None]]
Given = ParamSpec("Given")
Result = TypeVar("Result")


def _queued(method: Callable[Given, Result]) -> Callable[Given, Result]:
    """Chainlit's own decorator, with types: what a chat says before its first question is written after it."""
    return cast("Callable[Given, Result]", queue_until_user_message()(method))


class ConversationLayer(BaseDataLayer):
    """Conversations of their owner. Nothing is shared; no files are stored, documents come from the API."""

    def __init__(self, store: ConversationStore, judge: Judge) -> None:
        """`judge` passes a receipt, a value and a comment on to the API."""
        self._store = store
        self._judge = judge
        # Chainlit writes in tasks of its own that it does not wait for. One line for all keeps them in their order.
        self._line = asyncio.Lock()

    async def _write(self, function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
        async with self._line:
            try:
                return await asyncio.to_thread(function, *given, **named)
            except (NotTheirs, KeyError, SQLAlchemyError) as problem:
                # Without the message, which may hold what somebody asked.
                log.error("conversation not written: %s in %s", type(problem).__name__, function.__name__)
                raise

    async def get_user(self, identifier: str) -> PersistedUser | None:
        """The person whom a session token names, if they were here before."""
        row = await asyncio.to_thread(self._store.user, identifier)
        return _persisted(row) if row else None

    async def create_user(self, user: User) -> PersistedUser | None:
        """The row of a person who has just signed in."""
        return _persisted(await self._write(self._store.ensure_user, user.identifier))

    async def upsert_feedback(self, feedback: Feedback) -> str:
        """Set the thumb of an own answer. Raises NotTheirs."""
        given = (feedback.forId, feedback.value, feedback.comment)
        feedback_id = await self._write(self._store.save_feedback, acting_person(), *given)
        await self._pass_on(feedback.forId, "up" if feedback.value else "down", feedback.comment or "")
        return feedback_id

    async def delete_feedback(self, feedback_id: str) -> bool:
        """Take back a thumb on an own answer. Raises NotTheirs."""
        step_id = await self._write(self._store.delete_feedback, acting_person(), feedback_id)
        await self._pass_on(step_id, "withdrawn", "")
        return True

    async def _pass_on(self, step_id: str, value: str, comment: str) -> None:
        """Tell the API what somebody thinks of its answer. That it is down loses no thumb: the chat has it."""
        messages = await asyncio.to_thread(self._store.messages_of, acting_person(), step_id)
        receipts = [answer.receipt_id for _, answer in answers(messages) if answer.receipt_id]
        try:
            for receipt_id in receipts:
                await self._judge(receipt_id, value, comment)
        except BackendError as problem:
            log.warning("feedback not passed on: %s", type(problem).__name__)

    @_queued
    async def create_element(self, element: Element) -> None:
        """Remember that an element was shown; its bytes stay where they are."""
        await self._write(self._store.save, acting_person(), elements, element.to_dict())

    async def get_element(self, thread_id: str, element_id: str) -> ElementDict | None:
        """An element of an own conversation."""
        row = await asyncio.to_thread(self._store.element, acting_person(), thread_id, element_id)
        return _typed(row) if row else None

    @_queued
    async def delete_element(self, element_id: str, thread_id: str | None = None) -> None:  # noqa: ARG002 - theirs
        """Forget an element of an own conversation."""
        await self._write(self._store.delete_element, acting_person(), element_id)

    @_queued
    async def create_step(self, step_dict: StepDict) -> None:
        """Write a step of an own conversation."""
        await self._write(self._store.save, acting_person(), steps, dict(step_dict))

    @_queued
    async def update_step(self, step_dict: StepDict) -> None:
        """Write a step again."""
        await self._write(self._store.save, acting_person(), steps, dict(step_dict))

    @_queued
    async def delete_step(self, step_id: str) -> None:
        """Delete a step of an own conversation."""
        await self._write(self._store.delete_step, acting_person(), step_id)

    async def get_thread_author(self, thread_id: str) -> str:
        """The person who acts when the conversation is theirs, else empty, which Chainlit answers with 404."""
        person = acting_person()
        return person if await asyncio.to_thread(self._store.owner, thread_id) == person else ""

    async def delete_thread(self, thread_id: str) -> None:
        """Delete an own conversation, in one transaction."""
        await self._write(self._store.delete_thread, acting_person(), thread_id)

    async def list_threads(self, pagination: Pagination, filters: ThreadFilter) -> PaginatedResponse[ThreadDict]:
        """The heads of the own conversations, newest first. `filters.userId` is not believed."""
        first = min(max(pagination.first, 1), MAX_PAGE)
        rows, more = await asyncio.to_thread(
            self._store.threads_of, acting_person(), first, pagination.cursor, filters.search, filters.feedback
        )
        data = [_typed({**row, "steps": [], "elements": []}) for row in rows]
        ends = (rows[0]["id"], rows[-1]["id"]) if rows else (None, None)
        return PaginatedResponse(pageInfo=PageInfo(more, *ends), data=data)

    async def get_thread(self, thread_id: str) -> ThreadDict | None:
        """An own conversation with all that is in it."""
        row = await asyncio.to_thread(self._store.thread, acting_person(), thread_id)
        return _typed(row) if row else None

    async def update_thread(
        self,
        thread_id: str,
        name: str | None = None,
        user_id: str | None = None,  # noqa: ARG002 - not believed
        metadata: dict[str, Any] | None = None,
        tags: list[str] | None = None,
    ) -> None:
        """Name or describe an own conversation, which is made when it is new. `user_id` is not believed."""
        kept = None if metadata is None else {each: metadata.get(each) for each in KEPT_OF_SESSION}
        changes = {"name": name, "metadata": kept, "tags": tags}
        await self._write(self._store.save_thread, acting_person(), thread_id, changes)

    async def build_debug_url(self) -> str:
        """There is none."""
        return ""

    async def get_favorite_steps(self, user_id: str) -> list[StepDict]:  # noqa: ARG002 - theirs
        """Favourites are off."""
        return []

    async def close(self) -> None:
        """Close all connections, after what is being written."""
        async with self._line:
            await asyncio.to_thread(self._store.close)


def _persisted(row: Row) -> PersistedUser:
    return PersistedUser(id=row["id"], identifier=row["identifier"], createdAt=row["createdAt"])


def _typed(row: Row) -> Any:
    """A row as one of Chainlit's dictionaries: a test holds the columns against their fields."""
    return row
