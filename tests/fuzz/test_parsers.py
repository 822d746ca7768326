"""The parsers that `make fuzz` feeds, with spoiled bytes of what they read well."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .parsers import parsers, seeds

PARSERS = parsers()
SEEDS = [*seeds()]
#: What stands for a value in JSON, and what a parser may not survive.
ODD = (
    b"", b"0", b"-1", b"1e400", b"NaN", b"null", b"true", b"[]", b"{}", b'""', b'"\\ud800"', b"\0",
    b"9" * 5_000, b"[" * 3_000, b'{"a":' * 3_000, b"\n\n", b"\xff", b"\xe2\x80\x94 ", b"=", b"1.5",
    b"A" * 100,
)  # fmt: skip
FEW = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=list(HealthCheck),
    phases=[phase for phase in Phase if phase is not Phase.shrink],
)


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[str, bytes]:
    """A parser, and a seed of its with one to three places cut, doubled or replaced."""
    name, body = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = min(start + draw(st.integers(0, 40)), len(body))
        other = draw(st.sampled_from((*ODD, body[start:end] * 2)) | st.binary(max_size=4))
        body = body[:start] + other + body[end:]
    return name, body


def spoil(how: settings) -> None:
    @how
    @given(spoiled())
    def attack(made: tuple[str, bytes]) -> None:
        name, body = made
        PARSERS[name](body)

    attack()


def test_every_parser_reads_its_seeds() -> None:
    assert {name for name, _ in SEEDS} == {*PARSERS}
    for name, body in SEEDS:
        PARSERS[name](body)


@pytest.mark.parametrize("name", PARSERS)
def test_nothing_is_nested_too_deeply(name: str) -> None:
    for body in (b"[" * 100_000, b'{"a":' * 100_000, b"[" * 500 + b"]" * 500, *ODD):
        PARSERS[name](body)


def test_spoiled_bytes_are_refused_in_words() -> None:
    spoil(FEW)


@pytest.mark.slow
def test_bytes_spoiled_in_more_ways_are_refused_in_words() -> None:
    spoil(settings(FEW, max_examples=20_000))
