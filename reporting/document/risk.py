"""What risk needs beyond one close: stress scenarios, limits, drawdown, Kelly's fraction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from ..measures.pnl import PnlFact, totals
from ..measures.var import (
    ES_LEVEL,
    VAR_LEVEL,
    LeftOut,
    Position,
    VarDay,
    VarFact,
    without_words,
)
from ..model import (
    EXACT,
    Count,
    Exact,
    Missing,
    Money,
    Number,
    Shown,
    Why,
    exact_sum,
)
from ..model import Ratio as Share
from ..numerals import numeral, ours
from ..page import Attention, Column, Figure, Section, Table, Verdict, text
from ..periods import sessions_between
from ..policy.risk import Capital, Limit, RiskPolicy, Scenario
from ..risk.exposure import concentration, exposure, netted, shocked
from ..risk.growth import Drawdown, drawdown, kelly, kelly_approximation
from .backtest import Track
from .history import NO_GAP, UNKNOWN_THEN, Facts

#: Fewer returns say nothing of a growth rate.
LEAST_RETURNS = 30
NOT_THEN = Missing(why=Why.NOT_MEASURED, detail="sealed before positions were kept")
NAMES = {
    "var_99": "VaR 99 %",
    "es_97.5": "ES 97.5 %",
    "gross": "Gross exposure",
    "net": "Net exposure",
    "concentration": "Largest share of gross exposure",
    "drawdown": "Drawdown",
    "stress_loss": "Worst stress loss",
}


@dataclass(frozen=True)
class Asked:
    """What scenarios and limits are worked out from."""

    policy: RiskPolicy
    track: Track
    base: str
    calendar: str


def with_risk(
    section: Section, facts: Facts, track: Track, policy: RiskPolicy, base: str
) -> tuple[Section, list[Attention]]:
    """Add stress, limits, drawdown and Kelly's fraction to the section; breaches need a person."""
    asked = Asked(policy, track, base, facts.days[-1].calendar)
    last = facts.days[-1].day
    closes = [
        (day, fact.days[-1] if isinstance(fact, VarFact) else fact) for day, fact in facts.of("var")
    ]
    figures = [*_drawdown_figures(asked), *_kelly_figures(asked, last)]
    tables: list[Table] = []
    notes: list[str] = []
    close = closes[-1][1] if closes else UNKNOWN_THEN
    scenarios = policy.scenarios_on(last)
    if isinstance(close, VarDay) and scenarios and not close.is_flat:
        losses = _losses(scenarios, close, asked)
        figures = [*_stress_figure(losses, base), *figures]
        tables.append(_stress_table(losses, close, base))
    uses = [_use(limit, closes, asked) for limit in policy.limits_on(last)]
    verdict, attention = section.verdict, []
    if isinstance(close, VarDay) and close.left_out:
        words = f"VaR of {close.day} leaves out {without_words(close, why=True)}."
        attention.append(Attention(severity="warning", text=words, section="var"))
    if uses:
        tables.append(_limits_table(uses, base))
        breached = [u for u in uses if u.breaches]
        unknown = [u for u in uses if u.unknown and not u.breaches]
        figures.append(
            Figure(
                id="var.limits_breached",
                label="Limits breached",
                value=Count(value=len(breached), unit=f"of {len(uses)} limits"),
                note=f"{len(unknown)} not known" if unknown else "",
            )
        )
        attention += [u.told(base) for u in breached]
        if breached or section.verdict is Verdict.MISSED:
            verdict = Verdict.MISSED
        elif unknown or section.verdict is Verdict.UNKNOWN:
            verdict = Verdict.UNKNOWN
        else:
            verdict = Verdict.MET
    else:
        notes.append("No limit is set: limits are the firm's own, and stand in the risk file.")
    found = section.model_copy(
        update={
            "figures": (*section.figures, *figures),
            "tables": (*section.tables, *tables),
            "notes": (*section.notes, *notes),
            "verdict": verdict,
        }
    )
    return found, attention


def _is_gap(value: object) -> bool:
    """Whether a value lacks that should be there: a flat book's lacks for a good reason."""
    return isinstance(value, Missing) and value.why not in NO_GAP


# Drawdown and Kelly ---------------------------------------------------------------------------


def _drawdown_figures(asked: Asked) -> list[Figure]:
    known = [(p.day, p.value) for p in asked.track.net if not isinstance(p.value, Missing)]
    if not known:
        return []
    found, base = drawdown(known), asked.base
    since = f"over {len(known)} sessions from {known[0][0]}"
    without = len(asked.track.net) - len(known)
    gaps = f", {without} without a P&L left out" if without else ""
    last = asked.track.net[-1].value
    # Without the last session's P&L nobody knows where it stands now.
    unknown = last if isinstance(last, Missing) else None
    return [
        Figure(
            id="var.drawdown",
            label="Drawdown, current",
            value=unknown or Money(amount=found.current, currency=base),
            note="" if unknown else _current_words(found),
        ),
        Figure(
            id="var.drawdown_largest",
            label="Drawdown, largest",
            value=Money(amount=found.largest, currency=base),
            note=f"{_largest_words(found)}{since}{gaps}",
        ),
    ]


def _current_words(found: Drawdown) -> str:
    if not found.sessions:
        return "at its highest"
    unit = "session" if found.sessions == 1 else "sessions"
    return f"{found.sessions} {unit} since {found.peak or 'the start'}"


def _largest_words(found: Drawdown) -> str:
    if found.deepest_on is None:
        return ""
    return f"{found.deepest_from or 'start'} to {found.deepest_on}, "


def _kelly_figures(asked: Asked, on: date) -> list[Figure]:
    found = _kelly(asked, asked.policy.capital(on))
    label = "Kelly fraction (1 is the present size)"
    if isinstance(found, Missing):
        return [Figure(id="var.kelly", label=label, value=found)]
    fraction, approximation, note = found
    return [
        Figure(id="var.kelly", label=label, value=fraction, note=note),
        Figure(
            id="var.kelly_approximation",
            label="Mean over variance, an approximation of it",
            value=approximation,
        ),
    ]


def _kelly(asked: Asked, capital: Capital | None) -> tuple[Shown, Shown, str] | Missing:
    if capital is None:
        return Missing(
            why=Why.NOT_MEASURED, detail="no capital is set; add [[capital]] to the risk file"
        )
    if capital.currency != asked.base:
        return Missing(
            why=Why.NOT_MEASURED, detail=f"capital is in {capital.currency}, not in {asked.base}"
        )
    returns = [
        float(Fraction(p.value) / Fraction(capital.amount))
        for p in asked.track.net
        if not isinstance(p.value, Missing)
    ]
    if len(returns) < LEAST_RETURNS:
        return Missing(
            why=Why.TOO_SHORT,
            detail=f"{len(returns)} daily returns, {LEAST_RETURNS} are needed",
        )
    fraction, near = kelly(returns), kelly_approximation(returns)
    unbounded = Missing(why=Why.NO_DATA, detail="no session lost, so more is always better")
    flat = Missing(why=Why.NO_DATA, detail="the returns do not vary")
    note = f"{len(returns)} daily returns on {numeral(capital.amount, ',.0f')} {capital.currency}"
    return (
        unbounded if fraction is None else _quotient(Fraction(fraction)),
        flat if near is None else _quotient(Fraction(near)),
        note,
    )


def _quotient(value: Fraction) -> Number:
    """Four decimals: more than the estimate is worth."""
    return Number(value=Decimal(round(value * 10_000)).scaleb(-4))


# Stress ---------------------------------------------------------------------------------------

Losses = list[tuple[Scenario, Exact | Missing]]


def _losses(scenarios: Sequence[Scenario], close: VarDay, asked: Asked) -> Losses:
    """The loss of every scenario, the worst first; what has none comes last."""
    found = [(s, _loss(s, close, close.positions, asked.calendar)) for s in scenarios]
    return sorted(found, key=lambda pair: _worst_first(pair[1]))


def _worst_first(loss: Exact | Missing) -> tuple[bool, Decimal]:
    return (True, Decimal(0)) if isinstance(loss, Missing) else (False, -loss)


def _loss(
    scenario: Scenario, close: VarDay, positions: Iterable[Position], calendar: str
) -> Exact | Missing:
    """What positions lose in a scenario, in base; a replay is of all that VaR covers."""
    if close.is_flat:
        return Decimal(0)
    if not (close.positions or close.left_out):
        return NOT_THEN
    if scenario.replay is None:
        return exact_sum(
            shocked(p.value, scenario.shocks_of((p.instrument, p.symbol), p.currency))
            for p in positions
        )
    again = sessions_between(scenario.replay.first, scenario.replay.last, calendar)
    outcomes = {o.day: o.amount for o in close.outcomes}
    lacking = [day for day in again if day not in outcomes]
    if lacking or not again:
        detail = f"{len(lacking)} of its {len(again)} sessions are not in the window"
        return Missing(why=Why.NO_DATA, detail=detail)
    return EXACT.minus(exact_sum(outcomes[day] for day in again))


def _stress_figure(losses: Losses, base: str) -> list[Figure]:
    scenario, loss = losses[0]
    if isinstance(loss, Missing):
        return [Figure(id="var.stress_loss", label="Worst stress loss", value=loss)]
    value = Money(amount=loss, currency=base)
    return [
        Figure(id="var.stress_loss", label="Worst stress loss", value=value, note=scenario.title)
    ]


def _stress_table(losses: Losses, close: VarDay, base: str) -> Table:
    rows: list[tuple[Shown, ...]] = []
    for scenario, loss in losses:
        shown: Shown = loss if isinstance(loss, Missing) else Money(amount=loss, currency=base)
        share: Shown = (
            loss if isinstance(loss, Missing) else Share(numerator=loss, denominator=close.gross)
        )
        kind = "past days again" if scenario.replay else "shocks"
        rows.append(
            (text(scenario.title), shown, share, text(kind), text(scenario.since.isoformat()))
        )
    unvalued = _named(x for x in close.left_out if isinstance(x.value, Missing))
    left_out = f" Without a value, and left out: {unvalued}." if unvalued else ""
    if close.left_out and any(s.replay for s, _ in losses):
        left_out += f" Left out of past days again: {_named(close.left_out)}."
    return Table(
        id="var_stress",
        title="Stress scenarios, the worst first",
        columns=(
            Column(key="scenario", label="Scenario", align="left"),
            Column(key="loss", label="Loss"),
            Column(key="share", label="Of gross exposure"),
            Column(key="kind", label="Kind", align="left", shown=False),
            Column(key="since", label="In force from", align="left", shown=False),
        ),
        rows=tuple(rows),
        top=12,
        note=f"Positions at the close of {close.day}; a negative loss is a gain.{left_out}",
    )


# Limits ---------------------------------------------------------------------------------------

#: What a limit bounds on one day: its use is numerator over denominator, exact.
Measured = Money | Share | Missing


@dataclass(frozen=True)
class Use:
    """A limit, what it bounds now, and its highest use in the period with the days in breach.

    On the ``unknown`` days nobody can say whether it was kept.
    """

    limit: Limit
    now: Measured
    highest: Fraction | None
    highest_on: date | None
    highest_value: Measured
    highest_limit: Limit
    breaches: tuple[date, ...]
    unknown: tuple[date, ...]

    @property
    def state(self) -> str:
        """Breached on a day, kept on all, or not known to be kept."""
        return "breached" if self.breaches else "not known" if self.unknown else "kept"

    @property
    def title(self) -> str:
        """What is limited, in words."""
        return ours(NAMES[self.limit.measure])

    def told(self, base: str) -> Attention:
        """The breach, for the first page."""
        days = len(self.breaches)
        often = f" ({days} sessions of the period)" if days > 1 else ""
        assert self.highest is not None
        pct = Decimal(round(self.highest * 1000)).scaleb(-1)
        bound = self.highest_limit
        unit = "%" if bound.measure == "concentration" else base
        return Attention(
            severity="alarm",
            text=f"{self.title}, {bound.scope}: {numeral(pct)} % of its limit of "
            f"{numeral(bound.value, ',f')} {unit} on {self.highest_on}{often}.",
            section="var",
        )


def _use(limit: Limit, closes: Sequence[tuple[date, VarDay | Missing]], asked: Asked) -> Use:
    """A limit over the period; each day is judged by what was in force on it."""
    now: Measured = UNKNOWN_THEN
    highest: tuple[Fraction, date, Measured, Limit] | None = None
    breaches, unknown = [], []
    for day, close in closes:
        bound = next((x for x in asked.policy.limits_on(day) if x.id == limit.id), None)
        if bound is None:
            continue
        now = _measured(bound, day, close, asked)
        if _is_gap(now):
            unknown.append(day)
        share = _share(bound, now)
        if share is None:
            continue
        if share > 1:
            breaches.append(day)
        if highest is None or share > highest[0]:
            highest = (share, day, now, bound)
    if highest is None:
        return Use(limit, now, None, None, now, limit, (), tuple(unknown))
    return Use(limit, now, *highest, tuple(breaches), tuple(unknown))


def _share(limit: Limit, value: Measured) -> Fraction | None:
    """How much of a limit is used; 1 is all of it."""
    if isinstance(value, Missing):
        return None
    if isinstance(value, Money):
        return Fraction(value.amount) / Fraction(limit.value)
    share = value.fraction
    return None if share is None else share * 100 / Fraction(limit.value)


def _measured(limit: Limit, day: date, close: VarDay | Missing, asked: Asked) -> Measured:
    if limit.currency not in (None, asked.base):
        detail = f"the limit is in {limit.currency}, not in {asked.base}"
        return Missing(why=Why.NOT_MEASURED, detail=detail)
    if limit.measure == "drawdown":
        return _drawdown_of(limit, day, asked)
    if isinstance(close, Missing):
        return close
    if not (close.is_flat or close.positions or close.left_out):
        return NOT_THEN
    held = [
        p
        for p in close.positions
        if limit.strategy in ("", p.strategy) and limit.agent in ("", p.agent)
    ]
    # Of seals without values it is not known whose a position was: it may be anyone's.
    out = [
        x
        for x in close.left_out
        if (not limit.strategy or x.strategy in ("", limit.strategy))
        and (not limit.agent or x.agent in ("", limit.agent))
    ]
    if limit.measure in ("var_99", "es_97.5"):
        amount = _tail_of(limit, close, out)
        return amount if isinstance(amount, Missing) else Money(amount=amount, currency=asked.base)
    unvalued = [x for x in out if isinstance(x.value, Missing)]
    if limit.measure == "stress_loss":
        worst = _worst_loss(limit, day, close, held, out, asked)
        return worst if isinstance(worst, Missing) else Money(amount=worst, currency=asked.base)
    values = netted(held, lambda p: p.instrument, lambda p: p.value)
    total = exposure(values.values())
    # What is left out can only add to a gross exposure: one beyond its limit stays beyond it.
    if unvalued and not (limit.measure == "gross" and total.gross > limit.value):
        return _part(unvalued)
    if limit.measure == "concentration":
        found = concentration(values)
        if found is None:
            return Missing(why=Why.NO_TRADES, detail="no position is open at the close")
        return Share(numerator=found.value, denominator=found.gross)
    amount = total.gross if limit.measure == "gross" else abs(total.net)
    return Money(amount=amount, currency=asked.base)


def _named(left_out: Iterable[LeftOut]) -> str:
    return ", ".join(dict.fromkeys(x.symbol for x in left_out))


def _part(out: Sequence[LeftOut], known: str = "") -> Missing:
    """What is left out makes the whole unknown; ``known`` is what there is of it."""
    return Missing(why=out[0].reason.why, detail=f"{known} without {_named(out)}".strip())


def _tail_of(limit: Limit, close: VarDay, out: Sequence[LeftOut]) -> Exact | Missing:
    """VaR or ES, historical, of the book or of one strategy's or agent's own positions."""
    is_var = limit.measure == "var_99"
    amount: Exact | Missing
    if limit.strategy or limit.agent:
        kind = "strategy" if limit.strategy else "agent"
        name = limit.strategy or limit.agent
        own = next((s for s in close.shares if (s.kind, s.name) == (kind, name)), None)
        if own is None:
            gone = Missing(why=Why.NO_TRADES, detail=f"no position of {kind} {name} at the close")
            return _part(out) if out else gone
        amount = own.alone_var if is_var else own.alone_es
    else:
        found = close.at(VAR_LEVEL if is_var else ES_LEVEL)
        if isinstance(found, Missing):
            return found
        amount = found.var if is_var else found.es
    return _part(out, f"{numeral(amount, ',.2f')} {close.base}") if out else amount


def _worst_loss(
    limit: Limit,
    day: date,
    close: VarDay,
    held: Sequence[Position],
    out: Sequence[LeftOut],
    asked: Asked,
) -> Exact | Missing:
    """The worst of the scenarios in force; of a strategy or agent without those of the past.

    A scenario that can not be worked out, or not for all positions, leaves the worst of them
    unknown, unless another one alone is beyond the limit.
    """
    part = bool(limit.strategy or limit.agent)
    known, lacking = [Decimal(0)], []
    for scenario in asked.policy.scenarios_on(day):
        if part and scenario.replay:
            continue
        loss = _loss(scenario, close, held, asked.calendar)
        beyond = [x for x in out if scenario.replay or isinstance(x.value, Missing)]
        if isinstance(loss, Missing):
            lacking.append(Missing(why=loss.why, detail=f"{scenario.title}: {loss.detail}"))
        elif beyond:
            lacking.append(_part(beyond, scenario.title))
        else:
            known.append(loss)
    worst = max(known)
    if lacking and worst <= limit.value:
        return lacking[0]
    if len(known) == 1:
        return Missing(why=Why.NOT_MEASURED, detail="no stress scenario is in force")
    return worst


def _drawdown_of(limit: Limit, day: date, asked: Asked) -> Measured:
    """The drawdown as it stood after ``day``."""
    known = []
    for (on, fact), point in zip(asked.track.pnl, asked.track.net, strict=True):
        if on > day:
            break
        value: Exact | Missing = point.value
        if (limit.strategy or limit.agent) and isinstance(fact, PnlFact):
            cells = [
                c
                for c in fact.cells
                if limit.strategy in ("", c.strategy) and limit.agent in ("", c.agent)
            ]
            part = totals(fact, cells)
            value = part if isinstance(part, Missing) else part.net
        if isinstance(value, Missing):
            if on == day:
                return value
            continue
        known.append((on, value))
    if not known:
        return Missing(why=Why.NO_DATA, detail="no session has a P&L")
    return Money(amount=drawdown(known).current, currency=asked.base)


def _limits_table(uses: Sequence[Use], base: str) -> Table:
    rows: list[tuple[Shown, ...]] = []
    for use in uses:
        limit = use.limit
        rows.append(
            (
                text(use.title),
                text(limit.scope),
                _bound(limit),
                use.now,
                _used(_share(limit, use.now), use.now),
                _used(use.highest, use.highest_value),
                Count(value=len(use.breaches)),
                text(use.state),
                Count(value=len(use.unknown)),
                text(use.highest_on.isoformat() if use.highest_on else ""),
                text(limit.since.isoformat()),
                text(limit.source),
                text(limit.id),
            )
        )
    return Table(
        id="var_limits",
        title="Limits and their use",
        columns=(
            Column(key="measure", label="Limit of", align="left"),
            Column(key="scope", label="Whose", align="left"),
            Column(key="limit", label="Limit"),
            Column(key="value", label="At the last close"),
            Column(key="use", label="Use"),
            Column(key="highest", label="Highest use"),
            Column(key="breaches", label="Sessions in breach"),
            Column(key="state", label="State", align="left"),
            Column(key="unknown", label="Sessions not known", shown=False),
            Column(key="highest_on", label="Highest on", align="left", shown=False),
            Column(key="since", label="In force from", align="left", shown=False),
            Column(key="source", label="Source", align="left", shown=False),
            Column(key="id", label="Identifier", align="left", shown=False),
        ),
        rows=tuple(rows),
        note="VaR and ES of a strategy or agent are those of its own positions alone. Where a "
        "position is left out of what is limited, a limit is not known to be kept: only the gross "
        "exposure, and the worst of several losses, can be no less than what is known of it.",
    )


def _bound(limit: Limit) -> Shown:
    if limit.currency is None:
        return Share(numerator=limit.value, denominator=Decimal(100))
    return Money(amount=limit.value, currency=limit.currency)


def _used(share: Fraction | None, value: Measured) -> Shown:
    if share is None:
        return value if isinstance(value, Missing) else Missing(why=Why.NO_DATA)
    return Share(numerator=Decimal(share.numerator), denominator=Decimal(share.denominator))
