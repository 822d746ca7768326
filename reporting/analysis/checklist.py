"""The operator's morning and evening checklists, each line answered from data.

The answers are given by whoever sees all measures (the document); here they are laid out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..model import Count, Shown
from ..page import Attention, Column, Figure, Section, Table, Verdict, text

Outcome = Literal["pass", "fail", "not measured"]

LISTS: tuple[Literal["morning", "evening"], ...] = ("morning", "evening")


@dataclass(frozen=True)
class Line:
    """One line of a checklist with its answer.

    ``words`` are the operator's own ("backups completed"). ``because`` is the sentence that the
    answer rests on, never empty, and ``figure`` the id of the report's figure that it was read
    from, empty if there is none.
    """

    list: Literal["morning", "evening"]
    id: str
    words: str
    outcome: Outcome
    because: str
    figure: str = ""

    def __post_init__(self) -> None:
        if not self.because:
            raise ValueError(
                f"checklist line {self.list}.{self.id}: {self.outcome!r} without a reason; say in "
                "`because` what was measured, or why nothing was"
            )


def checklist_section(lines: Sequence[Line]) -> Section:
    """Both lists in their own order, a table each, and how many lines passed.

    It carries no verdict of its own: a checklist is no promise. Raises ``ValueError`` where an id
    is there twice in a list.
    """
    figures, tables, notes = [], [], []
    for name in LISTS:
        own = [line for line in lines if line.list == name]
        ids = [line.id for line in own]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(
                f"the {name} checklist has {', '.join(twice)} twice; give each line its own id"
            )
        if not own:
            notes.append(f"No {name} checklist is configured.")
            continue
        passed = sum(line.outcome == "pass" for line in own)
        figures.append(
            Figure(
                id=f"checklists.{name}",
                label=f"{name.capitalize()} checklist: lines passed",
                value=Count(value=passed, unit=f"of {len(own)}"),
                verdict=_verdict(own),
                note=_words_of(own),
            )
        )
        tables.append(_table(name, own))
    return Section(
        id="checklists",
        title="Checklists",
        summary=_summary(lines),
        figures=tuple(figures),
        tables=tuple(tables),
        notes=tuple(notes),
    )


def checklist_attention(lines: Sequence[Line]) -> tuple[Attention, ...]:
    """A warning for each line that failed."""
    return tuple(
        Attention(
            severity="warning",
            text=f"{line.list.capitalize()} checklist, {line.words}: {line.because}",
            section="checklists",
        )
        for line in lines
        if line.outcome == "fail"
    )


def _verdict(lines: Sequence[Line]) -> Verdict:
    outcomes = {line.outcome for line in lines}
    if "fail" in outcomes:
        return Verdict.MISSED
    return Verdict.UNKNOWN if "not measured" in outcomes else Verdict.MET


def _words_of(lines: Sequence[Line]) -> str:
    failed = sum(line.outcome == "fail" for line in lines)
    unseen = sum(line.outcome == "not measured" for line in lines)
    parts = [f"{failed} failed"] if failed else []
    parts += [f"{unseen} not measured"] if unseen else []
    return ", ".join(parts)


def _summary(lines: Sequence[Line]) -> str:
    if not lines:
        return "No checklist is configured."
    failed = [line.words for line in lines if line.outcome == "fail"]
    unseen = sum(line.outcome == "not measured" for line in lines)
    tail = f" {unseen} of {len(lines)} lines could not be answered." if unseen else ""
    if failed:
        return f"Not in order: {', '.join(failed)}.{tail}"
    if unseen == len(lines):
        return "None of the lines could be answered."
    return f"Every line that could be answered passes.{tail}" if unseen else "Every line passes."


def _table(name: str, lines: Sequence[Line]) -> Table:
    rows: list[tuple[Shown, ...]] = [
        (text(line.words), text(line.outcome), text(line.because), text(line.figure))
        for line in lines
    ]
    columns = (
        ("line", "Line", True),
        ("outcome", "Answer", True),
        ("because", "Because", True),
        ("figure", "Figure", False),
    )
    return Table(
        id=f"checklist_{name}",
        title=f"{name.capitalize()} checklist",
        columns=tuple(
            Column(key=key, label=label, align="left", shown=shown) for key, label, shown in columns
        ),
        rows=tuple(rows),
    )
