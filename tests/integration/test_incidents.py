"""Incidents from a file, from hand and from the store, by the commands and on a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from typer.testing import CliRunner

from reporting.cli.incidents import app
from reporting.errors import ReportingError, UsageError, ValidationFailed
from reporting.measures.incidents import Incident, IncidentsFact, of_day
from reporting.model import Frame, Missing, Window
from reporting.periods import trading_day
from reporting.policy.operations import parse_operations
from reporting.sources.incidents import parse_csv, promises

from ..line.site import ROOT, Site, at

NOW = "2025-12-08T06:00:00-05:00"
HEADER = "id,priority,title,alert,target,opened_at,acknowledged_at,resolved_at,false_positive,cause"
FEED = (
    "INC-1,P1,feed down,data_quality,data_pipeline,2025-12-05T10:00:00-05:00,"
    "2025-12-05T10:05:00-05:00,2025-12-05T10:30:00-05:00,false,a cable"
)
OVERNIGHT = (
    "INC-2,P3,slow page,,grafana,2025-12-05T23:50:00-05:00,,2025-12-06T08:00:00-05:00,,unknown"
)
COVERED = ("--covers-until", "2025-12-05")


@pytest.fixture
def site(empty_store: str, make_site: Callable[..., Site]) -> Site:
    """An empty store; nothing here needs a ledger."""
    return make_site(empty_store, empty_store)


def run(site: Site | None, *words: str, now: str = NOW) -> Any:
    """A command's JSON; what it refuses is raised. Without a site nothing may be opened."""
    environment = site.environment() if site else {}
    result = CliRunner().invoke(app, [*words, "--json", "--now", now], env=environment)
    if isinstance(result.exception, ReportingError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def file(folder: Path, *lines: str) -> str:
    path = folder / "incidents.csv"
    path.write_text("\n".join((HEADER, *lines)) + "\n", "utf-8")
    return str(path)


def day(text: str) -> Any:
    return trading_day(datetime.fromisoformat(text).date(), "XNYS", "America/New_York")


def known(site: Site, text: str, now: str = NOW) -> IncidentsFact | Missing:
    """The fact of a day as known at a moment."""
    frame = site.store.incidents(day(text).window, at(now))
    operations = parse_operations((ROOT / "config" / "operations.toml").read_text("utf-8"))
    found = of_day(day(text), {"incidents": frame, "incident_targets": promises(operations)})
    assert isinstance(found, IncidentsFact | Missing)
    return found


def ids(fact: IncidentsFact | Missing) -> list[str]:
    assert isinstance(fact, IncidentsFact)
    return [incident.id for incident in fact.incidents]


def test_a_day_is_measured_once_an_import_covers_it(site: Site, tmp_path: Path) -> None:
    path = file(tmp_path, FEED, OVERNIGHT)

    assert str(known(site, "2025-12-05")) == "not measured: no incidents source configured"
    said = run(site, "import", path, "--covers-until", "2025-12-06")

    assert (said["read"], said["added"]) == (2, 2)
    # From the first incident's local day to the end of the last: 5 and 6 December, New York.
    assert said["covers_from"] == "2025-12-05T05:00:00+00:00"
    assert said["covers_until"] == "2025-12-07T05:00:00+00:00"
    assert ids(known(site, "2025-12-05")) == ["INC-1", "INC-2"]
    assert ids(known(site, "2025-12-06")) == ["INC-2"]
    assert isinstance(known(site, "2025-12-07"), Missing)
    assert isinstance(known(site, "2025-12-04"), Missing)


def test_to_know_of_an_incident_is_not_to_know_of_all(site: Site, tmp_path: Path) -> None:
    run(site, "import", file(tmp_path, FEED))

    assert isinstance(known(site, "2025-12-05"), Missing)
    assert run(site, "list", "--date", "2025-12-05")["complete"] is False
    run(site, "none", "--date", "2025-12-05")
    assert ids(known(site, "2025-12-05")) == ["INC-1"]
    assert run(site, "list", "--date", "2025-12-05")["complete"] is True


def test_a_day_that_two_imports_cover_in_part_is_covered(site: Site, tmp_path: Path) -> None:
    path = file(tmp_path, FEED)
    run(site, "import", path, *COVERED, now="2025-12-05T12:00:00-05:00")
    assert isinstance(known(site, "2025-12-05"), Missing)  # the afternoon is not
    assert "2025-12-05T17:00" in str(known(site, "2025-12-05"))

    run(site, "import", path, "--covers-from", "2025-12-05", *COVERED)

    assert ids(known(site, "2025-12-05")) == ["INC-1"]
    # A hole in the middle is no coverage until it is filled, in whatever order.
    for hours in ((0, 8), (12, 24), (8, 12)):
        assert isinstance(known(site, "2025-12-03"), Missing)
        start, end = (at("2025-12-03T00:00:00-05:00") + timedelta(hours=h) for h in hours)
        site.store.record_incidents("t", "x", [], at(NOW), covers=Window(start=start, end=end))
    assert ids(known(site, "2025-12-03")) == []


def test_the_version_recorded_last_holds_and_the_past_is_asked_as_it_was(
    site: Site, tmp_path: Path
) -> None:
    run(site, "import", file(tmp_path, FEED), *COVERED, now="2025-12-06T06:00:00-05:00")
    corrected = FEED.replace("a cable", "a fibre").replace("P1", "P2")

    again = run(site, "import", file(tmp_path, FEED))
    changed = run(site, "import", file(tmp_path, corrected))

    assert (again["added"], changed["added"]) == (0, 1)
    then, now = (known(site, "2025-12-05", t) for t in ("2025-12-07T06:00:00-05:00", NOW))
    assert isinstance(then, IncidentsFact) and isinstance(now, IncidentsFact)
    assert [(i.priority, i.cause) for i in then.incidents] == [("P1", "a cable")]
    assert [(i.priority, i.cause) for i in now.incidents] == [("P2", "a fibre")]
    assert site.store_sql("select count(*) from reporting.incident")[0][0] == 2
    assert site.store.first_incident_change(at("2025-12-07T00:00:00Z"), at(NOW)) == at(
        "2025-12-05T10:00:00-05:00"
    )


def test_one_is_added_by_hand_and_corrected(site: Site) -> None:
    words = ["add", "--id", "H-1", "--priority", "p1", "--title", "by hand"]
    words += ["--opened", "2025-12-05T14:00:00-05:00"]

    run(site, *words)
    run(site, *words, "--level-2", "2025-12-05T14:06:00-05:00", "--false-positive", "yes")
    run(site, "none", "--date", "2025-12-05")

    fact = known(site, "2025-12-05")
    assert isinstance(fact, IncidentsFact)
    assert [(i.source, i.priority, i.level, i.false_positive) for i in fact.incidents] == [
        ("hand", "P1", 2, True)
    ]


def test_words_that_no_database_takes_are_made_storable(site: Site) -> None:
    words = ["add", "--id", "H-1", "--priority", "P3", "--title", "a\x00b\ud800c"]

    run(site, *words, "--opened", "2025-12-05T14:00:00-05:00")
    run(site, "none", "--date", "2025-12-05")

    fact = known(site, "2025-12-05")
    assert isinstance(fact, IncidentsFact)
    assert fact.incidents[0].title == "a\ufffdb?c"


def test_every_command_is_in_the_audit_log(site: Site, tmp_path: Path) -> None:
    run(site, "import", file(tmp_path, FEED), *COVERED)
    run(site, "none", "--date", "2025-12-06")

    logged = [json.loads(entry.entry) for entry in site.store.log()]

    assert [(e["event"], e["actor"]) for e in logged] == [
        ("incidents imported", "reporting_app"),
        ("no more incidents", "reporting_app"),
    ]
    assert logged[0]["body"]["file"] == "incidents.csv"
    assert logged[0]["body"]["added"] == 1
    assert len(logged[0]["body"]["digest"]) == 64


def test_a_dry_run_writes_nothing(site: Site, tmp_path: Path) -> None:
    run(site, "import", file(tmp_path, FEED), *COVERED, "--dry-run")
    run(site, "none", "--date", "2025-12-05", "--dry-run")

    assert list(site.store.log()) == []
    assert isinstance(known(site, "2025-12-05"), Missing)


def test_what_was_recorded_can_not_be_changed(site: Site, tmp_path: Path) -> None:
    run(site, "import", file(tmp_path, FEED), *COVERED)
    tried = [
        (user, statement.format(table))
        for user in ("reporting_app", "postgres")
        for table in ("reporting.incident", "reporting.incident_import")
        for statement in ("update {0} set source = 'x'", "delete from {0}", "truncate {0}")
    ]

    for user, statement in tried:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            site.store_sql(statement, user)

    assert len(tried) == 2 * 2 * 3
    assert ids(known(site, "2025-12-05")) == ["INC-1"]
    assert not site.store.may_rewrite()


def test_a_file_with_a_mistake_is_not_recorded_in_part(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ValidationFailed, match=r"incidents.csv: line 3: .* Nothing was recorded"):
        run(site, "import", file(tmp_path, OVERNIGHT, FEED.replace("P1", "urgent")))

    assert site.store_sql("select count(*) from reporting.incident")[0][0] == 0


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("2025-12-05T10:00:00-05:00", "noon", ["opened_at is 'noon'", "2025-12-05T14:03:00-05:00"]),
        ("10:05:00-05:00", "10:05:00", ["acknowledged_at is '2025-12-05T10:05:00'", "offset"]),
        ("10:05:00", "09:05:00", ["acknowledged_at is before opened_at"]),
        ("2025-12-05T10:30", "2026-12-05T10:30", ["resolved_at", "expected the past"]),
        ("P1", "urgent", ["priority is 'urgent'"]),
        ("false", "maybe", ["false_positive is 'maybe'", "true, false or nothing"]),
        ("a cable", "a cable,more", ["more or fewer fields"]),
        ("INC-1", "", ["id is ''"]),
        ("2025-12-05T10:00:00-05:00", "", ["opened_at is empty"]),
    ],
)
def test_a_mistake_in_a_file_is_named(before: str, after: str, words: list[str]) -> None:
    text = "\n".join((HEADER, OVERNIGHT, FEED.replace(before, after)))

    with pytest.raises(ValidationFailed) as refused:
        parse_csv(text, "f.csv", "csv", at(NOW))

    for word in ("f.csv: line 3: ", *words, "Nothing was recorded"):
        assert word in str(refused.value)


def test_every_mistake_is_named_at_once_and_one_twice_is_one() -> None:
    text = "\n".join((HEADER, FEED.replace("P1", "P"), OVERNIGHT, OVERNIGHT))

    with pytest.raises(ValidationFailed, match=r"line 2: .*line 4: id 'INC-2' stands there twice"):
        parse_csv(text, "f.csv", "csv", at(NOW))


def test_columns_that_are_missing_or_unknown_are_named() -> None:
    with pytest.raises(ValidationFailed, match="no column 'opened_at'"):
        parse_csv("id,priority,title\n", "f.csv", "csv", at(NOW))
    with pytest.raises(ValidationFailed, match=r"unknown columns \['severity'\]"):
        parse_csv("id,priority,title,opened_at,severity\n", "f.csv", "csv", at(NOW))


def test_a_file_with_a_mark_and_odd_words_is_read_as_it_is() -> None:
    text = f'\ufeff{HEADER}\r\n"I,1",P2,"=1+1 ""x""\nsecond line",,,2025-12-05T10:00:00Z,,,,<b>\r\n'

    (incident,) = parse_csv(text, "f.csv", "csv", at(NOW))

    assert incident == Incident(
        source="csv",
        id="I,1",
        priority="P2",
        title='=1+1 "x"\nsecond line',
        opened_ms=int(at("2025-12-05T10:00:00Z").timestamp()) * 1000,
        cause="<b>",
    )


ADD = ["add", "--id", "1", "--title", "", "--priority"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none", "--date", "2025-12-08"], "has not ended"),
        (["pull", "--since", "2025-12-09"], "expected a past day"),
        (["pull", "--since", "2025-12-01"], "REPORTING_PAGERDUTY_TOKEN_FILE"),
        (["import", "nowhere.csv"], "nowhere.csv can't be read"),
        ([*ADD, "P9", "--opened", "2025-12-05T14:00:00Z"], "--priority"),
        ([*ADD, "P1", "--opened", "noon"], "--opened is 'noon'"),
    ],
)
def test_what_can_not_be_meant_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run(None, *words)


def test_the_promises_come_from_the_operations_file() -> None:
    operations = parse_operations((ROOT / "config" / "operations.toml").read_text("utf-8"))

    frame = promises(operations)

    assert isinstance(frame, Frame)
    assert frame.table.to_dict("records")[1] == {
        "id": "P2",
        "respond_ms": 30 * 60_000,
        "escalate_ms": 60 * 60_000,
        "escalated_within_ms": 5 * 60_000,
        "resolve_ms": 4 * 3_600_000,
    }
