"""The documents of OpenSLO v1, field by field: each is checked for itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import PurePath
from types import UnionType
from typing import Annotated, Any, Final, Literal, get_args
from zoneinfo import available_timezones

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from ...errors import ValidationFailed
from ..indicators import NoData

#: Our annotations; .internal is a name that will never be anybody else's.
PREFIX: Final = "reporting.internal/"
#: OpenSLO's own documents need less than twenty levels.
DEEPEST: Final = 100


@dataclass(frozen=True)
class Document:
    """One checked document: ``where`` names it in messages, ``system`` is its file's stem."""

    where: str
    system: str
    kind: str
    name: str
    content: BaseModel


def read_documents(texts: Mapping[str, str]) -> tuple[Document, ...]:
    """Every document of all files, each checked for itself; references are not followed yet.

    Raises :class:`ValidationFailed` with a line for every problem.
    """
    found: list[Document] = []
    problems: list[str] = []
    for name in sorted(texts):
        try:
            _check_depth(texts[name])
            parts = [p for p in yaml.load_all(texts[name], Loader=_Strings) if p is not None]
        except yaml.YAMLError as error:
            problems.append(f"{name} is not YAML: {' '.join(str(error).split())}")
            continue
        # A document may be a list of documents, as the format's own examples are.
        contents = [item for p in parts for item in (p if isinstance(p, list) else [p])]
        for number, content in enumerate(contents, 1):
            where = f"{name}, document {number}"
            try:
                found.append(_document(content, where, PurePath(name).stem))
            except ValidationFailed as error:
                problems.append(str(error))
    refuse(problems)
    return tuple(found)


def refuse(problems: list[str]) -> None:
    """Raise all problems as one error, if there are any."""
    if problems:
        raise ValidationFailed("\n".join(problems))


def _check_depth(text: str) -> None:
    """Refuse what is nested so deeply that PyYAML's composer in C would overflow the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"nested more than {DEEPEST} deep")


# The parser in C, which PyYAML's wheels have, is ten times as fast.
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class _Strings(_Loader):  # type: ignore[misc]  # one of two, at run time
    """Every scalar as its text, so that 99.95 stays exact; a key given twice is refused.

    A field without a value (``alertPolicies:``) counts as absent, as it does in Kubernetes.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, or an error where a key repeats (YAML itself would keep the last)."""
        keys = [key.value for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {repeated[0]!r} is given twice", node.start_mark
            )
        node.value = [(key, value) for key, value in node.value if not _is_null(value)]
        found: dict[Any, Any] = super().construct_mapping(node, deep=True)
        return found


def _is_null(node: yaml.Node) -> bool:
    return (
        isinstance(node, yaml.ScalarNode)
        and not node.style  # None or, from the parser in C, "": neither quoted nor a block
        and node.value in ("", "~", "null", "Null", "NULL")
    )


def _number(value: Any) -> Any:
    """A number's text as an exact Decimal."""
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise ValueError(f"expected a number, got {value!r}") from None
    if not number.is_finite():
        raise ValueError(f"expected a finite number, got {value!r}")
    return number


def _boolean(value: Any) -> Any:
    if value not in ("true", "True", "TRUE", "false", "False", "FALSE"):
        raise ValueError(f"expected true or false, got {value!r}")
    return value.lower() == "true"


_zones = cache(available_timezones)  # walks the file system each time


def _zone(value: str) -> str:
    if value not in _zones():
        raise ValueError(f"expected a name of the IANA time zone database, got {value!r}")
    return value


def _labels(value: Any) -> Any:
    """Label values are one text or several."""
    if not isinstance(value, dict):
        raise ValueError("expected a mapping")
    return {key: v if isinstance(v, list) else [v] for key, v in value.items()}


def _minutes(value: Any) -> Any:
    """A bare number is minutes."""
    return f"{value}m" if isinstance(value, str) and value.isdigit() else value


Number = Annotated[Decimal, BeforeValidator(_number)]
Boolean = Annotated[bool, BeforeValidator(_boolean)]
Zone = Annotated[str, AfterValidator(_zone)]
Description = Annotated[str, Field(max_length=1050)]
Operator = Literal["lt", "lte", "gt", "gte"]

_DURATION = r"^[1-9][0-9]{0,5}[mhdwMQY]$"
_DELAY = r"^[0-9]{1,6}[mhdwMQY]$"
_RFC1123 = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._|/\\-]{0,253}[A-Za-z0-9])?$"
_LABEL = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
_START = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$"
_PATHS = r"^(\w+(\.\w+)+(\s*,\s*\w+(\.\w+)+)*)?$"
_FIGURE = r"^([a-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)+)?$"
#: What each pattern asks for, for messages.
IN_WORDS: Final[Mapping[str, str]] = {
    _DURATION: "a positive number and one of m, h, d, w, M, Q, Y, such as 28d",
    _DELAY: "a number and one of m, h, d, w, M, Q, Y, such as 5m",
    _RFC1123: "at most 63 lower-case letters, digits and hyphens (RFC 1123)",
    _NAME: "letters and digits with . | / \\ _ - between them",
    _LABEL: "at most 63 letters and digits with . _ - between them",
    _START: "a date and time such as 2025-01-01 00:00:00",
    _PATHS: "paths with commas between, such as agents.risk.inference_p95_ms",
    _FIGURE: "the id of a figure of the report, such as fill_rate.full",
}
Duration = Annotated[str, Field(pattern=_DURATION)]
#: The name of an SLO, which becomes an id: RFC 1123, as all implementations must support.
SloName = Annotated[str, Field(pattern=_RFC1123)]
#: The name of anything else: also what the format only encourages, and what its examples do.
Name = Annotated[str, Field(pattern=_NAME)]
_ANNOTATION = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?" + _LABEL[1:-1])


class _Part(BaseModel):
    """A part of a document: fields that we do not know are refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Foreign(_Part):
    """Annotations for other tools, which are theirs to read. Ours belong to an SLO only."""

    @model_validator(mode="before")
    @classmethod
    def _ours(cls, given: Any) -> Any:
        """Keep what stands under our prefix; check the form of the rest."""
        if not isinstance(given, dict):
            raise ValueError("expected a mapping of annotations")
        for key, value in given.items():
            if not _ANNOTATION.fullmatch(key):
                raise ValueError(
                    f"expected keys such as example.com/name or name of at most 63 characters, "
                    f"got {key!r}"
                )
            if not isinstance(value, str):
                raise ValueError(f"expected a text for {key!r}, got {value!r}")
        return {key: value for key, value in given.items() if key.startswith(PREFIX)}


class Annotations(_Foreign):
    no_data: NoData = Field(default="flag", alias=f"{PREFIX}no-data")
    promise: Literal["target", "tracked"] = Field(default="target", alias=f"{PREFIX}promise")
    strict: Boolean = Field(default=False, alias=f"{PREFIX}strict")
    answers: str = Field(
        default="",
        alias=f"{PREFIX}answers",
        pattern=_PATHS,
    )
    unit: str = Field(default="", alias=f"{PREFIX}unit", max_length=20)
    allocated: Number | None = Field(default=None, alias=f"{PREFIX}allocated", gt=0)
    watch: Literal["", "latency", "throughput"] = Field(default="", alias=f"{PREFIX}watch")


class Metadata(_Part):
    name: Name
    display_name: str = Field(default="", alias="displayName")
    labels: Annotated[
        dict[Annotated[str, Field(pattern=_LABEL)], list[str]], BeforeValidator(_labels)
    ] = Field(default_factory=dict)
    annotations: _Foreign = _Foreign()


class SloMetadata(Metadata):
    name: SloName
    annotations: Annotations = Annotations()


class Metric(_Part):
    """What a source is asked for: a query of Prometheus, or a figure of the report itself."""

    query: str = ""
    promql: str = ""
    figure: str = Field(default="", pattern=_FIGURE)


class SourceOf(_Part):
    ref: Name | None = Field(default=None, alias="metricSourceRef")
    type: str = ""
    # Checked once it is known whose it is: other sources have other fields.
    spec: dict[str, Any]


class MetricOf(_Part):
    source: SourceOf = Field(alias="metricSource")


class RatioMetric(_Part):
    counter: Boolean | None = None
    good: MetricOf | None = None
    bad: MetricOf | None = None
    total: MetricOf | None = None
    raw_type: Literal["success", "failure"] | None = Field(default=None, alias="rawType")
    raw: MetricOf | None = None


class SliSpec(_Part):
    description: Description = ""
    threshold_metric: MetricOf | None = Field(default=None, alias="thresholdMetric")
    ratio_metric: RatioMetric | None = Field(default=None, alias="ratioMetric")


class InlineSli(_Part):
    metadata: Metadata
    spec: SliSpec


class Calendar(_Part):
    start_time: str = Field(alias="startTime", pattern=_START)
    zone: Zone = Field(alias="timeZone")


class TimeWindow(_Part):
    duration: Duration
    is_rolling: Boolean | None = Field(default=None, alias="isRolling")
    calendar: Calendar | None = None


class Goal(_Part):
    display_name: str = Field(default="", alias="displayName")
    op: Operator | None = None
    value: Number | None = None
    target: Number | None = Field(default=None, ge=0, lt=1)
    target_percent: Number | None = Field(default=None, alias="targetPercent", ge=0, lt=100)
    slice_target: Number | None = Field(default=None, alias="timeSliceTarget", gt=0, le=1)
    slice_window: Annotated[Duration, BeforeValidator(_minutes)] | None = Field(
        default=None, alias="timeSliceWindow"
    )
    indicator: InlineSli | None = None
    indicator_ref: Name | None = Field(default=None, alias="indicatorRef")
    weight: Number | None = Field(default=None, alias="compositeWeight", gt=0)


class TargetSpec(_Part):
    description: Description = ""
    target: str = Field(min_length=1)


class Burn(_Part):
    kind: Literal["burnrate"] = "burnrate"
    op: Operator | None = None
    threshold: Number
    lookback: Duration = Field(alias="lookbackWindow")
    after: Annotated[str, Field(pattern=_DELAY)] = Field(default="0m", alias="alertAfter")


class ConditionSpec(_Part):
    description: Description = ""
    severity: str = Field(min_length=1)
    condition: Burn


class _Referred(_Part):
    """Something that is either named or written out; never both."""

    @model_validator(mode="after")
    def _one_of_both(self) -> _Referred:
        named, *inline = (getattr(self, name) for name in type(self).model_fields)
        if (named is None) == all(part is None for part in inline) or (
            named is None and any(part is None for part in inline)
        ):
            fields = [f.alias or name for name, f in type(self).model_fields.items()]
            raise ValueError(f"expected either {fields[0]} or all of {', '.join(fields[1:])}")
        return self


class TargetOf(_Referred):
    ref: Name | None = Field(default=None, alias="targetRef")
    kind: Literal["AlertNotificationTarget"] | None = None
    metadata: Metadata | None = None
    spec: TargetSpec | None = None


class ConditionOf(_Referred):
    ref: Name | None = Field(default=None, alias="conditionRef")
    kind: Literal["AlertCondition"] | None = None
    metadata: Metadata | None = None
    spec: ConditionSpec | None = None


class PolicySpec(_Part):
    description: Description = ""
    when_no_data: Boolean = Field(default=False, alias="alertWhenNoData")
    when_resolved: Boolean = Field(default=False, alias="alertWhenResolved")
    when_breaching: Boolean = Field(default=False, alias="alertWhenBreaching")
    conditions: list[ConditionOf] = Field(min_length=1, max_length=1)
    targets: list[TargetOf] = Field(alias="notificationTargets", min_length=1)


class PolicyOf(_Referred):
    ref: Name | None = Field(default=None, alias="alertPolicyRef")
    kind: Literal["AlertPolicy"] | None = None
    metadata: Metadata | None = None
    spec: PolicySpec | None = None


class SloSpec(_Part):
    description: Description = ""
    service: str = Field(min_length=1)
    indicator: InlineSli | None = None
    indicator_ref: Name | None = Field(default=None, alias="indicatorRef")
    time_window: list[TimeWindow] = Field(alias="timeWindow", min_length=1, max_length=1)
    method: Literal["Occurrences", "Timeslices", "RatioTimeslices"] = Field(alias="budgetingMethod")
    objectives: list[Goal] = Field(min_length=1)
    policies: list[PolicyOf] = Field(default_factory=list, alias="alertPolicies")


class ServiceSpec(_Part):
    description: Description = ""


class DataSourceSpec(_Part):
    description: Description = ""
    type: str = Field(min_length=1)
    connection: Any = Field(default=None, alias="connectionDetails")


class _Header(_Part):
    version: Literal["openslo/v1"] = Field(alias="apiVersion")


class Slo(_Header):
    kind: Literal["SLO"]
    metadata: SloMetadata
    spec: SloSpec


class Sli(_Header):
    kind: Literal["SLI"]
    metadata: Metadata
    spec: SliSpec


class Service(_Header):
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()


class DataSource(_Header):
    kind: Literal["DataSource"]
    metadata: Metadata
    spec: DataSourceSpec


class AlertPolicy(_Header):
    kind: Literal["AlertPolicy"]
    metadata: Metadata
    spec: PolicySpec


class AlertCondition(_Header):
    kind: Literal["AlertCondition"]
    metadata: Metadata
    spec: ConditionSpec


class AlertNotificationTarget(_Header):
    kind: Literal["AlertNotificationTarget"]
    metadata: Metadata
    spec: TargetSpec


KINDS: Final[Mapping[Any, type[_Header]]] = {
    "SLO": Slo,
    "SLI": Sli,
    "Service": Service,
    "DataSource": DataSource,
    "AlertPolicy": AlertPolicy,
    "AlertCondition": AlertCondition,
    "AlertNotificationTarget": AlertNotificationTarget,
}


def _document(content: Any, where: str, system: str) -> Document:
    """One document, checked by itself."""
    if not isinstance(content, dict):
        raise ValidationFailed(
            f"{where}: the document is {content!r}; expected a mapping with apiVersion, kind, "
            "metadata and spec"
        )
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValidationFailed(f"{where}: kind is {kind!r}; expected one of {', '.join(KINDS)}")
    model = KINDS[kind]
    try:
        parsed: Any = model.model_validate(content)
    except ValidationError as error:
        raise ValidationFailed(
            "\n".join(f"{where}: {problem}" for problem in explained(error, model))
        ) from None
    name: str = parsed.metadata.name
    return Document(f"{where} ({kind} {name})", system, str(kind), name, parsed)


def explained(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """Each problem as path, what stands there, and what was expected."""
    for problem in error.errors():
        path = _path(problem["loc"])
        kind, message = problem["type"], problem["msg"]
        if kind == "extra_forbidden":
            siblings = ", ".join(_fields(model, problem["loc"][:-1]))
            yield f"{path} is not supported; expected " + (
                f"only {siblings}" if siblings else "none"
            )
        elif kind == "missing":
            yield f"{path} is missing; expected it there"
        else:
            if kind in ("model_type", "dict_type", "model_attributes_type"):
                message = "expected a mapping"
            elif kind == "list_type":
                message = "expected a list"
            elif kind == "string_pattern_mismatch":
                message = f"expected {IN_WORDS[problem['ctx']['pattern']]}"
            message = message.replace("Input should be", "expected").removeprefix("Value error, ")
            yield f"{path} is {short(problem['input'])}: {message}"


def _path(steps: Iterable[int | str]) -> str:
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps).lstrip(".")


def short(value: Any) -> str:
    """A value as it stands there, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _fields(model: type[BaseModel], path: Iterable[int | str]) -> list[str]:
    """The fields that may stand at ``path``, as the format spells them."""
    for step in path:
        if isinstance(step, int):
            continue
        field = next(f for n, f in model.model_fields.items() if step in (n, f.alias))
        model = next(_models(field.annotation))
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models inside an annotation such as ``list[Goal]`` or ``MetricOf | None``."""
    if isinstance(annotation, type) and not isinstance(annotation, UnionType):
        if issubclass(annotation, BaseModel):
            yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
