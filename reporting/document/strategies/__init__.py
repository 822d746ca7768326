"""Strategies and agents: what each contributed, how surely, and at what cost.

Composed of the sealed P&L, slippage and fill rates. What needs many days (Sharpe ratio, drawdown)
is of the sessions given, up to a year of them; how many there were is printed. Every measure is
there for both splits, by strategy and by agent.
"""

from __future__ import annotations

from ...measures.pnl import PNL
from ...model import Missing
from ...page import Section
from ...periods import Span
from ..history import Facts
from .comparison import TITLE, overview
from .pages import page_of
from .records import Record, records_of, slug

__all__ = ["MOST_PAGES", "slug", "strategy_sections"]

#: More strategies than this (or agents) have no page of their own; the tables have them all.
MOST_PAGES = 16


def strategy_sections(facts: Facts, span: Span) -> tuple[Section, ...]:
    """The comparison and, in a report over several days, a page for each agent and strategy."""
    merged = facts.merged(PNL)
    if isinstance(merged, Missing):
        return (Section(id="strategies", title=TITLE, summary=f"P&L is missing: {merged}."),)
    records = records_of(facts, merged)
    if not records:
        return (Section(id="strategies", title=TITLE, summary="Nothing was held or traded."),)
    first = overview(records, facts, daily=span.kind == "daily")
    if span.kind == "daily":
        return (first,)
    paged: list[Record] = []
    notes = []
    for kind, plural in (("agent", "agents"), ("strategy", "strategies")):
        # What nobody is named for (interest on an account) has a row above and no page.
        every = [r for r in records if r.kind == kind and r.name.strip()]
        biggest = {r.name for r in sorted(every, key=lambda r: (-abs(r.net), r.name))[:MOST_PAGES]}
        paged += [r for r in every if r.name in biggest]
        if len(biggest) < len(every):
            notes.append(
                f"A page each for the {MOST_PAGES} {plural} with the largest gains and losses; "
                f"the table has all {len(every)}."
            )
    first = first.model_copy(update={"notes": (*notes, *first.notes)})
    return (first, *(page_of(r) for r in paged))
