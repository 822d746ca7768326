"""What the headline figures say of the time before: by hand-made days."""

from __future__ import annotations

from decimal import Decimal as D

from reporting.model import Missing, Money, Why
from reporting.page import Document, Figure

from .days import QUIET, day, document, policy, sealed
from .trades import Trade, traded


def net(found: Document) -> Figure:
    return next(f for f in found.headline if f.id == "pnl.net")


def test_a_week_is_compared_with_the_week_before() -> None:
    # Monday 2 March 2026 to Sunday, every day a session of this calendar; then Monday 9 March.
    before = [
        traded(day(n), Trade("trend", "strategic", net=x))
        for n, x in enumerate((1, 2, 3, 4, 5, 6, 7))
    ]
    week = [traded(day(7), Trade("trend", "strategic", net=4))]
    found = net(document(week, policy(), before=before, kind="weekly"))
    assert found.value == Money(amount=D(4), currency="USD")
    assert found.change == Money(amount=D(4 - 28), currency="USD")
    assert found.change_label == "against 2026-W10"


def test_a_week_before_that_is_not_known_whole_is_no_measure() -> None:
    week = [traded(day(7), Trade("trend", "strategic", net=4))]
    short = [traded(day(n), Trade("trend", "strategic", net=1)) for n in range(6)]
    assert net(document(week, policy(), before=short, kind="weekly")).change is None
    gone = Missing(why=Why.UNREACHABLE)
    broken = [*short, sealed(day(6), {**QUIET, "pnl": gone})]
    assert net(document(week, policy(), before=broken, kind="weekly")).change is None
    # A session on which nothing was traded or held adds nothing, and is known.
    idle = [*short, sealed(day(6), QUIET)]
    assert net(document(week, policy(), before=idle, kind="weekly")).change is not None
