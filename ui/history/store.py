"""Reads and writes of conversations, each for one owner and each in one transaction.

Whatever is asked for by an id that another person owns raises NotTheirs or reads as absent.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from ui.history.schema import elements, feedbacks, signed_out, steps, threads, users
from ui.person import NotTheirs

MAX_NAME = 200
MAX_ID = 64
Row = dict[str, Any]


def now() -> str:
    """The time as Chainlit writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class ConversationStore:
    """Blocking; `ui.history.layer` calls it from threads. `person` is always the identifier of who acts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def user(self, identifier: str) -> Row | None:
        """The row of this person, if any."""
        with self._engine.connect() as connection:
            return _one(connection, select(users).where(users.c.identifier == identifier))

    def ensure_user(self, identifier: str) -> Row:
        """The row of this person, made when there is none."""
        if found := self.user(identifier):
            return found
        row = {"id": str(uuid.uuid4()), "identifier": identifier, "createdAt": now()}
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(users).values(row))
        except IntegrityError:  # another request made it in between
            return self.user(identifier) or row
        return row

    def owner(self, thread_id: str) -> str:
        """The identifier of the owner of a conversation; empty when there is no such conversation."""
        with self._engine.connect() as connection:
            return _owner(connection, thread_id)

    def save_thread(self, person: str, thread_id: str, changes: Mapping[str, Any]) -> None:
        """Make or change a conversation: `name`, `tags`, `metadata`; None leaves what is there."""
        values = {name: value for name, value in changes.items() if value is not None}
        if "name" in values:
            values["name"] = str(values["name"])[:MAX_NAME]
        with self._engine.begin() as connection:
            _own_thread(connection, person, thread_id)
            if values:
                connection.execute(update(threads).where(threads.c.id == thread_id).values(values))

    def delete_thread(self, person: str, thread_id: str) -> None:
        """Delete a conversation with all that is in it."""
        with self._engine.begin() as connection:
            if _owner(connection, thread_id) != person:
                raise NotTheirs(thread_id)
            connection.execute(delete(threads).where(threads.c.id == thread_id))

    def delete_user(self, person: str) -> int:
        """Delete a person's row and all their conversations. Returns how many conversations there were."""
        with self._engine.begin() as connection:
            own = select(func.count()).select_from(threads.join(users)).where(users.c.identifier == person)
            count = connection.execute(own).scalar_one()
            connection.execute(delete(users).where(users.c.identifier == person))
            return count

    def delete_users(self, prefix: str, came_before: str) -> None:
        """Delete the people whose identifier begins with `prefix` and who came before this time, with all of theirs."""
        old = users.c.identifier.startswith(prefix, autoescape=True) & (users.c.createdAt < came_before)
        with self._engine.begin() as connection:
            connection.execute(delete(users).where(old))

    def save(self, person: str, table: Table, row: Mapping[str, Any]) -> None:
        """Write a step or element, as new or over the one with its id. Unknown fields raise KeyError: nothing is lost
        in silence."""
        values = {name: value for name, value in row.items() if name != "feedback"}
        if unknown := values.keys() - table.c.keys():
            raise KeyError(f"{table.name} has no columns for {sorted(unknown)}")
        thread_id, key = str(values["threadId"]), str(values["id"])
        with self._engine.begin() as connection:
            _own_thread(connection, person, thread_id)
            there = connection.execute(select(table.c.threadId).where(table.c.id == key)).scalar_one_or_none()
            if table is steps and values.get("createdAt") is None:
                values.pop("createdAt", None)
                values |= {"createdAt": now()} if there is None else {}
            if there is None:
                connection.execute(insert(table).values(values))
            elif there == thread_id:
                connection.execute(update(table).where(table.c.id == key).values(values))
            else:
                raise NotTheirs(key)

    def delete_step(self, person: str, step_id: str) -> None:
        """Delete a step. An answer takes with it the run and the search that led to it. Absent ones are fine."""
        with self._engine.begin() as connection:
            found = _one(connection, _own(select(steps), steps, person).where(steps.c.id == step_id))
            if found is None:
                return
            gone = steps.c.id == step_id
            if found["type"] == "assistant_message" and found["parentId"]:
                run = and_(steps.c.id == found["parentId"], steps.c.type == "run")
                gone = or_(gone, run, steps.c.parentId == found["parentId"])
            connection.execute(delete(steps).where(steps.c.threadId == found["threadId"], gone))

    def delete_element(self, person: str, element_id: str) -> None:
        """Delete an element. Absent ones are fine."""
        with self._engine.begin() as connection:
            found = _one(connection, _own(select(elements), elements, person).where(elements.c.id == element_id))
            if found:
                connection.execute(delete(elements).where(elements.c.id == element_id))

    def element(self, person: str, thread_id: str, element_id: str) -> Row | None:
        """An element of a conversation."""
        wanted = _own(select(elements), elements, person).where(
            elements.c.id == element_id, elements.c.threadId == thread_id
        )
        with self._engine.connect() as connection:
            return _one(connection, wanted)

    def thread(self, person: str, thread_id: str) -> Row | None:
        """A conversation with its steps in order, their feedback, and its elements."""
        with self._engine.connect() as connection:
            head = select(threads, users.c.identifier.label("userIdentifier")).join(users)
            thread = _one(connection, head.where(threads.c.id == thread_id, users.c.identifier == person))
            if thread is None:
                return None
            given = connection.execute(select(feedbacks).join(steps).where(steps.c.threadId == thread_id)).mappings()
            opinions = {each["forId"]: dict(each) for each in given}
            rows = connection.execute(
                select(steps).where(steps.c.threadId == thread_id).order_by(steps.c.createdAt, steps.c.id)
            ).mappings()
            thread["steps"] = [{**row, "feedback": opinions.get(row["id"])} for row in rows]
            attached = connection.execute(select(elements).where(elements.c.threadId == thread_id)).mappings()
            thread["elements"] = [dict(each) for each in attached]
            return thread

    def threads_of(
        self, person: str, first: int, cursor: str | None, search: str | None, feedback: int | None
    ) -> tuple[list[Row], bool]:
        """The newest conversations after the one with id `cursor`, without what is in them, and whether more follow.

        `search` looks in names and messages; `feedback` keeps those with such a thumb.
        """
        wanted = select(threads, users.c.identifier.label("userIdentifier")).join(users)
        wanted = wanted.where(users.c.identifier == person)
        if search:
            said = select(steps.c.threadId).where(
                steps.c.type.in_(("user_message", "assistant_message")),
                steps.c.output.icontains(search, autoescape=True),
            )
            wanted = wanted.where(or_(threads.c.name.icontains(search, autoescape=True), threads.c.id.in_(said)))
        if feedback is not None:
            judged = select(steps.c.threadId).join(feedbacks).where(feedbacks.c.value == feedback)
            wanted = wanted.where(threads.c.id.in_(judged))
        with self._engine.connect() as connection:
            if cursor and (last := _one(connection, select(threads).where(threads.c.id == cursor))):
                older = threads.c.createdAt < last["createdAt"]
                same = and_(threads.c.createdAt == last["createdAt"], threads.c.id < cursor)
                wanted = wanted.where(or_(older, same))
            wanted = wanted.order_by(threads.c.createdAt.desc(), threads.c.id.desc()).limit(first + 1)
            rows = [dict(row) for row in connection.execute(wanted).mappings()]
        return rows[:first], len(rows) > first

    def save_feedback(self, person: str, step_id: str, value: int, comment: str | None) -> str:
        """Set the one thumb of an own step and return its id."""
        with self._engine.begin() as connection:
            if _one(connection, _own(select(steps), steps, person).where(steps.c.id == step_id)) is None:
                raise NotTheirs(step_id)
            there = _one(connection, select(feedbacks).where(feedbacks.c.forId == step_id))
            values = {"value": value, "comment": comment}
            if there:
                connection.execute(update(feedbacks).where(feedbacks.c.id == there["id"]).values(values))
                return str(there["id"])
            feedback_id = str(uuid.uuid4())
            connection.execute(insert(feedbacks).values(id=feedback_id, forId=step_id, **values))
            return feedback_id

    def delete_feedback(self, person: str, feedback_id: str) -> str:
        """Take back a thumb on an own step, and return the step's id."""
        with self._engine.begin() as connection:
            wanted = _own(select(feedbacks).join(steps), steps, person).where(feedbacks.c.id == feedback_id)
            if (found := _one(connection, wanted)) is None:
                raise NotTheirs(feedback_id)
            connection.execute(delete(feedbacks).where(feedbacks.c.id == feedback_id))
            return str(found["forId"])

    def messages_of(self, person: str, run_id: str) -> list[Row]:
        """The messages of one run of an own conversation, oldest first."""
        wanted = _own(select(steps), steps, person).where(
            steps.c.type == "assistant_message", or_(steps.c.parentId == run_id, steps.c.id == run_id)
        )
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(wanted.order_by(steps.c.createdAt)).mappings()]

    def sign_out(self, token_digest: str, expires_at: int, at: int) -> None:
        """Make a session token stop counting. `at` is now, in seconds since 1970; expired rows go."""
        with self._engine.begin() as connection:
            connection.execute(delete(signed_out).where(signed_out.c.expiresAt < at))
            known = connection.execute(select(signed_out.c.token).where(signed_out.c.token == token_digest))
            if known.scalar_one_or_none() is None:
                connection.execute(insert(signed_out).values(token=token_digest, expiresAt=expires_at))

    def is_signed_out(self, token_digest: str) -> bool:
        """Whether this session token was signed out."""
        with self._engine.connect() as connection:
            found = connection.execute(select(signed_out.c.token).where(signed_out.c.token == token_digest))
            return found.scalar_one_or_none() is not None


def _one(connection: Connection, statement: Select[Any]) -> Row | None:
    row = connection.execute(statement).mappings().first()
    return None if row is None else dict(row)


def _own(statement: Select[Any], table: Table, person: str) -> Select[Any]:
    """`statement` over `table`, narrowed to what stands in this person's conversations."""
    mine = select(threads.c.id).join(users).where(users.c.identifier == person)
    return statement.where(table.c.threadId.in_(mine))


def _owner(connection: Connection, thread_id: str) -> str:
    found = connection.execute(select(users.c.identifier).join(threads).where(threads.c.id == thread_id))
    return found.scalar_one_or_none() or ""


def _own_thread(connection: Connection, person: str, thread_id: str) -> None:
    """Make the conversation when it is new: Chainlit writes its first message before the conversation itself."""
    owner = _owner(connection, thread_id)
    if owner == person:
        return
    user_id = connection.execute(select(users.c.id).where(users.c.identifier == person)).scalar_one_or_none()
    if owner or user_id is None or not 0 < len(thread_id) <= MAX_ID:
        raise NotTheirs(thread_id)
    connection.execute(insert(threads).values(id=thread_id, userId=user_id, createdAt=now()))
