"""What has to be true after a round, whatever was done to the service. Imports nothing of it.

Everything is read from the outside: the schedule's file, the tables, the files, the audit log's
bytes, the relay's own record and the history that a trigger wrote. What is expected is computed
here once more, for the one calendar of these rounds in which every day is a session.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg2
import psycopg2.extras

HOUR = timedelta(hours=1)
#: What was taken more often than this and not done keeps no other waiting.
TAKEN_AT_MOST = 9


@dataclass(frozen=True)
class Round:
    """Where a round's traces lie. ``since`` is from when on runs were expected."""

    store_url: str
    folder: Path
    schedule: Path
    zone: str
    since: datetime
    lease_s: float
    monotonic: float  # of one instant, both clocks: traces of processes have the one
    real: datetime  # and the database's rows the other


@dataclass
class Verdict:
    """``wrong`` is empty where all is well; ``figures`` are for people."""

    wrong: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Due:
    """A report that the schedule has: the key of its run, and when."""

    key: str
    entry: dict[str, Any]
    period: str
    due_at: datetime


def check(of: Round) -> Verdict:
    """Everything, after nothing is left to do."""
    found = Verdict()
    tables = _tables(of.store_url)
    schedule = tomllib.loads(of.schedule.read_text("utf-8"))
    letters = list(_lines(of.folder / "relay.jsonl"))
    log = _check_chain(tables["log"], found.wrong)
    expected = list(_expected(schedule, of.zone, of.since, tables["now"]))
    _check_runs(schedule, expected, tables, log, found)
    _check_order(expected, tables["history"], found.wrong)
    _check_files(of.folder / "reports", tables, log, found)
    _check_mails(schedule, expected, tables, letters, log, found)
    _check_leases(tables["history"], found.wrong)
    _measure_recovery(of, tables["history"], found)
    return found


# ---- the schedule, computed again ---------------------------------------------------------------


def _expected(
    schedule: dict[str, Any], zone: str, since: datetime, until: datetime
) -> Iterator[Due]:
    """Runs due after ``since`` and not after ``until``, where every day is a session."""
    for entry in schedule["report"]:
        assert entry["due_after"] == "1 session"
        hour, minute = map(int, entry["due_time"].split(":"))
        day = since.date() - timedelta(10)
        while day <= until.date() + timedelta(1):
            after = day + timedelta(1)
            local = datetime.combine(after, time(hour, minute), ZoneInfo(entry.get("zone", zone)))
            due_at = local.astimezone(UTC)
            label = _label(entry["kind"], day)
            if label and since < due_at <= until and day >= entry.get("from", date.min):
                key = f"{entry['name']}/24/7/{label}"
                yield Due(key, entry, label, due_at)
            day = after


def _label(kind: str, day: date) -> str:
    """The period that ends with ``day``, or "" where none does."""
    if kind == "daily":
        return day.isoformat()
    assert kind == "weekly"
    year, week, weekday = day.isocalendar()
    return f"{year}-W{week:02}" if weekday == 7 else ""


def _check_runs(
    schedule: dict[str, Any],
    expected: Sequence[Due],
    tables: dict[str, Any],
    log: list[dict[str, Any]],
    found: Verdict,
) -> None:
    wrong = found.wrong
    count, unit = schedule["catch_up"].split()
    assert unit.startswith("hour")
    too_old = tables["now"] - int(count) * HOUR
    runs = {row["key"]: row for row in tables["run"]}
    wanted = {due.key: due for due in expected}
    wrong += [f"run {key} is expected and was never written down" for key in wanted.keys() - runs]
    wrong += [f"run {key} is nobody's schedule" for key in runs.keys() - wanted]
    for key in sorted(wanted.keys() & runs):
        row, due = runs[key], wanted[key]
        if row["due_at"] != due.due_at:
            wrong.append(f"run {key} is due {row['due_at']}, and by the schedule {due.due_at}")
        allowed = {"missed"} if due.due_at < too_old else {"issued", "incomplete"}
        if row["state"] not in allowed:
            wrong.append(f"run {key} is {row['state']} ({row['because']}), not {allowed}")
    # Finished once, and never touched again: nobody asks for anything twice in these rounds.
    finished: Counter[str] = Counter()
    for step in tables["history"]:
        if step["queue"] != "run":
            continue
        if step["was"] == "issued":
            wrong.append(f"run {step['key']} was written to ({step['state']}) after it was issued")
        elif step["was"] == "expected" and step["state"] in ("issued", "incomplete"):
            finished[step["key"]] += 1
    for key, due in wanted.items():
        if due.due_at >= too_old and finished[key] != 1:
            wrong.append(f"run {key} was finished {finished[key]} times")
    issued = {(row["kind"], row["period"], row["revision"]) for row in tables["issued_report"]}
    said = Counter(e["body"]["report"] for e in log if e["event"] == "report issued")
    for kind, period, revision in issued:
        name = f"{kind}/{period}/r{revision}"
        if said.pop(name, 0) != 1:
            wrong.append(f"{name} is in the store, and the log does not say once that it is issued")
        if revision > 1 and (kind, period, revision - 1) not in issued:
            wrong.append(f"{name} has no revision before it")
        if revision > 1:  # nothing changes in these rounds
            wrong.append(f"{name} is a second revision, and nothing was restated")
    wrong += [f"the log has {name} as issued, and the store has not" for name in said]
    periods = {(d.entry["kind"], d.period) for d in expected if d.due_at >= too_old}
    have = {(kind, period) for kind, period, _ in issued}
    wrong += [f"{kind}/{period} was never issued" for kind, period in periods - have]
    wrong += [f"{kind}/{period} was issued, and nobody expects it" for kind, period in
              have - periods]  # fmt: skip
    missed = Counter(e["body"]["run"] for e in log if e["event"] == "run missed")
    for key in (k for k, row in runs.items() if row["state"] == "missed"):
        if missed[key] != 1:
            wrong.append(f"run {key} is missed, which the log says {missed[key]} times")
    found.figures |= {
        "expected": len(wanted),
        "issued": sum(row["state"] in ("issued", "incomplete") for row in runs.values()),
        "missed": sum(row["state"] == "missed" for row in runs.values()),
        "reports": len(issued),
    }


def _check_order(
    expected: Sequence[Due], history: Sequence[dict[str, Any]], wrong: list[str]
) -> None:
    """None was begun before an earlier one of its report was done, or had been taken ten times."""
    finished: dict[str, int] = {}
    fences: dict[str, list[tuple[int, int]]] = defaultdict(list)  # step, fence
    for number, step in enumerate(history):
        if step["queue"] != "run":
            continue
        if step["state"] != "expected":
            finished.setdefault(step["key"], number)
        fences[step["key"]].append((number, step["fence"]))
    reports: dict[str, list[Due]] = defaultdict(list)
    for due in sorted(expected, key=lambda due: due.due_at):
        reports[due.entry["name"]].append(due)
    for earlier, later in (p for mine in reports.values() for p in pairwise(mine)):
        begun = next((n for n, fence in fences[later.key] if fence > 0), None)
        if begun is None:
            continue
        taken = max((f for n, f in fences[earlier.key] if n < begun), default=0)
        if finished.get(earlier.key, begun) >= begun and taken <= TAKEN_AT_MOST:
            wrong.append(f"run {later.key} was begun before {earlier.key} was done")


# ---- files --------------------------------------------------------------------------------------


def _check_files(
    reports: Path, tables: dict[str, Any], log: list[dict[str, Any]], found: Verdict
) -> None:
    """What was issued lies there, byte for byte; a killed writer may leave a .partial beside."""
    named = {}
    for entry in log:
        if entry["event"] == "report issued":
            named[entry["body"]["report"]] = entry["body"]
    known: set[Path] = set()
    for row in tables["issued_report"]:
        name = f"{row['kind']}/{row['period']}/r{row['revision']}"
        if hashlib.sha256(row["body"]).hexdigest() != row["digest"]:
            found.wrong.append(f"{name} in the store is not what its digest says")
        body = named.get(name)
        if body is None:
            continue
        if body["facts"] != row["digest"]:
            found.wrong.append(f"{name}: the log and the store have different facts")
        wanted = {**body["files"], "provenance.json": body["provenance"]}
        for file, digest in wanted.items():
            path = reports / name / file
            known.add(path)
            if not path.is_file():
                found.wrong.append(f"{path} is not there")
            elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                found.wrong.append(f"{path} is not what was issued")
    left = [p for p in reports.rglob("*") if p.is_file() and p not in known]
    partial = [p for p in left if p.name.startswith(".") and p.name.endswith(".partial")]
    witness = {"audit-witness.jsonl", "audit-witness.jsonl.tree"}
    for path in left:
        if path not in partial and path.name not in witness:
            found.wrong.append(f"{path} was never issued")
    found.figures["partial_files_left"] = len(partial)


# ---- mail ---------------------------------------------------------------------------------------


def _check_mails(
    schedule: dict[str, Any],
    expected: Sequence[Due],
    tables: dict[str, Any],
    letters: list[dict[str, Any]],
    log: list[dict[str, Any]],
    found: Verdict,
) -> None:
    wrong = found.wrong
    runs = {row["key"]: row for row in tables["run"]}
    outbox = {
        (row["kind"], row["period"], row["revision"], row["recipient"]): row
        for row in tables["outbox"]
    }
    addresses = {r["name"]: r["address"] for r in schedule["recipient"]}
    wanted = set()
    for due in expected:
        row = runs.get(due.key)
        if row is None or row["revision"] is None:
            continue
        for name in due.entry.get("recipients", ()):
            wanted.add((due.entry["kind"], due.period, row["revision"], name))
    wrong += [f"no mail of {mail} was ever queued" for mail in wanted - outbox.keys()]
    wrong += [f"a mail of {mail} was queued, and nobody gets it" for mail in outbox.keys() - wanted]
    taken = defaultdict(list)
    refused = Counter(line["message_id"] for line in letters if line["outcome"] == "refused")
    for line in letters:
        if line["outcome"] == "accepted":
            taken[line["message_id"]].append(line)
    unknown = {e["body"]["message_id"] for e in log if e["event"] == "mail outcome unknown"}
    logged = {e["body"]["message_id"] for e in log if e["event"] == "mail sent"}
    states: Counter[str] = Counter()
    ids: Counter[str] = Counter()
    for of, row in outbox.items():
        mail, copies = row["message_id"], taken.pop(row["message_id"], [])
        ids[mail] += 1
        states[row["state"]] += 1
        if row["address"] != addresses[row["recipient"]]:
            wrong.append(f"{of} goes to {row['address']}")
        if any(line["to"] != [row["address"]] for line in copies):
            wrong.append(f"{of} went to {[line['to'] for line in copies]}")
        unmarked = [line for line in copies[1:] if not line["says_duplicate"]]
        if len(copies) > 1 and row["unknown"] == "hold":
            wrong.append(f"{of} was accepted {len(copies)} times, and its policy is hold")
        elif unmarked:
            wrong.append(f"{of} was accepted again, and does not say so")
        if row["unknown"] == "hold" and any(line["says_duplicate"] for line in copies):
            wrong.append(f"{of} says that it may be a duplicate, and nothing was sent again")
        if len(copies) > 2:
            wrong.append(f"{of} was accepted {len(copies)} times; once more is all there may be")
        match row["state"]:
            case "sent":
                if not copies:
                    wrong.append(f"{of} is sent, and the relay never took it")
                if mail not in logged:
                    wrong.append(f"{of} is sent, and the log does not say so")
            case "unknown":
                if mail not in unknown:
                    wrong.append(f"{of} is unknown, and the log does not say so")
            case "failed":
                if copies and mail not in unknown:
                    wrong.append(f"{of} is failed, and the relay took it")
                bad = row["address"].startswith("nobody") or refused[mail]
                if not bad:
                    wrong.append(f"{of} is failed ({row['words']}), and nobody refused it")
            case other:
                wrong.append(f"{of} is still {other}")
        # Each reply that nobody heard is a mail of which somebody has to be told.
        unheard = [line for line in copies if line["how"] in ("cut", "stalled")]
        if unheard and mail not in unknown:
            wrong.append(f"{of} was taken and the answer never came, and nobody was told")
        if copies and row["state"] != "sent" and mail not in unknown:
            wrong.append(f"{of} was taken and is {row['state']}, and nobody was told")
    wrong += [f"Message-ID {mail} is of {n} mails" for mail, n in ids.items() if n > 1]
    wrong += [f"the relay took {mail}, which is in no outbox" for mail in taken]
    found.figures |= {
        "mails": len(outbox),
        "mail_states": dict(states),
        "letters_taken": sum(line["outcome"] == "accepted" for line in letters),
    }


# ---- the audit log ------------------------------------------------------------------------------


def _check_chain(rows: Sequence[dict[str, Any]], wrong: list[str]) -> list[dict[str, Any]]:
    """Every leaf and link again, as docs/audit.md says; the entries."""
    chain = bytes(32)
    entries = []
    for number, row in enumerate(rows, 1):
        entry = bytes(row["entry"])
        leaf = hashlib.sha256(b"\x00" + entry).digest()
        chain = hashlib.sha256(b"\x02" + chain + leaf).digest()
        said = json.loads(entry)
        entries.append(said)
        if row["seq"] != number or said["seq"] != number:
            wrong.append(f"the log's entry {number} has number {row['seq']}")
            break
        if bytes(row["leaf_hash"]) != leaf or bytes(row["chain_hash"]) != chain:
            wrong.append(f"the log's chain breaks at entry {number}")
            break
    return entries


# ---- leases -------------------------------------------------------------------------------------


def _check_leases(history: Sequence[dict[str, Any]], wrong: list[str]) -> None:
    """A fence never goes back, and nobody takes what another still holds."""
    fences: dict[tuple[str, str], int] = {}
    for step in history:
        of = (step["queue"], step["key"])
        if step["fence"] < fences.get(of, 0):
            wrong.append(f"the fence of {of} went back to {step['fence']}")
        taken = step["holder"] and step["fence"] > fences.get(of, 0)
        fences[of] = step["fence"]
        before, until = step["holder_before"], step["leased_before"]
        if taken and before and before != step["holder"] and until and until > step["at"]:
            wrong.append(f"{step['holder']} took {of} while {before} held it")


def _measure_recovery(of: Round, history: Sequence[dict[str, Any]], found: Verdict) -> None:
    """For each kill: how long what the dead one held lay there until somebody went on with it."""
    steps = defaultdict(list)
    for step in history:
        steps[(step["queue"], step["key"])].append(step)
    held: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, mine in steps.items():
        for holder in {step["holder"] for step in mine if step["holder"]}:
            held[holder].append(key)
    waits = []
    for kill in _lines(of.folder / "kills.jsonl"):
        at = of.real + timedelta(seconds=kill["at"] - of.monotonic)
        for key in held.get(kill["holder"], ()):
            if key[0] == "lease":
                continue  # free for who needs it; often nobody does
            before = [step for step in steps[key] if step["at"] <= at]
            if not before or before[-1]["holder"] != kill["holder"]:
                continue
            after = [s for s in steps[key] if s["at"] > at and _goes_on(s, kill["holder"])]
            if after:
                waits.append((after[0]["at"] - at).total_seconds())
            else:
                found.wrong.append(f"{kill['holder']} died holding {key}: nobody went on with it")
    waits.sort()
    if waits:
        p99 = waits[min(int(len(waits) * 0.99), len(waits) - 1)]
        found.figures["recoveries"] = len(waits)
        found.figures["recovery_p50_s"] = round(waits[len(waits) // 2], 2)
        found.figures["recovery_p99_s"] = round(p99, 2)
        found.figures["recovery_max_s"] = round(waits[-1], 2)
        found.figures["waits"] = waits


def _goes_on(step: dict[str, Any], dead: str) -> bool:
    """Whether a step is more than the dead one's lease being ended: taken, settled or done."""
    return step["holder"] != dead or step["state"] != step["was"]


# ---- reading ------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return
    for line in text.splitlines():
        yield json.loads(line)


def _tables(url: str) -> dict[str, Any]:
    """Everything, of one instant."""
    connection = psycopg2.connect(url, cursor_factory=psycopg2.extras.RealDictCursor)
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            found: dict[str, Any] = {}
            for name, sql in (
                ("run", "select * from reporting.run"),
                ("outbox", "select * from reporting.outbox order by id"),
                ("issued_report", "select * from reporting.issued_report"),
                ("log", "select seq, entry, leaf_hash, chain_hash from audit.log order by seq"),
                ("history", "select * from torture.history order by id"),
            ):
                cursor.execute(sql)
                found[name] = [
                    {k: bytes(v) if isinstance(v, memoryview) else v for k, v in row.items()}
                    for row in cursor.fetchall()
                ]
            cursor.execute("select clock_timestamp() as now")
            found["now"] = cursor.fetchone()["now"]
            return found
    finally:
        connection.close()
