"""A real SMTP server on loopback that refuses, stalls and cuts off, as the recipient's name says.

The part before the @ is what happens to the letter: ``rcpt-550`` is refused when it is named,
``data-451`` when it is announced, ``body-554`` when it is there, ``rcpt-stall`` waits for ever,
``body-cut`` closes the line. Everybody else gets their letter.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session, syntax
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

USER, PASSWORD = "reporting", "correct horse"


@dataclass
class Received:
    """What came over the line: senders that were announced, letters, passwords that were tried."""

    sessions: int = 0
    ended: int = 0
    senders: list[str] = field(default_factory=list)
    letters: list[tuple[str, bytes]] = field(default_factory=list)
    logins: list[bytes] = field(default_factory=list)
    steps: list[tuple[str, str]] = field(default_factory=list)

    def to(self, address: str) -> list[bytes]:
        """Letters of one recipient."""
        return [body for to, body in self.letters if to == address]


class Handler:
    """What the relay does with a letter."""

    def __init__(self, received: Received) -> None:
        self.received = received

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.received.senders.append(address)
        if address.startswith("mail-"):
            return f"{address[5:8]} {'5.7.1 ' if address[5] == '5' else ''}no mail from you"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.received.steps.append((address, "RCPT"))
        if (answer := await happens("rcpt", server, address)) is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        (address,) = envelope.rcpt_tos
        self.received.steps.append((address, "letter"))
        if (answer := await happens("body", server, address)) is not None:
            return answer
        assert isinstance(envelope.original_content, bytes)
        self.received.letters.append((address, envelope.original_content))
        if address.startswith("idle-cut"):
            asyncio.get_running_loop().call_later(0.02, server.transport.close)
        return "250 2.0.0 kept as 4711"


async def happens(step: str, server: Any, address: str) -> str | None:
    """The reply that a recipient's name asks for at this step, or None."""
    at, _, what = address.partition("@")[0].partition("-")
    if at != step:
        return None
    if what == "stall":
        while not server.transport.is_closing():  # until the other side has enough of it
            await asyncio.sleep(0.02)
    if what in ("stall", "cut"):
        server.transport.abort()
        return "250 nobody hears this"
    return {
        "550": "550 5.1.1 no such mailbox",
        "450": "450 4.2.1 mailbox busy",
        "sender": "553 5.1.8 sender's domain is unknown",
        "421": "421 4.3.2 going down",
        "451": "451 4.3.0 try again later",
        "554": "554 5.7.1 looks like spam",
        "odd": "399 what is this",
        "garbage": "no number at all",
        "evil": "554 5.7.1 \x1b[31mred\x07 " + "long " * 400,
    }[what]


class Relay(SMTP):
    """aiosmtpd's server, which also refuses a letter when it is announced."""

    def connection_made(self, transport: Any) -> None:
        self.event_handler.received.sessions += 1
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.event_handler.received.ended += 1
        super().connection_lost(error)

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:
        address = (self.envelope.rcpt_tos or [""])[0]
        if (answer := await happens("data", self, address)) is not None:
            await self.push(answer)
            return
        await super().smtp_DATA(arg)


class _Controller(Controller):
    def factory(self) -> SMTP:
        return Relay(self.handler, **self.SMTP_kwargs)


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    received: Received


@contextmanager
def running(folder: Path | None = None, **options: Any) -> Iterator[Server]:
    """A server on a free port. ``starttls`` or ``tls`` with the certificate of ``folder``."""
    received = Received()

    def authenticated(*asked: Any) -> AuthResult:
        login = asked[-1]
        assert isinstance(login, LoginPassword)
        received.logins.append(login.password)
        good = (login.login, login.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=False)

    given: dict[str, Any] = {"authenticator": authenticated, "timeout": 60}
    security = options.pop("security", "none")
    if security != "none":
        assert folder is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        if security == "starttls":
            given |= {"tls_context": context, "require_starttls": True}
        else:
            given |= {"ssl_context": context, "auth_require_tls": False}
    else:
        given["auth_require_tls"] = False
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = _Controller(Handler(received), "127.0.0.1", port, **given, **options)
    controller.start()
    received.sessions = 0  # the controller's own first look
    try:
        yield Server(port, received)
    finally:
        controller.stop()


@contextmanager
def scripted(*replies: bytes) -> Iterator[int]:
    """A server that says one thing after the other, whatever it is asked, and then hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            line, _ = door.accept()
            with line, line.makefile("rb") as asked:
                for reply in replies:
                    line.sendall(reply)
                    asked.readline()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield door.getsockname()[1]
        thread.join(5)


def certificates(folder: Path) -> None:
    """``ca.pem``, and ``server.pem`` with a key and a certificate for localhost alone."""
    now = datetime.now(UTC)

    def made(
        name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(1))
            .not_valid_after(now + timedelta(30))
            .add_extension(x509.BasicConstraints(name == issuer, None), critical=True)
        )
        if name == issuer:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        else:
            names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
            builder = builder.add_extension(names, critical=False)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        ).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
        )
        return builder.sign(by, hashes.SHA256())

    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = made("authority of the tests", authority, "authority of the tests", authority)
    (folder / "ca.pem").write_bytes(root.public_bytes(Encoding.PEM))
    leaf = made("localhost", server, "authority of the tests", authority)
    key = server.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(key + leaf.public_bytes(Encoding.PEM))
