"""Backtests, stress, limits, drawdown and Kelly's fraction, composed from sealed days."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from reporting.book import Cell
from reporting.document import Cited, Earlier, Excerpt, history_from
from reporting.measures.pnl import FxRate, PnlFact
from reporting.measures.var import (
    LeftOut,
    Outcome,
    Position,
    Share,
    VarDay,
    VarFact,
    VarLevel,
)
from reporting.model import Count, Missing, Money, Number, Ratio, Shown, Value, Why
from reporting.page import Document, LinesChart, Section, Status, Table, Verdict
from reporting.periods import day_span
from reporting.policy import Policy
from reporting.policy.risk import parse_risk

from .days import QUIET, day, document, policy, sealed, section, table, words

NONE = Decimal(0)


def pnl(net: str, *, tactical: str = "0", fees: str = "0") -> PnlFact:
    """A session that earned ``net`` in cash after ``fees``, ``tactical`` of it by that agent."""
    paid = Decimal(fees)

    def cell(agent: str, earned: Decimal, paid: Decimal) -> Cell:
        return Cell(
            strategy="trend", agent=agent, account="acc", instrument="AAA", symbol="A Corp",
            currency="USD", fills=1, bought=NONE, sold=NONE, realised=earned + paid, fees=paid,
            position_close=NONE, cash_open=NONE, cash_close=earned, value_open=NONE,
            value_close=NONE,
        )  # fmt: skip

    rest = Decimal(net) - Decimal(tactical)
    one = Decimal(1)
    return PnlFact(
        base="USD",
        cells=(cell("strategic", rest, paid), cell("tactical", Decimal(tactical), NONE)),
        holdings=(), fx=(FxRate(currency="USD", open=one, close=one, source="base"),), marks=(),
        fills=2,
    )  # fmt: skip


def position(instrument: str, value: str, **given: str) -> Position:
    made = {"strategy": "trend", "agent": "strategic", "symbol": f"{instrument} Corp",
            "currency": "USD", **given}  # fmt: skip
    return Position(instrument=instrument, value=Decimal(value), **made)


HELD = (
    position("AAA", "100"),
    position("BBB", "50", currency="EUR", strategy="carry", agent="tactical"),
    position("CCC", "-30", strategy="carry", agent="tactical"),
)


def share(kind: str, name: str, var: str, es: str) -> Share:
    amounts = dict.fromkeys(
        ("exposure", "gross", "part_var", "part_es", "added_var", "added_es", "normal_var",
         "normal_es"), NONE,
    )  # fmt: skip
    return Share(
        kind=kind, name=name, label=name, alone_var=Decimal(var), alone_es=Decimal(es),  # type: ignore[arg-type]
        **amounts,
    )  # fmt: skip


def var(
    at: date, limit: str = "20", *, clean: str | None = "0", held: Sequence[Position] = HELD,
    outcomes: Sequence[tuple[date, str]] = (), out: Sequence[LeftOut] = (),
) -> VarFact:  # fmt: skip
    """VaR 10, 15 and ``limit`` at 95, 97.5 and 99 %; ES one more each."""
    levels = [("0.95", "10"), ("0.975", "15"), ("0.99", limit)]
    gone = Missing(why=Why.NO_MARK, detail="no mark")
    gross = sum((abs(p.value) for p in held), NONE)
    return VarFact(
        days=(
            VarDay(
                day=at, base="USD", observations=250, first=at, last=at, left_out=tuple(out),
                gross=gross, net=sum((p.value for p in held), NONE),
                levels=tuple(
                    VarLevel(level=x, var=Decimal(v), es=Decimal(v) + 1) for x, v in levels
                ),
                positions=tuple(held),
                shares=(share("agent", "tactical", "7", "8"), share("strategy", "trend", "5", "6")),
                outcomes=tuple(Outcome(day=on, amount=Decimal(a)) for on, a in outcomes),
                clean=gone if clean is None else Decimal(clean),
            ),
        )
    )  # fmt: skip


SHORT = Missing(why=Why.TOO_SHORT, detail="9 of the 100 returns that are needed")


def left_out(value: str | None, strategy: str = "carry", agent: str = "tactical") -> LeftOut:
    """A position that VaR does not cover: with a value for want of history, else of a mark."""
    gone = Missing(why=Why.NO_MARK)
    return LeftOut(
        strategy=strategy, agent=agent, instrument="NEW", symbol="New Corp",
        value=gone if value is None else Decimal(value), reason=gone if value is None else SHORT,
    )  # fmt: skip


def unestimated(at: date, why: Missing, held: Sequence[Position] = ()) -> VarFact:
    """A close with positions, if any, and without an estimate."""
    gone = tuple(
        LeftOut(strategy=p.strategy, agent=p.agent, instrument=p.instrument, symbol=p.symbol,
                value=p.value, reason=why)
        for p in held
    )  # fmt: skip
    without = {"levels": (), "shares": (), "observations": 0, "first": None, "last": None,
               "unestimated": why, "left_out": gone}  # fmt: skip
    return VarFact(days=(var(at, held=held).days[0].model_copy(update=without),))


def session(at: date, net: str, of: VarFact | Missing | None = None, **more: Any) -> Cited:
    revision = more.pop("revision", 1)
    facts: dict[str, Value | Missing] = {**QUIET, "pnl": pnl(net, **more), "var": of or var(at)}
    return sealed(at, facts, revision=revision)


def judged(text: str = "") -> Policy:
    return replace(policy(), risk=parse_risk(text))


def report(
    days: Sequence[Cited], text: str = "", *, kind: str = "daily", before: Sequence[Cited] = ()
) -> tuple[Document, Section]:
    made = document(days, judged(text), before=before, kind=kind)
    return made, section(made, "var")


def figures(of: Section) -> dict[str, Shown]:
    return {f.id: f.value for f in of.figures}


def limit(id: str, measure: str, value: str, **given: str) -> str:
    money = {} if measure == "concentration" else {"currency": "USD"}
    fields = {"id": id, "measure": measure, "value": value, "source": "s", **money, **given}
    lines = "".join(f'{k} = "{v}"\n' for k, v in fields.items() if k != "since")
    return f"[[limit]]\nfrom = {given.get('since', '2026-01-01')}\n{lines}"


# Backtests ------------------------------------------------------------------------------------


def year(nets: Sequence[str], cleans: Sequence[str | None]) -> list[Cited]:
    """Days up to today with these results; each close's VaR is 10, 15 and 20."""
    n = len(nets)
    return [
        session(day(i - n + 1), net, var(day(i - n + 1), clean=clean))
        for i, (net, clean) in enumerate(zip(nets, cleans, strict=True))
    ]


def test_a_year_is_tested_on_actual_and_on_clean_pnl() -> None:
    # The first of 251 sessions has no VaR before it. Actual: three losses of 21, two in a row;
    # clean: one of 21, and one session without a clean P&L.
    nets = ["0"] * 251
    for i in (100, 101, 200):
        nets[i] = "-21"
    cleans: list[str | None] = ["0"] * 251
    cleans[100], cleans[50] = "-21", None
    days = year(nets, cleans)
    _, found = report(days[-1:], before=days[:-1])
    rows = {(words(r["pnl"]), words(r["level"])): r for r in table(found, "var_backtests")}
    actual = rows["actual", "99 %"]
    assert (actual["sessions"], actual["exceptions"]) == (Count(value=250), Count(value=3))
    assert actual["expected"] == Number(value=Decimal("2.50"))
    # Kupiec's published ratio for three of 250; Basel's probability of three or fewer, 75.81 %.
    assert actual["kupiec_lr"] == Number(value=Decimal("0.0949"))
    assert words(actual["zone"]) == "green"
    assert actual["cumulative"] == Number(value=Decimal("0.7581"))
    assert actual["plus"] == Number(value=Decimal(0))
    # Pairs: 244 calm, 2 into and 2 out of an exception, 1 of two: 249 in all.
    together, calm, struck = 3 / 249, 2 / 246, 1 / 3
    expected = 2 * (loglik(244, 2, calm) + loglik(2, 1, struck) - loglik(246, 3, together))
    assert actual["independence_lr"] == Number(value=Decimal(expected).quantize(Decimal("0.0001")))
    clean = rows["clean", "99 %"]
    # 249 are one too few for 99 %.
    assert (clean["sessions"], clean["exceptions"]) == (Count(value=249), Count(value=1))
    assert clean["kupiec_p"] == Missing(why=Why.TOO_SHORT, detail="249 of 250 sessions")
    assert isinstance(rows["clean", "97.5 %"]["kupiec_p"], Number)
    assert isinstance(rows["clean", "97.5 %"]["plus"], Missing)


def loglik(misses: int, hits: int, p: float) -> float:
    return misses * math.log(1 - p) + hits * math.log(p)


def test_only_the_last_250_sessions_are_tested() -> None:
    nets = ["-99"] * 30 + ["0"] * 251
    days = year(nets, ["0"] * len(nets))
    _, found = report(days[-1:], before=days[:-1])
    (row,) = [r for r in table(found, "var_backtests") if words(r["level"]) == "99 %"
              and words(r["pnl"]) == "actual"]  # fmt: skip
    assert (row["sessions"], row["exceptions"]) == (Count(value=250), Count(value=0))


def test_a_clean_loss_of_exactly_var_is_no_exception() -> None:
    days = year(["0", "0", "0"], ["0", "-20", "-20.01"])
    _, found = report(days[-1:], before=days[:-1])
    rows = {(words(r["pnl"]), words(r["level"])): r for r in table(found, "var_backtests")}
    assert rows["clean", "99 %"]["exceptions"] == Count(value=1)
    assert rows["actual", "99 %"]["exceptions"] == Count(value=0)


def test_too_few_sessions_are_told_with_their_number() -> None:
    days = year(["0", "-30", "5"], ["0", "-30", "5"])
    _, found = report(days[-1:], before=days[:-1])
    for row in table(found, "var_backtests"):
        assert row["sessions"] == Count(value=2)
        assert row["exceptions"] == Count(value=1)
        assert isinstance(row["zone"], Missing)
        assert row["zone"].why is Why.TOO_SHORT
        assert row["zone"].detail.startswith("2 of ")


def test_the_chart_has_both_results_and_marks_what_went_beyond() -> None:
    days = year(["0", "-30", "5"], ["0", "-3", None])
    made, found = report(days[-1:], before=days[:-1])
    (chart,) = found.charts
    assert isinstance(chart, LinesChart)
    assert {line.label: line.values for line in chart.lines} == {
        "Actual P&L, before fees": (-30, 5), "Clean P&L": (-3, None), "−VaR 99 %": (-20, -20),
    }  # fmt: skip
    assert chart.marked == (0,)
    # The exception is of the day before: no news, and no miss of this report.
    assert found.verdict is Verdict.MET
    assert [a for a in made.attention if a.section == "var"] == []


def test_a_day_that_was_sealed_without_a_level_is_not_tested_at_it() -> None:
    old = var(day(-1))
    two = tuple(x for x in old.days[0].levels if x.level != "0.975")
    old = VarFact(days=(old.days[0].model_copy(update={"levels": two}),))
    _, found = report([session(day(0), "-30")], before=[session(day(-1), "0", old)])
    assert "var.exceptions_97.5" not in figures(found)
    assert figures(found)["var.exceptions_99"] == Count(value=1, unit="of 1 session")
    rows = {(words(r["pnl"]), words(r["level"])): r for r in table(found, "var_backtests")}
    assert rows["actual", "97.5 %"]["sessions"] == Count(value=0)
    assert isinstance(rows["actual", "97.5 %"]["expected"], Missing)


def test_a_session_whose_close_has_no_estimate_has_no_clean_result() -> None:
    flat = Missing(why=Why.NO_TRADES, detail="no position is open at the close")
    _, found = report([session(day(0), "-30", flat)], before=[session(day(-1), "0")])
    rows = {(words(r["pnl"]), words(r["level"])): r for r in table(found, "var_backtests")}
    assert rows["actual", "99 %"]["exceptions"] == Count(value=1)
    assert rows["clean", "99 %"]["sessions"] == Count(value=0)


def test_actual_pnl_is_before_fees() -> None:
    # 19 lost in the market and 2 paid in fees: 21 in all, VaR is 20.
    within = [session(day(-1), "0"), session(day(0), "-21", fees="2")]
    _, found = report(within[1:], before=within[:1])
    assert figures(found)["var.exceptions_99"] == Count(value=0, unit="of 1 session")
    assert figures(found)["var.exceptions_97.5"] == Count(value=1, unit="of 1 session")
    beyond = [session(day(-1), "0"), session(day(0), "-23", fees="2")]
    made, found = report(beyond[1:], before=beyond[:1])
    assert figures(found)["var.exceptions_99"] == Count(value=1, unit="of 1 session")
    assert [a.text for a in made.attention if a.section == "var"] == [
        "2026-03-02: the loss of 21 USD before fees was beyond VaR 99 % of 20 USD."
    ]
    # Drawdown is of what the firm was left with.
    assert figures(found)["var.drawdown"] == usd("23")


def revision_of(of: Cited, number: int, fact: VarFact | Missing, *, flash: bool = False) -> Excerpt:
    body = json.dumps(fact.model_dump(mode="json")).encode()
    return Excerpt(
        day=of.sealed.day, revision=number, digest=f"digest of r{number}", session=True,
        known_at=of.sealed.known_at, sealed_at=of.sealed_at, reason="", flash=flash,
        facts={"var": fact if isinstance(fact, Missing) else body},
    )  # fmt: skip


def test_what_was_known_when_the_session_began_is_tested_and_not_what_was_found_out_since() -> None:
    # A FLASH said 5, a first close nothing, the next one 20, another 50; now it is 99.
    last = session(day(-1), "0", var(day(-1), "99"), revision=5)
    gone = Missing(why=Why.UNREACHABLE)
    told = [
        revision_of(last, 1, var(day(-1), "5"), flash=True), revision_of(last, 2, gone),
        revision_of(last, 3, var(day(-1), "20")), revision_of(last, 4, var(day(-1), "50")),
    ]  # fmt: skip
    earlier = Earlier(began=day(-1), superseded=tuple(told))
    today = session(day(0), "-30")
    made = document([today], judged(), before=[last], earlier=earlier)
    found = section(made, "var")
    assert figures(found)["var.exceptions_99"] == Count(value=1, unit="of 1 session")
    assert found.verdict is Verdict.MISSED
    rows = {(words(r["pnl"]), words(r["level"])): r for r in table(found, "var_backtests")}
    assert rows["actual", "99 %"]["restated"] == Count(value=1)
    assert rows["actual", "95 %"]["restated"] == Count(value=0)
    assert "The VaR of the close before 2026-03-02 was restated later" in backtested(found).note
    (told_again,) = table(found, "var_tests")
    assert (told_again["var"], words(told_again["restated"])) == (usd("20"), "restated: 99.00 USD")
    assert [(c.day, c.revision) for c in made.citations] == [
        (day(-1), 3),
        (day(-1), 5),
        (day(0), 1),
    ]
    # Without a restatement the newest is the only one.
    plain = section(document([today], judged(), before=[last]), "var")
    assert figures(plain)["var.exceptions_99"] == Count(value=0, unit="of 1 session")
    assert "restated later" not in backtested(plain).note


def backtested(of: Section) -> Table:
    return next(t for t in of.tables if t.id == "var_backtests")


def test_the_sessions_of_the_period_stand_side_by_side() -> None:
    part = var(day(1), clean="-20", out=[left_out("30")])
    days = [session(day(i), net, of) for i, (net, of) in enumerate(
        [("-30", var(day(0), clean="-21")), ("-21", part), ("-19", var(day(2), clean=None))]
    )]  # fmt: skip
    _, found = report(days, before=[session(day(-1), "-99")], kind="weekly")
    rows = table(found, "var_tests")
    assert [(words(r["day"]), r["actual"], words(r["beyond"]), words(r["part"])) for r in rows] == [
        ("2026-03-02", usd("-30"), "actual and clean", ""),
        ("2026-03-03", usd("-21"), "actual", ""),
        ("2026-03-04", usd("-19"), "none", "positions left out"),
    ]
    assert [r["clean"] for r in rows[:2]] == [usd("-21"), usd("-20")]
    assert isinstance(rows[2]["clean"], Missing)
    assert [r["var"] for r in rows] == [usd("20")] * 3
    shown = {c.key: c.shown for t in found.tables if t.id == "var_tests" for c in t.columns}
    assert (shown["part"], shown["restated"]) == (True, False)


def test_a_test_of_a_var_that_left_positions_out_is_no_proof() -> None:
    part = session(day(-1), "0", var(day(-1), out=[left_out("30")]))
    _, found = report([session(day(0), "-19")], before=[part])
    assert found.verdict is Verdict.UNKNOWN
    assert "The VaR of the close before 2026-03-02 left positions out." in backtested(found).note
    # Nor is today's, for the session that follows, though the test of today was of a whole one.
    part_now = session(day(0), "-19", var(day(0), out=[left_out("30")]))
    _, found = report([part_now], before=[session(day(-1), "0")])
    assert found.verdict is Verdict.UNKNOWN
    _, beyond = report([session(day(0), "-21")], before=[part])
    assert beyond.verdict is Verdict.MISSED


def test_a_close_without_an_estimate_is_a_gap_and_a_flat_one_is_none() -> None:
    made, found = report([session(day(0), "0", unestimated(day(0), SHORT, HELD))])
    assert [(g.what, g.reason) for g in made.gaps] == [("Risk", SHORT)]
    assert made.status is Status.INCOMPLETE
    assert found.verdict is Verdict.UNKNOWN
    assert figures(found)["var.var_99"] == SHORT
    assert figures(found)["var.gross"] == usd("180")
    assert [f.value for f in made.headline if f.id == "var.var_99"] == [SHORT]
    flat = unestimated(day(0), Missing(why=Why.NO_TRADES))
    made, found = report([session(day(0), "0", flat)], CRASH + limit("a", "gross", "1"))
    assert (made.gaps, found.verdict) == ((), Verdict.MET)
    assert "var_stress" not in [t.id for t in found.tables]
    # The session after it has no VaR to be tested against.
    _, after = report([session(day(1), "-99")], before=[session(day(0), "0", flat)])
    assert not [f for f in after.figures if f.id.startswith("var.exceptions")]
    assert after.verdict is None
    assert "var_tests" not in [t.id for t in after.tables]


def test_the_clean_result_of_a_session_that_ends_flat_is_tested() -> None:
    flat = unestimated(day(0), Missing(why=Why.NO_TRADES))
    flat = VarFact(days=(flat.days[0].model_copy(update={"clean": Decimal(-21)}),))
    _, found = report([session(day(0), "-1", flat)], before=[session(day(-1), "0")])
    rows = {(words(r["pnl"]), words(r["level"])): r for r in table(found, "var_backtests")}
    assert rows["clean", "99 %"]["exceptions"] == Count(value=1)


def test_the_backtests_look_back_over_250_sessions_and_one() -> None:
    assert history_from(day_span(day(0)), "24/7") <= day(-250)
    # 250 sessions of the exchange are a year; the period's own are among them.
    assert history_from(day_span(date(2025, 12, 5)), "XNYS") == date(2024, 12, 6) - timedelta(1)


# Stress ---------------------------------------------------------------------------------------

CRASH = """
[[scenario]]
id = "mild"
title = "Mild"
from = 2026-01-01
shocks = [{all = true, pct = -1}]
[[scenario]]
id = "crash"
title = "Crash"
from = 2026-01-01
shocks = [{all = true, pct = -10}, {instrument = "CCC Corp", pct = 20},
          {currency = "EUR", pct = -20}]
[[scenario]]
id = "again"
title = "Again"
from = 2026-01-01
replay = {first = 2026-02-10, last = 2026-02-11}
[[scenario]]
id = "ended"
title = "Ended"
from = 2026-01-01
until = 2026-02-01
shocks = [{all = true, pct = -100}]
"""


def test_the_worst_scenario_comes_first() -> None:
    of = var(day(0), outcomes=[(date(2026, 2, 10), "-4"), (date(2026, 2, 11), "-3.5")])
    _, found = report([session(day(0), "0", of)], CRASH)
    # Mild: 1 % of 100 + 50 − 30. Crash: 10 + 50 × (1 − 0.9 × 0.8) + 20 % of 30.
    assert [(words(r["scenario"]), r["loss"]) for r in table(found, "var_stress")] == [
        ("Crash", Money(amount=Decimal(30), currency="USD")),
        ("Again", Money(amount=Decimal("7.5"), currency="USD")),
        ("Mild", Money(amount=Decimal("1.2"), currency="USD")),
    ]  # fmt: skip
    first = table(found, "var_stress")[0]["share"]
    assert first == Ratio(numerator=Decimal(30), denominator=Decimal(180))
    assert figures(found)["var.stress_loss"] == Money(amount=Decimal(30), currency="USD")


def test_days_outside_the_window_can_not_happen_again() -> None:
    of = var(day(0), outcomes=[(date(2026, 2, 10), "-4")])
    _, found = report([session(day(0), "0", of)], CRASH)
    last = table(found, "var_stress")[-1]
    assert words(last["scenario"]) == "Again"
    assert isinstance(last["loss"], Missing)
    assert "1 of its 2 sessions" in last["loss"].detail


def test_without_positions_there_is_no_stress() -> None:
    old = VarFact(days=(var(day(0)).days[0].model_copy(update={"positions": ()}),))
    _, found = report([session(day(0), "0", old)], CRASH)
    assert all(isinstance(r["loss"], Missing) for r in table(found, "var_stress"))
    flat = Missing(why=Why.NO_TRADES)
    _, found = report([session(day(0), "0", flat)], CRASH)
    assert [t.id for t in found.tables] == []


# Limits ---------------------------------------------------------------------------------------


def use(text: str, of: VarFact | Missing | None = None, net: str = "0", **more: Any) -> Any:
    _, found = report([session(day(0), net, of, **more)], text)
    (row,) = table(found, "var_limits")
    return row


def usd(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="USD")


@pytest.mark.parametrize(
    ("measure", "scope", "value"),
    [
        ("var_99", {}, usd("20")),
        ("es_97.5", {}, usd("16")),
        ("var_99", {"strategy": "trend"}, usd("5")),
        ("es_97.5", {"agent": "tactical"}, usd("8")),
        ("gross", {}, usd("180")),
        ("gross", {"strategy": "carry"}, usd("80")),
        ("net", {}, usd("120")),
        ("net", {"agent": "tactical"}, usd("20")),
        ("concentration", {}, Ratio(numerator=Decimal(100), denominator=Decimal(180))),
        ("concentration", {"agent": "tactical"},
         Ratio(numerator=Decimal(50), denominator=Decimal(80))),
        ("drawdown", {}, usd("9")),
        ("drawdown", {"agent": "tactical"}, usd("2")),
        # The worst of −1 % and the crash: 30 on all; 14 + 6 on the carry's 50 in euro and −30.
        ("stress_loss", {}, usd("30")),
        ("stress_loss", {"strategy": "carry"}, usd("20")),
    ],
)  # fmt: skip
def test_what_a_limit_bounds(measure: str, scope: dict[str, str], value: Shown) -> None:
    # Every scenario can be worked out: the days that happen again are in the window.
    of = var(day(0), outcomes=[(date(2026, 2, 10), "-4"), (date(2026, 2, 11), "-3.5")])
    row = use(limit("x", measure, "40", **scope) + CRASH, of, net="-9", tactical="-2")
    assert row["value"] == value
    ((kind, name),) = scope.items() or (("total", ""),)
    assert words(row["scope"]) == f"{kind} {name}".strip()


def test_use_and_breach() -> None:
    made, found = report(
        [session(day(0), "0")], limit("a", "gross", "160") + limit("b", "net", "120")
    )
    gross, net = table(found, "var_limits")
    assert gross["use"] == Ratio(numerator=Decimal(9), denominator=Decimal(8))  # 180 of 160
    assert (words(gross["state"]), words(net["state"])) == ("breached", "kept")  # all of it is kept
    assert figures(found)["var.limits_breached"] == Count(value=1, unit="of 2 limits")
    assert found.verdict is Verdict.MISSED
    assert made.verdict is Verdict.MISSED
    assert made.answer == "No: a risk limit was breached."
    assert [(a.severity, a.text) for a in made.attention if a.section == "var"] == [
        ("alarm", "Gross exposure, total: 112.5 % of its limit of 160 USD on 2026-03-02."),
    ]  # fmt: skip


def test_a_breach_within_the_period_is_a_breach_though_it_is_over() -> None:
    days = [
        session(day(0), "0", var(day(0), "30")), session(day(1), "0", var(day(1), "45")),
        session(day(2), "0", var(day(2), "20")),
    ]  # fmt: skip
    made, found = report(days, limit("a", "var_99", "25"), kind="weekly")
    (row,) = table(found, "var_limits")
    assert row["value"] == usd("20")
    assert row["use"] == Ratio(numerator=Decimal(4), denominator=Decimal(5))
    assert row["highest"] == Ratio(numerator=Decimal(9), denominator=Decimal(5))
    assert (row["breaches"], words(row["highest_on"])) == (Count(value=2), "2026-03-03")
    assert words(row["state"]) == "breached"
    (told,) = [a.text for a in made.attention if a.section == "var"]
    assert told == (
        "VaR 99 %, total: 180.0 % of its limit of 25 USD on 2026-03-03 (2 sessions of the period)."
    )


def test_each_day_is_judged_by_the_limit_of_that_day() -> None:
    days = [session(day(i), "0", var(day(i), "30")) for i in range(3)]
    text = limit("a", "var_99", "40") + limit("a", "var_99", "25", since="2026-03-03")
    _, found = report(days, text, kind="weekly")
    (row,) = table(found, "var_limits")
    assert (row["limit"], row["breaches"]) == (usd("25"), Count(value=2))


def test_a_replay_is_of_the_whole_book_and_no_strategys_loss() -> None:
    of = var(day(0), outcomes=[(date(2026, 2, 10), "-400"), (date(2026, 2, 11), "0")])
    whole = use(limit("x", "stress_loss", "40") + CRASH, of)
    assert (whole["value"], words(whole["state"])) == (usd("400"), "breached")
    part = use(limit("x", "stress_loss", "40", strategy="carry") + CRASH, of)
    assert (part["value"], words(part["state"])) == (usd("20"), "kept")


def test_the_drawdown_of_a_day_knows_nothing_of_later_ones() -> None:
    days = [session(day(i), net) for i, net in enumerate(["-5", "-20", "40"])]
    _, found = report(days, limit("a", "drawdown", "10"), kind="weekly")
    (row,) = table(found, "var_limits")
    assert (row["value"], row["breaches"], words(row["highest_on"])) == (
        usd("0"), Count(value=1), "2026-03-03",
    )  # fmt: skip
    assert row["highest"] == Ratio(numerator=Decimal(5), denominator=Decimal(2))  # 25 of 10


def test_a_limit_that_can_not_be_measured_leaves_the_verdict_open() -> None:
    _, found = report(
        [session(day(0), "0", Missing(why=Why.TOO_SHORT, detail="9 returns"))],
        limit("a", "gross", "1"),
    )
    (row,) = table(found, "var_limits")
    assert isinstance(row["value"], Missing) and isinstance(row["use"], Missing)
    assert words(row["state"]) == "not known"
    assert found.verdict is Verdict.UNKNOWN
    # A flat book is no gap: nothing is at risk.
    _, flat = report([session(day(0), "0", Missing(why=Why.NO_TRADES))], limit("a", "gross", "1"))
    assert flat.verdict is Verdict.MET


@pytest.mark.parametrize(
    ("measure", "scope", "bound", "out", "state"),
    [
        # Without a history: in no VaR, in every exposure.
        ("var_99", {}, "40", "30", "not known"),
        ("var_99", {}, "19", "30", "not known"),  # 20 of a part says nothing of the whole
        ("es_97.5", {"agent": "tactical"}, "40", "30", "not known"),
        ("var_99", {"strategy": "trend"}, "40", "30", "kept"),  # none of it is left out
        ("var_99", {"strategy": "other"}, "40", "30", "not known"),
        ("gross", {}, "200", "30", "kept"),
        ("net", {}, "200", "30", "kept"),
        ("concentration", {}, "90", "30", "kept"),
        ("stress_loss", {"strategy": "carry"}, "40", "30", "kept"),
        ("stress_loss", {}, "40", "30", "not known"),  # of the days that happen again
        ("stress_loss", {}, "29", "30", "breached"),  # by the crash alone
        ("stress_loss", {}, "30", "30", "not known"),  # which costs 30
        ("drawdown", {}, "40", "30", "kept"),
        # Without a value: nowhere.
        ("gross", {}, "200", None, "not known"),
        ("gross", {}, "179", None, "breached"),  # 180 and more
        ("gross", {}, "180", None, "not known"),
        ("gross", {"agent": "tactical"}, "79", None, "breached"),
        ("gross", {"agent": "strategic"}, "200", None, "kept"),
        ("net", {}, "200", None, "not known"),
        ("net", {}, "100", None, "not known"),
        ("concentration", {}, "90", None, "not known"),
        ("concentration", {}, "10", None, "not known"),
        ("stress_loss", {"strategy": "carry"}, "40", None, "not known"),
        ("stress_loss", {"strategy": "trend"}, "40", None, "kept"),
        ("var_99", {}, "40", None, "not known"),
    ],
)
def test_a_limit_of_which_a_part_is_left_out(
    measure: str, scope: dict[str, str], bound: str, out: str | None, state: str
) -> None:
    again = [(date(2026, 2, 10), "-4"), (date(2026, 2, 11), "-3.5")]
    gone = left_out(out, "other" if scope.get("strategy") == "other" else "carry")
    of = var(day(0), outcomes=again, out=[gone])
    made, found = report([session(day(0), "0", of)], limit("x", measure, bound, **scope) + CRASH)
    (row,) = table(found, "var_limits")
    assert words(row["state"]) == state
    assert found.verdict is (Verdict.MISSED if state == "breached" else Verdict.UNKNOWN)
    assert made.verdict is found.verdict
    if state == "not known":
        assert isinstance(row["value"], Missing) and isinstance(row["use"], Missing)
        assert "without New Corp" in row["value"].detail
        assert {f.id: f.note for f in found.figures}["var.limits_breached"] == "1 not known"
    told = [a.text for a in made.attention if a.section == "var" and a.severity == "warning"]
    value = "no mark" if out is None else "30.00 USD: 9 of the 100 returns that are needed"
    assert told == [f"VaR of 2026-03-02 leaves out New Corp ({value})."]


def test_what_older_seals_left_out_may_be_anyones() -> None:
    named = LeftOut(instrument="NEW", symbol="NEW", value=SHORT, reason=SHORT)
    for whose in ({"agent": "strategic"}, {"strategy": "trend"}):
        row = use(limit("a", "gross", "200", **whose), var(day(0), out=[named]))
        assert words(row["state"]) == "not known"


def test_a_limit_does_not_hang_on_the_history_of_estimates() -> None:
    of = unestimated(day(0), SHORT, HELD)
    for measure, bound, state in [
        ("gross", "180", "kept"), ("gross", "179", "breached"), ("net", "119", "breached"),
        ("concentration", "50", "breached"), ("stress_loss", "29", "breached"),
        ("var_99", "1000", "not known"),
    ]:  # fmt: skip
        row = use(limit("a", measure, bound) + CRASH, of)
        assert (measure, words(row["state"])) == (measure, state)


def test_a_day_on_which_a_limit_is_not_known_leaves_the_period_open() -> None:
    days = [session(day(i), "0", var(day(i), out=[left_out("30")] if i == 1 else []))
            for i in range(3)]  # fmt: skip
    _, found = report(days, limit("a", "var_99", "25"), kind="weekly")
    (row,) = table(found, "var_limits")
    assert (words(row["state"]), row["unknown"]) == ("not known", Count(value=1))
    assert row["value"] == usd("20")
    assert found.verdict is Verdict.UNKNOWN
    assert any("other closes too: 2026-03-03" in note for note in found.notes)
    assert {f.id: f.note for f in found.figures}["var.limits_breached"] == "1 not known"


def test_a_scenario_that_can_not_be_worked_out_leaves_the_worst_loss_open() -> None:
    # The days that should happen again are not in the window; the crash costs 30.
    row = use(limit("x", "stress_loss", "40") + CRASH)
    assert words(row["state"]) == "not known"
    assert isinstance(row["value"], Missing)
    assert row["value"].detail.startswith("Again: 2 of its 2 sessions")
    assert words(use(limit("x", "stress_loss", "29") + CRASH)["state"]) == "breached"


def test_stress_names_what_it_leaves_out() -> None:
    again = [(date(2026, 2, 10), "-4"), (date(2026, 2, 11), "-3.5")]
    for out, name in [("30", "Left out of past days again: New Corp."),
                      (None, "Without a value, and left out: New Corp.")]:  # fmt: skip
        of = var(day(0), outcomes=again, out=[left_out(out)])
        _, found = report([session(day(0), "0", of)], CRASH)
        (stress,) = [t for t in found.tables if t.id == "var_stress"]
        assert name in stress.note


def test_a_limit_in_another_currency_is_not_compared() -> None:
    row = use(limit("a", "gross", "1", currency="EUR"))
    assert isinstance(row["value"], Missing)
    assert "in EUR, not in USD" in row["value"].detail


def test_where_no_limit_is_set_the_page_says_so() -> None:
    _, found = report([session(day(0), "0")])
    assert any(n.startswith("No limit is set") for n in found.notes)
    assert "var.limits_breached" not in figures(found)


# Drawdown and Kelly ---------------------------------------------------------------------------


def test_drawdown_over_the_sessions_before() -> None:
    days = year(["10", "-6", "2", "6", "-3", "-4", "3"], ["0"] * 7)
    gap = sealed(day(-7), {**QUIET, "pnl": Missing(why=Why.UNREACHABLE)})
    _, found = report(days[-1:], before=[gap, *days[:-1]])
    by_id = {f.id: f for f in found.figures}
    # 10, 4, 6, 12, 9, 5, 8.
    assert by_id["var.drawdown"].value == usd("4")
    assert by_id["var.drawdown"].note == "3 sessions since 2026-02-27"
    assert by_id["var.drawdown_largest"].value == usd("7")
    assert by_id["var.drawdown_largest"].note == (
        "2026-02-27 to 2026-03-01, over 7 sessions from 2026-02-24, 1 without a P&L left out"
    )


CAPITAL = '[[capital]]\nfrom = 2026-01-01\namount = 100\ncurrency = "USD"\nsource = "board"\n'


def test_kelly_on_capital() -> None:
    # Even money of 1 on 100, 18 of 30 won: a fifth of the capital, 20 times what was at stake.
    nets = (["1", "1", "1", "-1", "-1"] * 6)[:30]
    days = year(nets, ["0"] * 30)
    _, found = report(days[-1:], CAPITAL, before=days[:-1])
    assert figures(found)["var.kelly"] == Number(value=Decimal(20))
    # Mean 0.002; Σ(r − 0.002)² is 30 × (0.0001 − 0.000004), over 29.
    expected = Decimal("0.002") / (Decimal("0.00288") / 29)
    found_near = figures(found)["var.kelly_approximation"]
    assert isinstance(found_near, Number)
    assert abs(found_near.value - expected) < Decimal("0.0001")


@pytest.mark.parametrize(
    ("text", "nets", "words_of"),
    [
        ("", ["1"] * 30, "add [[capital]]"),
        (CAPITAL.replace("USD", "EUR"), ["1"] * 30, "in EUR, not in USD"),
        (CAPITAL, ["1", "-1"] * 14, "28 daily returns, 30 are needed"),
        (CAPITAL, ["1", "2"] * 15, "no session lost"),
    ],
)
def test_kelly_without_what_it_needs(text: str, nets: list[str], words_of: str) -> None:
    days = year(nets, ["0"] * len(nets))
    _, found = report(days[-1:], text, before=days[:-1])
    value = figures(found)["var.kelly"]
    assert isinstance(value, Missing)
    assert words_of in value.detail
