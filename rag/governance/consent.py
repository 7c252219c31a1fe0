"""To which purposes a person agreed, in which version of the text. What happened when is in the audit trail."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Engine, Row, delete, insert, select, update

from rag.domain import Principal
from rag.errors import ConsentNeeded, ConsentOutdated, QuestionError
from rag.settings.consent import ConsentSettings
from rag.storage.schema import consents

if TYPE_CHECKING:
    from typing import Any

    from rag.governance.receipts import Receipts

SERVICE = "service"  # the purpose of answering; its data are the recorded questions


@dataclass(frozen=True, slots=True)
class Consent:
    """A purpose and what a person said to it. `outdated`: they agreed to another version. Times: seconds since 1970."""

    purpose: str
    version: str
    text: str
    required: bool
    state: Literal["given", "outdated", "withdrawn", "missing"]
    given_at: int | None = None
    withdrawn_at: int | None = None


class Consents:
    """Reads and writes what people agreed to; always the database itself, so a withdrawal counts at once everywhere."""

    def __init__(self, database: Engine, settings: ConsentSettings, receipts: Receipts) -> None:
        self._database = database
        self._settings = settings
        self._receipts = receipts

    def of(self, principal: Principal) -> list[Consent]:
        """Every purpose, in the order of the settings. Blocks."""
        rows = self._rows(principal)
        return [self._consent(purpose, rows.get(purpose)) for purpose in self._settings.purposes]

    def require(self, principal: Principal) -> None:
        """Raise `ConsentNeeded` where this person has not agreed to what answering needs. Blocks."""
        if self._settings.required:
            missing = [each for each in self.of(principal) if each.required and each.state != "given"]
            if missing:
                raise ConsentNeeded({each.purpose: f"version {each.version}: {each.text}" for each in missing})

    def give(self, principal: Principal, purpose: str, version: str) -> None:
        """Agree to the current version. Raises `QuestionError` or `ConsentOutdated`. Blocks."""
        current = self._known(purpose).version
        if version != current:
            raise ConsentOutdated(f"the text of {purpose!r} is now version {current}; read it, then agree to that one")
        self._receipts.record("consent", principal, purpose=purpose, version=version, said="given")
        row = {**_key(principal), "purpose": purpose, "version": version, "given_at": int(time.time())}
        with self._database.begin() as connection:
            connection.execute(delete(consents).filter_by(**_key(principal), purpose=purpose))
            connection.execute(insert(consents).values(row))

    def withdraw(self, principal: Principal, purpose: str) -> None:
        """Agree no longer. Of `service` what was asked until now cannot be read any more. Raises `QuestionError`.

        Blocks. Killed halfway, it is withdrawn; withdrawing again does the rest.
        """
        self._known(purpose)
        self._receipts.record("consent", principal, purpose=purpose, said="withdrawn")
        with self._database.begin() as connection:
            found = update(consents).filter_by(**_key(principal), purpose=purpose)
            connection.execute(found.values(withdrawn_at=int(time.time())))
        if purpose == SERVICE:
            self._receipts.subjects.erase(principal.tenant, principal.subject)

    def _known(self, purpose: str) -> Any:
        if purpose not in self._settings.purposes:
            raise QuestionError(f"there is no purpose {purpose!r}; GET /v1/me/consent lists those there are")
        return self._settings.purposes[purpose]

    def _rows(self, principal: Principal) -> dict[str, Row[Any]]:
        with self._database.connect() as connection:
            return {row.purpose: row for row in connection.execute(select(consents).filter_by(**_key(principal)))}

    def _consent(self, purpose: str, row: Row[Any] | None) -> Consent:
        now = self._settings.purposes[purpose]
        required = purpose in self._settings.required
        if row is None:
            return Consent(purpose, now.version, now.text, required, "missing")
        state: Literal["given", "outdated", "withdrawn"] = "given" if row.version == now.version else "outdated"
        if row.withdrawn_at is not None:
            state = "withdrawn"
        return Consent(purpose, now.version, now.text, required, state, row.given_at, row.withdrawn_at)


def _key(principal: Principal) -> dict[str, str]:
    return {"tenant": principal.tenant, "subject": principal.subject}
