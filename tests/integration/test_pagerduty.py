"""PagerDuty's REST API v2, spoken by a real HTTP server on loopback, with its pages and moods."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from reporting.cli.incidents import app
from reporting.errors import SourceUnavailable, UsageError, ValidationFailed
from reporting.measures.incidents import Incident
from reporting.sources.http import JsonApi
from reporting.sources.pagerduty import PagerDuty, incident_from

from ..line.site import Site, at

TOKEN = "y_NbAkKc66ryYTWUXYEu"
SINCE, UNTIL = at("2025-12-01T00:00:00Z"), at("2025-12-08T00:00:00Z")
ALERTS = {"TradingEngineDown": "trading_engine_down", "HighLatency": "high_latency"}
Answer = tuple[int, Mapping[str, str], bytes]


@dataclass
class Account:
    """What the server knows, what it was asked, and what it says instead of answering."""

    incidents: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    moods: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    page: int = 100
    url: str = ""

    def answer(self, target: str, headers: Mapping[str, str]) -> Answer:
        """As the API does: token, version, then the page that was asked for."""
        parts = urlsplit(target)
        given = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.asked.append((parts.path, given))
        if self.moods:
            return self.moods.pop(0)
        if headers["Authorization"] != f"Token token={TOKEN}":
            return 401, {}, b'{"error":{"message":"Unauthorized","code":2006}}'
        if headers["Accept"] != "application/vnd.pagerduty+json;version=2":
            return 406, {}, b"{}"
        if parts.path == "/incidents":
            since, until = at(given["since"]), at(given["until"])
            if until - since > timedelta(days=180):
                return 400, {}, b'{"error":{"message":"Invalid Input Provided"}}'
            items = [i for i in self.incidents if since <= at(i["created_at"]) < until]
            return self._page("incidents", items, given)
        _, _, name, *rest = parts.path.split("/")
        if rest == ["log_entries"]:
            return self._page("log_entries", self.logs.get(name, []), given)
        found = [i for i in self.incidents if i["id"] == name]
        return (200, {}, json.dumps({"incident": found[0]}).encode()) if found else (404, {}, b"{}")

    def _page(self, key: str, items: list[dict[str, Any]], given: Mapping[str, str]) -> Answer:
        offset, limit = int(given["offset"]), min(int(given["limit"]), self.page)
        if offset + limit > 10_000:
            return 400, {}, b'{"error":{"message":"Offset + Limit is too large"}}'
        body = {
            key: items[offset : offset + limit],
            "limit": limit,
            "offset": offset,
            "more": offset + limit < len(items),
            "total": None,
        }
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


@pytest.fixture
def account() -> Iterator[Account]:
    """An account that a server answers for."""
    found = Account()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = found.answer(self.path, self.headers)  # type: ignore[arg-type]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def slept() -> list[float]:
    """How long the client waited, without waiting."""
    return []


@pytest.fixture
def pagerduty(account: Account, slept: list[float]) -> PagerDuty:
    return PagerDuty.at(TOKEN, account.url, sleep=slept.append)


def incident(name: str, created: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": name,
        "type": "incident",
        "title": f"about {name}",
        "created_at": created,
        "status": "triggered",
        "urgency": "high",
        "priority": {"summary": "P1", "type": "priority"},
        "service": {"summary": "execution_engine", "type": "service_reference"},
        **fields,
    }


def entry(kind: str, at_: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"{kind}{at_}", "type": f"{kind}_log_entry", "created_at": at_, **fields}


def second(text: str) -> int:
    return int(at(text).timestamp()) * 1000


def test_the_log_tells_when_people_were_told_and_what_they_did(
    account: Account, pagerduty: PagerDuty
) -> None:
    account.incidents = [
        incident(
            "Q1",
            "2025-12-05T14:00:00Z",
            title="[FIRING:1] TradingEngineDown (critical)",
            status="resolved",
            resolved_at="2025-12-05T14:50:00Z",
        )
    ]
    account.logs["Q1"] = [  # newest first, as the API has it
        entry("annotate", "2025-12-05T15:00:00Z"),
        entry("resolve", "2025-12-05T14:50:00Z"),
        entry("escalate", "2025-12-05T14:15:00Z"),
        entry("acknowledge", "2025-12-05T14:07:00Z"),
        entry("escalate", "2025-12-05T14:05:00Z"),
        entry("notify", "2025-12-05T14:05:03Z"),
        entry("notify", "2025-12-05T14:00:02Z"),
        entry("assign", "2025-12-05T14:00:01Z"),
        entry("trigger", "2025-12-05T14:00:00Z", channel={"summary": "x"}),
    ]

    (found,) = pagerduty.read(SINCE, UNTIL, ALERTS)

    assert found == Incident(
        source="pagerduty",
        id="Q1",
        priority="P1",
        title="[FIRING:1] TradingEngineDown (critical)",
        alert="trading_engine_down",
        target="execution_engine",
        opened_ms=second("2025-12-05T14:00:00Z"),
        notified_ms=second("2025-12-05T14:00:02Z"),
        acknowledged_ms=second("2025-12-05T14:07:00Z"),
        level_1_ms=second("2025-12-05T14:00:01Z"),
        level_2_ms=second("2025-12-05T14:05:00Z"),
        level_3_ms=second("2025-12-05T14:15:00Z"),
        resolved_ms=second("2025-12-05T14:50:00Z"),
    )


def test_a_reopened_incident_is_not_resolved_and_a_later_resolution_counts() -> None:
    log = [
        entry("resolve", "2025-12-05T14:10:00Z"),
        entry("unacknowledge", "2025-12-05T14:20:00Z"),
        entry("resolve", "2025-12-05T15:00:00Z"),
    ]
    opened = incident("Q1", "2025-12-05T14:00:00Z")

    assert incident_from(opened, log, ALERTS).resolved_ms is None
    resolved = incident_from({**opened, "status": "resolved"}, log, ALERTS)
    assert resolved.resolved_ms == second("2025-12-05T15:00:00Z")


@pytest.mark.parametrize(
    ("given", "priority"),
    [
        ({"summary": "P2"}, "P2"),
        ({"name": "p3 - feature impact"}, "P3"),
        ({"summary": "SEV-1"}, ""),
        ({"summary": "P10"}, ""),
        (None, ""),
    ],
)
def test_a_priority_is_read_from_its_name(given: Any, priority: str) -> None:
    item = incident("Q1", "2025-12-05T14:00:00Z", priority=given)

    assert incident_from(item, [], ALERTS).priority == priority


@pytest.mark.parametrize(
    ("title", "details", "alert"),
    [
        ("HighLatency on tactical", {}, "high_latency"),
        ("two alerts", {"firing": "Labels:\n - alertname = HighLatency\n"}, "high_latency"),
        ("HighLatencyOfOthers", {}, ""),
        ("HighLatency and TradingEngineDown", {}, ""),
        ("by hand", {}, ""),
    ],
)
def test_the_alert_is_the_one_that_is_named(title: str, details: Any, alert: str) -> None:
    item = incident("Q1", "2025-12-05T14:00:00Z", title=title)
    trigger = entry("trigger", "2025-12-05T14:00:00Z", channel={"details": details})

    assert incident_from(item, [trigger], ALERTS).alert == alert


def test_all_pages_of_all_months_are_read(account: Account, pagerduty: PagerDuty) -> None:
    account.page = 3
    first = datetime(2025, 9, 1, tzinfo=UTC)
    account.incidents = [
        incident(f"Q{n}", (first + timedelta(days=n)).strftime("%Y-%m-%dT%H:%M:%SZ"))
        for n in range(40)
    ]
    account.logs["Q7"] = [entry("notify", f"2025-09-09T00:00:0{n}Z") for n in range(9, 1, -1)]

    found = pagerduty.read(first, first + timedelta(days=40), {})

    assert [i.id for i in found] == [f"Q{n}" for n in range(40)]
    assert found[7].notified_ms == second("2025-09-09T00:00:02Z")  # on the last of three pages
    assert {q["time_zone"] for path, q in account.asked if path == "/incidents"} == {"UTC"}


def test_what_was_open_is_asked_for_again(account: Account, pagerduty: PagerDuty) -> None:
    old = incident("OLD", "2025-11-01T00:00:00Z", status="resolved")
    account.incidents = [old, incident("NEW", "2025-12-02T00:00:00Z")]
    account.logs["OLD"] = [entry("resolve", "2025-12-03T00:00:00Z")]

    found = pagerduty.read(SINCE, UNTIL, {}, still_open=["OLD"])

    assert [(i.id, i.resolved_ms) for i in found] == [
        ("OLD", second("2025-12-03T00:00:00Z")),
        ("NEW", None),
    ]


RATE_LIMITED = (429, {"ratelimit-reset": "7"}, b'{"error":{"message":"Rate Limit Exceeded"}}')


def test_a_rate_limit_is_waited_for_as_long_as_the_server_asks(
    account: Account, pagerduty: PagerDuty, slept: list[float]
) -> None:
    account.incidents = [incident("Q1", "2025-12-02T00:00:00Z")]
    account.moods = [RATE_LIMITED, (429, {"Retry-After": "3"}, b""), (503, {}, b"<html>")]

    found = pagerduty.read(SINCE, UNTIL, {})

    assert [i.id for i in found] == ["Q1"]
    # Asked for 7, asked for 3, then half a second doubled twice of our own.
    assert slept == [7, 3, 0.5 * 2 * 2]


def test_a_wait_beyond_patience_is_the_callers_to_plan(
    account: Account, pagerduty: PagerDuty, slept: list[float]
) -> None:
    account.moods = [(429, {"ratelimit-reset": "3600"}, b"")]

    with pytest.raises(SourceUnavailable, match="asks to wait 3600 s"):
        pagerduty.read(SINCE, UNTIL, {})

    assert slept == []


@pytest.mark.parametrize(
    ("mood", "error", "words"),
    [
        ((500, {}, b"oops"), SourceUnavailable, ["HTTP 500 after 4 tries", "/incidents"]),
        ((200, {}, b"<html>login</html>"), SourceUnavailable, ["no JSON", "<html>login"]),
        ((200, {}, b'{"incidents": null}'), SourceUnavailable, ["without 'incidents'"]),
        ((400, {}, b"bad since"), ValidationFailed, ["HTTP 400", "bad since"]),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), ValidationFailed, ["HTTP 302"]),
    ],
)
def test_what_is_no_answer_is_named(
    account: Account, pagerduty: PagerDuty, mood: Answer, error: Any, words: list[str]
) -> None:
    account.moods = [mood] * 4

    with pytest.raises(error) as refused:
        pagerduty.read(SINCE, UNTIL, {})

    for word in (*words, "REPORTING_PAGERDUTY_URL"):
        assert word in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_a_bad_token_is_refused_at_once_and_never_told(account: Account) -> None:
    wrong = "wr0ng-t0ken"

    with pytest.raises(ValidationFailed) as refused:
        PagerDuty.at(wrong, account.url).read(SINCE, UNTIL, {})

    assert len(account.asked) == 1
    assert "REPORTING_PAGERDUTY_TOKEN_FILE" in str(refused.value)
    assert wrong not in str(refused.value)


def test_nobody_there_ends_in_a_few_tries(slept: list[float]) -> None:
    with pytest.raises(SourceUnavailable, match=r"ConnectError.*after 4 tries"):
        PagerDuty.at(TOKEN, "http://127.0.0.1:1", sleep=slept.append).read(SINCE, UNTIL, {})

    assert slept == [0.5, 1, 2]


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="expected https://host/path"):
        JsonApi("api.pagerduty.com", name="PagerDuty", mend="REPORTING_PAGERDUTY_URL")


def test_pulling_records_once_covers_until_now_and_follows_what_is_open(
    account: Account, empty_store: str, make_site: Callable[..., Site], tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    site = make_site(empty_store, empty_store)
    environment = site.environment(pagerduty_token_file=token, pagerduty_url=account.url)

    def pull(since: str, now: str) -> dict[str, Any]:
        words = ["pull", "--since", since, "--json", "--now", now]
        result = CliRunner().invoke(app, words, env=environment)
        assert result.exit_code == 0, result.exception
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    account.incidents = [incident("Q1", "2025-12-02T00:00:00Z")]
    first = pull("2025-12-01", "2025-12-03T06:00:00-05:00")
    account.incidents[0]["status"] = "resolved"
    account.logs["Q1"] = [entry("resolve", "2025-12-04T00:00:00Z")]
    second_ = pull("2025-12-03", "2025-12-05T06:00:00-05:00")
    third = pull("2025-12-03", "2025-12-05T06:00:00-05:00")

    assert [(f["read"], f["added"]) for f in (first, second_, third)] == [(1, 1), (1, 1), (0, 0)]
    assert first["covers_from"] == "2025-12-01T05:00:00+00:00"
    assert first["covers_until"] == "2025-12-03T11:00:00+00:00"
    rows = site.store_sql("select resolved_at from reporting.incident order by entry")
    assert [row[0] for row in rows] == [None, at("2025-12-04T00:00:00Z")]
    logged = [json.loads(entry_.entry)["event"] for entry_ in site.store.log()]
    assert logged == ["incidents pulled"] * 3
    assert not any(TOKEN.encode() in entry_.entry for entry_ in site.store.log())
