"""What is compared over days: use of resources, watched statistics, and improvement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from reporting.analysis.change import Day
from reporting.analysis.shift import Watched
from reporting.analysis.trend import Resource, Use
from reporting.document import Cited
from reporting.document.analyses import Levels, kpis, resources, watched
from reporting.measures.alerts import Opened
from reporting.measures.slippage import SlippageCell, SlippageFact
from reporting.model import Missing, Ratio, Value, Why
from reporting.periods import Span, day_span, week_span
from reporting.policy import Policy, parse_policy
from reporting.policy.indicators import Objective
from reporting.policy.operations import Baseline, Improvement

from .days import (
    GAUGE,
    GONE,
    GOOD,
    HOUR,
    LATENCY,
    MINUTE,
    RATE,
    SECOND,
    absent,
    alerts,
    counted,
    day,
    facts_of,
    histogram,
    incident,
    incidents,
    level,
    levels,
    ms,
    objective,
    rated,
    sealed,
    timed,
    values,
)

TODAY = day(0)
CONFIG = Path(__file__).parents[2] / "config"


def seen(at: date, *found: object) -> Cited:
    return sealed(at, {"service_levels": levels(at, *found)})  # type: ignore[arg-type]


# Resources ------------------------------------------------------------------------------------


def used(
    days: Sequence[Cited], before: Sequence[Cited] = (), id: str = "capacity_disk"
) -> Resource:
    of = objective(id, GAUGE, None, title="Disk", allocated=Decimal(500), unit="GB")
    plain = objective("cpu", GAUGE, None)
    levels_ = Levels(facts_of(days, before))
    (found,) = resources([plain, of], levels_, day_span(days[-1].sealed.day))
    return found


def test_a_resource_is_what_has_an_allocation() -> None:
    found = used([seen(TODAY, timed("capacity_disk", TODAY, "385.4321"))])
    assert (found.id, found.title, found.unit, found.allocated) == ("disk", "Disk", "GB", 500)
    ((at, use),) = found.days
    assert at == TODAY and isinstance(use, Use)
    assert use.mean == Decimal("385.4")  # four significant digits
    assert use.highest == Decimal("385.4321")
    assert abs(use.p95 / Decimal("385.4321") - 1) <= Decimal("0.005")


def test_the_mean_of_a_use_is_weighted_by_time_and_its_p95_is_a_level_of_the_day() -> None:
    # 23 hours at 100 and one at 400: 4.2 % of the day is above, so the p95 is 100.
    both = values("100").model_copy(
        update={
            "weighted_sum": Decimal(100 * 23 * HOUR + 400 * HOUR), "highest": Decimal(400),
            "sketch": {**dict.fromkeys(values("100").sketch, 23 * HOUR),
                       **dict.fromkeys(values("400").sketch, HOUR)},
        }
    )  # fmt: skip
    found = used([seen(TODAY, timed("capacity_disk", TODAY, "1").model_copy(
        update={"values": both}))])  # fmt: skip
    ((_, use),) = found.days
    assert isinstance(use, Use)
    assert use.mean == Decimal("112.5")  # (100 · 23 + 400)/24
    assert abs(use.p95 - 100) <= Decimal("0.5")
    assert use.highest == 400


def test_each_day_has_its_use_or_the_reason_why_not() -> None:
    why = Missing(why=Why.EMPTY, detail="no series")
    before = [
        seen(day(-4), timed("capacity_disk", day(-4), "1")),
        sealed(day(-3), {"service_levels": GONE}),
        seen(day(-2), absent("capacity_disk", day(-2), why, "threshold")),
        seen(day(-1)),
    ]
    found = used([seen(TODAY, timed("capacity_disk", TODAY, "2"))], before)
    assert [at for at, _ in found.days] == [day(n) for n in range(-4, 1)]
    first, *gone, last = (use for _, use in found.days)
    assert isinstance(first, Use) and first.mean == 1
    assert isinstance(last, Use) and last.mean == 2
    assert gone == [GONE, why, Missing(why=Why.NOT_MEASURED, detail="no objective on this day")]


def test_a_trend_is_drawn_over_ninety_days() -> None:
    before = [seen(day(n), timed("capacity_disk", day(n), "1")) for n in (-90, -89, -1)]
    found = used([seen(TODAY, timed("capacity_disk", TODAY, "1"))], before)
    assert [at for at, _ in found.days] == [day(-89), day(-1), TODAY]


# Watched --------------------------------------------------------------------------------------


def watch(
    of: Objective, days: Sequence[Cited], before: Sequence[Cited] = (), span: Span | None = None
) -> Watched:
    over = span or day_span(days[-1].sealed.day)
    (found,) = watched([objective("other", GOOD), of], Levels(facts_of(days, before)), over)
    return found


def slow(at: date, **counts: int) -> Cited:
    made = histogram({name.replace("_", ".").lstrip("le"): n for name, n in counts.items()})
    total = sum(counts.values())
    return seen(at, counted("x", at, total, total, histogram=made))


LATE = objective("x", LATENCY, watch="latency", unit="ms")


@pytest.mark.parametrize(
    ("counts", "p95_ms"),
    [
        # The 95th of 100 is the 15th of the 20 in the bucket from 10 to 100 ms.
        ({"0.005": 50, "0.01": 30, "0.1": 20, "+Inf": 0}, 10 + 90 * 15 / 20),
        # The 190th of 200 is the 90th of the 100 in the bucket from 5 to 10 ms.
        ({"0.005": 100, "0.01": 100, "0.1": 0, "+Inf": 0}, 5 + 5 * 90 / 100),
        # All in the first bucket, which begins at 0.
        ({"0.005": 10, "0.01": 0, "+Inf": 0}, 5 * 9.5 / 10),
        # Exactly at an edge.
        ({"0.005": 95, "0.01": 5, "+Inf": 0}, 5),
        # In the last bucket it is only known to be above 10 ms.
        ({"0.005": 50, "0.01": 0, "+Inf": 50}, 10),
    ],
)
def test_a_watched_latency_is_interpolated_within_its_bucket(
    counts: dict[str, int], p95_ms: float
) -> None:
    total = sum(counts.values())
    one = seen(TODAY, counted("x", TODAY, total, total, histogram=histogram(counts)))
    found = watch(LATE, [one])
    (point,) = found.period
    assert point.value == Decimal(str(p95_ms))
    assert (found.kind, found.unit, found.trailing) == ("latency", "ms", ())


def test_a_latency_without_observations_or_buckets_is_missing() -> None:
    empty = seen(TODAY, counted("x", TODAY, 0, 0, histogram=histogram({"0.1": 0, "+Inf": 0})))
    (point,) = watch(LATE, [empty]).period
    assert isinstance(point.value, Missing) and point.value.why is Why.NO_DATA
    bare = seen(TODAY, counted("x", TODAY, 1, 1))
    (point,) = watch(LATE, [bare]).period
    assert point.value == Missing(why=Why.NOT_MEASURED, detail="no histogram")


def test_a_latency_that_is_a_gauge_is_watched_by_its_p95_in_its_own_unit() -> None:
    of = objective("x", GAUGE, watch="latency", unit="s")
    found = watch(of, [seen(TODAY, timed("x", TODAY, "0.875"))])
    (point,) = found.period
    assert isinstance(point.value, Decimal)
    assert abs(point.value / Decimal("0.875") - 1) <= Decimal("0.005")
    assert found.unit == "s"


def test_throughput_is_events_per_second_of_the_time_that_is_known() -> None:
    of = objective("x", RATE, watch="throughput", unit="/s")
    busy = rated("x", TODAY, 12 * 3600 * 50, 144, 0, unknown_ms=12 * HOUR)
    found = watch(of, [seen(TODAY, busy)])
    assert [p.value for p in found.period] == [50]
    assert (found.kind, found.unit) == ("throughput", "/s")


def test_throughput_of_counted_events_is_not_in_milliseconds() -> None:
    of = objective("x", LATENCY, watch="throughput", unit="/s")
    found = watch(of, [seen(TODAY, counted("x", TODAY, 1, 86_400 * 2))])
    assert ([p.value for p in found.period], found.unit) == ([2], "/s")


def test_the_period_is_compared_with_the_four_weeks_before_it() -> None:
    of = objective("x", RATE, watch="throughput")
    made = {n: seen(day(n), rated("x", day(n), 86_400, 288, 0)) for n in (-29, -28, -1, 0, 3, 6)}
    made[-2] = sealed(day(-2), {"service_levels": GONE})
    before = [made[n] for n in (-29, -28, -2, -1)]
    found = watch(of, [made[n] for n in (0, 3, 6)], before, week_span(TODAY))
    assert [(p.day, p.value) for p in found.trailing] == [
        (day(-28), 1), (day(-2), GONE), (day(-1), 1),
    ]  # fmt: skip
    assert [p.day for p in found.period] == [day(0), day(3), day(6)]


# Improvement ----------------------------------------------------------------------------------


def catalogue() -> Policy:
    def text(name: str) -> str:
        return (CONFIG / name).read_text("utf-8")

    files = {f.name: f.read_text("utf-8") for f in (CONFIG / "objectives").glob("*.yaml")}
    return parse_policy(text("policy.toml"), files, text("operations.toml"))


SHIPPED = catalogue()


def cell(cost: str, notional: str, currency: str = "USD") -> SlippageCell:
    return SlippageCell(
        strategy="s", agent="a", account="c", instrument="i", symbol="i", currency=currency,
        venue="v", fills=1, fills_covered=1, notional=Decimal(notional), cost=Decimal(cost),
        arrival_notional=Decimal(notional),
    )  # fmt: skip


def everything(at: date) -> dict[str, Value | Missing]:
    """A day on which everything that improvement is measured by was measured."""
    quick = counted(
        "order_latency", at, 1_000, 1_000, histogram=histogram({"0.01": 1_000, "+Inf": 0}, "4.5")
    )
    fired = alerts(at, var_breach=[ms(at) + HOUR])
    told = Opened(alert="var_breach", incidents=1, false_positives=1, unsaid=0, levels=(0, 0, 0))
    answered = incident(
        "I-1", "risk", ms(at) + HOUR + 20 * SECOND, ms(at) + 3 * HOUR, alert="var_breach",
        acknowledged_ms=ms(at) + HOUR + 5 * MINUTE, false_positive=True,
    )  # fmt: skip
    return {
        "service_levels": levels(at, quick, timed("capacity_cpu", at, "3.25")),
        "slippage": SlippageFact(cells=(cell("3", "20000"), cell("9", "10000", "EUR"))),
        "alerts": fired.model_copy(update={"incidents": (told,)}),
        "incidents": incidents(at, answered),
    }


#: Numerator over denominator of that day.
DAILY = {
    "execution_speed": Fraction(1_000) / Fraction("4.5"),  # one over the mean of 4.5 ms
    "slippage": Fraction(3 * 10_000, 20_000),  # bps, of USD only
    "error_detection_time": Fraction(20),  # seconds
    "system_reliability": Fraction(1),  # one over the number of incidents
    "incident_response_time": Fraction(5 * 60 - 20),  # seconds
    "issue_resolution": 1 / Fraction(2 * 3600 - 20),  # one over the time to resolve
    "false_positive_alerts": Fraction(1),
    "resource_utilisation": Fraction("3.25") / 8,  # of eight cores
}


def improvements(
    goals: Sequence[Improvement], days: Sequence[Cited], before: Sequence[Cited] = (), *,
    span: Span | None = None,
) -> dict[str, tuple[tuple[Day, ...] | Missing, tuple[Day, ...] | Missing]]:  # fmt: skip
    facts = facts_of(days, before)
    over = span or week_span(TODAY)
    found = kpis(goals, SHIPPED.objectives, facts, Levels(facts), over)
    return {k.id: (k.baseline, k.now) for k in found}


def test_every_goal_with_a_figure_has_daily_values_and_every_other_one_its_reason() -> None:
    goals = SHIPPED.operations.improvements
    found = improvements(goals, [sealed(TODAY, everything(TODAY))])
    values_: dict[str, Fraction | None] = {}
    for id, (_, now) in found.items():
        if isinstance(now, Missing):
            continue
        ((at, value),) = now
        assert at == TODAY
        assert isinstance(value, Ratio), f"{id}: {value}"
        values_[id] = value.fraction
    assert values_ == DAILY
    reasons = {g.id: g.reason for g in goals if g.reason}
    assert set(reasons) | set(DAILY) == set(found)
    for id, reason in reasons.items():
        gone = Missing(why=Why.NOT_MEASURED, detail=reason)
        assert found[id] == (gone, gone)


def goal(figure: str, **given: object) -> Improvement:
    fields: dict[str, object] = {"id": "g", "goal_pct": Decimal(-10), "figure": figure, **given}
    return Improvement(**fields)  # type: ignore[arg-type]


FIRST, LAST = day(-20), day(-10)
BASELINE = Baseline(first=FIRST, last=LAST)


def test_a_baseline_has_its_own_days_and_now_is_the_period() -> None:
    before = [sealed(day(n), everything(day(n))) for n in (-21, -20, -15, -10, -9, -1)]
    days = [sealed(day(n), everything(day(n))) for n in (0, 6)]
    found = improvements([goal("incidents.count", baseline=BASELINE)], days, before)["g"]
    assert [[at for at, _ in part] for part in found if not isinstance(part, Missing)] == [
        [day(-20), day(-15), day(-10)],
        [day(0), day(6)],
    ]


def test_without_a_baseline_or_its_days_there_is_a_reason() -> None:
    days = [sealed(TODAY, everything(TODAY))]
    none, _ = improvements([goal("incidents.count")], days)["g"]
    assert isinstance(none, Missing)
    assert "no baseline period is configured" in none.detail
    lost, _ = improvements([goal("incidents.count", baseline=BASELINE)], days)["g"]
    assert lost == Missing(why=Why.NOT_SEALED, detail=f"no day from {FIRST} to {LAST} is sealed")


@pytest.mark.parametrize("figure", ["pnl.net", "capacity.gpu", "weather", "uptime.worst"])
def test_a_figure_without_daily_values_is_named(figure: str) -> None:
    _, now = improvements([goal(figure)], [sealed(TODAY, everything(TODAY))])["g"]
    assert now == Missing(why=Why.NOT_MEASURED, detail=f"{figure} has no daily values")


@pytest.mark.parametrize(
    ("figure", "facts"),
    [
        ("slippage.CHF", {}),
        ("slippage.USD", {"slippage": Missing(why=Why.NO_TRADES)}),
        ("service_levels.order_latency", {"service_levels": GONE}),
        ("service_levels.nothing_such", {}),
        ("alerts.response_s", {"alerts": alerts(TODAY, var_breach=[])}),
        ("alerts.response_s", {"alerts": GONE}),
        ("incidents.mtta", {"incidents": incidents(TODAY)}),
        ("incidents.unheard_of", {}),
        ("capacity.cpu", {"service_levels": levels(TODAY)}),
    ],
)
def test_a_day_without_the_figure_is_missing_and_not_zero(
    figure: str, facts: dict[str, Value | Missing]
) -> None:
    days = [sealed(TODAY, {**everything(TODAY), **facts})]
    for inverse in (False, True):
        _, now = improvements([goal(figure, inverse=inverse)], days)["g"]
        assert not isinstance(now, Missing)
        ((_, value),) = now
        assert isinstance(value, Missing), value


def test_a_latency_without_a_sum_of_what_was_observed_has_no_mean() -> None:
    """Its histogram's total is 0 where there is no _sum series: a mean of 0 s would be a lie."""
    bare = counted("order_latency", TODAY, 9, 9, histogram=histogram({"0.01": 9, "+Inf": 0}))
    days = [seen(TODAY, bare)]
    _, now = improvements([goal("service_levels.order_latency")], days)["g"]
    assert not isinstance(now, Missing)
    ((_, value),) = now
    assert isinstance(value, Missing), value


def test_a_level_of_another_kind_has_no_mean_latency() -> None:
    days = [seen(TODAY, timed("order_latency", TODAY, "1"), level("x", TODAY, "counts"))]
    _, now = improvements([goal("service_levels.order_latency")], days)["g"]
    assert not isinstance(now, Missing)
    assert isinstance(now[0][1], Missing)


def test_levels_are_read_by_day_from_a_first_one_on() -> None:
    cited = [seen(day(n), counted("x", day(n), n + 9, 10)) for n in (-2, -1)]
    found = Levels(facts_of([seen(TODAY)], cited)).of("x", day(-1))
    assert [at for at, _ in found] == [day(-1), TODAY]
    first, last = (x for _, x in found)
    assert not isinstance(first, Missing) and first.events is not None
    assert first.events.good == 8
    assert last == Missing(why=Why.NOT_MEASURED, detail="no objective on this day")
    why = Missing(why=Why.EMPTY, detail="no series")
    failed = facts_of([seen(TODAY, absent("x", TODAY, why))])
    assert Levels(failed).of("x", TODAY) == [(TODAY, why)]
