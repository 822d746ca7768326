"""Short words for daily series in these tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from reporting.model import Exact, Missing, Why
from reporting.page import Point

#: A Monday.
MONDAY = date(2025, 11, 3)
GAP = Missing(why=Why.UNREACHABLE, detail="no answer")


def day(number: int) -> date:
    """The ``number``-th day from the Monday on, from 0."""
    return MONDAY + timedelta(days=number)


def points(values: Sequence[str | int | float | None], start: int = 0) -> tuple[Point, ...]:
    """One point a day; None is a gap."""
    return tuple(Point(day=day(start + i), value=exact(v)) for i, v in enumerate(values))


def exact(value: str | int | float | None) -> Exact | Missing:
    """As a Decimal; None as the gap."""
    return GAP if value is None else Decimal(str(value))
