"""Whatever the rows of the ledger hold: a day is sealed, with findings, or refused in words."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from reporting import pipeline
from reporting.demo import story
from reporting.errors import ReportingError
from reporting.pipeline.issuing import draft
from reporting.render import render_html, render_tables
from reporting.sources.ledger import contract

from ..line.site import WORKER, Server, Site, connected, sealed
from .test_book_ledger import END, MONDAY, TUESDAY, VIEWS, contract_ledger
from .test_no_numbers import MORE

__all__ = ["contract_ledger"]

COLUMNS = {(v, c): kind for v, of in contract().items() if v in VIEWS for c, kind in of}
#: What markup and formulas in a text would be taken for, were it not escaped.
HOSTILE = "<hostile a=1>"
TEXTS = st.sampled_from(
    (
        "", " ", "\t", "\n", "a\r\nBcc: x@example.com", HOSTILE, f"</td></table>{HOSTILE}&amp;",
        '" onhostile="x', "' onhostile='x", "{{ 7 * 7 }}", "{% raw %}", "=1+1", "@SUM(A1)", "-2+3",
        "\\", "\\.", "\\N", "\\x00", "\\u0000", "%(x)s", "%s", ":x", "'; drop table firm.fills; --",
        "\u202eevil\u202c", "\u2066\u2028\u2029", "\ufeff", '\ufeff"', "\u00a0", "\ud7ff\ue000",
        "\U0010ffff", "e\u0301" * 40, "\x01\x1b[31m\x7f", "NA", "null", "NaN", "None", '"', '""',
        '","', "x" * 20_000, "AAA", "acc1", "USD", "usd", "EUR", "XXX", "USDT", "f1", "f3", "f4",
        "o1", "new", "correct", "bust", "split", "expiry", "deposit", "funding", "cancelled",
        "replaced", "working", "../../x", "javascript:hostile", "]]>", "<!--", "\u0130",
    )
)  # fmt: skip
NUMBERS = st.sampled_from(
    (
        "NaN", "Infinity", "-Infinity", "0", "-0", "-1", "1", "2", "1e-20", "-1e-20", "1e20",
        "-1e20", "1e-60", "1e60", "1e130", "9" * 18, "9" * 19, "-9223372036854775808", "9" * 38,
        "9" * 39, "0.1", "0.30000000000000000004", "1e-16383", "1e131071", "1.00", "3", "1e9",
        "100.000000000000000000000000001", "0.01",
    )
)  # fmt: skip
#: None in a year that a ledger might have begun in: closing every day since is no error.
TIMES = st.sampled_from(
    (
        "infinity", "-infinity", "4713-01-01 BC", "0044-03-15 BC", "0001-01-01",
        "1970-01-01T00:00Z", "1999-12-31T23:59Z", "2028-01-01", "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59-14", "10000-01-01", "294276-12-31", "2026-03-03T00:00Z",
        "2026-03-02T23:59:59.999999Z", "2026-03-03T15:00:00.000001Z", "2026-03-04T00:00Z",
        "2026-03-04T12:00Z", "2026-03-04T12:00:00.000001Z", "2026-03-05", "2026-03-03T15:00Z",
    )
)  # fmt: skip
INTEGERS = {
    "smallint": st.sampled_from(("0", "1", "-1", "2", "-32768", "32767")),
    "integer": st.sampled_from(("0", "1", "3", "-1", "2147483647", "-2147483648")),
}
KINDS = {
    "text": TEXTS, "numeric": NUMBERS, "timestamp with time zone": TIMES, **INTEGERS,
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """What happens to the row number ``row`` of a view; ``value`` is of ``column``."""

    view: str
    row: int
    what: str  # set | null | twice | gone
    column: str = ""
    value: str | None = None

    @property
    def sql(self) -> tuple[str, list[str | None]]:
        one = f"""ctid = (array(select ctid from firm.{self.view} order by ctid))[
            1 + mod({self.row}, greatest((select count(*) from firm.{self.view})::integer, 1))]"""
        if self.what == "gone":
            return f"delete from firm.{self.view} where {one}", []
        if self.what == "twice":
            return f"insert into firm.{self.view} select * from firm.{self.view} where {one}", []
        if self.what == "null":
            nulls = ", ".join(f"{c} = null" for v, c in COLUMNS if v == self.view)
            return f"update firm.{self.view} set {nulls} where {one}", []
        return f"update firm.{self.view} set {self.column} = %s where {one}", [self.value]


@st.composite
def changes(draw: st.DrawFn) -> Change:
    what = draw(st.sampled_from(("set",) * 12 + ("null", "twice", "gone")))
    (view, column), kind = draw(st.sampled_from([*COLUMNS.items()]))
    row = draw(st.integers(0, 6))
    if what != "set":
        return Change(view, row, what)
    return Change(view, row, what, column, draw(st.none() | KINDS[kind] | KINDS[kind]))


class Spoiled:
    """A ledger whose rows are spoiled anew for each example, and a store that is emptied."""

    def __init__(self, server: Server, ledger: str, store: str, folder: Path) -> None:
        self._server, self._folder, self._numbers = server, folder, count(1)
        self._names = ledger, store
        self._sound = ";".join(
            f"truncate firm.{v}; insert into firm.{v} table sound.{v}" for v in VIEWS
        )
        kept = "select format('%I.%I', schemaname, tablename) from pg_tables where"
        kept += " schemaname in ('reporting', 'audit', 'dashboard')"
        kept += " and tablename not in ('schema_version', 'retention_minimum')"
        tables = ", ".join(name for (name,) in server.run(kept, store))
        # As the superuser who alone can: no trigger of the store's is asked.
        self._empty = f"set session_replication_role = replica; truncate {tables}"

    def site(self, spoiled: list[Change]) -> Site:
        ledger, store = self._names
        with connected(self._server.database(ledger)) as cursor:
            cursor.execute(self._sound)
            for change in spoiled:
                cursor.execute(*change.sql)
        self._server.run(self._empty, store)
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        story.operations_file(folder).write_text(story.operations(), "utf-8")
        of = {"calendar": "24/7", "zone": "UTC", "base_currency": "USD"}
        return Site(self._server, ledger, store, folder / "reports", folder, of)


@pytest.fixture(scope="module")
def spoiled(
    server: Server, contract_ledger: str, empty_store: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Spoiled]:
    names = f"spoiled_ledger{WORKER}", f"spoiled_store{WORKER}"
    for name, template in zip(names, (contract_ledger, empty_store), strict=True):
        server.clone(name, template)
    server.run(MORE, names[0])
    copies = ";".join(f"create table sound.{v} as table firm.{v}" for v in VIEWS)
    server.run(f"create schema sound; {copies}", names[0])
    yield Spoiled(server, *names, tmp_path_factory.mktemp("spoiled"))
    for name in names:
        server.drop(name)


class Page(HTMLParser):
    """Notes elements and attributes that only an unescaped text can have made."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag] if tag == "hostile" else []
        self.found += [
            n for n, v in attrs if n == "onhostile" or (v or "").startswith("javascript")
        ]


def closed_or_refused(site: Site) -> bool:
    """Whether both days are sealed; what they say is made into a report's page and tables.

    Where one is refused, what was sealed before it is whole, and nothing is of the day itself.
    """
    service = site.service()
    try:
        pipeline.close(service, TUESDAY, END)
    except ReportingError as error:
        assert str(error).strip()
        sealed, books, issued, logged = site.rows().values()
        assert sealed == logged < 2 and books <= sealed and not issued
        return False
    page = Page()
    document = draft(service, "daily", TUESDAY, END)
    page.feed(render_html(document).decode("utf-8"))
    assert not page.found
    for table in render_tables(document).values():
        assert not any(line[:1] in "=@" for line in table.decode("utf-8").splitlines() if line)
    return True


FEW = settings(
    deadline=None,
    max_examples=8,
    suppress_health_check=list(HealthCheck),
    phases=[phase for phase in Phase if phase is not Phase.shrink],
)


def spoil(how: settings, made: Spoiled) -> None:
    @how
    @given(st.lists(changes(), min_size=1, max_size=6))
    def attack(changed: list[Change]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # numbers that numpy made up
            closed_or_refused(made.site(changed))

    attack()


def test_the_sound_ledger_is_sealed(spoiled: Spoiled) -> None:
    assert closed_or_refused(spoiled.site([]))


def put(view: str, column: str, value: str | None, row: int = 0) -> Change:
    return Change(view, row, "set", column, value)


#: What once ended a close with a traceback, with the finding that names it since. A changed row is
#: the last one from then on.
FOUND = {
    "order without its account or instrument": put("orders", "account_id", None),
    "FX rate that is no number above 0": put("fx_rates", "base", None, 1),
    "instrument whose multiplier, tick or lot is no number": put("instruments", "currency", "e", 1),
    "stated positions with an amount that is no number": put(
        "reported_positions", "quantity", "1e130"
    ),
    "ledger.fills.price that is no number": put("fills", "price", "1e5000", 5),
    "ledger.fills.quantity that is no number": put("fills", "quantity", "1e131071", 5),
    "mark that is no number": put("marks", "price", "1e-60", 2),
}


def test_a_row_that_fits_into_no_figure_is_named_in_a_finding(spoiled: Spoiled) -> None:
    more = put("fills", "fee_currency", "dollars"), put("fills", "strategy", HOSTILE)
    site = spoiled.site([*FOUND.values(), *more])
    assert closed_or_refused(site)
    assert {finding.check for finding in sealed(site.store, TUESDAY).findings} >= {*FOUND}
    assert "fill not booked" in {f.check for f in sealed(site.store, MONDAY).findings}


LONG = "1." + "0123456789" * 7 + "1"
REFUSED = {
    "times before Christ": [put("quotes", "recorded_at", "4713-01-01 BC")],
    "always": [put("fills", "executed_at", "-infinity")],
    "no calendar": [put("orders", "placed_at", "1999-12-31")],
    "too many digits": [put("fills", "quantity", LONG), put("fills", "price", LONG, 5)],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nothing_can_be_made_of_is_refused_in_words(spoiled: Spoiled, name: str) -> None:
    site = spoiled.site(REFUSED[name])
    assert not closed_or_refused(site)


def test_rows_of_any_kind_are_sealed_or_refused(spoiled: Spoiled) -> None:
    spoil(FEW, spoiled)


@pytest.mark.slow
def test_rows_of_many_more_kinds_are_sealed_or_refused(spoiled: Spoiled) -> None:
    spoil(settings(FEW, max_examples=1_000), spoiled)
