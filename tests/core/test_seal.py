"""Canonical bytes and the audit chain: every edit is seen; what can not be seen is said."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import reporting
from reporting.model import Coverage, Finding, Money, Window
from reporting.seal import (
    GENESIS,
    Claim,
    LogEntry,
    SealedDay,
    canonical,
    digest,
    verify_chain,
)


def chain(bodies: list[bytes]) -> list[LogEntry]:
    """A log by the definition: leaf = sha256(00 ‖ entry), chain = sha256(02 ‖ prev ‖ leaf)."""
    previous, rows = bytes(32), []
    for seq, body in enumerate(bodies, 1):
        leaf = hashlib.sha256(b"\x00" + body).digest()
        head = hashlib.sha256(b"\x02" + previous + leaf).digest()
        rows.append(LogEntry(seq, body, previous, leaf, head))
        previous = head
    return rows


BODIES = [b'{"event":"a"}', b'{"event":"b"}', b'{"event":"c"}', b'{"event":"d"}', b'{"event":"e"}']


def heads(rows: list[LogEntry], *sizes: int) -> list[Claim]:
    """What somebody was told at these sizes, or at each."""
    return [Claim(n, rows[n - 1].chain_hash) for n in sizes or range(1, len(rows) + 1)]


def test_a_whole_chain_is_accepted_and_its_head_told() -> None:
    rows = chain(BODIES)
    report = verify_chain(rows, heads(rows))
    assert report.ok
    assert (report.size, report.head, report.problem) == (5, rows[-1].chain_hash.hex(), "")
    empty = verify_chain([])
    assert (empty.ok, empty.size, empty.head) == (True, 0, "00" * 32)
    assert bytes.fromhex(empty.head) == GENESIS


def flip(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("entry", "was edited"),
        ("leaf_hash", "was edited"),
        ("prev_hash", "does not follow"),
        ("chain_hash", "chain hash"),
    ],
)
def test_any_single_edit_is_found_at_its_place(at: int, field: str, problem: str) -> None:
    rows = chain(BODIES)
    rows[at] = rows[at]._replace(**{field: flip(getattr(rows[at], field))})
    report = verify_chain(rows)
    assert problem in report.problem
    assert f"entry {at + 1}" in report.problem


def test_removed_doubled_and_reordered_entries_are_found() -> None:
    rows = chain(BODIES)
    for wrong in (
        rows[1:],
        rows[:2] + rows[3:],
        rows[:2] + rows[1:],
        [rows[1], rows[0], *rows[2:]],
        rows[::-1],
    ):
        assert not verify_chain(wrong).ok
    # Renumbered so that nothing seems missing: the links still tell.
    renumbered = [row._replace(seq=i) for i, row in enumerate(rows[:2] + rows[3:], 1)]
    assert "entry 3 does not follow entry 2" in verify_chain(renumbered).problem


def test_a_cut_tail_needs_a_checkpoint() -> None:
    rows = chain(BODIES)
    assert verify_chain(rows[:3]).ok  # known limit: a prefix is a whole chain of its own
    assert "its tail was cut" in verify_chain(rows[:3], heads(rows, 5)).problem
    assert "its tail was cut" in verify_chain([], heads(rows, 1)).problem


def test_a_rewritten_chain_needs_a_checkpoint() -> None:
    honest, forged = chain(BODIES), chain([BODIES[0], b'{"event":"x"}', *BODIES[2:]])
    assert verify_chain(forged).ok  # known limit: consistent in itself
    for size in range(2, 6):
        report = verify_chain(forged, heads(honest, size))
        assert "differs from its checkpoint" in report.problem
    # A checkpoint from before the change can't tell; it vouches for its own prefix only.
    assert verify_chain(forged, heads(honest, 1)).ok


def test_a_log_that_has_grown_still_meets_its_checkpoints() -> None:
    rows = chain(BODIES)
    assert verify_chain(rows, heads(rows, 2, 4)).ok


def test_leaves_and_links_have_domains_of_their_own() -> None:
    # An entry that spells out an inner node must not hash to that node (RFC 9162, 2.1.1).
    first = chain(BODIES[:2])
    spelled = first[0].chain_hash + first[1].leaf_hash
    assert chain([spelled])[0].leaf_hash != first[1].chain_hash


ROWS = st.lists(st.binary(min_size=1, max_size=8), min_size=2, max_size=8).map(chain)


@st.composite
def tampered(draw: st.DrawFn) -> tuple[list[LogEntry], list[LogEntry]]:
    """A log and what somebody made of it with one to three changes."""
    honest = draw(ROWS)
    rows = list(honest)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(rows) - 1, 0)))
        if not rows:
            break
        change = draw(st.sampled_from(["edit", "remove", "swap", "double", "insert", "rewrite"]))
        if change == "edit":
            name = draw(st.sampled_from(["entry", "leaf_hash", "prev_hash", "chain_hash"]))
            rows[at] = rows[at]._replace(**{name: draw(st.binary(min_size=1, max_size=32))})
        elif change == "remove":
            del rows[at]
        elif change == "swap":
            other = draw(st.integers(0, len(rows) - 1))
            rows[at], rows[other] = rows[other], rows[at]
        elif change == "double":
            rows.insert(at, rows[at])
        elif change == "insert":
            rows.insert(at, chain([draw(st.binary(max_size=4))])[0])
        else:  # everything from here on is hashed anew, as somebody with the database could
            bodies = [row.entry for row in rows]
            bodies[at] = draw(st.binary(min_size=1, max_size=8))
            rows = chain(bodies)
    if draw(st.booleans()):
        rows = [row._replace(seq=i) for i, row in enumerate(rows, 1)]
    return honest, rows


@settings(deadline=None, max_examples=400)
@given(tampered())
def test_no_tampering_passes_a_checkpoint_of_the_head(
    both: tuple[list[LogEntry], list[LogEntry]],
) -> None:
    honest, rows = both
    witness = heads(honest, len(honest))
    assert verify_chain(honest, witness).ok
    assume(rows != honest)
    # Entries appended to an untouched log are no tampering.
    assume(rows[: len(honest)] != honest)
    assert not verify_chain(rows, witness).ok


@settings(deadline=None, max_examples=200)
@given(tampered())
def test_without_a_checkpoint_only_consistent_chains_pass(
    both: tuple[list[LogEntry], list[LogEntry]],
) -> None:
    _, rows = both
    assert verify_chain(rows).ok is (rows == chain([row.entry for row in rows]))


# Canonical bytes -----------------------------------------------------------------------------


def sealed(**changes: object) -> SealedDay:
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    window = Window(start=midnight, end=midnight + timedelta(1))
    day = SealedDay(
        day=date(2026, 3, 2),
        revision=1,
        reason="",
        previous="",
        calendar="24/7",
        zone="UTC",
        session=True,
        note="regular session",
        window=window,
        trading=window,
        known_at=midnight + timedelta(days=1, hours=2),
        policy_digest="p",
        facts={"zeta": {"a": "1.5", "ß": "é"}, "alpha": {"kind": "missing", "why": "no trades"}},
        sources=(
            Coverage(
                source="ledger", query="q", query_digest="d", rows=1, control={"b": "2", "a": "1"}
            ),
        ),
        findings=(Finding(check="c", severity="note", count=1, detail="d"),),
        closing_book="",
    )  # fmt: skip
    return day.model_copy(update=changes)


ANY_TEXT = st.text(st.characters(), max_size=6)  # half characters too
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**54), 2**54)
    | st.sampled_from([2**53 - 1, 2**53, -(2**53) + 1, -(2**53)])
    | st.floats()
    | ANY_TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(ANY_TEXT | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(ANY_JSON)
@example({"\ufb33": 1, "\U0001f600": 2})  # UTF-16 has them the other way round
@example({"a": ['\x00\x1f\x7f\x85\u2028\ufeff"\\/<', True, 1, None, {}, [], ()]})
@example({"b": 1, "a": {"d": 1, "c": 2}})
@example("\ud800")
@example({"\ud800": 1})
@example([2**53 - 1, 1e21, -0.0])
def test_canonical_bytes_are_those_of_rfc8785(value: Any) -> None:
    try:
        expected = rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        with pytest.raises(type(error), match=re.escape(str(error))):
            canonical(value)
    else:
        assert canonical(value) == expected


def test_canonical_json_is_sorted_and_bare() -> None:
    assert (
        canonical({"b": 1, "a": [True, None, "é\n"]}) == '{"a":[true,null,"é\\n"],"b":1}'.encode()
    )
    assert canonical(Money(amount=Decimal("1.50"), currency="USD")) == (
        b'{"amount":"1.5","currency":"USD","kind":"money"}'
    )
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_equal_values_have_equal_bytes() -> None:
    a = Money(amount=Decimal("1.50"), currency="USD")
    b = Money(amount=Decimal("15E-1"), currency="USD")
    assert a == b
    assert canonical(a) == canonical(b)


def test_a_sealed_day_comes_back_from_its_bytes() -> None:
    day = sealed()
    again = SealedDay.model_validate_json(canonical(day))
    assert again == day
    assert canonical(again) == canonical(day)


SCRIPT = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from test_seal import sealed
from reporting.seal import canonical, digest
print(digest(canonical(sealed())), len({{"a", "b", "c"}}))
"""


def test_the_bytes_depend_on_no_hash_seed_and_no_time_zone() -> None:
    here = Path(__file__).parent
    script = SCRIPT.format(root=str(Path(reporting.__file__).parent.parent), here=str(here))
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, zone in (("0", "UTC"), ("4711", "Asia/Kathmandu"))
    ]
    printed = {run.communicate(timeout=60)[0].split()[0] for run in runs}
    assert printed == {digest(canonical(sealed()))}


@pytest.mark.parametrize(
    ("changes", "new"),
    [
        ({"revision": 2, "reason": "late", "previous": "x", "policy_digest": "q"}, False),
        ({"known_at": datetime(2026, 4, 1, tzinfo=UTC)}, False),
        ({"facts": {}}, True),
        ({"findings": ()}, True),
        ({"sources": ()}, True),
        ({"closing_book": "other"}, True),
        ({"note": "early close at 13:00"}, True),
    ],
)
def test_what_a_new_revision_has_to_differ_in(changes: dict[str, object], new: bool) -> None:
    assert (sealed(**changes).content() != sealed().content()) is new
