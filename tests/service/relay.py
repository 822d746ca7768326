"""A real SMTP server on loopback that keeps what it accepts and fails as it is told to."""

from __future__ import annotations

import email
import email.policy
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Post:
    """What arrived, and the reply to each recipient: a line of SMTP, or None to accept."""

    replies: dict[str, Callable[[], str | None]] = field(default_factory=dict)
    arrived: list[tuple[str, EmailMessage]] = field(default_factory=list)
    port: int = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep the mail, then say so, or say something else."""
        to = envelope.rcpt_tos[0]
        reply = self.replies.get(to, lambda: None)()
        if reply == "cut after accepting":
            self._keep(to, envelope)
            assert server.transport is not None
            server.transport.abort()
            return "250 never heard"
        if reply is not None:
            return reply
        self._keep(to, envelope)
        return "250 OK"

    def _keep(self, to: str, envelope: Envelope) -> None:
        assert isinstance(envelope.content, bytes)
        message: Any = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.arrived.append((to, message))

    def to(self, address: str) -> list[EmailMessage]:
        """Everything that arrived for an address."""
        return [message for to, message in self.arrived if to == address]


@contextmanager
def running_relay() -> Iterator[Post]:
    """The server on a free port of 127.0.0.1."""
    with socket.socket() as probe:  # aiosmtpd connects to itself, so that port 0 will not do
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    post = Post(port=port)
    controller = Controller(post, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield post
    finally:
        controller.stop()
