"""Histories with known truth through a real Prometheus: the bounds hold in every target-day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reporting.demo.prometheus import find_binary
from reporting.errors import NotReady

from .history import HOUR_MS, KINDS
from .proof import RATIO_ERROR_PP, VANISHING, Proof, prove, table

ROOT = Path(__file__).parents[2]
VAR = ROOT / "var"


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proof]:
    """Everything compared once; the table goes to the terminal (-s) and to var/proof."""
    try:
        find_binary("prometheus", VAR)
        find_binary("promtool", VAR)
    except NotReady as reason:
        pytest.skip(str(reason))
    found = prove(tmp_path_factory.mktemp("proof"), VAR)
    words = table(found)
    (VAR / "proof").mkdir(parents=True, exist_ok=True)
    (VAR / "proof" / "exactness.txt").write_text(words, "utf-8")
    print(f"\n{words}")
    yield found


def test_the_truth_is_within_the_bounds_of_every_target_day(proof: Proof) -> None:
    assert len(proof.states) >= 200 and len(proof.ratios) >= 80
    assert [
        (row.host.name, row.host.kind, float(row.truth), float(row.low), float(row.high))
        for row in proof.outside
    ] == []


def test_every_kind_of_history_is_there(proof: Proof) -> None:
    for rows in (proof.states, proof.ratios):
        # A host that is away all day serves nothing: no traffic is no share.
        kinds = set(KINDS) - ({"away all day"} if rows is proof.ratios else set())
        assert {row.host.kind for row in rows} == kinds
        assert {row.host.tau_ms for row in rows} == {1_000, 5_000, 15_000, 60_000}
        hours = {(end - start) // HOUR_MS for start, end in (row.host.window for row in rows)}
        assert hours == {23, 24, 25}
    assert sum(row.host.bad() for row in proof.ratios) > 100


def test_bounds_are_as_narrow_as_the_scrapes_allow(proof: Proof) -> None:
    """Half an interval on each side of each change, and nothing where nothing changed."""
    for row in proof.states:
        host = row.host
        start, end = host.window
        # Samples, and so the changes that they show, are up to a late scrape further apart.
        apart = host.tau_ms + host.late_ms
        spans = (*host.down, *host.gone, *host.unseen)
        # At each of its two ends the sample before it and the one after it are in doubt.
        changes = 2 * sum(lo < end + apart and hi > start - apart for lo, hi in spans)
        assert row.sharp_width_pp / 100 * (end - start) <= changes * apart + 1e-6, host
        if not spans:
            assert row.low == row.high == row.truth == 1


def test_ratios_are_exact_where_the_usual_query_is_not(proof: Proof) -> None:
    usual = [row.simple_error_pp for row in proof.ratios if row.simple_error_pp is not None]
    assert proof.ratio_error_pp < RATIO_ERROR_PP
    assert sum(usual) / len(usual) > RATIO_ERROR_PP
    # Nothing happened to these: what remains is the traffic around midnight.
    steady = [row.error_pp for row in proof.ratios if row.host.kind == "steady"]
    assert max(steady) < RATIO_ERROR_PP / 10


def test_no_host_that_is_gone_is_reported_as_up(proof: Proof) -> None:
    vanishing = [row for row in proof.states if row.host.kind in VANISHING]
    assert len(vanishing) >= 80
    for row in vanishing:
        # The last sample owns half an interval, and so does the first one after it is back.
        assert row.up_while_gone_ms <= row.host.tau_ms + row.host.late_ms, row.host
        assert row.low < 1, row.host
    # The usual query says 100 % of many of them: the history has what it takes to be wrong.
    assert sum(row.simple == 1 for row in vanishing) > 20


def test_what_is_shorter_than_an_interval_is_seen_as_often_as_a_scrape_meets_it(
    proof: Proof,
) -> None:
    for found in proof.detection:
        expected = float(found.share) * found.outages
        # Four standard deviations of that many throws.
        spread = 4 * (expected * (1 - float(found.share))) ** 0.5
        assert abs(found.seen - expected) <= spread, found
    assert proof.detection[-1].seen == proof.detection[-1].outages
