"""The service under fire, in short: `make torture` is the long form, docs/torture.md says more."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .rounds import BUGS, Plan, World, bugged, run, world

#: Through how many places a process died at the least, of those that failpoints.py wraps.
PLACES = (
    "commit.before:issuing.issue",
    "commit.after:issuing.issue",
    "commit.before:runs.begin_mail",
    "commit.after:runs.begin_mail",
    "commit.before:delivering._settled",
    "commit.after:delivering._settled",
    "commit.before:runs.take",
    "commit.after:runs.take",
    "commit.before:serving.reconcile",
    "commit.after:serving.reconcile",
    "fsync.before:issuing._write",
    "fsync.after:issuing._write",
    "rename.before:issuing._write",
    "rename.after:issuing._write",
    "smtp.data.before",
    "smtp.data.after",
    "smtp.letter.half",
    "smtp.letter.after",
    "smtp.reply.before",
    "smtp.reply.after",
)


@pytest.fixture(scope="module")
def made() -> Iterator[World]:
    with world(warmed=2) as found:
        yield found


def test_whatever_is_done_to_it_each_report_is_issued_once_and_each_mail_accounted_for(
    made: World,
) -> None:
    plan = Plan(
        kills=500,
        periods=2,
        audiences=4,
        workers=4,
        recipients=80,
        kill_at=PLACES,
        at_most_s=float(os.environ.get("TORTURE_S", "300")),
    )
    verdict = run(made, plan, seed=6, say=print)
    figures = verdict.figures
    waits = figures.pop("waits")
    print(figures)
    assert verdict.wrong == []
    assert figures["kills"] >= (plan.kills if "TORTURE_S" not in os.environ else 15)
    assert len([place for place in PLACES if place in figures["points"]]) >= len(PLACES) * 3 // 4
    if figures["kills"] >= plan.kills:
        faults = {"crashes", "cuts", "freezes"} | ({"steps"} if made.faked else set())
        if os.getuid() == 0:  # else nothing can be mounted
            faults.add("full_disks")
        assert not [name for name in faults if not figures[name]]
    if os.getloadavg()[0] < 2 * (os.cpu_count() or 1):  # else it is the machine that is slow
        assert figures["recovery_p99_s"] <= plan.lease_s + 10, waits[-10:]


# Who is frozen has to be at the right place at the right time: on a busy machine that takes rounds.
@pytest.mark.parametrize(
    "bug", [pytest.param(bug, marks=[pytest.mark.slow] * ("lease" in bug)) for bug in BUGS]
)
def test_the_checker_catches_a_planted_bug(made: World, bug: str) -> None:
    """Within a few rounds."""
    rounds = []
    for seed in range(5):
        rounds.append(run(made, bugged(bug), seed).wrong)
        if [each for each in rounds[-1] if BUGS[bug][1] in each]:
            return
    raise AssertionError(rounds)


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_without_the_bug_the_same_round_has_nothing_to_find(made: World, bug: str) -> None:
    assert run(made, bugged(bug, planted=False), seed=1).wrong == []
