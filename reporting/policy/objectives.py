"""Availability objectives, read from OpenSLO v1 documents.

A thin part of the format for now, and nothing beyond it is quietly ignored: one ``ratioMetric``
with a raw success query (a series that is 1 while the target is up), the ``Occurrences`` method,
a calendar window and one target. What the format lacks stands in annotations under our prefix.

Reference: the OpenSLO specification, version v1, kind SLO.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..errors import ValidationFailed

#: Our annotations; .internal is a name that will never be anybody else's.
PREFIX = "reporting.internal/"
#: A metric's name and, in braces, its label matchers: no function, no range, no arithmetic.
SELECTOR = re.compile(
    r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{\s*([a-zA-Z_][a-zA-Z0-9_]*\s*(=~|!~|!=|=)\s*"([^"\\]|\\.)*"'
    r"\s*,?\s*)*\})?"
)
TARGET_ID = re.compile(r"[a-z][a-z0-9_]*")

NoData = Literal["flag"]


@dataclass(frozen=True)
class Objective:
    """One target and what was promised of it.

    ``id`` is the target's name in figures and thresholds; ``component`` the group that it belongs
    to; ``query`` a selector of its 0/1 series; ``target_pct`` the availability promised per
    calendar period, None if it is only tracked. ``no_data`` says how time without data is judged:
    ``flag`` prints both bounds. ``zone`` is the time zone of its calendar window.
    """

    id: str
    title: str
    component: str
    query: str
    target_pct: Decimal | None
    no_data: NoData
    zone: str


def parse_objectives(text: str, name: str) -> tuple[Objective, ...]:
    """The objectives in one YAML ``text``, in its order; ``name`` is its file name, for messages.

    Raises :class:`ValidationFailed` naming the file, the document, the field and what was
    expected there.
    """
    try:
        documents = [d for d in yaml.load_all(text, Loader=_Strings) if d is not None]
    except yaml.YAMLError as error:
        raise ValidationFailed(f"{name} is not YAML: {error}") from None
    objectives = tuple(_objective(d, f"{name}, document {n}") for n, d in enumerate(documents, 1))
    seen: set[str] = set()
    for objective in objectives:
        if objective.id in seen:
            raise ValidationFailed(
                f"{name}: spec.service {objective.id!r} has two objectives; expected one each"
            )
        seen.add(objective.id)
    return objectives


class _Strings(yaml.BaseLoader):
    """Every scalar as its text, so that 99.95 stays exact; a key given twice is refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, or an error where a key repeats (YAML itself would keep the last)."""
        keys = [key.value for key, _ in node.value]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {repeated[0]!r} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep=True)


def _decimal(value: Any) -> Any:
    """A number's text as an exact Decimal."""
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise ValueError(f"expected a number, got {value!r}") from None
    if not number.is_finite():
        raise ValueError(f"expected a finite number, got {value!r}")
    return number


def _zone(value: Any) -> Any:
    """A name of the time zone database."""
    if value not in available_timezones():
        raise ValueError(f"expected a name of the IANA time zone database, got {value!r}")
    return value


Zone = Annotated[str, BeforeValidator(_zone)]
Number = Annotated[Decimal, BeforeValidator(_decimal)]


class _Part(BaseModel):
    """A part of a document: fields that we do not know are refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Query(_Part):
    query: str


class _Source(_Part):
    type: Literal["Prometheus"] = "Prometheus"
    spec: _Query


class _Raw(_Part):
    metric_source: _Source = Field(alias="metricSource")


class _Ratio(_Part):
    raw_type: Literal["success"] = Field(alias="rawType")
    raw: _Raw


class _IndicatorSpec(_Part):
    description: str = ""
    ratio_metric: _Ratio = Field(alias="ratioMetric")


class _IndicatorMetadata(_Part):
    name: str
    display_name: str = Field(default="", alias="displayName")


class _Indicator(_Part):
    metadata: _IndicatorMetadata
    spec: _IndicatorSpec


class _Calendar(_Part):
    start_time: str = Field(alias="startTime", pattern=r"^\d{4}-\d\d-01 00:00:00$")
    time_zone: Zone = Field(alias="timeZone")


class _TimeWindow(_Part):
    # "1m" means minutes in v1 but was the example for months; with a calendar it can mean nothing
    # else. The figure is reported for every calendar period, so that is what may be promised.
    duration: Literal["1M", "1m"]
    is_rolling: Literal["false"] = Field(default="false", alias="isRolling")
    calendar: _Calendar


class _Target(_Part):
    display_name: str = Field(default="", alias="displayName")
    target: Number | None = Field(default=None, ge=0, lt=1)
    target_percent: Number | None = Field(default=None, alias="targetPercent", ge=0, lt=100)


class _Spec(_Part):
    description: str = Field(default="", max_length=1050)
    service: str = Field(pattern=f"^{TARGET_ID.pattern}$")
    indicator: _Indicator
    time_window: list[_TimeWindow] = Field(alias="timeWindow", min_length=1, max_length=1)
    budgeting_method: Literal["Occurrences"] = Field(alias="budgetingMethod")
    objectives: list[_Target] = Field(min_length=1, max_length=1)


class _Labels(_Part):
    component: str


class _Annotations(_Part):
    no_data: NoData = Field(default="flag", alias=f"{PREFIX}no-data")
    promise: Literal["target", "tracked"] = Field(default="target", alias=f"{PREFIX}promise")


class _Metadata(_Part):
    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    display_name: str = Field(alias="displayName", min_length=1)
    labels: _Labels
    annotations: _Annotations = _Annotations()


class _Document(_Part):
    api_version: Literal["openslo/v1"] = Field(alias="apiVersion")
    kind: Literal["SLO"]
    metadata: _Metadata
    spec: _Spec


def _objective(document: Any, where: str) -> Objective:
    """One document as an objective; ``where`` names it in messages."""
    try:
        slo = _Document.model_validate(document)
    except ValidationError as error:
        raise ValidationFailed(
            f"{where} is not an availability objective that this version reads: "
            + "; ".join(_explained(error))
        ) from None
    query = slo.spec.indicator.spec.ratio_metric.raw.metric_source.spec.query.strip()
    if not SELECTOR.fullmatch(query):
        raise ValidationFailed(
            f"{where}: spec.indicator.spec.ratioMetric.raw.metricSource.spec.query is {query!r}; "
            'expected a plain selector of a 0/1 series, such as up{job="grafana"}'
        )
    return Objective(
        id=slo.spec.service,
        title=slo.metadata.display_name,
        component=slo.metadata.labels.component,
        query=query,
        target_pct=_promised(slo, where),
        no_data=slo.metadata.annotations.no_data,
        zone=slo.spec.time_window[0].calendar.time_zone,
    )


def _promised(slo: _Document, where: str) -> Decimal | None:
    """The promised percentage, or None for a target that is tracked only.

    OpenSLO demands a target; "no promise" is a target of 0 with our annotation, so that other
    tools read the document as one that can't be missed.
    """
    given = slo.spec.objectives[0]
    if (given.target is None) == (given.target_percent is None):
        raise ValidationFailed(
            f"{where}: spec.objectives[0] has target {given.target} and targetPercent "
            f"{given.target_percent}; expected exactly one of them"
        )
    share = given.target_percent if given.target is None else given.target * 100
    assert share is not None  # one of the two is there
    tracked = slo.metadata.annotations.promise == "tracked"
    if tracked != (share == 0):
        raise ValidationFailed(
            f"{where}: spec.objectives[0] promises {share} % while metadata.annotations "
            f"{PREFIX}promise is {slo.metadata.annotations.promise!r}; expected a target of 0 "
            "with 'tracked', and above 0 without"
        )
    return None if tracked else share


def _explained(error: ValidationError) -> Iterator[str]:
    """Each problem as path, what stands there, and what was expected."""
    for problem in error.errors():
        path = "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem["loc"]
        ).lstrip(".")
        if problem["type"] == "extra_forbidden":
            siblings = ", ".join(_fields(problem["loc"][:-1]))
            yield f"{path} is not supported; expected only {siblings}"
        elif problem["type"] == "missing":
            yield f"{path} is missing; expected it there"
        else:
            yield f"{path or 'the document'} is {problem['input']!r}: {problem['msg']}"


def _fields(path: tuple[int | str, ...]) -> list[str]:
    """The fields that may stand at ``path``, as the format spells them."""
    model: type[BaseModel] = _Document
    for step in path:
        if isinstance(step, int):
            continue
        field = next(f for n, f in model.model_fields.items() if step in (n, f.alias))
        inner = field.annotation
        model = inner if isinstance(inner, type) else inner.__args__[0]  # type: ignore[union-attr]
    return [field.alias or name for name, field in model.model_fields.items()]
