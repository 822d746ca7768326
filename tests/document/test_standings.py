"""Where each objective stands: its own value, the share of good, the verdict and the budget."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from reporting.document.objectives import (
    COMPOSITE,
    band,
    budget_cells,
    lasts,
    left_of,
    rounded,
    with_standings,
    worst,
)
from reporting.levels import Budget, Share
from reporting.measures.service_levels import OwnedTime, Slices
from reporting.measures.uptime import Planned
from reporting.model import (
    Band,
    Bps,
    Count,
    Duration,
    Missing,
    Money,
    Number,
    Ratio,
    Shown,
    Text,
    Why,
)
from reporting.page import Figure, Section, Verdict
from reporting.periods import Span, day_span, month_span, week_span
from reporting.policy.indicators import RollingWindow, Timeslices

from .days import (
    BAD,
    DAY,
    GAUGE,
    GONE,
    GOOD,
    HOUR,
    LATENCY,
    MINUTE,
    RATE,
    RATIO,
    absent,
    budget,
    counted,
    day,
    figure_of,
    histogram,
    level,
    levels,
    objective,
    rated,
    sealed,
    share,
    stand,
    state,
    table,
    target,
    timed,
    uptime,
    values,
    words,
)

TODAY = day(0)


def ratio(numerator: str | int, denominator: str | int) -> Ratio:
    return Ratio(numerator=Decimal(numerator), denominator=Decimal(denominator))


# What is measured of each kind of indicator ---------------------------------------------------


def test_a_state_is_the_share_of_time_up() -> None:
    # 432 of 86,400 seconds down are exactly 0.5 %.
    days = [sealed(TODAY, {"uptime": uptime(TODAY, target("web", down=432_000))})]
    found = stand(objective("web", state(), "0.995"), days)["web"]
    assert share(found) == Share(Fraction(995, 1000), Fraction(995, 1000))
    assert (found.measured, found.what) == (ratio(995_000, 1_000_000), "availability")
    assert found.verdict is Verdict.MET
    strict = stand(objective("web", state(), "0.995", strict=True), days)["web"]
    assert strict.verdict is Verdict.MISSED
    assert stand(objective("web", state(), "0.9951"), days)["web"].verdict is Verdict.MISSED


def test_unknown_time_of_a_state_leaves_a_band() -> None:
    days = [sealed(TODAY, {"uptime": uptime(TODAY, target("web", down=432_000, lost=432_000))})]
    for goal, verdict in (
        ("0.99", Verdict.MET),
        ("0.992", Verdict.UNKNOWN),
        ("0.996", Verdict.MISSED),
    ):
        found = stand(objective("web", state(), goal), days)["web"]
        assert share(found) == Share(Fraction(990, 1000), Fraction(995, 1000))
        assert found.measured == Band(low=ratio(990_000, 1_000_000), high=ratio(995_000, 1_000_000))
        assert found.verdict is verdict


def test_planned_maintenance_is_no_part_of_a_state() -> None:
    planned = Planned(window_ms=HOUR, down_ms=HOUR)
    web = target("web", down=2 * HOUR).model_copy(update={"planned": planned})
    days = [sealed(TODAY, {"uptime": uptime(TODAY, web)})]
    found = stand(objective("web", state(), "0.95"), days)
    # Of 24 hours one was planned; of the other 23 one was down.
    assert share(found["web"]) == Share(Fraction(22, 23), Fraction(22, 23))


@pytest.mark.parametrize(
    ("of", "good", "shown", "what"),
    [(GOOD, 985, 985, "good of all"), (BAD, 985, 15, "bad of all")],
)
def test_counts_show_what_was_asked_about(of: object, good: int, shown: int, what: str) -> None:
    days = [sealed(TODAY, {"service_levels": levels(TODAY, counted("x", TODAY, good, 1000))})]
    found = stand(objective("x", of, "0.98"), days)["x"]  # type: ignore[arg-type]
    assert (found.measured, found.what) == (ratio(shown, 1000), what)
    assert share(found) == Share(Fraction(985, 1000), Fraction(985, 1000))
    assert found.verdict is Verdict.MET


def test_doubtful_events_are_in_both_bounds() -> None:
    level_ = counted("x", TODAY, 900, 1000, open_=10)
    found = stand(objective("x", GOOD), [sealed(TODAY, {"service_levels": levels(TODAY, level_)})])
    # 890 good and 110 bad at worst, 910 and 90 at best.
    assert share(found["x"]) == Share(Fraction(890, 1000), Fraction(910, 1000))
    assert found["x"].verdict is Verdict.UNKNOWN


BUCKETS = {"0.005": 90, "0.008": 5, "0.01": 4, "+Inf": 1}


@pytest.mark.parametrize(
    ("goal", "measured", "what"),
    [
        # 90 of 100 within 5 ms, 95 within 8 ms, 99 within 10 ms.
        ("0.9", "5", "p90, in the bucket 0 to 5 ms"),
        ("0.95", "8", "p95, in the bucket 5 to 8 ms"),
        ("0.951", "10", "p95.1, in the bucket 8 to 10 ms"),
        ("0.99", "10", "p99, in the bucket 8 to 10 ms"),
        (None, "8", "p95, in the bucket 5 to 8 ms"),
    ],
)
def test_a_latency_is_the_bucket_of_the_promised_percentile(
    goal: str | None, measured: str, what: str
) -> None:
    of = counted("x", TODAY, 95, 100, histogram=histogram(BUCKETS))
    days = [sealed(TODAY, {"service_levels": levels(TODAY, of)})]
    found = stand(objective("x", LATENCY, goal), days)["x"]
    assert (found.measured, found.what) == (Number(value=Decimal(measured), unit="ms"), what)
    assert share(found) == Share(Fraction(95, 100), Fraction(95, 100))


def test_a_percentile_in_the_last_bucket_is_above_its_lower_bound_and_not_absent() -> None:
    of = counted("x", TODAY, 95, 100, histogram=histogram(BUCKETS))
    days = [sealed(TODAY, {"service_levels": levels(TODAY, of)})]
    found = stand(objective("x", LATENCY, "0.999"), days)["x"]
    assert found.verdict is Verdict.MISSED
    assert (found.measured, found.what) == (Text(text="above 10 ms"), "p99.9")


def test_the_buckets_of_a_week_are_added_before_a_percentile_is_told() -> None:
    quick = {"0.005": 900, "0.008": 0, "+Inf": 0}
    slow = {"0.005": 0, "0.008": 30, "+Inf": 20}
    days = [
        sealed(day(n), {"service_levels": levels(day(n), counted("x", day(n), g, t, histogram=h))})
        for n, g, t, h in ((0, 900, 900, histogram(quick)), (1, 30, 50, histogram(slow)))
    ]
    whole = Span("weekly", "two days", "", day(0), day(1))
    found = stand(objective("x", LATENCY, "0.95"), days, span=whole)["x"]
    # 900 of 950 (94.7 %) are within 5 ms, 930 (97.9 %) within 8 ms. The mean of the days' 5 ms and
    # "above 8 ms" would be nonsense.
    assert found.measured == Number(value=Decimal(8), unit="ms")
    assert share(found) == Share(Fraction(930, 950), Fraction(930, 950))
    # The days' shares of 1 and 0.6 have a mean of 0.8, which would be a miss.
    assert found.verdict is Verdict.MET


def test_a_rate_is_events_per_second_and_judged_by_slices() -> None:
    # 288 slices of five minutes; 86,400 s at 60 a second.
    of = rated("x", TODAY, 86_400 * 60, 285, 3)
    days = [sealed(TODAY, {"service_levels": levels(TODAY, of)})]
    promised = objective(
        "x", RATE, "0.99", budgeting=Timeslices(5 * MINUTE, Decimal(1)), unit="ops/s"
    )
    found = stand(promised, days)["x"]
    assert (found.measured, found.what) == (Number(value=Decimal(60), unit="ops/s"), "mean")
    assert share(found) == Share(Fraction(285, 288), Fraction(285, 288))
    assert found.verdict is Verdict.MISSED  # 285 / 288 = 98.96 %
    nameless = stand(objective("x", RATE, "0.98"), days)["x"]
    assert nameless.measured == Number(value=Decimal(60), unit="/s")
    assert nameless.verdict is Verdict.MET


def test_a_gauge_is_its_mean_over_time_and_judged_by_time() -> None:
    of = timed("x", TODAY, "71.23456", good=DAY - 2 * HOUR)
    days = [sealed(TODAY, {"service_levels": levels(TODAY, of)})]
    found = stand(objective("x", GAUGE, "0.9", unit="%"), days)["x"]
    assert (found.measured, found.what) == (Number(value=Decimal("71.235"), unit="%"), "mean")
    assert share(found) == Share(Fraction(22, 24), Fraction(22, 24))


def test_a_share_is_weighted_by_time() -> None:
    time = OwnedTime(
        good_ms=12 * HOUR, bad_ms=12 * HOUR, unknown_ms=0, doubtful_good_ms=Decimal(0),
        doubtful_bad_ms=Decimal(0), share_ms=Decimal(21 * HOUR),
    )  # fmt: skip
    of = level("x", TODAY, "share", time=time, values=values("0.875"))
    days = [sealed(TODAY, {"service_levels": levels(TODAY, of)})]
    found = stand(objective("x", RATIO, "0.875"), days)["x"]
    # Half a day at 1 and half a day at 0.75.
    assert share(found) == Share(Fraction(21, 24), Fraction(21, 24))
    assert found.measured == Number(value=Decimal("0.875"))
    assert found.verdict is Verdict.MET


@pytest.mark.parametrize("kind", [GOOD, GAUGE, RATE, RATIO, state("x")])
def test_what_is_only_tracked_has_neither_verdict_nor_budget(kind: object) -> None:
    facts = {
        "service_levels": levels(TODAY, counted("x", TODAY, 1, 2)),
        "uptime": uptime(TODAY, target("x")),
    }
    found = stand(objective("x", kind, None), [sealed(TODAY, facts)])["x"]  # type: ignore[arg-type]
    assert (found.verdict, found.budget) == (None, None)
    assert budget_cells(found) == (Text(text=""),) * 4


# Figures of the report ------------------------------------------------------------------------


def of_figure(value: Shown, comparator: str, bound: str, goal: str | None = "0.99") -> tuple:
    promised = objective("x", figure_of("some.figure", comparator, bound), goal)
    figures = {"some.figure": Figure(id="some.figure", label="Some", value=value)}
    days = [sealed(TODAY, {})]
    found = stand(promised, days, figures=figures)["x"]
    return found.verdict, found.measured


@pytest.mark.parametrize(
    ("value", "comparator", "bound", "met"),
    [
        (ratio(19, 20), "gt", "95", False),
        (ratio(19, 20), "ge", "95", True),
        (ratio(19, 20), "lt", "95.0001", True),
        (ratio(19, 20), "le", "94.9999", False),
        # 3 USD on 15,000 USD are 2 bps.
        (Bps(cost=Decimal(3), notional=Decimal(15_000)), "lt", "2", False),
        (Bps(cost=Decimal(3), notional=Decimal(15_000)), "le", "2", True),
        (Bps(cost=Decimal(-3), notional=Decimal(15_000)), "lt", "2", True),
        (Money(amount=Decimal("-0.01"), currency="USD"), "ge", "0", False),
        (Count(value=0), "le", "0", True),
        (Number(value=Decimal("29.9"), unit="s"), "lt", "30", True),
        (Duration(ms=30_000), "lt", "30", False),
        (Duration(ms=29_999), "lt", "30", True),
    ],
)
def test_a_figure_is_judged_exactly_in_its_own_unit(
    value: Shown, comparator: str, bound: str, met: bool
) -> None:
    verdict = Verdict.MET if met else Verdict.MISSED
    assert of_figure(value, comparator, bound) == (verdict, value)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        # Nothing happened that could be judged.
        (ratio(0, 0), None),
        (Bps(cost=Decimal(0), notional=Decimal(0)), None),
        (Text(text="no critical alert fired"), None),
        (Missing(why=Why.NO_ORDERS), None),
        # Something may have happened.
        (Missing(why=Why.NO_DATA, detail="of 3 first notifications, 2 are not known"), "unknown"),
        (Missing(why=Why.UNREACHABLE), "unknown"),
        (Missing(why=Why.NOT_MEASURED), "unknown"),
    ],
)
def test_a_figure_without_a_number_is_never_met(value: Shown, verdict: str | None) -> None:
    assert of_figure(value, "lt", "2") == (verdict, value)


@pytest.mark.parametrize(
    ("why", "verdict"),
    [(Why.NO_ORDERS, None), (Why.NO_SESSION, None), (Why.UNREACHABLE, "unknown"),
     (Why.NO_DATA, "unknown")],
)  # fmt: skip
def test_a_figure_of_a_measure_that_is_absent_says_why(why: Why, verdict: str | None) -> None:
    gone = Missing(why=why, detail="because")
    of = objective("x", figure_of("fill_rate.full", "gt", "95"))
    found = stand(of, [sealed(TODAY, {"fill_rate": gone})])["x"]
    assert found.verdict == verdict
    if why is not Why.NO_SESSION:  # which has no fact at all, and the day's own note
        assert found.measured == gone


def test_a_figure_that_is_only_tracked_is_shown_as_it_is() -> None:
    assert of_figure(ratio(1, 3), "lt", "2", goal=None) == (None, ratio(1, 3))


def test_a_figure_that_the_report_does_not_have_is_named() -> None:
    of = figure_of("no.such", "lt", "2")
    found = stand(objective("x", of), [sealed(TODAY, {})])["x"]
    assert found.verdict is Verdict.UNKNOWN
    assert found.measured == Missing(
        why=Why.NOT_MEASURED, detail="the report has no figure no.such"
    )
    assert stand(objective("x", of, None), [sealed(TODAY, {})])["x"].verdict is None


# What is not there ----------------------------------------------------------------------------


def test_no_traffic_is_no_verdict() -> None:
    days = [sealed(TODAY, {"service_levels": levels(TODAY, counted("x", TODAY, 0, 0))})]
    found = stand(objective("x", GOOD), days)["x"]
    assert found.verdict is None
    gone = Missing(why=Why.NO_DATA, detail="no traffic")
    assert (found.measured, found.share, found.budget) == (gone, gone, gone)


def test_a_day_of_nothing_but_maintenance_is_no_verdict_and_one_without_data_is_unknown() -> None:
    planned = Planned(window_ms=DAY, down_ms=DAY)
    idle = target("x", down=DAY).model_copy(update={"planned": planned})
    lost = target("x", lost=DAY).model_copy(update={"no_data": "exclude"})
    for of, verdict in ((idle, None), (lost, Verdict.UNKNOWN)):
        days = [sealed(TODAY, {"uptime": uptime(TODAY, of)})]
        found = stand(objective("x", state("x")), days)["x"]
        assert isinstance(found.share, Missing)
        assert found.verdict is verdict


def test_no_traffic_on_a_day_without_data_is_unknown() -> None:
    nothing = counted("x", TODAY, 0, 0, unknown=DAY, no_data="exclude")
    days = [sealed(TODAY, {"service_levels": levels(TODAY, nothing)})]
    assert stand(objective("x", GOOD), days)["x"].verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("of", [GOOD, GAUGE, state("x")])
def test_a_source_that_was_away_is_unknown_and_says_why(of: object) -> None:
    days = [sealed(TODAY, {"uptime": GONE, "service_levels": GONE})]
    found = stand(objective("x", of), days)["x"]  # type: ignore[arg-type]
    assert found.verdict is Verdict.UNKNOWN
    assert (found.measured, found.share, found.budget) == (GONE, GONE, GONE)


def test_an_objective_that_failed_alone_is_unknown_and_says_why() -> None:
    why = Missing(why=Why.NO_DATA, detail="HTTP 422 after 3 tries")
    facts = levels(TODAY, absent("x", TODAY, why), counted("y", TODAY, 1, 1))
    found = stand(
        [objective("x", GOOD), objective("y", GOOD)], [sealed(TODAY, {"service_levels": facts})]
    )
    assert found["x"].measured == why
    assert found["x"].verdict is Verdict.UNKNOWN
    assert found["y"].verdict is Verdict.MET


def test_an_objective_that_no_day_knows_is_not_measured() -> None:
    days = [sealed(TODAY, {"service_levels": levels(TODAY), "uptime": uptime(TODAY)})]
    for of in (GOOD, state("x")):
        found = stand(objective("x", of), days)["x"]
        assert found.verdict is Verdict.UNKNOWN
        assert isinstance(found.measured, Missing)
        assert found.measured.why is Why.NOT_MEASURED


WEEK = week_span(TODAY)


def week(
    *good: int | Missing | None, of: str = "state"
) -> list[object]:  # a number: hours of the day that were good; None: the day is not sealed
    days: list[object] = []
    for n, hours in enumerate(good):
        if hours is None:
            continue
        facts: dict[str, object] = {}
        if isinstance(hours, Missing):
            facts = {"uptime": hours, "service_levels": hours}
        elif of == "state":
            facts = {"uptime": uptime(day(n), target("x", down=(24 - hours) * HOUR))}
        else:
            facts = {"service_levels": levels(day(n), counted("x", day(n), hours * 10, 240))}
        days.append(sealed(day(n), facts))  # type: ignore[arg-type]
    return days


@pytest.mark.parametrize("of", ["state", "counts"])
@pytest.mark.parametrize("gone", [None, GONE], ids=["not sealed", "source away"])
def test_a_day_that_nobody_saw_may_have_been_anything(gone: Missing | None, of: str) -> None:
    kind = state("x") if of == "state" else GOOD
    perfect = week(24, 24, 24, 24, 24, 24, gone, of=of)
    # At worst 6/7 = 85.7 %, at best all of it.
    for goal, verdict in (("0.85", Verdict.MET), ("0.9", Verdict.UNKNOWN)):
        found = stand(objective("x", kind, goal), perfect, span=WEEK)["x"]  # type: ignore[arg-type]
        assert found.verdict is verdict, goal
    # Half of each of six days: at best (6 · 0.5 + 1)/7 = 57.1 %.
    half = week(12, 12, 12, 12, 12, 12, gone, of=of)
    for goal, verdict in (
        ("0.58", Verdict.MISSED),
        ("0.55", Verdict.UNKNOWN),
        ("0.42", Verdict.MET),
    ):
        found = stand(objective("x", kind, goal), half, span=WEEK)["x"]  # type: ignore[arg-type]
        assert found.verdict is verdict, goal


@pytest.mark.parametrize("gone", [None, GONE], ids=["not sealed", "source away"])
def test_a_share_over_a_week_that_lacks_a_day_is_neither_met_nor_missed(
    gone: Missing | None,
) -> None:
    of = objective("x", figure_of("fill_rate.full", "gt", "95"))
    idle = Missing(why=Why.NO_ORDERS)  # nothing was ordered on these days: that is no gap
    whole = [sealed(day(n), {"fill_rate": idle}) for n in range(7)]
    less = whole[:6] + ([] if gone is None else [sealed(day(6), {"fill_rate": gone})])
    good = {"fill_rate.full": Figure(id="fill_rate.full", label="", value=ratio(1, 1))}
    assert stand(of, whole, span=WEEK, figures=good)["x"].verdict is Verdict.MET
    assert stand(of, less, span=WEEK, figures=good)["x"].verdict is Verdict.UNKNOWN
    bad = {"fill_rate.full": Figure(id="fill_rate.full", label="", value=ratio(1, 2))}
    assert stand(of, whole, span=WEEK, figures=bad)["x"].verdict is Verdict.MISSED
    assert stand(of, less, span=WEEK, figures=bad)["x"].verdict is Verdict.UNKNOWN


# Composites -----------------------------------------------------------------------------------


def parts(**given: object) -> list[object]:
    made = {"composite": True, "slo": "the-whole", **given}
    return [
        objective("the_whole_1", state("a"), "0.9", weight=Decimal(3), title="Whole: a", **made),
        objective("the_whole_2", state("b"), "0.5", weight=Decimal(1), title="Whole: b", **made),
    ]


def test_a_composite_is_weighed_as_its_goal_is() -> None:
    facts = uptime(
        TODAY, target("the_whole_1", down=3 * HOUR), target("the_whole_2", down=6 * HOUR)
    )
    found = stand(parts(), [sealed(TODAY, {"uptime": facts})])  # type: ignore[arg-type]
    assert list(found) == ["the_whole"]
    whole = found["the_whole"]
    # Shares 7/8 and 3/4, weights 3 and 1; the goal (3 · 0.9 + 1 · 0.5)/4 = 0.8.
    mean = (3 * Fraction(7, 8) + Fraction(3, 4)) / 4
    assert share(whole) == Share(mean, mean)
    assert whole.objective.goal == Decimal("0.8")
    assert (whole.verdict, whole.what, whole.objective.title) == (
        Verdict.MET,
        COMPOSITE,
        "Whole",
    )
    # One of March's 31 days at a loss of 1 - mean, of an allowed 0.2.
    left = 1 - (1 - mean) * Fraction(1, 31) / Fraction(2, 10)
    assert (budget(whole).left_low, budget(whole).left_high) == (left, left)


def test_a_composite_reads_the_objective_that_watches_the_same_series() -> None:
    alone = objective("a", state("a"), "0.9")
    facts = uptime(TODAY, target("a", down=6 * HOUR), target("the_whole_2"))
    found = stand([alone, *parts()], [sealed(TODAY, {"uptime": facts})])  # type: ignore[list-item]
    mean = (3 * Fraction(3, 4) + 1) / 4
    assert share(found["the_whole"]) == Share(mean, mean)
    assert list(found) == ["a", "the_whole"]


def test_a_composite_without_one_part_is_unknown() -> None:
    facts = uptime(TODAY, target("the_whole_1"))
    found = stand(parts(), [sealed(TODAY, {"uptime": facts})])["the_whole"]  # type: ignore[arg-type]
    assert found.verdict is Verdict.UNKNOWN
    assert isinstance(found.measured, Missing) and isinstance(found.budget, Missing)


def test_a_composite_of_a_week_that_lacks_a_day_is_unknown() -> None:
    days = [
        sealed(day(n), {"uptime": uptime(day(n), target("the_whole_1"), target("the_whole_2"))})
        for n in range(6)
    ]
    # All up on six of seven days: at least 6/7 = 85.7 %; the goal is 80 % or, below, 90 %.
    assert stand(parts(), days, span=WEEK)["the_whole"].verdict is Verdict.MET  # type: ignore[arg-type]
    dearer = [objective(f"the_whole_{n}", state(x), "0.9", composite=True, slo="the-whole")
              for n, x in ((1, "a"), (2, "b"))]  # fmt: skip
    assert stand(dearer, days, span=WEEK)["the_whole"].verdict is Verdict.UNKNOWN


# Budgets --------------------------------------------------------------------------------------


def states(hours_down: dict[int, int], id: str = "x") -> list[object]:
    """Sealed days by offset from Monday."""
    return [
        sealed(day(n), {"uptime": uptime(day(n), target(id, down=h * HOUR))})
        for n, h in hours_down.items()
    ]


def test_the_budget_is_of_the_objectives_own_window() -> None:
    # 1 and 2 March of 31 days; 12 and 6 hours of 48 down, of an allowed tenth.
    found = stand(
        objective("x", state("x"), "0.9"),
        states({0: 6}),  # type: ignore[arg-type]
        before=states({-2: 24, -1: 12}),  # type: ignore[arg-type]
    )["x"]
    left = 1 - Fraction(12 + 6, 48) * Fraction(2, 31) / Fraction(1, 10)
    of = budget(found)
    assert (of.first, of.last, of.covered, of.elapsed) == (day(-1), date(2026, 3, 31), 2, 2)
    assert (of.left_low, of.left_high) == (left, left)
    # February's day of nothing but outage is not in it, and the burn rate is of 2 March alone.
    assert (of.burn_low, of.burn_high) == (Fraction(6, 24) * 10, Fraction(6, 24) * 10)
    # What is left lasts left · 31 / 2.5 days at that rate.
    days = left * 31 / Fraction(5, 2)
    assert 9 < days < 10 and of.exhausted == day(10)


def test_a_rolling_window_reaches_back_before_the_period() -> None:
    found = stand(
        objective("x", state("x"), "0.9", window=RollingWindow(4)),
        states({0: 1}),  # type: ignore[arg-type]
        before=states({-4: 24, -3: 2, -2: 3, -1: 4}),  # type: ignore[arg-type]
    )["x"]
    of = budget(found)
    assert (of.first, of.last, of.covered) == (day(-3), day(0), 4)
    assert of.left_low == 1 - Fraction(2 + 3 + 4 + 1, 96) * 10


def test_days_of_the_window_that_are_not_sealed_are_not_counted_as_good() -> None:
    """Two of four days are known: what is left lies between those alone and all the others bad."""
    found = stand(
        objective("x", state("x"), "0.5", window=RollingWindow(4)),
        states({0: 6}),  # type: ignore[arg-type]
        before=states({-3: 6}),  # type: ignore[arg-type]
    )["x"]
    of = budget(found)
    assert of.covered == 2
    assert of.left_high == 1 - Fraction(6 + 6, 96) * 2


def test_unknown_time_leaves_the_budget_between_two_bounds() -> None:
    web = uptime(TODAY, target("x", down=6 * HOUR, lost=6 * HOUR))
    of = budget(
        stand(
            objective("x", state("x"), "0.5", window=RollingWindow(1)),
            [sealed(TODAY, {"uptime": web})],
        )["x"]
    )
    assert (of.left_low, of.left_high) == (1 - Fraction(12, 24) * 2, 1 - Fraction(6, 24) * 2)
    assert (of.burn_low, of.burn_high) == (Fraction(6, 24) * 2, Fraction(12, 24) * 2)
    assert lasts(of) == "may be spent"


@pytest.mark.parametrize(
    ("no_data", "covered", "left"),
    [
        # Half of the second day is bad; the first is bad or not, bad, or has no part in it.
        ("flag", 2, (1 - Fraction(3, 2) / 4 * 2, 1 - Fraction(1, 2) / 4 * 2)),
        ("down", 2, (1 - Fraction(3, 2) / 4 * 2, 1 - Fraction(3, 2) / 4 * 2)),
        ("exclude", 1, (1 - Fraction(1, 2) / 4 * 2, 1 - Fraction(1, 2) / 4 * 2)),
    ],
)
def test_a_day_on_which_one_objective_failed_is_judged_by_its_policy(
    no_data: str, covered: int, left: tuple[Fraction, Fraction]
) -> None:
    why = Missing(why=Why.NO_DATA, detail="HTTP 422 after 3 tries")
    failed = absent("x", day(-1), why).model_copy(update={"no_data": no_data})
    half = counted("x", TODAY, 50, 100, no_data=no_data)
    found = stand(
        objective("x", GOOD, "0.5", window=RollingWindow(4)),
        [sealed(TODAY, {"service_levels": levels(TODAY, half)})],
        before=[sealed(day(-1), {"service_levels": levels(day(-1), failed)})],
    )["x"]
    of = budget(found)
    assert of.covered == covered
    assert (of.left_low, of.left_high) == left


def test_a_week_is_judged_by_itself_and_its_budget_by_the_month() -> None:
    # The week is perfect; the month's only other day was down for all of it.
    found = stand(
        objective("x", state("x"), "0.99"),
        states(dict.fromkeys(range(7), 0)),  # type: ignore[arg-type]
        before=states({-1: 24}),  # type: ignore[arg-type]
        span=WEEK,
    )["x"]
    assert found.verdict is Verdict.MET
    # 1 of 8 covered days bad, over 8 of 31 days of window, of an allowed hundredth.
    assert budget(found).left_high == 1 - Fraction(1, 8) * Fraction(8, 31) * 100
    assert lasts(budget(found)) == "spent"


def test_the_last_day_of_a_months_report_closes_its_window() -> None:
    days = [sealed(day(n), {"uptime": uptime(day(n), target("x"))}) for n in range(-1, 30)]
    found = stand(objective("x", state("x"), "0.9"), days, span=month_span(TODAY))["x"]
    of = budget(found)
    assert (of.covered, of.elapsed, of.left_low, of.burn_high) == (31, 31, 1, 0)
    assert lasts(of) == "lasts"
    assert found.verdict is Verdict.MET


def made_budget(**given: object) -> Budget:
    fields: dict[str, object] = {
        "first": day(0), "last": day(29), "elapsed": 10, "covered": 10, "left_low": Fraction(1, 2),
        "left_high": Fraction(1, 2), "burn_low": Fraction(1), "burn_high": Fraction(1),
        "exhausted": None,
    }  # fmt: skip
    return Budget(**{**fields, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"left_low": Fraction(-2), "left_high": Fraction(-1), "exhausted": day(9)}, "spent"),
        ({"left_low": Fraction(-2), "left_high": Fraction(0), "exhausted": day(9)}, "spent"),
        ({"left_low": Fraction(0), "left_high": Fraction(1), "exhausted": day(9)}, "may be spent"),
        ({}, "lasts"),
        ({"exhausted": date(2026, 3, 19)}, "2026-03-19"),
    ],
)
def test_how_long_a_budget_lasts_is_one_word_or_a_day(given: dict[str, object], said: str) -> None:
    assert lasts(made_budget(**given)) == said


def test_bounds_are_rounded_away_from_each_other() -> None:
    third = Fraction(1, 3)
    assert band(Share(third, third), places=2) == Band(low=ratio(33, 100), high=ratio(34, 100))
    assert band(Share(Fraction(1, 4), Fraction(1, 4)), places=2) == ratio(25, 100)
    assert left_of(made_budget(left_low=-third, left_high=-third)) == Band(
        low=ratio(-3334, 10_000), high=ratio(-3333, 10_000)
    )
    assert rounded(third, "ROUND_FLOOR") == Decimal("33.333")
    assert rounded(third, "ROUND_CEILING") == Decimal("33.334")


def test_a_burn_rate_is_never_rounded_to_look_slower() -> None:
    days = [sealed(TODAY, {"uptime": uptime(TODAY, target("x", down=HOUR))})]
    found = stand(objective("x", state("x"), "0.9"), days)["x"]
    _, burn, _, known = budget_cells(found)
    assert known == Text(text="1 of 2")
    # (1/24)/0.1 = 0.41666…
    assert burn == Text(text="0.41 to 0.42")
    even = [sealed(TODAY, {"uptime": uptime(TODAY, target("x", down=6 * HOUR))})]
    assert budget_cells(stand(objective("x", state("x"), "0.9"), even)["x"])[1] == Number(
        value=Decimal("2.50")
    )


# The section ----------------------------------------------------------------------------------


def test_every_promise_is_counted_and_every_objective_has_its_row() -> None:
    facts = {
        "uptime": uptime(TODAY, target("web", down=HOUR)),
        "service_levels": levels(
            TODAY,
            counted("kept", TODAY, 99, 100),
            counted("broken", TODAY, 1, 100),
            counted("idle", TODAY, 0, 0),
            counted("seen", TODAY, 5, 10),
        ),
    }
    objectives = [
        objective("web", state(), "0.99"),
        objective("kept", GOOD),
        objective("broken", GOOD, title="The broken one"),
        objective("idle", GOOD, system="other_shop"),
        objective("seen", GOOD, None),
        objective("lost", GOOD),
    ]
    found = stand(objectives, [sealed(TODAY, facts)])
    bare = Section(id="service_levels", title="Service levels")
    made = with_standings(bare, list(found.values()))
    # web, broken: missed; kept: met; lost: unknown; idle and seen have no verdict.
    assert made.summary == "1 of 4 promises kept; missed: Web, The broken one."
    kept = made.figures[0]
    # Of those that can be judged; how many can not is said beside it.
    assert (kept.id, kept.value) == ("service_levels.kept", ratio(1, 3))
    assert kept.note == "1 kept, 2 missed, 1 not known"
    assert [(f.id, f.verdict) for f in made.figures[1:]] == [
        ("service_levels.broken", Verdict.MISSED),
        ("service_levels.lost", Verdict.UNKNOWN),
    ]
    assert made.verdict is Verdict.MISSED
    shop = table(made, "objectives_shop")
    assert [words(r["objective"]) for r in shop] == ["Kept", "The broken one", "Seen", "Lost"]
    assert [words(r["verdict"]) for r in shop] == ["met", "missed", "", "unknown"]
    (other,) = table(made, "objectives_other_shop")
    assert other["measured"] == Missing(why=Why.NO_DATA, detail="no traffic")
    assert words(other["verdict"]) == ""
    assert [words(r["promise"]) for r in shop] == [
        "at least 90 %",
        "at least 90 %",
        "tracked",
        "at least 90 %",
    ]


def test_promises_that_nobody_can_judge_are_neither_kept_nor_broken() -> None:
    found = stand([objective("x", GOOD)], [sealed(TODAY, {"service_levels": GONE})])
    made = with_standings(Section(id="service_levels", title=""), list(found.values()))
    assert made.summary == "0 of 1 promises kept."
    assert made.figures[0].value == Missing(why=Why.NO_DATA, detail="no promise can be judged")
    assert made.verdict is Verdict.UNKNOWN


def test_the_worst_verdict_speaks_for_all() -> None:
    met, missed, unknown = Verdict.MET, Verdict.MISSED, Verdict.UNKNOWN
    assert worst([met, None, unknown]) is unknown
    assert worst([met, unknown, missed]) is missed
    assert worst([met, None]) is met
    assert worst([None]) is None


def test_slices_without_traffic_are_in_no_share() -> None:
    slices = Slices(good=90, bad=10, empty=188, unknown=0, share_sum=Decimal(90))
    of = level(
        "x", TODAY, "counts", budgeting="timeslices", slice_ms=5 * MINUTE, slices=slices,
        events=counted("x", TODAY, 99, 100).events,
    )  # fmt: skip
    days = [sealed(TODAY, {"service_levels": levels(TODAY, of)})]
    found = stand(
        objective("x", GOOD, "0.9", budgeting=Timeslices(5 * MINUTE, Decimal("0.95"))), days,
        span=day_span(TODAY),
    )["x"]  # fmt: skip
    assert share(found) == Share(Fraction(9, 10), Fraction(9, 10))
    assert found.verdict is Verdict.MET
