"""Processes that are kept alive: one that dies is replaced, and what it held is said to be free."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

#: One that lived for less is not replaced at once but after a while, doubled each time.
LIVED_S, WAIT_S, WAIT_AT_MOST_S = 10.0, 0.5, 30.0


@dataclass
class _Place:
    """One of the places that are to be filled, and the process that fills it."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    name: str = ""
    began: float = 0.0
    short_lives: int = 0
    not_before: float = 0.0


@dataclass
class Workers:
    """``count`` processes of ``command(name)``, each with a name that no other ever had.

    ``died`` is called with the name and exit code of each that ended, once it surely has.
    """

    command: Callable[[str], Sequence[str]]
    count: int
    names: Callable[[int, int], str]
    died: Callable[[str, int], None]
    _places: list[_Place] = field(default_factory=list)
    _made: int = 0

    def tend(self) -> None:
        """Notice who ended, and start who is missing."""
        if not self._places:
            self._places = [_Place(number) for number in range(1, self.count + 1)]
        for place in self._places:
            self._notice(place)
            if place.process is None and monotonic() >= place.not_before:
                self._start(place)

    def renew(self) -> None:
        """Ask all to end what they are at; :meth:`tend` starts others, and waits for nobody now."""
        for place in self._places:
            if place.process is not None:
                place.process.terminate()
            place.short_lives, place.not_before = 0, 0.0

    def stop(self, grace_s: float) -> None:
        """Ask all to end what they are at, then end those that do not."""
        running = [place for place in self._places if place.process is not None]
        for place in running:
            assert place.process is not None
            place.process.terminate()
        until = monotonic() + grace_s
        for place in running:
            assert place.process is not None
            try:
                place.process.wait(max(until - monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                place.process.kill()
                place.process.wait()
            self._notice(place)

    def _start(self, place: _Place) -> None:
        self._made += 1
        place.name = self.names(place.number, self._made)
        place.began = monotonic()
        place.process = subprocess.Popen(
            list(self.command(place.name)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    def _notice(self, place: _Place) -> None:
        code = place.process.poll() if place.process is not None else None
        if code is None:
            return
        place.process = None
        short = code != 0 and monotonic() - place.began < LIVED_S
        place.short_lives = place.short_lives + 1 if short else 0
        wait_s = min(WAIT_S * 2 ** (place.short_lives - 1), WAIT_AT_MOST_S) if short else 0.0
        place.not_before = monotonic() + wait_s
        self.died(place.name, code)
