"""The demo's sealed facts and reports against the truth that its generator worked out apart.

Nothing here calls a measure: sealed JSON on one side, the truth's decimals on the other.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from reporting import pipeline
from reporting.demo.story import closing_time
from reporting.page import Document
from reporting.postgres import database
from reporting.store import Store

from .site import ROOT, Demo, Site, facts, sealed

NOVEMBER = "2025-11"
ZERO = Decimal(0)
TRANSFERS = ("deposit", "withdrawal")
#: The field of a cell, by the kind of flow that it sums.
INCOME = {"funding": "funding", "interest": "interest", "charge": "charges"}
#: The product rounds a VWAP where the truth does not; in units of the currency, a session.
VWAP_TOLERANCE = Decimal("0.001")


@pytest.fixture(scope="module")
def truth(demo: Demo) -> dict[str, Any]:
    return demo.truth


@pytest.fixture(scope="module")
def store(demo: Demo) -> Store:
    return Store(database(demo.server.database("reporting"), "store"))


@pytest.fixture(scope="module")
def monthly(demo: Demo) -> Document:
    path = demo.reports / "monthly" / NOVEMBER / "r1" / "facts.json"
    return Document.model_validate_json(path.read_bytes())


@pytest.fixture(scope="module")
def daily(demo: Demo) -> Document:
    path = demo.reports / "daily" / "2025-12-05" / "r1" / "facts.json"
    return Document.model_validate_json(path.read_bytes())


def summed(rows: Iterable[tuple[Any, Any]]) -> dict[Any, Decimal]:
    sums: dict[Any, Decimal] = defaultdict(Decimal)
    for key, amount in rows:
        sums[key] += Decimal(amount)
    return dict(sums)


def without_zeros(sums: Mapping[Any, Decimal]) -> dict[Any, Decimal]:
    return {key: amount for key, amount in sums.items() if amount}


def check_orders(fact: Mapping[str, Any], right: Mapping[str, Any]) -> None:
    if not right["done"]:
        assert fact["kind"] == "missing" and fact["why"] == "no orders"
        return
    cells = fact["cells"]
    accepted = [c for c in cells if not c["reject_reason"]]
    reasons = summed((c["reject_reason"], c["orders"]) for c in cells if c["reject_reason"])
    assert fact["working"] == right["working"]
    assert sum(c["orders"] for c in cells) == right["done"]
    assert sum(c["orders"] for c in accepted) == right["accepted"]
    assert sum(c["orders_full"] for c in accepted) == right["full"]
    assert sum(c["orders_any"] for c in accepted) == right["any"]
    assert reasons == right["rejected_by_reason"]
    for column in ("ordered", "filled"):
        have = summed((c["instrument"], c[column]) for c in accepted)
        assert have == {code: Decimal(n) for code, n in right[column].items()}, column


def check_slippage(fact: Mapping[str, Any], right: Mapping[str, Any]) -> None:
    if not right:
        assert fact["kind"] == "missing" and fact["why"] == "no trades"
        return
    columns = ("cost", "arrival_notional", "notional", "fills", "fills_covered")
    assert {c["currency"] for c in fact["cells"]} == set(right)
    for currency, line in right.items():
        cells = [c for c in fact["cells"] if c["currency"] == currency]
        have = {name: sum((Decimal(c[name]) for c in cells), ZERO) for name in columns}
        assert have == {name: Decimal(line[name]) for name in columns}, currency


def check_book(fact: Mapping[str, Any], right: Mapping[str, Any]) -> None:
    assert fact["fills"] == right["fills"]
    holdings = {(h["account"], h["instrument"]): h for h in fact["holdings"]}
    fees = summed((((c["account"], c["instrument"]), c["currency"]), c["fees"])
                  for c in fact["cells"])  # fmt: skip
    paid = summed(
        ((c["account"], c["instrument"], c["currency"]),
         Decimal(c["cash_close"]) - Decimal(c["cash_open"]))
        for c in fact["cells"]
    )  # fmt: skip
    marks = {m["instrument"]: m for m in fact["marks"]}
    nothing = [f"{what}_{on}" for what in ("position", "cost", "value") for on in ("open", "close")]
    dividends = summed(((c["account"], c["instrument"], c["currency"]), c["dividends"])
                       for c in fact["cells"])  # fmt: skip
    for flow in right["flows"]:
        if flow["kind"] not in TRANSFERS:  # those are of an account and of no cell
            key = (flow["account"], flow["instrument"] or "", flow["currency"])
            paid[key] -= Decimal(flow["amount"])
    for line in right["positions"]:
        key = (line["account"], line["instrument"])
        # A flat position that does not trade has no row: then the truth has to be all zeros.
        have = holdings.pop(key, dict.fromkeys(nothing, "0") | {"realised": "0"})
        assert Decimal(have["realised"]) == Decimal(line["realised"]), key
        for when, name in (("opening", "open"), ("closing", "close")):
            got = [Decimal(have[f"{w}_{name}"]) for w in ("position", "cost", "value")]
            want = [Decimal(line[when][w]) for w in ("quantity", "cost", "market_value")]
            assert got == want, (key, when)
        for currency, amount in line["fees"].items():
            assert fees.pop((key, currency), ZERO) == Decimal(amount), (key, currency)
        dividend = Decimal(line.get("dividends", 0))
        assert dividends.pop((*key, line["currency"]), ZERO) == dividend, key
        settled = Decimal(line.get("settlement", 0))
        cash = {line["currency"]: Decimal(line["trades"]) + dividend + settled}
        for currency, amount in line["fees"].items():
            cash[currency] = cash.get(currency, ZERO) - Decimal(amount)
        for currency, amount in cash.items():
            assert paid.pop((*key, currency), ZERO) == amount, (key, currency)
        if Decimal(line["closing"]["quantity"]):
            mark = marks[line["instrument"]]
            assert Decimal(mark["price"]) == Decimal(line["mark"])
            assert mark["stale"] is line["stale"], line["instrument"]
    # Nothing that the truth does not know of.
    assert not holdings and not without_zeros(fees) and not without_zeros(paid)
    assert not without_zeros(dividends)
    net = summed((c["currency"], Decimal(c["cash_close"]) - Decimal(c["cash_open"]))
                 for c in fact["cells"])  # fmt: skip
    assert without_zeros(net) == without_zeros(
        {
            currency: Decimal(line["net"]) - Decimal(line.get("transfers", 0))
            for currency, line in right["cash"].items()
        }
    )


def check_payments(
    fact: Mapping[str, Any], transfers: Mapping[tuple[str, str], Decimal], right: Mapping[str, Any]
) -> None:
    """Flows that are results by cell; fees by kind; what each account has in cash."""
    flows = summed(
        ((c["account"], c["instrument"], kind, c["currency"]), c[field])
        for c in fact["cells"] for kind, field in INCOME.items()
    )  # fmt: skip
    assert without_zeros(flows) == without_zeros(summed(
        ((f["account"], f["instrument"] or "", f["kind"], f["currency"]), f["amount"])
        for f in right["flows"] if f["kind"] not in TRANSFERS
    ))  # fmt: skip
    items = summed(((i["currency"], i["kind"]), i["amount"]) for i in fact["fee_items"])
    want = summed(
        ((currency, kind), amount)
        for currency, sums in right["fee_items"].items() for kind, amount in sums.items()
    )  # fmt: skip
    want |= {(c, "not itemised"): Decimal(n) for c, n in right["not_itemised"].items()}
    assert without_zeros(items) == without_zeros(want)
    balances = summed([
        *(((c["account"], c["currency"]), c["cash_close"]) for c in fact["cells"]),
        *transfers.items(),
    ])  # fmt: skip
    assert without_zeros(balances) == without_zeros(summed(
        ((account, currency), amount)
        for account, held in right["balances"].items() for currency, amount in held.items()
    ))  # fmt: skip


def check_statements(fact: Mapping[str, Any], right: Mapping[str, Any], accounts: set[str]) -> None:
    """Which accounts have no statement of the day, and how the others differ from the book."""
    (of_day,) = fact.get("days", ({"statements": [], "breaks": []},))
    fresh = {s["account"] for s in of_day["statements"] if s["kind"] == "cash" and not s["stale"]}
    assert accounts - fresh == set(right["stale_statements"])
    for kind, item in (("position", "instrument"), ("cash", "currency")):
        have = {
            (b["account"], b["item"]): (Decimal(b["ours"]), Decimal(b["theirs"]))
            for b in of_day["breaks"] if b["kind"] == kind and b["account"] in fresh
        }  # fmt: skip
        assert have == {
            (b["account"], b[item]): (Decimal(b["ours"]), Decimal(b["reported"]))
            for b in right[f"{kind}_breaks"]
        }, kind


def check_costs(fact: Mapping[str, Any], right: Mapping[str, Any]) -> None:
    """Fills by venue, every benchmark but arrival, and both splits of the shortfall."""
    cells = fact.get("cells", [])
    venues = summed((c["venue"], c["fills"]) for c in cells)
    assert venues == right["venues"]
    sums: dict[str, dict[str, list[Decimal]]] = defaultdict(dict)
    for cell in cells:
        for b in cell["benchmarks"]:
            into = sums[cell["currency"]].setdefault(b["benchmark"], [ZERO, ZERO, ZERO])
            for at, name in enumerate(("cost", "notional", "fills")):
                into[at] += Decimal(b[name])
    shortfall: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for cell in fact.get("shortfall", []):
        shortfall[cell["currency"]].append(cell)
    assert {*sums, *shortfall} == set(right["costs"])
    for currency, wanted in right["costs"].items():
        lines = {name: line for name, line in wanted.items() if name != "shortfall"}
        assert set(sums[currency]) == set(lines), currency
        for name, line in lines.items():
            cost, notional, fills = sums[currency][name]
            assert fills == line["covered"], (currency, name)
            off = (cost - Decimal(line["cost"]), notional - Decimal(line["benchmark"]))
            near = VWAP_TOLERANCE if name == "interval_vwap" else ZERO
            assert max(map(abs, off)) <= near, (currency, name, off)
        assert bool(shortfall[currency]) is ("shortfall" in wanted), currency
        if "shortfall" in wanted:
            check_shortfall(currency, shortfall[currency], wanted["shortfall"])


#: Field of the fact, by the key of the truth.
SHORTFALL = {
    **{name: name for name in ("chains", "covered", "notional", "trading")},
    "delay": "delay_perold",
    "opportunity": "opportunity_perold",
    **{name: name for name in ("delay_kissell", "opportunity_kissell")},
}


def check_shortfall(
    currency: str, cells: list[Mapping[str, Any]], right: Mapping[str, Any]
) -> None:
    have = {key: sum((Decimal(c[f]) for c in cells), ZERO) for key, f in SHORTFALL.items()}
    assert have == {key: Decimal(right[key]) for key in SHORTFALL}, currency
    fees = summed([
        *((currency, c["fees"]) for c in cells),
        *((apart["currency"], apart["amount"]) for c in cells for apart in c["fees_apart"]),
    ])  # fmt: skip
    assert without_zeros(fees) == without_zeros(
        {c: Decimal(amount) for c, amount in right["fees"].items()}
    ), currency


def check_explained(fact: Mapping[str, Any]) -> None:
    """The parts add up to each total, and the totals to the change of cash and value in base."""
    parts = ("carried", "intraday", "corrections", "fees", "funding", "dividends", "fx")
    rates = {r["currency"]: r for r in fact["fx"]}
    net = ZERO
    for cell in fact["cells"]:
        rate = rates[cell["currency"]]
        net += (Decimal(cell["cash_close"]) + Decimal(cell["value_close"])) * Decimal(rate["close"])
        was = Decimal(cell["cash_open"]) + Decimal(cell["value_open"])
        net -= was * Decimal(rate["open"]) if was else ZERO
    for row in fact["explained"]:
        assert row["known"], row
        assert sum((Decimal(row[part]) for part in parts), ZERO) == Decimal(row["total"]), row
    assert sum((Decimal(row["total"]) for row in fact["explained"]), ZERO) == net


def transferred(store: Store, day: date, revision: int | None) -> dict[tuple[str, str], Decimal]:
    """Deposits less withdrawals up to a day, by account and currency, from its closing book."""
    digest = sealed(store, day, revision).closing_book
    body = store.book(digest) if digest else None
    book = json.loads(body) if body else {"transfers": []}
    return {(t["account"], t["currency"]): Decimal(t["balance"]) for t in book["transfers"]}


@pytest.mark.parametrize(("knowledge", "revision"), [("as_closed", 1), ("as_known_now", None)])
def test_every_session_is_sealed_as_the_truth_has_it(
    store: Store, truth: dict[str, Any], knowledge: str, revision: int | None
) -> None:
    """68 sessions: all that the truth has, to the last digit."""
    accounts = {a for days in truth["as_known_now"].values() for a in days["balances"]}
    paid_in: dict[tuple[str, str], Decimal] = {}
    assert len(truth[knowledge]) == len(truth["sessions"]) == 68
    for name, right in truth[knowledge].items():
        found = facts(store, date.fromisoformat(name), revision)
        try:
            check_orders(found["fill_rate"], right["orders"])
            check_slippage(found["slippage"], right["slippage"])
            check_book(found["pnl"], right)
            transfers = transferred(store, date.fromisoformat(name), revision)
            check_payments(found["pnl"], transfers, right)
            check_statements(found["reconciliation"], right, accounts)
            check_costs(found["slippage"], right)
            check_explained(found["pnl"])
            if revision is None:  # else an earlier day's late flow is among what was paid in
                moved = summed([*transfers.items(), *((k, -v) for k, v in paid_in.items())])
                assert without_zeros(moved) == without_zeros(summed(
                    ((f["account"], f["currency"]), f["amount"])
                    for f in right["flows"] if f["kind"] in TRANSFERS
                ))  # fmt: skip
            paid_in = transfers
        except AssertionError as error:
            raise AssertionError(f"{knowledge} {name}: {error}") from error


def test_all_kinds_of_events_are_among_what_was_compared(
    store: Store, truth: dict[str, Any]
) -> None:
    """A comparison of nothing is no proof."""
    answers = list(truth["as_known_now"].values())
    lines = [line for a in answers for line in a["positions"]]
    assert any("dividends" in line for line in lines)
    assert any("settlement" in line for line in lines)
    kinds = {f["kind"] for a in answers for f in a["flows"]}
    assert kinds == {"funding", "interest", *TRANSFERS}
    for key in ("not_itemised", "stale_statements", "position_breaks", "cash_breaks"):
        assert any(a[key] for a in answers), key
    benchmarks = {name for a in answers for line in a["costs"].values() for name in line}
    assert benchmarks == {
        *("decision", "fill_mid", "interval_vwap", "shortfall"),
        *("markout_1s", "markout_10s", "markout_60s"),
    }
    # Splits and expiries, and nothing else, move a position without a fill.
    cells = [
        (date.fromisoformat(day), cell)
        for day in truth["sessions"]
        for cell in facts(store, date.fromisoformat(day))["pnl"]["cells"]
        if Decimal(cell["adjusted"])
    ]
    settled = {
        (day, line["instrument"])
        for day, a in truth["as_known_now"].items()
        for line in a["positions"] if "settlement" in line
    }  # fmt: skip
    adjusted = {(str(day), cell["instrument"]) for day, cell in cells}
    assert settled < adjusted  # what is left is the split


def test_all_lot_methods_earn_the_same(
    demo: Demo, empty_store: str, make_site: Callable[..., Site]
) -> None:
    """Realised and the change of unrealised together, by holding, over four sessions."""
    through = date(2025, 9, 5)
    policy = (ROOT / "config" / "policy.toml").read_text("utf-8")
    assert policy.count('method = "fifo"') == 1
    earned: dict[str, dict[Any, Decimal]] = {}
    realised: dict[str, Decimal] = {}
    for method in ("fifo", "lifo", "hifo", "average"):
        site = make_site("ledger_template", empty_store)
        file = site.var / "policy.toml"
        file.write_text(policy.replace('method = "fifo"', f'method = "{method}"'), "utf-8")
        pipeline.close(site.service(policy_file=file), through, closing_time(through))
        days = [d for d in demo.truth["sessions"] if d <= str(through)]
        holdings = [
            (day, h) for day in days
            for h in facts(site.store, date.fromisoformat(day))["pnl"]["holdings"]
        ]  # fmt: skip
        earned[method] = summed(
            ((day, h["account"], h["instrument"]),
             Decimal(h["realised"]) + Decimal(h["value_close"]) - Decimal(h["cost_close"])
             - Decimal(h["value_open"]) + Decimal(h["cost_open"]))
            for day, h in holdings
        )  # fmt: skip
        realised[method] = sum((Decimal(h["realised"]) for _, h in holdings), ZERO)
    assert len(days) == 4 and len(set(realised.values())) == 4  # the methods do differ
    for method in ("lifo", "hifo", "average"):
        assert earned[method] == earned["fifo"], method


def test_exactly_the_days_that_late_events_change_have_a_second_revision(
    store: Store, truth: dict[str, Any]
) -> None:
    """Worked out from the truth: a day whose answers differ between close and now is restated."""

    def answers(which: str, day: str) -> Any:
        return {k: v for k, v in truth[which][day].items() if k != "known_at_ms"}

    changed = {
        day for day in truth["sessions"]
        if answers("as_closed", day) != answers("as_known_now", day)
    }  # fmt: skip
    restated = {str(r["day"]) for r in store.day_index() if r["revision"] > 1}
    # VaR is of the closing position, so nothing else than what the truth compares can change.
    assert restated == changed
    late = {line["session"] for line in truth["planted"]["late"].values()}
    assert late - {"2025-11-05"} <= changed
    assert "2025-11-05" not in changed  # corrected before its own close


def figure(document: Document, key: str) -> Any:
    return next(f.value for s in document.sections for f in s.figures if f.id == key)


def november(truth: dict[str, Any]) -> dict[str, Any]:
    days = {day: a for day, a in truth["as_known_now"].items() if day.startswith(NOVEMBER)}
    assert len(days) == 19
    return days


def test_the_months_fill_rate_is_the_sum_and_not_the_mean(
    monthly: Document, truth: dict[str, Any]
) -> None:
    lines = [answer["orders"] for answer in november(truth).values()]
    accepted, full = sum(x["accepted"] for x in lines), sum(x["full"] for x in lines)
    for key, part in (("full", full), ("any", sum(x["any"] for x in lines))):
        ratio = figure(monthly, f"fill_rate.{key}")
        assert (ratio.numerator, ratio.denominator) == (part, accepted)
    assert figure(monthly, "fill_rate.rejected").value == sum(x["rejected"] for x in lines)
    mean = sum(Fraction(x["full"], x["accepted"]) for x in lines) / len(lines)
    assert mean != Fraction(full, accepted)  # so a report of averages could not pass


def test_the_months_slippage_is_the_sum_and_not_the_mean(
    monthly: Document, truth: dict[str, Any]
) -> None:
    for currency in ("USD", "EUR"):
        lines = [answer["slippage"][currency] for answer in november(truth).values()]
        bps = figure(monthly, f"slippage.{currency}")
        assert bps.cost == sum(Decimal(x["cost"]) for x in lines)
        assert bps.notional == sum(Decimal(x["arrival_notional"]) for x in lines)
        mean = sum(Fraction(x["cost"]) / Fraction(x["arrival_notional"]) for x in lines)
        assert mean / len(lines) != Fraction(bps.cost) / Fraction(bps.notional)
    covered = figure(monthly, "slippage.coverage")
    per_day = [x for answer in november(truth).values() for x in answer["slippage"].values()]
    assert covered.numerator == sum(x["fills_covered"] for x in per_day)
    assert covered.denominator == sum(x["fills"] for x in per_day)


def euro_on(demo: Demo, day: str) -> Decimal:
    """Dollars for one euro at the last fixing up to ``day``, as known in the demo's present."""
    with (demo.var / "ledger" / "ecb_fixings.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["ccy"] == "USD"]
    upto = [row for row in rows if row["fixed_at"][:10] <= day]
    return Decimal(max(upto, key=lambda row: (row["fixed_at"], row["entered_at"]))["rate"])


def test_the_months_money_in_base_at_the_last_fixing(
    demo: Demo, monthly: Document, truth: dict[str, Any]
) -> None:
    rate = {"USD": Decimal(1), "EUR": euro_on(demo, "2025-11-28")}
    answers = list(november(truth).values())
    positions = [line for answer in answers for line in answer["positions"]]
    realised = sum(Decimal(p["realised"]) * rate[p["currency"]] for p in positions)
    fees = sum(
        Decimal(amount) * rate[currency]
        for p in positions
        for currency, amount in p["fees"].items()
    )
    first = {(p["account"], p["instrument"]): p["opening"] for p in answers[0]["positions"]}
    gain = ZERO
    for p in answers[-1]["positions"]:
        before = first.get((p["account"], p["instrument"]), {"market_value": "0", "cost": "0"})
        change = Decimal(p["closing"]["market_value"]) - Decimal(p["closing"]["cost"])
        change -= Decimal(before["market_value"]) - Decimal(before["cost"])
        gain += change * rate[p["currency"]]
    assert figure(monthly, "pnl.realised").amount == realised
    assert figure(monthly, "pnl.fees").amount == fees
    assert figure(monthly, "pnl.unrealised").amount == gain
    assert figure(monthly, "pnl.fills").value == sum(a["fills"] for a in answers)


def test_the_cash_identity_holds_on_the_page(monthly: Document, daily: Document) -> None:
    for document in (monthly, daily):
        table = next(t for s in document.sections for t in s.tables if t.id == "pnl_identity")
        amounts = {row[0].text: row[1].amount for row in table.rows}
        gaps = [amount for words, amount in amounts.items() if "ifference" in words]
        assert gaps == [0], amounts


# --- uptime ------------------------------------------------------------------------------------


def test_uptime_of_every_target_and_day_lies_within_its_bounds(store: Store, demo: Demo) -> None:
    """24 targets × 38 days; up as the generator made it, from the outside edges of its samples."""
    truth = json.loads((demo.var / "metrics" / "metrics-truth.json").read_bytes())
    seen = 0
    for name in next(iter(truth["targets"].values()))["days"]:
        fact = facts(store, date.fromisoformat(name))["uptime"]
        by_id = {t["id"]: t for t in fact["targets"]}
        for id_, target in truth["targets"].items():
            right, have = target["days"][name], by_id[id_]
            unknown = sum(
                have[k]
                for k in ("collector_gap_ms", "target_lost_ms", "not_born_ms", "several_series_ms")
            )
            low = have["up_ms"] - have["doubtful_up_ms"]
            high = have["up_ms"] + unknown + have["doubtful_down_ms"]
            assert have["window_ms"] == right["window_ms"], (id_, name)
            assert low <= right["up_ms"] <= high, (id_, name)
            # And the bounds say something: but for time without data they are a few scrapes wide.
            slack = high - low - unknown
            assert slack <= 2 * have["transitions"] * have["interval_ms"], (id_, name)
            seen += 1
    assert seen == 24 * 38


def test_the_day_that_the_clocks_go_back_has_25_hours(store: Store) -> None:
    fact = facts(store, date(2025, 11, 2))["uptime"]
    assert {t["window_ms"] for t in fact["targets"]} == {25 * 3_600_000}


def test_a_vanished_host_is_never_up(store: Store, daily: Document, monthly: Document) -> None:
    for offset in range(1, 17):  # lost on 20 November for good
        day = date(2025, 11, 20) + timedelta(offset)
        fact = facts(store, day)["uptime"]
        lost = next(t for t in fact["targets"] if t["id"] == "custom_exporters")
        assert (lost["up_ms"], lost["target_lost_ms"]) == (0, lost["window_ms"]), day
    table = next(t for s in daily.sections for t in s.tables if t.id == "uptime_targets")
    row = next(r for r in table.rows if r[0].text == "Custom exporters")
    assert row[1].low.numerator == 0
    assert "Custom exporters" in next(s for s in daily.sections if s.id == "uptime").summary


def test_the_outages_are_on_the_page(daily: Document, monthly: Document) -> None:
    day = next(f for s in daily.sections for f in s.figures if f.id == "uptime.elasticsearch")
    down = 1764960900095 - 1764959615830  # as the truth has it
    assert day.value.low.numerator <= 86_400_000 - down <= day.value.high.numerator < 86_400_000
    assert day.verdict == "missed"
    month = next(f for s in monthly.sections for f in s.figures if f.id == "uptime.grafana")
    assert month.verdict == "missed"
    assert month.value.low.denominator == (30 * 24 + 1) * 3_600_000


def test_days_before_the_metrics_began_have_no_uptime(store: Store) -> None:
    fact = facts(store, date(2025, 10, 1))["uptime"]
    assert (fact["kind"], fact["why"]) == ("missing", "source empty")


# --- what was planted --------------------------------------------------------------------------


def test_the_var_exception_is_on_the_planted_day(monthly: Document, truth: dict[str, Any]) -> None:
    var = next(s for s in monthly.sections if s.id == "var")
    beyond = next(f for f in var.figures if f.id == "var.exceptions_99")
    assert beyond.note == truth["planted"]["var_exception"]["session"] == "2025-11-20"
    assert (beyond.value.value, beyond.value.unit) == (1, "of 19 sessions")
    assert any("2025-11-20" in a.text and a.severity == "alarm" for a in monthly.attention)


def test_the_stale_mark_is_listed_with_the_value_it_touches(
    daily: Document, truth: dict[str, Any]
) -> None:
    planted = truth["planted"]["stale_mark"]
    assert planted == {"instrument": "OELG", "session": "2025-12-05"}
    positions = truth["as_closed"]["2025-12-05"]["positions"]
    value = sum(
        Decimal(p["closing"]["market_value"]) for p in positions if p["instrument"] == "OELG"
    )
    table = next(t for s in daily.sections for t in s.tables if t.id == "pnl_marks")
    stale = [row for row in table.rows if row[1].text == "stale"]
    assert [(row[0].text, row[3].amount) for row in stale] == [('<b>Öl & Gas</b> "AG"', value)]
    assert sum("stale" in a.text for a in daily.attention) == 1


def test_a_session_without_trades_says_so(store: Store) -> None:
    found = facts(store, date(2025, 10, 13))
    assert (found["slippage"]["kind"], found["slippage"]["why"]) == ("missing", "no trades")
    assert (found["fill_rate"]["kind"], found["fill_rate"]["why"]) == ("missing", "no orders")
    assert found["pnl"]["fills"] == 0  # the positions are valued all the same


def test_holiday_half_day_and_weekend(store: Store) -> None:
    thanksgiving, friday = sealed(store, date(2025, 11, 27)), sealed(store, date(2025, 11, 28))
    assert (thanksgiving.session, friday.session) == (False, True)
    assert "holiday" in thanksgiving.note and "early close at 13:00" in friday.note
    assert thanksgiving.facts["pnl"]["why"] == "no session"
    assert thanksgiving.facts["uptime"].get("kind") != "missing"  # services run on holidays
    # What is executed between two sessions belongs to the later one.
    assert friday.trading is not None
    assert friday.trading.start == thanksgiving.window.start
    assert "weekend" in sealed(store, date(2025, 12, 6)).note


def test_the_page_prints_absence_as_such(demo: Demo, store: Store) -> None:
    html = (demo.reports / "daily" / "2025-12-05" / "r1" / "report.html").read_text("utf-8")
    assert "<b>Öl" not in html and "&lt;b&gt;Öl" in html  # hostile names are text
    assert "NaN" not in html and "None" not in html
