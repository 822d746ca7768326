"""Whatever a person writes into a file or a setting: it works, or a message says what is wrong."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reporting.errors import UsageError, ValidationFailed
from reporting.pipeline import in_clear
from reporting.policy import parse_policy
from reporting.policy.compliance import parse_compliance
from reporting.policy.maintenance import parse_maintenance
from reporting.policy.openslo import parse_objectives
from reporting.policy.operations import parse_operations
from reporting.policy.retention import parse_retention
from reporting.policy.risk import parse_risk
from reporting.policy.schedule import parse_schedule
from reporting.settings import Settings, load, secret_of

CONFIG = Path(__file__).parents[2] / "config"


def _schedule(text: str) -> object:
    return parse_schedule(text, "XNYS", "America/New_York")


SCHEDULE = """
[[recipient]]
name = "desk"
address = "desk@example.com"
to_name = "Trading desk"
class = "internal"

[[closure]]
calendar = "XNYS"
date = 2026-12-28
closed = true
reason = "day of mourning"
source = "NYSE notice of 2026-12-21"

[[closure]]
date = 2026-12-30
early_close = "13:00"
reason = "storm"
source = "notice"

[[report]]
name = "other"
kind = "daily"
due_time = "06:30"
due_after = "1 session"
deadline = "4 hours"
zone = "Europe/London"
from = 2026-01-01
recipients = ["desk"]
attach = false
retry_first = "30 seconds"
"""

TOML: dict[str, Callable[[str], object]] = {
    "policy.toml": lambda text: parse_policy(text, {}),
    "operations.toml": parse_operations,
    "maintenance.toml": lambda text: parse_maintenance(text, None),
    "risk.toml": parse_risk,
    "compliance.toml": lambda text: parse_compliance(text, None, None),
    "retention.toml": parse_retention,
    "schedule.toml": _schedule,
}
TEXTS = {name: (CONFIG / name).read_text("utf-8") for name in TOML}
TEXTS["schedule.toml"] += SCHEDULE
TEXTS["maintenance.toml"] = "\n".join(  # the examples that it has commented out
    line.removeprefix("# ")
    for line in TEXTS["maintenance.toml"].splitlines()
    if line.startswith("# [[") or re.match(r"# \w+ = ", line)
)

#: What may stand where a value is expected.
ODD = (
    "", "0", "-1", "1e400", "nan", "-inf", "true", '""', '" "', '"\\u0000"', '"a\\nb"', "[]",
    "[1, 'a', {}]", "{}", "{a = 1}", "[{}]", "2026-01-01", "0001-01-01", "9999-12-31", "2026-02-30",
    "06:30:00", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "99999999999999999999",
    '"NaN"', '"Infinity"', '"1E+999999"', '"1E-999999"', '"-0"', '"99999999 days"', '"America"',
    '"../etc"', '"\\ud800"', "'''\n'''", '"' + "x" * 5000 + '"', "9" * 5000, "[" * 3000,
    "[" * 3000 + "]" * 3000, "{a=" * 500 + "1" + "}" * 500, '"9999999d"', "0x7fffffffffffffffffff",
    '"2026-01-01"', '"\\U0010ffff"', '"XNYS"', '"24/7"', '"0 days"', '"99 days"', "[true]",
)  # fmt: skip
LITERALS = st.one_of(
    st.sampled_from(ODD),
    st.integers().map(str),
    st.floats().map(str),
    st.text(string.printable, max_size=12),
    st.text(max_size=8).map(lambda text: f"'{text}'"),
    st.dates().map(str),
    st.times().map(str),
)


@st.composite
def spoiled(draw: st.DrawFn, text: str, mark: str = " = ") -> str:
    """``text`` with one to three lines changed, lost, doubled, moved or torn."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        what = draw(
            st.sampled_from(("value", "value", "value", "lost", "doubled", "moved", "torn"))
        )
        if what == "value":
            field, _, _ = lines[at].partition(mark)
            lines[at] = f"{field}{mark}{draw(LITERALS)}"
        elif what == "lost" and len(lines) > 1:
            del lines[at]
        elif what == "doubled":
            lines.insert(at, lines[at])
        elif what == "moved":
            lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
        else:
            cut = draw(st.integers(0, len(lines[at])))
            lines[at] = lines[at][:cut] + draw(st.text(max_size=4)) + lines[at][cut + 1 :]
    return "\n".join(lines)


def understood(parse: Callable[[str], object], text: str) -> None:
    """It is read, or refused with words: one line that is not a novel."""
    try:
        parse(text)
    except ValidationFailed as error:
        assert str(error).strip()


FEW = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
MANY = settings(deadline=None, max_examples=4000, suppress_health_check=list(HealthCheck))


def spoil_toml(how: settings, name: str) -> None:
    @how
    @given(spoiled(TEXTS[name]))
    def attack(text: str) -> None:
        understood(TOML[name], text)

    attack()


@pytest.mark.parametrize("name", TOML)
def test_a_spoiled_file_is_refused_with_words(name: str) -> None:
    spoil_toml(FEW, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", TOML)
def test_a_file_spoiled_in_more_ways_is_refused_with_words(name: str) -> None:
    spoil_toml(MANY, name)


@pytest.mark.parametrize("name", TOML)
def test_text_of_any_kind_is_refused_with_words(name: str) -> None:
    parse = TOML[name]
    understood(parse, TEXTS[name])
    for text in ("\0", "a = " + "[" * 50_000, "a = " + "9" * 5_000, "[[" * 900, "\ufeff"):
        understood(parse, text)

    @settings(deadline=None, max_examples=40)
    @given(st.text(max_size=60))
    def attack(text: str) -> None:
        understood(parse, text)

    attack()


# ---- Objectives: YAML --------------------------------------------------------------------------

OBJECTIVES = {path.name: path.read_text("utf-8") for path in (CONFIG / "objectives").glob("*.yaml")}

#: Aliases of aliases: nine lines that would be a billion values.
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


def spoil_objectives(how: settings) -> None:
    @how
    @given(st.sampled_from(sorted(OBJECTIVES)), st.data())
    def attack(name: str, data: st.DataObject) -> None:
        text = OBJECTIVES[name]
        documents = text.split("\n---\n")
        at = data.draw(st.integers(0, len(documents) - 1))
        documents[at] = data.draw(spoiled(documents[at], ": "))
        understood(lambda made: parse_objectives({name: made}), "\n---\n".join(documents))

    attack()


def test_spoiled_objectives_are_refused_with_words() -> None:
    spoil_objectives(FEW)


@pytest.mark.slow
def test_objectives_spoiled_in_more_ways_are_refused_with_words() -> None:
    spoil_objectives(MANY)


@pytest.mark.parametrize(
    "text",
    [
        "\0", "[" * 2_000, "a: &a [*a]", "&a {a: *a}", "!!python/object:os.system {}", "- - - -",
        "? {a: 1}\n: 2", "%YAML 9.9\n---\na", "---\n---\n", "a: *b", "\ufeff", "kind: SLO",
        "apiVersion: openslo/v1\nkind: SLO\nmetadata: &m {name: *m}", "- 1\n- {a: b}", "x" * 10_000,
        "apiVersion: [openslo/v1]\nkind: {SLO: 1}", "2026-13-45", "!!binary x", "{" * 5_000, LAUGHS,
        "[" * 100_000, "- " * 100_000,
    ],
)  # fmt: skip
def test_yaml_of_any_kind_is_refused_with_words(text: str) -> None:
    understood(lambda made: parse_objectives({"a.yaml": made}), text)


# ---- Settings ----------------------------------------------------------------------------------

NAMES = sorted(Settings.model_fields)
#: What the environment can hold: no NUL, and bytes that are no UTF-8 as surrogates.
VALUES = st.one_of(
    st.sampled_from(
        (
            "", " ", "0", "-1", "1e9", "nan", "true", "null", "[]", "{}", "XNYS", "America", "UTC",
            "Europe/Berlin", "../../etc/passwd", "/etc", "x" * 5_000, "9" * 5_000, "local:0",
            "dask://x", "http://[", "USD", "usd", "\udcff", "\r\nX: y",
            "XNYS except 2026-12-28 closed",
        )
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
)  # fmt: skip


#: URLs that may hold a password: none of them is ever shown with it, be it well written or not.
URLS = [name for name in NAMES if name.endswith("_url")]
SECRET = "geheim"
SPOILED_URLS = st.sampled_from(
    (
        f"postgresql://u:{SECRET}@[::1", f"http://a:{SECRET}@b:99999999/", f"http://a:{SECRET}@",
        f"http://a:{SECRET}/b?c#d@host/path", f"http://h/p?password={SECRET}", f"://{SECRET}@h",
        f"http://h/p#{SECRET}",
    )
)  # fmt: skip


def loaded(given_: dict[str, str], folder: Path) -> None:
    """Settings of an environment: they can be used and shown, or a message names what is wrong."""
    environment = {f"REPORTING_{name.upper()}": value for name, value in given_.items()}
    environment["REPORTING_CONFIG"] = str(folder / "reporting.toml")
    with mock.patch.dict(os.environ, environment):
        try:
            found = load()
        except UsageError as error:
            assert "REPORTING_" in str(error)
            assert SECRET not in str(error)
        else:
            assert SECRET not in str(found.public())
            assert SECRET not in str(in_clear(found))


def spoil_settings(how: settings, folder: Path) -> None:
    (folder / "reporting.toml").write_text("")

    @how
    @given(
        st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=4),
        st.dictionaries(st.sampled_from(URLS), SPOILED_URLS, max_size=2),
    )
    @example({"zone": "America"}, {})
    @example({"store_url": ""}, {"ledger_url": f"postgresql://u:{SECRET}@[::1"})
    def attack(given_: dict[str, str], urls: dict[str, str]) -> None:
        loaded(given_ | urls, folder)

    attack()


def test_settings_of_any_kind_are_refused_with_words(tmp_path: Path) -> None:
    spoil_settings(settings(FEW, max_examples=200), tmp_path)


@pytest.mark.slow
def test_settings_of_more_kinds_are_refused_with_words(tmp_path: Path) -> None:
    spoil_settings(MANY, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_may_be_wrong_by_itself(name: str, tmp_path: Path) -> None:
    (tmp_path / "reporting.toml").write_text("")
    for value in ("", "\udcff", "http://[", "x" * 5_000):
        loaded({name: value}, tmp_path)


@st.composite
def settings_file(draw: st.DrawFn) -> bytes:
    names = draw(st.lists(st.sampled_from([*NAMES, "colour"]), max_size=4, unique=True))
    return "\n".join(f"{name} = {draw(LITERALS)}" for name in names).encode()


@settings(FEW, max_examples=100)
@given(st.one_of(settings_file(), st.binary(max_size=20)))
@example(b"\xff\xfe")
@example(b"a = " + b"[" * 50_000)
@example(b"part_fills = " + b"9" * 5_000)
def test_a_settings_file_of_any_kind_is_refused_with_words(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "reporting.toml").write_bytes(body)
    loaded({}, folder)


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00"])
def test_a_secret_of_any_kind_is_refused_with_words(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "secret").write_bytes(body)
    with pytest.raises(UsageError, match="UTF-8 or is empty"):
        secret_of(tmp_path / "secret")
