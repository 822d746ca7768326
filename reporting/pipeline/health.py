"""Status and doctor: what is done and open, and whether everything needed is well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from .. import render
from ..errors import ValidationFailed
from ..periods import (
    days_between,
    next_session,
)
from ..policy.schedule import AHEAD, horizon
from ..sources.ledger import ADDS
from .connections import in_clear, refuse
from .delivering import Delivery
from .observing import next_due
from .service import Service, sealed_day
from .serving import runs_of
from .signoff import open_for_review


def status(service: Service) -> dict[str, Any]:
    """What is sealed and issued, what is open, and the audit log's head; plain data."""
    index = service.store.day_index()
    sealed = [row["day"] for row in index]
    holes = set(days_between(sealed[0], sealed[-1])) - set(sealed) if sealed else set()
    head = service.store.checkpoint()
    known = service.store.known_until()
    return {
        "sealed_days": len(index),
        "first_day": sealed[0].isoformat() if sealed else None,
        "last_day": sealed[-1].isoformat() if sealed else None,
        "unsealed_between": [day.isoformat() for day in sorted(holes)],
        "restated": [
            {"day": row["day"].isoformat(), "revision": row["revision"]}
            for row in index
            if row["revision"] > 1
        ],
        "known_until": known.isoformat() if known else None,
        "reports": [
            {
                "kind": row["kind"],
                "period": row["period"],
                "revision": row["revision"],
                "issued_at": row["issued_at"].isoformat(),
            }
            for row in service.store.report_index()
        ],
        "open_for_review": open_for_review(service),
        "service": _service(service),
        "audit_log": {"size": head.size, "chain_hash": head.chain_hash},
    }


def _service(service: Service) -> dict[str, Any]:
    """What the schedule expects next, how its runs and mails stand, and which of them need care."""
    runs = runs_of(service, "status")
    now = runs.clock()
    schedule = service.schedule
    rows = runs.runs(now - schedule.catch_up, now + timedelta(days=1))
    states = ("expected", "incomplete", "issued", "missed", "failed", "withdrawn", "waived")
    still = runs.read("open_runs")  # however old: what needs care is not forgotten
    late = [
        r
        for r in still
        if r["state"] == "failed" or (r["state"] == "expected" and r["revision"] is None)
    ]
    mails = runs.read("mail_counts")[0]
    open_mails = [m for m in runs.read("open_mails") if m["state"] in ("failed", "unknown")]
    return {
        "since": (now - schedule.catch_up).isoformat(),
        "next": {name: at.isoformat() for name, at in next_due(service, now).items()},
        "runs": {state: sum(r["state"] == state for r in rows) for state in states},
        "late": [
            {
                "run": r["key"],
                "due_at": r["due_at"].isoformat(),
                "deadline_at": r["deadline_at"].isoformat(),
                "past_deadline": r["deadline_at"] < now,
                "state": r["state"],
                "because": r["because"],
            }
            for r in late
        ],
        "missed": [r["key"] for r in still if r["state"] == "missed"],
        "incomplete": [r["key"] for r in still if r["state"] == "incomplete"],
        "mails": {s: mails[s] for s in ("queued", "sending", "sent", "failed", "unknown")},
        "undelivered": [
            {
                "report": f"{m['kind']}/{m['period']}/r{m['revision']}",
                "recipient": m["recipient"],
                "message_id": m["message_id"],
                "state": m["state"],
                "because": m["words"],
            }
            for m in open_mails
        ],
    }


@dataclass(frozen=True)
class Check:
    """One dependency: whether it is well, and how to mend it where it is not."""

    what: str
    ok: bool
    detail: str
    mend: str = ""


def doctor(service: Service, today: date) -> list[Check]:
    """Check every dependency; a failing one never hides the others."""

    def attempt(what: str, check: Callable[[], str], mend: str) -> Check:
        try:
            return Check(what, True, check())
        except Exception as error:  # a doctor reports whatever it finds
            words = str(error).splitlines() or [type(error).__name__]
            return Check(what, False, words[0], mend)

    def contract_holds() -> str:
        if problems := service.ledger.check():
            raise ValidationFailed("; ".join(problems[:4]))
        words = "all contract views have their columns and types"
        if absent := service.ledger.absent():
            would = "; ".join(f"ledger.{view} would add {ADDS[view]}" for view in absent)
            words += f". Optional and not there: {would}"
        return words

    def migrated() -> str:
        if problem := service.store.check():
            raise ValidationFailed(problem)
        return "schema is the one this version expects"

    def metrics() -> str:
        if service.prometheus is None:
            raise ValidationFailed("REPORTING_PROMETHEUS_URL is not set: uptime is not measured")
        return str(service.prometheus.check())

    def calendar_known() -> str:
        if ends := horizon(service.schedule, datetime.combine(today, time(12), UTC)):
            raise ValidationFailed("; ".join(ends))
        ahead = next_session(today + AHEAD, service.calendar)
        return f"{service.calendar} is known for {AHEAD.days} days ahead (next: {ahead})"

    def closures_sealed() -> str:
        written = [c for c in service.schedule.closures if c.calendar == service.settings.calendar]
        for day in sorted(c.date for c in written):
            row, note = service.store.day(day), service.trading_day(day).note
            if row is not None and (sealed := sealed_day(row).note) != note:
                raise ValidationFailed(
                    f"{day} is sealed as {sealed!r}, and the schedule says {note!r}: what is "
                    "sealed stays until the day is closed again"
                )
        return f"{len(written)} written down, none against what is sealed"

    def mails() -> str:
        people = service.schedule.recipients
        if not people:
            return "the schedule has no recipients: nothing is mailed"
        delivery = Delivery(service, runs_of(service, "doctor"))
        external = [r.name for r in people if r.class_ != "internal"]
        if external and service.settings.pseudonym_key_file is None:
            raise ValidationFailed(
                f"{', '.join(external)} may not read names, and REPORTING_PSEUDONYM_KEY_FILE is "
                "not set"
            )
        try:
            return (
                f"{delivery.relay.host} takes mail for {len(people)}: {delivery.connection.check()}"
            )
        finally:
            delivery.close()

    def bound() -> str:
        if service.store.may_rewrite():
            raise ValidationFailed("the role of REPORTING_STORE_URL may change what is sealed")
        return "may add and never change"

    def verified() -> str:
        found = in_clear(service.settings)
        refuse(found)
        words = "every connection beyond this machine is encrypted, and its server verified"
        if found:
            words += (
                f", but as REPORTING_HOSTS_IN_CLEAR allows: {'; '.join(c.words for c in found)}"
            )
        return words

    return [
        *(Check(c.name, c.ok, c.detail, c.mend) for c in render.check()),
        attempt("policy", lambda: f"digest {service.policy.digest[:12]}", "mend the file named"),
        attempt("store", migrated, "reporting doctor --migrate"),
        attempt("store role", bound, "use reporting_app, which the migration makes"),
        attempt("ledger contract", contract_holds, "see sql/ledger/examples/README.md"),
        attempt("engine", lambda: service.engine.check(), "see REPORTING_ENGINE in docs/scale.md"),
        attempt("prometheus", metrics, "set REPORTING_PROMETHEUS_URL to a server that answers"),
        attempt("calendar", calendar_known, "update exchange-calendars"),
        attempt("mail relay", mails, "see docs/mail.md; REPORTING_SMTP_HOST and _SENDER"),
        attempt("closures", closures_sealed, "reporting close --date DAY --reason WHY"),
        attempt("TLS", verified, "see docs/deploying.md, TLS"),
    ]
