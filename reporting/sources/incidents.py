"""Incidents from a CSV file, and what was promised of them, as the measure reads it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256

import pandas as pd
from pydantic import ValidationError

from ..errors import ValidationFailed
from ..measures.incidents import LATER, Incident
from ..model import Coverage, Frame, epoch_ms
from ..policy.operations import MINUTE_MS, Operations

#: A file may leave out any but these.
NEEDED = ("id", "priority", "title", "opened_at")
TIMES = {f"{name.removesuffix('_ms')}_at": name for name in ("opened_ms", *LATER)}
WORDS = ("source", "id", "priority", "title", "alert", "target", "cause")
COLUMNS = (*WORDS[:-1], *TIMES, "false_positive", "cause")
YES_NO = {"": None, "true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
#: Mistakes named in one message.
MAX_MISTAKES = 10


def parse_csv(text: str, name: str, source: str, now: datetime) -> tuple[Incident, ...]:
    """The incidents of a CSV file with a header, as recorded at ``now``.

    Times are ISO 8601 with their offset, an empty field is "it did not happen" (or "not said").
    ``source`` is of the rows that name none. Raises :class:`ValidationFailed` with the line, the
    column, the value and what was expected of up to ten mistakes; then nothing of it counts.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    columns = [column.strip() for column in reader.fieldnames or ()]
    reader.fieldnames = columns
    if unknown := sorted(set(columns) - set(COLUMNS)):
        raise ValidationFailed(
            f"{name}: unknown columns {unknown}; expected some of {', '.join(COLUMNS)}"
        )
    if absent := [column for column in NEEDED if column not in columns]:
        raise ValidationFailed(f"{name}: no column {absent[0]!r}; expected {', '.join(NEEDED)}")
    if len(columns) != len(set(columns)):
        raise ValidationFailed(f"{name}: a column stands there twice; expected each once")
    found: dict[tuple[str, str], Incident] = {}
    mistakes: list[str] = []
    try:
        for row in reader:
            try:
                incident = _incident(row, source, now)
                key = (incident.source, incident.id)
                if key in found:
                    raise ValueError(f"id {incident.id!r} stands there twice; expected it once")
                found[key] = incident
            except ValueError as error:  # pydantic's is one, too
                mistakes.append(f"line {reader.line_num}: {_words(error)}")
                if len(mistakes) == MAX_MISTAKES:
                    break
    except csv.Error as error:
        mistakes.append(f"line {reader.line_num}: {error}; expected CSV")
    if mistakes:
        raise ValidationFailed(f"{name}: " + "; ".join(mistakes) + ". Nothing was recorded")
    return tuple(found.values())


def _incident(
    row: Mapping[str | None, str | list[str] | None], source: str, now: datetime
) -> Incident:
    if None in row or None in row.values():
        raise ValueError("has more or fewer fields than the header; expected as many")
    given = {str(k): str(v).strip() for k, v in row.items()}
    flag = given.get("false_positive", "").lower()
    if flag not in YES_NO:
        raise ValueError(f"false_positive is {flag!r}; expected true, false or nothing")
    fields: dict[str, object] = {key: given.get(key, "") for key in WORDS}
    fields["source"] = fields["source"] or source
    fields["false_positive"] = YES_NO[flag]
    for column, field in TIMES.items():
        fields[field] = moment(column, given.get(column, ""), now)
    return Incident.model_validate(fields)


def moment(column: str, given: str, now: datetime) -> int | None:
    """Milliseconds since 1970 of an ISO 8601 time with its offset; None for an empty one."""
    if not given:
        if column == "opened_at":
            raise ValueError("opened_at is empty; expected when the incident was opened")
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(
            f"{column} is {given!r}; expected a time with its offset: 2025-12-05T14:03:00-05:00"
        )
    if at > now:
        raise ValueError(f"{column} is {given!r}, after {now.isoformat()}; expected the past")
    return epoch_ms(at)


def _words(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    message = str(first["msg"]).removeprefix("Value error, ")
    if not first["loc"]:
        return message
    return f"{first['loc'][0]} is {first['input']!r}; expected: {message}"


def digest_of(incidents: Iterable[Incident]) -> str:
    """A digest of incidents as read, hex."""
    lines = "\n".join(incident.model_dump_json() for incident in incidents)
    return sha256(lines.encode()).hexdigest()


def promises(operations: Operations) -> Frame:
    """What was promised of each priority, as the incidents measure reads it, in milliseconds."""
    first_level = next((e for e in operations.escalation if e.level == 1), None)
    window_ms = (first_level.to_min - first_level.from_min) * MINUTE_MS if first_level else 0
    rows = [
        {
            "id": p.id,
            "respond_ms": p.respond_ms,
            "escalate_ms": p.escalate_ms,
            "escalated_within_ms": window_ms,
            "resolve_ms": p.resolve_ms,
        }
        for p in operations.priorities
    ]
    table = pd.DataFrame(rows)
    text = table.to_json(orient="records")
    coverage = Coverage(
        source="operations",
        query="incident_targets",
        query_digest=sha256(text.encode()).hexdigest(),
        text=text,
        rows=len(rows),
    )
    return Frame(table, coverage)
