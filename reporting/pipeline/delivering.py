"""The outbox → e-mail: each recipient is one SMTP transaction, begun and settled in the database.

``sending`` is committed before the text of a mail is handed over, so that whoever dies in between
leaves a mark: nobody knows what became of that mail, and it is not sent again in silence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path

from .. import render
from ..deliver import (
    PORTS,
    Attachment,
    Connection,
    Content,
    Letter,
    Outcome,
    Relay,
    Result,
    attachable,
    compose,
    message_id,
)
from ..document.compliance import masked
from ..errors import LeaseLost, ReportingError, SourceUnavailable, UsageError, ValidationFailed
from ..page import Document
from ..render.mail import render_mail
from ..runs import Mail, Runs
from ..seal import attested, digest
from ..settings import bytes_of, secret_of
from ..store import ReportRow
from .issuing import rewrite
from .service import Service, document_of
from .serving import MAIL_S, kept, mail_domain
from .signatures import PDF
from .signoff import report_named

#: Mails of one report that are taken at once; the lease covers all of them.
BATCH = 20
#: Bodies that are kept: one report for each class of recipients, and as duplicates.
KEPT = 4
DUPLICATE = (
    "This mail may have reached you before: what became of the first one is not known. "
    "It is the same report."
)


@dataclass(frozen=True)
class Delivered:
    """What became of one mail: sent, queued (to be tried again), failed or unknown."""

    report: str
    recipient: str
    state: str
    code: int | None
    words: str


@dataclass
class Delivery:
    """One connection to the relay and the mails that were made last."""

    service: Service
    runs: Runs
    stopping: Callable[[], bool] = lambda: False  # what is taken and not begun is left to others
    _made: dict[tuple[str, str, bool, bool], Content] = field(default_factory=dict)

    @cached_property
    def relay(self) -> Relay:
        """Where mails go; :class:`UsageError` where it is not set or not safe."""
        s = self.service.settings
        if s.smtp_host is None or s.smtp_sender is None:
            raise UsageError(
                "REPORTING_SMTP_HOST and REPORTING_SMTP_SENDER are not set, and mails wait to be "
                "sent; set them, or take the recipients out of the schedule"
            )
        return Relay(
            host=s.smtp_host,
            port=s.smtp_port or PORTS[s.smtp_security],
            security=s.smtp_security,
            ca_file=s.smtp_ca_file,
            username=s.smtp_username,
            password=secret_of(s.smtp_password_file),
            timeout_s=s.smtp_timeout_s,
            sender=s.smtp_sender,
            domain=mail_domain(self.service),
        )

    @cached_property
    def connection(self) -> Connection:
        """To the relay; it opens when first used and again after it broke."""
        return Connection(self.relay)

    def some(self) -> list[Delivered]:
        """Send some mails that are due, all of one report; empty where none is.

        Where the schedule or the policy can't be read none is taken: that is no fault of a mail.
        """
        self.service.configured()
        mails = self.runs.take_mails(BATCH)
        if not mails:
            return []
        with kept(self.runs, partial(self.runs.renew_mails, mails)):
            return self._each(mails)

    def _each(self, mails: Sequence[Mail]) -> list[Delivered]:
        found: list[Delivered] = []
        stopped = ""
        for mail in mails:
            if stopped:
                self._settle(mail, Outcome(Result.TEMPORARY, None, stopped))
                found.append(Delivered(mail.report, mail.recipient, "queued", None, stopped))
                continue
            if self.stopping():
                break
            try:
                mail, outcome = self._send(mail)
            except LeaseLost:
                continue  # somebody else has it, or it is theirs to say that it is unknown
            found.append(self._settle(mail, outcome))
            if len(found) == 1 and (others := mails[1:]):
                self.runs.made(others)
            if outcome.relay:
                stopped = outcome.words
        return found

    def close(self) -> None:
        """Say goodbye to the relay."""
        if "connection" in self.__dict__:
            self.connection.close()

    def _send(self, mail: Mail) -> tuple[Mail, Outcome]:
        """The mail as it was addressed, and what became of it."""
        try:
            _ = self.relay
        except ReportingError as error:  # of nobody's mail the fault: all of them wait
            return mail, Outcome(Result.TEMPORARY, None, str(error), relay=True)
        try:
            mail = self._addressed(mail)
            made = compose(self._letter(mail), self.relay, mail.taken_at)
        except (SourceUnavailable, UsageError) as error:  # what was set wrong can be mended in time
            return mail, Outcome(Result.TEMPORARY, None, str(error))
        except ReportingError as error:
            return mail, Outcome(Result.PERMANENT, None, str(error))
        except Exception as error:  # a bug of ours stops no other mail, and is told
            return mail, Outcome(Result.TEMPORARY, None, f"it could not be made: {error!r}")
        lease_s = self.runs.lease_s + 2 * self.relay.timeout_s
        begin = partial(self.runs.begin_mail, mail, lease_s)
        return mail, self.connection.send(made, self.relay.address, mail.address, begin)

    def _settle(self, mail: Mail, outcome: Outcome) -> Delivered:
        """Write down what became of it; a database that is away for a moment is asked again."""
        for wait_s in (0.2, 1.0, 3.0, 0.0):
            try:
                return self._settled(mail, outcome)
            except SourceUnavailable:
                if not wait_s:
                    raise
                time.sleep(wait_s)
        raise AssertionError("unreachable")

    def _settled(self, mail: Mail, outcome: Outcome) -> Delivered:
        with self.service.store.writing() as writer:
            now = writer.queue.clock()
            state, after_s = self._state(mail, outcome, now)
            words = outcome.words[:500]
            ours = writer.queue.settle_mail(mail, state, outcome.code, words, after_s)
            if not ours:  # its lease had ended: reconcile says what it is, or it is taken again
                begun = outcome.result in (Result.SENT, Result.UNKNOWN)
                state = "unknown" if begun else "queued"
            elif event := EVENTS.get(state):
                of = {"report": mail.report, "recipient": mail.recipient}
                of |= {"class": mail.class_, "message_id": mail.message_id}
                if mail.duplicate:
                    of["note"] = "sent again, marked as a possible duplicate"
                writer.log(event, {**of, "code": outcome.code, "because": words})
            if ours:
                writer.queue.tally(outcome.result.value)
        return Delivered(mail.report, mail.recipient, state, outcome.code, words)

    def _state(self, mail: Mail, outcome: Outcome, now: datetime) -> tuple[str, float]:
        """The state that a mail is in after an outcome, and for how long it rests."""
        match outcome.result:
            case Result.SENT:
                return "sent", 0.0
            case Result.UNKNOWN:
                return "unknown", 0.0
            case Result.PERMANENT:
                return "failed", 0.0
        after_s = self._pause_s(mail)
        if now + timedelta(seconds=after_s) >= mail.give_up_at:
            return "failed", 0.0
        return "queued", after_s

    def _pause_s(self, mail: Mail) -> float:
        """How long a mail rests after a temporary failure: doubled each time, up to a bound."""
        waits = [
            (s.retry_first, s.retry_at_most)
            for s in self.service.schedule.reports
            if s.kind == mail.kind and mail.recipient in s.recipients
        ]
        first, most = min(waits, default=(timedelta(minutes=1), timedelta(minutes=15)))
        doubled: float = first.total_seconds() * 2.0 ** min(mail.attempts, 20)
        return min(doubled, most.total_seconds())

    def _addressed(self, mail: Mail) -> Mail:
        """The mail as the schedule has its recipient now, not when it was queued.

        Raises :class:`UsageError` where it has none of that name: another replica's may, or the
        one that is written next; nobody is sent anything by an old one.
        """
        person = self.service.schedule.recipient(mail.recipient)
        if person is None:
            raise UsageError(f"the schedule has no recipient {mail.recipient!r}")
        return replace(mail, address=person.address, class_=person.class_)

    def _letter(self, mail: Mail) -> Letter:
        person = self.service.schedule.recipient(mail.recipient)
        of = f"{mail.kind}/{mail.period}"
        return Letter(
            report_id=mail.report,
            content=self._content(mail),
            to_name=person.to_name if person else "",
            to_address=mail.address,
            message_id=mail.message_id,
            thread=tuple(
                message_id(f"{of}/r{n}", mail.recipient, self.relay.own_domain)
                for n in range(1, mail.revision)
            ),
        )

    def _content(self, mail: Mail) -> Content:
        key = (mail.report, mail.class_, mail.duplicate, mail.attach)
        if key not in self._made:
            while len(self._made) >= KEPT:
                self._made.pop(next(iter(self._made)))
            self._made[key] = self._make(mail)
        return self._made[key]

    def _make(self, mail: Mail) -> Content:
        row = self.service.store.report(mail.kind, mail.period, mail.revision)
        if row is None:
            raise ValidationFailed(f"{mail.report} is not in the store; restore it from a backup")
        document = for_class(self.service, document_of(self.service, row), mail.class_)
        place = self._place(mail)
        attachments: tuple[Attachment, ...] = ()
        if mail.attach:
            pdf = self._pdf(row, document, mail.class_)
            name = f"{mail.kind}-{mail.period}-r{mail.revision}.pdf"
            attachments = attachable(
                [Attachment(name, "application/pdf", pdf)], self.service.settings.mail_max_bytes
            )
        marks = (DUPLICATE,) if mail.duplicate else ()
        body = render_mail(document, [a.name for a in attachments], place, marks)
        return Content(body.subject, body.text, body.html, body.pictures, attachments)

    def _place(self, mail: Mail) -> str:
        """Where the report itself is, for people; others have to ask."""
        if mail.class_ != "internal":
            return f"with {self.service.settings.issuer}"
        if url := self.service.settings.reports_url:
            return f"{url.rstrip('/')}/{mail.report}/report.html"
        return str(self.service.settings.reports_dir / mail.report)

    def _pdf(self, row: ReportRow, document: Document, class_: str) -> bytes:
        """The PDF as it was issued; for those who may not read names, one of what they may."""
        if class_ != "internal":
            return render.render_pdf(render.render_html(document), document)
        made = attested(row.provenance).made
        wanted = made.signed_files.get(PDF) or made.files[PDF]
        path = self.service.settings.reports_dir / row.name / PDF
        if (body := _read(path)) is not None and digest(body) == wanted:
            return body
        rewrite(self.service, row.kind, document.period.last, row.revision)
        if (body := _read(path)) is not None and digest(body) == wanted:
            return body
        raise ValidationFailed(f"{path} is not what was issued; `reporting verify` says more")


#: What the audit log says of a mail that is in one of these states.
EVENTS = {"sent": "mail sent", "failed": "mail failed", "unknown": "mail outcome unknown"}


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def for_class(service: Service, document: Document, class_: str) -> Document:
    """``document`` as recipients of a class may read it.

    :class:`UsageError` where names have to be masked and no key is set: never in clear instead.
    """
    if class_ == "internal":
        return document
    key = service.settings.pseudonym_key_file
    if key is None:
        raise UsageError(
            f"{document.id} has {class_} recipients, from whom names are kept, and no key to mask "
            "them with; set REPORTING_PSEUDONYM_KEY_FILE, or make the recipients internal"
        )
    register = service.policy.compliance.personal
    return masked(document, "external", register, bytes_of(key).strip())


def deliver(service: Service, runs: Runs) -> list[Delivered]:
    """Send everything that is due now, until nothing is; what has to rest stays queued."""
    delivery = Delivery(service, runs)
    found: list[Delivered] = []
    try:
        while some := delivery.some():
            found += some
    finally:
        delivery.close()
    return found


def resend(service: Service, runs: Runs, report: str, recipient: str, reason: str) -> str:
    """Queue a report's newest or named revision for one recipient again; its Message-ID.

    One whose delivery is known or not known is marked as a possible duplicate. One that it was
    never meant for, but that the schedule knows, is a new mail.
    """
    row = report_named(service, report)
    person = service.schedule.recipient(recipient)
    if person is None:
        known = ", ".join(r.name for r in service.schedule.recipients) or "nobody"
        raise UsageError(f"the schedule has no recipient {recipient!r}; it has {known}")
    of = {"kind": row.kind, "period": row.period, "revision": row.revision}
    with service.store.writing() as writer:
        until = writer.queue.clock() + MAIL_S
        again = writer.queue.resend(**of, recipient=recipient, give_up_at=until)
        identity = message_id(row.name, recipient, mail_domain(service))
        if not again:
            new = writer.queue.add_mails(
                [(person, identity)], **of, unknown="hold", attach=True, give_up_at=until
            )
            if not new:
                raise UsageError(
                    f"{row.name} to {recipient} is on its way already; `reporting status` shows it"
                )
        writer.log(
            "mail queued by hand",
            {"report": row.name, "recipient": recipient, "message_id": identity, "reason": reason},
        )
    return identity


def arrived(service: Service, report: str, recipient: str, reason: str) -> None:
    """A mail of unknown outcome did reach its recipient; the log says who says so."""
    row = report_named(service, report)
    of = {"kind": row.kind, "period": row.period, "revision": row.revision}
    with service.store.writing() as writer:
        found = writer.queue.rows("arrived", **of, recipient=recipient)
        if not found:
            raise UsageError(
                f"the mail of {row.name} to {recipient!r} is not unknown; `reporting status` lists "
                "those that are"
            )
        about = {"report": row.name, "recipient": recipient, "reason": reason}
        writer.log("mail arrived", {**about, "message_id": found[0]["message_id"]})
