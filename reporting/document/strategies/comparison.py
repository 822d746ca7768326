"""Agents side by side and all strategies in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from ...analysis import listed, measured
from ...analysis.performance import LEAST_SESSIONS, SESSIONS_A_YEAR
from ...measures.pnl import NOBODY
from ...model import Missing, exact_sum
from ...page import Column, Line, LinesChart, Section, Table, text
from ...periods import in_spans
from ..history import NO_GAP, Facts
from .records import LONGEST_KEY, Record, running, short, slug
from .said import Said, partial, said_of, sessions, whole

TITLE = "Strategies and agents"
#: Agents side by side on a page; the CSV has them all.
MOST_COLUMNS = 5
#: As many lines as the eye and the palette tell apart.
MOST_LINES = 4
#: Columns of the table of strategies on a page; the CSV has every measure.
SHOWN = (
    "net", "share", "hit_rate", "profit_factor", "turnover", "costs_share", "sharpe_daily",
    "sharpe_error", "drawdown",
)  # fmt: skip
#: Measures that the table of agents leaves to others: a daily report has to be short.
NOT_COMPARED = ("sharpe_error_independent",)
NOT_COMPARED_DAILY = (
    "gross", "fees_of_gross", "slippage", "coverage", "sharpe_annual", *NOT_COMPARED,
)  # fmt: skip
#: What a daily report takes from the history, not from its one session.
OF_HISTORY = ("hit_rate", "profit_factor")


def overview(records: Sequence[Record], facts: Facts, *, daily: bool) -> Section:
    """The section that every report has."""
    agents = [r for r in records if r.kind == "agent"]
    strategies = [r for r in records if r.kind == "strategy"]
    charts = [_cumulative_chart(some) for some in (agents, strategies)]
    return Section(
        id="strategies",
        title=TITLE,
        summary=_summary(agents, strategies),
        charts=tuple(chart for chart in charts if chart),
        tables=(
            _agents_table([(r, said_of(r, daily=daily)) for r in agents], daily),
            _strategies_table([(r, said_of(r, daily=daily)) for r in strategies], daily),
        ),
        notes=(*_gaps(facts), *NOTES),
    )


Told = Sequence[tuple[Record, Mapping[str, Said]]]


def _agents_table(told: Told, daily: bool) -> Table:
    """A column each; what is of the history stands below the number of its sessions."""
    left_out = NOT_COMPARED_DAILY if daily else NOT_COMPARED
    keys = [k for k in told[0][1] if k not in left_out]
    if daily:
        keys = [k for k in keys if k not in OF_HISTORY]
        at = keys.index("history") + 1
        keys[at:at] = OF_HISTORY
    return Table(
        id="agents_compared",
        title="Agents side by side",
        columns=(
            # Not a key that an agent could have: theirs hold no "_".
            Column(key="of_agent", label="", align="left"),
            *(
                Column(key=slug(r.name), label=short(r.name), shown=n < MOST_COLUMNS)
                for n, (r, _) in enumerate(told)
            ),
        ),
        rows=tuple(
            (text(told[0][1][key].label), *(said[key].value for _, said in told)) for key in keys
        ),
        whole=True,
        note=_partial(told),
    )


def _partial(told: Told) -> str:
    """Of how many fills costs are, where it isn't all of them."""
    said = partial(told[0][0].costs_covered)
    return f"Slippage, and in the shares of costs what is slippage: {said}." if said else ""


def _strategies_table(told: Told, daily: bool) -> Table:
    """A row each, the largest gain first; what no strategy has is said once, below."""
    told = sorted(told, key=lambda t: (isinstance(t[0].total, Missing), -t[0].net, t[0].name))
    first = told[0][1]
    keys = [*SHOWN, *(key for key in first if key not in SHOWN)]
    gone = {
        key: first[key].value
        for key in SHOWN
        if all(said[key].value == first[key].value for _, said in told)
        and isinstance(first[key].value, Missing)
    }
    reasons: dict[str, list[str]] = {}
    for key, why in gone.items():
        reasons.setdefault(str(why), []).append(first[key].label)
    counts = sorted({len(measured(r.history)) for r, _ in told})
    many = sessions(counts[-1]) if len(counts) == 1 else f"{counts[0]} to {sessions(counts[-1])}"
    behind = "Hit rate, profit factor, Sharpe ratio" if daily else "Sharpe ratio"
    return Table(
        id="strategies_compared",
        title="Strategies",
        columns=(
            Column(key="strategy", label="Strategy", align="left"),
            *(
                Column(key=key, label=first[key].label, shown=key in SHOWN and key not in gone)
                for key in keys
            ),
        ),
        rows=tuple(
            (text(r.name.strip() or NOBODY), *(said[key].value for key in keys)) for r, said in told
        ),
        note=" ".join(
            [f"{behind} and drawdown: {many}."]
            + [f"{listed(labels)}: {why}." for why, labels in reasons.items()]
            + [said for said in [_partial(told)] if said]
        ),
    )


def _cumulative_chart(records: Sequence[Record]) -> LinesChart | None:
    """The cumulative P&L of the agents or the strategies, or of those that moved most."""
    days = sorted({p.day for r in records for p in r.history})
    if len(days) < 2:
        return None
    kind = records[0].kind
    plural = "agents" if kind == "agent" else "strategies"
    most = {r.name for r in sorted(records, key=lambda r: -_moved(r))[:MOST_LINES]}
    drawn = [r for r in records if r.name in most]
    lines = [Line(label=short(r.name, LONGEST_KEY), values=running(r, days)) for r in drawn]
    ends = [
        f"{line.label} {whole(next(v for v in reversed(line.values) if v is not None), r.base)}"
        for r, line in zip(drawn, lines, strict=True)
        if any(v is not None for v in line.values)
    ]
    rest = len(records) - len(drawn)
    alt = f"{sessions(len(days))} from {days[0]} to {days[-1]}; at the end: {', '.join(ends)}."
    if rest:
        alt += f" {rest} more {kind if rest == 1 else plural} moved less and are not drawn."
    return LinesChart(
        id=f"{plural}_cumulative",
        title=f"Cumulative net P&L by {kind}, {sessions(len(days))}",
        alt=alt,
        unit=records[0].base,
        labels=tuple(day.isoformat() for day in days),
        lines=tuple(lines),
    )


def _moved(record: Record) -> Decimal:
    return exact_sum(abs(x) for _, x in measured(record.history))


def _summary(agents: Sequence[Record], strategies: Sequence[Record]) -> str:
    counts = (
        f"{len(strategies)} strateg{'y' if len(strategies) == 1 else 'ies'} and "
        f"{len(agents)} agent{'' if len(agents) == 1 else 's'}"
    )
    known = [r for r in strategies if not isinstance(r.total, Missing)]
    if not known:
        return f"{counts}; no result in base is known."
    best, worst = max(known, key=lambda r: r.net), min(known, key=lambda r: r.net)
    words = (
        [f"{short(best.name)} earned most, {whole(best.net, best.base)}"] if best.net > 0 else []
    )
    words += (
        [f"{short(worst.name)} lost most, {whole(worst.net, worst.base)}"] if worst.net < 0 else []
    )
    return f"{counts}. {listed(words) or 'None gained or lost'}."


def _gaps(facts: Facts) -> tuple[str, ...]:
    """What the figures are without, where a session of the period has no such fact."""
    notes = []
    for name, what in (("pnl", "P&L"), ("slippage", "slippage"), ("fill_rate", "fill rates")):
        gone = [
            day
            for day, fact in facts.of(name)
            if isinstance(fact, Missing) and fact.why not in NO_GAP
        ]
        if gone:
            notes.append(f"Without the {what} of {in_spans(gone)}: not known there.")
    return tuple(notes)


NOTES = (
    "A session wins or loses by its net P&L. Profit factor: gains over losses. Turnover: traded "
    "notional over the mean gross market value at the close. Costs: fees, and slippage against "
    "arrival. Shares are left out where signs are mixed: they would be negative or beyond 100 %.",
    f"Sharpe ratio: mean over standard deviation of daily net P&L in money, no risk-free rate, "
    f"from {LEAST_SESSIONS} sessions on; annual: times the square root of {SESSIONS_A_YEAR}, as of "
    "independent days. Standard error: Lo (2002), for days that hang together by equally weighted "
    "cosines, interval by Student's t (Lazarus and others 2018); for independent days Mertens "
    "(2002). Drawdown: the deepest fall of cumulative net P&L from its highest point, at first 0.",
)
