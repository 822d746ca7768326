"""The production path against known truth: histories, a real Prometheus, source, measures.

:func:`prove` draws hosts and days, has promtool make blocks of their samples, asks a real server
through :class:`PrometheusSource` and compares what the measures print with what really happened.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from reporting.demo.prometheus import build_blocks, running_prometheus
from reporting.measures import service_levels, uptime
from reporting.measures.service_levels import Level, ServiceLevelsFact
from reporting.measures.uptime import Stretch, TargetUptime, UptimeFact
from reporting.model import Missing
from reporting.periods import trading_day
from reporting.policy.indicators import (
    CalendarWindow,
    Counts,
    Indicator,
    Objective,
    Occurrences,
    Query,
    State,
)
from reporting.sources.prometheus import PrometheusSource

from .history import HOUR_MS, Host, Plan, draw, undetected, write

LONDON, NEW_YORK = "Europe/London", "America/New_York"
CALENDARS = {LONDON: "XLON", NEW_YORK: "XNYS"}


def _at(day: date, zone: str, hour: float) -> int:
    start = trading_day(day, CALENDARS[zone], zone).window.start_ms
    return start + int(hour * HOUR_MS)


SPRING, PLAIN, AUTUMN = date(2025, 3, 30), date(2025, 6, 10), date(2025, 11, 2)
#: Hosts by scrape interval (s), and how many of them count requests. 230 and 96 target-days.
PLANS = (
    # 23 hours.
    Plan(SPRING, LONDON, {1: 2, 5: 9, 15: 36, 60: 27}, {5: 4, 15: 18, 60: 9}),
    # 24 hours, and nobody looked for 23 minutes of them.
    Plan(
        PLAIN,
        LONDON,
        {1: 4, 5: 9, 15: 36, 60: 27},
        {1: 2, 5: 4, 15: 18, 60: 9},
        collector=((_at(PLAIN, LONDON, 3.3), _at(PLAIN, LONDON, 3.3) + 23 * 60_000 + 417),),
    ),
    # 25 hours.
    Plan(AUTUMN, NEW_YORK, {1: 2, 5: 9, 15: 36, 60: 27}, {5: 4, 15: 18, 60: 9}),
)

#: Outages of each share of a scrape interval, to see how many are seen.
SHORT_DAY, SHORT_TAU_MS, SHORT_NUMBER = date(2025, 7, 8), 15_000, 150
SHARES = tuple(Fraction(n, 10) for n in range(1, 11))


#: Kinds of hosts that are not there for a part of the day, and the promise about ratios.
VANISHING = ("away all day", "born", "returned", "vanished")
RATIO_ERROR_PP = 0.00001


@dataclass(frozen=True)
class Row:
    """One target on one day: the true share of good and the bounds that were printed.

    ``value`` is the single figure: for a state up time over the window, in which unknown time
    counts as it truly was; for a ratio good over total. ``sharp`` are the bounds of what was
    observed, without time of which nothing is known. ``simple`` is what ``avg_over_time`` or
    ``increase`` over the window says, None for nothing.
    """

    host: Host
    truth: Fraction
    low: Fraction
    high: Fraction
    value: Fraction
    sharp: tuple[Fraction, Fraction]
    simple: float | None

    @property
    def inside(self) -> bool:
        """Whether the truth lies within the bounds."""
        return self.low <= self.truth <= self.high

    @property
    def inside_sharp(self) -> bool:
        """Whether the truth of what was observed lies within its own bounds."""
        return self.sharp[0] <= self.truth <= self.sharp[1]

    @property
    def error_pp(self) -> float:
        """Difference of the figure and the truth in percentage points."""
        return float(abs(self.value - self.truth) * 100)

    @property
    def width_pp(self) -> float:
        """Distance of the bounds in percentage points."""
        return float((self.high - self.low) * 100)

    @property
    def sharp_width_pp(self) -> float:
        """Distance of the bounds of what was observed."""
        return float((self.sharp[1] - self.sharp[0]) * 100)

    @property
    def simple_error_pp(self) -> float | None:
        """The error of the usual query in percentage points."""
        return None if self.simple is None else abs(self.simple - float(self.truth)) * 100


@dataclass(frozen=True)
class StateRow(Row):
    """A state; ``up_while_gone_ms`` is time reported as up in which the host was not there."""

    up_while_gone_ms: int


@dataclass(frozen=True)
class Detected:
    """Outages of one length: how many there were, and how many the samples show."""

    share: Fraction
    outages: int
    seen: int


@dataclass(frozen=True)
class Proof:
    """Everything that was compared; ``samples`` were read back, ``seconds`` by stage."""

    states: tuple[StateRow, ...]
    ratios: tuple[Row, ...]
    detection: tuple[Detected, ...]
    server: str
    samples: int
    seconds: Mapping[str, float]

    @property
    def outside(self) -> tuple[Row, ...]:
        """Target-days whose truth is not within the bounds."""
        return tuple(row for row in (*self.states, *self.ratios) if not row.inside)

    @property
    def ratio_error_pp(self) -> float:
        """Mean error of the ratio objectives in percentage points."""
        return sum(row.error_pp for row in self.ratios) / max(1, len(self.ratios))


def prove(folder: Path, tools: Path, *, seed: int = 20251102) -> Proof:
    """Compare every host of :data:`PLANS` with what the production path says of it.

    ``folder`` takes about 200 MB, ``tools`` is where Prometheus is unpacked.
    """
    took: dict[str, float] = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        now = time.perf_counter()
        took[name], began = took.get(name, 0.0) + now - began, now

    days = [draw(plan, seed) for plan in PLANS]
    short = [
        undetected(f"short_{share}".replace("/", "_of_"), SHORT_DAY, LONDON, SHORT_TAU_MS,
                   float(share), SHORT_NUMBER, seed)
        for share in SHARES
    ]  # fmt: skip
    samples = 0
    # Blocks of one day each: promtool reads a file once for every month that it spans.
    for hosts in (*days, short):
        path = folder / "samples.om"
        with path.open("w", encoding="ascii", newline="\n") as file:
            samples += write(file, hosts)
        lap("generate")
        build_blocks(path, folder / "data", tools)
        path.unlink()
        lap("promtool")
    with running_prometheus(folder / "data", tools) as url:
        source = PrometheusSource(url, timeout_s=60)
        server = source.check()
        lap("start")
        states: list[StateRow] = []
        ratios: list[Row] = []
        for hosts in days:
            states += _states(source, hosts)
            lap("states")
            ratios += _ratios(source, [host for host in hosts if host.counts])
            lap("ratios")
        detection = _detection(source, short)
        lap("detection")
        source.close()
    return Proof(
        tuple(states),
        tuple(ratios),
        detection,
        f"Prometheus {server.version}, {server.ranges} ranges",
        samples,
        took,
    )


def objective(host: Host, indicator: Indicator) -> Objective:
    """An objective about one host, as the catalogue would hold it."""
    return Objective(
        id=host.name,
        slo=host.name,
        title=host.name,
        system="proof",
        component=host.name,
        indicator=indicator,
        budgeting=Occurrences(),
        goal=Decimal("0.999"),
        strict=False,
        window=CalendarWindow(1, "day", host.day),
        zone=host.zone,
        no_data="flag",
    )


def up_query(host: Host) -> Query:
    """The state of one host."""
    selector = f'up{{job="{host.name}"}}'
    return Query(text=selector, selector=selector)


def answered(host: Host) -> Counts:
    """The share of requests that did not fail: of every other host by those that succeeded."""
    by_good = host.name.endswith(("1", "3", "5", "7", "9"))
    code = "200" if by_good else "500"
    numerator = f'http_requests_total{{job="{host.name}",code="{code}"}}'
    total = f'http_requests_total{{job="{host.name}"}}'
    return Counts(
        numerator=Query(text=numerator, selector=numerator),
        total=Query(text=f"sum({total})", selector=total, summed=True),
        good=by_good,
    )


def _uptime(source: PrometheusSource, hosts: Sequence[Host]) -> dict[str, TargetUptime]:
    first = hosts[0]
    day = trading_day(first.day, CALENDARS[first.zone], first.zone)
    fact = uptime.of_day(
        day, source.read_states([objective(h, State(up_query(h))) for h in hosts], first.day)
    )
    assert isinstance(fact, UptimeFact), fact
    return {target.id: target for target in fact.targets}


def _states(source: PrometheusSource, hosts: Sequence[Host]) -> Iterator[StateRow]:
    found = _uptime(source, hosts)
    start, end = hosts[0].window
    span = f"{(end - start) // 1000}s"
    usual = _by_job(source, f'avg_over_time(up{{job=~"d.*"}}[{span}])', end)
    for host in hosts:
        target = found[host.name]
        low, high = (Fraction(ms, end - start) for ms in (target.low_ms, target.high_ms))
        truth = host.up_ms()
        hidden = sum(host.up_between(s.start_ms, s.end_ms) for s in _unknown(target))
        up = target.up_ms + hidden
        sharp = (up - target.doubtful_up_ms, up + target.doubtful_down_ms)
        yield StateRow(
            host=host,
            truth=Fraction(truth, end - start),
            low=low,
            high=high,
            value=Fraction(up, end - start),
            sharp=(Fraction(sharp[0], end - start), Fraction(sharp[1], end - start)),
            simple=usual.get(host.name),
            up_while_gone_ms=_up_while_gone(host, target),
        )


def _unknown(target: TargetUptime) -> list[Stretch]:
    found = [s for s in target.stretches if s.state != "down"]
    assert not target.stretches_dropped
    assert sum(s.length_ms for s in found) == target.unknown_ms
    return found


def _up_while_gone(host: Host, target: TargetUptime) -> int:
    start, end = host.window
    total = 0
    for lo, hi in host.gone:
        gone = (max(lo, start), min(hi, end))
        told = sum(
            max(0, min(s.end_ms, gone[1]) - max(s.start_ms, gone[0])) for s in target.stretches
        )
        total += gone[1] - gone[0] - told
    return total


def _ratios(source: PrometheusSource, hosts: Sequence[Host]) -> Iterator[Row]:
    first = hosts[0]
    day = trading_day(first.day, CALENDARS[first.zone], first.zone)
    frames = source.read_levels([objective(h, answered(h)) for h in hosts], first.day)
    fact = service_levels.of_day(day, frames)
    assert isinstance(fact, ServiceLevelsFact), fact
    by_id = {level.id: level for level in fact.levels}
    start, end = first.window
    span = f"{(end - start) // 1000}s"
    increase = f'sum by (job) (increase(http_requests_total{{job=~"d.*"%s}}[{span}]))'
    usual_all = _by_job(source, increase % "", end)
    usual_bad = _by_job(source, increase % ',code="500"', end)
    for host in hosts:
        total, bad = host.total(), host.bad()
        level = by_id[host.name]
        if not total:  # away all day: no traffic is no share
            assert level.missing or not level.events or not level.events.total, level
            continue
        asked = usual_all.get(host.name, 0.0)
        low, high = _share(level)
        assert level.events is not None, level
        yield Row(
            host=host,
            truth=1 - Fraction(bad, total),
            low=low,
            high=high,
            value=Fraction(level.events.good) / Fraction(level.events.total),
            sharp=_share(level.model_copy(update={"no_data": "exclude"})),
            simple=1 - usual_bad.get(host.name, 0.0) / asked if asked else None,
        )


def _share(level: Level) -> tuple[Fraction, Fraction]:
    """The printed bounds of a share."""
    bounds = service_levels.share_of(level)
    assert not isinstance(bounds, Missing), bounds
    return bounds


def _by_job(source: PrometheusSource, text: str, at_ms: int) -> dict[str, float]:
    found = source.client.query(text, at_ms)
    return {series.labels["job"]: float(series.value[-1]) for series in found}


def _detection(source: PrometheusSource, hosts: Sequence[Host]) -> tuple[Detected, ...]:
    found = _uptime(source, hosts)
    return tuple(
        Detected(
            share,
            len(host.down),
            # Outages are four intervals apart: no two share a stretch.
            sum(s.state == "down" for s in found[host.name].stretches),
        )
        for share, host in zip(SHARES, hosts, strict=True)
    )


# -- in words ------------------------------------------------------------------------------------


def table(proof: Proof) -> str:
    """The whole comparison as text."""
    whole = [r for r in proof.states if r.host.kind in VANISHING and r.simple == 1]
    lines = [
        f"{proof.server}; {proof.samples:,} samples",
        "",
        "Errors and widths are in percentage points. inside: the truth lies within the printed",
        "bounds. sharp: within the bounds of what was observed, unknown time left out.",
        "",
        "Availability (0/1 states); the usual query is avg_over_time over the day",
        _HEAD,
        *_rows(proof.states),
        f"hosts that vanished, came late or were away, and that it reports as 100 %: {len(whole)}",
        "",
        "Good of all requests (counters), errors are rare; the usual query is increase",
        _HEAD,
        *_rows(proof.ratios),
        "",
        f"mean error of the ratios: {proof.ratio_error_pp:.9f} percentage points "
        f"(bound: {RATIO_ERROR_PP:.5f})",
        f"target-days with the truth outside of the bounds: {len(proof.outside)} of "
        f"{len(proof.states) + len(proof.ratios)}",
        "",
        f"Outages shorter than a scrape interval ({SHORT_TAU_MS // 1000} s), share seen by length",
        f"{'length / interval':>18} {'outages':>8} {'seen':>6} {'share':>7}",
        *(
            f"{float(d.share):>18.1f} {d.outages:>8} {d.seen:>6} {d.seen / d.outages:>7.1%}"
            for d in proof.detection
        ),
        "",
        "seconds: " + ", ".join(f"{name} {s:.1f}" for name, s in proof.seconds.items()),
    ]
    return "\n".join(lines) + "\n"


_HEAD = (
    f"{'history':<20} {'days':>5} {'inside':>7} {'sharp':>6} {'mean error':>11} {'max error':>11} "
    f"{'width':>10} {'sharp width':>11}   {'usual: mean':>11} {'max error':>11}"
)


def _rows(rows: Sequence[Row]) -> Iterator[str]:
    """One line for each kind of history, each scrape interval, each day, and all together."""
    kinds = sorted({r.host.kind for r in rows})
    for kind in kinds:
        yield _line(kind, [r for r in rows if r.host.kind == kind])
    for tau in sorted({r.host.tau_ms for r in rows}):
        yield _line(f"scrapes each {tau // 1000} s", [r for r in rows if r.host.tau_ms == tau])
    for day in sorted({r.host.day for r in rows}):
        of_day = [r for r in rows if r.host.day == day]
        start, end = of_day[0].host.window
        yield _line(f"{day} ({(end - start) // HOUR_MS} h)", of_day)
    yield _line("all", rows)


def _line(label: str, rows: Sequence[Row]) -> str:
    number = len(rows)
    errors = [r.error_pp for r in rows]
    usual = [r.simple_error_pp for r in rows if r.simple_error_pp is not None]
    told = f"{sum(usual) / len(usual):>11.7f} {max(usual):>11.7f}" if usual else ""
    return (
        f"{label:<20} {number:>5} {sum(r.inside for r in rows):>7} "
        f"{sum(r.inside_sharp for r in rows):>6} {sum(errors) / number:>11.7f} "
        f"{max(errors):>11.7f} {sum(r.width_pp for r in rows) / number:>10.5f} "
        f"{sum(r.sharp_width_pp for r in rows) / number:>11.7f}   {told}"
    ).rstrip()
