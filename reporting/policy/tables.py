"""The text of a TOML file as plain tables, whatever stands in it."""

from __future__ import annotations

import tomllib
from typing import Any

from ..errors import ValidationFailed


def read_tables(text: str, name: str) -> dict[str, Any]:
    """The tables of the TOML file ``name``; :class:`ValidationFailed` where it is not one."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValidationFailed(
            f"{name} is nested too deeply; expected tables of plain values"
        ) from None
    except ValueError as error:  # TOMLDecodeError, and numbers of thousands of digits
        raise ValidationFailed(f"{name} is not TOML: {error}") from None
