"""A document by hand, with everything that a page can hold: every kind of value, chart and gap.

The numbers are made up by plain formulas; nothing here comes from a measure.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D

from reporting.model import (
    Band,
    Bps,
    Count,
    Duration,
    Finding,
    Missing,
    Moment,
    Money,
    Number,
    Ratio,
    Shown,
    Text,
    Why,
)
from reporting.page import (
    Attention,
    BarsChart,
    CalendarCell,
    CalendarChart,
    CalendarRow,
    Checkpoint,
    Citation,
    Column,
    Difference,
    Document,
    Figure,
    Gap,
    Kind,
    Line,
    LinesChart,
    Period,
    Point,
    Section,
    SourceTotal,
    Span,
    Status,
    Table,
    Target,
    TimelineChart,
    TimelineRow,
    Verdict,
)

ZONE = "America/New_York"
#: Names as a ledger might hold them; none of them may do anything but stand there.
HOSTILE = (
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    '"><img src=http://example.invalid/x.png>',
    "=HYPERLINK(A1)",
    "Łódź & Co. 中\u202egnp",
    "</style></title><svg onload=x>",
    "A" * 120,
)
SERVICES = ("order-gateway", "market-data", "risk-engine", "ledger-db", "fix-sessions", "grafana")


def usd(amount: str) -> Money:
    return Money(amount=D(amount), currency="USD")


def share(numerator: str | int, denominator: str | int) -> Ratio:
    return Ratio(numerator=D(numerator), denominator=D(denominator))


def band(low_s: int, high_s: int, whole_s: int = 86_400) -> Band:
    return Band(low=share(low_s, whole_s), high=share(high_s, whole_s))


def missing(why: Why, detail: str = "") -> Missing:
    return Missing(why=why, detail=detail)


def days_of(kind: Kind) -> list[date]:
    if kind is Kind.DAILY:
        return [date(2025, 11, 28)]
    if kind is Kind.WEEKLY:
        return [date(2025, 11, 24) + timedelta(n) for n in range(7)]
    return [date(2025, 11, 1) + timedelta(n) for n in range(calendar.monthrange(2025, 11)[1])]


def sessions_of(days: list[date]) -> list[date]:
    return [d for d in days if d.weekday() < 5 and d != date(2025, 11, 27)]


def pnl_of(day: date) -> D:
    """Made up: between −31,000 and 41,000, negative about every third day; one big loss."""
    if day.day == 18:
        return D("-29412.875")
    return D((day.toordinal() * 7919) % 72_000 - 31_000) + D("0.125")


def document(kind: Kind = Kind.MONTHLY, *, hostile: bool = True, bare: bool = False) -> Document:
    """The sample of ``kind``; ``bare`` has no headline, table row, gap or finding at all."""
    days = days_of(kind)
    sessions = sessions_of(days)
    label = {
        Kind.DAILY: "2025-11-28",
        Kind.WEEKLY: "2025-W48",
        Kind.MONTHLY: "2025-11",
        Kind.QUARTERLY: "2025-Q4",
    }[kind]
    title = {
        Kind.DAILY: "Friday 28 November 2025",
        Kind.WEEKLY: "Week 48 of 2025: 24 November to 30 November 2025",
        Kind.MONTHLY: "November 2025",
        Kind.QUARTERLY: "Quarter 4 of 2025",
    }[kind]
    revised = kind is Kind.MONTHLY and not bare
    cutoff = datetime(2025, 12, 1, 5, 0, tzinfo=UTC)
    return Document(
        id=f"{kind.value}/{label}/r{2 if revised else 1}",
        kind=kind,
        title=f"{kind.value.capitalize()} trading and service report",
        issuer="Example Trading LLC, Operations",
        period=Period(
            label=label,
            title=title,
            first=days[0],
            last=days[-1],
            zone=ZONE,
            calendar="XNYS",
            sessions=len(sessions),
            cutoff=cutoff,
        ),
        revision=2 if revised else 1,
        status=Status.FINAL if bare else Status.INCOMPLETE,
        supersedes=f"{kind.value}/{label}/r1" if revised else "",
        reason="late correction of 4 fills by the venue on 20 November" if revised else "",
        issued_at=cutoff + timedelta(hours=2, minutes=3, seconds=7),
        version="0.1.0",
        verdict=Verdict.MET if bare else Verdict.MISSED,
        answer="Yes. Every target was met."
        if bare
        else "No. 2 of 9 targets were missed: order-gateway availability and arrival slippage.",
        attention=() if bare else attention(),
        headline=() if bare else headline(sessions),
        sections=tuple(
            Section(id=name, title=words)
            for name, words in (("pnl", "Profit and loss"), ("uptime", "Availability"))
        )
        if bare
        else (
            pnl(sessions, hostile),
            var(sessions),
            slippage(sessions, hostile),
            fill_rate(),
            uptime(kind, days),
        ),
        gaps=() if bare else gaps(),
        findings=() if bare else findings(),
        differences=differences() if revised else (),
        citations=tuple(citation(d, d in sessions) for d in days),
        sources=() if bare else sources(),
        policy_digest="5e" * 32,
        checkpoint=Checkpoint(size=1284, chain_hash="c0ffee" + "1d" * 29),
    )


def attention() -> tuple[Attention, ...]:
    return (
        Attention(
            severity="alarm",
            text="order-gateway was down for 41 min 20 s on 12 November; target 99.9 %.",
            section="uptime",
        ),
        Attention(
            severity="warning",
            text="One VaR exception on 18 November: loss 29,412.88 USD against 24,900.00 USD.",
            section="var",
        ),
        Attention(
            severity="note",
            text=f"13 fills of {HOSTILE[0]} had no arrival price.",
            section="slippage",
        ),
    )


def series(sessions: list[date]) -> tuple[Point, ...]:
    return tuple(
        Point(
            day=d,
            value=missing(Why.UNREACHABLE) if d.day in (13, 14) else pnl_of(d),
        )
        for d in sessions
    )


def headline(sessions: list[date]) -> tuple[Figure, ...]:
    return (
        Figure(
            id="pnl.net",
            label="Net P&L",
            value=usd("1284310.125"),
            change=usd("-84210.5"),
            change_label="against October",
            series=series(sessions),
        ),
        Figure(
            id="var.last",
            label="VaR 99 %, last session",
            value=usd("24900"),
            target=Target(id="var", comparator="le", value=D("30000"), unit="USD"),
            verdict=Verdict.MET,
            change=usd("1200"),
            change_label="against October",
            series=series(sessions[:9]),
        ),
        Figure(
            id="slippage.arrival",
            label="Slippage against arrival",
            value=Bps(cost=D("18234.5"), notional=D("72345678.25")),
            target=Target(id="slip", comparator="le", value=D("2.5"), unit="bps"),
            verdict=Verdict.MISSED,
            change=Bps(cost=D("4.21"), notional=D("100000")),
            change_label="against October",
            note="97.4 % of notional covered",
        ),
        Figure(
            id="fill_rate.full",
            label="Orders filled in full",
            value=share(318, 322),
            target=Target(id="fr", comparator="ge", value=D("95.0"), unit="%"),
            verdict=Verdict.MET,
            change=share(-11, 10_000),
            change_label="against October",
            series=series(sessions),
        ),
        Figure(
            id="uptime.order-gateway",
            label="Availability, order-gateway",
            value=band(83_800, 83_921),
            target=Target(id="up", comparator="ge", value=D("99.9"), unit="%"),
            verdict=Verdict.MISSED,
            change=Duration(ms=2_480_000),
            change_label="more down time than in October",
        ),
        Figure(
            id="uptime.grafana",
            label="Availability, grafana",
            value=missing(Why.UNREACHABLE, "Prometheus did not answer"),
            target=Target(id="up2", comparator="ge", value=D("99.5"), unit="%"),
            verdict=Verdict.UNKNOWN,
        ),
    )


def pnl(sessions: list[date], hostile: bool) -> Section:
    running = D(0)
    totals: list[D | None] = []
    values: list[D | None] = []
    for d in sessions:
        if d.day in (13, 14):
            values.append(None)
            totals.append(None)
            continue
        running += pnl_of(d)
        values.append(pnl_of(d))
        totals.append(running)
    names = list(HOSTILE) if hostile else []
    names += [f"INST{n:03d}" for n in range(140 - len(names))]
    strategies = ("momentum", "market making", "pairs", "carry", "index arbitrage")
    return Section(
        id="pnl",
        title="Profit and loss",
        summary="Net 1,284,310.12 USD, realised 1,301,000.00 USD; the cash identity holds.",
        figures=(
            Figure(id="pnl.realised", label="Realised", value=usd("1301000.004")),
            Figure(id="pnl.unrealised", label="Unrealised", value=usd("-12000.995")),
            Figure(id="pnl.fees", label="Fees", value=usd("-4688.884"), note="charged by venues"),
            Figure(
                id="pnl.residual",
                label="Residual of the cash identity",
                value=usd("0"),
                target=Target(id="res", comparator="le", value=D("0.00"), unit="USD"),
                verdict=Verdict.MET,
                note="realised + unrealised - fees = change in cash + change in market value",
            ),
        ),
        charts=(
            BarsChart(
                id="pnl.days",
                title="Net P&L by session",
                alt="Bars of net P&L for each session with a running total; two sessions missing",
                unit="USD",
                labels=tuple(d.isoformat() for d in sessions),
                bars=Line(label="net P&L", values=tuple(values)),
                lines=(Line(label="running total", values=tuple(totals)),),
            ),
            BarsChart(
                id="pnl.strategies",
                title="Net P&L by strategy",
                alt="Bars of net P&L for each strategy",
                unit="USD",
                labels=strategies,
                bars=Line(
                    label="net P&L",
                    values=(D(412_000), D("-93000.5"), None, D(610_000), D(355_310)),
                ),
            ),
        ),
        tables=(
            Table(
                id="pnl.by_strategy",
                title="By strategy and agent",
                columns=(
                    Column(key="strategy", label="Strategy", align="left"),
                    Column(key="agent", label="Agent", align="left"),
                    Column(key="realised", label="Realised"),
                    Column(key="unrealised", label="Unrealised"),
                    Column(key="fees", label="Fees"),
                    Column(key="net", label="Net"),
                ),
                rows=tuple(
                    (
                        Text(text=s),
                        Text(text=f"agent-{n % 3 + 1}"),
                        usd(f"{n * 31_415 + 7}.25"),
                        missing(Why.NO_MARK) if n == 2 else usd(f"{4_000 - n * 2_111}"),
                        usd(f"-{n * 17}.1"),
                        missing(Why.NO_MARK) if n == 2 else usd(f"{n * 29_000 - 9_000}.005"),
                    )
                    for n, s in enumerate(strategies)
                ),
                total=(
                    Text(text="Total"),
                    Text(text=""),
                    usd("314185.25"),
                    missing(Why.NO_MARK, "1 of 5"),
                    usd("-170.5"),
                    missing(Why.NO_MARK, "1 of 5"),
                ),
                note="A strategy without a mark is left out of no total: the total says so",
            ),
            Table(
                id="pnl.by_instrument",
                title="By instrument",
                columns=(
                    Column(key="instrument", label="Instrument", align="left"),
                    Column(key="fills", label="Fills"),
                    Column(key="quantity", label="Quantity"),
                    Column(key="price", label="Last price"),
                    Column(key="net", label="Net"),
                    Column(key="share", label="Share of volume"),
                    Column(key="last", label="Last fill", align="left"),
                ),
                rows=tuple(
                    (
                        Text(text=name),
                        Count(value=n * 13),
                        Number(value=D(n * 250), unit="lots"),
                        Number(value=D(10_000 + n * 7) / D(100)),
                        Money(
                            amount=D(n * 1_234 - 40_000) / D(8),
                            currency="EUR" if n % 7 == 3 else "USD",
                        ),
                        share(n * 13, 126_490),
                        missing(Why.NO_TRADES)
                        if n == 0
                        else Moment(at=datetime(2025, 11, 28, 18, n % 60, 5, tzinfo=UTC)),
                    )
                    for n, name in enumerate(names)
                ),
                top=25,
            ),
        ),
        notes=(
            "Lots are matched first in, first out, for each account and instrument.",
            f"Names such as {HOSTILE[5]} are words and nothing else.",
            "EUR is converted at the rate of 16:00 London time of each day, source ECB.",
        ),
    )


def var(sessions: list[date]) -> Section:
    limit: tuple[D | None, ...] = tuple(
        None if d.day in (13, 14) else D(-24_000 - 300 * (n % 5)) for n, d in enumerate(sessions)
    )
    profits: tuple[D | None, ...] = tuple(
        None if d.day in (13, 14) else pnl_of(d) for d in sessions
    )
    broken = tuple(
        n
        for n, (p, v) in enumerate(zip(profits, limit, strict=True))
        if p is not None and v is not None and p < v
    )
    return Section(
        id="var",
        title="Value at risk",
        summary=f"Exceptions: {len(broken)}, against the VaR of the session before.",
        verdict=Verdict.MET,
        figures=(
            Figure(
                id="var.95",
                label="VaR 95 %, one day, last session",
                value=usd("15210.5"),
                target=Target(id="v95", comparator="le", value=D("20000"), unit="USD"),
                verdict=Verdict.MET,
                change=usd("311.25"),
                change_label="against October",
            ),
            Figure(id="es.99", label="ES 99 %, one day", value=usd("29871.0")),
            Figure(id="var.window", label="Window", value=Count(value=500, unit="sessions")),
            Figure(
                id="var.kupiec",
                label="Kupiec POF, p-value",
                value=missing(Why.TOO_SHORT, "19 of 250 sessions"),
                target=Target(id="pof", comparator="ge", value=D("0.050"), unit=""),
                verdict=Verdict.UNKNOWN,
            ),
        ),
        charts=(
            LinesChart(
                id="var.backtest",
                title="P&L against the VaR of the session before",
                alt="Lines of daily P&L and of negative VaR at 99 and 95 %; exceptions are marked",
                unit="USD",
                labels=tuple(d.isoformat() for d in sessions),
                lines=(
                    Line(label="P&L", values=profits),
                    Line(label="VaR 99 %", values=limit),
                    Line(
                        label="VaR 95 %",
                        values=tuple(None if v is None else v * D("0.7") for v in limit),
                    ),
                ),
                marked=broken,
                marked_label="exception",
            ),
        ),
        tables=(
            Table(
                id="var.exceptions",
                title="Exceptions",
                columns=(
                    Column(key="day", label="Session", align="left"),
                    Column(key="loss", label="P&L"),
                    Column(key="var", label="VaR 99 %"),
                ),
                rows=tuple(
                    (
                        Text(text=sessions[n].isoformat()),
                        usd(str(profits[n])),
                        usd(str(-(limit[n] or D(0)))),
                    )
                    for n in broken
                ),
            ),
        ),
    )


def slippage(sessions: list[date], hostile: bool) -> Section:
    venues = ["ARCX", "BATS", "XNAS", "IEXG", "EDGX", HOSTILE[0] if hostile else "XBOS"]
    return Section(
        id="slippage",
        title="Slippage",
        summary="2.52 bps against arrival, over the target of 2.5 bps; 97.4 % covered.",
        verdict=Verdict.MISSED,
        figures=(
            Figure(
                id="slippage.mean",
                label="Against arrival, notional-weighted",
                value=Bps(cost=D("18234.5"), notional=D("72345678.25")),
                target=Target(id="s1", comparator="le", value=D("2.5"), unit="bps"),
                verdict=Verdict.MISSED,
            ),
            Figure(
                id="slippage.coverage",
                label="Notional with an arrival price",
                value=share("72345678.25", "74276877.07"),
            ),
            Figure(
                id="slippage.decision",
                label="Against decision",
                value=missing(Why.NOT_MEASURED, "no decision prices in the ledger"),
            ),
        ),
        charts=(
            BarsChart(
                id="slippage.days",
                title="Slippage by session",
                alt="Bars of slippage for each session; positive is cost",
                unit="bps, positive is cost",
                labels=tuple(d.isoformat() for d in sessions),
                bars=Line(
                    label="against arrival",
                    values=tuple(
                        None if n % 9 == 4 else D((n * 37) % 60 - 15) / D(10)
                        for n in range(len(sessions))
                    ),
                ),
            ),
        ),
        tables=(
            Table(
                id="slippage.by_venue",
                title="By venue",
                columns=(
                    Column(key="venue", label="Venue", align="left"),
                    Column(key="fills", label="Fills"),
                    Column(key="slippage", label="Slippage"),
                    Column(key="coverage", label="Coverage"),
                    Column(key="delay", label="Median time to fill"),
                ),
                rows=tuple(
                    (
                        Text(text=v),
                        Count(value=4_000 - n * 613),
                        missing(Why.NO_TRADES)
                        if n == 4
                        else Bps(cost=D(n * 31 - 40), notional=D(250_000)),
                        share(0, 0) if n == 4 else share(999_996 - n, 1_000_000),
                        Duration(ms=(0, 250, 1_500, 62_400, 3_725_000, 90_061_000)[n]),
                    )
                    for n, v in enumerate(venues)
                ),
            ),
        ),
    )


def fill_rate() -> Section:
    return Section(
        id="fill_rate",
        title="Fill rate",
        summary="318 of 322 orders were filled in full, 3 partly, 1 not at all.",
        verdict=Verdict.MET,
        figures=(
            Figure(
                id="fill_rate.orders",
                label="By orders",
                value=share(318, 322),
                target=Target(id="f1", comparator="ge", value=D("95"), unit="%"),
                verdict=Verdict.MET,
            ),
            Figure(
                id="fill_rate.quantity", label="By quantity", value=share(9_999_996, 10_000_000)
            ),
            Figure(id="fill_rate.rejects", label="Rejects", value=share(0, 322)),
        ),
        tables=(
            Table(
                id="fill_rate.by_agent",
                title="By agent",
                columns=(
                    Column(key="agent", label="Agent", align="left"),
                    Column(key="orders", label="Orders"),
                    Column(key="full", label="In full"),
                    Column(key="partly", label="Partly"),
                    Column(key="none", label="Not at all"),
                    Column(key="rate", label="Fill rate"),
                ),
                rows=tuple(
                    (
                        Text(text=f"agent-{n}"),
                        Count(value=100 + n),
                        Count(value=98 + n),
                        Count(value=1),
                        Count(value=1),
                        share(98 + n, 100 + n),
                    )
                    for n in range(1, 4)
                ),
                total=(
                    Text(text="Total"),
                    Count(value=322),
                    Count(value=318),
                    Count(value=3),
                    Count(value=1),
                    share(318, 322),
                ),
            ),
            Table(
                id="fill_rate.reject_reasons",
                title="Reject reasons",
                columns=(
                    Column(key="reason", label="Reason", align="left"),
                    Column(key="orders", label="Orders"),
                ),
                rows=(),
                note="No order was rejected.",
            ),
        ),
    )


def uptime(kind: Kind, days: list[date]) -> Section:
    start = datetime(days[-1].year, days[-1].month, days[-1].day, 5, tzinfo=UTC)
    start_ms = int(start.timestamp()) * 1_000
    hour = 3_600_000
    day_ms = 24 * hour

    def spans(n: int) -> tuple[Span, ...]:
        if n == 5:
            return (Span(state="unknown", start_ms=start_ms, end_ms=start_ms + day_ms),)
        cuts = [
            ("up", 0),
            ("down", (9 + n) * hour),
            ("up", (9 + n) * hour + (n + 1) * 600_000),
            ("unknown", (15 + n) * hour),
            ("up", (16 + n) * hour),
        ]
        ends = [at for _, at in cuts[1:]] + [day_ms]
        return tuple(
            Span.model_validate({"state": s, "start_ms": start_ms + at, "end_ms": start_ms + end})
            for (s, at), end in zip(cuts, ends, strict=True)
        )

    def cell(n: int, d: date) -> CalendarCell:
        if n == 5 or d.day in (13, 14):
            return CalendarCell(day=d, low_pct=None, high_pct=None, verdict=Verdict.UNKNOWN)
        if (d.day + n) % 11 == 1:
            return CalendarCell(
                day=d, low_pct=D("97.1"), high_pct=D("97.4"), verdict=Verdict.MISSED
            )
        return CalendarCell(day=d, low_pct=D("99.98"), high_pct=D("100"), verdict=Verdict.MET)

    timeline = TimelineChart(
        id="uptime.timeline",
        title=f"Up, down and unknown on {days[-1]}",
        alt="For each service, the stretches of the day in which it was up, down or unknown",
        start_ms=start_ms,
        end_ms=start_ms + day_ms,
        zone=ZONE,
        rows=tuple(TimelineRow(label=s, spans=spans(n)) for n, s in enumerate(SERVICES)),
    )
    strip = CalendarChart(
        id="uptime.calendar",
        title="Target met, by day",
        alt="A cell for each day and service: met, missed or unknown",
        rows=tuple(
            CalendarRow(label=s, cells=tuple(cell(n, d) for d in days))
            for n, s in enumerate(SERVICES)
        ),
    )
    bands: list[Shown] = [
        band(83_800, 83_921),
        band(86_400, 86_400),
        share_band(),
        band(86_300, 86_400),
        band(86_290, 86_290),
        missing(Why.UNREACHABLE, "Prometheus did not answer"),
    ]
    return Section(
        id="uptime",
        title="Availability",
        summary="order-gateway missed its target; grafana was not measured at all.",
        verdict=Verdict.MISSED,
        figures=(
            Figure(
                id="uptime.gateway",
                label="order-gateway",
                value=band(83_800, 83_921),
                target=Target(id="u1", comparator="ge", value=D("99.90"), unit="%"),
                verdict=Verdict.MISSED,
            ),
            Figure(id="uptime.risk", label="risk-engine", value=share_band()),
        ),
        charts=(timeline,) if kind is Kind.DAILY else (strip, timeline),
        tables=(
            Table(
                id="uptime.targets",
                title="By service",
                columns=(
                    Column(key="service", label="Service", align="left"),
                    Column(key="availability", label="Availability"),
                    Column(key="down", label="Down"),
                    Column(key="unknown", label="Unknown"),
                    Column(key="outages", label="Outages"),
                    Column(key="up", label="Up"),
                    Column(key="cause", label="Unknown because", align="left"),
                    Column(key="target", label="Promise", align="left"),
                    Column(key="verdict", label="Verdict", align="left"),
                    Column(key="longest", label="Longest outage"),
                    Column(key="every", label="Scraped every"),
                ),
                rows=tuple(
                    (
                        Text(text=s),
                        bands[n],
                        missing(Why.UNREACHABLE) if n == 5 else Duration(ms=n * 1_240_000),
                        missing(Why.UNREACHABLE) if n == 5 else Duration(ms=n * 61_000),
                        missing(Why.UNREACHABLE) if n == 5 else Count(value=n),
                        Duration(ms=2_591_999_000),
                        Text(text="collector gap, target lost"),
                        Text(text="at least 99.9 %"),
                        Text(text="missed"),
                        Duration(ms=86_399_000),
                        Duration(ms=60_000),
                    )
                    for n, s in enumerate(SERVICES)
                ),
            ),
        ),
        notes=("Maintenance windows are inside the figures; none was announced.",),
    )


def share_band() -> Band:
    """99.9996 %: rounded to three decimals it would claim 100."""
    return Band(low=share(999_996, 1_000_000), high=share(999_996, 1_000_000))


def gaps() -> tuple[Gap, ...]:
    return (
        Gap(
            what="availability of grafana",
            when="2025-11-01 to 2025-11-30",
            reason=missing(Why.UNREACHABLE, "Prometheus did not answer within 30 s, 3 tries"),
        ),
        Gap(what="P&L", when="2025-11-13", reason=missing(Why.NOT_SEALED)),
        Gap(what="mark of <b>ACME</b>", when="2025-11-14", reason=missing(Why.NO_MARK, "stale")),
    )


def findings() -> tuple[Finding, ...]:
    return (
        Finding(
            check="marks.stale",
            severity="warning",
            count=2,
            detail="marks older than one session; valued separately",
            samples=("ACME 2025-11-14", HOSTILE[2]),
        ),
        Finding(check="fills.orphan", severity="error", count=1, detail="a fill without an order"),
        Finding(
            check="orders.late", severity="note", count=1_204, detail="recorded after the session"
        ),
    )


def differences() -> tuple[Difference, ...]:
    return (
        Difference(
            figure="pnl.net",
            label="Net P&L",
            before=usd("1286310.125"),
            after=usd("1284310.125"),
            reason=f"fills 88121 to 88124 of {HOSTILE[5]} corrected",
        ),
        Difference(
            figure="pnl.unrealised",
            label="Unrealised",
            before=missing(Why.NO_MARK),
            after=usd("-12000.995"),
            reason="mark arrived",
        ),
    )


def citation(day: date, session: bool) -> Citation:
    sealed = datetime(day.year, day.month, day.day, 5, 30, tzinfo=UTC) + timedelta(1)
    late = day.day == 20
    return Citation(
        day=day,
        revision=2 if late else 1,
        digest=f"{day.toordinal():08x}" * 8,
        session=session,
        known_at=sealed - timedelta(minutes=10),
        sealed_at=sealed,
        reason="late correction by the venue" if late else "",
    )


def sources() -> tuple[SourceTotal, ...]:
    return (
        SourceTotal(
            source="ledger",
            query="fills_of_day",
            query_digest="ab" * 32,
            rows=126_490,
            control=(("sum quantity", "812,400"), ("sum notional", "72345678.25")),
        ),
        SourceTotal(
            source="ledger",
            query="orders_of_day",
            query_digest="cd" * 32,
            rows=322,
            control=(("orders", "322"), (HOSTILE[0], HOSTILE[1])),
        ),
        SourceTotal(source="prometheus", query="up", query_digest="ef" * 32, rows=1_036_800),
    )
