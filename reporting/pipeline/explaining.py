"""Explain: one number of an issued report, back to the facts, queries and rows that it came from.

An issued folder or its PDF alone tells the number, its formula, and the digests of days and
queries, whose texts are in the provenance beside it. With the store, the sealed days that the
report cites are read again: each day's own value, the period's worked out anew by the merge law,
every query with its parameters. With the ledger, its rows and control totals are asked for again as
they were known at the cut-off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from .. import render
from ..document import (
    FORECASTS,
    HISTORY_OF,
    NO_GAP,
    Cited,
    Earlier,
    Excerpt,
    Issue,
    build,
    lookback,
)
from ..document.formulas import ADDS, BACK, QUERIES, SUMS, Formula, formula_of
from ..document.history import BY_NAME, Facts
from ..document.numbers import Printed, find, numbers, numbers_of
from ..errors import UsageError, ValidationFailed
from ..measures import Context
from ..model import (
    EXACT,
    Band,
    Bps,
    Count,
    Coverage,
    Duration,
    Frame,
    Missing,
    Moment,
    Money,
    Number,
    Ratio,
    Shown,
    Text,
    Value,
    exact_sum,
    plain,
)
from ..numerals import numbers_in
from ..page import Citation, Document, Kind, Target, Verdict
from ..periods import Span, days_between
from ..policy import Policy
from ..postgres import queries as named_queries
from ..seal import SealedDay, attested, digest
from ..sources.ledger import LONGEST_WORKING_DAYS, QUOTE_MAX_AGE_S
from ..sources.ledger_market import quotes_window
from ..store import INCIDENT_MARGIN, SealedRow
from .closing import first_known
from .service import Progress, Service, document_of, excerpt_of, sealed_day, silent

FACTS, PROVENANCE = "facts.json", "provenance.json"
REPORT = re.compile(r"(?P<kind>[a-z]+)/(?P<period>[^/]+)(?:/r(?P<revision>\d+))?")
PARAMETER = re.compile(r"%\((\w+)\)s")
#: What a number is now that the cited days no longer give.
GONE = Text(text="no such number any more")
#: Days whose rows are in memory at a time.
CHUNK = 31
#: What stands for a parameter that is a list of identifiers.
LISTED = {
    "order_ids": "the orders placed before the session that are named in it",
    "instruments": "the instruments traded or ordered in the session",
    "longest": str(LONGEST_WORKING_DAYS),
}


class Sealed(Value):
    """One sealed day of the period: what it has of the number, and where.

    ``own`` is the number as that day alone gives it, None where it is of several days by nature;
    ``facts`` are the contributing parts of the day's sealed facts by JSON pointer.
    """

    day: date
    revision: int
    digest: str
    known_at: datetime
    own: Shown | None = None
    facts: Mapping[str, Any] = {}


class Read(Value):
    """One day's read of a query: its parameters, its rows, and the source's control totals."""

    day: date
    parameters: Mapping[str, str]
    rows: int
    control: Mapping[str, str]


class Queried(Value):
    """A query that the number rests on; ``reads`` are by day, empty without the store."""

    source: str
    query: str
    digest: str
    text: str | None
    rows: int
    control: Mapping[str, str]
    reads: tuple[Read, ...] = ()


class Reconciled(Value):
    """Rows and control totals of one query on one day: as sealed, and as the source has now."""

    day: date
    query: str
    sealed: Mapping[str, str]
    now: Mapping[str, str] | None
    text_changed: bool = False

    @property
    def equal(self) -> bool:
        """Whether the source says again what it said at the close."""
        return self.sealed == self.now


class InForce(Value):
    """The dates between which a threshold of policy is in force."""

    since: date
    until: date | None


class Explanation(Value):
    """Everything that is known of one number.

    ``again`` is the number worked out now from the cited days, None without the store; ``total``
    the sum of the days' own values where they add up to something of the same kind.
    """

    report: str
    status: str
    period: str
    cutoff: datetime
    facts_digest: str
    figure: str
    label: str
    section: str
    value: Shown
    printed: str
    exact: str
    target: Target | None
    target_printed: str
    in_force: InForce | None
    verdict: Verdict | None
    change: str
    note: str
    formula: Formula
    days: tuple[Sealed, ...]
    earlier: tuple[Citation, ...]
    total: Shown | None
    again: Shown | None
    policy_changed: bool
    queries: tuple[Queried, ...]
    reconciled: tuple[Reconciled, ...] | None

    @property
    def adds_up(self) -> bool | None:
        """Whether the days' own values sum to the number; None where they can't be summed."""
        return None if self.total is None else same(self.total, self.value)

    @property
    def recomputed(self) -> bool | None:
        """Whether the cited days still give the number; None where nobody looked."""
        return None if self.again is None else self.again == self.value

    @property
    def lacks(self) -> tuple[str, ...]:
        """What the report's files do not have of it, and the store would add; in words."""
        if self.again is not None:
            return ()
        found = ["each day's own value and sealed facts"]
        if self.queries:
            found.append("rows, parameters and control totals of each day's reads")
            if any(q.text is None for q in self.queries):
                found.append(f"query texts (also in {PROVENANCE}, which is not beside it)")
        if self.target is not None:
            found.append("since when the target is in force")
        return (*found, "the number worked out again from the days")

    @property
    def ok(self) -> bool:
        """Whether nothing that was checked differs."""
        return self.recomputed is not False and all(r.equal for r in self.reconciled or ())


@dataclass(frozen=True)
class Opened:
    """An issued report to be asked about; ``service`` is None where its files are all there is."""

    document: Document
    facts_digest: str
    queries: Mapping[str, str]
    service: Service | None

    @cached_property
    def printed(self) -> dict[str, Printed]:
        """Every number of the report by its id."""
        return numbers(self.document)


def open_report(name: str, service: Callable[[], Service]) -> Opened:
    """A report to be asked about.

    ``kind/period`` (its newest revision) and ``kind/period/rN`` come from the store; an issued
    folder, its facts and its PDF are read alone.
    """
    if found := REPORT.fullmatch(name):
        if found["kind"] in set(Kind):
            return _stored(service(), found["kind"], found["period"], found["revision"])
    path = Path(name)
    if path.exists():
        return _in_files(path)
    raise UsageError(
        f"--report {name!r} is neither a report nor a folder; expected daily/2025-12-05, "
        "monthly/2025-11/r2, or the path of an issued folder or its PDF; `reporting status` lists "
        "what was issued"
    )


def _stored(service: Service, kind: str, period: str, revision: str | None) -> Opened:
    row = service.store.report(kind, period, int(revision) if revision else None)
    if row is None:
        name = f"{kind}/{period}" + (f"/r{revision}" if revision else "")
        raise UsageError(f"{name} was never issued; `reporting status` lists what was")
    if row.body and digest(row.body) != row.digest:
        raise ValidationFailed(
            f"{kind}/{period}/r{row.revision} in the store does not match its digest {row.digest}: "
            "the store was changed; restore it from a backup"
        )
    document = document_of(service, row)
    texts = attested(row.provenance).made.queries
    return Opened(document, row.digest, _by_digest(texts.values()), service)


def _in_files(path: Path) -> Opened:
    file = path / FACTS if path.is_dir() else path
    try:
        body = file.read_bytes()
        facts = _facts_inside(file, body) if body.startswith(b"%PDF") else body
        document = Document.model_validate_json(facts)
        beside = file.with_name(PROVENANCE)
        made = attested(beside.read_bytes()).made if beside.is_file() else None
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{file} is no report's facts: {str(error).splitlines()[0]}; expected an issued "
            "folder, its facts.json or its report.pdf"
        ) from None
    want = made.files.get(FACTS) if made else None
    if want and want != digest(facts):
        raise ValidationFailed(
            f"{file} has not the digest that its provenance.json says ({want}): one of them was "
            "changed; `reporting verify` checks the folder"
        )
    texts = made.queries if made else {}
    return Opened(document, digest(facts), _by_digest(texts.values()), None)


def _facts_inside(file: Path, pdf: bytes) -> bytes:
    """The facts that a report's PDF carries; :class:`ValidationFailed` where it was changed."""
    from .. import signing  # pyHanko costs half a second, and only this needs it

    if problem := signing.damage(pdf):
        raise ValidationFailed(f"{file} {problem}; `reporting verify` says more")
    facts = signing.parts(pdf).files.get(FACTS)
    if facts is None:
        raise ValueError(f"the PDF holds no {FACTS}")
    return facts


def explain(
    report: Opened, figure: str, *, reconcile: bool = False, progress: Progress = silent
) -> Explanation:
    """Everything about one number; with the store, the view is written to the audit log.

    :class:`UsageError` where the report has no such number, with those that are near.
    """
    printed, document = find(figure, report.printed), report.document
    if reconcile and report.service is None:
        raise UsageError("--reconcile asks the ledger: name the report, not a folder of its files")
    formula = formula_of(printed.shape)
    measures = tuple(dict.fromkeys(pointer.split("/")[0] for pointer in formula.facts))
    asked = tuple(dict.fromkeys(q for m in measures for q in QUERIES[m]))
    made = Remade(report.service, document, progress) if report.service else None
    own = made.own(printed.id, measures) if made else {}
    again = made.printed.get(printed.id) if made else None
    days = tuple(
        Sealed(
            day=c.day,
            revision=c.revision,
            digest=c.digest,
            known_at=c.known_at,
            own=own.get(c.day),
            facts=made.parts(c.day, formula.facts) if made else {},
        )
        for c in _newest(document.citations)
        if document.period.first <= c.day <= document.period.last
    )
    reconciled = None
    if made and reconcile:
        reconciled = tuple(_reconciled(made, asked, progress))
    with numbers_in(document.locale):
        as_printed = {"printed": _words(printed, document), **_judged(printed, report)}
    found = Explanation(
        report=document.id,
        status=document.status.value,
        period=document.period.title,
        cutoff=document.period.cutoff,
        facts_digest=report.facts_digest,
        figure=printed.id,
        label=printed.label,
        section=printed.section,
        value=printed.value,
        exact=exactly(printed.value),
        **as_printed,
        formula=formula,
        days=days,
        earlier=tuple(c for c in document.citations if c.day < document.period.first)
        if formula.days == BACK
        else (),
        total=_sum([d.own for d in days]) if formula.days in (ADDS, SUMS) else None,
        again=(again.value if again else GONE) if made else None,
        policy_changed=made is not None and made.policy.digest != document.policy_digest,
        queries=tuple(_queried(report, made, asked)),
        reconciled=reconciled,
    )
    if report.service:
        with report.service.store.writing() as writer:
            writer.log(
                "figure explained",
                {"report": document.id, "figure": printed.id, "facts": report.facts_digest}
                | ({"reconciled": found.ok} if reconcile else {}),
            )
    return found


def _words(printed: Printed, document: Document) -> str:
    target = printed.figure.target if printed.figure else None
    return render.words(printed.value, document.period.zone, target=target)


def _judged(printed: Printed, report: Opened) -> dict[str, Any]:
    """What a figure has beside its value: target with its dates, verdict, change and note."""
    figure, zone = printed.figure, report.document.period.zone
    target = figure.target if figure else None
    return {
        "target": target,
        "target_printed": render.target_words(target) if target else "",
        "in_force": _in_force(target, report) if target else None,
        "verdict": figure.verdict if figure else None,
        "change": f"{render.words(figure.change, zone, signed=True)} {figure.change_label}".strip()
        if figure and figure.change is not None
        else "",
        "note": figure.note if figure else "",
    }


def _in_force(target: Target, report: Opened) -> InForce | None:
    if report.service is None:
        return None
    on = report.document.period.last
    dates = sorted(t.since for t in report.service.policy.thresholds if t.id == target.id)
    began = [d for d in dates if d <= on]
    ends = [d - timedelta(1) for d in dates if d > on]
    return InForce(since=began[-1], until=ends[0] if ends else None) if began else None


# --- from the sealed days -----------------------------------------------------------------------


class Remade:
    """The sealed days that a report cites, and the report made of them once more."""

    def __init__(self, service: Service, document: Document, progress: Progress) -> None:
        self.service, self.document = service, document
        self.policy: Policy = service.policy
        period = document.period
        self.span = Span(document.kind.value, period.label, period.title, period.first, period.last)
        since = lookback(self.span, self.policy, period.calendar)
        progress(f"reading {len(document.citations)} sealed days")
        self.days: list[Cited] = []
        before: list[Cited] = []
        excerpts: list[Excerpt] = []
        newest = _newest(document.citations)
        for citation, row in _rows(service, newest):
            if citation.day < since:
                excerpts.append(excerpt_of(row, HISTORY_OF))
                continue
            whole = Cited(sealed_day(row), row.digest, row.sealed_at)
            (self.days if citation.day >= period.first else before).append(whole)
        self.before = before
        began = service.store.day_index()[0]["day"]
        # What was forecast before a restatement is cited beside the restated day.
        others = [c for c in document.citations if c not in newest]
        superseded = tuple(excerpt_of(row, FORECASTS) for _, row in _rows(service, others))
        self.earlier = Earlier(began, HISTORY_OF, tuple(excerpts), superseded)
        self.by_day = {c.sealed.day: c.sealed for c in self.days}

    def late_after(self, day: SealedDay) -> datetime | None:
        """What was recorded since then was late when this revision was sealed."""
        rows = self.service.store.revisions(day.day)
        return first_known(sealed_day(row) for row in rows if row.revision < day.revision)

    @cached_property
    def printed(self) -> dict[str, Printed]:
        """Every number as the cited days give it now, by the merge law."""
        unsealed = [
            d for d in days_between(self.span.first, self.span.last) if d not in self.by_day
        ]
        if self.span.kind == Kind.DAILY:  # before the ledger's first session nothing was sealed
            unsealed = [d for d in unsealed if d > self.days[0].sealed.day]
        issue = Issue(
            issuer=self.document.issuer,
            base=self.service.settings.base_currency,
            issued_at=self.document.issued_at,
            checkpoint=self.document.checkpoint,
            reviews=self.service.store.reviews(
                self.span.first, self.span.last, self.document.period.cutoff
            ),
        )
        return numbers(
            build(self.span, self.days, unsealed, self.before, self.policy, issue, self.earlier)
        )

    def own(self, figure: str, measures: Iterable[str]) -> dict[date, Shown]:
        """The number as each day alone gives it, of the days that have it."""
        facts = Facts(self.days, [], 0)
        context = Context(
            span=self.span,
            zone=self.document.period.zone,
            base=self.service.settings.base_currency,
            targets=self.policy.targets(self.span.last),
        )
        for measure in (BY_NAME[name] for name in measures):
            found: dict[date, Shown] = {}
            for day, fact in facts.of(measure):
                made = numbers_of(measure.section(fact, [(day, fact)], context))
                if figure in made:
                    found[day] = made[figure].value
            if found:
                return found
        return {}

    def parts(self, day: date, pointers: Iterable[str]) -> dict[str, Any]:
        """The parts of the day's sealed facts, by JSON pointer; a Missing stands for the whole."""
        found: dict[str, Any] = {}
        for pointer in pointers:
            measure, field = pointer.split("/")
            fact = self.by_day[day].facts.get(measure)
            if fact is None or fact.get("kind") == "missing":
                found[f"/facts/{measure}"] = fact
            else:
                found[f"/facts/{pointer}"] = fact.get(field)
        return found


def _newest(citations: Sequence[Citation]) -> list[Citation]:
    """Of each cited day the newest revision that is cited, in order of day."""
    found = {c.day: c for c in sorted(citations, key=lambda c: (c.day, c.revision))}
    return list(found.values())


def _rows(service: Service, citations: Sequence[Citation]) -> Iterator[tuple[Citation, SealedRow]]:
    """Every cited revision; :class:`ValidationFailed` where the store has another one."""
    for start in range(0, len(citations), CHUNK):
        some = citations[start : start + CHUNK]
        newest = {row.day: row for row in service.store.days(some[0].day, some[-1].day)}
        for citation in some:
            row: SealedRow | None = newest.get(citation.day)
            if row is not None and row.revision != citation.revision:
                row = service.store.day(citation.day, citation.revision)
            if row is None or row.digest != citation.digest:
                have = f"has digest {row.digest}" if row else "is missing"
                raise ValidationFailed(
                    f"sealed day {citation.day} r{citation.revision} {have} in the store, the "
                    f"report cites {citation.digest}; restore the store from a backup"
                )
            yield citation, row


# --- the queries --------------------------------------------------------------------------------


def _queried(report: Opened, made: Remade | None, asked: Sequence[str]) -> Iterator[Queried]:
    """The queries behind the number: from the sealed days, or the report's own totals of them."""
    if made is None:
        for total in report.document.sources:
            if total.query in asked:
                yield Queried(
                    source=total.source,
                    query=total.query,
                    digest=total.query_digest,
                    text=report.queries.get(total.query_digest),
                    rows=total.rows,
                    control=dict(total.control),
                )
        return
    known = _by_digest(
        [
            *(c.text for day in made.by_day.values() for c in day.sources),
            *made.service.ledger.query_texts().values(),
            *(query.sql for query in named_queries("incidents").values()),
        ]
    )
    texts = {**known, **report.queries}
    grouped: dict[tuple[str, str, str], list[tuple[SealedDay, Coverage, bool]]] = {}
    for day in made.by_day.values():
        seen: set[str] = set()
        for coverage in (c for c in day.sources if c.query in asked):
            key = (coverage.source, coverage.query, coverage.query_digest)
            grouped.setdefault(key, []).append((day, coverage, coverage.query in seen))
            seen.add(coverage.query)
    for (source, query, of), reads in grouped.items():
        text = texts.get(of)
        yield Queried(
            source=source,
            query=query,
            digest=of,
            text=text,
            rows=sum(c.rows for _, c, _ in reads),
            control=_additive([c for _, c, _ in reads]),
            reads=tuple(
                Read(
                    day=day.day,
                    parameters=_parameters(made, day, c, text or "", again),
                    rows=c.rows,
                    control=c.control,
                )
                for day, c, again in reads
            ),
        )


def _additive(reads: Sequence[Coverage]) -> dict[str, str]:
    """Control totals over the days: sums of what adds up, else what all have in common."""
    found: dict[str, str] = {}
    for name in reads[0].control:
        values = [c.control.get(name, "") for c in reads]
        if name in ("rows", "quantity") and all(values):
            found[name] = plain(exact_sum(map(Decimal, values)))
        elif len(set(values)) == 1:
            found[name] = values[0]
    return found


def _parameters(
    made: Remade, day: SealedDay, read: Coverage, text: str, again: bool
) -> dict[str, str]:
    """What the query's parameters were on a day; ``again`` for the second read of the same query.

    A query of metrics has none: it speaks of the day's window.
    """
    window = day.window if read.source != "ledger" or day.trading is None else day.trading
    at: dict[str, datetime | str] = {
        "start": window.start,
        # Exchange rates are read at the close and at the opening.
        "end": window.start if again and read.query == "fx_rates" else window.end,
        "known_at": day.known_at,
        "zone": day.zone,
        **LISTED,
    }
    if read.query == "incidents":
        at |= {"since": window.start, "until": window.end + INCIDENT_MARGIN}
    if read.query == "quotes":
        age = int(read.control.get("max_age_s", QUOTE_MAX_AGE_S))
        at |= quotes_window(window.start, window.end, age)
    returns = next((c.control for c in day.sources if "window" in c.control), {})
    if "window" in returns:
        at["history_start"] = window.end - timedelta(days=2 * int(returns["window"]) + 30)
    if "sources" in text:
        ranked = made.policy.mark_sources(day.day)
        at["sources"] = ", ".join(ranked) or "none: the newest mark counts"
    if "late_after" in text and (late_after := made.late_after(day)):
        at["late_after"] = late_after
    names = list(dict.fromkeys(PARAMETER.findall(text))) or ["start", "end"]
    found = ((name, at.get(name, "not known")) for name in names)
    return {n: v.isoformat() if isinstance(v, datetime) else v for n, v in found}


def _by_digest(texts: Iterable[str]) -> dict[str, str]:
    return {sha256(text.encode()).hexdigest(): text for text in texts if text}


# --- asked again --------------------------------------------------------------------------------


def _reconciled(made: Remade, asked: Sequence[str], progress: Progress) -> Iterator[Reconciled]:
    """The ledger read again, each session as known at its cut-off, exactly as the close read it."""
    service = made.service
    for day in (d for d in made.by_day.values() if d.session):
        wanted = [c for c in day.sources if c.source == "ledger" and c.query in asked]
        if not wanted:
            continue
        progress(f"asking the ledger about {day.day}")
        returns = next((c.control for c in day.sources if "window" in c.control), {})
        age = made.policy.targets(day.day).get("quote_max_age_s")
        frames, _ = service.ledger.read(
            service.trading_day(day.day),
            day.known_at,
            window=int(returns.get("window", made.policy.number("var_window_sessions", day.day))),
            minimum=int(
                returns.get("minimum", made.policy.number("var_minimum_sessions", day.day))
            ),
            quote_max_age_s=int(age.value) if age else QUOTE_MAX_AGE_S,
            mark_sources=made.policy.mark_sources(day.day),
            late_after=made.late_after(day),
        )
        now: dict[str, list[Coverage]] = {}
        for frame in frames.values():
            if isinstance(frame, Frame):
                now.setdefault(frame.coverage.query, []).append(frame.coverage)
        for sealed in wanted:
            same_query = now.get(sealed.query, [])
            found = next(
                (c for c in same_query if _totals(c) == _totals(sealed)),
                same_query[0] if same_query else None,
            )
            yield Reconciled(
                day=day.day,
                query=sealed.query,
                sealed=_totals(sealed),
                now=_totals(found) if found else None,
                text_changed=found is not None and found.query_digest != sealed.query_digest,
            )


def _totals(read: Coverage) -> dict[str, str]:
    return {"rows": str(read.rows), **read.control}


# --- values -------------------------------------------------------------------------------------


def exactly(value: Shown) -> str:
    """A value without rounding, its parts with it."""
    match value:
        case Money():
            return f"{plain(value.amount)} {value.currency}"
        case Ratio():
            return _quotient(value.numerator, value.denominator)
        case Bps():
            return f"{_quotient(value.cost, value.notional)} × 10,000"
        case Band():
            return f"{exactly(value.low)} to {exactly(value.high)}"
        case Count() | Number():
            return f"{plain(Decimal(value.value))} {value.unit}".strip()
        case Duration():
            return f"{value.ms} ms"
        case Moment():
            return value.at.isoformat()
        case Text():
            return value.text
        case Missing():
            return str(value)


def _quotient(numerator: Decimal, denominator: Decimal) -> str:
    parts = f"{plain(numerator)} / {plain(denominator)}"
    if not denominator:
        return parts
    quotient = (numerator / denominator).quantize(Decimal("1e-12"))
    exact = quotient * denominator == numerator
    return f"{parts} {'=' if exact else '≈'} {plain(quotient)}"


def same(one: Shown, other: Shown) -> bool:
    """Equal, as quotients where they are any: 2/4 is 1/2."""
    match one, other:
        case (Ratio(), Ratio()):
            return one.fraction == other.fraction
        case (Bps(), Bps()):
            return one.value == other.value
        case (Band(), Band()):
            return same(one.low, other.low) and same(one.high, other.high)
    return one == other


def _sum(own: Sequence[Any]) -> Shown | None:
    """The sum of the days' values; of shares, the sums of their parts.

    None where a day is not known, and for values that no sum says anything of.
    """
    if any(isinstance(v, Missing) and v.why not in NO_GAP for v in own):
        return None
    values = [v for v in own if v is not None and not isinstance(v, Missing)]
    kinds = {(v.kind, getattr(v, "currency", ""), getattr(v, "unit", "")) for v in values}
    if len(kinds) != 1:
        return None
    first: Shown = values[0]
    if isinstance(first, Money):
        return first.model_copy(update={"amount": exact_sum(v.amount for v in values)})
    if isinstance(first, Count):
        return first.model_copy(update={"value": sum(v.value for v in values)})
    if isinstance(first, Ratio):
        return _added(values)
    if isinstance(first, Band):
        return Band(low=_added([v.low for v in values]), high=_added([v.high for v in values]))
    if isinstance(first, Bps):
        cost, notional = (exact_sum(getattr(v, n) for v in values) for n in ("cost", "notional"))
        return Bps(cost=cost, notional=notional)
    return None


def _added(values: Sequence[Ratio]) -> Ratio:
    total = Decimal(0)
    for value in values:
        total = EXACT.add(total, value.denominator)
    return Ratio(numerator=exact_sum(v.numerator for v in values), denominator=total)
