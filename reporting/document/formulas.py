"""How each number of a report is worked out: in words, in symbols, from which facts, after whom.

A formula is found by a number's shape (:class:`reporting.document.numbers.Printed`): an id that is
written out wins over a pattern, and of patterns exactly one fits. ``tests/document`` has every
number of the sample reports looked up here, so that none is printed without one.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

# How the value of a period comes from those of its days.
ADDS = "the days' own values add up to it"
SUMS = "the sums that it is made of add up over the days; it is worked out from their totals"
LAST = "it is that of the last session of the period; days do not add up"
WORST = "it is the worst of the period; days do not add up"
EACH = "it is of one day or one event by itself"
BACK = "it looks back on sealed days before the period too"


@dataclass(frozen=True)
class Formula:
    """One way of working numbers out.

    ``ids`` are shapes, with ``*`` for what differs; ``facts`` point into the facts of a sealed day,
    ``measure/field``; ``days`` says how a period comes from its days.
    """

    ids: tuple[str, ...]
    words: str
    symbols: str
    source: str
    facts: tuple[str, ...]
    days: str = SUMS


def formula_of(shape: str) -> Formula:
    """The formula of a number; :class:`LookupError` where there is none or more than one."""
    found = formulas_of(shape)
    if len(found) != 1:
        raise LookupError(f"{shape} has {len(found)} formulas, expected one: {found}")
    return found[0]


@cache
def formulas_of(shape: str) -> tuple[Formula, ...]:
    """Every formula that fits: one, unless the registry is wrong."""
    exact = tuple(f for f in FORMULAS if shape in f.ids)
    return exact or tuple(f for f in FORMULAS if any(fnmatchcase(shape, p) for p in f.ids))


# --- which queries a measure's facts rest on ---------------------------------------------------

_BOOK = (
    "instruments", "fills", "marks", "orders", "earlier_fills", "replaced_fills",
    "correcting_fills", "late_fills", "fee_items", "corporate_actions", "cash_flows",
)  # fmt: skip
_EXECUTION = ("instruments", "fills", "marks", "orders", "earlier_fills", "quotes", "market_trades")
_INCIDENTS = ("incidents", "incident_targets")

#: The queries behind the facts of each measure, by the names under which coverage has them.
QUERIES: dict[str, tuple[str, ...]] = {
    "pnl": (*_BOOK, "fx_rates"),
    "marks": (*_BOOK, "mark_history", "split_history"),
    "reconciliation": (*_BOOK, "reported_positions", "reported_cash"),
    "var": (*_BOOK, "mark_history", "fx_history", "fx_rates", "split_history"),
    "slippage": _EXECUTION,
    "fill_rate": (*_EXECUTION, "working"),
    "uptime": ("up_screen", "up_raw", "maintenance"),
    "service_levels": ("level_queries", "level_series", "level_samples"),
    "alerts": ("alerts", "alert_episodes", "notifications", "alertmanager", *_INCIDENTS),
    "incidents": _INCIDENTS,
}

# --- sources of formulas -----------------------------------------------------------------------

DEFINED = "the definitions in reporting.measures.pnl"
IDENTITY = "the cash identity in reporting.measures.pnl"
KISSELL = "Kissell, The Science of Algorithmic Trading and Portfolio Management (2013)"
PEROLD = "Perold, The Implementation Shortfall (1988); Kissell (2013)"
RATES = "the three fill rates in reporting.measures.fill_rate"
SRE2 = "Beyer et al., The Site Reliability Workbook (2018), chapter 2"
SRE5 = "Beyer et al., The Site Reliability Workbook (2018), chapter 5"
SRE9 = "Beyer et al., The Site Reliability Workbook (2018), chapter 9"
ACERBI = "Acerbi and Tasche, On the coherence of expected shortfall (2002)"
TASCHE = "Euler allocation: Tasche, Risk contributions and performance measurement (1999)"
BASEL = "Basel Framework MAR32"
KUPIEC = "Kupiec (1995); Christoffersen (1998); Basel Framework MAR32"
LO = "Lo, The Statistics of Sharpe Ratios (2002); Lazarus, Lewis, Stock and Watson (2018)"
SEN = "Theil (1950); Sen (1968); Gilbert (1987), 16.5"
SHIFT = "Mann and Whitney (1947); Hodges and Lehmann (1963); Benjamini and Hochberg (1995)"
ZSCORE = "Iglewicz and Hoaglin, How to Detect and Handle Outliers (1993)"
FIELLER = "Fieller (1954); Cochran (1977), 6.3; Lazarus, Lewis, Stock and Watson (2018)"
MAD = "Rousseeuw and Croux, Alternatives to the median absolute deviation (1993)"
RECKON = "ours − theirs at the close, item by item (reporting.measures.reconciliation)"
OURS = "the report's own count"

_CELLS = ("pnl/cells", "pnl/fx")
_EXPLAINED = ("pnl/explained",)
_COST = ("slippage/cells",)
_ORDERS = ("fill_rate/cells",)
_GROUPS = ("fill_rate/groups",)
_VAR = ("var/days",)
_UP = ("uptime/targets",)
_LEVELS = ("service_levels/levels",)
_KEPT = ("service_levels/levels", "uptime/targets")
_ALERTS = ("alerts/alerts", "alerts/episodes")
_OPENED = ("incidents/incidents", "incidents/targets")
_BREAKS = ("reconciliation/days",)


def _both(*names: str) -> tuple[str, ...]:
    """A figure of strategies and agents, and its column in their comparison."""
    figures = (f"{kind}.*.{name}" for kind in ("agent", "strategy") for name in names)
    return (*figures, *(f"strategies_compared/{name}" for name in names))


def _split(*names: str) -> tuple[str, ...]:
    """A column of the tables that split P&L."""
    tables = ("pnl_by_*", "pnl_cells", "agent_*", "strategy_*")
    return tuple(f"{table}/{name}" for table in tables for name in names)


# --- P&L and marks -----------------------------------------------------------------------------

_PNL = (
    Formula(
        ("pnl.net", *_split("net"), *_both("net"), "chart:pnl_daily"),
        "what the book was worth at the close, cash and positions at their marks, less what it was "
        "worth at the opening, each in base currency at its own rate; after fees, without deposits "
        "and withdrawals",
        "net = Σ V₁·fx₁ − V₀·fx₀ = realised + unrealised + dividends + funding − fees + FX,  "
        "V = cash + position × multiplier × mark",
        IDENTITY, _CELLS, ADDS,
    ),
    Formula(
        ("pnl.gross", *_split("gross"), *_both("gross")),
        "the result before fees and without FX on earlier results",
        "gross = realised + Δ unrealised + dividends + funding", DEFINED, _CELLS,
    ),
    Formula(
        ("pnl.realised", *_split("realised")),
        "what closing lots brought beyond what opening them cost, lots by the method in force",
        "realised = Σ (p_close − p_open) × quantity × multiplier × side of the lot",
        f"{DEFINED}: lots", _CELLS,
    ),
    Formula(
        ("pnl.unrealised",),
        "how much more (or less) the open lots are worth at the closing marks than at the opening",
        "Δ unrealised = Σ open lots (mark − p_open) × quantity × multiplier, close less opening",
        DEFINED, _CELLS,
    ),
    Formula(("pnl.dividends",), "dividends on positions held at their ex date",
            "Σ amount × position", DEFINED, _CELLS),
    Formula(("pnl.funding",), "funding, interest and charges that the ledger recorded as cash",
            "Σ cash flows of these kinds", DEFINED, _CELLS),
    Formula(("pnl.fees", *_split("fees"), *_both("fees")), "what the fills cost in fees",
            "fees = Σ fee of the fills in force, × fx₁", DEFINED, _CELLS),
    Formula(
        ("pnl.fx", *_split("fx")),
        "what the change of exchange rates made of the value that was there at the opening",
        "FX = Σ V₀ × (fx₁ − fx₀)", DEFINED, _CELLS,
    ),
    Formula(("pnl.fills", *_split("fills")), "fills in force: busted and corrected ones left out",
            "count", DEFINED, ("pnl/fills", "pnl/cells"), ADDS),
    Formula(("pnl.positions",), "instruments with a position at the close", "count",
            DEFINED, ("pnl/marks",), LAST),
    Formula(
        ("pnl.residual", "pnl_cells/residual"),
        "the net P&L that nothing explains: told by cash and value on one side, by positions and "
        "prices on the other",
        "residual = net − (carried + intraday + corrections + fees + funding + dividends + FX)",
        f"{DEFINED}: P&L explain", (*_CELLS, *_EXPLAINED),
    ),
    Formula(
        ("pnl_explain/amount", "chart:pnl_explain", "pnl_cells/explained_*"),
        "one part of what the net P&L comes from, worked out session by session",
        "carried = Σ opening position × (mark₁ − mark₀);  intraday = Σ fills (mark₁ − price) × "
        "quantity;  corrections, fees, funding, dividends, FX as recorded",
        f"{DEFINED}: P&L explain", (*_EXPLAINED, *_CELLS), ADDS,
    ),
    Formula(
        ("pnl_identity/amount",),
        "one line of the cash identity: the result told by lots, and told by cash and value",
        "realised + Δ unrealised + dividends + funding − fees = Δ cash + Δ market value",
        IDENTITY, _CELLS,
    ),
    Formula(
        ("pnl.net_?td", "pnl_to_date/*"),
        "the sum of the sessions' own, each in base at its own closing rate, from the first day of "
        "the week, month, quarter or year",
        "Σ of the sessions so far", f"{DEFINED}: to date", _CELLS, BACK,
    ),
    Formula(("pnl_fees/amount",), "fees of one kind, in their own currency", "Σ items of the kind",
            DEFINED, ("pnl/fee_items",), ADDS),
    Formula(("pnl_fees/base",), "the same in base, at the closing rate",
            "Σ items of the kind × fx₁", DEFINED, ("pnl/fee_items", "pnl/fx")),
    Formula(("pnl_fx/open",), "worth of one unit of the currency in base before the opening",
            "last rate recorded before the opening", DEFINED, ("pnl/fx",), EACH),
    Formula(("pnl_fx/close",), "worth of one unit of the currency in base at the close",
            "last rate recorded before the close", DEFINED, ("pnl/fx",), LAST),
    Formula(("pnl.stale_rates", "pnl_fx/value"),
            "closing rates from before their session, and the value that each rate translates",
            "count;  Σ |V| × fx₁", DEFINED, ("pnl/fx",), LAST),
    Formula(("marks.disagreeing", "marks_disagreeing/*"),
            "two sources' marks of one close, and how far apart they are",
            "|mark − other| / mark", MAD, ("marks/days",), WORST),
    Formula(("pnl_marks/*",), "the mark that an open position was valued at, and what it touches",
            "value = |position| × multiplier × mark", DEFINED, ("pnl/marks",), LAST),
    Formula(("marks.stale", "marks.missing", "marks.unjudged"),
            "closing positions whose mark is older than the session, is not there, or has too "
            "short a history to be judged", "count", DEFINED, ("marks/days",), LAST),
    Formula(
        ("marks.outlying", "marks_doubtful/*"),
        "a mark whose move is farther from the instrument's usual one than the limit of policy",
        "|r − median(r)| > k × MAD(r) over the trailing returns", MAD, ("marks/days",), WORST,
    ),
)  # fmt: skip

_RECONCILIATION = (
    Formula(("reconciliation.*_matched",), "items of covered accounts without a difference",
            "agreed / compared", RECKON, _BREAKS),
    Formula(("reconciliation.oldest_break_sessions",),
            "sessions since the oldest open break first stood with the same sign", "count",
            RECKON, _BREAKS, BACK),
    Formula(
        ("reconciliation_breaks/*", "reconciliation_resolved/*"),
        "one item that our book and the statement have differently, and how long it has stood",
        "difference = ours − theirs;  worth = difference × multiplier × mark",
        RECKON, _BREAKS, BACK,
    ),
    Formula(("reconciliation_statements/*",), "what each statement covers and how much agrees",
            "count", RECKON, _BREAKS),
)  # fmt: skip

# --- risk --------------------------------------------------------------------------------------

_RISK = (
    Formula(
        ("var.var_*",),
        "the loss of one day that is exceeded with the probability that the level leaves, from "
        "today's positions revalued with each day's returns of the window",
        "VaR_α = the ⌈n(1−α)⌉-th largest of n losses",
        f"historical simulation; {BASEL}", _VAR, LAST,
    ),
    Formula(
        ("var.es_*",),
        "the mean loss of the worst outcomes, with the weight that the level leaves",
        "ES_α = 1/(n(1−α)) × (Σ of the ⌊n(1−α)⌋ largest losses + the rest of one more)",
        ACERBI, _VAR, LAST,
    ),
    Formula(("var_by_day/*",), "VaR or ES of one close, or the largest of the period",
            "as var.var_… and var.es_…", f"historical simulation; {ACERBI}", _VAR, EACH),
    Formula(
        ("var_methods/*",),
        "VaR and ES by another method; ten days are one day × √10, without a claim that this holds",
        "normal: zσ − μ;  Cornish-Fisher: z + (z²−1)S/6 + (z³−3z)K/24 − (2z³−5z)S²/36;  "
        "EWMA: σ²ₜ = 0.94σ²ₜ₋₁ + 0.06r²;  filtered: outcomes × σ now / σ then",
        f"reporting.risk; {ACERBI}", _VAR, LAST,
    ),
    Formula(("var.gross", "var.net", "var_exposure/*"),
            "market value of the closing positions in base, each instrument netted first",
            "gross = long + short;  net = long − short", "reporting.risk.exposure", _VAR, LAST),
    Formula(("var.largest_share",), "the largest position's share of gross exposure",
            "max |v| / Σ |v|", "reporting.risk.exposure", _VAR, LAST),
    Formula(("var.herfindahl",), "concentration: 1 is all in one instrument, 1/k is even over k",
            "Σ (|v| / gross)²", "Herfindahl's index", _VAR, LAST),
    Formula(("var.observations",), "daily returns that VaR was read off", "count",
            "historical simulation", _VAR, LAST),
    Formula(
        ("var.exceptions_*",),
        "sessions whose loss went beyond the VaR of the close before",
        "count of −P&Lₜ > VaRₜ₋₁", BASEL, ("var/days", *_CELLS), BACK,
    ),
    Formula(
        ("var_backtests/*",),
        "whether losses beyond VaR are as many, and as independent, as the level says",
        "LR_pof = −2 ln[(1−p)^(T−x) p^x / ((1−x/T)^(T−x) (x/T)^x)];  independence from the "
        "transitions;  both = LR_pof + LR_ind", KUPIEC, ("var/days", *_CELLS), BACK,
    ),
    Formula(
        ("chart:var_backtest", "var_tests/*"),
        "P&L of each session, clean P&L (closing positions of the day before, revalued), and what "
        "the VaR of the close before allowed", "exception where P&L < −VaR", BASEL,
        ("var/days", *_CELLS), BACK,
    ),
    Formula(
        ("var_components/*",),
        "what one strategy, agent or instrument has of VaR and ES; components sum to the total",
        "component ES = mean of its outcomes in the tail;  marginal = component / exposure;  "
        "incremental = total − total without it", TASCHE, _VAR, LAST,
    ),
    Formula(("var_left_out/*",), "a closing position that VaR could not revalue",
            "value at its mark", BASEL, _VAR, LAST),
    Formula(("var.stress_loss", "var_stress/*"),
            "what the closing positions lose in a scenario of policy", "Σ value × shock, or a "
            "historical day's returns", "config/risk.toml", _VAR, LAST),
    Formula(("var.limits_breached", "var_limits/*"), "use of each limit of policy at a close",
            "value / limit", "config/risk.toml", ("var/days", *_CELLS), WORST),
    Formula(("var.drawdown", "var.drawdown_largest"),
            "how far cumulative net P&L is, or was at most, below its highest point before",
            "max over s ≤ t of C_s − C_t,  C = Σ net", "reporting.risk", _CELLS, BACK),
    Formula(("var.kelly", "var.kelly_approximation"),
            "the multiple of the present size at which the past would have grown fastest",
            "argmax_f Σ log(1 + f r);  approximation μ/σ²", "Kelly (1956)", _CELLS, BACK),
)  # fmt: skip

# --- execution ---------------------------------------------------------------------------------

_TRADING = (
    Formula(
        ("slippage.???", "slippage_by_*/slippage", "slippage_cuts/slippage",
         "agent_*/slippage", "strategy_*/slippage",
         "slippage_by_*/*_bps", "slippage_by_benchmark/mean", *_both("slippage_bps")),
        "what trading cost against a benchmark (arrival, unless said otherwise), weighted by "
        "notional; positive is cost to us",
        "bps = Σ side × (price − benchmark) × quantity × multiplier / "
        "Σ |benchmark| × quantity × multiplier × 10,000", KISSELL, _COST,
    ),
    Formula(("slippage_by_*/cost", "slippage_cuts/cost", *_both("slippage")),
            "the same cost as an amount",
            "Σ side × (price − benchmark) × quantity × multiplier", KISSELL, _COST, ADDS),
    Formula(("slippage_by_*/notional", "slippage_cuts/notional", "agent_*/notional",
             "strategy_*/notional",
             *_both("notional")),
            "what was traded, at its price or at the benchmark",
            "Σ price × quantity × multiplier", KISSELL, _COST, ADDS),
    Formula(("slippage_by_*/fills", "slippage_cuts/fills"), "fills of the row", "count",
            KISSELL, _COST, ADDS),
    Formula(("slippage.coverage", "slippage_by_*/coverage"),
            "fills that have the benchmark; the others are in no cost against it",
            "fills with it / fills", KISSELL, _COST),
    Formula(
        ("slippage_by_benchmark/median", "slippage_by_benchmark/p95"),
        "the cost that half, or 95 %, of the notional stayed below; from a sketch that merges "
        "exactly and has a stated error", "quantile of bps per fill, by notional",
        "Masson, Rim and Lee, DDSketch (2019)", ("slippage/sketches",),
    ),
    Formula(
        ("slippage.shortfall_bps.*", "slippage_shortfall/*"),
        "what orders cost against their decision price, filled or not",
        "IS = side × [Σ x(p̄ − P_d) + (X − Σx)(P_n − P_d)] + fees;  both splits sum to it",
        PEROLD, ("slippage/shortfall",),
    ),
    Formula(("chart:slippage.distribution",), "the share of notional whose cost lies in a range",
            "notional in the range / notional", KISSELL, ("slippage/sketches",)),
    Formula(("chart:slippage.by_hour",), "slippage of the fills of one hour of the day",
            "as slippage, by hour", KISSELL, ("slippage/hours",)),
    Formula(
        ("fill_rate.full", "fill_rate_*/full", *_both("fill_rate"), "chart:fill_rate.heat"),
        "order chains that were filled to their whole quantity; rejected ones are counted apart",
        "filled in full / orders done", RATES, _ORDERS,
    ),
    Formula(("fill_rate.any", "fill_rate_*/any"), "order chains with at least one fill",
            "with any fill / orders done", RATES, _ORDERS),
    Formula(("fill_rate.orders", "fill_rate_by_instrument/orders", "fill_rate_cuts/orders"),
            "order chains that became final; cancel/replace is one order", "count",
            RATES, _ORDERS, ADDS),
    Formula(("fill_rate.rejected", "fill_rate_rejects/orders"),
            "orders that never reached a market", "count", RATES, _ORDERS, ADDS),
    Formula(("fill_rate.overfilled", "fill_rate_*/overfilled", "fill_rate_*/excess"),
            "orders that were filled beyond their quantity, and by how much",
            "count of filled > ordered;  filled − ordered", RATES, _ORDERS),
    Formula(("fill_rate.working",), "orders that were not final at the end", "count",
            RATES, ("fill_rate/working",), LAST),
    Formula(("fill_rate_by_instrument/quantity",), "quantity filled of quantity ordered",
            "Σ filled / Σ ordered", RATES, _ORDERS),
    Formula(("fill_rate.value.*", "fill_rate_cuts/value"),
            "value filled of value ordered, both at the price at arrival, by currency",
            "Σ filled × P_arrival / Σ ordered × P_arrival", RATES, _GROUPS),
    Formula(("fill_rate.cancelled", "fill_rate.replaced", "fill_rate_cuts/cancelled",
             "fill_rate_cuts/replaced", "fill_rate_cuts/replaces"),
            "orders that ended cancelled, or were replaced at least once", "of the orders done",
            RATES, _GROUPS),
    Formula(
        ("fill_rate.*_ms", "fill_rate_cuts/*_ms"),
        "time from placing an order to its first or last fill; from a sketch that merges exactly "
        "and has a stated error", "quantile of t_fill − t_placed",
        "Masson, Rim and Lee, DDSketch (2019)", ("fill_rate/latencies",),
    ),
)  # fmt: skip

_RECORDS = (
    Formula(
        ("agents_compared/*",),
        "the row's measure of the agent that the column is of, as on the agent's own page",
        "as agent.<agent>.<measure>", "reporting.document.strategies",
        (*_CELLS, *_COST, *_ORDERS), BACK,
    ),
    Formula(_both("share"), "share of the net P&L of all of them, where all have the same sign",
            "net / Σ net", DEFINED, _CELLS),
    Formula(_both("hit_rate"), "sessions with a gain of those that won or lost",
            "won / (won + lost)", "reporting.analysis.performance", _CELLS, BACK),
    Formula(_both("hit_rate_instruments"), "the same of each instrument on each session",
            "won / (won + lost)", "reporting.analysis.performance", _CELLS),
    Formula(_both("profit_factor"), "gains over losses of sessions", "Σ gains / |Σ losses|",
            "reporting.analysis.performance", _CELLS, BACK),
    Formula(_both("turnover"), "traded notional over the mean gross market value at the close",
            "notional / mean Σ |v|", "reporting.document.strategies.records", (*_COST, *_CELLS)),
    Formula(_both("fees_of_gross"), "fees as a share of the gross gain", "fees / gross",
            DEFINED, _CELLS),
    Formula(_both("costs_share"), "its part of all fees and slippage",
            "(fees + slippage) / Σ of all", KISSELL, (*_CELLS, *_COST)),
    Formula(_both("coverage"), "the part of the traded notional that slippage is known of",
            "Σ covered notional / Σ notional", KISSELL, _COST),
    Formula(_both("history"), "sessions with a known P&L that are looked back on", "count",
            OURS, _CELLS, BACK),
    Formula(
        _both("sharpe_*", "interval"),
        "mean of daily net P&L over its standard deviation, without a risk-free rate, with the "
        "error that so few dependent days leave",
        "SR = x̄ / s;  Var SR = long-run variance of u − SR/2 (u² − 1) over n;  annual × √252",
        LO, _CELLS, BACK,
    ),
    Formula((*_both("drawdown"), "chart:*_course"),
            "cumulative net P&L and how deep it fell below its highest point before",
            "max over s ≤ t of C_s − C_t", "reporting.analysis.performance", _CELLS, BACK),
    Formula(("chart:budget_burndown",),
            "what is left of an error budget at the end of each day, counted from the first day of "
            "its window; what is not known counts as spent",
            "1 − (1 − share) × days ÷ window ÷ (1 − goal)", SRE2,
            ("service_levels/levels", "uptime/targets"), BACK),
    Formula(("chart:latency_target",),
            "the day's latency at the percentile of the goal, linear within its bucket, as a share "
            "of the bound that it has to keep",
            "100 × quantile ÷ bound", OURS, ("service_levels/levels",), EACH),
    Formula(("chart:agents_cumulative", "chart:strategies_cumulative"),
            "running sum of daily net P&L", "C_t = Σ net", DEFINED, _CELLS, BACK),
)  # fmt: skip

# --- service ------------------------------------------------------------------------------------

_SERVICE = (
    Formula(
        ("uptime.*", "uptime.worst", "uptime_targets/availability", "components/availability",
         "chart:uptime_calendar"),
        "the share of time in which the target was up; without data it is neither up nor down, so "
        "both bounds are printed; planned maintenance is taken out; a composite weighs its parts",
        "[(up − doubtful up) / W, (up + unknown + doubtful down) / W]", SRE2, _UP,
    ),
    Formula(("uptime_targets/*",), "time up, down and unknown; a sample owns the time to the "
            "midpoints of its neighbours", "Σ owned time by state", SRE2, _UP),
    Formula(("uptime_stretches/*", "uptime_maintenance/*"), "one stretch in which a target was "
            "not up, or one planned window", "end − start", SRE2, _UP, EACH),
    Formula(
        ("components/left", "objectives_*/left"),
        "the part of what may go wrong in the objective's window that has not",
        "1 − bad / ((1 − goal) × all)", SRE2, _KEPT, BACK,
    ),
    Formula(("components/burn", "objectives_*/burn"),
            "how fast the period spent the budget: at 1 it lasts exactly one window",
            "bad / all of the period / (1 − goal)", SRE2, _KEPT, BACK),
    Formula(("service_levels.kept",), "promises that were met of those that could be judged",
            "met / (met + missed)", SRE2, _KEPT),
    Formula(
        ("service_levels.*", "objectives_*/measured", "objectives_*/share", "service_levels/share"),
        "good events, or good time, of all; a latency is the upper bound of its percentile's "
        "bucket; what is not known widens the band",
        "[good / all, (good + unknown) / all]", SRE2, (*_LEVELS, *_ALERTS, *_ORDERS),
    ),
    Formula(("service_levels/*",), "what an objective's series gave in the period",
            "counters from raw deltas (a fall is a restart); values by owned time; percentiles "
            "from summed buckets", f"{SRE2}; OpenSLO v1", _LEVELS),
    Formula(("alerts.fired", "alerts_by_alert/*", "alerts_firings/*", "alerts_held/*"),
            "episodes that began to fire in the period, how long, and how fast they were told",
            "episode = one activation;  response = first notification − condition held",
            SRE5, _ALERTS),
    Formula(("alerts.response_s", "alerts.*"),
            "the slowest first notification, at its later bound",
            "max (told at the latest − condition held)", SRE5, _ALERTS, WORST),
    Formula(("alerts.false_positives",), "alerts whose incident says that they were false",
            "count", SRE5, (*_ALERTS, "incidents/incidents")),
    Formula(("alerts_together/*",), "firings of the rarer alert during which the other fired too",
            "together / firings of the rarer", SRE5, _ALERTS),
    Formula(("incidents.count", "incidents_list/*", "chart:incidents_per_day",
             "incidents_priorities/opened", "incidents.false_positives"),
            "incidents, on the day on which they were opened", "count", SRE9, _OPENED, ADDS),
    Formula(("incidents.mtta", "incidents_priorities/mtta"),
            "mean time from opening to acknowledgement, of those acknowledged",
            "Σ (acknowledged − opened) / acknowledged ones", SRE9, _OPENED),
    Formula(("incidents.mttr", "incidents_priorities/mttr"),
            "mean time from opening to resolution, of those resolved",
            "Σ (resolved − opened) / resolved ones", SRE9, _OPENED),
    Formula(("incidents.p*",), "the slowest step of an incident of that priority",
            "max (step − opened, or − due)", SRE9, _OPENED, WORST),
)  # fmt: skip

_ANALYSES = (
    Formula(("checklists.*",), "lines of the checklist that passed, of those with an answer",
            "count of pass", "config/operations.toml", ("pnl/cells", *_LEVELS, *_UP), LAST),
    Formula(("compliance.*",), "controls of the mapping by what their tests say of the period",
            "count", "config/compliance.toml", ("pnl/cells", *_LEVELS, *_UP, *_ALERTS), LAST),
    Formula(("capacity.*", "capacity/efficiency", "capacity/used_*", "capacity/allocated"),
            "mean use of what is allocated; beside it the busiest day's p95 and the highest",
            "Σ daily means / (n × allocated)", "reporting.analysis.trend", _LEVELS),
    Formula(
        ("capacity/trend*", "capacity/ends", "chart:capacity_*"),
        "where use is going: the median slope between all pairs of days, with its interval",
        "slope = median (yⱼ − yᵢ)/(j − i);  line through median(y − slope t)", SEN, _LEVELS, BACK,
    ),
    Formula(("regression.*", "regression_*/*", "chart:regression_*"),
            "the period against the trailing days: the shift between both, and how sure it is",
            "shift = median (yⱼ − xᵢ);  of one day z = 0.6745 (x − median) / MAD;  p adjusted "
            "for all that were compared", SHIFT, _LEVELS, BACK),
    Formula(("anomalies_*/*",), "a day far from the trailing days' median",
            "z = 0.6745 (x − median) / MAD", ZSCORE, _LEVELS, BACK),
    Formula(("improvement.*", "improvement/*", "improvement_not_measured/*"),
            "how far a KPI has come from its baseline period, against its goal",
            "change = now / baseline − 1, both ratios of sums", FIELLER,
            (*_LEVELS, *_UP, *_COST), BACK),
)  # fmt: skip

FORMULAS: tuple[Formula, ...] = (
    *_PNL, *_RECONCILIATION, *_RISK, *_TRADING, *_RECORDS, *_SERVICE, *_ANALYSES,
)  # fmt: skip
