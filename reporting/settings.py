"""Where everything is: the one reader of the environment and of the TOML file.

``REPORTING_…`` variables win over the file that ``REPORTING_CONFIG`` names (``reporting.toml`` in
the working folder by default). Secrets are never printed; those that end in ``_FILE`` name a file.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from .errors import UsageError
from .numerals import check_locale
from .periods import base_calendar, check_zone
from .resources import resource

#: The settings file, where no other is named.
CONFIG = "reporting.toml"


class Settings(BaseSettings):
    """All settings; with none given the service runs on its own embedded PostgreSQL."""

    model_config = SettingsConfigDict(env_prefix="REPORTING_", extra="forbid", frozen=True)

    ledger_url: SecretStr | None = Field(None, description="ledger database, read-only")
    store_url: SecretStr | None = Field(None, description="where sealed days are kept")
    store_admin_url: SecretStr | None = Field(None, description="same, with the right to migrate")
    purge_url: SecretStr | None = Field(None, description="same, with the right to purge")
    prometheus_url: str | None = Field(None, description="any server with the Prometheus HTTP API")
    prometheus_bearer_token_file: Path | None = None
    prometheus_username: str | None = None
    prometheus_password_file: Path | None = None
    prometheus_ca_file: Path | None = None
    prometheus_client_cert: Path | None = None
    prometheus_timeout_s: int = Field(30, ge=1)
    calendar: str = Field("XNYS", description="a name of exchange_calendars")
    zone: str = Field("America/New_York", description="IANA zone of the business day")
    base_currency: str = Field("USD", pattern=r"^[A-Z]{3}$")
    issuer: str = "Trading operations"
    locale: str = Field("en", description="in which numbers are printed; the texts are English")
    reports_dir: Path = Path("reports")
    var_dir: Path = Path("var")
    policy_file: Path = Field(default_factory=lambda: resource("config") / "policy.toml")
    objectives_dir: Path = Field(default_factory=lambda: resource("config") / "objectives")
    operations_file: Path = Field(default_factory=lambda: resource("config") / "operations.toml")
    maintenance_file: Path = Field(default_factory=lambda: resource("config") / "maintenance.toml")
    risk_file: Path = Field(default_factory=lambda: resource("config") / "risk.toml")
    compliance_file: Path = Field(default_factory=lambda: resource("config") / "compliance.toml")
    retention_file: Path = Field(default_factory=lambda: resource("config") / "retention.toml")
    schedule_file: Path = Field(default_factory=lambda: resource("config") / "schedule.toml")
    alertmanager_url: str | None = Field(None, description="what is silenced and inhibited")
    witness_file: Path | None = Field(None, description="checkpoints; by default in reports_dir")
    checkpoint_origin: str = Field(
        "reporting.example/audit", description="names the audit log in its checkpoints"
    )
    checkpoint_key_file: Path | None = Field(None, description="Ed25519, PKCS#8 PEM")
    signing_pkcs12_file: Path | None = Field(None, description="the signer's key and certificate")
    signing_pkcs11_module: Path | None = Field(None, description="driver of a token with the key")
    signing_token_label: str | None = None
    signing_key_label: str | None = None
    signing_password_file: Path | None = Field(None, description="of the file, or the token's PIN")
    signing_chain_file: Path | None = Field(None, description="certificates below the root")
    signing_trust_file: Path | None = Field(None, description="roots of signer and time stamps")
    signing_timestamp_url: str | None = Field(None, description="RFC 3161 authority")
    signing_required: bool | None = Field(None, description="false: UNSIGNED where signing fails")
    pagerduty_url: str = "https://api.pagerduty.com"
    engine: str | None = Field(None, description="who works a day out; see reporting.engine")
    part_fills: int = Field(250_000, ge=1, description="fills that are worked out at once")
    workers: int = Field(2, ge=1, le=64, description="processes of `reporting serve`")
    tick_s: float = Field(20.0, ge=0.2, le=600, description="how often the schedule is looked at")
    lease_s: float = Field(60.0, ge=1, le=3600, description="after this another replica takes over")
    replica: str | None = Field(None, description="this replica's name; the machine's by default")
    http_address: str = Field("127.0.0.1", description="of /metrics, /livez and /readyz")
    http_port: int = Field(9464, ge=0, le=65535)
    log_format: Literal["json", "text"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    reports_url: str | None = Field(None, description="where people find reports_dir")
    pagerduty_token_file: Path | None = Field(None, description="for `reporting incidents pull`")
    smtp_host: str | None = Field(None, description="the relay that takes our mail")
    smtp_port: int | None = Field(None, ge=1, le=65535, description="587, 465 or 25 by security")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="none: for a relay on this machine only"
    )
    smtp_username: str | None = None
    smtp_password_file: Path | None = None
    smtp_ca_file: Path | None = Field(None, description="authority of the relay's certificate")
    smtp_timeout_s: int = Field(30, ge=1, description="for one answer of the relay")
    smtp_sender: str | None = Field(None, description="an address, or Name <address>")
    mail_domain: str | None = Field(None, description="of Message-IDs; the sender's by default")
    pseudonym_key_file: Path | None = Field(None, description="of names masked for recipients")
    mail_max_bytes: int = Field(10_000_000, ge=1_000_000, description="a mail, as it is sent")
    hosts_in_clear: str = Field("", description="who may be spoken to without TLS: a,b")

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        return check_zone(zone)

    @field_validator("locale")
    @classmethod
    def _known_locale(cls, locale: str) -> str:
        return check_locale(locale)

    @field_validator("calendar")
    @classmethod
    def _without_overrides(cls, calendar: str) -> str:
        if base_calendar(calendar) != calendar:
            raise ValueError(f"{calendar!r}: write closures into REPORTING_SCHEDULE_FILE")
        return calendar

    @field_validator("hosts_in_clear")
    @classmethod
    def _hosts_alone(cls, hosts: str) -> str:
        for host in filter(None, (host.strip() for host in hosts.split(","))):
            if not re.fullmatch(r"[\w.-]+|[0-9a-fA-F:.]+", host):
                raise ValueError(f"{host!r} is no host name; expected such as prometheus, db")
        return hosts

    @field_validator("engine")
    @classmethod
    def _known_engine(cls, engine: str | None) -> str | None:
        if engine and not re.fullmatch(r"local(:[1-9]\d{0,3})?|(dask|tls)://\S+:\d+", engine):
            raise ValueError(
                f"{engine!r} is no engine; expected local, local:4 (processes), dask://host:8786 "
                "or tls://host:8786 (a Dask scheduler)"
            )
        return engine or None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the TOML file."""
        path = Path(os.environ.get("REPORTING_CONFIG", CONFIG))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path)

    @property
    def allowed_in_clear(self) -> frozenset[str]:
        """Hosts beyond this machine that may be spoken to without TLS, in lower case."""
        return frozenset(h.strip().lower() for h in self.hosts_in_clear.split(",") if h.strip())

    def public(self) -> dict[str, str]:
        """Every setting as text, without what is secret: URLs have no password, nor a user."""
        return {
            name: _without_secret(value.get_secret_value())
            if isinstance(value, SecretStr)
            else _without_secret(str(value))
            for name in type(self).model_fields
            if (value := getattr(self, name)) is not None
        }


def _without_secret(text: str) -> str:
    """A text, and of a URL its scheme, host and path only, also of one that is misspelled."""
    scheme, mark, rest = text.partition("://")
    if not mark:
        return text
    return f"{scheme}{mark}{re.split('[?#]', rest.rpartition('@')[2])[0]}"


def libpq_defaults() -> dict[str, str]:
    """What libpq takes from the environment where a URL of PostgreSQL does not say it."""
    named = {key: f"PG{key.upper()}" for key in ("host", "hostaddr", "service", "sslmode")}
    return {key: os.environ[name] for key, name in named.items() if os.environ.get(name)}


def host_name() -> str:
    """What this machine calls itself."""
    return socket.gethostname()


def operating_user() -> str:
    """Who runs this process, as the operating system knows them."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's number without a name
        return f"uid {os.getuid()}"


def load(**given: Any) -> Settings:
    """Read the settings; :class:`UsageError` names the one that is wrong, never its value."""
    named = os.environ.get("REPORTING_CONFIG")
    if named and not Path(named).is_file():
        raise UsageError(f"REPORTING_CONFIG names {named}, which is not a file")
    try:
        return Settings(**given)
    except ValidationError as error:
        wrong = "; ".join(
            f"REPORTING_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}"
            for e in error.errors(include_input=False, include_url=False)
        )
        raise UsageError(f"settings are not usable: {wrong} (see .env.example)") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"the settings file {named or CONFIG} can't be read as TOML: {error} (REPORTING_CONFIG)"
        ) from None


def bytes_of(path: Path) -> bytes:
    """A key's file; :class:`UsageError` where it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"the key file {path} can't be read: {error.strerror}") from None


def secret_values(settings: Settings) -> list[str]:
    """What must never be seen in a log: URLs with passwords, and the first line of each secret."""
    found = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            clear = value.get_secret_value()
            found += [clear, *filter(None, [urlsplit(clear).password])]
        elif isinstance(value, Path) and name.endswith(("password_file", "token_file")):
            try:
                found.append(secret_of(value) or "")
            except UsageError:
                continue  # whoever needs it says so
    return [text for text in found if text]


def secret_of(path: Path | None) -> str | None:
    """First line of a secret's file, or None where none is set."""
    if path is None:
        return None
    try:
        return path.read_text("utf-8").splitlines()[0].strip()
    except (OSError, IndexError, UnicodeDecodeError):
        raise UsageError(f"the secret file {path} can't be read as UTF-8 or is empty") from None
