"""What stands around the service, in a process of its own that nobody kills.

A relay that writes down every letter it accepts before it says so, and that refuses, stalls and
hangs up at given rates; and a line to PostgreSQL that can be cut. Commands are JSON lines on
stdin: ``{"rates": {"cut_after": 0.1}}``, ``{"cut": true}``.

    python surroundings.py <record> <port of PostgreSQL> <seed>

prints the ports of the relay and of the line once both listen.
"""

from __future__ import annotations

import asyncio
import email
import json
import os
import random
import sys
import time
from contextlib import suppress
from email import policy
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

#: What may happen to a letter, in the order in which it is drawn; the rest is accepted.
FAULTS = ("rcpt_4xx", "data_4xx", "data_5xx", "stall", "cut_before", "cut_after", "disk_4xx")
STALL_S = 3.0  # longer than the service waits for an answer


class Relay:
    """aiosmtpd's handler; ``record`` has a line for each letter that was taken."""

    def __init__(self, record: Path, seed: int) -> None:
        self.record = record
        self.random = random.Random(seed)
        self.rates: dict[str, float] = {}
        self.drawn: dict[str, int] = {}

    def draws(self, fault: str) -> bool:
        """Whether this fault happens now."""
        happens = self.random.random() < self.rates.get(fault, 0.0)
        if happens:
            self.drawn[fault] = self.drawn.get(fault, 0) + 1
        return happens

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such mailbox"
        if self.draws("rcpt_4xx"):
            return "451 4.3.0 try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.draws("data_4xx"):
            return "451 4.3.0 try again"
        if self.draws("data_5xx"):
            self._write(envelope, "refused")
            return "554 5.6.0 not this one"
        if self.draws("cut_before"):
            assert server.transport is not None
            server.transport.abort()
            return "421 4.0.0 never said"
        if self.draws("stall"):
            self._write(envelope, "accepted", "stalled")
            await asyncio.sleep(STALL_S)
            return "250 OK"
        if self.draws("cut_after"):
            self._write(envelope, "accepted", "cut")
            assert server.transport is not None
            server.transport.abort()
            return "421 4.0.0 never said"
        self._write(envelope, "accepted")
        return "250 OK"

    def _write(self, envelope: Envelope, outcome: str, how: str = "") -> None:
        body = envelope.content
        assert isinstance(body, bytes)
        # Whole enough to be read: a letter that was cut short would have no end.
        letter = email.message_from_bytes(body, policy=policy.SMTP)
        text = letter.get_body(("plain",))  # type: ignore[attr-defined]
        said = text.get_content() if text is not None else ""
        line = {
            "at": time.monotonic(),
            "outcome": outcome,
            "how": how,
            "to": envelope.rcpt_tos,
            "message_id": str(letter["Message-ID"]).strip(),
            "report": str(letter["X-Report"]).strip(),
            "says_duplicate": "may have reached you before" in " ".join(said.split()),
            "bytes": len(body),
        }
        with self.record.open("ab", buffering=0) as file:
            file.write(json.dumps(line).encode() + b"\n")
            os.fsync(file.fileno())


class Line:
    """TCP to PostgreSQL; every connection through it can be cut at once."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.open: set[asyncio.StreamWriter] = set()
        self.cuts = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either end or the scissors end it."""
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.transport.abort()
            return
        self.open |= {writer, outer}
        try:
            await asyncio.gather(_pumped(reader, outer), _pumped(inner, writer))
        finally:
            self.open -= {writer, outer}
            for each in (writer, outer):
                each.close()

    def cut(self) -> int:
        """Reset all that are open; how many."""
        found = list(self.open)
        for writer in found:
            writer.transport.abort()
        self.cuts += 1
        return len(found)


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    # One end has gone: so does the other, or a killed client's transaction would live on.
    writer.close()


async def main(record: Path, port: int, seed: int) -> None:
    """Serve both until stdin ends."""
    loop = asyncio.get_running_loop()
    relay, line = Relay(record, seed), Line(port)
    mail = await loop.create_server(
        lambda: SMTP(relay, hostname="relay.test", loop=loop), "127.0.0.1", 0
    )
    proxy = await asyncio.start_server(line.connected, "127.0.0.1", 0)
    ports = {
        "smtp": mail.sockets[0].getsockname()[1],
        "postgres": proxy.sockets[0].getsockname()[1],
    }
    print(json.dumps(ports), flush=True)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while said := await commands.readline():
        command: dict[str, Any] = json.loads(said)
        answer: dict[str, Any] = {}
        if "rates" in command:
            relay.rates = command["rates"]
        if "cut" in command:
            answer["cut"] = line.cut()
        if "record" in command:  # another round
            relay.record = Path(command["record"])
        if "count" in command:
            answer["drawn"] = relay.drawn
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
