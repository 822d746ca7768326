"""Where the parts of a session are worked out: in this process, in others, on Dask's workers.

``REPORTING_ENGINE`` says where. A part is sent with all that it needs and what comes of it is sent
back, in few bytes; the parts are the same wherever they are worked out, so that what is sealed is
the same to the last byte. Whoever works has to run the very code that we run, and says so before
it unpacks anything. A worker that dies costs the time of its part and nothing else.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import version
from itertools import chain, islice
from multiprocessing import get_context
from typing import Any, Protocol, TypeVar

from . import __version__
from .errors import EngineUnavailable, ReportingError, UsageError, ValidationFailed
from .resources import code_digest

A = TypeVar("A")
B = TypeVar("B")
#: So often one and the same part may lose its worker.
DEATHS = 3
#: A worker that has none waiting is idle until the next one is made.
AHEAD = 2
#: How long a part may take before somebody looks whether there are workers at all.
PATIENCE_S = 60
#: glibc's names for what it gives back to the system, and from which size on it maps memory alone.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
#: What has to be the same on both sides: what is sent is made of their objects.
LIBRARIES = ("numpy", "pandas", "pyarrow", "pydantic")


@cache
def code() -> dict[str, str]:
    """What this process runs: the package's digest, and the versions of what it is made of."""
    return {
        "reporting": f"{__version__} ({code_digest()[:16]})",
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def worked(ours: dict[str, str], packed: bytes) -> Any:
    """Do what was sent, in the worker; :class:`ValidationFailed` where it runs other code."""
    if problem := difference(code(), ours):
        raise ValidationFailed(
            f"the worker {platform.node()}, process {os.getpid()}, has {problem}: install the same "
            "on every worker, start them anew and close again"
        )
    keep_memory()
    work, thing = pickle.loads(packed)
    return work(thing)


@cache
def keep_memory() -> None:
    """Let this process keep what a part has freed: the next one needs as much.

    To give it back and to be given zeroed pages again takes a fifth of the time of a part. Another
    C library than glibc does as it likes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, 1 << 30)
        mallopt(MMAP_THRESHOLD, 1 << 25)


def difference(theirs: dict[str, str], ours: dict[str, str]) -> str:
    """What a worker has that we have otherwise, in words; "" where it is all the same."""
    return ", ".join(
        f"{name} {theirs.get(name, 'missing')} where we have {mine}"
        for name, mine in ours.items()
        if theirs.get(name) != mine
    )


class Workers(Protocol):
    """Somebody who works: an executor, and what only its kind can say."""

    executor: Executor

    def count(self) -> int:
        """How many things they do at a time; 0 where nobody is there."""

    def codes(self) -> dict[str, dict[str, str]]:
        """What each of them runs, by its name."""

    def meaning(self, error: BaseException) -> ReportingError | None:
        """What their own machinery says with ``error``; None where the work itself raised it."""

    def close(self) -> None:
        """Let them go."""


@dataclass
class Engine:
    """Works things out with workers that are called when first needed, and called anew when lost.

    Without any it does so here.
    """

    name: str
    call: Callable[[], Workers] | None = None
    _workers: Workers | None = field(default=None, init=False)

    @property
    def workers(self) -> Workers:
        """Those that are there; called if there are none."""
        if self._workers is None:
            assert self.call is not None
            self._workers = self.call()
        return self._workers

    def close(self) -> None:
        """Let the workers go; they are called anew when needed."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def map(self, work: Callable[[A], B], things: Iterable[A], /) -> Iterator[B]:
        """``work`` of each thing, in their order; a few are made ahead and no more.

        What the work itself raises comes through. :class:`EngineUnavailable` where workers die
        again and again over one thing, or nobody is there.
        """
        todo = iter(things)
        first = list(islice(todo, 2))
        if self.call is None or len(first) < 2:  # one alone is not worth the way
            yield from map(work, chain(first, todo))
            return
        todo, waiting, deaths = chain(first, todo), deque[_Sent](), 0
        try:
            while True:
                ahead = AHEAD * max(self.workers.count(), 1)
                for thing in islice(todo, max(ahead - len(waiting), 0)):
                    waiting.append(_Sent(pickle.dumps((work, thing), pickle.HIGHEST_PROTOCOL)))
                if not waiting:
                    return
                try:
                    # After a death the first goes alone: another part's death would take it along.
                    for sent in islice(waiting, 1 if deaths else None):
                        sent.to(self.workers.executor)
                    found = self._result(waiting[0])
                except BrokenExecutor as error:
                    deaths += 1
                    if deaths == DEATHS:
                        raise _died(str(error)) from error
                    self.close()
                    for sent in waiting:
                        sent.lost()
                    continue
                deaths = 0
                waiting.popleft()
                yield found
        finally:
            for sent in waiting:
                sent.cancel()

    def _result(self, sent: _Sent) -> Any:
        assert sent.future is not None
        while not wait([sent.future], PATIENCE_S).done:
            if not self.workers.count():
                raise EngineUnavailable(f"{self.name} has no workers; start some and try again")
        try:
            return sent.future.result()
        except CancelledError:
            self.close()
            raise EngineUnavailable(
                f"{self.name} is gone in the middle of the work; start it and try again"
            ) from None
        except Exception as error:
            if meaning := self.workers.meaning(error):
                raise meaning from error
            raise

    def check(self) -> str:
        """Who would work, in words.

        :class:`EngineUnavailable` where nobody answers, :class:`ValidationFailed` where somebody
        runs other code than we do.
        """
        ours = code()
        if self.call is None:
            return f"this process, reporting {ours['reporting']}"
        found = self.workers.codes()
        if not found:
            raise EngineUnavailable(f"{self.name} has no workers; start some and try again")
        for who, theirs in found.items():
            if problem := difference(theirs, ours):
                raise ValidationFailed(f"{who} of {self.name} has {problem}")
        return f"{self.name}, {len(found)} workers, all with reporting {ours['reporting']}"


@dataclass
class _Sent:
    """A thing and its work, packed, and where it is being done."""

    packed: bytes
    future: Future[Any] | None = None

    def to(self, executor: Executor) -> None:
        if self.future is None:
            self.future = executor.submit(worked, code(), self.packed)

    def lost(self) -> None:
        """Its worker died: whatever is not done has to be done again."""
        future = self.future
        if future is None or not future.done() or future.cancelled() or future.exception():
            self.future = None

    def cancel(self) -> None:
        if self.future is not None:
            self.future.cancel()


def _died(detail: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"{DEATHS} workers in a row died over the same part ({detail}): too little memory? Give "
        "them more, or make parts smaller with REPORTING_PART_FILLS, and try again"
    )


def engine(named: str | None) -> Engine:
    """The engine that the setting names, None for this process; nobody is called yet."""
    if named is None:
        return Engine("this process")
    kind, _, rest = named.partition(":")
    if kind == "local":
        return Engine(named, partial(_Processes, int(rest or os.cpu_count() or 1)))
    return Engine(named, partial(_Dask, named))


_work: Callable[[Any], Any]  # a fork's: it comes with the fork, unpickled


def _adopt(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work


def _do(thing: Any) -> Any:
    return _work(thing)


def forked(work: Callable[[A], B], things: Iterable[A]) -> Iterator[B]:
    """``work`` of every thing, in order, in forks of this process: as many as it has cores.

    For short work on what is here already: a new interpreter would take longer. Few results wait
    at a time.
    """
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        yield from map(work, things)
        return
    with ProcessPoolExecutor(cores, get_context("fork"), _adopt, (work,)) as pool:
        running: deque[Future[B]] = deque()
        for thing in things:
            running.append(pool.submit(_do, thing))
            if len(running) > cores + 1:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


class _Processes:
    """Processes of our own on this machine."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        # Started from nothing: a fork would take over the locks of threads that it does not have.
        self.executor: Executor = ProcessPoolExecutor(processes, get_context("spawn"))

    def count(self) -> int:
        return self._processes

    def codes(self) -> dict[str, dict[str, str]]:
        asked = [self.executor.submit(code) for _ in range(self._processes)]
        return {f"process {n}": future.result() for n, future in enumerate(asked, 1)}

    def meaning(self, error: BaseException) -> ReportingError | None:
        return None

    def close(self) -> None:
        self.executor.shutdown(cancel_futures=True)


class _Dask:
    """The workers of a Dask scheduler; it gives a dead one's work to another by itself."""

    def __init__(self, where: str) -> None:
        try:
            import dask  # noqa: PLC0415 - an optional dependency
            import distributed  # noqa: PLC0415
        except ImportError:
            raise UsageError(
                f"REPORTING_ENGINE is {where}, and Dask is not installed: "
                "pip install 'reporting[dask]'"
            ) from None
        self._where = where
        address = where.replace("dask://", "tcp://")
        # Parts go through the scheduler, which can then give them to another worker: a few MB each.
        dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GiB"})
        client: Any = distributed.Client
        try:
            self._client = client(address, timeout=10, set_as_default=False)
        except (OSError, ValueError) as error:
            raise EngineUnavailable(
                f"no Dask scheduler answers at {where} ({error}); check REPORTING_ENGINE, start "
                "it and try again"
            ) from error
        self.executor: Executor = self._client.get_executor(pure=False)
        self._killed = distributed.KilledWorker

    def count(self) -> int:
        return sum(self._asked(self._client.nthreads).values())

    def codes(self) -> dict[str, dict[str, str]]:
        return self._asked(self._client.run, code)

    def _asked(self, question: Callable[..., Any], *words: Any) -> dict[str, Any]:
        try:
            return dict(question(*words))
        except OSError as error:  # of the connection: the work itself is not asked for here
            raise EngineUnavailable(
                f"the Dask scheduler {self._where} does not answer any more ({error}); start it "
                "and try again"
            ) from error

    def meaning(self, error: BaseException) -> ReportingError | None:
        if isinstance(error, self._killed):
            return _died(str(error).split(". ")[0])
        if isinstance(error, ImportError) or "deserializ" in str(error):
            return ValidationFailed(
                f"the scheduler or a worker can't load reporting ({error}): install the same on "
                "all of them, start them anew and close again"
            )
        return None

    def close(self) -> None:
        self._client.close(timeout=5)
