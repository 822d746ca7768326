"""Incidents from PagerDuty's REST API v2, as far as its log of each incident tells them.

What is taken: the first notification, the first acknowledgement, the first assignment as level 1
and each escalation after it as the next level, the last resolution. PagerDuty does not say whether
an incident was a false positive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from ..errors import SourceUnavailable, ValidationFailed
from ..measures.incidents import Incident
from ..model import epoch_ms
from .http import JsonApi

SOURCE = "pagerduty"
URL = "https://api.pagerduty.com"
PAGE = 100
#: The API lists no more than this many of one question, and no more than six months at once.
MOST = 10_000
SPAN = timedelta(days=30)


@dataclass(frozen=True)
class PagerDuty:
    """One account; ``token`` is a REST API key with the right to read.

    ``url`` is of the service region (``https://api.eu.pagerduty.com`` in Europe).
    """

    api: JsonApi

    @classmethod
    def at(cls, token: str, url: str = URL, **patience: Any) -> PagerDuty:
        """A client; nothing is sent before the first question."""
        return cls(
            JsonApi(
                url,
                name="PagerDuty",
                mend="REPORTING_PAGERDUTY_TOKEN_FILE and REPORTING_PAGERDUTY_URL",
                headers={
                    "Authorization": f"Token token={token}",
                    "Accept": "application/vnd.pagerduty+json;version=2",
                },
                **patience,
            )
        )

    def read(
        self,
        since: datetime,
        until: datetime,
        alerts: Mapping[str, str],
        *,
        still_open: Sequence[str] = (),
        progress: Callable[[str], None] = lambda words: None,
    ) -> tuple[Incident, ...]:
        """Incidents created in ``[since, until)``, and ``still_open`` ones by id, in order.

        ``alerts`` maps the alertname of a rule to the alert's id: an incident is of the alert
        whose alertname is in its title or in what triggered it, if that is one.
        Raises :class:`SourceUnavailable` and :class:`ValidationFailed` as :class:`JsonApi` does;
        then nothing was read, for half of a time is no coverage of it.
        """
        found: dict[str, Mapping[str, Any]] = {}
        for start, end in _spans(since, until):
            window = {"since": _iso(start), "until": _iso(end), "time_zone": "UTC"}
            for item in self._pages("/incidents", "incidents", window):
                found[_text(item, "id")] = item
        for each in still_open:
            if each not in found:
                item = self.api.get(f"/incidents/{quote(each, safe='')}")["incident"]
                found[_text(item, "id")] = item
        incidents = []
        for number, (each, item) in enumerate(found.items(), 1):
            progress(f"reading PagerDuty incident {number} of {len(found)}")
            path = f"/incidents/{quote(each, safe='')}/log_entries"
            entries = list(
                self._pages(path, "log_entries", {"is_overview": "false", "time_zone": "UTC"})
            )
            incidents.append(incident_from(item, entries, alerts).until(epoch_ms(until)))
        return tuple(sorted(incidents, key=lambda i: (i.opened_ms, i.id)))

    def _pages(
        self, path: str, key: str, parameters: Mapping[str, str]
    ) -> Iterator[Mapping[str, Any]]:
        offset = 0
        while True:
            page = self.api.get(path, {**parameters, "limit": PAGE, "offset": offset})
            items = page.get(key) if isinstance(page, dict) else None
            if not isinstance(items, list):
                raise SourceUnavailable(
                    f"PagerDuty answers {path} without {key!r}; expected its REST API v2: check "
                    "REPORTING_PAGERDUTY_URL"
                )
            yield from items
            offset += len(items)
            if not page.get("more") or not items:
                return
            if offset + PAGE > MOST:
                raise ValidationFailed(
                    f"PagerDuty has more than {MOST} {key} from {parameters.get('since', path)}, "
                    "which is all it lists; pull a shorter time (--since)"
                )


def incident_from(
    item: Mapping[str, Any], entries: Iterable[Mapping[str, Any]], alerts: Mapping[str, str]
) -> Incident:
    """One incident of the API with its log entries, in any order, as a record of ours."""
    log = [(_ms(_text(e, "created_at")), _text(e, "type"), e) for e in entries]
    log.sort(key=lambda entry: entry[:2])
    opened = _ms(_text(item, "created_at"))
    at: dict[str, list[int]] = {}
    for ms, kind, _ in log:
        at.setdefault(kind.removesuffix("_reference"), []).append(max(ms, opened))
    resolved = None
    if item.get("status") == "resolved":
        told = item.get("resolved_at") or item.get("last_status_change_at")
        resolved = max(at.get("resolve_log_entry") or [opened, _ms(str(told)) if told else opened])
    escalated = at.get("escalate_log_entry", [])
    times: dict[str, int | None] = {
        "notified_ms": _first(at.get("notify_log_entry", [])),
        "acknowledged_ms": _first(at.get("acknowledge_log_entry", [])),
        "level_1_ms": _first(at.get("assign_log_entry", [])),
        "level_2_ms": _first(escalated),
        "level_3_ms": _first(escalated[1:]),
    }
    if resolved is not None:  # an entry after the resolution is about what followed
        times = {k: ms for k, ms in times.items() if ms is not None and ms <= resolved}
    title = _text(item, "title")
    triggers = [_trigger_words(e) for _, kind, e in log if kind.startswith("trigger_log_entry")]
    fields = {
        "source": SOURCE,
        "id": _text(item, "id"),
        "priority": _priority(item),
        "title": title[:300],
        "alert": _alert("\n".join([title, *triggers]), alerts),
        "target": str((item.get("service") or {}).get("summary") or "")[:100],
        "opened_ms": opened,
        "resolved_ms": resolved,
    }
    return Incident.model_validate(fields | times)


def _first(moments: Sequence[int]) -> int | None:
    return moments[0] if moments else None


def _priority(item: Mapping[str, Any]) -> str:
    """P1 to P5, from the priority's name; "" where it has none of these."""
    priority = item.get("priority") or {}
    words = str(priority.get("summary") or priority.get("name") or "")
    found = re.match(r"\s*(P[1-5])\b", words, re.IGNORECASE)
    return found[1].upper() if found else ""


def _trigger_words(entry: Mapping[str, Any]) -> str:
    """What triggered an incident, in whatever words its integration sends."""
    channel = entry.get("channel") or {}
    return f"{entry.get('summary', '')}\n{channel.get('summary', '')}\n{channel.get('details', '')}"


def _alert(words: str, alerts: Mapping[str, str]) -> str:
    named = {
        id_ for name, id_ in alerts.items() if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words)
    }
    return named.pop() if len(named) == 1 else ""


def _text(item: Mapping[str, Any], key: str) -> str:
    given = item.get(key)
    if not isinstance(given, str) or not given:
        raise SourceUnavailable(
            f"PagerDuty sends an item whose {key!r} is {given!r}; expected text as its REST API "
            "v2 has it: check REPORTING_PAGERDUTY_URL"
        )
    return given


def _ms(given: str) -> int:
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise SourceUnavailable(f"PagerDuty sends the time {given!r}; expected ISO 8601 in UTC")
    return epoch_ms(at)


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _spans(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    at = since
    while at < until:
        yield at, min(at + SPAN, until)
        at += SPAN
