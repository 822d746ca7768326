"""A real Prometheus over generated history, on a loopback port, that leaves nothing behind."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import NotReady, SourceUnavailable

#: Long enough that generated history is never deleted as too old.
RETENTION = "50y"
#: With the default block size promtool reads the whole file once for every two hours of data.
MAX_BLOCK = "744h"
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 10.0
#: prctl(2): the signal that a child gets when the thread that started it ends.
PR_SET_PDEATHSIG = 1


def find_binary(name: str, var: Path) -> Path:
    """The program ``name`` from PATH, else from packages unpacked under ``var/tools``.

    Raises :class:`NotReady` with the way to get it.
    """
    found = shutil.which(name) or shutil.which(name, path=str(var / "tools" / "usr" / "bin"))
    if found is None:
        raise NotReady(
            f"{name} is neither on PATH nor in {var / 'tools' / 'usr' / 'bin'}; expected the "
            "binary of the Debian package of that name (promtool comes with prometheus): "
            "install it, or run `make demo`, which does"
        )
    return Path(found).resolve()


def build_blocks(openmetrics: Path, data_dir: Path, var: Path) -> None:
    """Turn an OpenMetrics file into storage blocks of Prometheus under ``data_dir``."""
    data_dir.mkdir(parents=True, exist_ok=True)
    promtool = find_binary("promtool", var)
    done = subprocess.run(
        [str(promtool), "tsdb", "create-blocks-from", "openmetrics", "--quiet",
         f"--max-block-duration={MAX_BLOCK}", str(openmetrics), str(data_dir)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NotReady(
            f"promtool did not take {openmetrics}: {done.stderr.strip()[-500:]}; "
            "expected OpenMetrics text that ends in # EOF"
        )


@contextmanager
def child(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` until the block ends, however it ends.

    The child is terminated on the way out, killed if it does not listen, and ended by the kernel
    if this process dies without getting that far (SIGKILL included).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=_dies_with(os.getpid()),
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def running_prometheus(
    data_dir: Path, var: Path, *, config: str = "", ready_within_s: float = READY_WITHIN_S
) -> Iterator[str]:
    """A Prometheus that serves the blocks in ``data_dir``; gives its URL, ready to be asked.

    ``config`` is the text of its configuration (nothing is scraped by default). Its log is
    ``data_dir/prometheus.log``. Raises :class:`NotReady` without the binary and
    :class:`SourceUnavailable` where it does not come up in time.
    """
    binary = find_binary("prometheus", var)
    data_dir.mkdir(parents=True, exist_ok=True)
    config_file = data_dir / "prometheus.yml"
    config_file.write_text(config)
    log = data_dir / "prometheus.log"
    # Another process may take the free port before Prometheus does: a few attempts.
    for attempt in range(3):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [
            str(binary),
            f"--config.file={config_file}",
            f"--storage.tsdb.path={data_dir}",
            f"--storage.tsdb.retention.time={RETENTION}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
        with child(command, log) as process:
            if wait_ready(f"{url}/-/ready", process, ready_within_s):
                yield url
                return
            taken = process.poll() is not None and "address already in use" in _tail(log)
        if not taken or attempt == 2:
            break
    raise SourceUnavailable(
        f"Prometheus in {data_dir} was not ready within {ready_within_s:g} s; "
        f"its log ends: {_tail(log)}"
    )


def wait_ready(url: str, process: subprocess.Popen[bytes], within_s: float) -> bool:
    """Whether ``url`` answered 200 within ``within_s`` while ``process`` was alive."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + within_s
    while time.monotonic() < until and process.poll() is None:
        try:
            with opener.open(url, timeout=2) as answer:
                if answer.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.05)
    return False


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _dies_with(parent: int) -> Callable[[], None] | None:
    """What the child runs before the program: ask the kernel to end it with its parent."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask


def _tail(log: Path, size: int = 800) -> str:
    return log.read_text(errors="replace")[-size:].strip() if log.exists() else "(no log)"
