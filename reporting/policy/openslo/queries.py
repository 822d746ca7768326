"""The few shapes of a PromQL query whose series are read raw."""

from __future__ import annotations

import re
from decimal import Decimal

from ..indicators import Query

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_MATCHER = re.compile(
    r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"
    r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*(?:,|$)"""
)
_SELECTOR = re.compile(
    rf"""({_NAME})\s*(?:\{{((?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^{{}}"'])*)\}})?"""
)
_FACTOR = re.compile(r"([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)\s*\*\s*(?=\S)")
_SUM = re.compile(r"sum\s*\((.*)\)", re.DOTALL)
_RATE = re.compile(r"rate\s*\((.*)\[\s*(?:[0-9]+(?:ms|[smhdwy]))+\s*\]\s*\)", re.DOTALL)
_STATE = re.compile(r"up|.*_up|.*_success")


def parse_query(text: str) -> Query:
    """``text`` with what is known of its shape; only the shapes that :class:`Query` names are.

    Anything else is left to the server as it is. This is no parser of PromQL: an unknown shape is
    no error, and a known one is never guessed.
    """
    text = text.strip()
    rest, scale, summed, rate = text, Decimal(1), False, False
    if factor := _FACTOR.match(rest):
        scale, rest = Decimal(factor[1]), rest[factor.end() :]
    if match := _SUM.fullmatch(rest):
        summed, rest = True, match[1].strip()
    if match := _RATE.fullmatch(rest):
        rate, rest = True, match[1].strip()
    parsed = _selector(rest)
    if parsed is None:
        return Query(text=text, selector=None)
    return Query(text=text, selector=_written(*parsed), summed=summed, rate=rate, scale=scale)


Matchers = tuple[tuple[str, str, str], ...]


def _selector(text: str) -> tuple[str, Matchers] | None:
    """Metric name and matchers of a plain selector, or None where it is anything else."""
    match = _SELECTOR.fullmatch(text)
    if match is None:
        return None
    inside, matchers, at = (match[2] or "").strip(), [], 0
    while at < len(inside):
        found = _MATCHER.match(inside, at)
        if found is None:
            return None
        matchers.append((found[1], found[2], found[3]))
        at = found.end()
    return match[1], tuple(matchers)


def _written(name: str, matchers: Matchers) -> str:
    inside = ",".join(f"{label}{op}{value}" for label, op, value in matchers)
    return f"{name}{{{inside}}}" if inside else name


def buckets_of(selector: str | None) -> str | None:
    """The selector of all buckets where ``selector`` is of one (``x_bucket{…, le="0.01"}``)."""
    parsed = _selector(selector) if selector else None
    if parsed is None:
        return None
    name, matchers = parsed
    bounds = [m for m in matchers if m[0] == "le"]
    if not name.endswith("_bucket") or len(bounds) != 1 or bounds[0][1] != "=":
        return None
    return _written(name, tuple(m for m in matchers if m[0] != "le"))


def is_state(query: Query) -> bool:
    """Whether a raw ratio is a 0/1 series: the exporters' and probes' own names for one."""
    if query.selector is None or query.summed or query.rate or query.scale != 1:
        return False
    return _STATE.fullmatch(query.selector.partition("{")[0]) is not None
