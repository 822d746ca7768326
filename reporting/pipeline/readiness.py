"""Whether what a report needs is there yet: the day's end, the ledger's rows, the metrics."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ..errors import SourceUnavailable
from .service import Service, sealed_day

#: Rows that are still being loaded are seen by looking twice, this far apart.
SETTLED = timedelta(minutes=2)
#: After this long nobody is loading the day any more.
LONG_PAST = timedelta(hours=12)


@dataclass(frozen=True)
class Readiness:
    """``lacks`` says what is waited for, "" for nothing; ``seen`` is for the next look."""

    lacks: str
    seen: str = ""


def readiness(service: Service, day: date, now: datetime, seen: str) -> Readiness:
    """Whether ``day`` can be closed without gaps; ``seen`` is what the last look returned.

    The ledger is complete where its own end-of-day run says so and as many rows can be read as that
    run counted; without that view, where two looks :data:`SETTLED` apart find the same rows. The
    metrics are complete where there is a sample at the day's end or a later one.
    """
    end = service.end_of(day)
    if now < end:
        return Readiness(f"{day} ends at {end.isoformat()}")
    row = service.store.day(day)
    if row is not None and not sealed_day(row).flash:
        return Readiness("")
    try:
        ledger, seen = _ledger(service, day, now, seen)
        return Readiness(ledger or metrics_lag(service, day, now), seen)
    except SourceUnavailable as error:
        return Readiness(str(error).partition(";")[0], seen)


def _ledger(service: Service, day: date, now: datetime, seen: str) -> tuple[str, str]:
    """What the ledger lacks of ``day``, and what was seen of it."""
    described = service.trading_day(day)
    if described.trading is None:
        return "", seen
    lacks = service.ledger.lacks(described, now)
    if lacks is not None:
        return lacks, seen
    counts = service.ledger.rows_of(described.trading, now)
    if now - described.trading.end > LONG_PAST:
        return "", seen
    found = {"orders": counts.orders, "fills": counts.fills}
    before = json.loads(seen) if seen else {}
    if {name: before.get(name) for name in found} != found:
        fresh = json.dumps({**found, "at": now.isoformat()})
        return f"the ledger's rows of {day} are looked at twice, two minutes apart", fresh
    if now - datetime.fromisoformat(before["at"]) < SETTLED:
        return f"the ledger's rows of {day} are looked at twice, two minutes apart", seen
    return "", seen


def metrics_lag(service: Service, day: date, now: datetime) -> str:
    """What Prometheus lacks of a day that has ended, in words; "" for nothing.

    After :data:`LONG_PAST` it has what it will ever have.
    """
    source, end = service.prometheus, service.end_of(day)
    if source is None or now - end > LONG_PAST or source.reaches(end, now):
        return ""
    return f"Prometheus has no sample of up near {end.isoformat()}, the day's end, or after it"
