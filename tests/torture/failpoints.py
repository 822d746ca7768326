"""Where a process may be killed or frozen: around each commit, fsync, rename and word to the relay.

Nothing of this is in the product: :func:`install` wraps, in a process that the launcher made, what
all of these go through. A point has a name, such as ``commit.before:runs.begin_mail`` or
``smtp.reply.before``. Which one kills is decided by chance when it is hit; those that never killed
anybody yet are the likeliest, so that none is left out.
"""

from __future__ import annotations

import json
import os
import random
import signal
import smtplib
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import reporting.postgres
import reporting.runs
import reporting.store

ROOT = str(Path(reporting.postgres.__file__).parent)
#: The point's own frames, which say nothing about who came by.
SKIPPED = {"transaction", "writing", "_run_writing", "__exit__", "__enter__", "commit"}

#: A report has dozens of files; at the rate of the others none would ever be written to its end.
WEIGHTS = {"fsync": 0.1, "rename": 0.1}


class Fuse:
    """What this process dies of: read from the round's folder when the process starts."""

    def __init__(self, folder: Path, holder: str) -> None:
        self.folder, self.holder = folder, holder
        self.random = random.Random(f"{time.monotonic_ns()} {os.getpid()}")
        plan = json.loads((folder / "plan.json").read_text("utf-8"))
        # A supervisor looks at everything twice a second, and costs all of its workers.
        self.rate: float = plan["rate"] * (1.0 if "/" in holder else 0.1)
        self.fresh: float = plan["fresh"]
        self.freeze: list[str] = plan["freeze"]  # points at which the first to come is frozen
        self.kill: list[str] = plan["kill"]  # points at which the first to come is killed
        self.killed = Counter(line["point"] for line in read_lines(folder / "kills.jsonl"))
        self.hits: Counter[str] = Counter()

    def hit(self, point: str) -> None:
        """Come by ``point``: die there, freeze there, or go on."""
        for asked, act in ((self.freeze, self._freeze), (self.kill, self._die)):
            if point in asked and self._first(point):
                return act(point)
        if (self.folder / "calm").exists():
            return None
        rate = self.rate if self.killed[point] else self.fresh
        if self.random.random() < rate * WEIGHTS.get(point.partition(".")[0], 1.0):
            self._die(point)
        return None

    def _first(self, point: str) -> bool:
        """Whether nobody came by for this before: one file, made by one process only."""
        try:
            os.close(os.open(self.folder / f"first {point}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _die(self, point: str) -> None:
        self._write("kills.jsonl", point)
        os.kill(os.getpid(), signal.SIGKILL)

    def _freeze(self, point: str) -> None:
        self._write("frozen.jsonl", point)
        os.kill(os.getpid(), signal.SIGSTOP)  # whoever runs the round wakes it

    def _write(self, name: str, point: str) -> None:
        note(self.folder / name, holder=self.holder, point=point)


def started(pid: int) -> int:
    """When a process was started, 0 where it is gone: numbers are given again, with this they last.

    In ticks since the machine's start; one that is dead and not reaped counts as gone.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if stat[0] in "ZX" else int(stat[19])


def note(path: Path, **of: Any) -> None:
    """Append a line: when, by the clock that nobody sets, which process, and what."""
    cpu_s = round(time.process_time(), 3)
    pid = os.getpid()
    line = {"at": time.monotonic(), "pid": pid, "started": started(pid), "cpu_s": cpu_s, **of}
    out = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(out, json.dumps(line).encode() + b"\n")
    os.close(out)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSONL file that may be written to; empty where there is none."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split(b"\n")[:-1]]


def caller() -> str:
    """Module and function of the product that came by."""
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(ROOT) and code.co_name not in SKIPPED:
            return f"{Path(code.co_filename).stem}.{code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def install(fuse: Fuse) -> None:
    """Wrap what every write goes through."""
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(number: int) -> None:
        who = caller()
        if who:
            fuse.hit(f"fsync.before:{who}")
        real_fsync(number)
        if who:
            fuse.hit(f"fsync.after:{who}")

    def replace(self: Path, target: Any) -> Path:
        who = caller()
        fuse.hit(f"rename.before:{who}")
        done = real_replace(self, target)
        fuse.hit(f"rename.after:{who}")
        return done

    os.fsync = fsync  # type: ignore[assignment]
    Path.replace = replace  # type: ignore[method-assign, assignment]
    _around_commit(fuse)
    _around_mail(fuse)


def _around_commit(fuse: Fuse) -> None:
    real: Callable[[Any], None] = reporting.postgres.Session.commit

    def commit(self: Any) -> None:
        who = caller()
        fuse.hit(f"commit.before:{who}")
        real(self)
        fuse.hit(f"commit.after:{who}")

    reporting.postgres.Session.commit = commit  # type: ignore[method-assign]


def _around_mail(fuse: Fuse) -> None:
    real_docmd, real_send, real_reply = (
        smtplib.SMTP.docmd,
        smtplib.SMTP.send,
        smtplib.SMTP.getreply,
    )
    letter = [False]  # whether what is sent now is a letter

    def docmd(self: Any, cmd: str, args: str = "") -> Any:
        if cmd == "DATA":
            fuse.hit("smtp.data.before")
        answer = real_docmd(self, cmd, args)
        if cmd == "DATA":
            fuse.hit("smtp.data.after")
            letter[0] = True
        return answer

    def send(self: Any, s: Any) -> None:
        if not letter[0]:
            return real_send(self, s)
        if fuse.random.random() < 0.5:  # half of it is on its way
            half = len(s) // 2
            real_send(self, s[:half])
            fuse.hit("smtp.letter.half")
            real_send(self, s[half:])
        else:
            real_send(self, s)
        fuse.hit("smtp.letter.after")
        return None

    def getreply(self: Any) -> Any:
        mine, letter[0] = letter[0], False
        if mine:
            fuse.hit("smtp.reply.before")
        answer = real_reply(self)
        if mine:
            fuse.hit("smtp.reply.after")
        return answer

    smtplib.SMTP.docmd = docmd  # type: ignore[method-assign]
    smtplib.SMTP.send = send  # type: ignore[method-assign]
    smtplib.SMTP.getreply = getreply  # type: ignore[method-assign]


# ---- bugs that a checker has to catch -----------------------------------------------------------


def plant(bug: str) -> None:
    """Put a fault into this process: what the checker is there for."""
    if bug == "lease without fence":
        _without_fence()
    elif bug == "send before commit":
        _send_before_commit()
    else:
        raise ValueError(bug)


def _without_fence() -> None:
    """Whoever holds a run, or held it once, may write."""
    real = reporting.postgres.queries

    def queries(name: str) -> Any:
        found = real(name)
        if name != "runs":
            return found
        without = {}
        for key, query in found.items():
            sql = query.sql
            if "fence = %(fence)s" in sql:
                sql = sql.replace("and fence = %(fence)s", "")
                sql = sql.replace("and leased_until > clock_timestamp()", "")
            without[key] = reporting.postgres.Query(query.name, sql)
        return without

    reporting.runs.queries = queries  # type: ignore[attr-defined]
    reporting.store.queries = queries  # type: ignore[attr-defined]


def _send_before_commit() -> None:
    """The letter first, and only then the word that it is being sent."""
    from reporting.deliver import Connection  # noqa: PLC0415

    real = Connection.send

    def send(self: Any, message: bytes, sender: str, recipient: str, before_data: Any) -> Any:
        outcome = real(self, message, sender, recipient, lambda: None)
        before_data()
        return outcome

    Connection.send = send  # type: ignore[method-assign]
