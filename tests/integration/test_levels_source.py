"""What the service-level measure is given, from a real server over a history written here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reporting.demo.prometheus import build_blocks, free_port, running_prometheus
from reporting.errors import SourceUnavailable
from reporting.model import Frame, Missing
from reporting.periods import local_midnight
from reporting.policy.indicators import (
    CalendarWindow,
    Counts,
    Objective,
    Occurrences,
    Query,
    RatioTimeslices,
    Share,
    State,
    Threshold,
    Timeslices,
)
from reporting.sources.prometheus import MARGIN_MS, PrometheusSource, queries_of

from .prometheus_fixtures import (
    VAR,
    Samples,
    lacking,
    left_open,
    proxied,
    scrapes,
    write_series,
)

pytestmark = pytest.mark.skipif(
    bool(lacking("prometheus", "promtool")), reason=lacking("prometheus", "promtool")
)

ZONE, FAR = "America/New_York", "Asia/Tokyo"
DAY = date(2025, 11, 5)
EPOCH = local_midnight(date(1970, 1, 2), "UTC") - timedelta(days=1)


def midnight(day: date, zone: str = ZONE) -> int:
    return (local_midnight(day, zone) - EPOCH) // timedelta(milliseconds=1)


A, B = midnight(DAY), midnight(DAY + timedelta(1))
START, END = A - 24 * 3_600_000, B + 3 * 3_600_000
HOUR, MINUTE = 3_600_000, 60_000


def counted(times: list[int], per_hour: int, since: int = START) -> Samples:
    """A counter that goes up evenly from 0 at ``since``."""
    return [(t, (t - since) * per_hour // HOUR) for t in times if t >= since]


EVERY_30 = scrapes(START, END, 30_000, 7_123)
RESET_AT, GONE, BORN, NEW_JOB = A + 5 * HOUR + 11_000, A + 3 * HOUR, A + 9 * HOUR + 4, A + 15 * HOUR
GAP = (A + 7 * HOUR, A + 7 * HOUR + 20 * MINUTE)
BOUNDS = {"0.005": 0.5, "0.01": 0.9, "0.1": 1.0, "+Inf": 1.0}
GAUGE = [(t, 40 + 20 * np.sin(t / 3_000_000).item()) for t in EVERY_30]

#: Values that mean something else as regular expressions.
ODD = ["a.b-c d", "axb-c d", "a|b", "a", "(x)", "x", "^a$", "[a]", "a*", "naïve"]
FAMILIES: Mapping[str, tuple[str, Mapping[str, Samples]]] = {
    "up": (
        "gauge",
        {
            'up{job="api",instance="a:1"}': [(t, 1) for t in EVERY_30],
            'up{job="new",instance="n:1"}': [(t, 1) for t in EVERY_30 if t >= NEW_JOB],
        },
    ),
    "requests": (
        "counter",
        {
            'requests_total{job="api",instance="a:1",code="200"}': counted(EVERY_30, 7_200),
            'requests_total{job="api",instance="a:1",code="500"}': counted(EVERY_30, 90, BORN),
            'requests_total{job="api",instance="a:1",code="502"}': [(EVERY_30[-400], 1)],
            'requests_total{job="new",instance="n:1",code="200"}': counted(
                EVERY_30, 100, NEW_JOB - HOUR
            )[120:],
        },
    ),
    "resets": (
        "counter",
        {
            'resets_total{job="api",instance="a:1"}': [
                *counted([t for t in EVERY_30 if t < RESET_AT], 600),
                *counted(EVERY_30, 600, RESET_AT),
            ]
        },
    ),
    "gaps": (
        "counter",
        {
            'gaps_total{job="api",instance="a:1"}': counted(
                scrapes(START, END, 30_000, 7_123, [GAP]), 600
            )
        },
    ),
    "back": (
        "counter",
        {
            'back_total{job="api",instance="a:1"}': counted(
                scrapes(START, END, 30_000, 7_123, [(A - 5 * HOUR, A + HOUR)]), 600
            )
        },
    ),
    "at_midnight": (
        "counter",
        {
            'at_midnight_total{job="api",instance="a:1"}': counted(
                scrapes(START, END, 60_000, 0), 600
            )
        },
    ),
    "took_seconds": (
        "histogram",
        {
            **{
                f'took_seconds_bucket{{job="api",instance="a:1",le="{le}"}}': [
                    (t, int(v * share)) for t, v in counted(EVERY_30, 3_600)
                ]
                for le, share in BOUNDS.items()
            },
            'took_seconds_count{job="api",instance="a:1"}': counted(EVERY_30, 3_600),
            'took_seconds_sum{job="api",instance="a:1"}': [
                (t, v * 0.004) for t, v in counted(EVERY_30, 3_600)
            ],
        },
    ),
    "use_ratio": ("gauge", {'use_ratio{instance="a:1"}': [(t, v / 100) for t, v in GAUGE]}),
    "twin": (  # of a target of the same job that was not scraped before
        "counter",
        {'twin_total{job="api",instance="c:1"}': counted(EVERY_30, 90, BORN)[1:]},
    ),
    "mixed": (
        "counter",
        {
            'mixed_total{job="api",instance="a:1",kind="old"}': [
                (t, 5) for t in EVERY_30 if not A - 5 * HOUR <= t < A + 2 * HOUR
            ],
            'mixed_total{job="api",instance="a:1",kind="new"}': counted(EVERY_30, 90, BORN),
        },
    ),
    "odd": (
        "counter",
        {
            f'odd_total{{job="{job}",instance="a:1"}}': [(t, n) for t in EVERY_30]
            for n, job in enumerate(ODD)
        },
    ),
    "load1": (
        "gauge",
        {
            'load1{job="node",instance="a:1"}': GAUGE,
            'load1{job="node",instance="b:1"}': GAUGE,
        },
    ),
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("levels")
    write_series(folder / "samples.om", FAMILIES)
    build_blocks(folder / "samples.om", folder / "data", VAR)
    with running_prometheus(folder / "data", VAR) as url:
        yield url


@pytest.fixture
def source(url: str) -> PrometheusSource:
    return PrometheusSource(url)


def query(selector: str, **given: Any) -> Query:
    return Query(**{"text": selector, "selector": selector, **given})


def objective(name: str, indicator: Any, **given: Any) -> Objective:
    fields: dict[str, Any] = {
        "id": name,
        "slo": name,
        "title": name.title(),
        "system": "tests",
        "component": "api",
        "indicator": indicator,
        "budgeting": Occurrences(),
        "goal": Decimal("0.99"),
        "strict": False,
        "window": CalendarWindow(1, "month", date(2025, 1, 1)),
        "zone": ZONE,
        "no_data": "flag",
    }
    return Objective(**{**fields, **given})


def counts(numerator: str, total: str, **given: Any) -> Counts:
    return Counts(query(numerator, summed=True), query(total, summed=True), **given)


LATENCY = counts(
    'took_seconds_bucket{job="api",le="0.005"}',
    'took_seconds_count{job="api"}',
    histogram='took_seconds_bucket{job="api"}',
)
STEADY = counts('requests_total{job="api",code="200"}', 'requests_total{job="api",code="200"}')


class Read:
    """The three frames of one reading, by what tests ask of them."""

    def __init__(self, frames: Mapping[str, Frame | Missing]) -> None:
        tables = []
        for name in ("level_queries", "level_series", "level_samples"):
            frame = frames[name]
            assert isinstance(frame, Frame)
            tables.append(frame.table)
            if name == "level_queries":
                self.findings, self.control = frame.findings, frame.coverage.control
                self.text = frame.coverage.text
        self.queries, self.all_series, self.all_samples = tables

    def row(self, name: str) -> dict[str, Any]:
        (row,) = self.queries[self.queries["objective"] == name].to_dict("records")
        return {str(key): value for key, value in row.items()}

    def series(self, name: str, role: str) -> pd.DataFrame:
        table = self.all_series
        return table[(table["objective"] == name) & (table["role"] == role)]

    def one(self, name: str, role: str) -> dict[str, Any]:
        (row,) = self.series(name, role).to_dict("records")
        return {str(key): value for key, value in row.items()}

    def samples(self, number: int) -> list[tuple[int, float]]:
        rows = self.all_samples[self.all_samples["series"] == number]
        return list(zip(rows["at_ms"].tolist(), rows["value"].tolist(), strict=True))


def read(source: PrometheusSource, *objectives: Objective) -> Read:
    return Read(source.read_levels(objectives, DAY))


def family(text: str) -> Samples:
    return next(series[text] for _, series in FAMILIES.values() if text in series)


def near(samples: Samples) -> list[tuple[int, float]]:
    """What is to be read of a series that is read in full."""
    return [(t, v) for t, v in samples if A - MARGIN_MS <= t <= B + MARGIN_MS]


def beside(samples: Samples, edge: int) -> list[tuple[int, float]]:
    """The last sample up to ``edge`` and the first one after it."""
    after = next(i for i, (t, _) in enumerate(samples) if t > edge)
    return list(samples[after - 1 : after + 1])


@pytest.mark.parametrize("name", ["requests", "at_midnight"])
def test_of_a_steady_counter_the_samples_beside_both_edges_are_read(
    source: PrometheusSource, name: str
) -> None:
    selector = {
        "requests": 'requests_total{job="api",code="200"}',
        "at_midnight": "at_midnight_total",
    }[name]
    got = read(source, objective("x", counts(selector, selector)))

    series = got.one("x", "total")
    assert series["clean"] and series["seen_before"]
    texts = [text for text in FAMILIES[name][1] if name != "requests" or 'api",ins' in text]
    written = FAMILIES[name][1][texts[0]]
    assert series["interval_ms"] == written[1][0] - written[0][0]
    samples = got.samples(series["series"])
    assert set(beside(written, A) + beside(written, B)) <= set(samples)
    assert len(samples) <= 2 * 4 and set(samples) <= set(written)
    assert got.all_samples["at_ms"].dtype == np.int64
    assert f"{selector}[" in got.text and f"{selector}[{B - A + 2 * MARGIN_MS}ms]" not in got.text


@pytest.mark.parametrize("name", ["resets", "gaps", "back"])
def test_a_counter_with_a_reset_or_a_gap_is_read_in_full(
    source: PrometheusSource, name: str
) -> None:
    got = read(source, objective("x", counts(f"{name}_total", f"{name}_total")))

    series = got.one("x", "total")
    assert not series["clean"] and series["seen_before"]
    written = family(f'{name}_total{{job="api",instance="a:1"}}')
    assert got.samples(series["series"]) == near(written)
    assert series["interval_ms"] == 30_000
    assert int(got.control["samples_read"]) == int(got.control["samples_counted"])
    assert int(got.control["samples_read"]) == len(near(written))


def test_a_series_that_appears_while_its_target_was_scraped_began_at_zero(
    source: PrometheusSource,
) -> None:
    api = objective(
        "api",
        counts('requests_total{job="api",code=~"5.."}', 'requests_total{job="api"}', good=False),
    )
    new = objective("new", counts('requests_total{job="new"}', 'requests_total{job="new"}'))
    got = read(source, api, new)

    bad = got.series("api", "numerator").set_index("labels")
    label = '{"code":"%s","instance":"a:1","job":"api"}'
    for code in ("500", "502"):
        row = bad.loc[label % code]
        assert (bool(row["seen_before"]), bool(row["up_before"])) == (False, True)
        # The one with a single sample has the interval of its target's others.
        assert row["interval_ms"] == 30_000
    total = got.series("api", "total").set_index("labels")
    assert total.loc[label % "200", "seen_before"]
    # Only the new ones are read in full, and so is the same series as part of the total.
    assert list(total["clean"]) == [True, False, False]
    for code in ("500", "502"):
        written = near(family(f'requests_total{{job="api",instance="a:1",code="{code}"}}'))
        assert got.samples(bad.loc[label % code, "series"]) == written
        assert got.samples(total.loc[label % code, "series"]) == written
    one = got.one("new", "total")
    assert (one["seen_before"], one["up_before"]) == (False, False)
    assert got.row("api")["numerator_good"] is False


def test_a_series_that_comes_back_is_no_birth_and_another_targets_up_says_nothing(
    source: PrometheusSource,
) -> None:
    got = read(
        source,
        objective("twin", counts("twin_total", "twin_total")),
        objective("mixed", counts("mixed_total", "mixed_total")),
    )

    twin = got.one("twin", "total")
    assert (twin["seen_before"], twin["up_before"]) == (False, False)
    mixed = got.series("mixed", "total")
    assert [bool(v) for v in mixed["seen_before"]] == [False, True]  # new, old
    assert [bool(v) for v in mixed["up_before"]] == [True, False]


def test_a_histogram_is_read_once_for_all_its_roles(source: PrometheusSource) -> None:
    got = read(source, objective("p95", LATENCY))

    assert list(got.series("p95", "bucket")["le"]) == sorted(BOUNDS)
    assert got.series("p95", "bucket")["clean"].all()
    numerator = got.one("p95", "numerator")
    assert numerator["le"] == "0.005"
    written = family('took_seconds_bucket{job="api",instance="a:1",le="0.005"}')
    assert set(beside(written, A)) <= set(got.samples(numerator["series"]))
    assert not got.series("p95", "sum").empty and not got.series("p95", "total").empty
    assert got.text.count("count_over_time(took_seconds_bucket") == 1
    assert 'le="0.005"' not in got.text


def test_a_bucket_is_found_however_its_bound_is_written(source: PrometheusSource) -> None:
    numerator = replace(LATENCY.numerator, selector='took_seconds_bucket{le="5e-3",job="api"}')
    lacks = replace(LATENCY.numerator, selector='took_seconds_bucket{le="0.2",job="api"}')
    got = read(
        source,
        objective("odd", replace(LATENCY, numerator=numerator)),
        objective("lacks", replace(LATENCY, numerator=lacks)),
    )

    assert got.one("odd", "numerator")["le"] == "0.005"
    assert got.row("lacks")["missing"].startswith('no bucket le="0.2", only +Inf, 0.005')


def test_slices_need_every_sample_of_the_share_but_not_of_the_histogram(
    source: PrometheusSource,
) -> None:
    slices = Timeslices(60_000, Decimal("0.95"))
    got = read(source, objective("p95", LATENCY, budgeting=slices))

    written = near(family('took_seconds_bucket{job="api",instance="a:1",le="0.005"}'))
    assert got.samples(got.one("p95", "numerator")["series"]) == written
    assert not got.one("p95", "total")["clean"]
    assert got.series("p95", "bucket")["clean"].all()
    row = got.row("p95")
    assert (row["budgeting"], row["slice_ms"], row["slice_target"]) == (
        "timeslices",
        60_000,
        "0.95",
    )
    by_ratio = read(source, objective("p95", LATENCY, budgeting=RatioTimeslices(300_000)))
    assert by_ratio.row("p95")["budgeting"] == "ratio_timeslices"
    assert not by_ratio.one("p95", "numerator")["clean"]


def test_values_over_time_are_read_in_full(source: PrometheusSource) -> None:
    selector = 'load1{job="node",instance="a:1"}'
    got = read(
        source,
        objective("load", Threshold(query(selector), "lt", Decimal("55.50"))),
        objective("use", Share(query("use_ratio", scale=Decimal("0.01")), success=False)),
    )

    load = got.row("load")
    assert (load["kind"], load["comparator"], load["value"]) == ("threshold", "lt", "55.5")
    assert got.samples(got.one("load", "value")["series"]) == near(GAUGE)
    use = got.row("use")
    assert (use["kind"], use["scale"], use["success"]) == ("share", "0.01", False)
    assert len(got.samples(got.one("use", "value")["series"])) == len(near(GAUGE))


def test_a_selector_of_several_objectives_is_asked_once(source: PrometheusSource) -> None:
    selector = 'load1{job="node",instance="a:1"}'
    pair = [
        objective(name, Threshold(query(selector), "lt", Decimal(limit)))
        for name, limit in (("one", 50), ("two", 60))
    ]
    got = read(source, *pair)

    assert got.text.count(f"{selector}[{B - A + 2 * MARGIN_MS}ms]\n") == 1
    first, second = got.one("one", "value"), got.one("two", "value")
    assert first["series"] != second["series"]
    assert got.samples(first["series"]) == got.samples(second["series"])


def test_selectors_asked_as_one_are_told_apart_by_their_value_not_by_a_pattern(
    source: PrometheusSource,
) -> None:
    chosen = [
        objective(f"odd{n}", counts(f'odd_total{{job="{job}"}}', f'odd_total{{ job = "{job}", }}'))
        for n, job in enumerate(ODD)
    ]
    got = read(source, *chosen)

    assert got.text.count("resets(") == 1
    for n in range(len(ODD)):
        assert {v for _, v in got.samples(got.one(f"odd{n}", "total")["series"])} == {n}
        assert {v for _, v in got.samples(got.one(f"odd{n}", "numerator")["series"])} == {n}


def test_an_expression_is_evaluated_at_steps_and_a_note_says_so(source: PrometheusSource) -> None:
    text = 'max(load1{job="node"}) / 2'
    got = read(source, objective("x", Threshold(Query(text, None), "lt", Decimal(50))))

    series = got.one("x", "value")
    assert series["interval_ms"] == 60_000
    samples = got.samples(series["series"])
    assert len(samples) == (B - A + 2 * MARGIN_MS) // MINUTE + 1
    assert all(t % MINUTE == 0 for t, _ in samples)
    latest = {t - t % MINUTE + MINUTE: v / 2 for t, v in near(GAUGE)}
    assert all(latest[t] == v for t, v in samples if t > A)
    (note,) = got.findings
    assert (note.check, note.severity, note.samples) == ("levels.stepped", "note", ("x",))


def test_each_objective_has_the_day_of_its_own_zone(source: PrometheusSource) -> None:
    here, there = objective("here", STEADY), objective("there", STEADY, zone=FAR)
    got = read(source, here, there)

    assert (got.row("here")["start_ms"], got.row("here")["end_ms"]) == (A, B)
    start = midnight(DAY, FAR)
    assert (got.row("there")["start_ms"], got.row("there")["end_ms"]) == (start, start + 24 * HOUR)
    samples = got.samples(got.one("there", "total")["series"])
    written = family('requests_total{job="api",instance="a:1",code="200"}')
    assert set(beside(written, start)) <= set(samples)


def test_the_servers_own_increase_is_there_to_cross_check(source: PrometheusSource) -> None:
    got = read(source, objective("x", STEADY), objective("y", counts("none_total", "none_total")))

    assert abs(float(got.row("x")["increase"]) - 24 * 7_200) < 24 * 7_200 * 0.001
    assert got.row("y")["increase"] == ""


@pytest.mark.parametrize(
    ("indicator", "missing", "check"),
    [
        (Threshold(query("load1"), "lt", Decimal(9)), "several series", "several_series"),
        (Threshold(query("load1", summed=True), "lt", Decimal(9)), "", ""),
        (Threshold(query("load9"), "lt", Decimal(9)), "no series", ""),
        (counts("none_total", "none_total"), "no series", ""),
        (Threshold(query("load1{"), "lt", Decimal(9)), "value: HTTP 400: ", "query_failed"),
        (counts("requests_total{job=}", "resets_total"), "numerator: HTTP 400", "query_failed"),
        (
            Counts(query("requests_total", summed=False), query("requests_total", summed=True)),
            "several series",
            "several_series",
        ),
        (
            Counts(query("resets_total", scale=Decimal(2)), query("resets_total")),
            "numerator and total have different factors",
            "",
        ),
    ],
)
def test_what_can_not_be_read_says_why_and_the_others_are_read(
    source: PrometheusSource, indicator: Any, missing: str, check: str
) -> None:
    got = read(source, objective("odd", indicator), objective("steady", STEADY))

    assert got.row("odd")["missing"].startswith(missing)
    assert bool(missing) == got.series("odd", "value").empty or check == ""
    assert bool(missing) == bool(got.row("odd")["missing"])
    assert got.row("steady")["missing"] == "" and got.one("steady", "total")["clean"]
    assert {f.check for f in got.findings} == ({f"levels.{check}"} if check else set())
    for finding in got.findings:
        assert finding.severity == "error"
        assert "odd" in finding.detail and "config/objectives/tests.yaml" in finding.detail


def test_what_explain_shows_is_what_is_sent(url: str) -> None:
    chosen = [
        objective("p95", LATENCY),
        objective("gap", counts("gaps_total", "gaps_total")),
        objective("load", Threshold(query('load1{instance="a:1"}'), "lt", Decimal(9))),
        objective("max", Threshold(Query("max(load1)", None), "lt", Decimal(9))),
    ]
    for one in chosen:
        sent = read(PrometheusSource(url), one).text
        shown = queries_of(one, DAY)
        for line in sent.splitlines():
            inner = re.search(r'label_replace\((.*), "reporting_part"', line)
            text = inner[1] if inner else line
            extra = ("present_over_time", f"[{B - A + 2 * MARGIN_MS}ms])")  # after the samples
            assert text in shown or any(word in text for word in extra), text
    state = objective("api", State(query('up{job="api"}')))
    assert f'up{{job="api"}}[{B - A + 2 * MARGIN_MS}ms]' in queries_of(state, DAY)
    assert 'count_over_time(up{job="api"}[3599999ms])' in queries_of(state, DAY)


def test_labels_are_canonical_json_without_the_name(source: PrometheusSource) -> None:
    got = read(source, objective("x", STEADY), objective("gap", counts("gaps_total", "gaps_total")))

    for row in got.all_series.to_dict("records"):
        labels = json.loads(row["labels"])
        assert "__name__" not in labels and "reporting_part" not in labels
        assert row["labels"] == json.dumps(labels, sort_keys=True, separators=(",", ":"))


def test_states_have_the_day_of_their_zone_and_failures_count_as_success_turned_round(
    source: PrometheusSource,
) -> None:
    chosen = [
        objective("api", State(query('up{job="api"}'))),
        objective("far", State(query('up{job="api"}')), zone=FAR, no_data="down"),
        objective("off", State(query('up{job="api"}'), success=False)),
        objective("new", State(query('up{job="new"}'), success=False)),
        objective("both", State(Query('min(up{job="api"})', None))),
    ]
    frames = source.read_states([*chosen, objective("other", STEADY)], DAY)
    targets, samples = frames["uptime_targets"], frames["uptime_samples"]
    assert isinstance(targets, Frame) and isinstance(samples, Frame)
    rows = targets.table.set_index("target")
    assert list(rows.index) == ["api", "both", "far", "new", "off"]
    assert (rows.loc["api", "start_ms"], rows.loc["api", "end_ms"]) == (A, B)
    assert rows.loc["far", "start_ms"] == midnight(DAY, FAR)
    assert list(rows["no_data"]) == ["flag", "flag", "down", "flag", "flag"]
    # A series that is always 1 where 0 is good is fetched raw and never up.
    assert list(rows["clean"]) == [True, False, True, False, False]
    by_target = dict(list(samples.table.groupby("target")["up"]))
    assert not by_target["off"].any() and not by_target["new"].any()
    assert by_target["both"].all() and rows.loc["both", "interval_ms"] == 60_000
    assert [f.check for f in targets.findings] == ["uptime.stepped"]


# -- a server that is slow, busy, or gone --------------------------------------------------------

LOAD = Threshold(query('load1{job="node",instance="a:1"}'), "lt", Decimal(55))
USE = Threshold(query("use_ratio"), "lt", Decimal(1))
ALL = [
    objective("gap", counts("gaps_total", "gaps_total")),
    objective("load", LOAD),
    objective("p95", LATENCY),
    objective("steady", STEADY),
    objective("use", USE),
]


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reporting.sources.prometheus.client.BACKOFF_S", 0.01)


def hurried(url: str, **given: Any) -> PrometheusSource:
    return PrometheusSource(url, **{"timeout_s": 0.5, **given})


def same(one: Read, other: Read, *names: str) -> None:
    """Both readings have the same rows and samples of ``names``."""
    for name in names:
        here, there = one.row(name), other.row(name)
        # Extrapolated by the server, and from where depends on how its ranges end.
        increases = [float(row.pop("increase") or 0) for row in (here, there)]
        assert abs(increases[0] - increases[1]) < 0.01
        assert here == there
        for here, there in zip(rows(one, name), rows(other, name), strict=True):
            assert one.samples(here.pop("series")) == other.samples(there.pop("series"))
            assert here == there


def rows(got: Read, name: str) -> list[dict[str, Any]]:
    table = got.all_series[got.all_series["objective"] == name]
    ordered = table.sort_values(["role", "labels"]).to_dict("records")
    return [{str(k): v for k, v in row.items()} for row in ordered]


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    ("ill", "reason"),
    [
        (422, "HTTP 422 after 3 tries: 422 as the test wants it"),
        (429, "HTTP 429 after 3 tries: 429"),
        (503, "HTTP 503 after 3 tries: 503"),
        (400, "HTTP 400: 400"),
        ("drop", "ConnectionError after 3 tries: "),
        ("stall", "ReadTimeout after 3 tries: "),
    ],
)
def test_a_query_that_is_never_answered_costs_its_own_objective_only(
    url: str, source: PrometheusSource, ill: str | int, reason: str
) -> None:
    asked: list[str] = []

    def change(text: str) -> str | int | None:
        asked.append(text)
        return ill if "load1" in text else None

    with proxied(url, change) as address:
        got = read(hurried(address), *ALL)

    assert got.row("load")["missing"].startswith(f"value: {reason}")
    (finding,) = got.findings
    assert (finding.check, finding.severity) == ("levels.query_failed", "error")
    assert finding.detail.startswith(f"load: {LOAD.query.selector} (value) was not answered")
    assert sum("load1" in text for text in asked) == (1 if ill == 400 else 3)
    same(got, read(source, *ALL), "gap", "p95", "steady", "use")


@pytest.mark.usefixtures("no_waiting")
def test_a_query_that_is_answered_at_the_third_try_is_as_good_as_any(
    url: str, source: PrometheusSource
) -> None:
    seen: dict[str, int] = {}

    def change(text: str) -> str | int | None:
        seen[text] = seen.get(text, 0) + 1
        return (429, "drop", None)[min(seen[text], 3) - 1]

    with proxied(url, change) as address:
        got = read(hurried(address), *ALL)

    assert min(seen.values()) == 3
    same(got, read(source, *ALL), *(o.id for o in ALL))


@pytest.mark.usefixtures("no_waiting")
def test_a_screen_that_is_not_answered_only_means_more_to_read(
    url: str, source: PrometheusSource
) -> None:
    with proxied(url, lambda text: 422 if "resets(took" in text else None) as address:
        got = read(hurried(address), *ALL)

    series = got.one("p95", "numerator")
    assert got.row("p95")["missing"] == "" and not series["clean"]
    written = family('took_seconds_bucket{job="api",instance="a:1",le="0.005"}')
    assert got.samples(series["series"]) == near(written)
    same(got, read(source, *ALL), "gap", "steady", "use", "load")


@pytest.mark.usefixtures("no_waiting")
def test_a_slow_server_costs_a_bounded_number_of_tries(url: str) -> None:
    loads = [
        objective(f"load{n}", Threshold(query(f'load1{{instance=~"{n}.*"}}'), "lt", Decimal(1)))
        for n in range(9)
    ]
    asked: list[str] = []

    def change(text: str) -> str | int | None:
        asked.append(text)
        return "stall" if "load1" in text else None

    with proxied(url, change) as address:
        got = read(hurried(address, timeout_s=0.2), *loads, objective("steady", STEADY))

    reasons = [got.row(o.id)["missing"] for o in loads]
    assert all(reason.startswith("value: ReadTimeout") for reason in reasons)
    # Three with every repetition; then one try each.
    assert sum("load1" in text for text in asked) == 3 * 3 + 6
    assert got.row("steady")["missing"] == ""


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("ill", ["drop", 503, 401, "stall"])
def test_a_server_that_answers_nothing_is_unavailable(url: str, ill: str | int) -> None:
    with proxied(url, lambda _: ill) as address:
        bad = hurried(address, timeout_s=0.2, retries=1)
        with pytest.raises(SourceUnavailable, match=r"did not answer: .*reporting doctor"):
            bad.read_levels(ALL, DAY)
        with pytest.raises(SourceUnavailable):
            bad.read_states([objective("api", State(query("up")))], DAY)


@pytest.mark.usefixtures("no_waiting")
def test_an_unreachable_server_is_unavailable() -> None:
    with pytest.raises(SourceUnavailable):
        hurried(f"http://127.0.0.1:{free_port()}", retries=1).read_levels(ALL, DAY)


@pytest.mark.usefixtures("no_waiting")
def test_a_target_whose_query_fails_is_unknown_and_the_others_are_read(
    url: str, source: PrometheusSource
) -> None:
    chosen = [
        objective(name, State(query(f'up{{job="{job}"}}')))
        for name, job in (("api", "api"), ("new", "new"), ("never", "never"))
    ]
    # Whatever is asked about "new" alone or with others fails, its raw samples too.
    with proxied(url, lambda text: 422 if "new" in text else None) as address:
        frames = hurried(address).read_states(chosen, DAY)
    targets, samples = frames["uptime_targets"], frames["uptime_samples"]
    assert isinstance(targets, Frame) and isinstance(samples, Frame)
    (finding,) = targets.findings
    assert (finding.check, finding.severity, finding.samples) == (
        "uptime.query_failed",
        "error",
        ("new",),
    )
    assert "HTTP 422 after 3 tries" in finding.detail
    assert list(targets.table["clean"]) == [True, False, False]
    assert samples.table.empty


# -- Prometheus 3 ---------------------------------------------------------------------------------


def test_ranges_without_their_left_end_give_the_same_samples(
    url: str, source: PrometheusSource
) -> None:
    """The server is Prometheus 2 behind a rewriting of each range by one millisecond: exactly
    what Prometheus 3 does. One counter has samples on every edge."""
    edge = objective("edge", counts("at_midnight_total", "at_midnight_total"))
    chosen = [*ALL, edge]
    with proxied(url, left_open) as address:
        three = PrometheusSource(address)
        assert (source.check().ranges, three.check().ranges) == ("closed", "left-open")
        got, expected = read(three, *chosen), read(source, *chosen)
    assert got.one("edge", "total")["clean"]
    same(got, expected, *(o.id for o in chosen))
    assert got.control == expected.control
