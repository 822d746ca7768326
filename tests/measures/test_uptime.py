"""Uptime from drawn timelines: one character a scrape, ``1`` up, ``0`` down, ``.`` no sample.

``|`` marks the window's edges, midway between two scrapes, so that inside the window every
character stands for one whole interval.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.errors import ValidationFailed
from reporting.measures import Context
from reporting.measures.uptime import (
    MAX_STRETCHES,
    UPTIME,
    Planned,
    TargetUptime,
    UptimeFact,
    availability,
    merge,
    of_day,
    percent,
    section,
)
from reporting.model import Band, Coverage, Duration, Frame, Missing, Why, Window
from reporting.page import Target, TimelineChart, Verdict
from reporting.periods import TradingDay, day_span, week_span

TAU = 15_000
START = 1_762_000_000_000
NO_COVERAGE = Coverage(source="prometheus", query="drawn", query_digest="", rows=0)
Samples = Sequence[tuple[int, bool]]


def trading_day(start_ms: int, end_ms: int, day: date = date(2025, 11, 1)) -> TradingDay:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    window = Window(
        start=epoch + timedelta(milliseconds=start_ms), end=epoch + timedelta(milliseconds=end_ms)
    )
    return TradingDay(day, "XNYS", "UTC", window, None, "drawn")


def frames(
    timelines: Mapping[str, Samples],
    *,
    tau: int | Mapping[str, int] = TAU,
    seen_before: Sequence[str] = (),
    ambiguous: Sequence[str] = (),
    clean: Mapping[str, int] | None = None,
) -> dict[str, Frame]:
    clean = clean or {}
    names = [*timelines, *clean]
    intervals = [tau if isinstance(tau, int) else tau[name] for name in names]
    targets = pd.DataFrame(
        {
            "target": names,
            "title": [name.title() for name in names],
            "query": [f'up{{job="{name}"}}' for name in names],
            "clean": [name in clean for name in names],
            "interval_ms": [
                0 if name in timelines and len(timelines[name]) < 2 else interval
                for name, interval in zip(names, intervals, strict=True)
            ],
            "samples": [clean.get(name, 0) for name in names],
            "seen_before": [name in seen_before or name in clean for name in names],
            "ambiguous": [name in ambiguous for name in names],
        }
    )
    rows = [(name, at, up) for name, line in timelines.items() for at, up in line]
    samples = pd.DataFrame(rows, columns=["target", "at_ms", "up"])
    return {
        "uptime_targets": Frame(targets, NO_COVERAGE),
        "uptime_samples": Frame(samples, NO_COVERAGE),
    }


def drawn(line: str) -> tuple[list[tuple[int, bool]], int]:
    """The samples of a drawing, and the length of its window."""
    before, inside, after = line.split("|")
    scrapes = enumerate(before + inside + after, start=-len(before))
    samples = [(START + k * TAU + TAU // 2, c == "1") for k, c in scrapes if c != "."]
    return samples, len(inside) * TAU


def measured(seen: Sequence[str] = ("a", "b", "c"), **lines: str) -> UptimeFact:
    timelines = {}
    length = 0
    for name, line in lines.items():
        timelines[name], length = drawn(line)
    fact = of_day(trading_day(START, START + length), frames(timelines, seen_before=seen))
    assert isinstance(fact, UptimeFact)
    return fact


def one(line: str, seen: Sequence[str] = ("a",)) -> TargetUptime:
    return measured(seen, a=line).targets[0]


# -- ownership ---------------------------------------------------------------------------------


def test_up_throughout_is_exactly_the_window() -> None:
    fact = one("1|1111|1")
    assert (fact.up_ms, fact.down_ms, fact.unknown_ms) == (4 * TAU, 0, 0)
    assert (fact.low_ms, fact.high_ms) == (4 * TAU, 4 * TAU)
    assert (fact.transitions, fact.samples, fact.stretches) == (0, 4, ())


def test_two_failed_scrapes_are_two_intervals_give_or_take_half_of_one_per_transition() -> None:
    fact = one("1|110011|1")
    assert (fact.up_ms, fact.down_ms, fact.unknown_ms) == (4 * TAU, 2 * TAU, 0)
    assert fact.transitions == 2
    assert fact.low_ms == 4 * TAU - 2 * TAU // 2
    assert fact.high_ms == 4 * TAU + 2 * TAU // 2
    (outage,) = fact.stretches
    assert (outage.state, outage.start_ms, outage.end_ms) == (
        "down",
        START + 2 * TAU,
        START + 4 * TAU,
    )


def test_a_missed_scrape_is_unknown_and_neither_up_nor_down() -> None:
    fact = one("1|11.11|1")
    # The samples around it are 2 intervals apart; each owns half an interval of that.
    assert (fact.up_ms, fact.down_ms, fact.unknown_ms) == (4 * TAU, 0, TAU)
    assert fact.low_ms == 4 * TAU - 2 * TAU // 2
    assert fact.high_ms == 5 * TAU
    assert [s.state for s in fact.stretches] == ["target lost"]


@pytest.mark.parametrize(
    ("gap_ms", "unknown_ms"),
    [(TAU * 3 // 2, 0), (TAU * 3 // 2 + 2, TAU // 2 + 2)],
    ids=["one and a half intervals still join", "a little more does not"],
)
def test_a_late_scrape_is_forgiven_up_to_one_and_a_half_intervals(
    gap_ms: int, unknown_ms: int
) -> None:
    samples = [(START - gap_ms // 2, True), (START + gap_ms - gap_ms // 2, True)]
    samples = [(START - gap_ms // 2 - TAU, True), *samples, (samples[-1][0] + TAU, True)]
    fact = of_day(trading_day(START - TAU, START + TAU), frames({"a": samples}))
    assert isinstance(fact, UptimeFact)
    assert fact.targets[0].unknown_ms == unknown_ms


def test_down_before_a_gap_and_up_after_it() -> None:
    fact = one("1|100..1|1")
    assert (fact.up_ms, fact.down_ms, fact.unknown_ms) == (2 * TAU, 2 * TAU, 2 * TAU)
    # It may have gone down right after the last good scrape, been up right after the last bad one
    # and down until just before the next good one.
    assert fact.low_ms == 2 * TAU - TAU // 2 - TAU // 2
    assert fact.high_ms == 2 * TAU + 2 * TAU + TAU // 2 + TAU // 2
    assert fact.transitions == 3


def test_the_neighbours_outside_decide_about_the_edges() -> None:
    fact = one("0|11|.1")
    # Half an interval at the start may still have been down; at the end nobody looked.
    assert (fact.up_ms, fact.unknown_ms) == (2 * TAU, 0)
    assert fact.low_ms == 2 * TAU - TAU // 2 - TAU // 2


def test_a_change_and_a_sample_at_midnight_belong_to_the_new_day() -> None:
    assert one("1|11|00").transitions == 0
    assert one("1|00|00").transitions == 1
    samples = [(START + k * TAU, True) for k in range(-2, 7)]
    fact = of_day(trading_day(START, START + 4 * TAU), frames({"a": samples}))
    assert isinstance(fact, UptimeFact)
    assert fact.targets[0].samples == 4


def test_a_single_sample_says_nothing_about_time() -> None:
    fact = one("|..1..|", seen=())
    assert (fact.up_ms, fact.down_ms, fact.unknown_ms) == (0, 0, 5 * TAU)
    assert (fact.not_born_ms, fact.target_lost_ms) == (2 * TAU + TAU // 2, 2 * TAU + TAU // 2)


# -- kinds of unknown --------------------------------------------------------------------------


def test_a_vanished_host_is_unknown_never_up() -> None:
    fact = one("|....|")
    assert (fact.up_ms, fact.down_ms, fact.target_lost_ms) == (0, 0, 4 * TAU)
    assert (fact.low_ms, fact.high_ms) == (0, 4 * TAU)


def test_a_host_never_seen_before_is_not_born() -> None:
    fact = one("|....|", seen=())
    assert (fact.up_ms, fact.down_ms, fact.not_born_ms) == (0, 0, 4 * TAU)


def test_before_its_first_sample_a_host_is_not_born() -> None:
    fact = one("...|..11|1", seen=())
    assert (fact.up_ms, fact.not_born_ms, fact.target_lost_ms) == (2 * TAU, 2 * TAU, 0)


def test_all_silent_at_once_is_the_collector_one_alone_is_lost() -> None:
    fact = measured(a="1|11..11..1|1", b="1|11..11111|1", c="1|11..11111|1")
    a, b, c = fact.targets
    assert (a.collector_gap_ms, a.target_lost_ms) == (2 * TAU, 2 * TAU)
    assert (b.collector_gap_ms, b.target_lost_ms) == (2 * TAU, 0)
    assert (c.collector_gap_ms, c.target_lost_ms) == (2 * TAU, 0)


def test_one_target_alone_cannot_accuse_the_collector() -> None:
    assert one("1|1..1|1").target_lost_ms == 2 * TAU


def test_targets_scraped_at_different_rates_agree_on_the_collectors_gap() -> None:
    # Nobody looked from 600 s to 900 s; a is scraped every 15 s, b every 60 s.
    def samples(tau: int, phase: int) -> list[tuple[int, bool]]:
        times = range(START - 120_000 + phase, START + 1_920_000, tau)
        return [(t, True) for t in times if not START + 600_000 <= t < START + 900_000]

    both = frames(
        {"a": samples(15_000, 4_000), "b": samples(60_000, 1_000)},
        tau={"a": 15_000, "b": 60_000},
        seen_before=("a", "b"),
    )
    fact = of_day(trading_day(START, START + 1_800_000), both)
    assert isinstance(fact, UptimeFact)
    assert [t.target_lost_ms for t in fact.targets] == [0, 0]
    # b's last sample speaks until 571 s, a's was still taken at 589 s: no reason to call b lost.
    # In 300 s 20 scrapes of a and 5 of b are missing, whatever their phases.
    assert [t.collector_gap_ms for t in fact.targets] == [20 * 15_000, 5 * 60_000]


def test_one_in_ten_may_go_on_during_the_collectors_gap() -> None:
    silent = dict.fromkeys("abcdefghij", "1|1..1|1")
    assert {t.collector_gap_ms for t in measured("abcdefghij", **silent).targets} == {2 * TAU}
    one_goes_on = measured([*"abcdefghijk"], **silent, k="1|1111|1")
    assert one_goes_on.targets[0].collector_gap_ms == 2 * TAU
    two_go_on = measured([*"abcdefghijkl"], **silent, k="1|1111|1", l="1|1111|1")
    assert two_go_on.targets[0].target_lost_ms == 2 * TAU


def test_several_series_are_unknown_and_say_so() -> None:
    day = trading_day(START, START + 4 * TAU)
    fact = of_day(day, frames({"a": [], "b": drawn("1|1111|1")[0]}, ambiguous=("a",)))
    assert isinstance(fact, UptimeFact)
    assert fact.targets[0].several_series_ms == 4 * TAU
    assert fact.targets[1].up_ms == 4 * TAU


def test_a_clean_series_needs_no_samples() -> None:
    day = trading_day(START, START + 4 * TAU)
    fact = of_day(day, frames({}, clean={"a": 4}))
    raw = of_day(day, frames({"a": drawn("1|1111|1")[0]}, seen_before=("a",)))
    assert fact == raw


def test_a_missing_frame_is_a_missing_fact() -> None:
    why = Missing(why=Why.UNREACHABLE, detail="refused")
    assert of_day(trading_day(START, START + TAU), dict.fromkeys(UPTIME.reads, why)) == why


# -- policies for time without data, and windows of one's own ------------------------------------


def with_policy(line: str, policy: str) -> TargetUptime:
    samples, length = drawn(line)
    made = frames({"a": samples}, seen_before=("a",))
    made["uptime_targets"].table["no_data"] = [policy]
    fact = of_day(trading_day(START, START + length), made)
    assert isinstance(fact, UptimeFact)
    return fact.targets[0]


@pytest.mark.parametrize(
    ("policy", "low", "high"),
    [
        # Up 8 of 10, unknown 2, and half an interval of doubt on both sides of it.
        ("flag", Fraction(7, 10), Fraction(1)),
        ("exclude", Fraction(7, 8), Fraction(1)),
        ("down", Fraction(7, 10), Fraction(8, 10)),
    ],
)
def test_unknown_time_is_judged_by_the_objectives_policy(
    policy: str, low: Fraction, high: Fraction
) -> None:
    fact = with_policy("1|1111..1111|1", policy)
    assert fact.no_data == policy
    assert availability(fact) == (low, high)
    assert (fact.up_ms, fact.unknown_ms) == (8 * TAU, 2 * TAU)


def test_nothing_but_unknown_time_left_out_is_no_verdict() -> None:
    fact = with_policy("|....|", "exclude")
    assert availability(fact) == Missing(why=Why.NO_DATA, detail="no data at any time")
    whole = UptimeFact(start_ms=START, end_ms=START + 4 * TAU, targets=(fact,))
    days = [(date(2025, 11, 1), whole)]
    laid_out = section(whole, days, page(promise("a", "99.9")))
    assert laid_out.verdict is Verdict.UNKNOWN
    assert isinstance(laid_out.figures[0].value, Missing)


def test_down_by_policy_is_missed_where_flag_can_not_tell() -> None:
    for policy, verdict in (("flag", Verdict.UNKNOWN), ("down", Verdict.MISSED)):
        fact = with_policy("1|1111..1111|1", policy)
        whole = UptimeFact(start_ms=START, end_ms=START + 10 * TAU, targets=(fact,))
        laid_out = section(whole, [(date(2025, 11, 1), whole)], page(promise("a", "99.9")))
        assert laid_out.verdict is verdict, policy
        assert ("Time without data counts as down: A." in laid_out.notes) is (policy == "down")


def test_an_unsealed_day_is_open_whatever_the_policy() -> None:
    fact = with_policy("1|1111..1111|1", "exclude")
    assert availability(fact, 8 * TAU) == (Fraction(7, 16), Fraction(16, 16))
    fact = with_policy("1|1111..1111|1", "down")
    assert availability(fact, 10 * TAU) == (Fraction(7, 20), Fraction(18, 20))


def test_each_target_has_the_day_of_its_own_zone() -> None:
    a, b = drawn("11|1111111100|00")[0], drawn("11|1111111100|00")[0]
    made = frames({"a": a, "b": b}, seen_before=("a", "b"))
    made["uptime_targets"].table["start_ms"] = [START, START - TAU]
    made["uptime_targets"].table["end_ms"] = [START + 10 * TAU, START + 9 * TAU]
    fact = of_day(trading_day(START, START + 10 * TAU), made)
    assert isinstance(fact, UptimeFact)
    assert (fact.start_ms, fact.end_ms) == (START - TAU, START + 10 * TAU)
    assert [(t.window_ms, t.up_ms, t.down_ms) for t in fact.targets] == [
        (10 * TAU, 8 * TAU, 2 * TAU),
        (10 * TAU, 9 * TAU, 1 * TAU),
    ]


# -- maintenance -------------------------------------------------------------------------------


def maintenance(*windows: tuple[str, float, float], retroactive: bool = False) -> Frame:
    """Windows by target, from and to in scrapes after the start."""
    rows = [
        {
            "target": target,
            "start_ms": START + int(lo * TAU),
            "end_ms": START + int(hi * TAU),
            "reason": "upgrade",
            "approved_by": "Ann",
            "approved_at_ms": START,
            "retroactive": retroactive,
        }
        for target, lo, hi in windows
    ]
    names = ["target", "start_ms", "end_ms", "reason", "approved_by", "approved_at_ms"]
    return Frame(pd.DataFrame(rows, columns=[*names, "retroactive"]), NO_COVERAGE)


def planned(line: str, *windows: tuple[str, float, float], **given: bool) -> UptimeFact:
    samples, length = drawn(line)
    made = frames({"a": samples}, seen_before=("a",))
    made["maintenance"] = maintenance(*windows, **given)
    fact = of_day(trading_day(START, START + length), made)
    assert isinstance(fact, UptimeFact)
    return fact


def test_maintenance_takes_its_time_out_of_the_net_and_not_of_the_gross() -> None:
    target = planned("1|1111001111|1", ("a", 3, 7)).targets[0]
    assert (target.up_ms, target.down_ms, target.window_ms) == (8 * TAU, 2 * TAU, 10 * TAU)
    assert target.planned == Planned(
        window_ms=4 * TAU, up_ms=2 * TAU, down_ms=2 * TAU, doubtful_up_ms=TAU, doubtful_down_ms=TAU
    )
    assert availability(target) == (1, 1)
    assert availability(target, gross=True) == (Fraction(7, 10), Fraction(9, 10))


def test_maintenance_that_ends_too_early_leaves_the_rest_of_the_outage() -> None:
    target = planned("1|1111001111|1", ("*", 4, 5)).targets[0]
    # The outage began in the window and went on for one interval of the other nine.
    assert availability(target) == (
        Fraction(8 * TAU - TAU // 2 - TAU // 2, 9 * TAU),
        Fraction(8 * TAU + TAU // 2, 9 * TAU),
    )
    assert [(s.state, s.planned, s.length_ms) for s in target.stretches] == [
        ("down", True, TAU),
        ("down", False, TAU),
    ]
    fact = planned("1|1111000111|1", ("*", 4, 6))
    laid_out = section(fact, [(date(2025, 11, 1), fact)], page({}))
    row = dict(
        zip((c.key for c in laid_out.tables[0].columns), laid_out.tables[0].rows[0], strict=True)
    )
    assert row["longest_outage"] == Duration(ms=TAU)


def test_windows_that_overlap_count_once_and_others_not_at_all() -> None:
    fact = planned("1|1111111111|1", ("a", 2, 5), ("*", 4, 6), ("b", 0, 9), ("a", 20, 30))
    assert fact.targets[0].planned.window_ms == 4 * TAU
    assert [(w.target, w.start_ms) for w in fact.maintenance] == [
        ("a", START + 2 * TAU),
        ("*", START + 4 * TAU),
    ]


def test_unknown_time_in_maintenance_is_no_doubt_about_the_rest() -> None:
    target = planned("1|1111..1111|1", ("a", 3.5, 6.5)).targets[0]
    assert target.planned.unknown_ms == 2 * TAU
    assert availability(target) == (1, 1)
    assert availability(target, gross=True) == (Fraction(7, 10), 1)


def test_a_day_of_nothing_but_maintenance_has_no_availability() -> None:
    target = planned("1|1111|1", ("*", 0, 4)).targets[0]
    assert availability(target) == Missing(
        why=Why.NO_DATA, detail="all of it was planned maintenance"
    )


def test_no_window_is_as_no_frame() -> None:
    samples, length = drawn("1|1111001111|1")
    plain = of_day(trading_day(START, START + length), frames({"a": samples}, seen_before=("a",)))
    assert planned("1|1111001111|1") == plain


def test_the_page_shows_net_and_gross_and_marks_what_was_approved_afterwards() -> None:
    fact = planned("1|1111001111|1", ("a", 3, 7), retroactive=True)
    assert fact.targets[0].planned.retroactive_ms == 4 * TAU
    laid_out = section(fact, [(date(2025, 11, 1), fact)], page(promise("a", "99.9")))
    assert laid_out.verdict is Verdict.MET
    targets, stretches, windows = laid_out.tables
    row = dict(zip((c.key for c in targets.columns), targets.rows[0], strict=True))
    net, gross = row["availability"], row["gross"]
    assert isinstance(net, Band) and isinstance(gross, Band)
    assert (net.low.fraction, gross.low.fraction) == (1, Fraction(7, 10))
    assert "down, planned maintenance" in str(stretches.rows[0][1])
    assert windows.id == "uptime_maintenance"
    assert "RETROACTIVE" in str(windows.rows[0][-1]) and "Ann" in str(windows.rows[0])
    assert any(note.startswith("Retroactive") and "of A" in note for note in laid_out.notes)


def test_without_maintenance_the_page_says_nothing_of_it() -> None:
    fact = measured(a="1|1111001111|1")
    laid_out = section(fact, [(date(2025, 11, 1), fact)], page(promise("a", "99.9")))
    assert [t.id for t in laid_out.tables] == ["uptime_targets", "uptime_stretches"]
    assert "gross" not in [c.key for c in laid_out.tables[0].columns]


# -- laws --------------------------------------------------------------------------------------

MARGIN = 600_000  # what the source reads around a window
FIRST, SECOND = 1_200_000, 1_500_000  # lengths of two adjacent windows


@st.composite
def histories(draw: st.DrawFn) -> dict[str, tuple[int, list[tuple[int, bool]]]]:
    """One to four targets: interval and samples, with gaps, outages and uneven scrapes."""
    made = {}
    for name in "abcd"[: draw(st.integers(1, 4))]:
        tau = draw(st.sampled_from([15_000, 30_000, 60_000]))
        at = START - MARGIN - draw(st.integers(0, tau))
        samples = []
        for _ in range(draw(st.integers(0, 9))):
            up = draw(st.sampled_from([True, True, False]))
            for _ in range(draw(st.integers(1, 40))):
                at += tau + draw(st.sampled_from([0, 0, 0, 3, -2, tau // 3]))
                samples.append((at, up))
            at += draw(st.sampled_from([0, 0, 1, 3, 20])) * tau
        made[name] = (tau, samples)
    return made


def read(history: Mapping[str, tuple[int, Samples]], start: int, end: int) -> dict[str, Frame]:
    """What the source would give for a window; the interval is known from the whole history."""
    near = {
        name: [s for s in samples if start - MARGIN <= s[0] <= end + MARGIN]
        for name, (_, samples) in history.items()
    }
    seen = [name for name, (_, samples) in history.items() if samples and samples[0][0] < start]
    made = frames(near, tau={n: tau for n, (tau, _) in history.items()}, seen_before=seen)
    table = made["uptime_targets"].table
    table["interval_ms"] = [tau for tau, _ in history.values()]
    return made


windows_of_maintenance = st.lists(
    st.tuples(st.sampled_from(["a", "b", "*"]), st.integers(-20, 180), st.integers(1, 60)),
    max_size=3,
).map(lambda found: [(target, lo, lo + length) for target, lo, length in found])


@given(histories(), windows_of_maintenance, st.sampled_from(["flag", "exclude", "down"]))
@settings(max_examples=150, deadline=None)
def test_two_days_merge_into_what_both_together_measure(
    history: dict[str, tuple[int, list[tuple[int, bool]]]],
    windows: list[tuple[str, float, float]],
    policy: str,
) -> None:
    midnight, end = START + FIRST, START + FIRST + SECOND
    facts = []
    for span in [(START, midnight), (midnight, end), (START, end)]:
        made = read(history, *span)
        made["uptime_targets"].table["no_data"] = policy
        made["maintenance"] = maintenance(*windows)
        facts.append(of_day(trading_day(*span), made))
    one_day, next_day, both = facts
    assert isinstance(one_day, UptimeFact) and isinstance(next_day, UptimeFact)
    assert merge([(1, one_day), (2, next_day)]) == both
    assert merge([(1, one_day)]) == one_day


@given(
    st.sampled_from([5_000, 15_000, 60_000]),
    st.lists(st.tuples(st.integers(2, 12), st.integers(0, 99)), min_size=0, max_size=6),
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 9)), max_size=3),
    st.integers(0, 59_999),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_the_truth_lies_within_the_bounds(
    tau: int,
    turns: list[tuple[int, int]],
    gaps: list[tuple[int, int]],
    phase: int,
    chance: object,
) -> None:
    # Truth: alternating up and down spells of at least two intervals each.
    length = 60 * tau
    changes, at = [], START
    for whole, part in turns:
        at += whole * tau + part * tau // 100
        changes.append(at)

    def is_up(t: int) -> bool:
        return sum(change <= t for change in changes) % 2 == 0

    edges = [START, *(c for c in changes if c < START + length), START + length]
    spells = itertools.pairwise(edges)
    true_up = sum(hi - lo for n, (lo, hi) in enumerate(spells) if n % 2 == 0)
    # Scrapes: every interval, up to a third of one late, some of them missing.
    samples = []
    for k in range(-5, 66):
        if any(lo <= k < lo + n for lo, n in gaps):
            continue
        t = START + k * tau + phase % tau + chance.randrange(tau // 3)  # type: ignore[attr-defined]
        samples.append((t, is_up(t)))
    fact = of_day(
        trading_day(START, START + length), read({"a": (tau, samples)}, START, START + length)
    )
    assert isinstance(fact, UptimeFact)
    assert fact.targets[0].low_ms <= true_up <= fact.targets[0].high_ms


def test_only_the_longest_stretches_are_kept_and_totals_count_all() -> None:
    flaps = MAX_STRETCHES + 5
    fact = one("1|" + "01" * 5 + "001" * (flaps - 5) + "|1")
    assert len(fact.stretches) == MAX_STRETCHES and fact.stretches_dropped == 5
    assert {s.length_ms for s in fact.stretches} == {2 * TAU}
    assert fact.down_ms == (5 * 1 + (flaps - 5) * 2) * TAU


def test_a_fact_survives_its_json() -> None:
    fact = measured(a="1|110011|1", b="1|1....1|1")
    assert UptimeFact.model_validate_json(fact.model_dump_json()) == fact


# -- the page ----------------------------------------------------------------------------------


def promise(name: str, percentage: str) -> dict[str, Target]:
    key = f"availability.{name}"
    return {key: Target(id=key, comparator="ge", value=Decimal(percentage), unit="%")}


def page(targets: Mapping[str, Target], kind: str = "daily") -> Context:
    span = day_span(date(2025, 11, 1)) if kind == "daily" else week_span(date(2025, 11, 1))
    return Context(span=span, zone="UTC", base="USD", targets=targets)


@pytest.mark.parametrize(
    ("line", "percentage", "verdict"),
    [
        ("1|11111111|1", "99.9", Verdict.MET),
        ("1|1100001111|1", "99.9", Verdict.MISSED),
        # Up 8 of 10, unknown 2: between 70 and 100 %.
        ("1|1111..1111|1", "99.9", Verdict.UNKNOWN),
        ("1|1111..1111|1", "70", Verdict.MET),
        ("1|1111..1111|1", "70.001", Verdict.UNKNOWN),
        # Down 4 of 10, two transitions: 50 to 70 %.
        ("1|1100001111|1", "70", Verdict.UNKNOWN),
        ("1|1100001111|1", "70.001", Verdict.MISSED),
        ("|..........|", "99.9", Verdict.UNKNOWN),
    ],
)
def test_met_by_the_lower_bound_missed_by_the_upper_one(
    line: str, percentage: str, verdict: Verdict
) -> None:
    fact = measured(a=line)
    laid_out = section(fact, [(date(2025, 11, 1), fact)], page(promise("a", percentage)))
    (figure,) = laid_out.figures
    assert figure.id == "uptime.a"
    assert (figure.verdict, laid_out.verdict) == (verdict, verdict)


def test_the_band_holds_both_bounds() -> None:
    fact = measured(a="1|1111..1111|1")
    laid_out = section(fact, [(date(2025, 11, 1), fact)], page(promise("a", "99.9")))
    band = laid_out.figures[0].value
    assert isinstance(band, Band)
    assert (band.low.fraction, band.high.fraction) == (Fraction(7, 10), 1)
    assert "between" not in laid_out.summary
    assert "A may have missed 99.9 % with 70.000 to 100.000 %" in laid_out.summary


def test_a_promise_nobody_measures_is_not_measured_never_met() -> None:
    fact = measured(a="1|1111|1")
    laid_out = section(fact, [(date(2025, 11, 1), fact)], page(promise("kibana", "99.9")))
    (figure,) = laid_out.figures
    assert isinstance(figure.value, Missing) and figure.value.why is Why.NOT_MEASURED
    assert laid_out.verdict is Verdict.UNKNOWN


def test_a_missing_fact_is_a_section_that_says_so() -> None:
    why = Missing(why=Why.UNREACHABLE, detail="connection refused")
    laid_out = section(why, [(date(2025, 11, 1), why)], page(promise("a", "99.9")))
    assert laid_out.verdict is Verdict.UNKNOWN
    assert "source unreachable: connection refused" in laid_out.summary
    assert laid_out.figures[0].value == why
    assert not laid_out.tables and not laid_out.charts


def test_a_day_that_was_not_sealed_counts_as_unknown() -> None:
    # Six days of 24 h fully up and one missing: at least 6/7, at most all.
    day_ms = 86_400_000
    monday = date(2025, 10, 27)
    facts: list[tuple[date, UptimeFact | Missing]] = []
    for n in range(6):
        start = 1_761_523_200_000 + n * day_ms  # 2025-10-27 00:00 UTC
        clean = frames({}, clean={"a": day_ms // TAU})
        fact = of_day(trading_day(start, start + day_ms), clean)
        assert isinstance(fact, UptimeFact)
        facts.append((monday + timedelta(n), fact))
    week = merge([(d, f) for d, f in facts if isinstance(f, UptimeFact)])
    facts.append((monday + timedelta(6), Missing(why=Why.NOT_SEALED)))
    laid_out = section(week, facts, page(promise("a", "99.9"), "weekly"))
    (figure,) = laid_out.figures
    assert isinstance(figure.value, Band)
    assert (figure.value.low.fraction, figure.value.high.fraction) == (Fraction(6, 7), 1)
    assert figure.verdict is Verdict.UNKNOWN
    assert isinstance(figure.series[6].value, Missing)


def test_the_timeline_covers_the_window_without_overlap() -> None:
    fact = measured(a="1|110011..11|1", b="1|1111111111|1")
    laid_out = section(fact, [(date(2025, 11, 1), fact)], page({}))
    (timeline,) = laid_out.charts
    assert isinstance(timeline, TimelineChart)
    (first,) = timeline.rows  # b was up throughout and nothing was promised of it
    spans = [(s.state, s.end_ms - s.start_ms) for s in first.spans]
    assert spans == [
        ("up", 2 * TAU),
        ("down", 2 * TAU),
        ("up", 2 * TAU),
        ("unknown", 2 * TAU),
        ("up", 2 * TAU),
    ]
    assert (first.label, first.spans[0].start_ms, first.spans[-1].end_ms) == (
        "A",
        START,
        START + 10 * TAU,
    )
    assert laid_out.verdict is None


def test_an_availability_below_something_is_refused() -> None:
    fact = measured(a="1|1111|1")
    odd = {
        "availability.a": Target(id="availability.a", comparator="lt", value=Decimal(1), unit="%")
    }
    with pytest.raises(ValidationFailed, match=r"availability\.a: 'below 1 %' is no availability"):
        section(fact, [(date(2025, 11, 1), fact)], page(odd))


def test_bounds_are_rounded_away_from_each_other() -> None:
    two_thirds = Fraction(2, 3)
    assert percent(two_thirds, ROUND_FLOOR) == Decimal("66.666")
    assert percent(two_thirds, ROUND_CEILING) == Decimal("66.667")
    assert percent(Fraction(999_999_999, 1_000_000_000), ROUND_FLOOR) == Decimal("99.999")
