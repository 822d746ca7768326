"""What becomes of a letter, on a real server that takes it, refuses it, stalls and cuts off."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from reporting.deliver import (
    Connection,
    Content,
    Letter,
    Outcome,
    Relay,
    Result,
    compose,
    message_id,
)
from reporting.errors import UsageError

from .server import PASSWORD, USER, Server, running, scripted

SENDER = "reports@firm.example"
MAIL = b"Subject: x\r\n\r\nfirst\r\n.\r\n.dot\r\n"
SHORT_S = 0.6


def to(server: Server, **changed: object) -> Relay:
    """The relay in clear, on loopback."""
    given = {"host": "127.0.0.1", "port": server.port, "security": "none", "sender": SENDER}
    return Relay(**{**given, "timeout_s": 5.0, **changed})  # type: ignore[arg-type]


def by_starttls(server: Server, folder: Path, **changed: object) -> Relay:
    safe = {"host": "localhost", "security": "starttls", "ca_file": folder / "ca.pem"}
    return to(server, **{**safe, **changed})


def nothing() -> None:
    """For who commits nothing."""


def sent(
    relay: Relay, *recipients: str, sender: str = SENDER, message: bytes = MAIL
) -> list[Outcome]:
    """Outcomes of one letter to each, over one connection."""
    with Connection(relay) as line:
        return [line.send(message, sender, recipient, nothing) for recipient in recipients]


# --- it arrives ----------------------------------------------------------------------------


def test_a_letter_arrives_as_it_was_and_the_line_is_used_again(clear: Server) -> None:
    before = clear.received.sessions
    outcomes = sent(to(clear), "one@there.example", "two@there.example")
    assert [o.result for o in outcomes] == [Result.SENT] * 2
    assert outcomes[0] == Outcome(Result.SENT, 250, "2.0.0 kept as 4711")
    # A dot alone, or one at the front of a line, ends no letter and is not lost.
    assert clear.received.to("one@there.example") == [MAIL]
    assert clear.received.to("two@there.example") == [MAIL]
    assert clear.received.sessions == before + 1


def test_bare_line_ends_can_not_smuggle_a_second_letter(clear: Server) -> None:
    inside = b"Subject: x\r\n\r\na\n.\nMAIL FROM:<evil@x.example>\r.\r\n"
    assert sent(to(clear), "whole@there.example", message=inside)[0].result is Result.SENT
    assert clear.received.to("whole@there.example") == [
        b"Subject: x\r\n\r\na\r\n.\r\nMAIL FROM:<evil@x.example>\r\n.\r\n"
    ]


def test_it_is_announced_between_the_recipient_and_the_letter(clear: Server) -> None:
    seen: list[list[tuple[str, str]]] = []
    with Connection(to(clear)) as line:
        line.send(MAIL, SENDER, "order@there.example", lambda: seen.append(own(clear)))

    assert seen == [[("order@there.example", "RCPT")]]
    assert own(clear)[-1] == ("order@there.example", "letter")


def own(server: Server) -> list[tuple[str, str]]:
    return [step for step in server.received.steps if step[0].startswith("order")]


def test_what_fails_before_the_letter_takes_it_back(clear: Server) -> None:
    def lost() -> None:
        raise RuntimeError("the lease is lost")

    before = clear.received.sessions
    with Connection(to(clear)) as line:
        with pytest.raises(RuntimeError, match="the lease is lost"):
            line.send(MAIL, SENDER, "taken-back@there.example", lost)
        # The same line is good for the next one, and nothing is left over on it.
        assert line.send(MAIL, SENDER, "next@there.example", nothing).result is Result.SENT
    assert clear.received.to("taken-back@there.example") == []
    assert clear.received.sessions == before + 1


def test_over_a_line_that_is_encrypted_after_the_greeting(secure: Server, folder: Path) -> None:
    relay = by_starttls(secure, folder, username=USER, password=PASSWORD)
    assert sent(relay, "safe@there.example")[0].result is Result.SENT
    assert secure.received.to("safe@there.example") == [MAIL]
    assert secure.received.logins[-1] == PASSWORD.encode()


def test_over_a_line_that_is_encrypted_from_the_start(folder: Path) -> None:
    with running(folder, security="tls") as server:
        relay = by_starttls(server, folder, security="tls")
        assert sent(relay, "a@there.example")[0].result is Result.SENT
        refused = sent(by_starttls(server, folder, security="tls", ca_file=None), "b@there.example")
        assert (refused[0].result, refused[0].relay) == (Result.TEMPORARY, True)
        assert "certificate verify failed" in refused[0].words
        assert [to for to, _ in server.received.letters] == ["a@there.example"]


# --- the line is not safe ------------------------------------------------------------------


def test_without_starttls_nothing_is_said(clear: Server) -> None:
    senders, logins = len(clear.received.senders), len(clear.received.logins)
    relay = to(clear, security="starttls", username=USER, password=PASSWORD)
    (outcome,) = sent(relay, "never@there.example")
    assert (outcome.result, outcome.relay) == (Result.TEMPORARY, True)
    assert "STARTTLS" in outcome.words
    # Neither the letter nor the password went out in clear.
    assert len(clear.received.senders) == senders
    assert len(clear.received.logins) == logins


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"ca_file": None}, "certificate verify failed"),
        ({"host": "127.0.0.1"}, "IP address mismatch"),  # the certificate is for localhost
    ],
)
def test_a_certificate_that_is_not_the_relays(
    secure: Server, folder: Path, changed: dict[str, object], words: str
) -> None:
    senders = len(secure.received.senders)
    (outcome,) = sent(by_starttls(secure, folder, **changed), "never@there.example")
    assert (outcome.result, outcome.relay) == (Result.TEMPORARY, True)
    assert words in outcome.words
    assert len(secure.received.senders) == senders


def test_a_wrong_password_is_the_relays_fault_and_is_not_told(secure: Server, folder: Path) -> None:
    relay = by_starttls(secure, folder, username=USER, password="battery staple")
    (outcome,) = sent(relay, "never@there.example")
    assert (outcome.result, outcome.code, outcome.relay) == (Result.TEMPORARY, 535, True)
    assert "battery" not in outcome.words + repr(relay)


def test_an_authority_that_can_not_be_read(secure: Server, tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    for body in (None, b"no certificate"):
        if body is not None:
            wrong.write_bytes(body)
        (outcome,) = sent(by_starttls(secure, tmp_path), "never@there.example")
        assert (outcome.result, outcome.relay) == (Result.TEMPORARY, True)
        assert str(wrong) in outcome.words


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    (outcome,) = sent(to(Server(port, None)), "never@there.example")  # type: ignore[arg-type]
    assert (outcome.result, outcome.code, outcome.relay) == (Result.TEMPORARY, None, True)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"host": "mail.example.com"}, "in clear"),
        ({"host": "10.0.0.1"}, "in clear"),
        ({"username": USER, "password": PASSWORD}, "encrypted line"),
        ({"security": "ssl"}, "no kind of line"),
        ({"security": "tls", "username": USER}, "no password"),
        ({"security": "tls", "password": PASSWORD}, "user name"),
        ({"security": "tls", "username": USER, "password": "pässword"}, "ASCII"),
        ({"host": "mail..example"}, "no host"),
        ({"host": "a" * 64}, "no host"),
        ({"host": "x\r\ny"}, "no host"),
        ({"sender": "Reports"}, "no mail address"),
        ({"sender": "a@b.example\r\nBcc: evil@x.example"}, "no mail address"),
        ({"domain": "no domain"}, "no domain"),
        ({"timeout_s": 0}, "timeout"),
    ],
)
def test_a_relay_that_would_not_do(changed: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        to(Server(25, None), **changed)  # type: ignore[arg-type]
    assert PASSWORD not in str(refused.value)


# --- a letter is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipient", "result", "code", "relay"),
    [
        ("rcpt-550", Result.PERMANENT, 550, False),
        ("rcpt-450", Result.TEMPORARY, 450, False),
        ("rcpt-421", Result.TEMPORARY, 421, True),
        ("rcpt-sender", Result.TEMPORARY, 553, True),  # of all letters, and not of this address
        ("rcpt-odd", Result.TEMPORARY, 399, True),
        ("rcpt-garbage", Result.TEMPORARY, -1, True),
        ("rcpt-stall", Result.TEMPORARY, None, True),
        ("rcpt-cut", Result.TEMPORARY, None, True),
        ("data-451", Result.TEMPORARY, 451, False),
        ("data-554", Result.PERMANENT, 554, False),
        ("data-stall", Result.TEMPORARY, None, True),
        ("data-cut", Result.TEMPORARY, None, True),
        ("body-451", Result.TEMPORARY, 451, False),
        ("body-554", Result.PERMANENT, 554, False),
        ("body-421", Result.TEMPORARY, 421, True),
        ("body-odd", Result.UNKNOWN, 399, True),
        ("body-garbage", Result.UNKNOWN, -1, True),
        ("body-stall", Result.UNKNOWN, None, True),
        ("body-cut", Result.UNKNOWN, None, True),
    ],
)
def test_one_of_three_goes_wrong(
    clear: Server, recipient: str, result: Result, code: int | None, relay: bool
) -> None:
    ask = [f"first.{recipient}@a.example", f"{recipient}@b.example", f"third.{recipient}@c.example"]
    outcomes = sent(to(clear, timeout_s=SHORT_S), *ask)
    assert (outcomes[1].result, outcomes[1].code, outcomes[1].relay) == (result, code, relay)
    assert outcomes[1].words
    # The others have their letter, once; the wrong one has none that the server kept.
    assert [o.result for o in outcomes[::2]] == [Result.SENT] * 2
    assert [len(clear.received.to(address)) for address in ask] == [1, 0, 1]


@pytest.mark.parametrize(
    ("sender", "result", "code", "relay"),
    [
        ("mail-550@firm.example", Result.TEMPORARY, 550, True),
        ("mail-530@firm.example", Result.TEMPORARY, 530, True),
        ("mail-552@firm.example", Result.PERMANENT, 552, False),
        ("mail-451@firm.example", Result.TEMPORARY, 451, False),
    ],
)
def test_a_sender_who_is_refused_is_no_recipients_fault(
    clear: Server, sender: str, result: Result, code: int, relay: bool
) -> None:
    (outcome,) = sent(to(clear), "a@there.example", sender=sender)
    assert (outcome.result, outcome.code, outcome.relay) == (result, code, relay)


@pytest.mark.parametrize("address", ["nobody", "a b@c.example", "jörg@c.example", "a@b\r\nDATA"])
def test_an_address_that_is_none_is_not_spoken(clear: Server, address: str) -> None:
    senders = len(clear.received.senders)
    (outcome,) = sent(to(clear), address)
    assert (outcome.result, outcome.code, outcome.relay) == (Result.PERMANENT, None, False)
    assert len(clear.received.senders) == senders


def test_a_letter_larger_than_the_relay_takes_is_not_sent() -> None:
    with running(data_size_limit=100) as server:
        large, small = sent(to(server), "a@b.example", message=b"x" * 101) + sent(
            to(server), "a@b.example"
        )
    assert (large.result, large.code, large.relay) == (Result.PERMANENT, 552, False)
    assert "101 bytes, the relay takes 100" in large.words
    assert small.result is Result.SENT


def test_what_a_relay_says_is_short_and_harmless(clear: Server) -> None:
    (outcome,) = sent(to(clear), "body-evil@there.example")
    assert outcome.result is Result.PERMANENT
    assert outcome.words.startswith("5.7.1 [31mred long")
    assert outcome.words.isprintable() and len(outcome.words) <= 300


# --- the line breaks between letters -------------------------------------------------------


def test_a_line_that_was_closed_while_idle_is_opened_again(clear: Server) -> None:
    before, ended = clear.received.sessions, clear.received.ended
    with Connection(to(clear)) as line:
        assert line.send(MAIL, SENDER, "idle-cut@a.example", nothing).result is Result.SENT
        until = time.monotonic() + 10
        while clear.received.ended == ended and time.monotonic() < until:
            time.sleep(0.01)
        assert line.send(MAIL, SENDER, "after@a.example", nothing).result is Result.SENT
    assert clear.received.sessions == before + 2
    assert len(clear.received.to("after@a.example")) == 1


HELLO = (b"220 here\r\n", b"250 hello\r\n")


@pytest.mark.parametrize(
    ("replies", "result"),
    [
        ((b"554 go away\r\n",), Result.TEMPORARY),
        ((b"421 too busy\r\n",), Result.TEMPORARY),
        ((b"220 here\r\n", b"500 what\r\n", b"500 what\r\n"), Result.TEMPORARY),
        ((*HELLO, b"250 ok\r\n", b"250 ok\r\n", b"250 no 354\r\n"), Result.TEMPORARY),
        ((*HELLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"), Result.UNKNOWN),
        ((*HELLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250-half"), Result.UNKNOWN),
        (
            (*HELLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"2" * 9_000 + b"\r\n"),
            Result.UNKNOWN,
        ),
    ],
)
def test_a_relay_that_speaks_nonsense(replies: tuple[bytes, ...], result: Result) -> None:
    with scripted(*replies) as port:
        relay = Relay("127.0.0.1", port, "none", SENDER, timeout_s=SHORT_S)
        (outcome,) = sent(relay, "a@b.example")
    assert (outcome.result, outcome.relay) == (result, True)


def test_a_server_that_is_silent_costs_one_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        began = time.monotonic()
        relay = Relay("127.0.0.1", door.getsockname()[1], "none", SENDER, timeout_s=SHORT_S)
        (outcome,) = sent(relay, "a@b.example")
    assert (outcome.result, outcome.relay) == (Result.TEMPORARY, True)
    assert time.monotonic() - began < 4 * SHORT_S


# --- all of it -----------------------------------------------------------------------------


def test_a_composed_letter_is_read_back(secure: Server, folder: Path) -> None:
    relay = by_starttls(secure, folder, sender="Sample Trading, operations <reports@firm.example>")
    letter = Letter(
        report_id="daily/2025-12-05/r1",
        content=Content(
            subject="[OK] Daily 2025-12-05",
            text="−1 and\n.\n..two\nÖl\n",
            html="<p>Öl</p>",
            pictures=(),
        ),
        to_name="Ann Lee",
        to_address="ann@there.example",
        message_id=message_id("daily/2025-12-05/r1", "ann@there.example", relay.own_domain),
    )
    body = compose(letter, relay, datetime(2025, 12, 8, 11, tzinfo=UTC))
    assert sent(relay, letter.to_address, sender=relay.address, message=body)[0].code == 250
    (received,) = secure.received.to("ann@there.example")
    assert received == body
    message = message_from_bytes(received, policy=default)
    text = message.get_body(("plain",))
    assert text is not None
    assert text.get_content().replace("\r\n", "\n") == letter.content.text
    assert str(message["From"].addresses[0].display_name) == "Sample Trading, operations"
