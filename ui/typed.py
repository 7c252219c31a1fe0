"""What a browser may say: an id and a text."""

from __future__ import annotations

import uuid
from typing import Any

AUTHOR = "You"


def question_alone(payload: object) -> dict[str, Any] | None:
    """Id and text of a typed message, as a message of a person; None when it is no message."""
    message = payload.get("message") if isinstance(payload, dict) else None
    if not isinstance(message, dict) or not isinstance(message.get("output"), str):
        return None
    try:
        key = uuid.UUID(str(message.get("id")))
    except ValueError:
        return None
    if key.version != 4:
        return None
    return {
        "id": str(key),
        "name": AUTHOR,
        "type": "user_message",
        "output": message["output"].replace("\x00", ""),
        "createdAt": None,
    }
