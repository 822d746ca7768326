"""The retention rules: dated, complete, and what is wrong with a file said in full."""

from __future__ import annotations

from datetime import date

import pytest

from reporting.errors import ValidationFailed
from reporting.policy.retention import RECORDS, RetentionPolicy, parse_retention

from ..line.site import ROOT

FILE = (ROOT / "config" / "retention.toml").read_text("utf-8")


def test_the_file_has_a_rule_for_everything_with_its_source() -> None:
    rules = parse_retention(FILE)
    for record in RECORDS:
        kept = rules.of(record, date(2025, 12, 8))
        assert kept is not None
        years = 7 if record in ("monthly", "quarterly", "sealed_day") else 2
        assert (kept.until, bool(kept.source)) == (date(2025 + years, 12, 8), True)


def test_a_record_keeps_the_class_of_the_day_it_was_made() -> None:
    later = """
[[class]]
id = "operational"
from = 2026-07-01
months = 6
source = "a new rule"
[[record]]
id = "weekly"
from = 2026-01-01
class = "records"
"""
    rules = parse_retention(FILE + later)

    def until(record: str, made_on: date) -> date:
        kept = rules.of(record, made_on)
        assert kept is not None
        return kept.until

    assert until("daily", date(2026, 6, 30)) == date(2028, 6, 30)
    assert until("daily", date(2026, 7, 1)) == date(2027, 1, 1)
    assert until("weekly", date(2025, 12, 31)) == date(2027, 12, 31)
    assert until("weekly", date(2026, 1, 1)) == date(2033, 1, 1)
    assert rules.of("daily", date(2024, 12, 31)) is None


@pytest.mark.parametrize(("made_on", "until"), [
    (date(2028, 2, 29), date(2030, 2, 28)), (date(2026, 2, 28), date(2028, 2, 28)),
    (date(2026, 12, 31), date(2028, 12, 31)),
])  # fmt: skip
def test_years_end_on_the_same_day_of_the_month(made_on: date, until: date) -> None:
    kept = parse_retention(FILE).of("daily", made_on)
    assert kept is not None
    assert kept.until == until


@pytest.mark.parametrize(("made_on", "until"), [
    (date(2026, 8, 31), date(2027, 2, 28)), (date(2026, 6, 15), date(2026, 12, 15)),
    (date(2026, 7, 1), date(2027, 1, 1)),
])  # fmt: skip
def test_months_end_on_the_same_day_or_the_months_last(made_on: date, until: date) -> None:
    rules = parse_retention(FILE.replace("years = 2", "months = 6"))
    kept = rules.of("daily", made_on)
    assert kept is not None
    assert kept.until == until


def test_an_empty_file_lets_nothing_go() -> None:
    assert parse_retention("") == RetentionPolicy()
    assert RetentionPolicy().of("daily", date(2030, 1, 1)) is None


DAILY = '[[record]]\nid = "daily"\nfrom = 2025-01-01\nclass = "operational"\n'


@pytest.mark.parametrize(("old", "new", "words"), [
    ("years = 2", 'years = "2"', "class 'operational': years is '2'; expected"),
    ("years = 2", "years = 0", "years is 0; expected"),
    ("years = 2", "years = 2\nmonths = 3", "expected: either years or months"),
    ("years = 2\n", "", "expected: either years or months"),
    ('source = "internal rule: two business years of daily operations"', "", "source is not there"),
    ('class = "records"', 'class = "forever"', "no class is called 'forever'; expected oper"),
    ('id = "daily"', 'id = "hourly"', "record 'hourly': id is 'hourly'; expected"),
    (DAILY, "", "has no \\[\\[record\\]\\] 'daily'; expected one for each of daily, weekly"),
    (DAILY, DAILY + DAILY, "record 'daily' stands there twice from 2025-01-01"),
    (DAILY, DAILY.replace("2025", "2024"), "class 'operational' begins on 2025-01-01"),
    ("[[class]]", "[[klass]]", "has 'klass'; expected"),
    ("[[class]]", "[[class", "is not TOML"),
])  # fmt: skip
def test_what_is_wrong_is_said_in_full(old: str, new: str, words: str) -> None:
    assert old in FILE
    with pytest.raises(ValidationFailed, match=words):
        parse_retention(FILE.replace(old, new, 1))
