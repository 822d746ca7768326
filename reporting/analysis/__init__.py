"""Statistics over sealed days: capacity, regressions, improvement; and the answered checklists.

Each module takes plain daily values, estimates in floats, and hands back sections of a report
whose numbers are quantised. Nothing is drawn at random, so the same days give the same page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from ..model import Exact, Missing, Number
from ..page import Point

#: Certainty of every interval here.
LEVEL = 0.95
LEVEL_WORDS = "95 %"


def significant(value: float | Fraction | Decimal, digits: int = 4) -> Exact:
    """``value`` rounded half-even to ``digits`` significant digits, as a Decimal.

    An estimate has no more digits than that, and the last bits of a float differ from one
    processor to the next: what is printed must not.
    """
    exact = Fraction(value)
    # Far more digits than are kept, so that rounding twice can't matter.
    wide = Context(prec=40, rounding=ROUND_HALF_EVEN)
    quotient = wide.divide(Decimal(exact.numerator), Decimal(exact.denominator))
    return Context(prec=digits, rounding=ROUND_HALF_EVEN).plus(quotient)


def to_places(value: float | Fraction | Decimal, places: int = 1) -> Exact:
    """``value`` rounded half-even to ``places`` decimals; for percentages."""
    return Decimal(round(Fraction(value) * 10**places)).scaleb(-places)


def number(value: float | Fraction | Decimal, unit: str = "", digits: int = 4) -> Number:
    """An estimate for the page."""
    return Number(value=significant(value, digits), unit=unit)


def measured(points: Iterable[Point]) -> tuple[tuple[date, Decimal], ...]:
    """The days that have a value; a Missing day is left out, never zero."""
    return tuple((p.day, p.value) for p in points if not isinstance(p.value, Missing))


def listed(words: Sequence[str], most: int = 4) -> str:
    """ "a, b, c and 3 more": for a sentence."""
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most} more"
    return " and ".join(x for x in (", ".join(words[:-1]), *words[-1:]) if x)
