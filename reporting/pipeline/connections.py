"""Which connections beyond this machine would be in clear or unverified, and whether they may be.

Nothing is asked here: what the settings say decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from ..errors import UsageError
from ..postgres import is_here, unverified_hosts
from ..settings import Settings, libpq_defaults


@dataclass(frozen=True)
class InClear:
    """A connection over which others could read, or that would not notice a false server."""

    setting: str  # the field of Settings that names it
    words: str
    expected: str
    allowed: bool  # by REPORTING_HOSTS_IN_CLEAR


def in_clear(settings: Settings) -> list[InClear]:
    """Every connection beyond this machine that is in clear or whose server is not verified.

    To this machine alone (a socket, a loopback address) anything goes. A password or a token over
    plain http, and mail without TLS, are allowed by no setting.
    """
    may = settings.allowed_in_clear
    allow = "name the host in REPORTING_HOSTS_IN_CLEAR if nobody else reaches its network"
    found = []

    def add(name: str, hosts: Iterable[str], how: str, expected: str, secret: str = "") -> None:
        if beyond := [host for host in hosts if not is_here(host)]:
            words = f"REPORTING_{name.upper()} to {', '.join(beyond)} {secret}{how}"
            if not secret:
                expected = f"{expected}, or {allow}"
            found.append(
                InClear(
                    name, words, expected, not secret and may.issuperset(h.lower() for h in beyond)
                )
            )

    for name in ("store_url", "store_admin_url", "ledger_url", "purge_url"):
        url: SecretStr | None = getattr(settings, name)
        hosts = unverified_hosts(url.get_secret_value(), libpq_defaults()) if url else ()
        add(name, hosts, "without sslmode=verify-full", "sslmode=verify-full and sslrootcert=CA")
    # Time stamps are signed, and asked for by a digest: they may go by http.
    for name in ("prometheus_url", "alertmanager_url", "pagerduty_url"):
        scheme, host, secret = _plain(getattr(settings, name))
        if scheme == "http":
            told = secret or _credentials(settings, name)
            add(name, [host], "by http", "https", "would send a password or token " * told)
    scheme, host, _ = _plain(settings.engine)
    if scheme == "dask":
        add("engine", [host], "without TLS", "tls://")
    if settings.smtp_host and settings.smtp_security == "none":
        add("smtp_host", [settings.smtp_host], "without TLS", "starttls or tls", "sends mail ")
    return found


def refuse(found: Iterable[InClear]) -> None:
    """End with :class:`UsageError` at what may not be."""
    if problems := [f"{c.words}; expected {c.expected}" for c in found if not c.allowed]:
        raise UsageError(
            f"a connection beyond this machine is not safe: {'. '.join(problems)} "
            "(docs/deploying.md, TLS)"
        )


def _plain(url: str | None) -> tuple[str, str, bool]:
    """Scheme and host of a URL, and whether it holds credentials; a misspelled one has neither."""
    try:
        parts = urlsplit(url or "")
        return parts.scheme, parts.hostname or "", "@" in parts.netloc or bool(parts.query)
    except ValueError:
        return "", "", False  # its driver says so


def _credentials(settings: Settings, name: str) -> bool:
    """Whether a password or token would be sent to it."""
    if name == "pagerduty_url":
        return settings.pagerduty_token_file is not None
    given = (settings.prometheus_bearer_token_file, settings.prometheus_password_file)
    return name == "prometheus_url" and any(given)
