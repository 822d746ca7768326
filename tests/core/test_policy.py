"""Dated thresholds: an old report is judged by what was in force then."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from reporting.errors import ValidationFailed
from reporting.policy import parse_policy

TWO = """
[[threshold]]
id = "slippage_bps"
from = 2026-02-01
comparator = "lt"
value = "1.5"
unit = "bps"
source = "board, January 2026"

[[threshold]]
id = "slippage_bps"
from = 2025-01-01
comparator = "lt"
value = "2"
unit = "bps"
source = "targets"
"""


@pytest.mark.parametrize(
    ("day", "value"),
    [
        (date(2024, 12, 31), None),
        (date(2025, 1, 1), "2"),
        (date(2026, 1, 31), "2"),
        (date(2026, 2, 1), "1.5"),
        (date(2027, 1, 1), "1.5"),
    ],
)
def test_a_day_is_judged_by_the_threshold_of_that_day(day: date, value: str | None) -> None:
    # The file lists the newer line first: it is the date that decides, not the order.
    target = parse_policy(TWO, {}).targets(day).get("slippage_bps")
    assert (target.value if target else None) == (Decimal(value) if value else None)


def test_a_number_that_must_be_there_names_what_lacks() -> None:
    policy = parse_policy(TWO, {})
    assert policy.number("slippage_bps", date(2025, 6, 1)) == 2
    with pytest.raises(ValidationFailed, match="'slippage_bps' in force on 2024-01-01"):
        policy.number("slippage_bps", date(2024, 1, 1))
    with pytest.raises(ValidationFailed, match="'nothing'"):
        policy.number("nothing", date(2025, 6, 1))


def test_the_words_of_a_target() -> None:
    target = parse_policy(TWO, {}).targets(date(2025, 6, 1))["slippage_bps"]
    assert target.words() == "below 2 bps"


@pytest.mark.parametrize("empty", ["", "# nothing yet\n"])
def test_no_threshold_is_a_policy_too(empty: str) -> None:
    assert parse_policy(empty, {}).targets(date(2026, 1, 1)) == {}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (TWO + "[[threshold]\n", "not TOML"),
        (TWO + "[[thresholds]]\nid = 'x'\n", "thresholds"),
        ("threshold = 5\n", "threshold"),
        ("[threshold]\nid = 'x'\n", "threshold"),
        (TWO.replace('unit = "bps"', 'units = "bps"'), "unit"),
        (TWO + 'note = "x"\n', "note"),
        (TWO.replace('comparator = "lt"', 'comparator = "<"'), "comparator"),
        (TWO.replace('value = "2"', 'value = "two"'), "value"),
        (TWO.replace('value = "2"', 'value = "NaN"'), "value"),
        (TWO.replace("from = 2025-01-01", 'from = "soon"'), "from"),
        (TWO.replace("from = 2025-01-01", ""), "from"),
        (TWO.replace('id = "slippage_bps"', "id = 7"), "id"),
    ],
)
def test_what_is_wrong_with_the_file_is_named(text: str, named: str) -> None:
    with pytest.raises(ValidationFailed, match=named):
        parse_policy(text, {})


def test_two_thresholds_of_one_date_are_refused() -> None:
    with pytest.raises(ValidationFailed, match=r"slippage_bps.*2025-01-01"):
        parse_policy(TWO.replace("2026-02-01", "2025-01-01"), {})


def test_the_digest_is_of_the_text() -> None:
    assert parse_policy(TWO, {}).digest == parse_policy(TWO, {}).digest
    assert parse_policy(TWO, {}).digest != parse_policy(TWO.replace("1.5", "1.6"), {}).digest
