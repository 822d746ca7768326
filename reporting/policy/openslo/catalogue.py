"""All documents together: references followed, indicators and promises worked out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from ...model import EXACT, plain
from ..indicators import (
    Budgeting,
    CalendarWindow,
    Comparator,
    Counts,
    Indicator,
    Objective,
    Occurrences,
    Query,
    RatioTimeslices,
    ReportFigure,
    RollingWindow,
    Share,
    State,
    Threshold,
    Timeslices,
)
from .documents import (
    PREFIX,
    AlertCondition,
    AlertNotificationTarget,
    AlertPolicy,
    Annotations,
    DataSource,
    Document,
    Goal,
    Metric,
    MetricOf,
    Operator,
    PolicySpec,
    RatioMetric,
    Sli,
    SliSpec,
    Slo,
    SloSpec,
    TimeWindow,
    explained,
    refuse,
    short,
)
from .queries import buckets_of, is_state, parse_query

#: Zone of the days of a rolling window, for which the format has no field.
ROLLING_ZONE: Final = "UTC"
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000

_Content = TypeVar("_Content", bound=BaseModel)
#: By kind of source, the fields of metricSource.spec that we read.
SOURCES: Final = {"prometheus": ("query", "promql"), "report": ("figure",)}


class _Problem(Exception):
    """Something wrong at a path below the document that is being read."""


class Catalogue:
    """All documents by kind and name, and the objectives that they make."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents = tuple(documents)
        self._named: dict[tuple[str, str], Document] = {}
        #: Every DataSource that a metric refers to, for there is one server.
        self._servers: dict[str, str] = {}
        problems = []
        for document in self._documents:
            first = self._named.setdefault((document.kind, document.name), document)
            if first is not document:
                problems.append(
                    f"{document.where}: metadata.name is that of {first.where} too; expected "
                    f"unique names of a {document.kind}"
                )
        refuse(problems)

    def objectives(self) -> tuple[Objective, ...]:
        """Follow every reference; an objective for each one of each SLO."""
        found: list[Objective] = []
        owners: dict[str, str] = {}
        problems = []
        for document in self._documents:
            try:
                for objective in self._of(document):
                    if objective.id in owners:
                        raise _Problem(
                            f"the id {objective.id!r} is that of {owners[objective.id]} too; "
                            "expected another metadata.name"
                        )
                    owners[objective.id] = document.where
                    found.append(objective)
            except _Problem as problem:
                problems.append(f"{document.where}: {problem}")
        refuse(problems)
        return tuple(found)

    def _of(self, document: Document) -> Iterator[Objective]:
        """The objectives of one document, which only an SLO has; all others are checked."""
        content = document.content
        if isinstance(content, Slo):
            yield from self._slo(content, document.system)
        elif isinstance(content, Sli):
            self._indicator(content.spec, "spec")
        elif isinstance(content, DataSource):
            _source_type(content.spec.type, "spec.type")
        elif isinstance(content, AlertPolicy):
            self._policy(content.spec, "spec")

    def _look_up(self, kind: str, name: str, path: str, model: type[_Content]) -> _Content:
        document = self._named.get((kind, name))
        if document is None:
            known = sorted(n for k, n in self._named if k == kind)
            raise _Problem(
                f"{path} is {name!r}, which none of these files has; expected the name of "
                f"{'an' if kind[0] in 'AS' and kind != 'Service' else 'a'} {kind}"
                + (f": {', '.join(known)}" if known else "")
            )
        assert isinstance(document.content, model)
        return document.content

    # -- one SLO

    def _slo(self, slo: Slo, system: str) -> Iterator[Objective]:
        spec, ours = slo.spec, slo.metadata.annotations
        for n, used in enumerate(spec.policies):
            path = f"spec.alertPolicies[{n}]"
            if used.ref is not None:
                named = self._look_up(
                    "AlertPolicy", used.ref, f"{path}.alertPolicyRef", AlertPolicy
                )
                self._policy(named.spec, f"{path}.alertPolicyRef {used.ref}: spec")
            elif used.spec is not None:
                self._policy(used.spec, f"{path}.spec")
        window, zone = _window(spec.time_window[0])
        own = [g.indicator is not None or g.indicator_ref is not None for g in spec.objectives]
        composite = any(own)
        shared = spec.indicator is not None or spec.indicator_ref is not None
        if composite == shared or composite != all(own):
            raise _Problem(
                "spec needs an indicator or indicatorRef, either for all objectives at once "
                "(spec) or in each of spec.objectives (composite); got "
                f"{'one' if shared else 'none'} in spec and {sum(own)} in {len(own)} objectives"
            )
        title = slo.metadata.display_name or slo.metadata.name
        base = slo.metadata.name.replace("-", "_")
        for n, goal in enumerate(spec.objectives):
            path = f"spec.objectives[{n}]"
            if goal.weight is not None and not composite:
                raise _Problem(
                    f"{path}.compositeWeight is {goal.weight} while the indicator is that of all "
                    "objectives; expected it only in a composite"
                )
            several = len(spec.objectives) > 1
            indicator = self._indicator_of(goal if composite else spec, goal, path)
            share, strict = _promised(goal, ours, path)
            budgeting = _budgeting(goal, spec.method, path)
            indicator = _fitting(indicator, budgeting, ours, path)
            yield Objective(
                id=f"{base}_{n + 1}" if several else base,
                slo=base,
                title=f"{title}: {goal.display_name or n + 1}" if several else title,
                system=system,
                component=spec.service.replace("-", "_"),
                indicator=indicator,
                budgeting=budgeting,
                goal=share,
                strict=strict,
                window=window,
                zone=zone,
                no_data=ours.no_data,
                composite=composite,
                weight=Decimal(1) if goal.weight is None else goal.weight,
                unit=ours.unit,
                description=" ".join(spec.description.split()),
                answers=tuple(a.strip() for a in ours.answers.split(",") if a.strip()),
                allocated=ours.allocated,
                watch=ours.watch,
            )

    def _indicator_of(self, owner: SloSpec | Goal, goal: Goal, path: str) -> Indicator:
        """The indicator that ``owner`` writes out or refers to, judged by ``goal``."""
        where = path if owner is goal else "spec"
        if owner.indicator is not None and owner.indicator_ref is not None:
            raise _Problem(f"{where} has indicator and indicatorRef; expected one of them")
        if owner.indicator_ref is not None:
            at = f"{where}.indicatorRef"
            spec = self._look_up("SLI", owner.indicator_ref, at, Sli).spec
            at = f"{at} {owner.indicator_ref}: spec"
        else:
            assert owner.indicator is not None
            spec, at = owner.indicator.spec, f"{where}.indicator.spec"
        metric = self._indicator(spec, at)
        if not isinstance(metric, _Watched):
            if goal.value is not None:
                raise _Problem(
                    f"{path}.value is {goal.value} while the indicator is a ratioMetric; expected "
                    "it only with a thresholdMetric"
                )
            return metric
        if goal.op is None or goal.value is None:
            raise _Problem(
                f"{path} lacks {'op' if goal.op is None else 'value'}; expected op (lt, lte, gt, "
                "gte) and value, since the indicator is a thresholdMetric"
            )
        comparator = _comparator(goal.op)
        if metric.query is None:
            return ReportFigure(metric.figure, comparator, goal.value)
        return Threshold(metric.query, comparator, goal.value)

    # -- one SLI

    def _indicator(self, spec: SliSpec, path: str) -> State | Share | Counts | _Watched:
        """What is measured; a thresholdMetric still lacks its objective's op and value."""
        threshold, ratio = spec.threshold_metric, spec.ratio_metric
        if (threshold is None) == (ratio is None):
            raise _Problem(f"{path} needs exactly one of thresholdMetric and ratioMetric")
        if threshold is not None:
            return self._metric(threshold, f"{path}.thresholdMetric", figures=True)
        assert ratio is not None
        return self._ratio(ratio, f"{path}.ratioMetric")

    def _ratio(self, ratio: RatioMetric, path: str) -> State | Share | Counts:
        given = [n for n in ("good", "bad", "total", "raw") if getattr(ratio, n) is not None]
        if given not in (["good", "total"], ["bad", "total"], ["raw"]):
            raise _Problem(
                f"{path} has {', '.join(given) or 'no metric'}; expected good and total, bad and "
                "total, or raw"
            )
        if ratio.raw is not None:
            if ratio.raw_type is None:
                raise _Problem(f"{path}.rawType is missing; expected success or failure")
            query = self._query(ratio.raw, f"{path}.raw")
            success = ratio.raw_type == "success"
            return State(query, success) if is_state(query) else Share(query, success)
        if ratio.raw_type is not None:
            raise _Problem(f"{path}.rawType is {ratio.raw_type!r}; expected it only with raw")
        part = "good" if ratio.good is not None else "bad"
        metric = ratio.good or ratio.bad
        assert metric is not None and ratio.total is not None
        numerator = self._query(metric, f"{path}.{part}")
        total = self._query(ratio.total, f"{path}.total")
        if numerator.selector is None or total.selector is None:
            # Both at the same instants: what only the server can evaluate takes the other along.
            numerator, total = Query(numerator.text, None), Query(total.text, None)
        elif numerator.rate != total.rate:
            raise _Problem(
                f"{path} has a rate() in {part if numerator.rate else 'total'} only; expected both "
                "or none: counts and rates make no share"
            )
        if numerator.rate:
            # The rate of a counter: what is meant are the events that it counts.
            monotonic = True
        elif ratio.counter is None:
            raise _Problem(
                f"{path}.counter is missing; expected true (the metric only ever increases) or "
                "false"
            )
        else:
            monotonic = ratio.counter
        return Counts(
            numerator=numerator,
            total=total,
            good=part == "good",
            monotonic=monotonic,
            histogram=buckets_of(numerator.selector) if monotonic else None,
        )

    def _query(self, metric: MetricOf, path: str) -> Query:
        query = self._metric(metric, path, figures=False).query
        assert query is not None
        return query

    def _metric(self, metric: MetricOf, path: str, *, figures: bool) -> _Watched:
        """What one metricSource asks for; ``figures`` says that the report itself may be asked."""
        source, path = metric.source, f"{path}.metricSource"
        kind = _source_type(source.type, f"{path}.type") if source.type else ""
        if source.ref is not None:
            declared = self._look_up(
                "DataSource", source.ref, f"{path}.metricSourceRef", DataSource
            )
            inferred = _source_type(
                declared.spec.type, f"{path}.metricSourceRef {source.ref}: spec.type"
            )
            if kind and kind != inferred:
                raise _Problem(
                    f"{path}.type is {source.type!r} while DataSource {source.ref!r} is of type "
                    f"{declared.spec.type!r}; expected the same"
                )
            kind = inferred
            if kind == "prometheus":
                self._servers.setdefault(source.ref, path)
                if len(self._servers) > 1:
                    raise _Problem(
                        f"{path}.metricSourceRef is {source.ref!r} while other metrics are of "
                        f"{next(iter(self._servers))!r}; expected one DataSource: the service "
                        "reads the one server of its settings"
                    )
        if not kind:
            raise _Problem(f"{path} has neither type nor metricSourceRef; expected one of them")
        if kind == "report" and not figures:
            raise _Problem(
                f"{path}.type is {source.type!r} in a ratioMetric; expected Prometheus: a figure "
                "of the report goes with a thresholdMetric"
            )
        if unknown := [key for key in source.spec if key not in SOURCES[kind]]:
            raise _Problem(
                f"{path}.spec.{unknown[0]} is not supported; expected only "
                f"{' or '.join(SOURCES[kind])}"
            )
        try:
            asked = Metric.model_validate(source.spec)
        except ValidationError as error:
            raise _Problem(
                "; ".join(f"{path}.spec.{p}" for p in explained(error, Metric))
            ) from None
        if kind == "report":
            if not asked.figure:
                raise _Problem(
                    f"{path}.spec.figure is missing; expected a figure such as var.gross"
                )
            return _Watched(None, asked.figure)
        if bool(asked.query) == bool(asked.promql):
            raise _Problem(f"{path}.spec needs exactly one of query and promql")
        text = asked.query or asked.promql
        if "{{" in text:
            raise _Problem(f"{path}.spec.query is a template, {short(text)}; expected PromQL")
        return _Watched(parse_query(text), "")

    # -- alert policies: checked, not used

    def _policy(self, spec: PolicySpec, path: str) -> None:
        for n, condition in enumerate(spec.conditions):
            if condition.ref is not None:
                at = f"{path}.conditions[{n}].conditionRef"
                self._look_up("AlertCondition", condition.ref, at, AlertCondition)
        for n, target in enumerate(spec.targets):
            if target.ref is not None:
                at = f"{path}.notificationTargets[{n}].targetRef"
                self._look_up("AlertNotificationTarget", target.ref, at, AlertNotificationTarget)


@dataclass(frozen=True)
class _Watched:
    """A value to be compared: of a query, or (where that is None) a figure of the report."""

    query: Query | None
    figure: str


def _source_type(given: str, path: str) -> str:
    """The kind of a source, in lower case as some tools write it."""
    if given.lower() not in SOURCES:
        raise _Problem(
            f"{path} is {given!r}, which is not supported; expected Prometheus, or Report for a "
            "figure of the report itself"
        )
    return given.lower()


def _comparator(op: Operator) -> Comparator:
    names: dict[Operator, Comparator] = {"lt": "lt", "lte": "le", "gt": "gt", "gte": "ge"}
    return names[op]


UNITS: Final[Mapping[str, Literal["day", "week", "month", "quarter", "year"]]] = {
    "d": "day",
    "w": "week",
    "M": "month",
    "m": "month",
    "Q": "quarter",
    "Y": "year",
}


def _window(given: TimeWindow) -> tuple[CalendarWindow | RollingWindow, str]:
    """The window and the zone of its days."""
    path = "spec.timeWindow[0]"
    count, unit = int(given.duration[:-1]), given.duration[-1]
    rolling = given.calendar is None if given.is_rolling is None else given.is_rolling
    if given.is_rolling is None and rolling:
        raise _Problem(f"{path} has neither isRolling: true nor a calendar; expected one of them")
    if rolling == (given.calendar is not None):
        raise _Problem(
            f"{path}.isRolling is {str(rolling).lower()} {'with' if rolling else 'without'} a "
            "calendar; expected a calendar for windows that do not roll, and only for them"
        )
    if given.calendar is None:
        if unit in "mh":
            raise _Problem(
                f"{path}.duration is {given.duration!r}, which is not supported; expected days or "
                "weeks such as 28d: facts are sealed by the day"
            )
        if unit in "MQY":
            raise _Problem(
                f"{path}.duration is {given.duration!r} for a rolling window, which is not "
                f"supported since its length varies; expected days, such as "
                f"{count * {'M': 30, 'Q': 90, 'Y': 365}[unit]}d"
            )
        return RollingWindow(count * (7 if unit == "w" else 1)), ROLLING_ZONE
    if unit == "h":
        raise _Problem(
            f"{path}.duration is {given.duration!r}, which is not supported; expected whole days, "
            "weeks, months, quarters or years (1d, 1w, 1M, 1Q, 1Y): facts are sealed by the day"
        )
    text = given.calendar.start_time
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        raise _Problem(
            f"{path}.calendar.startTime is {text!r}; expected a date and time that exist"
        ) from None
    if start.time() != time(0):
        raise _Problem(
            f"{path}.calendar.startTime is {text!r}, which is not supported; expected 00:00:00: "
            "facts are sealed by the day, so that no period can begin within one"
        )
    day: date = start.date()
    return CalendarWindow(count, UNITS[unit], day), given.calendar.zone


def _promised(goal: Goal, ours: Annotations, path: str) -> tuple[Decimal | None, bool]:
    """The share of good that was promised, None if it is tracked only; whether it is strict.

    OpenSLO demands a target; "no promise" is a target of 0 with our annotation, so that other
    tools read the document as one that can't be missed.
    """
    if (goal.target is None) == (goal.target_percent is None):
        raise _Problem(
            f"{path} has target {goal.target} and targetPercent {goal.target_percent}; expected "
            "exactly one of them"
        )
    percent = goal.target_percent
    share = goal.target if percent is None else EXACT.scaleb(percent, Decimal(-2))
    assert share is not None  # one of the two is there
    tracked = ours.promise == "tracked"
    if tracked != (share == 0):
        raise _Problem(
            f"{path} promises a share of {plain(share)} while metadata.annotations {PREFIX}promise "
            f"is {ours.promise!r}; expected a target of 0 with 'tracked', and above 0 without"
        )
    strict = ours.strict
    if goal.op is not None and goal.value is None:
        # Beside a ratioMetric there is nothing else that the operator can compare.
        if goal.op in ("lt", "lte"):
            raise _Problem(
                f"{path}.op is {goal.op!r} without a value; expected gt or gte: a share of good is "
                "never too high"
            )
        if goal.op == "gte" and strict:
            raise _Problem(
                f"{path}.op is 'gte' while metadata.annotations {PREFIX}strict is 'true'; expected "
                "them to agree"
            )
        strict = goal.op == "gt"
    return (None if tracked else share), strict


def _budgeting(goal: Goal, method: str, path: str) -> Budgeting:
    """How bad moments are counted; a slice is a part of an hour, so that it fits every day."""
    window, target = goal.slice_window, goal.slice_target
    for field, value, needed in (
        ("timeSliceWindow", window, method != "Occurrences"),
        ("timeSliceTarget", target, method == "Timeslices"),
    ):
        if (value is not None) != needed:
            raise _Problem(
                f"{path}.{field} is {'missing' if needed else value}; expected it "
                f"{'' if needed else 'not to be given '}with budgetingMethod {method}"
            )
    if window is None:
        return Occurrences()
    length = int(window[:-1]) * {"m": MINUTE_MS, "h": HOUR_MS}.get(window[-1], 0)
    if not length or HOUR_MS % length:
        raise _Problem(
            f"{path}.timeSliceWindow is {window!r}, which is not supported; expected minutes that "
            "divide an hour (1m, 5m, 15m, 1h), so that slices fit days of 23, 24 and 25 hours"
        )
    return RatioTimeslices(length) if target is None else Timeslices(length, target)


def _fitting(indicator: Indicator, budgeting: Budgeting, ours: Annotations, path: str) -> Indicator:
    """The indicator in the form that its budgeting can be worked out from."""
    if isinstance(indicator, State) and not isinstance(budgeting, Occurrences):
        # Slices need the share of each, which a state is over time as well.
        indicator = Share(indicator.query, indicator.success)
    if isinstance(indicator, ReportFigure) and not isinstance(budgeting, Occurrences):
        raise _Problem(
            f"{path} cuts time slices of the figure {indicator.figure!r}, which has one value a "
            "period; expected budgetingMethod Occurrences"
        )
    if ours.allocated is not None and not isinstance(indicator, Threshold):
        raise _Problem(
            f"metadata.annotations {PREFIX}allocated is {ours.allocated} for a ratio; expected it "
            "only with a thresholdMetric of Prometheus, whose value is the use"
        )
    watched = isinstance(indicator, Threshold) or (
        isinstance(indicator, Counts)
        and (indicator.histogram is not None or ours.watch == "throughput")
    )
    if ours.watch and not watched:
        raise _Problem(
            f"metadata.annotations {PREFIX}watch is {ours.watch!r}, but this indicator has no "
            f"{ours.watch}; expected a thresholdMetric or a bucket of a histogram"
        )
    return indicator
