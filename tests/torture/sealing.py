"""A store with sealed days, made once and cloned for every round. Uses the product; checks nothing.

One day is closed by the product; the others are that day again under other dates, with the one
fact that a report can't be without. A report of such a day has eight pages, the fewest there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from reporting import pipeline, render
from reporting.periods import trading_day
from reporting.pipeline.issuing import draft
from reporting.pipeline.service import Service, sealed_day
from reporting.postgres import database, migrate
from reporting.seal import SealedDay, canonical, digest
from reporting.settings import load
from reporting.store import SealedRow

from .memory import kept_pdf
from .world import CALENDAR, ZONE, Postgres

#: Days before today that one of the two stores has not sealed: the service closes them itself.
OPEN = 2

#: What the database remembers of every step of a run or a mail, for the checker alone.
HISTORY = """
create schema torture;
create table torture.history (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    queue text not null, key text not null, was text, state text not null,
    fence bigint not null, holder text not null,
    leased_before timestamptz, leased_until timestamptz, holder_before text,
    revision integer
);
create function torture.remember() returns trigger language plpgsql security definer as $$
declare
    n jsonb := to_jsonb(new);
    o jsonb := case when tg_op = 'UPDATE' then to_jsonb(old) end;
begin
    insert into torture.history
        (queue, key, was, state, fence, holder, leased_before, leased_until, holder_before,
         revision)
    values (tg_table_name, coalesce(n ->> 'key', n ->> 'id', n ->> 'name'), o ->> 'state',
        coalesce(n ->> 'state', ''), (n ->> 'fence')::bigint, n ->> 'holder',
        (o ->> 'leased_until')::timestamptz, (n ->> 'leased_until')::timestamptz,
        o ->> 'holder', (n ->> 'revision')::integer);
    return null;
end $$;
create trigger history after insert or update on reporting.run
    for each row execute function torture.remember();
create trigger history after insert or update on reporting.outbox
    for each row execute function torture.remember();
create trigger history after insert or update on reporting.lease
    for each row execute function torture.remember();
"""


def settings_of(postgres: Postgres, store: str, folder: Path) -> dict[str, str]:
    """The service's settings but those of a round."""
    return {
        "ledger_url": postgres.url("ledger"),
        "store_url": postgres.url(store, "reporting_app"),
        "calendar": CALENDAR,
        "zone": ZONE,
        "base_currency": "EUR",
        "objectives_dir": str(folder / "objectives"),
        "var_dir": str(folder / "var"),
        "reports_dir": str(folder / "reports"),
        "schedule_file": str(folder / "schedule.toml"),
    }


def seal(postgres: Postgres, folder: Path, days: Sequence[date], unsealed: int = OPEN) -> None:
    """Database ``sealed`` with ``days``, and ``open``, which lacks the last ``unsealed``."""
    for name in ("objectives", "var", "reports"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "schedule.toml").touch()
    now = datetime.now(UTC)
    postgres.run("create database empty")
    migrate(database(postgres.url("empty"), "store"))
    postgres.run("create database first template empty")
    closing = Service(load(**settings_of(postgres, "first", folder)))
    pipeline.close(closing, days[0], now)
    row = closing.store.day(days[0])
    assert row is not None
    first = sealed_day(row)
    book = closing.store.book(first.closing_book)
    assert book is not None
    postgres.run(HISTORY, "empty")
    for name, mine in (("sealed", days), ("open", days[:-unsealed])):
        postgres.run(f"create database {name} template empty")
        service = Service(load(**settings_of(postgres, name, folder)))
        with service.store.writing() as writer:
            writer.add_book(first.closing_book, book)
            for day in mine:
                body = canonical(_again(first, day))
                writer.add_day(SealedRow(day, 1, digest(body), body, now, now, ""))
    for name in ("first", "empty"):
        postgres.run(f"drop database {name}")


def warm(postgres: Postgres, folder: Path, days: Sequence[date]) -> None:
    """Render the reports of ``days`` for :mod:`memory`, which nobody would live long enough for."""
    given = {**settings_of(postgres, "sealed", folder), "reports_dir": str(folder / "warm")}
    service = Service(load(**given))
    pdf_of = kept_pdf(folder / "memory")
    for day in days:
        document = draft(service, "daily", day, datetime.now(UTC), allow_gaps=True)
        pdf_of(render.render_html(document), document)


def _again(first: SealedDay, day: date) -> SealedDay:
    described = trading_day(day, CALENDAR, ZONE)
    return first.model_copy(
        update={
            "day": day,
            "note": described.note,
            "window": described.window,
            "trading": described.trading,
            "facts": {"pnl": first.facts["pnl"]},
            "findings": (),
        }
    )


def days_between(first: date, last: date) -> list[date]:
    """Both included."""
    return [first + timedelta(n) for n in range((last - first).days + 1)]
