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
from typing import Any, TypeVar

from ...model import epoch_ms
from .costs import CONVENTIONS as COST_CONVENTIONS
from .costs import Chain, Costs, Fill, Stay
from .market import BY_CODE, NOW, known_ms, local_ms
from .rows import (
    CashMovement,
    Child,
    ChildEvent,
    CommissionItem,
    CorporateEvent,
    Execution,
    Firm,
    Parent,
)

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
    "ordered, whatever the status says, and filled counts no order beyond what it ordered; working "
    "is all that was sent before the day's end and not done by then, whenever it was sent",
    "slippage": "side x (price - arrival) x quantity x multiplier, over the day's fills; "
    "covered fills are those whose chain has an arrival price",
    "market_value": "quantity x latest mark at or before the day's end x multiplier; the mark is "
    "stale if it is not of the day itself; cost is of the open lots, signed as the quantity",
    "cash": "trades is -side x quantity x price x multiplier in the instrument's currency, fees "
    "are in their own currency; net is trades - fees, and where there are any + settlements + "
    "dividends + income (funding, interest, charge) + transfers (deposit, withdrawal)",
    "identity": "per currency: realised + change in (market_value - cost) - fees + dividends + "
    "income == net cash - transfers + change in market_value",
    "split": "at effective_at, before what is executed from then on: the quantity of each open lot "
    "x ratio, its price / ratio; cost is unchanged",
    "dividend": "quantity held at effective_at x amount, paid then in the instrument's currency; "
    "a short pays; the key dividends is on a position's line only where there was one",
    "expiry": "at effective_at each open lot is closed at the settlement price x multiplier: "
    "realised; what is paid is the key settlement of the line and not part of its trades; the "
    "position has no line after that day",
    "flows": "the newest version known of each payment; those of amount 0 don't count",
    "fee_items": "of the fills in force, by currency and kind; not_itemised is the fees of the "
    "fills less the items, by currency, where it isn't 0",
    "balances": "per account and currency: the sum of net cash from the first session on",
    "breaks": "reported - ours, at the day's end, against the statement of the day itself, for "
    "every instrument or currency in which they differ; nothing is compared where the newest "
    "statement of an account is of an earlier session: the account is then among stale_statements",
    **COST_CONVENTIONS,
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


@dataclass
class _Lots:
    """Open lots of one account and instrument, oldest first, with the running day's sums."""

    multiplier: Decimal
    lots: deque[list[Decimal]] = field(default_factory=deque)  # [signed size, price]
    realised: Decimal = _ZERO
    trades: Decimal = _ZERO
    fees: dict[str, Decimal] = field(default_factory=dict)
    fills: int = 0
    dividends: Decimal = _ZERO
    settlement: Decimal = _ZERO

    def new_day(self) -> None:
        self.realised, self.trades, self.fees, self.fills = _ZERO, _ZERO, {}, 0
        self.dividends, self.settlement = _ZERO, _ZERO

    def apply(self, fill: Fill) -> None:
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

    def act(self, event: CorporateEvent) -> None:
        """Apply what happens to the instrument as such."""
        if event.what == "SPLIT":
            assert event.factor is not None
            for lot in self.lots:
                lot[0], lot[1] = lot[0] * event.factor, lot[1] / event.factor
            return
        assert event.per_unit is not None
        if event.what == "CASHDIV":
            self.dividends += self.quantity() * event.per_unit
            return
        self.settlement += self.quantity() * event.per_unit * self.multiplier
        for quantity, price in self.lots:
            self.realised += quantity * (event.per_unit - price) * self.multiplier
        self.lots.clear()

    def quantity(self) -> Decimal:
        return sum((lot[0] for lot in self.lots), _ZERO)

    def cost(self) -> Decimal:
        return sum((lot[0] * lot[1] for lot in self.lots), _ZERO) * self.multiplier


@dataclass(frozen=True)
class _History:
    """One account and instrument over all days: its facts, and the cash that it paid so far."""

    facts: dict[date, dict[str, Any]]
    balances: dict[date, dict[str, Decimal]]


_Row = TypeVar("_Row", CashMovement, CorporateEvent)


def _newest(rows: Iterable[_Row], name: str, known: int) -> list[_Row]:
    """The newest version of each row that is known at ``known``; ``name`` is its identifier."""
    found: dict[str, _Row] = {}
    for row in sorted(rows, key=lambda row: row.entered_at):
        if row.entered_at <= known:
            found[getattr(row, name)] = row
    return list(found.values())


class _Answers:
    """Indexes over the firm's rows, and the answers for one session and one state of knowledge."""

    def __init__(self, firm: Firm, sessions: Sequence[date]) -> None:
        self.firm = firm
        self.sessions = tuple(sessions)
        self.start = local_ms(self.sessions[0], _MIDNIGHT)  # nothing was traded before
        self.ends = {day: local_ms(day + timedelta(1), _MIDNIGHT) for day in self.sessions}
        self.starts = dict(
            zip(self.sessions, [self.start, *self.ends.values()][:-1], strict=True)
        )  # a session begins where the one before ended
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
        self.lasting = [chain for chain in self.chain.values() if self.lasted(chain)]
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
        self.fills: dict[str, Fill] = {}  # by the execution whose terms are in force
        self.executed: tuple[Any, dict[str, Any]] = (None, {})
        self.costs = Costs(firm.top_of_book, firm.tape)
        self.items: dict[str, list[CommissionItem]] = defaultdict(list)
        for item in firm.commission_items:
            self.items[item.exec_id].append(item)
        self.accounts = sorted({book for book, _ in self.by_key})
        self.stated_positions: dict[date, list[tuple[Key, Decimal, int]]] = defaultdict(list)
        for line in firm.custody_positions:
            self.stated_positions[self.session_of(line.stated_at)].append(
                ((line.book, line.code), line.quantity, line.received_at)
            )
        self.stated_cash: dict[date, list[tuple[Key, Decimal, int]]] = defaultdict(list)
        for told in firm.custody_cash:
            self.stated_cash[self.session_of(told.stated_at)].append(
                ((told.book, told.ccy), told.balance, told.received_at)
            )
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

    def in_force(self, rows: Iterable[Execution], known: int) -> list[Fill]:
        """The fills that count, as known at ``known``, in FIFO order."""
        fills = []
        for original in rows:
            row = original if original.entered_at <= known else None
            for change in self.changes.get(original.exec_id, ()):
                if change.entered_at <= known:
                    row = change if change.exec_type == "C" else None
            if row is None:
                continue
            fill = self.fills.get(row.exec_id)
            if fill is None:
                fill = self.fills[row.exec_id] = self.fill(original, row)
            fills.append(fill)
        return sorted(fills, key=lambda fill: (fill.executed_at, fill.fill_id))

    def fill(self, original: Execution, row: Execution) -> Fill:
        """``original`` with the terms of ``row``, which is itself or corrects it."""
        parent = self.parents[self.children[row.child_id].parent_id]
        return Fill(
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
            decision_mid=parent.mid_when_decided,
            venue=row.venue,
            chain=parent.parent_id,
            row_id=row.exec_id,
        )

    def changed_later(self, key: Key, day: date, known: int) -> bool:
        """Whether something executed up to ``day`` was recorded after ``known``."""
        return any(
            executed < self.ends[day] and entered > known for executed, entered in self.late[key]
        )

    def events_of(self, code: str, known: int) -> list[CorporateEvent]:
        """What happens to an instrument, as known at ``known``, in order."""
        newest = _newest(self.firm.corporate_events, "event_id", known)
        return sorted(
            (row for row in newest if row.code == code and row.what != "WITHDRAWN"),
            key=lambda row: row.effective_at,
        )

    def positions(self, key: Key, known: int) -> _History:
        """Every day's facts of one account and instrument, as known at ``known``."""
        book, code = key
        one = BY_CODE[code]
        fills = deque(self.in_force(self.by_key[key], known))
        events = deque(self.events_of(code, known))
        state, facts = _Lots(one.multiplier), {}
        balance: dict[str, Decimal] = defaultdict(Decimal)
        balances: dict[date, dict[str, Decimal]] = {}
        opening = {"quantity": _ZERO, "cost": _ZERO, "market_value": _ZERO}
        traded = expired = False
        for day in self.sessions:
            state.new_day()
            gone = expired
            while True:
                fill_at = fills[0].executed_at if fills else self.ends[day]
                if events and events[0].effective_at <= min(fill_at, self.ends[day] - 1):
                    expired |= events[0].what == "EXPIRY"
                    state.act(events.popleft())
                elif fill_at < self.ends[day]:
                    state.apply(fills.popleft())
                    traded = True
                else:
                    break
            mark, on = self.mark(code, day)
            closing = {"quantity": state.quantity(), "cost": state.cost()}
            closing["market_value"] = closing["quantity"] * mark * one.multiplier
            balance[one.ccy] += state.trades + state.dividends + state.settlement
            for ccy, fee in state.fees.items():
                balance[ccy] -= fee
            balances[day] = dict(balance)
            if traded and not gone:
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
                if state.dividends:
                    facts[day]["dividends"] = state.dividends
                if state.settlement:
                    facts[day]["settlement"] = state.settlement
            opening = closing
        return _History(facts, balances)

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
            filled[parent.code] += min(size, last.total_size)
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
            "working": self.working(day, known),
        }

    def lasted(self, chain: Sequence[Child]) -> bool:
        """Whether a chain was at work at the end of a session, by what was known of it then."""
        sent = self.session_of(chain[0].sent_at)
        ends = [
            event
            for event in self.versions[chain[-1].child_id]
            if event.state not in ("WORKING", "AMENDED")
        ]
        return not ends or any(
            self.session_of(end.happened_at) != sent or end.entered_at > known_ms(sent)
            for end in ends
        )

    def working(self, day: date, known: int) -> int:
        """Chains sent before the end of ``day`` that were not done by then."""
        at_work, end = 0, self.ends[day]
        for chain in self.lasting:
            sent = [
                child
                for child in chain
                if child.sent_at < end
                and any(event.entered_at <= known for event in self.versions[child.child_id])
            ]
            if sent:
                at_work += not any(
                    event.state != "WORKING"
                    and event.happened_at < end
                    and event.entered_at <= known
                    for event in self.versions[sent[-1].child_id]
                )
        return at_work

    def slippage(self, fills: Sequence[Fill]) -> dict[str, dict[str, Any]]:
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

    def chains(self, day: date, known: int) -> list[Chain]:
        """The chains that were done on ``day`` and not rejected."""
        chains = []
        for parent in self.done_on[day]:
            orders = self.chain[parent.parent_id]
            final = self.versions[orders[-1].child_id][-1]
            if final.entered_at > known or final.state == "REJ":
                continue
            chains.append(
                Chain(
                    code=parent.code,
                    side=1 if parent.direction == "BUY" else -1,
                    ordered=orders[-1].total_size,
                    fills=self.in_force(self.by_chain[parent.parent_id], known),
                    decision=parent.mid_when_decided,
                    arrival=orders[0].mid_when_sent,
                    done_at=final.happened_at,
                )
            )
        return chains

    def stays(self, day: date, known: int, fills: Sequence[Fill]) -> list[Stay]:
        """The chains that were filled on ``day``, and when they were at work in it."""
        by_chain: dict[str, list[Fill]] = defaultdict(list)
        for fill in fills:
            by_chain[fill.chain].append(fill)
        stays = []
        for chain, filled in by_chain.items():
            orders = self.chain[chain]
            ends = [fill.executed_at for fill in filled]
            for event in self.versions[orders[-1].child_id]:
                done = event.state not in ("WORKING", "AMENDED") and event.entered_at <= known
                if done and self.session_of(event.happened_at) == day:
                    ends.append(event.happened_at)
            start = max(orders[0].sent_at, self.starts[day])
            stays.append(Stay(filled, start, max(ends)))
        return stays

    def execution(self, day: date, known: int, fills: Sequence[Fill]) -> dict[str, Any]:
        """Fee items and costs; those just worked out, where what is known makes no difference."""
        asked = (fills, self.stays(day, known, fills), self.chains(day, known))
        if self.executed[0] != asked:
            answers = self.fee_items(fills, known) | self.costs.answers(*asked)
            self.executed = (asked, answers)
        return self.executed[1]

    def fee_items(self, fills: Sequence[Fill], known: int) -> dict[str, Any]:
        """What the day's fees consist of, and what no item says."""
        kinds: dict[str, dict[str, Decimal]] = {}
        rest: dict[str, Decimal] = defaultdict(Decimal)
        for fill in fills:
            rest[fill.fee_ccy] += fill.fee
            for item in self.items[fill.row_id]:
                if item.entered_at <= known:
                    sums = kinds.setdefault(item.ccy, {})
                    sums[item.item] = sums.get(item.item, _ZERO) + item.amount
                    rest[item.ccy] -= item.amount
        return {
            "fee_items": {ccy: dict(sorted(sums.items())) for ccy, sums in sorted(kinds.items())},
            "not_itemised": {ccy: amount for ccy, amount in sorted(rest.items()) if amount},
        }

    # -- payments and statements -----------------------------------------------------------------

    def flows(self, known: int) -> list[CashMovement]:
        """The payments in force."""
        return [
            row for row in _newest(self.firm.cash_movements, "movement_id", known) if row.amount
        ]

    def cash(
        self, positions: list[dict[str, Any]], flows: Iterable[CashMovement]
    ) -> dict[str, dict[str, Decimal]]:
        """What the day paid by currency, by what it was paid for."""
        cash: dict[str, dict[str, Decimal]] = {}

        def add(currency: str, name: str, amount: Decimal) -> None:
            sums = cash.setdefault(currency, {"trades": _ZERO, "fees": _ZERO})
            sums[name] = sums.get(name, _ZERO) + amount

        for line in positions:
            add(line["currency"], "trades", line["trades"])
            for name, into in (("dividends", "dividends"), ("settlement", "settlements")):
                if name in line:
                    add(line["currency"], into, line[name])
            for currency, amount in line["fees"].items():
                add(currency, "fees", amount)
        for flow in flows:
            moved = flow.reason in ("DEPOSIT", "WITHDRAWAL")
            add(flow.ccy, "transfers" if moved else "income", flow.amount)
        for sums in cash.values():
            sums["net"] = sum(sums.values(), _ZERO) - 2 * sums["fees"]
        return dict(sorted(cash.items()))

    def statements(
        self, day: date, known: int, held: Mapping[Key, Decimal], balances: Mapping[Key, Decimal]
    ) -> dict[str, Any]:
        """Where the custodians' newest statements differ from what we have."""
        answers: dict[str, Any] = {"stale_statements": []}
        for book in self.accounts:
            newest = max(
                (row.stated_at for row in self.firm.custody_cash
                 if row.book == book and row.stated_at < self.ends[day]
                 and row.received_at <= known),
                default=0,
            )  # fmt: skip
            if self.session_of(newest) != day:
                answers["stale_statements"].append(book)
        for kind, other, ours, rows in (
            ("position", "instrument", held, self.stated_positions[day]),
            ("cash", "currency", balances, self.stated_cash[day]),
        ):
            breaks = []
            reported = {key: amount for key, amount, received in rows if received <= known}
            for key in sorted({*ours, *reported}):
                amounts = ours.get(key, _ZERO), reported.get(key, _ZERO)
                if key[0] not in answers["stale_statements"] and amounts[0] != amounts[1]:
                    breaks.append(
                        {
                            "account": key[0],
                            other: key[1],
                            "ours": amounts[0],
                            "reported": amounts[1],
                        }
                    )
            answers[f"{kind}_breaks"] = breaks
        return answers

    # -- everything ------------------------------------------------------------------------------

    def day(self, day: date, known: int, histories: Mapping[Key, _History]) -> dict[str, Any]:
        """The answers of one session, with the positions that were worked out before."""
        positions = [found.facts[day] for found in histories.values() if day in found.facts]
        fills = self.in_force(self.executed_on[day], known)
        flows = [row for row in self.flows(known) if row.paid_at < self.ends[day]]
        balances: dict[Key, Decimal] = defaultdict(Decimal)
        for (book, _), found in histories.items():
            for ccy, amount in found.balances[day].items():
                balances[book, ccy] += amount
        for flow in flows:
            balances[flow.book, flow.ccy] += flow.amount
        today = [row for row in flows if self.session_of(row.paid_at) == day]
        held = {
            (line["account"], line["instrument"]): line["closing"]["quantity"] for line in positions
        }
        told: dict[str, dict[str, Decimal]] = {}
        for (book, ccy), amount in sorted(balances.items()):
            told.setdefault(book, {})[ccy] = amount
        return {
            "known_at_ms": known,
            "fills": len(fills),
            "orders": self.orders(day, known),
            "slippage": self.slippage(fills),
            "cash": self.cash(positions, today),
            "flows": [
                {
                    "flow": row.movement_id,
                    "account": row.book,
                    "instrument": row.code,
                    "kind": row.reason.lower(),
                    "amount": row.amount,
                    "currency": row.ccy,
                }
                for row in today
            ],
            **self.execution(day, known, fills),
            "balances": told,
            **self.statements(day, known, held, balances),
            "positions": positions,
        }

    def all(self) -> dict[str, dict[str, Any]]:
        """Both states of knowledge of every session."""
        now = epoch_ms(NOW)
        final = {key: self.positions(key, now) for key in sorted(self.by_key)}
        answers: dict[str, dict[str, Any]] = {"as_closed": {}, "as_known_now": {}}
        for day in self.sessions:
            known = known_ms(day)
            # Knowing less changes only what was changed since: the rest need not be redone.
            closed = {
                key: self.positions(key, known) if self.changed_later(key, day, known) else found
                for key, found in final.items()
            }
            answers["as_closed"][day.isoformat()] = self.day(day, known, closed)
            answers["as_known_now"][day.isoformat()] = self.day(day, now, final)
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
