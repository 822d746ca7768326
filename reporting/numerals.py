"""Numbers as people read them: one function for tables, charts, mails and sentences.

A number is written as English writes it, and from that in the locale around us: grouping, decimal
mark and minus are CLDR's (by babel), the digits and the language stay. A report's sentences are
made once and printed in any locale: while a Document is made, :func:`marking` sets an invisible
mark before each number that a sentence says, so that no other digits (a release, a clause of a
standard, somebody's name) are ever taken for one.

The locale holds for a ``with`` block, as the context of :mod:`decimal` does. Outside of one it is
English, whatever the process's own locale is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Context, Decimal, localcontext
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.numbers import format_decimal, get_minus_sign_symbol

ENGLISH = "en"
#: Stands before a number of a sentence that is still to be written in some locale.
MARK = "\u2063"
MINUS = "\u2212"
EXAMPLES = "en, en-CH, de-DE, fr-FR, en-IN, en-ZA or sv-SE"

_ENGLISH_NUMBER = r"[+\-\u2212]?\d+(?:,\d{3})*(?:\.\d+)?"
_NUMBER = re.compile(_ENGLISH_NUMBER)
#: In a text of ours: what locales write otherwise, and no part of an address or a clause.
_IN_TEXT = re.compile(r"(?<![\w.,])(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+)(?![\w.]*\w)")
_MARKED = re.compile(f"{MARK}({_ENGLISH_NUMBER})")
_NAME = re.compile(r"[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*")
#: What may part groups and decimals: what our fonts draw, or spell as a no-break space.
_SIGNS = frozenset(".,'\u2019\u00a0\u202f")
_MARKING = ""
_locale: ContextVar[str] = ContextVar("locale of numbers", default=ENGLISH)


def numeral(number: Decimal | int | float | str, spec: str = "") -> str:
    """``number`` for people, in the locale that :func:`numbers_in` set.

    ``spec`` is a format of Python, as in ``numeral(amount, ",.2f")``: it says how many decimals
    there are and whether thousands are grouped. A text is a number as English writes it, and one
    that is no number comes back as it is.
    """
    english = format(number, spec)
    locale = _locale.get()
    if locale == ENGLISH or not _NUMBER.fullmatch(english):
        return english
    return MARK + english if locale == _MARKING else _written(english, locale)


def ours(text: str) -> str:
    """``text`` with every number in it said; of words that are all our own, without a date."""
    return _IN_TEXT.sub(lambda found: numeral(found[0]), text)


@contextmanager
def numbers_in(locale: str) -> Iterator[None]:
    """For its block, numbers are said in ``locale``, a name that :func:`check_locale` knows."""
    before = _locale.set(locale)
    try:
        yield
    finally:
        _locale.reset(before)


@contextmanager
def marking() -> Iterator[None]:
    """For its block, numbers are said in English with :data:`MARK` before each."""
    with numbers_in(_MARKING):
        yield


def neutral(text: str) -> str:
    """``text`` without marks: what English says."""
    return _MARKED.sub(r"\1", text) if MARK in text else text


def localised(text: str, locale: str) -> str:
    """``text`` with every marked number of it in ``locale``."""
    return _MARKED.sub(lambda found: _written(found[1], locale), text)


def check_locale(name: str) -> str:
    """``name`` with hyphens; :class:`ValueError` for what CLDR does not know or no font draws."""
    try:
        # Babel takes an encoding or a modifier too (de_DE.UTF-8), which says nothing of numbers.
        locale = Locale.parse(name.replace("-", "_") if _NAME.fullmatch(name) else "")
    except (UnknownLocaleError, ValueError):
        raise ValueError(
            f"{name!r} is no locale; expected one of CLDR's such as {EXAMPLES}"
        ) from None
    found = str(locale).replace("_", "-")
    if odd := set(_written("1,234,567.5", found)) - _SIGNS - set("1234567"):
        raise ValueError(
            f"{name!r} writes numbers with {', '.join(f'U+{ord(c):04X}' for c in sorted(odd))}, "
            f"which is in no font of a report; expected a locale such as {EXAMPLES}"
        )
    return found


@lru_cache(maxsize=4096)
def _written(english: str, locale: str) -> str:
    """A number in English, with as many decimals and grouped if it was, as ``locale`` has it."""
    name = locale.replace("-", "_")
    size = english.lstrip("+-\u2212")
    places = len(size.partition(".")[2])
    whole = Locale.parse(name).decimal_formats[None].pattern.partition(".")[0]
    pattern = (whole if "," in size else "0") + ("." + "0" * places if places else "")
    with localcontext(Context(prec=200)):
        value = Decimal(size.replace(",", ""))
        shown = format_decimal(value, pattern, locale=name, decimal_quantization=False)
    sign = english[: -len(size)]
    return (MINUS if sign == "-" and MINUS in get_minus_sign_symbol(name) else sign) + shown
