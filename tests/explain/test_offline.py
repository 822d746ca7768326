"""Explain from an issued folder alone: no store, no ledger, no network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from reporting.errors import UsageError, ValidationFailed
from reporting.model import Money
from reporting.page import Document
from reporting.pipeline import Opened, Service, explain, open_report

from ..line import site
from ..line.site import ROOT

SAMPLE = ROOT / "reports" / "sample"
DAILY = SAMPLE / "daily" / "2025-12-05" / "r1"


def no_service() -> Service:
    raise AssertionError("a folder is explained without a service")


def opened(folder: Path) -> Opened:
    return open_report(str(folder), no_service)


def command(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Nothing is configured and no folder of ours is near."""
    return site.command("explain", *words, cwd=cwd, env={**os.environ, "COLUMNS": "100"})


def test_a_figure_of_a_folder() -> None:
    document = Document.model_validate_json((DAILY / "facts.json").read_bytes())
    net = next(f for f in document.headline if f.id == "pnl.net")
    found = explain(opened(DAILY), "pnl.net")
    assert isinstance(net.value, Money)
    assert found.value == net.value and found.exact.startswith(str(net.value.amount))
    assert found.facts_digest == hashlib.sha256((DAILY / "facts.json").read_bytes()).hexdigest()
    assert [(d.day, d.digest) for d in found.days] == [
        (c.day, c.digest) for c in document.citations if c.day == document.period.last
    ]
    assert (found.again, found.total, found.reconciled) == (None, None, None)
    fills = next(q for q in found.queries if q.query == "fills")
    want = next(s for s in document.sources if s.query == "fills")
    assert (fills.rows, fills.control, fills.digest) == (
        want.rows, dict(want.control), want.query_digest,
    )  # fmt: skip
    # The text is the one whose digest was sealed, not whatever has its name.
    assert fills.text is not None
    assert hashlib.sha256(fills.text.encode()).hexdigest() == fills.digest
    assert "from ledger.fills" in fills.text


def test_the_facts_alone_will_do(tmp_path: Path) -> None:
    file = Path(shutil.copy(DAILY / "facts.json", tmp_path / "facts.json"))
    found = explain(opened(file), "var.var_99")
    assert found.target is None or found.target_printed
    assert {q.text for q in found.queries} == {None}  # no provenance beside it has the texts


def test_a_pdf_alone_says_what_its_folder_says_and_what_it_lacks(tmp_path: Path) -> None:
    file = Path(shutil.copy(DAILY / "report.pdf", tmp_path / "november.pdf"))
    folder = opened(DAILY)
    alone = opened(file)
    assert alone.document == folder.document and alone.facts_digest == folder.facts_digest
    for figure in ("pnl.net", "var.var_99", "uptime.grafana"):
        found, whole = explain(alone, figure), explain(folder, figure)
        texts = {q.query: q.text for q in whole.queries}
        assert not any(q.text for q in found.queries) and all(texts.values())
        with_texts = [q.model_copy(update={"text": texts[q.query]}) for q in found.queries]
        assert found.model_copy(update={"queries": tuple(with_texts)}) == whole
        assert {w.split(" (")[0] for w in set(found.lacks) - set(whole.lacks)} == {"query texts"}
        assert "the number worked out again from the days" in whole.lacks
    shutil.copy(DAILY / "provenance.json", tmp_path)
    assert explain(opened(file), "pnl.net") == explain(folder, "pnl.net")


def test_a_pdf_of_other_facts_than_its_provenance_is_refused(tmp_path: Path) -> None:
    shutil.copy(SAMPLE / "weekly" / "2025-W49" / "r1" / "report.pdf", tmp_path)
    shutil.copy(DAILY / "provenance.json", tmp_path)
    with pytest.raises(ValidationFailed, match="has not the digest"):
        opened(tmp_path / "report.pdf")
    (tmp_path / "empty.pdf").write_bytes(b"%PDF-1.7\nnothing")
    with pytest.raises(UsageError, match="can not be read as the PDF of a report"):
        opened(tmp_path / "empty.pdf")


def test_facts_that_were_changed_are_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DAILY, tmp_path / "r1"))
    facts = folder / "facts.json"
    facts.write_bytes(facts.read_bytes().replace(b"-52791.65", b"-52791.66"))
    with pytest.raises(ValidationFailed, match="reporting verify"):
        opened(folder)


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(UsageError, match="expected"):
            opened(wrong)


def test_the_ledger_is_not_asked_for_a_folder() -> None:
    with pytest.raises(UsageError, match="--reconcile"):
        explain(opened(DAILY), "pnl.net", reconcile=True)


def test_a_period_looks_back_on_the_days_before_it() -> None:
    weekly = opened(SAMPLE / "weekly" / "2025-W49" / "r1")
    to_date = explain(weekly, "pnl.net_ytd")
    assert max(c.day for c in to_date.earlier) < min(d.day for d in to_date.days)
    assert explain(weekly, "pnl.net").earlier == ()
    assert len(explain(weekly, "pnl.net").days) == 7


def test_printed_for_a_person(tmp_path: Path) -> None:
    done = command("pnl.net", "-R", str(DAILY), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "Net P&L  pnl.net", "−52,791.65", "-52791.65367469 USD", "realised + unrealised",
        "2025-12-05", "From the report's files alone",
    ):  # fmt: skip
        assert words in done.stdout, words
    assert "from ledger.fills" in done.stdout
    assert "from ledger.fills" not in command("pnl.net", "-R", str(DAILY), "--no-texts").stdout
    named = command("pnl.net", str(DAILY / "report.pdf"), "--no-texts", cwd=tmp_path)
    assert "Only the store has each day's own value" in named.stdout.replace("\n", " ")
    assert command("--list", str(DAILY)).stdout == command("--list", "-R", str(DAILY)).stdout


def test_json_is_one_object_with_everything(tmp_path: Path) -> None:
    done = command("pnl_by_strategy/trend/net", "-R", str(DAILY), "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert (found["figure"], found["ok"]) == ("pnl_by_strategy/trend/net", True)
    assert found["value"]["kind"] == "money" and isinstance(found["value"]["amount"], str)
    assert found["formula"]["symbols"] and found["queries"][0]["digest"]


def test_the_list_has_every_id_and_each_can_be_explained(tmp_path: Path) -> None:
    done = command("--list", "-R", str(DAILY), "--json", cwd=tmp_path)
    ids = [f["id"] for f in json.loads(done.stdout)["figures"]]
    report = opened(DAILY)
    assert ids == list(report.printed) and len(set(ids)) == len(ids)
    for key in ids[:: len(ids) // 40]:
        assert explain(report, key).figure == key
    fewer = command("pnl.", "--list", "-R", str(DAILY), cwd=tmp_path).stdout.splitlines()
    assert all(line.startswith("pnl.") for line in fewer) and len(fewer) > 10


@pytest.mark.parametrize(
    "words, said",
    [
        (("pnl.nett", "-R", str(DAILY)), "did you mean pnl.net"),
        (("pnl.net", "-R", "daily/nowhere/r"), "neither a report nor a folder"),
        (("pnl.net",), "--report"),
        (("-R", str(DAILY)), "--list"),
        (("pnl.net", str(DAILY), "-R", str(DAILY)), "name two reports"),
    ],
)
def test_usage(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr.replace("\n", " ")
    as_json = command(*words, "--json", cwd=tmp_path)
    assert json.loads(as_json.stdout)["exit_code"] == 2


def test_help_shows_examples() -> None:
    done = command("--help")
    assert "reporting explain pnl.net" in done.stdout.split("Example", 1)[1]
