"""Canonical bytes and digests: RFC 8785 JSON, so that equal values have equal bytes anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import rfc8785

from ..model import Value

#: Integers beyond these are no JSON number that every reader takes alike (RFC 8785, 3.2.2.3).
SAFE_INTEGER = 2**53 - 1
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(value: Value | Mapping[str, Any] | Sequence[Any]) -> bytes:
    """RFC 8785 bytes of a value; money and quantities come out as strings."""
    plain = value.model_dump(mode="json") if isinstance(value, Value) else value
    if _is_simple(plain):
        try:
            return _ENCODER.encode(plain).encode("utf-8")
        except UnicodeEncodeError:
            pass  # half a character: refused below, in rfc8785's words
    return rfc8785.dumps(plain)


def _is_simple(value: Any) -> bool:
    """Whether the standard library writes ``value`` as RFC 8785 has it, in a third of the time.

    All but floats, integers that are too large, and names that may sort otherwise in UTF-16.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is dict:
        for name, held in value.items():
            if type(name) is not str or not name.isascii() or not _is_simple(held):
                return False
        return True
    if kind is list or kind is tuple:
        return all(map(_is_simple, value))
    return kind is int and -SAFE_INTEGER <= value <= SAFE_INTEGER


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()
