"""One function writes numbers for people: in English by default, else as CLDR has the locale."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
from babel import Locale
from babel.localedata import locale_identifiers
from babel.numbers import format_decimal
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting import numerals, render
from reporting.charts import tick_words
from reporting.errors import UsageError
from reporting.model import Band, Bps, Count, Duration, Missing, Money, Number, Ratio, Shown, Why
from reporting.numerals import MARK, localised, marking, neutral, numbers_in, numeral, ours
from reporting.page import Target
from reporting.render.mail import wrapped
from reporting.settings import load

NARROW, NBSP = "\u202f", "\u00a0"
#: What 1,234,567.50 is in each.
LITERAL = {
    "en": "1,234,567.50",
    "en-CH": "1’234’567.50",
    "de-CH": "1’234’567.50",
    "de-DE": "1.234.567,50",
    "fr-FR": f"1{NARROW}234{NARROW}567,50",
    "en-IN": "12,34,567.50",
    "en-ZA": f"1{NBSP}234{NBSP}567,50",
    "sv-SE": f"1{NBSP}234{NBSP}567,50",
}


@pytest.mark.parametrize("locale", LITERAL)
def test_a_number_is_written_as_its_readers_write_it(locale: str) -> None:
    with numbers_in(locale):
        assert numeral(Decimal("1234567.5"), ",.2f") == LITERAL[locale]
        assert numeral(1234567.5, ",.2f") == LITERAL[locale]


def test_only_what_english_groups_is_grouped_and_decimals_stay() -> None:
    with numbers_in("de-DE"):
        assert numeral("1234567.500") == "1234567,500"
        assert numeral(Decimal("0.10")) == "0,10"
        assert numeral(12) == "12"
        assert numeral(10**30, ",") == "1" + ".000" * 10


def test_a_sign_is_kept_and_is_a_real_minus_where_the_locale_has_one() -> None:
    signs = {"en": "-+−", "de-DE": "-+−", "sv-SE": "−+−"}
    for locale, wanted in signs.items():
        with numbers_in(locale):
            assert "".join(numeral(f"{sign}5")[0] for sign in "-+−") == wanted


@pytest.mark.parametrize("text", ["", "n/a", "nan", "1e9", "1.2.3", "2025-12-05", "12,34", "v1.2"])
def test_what_is_no_number_comes_back_as_it_is(text: str) -> None:
    with numbers_in("de-DE"):
        assert numeral(text) == text


@settings(max_examples=60, deadline=None)
@given(
    st.decimals(min_value=0, max_value=10**12, places=3).filter(lambda d: d * 1000 % 10 != 0),
    st.sampled_from(list(LITERAL)),
)
def test_it_says_what_babel_says(value: Decimal, locale: str) -> None:
    """Its own pattern of a locale has up to three decimals, so three are shown whole."""
    with numbers_in(locale):
        expected = format_decimal(value, locale=locale.replace("-", "_"))
        assert numeral(value, ",.3f") == expected


def test_every_locale_of_cldr_is_drawn_by_our_fonts_or_refused() -> None:
    refused = 0
    for name in locale_identifiers():
        try:
            locale = numerals.check_locale(name)
        except ValueError:
            refused += 1
            continue
        assert Locale.parse(locale, sep="-") == Locale.parse(name)
        with numbers_in(locale):
            shown = numeral("−1,234,567.89")
        assert "U+" not in render.drawable(shown), (name, shown)
    assert 0 < refused < 40, "those with signs of other scripts"


@pytest.mark.parametrize("name", ["xx", "de-FR", "", "../en", "en-XX", "nqo", "de_DE.UTF-8", "C"])
def test_an_unknown_locale_is_named_with_examples(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPORTING_LOCALE", name)
    with pytest.raises(UsageError) as told:
        load()
    assert told.value.exit_code == 2
    assert "REPORTING_LOCALE" in str(told.value)
    assert repr(name) in str(told.value)
    assert "de-DE" in str(told.value)


def test_both_spellings_of_a_locale_are_one() -> None:
    assert load(locale="de_DE").locale == load(locale="de-DE").locale == "de-DE"
    assert load().locale == "en"


# --- where it holds -------------------------------------------------------------------------


def test_a_locale_ends_with_its_block_and_is_no_other_thread_s() -> None:
    with ThreadPoolExecutor(1) as other, pytest.raises(ZeroDivisionError), numbers_in("de-DE"):
        assert other.submit(numeral, "1.5").result() == "1.5"
        with numbers_in("en-CH"):
            assert numeral("1.5") == "1.5"
        assert numeral("1.5") == "1,5"
        _ = 1 / 0
    assert numeral("1.5") == "1.5"


def test_the_process_s_locale_has_no_say() -> None:
    code = "from reporting.numerals import numeral; print(numeral(1234.5, ',.2f'))"
    environment = {**os.environ, "LC_ALL": "de_DE.UTF-8", "LANG": "fr_FR.UTF-8", "LANGUAGE": "sv"}
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env=environment,
        cwd=Path(render.__file__).parents[2],
    )  # fmt: skip
    assert found.stdout == "1,234.50\n"


# --- marks ----------------------------------------------------------------------------------


def test_a_mark_tells_our_numbers_from_others() -> None:
    name = "Release 4.12 of 10,000 (AS 1105.10), 10.2.1, 2025-12-05"
    with marking():
        text = f"{name}: {numeral(1234.5, ',.2f')}, then {numeral('−0.5')}."
    assert text.count(MARK) == 2
    assert neutral(text) == f"{name}: 1,234.50, then −0.5."
    assert localised(text, "de-DE") == f"{name}: 1.234,50, then −0,5."
    assert localised(text, "en") == neutral(text)


def test_somebody_s_own_mark_is_left_where_it_is() -> None:
    name = f"odd{MARK}name {MARK}"
    assert neutral(name) == name == localised(name, "de-DE")


def test_a_text_of_ours_alone_is_said_whole() -> None:
    with numbers_in("de-DE"):
        assert ours("1,000 to 10,000") == "1.000 to 10.000"
        assert ours("below 0.5 %, p95; 12 in 2025") == "below 0,5 %, p95; 12 in 2025"
        assert ours("http://127.0.0.1:9090 v2.42 and 10.2.1") == (
            "http://127.0.0.1:9090 v2.42 and 10.2.1"
        )


# --- in sentences ---------------------------------------------------------------------------

#: Formats that write a decimal mark or groups, and functions that write a decimal mark.
GROUPS_OR_DECIMALS = re.compile(r",|\.\d+[f%]")
PLAIN = {"plain", "to_places", "significant"}
#: Written when a day is sealed, which has no locale; said again where it is printed.
SEALED = {"measures/var/__init__.py": 2}


def unsaid(code: str) -> list[str]:
    """What an f-string of ``code`` writes in English without asking :mod:`numerals`."""
    tree = ast.parse(code)
    said = {
        id(inner)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("ours", "numeral")
        for inner in ast.walk(call)
    }
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.FormattedValue)
        and id(node) not in said
        and (
            (node.format_spec and GROUPS_OR_DECIMALS.search(ast.unparse(node.format_spec)))
            or (isinstance(node.value, ast.Call) and ast.unparse(node.value.func) in PLAIN)
        )
    ]


def test_what_writes_sentences_leaves_no_number_in_english() -> None:
    package = Path(numerals.__file__).parent
    files = [
        f for name in ("document", "measures", "analysis") for f in package.glob(f"{name}/**/*.py")
    ]
    found = {f.relative_to(package).as_posix(): unsaid(f.read_text("utf-8")) for f in files}
    assert {name: len(some) for name, some in found.items() if some} == SEALED, found
    assert len(files) > 40
    for code in ('f"{x:,} y"', 'f"{x:+.1f}"', 'f"{plain(x)} %"'):
        assert unsaid(code), code
    assert not unsaid("f\"{numeral(x, ',')} of {ours(f'{y:,}')}\"")


# --- words, axes and mails ------------------------------------------------------------------

VALUES: list[tuple[Shown, str]] = [
    (Money(amount=Decimal("-1234.5"), currency="USD"), "−1.234,50\u00a0USD"),
    (Count(value=12345, unit="fills"), "12.345\u00a0fills"),
    (Number(value=Decimal("0.0805")), "0,0805"),
    (Bps(cost=Decimal(132), notional=Decimal(1000000)), "1,32\u00a0bps"),
    (Ratio(numerator=Decimal(9861), denominator=Decimal(10000)), "98,61\u00a0%"),
    (
        Band(
            low=Ratio(numerator=Decimal("98.507"), denominator=Decimal(100)),
            high=Ratio(numerator=Decimal("98.542"), denominator=Decimal(100)),
        ),
        "98,507\u00a0– 98,542\u00a0%",
    ),
    (Ratio(numerator=Decimal(1200), denominator=Decimal(0)), "— 1.200 of 0"),
    (Duration(ms=7_050), "7,050\u00a0s"),
    (Duration(ms=4_000_000_000), "1.111\u00a0h\u00a006\u00a0min\u00a040\u00a0s"),
    (Missing(why=Why.NO_DATA, detail="server 2.42 is away"), "— no data: server 2.42 is away"),
]


@pytest.mark.parametrize(("value", "german"), VALUES, ids=[v.kind for v, _ in VALUES])
def test_every_kind_of_value_follows(value: Shown, german: str) -> None:
    with numbers_in("de-DE"):
        assert render.words(value) == german


def test_targets_and_axes_follow() -> None:
    target = Target(id="x", comparator="ge", value=Decimal("99.9"), unit="%")
    assert [tick_words(v) for v in (1.2e6, -0.25, 20_000)] == ["1.2 M", "−0.25", "20 k"]
    with numbers_in("de-DE"):
        assert render.target_words(target) == "at least 99,9\u00a0%"
        assert target.words() == "at least 99,9 %"
        assert [tick_words(v) for v in (1.2e6, -0.25, 20_000)] == ["1,2 M", "−0,25", "20 k"]


def test_no_line_of_a_mail_breaks_a_number() -> None:
    for space in (NBSP, NARROW):
        number = f"12{space}345{space}678,90{NBSP}USD"
        for length in range(50, 72):
            lines = wrapped("x" * length + " " + number).splitlines()
            assert any("12\u202f345\u202f678,90" in line for line in lines), lines
    assert "2025-12-05 16:00:05" in wrapped("at 2025-12-05\u00a016:00:05\u00a0UTC")
