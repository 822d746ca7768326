"""Mail, and the only door to smtplib: a letter to bytes, bytes to a relay, and what became of them.

A letter is one transaction for one recipient, so that a bad address harms nobody else. What the
relay said decides: accepted, refused for now, refused for good, or not known, which is when the
line broke after the letter had begun to go out. An unknown outcome is never tried again here.

The line is encrypted and the relay's certificate verified, or nothing is sent: there is no falling
back. Only a relay on this very machine may be spoken to in clear, and then without a password.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import re
import smtplib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from .errors import DeliveryFailed, UsageError

Security = Literal["starttls", "tls", "none"]
#: The port of each kind of line where none is set: submission, submissions (RFC 8314), plain.
PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}
#: Room that a letter needs beside what is attached: two texts, two pictures, headers.
BODY_ROOM_BYTES = 600_000
#: How much of what a relay said is kept, in signs.
SAID_SIGNS = 300

#: RFC 5321 and 1035, as far as every relay takes it: what is not ASCII needs another spelling.
_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_ADDRESS = re.compile(rf"{_LOCAL}(?:\.{_LOCAL})*@{_DOMAIN}")


# --- a letter ------------------------------------------------------------------------------


class Inline(Protocol):
    """A picture that the HTML shows as ``cid:<cid>``, PNG."""

    @property
    def cid(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True)
class Attachment:
    """A file that goes with a letter; ``media_type`` such as "application/pdf"."""

    name: str
    media_type: str
    body: bytes


@dataclass(frozen=True)
class Content:
    """What all recipients are sent alike: the texts, the pictures, what is attached."""

    subject: str
    text: str
    html: str
    pictures: Sequence[Inline]
    attachments: Sequence[Attachment] = ()

    @cached_property
    def encoded(self) -> bytes:
        """ASCII, CRLF, from Content-Type on; made once, since it is nearly all of a letter.

        multipart/mixed of what is attached, and of the text or, for clients that can, HTML with its
        pictures.
        """
        message = EmailMessage(policy=SMTP)
        # Quoted-printable: relays of seven bits change nothing, nor do long lines.
        message.set_content(self.text, cte="quoted-printable")
        message.add_alternative(self.html, subtype="html", cte="quoted-printable")
        parts = message.get_payload()
        assert isinstance(parts, list)
        page = parts[1]
        assert isinstance(page, EmailMessage)
        for picture in self.pictures:
            page.add_related(
                picture.body,
                "image",
                "png",
                cid=f"<{picture.cid}>",
                disposition="inline",
                filename=_one_line(picture.name),
            )
        for file in self.attachments:
            kind, _, subtype = file.media_type.partition("/")
            message.add_attachment(
                file.body, maintype=kind, subtype=subtype, filename=_one_line(file.name)
            )
        # By default they are random. Neither encoding can hold "=_".
        for number, part in enumerate(p for p in message.walk() if p.is_multipart()):
            known = hashlib.sha256(f"{self.html}\0{number}".encode()).hexdigest()
            part.set_boundary(f"=_{known[:40]}")
        return message.as_bytes()


@dataclass(frozen=True)
class Letter:
    """One letter to one recipient. ``thread`` are the Message-IDs of the revisions before, oldest
    first, to the same recipient.
    """

    report_id: str
    content: Content
    to_name: str
    to_address: str
    message_id: str
    thread: Sequence[str] = ()


@dataclass(frozen=True)
class Relay:
    """The server that takes our mail. ``sender`` is an address, or "Name <address>".

    Raises :class:`UsageError` for a line that would not be safe and for an address that is none.
    """

    host: str
    port: int
    security: Security
    sender: str
    ca_file: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_s: float = 30.0
    domain: str = ""

    def __post_init__(self) -> None:
        if self.security not in PORTS:
            raise UsageError(f"{self.security!r} is no kind of line; expected {', '.join(PORTS)}")
        if not (_is_ip(self.host) or re.fullmatch(_DOMAIN, self.host)):
            raise UsageError(f"{self.host!r} is no host of a mail relay, such as mail.example.com")
        if self.security == "none" and not _is_loopback(self.host):
            raise UsageError(
                f'mail to {self.host} would go in clear; expected starttls or tls, since "none" is '
                "for a relay on this machine only"
            )
        if self.password is not None and (self.security == "none" or not self.username):
            raise UsageError(
                "a password of the mail relay needs a user name and an encrypted line (starttls "
                "or tls)"
            )
        if self.username and self.password is None:
            raise UsageError(f"the mail relay's user {self.username} has no password file")
        if not f"{self.username or ''}{self.password or ''}".isascii():
            raise UsageError("the mail relay's user name and password have to be ASCII")
        if self.timeout_s <= 0:
            raise UsageError(f"a timeout of {self.timeout_s} s is none; expected more than 0")
        checked_address(self.address)
        if self.domain and not re.fullmatch(_DOMAIN, self.domain):
            raise UsageError(f"{self.domain!r} is no domain, such as reports.example.com")

    @property
    def address(self) -> str:
        """The sender's bare address."""
        return _named(self.sender)[1]

    @property
    def own_domain(self) -> str:
        """What follows the @ of Message-IDs and greets the relay; by default the sender's."""
        return self.domain or self.address.rpartition("@")[2]


def _named(sender: str) -> tuple[str, str]:
    """Name, or "", and address of "Name <address>"; a comma in the name needs no quotes."""
    name, bracket, rest = _one_line(sender).rpartition("<")
    address = rest.removesuffix(">") if bracket else rest
    return name.strip().strip('"').strip(), address


def _is_ip(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def checked_address(address: str) -> str:
    """``address`` itself; :class:`UsageError` where it is none that every relay takes."""
    if not address.isascii():
        raise UsageError(
            f"{address!r} has letters that not every relay takes; write the domain as xn--… "
            "(IDNA) and the name before the @ in ASCII"
        )
    local, _, domain = address.rpartition("@")
    if not _ADDRESS.fullmatch(address) or len(local) > 64 or len(domain) > 253:
        raise UsageError(f"{address!r} is no mail address; expected one such as ann@example.com")
    return address


def message_id(report_id: str, recipient: str, domain: str) -> str:
    """The Message-ID of a report's revision to a recipient: always the same, with its brackets.

    Clients that get a letter twice can see that it is one.
    """
    known = hashlib.sha256(f"{report_id}\0{recipient.strip().lower()}".encode()).hexdigest()
    stem = re.sub(r"[^A-Za-z0-9-]+", ".", report_id).strip(".")
    return f"<{stem}.{known[:24]}@{domain}>"


class _MessageIds(UnstructuredHeader, BaseHeader):
    """Message-IDs, one a line: the library encodes long ones, which no client would know then."""

    def fold(self, *, policy: Policy) -> str:
        """The header with its line ends."""
        ids = f"{policy.linesep} ".join(str(self).split())
        return f"{self.name}: {ids}{policy.linesep}"


_HEADERS = HeaderRegistry()
for _name in ("in-reply-to", "references"):
    _HEADERS.map_to_type(_name, _MessageIds)


def compose(letter: Letter, relay: Relay, date: datetime) -> bytes:
    """The message as it goes over the line: ASCII, CRLF, the same bytes for the same arguments.

    ``date`` is aware. Raises :class:`UsageError` for an address that is none.
    """
    message = EmailMessage(policy=SMTP.clone(header_factory=_HEADERS))
    name, sender = _named(relay.sender)
    message["From"] = Address(name, addr_spec=sender)
    message["To"] = Address(_one_line(letter.to_name), addr_spec=checked_address(letter.to_address))
    message["Subject"] = _one_line(letter.content.subject)
    message["Date"] = format_datetime(date)
    message["Message-ID"] = _one_line(letter.message_id)
    if letter.thread:
        message["In-Reply-To"] = _one_line(letter.thread[-1])
        message["References"] = " ".join(_one_line(each) for each in letter.thread)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message["X-Report"] = _one_line(letter.report_id)
    head: bytes = message.as_bytes()  # with the empty line that ends it
    return head.removesuffix(b"\r\n") + letter.content.encoded


def encoded_size(body: bytes | int) -> int:
    """Bytes that a file, or one of so many bytes, takes in a letter: base64 in lines of 76."""
    length = body if isinstance(body, int) else len(body)
    letters = -(-length // 3) * 4
    return letters + 2 * -(-letters // 76)


def attachable(files: Sequence[Attachment], max_bytes: int) -> tuple[Attachment, ...]:
    """Those of ``files``, in order, with which a letter stays within ``max_bytes``, encoded."""
    left = max_bytes - BODY_ROOM_BYTES
    chosen = []
    for file in files:
        if (size := encoded_size(file.body) + 500) <= left:
            left -= size
            chosen.append(file)
    return tuple(chosen)


def _one_line(text: str) -> str:
    """A header's value that can't begin another header."""
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(printable.split())


# --- the relay -----------------------------------------------------------------------------


class Result(StrEnum):
    """What became of a letter."""

    SENT = "sent"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Outcome:
    """How a transaction ended. ``code`` is the relay's reply where there was one; ``words`` what it
    said, or what went wrong; ``relay`` whether the fault is the relay's or the line's, so that the
    next letter would fail too.
    """

    result: Result
    code: int | None
    words: str
    relay: bool = False


class _Refused(Exception):
    """The transaction ended before the letter went out."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.words)
        self.outcome = outcome


#: Replies to MAIL and RCPT that speak of us, not of a letter: log in, or encrypt, first.
_LOG_IN = (530, 534, 535, 538)
#: Enhanced codes (RFC 3463) of a sender that is refused.
_BAD_SENDER = re.compile(r"\b[45]\.1\.[78]\b")


class Connection:
    """A line to the relay, opened by the first letter and kept for the next ones.

    Use it in a ``with`` block. A line that the relay closed in between is opened again.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._line: smtplib.SMTP | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye to the relay, if a line is open."""
        if self._line is not None:
            # Every letter has its reply already.
            with contextlib.suppress(OSError, smtplib.SMTPException):
                self._line.quit()
            self._drop()

    def check(self) -> str:
        """Open the line as for a letter, logging in; what the relay says to NOOP.

        Raises :class:`DeliveryFailed` where a letter would not go either.
        """
        try:
            code, said = (self._line or self._open()).noop()
        except _Refused as refused:
            raise DeliveryFailed(refused.outcome.words) from None
        except (OSError, smtplib.SMTPException) as broken:
            raise DeliveryFailed(_broken("asking the relay", broken).words) from None
        return f"{code} {_said(said)}"

    def send(
        self, message: bytes, sender: str, recipient: str, before_data: Callable[[], None]
    ) -> Outcome:
        """One letter to one recipient.

        ``before_data`` is called once the relay has accepted sender and recipient, and before the
        letter is announced. If it raises, the transaction is taken back and the exception passes
        on. What breaks after that and before the relay's reply to the whole letter is UNKNOWN.
        """
        try:
            self._address(message, sender, recipient)
        except _Refused as refused:
            return self._refused(refused.outcome)
        try:
            before_data()
        except BaseException:
            self._take_back()
            raise
        try:
            line = self._announce()
        except _Refused as refused:
            return self._refused(refused.outcome)
        return self._hand_over(line, message)

    def _address(self, message: bytes, sender: str, recipient: str) -> None:
        """MAIL FROM and RCPT TO, on a new line where the old one turns out to be closed."""
        for address in (sender, recipient):
            try:
                checked_address(address)
            except UsageError as wrong:
                raise _Refused(Outcome(Result.PERMANENT, None, str(wrong))) from None
        kept = self._line is not None
        line = self._line or self._open()
        try:
            limit = int(line.esmtp_features.get("size") or 0)
        except ValueError:
            limit = 0
        if 0 < limit < len(message):
            words = f"the letter has {len(message)} bytes, the relay takes {limit}"
            raise _Refused(Outcome(Result.PERMANENT, 552, words))
        options = [f"SIZE={len(message)}"] if line.has_extn("size") else []
        try:
            code, said = line.mail(sender, options)
        except (OSError, smtplib.SMTPException) as broken:
            self._drop()
            if kept:  # closed while nobody spoke, most likely: nothing has been said yet
                return self._address(message, sender, recipient)
            raise _Refused(_broken("MAIL FROM", broken)) from None
        if code == 421 and kept:
            self._drop()
            return self._address(message, sender, recipient)
        if code in _LOG_IN or (code >= 500 and code not in (552, 555)):
            # The sender, which every letter has: no recipient is to blame, and it can be mended.
            raise _Refused(Outcome(Result.TEMPORARY, code, _said(said), relay=True))
        _accept(code, said, 2)
        try:
            code, said = line.rcpt(recipient)
        except (OSError, smtplib.SMTPException) as broken:
            self._drop()
            raise _Refused(_broken("RCPT TO", broken)) from None
        if code in _LOG_IN or (code >= 500 and _BAD_SENDER.search(_said(said))):
            raise _Refused(Outcome(Result.TEMPORARY, code, _said(said), relay=True))
        _accept(code, said, 2)

    def _announce(self) -> smtplib.SMTP:
        """DATA up to the relay's word to go on: nothing of the letter has been sent."""
        line = self._line
        assert line is not None
        try:
            code, said = line.docmd("DATA")
        except (OSError, smtplib.SMTPException) as broken:
            self._drop()
            raise _Refused(_broken("DATA", broken)) from None
        _accept(code, said, 3)
        return line

    def _hand_over(self, line: smtplib.SMTP, message: bytes) -> Outcome:
        """The letter and its end; only the reply says what became of it."""
        try:
            line.send(_on_the_line(message))
            code, said = line.getreply()
        except (OSError, smtplib.SMTPException) as broken:
            self._drop()
            words = f"the line broke after the letter began to go out: {_said(str(broken))}"
            return Outcome(Result.UNKNOWN, None, words, relay=True)
        except BaseException:
            self._drop()  # or what is left of the letter would be read as commands
            raise
        match code // 100:
            case 2:
                return Outcome(Result.SENT, code, _said(said))
            case 4 | 5:
                result = Result.TEMPORARY if code < 500 else Result.PERMANENT
                return self._refused(Outcome(result, code, _said(said), relay=code == 421))
            case _:
                self._drop()
                return Outcome(Result.UNKNOWN, code, _said(said), relay=True)

    def _open(self) -> smtplib.SMTP:
        """A new line: encrypted, its certificate verified, logged in; or :class:`_Refused`."""
        relay = self._relay
        step = f"connecting to {relay.host}:{relay.port}"
        line: smtplib.SMTP | None = None
        try:
            where, own, timeout = (relay.host, relay.port), relay.own_domain, relay.timeout_s
            if relay.security == "tls":
                context = _context(relay)
                line = smtplib.SMTP_SSL(*where, own, timeout=timeout, context=context)
            else:
                line = smtplib.SMTP(*where, own, timeout)
            step = "greeting the relay"
            line.ehlo_or_helo_if_needed()
            if relay.security == "starttls":
                step = "STARTTLS"
                line.starttls(context=_context(relay))
                line.ehlo_or_helo_if_needed()
            if relay.username is not None and relay.password is not None:
                step = "logging in"
                line.login(relay.username, relay.password)
        except _Refused:
            _close(line)
            raise
        except (OSError, smtplib.SMTPException) as broken:
            _close(line)
            raise _Refused(_broken(step, broken)) from None
        self._line = line
        return line

    def _take_back(self) -> None:
        """RSET; a line that does not answer it is closed."""
        if self._line is None:
            return
        try:
            answered = self._line.rset()[0]
        except (OSError, smtplib.SMTPException):
            answered = 0
        if answered != 250:
            self._drop()

    def _refused(self, outcome: Outcome) -> Outcome:
        """The line is ready for the next letter, or closed where it is not sure what was said."""
        code = outcome.code or 0
        if code // 100 in (4, 5) and code != 421:
            self._take_back()
        else:
            self._drop()
        return outcome

    def _drop(self) -> None:
        _close(self._line)
        self._line = None


def _close(line: smtplib.SMTP | None) -> None:
    if line is not None:
        line.close()


def _context(relay: Relay) -> ssl.SSLContext:
    """TLS 1.2 at least, the certificate and the name in it verified."""
    try:
        context = ssl.create_default_context(cafile=relay.ca_file)
    except OSError as unreadable:
        raise _Refused(
            Outcome(
                Result.TEMPORARY,
                None,
                f"the authority's file {relay.ca_file} can't be used: {unreadable.strerror or ''}",
                relay=True,
            )
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _accept(code: int, said: bytes, expected: int) -> None:
    """Nothing for a reply of the class that is expected, else :class:`_Refused`."""
    if code // 100 == expected:
        return
    result = Result.PERMANENT if code // 100 == 5 else Result.TEMPORARY
    unspoken = code == 421 or code // 100 not in (4, 5)
    raise _Refused(Outcome(result, code, _said(said), relay=unspoken))


def _broken(step: str, error: Exception) -> Outcome:
    """Before the letter went out: whatever broke, it may be well again later."""
    code = getattr(error, "smtp_code", None)
    reply = getattr(error, "smtp_error", None)
    words = _said(reply if reply is not None else str(error) or type(error).__name__)
    return Outcome(Result.TEMPORARY, code, f"{step}: {words}", relay=True)


def _said(reply: bytes | str) -> str:
    """What the relay said, on one line and not longer than is useful."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return _one_line(text)[:SAID_SIGNS]


def _on_the_line(message: bytes) -> bytes:
    """Every line end is CRLF, a line that begins with a dot has two (RFC 5321, 4.5.2), and a dot
    alone ends it: no line of the letter can.
    """
    ends = message.count(b"\r\n")
    if not ends == message.count(b"\r") == message.count(b"\n"):
        message = re.sub(rb"\r\n|\r|\n", b"\r\n", message)
    stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
    return stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n"
