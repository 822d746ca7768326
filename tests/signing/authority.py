"""A certificate authority, its revocation list and a time-stamp authority, on a loopback port."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from certomancer.integrations.animator import Animator, AnimatorArchStore
from certomancer.registry import ArchLabel, CertLabel, CertomancerConfig
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509 import Certificate, load_der_x509_certificate
from werkzeug.serving import WSGIRequestHandler, make_server

from reporting.signing import Credentials

ARCH = ArchLabel("firm")
PASSWORD = "correct horse"
PRESENT = ("2020-01-01", "2100-01-01")
WITH_SHORT_KEYS = ("root", "inter", "clock", "stamps", "small")
#: Label of the certificate: its key, its time, and whether it was revoked.
SIGNERS = {
    "signer": ("signer", *PRESENT, False),
    "revoked": ("signer", *PRESENT, True),
    "expired": ("signer", "2020-01-01", "2021-01-01", False),
    "early": ("signer", "2090-01-01", "2100-01-01", False),
    "small": ("small", *PRESENT, False),
    "curve": ("curve", *PRESENT, False),
    "encipher": ("signer", *PRESENT, False),
    "unreachable": ("signer", *PRESENT, False),
}


@dataclass(frozen=True)
class Authority:
    """Where the services answer, and the files that they made."""

    folder: Path
    url: str
    certificates: Any

    @property
    def stamps(self) -> str:
        """The URL of the time-stamp authority."""
        return f"{self.url}/{ARCH}/tsa/stamps"

    def certificate(self, label: str) -> Certificate:
        """One of the authority's certificates."""
        return load_der_x509_certificate(self.certificates.get_cert(CertLabel(label)).dump())

    def key(self, label: str) -> Any:
        """A private key."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        return load_pem_private_key((self.folder / f"{label}.pem").read_bytes(), None)

    def bundle(self, label: str, *, key: str = "") -> Path:
        """A PKCS#12 file of a signer with the certificate between it and the root.

        ``key`` is of another key than the certificate's.
        """
        path = self.folder / f"{label}{key}.p12"
        inter = self.certificate("inter")
        own, certificate = self.key(key or SIGNERS[label][0]), self.certificate(label)
        if key:  # a library that refuses to write the two together is gone round
            body = mismatched(own, certificate, inter)
        else:
            body = pkcs12.serialize_key_and_certificates(
                label.encode(), own, certificate, [inter], encryption()
            )
        path.write_bytes(body)
        return path

    def alone(self, label: str) -> bytes:
        """A PKCS#12 file of a signer without the certificate above its own."""
        own, certificate = self.key(SIGNERS[label][0]), self.certificate(label)
        return pkcs12.serialize_key_and_certificates(b"", own, certificate, None, encryption())

    def der(self, label: str) -> bytes:
        """A certificate's bytes."""
        return self.certificate(label).public_bytes(Encoding.DER)

    @property
    def roots(self) -> Path:
        """The roots of signer and time-stamp authority."""
        return self.pem("root", "clock")

    def pem(self, *labels: str) -> Path:
        """A file with these certificates."""
        path = self.folder / f"{'-'.join(labels)}.crt"
        path.write_bytes(b"".join(self.certificate(n).public_bytes(Encoding.PEM) for n in labels))
        return path

    def credentials(self, label: str = "signer", **changes: Any) -> Credentials:
        """What it takes to sign as ``label``."""
        given: dict[str, Any] = {
            "pkcs12_file": self.bundle(label),
            "password": PASSWORD,
            "trust_file": self.roots,
            "timestamp_url": self.stamps,
            "timeout_s": 5,
        }
        return Credentials(**given | changes)


def encryption() -> Any:
    return BestAvailableEncryption(PASSWORD.encode())


def mismatched(key: Any, certificate: Certificate, inter: Certificate) -> bytes:
    return pkcs12.serialize_key_and_certificates(
        b"mixed", key, None, [certificate, inter], encryption()
    )


class _Silent(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def _faulty(app: Any, environ: Any, start_response: Any) -> Any:
    """What ``app`` answers, but under /broken/ and for the list that is gone."""
    path = environ["PATH_INFO"]
    if path == "/broken/slow":
        time.sleep(3)
    if path == "/broken/garbage":
        start_response("200 OK", [("Content-Type", "application/timestamp-reply")])
        return [b"\x30\x82garbage"]
    if path.startswith("/broken/") or "/crls/gone/" in path:
        start_response("500 Internal Server Error", [("Content-Type", "text/html")])
        return [b"<h1>sorry</h1>"]
    return app(environ, start_response)


@contextmanager
def running(folder: Path) -> Iterator[Authority]:
    """All services until the end of the block."""
    for label, key in (
        *((n, rsa.generate_private_key(65537, 3072)) for n in ("signer", "other")),
        *((n, rsa.generate_private_key(65537, 2048)) for n in WITH_SHORT_KEYS),
        ("curve", ec.generate_private_key(ec.SECP256R1())),
    ):
        body = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{label}.pem").write_bytes(body)
    server = make_server("127.0.0.1", 0, _faulty, threaded=True, request_handler=_Silent)
    url = f"http://127.0.0.1:{server.server_port}"
    made = CertomancerConfig.from_yaml(
        yaml.safe_dump(configuration(url)), key_search_dir=str(folder), external_url_prefix=url
    )
    architecture = made.get_pki_arch(ARCH)
    server.app = partial(
        _faulty, Animator(AnimatorArchStore({ARCH: architecture}), with_web_ui=False)
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Authority(folder, url, architecture)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def configuration(url: str) -> dict[str, Any]:
    """A root, an authority below it, its signers, and a time-stamp authority, for certomancer."""
    keys = ("signer", "other", *WITH_SHORT_KEYS, "curve")

    def lists(name: str) -> dict[str, Any]:
        return {
            "id": "crl_distribution_points",
            "smart-value": {"schema": "crl-dist-url", "params": {"crl-repo-names": [name]}},
        }

    def usage(*uses: str) -> dict[str, Any]:
        return {
            "id": "key_usage",
            "critical": True,
            "smart-value": {"schema": "key-usage", "params": list(uses)},
        }

    def certificate(subject: str, issuer: str, start: str, end: str, *more: Any) -> dict[str, Any]:
        return {
            "subject": subject,
            "subject-key": SIGNERS[subject][0] if subject in SIGNERS else subject,
            "issuer": issuer,
            "authority-key": issuer,
            "validity": {
                "valid-from": f"{start}T00:00:00+0000",
                "valid-to": f"{end}T00:00:00+0000",
            },
            "extensions": list(more),
        }

    ca = {"id": "basic_constraints", "critical": True, "value": {"ca": True}}
    stamping = {
        "id": "extended_key_usage",
        "critical": True,
        "value": ["time_stamping"],
    }
    certs = {
        "root": certificate("root", "root", *PRESENT, ca, usage("key_cert_sign", "crl_sign")),
        "inter": certificate("inter", "root", *PRESENT, ca, usage("key_cert_sign", "crl_sign")),
        "clock": certificate("clock", "clock", *PRESENT, ca, usage("key_cert_sign", "crl_sign")),
        "stamps": certificate("stamps", "clock", *PRESENT, usage("digital_signature"), stamping),
    }
    for label, (_, start, end, revoked) in SIGNERS.items():
        uses = ["key_encipherment"] if label == "encipher" else ["non_repudiation"]
        where = lists("gone" if label == "unreachable" else "inter")
        certs[label] = certificate(label, "inter", start, end, usage(*uses), where)
        if revoked:
            certs[label]["revocation"] = {
                "revoked-since": "2024-01-01T00:00:00+0000",
                "reason": "key_compromise",
            }
    return {
        "external-url-prefix": url,
        "keysets": {"keys": {"keys": {name: {"path": f"{name}.pem"} for name in keys}}},
        "pki-architectures": {
            str(ARCH): {
                "keyset": "keys",
                "entity-defaults": {"organization-name": "Example Trading", "country-name": "US"},
                "entities": {name: {"common-name": f"Example {name}"} for name in certs},
                "certs": certs,
                "services": {
                    "crl-repo": {
                        name: {
                            "for-issuer": "inter",
                            "signing-key": "inter",
                            "simulated-update-schedule": "P90D",
                        }
                        for name in ("inter", "gone")
                    },
                    "time-stamping": {
                        "stamps": {"signing-key": "stamps", "signing-cert": "stamps"}
                    },
                },
            }
        },
    }
