"""What happened, as one line of JSON in the Elastic Common Schema: the one door of structlog.

Everybody writes into one stream, other libraries' warnings included. A line carries ``trace.id``,
the same one in every process that works on a run, and never a secret: passwords in URLs, tokens and
whatever :func:`configure` was told are masked after everything else was put into words.
"""

from __future__ import annotations

import hashlib
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TextIO
from urllib.parse import quote

import structlog
from ecs_logging import StructlogFormatter
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

ECS_VERSION = "9.1.0"
MASK = "•••"
#: Elasticsearch does not index a longer keyword; a message or a stack trace may be this long.
KEYWORD_CHARACTERS, TEXT_CHARACTERS = 1_024, 16_384

Level = Literal["debug", "info", "warning", "error", "critical"]
Outcome = Literal["success", "failure", "unknown"]

_NAME = "reporting"
_log = structlog.stdlib.get_logger(_NAME)

_COMMON: tuple[Processor, ...] = (
    merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="@timestamp"),
    structlog.processors.CallsiteParameterAdder(
        (
            structlog.processors.CallsiteParameter.PROCESS,
            structlog.processors.CallsiteParameter.THREAD_NAME,
        )
    ),
)
# Until `configure` is called nothing is written: a command's output is for whoever called it.
structlog.configure(
    processors=[*_COMMON, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)
logging.getLogger(_NAME).addHandler(logging.NullHandler())


def configure(
    form: Literal["json", "text"],
    level: Level = "info",
    *,
    version: str,
    replica: str = "",
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send every log line of this process to ``stream`` (standard error); the last call counts.

    ``secrets`` are values that must never be seen: passwords and tokens in clear. Other libraries
    are heard from warnings up.
    """
    about = {"service.name": _NAME, "service.version": version, "event.dataset": _NAME}
    if replica:
        about["service.node.name"] = replica
    put = _json if form == "json" else _text
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_COMMON,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _Fields(about),
                _Masked(secrets),
                put,
            ],
        )
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    logging.getLogger(_NAME).setLevel(level.upper())


def trace_id(run: str) -> str:
    """The correlation id of a run, from its key: 32 hexadecimal digits, the same everywhere."""
    return hashlib.sha256(f"run {run}".encode()).hexdigest()[:32]


@contextmanager
def bound(run: str | None = None, *, action: str | None = None, **labels: object) -> Iterator[None]:
    """Until the block ends, every line carries these; ``run`` also as ``trace.id``.

    Holds for the thread that says so: another thread or process binds the same run again.
    """
    fields: dict[str, Any] = {}
    if run is not None:
        labels["run"] = run
        fields["trace.id"] = trace_id(run)
    if action is not None:
        fields["event.action"] = action
    inherited = structlog.contextvars.get_contextvars().get("labels", {})
    fields["labels"] = {**inherited, **labels}
    with bound_contextvars(**fields):
        yield


def log(
    message: str,
    *,
    level: Level = "info",
    action: str | None = None,
    outcome: Outcome | None = None,
    duration_s: float | None = None,
    error: BaseException | None = None,
    **labels: object,
) -> None:
    """One line. ``labels`` are this event's own words, each kept as text; None says nothing.

    ``error`` gives its type, message and stack trace; the level is the caller's choice.
    """
    fields: dict[str, Any] = {
        "event.action": action,
        "event.outcome": outcome,
        "event.duration": None if duration_s is None else round(duration_s * 1e9),
        "exc_info": error,
        "own_labels": labels,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    getattr(_log, level)(message, **given)


# ---- from an event to a line --------------------------------------------------------------------


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines; one that can't be made or written must not break what it tells about."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; where it can't be made, one that says so and nothing of its content."""
        try:
            return super().format(record)
        except Exception as error:
            words = f"a line could not be made: {type(error).__name__}"
            where = (record.name, record.levelno, record.pathname, record.lineno)
            return super().format(logging.LogRecord(*where, words, None, None))

    def handleError(self, record: logging.LogRecord) -> None:
        """Standard logging would print the record's arguments here, secrets and all."""


class _Fields:
    """Gives everything its name in the schema, as text where the schema wants a keyword."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        self._about = about

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        labels = {**event.pop("labels", {}), **event.pop("own_labels", {})}
        error = event.pop("exc_info", None)
        if error is True:
            error = sys.exc_info()
        if isinstance(error, tuple):
            error = error[1]
        fields: dict[str, Any] = {
            "@timestamp": event.pop("@timestamp"),
            "log.level": event.pop("level"),
            "event": str(event.pop("event")),
            "log.logger": event.pop("logger", _NAME),
            "process.pid": event.pop("process"),
            "process.thread.name": event.pop("thread_name"),
            **self._about,
            **{name: value for name, value in event.items() if "." in name},
        }
        if isinstance(error, BaseException):
            fields["error.type"] = type(error).__name__
            fields["error.message"] = str(error)
            fields["error.stack_trace"] = "".join(traceback.format_exception(error))
        if labels := {
            name.replace(".", "_"): str(value)
            for name, value in labels.items()
            if value is not None
        }:
            fields["labels"] = labels
        return fields


_SECRET_NAME = re.compile(
    r"(?:password|passwd|passphrase|secret|token|(?:api|routing|private)[_-]?key)", re.IGNORECASE
)
#: `password=…`, `"token": "…"`. No repetition is open on both sides: hostile text costs no time.
_NAMED = re.compile(
    rf"({_SECRET_NAME.pattern}"
    r"""\\{0,9}["']?\s{0,9}[=:]\s{0,9})"""
    r"""(?:\\{0,9}"[^"]{0,999}"|\\{0,9}'[^']{0,999}'|[^\s,;&)}\]]+)""",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\b(bearer|basic)\s{1,9}[\w.~+/=-]{6,}", re.IGNORECASE)
_SPACE = re.compile(r"(\s+)")


class _Masked:
    """Masks secrets in every text, then cuts it to what Elasticsearch takes."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for one in secrets if len(one) >= 4 for form in (one, quote(one, safe=""))}
        # The longest first: one may be the beginning of another.
        known = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {name: self._value(name, value) for name, value in event.items()}

    def _value(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: MASK if _SECRET_NAME.search(key) else self._value(key, inner)
                for key, inner in value.items()
            }
        if not isinstance(value, str):
            return value
        long = name in ("event", "error.message", "error.stack_trace")
        limit = TEXT_CHARACTERS if long else KEYWORD_CHARACTERS
        # Cut last: half a URL would no longer show where its password ends.
        return _cut(self._text(value), limit)

    def _text(self, text: str) -> str:
        if self._known:
            text = self._known.sub(MASK, text)
        if "://" in text and "@" in text:
            text = "".join(map(_without_user, _SPACE.split(text)))
        text = _HEADER.sub(rf"\1 {MASK}", text)
        return _NAMED.sub(rf"\1{MASK}", text)


def _without_user(word: str) -> str:
    """Of a URL everything up to its last @: a password may hold any character, even an @."""
    scheme, separator, rest = word.partition("://")
    host = rest.rpartition("@")
    return f"{scheme}://{MASK}@{host[2]}" if separator and host[1] else word


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


class _Ecs(StructlogFormatter):
    """JSON, of the version of the schema that we write; the library's own is from 2020."""

    def format_to_ecs(self, event_dict: dict[str, Any]) -> dict[str, Any]:
        done: dict[str, Any] = super().format_to_ecs(event_dict)
        return {**done, "ecs.version": ECS_VERSION}


_ECS = _Ecs()


def _json(log: WrappedLogger, level: str, event: EventDict) -> str:
    return _ECS(log, level, dict(event))


def _text(_: WrappedLogger, __: str, event: EventDict) -> str:
    """For people: time, level, message, labels; what was broken over lines is indented."""
    words = [event["@timestamp"], f"{event['log.level'].upper():8}", event["event"]]
    shown = ("event.action", "event.outcome", "event.duration", "error.message", "trace.id")
    words += [f"{name}={event[name]}" for name in shown if name in event]
    words += [f"{name}={value}" for name, value in event.get("labels", {}).items()]
    line = _printable(" ".join(words))
    trace = event.get("error.stack_trace", "").splitlines()
    return "\n    ".join((line, *map(_printable, trace)))


def _printable(text: str) -> str:
    """Nothing that ends a line or steers a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
