"""A signed report through the whole line: issued, logged, regenerated, verified, or refused."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from reporting import pipeline, standalone
from reporting.errors import SigningFailed, SigningUnavailable, UsageError
from reporting.page import Document
from reporting.pipeline.exporting import export
from reporting.seal import attested, digest, new_key

from ..line.site import Site, files_of
from .authority import PASSWORD, Authority

DAY = date(2025, 12, 3)
AT = datetime(2025, 12, 8, 9, 30, tzinfo=UTC)
CLOSED = "http://127.0.0.1:1/"


@pytest.fixture
def signing(authority: Authority, tmp_path: Path) -> dict[str, Any]:
    """The settings of a service that signs."""
    password = tmp_path / "password"
    password.write_text(f"{PASSWORD}\n")
    return {
        "signing_pkcs12_file": authority.bundle("signer"),
        "signing_password_file": password,
        "signing_trust_file": authority.roots,
        "signing_timestamp_url": authority.stamps,
    }


def events(site: Site) -> list[dict[str, Any]]:
    """What the log says of signatures and issues, in order."""
    entries = [json.loads(e.entry) for e in site.store.log()]
    wanted = ("signature begun", "signature failed", "report issued")
    return [e for e in entries if e["event"] in wanted]


def wrong(folder: Path, trust: Path | None = None) -> list[str]:
    found = pipeline.verify_folder(folder, pipeline.Against(trust))
    return [f"{v.what.removeprefix(str(folder))}: {v.problem}" for v in found if not v.ok]


@pytest.mark.slow
def test_a_signed_report_is_issued_logged_and_written_again(
    site: Site, signing: dict[str, Any], authority: Authority
) -> None:
    service = site.service(**signing)
    before = len(events(site))
    issued = pipeline.issue(service, "daily", DAY, AT)
    files = files_of(issued.folder)
    assert issued.document.signed
    assert {"evidence/certificates.pem", "evidence/revoked-1.crl"} <= files.keys()
    assert b">UNSIGNED<" not in files["report.html"]

    # The rendered file is a prefix, and the same by whoever renders it.
    rendered = pipeline.files_of(Document.model_validate_json(files["facts.json"]))
    assert files["report.pdf"].startswith(rendered["report.pdf"])
    assert len(files["report.pdf"]) > len(rendered["report.pdf"])

    # The log knew of the rendered file before it was signed, and of the signed one after.
    begun, done = events(site)[before:]
    assert (begun["event"], done["event"]) == ("signature begun", "report issued")
    assert begun["body"]["rendered"] == digest(rendered["report.pdf"])
    assert done["body"]["files"]["report.pdf"] == begun["body"]["rendered"]
    signature = done["body"]["signature"]
    assert signature["files"]["report.pdf"] == digest(files["report.pdf"])
    assert signature["rendered_bytes"] == len(rendered["report.pdf"])

    found = pipeline.verify_folder(issued.folder, pipeline.Against(authority.roots))
    assert [v for v in found if not v.ok] == []
    assert any("signature of Example signer at 20" in v.what for v in found)
    assert any("rendered again" in v.what for v in found)
    assert any("no trusted roots" in v.lacks for v in pipeline.verify_folder(issued.folder))
    assert [v for v in pipeline.verify(service) if not v.ok] == []

    # All of it again, byte for byte, with neither key nor authority.
    shutil.rmtree(issued.folder)
    pipeline.rewrite(site.service(), "daily", DAY, 1)
    assert files_of(issued.folder) == files
    again = pipeline.issue(service, "daily", DAY, AT)
    assert (again.outcome, again.document.revision) == ("regenerated", 1)


@pytest.mark.slow
def test_an_archive_of_it_has_the_signed_file_and_signed_provenance(
    site: Site, signing: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "key.pem").write_bytes(new_key())
    service = site.service(**signing, checkpoint_key_file=tmp_path / "key.pem")
    issued = pipeline.issue(service, "daily", DAY, AT)
    files = files_of(issued.folder)
    assert [v for v in pipeline.verify(service) if not v.ok] == []
    shutil.rmtree(issued.folder)  # the store alone has to do
    export(service, DAY, DAY, tmp_path / "archive", AT)
    archived = files_of(tmp_path / "archive")
    name = f"reports/{issued.document.id}"
    assert {n.removeprefix(f"{name}/"): b for n, b in archived.items() if name in n} == files
    key = standalone.Key(archived["log/key.vkey"].decode())
    found = standalone.Archive(archived, key).check()
    assert [line for line in found if line[1]] == []
    assert any(what.endswith(f"provenance signed by {key.name}") for what, _ in found)


def test_a_signature_that_was_tampered_with_is_refused(
    site: Site, signing: dict[str, Any], authority: Authority
) -> None:
    issued = pipeline.issue(site.service(**signing), "daily", DAY, AT)
    folder, files = issued.folder, files_of(issued.folder)
    length = attested(files["provenance.json"]).made.rendered_bytes
    signed = files["report.pdf"]
    for name, body in (
        ("report.pdf", signed[:length]),  # as if it had never been signed
        ("report.pdf", signed + b"\n"),
        ("report.pdf", signed[:-20] + b"9" + signed[-19:]),
        ("report.pdf", signed[:3000] + b"x" + signed[3001:]),
        ("evidence/revoked-1.crl", b""),
        ("evidence/certificates.pem", files["evidence/certificates.pem"] + b"\n"),
    ):
        (folder / name).write_bytes(body)
        assert any(name in found for found in wrong(folder)), name
        assert wrong(folder, authority.roots)
        (folder / name).write_bytes(files[name])
    assert wrong(folder, authority.roots) == []
    assert any("the signer is not trusted" in w for w in wrong(folder, authority.pem("clock")))
    (folder / "evidence" / "more.txt").write_text("?")
    assert wrong(folder) == ["/evidence/more.txt: is not part of the report"]


def test_a_signature_that_the_store_lost_is_not_made_up(
    site: Site, signing: dict[str, Any]
) -> None:
    issued = pipeline.issue(site.service(**signing), "daily", DAY, AT)
    before = files_of(issued.folder)
    site.store_sql(
        "alter table reporting.signed_part disable trigger user;"
        "update reporting.signed_part set body = body || 'x'::bytea where name = 'report.pdf'"
    )
    with pytest.raises(Exception, match="signature in the store is missing or changed"):
        pipeline.rewrite(site.service(), "daily", DAY, 1)
    assert files_of(issued.folder) == before


def test_no_signature_no_report_where_one_is_required(site: Site, signing: dict[str, Any]) -> None:
    rows, files = site.rows(), site.files()
    service = site.service(**signing | {"signing_timestamp_url": CLOSED})
    with pytest.raises(SigningUnavailable, match="gave no time stamp"):
        pipeline.issue(service, "daily", DAY, AT)
    assert site.rows()["reporting.issued_report"] == rows["reporting.issued_report"]
    assert {n for n in site.files() if "daily/2025-12-03" in n} == set()
    assert {n: b for n, b in site.files().items() if "daily" in n} == {
        n: b for n, b in files.items() if "daily" in n
    }
    assert [e["event"] for e in events(site)][-2:] == ["signature begun", "signature failed"]
    assert "gave no time stamp" in events(site)[-1]["body"]["because"]


def test_where_none_is_required_it_is_issued_unsigned_and_says_why(
    site: Site, signing: dict[str, Any]
) -> None:
    service = site.service(**signing | {"signing_timestamp_url": CLOSED, "signing_required": False})
    first = pipeline.issue(service, "daily", DAY, AT)
    assert not first.document.signed
    reason = first.document.unsigned_because
    assert reason.startswith(f"the time-stamp authority {CLOSED} gave no time stamp")
    assert "try again" not in reason
    page = (first.folder / "report.html").read_text()
    assert ">UNSIGNED<" in page
    assert page.count("gave no time stamp") >= 2  # on the first page and under Evidence
    assert not (first.folder / "evidence").exists()
    assert wrong(first.folder) == []

    # The authority is back: without a word nothing happens, with a reason it is signed.
    back = site.service(**signing)
    assert pipeline.issue(back, "daily", DAY, AT).outcome == "regenerated"
    second = pipeline.issue(back, "daily", DAY, AT, reason="signed now")
    assert (second.document.revision, second.document.signed) == (2, True)
    assert second.document.differences == ()
    assert wrong(second.folder) == []
    pipeline.rewrite(site.service(), "daily", DAY, 1)
    assert wrong(first.folder) == []


def test_a_bad_key_is_a_failure_of_validation(site: Site, signing: dict[str, Any]) -> None:
    password = site.var / "other"
    password.write_text("wrong\n")
    done = site.command(
        "issue", "--kind", "daily", "--date", str(DAY), "--now", AT.isoformat(),
        **signing | {"signing_password_file": password},
    )  # fmt: skip
    assert done.returncode == SigningFailed.exit_code == 4, done.stderr
    assert "REPORTING_SIGNING_PASSWORD_FILE" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    done = site.command(
        "issue", "--kind", "daily", "--date", str(DAY), "--now", AT.isoformat(),
        **signing | {"signing_timestamp_url": CLOSED},
    )  # fmt: skip
    assert done.returncode == 75, done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"signing_timestamp_url": None}, "also needs REPORTING_SIGNING_TIMESTAMP_URL"),
        ({"signing_trust_file": None}, "also needs REPORTING_SIGNING_TRUST_FILE"),
        ({"signing_pkcs11_module": "x.so"}, "are both set"),
        (
            {"signing_pkcs12_file": None, "signing_pkcs11_module": "x.so"},
            "also needs REPORTING_SIGNING_TOKEN_LABEL, REPORTING_SIGNING_KEY_LABEL",
        ),
        ({"signing_pkcs12_file": None, "signing_required": True}, "no key is configured"),
    ],
)
def test_settings_that_do_not_fit_together(
    site: Site, signing: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        pipeline.issue(site.service(**signing | change), "daily", DAY, AT)
