"""A day worked out in this process, in two others and by Dask's workers is the same day.

The scheduler and its workers are real, and a worker that dies is killed (SIGKILL).
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from reporting import engine as engines
from reporting import pipeline
from reporting.engine import AHEAD, Engine, code, engine
from reporting.errors import EngineUnavailable, UsageError, ValidationFailed
from reporting.pipeline.health import doctor
from reporting.settings import load

from ..line.site import CLOSED, ROOT, WORKER, Server, Site
from .engine_work import dying, dying_once, failing, page_faults, squared, waiting, whose

MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)
END = datetime.fromisoformat("2026-03-04T12:00+00:00")
VIEWS = (
    *("instruments", "orders", "fills", "marks", "fx_rates", "fees", "quotes", "market_trades"),
    *("corporate_actions", "cash_flows"),
)
#: Two sessions, 3 accounts x 4 instruments, with all that is joined of parts.
ROWS = """
insert into firm.instruments
    select 'I' || i, 'Name ' || i, case when i = 3 then 'EUR' else 'USD' end, 1 + i % 2, 0.01, 1,
           '2026-03-01' from generate_series(0, 3) i;
insert into firm.fx_rates values ('EUR', 'USD', 1.1, 'fix', '2026-03-01', '2026-03-01');
insert into firm.marks
    select 'I' || i, 100 + i + d, 'close', timestamptz '2026-03-02T20:00Z' + d * interval '1 day',
           timestamptz '2026-03-02T20:00Z' + d * interval '1 day'
    from generate_series(0, 2) i, generate_series(0, 1) d;
insert into firm.orders
    select 'O' || lpad(n::text, 6, '0'), null, 'A' || n % 3, 'I' || n / 3 % 4, 'trend-' || n % 2,
           'agent-' || n % 5, case when n % 7 < 3 then -1 else 1 end, 10 + n % 3, at, at,
           100 + n % 9 * 0.01, 100 + n % 11 * 0.01,
           case when n % 17 = 0 then 'cancelled' else 'filled' end, null, at + interval '9 s', at
    from generate_series(0, 1199) n,
         lateral (select timestamptz '2026-03-02T09:00Z' + n * interval '97 s' as at) t;
insert into firm.orders
    select 'R' || n, 'O' || lpad(n::text, 6, '0'), account_id, instrument_id, strategy, agent, side,
           quantity, placed_at + interval '10 s', null, null, null, 'rejected', 'limit',
           placed_at + interval '11 s', placed_at
    from generate_series(0, 1190, 17) n, firm.orders o
    where o.order_id = 'O' || lpad(n::text, 6, '0');
insert into firm.fills
    select 'F' || lpad((n * 3 + part)::text, 8, '0'), order_id, account_id, instrument_id, strategy,
           agent, side, placed_at + (1 + part) * interval '1.5 s', 2 + part % 2,
           arrival_price + part * 0.003, 'V' || part, 0.1 + part * 0.01, 'USD', 'new', null,
           placed_at + interval '8 s'
    from firm.orders, generate_series(0, 2) part, lateral (select substr(order_id, 2)::int as n) i
    where order_id like 'O%';
-- Corrections and busts, late and wrong ones, a fill without its order, one used twice.
insert into firm.fills
    select 'C' || f.fill_id, order_id, account_id, instrument_id, strategy, agent, side,
           executed_at, 1, price, venue, fee, 'EUR',
           case when n % 2 = 0 then 'correct' else 'bust' end, f.fill_id,
           executed_at + interval '1 minute'
    from firm.fills f, lateral (select substr(f.fill_id, 2)::int as n) i where n % 101 = 7;
insert into firm.fills
    select replace(fill_id, 'F', 'X'), 'gone-' || fill_id, account_id, instrument_id, strategy,
           agent, side, executed_at, quantity, price, venue, fee, 'USD', 'new', null, executed_at
    from firm.fills where fill_id like 'F%' and substr(fill_id, 2)::int % 211 = 5;
insert into firm.fills select * from firm.fills where fill_id = 'F00000009';
insert into firm.fees
    select fill_id, item, 0.05, 'USD', recorded_at from firm.fills,
           unnest(array['exchange', 'clearing']) item
    where fill_id like 'F%' and substr(fill_id, 2)::int % 3 = 0;
insert into firm.quotes
    select 'I' || n % 4, 99.9 + n % 13 * 0.01, 100.1 + n % 13 * 0.01, at, at
    from generate_series(0, 9999) n,
         lateral (select timestamptz '2026-03-02T08:59Z' + n * interval '12 s' as at) t;
insert into firm.market_trades
    select 'I' || n % 4, 100 + n % 13 * 0.01, 1 + n % 5, at, at
    from generate_series(0, 9999) n,
         lateral (select timestamptz '2026-03-02T08:59Z' + n * interval '12 s' as at) t;
insert into firm.corporate_actions values
    ('a1', 'I1', 'split', 1.001, null, null, '2026-03-03T09:00Z', '2026-03-01'),
    ('a2', 'I2', 'dividend', null, 0.5, 'USD', '2026-03-03T09:00Z', '2026-03-01');
insert into firm.cash_flows values
    ('c1', 'A1', null, null, null, 'deposit', 5000, 'USD', '2026-03-02T08:00Z',
     '2026-03-02T08:00Z'),
    ('c2', 'A2', 'I3', 'trend-0', 'agent-1', 'funding', -4, 'EUR', '2026-03-03T08:00Z',
     '2026-03-03T08:00Z');
"""
LOCAL = "local:2"
#: Of Monday, of Tuesday, and of Tuesday those again that need the units of another's split.
PARTS = [9, 10, 8]


@pytest.fixture(scope="module")
def day_ledger(server: Server) -> Iterator[str]:
    """A database with the two sessions."""
    name = f"engine{WORKER}"
    server.run(f"create database {name}")
    server.run((ROOT / "sql" / "ledger" / "contract.sql").read_text("utf-8"), name)
    made = ["create schema firm"]
    for view in VIEWS:
        made.append(f"create table firm.{view} as table ledger.{view}")
        made.append(f"create or replace view ledger.{view} as table firm.{view}")
    server.run(";".join([*made, ROWS]), name)
    yield name
    server.drop(name)


@pytest.fixture
def make(day_ledger: str, empty_store: str, make_site: Callable[..., Site]) -> Callable[..., Site]:
    """Sites over those sessions with nothing sealed."""
    return partial(
        make_site, day_ledger, empty_store, calendar="24/7", zone="UTC", base_currency="USD",
        part_fills=200,
    )  # fmt: skip


@contextmanager
def started(*words: str, package: Path = ROOT) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Dask's, killed at the end if it still runs."""
    environment = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, "-m", "dask", *words]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, cwd=package, **quiet) as process:
        try:
            yield process
        finally:
            process.kill()


def scheduler(stack: ExitStack, folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """The address of a scheduler on a free port, and its process."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "scheduler.json"
    where = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)]
    process = stack.enter_context(started("scheduler", *where, "--no-dashboard"))
    for _ in until(60):
        if file.exists() and '"address"' in (text := file.read_text()):
            return text.split('"address": "tcp://')[1].split('"')[0], process
    raise AssertionError("no scheduler")


def worker(stack: ExitStack, address: str, package: Path = ROOT) -> subprocess.Popen[bytes]:
    """A worker of one thread that nobody starts again."""
    words = [f"tcp://{address}", "--no-nanny", "--nthreads", "1", "--no-dashboard"]
    return stack.enter_context(started("worker", *words, package=package))


def until(seconds: float) -> Iterator[int]:
    """Count up, a little later each time, for so long."""
    end = time.monotonic() + seconds
    for n in count():
        yield n
        if time.monotonic() > end:
            return
        time.sleep(0.05)


def ready(where: str, workers: int) -> Engine:
    """An engine with so many workers there."""
    made = engine(where)
    for _ in until(60):
        if made.workers.count() == workers:
            return made
    raise AssertionError(f"{made.workers.count()} workers")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    """Engines of a scheduler with two workers, each with processes of its own."""
    with ExitStack() as stack:

        def make() -> Engine:
            address, _ = scheduler(stack, tmp_path / f"dask{len(os.listdir(tmp_path))}")
            for _ in range(2):
                worker(stack, address)
            made = ready(f"dask://{address}", 2)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def local() -> Iterator[Engine]:
    """Two processes."""
    made = engine(LOCAL)
    yield made
    made.close()


@pytest.fixture(params=["local", "dask"])
def either(request: pytest.FixtureRequest) -> Engine:
    """An engine of each kind."""
    if request.param == "local":
        return request.getfixturevalue("local")
    return request.getfixturevalue("cluster")()


class Watched:
    """An engine, asked as the service asks: counts its parts, and may have a worker killed."""

    def __init__(self, of: Engine, flag: Path | None = None) -> None:
        self.of, self.flag, self.parts = of, flag, list[int]()

    def map(self, work: Any, things: Any) -> Iterator[Any]:
        if self.flag is not None:
            work, things = partial(dying_once, self.flag, 3, work), enumerate(things)
        self.parts.append(0)
        for found in self.of.map(work, things):
            self.parts[-1] += 1
            yield found


def closed(site: Site, by: Watched) -> Mapping[str, Any]:
    """What closing both days sealed: digests, and the closing books by theirs."""
    service = site.service()
    service.__dict__["engine"] = by
    pipeline.close(service, TUESDAY, END)
    days = site.store_sql("select day, digest from reporting.sealed_day order by day")
    books = site.store_sql("select digest from reporting.closing_book order by digest")
    assert len(days) == len(books) == 2
    return {"days": days, "books": books}


@pytest.fixture
def here(make: Callable[..., Site]) -> Mapping[str, Any]:
    """What this process seals, in parts one after the other."""
    watched = Watched(engine(None))
    found = closed(make(), watched)
    assert watched.parts == PARTS
    return found


def test_the_same_is_sealed_wherever_it_is_worked_out(
    here: Mapping[str, Any], make: Callable[..., Site], either: Engine
) -> None:
    watched = Watched(either)
    assert closed(make(), watched) == here
    assert watched.parts == PARTS


def test_a_worker_killed_in_the_middle_changes_nothing(
    here: Mapping[str, Any], make: Callable[..., Site], either: Engine, tmp_path: Path
) -> None:
    flag = tmp_path / "killed"
    assert closed(make(), Watched(either, flag)) == here
    assert flag.exists()


def test_the_setting_is_what_the_close_uses(
    here: Mapping[str, Any], make: Callable[..., Site]
) -> None:
    site = make(engine=LOCAL)
    service = site.service()
    pipeline.close(service, TUESDAY, END)
    days = site.store_sql("select day, digest from reporting.sealed_day order by day")
    assert days == here["days"]
    assert service.engine.name == LOCAL
    assert service.engine._workers is not None  # they were called
    service.engine.close()


def test_all_workers_work_and_results_come_in_order(either: Engine) -> None:
    assert list(either.map(squared, range(20))) == [n * n for n in range(20)]
    pids = set(either.map(whose, range(12)))
    assert len(pids) == 2 and os.getpid() not in pids


def test_few_things_are_made_ahead(local: Engine) -> None:
    asked: list[int] = []

    def things() -> Iterator[int]:
        for n in range(50):
            asked.append(n)
            yield n

    for n, _ in enumerate(local.map(squared, things())):
        assert len(asked) <= n + 1 + AHEAD * 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library does as it likes")
def test_a_worker_keeps_the_memory_that_the_next_part_needs(either: Engine) -> None:
    faults = list(either.map(page_faults, range(12)))
    # 20,000 pages of 4 KiB; each worker is given them once.
    assert sum(n > 2000 for n in faults) <= 2, faults


def test_one_thing_alone_is_done_here(local: Engine) -> None:
    assert list(local.map(whose, [1])) == [os.getpid()]
    assert list(local.map(whose, [])) == []
    assert set(engine(None).map(whose, [1, 2])) == {os.getpid()}


def test_what_the_work_raises_comes_through(either: Engine) -> None:
    done = either.map(failing, range(9))
    assert [next(done) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError, match="no number 3"):
        next(done)
    assert list(either.map(squared, range(4))) == [0, 1, 4, 9]  # and it goes on


def test_a_part_that_kills_every_worker_is_given_up(local: Engine) -> None:
    with pytest.raises(EngineUnavailable, match=r"3 workers.*REPORTING_PART_FILLS"):
        list(local.map(dying, range(4)))
    assert list(local.map(squared, range(4))) == [0, 1, 4, 9]


def test_workers_that_are_lost_now_and_then_are_all_replaced(
    local: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "DEATHS", 2)
    work = squared
    for n in range(1, 4):  # more than may be lost over one part
        work = partial(_unnumbered, partial(dying_once, tmp_path / str(n), 2 * n, work))
    assert list(local.map(work, range(9))) == [n * n for n in range(9)]
    assert len(list(tmp_path.iterdir())) == 3


def _unnumbered(work: Callable[[tuple[int, int]], int], number: int) -> int:
    return work((number, number))


def test_a_scheduler_without_workers_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "PATIENCE_S", 0.5)
    with ExitStack() as stack:
        address, _ = scheduler(stack, tmp_path)
        empty = engine(f"dask://{address}")
        stack.callback(empty.close)
        with pytest.raises(EngineUnavailable, match="has no workers"):
            list(empty.map(squared, range(4)))
        with pytest.raises(EngineUnavailable, match="has no workers"):
            empty.check()
        # The same where all of them die.
        only = worker(stack, address)
        for _ in until(60):
            if empty.workers.count():
                break
        done = empty.map(waiting, range(4))
        assert next(done) == 0
        only.send_signal(signal.SIGKILL)
        with pytest.raises(EngineUnavailable, match="has no workers"):
            next(done)


def test_a_scheduler_that_goes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "PATIENCE_S", 0.5)
    with ExitStack() as stack:
        address, process = scheduler(stack, tmp_path)
        worker(stack, address)
        made = ready(f"dask://{address}", 1)
        done = made.map(waiting, range(4))
        assert next(done) == 0
        process.send_signal(signal.SIGKILL)
        with pytest.raises(EngineUnavailable, match=address):
            next(done)


def test_nobody_there_is_told() -> None:
    with pytest.raises(
        EngineUnavailable, match=r"no Dask scheduler answers at dask://127\.0\.0\.1:1 "
    ):
        engine("dask://127.0.0.1:1").check()


def test_without_dask_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install 'reporting\[dask\]'"):
        engine("dask://127.0.0.1:1").check()


@pytest.fixture
def other_code(tmp_path: Path) -> Path:
    """A copy of the package in which one line is another."""
    folder = tmp_path / "other"
    shutil.copytree(ROOT / "reporting", folder / "reporting")
    shutil.copytree(ROOT / "tests" / "integration", folder / "tests" / "integration")
    with (folder / "reporting" / "book" / "fifo.py").open("a") as file:
        file.write("\nCHANGED = True\n")
    return folder


def test_a_worker_with_other_code_is_refused(tmp_path: Path, other_code: Path) -> None:
    with ExitStack() as stack:
        address, _ = scheduler(stack, tmp_path)
        worker(stack, address, other_code)
        made = ready(f"dask://{address}", 1)
        stack.callback(made.close)
        with pytest.raises(ValidationFailed, match=r"has reporting \S+ \(\w{16}\) where we have"):
            list(made.map(squared, range(4)))
        with pytest.raises(ValidationFailed, match=r"has reporting \S+ \(\w{16}\) where we have"):
            made.check()


@pytest.mark.parametrize("name", ["python", "numpy", "pandas", "pyarrow", "pydantic"])
def test_a_worker_with_another_library_is_refused(name: str) -> None:
    theirs = {**code(), name: "0.1"}
    with pytest.raises(ValidationFailed, match=f"has {name} {code()[name]} where we have 0.1"):
        engines.worked(theirs, b"nothing that can be unpacked")


def test_the_doctor_says_who_works(make: Callable[..., Site], either: Engine) -> None:
    checks = {}
    for site in (make(), make(engine="dask://127.0.0.1:1")):
        (found,) = (c for c in doctor(site.service(), MONDAY) if c.what == "engine")
        checks[found.ok] = found.detail
    assert checks[True] == f"this process, reporting {code()['reporting']}"
    assert "no Dask scheduler answers" in checks[False]
    assert either.check() == f"{either.name}, 2 workers, all with reporting {code()['reporting']}"


@pytest.mark.parametrize("wrong", ["locale", "local:0", "local:", "dask", "dask://host", CLOSED])
def test_what_is_no_engine_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match=r"REPORTING_ENGINE: .* is no engine; expected local"):
        load(engine=wrong)


def test_no_engine_is_this_process() -> None:
    assert load().engine is None
    assert load(engine="").engine is None
