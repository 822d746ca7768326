"""Starts processes of the service in milliseconds: imports it once and forks.

    python -m tests.torture.launcher

reads JSON lines on stdin (``{"folder", "environ", "replica"}``), forks a ``reporting serve`` for
each and prints its pid. A supervisor starts its workers by another fork, from a process that it
made before it had any thread and that ends with it; so a worker is a child of its own, as with the
product's own command. What runs is the product's command line, all of it.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import reporting.workers

from . import failpoints
from .memory import remember

PR_SET_CHILD_SUBREAPER = 36


def preload() -> None:
    """Import and fill what every process would fill anew."""
    import reporting.cli  # noqa: PLC0415
    import reporting.periods  # noqa: PLC0415
    import reporting.render.mail  # noqa: PLC0415
    from reporting.postgres import queries  # noqa: PLC0415

    from .world import CALENDAR  # noqa: PLC0415

    reporting.periods.sessions_between(
        reporting.policy.schedule.KNOWN[0], reporting.policy.schedule.KNOWN[1], CALENDAR
    )
    for name in ("runs", "store"):
        queries(name)
    gc.freeze()


def run(words: Sequence[str], folder: Path, holder: str, log: str) -> NoReturn:
    """Be ``reporting <words>`` from here on."""
    out = os.open(folder / log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    for number in (1, 2):
        os.dup2(out, number)
    os.close(out)
    failpoints.install(failpoints.Fuse(folder, holder))
    failpoints.note(folder / "processes.jsonl", holder=holder)
    if bug := os.environ.get("TORTURE_BUG"):
        failpoints.plant(bug)
    if memory := os.environ.get("TORTURE_MEMORY"):
        remember(Path(memory))
    sys.argv = ["reporting", *words]
    from reporting.cli import main  # noqa: PLC0415

    code: Any = 1
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    finally:
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


# ---- workers ------------------------------------------------------------------------------------


class Nursery:
    """Forks the workers of one supervisor, on request, and says how they ended."""

    def __init__(self, folder: Path) -> None:
        here, there = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            here.close()
            self._serve(there, folder)
        there.close()
        self.line = here.makefile("rw")

    def ask(self, **command: Any) -> Any:
        """One command, one answer."""
        self.line.write(json.dumps(command) + "\n")
        self.line.flush()
        return json.loads(self.line.readline() or "null")

    def _serve(self, line: socket.socket, folder: Path) -> NoReturn:
        ended: dict[int, int] = {}
        with line.makefile("rw") as asked:
            for text in asked:
                command = json.loads(text)
                if "start" in command:
                    words = command["start"]
                    pid = os.fork()
                    if pid == 0:
                        line.close()
                        holder = words[words.index("--worker") + 1]
                        run(words, folder, holder, "workers.log")
                    answer: Any = pid
                else:
                    while True:
                        try:
                            pid, status = os.waitpid(-1, os.WNOHANG)
                        except ChildProcessError:
                            break
                        if not pid:
                            break
                        ended[pid] = os.waitstatus_to_exitcode(status)
                    answer = ended.get(command["poll"])
                asked.write(json.dumps(answer) + "\n")
                asked.flush()
        os._exit(0)  # its supervisor is gone; the workers see that their parent is


def popen_in(nursery: Nursery) -> Any:
    """What ``subprocess.Popen`` is to reporting.workers."""

    class Forked:
        def __init__(self, command: Sequence[str], **_: Any) -> None:
            words = list(command)[list(command).index("reporting") + 1 :]
            self.pid = int(nursery.ask(start=words))
            self.code: int | None = None

        def poll(self) -> int | None:
            if self.code is None:
                self.code = nursery.ask(poll=self.pid)
            return self.code

        def wait(self, timeout: float | None = None) -> int:
            import time  # noqa: PLC0415

            until = time.monotonic() + (timeout if timeout is not None else 1e9)
            while (code := self.poll()) is None:
                if time.monotonic() >= until:
                    raise subprocess.TimeoutExpired("worker", timeout or 0.0)
                time.sleep(0.02)
            return code

        def terminate(self) -> None:
            if self.poll() is None:
                os.kill(self.pid, signal.SIGTERM)

        def kill(self) -> None:
            if self.poll() is None:
                os.kill(self.pid, signal.SIGKILL)

    return Forked


class _Subprocess:
    """The part of the module that reporting.workers uses, with another Popen."""

    DEVNULL = subprocess.DEVNULL
    TimeoutExpired = subprocess.TimeoutExpired

    def __init__(self, popen: Any) -> None:
        self.Popen = popen


def supervise(folder: Path, replica: str) -> NoReturn:
    """Be one replica."""
    nursery = Nursery(folder)
    reporting.workers.subprocess = _Subprocess(popen_in(nursery))  # type: ignore[assignment]
    # Here all die young, by our own hand: a replacement need not wait.
    reporting.workers.LIVED_S = 0.0
    run(["serve"], folder, replica, "supervisors.log")


def main() -> None:
    """Fork supervisors on request."""
    preload()
    # Orphans of killed supervisors come to us, and nobody waits for them.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for text in sys.stdin:
        asked = json.loads(text)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.environ.update(asked["environ"])
            os.chdir(asked["folder"])
            supervise(Path(asked["folder"]), asked["replica"])
        print(pid, flush=True)


if __name__ == "__main__":
    main()
