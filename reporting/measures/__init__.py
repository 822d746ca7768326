"""The measures, each one frozen value in one file or package; they never read each other.

A measure turns the frames of one day into a fact (sufficient statistics, never a bare ratio),
merges the facts of several days, and lays a fact out as a section of a report. The merge law,
``merge(of_day(d1), of_day(d2)) == of_day(d1 + d2)``, is a property test of every one; what does
not merge (VaR) keeps the series of its days instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..model import Frames, Missing, Value
from ..page import Section, Target
from ..periods import Span, TradingDay


@dataclass(frozen=True)
class Context:
    """What a section may know beside its fact: the period and the targets in force."""

    span: Span
    zone: str
    base: str
    targets: Mapping[str, Target]


F = TypeVar("F", bound=Value)


@dataclass(frozen=True)
class Measure(Generic[F]):
    """One measure.

    ``reads`` names the frames that it needs; where one of them is Missing, so is the fact.
    ``of_day(day, frames)`` gives the fact of one day or the reason why there is none.
    ``merge(days)`` takes (day, fact) pairs in order of day, at least one.
    ``section(fact, days, context)`` lays out a merged fact; ``days`` are the daily facts or
    Missings it came from, for series and calendars.
    ``reference`` cites the formula's source.
    """

    name: str
    title: str
    unit: str
    every_day: bool  # measured on every calendar day (services), or on sessions only (the book)
    reads: tuple[str, ...]
    fact: type[F]
    of_day: Callable[[TradingDay, Frames], F | Missing]
    merge: Callable[[Sequence[tuple[Any, F]]], F]
    section: Callable[[F | Missing, Sequence[tuple[Any, F | Missing]], Context], Section]
    reference: str
