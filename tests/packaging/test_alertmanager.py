"""Who is told: amtool's verdict on the routing, and a real Alertmanager that tells them.

The receivers on the other side are real servers too, on this machine's loopback.
"""

from __future__ import annotations

import json
import queue
import re
import socketserver
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from reporting.demo.prometheus import child, find_binary, free_port, wait_ready

from .alertmanager import VAR, needs_its_texts

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
CONFIG: dict[str, Any] = yaml.safe_load(FILE.read_text())
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for name in ("alerts.yml", "reporting.yml")
    for group in yaml.safe_load((ROOT / "deploy/prometheus/rules" / name).read_text())["groups"]
    for rule in group["rules"]
}

#: By receiver, the ways in which it tells.
CHANNELS = {
    "critical": {"pagerduty", "slack"},
    "warning": {"slack"},
    "level_2_team_lead": {"email", "slack"},
    "level_3_engineering_manager": {"pagerduty", "email", "slack"},
    "deadmans_switch": {"webhook"},
}
RECEIVER = {
    "TradingEngineDown": "critical",
    "AgentCriticalFailure": "critical",
    "VarBreach": "critical",
    "DatabaseConnectionFailure": "critical",
    "HighErrorRate": "critical",
    "HighLatency": "warning",
    "ResourceUsageHigh": "warning",
    "ModelDrift": "warning",
    "DataQuality": "warning",
    "PerformanceDegradation": "warning",
    "ReportingDown": "critical",
    "ReportingStoreDown": "critical",
    "ReportingStuck": "critical",
    "ReportMissing": "critical",
    "ReportLate": "warning",
    "ReportMissed": "warning",
    "ReportFailed": "warning",
    "MailFailed": "warning",
    "MailUnknown": "warning",
    "MailQueueStuck": "warning",
    "AuditLogChanged": "critical",
    "AuditNotWitnessed": "warning",
    "CalendarEndsSoon": "warning",
    "ConfigurationBroken": "warning",
    "Watchdog": "deadmans_switch",
    "EscalationLevel2": "level_2_team_lead",
    "EscalationLevel3": "level_3_engineering_manager",
}

Message = tuple[str, Any]


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(find_binary("amtool", VAR)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_amtool_accepts_the_configuration() -> None:
    done = amtool("check-config", str(FILE))
    assert done.returncode == 0, done.stderr
    assert "5 receivers" in done.stdout


@pytest.mark.parametrize("alert", RULES)
def test_every_alert_reaches_its_receiver(alert: str) -> None:
    labels = [f"{name}={value}" for name, value in RULES[alert]["labels"].items()]
    wanted = f"--verify.receivers={RECEIVER[alert]}"
    done = amtool(
        "config", "routes", "test", f"--config.file={FILE}", wanted, f"alertname={alert}", *labels
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_alert_that_no_route_knows_is_seen_in_slack() -> None:
    done = amtool("config", "routes", "test", f"--config.file={FILE}", "alertname=FromElsewhere")
    assert done.stdout.split() == ["warning"]


def test_receivers_use_their_channels() -> None:
    used = {
        receiver["name"]: {key.removesuffix("_configs") for key in receiver if key != "name"}
        for receiver in CONFIG["receivers"]
    }
    assert used == CHANNELS


def test_no_secret_is_written_in_the_file() -> None:
    secret = re.compile(r"key|password|token|secret|api_url|credentials")

    def walk(node: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(node, dict):
            for name, value in node.items():
                yield name, value
                yield from walk(value)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value)

    found = [(name, value) for name, value in walk(CONFIG) if secret.search(name)]
    assert len(found) == 5
    for name, value in found:
        assert name.endswith("_file") and value.startswith("/run/secrets/"), name


def test_only_warnings_of_the_same_component_are_silenced() -> None:
    for rule in CONFIG["inhibit_rules"]:
        assert rule["target_matchers"] == ['severity = "warning"']
        assert rule["equal"] == ["job"]


# ---- a real one ---------------------------------------------------------------------------------


@needs_its_texts
def test_a_real_alertmanager_tells_them(tmp_path: Path) -> None:
    inbox: queue.Queue[Message] = queue.Queue()
    with web(inbox) as receivers, mail(inbox) as smtp:
        config = on_loopback(tmp_path, receivers, smtp)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [
            str(find_binary("prometheus-alertmanager", VAR)),
            f"--config.file={config}",
            f"--storage.path={tmp_path / 'data'}",
            "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        log = tmp_path / "alertmanager.log"
        with child(command, log) as process:
            assert wait_ready(f"{url}/-/ready", process, 10), log.read_text()
            post(url, alert("Watchdog"))
            ((switch, heartbeat),) = collect(inbox, 1)
            begun = time.monotonic()
            post(url, alert("TradingEngineDown", job="execution_engine"))
            told = collect(inbox, 2)
            assert time.monotonic() - begun < 3
            post(
                url,
                alert("EscalationLevel2", job="execution_engine", escalated="TradingEngineDown"),
                alert("EscalationLevel3", job="execution_engine", escalated="TradingEngineDown"),
                alert("HighLatency", job="execution_engine"),
                alert("HighLatency", job="data_pipeline"),
            )
            escalated = collect(inbox, 5)
            with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
                known = json.load(answer)

    # The service outside hears of it, and knows by the token that it is ours.
    assert switch == "deadmans_switch with the deadmans_switch_token"
    assert [one["labels"]["alertname"] for one in heartbeat["alerts"]] == ["Watchdog"]

    assert sorted(channel for channel, _ in told) == ["pagerduty", "slack"]
    page = dict(told)["pagerduty"]
    assert page["routing_key"] == "the pagerduty_routing_key"
    assert page["payload"]["severity"] == "critical"
    assert page["payload"]["summary"] == ("TradingEngineDown: The execution engine does not answer")
    assert "Halt order entry" in page["payload"]["custom_details"]["runbook"]
    slack = dict(told)["slack"]
    assert slack["channel"] == "#trading-alerts"
    assert slack["attachments"][0]["title"] == "FIRING critical: TradingEngineDown"
    assert "Halt order entry" in slack["attachments"][0]["text"]

    assert sorted(channel for channel, _ in escalated) == [
        "email",
        "email",
        "pagerduty",
        "slack",
        "slack",
    ]
    assert {who for channel, who in escalated if channel == "email"} == {
        "team-lead@example.com",
        "engineering-manager@example.com",
    }
    page = dict(escalated)["pagerduty"]
    assert page["routing_key"] == "the pagerduty_emergency_key"

    silenced = {
        one["labels"]["job"]: bool(one["status"]["inhibitedBy"])
        for one in known
        if one["labels"]["alertname"] == "HighLatency"
    }
    assert silenced == {"execution_engine": True, "data_pipeline": False}
    receivers_known = {
        one["labels"]["alertname"]: [receiver["name"] for receiver in one["receivers"]]
        for one in known
    }
    assert receivers_known == {name: [RECEIVER[name]] for name in receivers_known}


def alert(name: str, **labels: str) -> dict[str, Any]:
    """As Prometheus would send it, of the rule of that name."""
    rule = RULES[name]
    annotations = {key: str(value) for key, value in rule["annotations"].items()}
    return {"labels": {"alertname": name, **rule["labels"], **labels}, "annotations": annotations}


def post(url: str, *alerts: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"{url}/api/v2/alerts",
        data=json.dumps(alerts).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 200


def collect(inbox: queue.Queue[Message], count: int) -> list[Message]:
    """So many messages, and no more within a moment."""
    got = [inbox.get(timeout=10) for _ in range(count)]
    with pytest.raises(queue.Empty):
        got.append(inbox.get(timeout=0.3))
    return got


def on_loopback(folder: Path, receivers: int, smtp: int) -> Path:
    """The deployed configuration; only the other side of each channel is ours."""
    secrets = folder / "secrets"
    secrets.mkdir()
    for name in (
        "pagerduty_routing_key",
        "pagerduty_emergency_key",
        "smtp_password",
        "deadmans_switch_token",
    ):
        (secrets / name).write_text(f"the {name}")
    (secrets / "slack_webhook_url").write_text(f"http://127.0.0.1:{receivers}/slack")
    text = FILE.read_text().replace("/run/secrets/", f"{secrets}/")
    changes = {
        "smtp_smarthost: smtp.example.com:587": f"smtp_smarthost: 127.0.0.1:{smtp}",
        "smtp_require_tls: true": "smtp_require_tls: false",
        "https://deadmans-switch.example.com/reporting": (
            f"http://127.0.0.1:{receivers}/deadmans_switch"
        ),
        "global:\n": f"global:\n  pagerduty_url: http://127.0.0.1:{receivers}/pagerduty\n",
    }
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    config = folder / "alertmanager.yml"
    config.write_text(text)
    return config


@contextmanager
def web(inbox: queue.Queue[Message]) -> Iterator[int]:
    """PagerDuty and Slack: what is posted goes into the inbox under the path's name."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            who = self.path.strip("/") + (f" with {bearer}" if bearer else "")
            inbox.put((who, json.loads(body)))
            self.send_response(202 if "pagerduty" in self.path else 200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the test says what went wrong."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port


@contextmanager
def mail(inbox: queue.Queue[Message]) -> Iterator[int]:
    """A mail server that takes everything and puts each recipient into the inbox."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 loopback")
            recipients: list[str] = []
            for raw in self.rfile:
                line = raw.decode().strip()
                verb = line[:4].upper()
                if verb == "RCPT":
                    recipients.append(line.split("<")[1].split(">")[0])
                if verb == "DATA":
                    self.say("354 go on")
                    while self.rfile.readline() not in (b".\r\n", b""):
                        pass
                    for recipient in recipients:
                        inbox.put(("email", recipient))
                    recipients = []
                self.say("221 bye" if verb == "QUIT" else "250 ok")
                if verb == "QUIT":
                    return

        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield port


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[int]:
    """Run it in a thread until the block ends; gives its port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
