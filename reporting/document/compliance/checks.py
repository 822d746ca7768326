"""The tests that answer a control from a report's own data, by the name the mapping gives them.

Each looks at what the report was built from and nothing else. What did not happen in the period
(no day restated, no limit set) tests nothing: it is not assessed, never met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from ...analysis import listed
from ...levels import Share
from ...model import (
    Bps,
    Count,
    Duration,
    Missing,
    Money,
    Number,
    Ratio,
    Shown,
    Window,
    plain,
)
from ...numerals import numeral, ours
from ...page import Document, Figure, Verdict
from ...policy import Policy
from ...policy.compliance import Control, Test
from ..history import Cited
from ..objectives import Standing

Result = Literal["met", "missed", "not assessed"]
RESULT: Mapping[Verdict, Result] = {
    Verdict.MET: "met",
    Verdict.MISSED: "missed",
    Verdict.UNKNOWN: "not assessed",
}
#: The lot of an answer that rests on several: the worst that is known, then what is not known.
WORST: tuple[Result, ...] = ("missed", "not assessed", "met")


@dataclass(frozen=True)
class Held:
    """What a report holds when its controls are tested."""

    document: Document
    days: Sequence[Cited]
    unsealed: Sequence[date]
    standings: Mapping[str, Standing]
    policy: Policy
    reviews: Sequence[tuple[str, int]] = ()

    def figures(self) -> Mapping[str, Figure]:
        """Every figure by its id."""
        return {f.id: f for section in self.document.sections for f in section.figures}


@dataclass(frozen=True)
class Answer:
    """A test's result, and the figures, counts and sections that it rests on."""

    result: Result
    evidence: str


@dataclass(frozen=True)
class Check:
    """One test: what it looks for in words, and how."""

    words: str
    run: Callable[[Held, Control], Answer]


def _days_sealed(held: Held, control: Control) -> Answer:
    sealed = len(held.days)
    return _all(sealed, sealed + len(held.unsealed), "days sealed")


def _sealed_within(held: Held, control: Control) -> Answer:
    """Hours from a day's end to its first seal; of a restated day nothing here tells that one."""
    assert control.at_most is not None
    first = [c for c in held.days if c.sealed.revision == 1 and not c.sealed.flash]
    waits = [c.sealed_at - c.sealed.window.end for c in first]
    if not waits:
        return Answer("not assessed", "no day of the period stands as it was first sealed")
    allowed = timedelta(microseconds=int(Fraction(control.at_most) * 3_600_000_000))
    # Tenths of an hour, rounded up: what was late must not read as in time.
    longest = Decimal(-(-max(waits) // timedelta(minutes=6))) / 10
    kept = sum(wait <= allowed for wait in waits)
    answer = _all(kept, len(waits), f"days in time, the slowest after {numeral(plain(longest))} h")
    more = len(held.days) - len(waits)
    return _more(answer, f"{more} restated or FLASH, not judged" if more else "")


def _no_gaps(held: Held, control: Control) -> Answer:
    names = list(dict.fromkeys(gap.what for gap in held.document.gaps))
    if names:
        return Answer("missed", f"{_many(len(held.document.gaps), 'gap')}: {listed(names)} (Gaps)")
    return Answer("met", "0 gaps (Gaps)")


def _no_errors(held: Held, control: Control) -> Answer:
    count = {
        s: sum(f.severity == s for f in held.document.findings)
        for s in ("error", "warning", "note")
    }
    words = ", ".join(_many(number, severity) for severity, number in count.items())
    return Answer("missed" if count["error"] else "met", f"{words} (Findings)")


def _control_totals(held: Held, control: Control) -> Answer:
    """Rows that were read against those that the source counted itself in the same snapshot."""
    counted = [
        (s, dict(s.control)["rows"]) for s in held.document.sources if "rows" in dict(s.control)
    ]
    if not counted:
        return Answer("not assessed", "no source states a control total")
    wrong = [f"{s.query} {s.rows} of {rows}" for s, rows in counted if str(s.rows) != rows]
    if wrong:
        return Answer("missed", f"rows read of rows that there are: {listed(wrong)} (Sources)")
    rows = sum(s.rows for s, _ in counted)
    names = listed(list(dict.fromkeys(s.query for s, _ in counted)))
    many = numeral(rows, ",")
    return Answer("met", f"{names}: {many} rows read, {many} by the source itself (Sources)")


def _restatements_explained(held: Held, control: Control) -> Answer:
    restated = [c.sealed for c in held.days if c.sealed.revision > 1]
    if not restated:
        return Answer("not assessed", "no day was restated, so nothing was put to the test")
    return _all(sum(bool(d.reason) for d in restated), len(restated), "restated days with a reason")


def _signed_off(held: Held, control: Control) -> Answer:
    """Daily reports as they stood at the cut-off: two people each, which the store insists on."""
    if not held.reviews:
        return Answer("not assessed", "no daily report of the period was issued by the cut-off")
    both = sum(people == 2 for _, people in held.reviews)
    return _all(both, len(held.reviews), "daily reports signed off by two people at the cut-off")


def _policy_named(held: Held, control: Control) -> Answer:
    digests = [c.sealed.policy_digest for c in held.days]
    versions = len({d for d in digests if d})
    answer = _all(sum(map(bool, digests)), len(digests), "sealed days name their policy")
    return _more(answer, f"{_many(versions, 'version')} in force")


def _audit_logged(held: Held, control: Control) -> Answer:
    """The log can't be shorter than the revisions that were sealed.

    How long it is stands under Evidence alone: it grows from issue to issue, and a report that is
    made again must not differ by that.
    """
    sealed = sum(c.revision for c in held.document.citations)
    if held.document.checkpoint.size < sealed:
        return Answer("missed", f"fewer log entries than the {sealed} revisions cited (Evidence)")
    words = f"a log entry for each of the {sealed} sealed revisions cited; checkpoint: Evidence"
    return Answer("met", words)


def _figures(held: Held, control: Control) -> Answer:
    known = held.figures()
    results, words = [], []
    for id in control.figures:
        result, said = _figure(id, known.get(id), control)
        results.append(result)
        words.append(said)
    return Answer(_worst(results), "; ".join(words))


def _figure(id: str, figure: Figure | None, control: Control) -> tuple[Result, str]:
    if figure is None:
        return "not assessed", f"{id} is not in this report"
    said = f"{id} {_said(figure.value)}"
    if isinstance(figure.value, Missing):
        return "not assessed", said
    if control.at_most is None and control.at_least is None:
        if figure.verdict is None:
            return "not assessed", f"{said}, no target"
        bound = f", target {figure.target.words()}" if figure.target else ""
        return RESULT[figure.verdict], f"{said}{bound}"
    amount = _amount(figure.value)
    if amount is None:
        return "not assessed", f"{said} is nothing that a bound fits"
    over = control.at_most is not None and amount > Fraction(control.at_most)
    under = control.at_least is not None and amount < Fraction(control.at_least)
    return "missed" if over or under else "met", said


def _measured(held: Held, control: Control) -> Answer:
    known = held.figures()
    found = {id: known[id].value if id in known else None for id in control.figures}
    words = [f"{id} {_said(v) if v is not None else 'is not there'}" for id, v in found.items()]
    gone = any(v is None or isinstance(v, Missing) for v in found.values())
    return Answer("not assessed" if gone else "met", "; ".join(words))


def _objectives(held: Held, control: Control) -> Answer:
    results: list[Result] = []
    words = []
    for id in control.objectives:
        standing = held.standings.get(id)
        verdict = standing.verdict if standing else None
        results.append(RESULT[verdict] if verdict else "not assessed")
        kept = verdict.value if verdict else "only tracked" if standing else "not in this report"
        words.append(f"{id} {kept}{_share(standing)}")
    return Answer(_worst(results), "; ".join(words))


def _sections(held: Held, control: Control) -> Answer:
    by_id = {s.id: s for s in held.document.sections}
    results: list[Result] = []
    words = []
    for id in control.sections:
        section = by_id.get(id)
        if section is None or section.verdict is None:
            results.append("not assessed")
            words.append(f"{id}: {'no target' if section else 'not in this report'}")
            continue
        results.append(RESULT[section.verdict])
        title = section.title
        judged = [f for f in section.figures if f.verdict is not None]
        short = [
            f"{f.id} {f.verdict.value}" for f in judged if f.verdict not in (None, Verdict.MET)
        ]
        met = len(judged) - len(short)
        kept = f"{met} of {len(judged)} figures met" if judged else section.verdict.value
        words.append(f"{title}: {kept}{'; ' if short else ''}{listed(short, 3)}")
    return Answer(_worst(results), "; ".join(words))


def _limits(held: Held, control: Control) -> Answer:
    found = held.figures().get("var.limits_breached")
    if found is None or not isinstance(found.value, Count):
        return Answer("not assessed", "no limit is set in the risk file")
    breached = found.value.value
    return Answer("missed" if breached else "met", f"{found.id} {_said(found.value)}")


def _maintenance_approved(held: Held, control: Control) -> Answer:
    """Windows of the period that were approved before they began."""
    period = Window(start=held.days[0].sealed.window.start, end=held.days[-1].sealed.window.end)
    windows = {
        (o.start_ms, o.end_ms, o.reason): o.retroactive
        for o in held.policy.maintenance.windows(period)
    }
    if not windows:
        return Answer("not assessed", "no maintenance window in the period")
    return _all(
        sum(not late for late in windows.values()), len(windows), "windows approved beforehand"
    )


def _personal_register(held: Held, control: Control) -> Answer:
    register = held.policy.compliance.personal
    if not register:
        return Answer("not assessed", "the register of personal data is empty")
    columns = sum(len(entry.columns) for entry in register)
    return Answer(
        "met",
        f"{_many(columns, 'ledger column')}, each with purpose, legal basis, retention and masking "
        "(register below)",
    )


def _personal_masked(held: Held, control: Control) -> Answer:
    register = held.policy.compliance.personal
    if not register:
        return Answer("not assessed", "the register of personal data is empty")
    masked = sum(entry.external == "pseudonym" for entry in register)
    return _all(masked, len(register), "entries are pseudonyms for external recipients")


def _attestation(held: Held, control: Control) -> Answer:
    return Answer("not assessed", "no valid attestation")


CHECKS: Mapping[Test, Check] = {
    "days_sealed": Check("every day of the period is sealed", _days_sealed),
    "sealed_within": Check("days are sealed soon after their end", _sealed_within),
    "no_gaps": Check("no promised value is missing", _no_gaps),
    "no_errors": Check("no finding about the data is an error", _no_errors),
    "control_totals": Check("rows read are those the source counts", _control_totals),
    "restatements_explained": Check("every restated day has a reason", _restatements_explained),
    "signed_off": Check("preparer and reviewer signed off daily reports", _signed_off),
    "policy_named": Check("every sealed day names its policy", _policy_named),
    "audit_logged": Check("the log has every sealed revision", _audit_logged),
    "figures": Check("figures keep their bound", _figures),
    "measured": Check("figures are measured", _measured),
    "objectives": Check("objectives are kept", _objectives),
    "sections": Check("targets of a section are kept", _sections),
    "limits": Check("risk limits are not breached", _limits),
    "maintenance_approved": Check("maintenance is approved first", _maintenance_approved),
    "personal_register": Check("personal data is registered", _personal_register),
    "personal_masked": Check("names are masked outside", _personal_masked),
    "attestation": Check("attested by a person", _attestation),
}


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _all(kept: int, of: int, what: str) -> Answer:
    return Answer("met" if kept == of else "missed", f"{kept} of {of} {what}")


def _more(answer: Answer, words: str) -> Answer:
    return Answer(answer.result, f"{answer.evidence}; {words}") if words else answer


def _worst(results: Sequence[Result]) -> Result:
    return min(results, key=WORST.index)


def _amount(value: Shown) -> Fraction | None:
    """What a bound is compared with: percent of a share, seconds of a length of time."""
    match value:
        case Count() | Number():
            return Fraction(value.value)
        case Money():
            return Fraction(value.amount)
        case Ratio():
            return None if value.fraction is None else value.fraction * 100
        case Bps():
            return value.value
        case Duration():
            return Fraction(value.ms, 1000)
        case _:
            return None


def _said(value: Shown) -> str:
    """A value in words that need no rounding."""
    match value:
        case Count() | Number():
            number = (value.value, ",") if isinstance(value, Count) else (plain(value.value),)
            return f"{numeral(*number)} {value.unit}".strip()
        case Money():
            return f"{numeral(plain(value.amount))} {value.currency}"
        case Ratio():
            return ours(f"{plain(value.numerator)} of {plain(value.denominator)}")
        case Duration():
            return f"{numeral(plain(Decimal(value.ms) / 1000))} s"
        case Bps():
            return ours(f"{plain(value.cost)} of {plain(value.notional)} notional")
        case _:
            return str(value)


def _share(standing: Standing | None) -> str:
    """Of an objective, the lower bound of its share of good, rounded down."""
    if standing is None or not isinstance(standing.share, Share):
        return ""
    return f", at least {numeral(plain(Decimal(int(standing.share.low * 10_000)) / 100))} %"
