"""The right answers about the sample ledger, worked out without any code of the product.

Plain Decimals and queues over the rows that were generated: nothing here knows of ticks and lots
as integers, of searchsorted, of the ledger contract or of a database. Each session is answered
twice: as it was known when the day was closed, and as it is known in the demo's present.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from typing import Any

from ...model import epoch_ms
from .market import BY_CODE, NOW, known_ms, local_ms
from .rows import Child, ChildEvent, Execution, Firm, Parent

CONVENTIONS = {
    "numbers": "decimal strings, exact; costs and fees positive to us; sides +1 buy, -1 sell",
    "day": "from the end of the previous session's local day to the end of its own (New York)",
    "as_closed": "rows recorded at or before known_at, 06:00 New York on the next calendar day",
    "as_known_now": "rows recorded at or before now",
    "correction": "replaces its original in full, at the original's execution time; a bust removes",
    "fifo": "per account and instrument, in order of (executed_at, fill_id); realised is gross",
    "chain": "one order; it counts on the day on which its last order was done; ordered is the "
    "quantity of its last order, filled is the sum over all its orders, arrival is the first's",
    "orders": "full, any, ordered and filled leave rejected orders out; full means filled >= "
    "ordered, whatever the status says",
    "slippage": "side x (price - arrival) x quantity x multiplier, over the day's fills; "
    "covered fills are those whose chain has an arrival price",
    "market_value": "quantity x latest mark at or before the day's end x multiplier; the mark is "
    "stale if it is not of the day itself; cost is of the open lots, signed as the quantity",
    "cash": "trades is -side x quantity x price x multiplier in the instrument's currency, fees "
    "are in their own currency, net is trades - fees",
    "identity": "per currency: realised + change in (market_value - cost) - fees == net cash + "
    "change in market_value",
}

_ZERO = Decimal(0)
_MIDNIGHT = time(0)
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])

Key = tuple[str, str]  # book, code


def _text(value: Decimal) -> str:
    """Fixed point; equal numbers get equal text."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


@dataclass(frozen=True)
class _Fill:
    """An execution in force, with what its chain says about it."""

    session: date
    executed_at: int
    fill_id: str
    key: Key
    side: int
    size: Decimal
    px: Decimal
    fee: Decimal
    fee_ccy: str
    root_mid: Decimal | None


@dataclass
class _Lots:
    """Open lots of one account and instrument, oldest first, with the running day's sums."""

    multiplier: Decimal
    lots: deque[list[Decimal]] = field(default_factory=deque)  # [signed size, price]
    realised: Decimal = _ZERO
    trades: Decimal = _ZERO
    fees: dict[str, Decimal] = field(default_factory=dict)
    fills: int = 0

    def new_day(self) -> None:
        self.realised, self.trades, self.fees, self.fills = _ZERO, _ZERO, {}, 0

    def apply(self, fill: _Fill) -> None:
        """Close the oldest opposite lots first; what is left over opens a new one."""
        left = fill.side * fill.size
        self.trades -= left * fill.px * self.multiplier
        self.fees[fill.fee_ccy] = self.fees.get(fill.fee_ccy, _ZERO) + fill.fee
        self.fills += 1
        while left and self.lots and (self.lots[0][0] > 0) != (left > 0):
            lot = self.lots[0]
            closed = min(abs(left), abs(lot[0])) * (1 if lot[0] > 0 else -1)
            self.realised += closed * (fill.px - lot[1]) * self.multiplier
            lot[0] -= closed
            left += closed
            if not lot[0]:
                self.lots.popleft()
        if left:
            self.lots.append([left, fill.px])

    def quantity(self) -> Decimal:
        return sum((lot[0] for lot in self.lots), _ZERO)

    def cost(self) -> Decimal:
        return sum((lot[0] * lot[1] for lot in self.lots), _ZERO) * self.multiplier


class _Answers:
    """Indexes over the firm's rows, and the answers for one session and one state of knowledge."""

    def __init__(self, firm: Firm, sessions: Sequence[date]) -> None:
        self.sessions = tuple(sessions)
        self.start = local_ms(self.sessions[0], _MIDNIGHT)  # nothing was traded before
        self.ends = {day: local_ms(day + timedelta(1), _MIDNIGHT) for day in self.sessions}
        self.end_times = [self.ends[day] for day in self.sessions]
        self.parents = {row.parent_id: row for row in firm.parents}
        self.children = {row.child_id: row for row in firm.children}
        self.chain: dict[str, list[Child]] = defaultdict(list)
        for child in firm.children:  # generated first to last
            self.chain[child.parent_id].append(child)
        self.versions: dict[str, list[ChildEvent]] = defaultdict(list)
        for event in firm.child_events:
            self.versions[event.child_id].append(event)
        self.done_on: dict[date, list[Parent]] = defaultdict(list)
        for parent in firm.parents:
            for event in self.versions[self.chain[parent.parent_id][-1].child_id]:
                if event.state not in ("WORKING", "AMENDED"):
                    self.done_on[self.session_of(event.happened_at)].append(parent)
        self.changes: dict[str, list[Execution]] = defaultdict(list)
        self.originals: list[Execution] = []
        for row in firm.executions:  # in the order in which they became known
            if row.ref_exec_id:
                self.changes[row.ref_exec_id].append(row)
            else:
                self.originals.append(row)
        self.by_key: dict[Key, list[Execution]] = defaultdict(list)
        self.by_chain: dict[str, list[Execution]] = defaultdict(list)
        self.executed_on: dict[date, list[Execution]] = defaultdict(list)
        self.late: dict[Key, list[tuple[int, int]]] = defaultdict(list)  # (executed, entered)
        for row in self.originals:
            parent = self.parents[self.children[row.child_id].parent_id]
            self.by_key[parent.book, parent.code].append(row)
            self.by_chain[parent.parent_id].append(row)
            self.executed_on[self.session_of(row.executed_at)].append(row)
            for one in (row, *self.changes[row.exec_id]):
                if one.entered_at > known_ms(self.session_of(row.executed_at)):
                    self.late[parent.book, parent.code].append((row.executed_at, one.entered_at))
        self.marks: dict[str, dict[date, tuple[Decimal, int]]] = defaultdict(dict)
        for price in firm.closing_prices:
            day = self.session_of(price.priced_at)
            self.marks[price.code][day] = (price.px, price.priced_at)

    def session_of(self, at: int) -> date:
        """The session in whose day ``at`` lies; ``date.min`` for what lies before the first."""
        if at < self.start:
            return date.min
        return self.sessions[bisect_right(self.end_times, at)]

    # -- fills -------------------------------------------------------------------------------

    def in_force(self, rows: Iterable[Execution], known: int) -> list[_Fill]:
        """The fills that count, as known at ``known``, in FIFO order."""
        fills = []
        for original in rows:
            row = original if original.entered_at <= known else None
            for change in self.changes.get(original.exec_id, ()):
                if change.entered_at <= known:
                    row = change if change.exec_type == "C" else None
            if row is None:
                continue
            parent = self.parents[self.children[row.child_id].parent_id]
            fills.append(
                _Fill(
                    session=self.session_of(original.executed_at),
                    executed_at=original.executed_at,
                    fill_id=original.exec_id,
                    key=(parent.book, parent.code),
                    side=1 if parent.direction == "BUY" else -1,
                    size=row.size,
                    px=row.px,
                    fee=row.commission,
                    fee_ccy=row.commission_ccy,
                    root_mid=self.chain[parent.parent_id][0].mid_when_sent,
                )
            )
        return sorted(fills, key=lambda fill: (fill.executed_at, fill.fill_id))

    def changed_later(self, key: Key, day: date, known: int) -> bool:
        """Whether something executed up to ``day`` was recorded after ``known``."""
        return any(
            executed < self.ends[day] and entered > known for executed, entered in self.late[key]
        )

    def positions(self, key: Key, known: int) -> dict[date, dict[str, Any]]:
        """Every day's facts of one account and instrument, as known at ``known``."""
        book, code = key
        one = BY_CODE[code]
        fills = deque(self.in_force(self.by_key[key], known))
        state, facts = _Lots(one.multiplier), {}
        opening = {"quantity": _ZERO, "cost": _ZERO, "market_value": _ZERO}
        traded = False
        for day in self.sessions:
            state.new_day()
            while fills and fills[0].session == day:
                state.apply(fills.popleft())
                traded = True
            mark, on = self.mark(code, day)
            closing = {"quantity": state.quantity(), "cost": state.cost()}
            closing["market_value"] = closing["quantity"] * mark * one.multiplier
            if traded:
                facts[day] = {
                    "account": book,
                    "instrument": code,
                    "currency": one.ccy,
                    "fills": state.fills,
                    "realised": state.realised,
                    "trades": state.trades,
                    "fees": dict(state.fees),
                    "opening": opening,
                    "closing": closing,
                    "mark": mark,
                    "mark_session": on.isoformat(),
                    "stale": on != day,
                }
            opening = closing
        return facts

    def mark(self, code: str, day: date) -> tuple[Decimal, date]:
        """The latest mark up to ``day``, and the session that it is of."""
        while day not in self.marks[code]:
            day = self.sessions[self.sessions.index(day) - 1]
        return self.marks[code][day][0], day

    # -- a day -------------------------------------------------------------------------------

    def orders(self, day: date, known: int) -> dict[str, Any]:
        """Chains that were done on ``day``."""
        done = full = some = rejected = 0
        reasons: dict[str, int] = defaultdict(int)
        ordered: dict[str, Decimal] = defaultdict(Decimal)
        filled: dict[str, Decimal] = defaultdict(Decimal)
        statuses: dict[str, int] = defaultdict(int)
        for parent in self.done_on[day]:
            last = self.chain[parent.parent_id][-1]
            final = self.versions[last.child_id][-1]
            if final.entered_at > known:
                continue
            done += 1
            statuses[final.state] += 1
            if final.state == "REJ":
                rejected += 1
                reasons[final.reason or ""] += 1
                continue
            fills = self.in_force(self.by_chain[parent.parent_id], known)
            size = sum((fill.size for fill in fills), _ZERO)
            ordered[parent.code] += last.total_size
            filled[parent.code] += size
            full += size >= last.total_size
            some += size > 0
        return {
            "done": done,
            "accepted": done - rejected,
            "full": full,
            "any": some,
            "rejected": rejected,
            "rejected_by_reason": dict(sorted(reasons.items())),
            "final_states": dict(sorted(statuses.items())),
            "ordered": dict(sorted(ordered.items())),
            "filled": dict(sorted(filled.items())),
        }

    def slippage(self, fills: Sequence[_Fill]) -> dict[str, dict[str, Any]]:
        """Cost against the chain's arrival price, by currency of the price."""
        sums: dict[str, dict[str, Any]] = {}
        for fill in fills:
            one = BY_CODE[fill.key[1]]
            line = sums.setdefault(
                one.ccy,
                dict.fromkeys(("cost", "arrival_notional", "notional", "notional_covered"), _ZERO)
                | {"fills": 0, "fills_covered": 0},
            )
            worth = fill.size * one.multiplier
            line["fills"] += 1
            line["notional"] += worth * fill.px
            if fill.root_mid is not None:
                line["fills_covered"] += 1
                line["notional_covered"] += worth * fill.px
                line["arrival_notional"] += worth * fill.root_mid
                line["cost"] += fill.side * (fill.px - fill.root_mid) * worth
        return dict(sorted(sums.items()))

    def day(self, day: date, known: int, positions: list[dict[str, Any]]) -> dict[str, Any]:
        """The answers of one session, with the positions that were worked out before."""
        fills = self.in_force(self.executed_on[day], known)
        cash: dict[str, dict[str, Decimal]] = {}
        for line in positions:
            for currency, amount in ((line["currency"], _ZERO), *line["fees"].items()):
                cash.setdefault(currency, {"trades": _ZERO, "fees": _ZERO})["fees"] += amount
            cash[line["currency"]]["trades"] += line["trades"]
        for sums in cash.values():
            sums["net"] = sums["trades"] - sums["fees"]
        return {
            "known_at_ms": known,
            "fills": len(fills),
            "orders": self.orders(day, known),
            "slippage": self.slippage(fills),
            "cash": dict(sorted(cash.items())),
            "positions": positions,
        }

    def all(self) -> dict[str, dict[str, Any]]:
        """Both states of knowledge of every session."""
        now = epoch_ms(NOW)
        keys = sorted(self.by_key)
        final = {key: self.positions(key, now) for key in keys}
        answers: dict[str, dict[str, Any]] = {"as_closed": {}, "as_known_now": {}}
        for day in self.sessions:
            known = known_ms(day)
            closed = []
            for key in keys:
                # Knowing less changes only what was changed since: the rest need not be redone.
                redo = self.changed_later(key, day, known)
                days = self.positions(key, known) if redo else final[key]
                if day in days:
                    closed.append(days[day])
            settled = [final[key][day] for key in keys if day in final[key]]
            answers["as_closed"][day.isoformat()] = self.day(day, known, closed)
            answers["as_known_now"][day.isoformat()] = self.day(day, now, settled)
        return answers


def truth(firm: Firm, sessions: Sequence[date]) -> Mapping[str, Any]:
    """The answers as JSON-ready values: numbers as exact decimal strings, counts as integers."""
    with localcontext(_EXACT):
        answers = _Answers(firm, sessions).all()
        return {name: _plain(days) for name, days in answers.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return _text(value)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value
