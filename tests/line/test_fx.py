"""Real FX orders through the whole line; expected numbers come from the CSV files, plainly read."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg2
import pytest

from reporting import pipeline
from reporting.page import Document

from ..integration import fx_orders
from .site import ROOT, WORKER, Server, Site

pytestmark = pytest.mark.skipif(
    bool(fx_orders.ABSENT), reason=f"the real FX orders are not at hand: {fx_orders.ABSENT}"
)


def rows(table: str) -> list[dict[str, str]]:
    with gzip.open(fx_orders.FILES[table], "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def fx_ledger(server: Server) -> Iterator[str]:
    """A database with the orders behind the contract."""
    name = f"fx{WORKER}"
    server.run(f"create database {name}")
    connection = psycopg2.connect(server.database(name))
    with connection:
        fx_orders.load(connection)
    connection.close()
    yield name
    server.drop(name)


@pytest.fixture
def fx(fx_ledger: str, empty_store: str, make_site: Callable[..., Site], tmp_path: Path) -> Site:
    """A site of currencies, under the same policy from before they were traded."""
    policy = tmp_path / "policy.toml"
    text = (ROOT / "config" / "policy.toml").read_text("utf-8")
    policy.write_text(text.replace("from = 2025-01-01", "from = 2017-01-01"), "utf-8")
    return make_site(
        fx_ledger, empty_store, calendar="24/5", zone="UTC", base_currency="USD",
        policy_file=policy,
    )  # fmt: skip


@pytest.mark.slow  # a minute and a half
def test_322_orders_in_every_currency_of_their_own(fx: Site) -> None:
    events = rows("tca.events")
    times = sorted(datetime.fromisoformat(event["date"]) for event in events)
    first, last = times[0].date(), times[-1].date()
    while last.weekday() > 4:  # what happens on a weekend belongs to Monday
        last += timedelta(1)
    now = datetime.combine(last + timedelta(2), datetime.min.time(), UTC)
    service = fx.service()
    closed = pipeline.close(service, last, now)
    assert (closed[0].day, closed[-1].day) == (first, last)

    documents: list[Document] = []
    day = first
    while day <= last + timedelta(6):
        monday = day - timedelta(day.weekday())
        if monday <= last:
            week = pipeline.draft(service, "weekly", day, now + timedelta(9), allow_gaps=True)
            documents.append(week)
        day += timedelta(7)
    figures = [{f.id: f.value for s in d.sections for f in s.figures} for d in documents]

    # 322 orders: 318 in full, 3 but for their last unit, 1 not at all.
    counted = [f for f in figures if f["fill_rate.full"].kind == "ratio"]
    assert sum(f["fill_rate.full"].denominator for f in counted) == 322
    assert sum(f["fill_rate.full"].numerator for f in counted) == 318
    assert sum(f["fill_rate.any"].numerator for f in counted) == 322 - 1
    assert sum(f["fill_rate.rejected"].value for f in counted) == 0

    # Every quantity in the currency that the file gives its notional in, never added across.
    ordered: dict[str, Decimal] = defaultdict(Decimal)
    executed: dict[str, Decimal] = defaultdict(Decimal)
    for event in events:
        executed[event["notional_currency"]] += Decimal(event["executed_notional"])
    for order in rows("tca.orders"):
        ordered[order["notional_currency"]] += Decimal(order["notional"])
    have: dict[str, list[Decimal]] = {name: [Decimal(0), Decimal(0)] for name in ordered}
    for document in documents:
        for table in (t for s in document.sections for t in s.tables):
            if table.id != "fill_rate_by_instrument":
                continue
            column = [c.key for c in table.columns].index("quantity")
            for row in table.rows:
                ratio = row[column]
                assert ratio.kind == "ratio"
                currency = row[0].text.split()[-1]  # type: ignore[union-attr]
                have[currency][0] += ratio.numerator
                have[currency][1] += ratio.denominator
    assert have == {name: [executed[name], ordered[name]] for name in ordered}
    assert set(have) == {"EUR", "USD", "JPY"}
    fills = sum(f["pnl.fills"].value for f in figures if f["pnl.fills"].kind == "count")
    assert fills == sum(event["event_type"] == "trade" for event in events) == 326


def test_a_report_of_them_is_issued_and_has_no_uptime(fx: Site) -> None:
    day = date(2017, 4, 25)
    now = datetime(2017, 4, 26, 6, tzinfo=UTC)
    pipeline.close(fx.service(), day, now)
    issued = pipeline.issue(fx.service(), "daily", day, now)
    assert issued.document.status == "INCOMPLETE"
    uptime = next(s for s in issued.document.sections if s.id == "uptime")
    assert all(f.value.kind == "missing" for f in uptime.figures)
    assert "not measured" in (issued.folder / "report.html").read_text("utf-8").lower()
    assert all(v.ok for v in pipeline.verify(fx.service()))
