"""One round: three replicas at work, everything done to them, then what came of it is checked."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from .checker import Round, Verdict, check
from .failpoints import note, read_lines, started
from .sealing import days_between, seal, settings_of, warm
from .world import ROOT, ZONE, Postgres, make_ledger, yesterday

LIBFAKETIME = [
    *(ROOT / "var" / "tools" / "usr" / "lib").glob("faketime/libfaketime.so.1"),
    *Path("/usr/lib").glob("*/faketime/libfaketime.so.1"),
]


@dataclass(frozen=True)
class Plan:
    """What is done in a round. Rates are chances a hit or a letter."""

    kills: int = 500
    periods: int = 3  # days that have reports, the newest of which may still have to be closed
    audiences: int = 4  # scheduled reports of each
    recipients: int = 40  # of each audience
    closes: bool = False  # whether the newest days are still to be closed
    too_old: int = 1  # days whose reports nobody may make up for any more
    rate: float = 0.05
    fresh: float = 0.5
    lease_s: float = 3.0
    workers: int = 2
    random_kills: float = 0.15  # for each that died at a point
    crashes: int = 2
    cuts: int = 4
    freezes: int = 2
    full_disks: int = 1
    steps: int = 2
    bug: str = ""
    freeze_at: tuple[str, ...] = ("commit.after:runs.take", "commit.after:runs.begin_mail")
    kill_at: tuple[str, ...] = ()
    remember: bool = True
    drain_s: float = 120.0
    at_most_s: float = 90.0
    mail: Mapping[str, float] = field(
        default_factory=lambda: {
            "rcpt_4xx": 0.02,
            "data_4xx": 0.02,
            "data_5xx": 0.01,
            "stall": 0.003,
            "cut_before": 0.02,
            "cut_after": 0.02,
        }
    )


class Asked:
    """A process that answers a line of JSON for each that it is sent."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.log = log
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("ab"),
            text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        )  # fmt: skip

    def answer(self) -> str:
        """The next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{self.process.args!r} ended"
        return line.strip()

    def ask(self, **command: Any) -> str:
        """One command, one line."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            ended = f"{self.process.args!r} ended with {self.process.poll()}"
            raise AssertionError(f"{ended}: {self.log.read_text()[-1500:]}") from None
        return self.answer()

    def stop(self) -> None:
        """No more commands."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class World:
    """What rounds have in common: the server, the sealed days, the launchers, the surroundings."""

    folder: Path
    postgres: Postgres
    surroundings: Asked
    ports: dict[str, int]
    launcher: Asked
    faked: Asked | None
    rounds: int = 0

    @property
    def offset(self) -> Path:
        """What libfaketime reads."""
        return self.folder / "offset"


#: Only what is done on purpose: one is frozen past its lease, or killed, at a place of our choice.
CALM = {"rate": 0.0, "fresh": 0.0, "random_kills": 0.0, "crashes": 0, "cuts": 0, "freezes": 0,
        "full_disks": 0, "steps": 0, "kills": 10**9, "periods": 1, "too_old": 0, "audiences": 1,
        "recipients": 3, "mail": {}, "freeze_at": ()}  # fmt: skip
#: Bugs that a checker has to catch: what is done, and the words of what it has to find.
BUGS: dict[str, tuple[dict[str, Any], str]] = {
    "lease without fence": ({"freeze_at": ("commit.after:runs.take",)}, "after it was issued"),
    "send before commit": ({"kill_at": ("smtp.reply.after",)}, "and its policy is hold"),
}


def bugged(bug: str, *, planted: bool = True) -> Plan:
    """The round in which ``bug`` shows; without it planted nothing may be found."""
    how, _ = BUGS[bug]
    return Plan(**{**CALM, **how, "bug": bug if planted else ""})


@contextmanager
def world(days: int = 12, warmed: int = 3, with_steps: bool = True) -> Iterator[World]:
    """Make all of it, and take it away."""
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    folder.chmod(0o755)
    (folder / "offset").write_text("+0\n")
    started: list[Asked] = []

    def start(words: Sequence[str], **environ: str) -> Asked:
        made = Asked([sys.executable, "-W", "ignore", "-m", *words], environ, folder / "log")
        started.append(made)
        return made

    postgres = Postgres(folder / "postgres")
    try:
        launcher = start(["tests.torture.launcher"])
        faked = None
        if with_steps and LIBFAKETIME:
            faked = start(
                ["tests.torture.launcher"],
                LD_PRELOAD=str(LIBFAKETIME[0]),
                FAKETIME_TIMESTAMP_FILE=str(folder / "offset"),
                FAKETIME_CACHE_DURATION="1",
                FAKETIME_DONT_FAKE_MONOTONIC="1",
                DONT_FAKE_MONOTONIC="1",
            )
        postgres.init()
        postgres.start()
        record = folder / "nothing.jsonl"
        surroundings = start(["tests.torture.surroundings", str(record), str(postgres.port), "1"])
        make_ledger(postgres, "ledger", yesterday(days), yesterday(1))
        seal(postgres, folder, days_between(yesterday(days), yesterday(1)))
        (folder / "memory").mkdir()
        warm(postgres, folder, days_between(yesterday(warmed), yesterday(1)))
        ports = json.loads(surroundings.answer())
        for each in (launcher, faked):
            if each is not None:
                assert each.answer() == "ready"
        yield World(folder, postgres, surroundings, ports, launcher, faked)
    finally:
        for each in started:
            each.stop()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Replica:
    """One supervisor, started again whenever it is gone."""

    number: int
    launcher: Asked
    pid: int = 0
    started: int = 0


@dataclass
class Trial:
    """A round under way."""

    world: World
    plan: Plan
    seed: int
    folder: Path
    store: str
    since: datetime
    random: random.Random
    replicas: list[Replica] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    began: float = 0.0
    frozen: dict[tuple[int, int], float] = field(default_factory=dict)  # who, when to wake it
    disk_until: float = 0.0
    down_until: float = 0.0
    mounted: bool = False

    @property
    def kills(self) -> list[dict[str, Any]]:
        return read_lines(self.folder / "kills.jsonl")


def run(made: World, plan: Plan, seed: int, say: Any = lambda words: None) -> Verdict:
    """One round from its empty queues to its verdict."""
    made.rounds += 1
    trial = _prepare(made, plan, seed)
    try:
        began = time.monotonic()
        _torment(trial, say)
        tormented_s = time.monotonic() - began
        drained = _drain(trial)
        _stop(trial)
        verdict = check(
            Round(
                store_url=made.postgres.url(trial.store),
                folder=trial.folder,
                schedule=trial.folder / "schedule.toml",
                zone=ZONE,
                since=trial.since,
                lease_s=plan.lease_s,
                monotonic=time.monotonic(),
                real=datetime.now(UTC),
            )
        )
        if not drained:
            verdict.wrong.append(f"not all was done {plan.drain_s:.0f} s after the last fault")
        verdict.figures |= _figures(trial, tormented_s, time.monotonic() - began)
        return verdict
    finally:
        _clear(trial)


def _figures(trial: Trial, tormented_s: float, all_s: float) -> dict[str, Any]:
    kills = trial.kills
    points = Counter(kill["point"] for kill in kills)
    return {
        "kills": len(kills),
        "points": dict(points),
        **{name: trial.counts[name] for name in (
            "crashes", "cuts", "freezes", "full_disks", "steps", "restarts")},
        "relay": json.loads(trial.world.surroundings.ask(count=True))["drawn"],
        "tormented_s": round(tormented_s, 1),
        "seconds": round(all_s, 1),
    }  # fmt: skip


# ---- before -------------------------------------------------------------------------------------


def _prepare(made: World, plan: Plan, seed: int) -> Trial:
    folder = made.folder / f"round{made.rounds}"
    folder.mkdir()
    (folder / "reports").mkdir()
    store = f"store{made.rounds}"
    template = "open" if plan.closes else "sealed"
    made.postgres.run(f"create database {store} template {template}")
    newest = yesterday(1)
    oldest = newest - timedelta(plan.periods + plan.too_old - 1)
    zone = ZoneInfo(ZONE)
    # Due dates are the morning after; from an hour before the first of them on.
    since = datetime.combine(oldest + timedelta(1), clock(5, 30), zone).astimezone(UTC)
    first_wanted = oldest + timedelta(plan.too_old)
    edge = datetime.combine(first_wanted, clock(18, 0), zone)  # between the one and the next
    hours = int((datetime.now(UTC) - edge).total_seconds() // 3600)
    made.postgres.run("insert into reporting.reconciled (until) values (%s)", store, since)
    (folder / "schedule.toml").write_text(_schedule(plan, hours), "utf-8")
    (folder / "plan.json").write_text(
        json.dumps(
            {
                "rate": plan.rate,
                "fresh": plan.fresh,
                "freeze": plan.freeze_at,
                "kill": plan.kill_at,
            }
        ),
        "utf-8",
    )
    made.surroundings.ask(record=str(folder / "relay.jsonl"), rates=dict(plan.mail))
    made.offset.write_text("+0\n")
    trial = Trial(made, plan, seed, folder, store, since, random.Random(seed))
    if plan.full_disks:
        trial.mounted = _mount(folder / "reports")
    launchers = [made.launcher, made.launcher, made.faked or made.launcher]
    trial.replicas = [Replica(n, each) for n, each in enumerate(launchers, 1)]
    trial.began = time.monotonic()
    return trial


def _schedule(plan: Plan, hours: int) -> str:
    """Audiences of the daily report; every second one would rather have a mail twice."""
    lines = [f'catch_up = "{hours} hours"']
    for audience in range(1, plan.audiences + 1):
        names = [f"p{audience}-{n}" for n in range(1, plan.recipients + 1)]
        if plan.recipients:
            names.append(f"nobody{audience}")
        unknown = "resend" if audience % 2 == 0 else "hold"
        lines += [
            "[[report]]",
            f'name = "a{audience}"',
            'kind = "daily"',
            'due_time = "06:30"',
            'due_after = "1 session"',
            'deadline = "4 hours"',
            f'unknown = "{unknown}"',
            f"attach = {'true' if audience == 1 else 'false'}",
            'retry_first = "1 second"',
            'retry_at_most = "2 seconds"',
            f"recipients = {json.dumps(names)}",
        ]
        for name in names:
            lines += [
                "[[recipient]]",
                f'name = "{name}"',
                f'address = "{name}@example.test"',
                'class = "internal"',
            ]
    return "\n".join(lines) + "\n"


def _mount(folder: Path) -> bool:
    """A small disk of its own, where this may be done."""
    if os.getuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _environ(trial: Trial, replica: Replica) -> dict[str, str]:
    made, plan = trial.world, trial.plan
    settings = {
        **settings_of(made.postgres, trial.store, made.folder),
        "reports_dir": str(trial.folder / "reports"),
        "schedule_file": str(trial.folder / "schedule.toml"),
        "store_url": made.postgres.url(trial.store, "reporting_app", made.ports["postgres"]),
        "workers": str(plan.workers),
        "tick_s": "0.5",
        "lease_s": str(plan.lease_s),
        "replica": f"r{replica.number}",
        "http_port": "0",
        "log_level": "info",
        "smtp_host": "127.0.0.1",
        "smtp_port": str(made.ports["smtp"]),
        "smtp_security": "none",
        "smtp_sender": "Reports <reports@example.test>",
        "smtp_timeout_s": "2",
        "mail_domain": "reports.example.test",
    }
    found = {f"REPORTING_{name.upper()}": value for name, value in settings.items()}
    found["TORTURE_BUG"] = plan.bug
    found["TORTURE_MEMORY"] = str(made.folder / "memory") if plan.remember else ""
    return found


# ---- during -------------------------------------------------------------------------------------


def _torment(trial: Trial, say: Any) -> None:
    """Until enough were killed, or there is nothing left to be done, or time is up."""
    plan, draw = trial.plan, trial.random
    until = trial.began + plan.at_most_s
    todo = [
        *["crash"] * plan.crashes,
        *["cut"] * plan.cuts,
        *["freeze"] * plan.freezes,
        *["full disk"] * (plan.full_disks if trial.mounted else 0),
        *["step"] * (plan.steps if trial.world.faked else 0),
    ]
    draw.shuffle(todo)
    acts = {"crash": _crash, "cut": _cut, "freeze": _freeze, "full disk": _fill, "step": _step}
    pace = 1.0 / (len(todo) + 1)  # spread over the kills, or over the time where kills are slow
    looked, said, done = 0.0, time.monotonic(), 0
    while time.monotonic() < until:
        _keep_up(trial)
        killed = len(trial.kills)
        gone = max(killed / plan.kills, (time.monotonic() - trial.began) / plan.at_most_s)
        if todo and gone >= pace * (1 + done):
            done += 1
            acts[todo.pop()](trial)
        if killed * plan.random_kills > trial.counts["random"]:
            _kill_somebody(trial)
        if killed >= plan.kills and not todo and not trial.disk_until:
            return
        if time.monotonic() - looked > 1.0:
            looked = time.monotonic()
            if _open_work(trial) == 0 and not todo:
                return
        if time.monotonic() - said > 10:
            said = time.monotonic()
            say(f"  {said - trial.began:.0f} s: {killed} kills, {len(todo)} faults to come, "
                f"{_open_work(trial)} to do")  # fmt: skip
        time.sleep(0.1)


def _keep_up(trial: Trial) -> None:
    """Start whoever is gone, wake whoever has slept long enough, and end what lasts a while."""
    now = time.monotonic()
    for replica in trial.replicas:
        if not replica.pid or started(replica.pid) != replica.started:
            trial.counts["restarts"] += bool(replica.pid)
            replica.pid = int(
                replica.launcher.ask(
                    folder=str(trial.folder),
                    environ=_environ(trial, replica),
                    replica=f"r{replica.number}",
                )
            )
            replica.started = started(replica.pid)
    for line in read_lines(trial.folder / "frozen.jsonl"):
        who = (line["pid"], line["started"])
        if who not in trial.frozen:
            trial.counts["freezes"] += 1
            trial.frozen[who] = line["at"] + trial.plan.lease_s + 1.0
    for who, wake in trial.frozen.items():
        if 0 < wake <= now:
            if started(who[0]) == who[1]:
                os.kill(who[0], signal.SIGCONT)
            trial.frozen[who] = 0.0
    if trial.disk_until and now >= trial.disk_until:
        trial.disk_until = 0.0
        (trial.folder / "reports" / ".filler").unlink(missing_ok=True)
    if trial.down_until and now >= trial.down_until:
        trial.down_until = 0.0
        trial.world.postgres.start()


def _processes(trial: Trial) -> list[dict[str, Any]]:
    return [
        line
        for line in read_lines(trial.folder / "processes.jsonl")
        if started(line["pid"]) == line["started"]
    ]


def _kill_somebody(trial: Trial) -> None:
    alive = _processes(trial)
    if not alive:
        return
    one = trial.random.choice(alive)
    with suppress(ProcessLookupError):
        os.kill(one["pid"], signal.SIGKILL)
        trial.counts["random"] += 1
        line = {"holder": one["holder"], "point": "at random"}
        note(trial.folder / "kills.jsonl", **line)


def _freeze(trial: Trial) -> None:
    workers = [line for line in _processes(trial) if "/" in line["holder"]]
    if not workers:
        return
    one = trial.random.choice(workers)
    with suppress(ProcessLookupError):
        os.kill(one["pid"], signal.SIGSTOP)
        trial.counts["freezes"] += 1
        trial.frozen[one["pid"], one["started"]] = time.monotonic() + trial.plan.lease_s + 1.5


def _crash(trial: Trial) -> None:
    if trial.down_until:
        return
    trial.counts["crashes"] += 1
    trial.world.postgres.crash()
    trial.down_until = time.monotonic() + trial.random.uniform(0.0, 1.0)


def _cut(trial: Trial) -> None:
    trial.counts["cuts"] += 1
    trial.world.surroundings.ask(cut=True)


def _fill(trial: Trial) -> None:
    """No room is left for two seconds."""
    trial.counts["full_disks"] += 1
    trial.disk_until = time.monotonic() + 2.0
    # Another filler may be there already, and then there is no room for the name of this one.
    with suppress(OSError), (trial.folder / "reports" / ".filler").open("wb") as file:
        while True:
            file.write(bytes(1 << 20))


def _step(trial: Trial) -> None:
    """The clock of one replica, an hour forward or back."""
    trial.counts["steps"] += 1
    trial.world.offset.write_text(trial.random.choice(("+3600s\n", "-3600s\n", "+0\n")))


def _open_work(trial: Trial) -> int:
    if trial.down_until:
        return -1
    sql = """select (select count(*) from reporting.run where state = 'expected')
        + (select count(*) from reporting.outbox where state in ('queued', 'sending'))
        + (not exists (select from reporting.run))::integer"""
    return int(trial.world.postgres.run(sql, trial.store)[0][0])


# ---- after --------------------------------------------------------------------------------------


def _drain(trial: Trial) -> bool:
    """All faults end; whether all is done some time later."""
    (trial.folder / "calm").touch()
    trial.world.surroundings.ask(rates={})
    trial.disk_until = min(trial.disk_until, time.monotonic())
    until = time.monotonic() + trial.plan.drain_s
    quiet = 0
    while time.monotonic() < until:
        _keep_up(trial)
        asleep = any(wake for wake in trial.frozen.values())
        quiet = quiet + 1 if not asleep and _open_work(trial) == 0 else 0
        # A reconcile may have queued something again in between; one that was frozen and does what
        # it must not needs a while for it.
        if quiet > (20 if trial.plan.bug else 2):
            return True
        time.sleep(0.3)
    return False


def _stop(trial: Trial) -> None:
    """Ask them to end, as an operator does; those that do not are killed and counted."""

    def alive() -> list[int]:
        return [r.pid for r in trial.replicas if r.started and started(r.pid) == r.started]

    for pid in alive():
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + 15
    while time.monotonic() < until and alive():
        time.sleep(0.1)


def _clear(trial: Trial) -> None:
    (trial.folder / "calm").touch()
    for line in _processes(trial):
        with suppress(ProcessLookupError):
            os.kill(line["pid"], signal.SIGKILL)
    if trial.down_until:
        trial.world.postgres.start()
    time.sleep(0.2)
    trial.world.postgres.run(f"drop database {trial.store} with (force)")
    if os.environ.get("TORTURE_KEEP"):
        return
    if trial.mounted:
        subprocess.run(["umount", "-l", str(trial.folder / "reports")], check=False)
    shutil.rmtree(trial.folder, ignore_errors=True)
