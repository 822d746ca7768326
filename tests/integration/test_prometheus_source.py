"""The Prometheus source and the uptime measure against a real server with a known truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest

from reporting.demo.prometheus import build_blocks, free_port, running_prometheus
from reporting.errors import SourceUnavailable
from reporting.measures.uptime import UptimeFact, of_day
from reporting.model import Frame, Missing, Why
from reporting.periods import TradingDay, local_midnight, trading_day
from reporting.sources.prometheus import MARGIN_MS, PrometheusSource

from .prometheus_fixtures import VAR, Story, lacking, left_open, proxied, write_openmetrics

pytestmark = pytest.mark.skipif(
    bool(lacking("prometheus", "promtool")), reason=lacking("prometheus", "promtool")
)

ZONE = "America/New_York"
# The second of these days has 25 hours.
DAYS = [date(2025, 11, 1), date(2025, 11, 2), date(2025, 11, 3)]
EPOCH = local_midnight(date(1970, 1, 2), "UTC") - timedelta(days=1)


def at(day: int, hour: int, minute: int = 0, second: int = 0, ms: int = 0) -> int:
    """A moment of the n-th day, in milliseconds since 1970."""
    midnight = (local_midnight(DAYS[day], ZONE) - EPOCH) // timedelta(milliseconds=1)
    return midnight + ((hour * 60 + minute) * 60 + second) * 1000 + ms


START, END = at(0, -3), at(2, 27)
COLLECTOR = (at(1, 5, 10, 3, 217), at(1, 5, 31, 44, 800))

STORIES = {
    "steady": Story(15_000, 7_301),
    "on_the_hour": Story(60_000, 0),
    "on_the_hour_15": Story(15_000, 0),
    "odd_interval": Story(7_000, 123),
    "outage": Story(15_000, 3_300, down=[(at(0, 10, 0, 1, 5), at(0, 10, 47, 9, 918))]),
    "outage_60": Story(60_000, 41_000, down=[(at(0, 10, 0, 1, 5), at(0, 10, 47, 9, 918))]),
    "over_midnight": Story(15_000, 1_111, down=[(at(0, 23, 50, 2), at(1, 0, 9, 31, 7))]),
    "ends_at_midnight": Story(15_000, 1_111, down=[(at(1, 23, 0), at(2, 0, 0, 5))]),
    "begins_at_midnight": Story(15_000, 1_111, down=[(at(1, 0, 0, 0, 5), at(1, 0, 4))]),
    "long_over": Story(5_000, 999, down=[(at(1, 3, 3, 3), at(1, 3, 3, 20))]),
    "flapping": Story(
        15_000, 12_000, down=[(at(2, 9, m, 4), at(2, 9, m, 37, 500)) for m in range(0, 50, 2)]
    ),
    "late_scrapes": Story(15_000, 500, late_ms=300, down=[(at(2, 1, 1), at(2, 1, 9))]),
    "vanished": Story(
        15_000, 8_000, down=[(at(0, 15, 2, 2, 2), END)], unseen=[(at(0, 15, 2, 2, 2), END)]
    ),
    "late_born": Story(
        60_000, 17_000, down=[(START, at(1, 11, 7, 7, 7))], unseen=[(START, at(1, 11, 7, 7, 7))]
    ),
    "scrape_gap": Story(15_000, 5_000, unseen=[(at(2, 14), at(2, 14, 3))]),
    # Hidden by hourly and by minutely counts alike: one pause of 29 s, and no sample missing.
    "phase_shift": Story(15_000, 500, shifted=(at(2, 12, 30), 14_000)),
    "never": Story(15_000, unseen=[(START, END)]),
}
STORIES = {
    name: Story(**{**vars(story), "unseen": [*story.unseen, COLLECTOR]})
    for name, story in STORIES.items()
}
QUERIES = {name: f'up{{job="{name}"}}' for name in STORIES}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("prometheus")
    double = Story(60_000, labels=[',instance="a"', ',instance="b"'])
    write_openmetrics(folder / "samples.om", {**STORIES, "double": double}, START, END)
    build_blocks(folder / "samples.om", folder / "data", VAR)
    with running_prometheus(folder / "data", VAR) as url:
        yield url


@pytest.fixture(scope="module")
def source(url: str) -> PrometheusSource:
    return PrometheusSource(url)


def a_day(n: int) -> TradingDay:
    return trading_day(DAYS[n], "XNYS", ZONE)


def measured(source: PrometheusSource, n: int, screen: bool = True) -> UptimeFact:
    found = of_day(a_day(n), source.read_up(QUERIES, a_day(n).window, screen=screen))
    assert isinstance(found, UptimeFact)
    return found


@pytest.fixture(scope="module")
def facts(source: PrometheusSource) -> Mapping[int, UptimeFact]:
    return {n: measured(source, n) for n in range(len(DAYS))}


@pytest.mark.parametrize("name", sorted(STORIES))
@pytest.mark.parametrize("n", range(len(DAYS)))
def test_the_truth_lies_within_the_bounds(
    facts: Mapping[int, UptimeFact], n: int, name: str
) -> None:
    window = a_day(n).window
    (target,) = [t for t in facts[n].targets if t.id == name]
    if name == "never":
        assert (target.up_ms, target.down_ms) == (0, 0)
        assert target.unknown_ms == target.window_ms
        return
    truth = STORIES[name].true_up_ms(window.start_ms, window.end_ms)
    assert target.low_ms <= truth <= target.high_ms
    # The bounds are also narrow: what was not looked at, and half an interval at each change.
    unseen = sum(
        max(0, min(b, window.end_ms) - max(a, window.start_ms)) for a, b in STORIES[name].unseen
    )
    assert target.high_ms - target.low_ms <= unseen + target.transitions * 2 * target.interval_ms


@pytest.mark.parametrize("n", range(len(DAYS)))
def test_the_screen_changes_no_fact(
    source: PrometheusSource, facts: Mapping[int, UptimeFact], n: int
) -> None:
    assert measured(source, n, screen=False) == facts[n]


@pytest.mark.parametrize("n", [1, 2])
def test_a_server_with_left_open_ranges_gives_the_same_facts(
    url: str, facts: Mapping[int, UptimeFact], n: int
) -> None:
    with proxied(url, left_open) as address:  # Prometheus 3 in this respect
        three = PrometheusSource(address)
        assert three.check().ranges == "left-open"
        assert measured(three, n) == facts[n]


def test_the_day_of_the_clock_change_has_25_hours(facts: Mapping[int, UptimeFact]) -> None:
    assert {t.window_ms for t in facts[1].targets} == {25 * 3_600_000}
    assert {t.window_ms for t in facts[0].targets} == {24 * 3_600_000}


def test_a_vanished_host_is_never_up_again(facts: Mapping[int, UptimeFact]) -> None:
    for n in (1, 2):
        (vanished,) = [t for t in facts[n].targets if t.id == "vanished"]
        assert (vanished.up_ms, vanished.down_ms) == (0, 0)
        assert vanished.target_lost_ms + vanished.collector_gap_ms == vanished.window_ms


def test_unknown_time_has_its_kind(facts: Mapping[int, UptimeFact]) -> None:
    by_id = {t.id: t for t in facts[1].targets}
    # The collector was away for 21 min 41.583 s: that long, less one scrape or more one.
    away = COLLECTOR[1] - COLLECTOR[0]
    for name in ("steady", "on_the_hour", "outage_60", "late_scrapes"):
        target = by_id[name]
        assert abs(target.collector_gap_ms - away) <= target.interval_ms
        assert (target.target_lost_ms, target.not_born_ms) == (0, 0)
    assert by_id["late_born"].not_born_ms > 10 * 3_600_000
    assert by_id["never"].not_born_ms == by_id["never"].window_ms
    (gap,) = [t for t in facts[2].targets if t.id == "scrape_gap"]
    assert abs(gap.target_lost_ms - 180_000) <= gap.interval_ms
    (shifted,) = [t for t in facts[2].targets if t.id == "phase_shift"]
    assert shifted.target_lost_ms == 29_000 - 15_000


def test_only_suspicious_series_are_fetched_raw(source: PrometheusSource) -> None:
    frames = source.read_up(QUERIES, a_day(2).window)
    targets, samples = frames["uptime_targets"], frames["uptime_samples"]
    assert isinstance(targets, Frame) and isinstance(samples, Frame)
    clean = set(targets.table.loc[targets.table["clean"], "target"])
    assert clean >= {"steady", "on_the_hour", "on_the_hour_15", "outage", "outage_60"}
    assert not clean & {"flapping", "vanished", "scrape_gap", "phase_shift", "ends_at_midnight"}
    assert set(samples.table["target"]).isdisjoint(clean)


def test_samples_are_exact_to_the_millisecond(source: PrometheusSource) -> None:
    window = a_day(2).window
    samples = source.read_up(QUERIES, window, screen=False)["uptime_samples"]
    assert isinstance(samples, Frame)
    table = samples.table
    for name in ("late_scrapes", "odd_interval"):
        rows = table[table["target"] == name]
        near = [
            (t, value == 1)
            for t, value in STORIES[name].samples(START, END)
            if window.start_ms - MARGIN_MS <= t <= window.end_ms + MARGIN_MS
        ]
        assert list(zip(rows["at_ms"], rows["up"], strict=True)) == near


def test_what_was_read_reconciles_with_the_servers_own_count(source: PrometheusSource) -> None:
    samples = source.read_up(QUERIES, a_day(1).window)["uptime_samples"]
    assert isinstance(samples, Frame)
    control = samples.coverage.control
    assert int(control["samples_read"]) == len(samples.table) == samples.coverage.rows > 50_000
    assert control["samples_counted"] == control["samples_read"]
    assert samples.findings == ()


def test_every_cited_query_can_be_read(source: PrometheusSource) -> None:
    frames = source.read_up(QUERIES, a_day(2).window)
    for frame in frames.values():
        assert isinstance(frame, Frame)
        text = source.query_texts()[frame.coverage.query_digest]
        assert 'up{job=~"' in text and "flapping" in text


def test_several_series_where_one_was_meant_are_a_finding(source: PrometheusSource) -> None:
    queries = {"double": 'up{job="double"}', "steady": 'up{job="steady"}'}
    frames = source.read_up(queries, a_day(0).window)
    targets = frames["uptime_targets"]
    assert isinstance(targets, Frame)
    (finding,) = targets.findings
    assert (finding.check, finding.severity, finding.count) == ("uptime.several_series", "error", 2)
    fact = of_day(a_day(0), frames)
    assert isinstance(fact, UptimeFact)
    double, steady = fact.targets
    assert (double.up_ms, double.several_series_ms) == (0, 24 * 3_600_000)
    assert steady.up_ms == 24 * 3_600_000


def test_more_targets_than_fit_into_one_query(source: PrometheusSource) -> None:
    queries = {f"t{n}": 'up{job="steady"}' for n in range(230)}
    fact = of_day(a_day(0), source.read_up(queries, a_day(0).window))
    assert isinstance(fact, UptimeFact)
    assert {t.up_ms for t in fact.targets} == {24 * 3_600_000} and len(fact.targets) == 230


def test_a_window_without_any_sample_is_missing_not_down(source: PrometheusSource) -> None:
    day = trading_day(date(2025, 6, 2), "XNYS", ZONE)
    frames = source.read_up(QUERIES, day.window)
    for frame in frames.values():
        assert isinstance(frame, Missing) and frame.why is Why.EMPTY
        assert "no sample of any of 17 targets" in frame.detail
    assert isinstance(of_day(day, frames), Missing)


def test_an_empty_server_is_missing(tmp_path: Path) -> None:
    with running_prometheus(tmp_path / "data", VAR) as url:
        source = PrometheusSource(url)
        frames = source.read_up(QUERIES, a_day(0).window)
        assert {type(frame) for frame in frames.values()} == {Missing}
        # And when it is gone, that is another outcome.
    with pytest.raises(SourceUnavailable, match="did not answer"):
        source.read_up(QUERIES, a_day(0).window)


def test_an_unreachable_server_is_named_without_its_password() -> None:
    nowhere = f"http://someone:hunter2@127.0.0.1:{free_port()}"
    source = PrometheusSource(nowhere, timeout_s=1, retries=1)
    with pytest.raises(SourceUnavailable) as failure:
        source.read_up(QUERIES, a_day(0).window)
    assert failure.value.exit_code == 75
    assert "http://127.0.0.1:" in str(failure.value) and "hunter2" not in str(failure.value)
    with pytest.raises(SourceUnavailable):
        source.check()


def test_a_wrong_query_is_unknown_throughout_and_the_others_are_measured(
    source: PrometheusSource, facts: Mapping[int, UptimeFact]
) -> None:
    frames = source.read_up({**QUERIES, "odd": "up{job=}"}, a_day(0).window)
    targets = frames["uptime_targets"]
    assert isinstance(targets, Frame)
    (finding,) = targets.findings
    assert (finding.check, finding.severity) == ("uptime.query_failed", "error")
    assert finding.detail.startswith("odd: up{job=} was not answered: HTTP 400: ")
    assert "config/objectives" in finding.detail
    fact = of_day(a_day(0), frames)
    assert isinstance(fact, UptimeFact)
    by_id = {t.id: t for t in fact.targets}
    assert by_id["odd"].unknown_ms == 24 * 3_600_000
    assert {name: t for name, t in by_id.items() if name != "odd"} == {
        t.id: t for t in facts[0].targets
    }


def test_check_tells_version_and_range_selectors(source: PrometheusSource) -> None:
    version, ranges = source.check()
    major = int(version.split(".")[0])
    assert ranges == ("closed" if major == 2 else "left-open")
