"""The whole line once, on sample data: generate, load, close every day, issue, verify.

What the demo makes lies under ``var/demo`` and is used again while the generators are unchanged.
Its servers live as long as this process.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from .. import pipeline
from ..errors import UsageError
from ..model import epoch_ms
from ..periods import calendar_day, days_between
from ..pipeline import Issued, Service, Verified
from ..postgres import Database, database, start_embedded
from ..resources import resource
from ..settings import Settings, load
from ..sources.incidents import parse_csv
from . import ledger, metrics
from .prometheus import build_blocks, running_prometheus

ISSUER = "Sample Trading, operations"
#: The reports that the demo issues, by a day inside their period.
REPORTS = (
    ("daily", date(2025, 12, 5)),
    ("weekly", date(2025, 12, 5)),
    ("monthly", date(2025, 11, 28)),
)

#: What improvement is measured against in the demo: a month of trading, two weeks of metrics.
TRADING_BASELINE = (date(2025, 9, 2), date(2025, 9, 30))
METRICS_BASELINE = (metrics.FIRST_DAY, date(2025, 11, 14))
BASELINES = {
    "slippage": TRADING_BASELINE,
    "execution_speed": METRICS_BASELINE,
    "error_detection_time": METRICS_BASELINE,
    "system_reliability": METRICS_BASELINE,
    "incident_response_time": METRICS_BASELINE,
    "issue_resolution": METRICS_BASELINE,
    "false_positive_alerts": METRICS_BASELINE,
    "resource_utilisation": METRICS_BASELINE,
}

#: Says that a folder of reports is the demo's own.
MARKER = ".made-by-demo"
#: What, beside the package, a report depends on.
RESOURCES = ("sql", "templates", "config")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """What a run of the demo made."""

    closed_days: int
    sealed_now: int
    issued: tuple[Issued, ...]
    verified: tuple[Verified, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that was checked is as it should be."""
        return all(v.ok for v in self.verified)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "ok": self.ok,
            "closed_days": self.closed_days,
            "sealed_now": self.sealed_now,
            "reports": [
                {
                    "report": i.document.id,
                    "outcome": i.outcome,
                    "verdict": i.document.verdict.value,
                    "folder": str(i.folder),
                }
                for i in self.issued
            ],
            "problems": [vars(v) for v in self.verified if not v.ok],
        }

    def in_words(self) -> str:
        """For people: what was made, where it lies, what to open first."""
        lines = [
            f"{self.closed_days} days are sealed, {self.sealed_now} revisions now; reports:",
            *(
                f"  {i.outcome:<12} {i.folder}/  {i.document.status.value}: {i.document.answer}"
                for i in self.issued
            ),
            f"{len(self.verified)} checks, {sum(not v.ok for v in self.verified)} failed.",
            *(f"  wrong: {v.what}: {v.problem}" for v in self.verified if not v.ok),
            "",
            f"Open first: {self.issued[0].folder}/report.html (and report.pdf beside it).",
            "Then: make report KIND=daily DATE=2025-11-20   and   make verify",
        ]
        return "\n".join(lines)


def plan() -> dict[str, Any]:
    """What a run would do, for machines."""
    return {
        "would_close": [ledger.FIRST.isoformat(), metrics.LAST_DAY.isoformat()],
        "would_issue": [f"{kind} of {day}" for kind, day in REPORTS],
    }


def plan_in_words() -> str:
    """What a run would do."""
    would = plan()
    return (
        f"would generate a ledger and a metrics history, close {would['would_close'][0]} to "
        f"{would['would_close'][1]}, and issue: {', '.join(would['would_issue'])}"
    )


def run(var: Path, reports: Path, progress: Progress) -> Made:
    """Run the demo with its data under ``var`` and its reports under ``reports``."""
    var.mkdir(parents=True, exist_ok=True)
    tools = var.parent
    start_over_if_changed(var, reports)
    with ThreadPoolExecutor(1) as worker:
        # promtool works while the ledger is generated and loaded: two cores, two jobs.
        blocks = worker.submit(_metrics, var, tools)
        progress("generating and loading the sample ledger")
        url = _ledger(var)
        progress("building the metrics history (promtool)")
        blocks.result()
    write_config(var, reports)
    progress("starting Prometheus")
    with running_prometheus(var / "tsdb", tools) as prometheus_url:
        service = Service(_settings(var, reports, url, prometheus_url))
        told = metrics.Truth.read(var / "metrics" / metrics.TRUTH_FILE)
        sealed, days = close_all(service, told, progress)
        issued = tuple(
            pipeline.issue(service, kind, day, ledger.NOW.astimezone(UTC), progress=progress)
            for kind, day in REPORTS
        )
        return Made(days, sealed, issued, tuple(pipeline.verify(service, progress=progress)))


def start_over_if_changed(var: Path, reports: Path) -> None:
    """Forget what other code made: the same report from other code would be a revision.

    Only what the demo itself made is removed; a folder that holds anything else is refused.
    """
    marker = reports / MARKER
    if reports.is_dir() and any(reports.iterdir()) and not marker.is_file():
        raise UsageError(
            f"{reports} holds files that the demo did not make; expected an empty folder or one "
            "of an earlier demo: reporting demo --reports-dir reports/demo"
        )
    stamp = _stamp(Path(pipeline.__file__).parents[1], *(resource(n) for n in RESOURCES))
    if _is_current(var / "code.stamp", stamp) and marker.is_file():
        return
    (var / "code.stamp").unlink(missing_ok=True)
    server = start_embedded(var / "postgres")
    server.drop_database("reporting")
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    marker.write_text("Made by `reporting demo`, which removes and replaces it.\n", "utf-8")
    (var / "code.stamp").write_text(stamp)


def close_all(service: Service, told: metrics.Truth, progress: Progress) -> tuple[int, int]:
    """Close every day at 06:00 of the next, as if live; (sealed or revised now, days in all).

    Before each, the incidents of ``told`` are recorded as far as they were known by then.
    """
    known = service.store.known_until()
    days = list(days_between(ledger.FIRST, metrics.LAST_DAY))
    changed = 0
    for number, day in enumerate(days, 1):
        now = closing_time(day)
        if known is not None and known >= now:
            continue
        if day >= metrics.FIRST_DAY:
            _record_incidents(service, told, day, now)
        results = pipeline.close(service, day, now)
        changed += sum(r.outcome != "unchanged" for r in results)
        progress(f"closing {day} ({number} of {len(days)})")
    return changed, len(days)


def _record_incidents(service: Service, told: metrics.Truth, day: date, now: datetime) -> None:
    text = metrics.alerts.incidents_csv(told, epoch_ms(now))
    service.store.record_incidents(
        "incidents imported",
        metrics.alerts.INCIDENTS_SOURCE,
        parse_csv(text, metrics.INCIDENTS_FILE, metrics.alerts.INCIDENTS_SOURCE, now),
        now,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        covers=calendar_day(day, metrics.ZONE),
        note={"file": metrics.INCIDENTS_FILE},
    )


def closing_time(day: date) -> datetime:
    """06:00 New York on the next calendar day."""
    return datetime.combine(day + timedelta(1), time(6), ZoneInfo(ledger.ZONE)).astimezone(UTC)


def _settings(var: Path, reports: Path, ledger_url: str, prometheus_url: str) -> Settings:
    return load(
        ledger_url=ledger_url,
        prometheus_url=prometheus_url,
        issuer=ISSUER,
        calendar=ledger.CALENDAR,
        zone=ledger.ZONE,
        base_currency=ledger.BASE,
        reports_dir=reports,
        var_dir=var,
        operations_file=operations_file(var),
    )


def write_config(var: Path, reports: Path) -> None:
    """Settings with which `make report` and `make verify` go on from here."""
    (var / "reporting.toml").write_text(
        "# Written by the demo: the settings that its data were made with.\n"
        f'issuer = "{ISSUER}"\n'
        f'calendar = "{ledger.CALENDAR}"\n'
        f'zone = "{ledger.ZONE}"\n'
        f'base_currency = "{ledger.BASE}"\n'
        f'reports_dir = "{reports.as_posix()}"\n'
        f'var_dir = "{var.as_posix()}"\n'
        f'operations_file = "{operations_file(var).as_posix()}"\n',
        "utf-8",
    )
    operations_file(var).write_text(operations(), "utf-8")


def operations_file(var: Path) -> Path:
    """Where the demo keeps its operations: those of config with baselines."""
    return var / "operations.toml"


def operations() -> str:
    """The shipped operations file with the demo's baselines in it."""
    text = (resource("config") / "operations.toml").read_text("utf-8")
    for name, (first, last) in BASELINES.items():
        key = f'id = "{name}"\n'
        assert text.count(key) == 1, name
        text = text.replace(key, f"{key}baseline = {{first = {first}, last = {last}}}\n")
    return text


def _ledger(var: Path) -> str:
    """The URL of the loaded sample ledger; made anew only where its generator changed."""
    server = start_embedded(var / "postgres")
    url = server.database_url("ledger")
    stamp = _stamp(Path(ledger.__file__).parent, resource("sql") / "ledger" / "examples")
    if _is_current(var / "ledger.stamp", stamp):
        return url
    folder = var / "ledger"
    ledger.generate(folder)
    load_ledger(database(url, "ledger"), folder)
    (var / "ledger.stamp").write_text(stamp)
    return url


def load_ledger(target: Database, folder: Path) -> None:
    """Create the firm's tables and the contract views, and load the generated files."""
    ddl = (resource("sql") / "ledger" / "examples" / "demo.sql").read_text("utf-8")
    with target.transaction() as session:
        session.script("drop schema if exists firm cascade; drop schema if exists ledger cascade")
        session.script(ddl)
        for table, path in ledger.tables(folder).items():
            session.copy_in(table, path)
    with target.transaction() as session:
        session.script("analyze")


def _metrics(var: Path, tools: Path) -> None:
    """Storage blocks of the generated history; made anew only where its generator changed."""
    stamp = _stamp(Path(metrics.__file__).parent)
    told = var / "metrics" / metrics.TRUTH_FILE
    if _is_current(var / "tsdb.stamp", stamp) and told.is_file():
        return
    shutil.rmtree(var / "tsdb", ignore_errors=True)
    metrics.generate(var / "metrics", seed=ledger.SEED)
    build_blocks(var / "metrics" / metrics.SAMPLES_FILE, var / "tsdb", tools)
    (var / "tsdb.stamp").write_text(stamp)


def _is_current(path: Path, stamp: str) -> bool:
    return path.is_file() and path.read_text() == stamp


def _stamp(*roots: Path) -> str:
    """SHA-256 over the sources that made something."""
    total = hashlib.sha256()
    for root in roots:
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()
