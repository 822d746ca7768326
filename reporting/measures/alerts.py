"""Alerts: when each fired, how fast the first notification was, and which fire together.

A rule's state holds from one evaluation to the next, so an alert is firing from its first firing
sample to one evaluation after its last. One activation, known by when its condition first held
(the value of ``ALERTS_FOR_STATE``, in whole seconds), is one episode, however many days it lasts;
it counts on the day on which it began to fire.

The first notification lies between the two samples of Alertmanager's notification counters between
which the count of one of the alert's channels first rose. Where another alert began or ended to
fire at that time too, the notification may have been the other one's: then only "not before" is
known. Repeats for an alert that has been firing for long are not taken for a first notification.
That much is sealed with the day. People record incidents later: what those tell (when somebody was
notified, whether it was a false alarm, how far it was escalated) is joined to a fact that was
sealed or merged, by :func:`with_incidents`, and an incident's own time wins over the counters.

    response in [not before - condition held, at the latest - condition held]

A promise is met by the latter and missed by the former. Reference: Beyer et al., "The Site
Reliability Workbook" (2018), chapter 5, detection time; flapping as in Nagios Core, "Detection and
Handling of State Flapping", here as three or more firings within an hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import combinations, pairwise
from typing import Any, Literal, Protocol

from ..model import (
    EXACT,
    Count,
    Duration,
    Frame,
    Frames,
    Missing,
    Moment,
    Number,
    Ratio,
    Shown,
    Value,
    Why,
)
from ..page import (
    Chart,
    Column,
    Figure,
    Point,
    Section,
    Span,
    Table,
    Target,
    TimelineChart,
    TimelineRow,
    Verdict,
    text,
)
from ..periods import TradingDay, calendar_day, date_of, in_spans
from . import Context as Page
from . import Measure

NAME = "alerts"
RULES, EPISODES, NOTIFICATIONS = "alerts", "alert_episodes", "notifications"
#: Read where it is there; what it would tell is "not measured" otherwise.
ALERTMANAGER = "alertmanager"
#: Episodes kept of one alert, the first ones; totals always count all of them.
MAX_EPISODES = 200
HOUR_MS = 3_600_000
FLAPPING = 3
#: Alerts that begin so close to each other fire together, as do those that overlap.
TOGETHER_MS = 300_000
#: An alert explains a rise of the counters for so long after it begins and after it ends to fire:
#: Alertmanager tells of both within its group_interval, five minutes unless configured longer.
EXPLAINS_MS = 360_000
#: An incident may be opened this much before its alert's condition is seen (other clocks)...
EARLY_MS = 60_000
#: ... and this much after it stopped firing.
LATE_MS = 900_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOT_JOINED = Missing(why=Why.NOT_MEASURED, detail="no incidents are joined to these alerts")
NO_ALERTMANAGER = Missing(why=Why.NOT_MEASURED, detail="no Alertmanager is configured")


class Episode(Value):
    """One activation of an alert as far as it fired in the window; instants in ms since 1970.

    ``begun``: it began to fire in the window, at ``fired_ms``; otherwise it was firing before, and
    that is 0. ``firing_ms`` is how long it fired within the window, ``last_ms`` when it last did,
    ``ongoing`` if that is the window's end.
    The first notification was not before ``told_after_ms`` and at the latest at ``told_by_ms``,
    each None where that is not known; ``told_from`` says by what: a sealed one by the counters.
    """

    alert: str
    labels: str
    active_ms: int
    begun: bool
    fired_ms: int
    firing_ms: int
    last_ms: int
    ongoing: bool
    response_s: int
    told_after_ms: int | None = None
    told_by_ms: int | None = None
    told_from: Literal["", "incident", "counters"] = ""

    @property
    def key(self) -> tuple[int, str, str]:
        """What makes it one and the same over days; also the order of episodes."""
        return (self.active_ms, self.alert, self.labels)

    @property
    def verdict(self) -> Verdict | None:
        """Whether the first notification came in time; None if it was an earlier day's."""
        if not self.begun:
            return None
        promise = self.response_s * 1000
        if self.told_by_ms is not None and self.told_by_ms - self.active_ms <= promise:
            return Verdict.MET
        if self.told_after_ms is not None and self.told_after_ms - self.active_ms > promise:
            return Verdict.MISSED
        return Verdict.UNKNOWN


class AlertTotals(Value):
    """Sums of one alert; ``seen``: its rule has ever left a trace on the server."""

    id: str
    alertname: str
    title: str
    severity: str
    channels: tuple[str, ...]
    response_s: int
    seen: bool
    begun: int
    firing_ms: int


class Opened(Value):
    """The incidents that one alert opened, as they tell of it.

    ``false_positives`` of the ``incidents`` were false and ``unsaid`` do not say. ``levels`` counts
    them by the highest escalation level that each reached: level 1, 2 and 3.
    """

    alert: str
    incidents: int
    false_positives: int
    unsaid: int
    levels: tuple[int, int, int]


class Held(Value):
    """An alert that Alertmanager held at the close, and why it told nobody if it did not."""

    alertname: str
    labels: str
    state: str
    since_ms: int
    because: str


class AlertsFact(Value):
    """The alerts between two instants.

    ``episodes`` are the first MAX_EPISODES of each alert, in order; ``held`` is of the end.
    ``incidents`` is never sealed: :func:`with_incidents` gives it, an entry for each alert.
    """

    start_ms: int
    end_ms: int
    alerts: tuple[AlertTotals, ...]
    episodes: tuple[Episode, ...]
    held: tuple[Held, ...] | Missing
    incidents: tuple[Opened, ...] | Missing = NOT_JOINED


# -- one day -------------------------------------------------------------------------------------


def of_day(day: TradingDay, frames: Frames) -> AlertsFact | Missing:
    """The alerts of the local calendar day; the frames are those of the alerts source.

    ``alertmanager`` may be absent or Missing.
    """
    found = [frames[name] for name in (RULES, EPISODES, NOTIFICATIONS)]
    for frame in found:
        if isinstance(frame, Missing):
            return frame
    rules, stretches, rises = (f.table.to_dict("records") for f in found if isinstance(f, Frame))
    held = frames.get(ALERTMANAGER, NO_ALERTMANAGER)
    start, end = day.window.start_ms, day.window.end_ms
    ids = {str(rule["alertname"]): str(rule["id"]) for rule in rules}
    spans = [
        _Stretch.of(row, ids[str(row["alertname"])])
        for row in stretches
        if str(row["alertname"]) in ids
    ]
    told_on = {str(rule["id"]): tuple(str(rule["channels"]).split(",")) for rule in rules}
    watch = _Watch(spans, _rises(rises), told_on)
    totals, episodes = [], []
    for rule in sorted(rules, key=lambda rule: str(rule["id"])):
        mine = [
            watch.episode(each, int(rule["response_s"]), start, end)
            for each in _activations(s for s in spans if s.alert == rule["id"])
        ]
        fired = sorted((e for e in mine if e is not None), key=lambda e: e.key)
        totals.append(
            AlertTotals(
                id=str(rule["id"]),
                alertname=str(rule["alertname"]),
                title=str(rule["title"]),
                severity=str(rule["severity"]),
                channels=told_on[str(rule["id"])],
                response_s=int(rule["response_s"]),
                seen=bool(rule["seen"]),
                begun=sum(e.begun for e in fired),
                firing_ms=sum(e.firing_ms for e in fired),
            )
        )
        episodes += fired[:MAX_EPISODES]
    return AlertsFact(
        start_ms=start,
        end_ms=end,
        alerts=tuple(totals),
        episodes=tuple(sorted(episodes, key=lambda e: e.key)),
        held=_held(held) if isinstance(held, Frame) else _absent(held, NO_ALERTMANAGER),
    )


@dataclass(frozen=True)
class _Stretch:
    """Firing without a gap, ``[fired, until)``; ``begins`` if its beginning was seen."""

    alert: str
    labels: str
    active: int
    begins: bool
    fired: int
    until: int

    @classmethod
    def of(cls, row: Mapping[Any, Any], alert: str) -> _Stretch:
        return cls(
            alert=alert,
            labels=str(row["labels"]),
            active=int(row["active_at_ms"]),
            begins=bool(row["begins"]),
            fired=int(row["firing_from_ms"]),
            until=int(row["firing_to_by_ms"]),
        )


def _activations(stretches: Iterable[_Stretch]) -> list[list[_Stretch]]:
    """Stretches of the same activation, each list in order of time."""
    by_key: dict[tuple[int, str], list[_Stretch]] = {}
    for stretch in sorted(stretches, key=lambda s: s.fired):
        by_key.setdefault((stretch.active, stretch.labels), []).append(stretch)
    return list(by_key.values())


@dataclass(frozen=True)
class _Channel:
    """The rises (after, by] of one channel's counters, and until when they were looked at."""

    rises: tuple[tuple[int, int], ...]
    until: int


def _rises(rows: Sequence[Mapping[Any, Any]]) -> dict[str, _Channel]:
    """By channel; a row without a count says until when its channel was looked at."""
    found: dict[str, list[tuple[int, int]]] = {}
    until: dict[str, int] = {}
    for row in rows:
        channel, after, by = str(row["integration"]), int(row["after_ms"]), int(row["by_ms"])
        found.setdefault(channel, [])
        until[channel] = max(until.get(channel, by), by)
        if int(row["count"]):
            found[channel].append((after, by))
    return {name: _Channel(tuple(sorted(rises)), until[name]) for name, rises in found.items()}


@dataclass(frozen=True)
class _Watch:
    """What the server can tell of the first notification of an episode."""

    spans: Sequence[_Stretch]
    channels: Mapping[str, _Channel]
    told_on: Mapping[str, Sequence[str]]  # the channels of each alert

    def episode(
        self, stretches: Sequence[_Stretch], response_s: int, start: int, end: int
    ) -> Episode | None:
        """One activation clipped to the window; None where it did not fire within."""
        inside = [(max(s.fired, start), min(s.until, end)) for s in stretches]
        inside = [(lo, hi) for lo, hi in inside if lo < hi]
        if not inside:
            return None
        first = stretches[0]
        begun = first.begins and start <= first.fired < end
        told: dict[str, Any] = self._told(first) if begun else {}
        return Episode(
            alert=first.alert,
            labels=first.labels,
            active_ms=first.active,
            begun=begun,
            fired_ms=first.fired if begun else 0,
            firing_ms=sum(hi - lo for lo, hi in inside),
            last_ms=inside[-1][1],
            ongoing=inside[-1][1] == end,
            response_s=response_s,
            **told,
        )

    def _told(self, first: _Stretch) -> dict[str, Any]:
        lows: list[int] = []
        highs: list[int] = []
        for name in self.told_on[first.alert]:
            channel = self.channels.get(name)
            if channel is None:
                continue
            # Nobody is told before the evaluation that makes it fire.
            rise = next((r for r in channel.rises if r[1] > first.fired), None)
            lows.append(max(rise[0] if rise else channel.until, first.fired))
            if rise and not self._explained(rise, name, first):
                highs.append(rise[1])
        if not lows:
            return {}
        return {
            "told_after_ms": min(lows),
            "told_by_ms": min(highs, default=None),
            "told_from": "counters",
        }

    def _explained(self, rise: tuple[int, int], channel: str, own: _Stretch) -> bool:
        """Whether another alert of the channel began or ended before ``rise``: it may be its."""
        after, by = rise
        return any(
            moment < by and after <= moment + EXPLAINS_MS
            for s in self.spans
            if (s.alert, s.labels, s.active) != (own.alert, own.labels, own.active)
            and channel in self.told_on[s.alert]
            for moment in (s.fired, s.until)
        )


def _held(frame: Frame) -> tuple[Held, ...]:
    return tuple(
        Held(
            alertname=str(row["alertname"]),
            labels=str(row["labels"]),
            state=str(row["state"]),
            since_ms=int(row["since_ms"]),
            because=str(row["because"]),
        )
        for row in frame.table.to_dict("records")
    )


def _absent(frame: object, otherwise: Missing) -> Missing:
    return frame if isinstance(frame, Missing) else otherwise


# -- several days --------------------------------------------------------------------------------


def merge(days: Sequence[tuple[Any, AlertsFact]]) -> AlertsFact:
    """One fact of several days as sealed: sums, and each activation once; no incidents joined."""
    facts = [fact for _, fact in days]
    totals: dict[str, AlertTotals] = {}
    for each in (totals_ for fact in facts for totals_ in fact.alerts):
        before = totals.get(each.id)
        totals[each.id] = each if before is None else _sum(before, each)
    joined: dict[tuple[int, str, str], Episode] = {}
    for episode in (episode for fact in facts for episode in fact.episodes):
        earlier = joined.get(episode.key)
        joined[episode.key] = episode if earlier is None else _join(earlier, episode)
    kept: list[Episode] = []
    taken: dict[str, int] = {}
    for key in sorted(joined):
        episode = joined[key]
        taken[episode.alert] = taken.get(episode.alert, 0) + 1
        if taken[episode.alert] <= MAX_EPISODES:
            kept.append(episode)
    return AlertsFact(
        start_ms=facts[0].start_ms,
        end_ms=facts[-1].end_ms,
        alerts=tuple(totals[key] for key in sorted(totals)),
        episodes=tuple(kept),
        held=facts[-1].held,
    )


def _sum(before: AlertTotals, after: AlertTotals) -> AlertTotals:
    """What is no sum (title, target, channels) is as it was last."""
    return after.model_copy(
        update={
            "begun": before.begun + after.begun,
            "firing_ms": before.firing_ms + after.firing_ms,
            "seen": before.seen or after.seen,
        }
    )


def _join(before: Episode, after: Episode) -> Episode:
    """The same activation on two days: its beginning from the first, its end from the second."""
    return before.model_copy(
        update={
            "firing_ms": before.firing_ms + after.firing_ms,
            "last_ms": after.last_ms,
            "ongoing": after.ongoing,
        }
    )


# -- with incidents ------------------------------------------------------------------------------


class Recorded(Protocol):
    """An incident, as far as it can tell of an alert; instants in milliseconds since 1970.

    ``alert`` is the alert's id or alertname, "" if no alert opened it. ``level`` is the highest
    escalation level that it reached, 0 to 3.
    """

    @property
    def alert(self) -> str: ...
    @property
    def opened_ms(self) -> int: ...
    @property
    def notified_ms(self) -> int | None: ...
    @property
    def level(self) -> int: ...
    @property
    def false_positive(self) -> bool | None: ...


def with_incidents(fact: AlertsFact, incidents: Sequence[Recorded] | Missing) -> AlertsFact:
    """``fact``, a day's as sealed or several days' merged, and what ``incidents`` tell of it.

    They are those of the same days, in any order; Missing where nobody recorded any. An incident
    counts where it was opened between the fact's two instants. The first one that an activation
    opened and of which somebody was notified tells when: it is opened up to a minute before the
    condition is seen to hold (clocks differ), until a quarter of an hour after it fired last and
    before the alert's next activation.
    """
    if isinstance(incidents, Missing):
        return fact.model_copy(update={"incidents": incidents})
    names = {key: alert.id for alert in fact.alerts for key in (alert.alertname, alert.id)}
    by_alert: dict[str, list[Recorded]] = {alert.id: [] for alert in fact.alerts}
    for incident in sorted(incidents, key=lambda i: i.opened_ms):
        if incident.alert in names:
            by_alert[names[incident.alert]].append(incident)
    active: dict[str, list[int]] = {}
    for episode in fact.episodes:  # in order of when they became active
        active.setdefault(episode.alert, []).append(episode.active_ms)
    return fact.model_copy(
        update={
            "episodes": tuple(
                _notified(e, active[e.alert], by_alert[e.alert]) if e.begun else e
                for e in fact.episodes
            ),
            "incidents": tuple(
                _opened(alert, [i for i in own if fact.start_ms <= i.opened_ms < fact.end_ms])
                for alert, own in by_alert.items()
            ),
        }
    )


def _notified(episode: Episode, active: Sequence[int], incidents: Sequence[Recorded]) -> Episode:
    """The episode with the time of the incident that it opened, if one has it.

    ``active`` is when each activation of its alert began, ``incidents`` are that alert's; both in
    order.
    """
    late = episode.last_ms + LATE_MS
    until = min(next((at for at in active if at > episode.active_ms), late), late)
    for incident in incidents:
        told = incident.notified_ms
        opened_by_it = episode.active_ms - EARLY_MS <= incident.opened_ms < until
        if opened_by_it and told is not None and told >= episode.active_ms:
            return episode.model_copy(
                update={"told_after_ms": told, "told_by_ms": told, "told_from": "incident"}
            )
    return episode


def _opened(alert: str, incidents: Sequence[Recorded]) -> Opened:
    levels = [incident.level for incident in incidents]
    return Opened(
        alert=alert,
        incidents=len(incidents),
        false_positives=sum(i.false_positive is True for i in incidents),
        unsaid=sum(i.false_positive is None for i in incidents),
        levels=(levels.count(1), levels.count(2), levels.count(3)),
    )


# -- what it means -------------------------------------------------------------------------------


def flapping(fired_ms: Sequence[int]) -> int:
    """The most firings within an hour, if they are three or more; else 0. Times in any order."""
    times = sorted(fired_ms)
    most, first = 0, 0
    for last, at in enumerate(times):
        while at - times[first] > HOUR_MS:
            first += 1
        most = max(most, last - first + 1)
    return most if most >= FLAPPING else 0


class Pair(Value):
    """Two alerts that fire together: of the rarer one's episodes, how many did so."""

    rarer: str
    other: str
    together: int
    episodes: int


def pairs(episodes: Iterable[Episode]) -> tuple[Pair, ...]:
    """Alerts that overlap or begin within five minutes of each other, the most often first."""
    by_alert: dict[str, list[Episode]] = {}
    for episode in episodes:
        by_alert.setdefault(episode.alert, []).append(episode)
    found = []
    for one, two in combinations(sorted(by_alert), 2):
        rarer, other = sorted((one, two), key=lambda alert: (len(by_alert[alert]), alert))
        together = sum(any(_together(a, b) for b in by_alert[other]) for a in by_alert[rarer])
        if together:
            found.append(
                Pair(rarer=rarer, other=other, together=together, episodes=len(by_alert[rarer]))
            )
    return tuple(sorted(found, key=lambda p: (-p.together, p.rarer, p.other)))


def _together(a: Episode, b: Episode) -> bool:
    a_from, b_from = (e.fired_ms if e.begun else e.active_ms for e in (a, b))
    overlap = a_from < b.last_ms and b_from < a.last_ms
    return overlap or abs(a_from - b_from) <= TOGETHER_MS


def responses(fact: AlertsFact, key: str) -> Ratio | Missing:
    """One period's ``response_s`` (of critical alerts), ``fired`` or ``false_positives``.

    As the two parts of a mean, so that periods add up; Missing where there is nothing to measure.
    False positives are known of a fact :func:`with_incidents` only.
    """
    if key == "fired":
        return Ratio(numerator=Decimal(sum(a.begun for a in fact.alerts)), denominator=Decimal(1))
    if key == "false_positives":
        false = _false_positives(fact)
        if isinstance(false, Missing):
            return false
        return Ratio(numerator=Decimal(false), denominator=Decimal(1))
    if key != "response_s":
        return Missing(why=Why.NOT_MEASURED, detail=f"{NAME}.{key} has no daily values")
    critical = {a.id for a in fact.alerts if a.severity == "critical"}
    known = [
        e.told_by_ms - e.active_ms
        for e in fact.episodes
        if e.begun and e.alert in critical and e.told_by_ms is not None
    ]
    if not known:
        return Missing(why=Why.NO_DATA, detail="no first notification of a critical alert")
    return Ratio(
        numerator=EXACT.divide(Decimal(sum(known)), Decimal(1000)), denominator=Decimal(len(known))
    )


def _false_positives(fact: AlertsFact) -> int | Missing:
    """How many of the incidents were false; Missing where no incident says."""
    if isinstance(fact.incidents, Missing):
        return fact.incidents
    incidents = sum(o.incidents for o in fact.incidents)
    if incidents and incidents == sum(o.unsaid for o in fact.incidents):
        return Missing(why=Why.NOT_MEASURED, detail="no incident says whether it was one")
    return sum(o.false_positives for o in fact.incidents)


# -- the page ------------------------------------------------------------------------------------

Days = Sequence[tuple[Any, AlertsFact | Missing]]

METHOD = (
    "Response is from the second in which the condition first held to the first notification: the "
    "incident's own time where one was recorded, else the two samples between which Alertmanager's "
    "counters rose. A promise is met by the later bound and missed by the earlier one. No rule is "
    "evaluated while Prometheus itself is down: what happened then is in no number here."
)


def section(fact: AlertsFact | Missing, days: Days, page: Page) -> Section:
    """Every alert against its response target, what flaps and what fires together."""
    if isinstance(fact, Missing):
        return Section(
            id=NAME,
            title="Alerts",
            summary=f"Alerts are not known: {fact}.",
            verdict=Verdict.UNKNOWN,
            figures=(
                Figure(id=f"{NAME}.fired", label="Alerts fired", value=fact),
                Figure(id=f"{NAME}.response_s", label="Slowest critical response", value=fact),
            ),
        )
    mine = {a.id: [e for e in fact.episodes if e.alert == a.id] for a in fact.alerts}
    figures = tuple(
        _figure(alert, begun, days)
        for alert in fact.alerts
        if (begun := [e for e in mine[alert.id] if e.begun])
    )
    unsealed = [date_of(day) for day, value in days if isinstance(value, Missing)]
    verdict = _worst(figure.verdict for figure in figures)
    if unsealed and verdict is not Verdict.MISSED:
        verdict = Verdict.UNKNOWN
    return Section(
        id=NAME,
        title="Alerts",
        summary=_summary(fact, mine),
        verdict=verdict,
        figures=(*_totals(fact, days), *figures),
        tables=_tables(fact, mine),
        charts=_charts(fact, mine, page, days),
        notes=_notes(fact, days, unsealed),
    )


def _worst(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    found = set(verdicts)
    return next((v for v in (Verdict.MISSED, Verdict.UNKNOWN, Verdict.MET) if v in found), None)


def _title(alert: AlertTotals) -> str:
    """Its title as the beginning of a line."""
    return alert.title[:1].upper() + alert.title[1:]


def _figure(alert: AlertTotals, begun: Sequence[Episode], days: Days) -> Figure:
    """The slowest first notification of one alert, at its later bound."""
    known = [e.told_by_ms - e.active_ms for e in begun if e.told_by_ms is not None]
    verdicts = [e.verdict for e in begun]
    return Figure(
        id=f"{NAME}.{alert.id}",
        label=f"{_title(alert)}: slowest first notification",
        value=Duration(ms=max(known))
        if known
        else Missing(why=Why.NO_DATA, detail="no first notification is known"),
        target=Target(
            id=f"{NAME}.{alert.id}",
            comparator="le",
            value=Decimal(alert.response_s),
            unit="s",
            source=f"operations: alert {alert.id}",
        ),
        verdict=_worst(verdicts),
        note=", ".join(f"{verdicts.count(v)} {v.value}" for v in Verdict if v in verdicts),
        series=_series(days, lambda f: _slowest_s(f, [alert.id])),
    )


def _totals(fact: AlertsFact, days: Days) -> tuple[Figure, ...]:
    critical = [a.id for a in fact.alerts if a.severity == "critical"]
    begun = [e for e in fact.episodes if e.begun and e.alert in critical]
    unknown = sum(e.told_by_ms is None for e in begun)
    slowest = _slowest_s(fact, critical)
    value: Shown
    if not begun:
        value = text("no critical alert fired")
    elif slowest is None or unknown:
        value = Missing(
            why=Why.NO_DATA, detail=f"of {len(begun)} first notifications, {unknown} are not known"
        )
    else:
        value = Number(value=slowest, unit="s")
    false = _false_positives(fact)
    return (
        Figure(
            id=f"{NAME}.fired",
            label="Alerts fired",
            value=Count(value=sum(a.begun for a in fact.alerts)),
            series=_series(days, lambda f: Decimal(sum(a.begun for a in f.alerts))),
        ),
        Figure(
            id=f"{NAME}.response_s",
            label="Slowest first notification of a critical alert",
            value=value,
            series=_series(days, lambda f: _slowest_s(f, critical)),
        ),
        Figure(
            id=f"{NAME}.false_positives",
            label="Alerts that were false",
            value=false if isinstance(false, Missing) else Count(value=false),
            note=_of_incidents(fact),
            series=_series(days, _false_of),
        ),
    )


def _of_incidents(fact: AlertsFact) -> str:
    """ "of 3 incidents", "of 2 incidents that say so, 3 in all"."""
    if isinstance(fact.incidents, Missing):
        return ""
    incidents = sum(o.incidents for o in fact.incidents)
    said = incidents - sum(o.unsaid for o in fact.incidents)
    if not said:
        return ""
    of = f"of {said} incident{'' if said == 1 else 's'}"
    return (
        of
        if said == incidents
        else f"{of} that say{'s' if said == 1 else ''} so, {incidents} in all"
    )


def _false_of(fact: AlertsFact) -> Decimal | Missing:
    false = _false_positives(fact)
    return false if isinstance(false, Missing) else Decimal(false)


def _slowest_s(fact: AlertsFact, alerts: Sequence[str]) -> Decimal | None:
    """The slowest known response of the alerts in seconds, at its later bound."""
    known = [
        e.told_by_ms - e.active_ms
        for e in fact.episodes
        if e.begun and e.alert in alerts and e.told_by_ms is not None
    ]
    return Decimal(max(known)) / 1000 if known else None


def _series(days: Days, value: Any) -> tuple[Point, ...]:
    if len(days) < 2:
        return ()
    points = []
    for day, fact in days:
        found = fact if isinstance(fact, Missing) else value(fact)
        if found is None:
            found = Missing(why=Why.NO_DATA, detail="nothing of it on this day")
        points.append(Point(day=date_of(day), value=found))
    return tuple(points)


def _summary(fact: AlertsFact, mine: Mapping[str, Sequence[Episode]]) -> str:
    begun = sum(a.begun for a in fact.alerts)
    carried = sum(not e.begun for e in fact.episodes)
    if not begun and not carried:
        return "No alert fired."
    which = sum(bool(a.begun) for a in fact.alerts)
    parts = [f"{begun} firings of {which} of {len(fact.alerts)} alerts"]
    if not begun:
        parts = ["No alert began to fire"]
    judged = [e.verdict for e in fact.episodes if e.begun]
    if judged:
        parts.append(f"{judged.count(Verdict.MET)} of {len(judged)} first notifications in time")
    for verdict, words in ((Verdict.MISSED, "late"), (Verdict.UNKNOWN, "not known")):
        if verdict in judged:
            parts.append(f"{judged.count(verdict)} {words}")
    if flaps := [a.title for a in fact.alerts if _flaps(mine[a.id])]:
        parts.append(f"{', '.join(flaps)} flapped")
    if still := [a.title for a in fact.alerts if any(e.ongoing for e in mine[a.id])]:
        parts.append(f"{', '.join(still)} firing at the end")
    return "; ".join(parts) + "."


def _flaps(episodes: Sequence[Episode]) -> int:
    return flapping([e.fired_ms for e in episodes if e.begun])


def _tables(fact: AlertsFact, mine: Mapping[str, Sequence[Episode]]) -> tuple[Table, ...]:
    tables = [_by_alert(fact, mine), *([_firings(fact)] if fact.episodes else [])]
    if together := _pairs(fact):
        tables.append(together)
    if not isinstance(fact.held, Missing) and fact.held:
        tables.append(_held_table(fact.held))
    return tuple(tables)


def _by_alert(fact: AlertsFact, mine: Mapping[str, Sequence[Episode]]) -> Table:
    """All alerts, those that broke their promise first; what nobody recorded has no column."""
    recorded = not isinstance(fact.incidents, Missing)
    flaps = any(_flaps(episodes) for episodes in mine.values())
    columns = (
        Column(key="alert", label="Alert", align="left"),
        Column(key="severity", label="Severity", align="left"),
        Column(key="verdict", label="Outcome", align="left"),
        Column(key="level", label="Escalated to", align="left", shown=recorded),
        Column(key="target", label="Response target"),
        Column(key="fired", label="Fired"),
        Column(key="firing", label="Time firing"),
        Column(key="flapping", label="Most in an hour", shown=flaps),
        Column(key="false", label="False positives", shown=recorded),
        Column(key="met", label="Met", shown=False),
        Column(key="missed", label="Missed", shown=False),
        Column(key="unknown", label="Unknown", shown=False),
    )
    rows = []
    for alert in sorted(fact.alerts, key=lambda a: (_rank(mine[a.id]), a.id)):
        verdicts = [e.verdict for e in mine[alert.id]]
        most = _flaps(mine[alert.id])
        level, false = _recorded(alert, fact.incidents)
        rows.append(
            (
                text(_title(alert)),
                text(alert.severity),
                text(OUTCOMES[_rank(mine[alert.id])]),
                level,
                Duration(ms=alert.response_s * 1000),
                Count(value=alert.begun),
                Duration(ms=alert.firing_ms),
                text(f"{most}: flapping" if most else ""),
                false,
                *(Count(value=verdicts.count(v)) for v in Verdict),
            )
        )
    return Table(
        id="alerts_by_alert", title="Alerts against their response targets", columns=columns,
        rows=tuple(rows),
    )  # fmt: skip


#: What became of an alert's promise, the worst first.
OUTCOMES = (
    *(v.value for v in (Verdict.MISSED, Verdict.UNKNOWN, Verdict.MET)),
    "fired since before",
    "did not fire",
)


def _rank(episodes: Sequence[Episode]) -> int:
    """Which of OUTCOMES an alert's episodes amount to."""
    worst = _worst(e.verdict for e in episodes)
    if worst is not None:
        return OUTCOMES.index(worst.value)
    return len(OUTCOMES) - (2 if episodes else 1)


def _recorded(alert: AlertTotals, incidents: Sequence[Opened] | Missing) -> tuple[Shown, Shown]:
    """What incidents tell of an alert: how far they were escalated, and how many were false."""
    if isinstance(incidents, Missing):
        return incidents, incidents
    own = next(o for o in incidents if o.alert == alert.id)
    false: Shown = Count(value=own.false_positives)
    if own.unsaid:
        false = text(f"{own.false_positives}, {own.unsaid} not said")
    levels = [
        f"level {n}" + (f" ({k} times)" if k > 1 else "") for n, k in enumerate(own.levels, 1) if k
    ]
    return text(", ".join(levels)), false


def _firings(fact: AlertsFact) -> Table:
    """Each firing: the moment once, and how long after it all else was."""
    titles = {a.id: _title(a) for a in fact.alerts}
    columns = (
        Column(key="alert", label="Alert", align="left"),
        Column(
            key="labels",
            label="Labels",
            align="left",
            shown=any(e.labels != "{}" for e in fact.episodes),
        ),
        Column(key="held", label="Condition held from", align="left"),
        Column(key="verdict", label="Verdict", align="left"),
        Column(key="from", label="Known from", align="left"),
        Column(key="fired", label="Fired after"),
        Column(key="after", label="Told not before"),
        Column(key="by", label="Told at the latest"),
        Column(key="firing", label="Time firing"),
        Column(
            key="end",
            label="At the end",
            shown=any(e.ongoing for e in fact.episodes),
        ),
    )
    return Table(
        id="alerts_firings",
        title="Every firing",
        columns=columns,
        rows=tuple(
            (
                text(titles[e.alert]),
                text("" if e.labels == "{}" else e.labels),
                _moment(e.active_ms),
                text(e.verdict.value if e.verdict else ""),
                text(e.told_from or ("nothing" if e.begun else "")),
                Duration(ms=e.fired_ms - e.active_ms) if e.begun else text("before"),
                _since(e, e.told_after_ms),
                _since(e, e.told_by_ms),
                Duration(ms=e.firing_ms),
                text("still firing" if e.ongoing else ""),
            )
            for e in fact.episodes
        ),
        top=20,
    )


def _since(episode: Episode, at: int | None) -> Shown:
    if at is None:
        return text("not known" if episode.begun else "")
    return Duration(ms=at - episode.active_ms)


def _moment(ms: int) -> Moment:
    return Moment(at=EPOCH + timedelta(milliseconds=ms))


def _pairs(fact: AlertsFact) -> Table | None:
    found = pairs(fact.episodes)
    if not found:
        return None
    titles = {a.id: _title(a) for a in fact.alerts}
    columns = (
        Column(key="rarer", label="Alert", align="left"),
        Column(key="other", label="Together with", align="left"),
        Column(key="together", label="Times"),
        Column(key="episodes", label="Of firings"),
        Column(key="share", label="Share"),
    )
    rows = tuple(
        (
            text(titles[p.rarer]),
            text(titles[p.other]),
            Count(value=p.together),
            Count(value=p.episodes),
            Ratio(numerator=Decimal(p.together), denominator=Decimal(p.episodes)),
        )
        for p in found
    )
    return Table(
        id="alerts_together",
        title="Alerts that fire together",
        columns=columns,
        rows=rows,
        note="Overlapping, or begun within five minutes of each other.",
        top=10,
    )


def _held_table(held: Sequence[Held]) -> Table:
    columns = (
        Column(key="alert", label="Alert", align="left"),
        Column(key="labels", label="Labels", align="left"),
        Column(key="state", label="State", align="left"),
        Column(key="since", label="Since", align="left"),
        Column(key="because", label="Because", align="left"),
    )
    return Table(
        id="alerts_held",
        title="What Alertmanager held at the close",
        columns=columns,
        rows=tuple(
            (
                text(h.alertname),
                text(h.labels),
                text(h.state),
                _moment(h.since_ms),
                text(h.because),
            )
            for h in held
        ),
        top=10,
    )


def _charts(
    fact: AlertsFact, mine: Mapping[str, Sequence[Episode]], page: Page, days: Days
) -> tuple[Chart, ...]:
    if not fact.episodes:
        return ()
    blind = [
        (at.start_ms, at.end_ms)
        for day, found in days
        if isinstance(found, Missing)
        for at in [calendar_day(date_of(day), page.zone)]
    ]
    start = min([fact.start_ms, *(lo for lo, _ in blind)])
    end = max([fact.end_ms, *(hi for _, hi in blind)])
    rows = tuple(
        TimelineRow(label=_title(alert), spans=_spans(mine[alert.id], start, end, blind))
        for alert in fact.alerts
        if mine[alert.id]
    )
    return (
        TimelineChart(
            id="alerts_timeline",
            title="When alerts were firing",
            alt=f"{len(rows)} of {len(fact.alerts)} alerts fired; the table lists when.",
            start_ms=start,
            end_ms=end,
            zone=page.zone,
            rows=rows,
            states=("quiet", "firing", "not known"),
        ),
    )


def _spans(
    episodes: Sequence[Episode], start: int, end: int, blind: Sequence[tuple[int, int]]
) -> tuple[Span, ...]:
    """Firing as down, days that nobody saw as unknown, all other time as up.

    Label sets of one alert are drawn as one; what is known to fire goes before what is not known.
    """
    firing = [(e.fired_ms if e.begun else start, e.last_ms) for e in episodes]
    edges = sorted({start, end, *(x for pair in (*firing, *blind) for x in pair)})
    spans: list[Span] = []
    for lo, hi in pairwise(x for x in edges if start <= x <= end):
        state: Literal["up", "down", "unknown"] = "up"
        if any(a <= lo < b for a, b in firing):
            state = "down"
        elif any(a <= lo < b for a, b in blind):
            state = "unknown"
        if spans and spans[-1].state == state:
            spans[-1] = spans[-1].model_copy(update={"end_ms": hi})
        else:
            spans.append(Span(state=state, start_ms=lo, end_ms=hi))
    return tuple(spans)


def _notes(fact: AlertsFact, days: Days, unsealed: Sequence[date]) -> tuple[str, ...]:
    notes = [METHOD]
    if never := [a.title for a in fact.alerts if not a.seen]:
        notes.append(
            "Never seen active by this server, so that it is not known whether their rules are "
            f"loaded: {', '.join(never)}."
        )
    dropped = sum(a.begun for a in fact.alerts) - sum(e.begun for e in fact.episodes)
    if dropped:
        notes.append(
            f"{dropped} firings are in the totals and in no list or verdict (the first "
            f"{MAX_EPISODES} of each alert are kept)."
        )
    if isinstance(fact.incidents, Missing):
        notes.append(f"False positives and escalation: {fact.incidents}.")
    elif blind := [
        date_of(day).isoformat()
        for day, found in days
        if isinstance(found, AlertsFact) and isinstance(found.incidents, Missing)
    ]:
        notes.append(
            f"Without a record of incidents, so that false positives of them are in no number "
            f"here: {', '.join(blind)}."
        )
    if isinstance(fact.held, Missing):
        notes.append(f"What was silenced or inhibited: {fact.held}.")
    if unsealed:
        notes.append(f"Not known, and not in any number here: {in_spans(unsealed)}.")
    return tuple(notes)


ALERTS = Measure[AlertsFact](
    name=NAME,
    title="Alerts",
    unit="s",
    every_day=True,
    reads=(RULES, EPISODES, NOTIFICATIONS),
    fact=AlertsFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="The Site Reliability Workbook (2018), chapter 5: detection time, as the time from "
    "the condition to the first notification, with both bounds",
)
