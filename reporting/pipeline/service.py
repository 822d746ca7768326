"""One deployment: its settings, with its sources, store and policy opened when first used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path

from pydantic import SecretStr
from pydantic_core import from_json

from ..document import Excerpt
from ..engine import Engine, engine
from ..errors import UsageError, ValidationFailed
from ..model import Missing
from ..page import Document
from ..periods import (
    CALENDARS_VERSION,
    TradingDay,
    calendar_day,
    check_calendar,
    trading_day,
)
from ..policy import Policy, parse_policy
from ..policy.schedule import Schedule, parse_schedule
from ..postgres import (
    APP_ROLE,
    PURGER_ROLE,
    SILENT_S,
    Database,
    Embedded,
    database,
    migrate,
    start_embedded,
)
from ..resources import resource
from ..seal import SealedDay, digest
from ..settings import Settings, operating_user, secret_of
from ..sources.ledger import Ledger
from ..sources.prometheus import PrometheusSource
from ..store import ReportRow, SealedRow, Store
from .connections import in_clear, refuse

Progress = Callable[[str], None]


def silent(_: str) -> None:
    """The progress of a caller that does not want any."""


@dataclass(frozen=True)
class Service:
    """One deployment: its settings, and its sources and store opened when first used."""

    settings: Settings
    open_embedded: Callable[[Path], Embedded] = start_embedded
    store_timeout_s: float | None = None  # of a statement, for whoever must not wait
    keeps: bool = False  # its connections to the store, for whoever asks it every moment
    examined: bool = False  # by the doctor, who tells of every connection that is not safe

    def __post_init__(self) -> None:
        """:class:`UsageError` where any connection is not safe: nothing of it is used."""
        if not self.examined:
            refuse(in_clear(self.settings))

    def address(self, setting: str) -> str | None:
        """Where a driver is to connect, or None where it is not set; the one way to it.

        Raises :class:`UsageError` for one that is in clear or unverified.
        """
        refuse(c for c in in_clear(self.settings) if c.setting == setting)
        value: SecretStr | str | None = getattr(self.settings, setting)
        return value.get_secret_value() if isinstance(value, SecretStr) else value

    @cached_property
    def embedded(self) -> Embedded:
        """The PostgreSQL server of our own, for what has no URL."""
        return self.open_embedded(self.settings.var_dir / "postgres")

    @cached_property
    def store(self) -> Store:
        """The store, migrated if it is our own."""
        return Store(self.store_database, operating_user())

    @cached_property
    def store_database(self) -> Database:
        """Where the store lives; the embedded one is entered as the role that can't rewrite."""
        url = self.address("store_url")
        # A frozen writer is not to keep others waiting for longer than what it works on is its own.
        silent_s = min(SILENT_S, self.settings.lease_s)
        if url is not None:
            return self._store(url, silent_s)
        own = self.embedded.database_url("reporting")
        migrate(database(own, "store"))
        return self._store(own, silent_s, APP_ROLE)

    def _store(self, url: str, silent_s: float, role: str | None = None) -> Database:
        timeout_s, keep = self.store_timeout_s, self.keeps
        return database(url, "store", role=role, timeout_s=timeout_s, silent_s=silent_s, keep=keep)

    @cached_property
    def purging_store(self) -> Store:
        """The store as the role that may purge it, and can do nothing else."""
        url = self.address("purge_url")
        if url is not None:
            return Store(database(url, "purge"), operating_user())
        if self.settings.store_url is not None:
            raise UsageError(
                "REPORTING_PURGE_URL is not set: the service's own role may not purge; give the "
                "store's URL with the role reporting_purger"
            )
        own = self.embedded.database_url("reporting")
        return Store(database(own, "purge", role=PURGER_ROLE), operating_user())

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger behind its contract views."""
        url = self.address("ledger_url") or self.embedded.database_url("ledger")
        return Ledger(database(url, "ledger"), self.settings.base_currency)

    @cached_property
    def engine(self) -> Engine:
        """Who works a day out; called when first needed."""
        return engine(self.address("engine"))

    @cached_property
    def prometheus(self) -> PrometheusSource | None:
        """The metrics server, or None where none is configured."""
        s = self.settings
        url = self.address("prometheus_url")
        if url is None:
            return None
        password = secret_of(s.prometheus_password_file)
        return PrometheusSource(
            url,
            bearer_token=secret_of(s.prometheus_bearer_token_file),
            basic_auth=(s.prometheus_username, password)
            if s.prometheus_username and password
            else None,
            client_cert=str(s.prometheus_client_cert) if s.prometheus_client_cert else None,
            ca_file=str(s.prometheus_ca_file) if s.prometheus_ca_file else None,
            timeout_s=s.prometheus_timeout_s,
        )

    def close(self) -> None:
        """Close the connections to the store that are kept; it is opened again where it is used."""
        if "store_database" in self.__dict__:
            self.store_database.close()

    def configured(self) -> None:
        """Read schedule and policy, if they were not yet; raises where they can't be used."""
        _ = self.schedule, self.policy

    @property
    def _objectives(self) -> list[Path]:
        return sorted(self.settings.objectives_dir.glob("*.yaml"))

    @property
    def _beside_policy(self) -> list[Path]:
        s = self.settings
        files = [s.operations_file, s.maintenance_file, s.risk_file, s.compliance_file]
        return [*files, s.retention_file]

    def files_digest(self) -> str:
        """Of schedule and policy as their files are at this moment, whether they make sense or not.

        Another one says that somebody edited them since.
        """
        whole = hashlib.sha256()
        named = [self.settings.schedule_file, self.settings.policy_file]
        for file in (*named, *self._beside_policy, *self._objectives):
            try:
                body = hashlib.sha256(file.read_bytes()).hexdigest()
            except OSError as error:
                body = repr(error)
            whole.update(f"{file} {body}\n".encode())
        return whole.hexdigest()

    @cached_property
    def policy(self) -> Policy:
        """Thresholds and objectives as configured now."""
        s = self.settings
        try:
            texts = {file.name: file.read_text("utf-8") for file in self._objectives}
            more = (f.read_text("utf-8") for f in self._beside_policy)
            own = s.compliance_file != resource("config") / "compliance.toml"
            text = s.policy_file.read_text("utf-8")
            return parse_policy(text, texts, *more, own_compliance=own)
        except ValidationFailed as error:
            raise ValidationFailed(
                f"{error} (REPORTING_POLICY_FILE is {s.policy_file}, REPORTING_OBJECTIVES_DIR is "
                f"{s.objectives_dir}, REPORTING_OPERATIONS_FILE is {s.operations_file}, "
                f"REPORTING_MAINTENANCE_FILE is {s.maintenance_file}, REPORTING_RISK_FILE is "
                f"{s.risk_file}, REPORTING_COMPLIANCE_FILE is {s.compliance_file}, "
                f"REPORTING_RETENTION_FILE is {s.retention_file})"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"the policy can't be read: {error} (REPORTING_POLICY_FILE, "
                "REPORTING_OBJECTIVES_DIR, REPORTING_OPERATIONS_FILE, REPORTING_MAINTENANCE_FILE, "
                "REPORTING_RISK_FILE, REPORTING_COMPLIANCE_FILE, REPORTING_RETENTION_FILE)"
            ) from None

    @cached_property
    def schedule(self) -> Schedule:
        """When reports are due and who gets them, as configured now."""
        file = self.settings.schedule_file
        check_calendar(self.settings.calendar)  # a setting that is wrong is not the file's fault
        try:
            return parse_schedule(
                file.read_text("utf-8"), self.settings.calendar, self.settings.zone, file.name
            )
        except ValidationFailed as error:
            raise ValidationFailed(f"{error} (REPORTING_SCHEDULE_FILE is {file})") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"the schedule can't be read: {error} (REPORTING_SCHEDULE_FILE is {file})"
            ) from None

    @property
    def agreement(self) -> str:
        """What replicas have to have in common to expect the same runs at the same time."""
        s = self.settings
        return f"{self.schedule.digest} {s.calendar} {s.zone} {CALENDARS_VERSION}"

    @cached_property
    def calendar(self) -> str:
        """The book's calendar, with the closures that the schedule writes down."""
        return self.schedule.calendar(self.settings.calendar)

    def end_of(self, day: date) -> datetime:
        """When ``day`` has ended for the book and in the zone of every objective."""
        zones = {self.settings.zone, *(o.zone for o in self.policy.objectives)}
        return max(calendar_day(day, zone).end for zone in zones)

    def trading_day(self, day: date) -> TradingDay:
        """``day`` in the book's calendar."""
        return trading_day(day, self.calendar, self.settings.zone)


def sealed_day(row: SealedRow) -> SealedDay:
    """A sealed day from its row; :class:`ValidationFailed` if its bytes were changed."""
    if digest(row.body) != row.digest:
        raise _changed(row)
    return SealedDay.model_validate_json(row.body)


def excerpt_of(row: SealedRow, names: Sequence[str]) -> Excerpt:
    """A few facts of a sealed day; :class:`ValidationFailed` if its bytes were changed.

    The whole day is hashed and parsed, and nothing but these facts is kept, unvalidated until they
    are asked for: half the time of :func:`sealed_day` (362 days of the demo: 0.55 s against 1.0 s),
    and no more memory than they need. Picking them out in SQL took ten times as long.
    """
    if digest(row.body) != row.digest:
        raise _changed(row)
    day = from_json(row.body)
    found: dict[str, bytes | Missing] = {}
    for name in names:
        fact = day["facts"].get(name)
        if fact is not None and fact.get("kind") == "missing":
            found[name] = Missing.model_validate(fact, strict=False)
        elif fact is not None:
            found[name] = json.dumps(fact).encode()
    return Excerpt(
        day=row.day,
        revision=row.revision,
        digest=row.digest,
        session=day["session"],
        known_at=row.known_at,
        sealed_at=row.sealed_at,
        reason=row.reason,
        facts=found,
        flash=day.get("flash", False),
    )


def _changed(row: SealedRow) -> ValidationFailed | UsageError:
    if not row.body:
        return UsageError(
            f"sealed day {row.day} r{row.revision} was purged: only its digest is kept; "
            "`reporting retention list` says when and by whom"
        )
    return ValidationFailed(
        f"sealed day {row.day} r{row.revision} does not match its digest {row.digest}: the store "
        "was changed; restore it from a backup"
    )


def document_of(service: Service, row: ReportRow) -> Document:
    """The Document of an issued report; :class:`UsageError` where it was purged."""
    if not row.body:
        purged = service.store.purged().get((row.kind, row.name))
        how = purged.words if purged else "emptied, and no purge says why: `reporting verify`"
        raise UsageError(f"{row.name} was {how}; only its digests are kept")
    return Document.model_validate_json(row.body)


def stored_book(store: Store, name: str) -> bytes | None:
    """A closing book by its digest; None where it is missing or was changed."""
    body = store.book(name)
    return body if body is not None and digest(body) == name else None
