"""The risk file: dated lines, strict fields, and messages that say what was expected."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from reporting.errors import ValidationFailed
from reporting.policy import parse_policy
from reporting.policy.risk import parse_risk

TEXT = (Path(__file__).parents[2] / "config" / "risk.toml").read_text("utf-8")
DAY = date(2026, 3, 2)

LIMIT = """
[[limit]]
id = "var"
measure = "var_99"
from = 2026-01-01
value = 100
currency = "USD"
source = "committee"
"""
SCENARIO = """
[[scenario]]
id = "crash"
title = "Crash"
from = 2026-01-01
shocks = [{all = true, pct = -20}, {instrument = "AAA", pct = "-12.5"},
          {currency = "EUR", pct = -10}]
"""
CAPITAL = """
[[capital]]
from = 2026-01-01
amount = 5000000
currency = "USD"
source = "board"
"""


def test_the_shipped_file_has_scenarios_and_sets_no_limit_and_no_capital() -> None:
    found = parse_risk(TEXT)
    assert found.limits_on(DAY) == ()
    assert found.capital(DAY) is None
    assert len(found.scenarios_on(DAY)) >= 3


def test_the_shipped_examples_are_right_once_uncommented() -> None:
    lines = TEXT.split("# ---- Limits", 1)[1].splitlines()
    first = lines.index("# [[limit]]")
    text = "\n".join(line.removeprefix("# ") for line in lines[first:])
    found = parse_risk(text).limits_on(DAY)
    assert [(x.id, x.scope) for x in found] == [
        ("var", "total"), ("concentration", "total"), ("momentum_gross", "strategy momentum"),
    ]  # fmt: skip


def test_a_line_is_in_force_until_a_later_one_or_its_end() -> None:
    later = LIMIT.replace("2026-01-01", "2026-03-01").replace("100", "150")
    found = parse_risk(
        LIMIT + later.replace('source = "committee"', 'source = "c"\nuntil = 2026-04-30')
    )
    values = {
        on: [x.value for x in found.limits_on(on)]
        for on in (date(2025, 12, 31), date(2026, 2, 28), date(2026, 3, 1), date(2026, 4, 30),
                   date(2026, 5, 1))
    }  # fmt: skip
    # After its end nothing is in force: the line that it replaced does not come back.
    assert list(values.values()) == [[], [100], [150], [150], []]
    capital = parse_risk(CAPITAL + CAPITAL.replace("2026-01-01", "2026-03-01").replace("5", "7"))
    assert [c.amount for c in (capital.capital(DAY - timedelta(9)), capital.capital(DAY)) if c] == [
        5_000_000, 7_000_000,
    ]  # fmt: skip


def test_the_nearest_shock_of_the_price_and_then_the_rate() -> None:
    (crash,) = parse_risk(SCENARIO).scenarios_on(DAY)
    assert crash.shocks_of(("AAA", "A Corp"), "USD") == [Decimal("-12.5")]
    assert crash.shocks_of(("BBB", "B Corp"), "EUR") == [-20, -10]
    assert crash.shocks_of(("A", "AAA"), "EUR") == [Decimal("-12.5"), -10]  # by its symbol
    assert crash.shocks_of(("BBB", "B Corp"), "GBP") == [-20]


WRONG = [
    ("[[limit]", "risk.toml is not TOML"),
    ("[[limits]]", "has 'limits'; expected [[capital]], [[scenario]] and [[limit]] only"),
    ("[limit]\nid = 1", "limit is one value; expected [[limit]]"),
    (LIMIT.replace("var_99", "var_98"), "limit 1.measure is 'var_98'"),
    (LIMIT.replace("= 100", "= 1.5"), "limit 1.value is 1.5; expected: write it as a whole number"),
    (LIMIT.replace("= 100", "= 0"), "limit 1.value is 0; expected"),
    (LIMIT.replace("= 100", '= "nan"'), "limit 1.value"),
    (LIMIT.replace("= 100", '= "Infinity"'), "limit 1.value"),
    (LIMIT.replace("= 100", "= true"), "limit 1.value is True"),
    (LIMIT.replace('source = "committee"', ""), "limit 1.source is not there"),
    (LIMIT.replace('source = "committee"', 'source = ""'), "limit 1.source is ''"),
    (LIMIT.replace('"USD"', '"usd"'), "limit 1.currency is 'usd'"),
    (LIMIT.replace('currency = "USD"', ""), "a currency, except for concentration"),
    (LIMIT.replace("var_99", "concentration"), "a currency, except for concentration"),
    (LIMIT + 'strategy = "a"\nagent = "b"', "a strategy or an agent, not both"),
    (LIMIT + "until = 2025-12-31", "until must not be before from, 2026-01-01"),
    (LIMIT + 'colour = "red"', "limit 1.colour"),
    (LIMIT + LIMIT, "limit 2: 'var' stands there twice from 2026-01-01"),
    (CAPITAL + CAPITAL, "capital 2: 'capital' stands there twice"),
    (SCENARIO.replace("-20", "-101"), "scenario 1.shocks.0.pct is -101"),
    (SCENARIO.replace("all = true, ", ""), "exactly one of instrument, currency and all"),
    (SCENARIO.replace("all = true, ", 'all = true, currency = "EUR", '), "exactly one of"),
    (SCENARIO.replace('instrument = "AAA"', "all = true"), "one shock for each instrument"),
    (SCENARIO + "replay = {first = 2025-01-01, last = 2025-01-02}", "either shocks or a replay"),
    (SCENARIO.split("shocks")[0], "either shocks or a replay"),
    (SCENARIO.split("shocks")[0] + "replay = {first = 2025-01-03, last = 2025-01-02}",
     "first must not be after last"),
    (SCENARIO.replace('"crash"', '"The Crash"'), "scenario 1.id is 'The Crash'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[m[:40] for _, m in WRONG])
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(ValidationFailed) as error:
        parse_risk(text)
    assert message in str(error.value)
    assert str(error.value).startswith("risk.toml")


def test_the_risk_file_is_part_of_the_policy_and_of_its_digest() -> None:
    policy = parse_policy("", {}, risk=LIMIT)
    assert [x.id for x in policy.risk.limits_on(DAY)] == ["var"]
    assert policy.digest != parse_policy("", {}).digest
    assert policy.digest == parse_policy("", {}, risk=LIMIT).digest
    assert parse_policy("", {}).risk.scenarios_on(DAY) == ()
