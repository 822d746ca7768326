"""Strategies and agents: side by side in every report, a page each over several days."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.document import Cited
from reporting.document.strategies import MOST_PAGES, slug
from reporting.measures.pnl import totals
from reporting.model import Bps, Count, Missing, Money, Number, Ratio, Shown, Why
from reporting.page import Document, LinesChart, Section
from reporting.render import render_html, render_tables

from .days import GONE, QUIET, day, document, policy, sealed, section, table, words
from .trades import Rates, Trade, book, orders, pnl, traded

D = Decimal
NO_SESSION = Missing(why=Why.NO_SESSION)
EUR: Rates = {"EUR": ("1.10", "1.20")}


def daily(*days: Cited) -> Document:
    """The daily report of the last of ``days``."""
    return document(days[-1:], policy(), before=days[:-1])


def weekly(*days: Cited, before: Sequence[Cited] = ()) -> Document:
    return document(days, policy(), before=before, kind="weekly")


def usd(amount: str | int) -> Money:
    return Money(amount=D(amount), currency="USD")


def share(numerator: str | int, denominator: str | int) -> Ratio:
    return Ratio(numerator=D(numerator), denominator=D(denominator))


def compared(found: Document) -> dict[str, dict[str, Shown]]:
    """The table of strategies: each one's measures by key."""
    rows = table(section(found, "strategies"), "strategies_compared")
    return {words(row["strategy"]): row for row in rows}


def agents(found: Document) -> dict[str, dict[str, Shown]]:
    """The table of agents: each row's cells by agent."""
    rows = table(section(found, "strategies"), "agents_compared")
    return {words(row["of_agent"]): row for row in rows}


def figures(found: Document, id: str) -> dict[str, Shown]:
    return {f.id.rpartition(".")[2]: f.value for f in section(found, id).figures}


def chart(of: Section, of_what: str = "agent") -> LinesChart:
    """A page's only chart; of the comparison, the one of agents or of strategies."""
    titled = [c for c in of.charts if len(of.charts) == 1 or f"by {of_what}," in c.title]
    (found,) = titled
    assert isinstance(found, LinesChart)
    return found


# One day by hand ---------------------------------------------------------------------------------

TREND = Trade("trend", "strategic", net=90, fees=10, value=-500, notional=1000, slipped=3, fills=4)
VALUE = Trade("value", "strategic", net=30, fees=5, value=250, notional=200, slipped=2)
MAKER = Trade("maker", "tactical", "BBB", net=100, fees=20, value=0, notional=400, slipped=-1,
              currency="EUR")  # fmt: skip
ONE = traded(
    day(0), TREND, VALUE, MAKER, rates=EUR,
    done=[orders(TREND, 3, 4), orders(VALUE, 1, 1), orders(TREND, 0, 2, reason="limit")],
)  # fmt: skip


def test_contributions_costs_and_turnover_of_a_day() -> None:
    found = compared(daily(ONE))
    assert list(found) == ["maker", "trend", "value"]
    # 100 EUR at 1.20; in all 120 + 90 + 30 = 240.
    assert [found[n]["net"] for n in found] == [usd(120), usd(90), usd(30)]
    assert [found[n]["share"] for n in found] == [share(120, 240), share(90, 240), share(30, 240)]
    # Before fees: 120 + 20 × 1.20, 90 + 10, 30 + 5.
    assert [found[n]["gross"] for n in found] == [usd(144), usd(100), usd(35)]
    assert found["maker"]["fees_of_gross"] == share(24, 144)
    assert found["maker"]["slippage"] == usd("-1.2")
    assert found["maker"]["slippage_bps"] == Bps(cost=D("-1.2"), notional=D(480))
    # Fees and slippage: 24 − 1.2, 10 + 3, 5 + 2.
    whole = D("22.8") + 13 + 7
    assert [found[n]["costs_share"] for n in found] == [
        share("22.8", whole), share(13, whole), share(7, whole),
    ]  # fmt: skip
    # 1000 traded over |−500| held; nothing is held by the maker.
    assert found["trend"]["turnover"] == Number(value=D("2.00"), unit="times")
    assert found["maker"]["turnover"] == Missing(why=Why.NO_DATA, detail="no position at any close")
    # Rejected orders never reached a market.
    assert found["trend"]["fill_rate"] == share(3, 4)
    assert found["maker"]["fill_rate"] == Missing(why=Why.NO_ORDERS)


def test_agents_stand_side_by_side_in_the_order_of_their_horizon() -> None:
    risk = Trade("overlay", "risk", net=1, value=7)
    other = Trade("x", "experimental", net=1)
    found = agents(daily(traded(day(0), risk, MAKER, other, TREND, VALUE, rates=EUR)))
    assert list(found["Net P&L"]) == ["of_agent", "strategic", "tactical", "risk", "experimental"]
    assert found["Net P&L"]["strategic"] == usd(90 + 30)
    assert found["Traded notional"]["strategic"] == usd(1000 + 200)
    # 1200 over 500 + 250.
    assert found["Turnover"]["strategic"] == Number(value=D("1.60"), unit="times")
    assert found["Winning instrument-days"]["strategic"] == share(1, 1)


def test_a_daily_report_is_short() -> None:
    found = daily(ONE)
    assert [s.id for s in found.sections if s.id.startswith("strateg")] == ["strategies"]
    assert [t.id for t in section(found, "strategies").tables] == [
        "agents_compared", "strategies_compared",
    ]  # fmt: skip
    assert section(found, "strategies").summary == (
        "3 strategies and 2 agents. maker earned most, 120 USD."
    )


def test_gains_that_losses_offset_have_no_share() -> None:
    loss = Trade("trend", "strategic", net=-90)
    found = compared(daily(traded(day(0), loss, VALUE)))
    assert [r["net"] for r in found.values()] == [usd(30), usd(-90)]
    mixed = Missing(why=Why.NOT_MEASURED, detail="mixed signs")
    assert [r["share"] for r in found.values()] == [mixed, mixed]
    (_, shown) = section(daily(traded(day(0), loss, VALUE)), "strategies").tables
    assert not next(c for c in shown.columns if c.key == "share").shown
    assert "Share of net P&L: not measured: mixed signs." in shown.note


# Many days ---------------------------------------------------------------------------------------

NETS = [5, -2, 7, -4, 0, 3, 8, -6, 1, 2, -3, 4, 9, -5, 6, 2, -1, 3, -2, 5, 4, -7]


def history(nets: Sequence[int]) -> list[Cited]:
    return book(day(0), *([Trade("trend", "strategic", net=net, value=10)] for net in nets))


def test_a_daily_report_looks_back_over_the_sessions_given() -> None:
    found = daily(*history(NETS))
    (row,) = compared(found).values()
    # Winners and losers of the list above, its one 0 aside.
    assert row["hit_rate"] == share(13, 13 + 8)
    gains, losses = 5 + 7 + 3 + 8 + 1 + 2 + 4 + 9 + 6 + 2 + 3 + 5 + 4, 2 + 4 + 6 + 3 + 5 + 1 + 2 + 7
    assert row["profit_factor"] == Number(value=round(D(gains) / losses, 2))
    assert row["history"] == Count(value=len(NETS))
    x = np.array(NETS)
    ratio = x.mean() / x.std(ddof=1)
    assert isinstance(row["sharpe_daily"], Number)
    assert isinstance(row["sharpe_annual"], Number)
    assert float(row["sharpe_daily"].value) == pytest.approx(ratio, abs=0.0005)
    assert float(row["sharpe_annual"].value) == pytest.approx(ratio * math.sqrt(252), abs=0.005)
    # Cumulative 5 3 10 6 6 9 17 11 12 14 11 15 24 19 25 27 26 29 27 32 36 29: from 36 to 29.
    assert row["drawdown"] == usd(7)
    assert row["net"] == usd(-7)


def test_no_more_than_a_year_of_sessions_is_looked_back_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reporting.document.strategies.records.HISTORY", 5)
    (row,) = compared(daily(*history([-100, 1, 2, -3, 4, 5]))).values()
    assert (row["history"], row["hit_rate"]) == (Count(value=5), share(4, 5))


def test_what_a_strategy_is_worth_needs_twenty_sessions() -> None:
    (row,) = compared(daily(*history(NETS[:19]))).values()
    short = Missing(why=Why.TOO_SHORT, detail="19 of 20 sessions")
    assert [row[k] for k in ("sharpe_daily", "sharpe_error", "sharpe_annual", "interval")] == [
        short
    ] * 4
    assert row["drawdown"] == usd(6)  # from 17 to 11


def test_the_interval_is_around_the_ratio_on_every_page() -> None:
    days = history(NETS)
    (row,) = compared(daily(*days)).values()
    ends = [D(x.replace("−", "-")) for x in words(row["interval"]).split(" to ")]
    assert isinstance(row["sharpe_daily"], Number)
    assert isinstance(row["sharpe_error"], Number)
    # 22 sessions give round(0.4 × 22^(2/3)) = 3 degrees of freedom: t = 3.182.
    margin = float(row["sharpe_error"].value) * 3.182
    assert [float(x - row["sharpe_daily"].value) for x in ends] == pytest.approx(
        [-margin, margin], abs=0.003
    )
    page = section(weekly(*days[14:21], before=days[:14]), "strategies.strategy-trend")
    note = {f.id: f.note for f in page.figures}["strategy.trend.sharpe_daily"]
    told = re.fullmatch(r"standard error (\S+), 95 % interval (\S+) to (\S+)", note)
    assert told, note
    error, low, high = (float(x.replace("−", "-")) for x in told.groups())
    assert (high - low) / 2 == pytest.approx(3.182 * error, abs=0.003)


def test_a_week_turns_over_what_it_traded_by_what_it_held_on_average() -> None:
    days = book(
        day(0),
        [Trade("trend", "strategic", net=1, value=100, notional=300)],
        [Trade("trend", "strategic", net=1, value=-300, notional=500)],
    )
    found = figures(weekly(*days), "strategies.strategy-trend")
    # (300 + 500) over (100 + |−300|) / 2.
    assert found["turnover"] == Number(value=D("4.00"), unit="times")


def test_a_week_has_its_own_hit_rate_and_the_history_s_in_a_note() -> None:
    days = history(NETS)
    week = [*days[14:19], *(sealed(day(n), {**QUIET, "pnl": NO_SESSION}) for n in (19, 20))]
    found = section(weekly(*week, before=days[:14]), "strategies.strategy-trend")
    values = {f.id: f for f in found.figures}
    # 6 2 −1 3 −2 of the week; 11 of 18 with the 14 before.
    assert values["strategy.trend.hit_rate"].value == share(3, 5)
    assert values["strategy.trend.hit_rate"].note == "last 19 sessions: 61.1 %"
    assert values["strategy.trend.profit_factor"].value == Number(value=D("3.67"))  # 11 / 3
    assert values["strategy.trend.net"].value == usd(6 + 2 - 1 + 3 - 2)


def test_a_page_for_each_agent_and_strategy() -> None:
    found = weekly(*book(day(0), [TREND, VALUE, MAKER], [TREND, VALUE, MAKER], rates=[EUR] * 2))
    ids = [s.id for s in found.sections]
    at = ids.index("strategies")
    assert ids[at - 1 : at + 7] == [
        "fill_rate", "strategies",
        "strategies.agent-strategic", "strategies.agent-tactical",
        "strategies.strategy-maker", "strategies.strategy-trend", "strategies.strategy-value",
        "service_levels",
    ]  # fmt: skip
    page = section(found, "strategies.agent-strategic")
    assert (page.title, page.summary) == (
        "Agent: strategic", "Gained 240 USD net of fees with 10 fills.",
    )  # fmt: skip
    parts = table(page, "agent_strategic_strategy")
    assert [(words(r["strategy"]), r["net"]) for r in parts] == [
        ("trend", usd(180)), ("value", usd(60)),
    ]  # fmt: skip
    # A strategy of one agent needs no table of agents.
    tables = section(found, "strategies.strategy-trend").tables
    assert [t.id for t in tables] == ["strategy_trend_instruments"]


def test_instruments_foot_to_the_page() -> None:
    days = book(
        day(0),
        *(
            [
                Trade("trend", "strategic", name, net=net * n, fees=1, notional=50, slipped=1)
                for name, net in (("AAA", 4), ("BBB", -9), ("CCC", 2))
            ]
            for n in (1, 2)
        ),
    )
    page = section(weekly(*days), "strategies.strategy-trend")
    (found,) = page.tables
    assert [words(r["instrument"]) for r in table(page, found.id)] == ["BBB", "AAA", "CCC"]
    assert [r["net"] for r in table(page, found.id)] == [usd(-27), usd(12), usd(6)]
    assert found.total is not None
    total = dict(zip((c.key for c in found.columns), found.total, strict=True))
    assert (total["net"], total["fees"]) == (usd(-27 + 12 + 6), usd(6))
    assert (total["notional"], total["slippage"]) == (usd(300), Bps(cost=D(6), notional=D(300)))
    # By session: 4 and 8 won, −9 and −18 lost, 2 and 4 won.
    values = figures(weekly(*days), "strategies.strategy-trend")
    assert values["hit_rate_instruments"] == share(4, 6)
    assert values["hit_rate"] == share(0, 2)  # 4 − 9 + 2, then twice that


def test_the_course_is_cumulative_with_its_drawdown_and_says_so_in_words() -> None:
    found = chart(section(weekly(*history([5, -3, 4, -5, 3])), "strategies.strategy-trend"))
    (running,), below = found.lines, found.below
    assert running.values == tuple(map(D, (5, 2, 6, 1, 4)))
    assert below is not None
    assert below.values == tuple(map(D, (0, -3, 0, -5, -2)))
    assert found.marked == (3,)
    assert found.alt == (
        "5 sessions from 2026-03-02 to 2026-03-06; cumulative net P&L 4 USD at the end, between "
        "1 USD and 6 USD; deepest drawdown 5 USD, on 2026-03-05."
    )


def test_the_agents_chart_has_a_line_each_and_its_numbers_in_words() -> None:
    late = Trade("maker", "tactical", net=-7)
    days = [*history([5, -3]), traded(day(2), Trade("trend", "strategic", net=4), late)]
    found = chart(section(daily(*days), "strategies"))
    strategic, tactical = found.lines
    assert strategic.values == tuple(map(D, (5, 2, 6)))
    assert tactical.values == tuple(map(D, (0, 0, -7)))  # nothing, before it began
    assert found.alt == (
        "3 sessions from 2026-03-02 to 2026-03-04; at the end: strategic 6 USD, tactical −7 USD."
    )


def test_so_has_the_strategies_chart() -> None:
    late = Trade("maker", "tactical", net=-7)
    days = [*history([5, -3]), traded(day(2), Trade("trend", "strategic", net=4), late)]
    found = chart(section(daily(*days), "strategies"), "strategy")
    assert {line.label: line.values[-1] for line in found.lines} == {"trend": D(6), "maker": D(-7)}


# What is missing ---------------------------------------------------------------------------------


def test_a_session_without_a_p_and_l_is_a_gap_not_a_zero() -> None:
    days = history([5, -3, 4])
    days[1] = sealed(day(1), {**QUIET, "pnl": GONE})
    found = weekly(*days)
    page = section(found, "strategies.strategy-trend")
    assert chart(page).lines[0].values == (D(5), None, D(9))
    assert figures(found, page.id)["hit_rate"] == share(2, 2)
    notes = section(found, "strategies").notes
    assert notes[0] == "Without the P&L of 2026-03-03: not known there."


def test_a_day_without_trade_has_no_pages() -> None:
    found = daily(sealed(day(0), QUIET))
    missing = section(found, "strategies")
    assert missing.summary == "P&L is missing: no trades."
    assert (missing.figures, missing.tables, missing.charts) == ((), (), ())


def test_a_book_in_which_nothing_was_ever_done_has_nobody_to_compare() -> None:
    assert section(daily(traded(day(0))), "strategies").summary == "Nothing was held or traded."


def test_days_in_another_base_currency_are_not_added_up() -> None:
    days = book(day(0), *([Trade("trend", "strategic", net=net)] for net in (5, 4, 3)))
    old = {**days[0].sealed.facts["pnl"], "base": "EUR"}
    facts = {**days[0].sealed.facts, "pnl": old}
    days[0] = Cited(days[0].sealed.model_copy(update={"facts": facts}), "", days[0].sealed_at)
    (row,) = compared(daily(*days)).values()
    assert row["history"] == Count(value=2)
    assert row["hit_rate"] == share(2, 2)


def test_who_held_on_and_did_not_trade_has_traded_nothing() -> None:
    found = compared(daily(traded(day(0), Trade("trend", "strategic", net=5, value=100))))["trend"]
    assert (found["notional"], found["slippage"]) == (usd(0), usd(0))
    assert found["turnover"] == Number(value=D("0.00"), unit="times")
    assert found["slippage_bps"] == Missing(why=Why.NO_DATA, detail="no fill")


def test_a_share_of_costs_says_of_how_many_fills_its_slippage_is() -> None:
    """Trend's 2 fills have no arrival price out of its 6; the maker's one fill has."""
    trend = Trade("trend", "strategic", net=1, fees=10, notional=900, arrival=600, slipped=2,
                  fills=6, covered=4)  # fmt: skip
    maker = Trade("maker", "tactical", "BBB", net=1, fees=8, notional=50)
    said = "of the 71.4 % of fills with an arrival price; the rest is not known"  # 5 of 7
    in_all = f"Slippage, and in the shares of costs what is slippage: {said}."
    one = daily(traded(day(0), trend, maker))
    tables = {t.id: t for t in section(one, "strategies").tables}
    assert tables["agents_compared"].note == in_all
    assert tables["strategies_compared"].note.endswith(in_all)
    assert compared(one)["trend"]["coverage"] == share(4, 6)
    assert compared(one)["maker"]["coverage"] == share(1, 1)
    # Trend's 10 + 2 of 20; the shares of the other stand on the same.
    assert compared(one)["trend"]["costs_share"] == share(12, 20)
    week = weekly(traded(day(0), trend, maker))
    for name in ("trend", "maker"):
        notes = {f.id: f.note for f in section(week, f"strategies.strategy-{name}").figures}
        assert notes[f"strategy.{name}.costs_share"] == f"slippage {said}"
    assert agents(week)["Fills with an arrival price"]["strategic"] == share(4, 6)
    whole = daily(traded(day(0), maker))
    for found in section(whole, "strategies").tables:
        assert "arrival" not in found.note


def test_fills_of_which_none_is_covered_cost_nobody_knows_what() -> None:
    none = Trade("trend", "strategic", net=1, fees=10, notional=900, arrival=0, fills=2, covered=0)
    found = compared(daily(traded(day(0), none, MAKER, rates=EUR)))
    unknown = Missing(why=Why.NO_DATA, detail="no fill has an arrival price")
    assert found["trend"]["slippage"] == unknown
    # Nor is anybody's share of costs of which a part is unknown.
    assert found["trend"]["costs_share"] == found["maker"]["costs_share"] == unknown
    assert found["maker"]["slippage"] == usd("-1.2")


def test_a_fraction_of_a_fill_uncovered_is_not_all_of_them() -> None:
    almost = Trade("trend", "strategic", net=1, notional=9, fills=100_000, covered=99_999)
    notes = [t.note for t in section(daily(traded(day(0), almost)), "strategies").tables]
    assert all("of the 99.9 % of fills" in note for note in notes)


def test_slippage_is_of_the_fills_with_an_arrival_price_and_says_of_how_many() -> None:
    some = Trade(
        "trend", "strategic", net=1, notional=900, arrival=400, slipped=2, fills=4, covered=3
    )
    found = section(weekly(traded(day(0), some)), "strategies.strategy-trend")
    values = {f.id.rpartition(".")[2]: f for f in found.figures}
    assert values["slippage_bps"].value == Bps(cost=D(2), notional=D(400))
    assert values["slippage"].note == (
        "of the 75.0 % of fills with an arrival price; the rest is not known"
    )
    none = Trade("trend", "strategic", net=1, notional=900, arrival=0, covered=0)
    assert compared(daily(traded(day(0), none)))["trend"]["slippage_bps"] == Missing(
        why=Why.NO_DATA, detail="no fill has an arrival price"
    )


def test_a_part_without_a_mark_does_not_take_the_rest_with_it() -> None:
    unmarked = Trade("trend", "risk", "ZZZ", net=1_000, value=None)
    days = [traded(day(n), Trade("trend", "strategic", net=5), unmarked) for n in range(2)]
    (row,) = compared(daily(*days)).values()
    assert (row["history"], row["hit_rate"]) == (Count(value=2), share(2, 2))
    assert chart(section(weekly(*days), "strategies.strategy-trend")).lines[0].values == (
        D(5),
        D(10),
    )


def test_slippage_that_is_not_known_is_no_cost_of_zero() -> None:
    found = compared(daily(traded(day(0), TREND, slippage=GONE)))["trend"]
    keys = ("slippage", "slippage_bps", "notional", "turnover", "costs_share")
    assert [found[k] for k in keys] == [GONE] * 5
    assert found["fees"] == usd(10)


def test_a_currency_without_a_rate_leaves_the_others_standing() -> None:
    found = compared(daily(traded(day(0), TREND, MAKER, rates={"EUR": (None, None)})))
    assert found["trend"]["net"] == usd(90)
    missing = Missing(why=Why.NO_DATA, detail="no rate EUR/USD")
    assert found["maker"]["net"] == missing
    # Of a total that is not known nothing is a share.
    assert [r["share"] for r in found.values()] == [missing, missing]


def test_what_was_never_marked_is_missing_and_in_no_total() -> None:
    odd = Trade("odd", "tactical", "ZZZ", net=1_000, value=None)
    # Another's closed position in the same instrument is left out too, as in the P&L section.
    trend_too = Trade("trend", "strategic", "ZZZ", net=500)
    found = compared(daily(traded(day(0), TREND, VALUE, odd, trend_too)))
    assert found["odd"]["net"] == Missing(why=Why.NO_MARK, detail="never marked")
    assert (found["trend"]["net"], found["trend"]["share"]) == (usd(90), share(90, 120))


# Names -------------------------------------------------------------------------------------------

HOSTILE = [
    '<b>Öl & Gas</b> "AG"',
    "=cmd()",
    "",
    "  ",
    "A B",
    "a_b",
    "a-b",
    "../../x",
    "名前",
    "x" * 300,
]


def test_hostile_names_are_shown_and_harmless() -> None:
    days = [
        traded(day(n), *(Trade(name, name, name or "none", net=5 - 2 * n) for name in HOSTILE))
        for n in range(2)
    ]
    found = weekly(*days)
    html = render_html(found).decode()
    assert "<b>Öl" not in html
    assert "Strategy: &lt;b&gt;Öl &amp; Gas&lt;/b&gt; &#34;AG&#34;" in html
    assert "not attributed" in html and "Agent: not attributed" not in html  # a row, and no page
    named = [name for name in HOSTILE if name.strip()]  # a page each, but for what has no name
    pages = [s for s in found.sections if s.id.startswith("strategies.")]
    assert html.count('<section class="part own-page"') == len(pages) == 2 * len(named)
    tables = render_tables(found)
    assert all(re.fullmatch(r"[a-z0-9_-]{1,90}\.csv", name) for name in tables), list(tables)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


@given(st.lists(st.text(max_size=8), max_size=8, unique=True))
def test_names_that_differ_have_ids_that_differ(names: list[str]) -> None:
    found = {slug(name) for name in names}
    assert len(found) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", s) for s in found)


def test_an_id_depends_on_its_name_alone() -> None:
    assert slug("mean-reversion") == "mean-reversion"
    # `printf 'A B' | sha256sum`
    assert slug("A B") == "a-b-fea4c5ce720c"
    taken = slug("A B")
    assert slug(taken) not in (taken, slug("a b"))


def test_many_agents_have_columns_for_some_and_a_csv_for_all() -> None:
    many = [Trade("s", f"a{n}", net=n) for n in range(7)]
    found = daily(traded(day(0), *many), traded(day(1), *many))
    side_by_side, _ = section(found, "strategies").tables
    assert [c.shown for c in side_by_side.columns] == [True] * 6 + [False] * 2
    assert [line.label for line in chart(section(found, "strategies")).lines] == [
        "a3", "a4", "a5", "a6",
    ]  # fmt: skip
    assert chart(section(found, "strategies")).alt.endswith(
        "a6 12 USD. 3 more agents moved less and are not drawn."
    )


def test_very_many_strategies_get_a_page_for_the_largest() -> None:
    many = [Trade(f"s{n}", "tactical", net=n - 10) for n in range(MOST_PAGES + 5)]
    found = weekly(traded(day(0), *many), traded(day(1), *many))
    pages = [s.id for s in found.sections if s.id.startswith("strategies.strategy-")]
    assert len(pages) == MOST_PAGES
    assert "strategies.strategy-s10" not in pages  # exactly 0
    assert "strategies.strategy-s0" in pages
    assert len(compared(found)) == MOST_PAGES + 5
    assert section(found, "strategies").notes[0].startswith(f"A page each for the {MOST_PAGES}")


# Properties --------------------------------------------------------------------------------------

amounts = st.decimals(-10_000, 10_000, places=6)


@st.composite
def ledgers(draw: st.DrawFn) -> list[Cited]:
    """Two sessions of up to three strategies, two agents, instruments and currencies."""
    cells = [
        (s, a, i) for s in ("s1", "s2", "s3") for a in ("strategic", "risk") for i in ("AAA", "BBB")
    ]
    chosen = draw(st.lists(st.sampled_from(cells), min_size=1, max_size=6, unique=True))
    sessions = [
        [
            Trade(
                *cell, net=str(draw(amounts)), fees=str(draw(amounts)),
                notional=str(abs(draw(amounts))), slipped=str(draw(amounts)),
                value=str(draw(amounts)), currency="EUR" if cell[2] == "BBB" else "USD",
            )
            for cell in chosen
        ]
        for _ in range(2)
    ]  # fmt: skip
    rates: list[Rates] = [{"EUR": ("1.1", "1.25")}, {"EUR": ("1.25", "0.93")}]
    return book(day(0), *sessions, rates=rates)


def known(values: Sequence[Shown]) -> list[Fraction]:
    return [Fraction(v.amount) for v in values if isinstance(v, Money)]


@settings(deadline=None, max_examples=25)
@given(ledgers())
def test_both_splits_foot_to_the_book_exactly(days: list[Cited]) -> None:
    found = weekly(*days)
    net = {f.id: f.value for f in section(found, "pnl").figures}
    of_agents, of_strategies = agents(found), compared(found)
    for label, key in (("Net P&L", "net"), ("Gross P&L", "gross"), ("Fees", "fees")):
        whole = net[f"pnl.{key}"]
        assert isinstance(whole, Money)
        by_agent = known([v for k, v in of_agents[label].items() if k != "of_agent"])
        by_strategy = known([row[key] for row in of_strategies.values()])
        assert sum(by_agent) == sum(by_strategy) == Fraction(whole.amount)
    # Shares, where there are any, are of that same total.
    for rows in (
        [*of_agents["Share of net P&L"].values()],
        [r["share"] for r in of_strategies.values()],
    ):
        parts = [r.fraction or 0 for r in rows if isinstance(r, Ratio)]
        assert not parts or sum(parts) == 1


@settings(deadline=None, max_examples=25)
@given(ledgers())
def test_the_course_ends_at_the_net_of_the_period(days: list[Cited]) -> None:
    """Days telescope: their sum is what the merged fact says, whatever the rates did between."""
    found = weekly(*days)
    for page in (s for s in found.sections if s.id.startswith("strategies.")):
        net = page.figures[0].value
        assert isinstance(net, Money)
        last = chart(page).lines[0].values[-1]
        assert last is not None
        assert Fraction(last) == Fraction(net.amount)
        for parts in page.tables:
            key = [c.key for c in parts.columns].index("net")
            assert sum(known([row[key] for row in parts.rows])) == Fraction(net.amount)


@settings(deadline=None, max_examples=15)
@given(ledgers(), st.sampled_from(["0.001", "7", "100000000"]))
def test_a_larger_book_has_the_same_rates(days: list[Cited], times: str) -> None:
    big = [Cited(_scaled(c, D(times)), c.digest, c.sealed_at) for c in days]
    keys = ("hit_rate", "profit_factor", "turnover", "share", "costs_share", "fees_of_gross")
    small, large = compared(weekly(*days)), compared(weekly(*big))
    for name, row in small.items():
        assert [_rate(row[k]) for k in keys] == [_rate(large[name][k]) for k in keys]


def _rate(value: Shown) -> object:
    return value.fraction if isinstance(value, Ratio) else value


def _scaled(cited: Cited, times: Decimal) -> object:
    def of(cell: dict[str, object]) -> dict[str, object]:
        scaled = (
            "fees", "cash_open", "cash_close", "value_open", "value_close", "notional", "cost",
            "arrival_notional",
        )  # fmt: skip
        return {k: str(D(str(v)) * times) if k in scaled else v for k, v in cell.items()}

    facts = dict(cited.sealed.facts)
    for name in ("pnl", "slippage"):
        if "cells" in facts[name]:
            facts[name] = {**facts[name], "cells": [of(c) for c in facts[name]["cells"]]}
    return cited.sealed.model_copy(update={"facts": facts})


def test_the_trades_of_these_tests_are_what_they_say() -> None:
    """Net as written, in a day that carries something and trades in another currency."""
    carried = Trade("s", "a", net=100, carried=1000, currency="EUR", value=50)
    total = totals(pnl([carried], EUR))
    assert not isinstance(total, Missing)
    # 100 × 1.20 earned and 1000 carried, whose rate rose by 0.10.
    assert total.net == 120 + 100
