"""The compliance mapping as an appendix: metric → control → test → result, with its evidence.

It says which controls the report's data supports; whether a rule is kept is for people to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal
from zoneinfo import ZoneInfo

from ...model import Count, plain
from ...numerals import numeral
from ...page import Attention, Column, Document, Figure, Kind, Section, Table, text
from ...policy import Policy
from ...policy.compliance import Attestation, Compliance, Control, Framework
from ..history import Cited
from ..objectives import Standing
from .checks import CHECKS, Held
from .masking import is_masked, masked

__all__ = ["Assessed", "Held", "assess", "is_masked", "masked", "with_compliance"]

#: The kinds of report that have the appendix.
KINDS = (Kind.MONTHLY, Kind.QUARTERLY)
Outcome = Literal["met", "attested", "missed", "not assessed"]
COLUMNS = (
    Column(key="reference", label="Reference", align="left"),
    Column(key="asks", label="What is asked", align="left"),
    Column(key="test", label="Test and threshold", align="left"),
    Column(key="result", label="Result", align="left"),
    Column(key="evidence", label="Evidence", align="left"),
    Column(key="owner", label="Owner", align="left", shown=False),
    Column(key="control", label="Control", align="left", shown=False),
)
PERSONAL = (
    Column(key="what", label="Personal data", align="left"),
    Column(key="columns", label="Ledger columns", align="left"),
    Column(key="purpose", label="Purpose", align="left"),
    Column(key="legal_basis", label="Legal basis", align="left"),
    Column(key="retention", label="Retention", align="left"),
    Column(key="internal", label="Internal", align="left"),
    Column(key="audit", label="Audit", align="left"),
    Column(key="external", label="External", align="left"),
)
NOTES = (
    "Results speak of this period and of the data that this report holds. They support the work "
    "on a control and are no opinion on whether a rule is kept: that is for the firm and its "
    "auditors.",
    "Not assessed: no data of this report answers the control, or nothing happened that would put "
    "it to the test, and nobody's attestation is valid at the end of the period. It is never "
    "counted as met. An attestation does not outweigh data that says otherwise.",
)


@dataclass(frozen=True)
class Assessed:
    """One control with its outcome, the bound that was set and what the outcome rests on."""

    control: Control
    outcome: Outcome
    evidence: str


def with_compliance(
    document: Document,
    days: Sequence[Cited],
    unsealed: Sequence[date],
    standings: Sequence[Standing],
    policy: Policy,
    reviews: Sequence[tuple[str, int]] = (),
) -> Document:
    """``document`` with the appendix, where its kind has one and the mapping has controls.

    Nothing in it depends on the circumstances of an issue: a report that is made again is the same.
    """
    held = Held(document, days, unsealed, {s.id: s for s in standings}, policy, reviews)
    if document.kind not in KINDS or not (results := assess(held)):
        return document
    return document.model_copy(
        update={
            "sections": (*document.sections, _section(held, results)),
            "attention": (*document.attention, *_attention(results)),
        }
    )


def assess(held: Held) -> tuple[Assessed, ...]:
    """Every control in force at the end of the period, in the order of the mapping."""
    compliance = held.policy.compliance
    cutoff = max(c.sealed.known_at for c in held.days)
    known = cutoff.astimezone(ZoneInfo(held.days[-1].sealed.zone)).date()
    return tuple(
        _assessed(control, held, compliance.attestations, known)
        for control in compliance.controls_on(held.document.period.last)
    )


def _assessed(
    control: Control, held: Held, attestations: Sequence[Attestation], known: date
) -> Assessed:
    """Data first; only what it leaves open can be attested. ``known`` is the cut-off's day."""
    answer = CHECKS[control.test].run(held, control)
    own = [a for a in attestations if a.control == control.id and a.on <= known]
    if answer.result != "not assessed" or not own:
        return Assessed(control, answer.result, answer.evidence)
    last = max(own, key=lambda a: a.on)
    if last.valid_until < held.document.period.last:
        words = f"{answer.evidence}; attested {last.on} by {last.by}, expired {last.valid_until}"
        return Assessed(control, "not assessed", words)
    words = f"{last.on} by {last.by}, valid until {last.valid_until}: {last.evidence}"
    return Assessed(control, "attested" if last.result == "met" else "missed", words)


def _section(held: Held, results: Sequence[Assessed]) -> Section:
    """The appendix: a table a framework, and the register of personal data."""
    compliance = held.policy.compliance
    count = {o: sum(t.outcome == o for t in results) for o in ("met", "attested", "missed")}
    count["not assessed"] = len(results) - sum(count.values())
    labels = {
        "met": "Controls supported by data",
        "attested": "Controls attested",
        "missed": "Controls missed",
        "not assessed": "Controls not assessed",
    }
    return Section(
        id="compliance",
        title="Compliance mapping",
        summary=f"{count['met']} supported by data, {count['attested']} attested, "
        f"{count['missed']} missed, {count['not assessed']} not assessed.",
        figures=tuple(
            Figure(
                id=f"compliance.{outcome.replace(' ', '_')}",
                label=label,
                value=Count(value=count[outcome], unit=f"of {len(results)}"),
            )
            for outcome, label in labels.items()
        ),
        tables=(
            *(
                table
                for framework in compliance.frameworks
                if (table := _table(framework, results)).rows
            ),
            *_register(compliance),
        ),
        notes=NOTES,
    )


def _attention(results: Sequence[Assessed]) -> list[Attention]:
    """One line for all controls that were missed: the sections say each of them in full."""
    missed = [t.control for t in results if t.outcome == "missed"]
    if not missed:
        return []
    many = f"{len(missed)} control{'' if len(missed) == 1 else 's'} missed"
    return [
        Attention(severity="warning", text=f"Compliance mapping: {many}.", section="compliance")
    ]


def _table(framework: Framework, results: Sequence[Assessed]) -> Table:
    return Table(
        id=f"compliance_{framework.id}",
        title=f"{framework.title} ({framework.edition})",
        columns=COLUMNS,
        rows=tuple(
            (
                text(t.control.reference),
                text(t.control.asks),
                text(_test(t.control)),
                text(t.outcome),
                text(t.evidence),
                text(t.control.owner),
                text(t.control.id),
            )
            for t in results
            if t.control.framework == framework.id
        ),
        note=framework.note,
        whole=True,
    )


def _test(control: Control) -> str:
    """The test in words with the bound that the mapping sets."""
    unit = "h" if control.test == "sealed_within" else control.unit
    bounds = [("at most", control.at_most), ("at least", control.at_least)]
    words = [
        f"{word} {numeral(plain(bound))} {unit}".strip()
        for word, bound in bounds
        if bound is not None
    ]
    if words:
        return f"{CHECKS[control.test].words}: {' and '.join(words)}"
    return (
        "figures keep their own target" if control.test == "figures" else CHECKS[control.test].words
    )


def _register(compliance: Compliance) -> tuple[Table, ...]:
    if not compliance.personal:
        return ()
    rows = tuple(
        tuple(
            text(words)
            for words in (
                entry.what,
                ", ".join(entry.columns),
                entry.purpose,
                entry.legal_basis,
                entry.retention,
                entry.internal,
                entry.audit,
                entry.external,
            )
        )
        for entry in compliance.personal
    )
    return (
        Table(
            id="compliance_personal",
            title="Register of personal data (GDPR Art. 30)",
            columns=PERSONAL,
            rows=rows,
            note="Internal, audit, external: what each class of recipients reads",
            whole=True,
        ),
    )
