"""What is asked, how an answer is checked, and what is said when there is none."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rag.settings.section import Section


class QuestionSettings(Section):
    """What counts as a question."""

    max_characters: int = Field(ge=1)


class PromptSettings(Section):
    """Templates of one's own: files in `folder` that replace the shipped ones of the same name. Empty: none."""

    folder: str


class VerificationSettings(Section):
    """What a sentence of a language model must pass besides words and numbers."""

    arithmetic: Literal["shown", "named"]
    judge: Literal["none", "engine"]


class StreamingSettings(Section):
    """When generated text is sent."""

    release: Literal["sentence", "token"]


class RefusalSettings(Section):
    """When to refuse, and whom to point to."""

    threshold: float | None = Field(ge=0, le=1)
    contact: str


class ContactSettings(Section):
    """What people are told, word for word, when a person at the bank has to help them; a text for each topic."""

    self_harm: str = Field(min_length=1)
    fraud: str = Field(min_length=1)
    lost_card: str = Field(min_length=1)
    dispute: str = Field(min_length=1)
    hardship: str = Field(min_length=1)
    complaint: str = Field(min_length=1)
    person: str = Field(min_length=1)

    def text(self, topic: str) -> str:
        """The text for a topic, such as `fraud`."""
        return str(getattr(self, topic))
