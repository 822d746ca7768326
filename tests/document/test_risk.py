"""Backtests, stress, limits, drawdown and Kelly's fraction, composed from sealed days."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from reporting.book import Cell
from reporting.document import Cited, history_from
from reporting.measures.pnl import FxRate, PnlFact
from reporting.measures.var import (
    Outcome,
    Position,
    Share,
    VarDay,
    VarFact,
    VarLevel,
)
from reporting.model import Count, Missing, Money, Number, Ratio, Shown, Value, Why
from reporting.page import Document, LinesChart, Section, Verdict
from reporting.periods import day_span
from reporting.policy import Policy
from reporting.policy.risk import parse_risk

from .days import QUIET, day, document, policy, sealed, section, table, words

NONE = Decimal(0)


def pnl(net: str, *, tactical: str = "0") -> PnlFact:
    """A session that earned ``net`` in cash, ``tactical`` of it by that agent."""

    def cell(agent: str, earned: Decimal) -> Cell:
        return Cell(
            strategy="trend", agent=agent, account="acc", instrument="AAA", symbol="A Corp",
            currency="USD", fills=1, bought=NONE, sold=NONE, realised=earned, fees=NONE,
            position_close=NONE, cash_open=NONE, cash_close=earned, value_open=NONE,
            value_close=NONE,
        )  # fmt: skip

    rest = Decimal(net) - Decimal(tactical)
    one = Decimal(1)
    return PnlFact(
        base="USD", cells=(cell("strategic", rest), cell("tactical", Decimal(tactical))),
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
    outcomes: Sequence[tuple[date, str]] = (),
) -> VarFact:  # fmt: skip
    """VaR 10, 15 and ``limit`` at 95, 97.5 and 99 %; ES one more each."""
    levels = [("0.95", "10"), ("0.975", "15"), ("0.99", limit)]
    gone = Missing(why=Why.NO_MARK, detail="no mark")
    gross = sum((abs(p.value) for p in held), NONE)
    return VarFact(
        days=(
            VarDay(
                day=at, base="USD", observations=250, first=at, last=at, left_out=(),
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


def session(at: date, net: str, of: VarFact | Missing | None = None, **more: Any) -> Cited:
    facts: dict[str, Value | Missing] = {**QUIET, "pnl": pnl(net, **more), "var": of or var(at)}
    return sealed(at, facts)


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
        "Net P&L": (-30, 5), "Clean P&L": (-3, None), "−VaR 99 %": (-20, -20),
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
    row = use(limit("x", measure, "40", **scope) + CRASH, net="-9", tactical="-2")
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
