"""A sealed day: what is known about one calendar day, in the form whose bytes are sealed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

from pydantic import AwareDatetime

from ..model import Coverage, Finding, Value, Window
from .canonical import canonical


class SealedDay(Value):
    """Everything known about one calendar day, as it is sealed: facts, sources, findings.

    ``facts`` holds one fact, or one Missing, a measure, as JSON. ``known_at`` is up to when late
    events were taken into account; a revision differs from the one before in something else.
    ``flash`` marks a day that was sealed before it had ended: its facts are those of the book until
    ``known_at``, and the close after the day's end replaces them.
    """

    schema_id: Literal["reporting/day/v1"] = "reporting/day/v1"
    day: date
    revision: int
    reason: str
    previous: str
    calendar: str
    zone: str
    session: bool
    note: str
    window: Window
    trading: Window | None
    known_at: AwareDatetime
    policy_digest: str
    facts: Mapping[str, Mapping[str, Any]]
    sources: tuple[Coverage, ...]
    findings: tuple[Finding, ...]
    closing_book: str
    flash: bool = False

    def content(self) -> bytes:
        """What a new revision has to differ in: all but the circumstances of its sealing."""
        return canonical(
            self.model_dump(
                mode="json",
                exclude={"revision", "reason", "previous", "known_at", "policy_digest"},
            )
        )
