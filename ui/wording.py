"""What the UI itself says, in one place. The answers come from the API."""

from __future__ import annotations

from ui.errors import (
    BackendBusy,
    BackendDown,
    BackendError,
    BackendTimeout,
    QuestionRejected,
    SignInNeeded,
    SourceNotFound,
    StreamCut,
)
from ui.markdown import plain_markdown
from ui.rendering import answer_text, shortened
from ui.wire import Answer

SEARCHING = "Searching the documents"
STOPPED = "*(stopped)*"
EMPTY_QUESTION = "Please type a question about the bank's documents."
SOURCE_UNKNOWN = "This source belongs to an earlier conversation. Ask the question again to open it."
TRY_AGAIN = "Try again"
FRESH_ANSWER = "Fresh answer"
FRESH_ANSWER_HINT = "This answer was given before. Have it worked out anew."
PARTIAL_NOTE = "*Only part of the question is answered: what no source supports was left out.*"
MAX_ADVICE = 300
BROKEN_OFF = "broken_off"  # a partial answer's reason: the engine did not finish it
SMALL_TALK = "small_talk"  # a refusal's reason: the API only greeted back


def too_long(length: int, limit: int) -> str:
    """For a question that the API would refuse."""
    return (
        f"Your question has {length:,} characters and I can read {limit:,}. "
        "Please shorten it to what you want to know; long texts belong in the documents."
    )


def finished(answer: Answer) -> str:
    """The whole message for a finished answer. Refusals say themselves what was searched and what to do next."""
    notes = [f"*{plain_markdown(answer.notice)}*"] if answer.notice else []
    if answer.status == "partial" and answer.reason != BROKEN_OFF:  # the notice says that
        notes.append(PARTIAL_NOTE)
    return "\n\n".join([answer_text(answer), *notes])


def sign(answer: Answer) -> str:
    """The name of the icon beside an answer that is none, so that nobody takes it for one; empty for answers."""
    if answer.reason == SMALL_TALK:
        return ""
    return {"refused": "search-x", "escalated": "user-round"}.get(answer.status, "")


def failure(problem: BackendError, reference: str) -> str:
    """One sentence on what happened and what to do. Nothing of the error's own text is shown, except advice."""
    match problem:
        case QuestionRejected(advice=advice) if advice:
            return plain_markdown(shortened(advice, MAX_ADVICE))
        case QuestionRejected():
            return "The question could not be read. Please put it differently."
        case SignInNeeded():
            return "Your sign-in does not count any more. Please sign out, and sign in again."
        case SourceNotFound():
            return "This source is not there any more. Ask the question again to get the current sources."
        case BackendBusy(retry_after=seconds):
            return f"Many people are asking right now. Please try again in {max(1, seconds)} s."
        case BackendDown():
            text = "BankSight's answering service cannot be reached. Please try again in a minute"
        case BackendTimeout():
            text = "The answer took too long, so I stopped waiting. Please try again, or ask for less at once"
        case StreamCut():
            text = "The connection broke before the answer was complete, so do not rely on it. Please try again"
        case _:
            text = "Something went wrong while answering. Please try again; if it stays, tell your operator"
    return f"{text}. (Reference {reference})"
