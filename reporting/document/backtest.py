"""VaR of one close against the P&L of the next session, over up to 250 sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, cast

from pydantic import Field

from ..facts import fact_from
from ..measures.pnl import PnlFact, Totals, daily_totals
from ..measures.var import LEVELS, VAR, VarFact, plain_pct, said_pct
from ..model import EXACT, Count, Exact, Missing, Money, Number, Shown, Value, Why
from ..numerals import numeral
from ..page import Column, Figure, Line, LinesChart, Point, Section, Table, Verdict, text
from ..periods import previous_session, sessions_between
from ..risk.backtest import (
    BASEL_SESSIONS,
    Ratio,
    conditional_coverage,
    independence,
    kupiec,
    least_sessions,
    traffic_light,
    transitions,
)
from .history import UNKNOWN_THEN, Excerpt, Facts, as_sealed

#: The level whose exceptions are judged and drawn.
JUDGED = LEVELS[-1]
#: What a day's VaR is sealed with and its backtest does not need.
UNTESTED = ("estimates", "positions", "shares", "outcomes")
PLACES = Decimal("0.0001")
#: What is tested against VaR, and whether it is the clean one.
RESULTS = (("actual", False), ("clean", True))


class Backtest(Value):
    """One session's P&L beside the VaR that was known of the close before it when it began.

    ``actual`` is the P&L with the session's trades, before fees (MAR32.26 leaves fees and
    commissions out of both results: they say nothing of the market); ``clean`` that of the
    positions it opened with. ``var`` is by level, those that the close was sealed with;
    ``restated`` by level what a later revision of it says instead. A VaR that is not ``whole``
    left positions out.
    """

    day: date
    actual: Exact
    clean: Exact | Missing
    currency: str
    var: Mapping[str, Exact]
    restated: Mapping[str, Exact] = Field(default_factory=dict)
    whole: bool = True

    def is_exception(self, level: str) -> bool:
        """Whether the actual loss exceeded the VaR of ``level``; not where there is none."""
        return level in self.var and EXACT.minus(self.actual) > self.var[level]

    def hit(self, level: str, clean: bool) -> bool | None:
        """Whether the loss exceeded VaR; None where either is not known."""
        result = self.clean if clean else self.actual
        if isinstance(result, Missing) or level not in self.var:
            return None
        return EXACT.minus(result) > self.var[level]


@dataclass(frozen=True)
class Track:
    """What backtests, drawdown and Kelly's fraction look back on: up to 250 sessions in order.

    ``net`` is the P&L of each session after fees; ``tests`` are those of ``sessions`` that have
    both a P&L and a VaR of the close before; ``forecasts`` the revisions that were the first to say
    what VaR is of days that were restated since; ``first`` is the first day of the report's own
    period.
    """

    sessions: tuple[date, ...]
    pnl: tuple[tuple[date, PnlFact | Missing], ...]
    net: tuple[Point, ...]
    tests: tuple[Backtest, ...]
    forecasts: tuple[Excerpt, ...]
    first: date

    @property
    def own(self) -> tuple[Backtest, ...]:
        """The tests of the report's own period."""
        return tuple(t for t in self.tests if t.day >= self.first)


def track(facts: Facts) -> Track:
    """The sessions up to the last day of the period, as far back as facts were handed on."""
    calendar, first, last = facts.days[-1].calendar, facts.days[0].day, facts.days[-1].day
    estimates = [(day, _estimates(sealed)) for day, sealed in facts.sealed("var")]
    sessions = tuple(sessions_between(estimates[0][0], last, calendar)[-BASEL_SESSIONS:])
    read = facts.history("pnl", sessions[0]) if sessions else []
    chosen = tuple(pair for pair in read if not _is_no_session(pair[1]))
    results = daily_totals(chosen)
    net = tuple(
        Point(day=day, value=total if isinstance(total, Missing) else total.net)
        for day, total in results
    )
    forecasts = _forecasts(facts.earlier.superseded)
    known = dict(estimates) | {x.day: _estimates(as_sealed(x, "var")) for x in forecasts}
    tests = _tests(chosen, results, dict(estimates), known, calendar)
    return Track(sessions, chosen, net, tests, forecasts, first)


def _forecasts(superseded: Sequence[Excerpt]) -> tuple[Excerpt, ...]:
    """Of each restated day the first final revision that has a VaR, where it is superseded.

    A FLASH is none: the day had not ended, and nobody was told that it would stay.
    """
    found: dict[date, Excerpt] = {}
    for x in superseded:
        if x.day not in found and not x.flash and _levels(_estimates(as_sealed(x, "var"))):
            found[x.day] = x
    return tuple(found.values())


def _levels(fact: VarFact | Missing | None) -> Mapping[str, Exact]:
    """VaR by level; empty where there is none."""
    return {x.level: x.var for x in fact.days[-1].levels} if isinstance(fact, VarFact) else {}


def _estimates(sealed: Mapping[str, Any] | None) -> VarFact | Missing:
    """A sealed fact without what no backtest needs: to read a year of it takes a tenth so."""
    if sealed is None:
        return UNKNOWN_THEN
    if "days" not in sealed:
        return cast(Missing, fact_from(VAR, sealed))
    days = [{k: v for k, v in day.items() if k not in UNTESTED} for day in sealed["days"]]
    return cast(VarFact, fact_from(VAR, {**sealed, "days": days}))


def _is_no_session(fact: object) -> bool:
    return isinstance(fact, Missing) and fact.why is Why.NO_SESSION


def backtests(
    pnl: Sequence[tuple[date, PnlFact | Missing]],
    var: Sequence[tuple[date, VarFact | Missing]],
    since: date,
    calendar: str,
) -> tuple[Backtest, ...]:
    """Every session from ``since`` on that has both: its P&L and the VaR of the one before."""
    found = _tests(pnl, daily_totals(pnl), dict(var), dict(var), calendar)
    return tuple(t for t in found if t.day >= since)


def _tests(
    pnl: Sequence[tuple[date, PnlFact | Missing]],
    results: Sequence[tuple[date, Totals | Missing]],
    estimates: Mapping[date, VarFact | Missing],
    known: Mapping[date, VarFact | Missing],
    calendar: str,
) -> tuple[Backtest, ...]:
    """``known`` are the estimates as first told, ``estimates`` as they are now."""
    base = {day: fact.base for day, fact in pnl if not isinstance(fact, Missing)}
    found = []
    for day, total in results:
        before = previous_session(day, calendar)
        forecast, levels = known.get(before), _levels(known.get(before))
        if not isinstance(forecast, VarFact) or not levels or isinstance(total, Missing):
            continue
        now = _levels(estimates.get(before))
        found.append(
            Backtest(
                day=day,
                actual=EXACT.add(total.net, total.fees),
                clean=_clean(estimates.get(day)),
                currency=base[day],
                var=levels,
                restated={k: v for k, v in now.items() if k in levels and v != levels[k]},
                whole=forecast.days[-1].is_whole,
            )
        )
    return tuple(found)


def _clean(fact: VarFact | Missing | None) -> Exact | Missing:
    """The session's clean P&L, which its own close seals beside its own estimate."""
    if isinstance(fact, VarFact):
        return fact.days[-1].clean
    detail = "it is sealed with an estimate, and the close has none"
    return Missing(why=Why.NOT_MEASURED, detail=detail)


def with_backtest(section: Section, track: Track) -> Section:
    """Add the exceptions of the period, and the tests and the chart of up to 250 sessions."""
    charts = (*section.charts, _chart(track.tests)) if len(track.tests) > 1 else section.charts
    tests = track.own
    tables = section.tables
    if track.tests:
        tables = (*tables, *([_own(tests)] if tests else []), _table(track))
    more = section.model_copy(update={"charts": charts, "tables": tables})
    if not tests:
        note = "No session of the period has both a P&L and a VaR of the close before it."
        return more.model_copy(update={"notes": (*section.notes, note)})
    figures = tuple(
        Figure(
            id=f"var.exceptions_{plain_pct(level)}",
            label=f"Losses beyond VaR {said_pct(level)} %",
            value=Count(
                value=sum(t.is_exception(level) for t in tests),
                unit=f"of {len(tests)} session{'s' if len(tests) > 1 else ''}",
            ),
            note=", ".join(t.day.isoformat() for t in tests if t.is_exception(level)),
        )
        for level in LEVELS
        if any(level in t.var for t in tests)
    )
    verdict = section.verdict
    if any(t.is_exception(JUDGED) for t in tests):
        verdict = Verdict.MISSED
    elif verdict is None:
        verdict = Verdict.MET if all(t.whole for t in tests) else Verdict.UNKNOWN
    return more.model_copy(
        update={
            "figures": (*section.figures, *figures),
            "verdict": verdict,
        }
    )


def _own(tests: Sequence[Backtest]) -> Table:
    """The tests of the report's own period, session by session."""
    pct = said_pct(JUDGED)
    again = any(JUDGED in t.restated for t in tests)
    parts = not all(t.whole for t in tests)
    others = [plain_pct(level) for level in LEVELS if level != JUDGED]
    return Table(
        id="var_tests",
        title=f"P&L against VaR {pct} % by session",
        columns=(
            Column(key="day", label="Session", align="left"),
            Column(key="actual", label="Actual P&L, before fees"),
            Column(key="clean", label="Clean P&L"),
            Column(key="var", label=f"VaR {pct} % known before"),
            Column(key="beyond", label="Beyond it", align="left"),
            Column(key="restated", label="VaR since", align="left", shown=again),
            Column(key="part", label="Of a part", align="left", shown=parts),
            *(Column(key=f"var_{x}", label=f"VaR {numeral(x)} %", shown=False) for x in others),
        ),
        rows=tuple(_own_row(t) for t in tests),
        top=31,
    )


def _own_row(test: Backtest) -> tuple[Shown, ...]:
    def money(amount: Exact | Missing) -> Shown:
        if isinstance(amount, Missing):
            return amount
        return Money(amount=amount, currency=test.currency)

    beyond = [name for name, clean in RESULTS if test.hit(JUDGED, clean)]
    now = test.restated.get(JUDGED)
    return (
        text(test.day.isoformat()),
        money(test.actual),
        money(test.clean),
        money(test.var.get(JUDGED, UNKNOWN_THEN)),
        text(" and ".join(beyond) or "none"),
        text("" if now is None else f"restated: {numeral(now, ',.2f')} {test.currency}"),
        text("" if test.whole else "positions left out"),
        *(money(test.var.get(level, UNKNOWN_THEN)) for level in LEVELS if level != JUDGED),
    )


def _table(track: Track) -> Table:
    """Kupiec, Christoffersen and Basel, for each level on the actual and on the clean P&L."""
    by_day = {t.day: t for t in track.tests}
    rows = []
    for name, clean in RESULTS:
        for level in LEVELS:
            hits = [
                by_day[day].hit(level, clean) if day in by_day else None for day in track.sessions
            ]
            since = Count(value=sum(level in t.restated for t in track.tests))
            rows.append((text(name), *_row(hits, level), since))
    return Table(
        id="var_backtests",
        title=f"Backtests of VaR over the last {len(track.sessions)} sessions",
        columns=(
            Column(key="pnl", label="P&L", align="left"),
            Column(key="level", label="VaR", align="left"),
            Column(key="sessions", label="Sessions"),
            Column(key="exceptions", label="Beyond VaR"),
            Column(key="expected", label="Expected"),
            Column(key="kupiec_p", label="Kupiec p"),
            Column(key="independence_p", label="Christoffersen p"),
            Column(key="coverage_p", label="Both p", shown=False),
            Column(key="zone", label="Basel zone", align="left"),
            Column(key="plus", label="Plus factor", shown=False),
            Column(key="cumulative", label="Probability of so many or fewer", shown=False),
            Column(key="kupiec_lr", label="Kupiec LR", shown=False),
            Column(key="independence_lr", label="Independence LR", shown=False),
            Column(key="coverage_lr", label="Both LR", shown=False),
            Column(key="restated", label="VaR restated since", shown=False),
        ),
        rows=tuple(rows),
        note=" ".join(_table_notes(track.tests)),
    )


def _table_notes(tests: Sequence[Backtest]) -> list[str]:
    notes = [
        "A small p speaks against the estimate: too many or too few exceptions (Kupiec), or "
        "exceptions that follow each other (Christoffersen). Actual P&L is with the session's "
        "trades and payments and before fees, clean P&L that of the positions a session opened "
        "with, without trades, fees and dividends, as Basel's actual and hypothetical P&L (MAR32). "
        f"A test needs 50 sessions at 95 %, 100 at {numeral('97.5')} % and Basel's 250 at 99 %."
    ]
    restated = [t.day for t in tests if t.restated]
    if restated:
        notes.append(
            f"The VaR of the close before {_days(restated)} was restated later: tested is the one "
            "that was known when the session began."
        )
    parts = [t.day for t in tests if not t.whole]
    if parts:
        notes.append(f"The VaR of the close before {_days(parts)} left positions out.")
    return notes


def _days(days: Sequence[date]) -> str:
    listed = ", ".join(map(str, days[-4:]))
    return f"{listed} and {len(days) - 4} sessions more" if len(days) > 4 else listed


def _row(hits: Sequence[bool | None], level: str) -> tuple[Shown, ...]:
    known = [hit for hit in hits if hit is not None]
    n, beyond = len(known), sum(known)
    head = (text(f"{said_pct(level)} %"), Count(value=n), Count(value=beyond))
    if not n:
        none = Missing(why=Why.NO_DATA, detail="no session has both")
        return (*head, *[none] * 10)
    expected = Number(value=n * (1 - Decimal(level)))
    if n < least_sessions(level):
        detail = f"{n} of {least_sessions(level)} sessions"
        return (*head, expected, *[Missing(why=Why.TOO_SHORT, detail=detail)] * 9)
    light = traffic_light(n, beyond, level)
    proportion = kupiec(n, beyond, level)
    pairs = transitions(hits)
    apart: Ratio | Missing = Missing(why=Why.NO_DATA, detail="no two sessions in a row")
    both: Ratio | Missing = apart
    if sum(pairs):
        apart = independence(pairs)
        both = conditional_coverage(proportion, apart)
    no_plus = Missing(why=Why.NOT_MEASURED, detail="defined for 250 sessions at 99 % only")
    return (
        *head,
        expected,
        *(_number(r, "p_value") for r in (proportion, apart, both)),
        text(light.zone),
        Number(value=Decimal(light.plus)) if light.plus else no_plus,
        Number(value=Decimal(light.cumulative).quantize(PLACES)),
        *(_number(r, "statistic") for r in (proportion, apart, both)),
    )


def _number(ratio: Ratio | Missing, name: str) -> Shown:
    if isinstance(ratio, Missing):
        return ratio
    return Number(value=Decimal(getattr(ratio, name)).quantize(PLACES))


def _chart(tests: Sequence[Backtest]) -> LinesChart:
    marked = tuple(i for i, t in enumerate(tests) if t.is_exception(JUDGED))
    named = ", ".join(tests[i].day.isoformat() for i in marked) or "none"
    pct = said_pct(JUDGED)
    limits = (t.var.get(JUDGED) for t in tests)
    clean = Line(
        label="Clean P&L",
        values=tuple(None if isinstance(t.clean, Missing) else t.clean for t in tests),
    )
    return LinesChart(
        id="var_backtest",
        title="P&L against the VaR of the close before",
        alt=f"{len(tests)} sessions; losses beyond VaR {pct} %: {named}.",
        unit=tests[0].currency,
        labels=tuple(t.day.isoformat() for t in tests),
        lines=(
            Line(label="Actual P&L, before fees", values=tuple(t.actual for t in tests)),
            *((clean,) if any(v is not None for v in clean.values) else ()),
            Line(
                label=f"−VaR {pct} %",
                values=tuple(None if var is None else EXACT.minus(var) for var in limits),
            ),
        ),
        marked=marked,
        marked_label=f"loss beyond VaR {pct} %",
    )
