"""Service levels from drawn histories: counters, values and shares whose truth is known."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.measures import Context
from reporting.measures.service_levels import (
    SERVICE_LEVELS,
    Doubt,
    Histogram,
    Level,
    ServiceLevelsFact,
    Stats,
    histogram_mean,
    mean_rate_per_s,
    merge,
    of_day,
    percentile,
    quantile_estimate,
    section,
    share_of,
    sketch_key,
    values_stats,
)
from reporting.model import Band, Coverage, Frame, Missing, Why, Window
from reporting.periods import TradingDay, day_span, week_span

TAU = 10_000
START = 1_762_000_000_000
MARGIN = 600_000
NO_COVERAGE = Coverage(source="prometheus", query="drawn", query_digest="", rows=0)
ZERO = Decimal(0)
Samples = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Line:
    """One drawn series, with what the source would know of it."""

    role: str
    samples: Samples
    le: str = ""
    tau: int = TAU
    clean: bool = False
    seen_before: bool = True
    up_before: bool = False
    labels: Mapping[str, str] = field(default_factory=lambda: {"job": "a", "instance": "a:1"})


def objective(**given: Any) -> dict[str, Any]:
    """A row of ``level_queries``."""
    plainest = {
        "objective": "a",
        "title": "A",
        "kind": "counts",
        "start_ms": START,
        "end_ms": START + 6 * TAU,
        "comparator": "",
        "value": "",
        "scale": "1",
        "rate": False,
        "numerator_good": True,
        "monotonic": True,
        "success": True,
        "budgeting": "occurrences",
        "slice_ms": 0,
        "slice_target": "",
        "no_data": "flag",
        "missing": "",
        "increase": "",
    }
    assert set(given) <= set(plainest)
    return plainest | given


def frames(*objectives: tuple[dict[str, Any], Sequence[Line]]) -> dict[str, Frame]:
    series, samples = [], []
    for row, lines in objectives:
        for line in lines:
            number = len(series)
            series.append(
                {
                    "objective": row["objective"],
                    "role": line.role,
                    "series": number,
                    "labels": json.dumps(dict(line.labels)),
                    "le": line.le,
                    "interval_ms": line.tau,
                    "clean": line.clean,
                    "seen_before": line.seen_before,
                    "up_before": line.up_before,
                }
            )
            samples += [(number, at, float(value)) for at, value in line.samples]
    columns = ["objective", "role", "series", "labels", "le", "interval_ms"]
    columns += ["clean", "seen_before", "up_before"]
    tables = {
        "level_queries": pd.DataFrame([row for row, _ in objectives]),
        "level_series": pd.DataFrame(series, columns=columns),
        "level_samples": pd.DataFrame(samples, columns=["series", "at_ms", "value"]).astype(
            {"series": "int64", "at_ms": "int64", "value": "float64"}
        ),
    }
    return {name: Frame(table, NO_COVERAGE) for name, table in tables.items()}


def trading_day(start_ms: int, end_ms: int) -> TradingDay:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    window = Window(
        start=epoch + timedelta(milliseconds=start_ms), end=epoch + timedelta(milliseconds=end_ms)
    )
    return TradingDay(date(2025, 11, 1), "XNYS", "UTC", window, None, "drawn")


def fact_of(*objectives: tuple[dict[str, Any], Sequence[Line]]) -> ServiceLevelsFact:
    row = objectives[0][0]
    fact = of_day(trading_day(row["start_ms"], row["end_ms"]), frames(*objectives))
    assert isinstance(fact, ServiceLevelsFact)
    return fact


def measured(row: dict[str, Any], *lines: Line) -> Level:
    return fact_of((row, lines)).levels[0]


def drawn(line: str) -> list[tuple[int, float]]:
    """``4 6 | 7 . 9 | 9``: a value a scrape, ``.`` none; ``|`` midway between two scrapes."""
    before, _, _ = line.partition("|")
    scrapes = line.replace("|", " ").split()
    first = -len(before.split())
    return [
        (START + (first + k) * TAU + TAU // 2, float(value))
        for k, value in enumerate(scrapes)
        if value != "."
    ]


def counted(total: str, part: str = "", good: bool = False, **given: Any) -> Level:
    """Counts of which the numerator are the bad ones, unless ``good``."""
    lines = [Line("total", drawn(total))]
    if part:
        lines.append(Line("numerator", drawn(part)))
    return measured(objective(numerator_good=good, **given), *lines)


def good_total(level: Level) -> tuple[Decimal, Decimal]:
    assert level.events is not None
    return level.events.good, level.events.total


# -- counters ----------------------------------------------------------------------------------


def test_increments_are_the_deltas_of_neighbours_and_edges_are_split() -> None:
    level = counted("10 14 | 20 30 40 50 60 70 | 76 80", "0 0 | 0 0 1 1 1 1 | 1 1")
    assert level.events is not None
    # The edge lies midway between 14 and 20, and between 70 and 76: 3 events on each side.
    assert good_total(level) == (73 - 17 - 1, 73 - 17)
    assert level.events.first == Doubt(good=Decimal(3))
    assert level.events.last == Doubt(good=Decimal(3))
    assert (level.events.doubtful, level.events.doubtful_bad) == (6, 0)
    assert (level.resets, level.births, level.samples, level.unknown_ms) == (0, 0, 2 * 6, 0)


def test_an_edge_is_split_by_time_and_not_in_halves() -> None:
    samples = [(START - 1_000, 0), (START + 2_000, 9), (START + 6 * TAU, 14)]
    samples.append((START + 7 * TAU, 20))
    level = measured(objective(), Line("total", samples), Line("numerator", samples))
    # One of three seconds before the edge: 3 of 9 events. At the end a sample stands on the edge.
    assert good_total(level) == (6 + 5, 6 + 5)
    assert level.events is not None
    assert level.events.first == Doubt(good=Decimal(6)) and level.events.last == Doubt()


def test_what_is_split_unevenly_is_rounded_to_a_billionth_and_adds_up() -> None:
    samples = [(START - 1_000, 0), (START + 2_000, 1), (START + 6 * TAU, 1)]
    level = measured(objective(), Line("total", samples), Line("numerator", samples))
    assert good_total(level)[1] == Decimal("0.666666667")
    row = objective(start_ms=START - 6 * TAU, end_ms=START)
    before = [(START - 6 * TAU, 0), *samples]
    level = measured(row, Line("total", before), Line("numerator", before))
    assert good_total(level)[1] == Decimal("0.333333333")


def test_a_restart_adds_what_it_counted_since_and_doubts_what_it_forgot() -> None:
    level = counted("0 10 | 20 30 7 17 27 37 | 47", "0 0 | 0 0 0 0 0 0 | 0")
    assert level.events is not None
    # 5 + 10 + 7 + 10 + 10 + 10 + 5
    assert good_total(level) == (57, 57)
    assert level.resets == 1
    # Between 30 and the restart as much as in an interval around can have been lost, good or bad.
    assert level.events.inner == Doubt(good=Decimal(10), bad=Decimal(10))


def test_a_restart_forgets_at_least_one_event_and_counts_once_for_all_series() -> None:
    level = counted("3 3 | 3 3 0 0 0 0 | 0", "1 1 | 1 1 0 0 0 0 | 0")
    assert level.events is not None
    assert good_total(level) == (0, 0)
    assert level.events.inner == Doubt(good=Decimal(1), bad=Decimal(1))
    assert level.resets == 1


def test_the_first_error_of_a_new_series_counts_if_its_target_was_scraped_before() -> None:
    # The total was scraped 10 s before the error series began: there was no error then.
    total = Line("total", drawn("0 10 | 20 30 40 50 60 70 | 80"))
    late = Line("numerator", drawn(". . | . . . 1 1 2 | 2"), seen_before=False)
    level = measured(objective(numerator_good=False), total, late)
    assert good_total(level) == (60 - 2, 60)
    assert (level.births, level.births_inferred) == (1, 1)
    assert level.events is not None and level.events.inner == Doubt()


def test_a_birth_is_inferred_from_the_sources_word_alone() -> None:
    row = objective(numerator_good=False)
    total = Line("total", drawn(". . | . . 4 5 6 7 | 8"), seen_before=False, up_before=True)
    level = measured(row, total)
    assert good_total(level) == (Decimal("7.5"), Decimal("7.5"))
    assert (level.births, level.births_inferred, level.unknown_ms) == (1, 1, 0)


def test_the_first_value_of_a_new_target_is_doubtful_and_before_it_is_unknown() -> None:
    row = objective(numerator_good=False)
    total = Line("total", drawn(". . | . . 40 50 60 70 | 80"), seen_before=False)
    bad = Line("numerator", drawn(". . | . . 3 3 3 3 | 3"), seen_before=False)
    level = measured(row, total, bad)
    assert level.events is not None
    assert good_total(level) == (35, 35)
    assert level.events.inner == Doubt(good=Decimal(37), bad=Decimal(3))
    assert (level.births, level.births_inferred) == (2, 0)
    assert level.unknown_ms == 2 * TAU + TAU // 2


def test_a_series_that_was_absent_from_a_scrape_begins_again_from_zero() -> None:
    # The process restarted at the fourth scrape; its error series came back with the next error.
    total = "0 10 | 20 30 5 15 25 35 | 45"
    level = counted(total, "1 1 | 2 2 . . 2 2 | 2")
    # 1 before it vanished, of which the half before the edge can't be: 1/2, and 2 after.
    assert level.events is not None
    assert level.events.bad == Decimal("2.5")
    assert (level.resets, level.births_inferred) == (1, 1)


def test_a_gap_of_the_whole_target_loses_nothing() -> None:
    level = counted("0 10 | 20 . . . 60 70 | 80", "0 0 | 0 . . . 2 2 | 2")
    assert good_total(level) == (60 - 2, 60)
    assert (level.resets, level.births, level.unknown_ms) == (0, 0, 0)


def test_somebody_elses_scrape_is_no_sign_of_life() -> None:
    # Two instances that the labels do not tell apart, scraped at different moments.
    one = Line("total", drawn("0 10 | 20 . . 50 60 70 | 80"))
    other = Line("total", [(at + 3_000, v) for at, v in drawn("0 1 | 2 3 4 5 6 7 | 8")])
    level = measured(objective(), one, other, Line("numerator", []))
    assert level.births == 0
    # 60 of the one; 6 of the other, whose edges are all of 2 s after a scrape.
    assert good_total(level)[1] == 60 + 6


def test_a_clean_counter_needs_only_its_edges() -> None:
    everything = drawn("10 14 | 20 30 40 50 60 70 | 76 80")
    edges = everything[:3] + everything[-3:]
    full = Line("total", everything)
    row = objective()
    part = replace(full, role="numerator")
    sparse = replace(full, samples=edges, clean=True)
    assert measured(row, full, part) == measured(row, sparse, replace(sparse, role="numerator"))


def test_next_to_a_clean_total_a_new_error_series_still_begins_from_zero() -> None:
    row = objective(end_ms=START + 100 * TAU, numerator_good=False)
    everything = [(START + k * TAU + TAU // 2, 10.0 * k) for k in range(-3, 103)]
    clean = Line("total", everything[:6] + everything[-6:], clean=True)
    late = Line("numerator", [(at, 1.0) for at, _ in everything[40:]], seen_before=False)
    level = measured(row, clean, late)
    assert good_total(level) == (1_000 - 1, 1_000)
    assert level.births_inferred == 1


def test_a_target_that_vanishes_leaves_the_rest_unknown() -> None:
    level = counted("0 10 | 20 30 40 . . . | . .", "0 0 | 0 0 0 . . . | . .")
    assert good_total(level) == (25, 25)
    assert level.unknown_ms == 3 * TAU + TAU // 2
    share = share_of(level)
    # Known 25 of 60 s, all good: what happened in the rest may have been good or bad.
    assert share == (Fraction(25, 60), 1)


@pytest.mark.parametrize(
    ("policy", "low", "high"),
    [
        ("flag", Fraction(25, 60), Fraction(1)),
        ("exclude", Fraction(1), Fraction(1)),
        ("down", Fraction(25, 60), Fraction(25, 60)),
    ],
)
def test_time_without_data_is_judged_by_the_objectives_policy(
    policy: str, low: Fraction, high: Fraction
) -> None:
    level = counted("0 10 | 20 30 40 . . .", no_data=policy)
    assert level.no_data == policy
    assert share_of(level) == (low, high)
    # A day that no sealed fact speaks of is open whatever the policy: as long again as the window.
    opened = share_of(level, 60_000)
    assert (
        opened
        == {
            "flag": (Fraction(25, 120), Fraction(1)),
            "exclude": (Fraction(25, 85), Fraction(1)),
            "down": (Fraction(25, 120), Fraction(85, 120)),
        }[policy]
    )


def test_nothing_of_nothing_is_no_traffic_and_never_all_of_it() -> None:
    level = counted("5 5 | 5 5 5 5 5 5 | 5", "1 1 | 1 1 1 1 1 1 | 1")
    assert good_total(level) == (0, 0)
    share = share_of(level)
    assert isinstance(share, Missing) and share.detail == "no traffic"


def test_the_bounds_of_a_share_take_all_doubts_at_their_worst() -> None:
    level = counted("0 100 | 200 300 400 500 600 700 | 800", "0 0 | 0 0 6 6 6 6 | 8")
    # 600 events and 6 + 1 bad; good may be 50 less or more at the first edge and 49 at the last,
    # bad 1 less or more.
    assert good_total(level) == (593, 600)
    assert share_of(level) == (
        Fraction(593 - 99, 593 - 99 + 8),
        Fraction(593 + 99, 593 + 99 + 6),
    )


def test_numbers_that_are_not_counters_add_up() -> None:
    row = objective(monotonic=False, numerator_good=True)
    total = Line("total", drawn("9 8 | 4 0 6 . 2 1 | 7"))
    good = Line("numerator", drawn("9 8 | 3 0 6 . 1 1 | 7"))
    level = measured(row, total, good)
    assert level.events is not None
    assert good_total(level) == (3 + 6 + 1 + 1, 4 + 6 + 2 + 1)
    # The first sample after an edge counted on both sides of it: 3 good and 1 bad, 7 good.
    assert level.events.first == Doubt(good=Decimal(3), bad=Decimal(1))
    assert level.events.last == Doubt(good=Decimal(7))
    assert level.unknown_ms == TAU


def test_numbers_that_are_not_counters_have_slices_too() -> None:
    row = objective(monotonic=False, budgeting="timeslices", slice_ms=2 * TAU, slice_target="0.9")
    total = Line("total", drawn("9 | 4 6 0 0 5 5 | 7"))
    good = Line("numerator", drawn("9 | 4 5 0 0 5 3 | 7"))
    level = measured(row, total, good)
    # 9 of 10, 0 of 0 and 8 of 10.
    assert level.slices is not None
    assert (level.slices.good, level.slices.empty, level.slices.bad) == (1, 1, 1)
    assert level.slices.share_sum == Decimal("0.9") + Decimal("0.8")


def test_counters_of_fractions_are_exact_to_a_billionth() -> None:
    level = counted("0 0.1 | 0.3 0.6 0.7 0.8 0.9 1.1 | 1.3")
    assert good_total(level)[1] == Decimal("1.0")


def test_counters_beyond_the_range_of_64_bits_still_count() -> None:
    huge = 2.0**70
    level = counted(" ".join(str(huge + k * 2.0**20) for k in range(9)).replace(" ", " | ", 1))
    assert good_total(level)[1] == 6 * 2**20


def test_a_sample_that_is_not_a_number_is_no_sample() -> None:
    assert good_total(counted("0 10 | 20 nan 40 50 60 70 | 80"))[1] == 60
    level = counted("nan nan | nan nan")
    assert level.missing is not None and level.missing.why is Why.EMPTY


@pytest.mark.parametrize(
    ("increase", "pct"),
    [("45", "0"), ("45.045", "0.0999"), ("36", "20"), ("", None), ("NaN", None), ("?", None)],
)
def test_the_servers_own_increase_is_compared(increase: str, pct: str | None) -> None:
    level = counted("0 10 | 20 30 40 50 55 55 | 65", increase=increase)
    assert good_total(level)[1] == 5 + 10 + 10 + 10 + 5 + 0 + 5
    assert level.cross_check_pct == (None if pct is None else Decimal(pct))


def test_the_worst_day_of_the_comparison_is_kept() -> None:
    facts = [
        (
            n,
            fact_of(
                (objective(increase=i), [Line("total", drawn("0 10 | 20 30 30 30 30 30 | 40"))])
            ),
        )
        for n, i in enumerate(("", "30", "25"))
    ]
    checks = [fact.levels[0].cross_check_pct for _, fact in facts]
    assert merge(facts).levels[0].cross_check_pct == max(c for c in checks if c is not None)


def test_no_cross_check_after_a_restart() -> None:
    assert counted("0 10 | 20 30 7 17 27 37 | 47", increase="57").cross_check_pct is None


# -- slices ------------------------------------------------------------------------------------


def test_slices_of_counts_are_good_bad_empty_or_unknown() -> None:
    # Slices of two scrapes; nothing in the second, a bad one in the third, a gap over the last.
    row = objective(
        end_ms=START + 8 * TAU,
        budgeting="timeslices",
        slice_ms=2 * TAU,
        slice_target="0.96",
        numerator_good=False,
    )
    samples = [(START + k * TAU, float(v)) for k, v in enumerate([0, 10, 20, 20, 20, 30, 40])]
    samples += [(START + 9 * TAU, 70.0)]
    bad = [(at, 0.0 if at <= START + 4 * TAU else 1.0) for at, _ in samples]
    level = measured(row, Line("total", samples), Line("numerator", bad))
    found = level.slices
    assert found is not None
    assert (found.good, found.empty, found.bad, found.unknown) == (1, 1, 1, 1)
    # One of 20 events in the third slice was bad.
    assert found.share_sum == 1 + Decimal("0.95")
    assert share_of(level) == (Fraction(1, 3), Fraction(2, 3))
    ratio = measured(row | {"budgeting": "ratio_timeslices"}, Line("total", samples))
    assert share_of(ratio) == (Fraction(2, 3), Fraction(1))


def test_a_slice_at_its_target_is_good() -> None:
    samples = [(START + k * TAU, 10.0 * k) for k in range(7)]
    bad = [(at, 1.0 if k > 1 else 0.0) for k, (at, _) in enumerate(samples)]
    lines = (Line("total", samples), Line("numerator", bad))
    row = objective(
        budgeting="timeslices", slice_ms=2 * TAU, slice_target="0.95", numerator_good=False
    )
    assert [measured(row | {"slice_target": t}, *lines).slices.good for t in ("0.95", "0.951")] == [  # type: ignore[union-attr]
        3,
        2,
    ]


def rate_of(line: str, **given: Any) -> Level:
    row = objective(kind="threshold", rate=True, comparator="gt", value="1", **given)
    return measured(row, Line("value", drawn(line)))


def test_a_rate_is_judged_slice_by_slice_and_its_events_give_the_mean() -> None:
    # 10 s slices between scrapes at half past: 15, 20, 20, 5, 0 and 10 events, over 10 s each.
    level = rate_of(
        "0 10 | 30 50 70 70 70 70 | 90", budgeting="timeslices", slice_ms=TAU, slice_target="1"
    )
    assert level.slices is not None and level.events is not None
    # Each slice holds half of two deltas: 20, 20, 10, 0, 0, 10.
    assert level.events.total == 60
    assert (level.slices.good, level.slices.bad) == (2, 4)
    assert share_of(level) == (Fraction(2, 6), Fraction(2, 6))
    assert mean_rate_per_s(level) == 1
    stats = values_stats(level)
    assert isinstance(stats, Stats)
    assert (stats.mean, stats.lowest, stats.highest) == (1, 0, 2)


def test_the_scale_of_a_rate_is_applied_to_its_value_and_not_to_its_events() -> None:
    level = rate_of("0 10 | 20 30 40 50 60 70 | 80", scale="60")
    assert level.events is not None and level.events.total == 60
    assert mean_rate_per_s(level) == 60
    assert level.time is not None and level.time.good_ms == 6 * TAU


def test_a_slice_with_a_gap_is_unknown_however_many_events_the_gap_had() -> None:
    level = rate_of(
        "0 10 | 20 . . 50 60 70 | 80", budgeting="timeslices", slice_ms=2 * TAU, slice_target="1"
    )
    assert level.slices is not None
    assert (level.slices.unknown, level.slices.bad) == (2, 1)
    assert good_total(level)[1] == 60


# -- values over time --------------------------------------------------------------------------


def valued(line: str, comparator: str = "lt", value: str = "80", **given: Any) -> Level:
    row = objective(kind="threshold", comparator=comparator, value=value, **given)
    return measured(row, Line("value", drawn(line)))


def test_a_value_owns_the_time_to_the_midpoints_as_uptime_does() -> None:
    level = valued("1 | 1 1 90 90 1 1 | 1")
    assert level.time is not None
    assert (level.time.good_ms, level.time.bad_ms, level.time.unknown_ms) == (4 * TAU, 2 * TAU, 0)
    assert (level.time.doubtful_good_ms, level.time.doubtful_bad_ms) == (TAU, TAU)
    assert share_of(level) == (Fraction(3, 6), Fraction(5, 6))


def test_a_gap_is_unknown_and_its_edges_are_doubtful() -> None:
    level = valued("1 | 1 1 . . 90 90 | 90")
    assert level.time is not None
    assert (level.time.good_ms, level.time.bad_ms, level.time.unknown_ms) == (
        2 * TAU,
        2 * TAU,
        2 * TAU,
    )
    assert (level.time.doubtful_good_ms, level.time.doubtful_bad_ms) == (TAU // 2, TAU // 2)
    assert level.unknown_ms == 2 * TAU
    assert share_of(level) == (
        Fraction(2 * TAU - TAU // 2, 6 * TAU),
        Fraction(4 * TAU + TAU // 2, 6 * TAU),
    )


def test_a_single_missed_scrape_is_unknown_and_may_have_been_anything() -> None:
    level = valued("1 | 1 1 . 1 1 1 | 1")
    assert level.time is not None
    assert (level.time.good_ms, level.time.unknown_ms) == (5 * TAU, TAU)
    # Right after the one sample, and right before the other, it may have been bad already.
    assert (level.time.doubtful_good_ms, level.time.doubtful_bad_ms) == (TAU, 0)


@pytest.mark.parametrize(
    ("comparator", "good"), [("lt", 1), ("le", 3), ("gt", 3), ("ge", 5)], ids=str
)
def test_at_the_bound_itself_the_comparator_decides(comparator: str, good: int) -> None:
    level = valued("1 | 1 80 80 90 90 90 | 90", comparator)
    assert level.time is not None and level.time.good_ms == good * TAU


def test_the_scale_does_not_turn_a_bound_into_a_breach() -> None:
    # 0.29 x 100 is 28.999999999999996 in floats.
    level = valued("0.29 | 0.29 0.29 | 0.29", "lt", "29", scale="100")
    assert level.time is not None and level.time.good_ms == 0
    level = valued("0.29 | 0.29 0.29 | 0.29", "ge", "29", scale="100")
    assert level.time is not None and level.time.good_ms == 3 * TAU


def test_the_statistics_of_a_value_are_weighted_by_time() -> None:
    samples = [(START, 10.0), (START + TAU, 20.0), (START + 2 * TAU, 60.0)]
    row = objective(kind="threshold", comparator="lt", value="50", end_ms=START + 2 * TAU)
    level = measured(row, Line("value", samples))
    values = level.values
    assert values is not None
    # 10 owns 5 s, 20 owns 10 s and 60 owns 5 s of the window.
    assert values.weighted_sum == 10 * 5_000 + 20 * 10_000 + 60 * 5_000
    assert (values.lowest, values.highest, values.first, values.last) == (10, 60, 10, 60)
    assert (values.weight_ms, values.samples) == (20_000, 2)
    stats = values_stats(level)
    assert isinstance(stats, Stats)
    assert stats.mean == Decimal("27.5")
    assert abs(stats.p50 - 20) <= Decimal("0.1") and stats.p95 == stats.p99 == 60


@given(st.lists(st.floats(-1e9, 1e9).filter(lambda v: v == 0 or abs(v) > 1e-6), min_size=9))
@settings(max_examples=60, deadline=None)
def test_a_percentile_of_a_sketch_is_within_one_percent(values: list[float]) -> None:
    samples = [(START + k * TAU + TAU // 2, v) for k, v in enumerate([values[0], *values], -1)]
    row = objective(kind="threshold", comparator="lt", value="0", end_ms=START + len(values) * TAU)
    samples.append((START + len(values) * TAU + TAU // 2, values[-1]))
    stats = values_stats(measured(row, Line("value", samples)))
    assert isinstance(stats, Stats)
    ordered = sorted(values)
    for q, found in ((50, stats.p50), (95, stats.p95), (99, stats.p99)):
        true = Fraction(ordered[-(-len(ordered) * q // 100) - 1])
        assert abs(Fraction(found) - true) <= abs(true) / 100 + Fraction(1, 10**9)


@given(st.floats(1e-6, 1e12))
def test_a_bucket_of_the_sketch_holds_its_value(value: float) -> None:
    k = int(sketch_key(value)[1:])
    assert 1.01 ** (k - 1) * (1 - 1e-12) <= value <= 1.01**k * (1 + 1e-12)
    assert sketch_key(-value) == f"n{k}" and sketch_key(0.0) == "0"


def test_several_series_that_are_meant_are_summed_at_common_times() -> None:
    one = Line("value", drawn("1 | 1 1 . 1 1 1 | 1"))
    other = Line("value", [(at - 3_000, v) for at, v in drawn("9 | 9 9 9 9 9 9 | 9")])
    level = measured(objective(kind="threshold", comparator="lt", value="50"), one, other)
    assert level.values is not None
    assert (level.values.lowest, level.values.highest) == (10, 10)
    # Where the one missed a scrape, its last value is 17 s old: no sum can be told.
    assert level.unknown_ms == TAU


def test_a_share_is_its_value_times_the_time() -> None:
    row = objective(kind="share")
    level = measured(row, Line("value", drawn("0.5 | 0.5 0.5 1 1 0.25 0.25 | 0.25")))
    assert level.time is not None
    assert level.time.share_ms == Decimal(2 * TAU) * (Decimal("0.5") + 1 + Decimal("0.25"))
    # Half an interval on each side of a change may be at the other value.
    half = Decimal(TAU // 2)
    fell, rose = Decimal("0.75"), Decimal("0.5")
    assert level.time.doubtful_good_ms == half * (fell + rose)
    assert level.time.doubtful_bad_ms == half * (fell + rose)
    assert level.time.good_ms == 2 * TAU
    bad = measured(row | {"success": False}, Line("value", drawn("0.1 | 0.1 0.1 | 0.1 0.1 0.1")))
    assert bad.time is not None
    assert bad.time.share_ms / (bad.time.good_ms + bad.time.bad_ms) == Decimal("0.9")


def test_a_share_outside_of_zero_to_one_is_no_share() -> None:
    level = measured(objective(kind="share"), Line("value", drawn("99 | 99 99 99")))
    assert level.missing is not None
    assert "3 samples such as 99 are no share; expected values from 0 to 1" in level.missing.detail
    assert share_of(level) == level.missing


def test_a_ratio_of_nothing_to_nothing_is_no_traffic_and_not_unknown() -> None:
    level = measured(objective(kind="share"), Line("value", drawn("1 | 1 1 nan nan 1 1 | 1")))
    assert level.time is not None
    assert (level.time.good_ms, level.time.empty_ms, level.time.unknown_ms) == (
        4 * TAU,
        2 * TAU,
        0,
    )
    assert level.values is not None and level.values.samples == 4
    all_empty = measured(objective(kind="share"), Line("value", drawn("nan | nan nan | nan")))
    assert all_empty.time is not None and all_empty.time.good_ms == 0


def test_slices_of_a_value() -> None:
    level = valued(
        "1 | 1 1 1 90 . . | . 1", budgeting="timeslices", slice_ms=2 * TAU, slice_target="0.5"
    )
    assert level.slices is not None
    # Two good scrapes; one good and one bad, which is half; and a slice without samples.
    assert (level.slices.good, level.slices.bad, level.slices.unknown) == (2, 0, 1)
    assert level.slices.share_sum == Decimal("1.5")


# -- histograms --------------------------------------------------------------------------------


def latency(**buckets: str) -> Level:
    lines = [Line("total", drawn(buckets["inf"]))]
    lines.append(Line("numerator", drawn(buckets["ms10"])))
    for le, name in (("0.005", "ms5"), ("0.01", "ms10"), ("0.1", "ms100"), ("+Inf", "inf")):
        lines.append(Line("bucket", drawn(buckets[name]), le=le))
    lines.append(Line("sum", drawn(buckets["seconds"])))
    return measured(objective(), *lines)


def test_buckets_are_increments_that_are_not_cumulative() -> None:
    level = latency(
        ms5="0 | 0 20 40 60 80 80 | 80",
        ms10="0 | 0 25 50 75 95 95 | 95",
        ms100="0 | 0 25 50 75 99 99 | 99",
        inf="0 | 0 25 50 75 100 100 | 100",
        seconds="0 | 0 0.1 0.2 0.3 0.5 0.5 | 0.5",
    )
    found = level.histogram
    assert found == Histogram(
        bounds=("0.005", "0.01", "0.1", "+Inf"),
        counts=(Decimal(80), Decimal(15), Decimal(4), Decimal(1)),
        total=Decimal("0.5"),
    )
    assert percentile(found, Fraction(1, 2)) == (Decimal(0), Decimal("0.005"))
    assert percentile(found, Decimal("0.8")) == (Decimal(0), Decimal("0.005"))
    assert percentile(found, Decimal("0.95")) == (Decimal("0.005"), Decimal("0.01"))
    assert percentile(found, Decimal("0.96")) == (Decimal("0.01"), Decimal("0.1"))
    assert percentile(found, Decimal(1)) == (Decimal("0.1"), None)
    assert histogram_mean(found) == Decimal("0.005")
    # 95 is the last of the 15 between 5 and 10 ms; 90 are two thirds of the way.
    assert quantile_estimate(found, Decimal("0.95")) == Decimal("0.01")
    assert quantile_estimate(found, Decimal("0.9")) == Decimal("0.008333333")
    assert quantile_estimate(found, Decimal(1)) == Decimal("0.1")
    assert share_of(level) == (Fraction(95, 100), Fraction(95, 100))


def test_the_percentile_of_a_month_comes_from_the_buckets_of_its_days() -> None:
    def day(fast: int, slow: int) -> Histogram:
        return Histogram(
            bounds=("1", "+Inf"), counts=(Decimal(fast), Decimal(slow)), total=Decimal(0)
        )

    quiet, busy = day(1, 9), day(990, 0)
    assert percentile(quiet, Fraction(1, 2)) == (Decimal(1), None)
    level = counted("0 | 1 2 | 3")
    fact = ServiceLevelsFact(start_ms=START, end_ms=START + TAU, levels=(level,))
    days = [
        (n, fact.model_copy(update={"levels": (level.model_copy(update={"histogram": h}),)}))
        for n, h in enumerate((quiet, busy))
    ]
    both = merge(days).levels[0].histogram
    assert both is not None and percentile(both, Fraction(1, 2)) == (Decimal(0), Decimal(1))


def test_buckets_that_changed_merge_by_the_bounds_they_have_in_common() -> None:
    level = counted("0 | 1 2 | 3")

    def with_bounds(*found: tuple[str, int]) -> ServiceLevelsFact:
        made = Histogram(
            bounds=tuple(le for le, _ in found),
            counts=tuple(Decimal(n) for _, n in found),
            total=ZERO,
        )
        levels = (level.model_copy(update={"histogram": made}),)
        return ServiceLevelsFact(start_ms=START, end_ms=START + TAU, levels=levels)

    days = [
        (1, with_bounds(("1", 5), ("2", 3), ("+Inf", 1))),
        (2, with_bounds(("0.5", 4), ("1.0", 2), ("+Inf", 8))),
    ]
    assert merge(days).levels[0].histogram == Histogram(
        bounds=("1", "+Inf"), counts=(Decimal(5 + 4 + 2), Decimal(3 + 1 + 8)), total=ZERO
    )


# -- absence -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "why"),
    [("no series", Why.EMPTY), ("several series", Why.NO_DATA), ("HTTP 422", Why.NO_DATA)],
)
def test_one_objective_that_fails_is_missing_alone(reason: str, why: Why) -> None:
    fact = fact_of(
        (objective(), [Line("total", drawn("0 | 1 2 | 3"))]),
        (objective(objective="b", missing=reason), []),
    )
    assert [level.missing is None for level in fact.levels] == [True, False]
    assert fact.levels[1].missing == Missing(why=why, detail=reason)
    assert fact.levels[1].unknown_ms == 6 * TAU


def test_an_objective_without_a_series_is_missing_and_not_zero() -> None:
    assert measured(objective()).missing == Missing(why=Why.EMPTY, detail="no sample of its total")
    assert measured(objective(kind="threshold", comparator="lt", value="1")).missing is not None


def test_a_missing_frame_is_a_missing_fact() -> None:
    why = Missing(why=Why.UNREACHABLE, detail="refused")
    found = of_day(trading_day(START, START + TAU), dict.fromkeys(SERVICE_LEVELS.reads, why))
    assert found == why


def test_a_day_that_could_not_be_read_is_unknown_time_of_the_period() -> None:
    length = 6 * TAU
    good = measured(objective(kind="threshold", comparator="lt", value="9"),
                    Line("value", drawn("1 | 1 1 1 1 1 1 | 1")))  # fmt: skip
    lost = measured(
        objective(
            kind="threshold",
            comparator="lt",
            value="9",
            missing="HTTP 503",
            start_ms=START + length,
            end_ms=START + 2 * length,
        )
    )
    facts = [
        (n, ServiceLevelsFact(start_ms=x.start_ms, end_ms=x.end_ms, levels=(x,)))
        for n, x in enumerate((good, lost))
    ]
    both = merge(facts).levels[0]
    assert both.missing is None and both.unknown_ms == length
    assert share_of(both) == (Fraction(1, 2), Fraction(1))
    assert merge(facts[1:]).levels[0].missing == lost.missing


def test_an_objective_that_was_measured_in_another_way_does_not_merge() -> None:
    one = counted("0 | 1 2 | 3")
    other = counted("0 | 1 2 | 3", budgeting="timeslices")
    facts = [
        (n, ServiceLevelsFact(start_ms=START, end_ms=START + TAU, levels=(x,)))
        for n, x in enumerate((one, other))
    ]
    missing = merge(facts).levels[0].missing
    assert missing is not None
    assert "the objective's budgeting changed" in missing.detail
    assert "occurrences, then timeslices" in missing.detail


# -- laws --------------------------------------------------------------------------------------

FIRST, SECOND = 120 * TAU, 90 * TAU


@st.composite
def counter_lives(draw: st.DrawFn) -> tuple[Samples, Samples]:
    """A total and a bad counter of one target, with restarts, gaps and late errors."""
    at = START - MARGIN + draw(st.integers(0, TAU - 1))
    total = bad = draw(st.integers(0, 5))
    has_bad = draw(st.booleans())
    totals, bads = [], []
    while at < START + FIRST + SECOND + MARGIN:
        kind = draw(st.sampled_from(["run", "run", "run", "gap", "restart", "error", "quiet"]))
        if kind == "gap":
            at += draw(st.integers(1, 30)) * TAU
        elif kind == "restart":
            total = bad = 0
            has_bad = False
        elif kind == "error":
            bad += draw(st.integers(1, 3))
            total += bad
            has_bad = True
        rate = 0 if kind == "quiet" else draw(st.integers(0, 60))
        for _ in range(draw(st.integers(1, 25))):
            total += rate
            totals.append((at, float(total)))
            if has_bad:
                bads.append((at, float(bad)))
            at += TAU + draw(st.sampled_from([0, 0, 7, -3]))
    return totals, bads


def cut(line: Line, start: int, end: int) -> Line:
    """What the source would hand over of a series for one window."""
    near = [s for s in line.samples if start - MARGIN <= s[0] <= end + MARGIN]
    seen = any(at < max(start - MARGIN, line.samples[0][0] + 1) for at, _ in line.samples[:1])
    born = not line.samples or line.samples[0][0] >= start - MARGIN + 2 * TAU
    return replace(line, samples=near, seen_before=seen and not born)


def both_ways(row: dict[str, Any], lines: Sequence[Line]) -> tuple[Level, Level]:
    """Two windows merged, and one window of both."""
    middle, end = START + FIRST, START + FIRST + SECOND
    found = []
    for lo, hi in ((START, middle), (middle, end), (START, end)):
        parts = [cut(line, lo, hi) for line in lines if line.samples]
        found.append(fact_of((row | {"start_ms": lo, "end_ms": hi}, parts)))
    merged = merge([(1, found[0]), (2, found[1])])
    assert merge([(1, found[0])]) == found[0]
    assert ServiceLevelsFact.model_validate_json(merged.model_dump_json()) == merged
    return merged.levels[0], found[2].levels[0]


@given(counter_lives(), st.sampled_from(["occurrences", "timeslices", "ratio_timeslices"]))
@settings(max_examples=60, deadline=None)
def test_two_days_of_counters_merge_into_what_both_together_measure(
    life: tuple[Samples, Samples], budgeting: str
) -> None:
    row = objective(
        numerator_good=False,
        budgeting=budgeting,
        slice_ms=0 if budgeting == "occurrences" else 3 * TAU,
        slice_target="0.9" if budgeting == "timeslices" else "",
    )
    totals, bads = life
    lines = [
        Line("total", totals),
        Line("numerator", bads),
        Line("bucket", totals, le="+Inf"),
        Line("bucket", [(at, math.floor(v / 2)) for at, v in totals], le="1"),
    ]
    merged, whole = both_ways(row, lines)
    # How many series a day has is no sum.
    assert merged.model_copy(update={"series": 0}) == whole.model_copy(update={"series": 0})


@given(counter_lives())
@settings(max_examples=30, deadline=None)
def test_two_days_of_a_rate_merge_into_what_both_together_measure(
    life: tuple[Samples, Samples],
) -> None:
    row = objective(
        kind="threshold", rate=True, comparator="gt", value="2", slice_ms=3 * TAU, scale="2",
        budgeting="timeslices", slice_target="1",
    )  # fmt: skip
    merged, whole = both_ways(row, [Line("value", life[0])])
    assert merged == whole


@st.composite
def gauges(draw: st.DrawFn) -> Samples:
    at = START - MARGIN + draw(st.integers(0, TAU - 1))
    samples = []
    while at < START + FIRST + SECOND + MARGIN:
        at += draw(st.sampled_from([0, 0, 1, 5, 40])) * TAU
        value = draw(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0, math.nan]))
        for _ in range(draw(st.integers(1, 30))):
            samples.append((at, value))
            at += TAU + draw(st.sampled_from([0, 0, 4, -9]))
    return samples


@given(gauges(), st.sampled_from(["share", "threshold"]), st.sampled_from([0, 3 * TAU]))
@settings(max_examples=60, deadline=None)
def test_two_days_of_values_merge_into_what_both_together_measure(
    samples: Samples, kind: str, slice_ms: int
) -> None:
    row = objective(
        kind=kind,
        comparator="ge" if kind == "threshold" else "",
        value="0.5" if kind == "threshold" else "",
        scale="3",
        slice_ms=slice_ms,
        budgeting="ratio_timeslices" if slice_ms else "occurrences",
    )
    merged, whole = both_ways(row, [Line("value", samples)])
    assert merged == whole


@given(
    st.lists(st.integers(0, 1_800_000), max_size=300),
    st.lists(st.integers(0, 1_800_000), max_size=12),
    st.lists(st.integers(60_000, 1_740_000), max_size=3, unique=True),
    st.integers(0, 14_999),
)
@settings(max_examples=80, deadline=None)
def test_the_true_share_lies_within_the_bounds(
    good: list[int], bad: list[int], restarts: list[int], phase: int
) -> None:
    # Events of a steady process and rare errors, at known instants; scraped every 15 s.
    tau, length = 15_000, 1_200_000
    start = START + 300_000
    steady = [START + 250 * k for k in range(7_200)]
    goods = np.sort([*steady, *(START + at for at in good)])
    bads = np.sort([START + at for at in bad]).astype(np.int64)
    fell = sorted(START + at for at in restarts)
    totals, errors = [], []
    for k in range(120):
        at = START + k * tau + phase
        since = max([t for t in fell if t <= at], default=0)
        # Half-open like the window: an event of the very instant of a scrape comes after it.
        n_good = int(np.searchsorted(goods, at) - np.searchsorted(goods, since))
        n_bad = int(np.searchsorted(bads, at) - np.searchsorted(bads, since))
        totals.append((at, float(n_good + n_bad)))
        if n_bad:
            errors.append((at, float(n_bad)))
    row = objective(start_ms=start, end_ms=start + length, numerator_good=False)
    lines = [Line("total", totals, tau=tau)]
    if errors:
        late = errors[0][0] > totals[0][0]
        lines.append(Line("numerator", errors, tau=tau, seen_before=not late))
    level = measured(row, *lines)
    true_good, true_bad = (
        sum(start <= at < start + length for at in found) for found in (goods, bads)
    )
    assert level.events is not None
    assert abs(level.events.good - true_good) <= level.events.doubtful
    assert abs(level.events.bad - true_bad) <= level.events.doubtful_bad
    share = share_of(level)
    assert not isinstance(share, Missing)
    assert share[0] <= Fraction(true_good, true_good + true_bad) <= share[1]


def test_sixty_objectives_of_a_day_take_well_under_a_tenth_of_a_second() -> None:
    day = 86_400_000
    at = START - MARGIN + 15_000 * np.arange((day + 2 * MARGIN) // 15_000)
    rising = np.cumsum(np.full(len(at), 100.0))
    tables = []
    for n in range(60):
        kind = ("counts", "threshold", "share")[n % 3]
        row = objective(
            objective=f"o{n}", kind=kind, end_ms=START + day,
            comparator="lt" if kind == "threshold" else "",
            value="80" if kind == "threshold" else "",
        )  # fmt: skip
        wave = np.where(np.arange(len(at)) % 50 < 25, 0.3, 0.9)
        if kind == "counts":
            lines = [("total", rising), ("numerator", np.floor(rising * 0.99))]
        else:
            lines = [("value", wave * (100 if kind == "threshold" else 1))]
        tables.append((row, lines))
    series, values = [], []
    for row, lines in tables:
        for role, value in lines:
            labels = json.dumps({"job": row["objective"], "instance": "x:1"})
            known = {"le": "", "interval_ms": 15_000, "clean": False}
            known |= {"seen_before": True, "up_before": False, "labels": labels}
            line = known | {"objective": row["objective"], "role": role, "series": len(series)}
            series.append(line)
            values.append(value)
    samples = pd.DataFrame(
        {
            "series": np.repeat(np.arange(len(series)), len(at)),
            "at_ms": np.tile(at, len(series)),
            "value": np.concatenate(values),
        }
    )
    made = {
        "level_queries": Frame(pd.DataFrame([row for row, _ in tables]), NO_COVERAGE),
        "level_series": Frame(pd.DataFrame(series), NO_COVERAGE),
        "level_samples": Frame(samples, NO_COVERAGE),
    }
    took = []
    for _ in range(5):
        began = time.process_time()
        of_day(trading_day(START, START + day), made)
        took.append(time.process_time() - began)
    print(f"60 objectives, {len(samples):,} samples: {min(took) * 1000:.0f} ms")
    assert min(took) < 0.1


# -- the page ----------------------------------------------------------------------------------


def page(kind: str = "daily") -> Context:
    span = day_span(date(2025, 11, 1)) if kind == "daily" else week_span(date(2025, 11, 1))
    return Context(span=span, zone="UTC", base="USD", targets={})


def test_the_page_has_a_figure_and_a_row_for_every_objective() -> None:
    fact = fact_of(
        (objective(), [Line("total", drawn("0 10 | 20 30 7 17 27 37 | 47"))]),
        (objective(objective="b", title="B", missing="no series"), []),
        (
            objective(objective="c", title="C", kind="threshold", comparator="lt", value="5"),
            [Line("value", drawn("1 | 1 1 1 1 1 1 | 1"))],
        ),
    )
    laid_out = section(fact, [(date(2025, 11, 1), fact)], page())
    assert [f.id for f in laid_out.figures] == [
        "service_levels.a",
        "service_levels.b",
        "service_levels.c",
    ]
    assert laid_out.verdict is None
    assert isinstance(laid_out.figures[0].value, Band)
    assert laid_out.figures[1].value == Missing(why=Why.EMPTY, detail="no series")
    (table,) = laid_out.tables
    assert table.id == "service_levels"
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert laid_out.summary == "2 of 3 objectives measured; not measured: B."
    assert any("Restarts forget" in note and "1 of A" in note for note in laid_out.notes)
    assert any(note.startswith("Detection limit") for note in laid_out.notes)


def test_a_difference_to_increase_and_an_inference_are_told() -> None:
    late = Line("numerator", drawn(". . | . . . 1 1 2 | 2"), seen_before=False)
    total = Line("total", drawn("0 10 | 20 30 40 50 60 70 | 80"))
    fact = fact_of(
        (objective(numerator_good=False), [total, late]),
        (objective(objective="b", title="B", increase="61"), [total]),
    )
    notes = section(fact, [(date(2025, 11, 1), fact)], page()).notes
    assert any("taken to begin from 0: 1 of A" in note for note in notes)
    assert any("B by 1.6393 %" in note for note in notes)


def test_a_day_that_was_not_sealed_is_in_the_upper_bound() -> None:
    row = objective(kind="threshold", comparator="lt", value="5", end_ms=START + 86_400_000)
    samples = [(START + k * 60_000, 1.0) for k in range(-5, 1_446)]
    fact = fact_of((row, [Line("value", samples, tau=60_000)]))
    days = [(date(2025, 11, 1), fact), (date(2025, 11, 2), Missing(why=Why.NOT_SEALED))]
    value = section(fact, days, page("weekly")).figures[0].value
    assert isinstance(value, Band)
    assert (value.low.fraction, value.high.fraction) == (Fraction(1, 2), Fraction(1))


def test_a_missing_fact_is_a_section_that_says_so() -> None:
    why = Missing(why=Why.UNREACHABLE, detail="connection refused")
    laid_out = section(why, [(date(2025, 11, 1), why)], page())
    assert "source unreachable: connection refused" in laid_out.summary
    assert not laid_out.tables and not laid_out.figures
