"""VictoriaMetrics over the same history as Prometheus gives the same frames.

What differs is known: its ``increase()`` is not extrapolated, its ranges have no left end, values
that are no whole numbers are kept to twelve digits, and a query that it can't read is answered with
422 where Prometheus says 400.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np
import pytest

from reporting.demo.prometheus import (
    build_blocks,
    child,
    find_binary,
    free_port,
    running_prometheus,
    wait_ready,
)
from reporting.model import Frame
from reporting.policy.indicators import Objective, Query, Share, State, Threshold, Timeslices
from reporting.sources.prometheus import PrometheusSource

from .prometheus_fixtures import VAR, lacking, write_series
from .test_levels_source import (
    ALL,
    DAY,
    FAMILIES,
    FAR,
    LATENCY,
    STEADY,
    Read,
    counts,
    objective,
    query,
    read,
    rows,
)

NEEDED = ("prometheus", "promtool", "victoria-metrics")
pytestmark = pytest.mark.skipif(bool(lacking(*NEEDED)), reason=lacking(*NEEDED))

LEVELS = [
    *ALL,
    objective(
        "born",
        counts('requests_total{job="api",code=~"5.."}', 'requests_total{job="api"}', good=False),
    ),
    objective("new", counts('requests_total{job="new"}', 'requests_total{job="new"}')),
    objective("reset", counts("resets_total", "resets_total")),
    objective("back", counts("back_total", "back_total")),
    objective("edge", counts("at_midnight_total", "at_midnight_total")),
    objective("far", STEADY, zone=FAR),
    objective("slices", LATENCY, budgeting=Timeslices(60_000, Decimal("0.95"))),
    objective("share", Share(query("use_ratio"))),
    objective("several", Threshold(query("load1"), "lt", Decimal(9))),
    objective("none", Threshold(query("load9"), "lt", Decimal(9))),
    objective("wrong", Threshold(query("load1{"), "lt", Decimal(9))),
]
STATES = [
    objective("api", State(query('up{job="api"}'))),
    objective("far", State(query('up{job="api"}')), zone=FAR),
    objective("off", State(query('up{job="api"}'), success=False)),
    objective("new", State(query('up{job="new"}'))),
    objective("all", State(query("up"))),
    objective("never", State(query('up{job="never"}'))),
]


@contextmanager
def running_victoria(folder: Path) -> Iterator[str]:
    """A VictoriaMetrics with nothing in it, that keeps what is older than its default month."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        str(find_binary("victoria-metrics", VAR)),
        f"-storageDataPath={folder / 'victoria'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=100y",
    ]
    with child(command, folder / "victoria.log") as process:
        assert wait_ready(f"{url}/health", process, 30)
        yield url


def send(url: str, body: str) -> None:
    opener = build_opener(ProxyHandler({}))
    with opener.open(Request(url, data=body.encode(), method="POST"), timeout=60) as answer:
        assert answer.status in (200, 204)


@pytest.fixture(scope="module")
def sources(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[PrometheusSource, PrometheusSource]]:
    """The same history in Prometheus and in VictoriaMetrics."""
    folder = tmp_path_factory.mktemp("victoria")
    write_series(folder / "samples.om", FAMILIES)
    build_blocks(folder / "samples.om", folder / "data", VAR)
    lines = [
        f"{text} {value!r} {t}\n"
        for _, series in FAMILIES.values()
        for text, samples in series.items()
        for t, value in samples
    ]
    with running_victoria(folder) as victoria:
        send(f"{victoria}/api/v1/import/prometheus", "".join(lines))
        send(f"{victoria}/internal/force_flush", "")  # else the last samples show after a second
        with running_prometheus(folder / "data", VAR) as prometheus:
            yield PrometheusSource(prometheus), PrometheusSource(victoria)


Sources = tuple[PrometheusSource, PrometheusSource]


@pytest.fixture(scope="module")
def both(sources: Sources) -> tuple[Read, Read]:
    return read(sources[0], *LEVELS), read(sources[1], *LEVELS)


def test_its_ranges_have_no_left_end(sources: Sources) -> None:
    assert [source.check().ranges for source in sources] == ["closed", "left-open"]


@pytest.mark.parametrize("one", LEVELS, ids=lambda one: one.id)
def test_the_series_and_samples_of_an_objective_are_the_same(
    both: tuple[Read, Read], one: Objective
) -> None:
    prometheus, victoria = both
    here, there = prometheus.row(one.id), victoria.row(one.id)
    increases = [float(row.pop("increase") or 0) for row in (here, there)]
    if one.id == "wrong":  # each says it in its own words
        assert here.pop("missing").startswith("value: HTTP 400: ")
        assert there.pop("missing").startswith("value: HTTP 422 after 3 tries: ")
    assert here == there
    for mine, its in zip(rows(prometheus, one.id), rows(victoria, one.id), strict=True):
        same_samples(prometheus.samples(mine.pop("series")), victoria.samples(its.pop("series")))
        assert mine == its
    assert abs(increases[0] - increases[1]) <= 0.001 * max(increases) or one.id in ("born", "new")


def same_samples(here: list[tuple[int, float]], there: list[tuple[int, float]]) -> None:
    """The same moments, and whole numbers the same; others it keeps to twelve digits."""
    assert [t for t, _ in here] == [t for t, _ in there]
    mine, its = (np.array([v for _, v in samples]) for samples in (here, there))
    whole = mine == np.rint(mine)
    assert np.array_equal(mine[whole], its[whole])
    assert np.allclose(mine, its, rtol=1e-11, atol=0)


def test_the_findings_are_the_same(both: tuple[Read, Read]) -> None:
    prometheus, victoria = both
    assert [(f.check, f.severity, f.count) for f in prometheus.findings] == [
        (f.check, f.severity, f.count) for f in victoria.findings
    ]
    assert prometheus.control == victoria.control


def test_an_expression_has_the_same_values_at_the_same_steps(sources: Sources) -> None:
    one = objective("max", Threshold(Query('max(load1{job="node"}) / 2', None), "lt", Decimal(9)))
    prometheus, victoria = (read(source, one) for source in sources)
    same_samples(
        prometheus.samples(prometheus.one("max", "value")["series"]),
        victoria.samples(victoria.one("max", "value")["series"]),
    )


def test_the_states_are_the_same(sources: Sources) -> None:
    tables = []
    for source in sources:
        frames = source.read_states(STATES, DAY)
        targets, samples = frames["uptime_targets"], frames["uptime_samples"]
        assert isinstance(targets, Frame) and isinstance(samples, Frame)
        tables.append((targets.table.to_dict("records"), samples.table.to_dict("records")))
        assert samples.coverage.control["samples_counted"] > "0"
    assert tables[0] == tables[1]
    assert {row["target"] for row in tables[0][0] if row["clean"]} == {"api", "far"}
