"""The values that everything else is made of: exact, frozen, typed, and canonical as JSON.

Money and quantities are ``Decimal`` and travel as JSON strings. Absence is a :class:`Missing`
with a reason; it is never 0, NaN or an empty table. Nothing here reads a clock, a file or the
environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import (
    ROUND_HALF_EVEN,
    Clamped,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

if TYPE_CHECKING:
    import pandas as pd

#: Sums and products of money must come out exactly; a result that would not raises ``Inexact``.
EXACT = Context(
    prec=100,
    rounding=ROUND_HALF_EVEN,
    traps=[Inexact, InvalidOperation, DivisionByZero, Overflow, Clamped],
)
#: Rounds a number of any size on its way to a page; the default context refuses 28 digits.
WIDE = Context(prec=200, rounding=ROUND_HALF_EVEN)


def plain(value: Decimal) -> str:
    """``value`` in fixed point without trailing zeros: equal numbers have one spelling."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


Exact = Annotated[Decimal, PlainSerializer(plain, return_type=str)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Value(BaseModel):
    """Base of everything that is sealed or printed: frozen, strict, no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Why(StrEnum):
    """The kinds of absence. Each is its own outcome on the page."""

    UNREACHABLE = "source unreachable"
    EMPTY = "source empty"
    NO_SESSION = "no session"
    NO_TRADES = "no trades"
    NO_ORDERS = "no orders"
    NO_MARK = "no mark"
    NO_DATA = "no data"
    TOO_SHORT = "history too short"
    NOT_MEASURED = "not measured"
    NOT_SEALED = "day not sealed"
    NOT_ENDED = "day not over"


class Missing(Value):
    """An absent value, with the reason: printed as such, never as a number."""

    kind: Literal["missing"] = "missing"
    why: Why = Field(strict=False)
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.why}: {self.detail}" if self.detail else str(self.why)


class Money(Value):
    """An amount in one currency; sums across currencies are refused."""

    kind: Literal["money"] = "money"
    amount: Exact
    currency: Currency

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(amount=EXACT.add(self.amount, other.amount), currency=self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(amount=EXACT.subtract(self.amount, other.amount), currency=self.currency)

    def __neg__(self) -> Money:
        return Money(amount=EXACT.minus(self.amount), currency=self.currency)

    def _same(self, other: object) -> None:
        if not isinstance(other, Money):
            raise TypeError(f"Money combines with Money only, got {type(other).__name__}")
        if other.currency != self.currency:
            raise TypeError(
                f"{self.currency} and {other.currency} do not add up: convert one at a named rate"
            )


class Ratio(Value):
    """A share kept as its two parts, so that it merges; the quotient is derived when shown."""

    kind: Literal["ratio"] = "ratio"
    numerator: Exact
    denominator: Exact

    @property
    def fraction(self) -> Fraction | None:
        """The exact quotient, or None for 0/0 and x/0: no traffic, not 100 %."""
        if not self.denominator:
            return None
        return Fraction(self.numerator) / Fraction(self.denominator)


class Bps(Value):
    """Basis points, kept as cost over notional so that days merge; positive is cost to us."""

    kind: Literal["bps"] = "bps"
    cost: Exact
    notional: Exact

    @property
    def value(self) -> Fraction | None:
        """The exact figure in basis points, or None where nothing was traded."""
        if not self.notional:
            return None
        return Fraction(self.cost) / Fraction(self.notional) * 10_000


class Count(Value):
    """A whole number of something: orders, fills, days."""

    kind: Literal["count"] = "count"
    value: int
    unit: str = ""


class Number(Value):
    """A quantised decimal with its unit, for what is neither money, share nor count."""

    kind: Literal["number"] = "number"
    value: Exact
    unit: str = ""


class Duration(Value):
    """A length of time in whole milliseconds."""

    kind: Literal["duration"] = "duration"
    ms: int


class Band(Value):
    """A share known only within bounds, both of them printed (uptime with unknown time)."""

    kind: Literal["band"] = "band"
    low: Ratio
    high: Ratio


class Moment(Value):
    """A recorded instant; printed in the report's own time zone."""

    kind: Literal["moment"] = "moment"
    at: AwareDatetime


class Text(Value):
    """Words, treated as hostile wherever they come from the ledger."""

    kind: Literal["text"] = "text"
    text: str


Shown = Annotated[
    Money | Ratio | Bps | Count | Number | Duration | Band | Moment | Text | Missing,
    Field(discriminator="kind"),
]


class Window(Value):
    """A half-open span of absolute time, ``[start, end)``."""

    start: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"a window ends after it starts, got [{self.start}, {self.end})")
        return self

    @property
    def start_ms(self) -> int:
        """Start in whole milliseconds since 1970, computed without floats."""
        return epoch_ms(self.start)

    @property
    def end_ms(self) -> int:
        """End in whole milliseconds since 1970."""
        return epoch_ms(self.end)


def epoch_ms(at: datetime) -> int:
    """Whole milliseconds since 1970 of an aware datetime; exact, no floats involved."""
    since = at - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000


def epoch_us(at: datetime) -> int:
    """Whole microseconds since 1970 of an aware datetime."""
    since = at - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


class Finding(Value):
    """A problem of the data: counted and printed, never silently dropped.

    ``samples`` holds at most a handful of identifiers, for the reader to look up.
    """

    check: str
    severity: Literal["note", "warning", "error"]
    count: int
    detail: str
    samples: tuple[str, ...] = ()


class Coverage(Value):
    """What a read returned, so that a figure can be reconciled to its source.

    ``control`` are totals computed by the source itself in the same snapshot (for instance the
    number of rows and the sum of quantities), each as a string.
    """

    source: str
    query: str = Field(description="name of the query text")
    query_digest: str = Field(description="sha256 of the query text, hex")
    text: str = Field(default="", description="the query text where no file of ours has it")
    rows: int
    control: Mapping[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """A tidy table with its coverage, as a source hands it to the measures."""

    table: pd.DataFrame
    coverage: Coverage
    findings: tuple[Finding, ...] = field(default=())


#: What a measure is given, by name: a frame, a value worked out from frames (the session's book),
#: or the Missing that says why there is none.
Frames = Mapping[str, Frame | Value]


def exact_sum(values: Iterable[Decimal]) -> Decimal:
    """Sum without rounding; ``sum`` alone would round to the 28 digits of the default context."""
    total = Decimal(0)
    for value in values:
        total = EXACT.add(total, value)
    return total
