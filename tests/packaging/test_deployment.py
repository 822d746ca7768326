"""What docker-compose.yml and the Dockerfile refer to exists, and keeps to the house's rules.

No container engine is needed, and none is started: that the image builds is not proved here.
"""

from __future__ import annotations

import fnmatch
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import typer
import yaml
from check_jsonschema import main as check_schema
from click.testing import CliRunner as ClickRunner
from typer.testing import CliRunner

from reporting.cli import app
from reporting.demo.prometheus import child, find_binary, free_port, wait_ready
from reporting.pipeline import Service, in_clear
from reporting.settings import Settings, load

from .alertmanager import needs_its_texts

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
GRAFANA = ROOT / "deploy" / "grafana" / "provisioning"
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PINNED = re.compile(r"^[\w/.-]+:v?\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$")


def test_compose_is_what_its_specification_says() -> None:
    words = ["--builtin-schema", "vendor.compose-spec", str(ROOT / "docker-compose.yml")]
    result = ClickRunner().invoke(check_schema, words)
    assert result.exit_code == 0, result.output


def test_every_image_is_pinned() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert len(images) == 10
    assert [image for image in images if not PINNED.match(image)] == []


def test_every_variable_has_the_default_that_the_example_says() -> None:
    written = (ROOT / "docker-compose.yml").read_text().replace("$$", "")
    example = (ROOT / ".env.example").read_text()
    given = dict(re.findall(r"^# ([A-Z_]+)=(\S+)$", example, flags=re.MULTILINE))
    variables = set(re.findall(r"\$\{([A-Z_]+):-([^}]+)\}", written))
    assert {name for name, _ in variables} == {"SECRETS_DIR", "HOST_GATEWAY"}
    # Nothing else is interpolated: without a default it would be empty, with a warning.
    assert "$" not in re.sub(r"\$\{[A-Z_]+:-[^}]+\}", "", written)
    for name, default in variables:
        assert Path(given[name]) == Path(default)


@pytest.mark.parametrize("kind", ["secrets", "configs", "networks"])
def test_what_is_used_is_declared_and_what_is_declared_is_used(kind: str) -> None:
    used: set[str] = set()
    for service in SERVICES.values():
        assert all(isinstance(name, str) for name in service.get(kind, ()))
        used |= set(service.get(kind, ()))
    assert used == set(COMPOSE.get(kind, ()))


def test_what_is_built_can_be() -> None:
    built = [service["build"] for service in SERVICES.values() if "build" in service]
    assert built
    for build in built:
        assert (ROOT / build["context"]).is_dir()
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()


def test_every_mounted_file_and_volume_exists() -> None:
    used = set()
    for name, service in SERVICES.items():
        for mount in service.get("volumes", ()):
            source, _, *rest = mount.split(":")
            options = "".join(rest)
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name}: {mount}"
                assert options == "ro", f"{name}: {mount}"
            elif source == "/":
                assert (name, options) == ("node_exporter", "ro,rslave")
            else:
                used.add(source)
    assert used == set(COMPOSE["volumes"])


#: Ends by itself, so that others wait for its success and not for its health.
ONCE = {"migrate"}


def test_durations_and_counts_are_what_they_are_called() -> None:
    """The specification's schema takes any text for them; the engine does not."""
    for service in SERVICES.values():
        check = service.get("healthcheck", {})
        spans = [check[k] for k in ("interval", "timeout", "start_period") if k in check]
        for span in (*spans, service.get("stop_grace_period", "10s")):
            assert re.fullmatch(r"(\d+(ms|s|m|h))+", span), span
        assert isinstance(check.get("retries", 3), int)


def test_services_start_in_some_order_and_on_ports_of_their_own() -> None:
    before = {name: set(service.get("depends_on", ())) for name, service in SERVICES.items()}
    assert set().union(*before.values()) <= set(SERVICES)
    TopologicalSorter(before).prepare()  # raises CycleError
    ports = [p.rpartition(":")[0] for s in SERVICES.values() for p in s.get("ports", ())]
    assert len(ports) == len(set(ports))


def test_every_dependency_is_waited_for_as_it_can_be() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            if other in ONCE:
                assert how == {"condition": "service_completed_successfully"}
            else:
                assert how == {"condition": "service_healthy"}
                assert "healthcheck" in SERVICES[other]


@pytest.mark.parametrize("name", ["reporting", "migrate"])
def test_the_service_gets_only_settings_that_exist(name: str) -> None:
    known = {f"REPORTING_{field.upper()}" for field in Settings.model_fields}
    assert set(SERVICES[name]["environment"]) <= known | {"PGPASSFILE"}


def test_what_the_service_is_told_to_do_it_knows() -> None:
    """Every command of the image is one of the command line, with the options it has."""
    commands: Any = typer.main.get_command(app)
    told = [SERVICES[name]["command"] for name in ("reporting", "migrate")]
    told += [json.loads(re.findall(r"^CMD (.+)$", DOCKERFILE, flags=re.MULTILINE)[-1])]
    for name, *options in told:
        known = {o for p in commands.commands[name].params for o in (*p.opts, *p.secondary_opts)}
        assert set(options) <= known


def test_each_connection_to_the_database_is_verified_and_as_the_least_of_roles() -> None:
    of = {
        (name, key): urlsplit(value)
        for name in ("reporting", "migrate")
        for key, value in SERVICES[name]["environment"].items()
        if value.startswith("postgresql:")
    }
    for url in of.values():
        assert parse_qs(url.query) == {
            "sslmode": ["verify-full"],
            "sslrootcert": ["/run/secrets/ca"],
        }
        assert url.password is None
    users = {f"{name} {key}": url.username for (name, key), url in of.items()}
    assert users == {
        "reporting REPORTING_STORE_URL": "reporting_app",
        "reporting REPORTING_LEDGER_URL": "reporting_ledger",
        "migrate REPORTING_STORE_URL": "reporting_app",
        "migrate REPORTING_LEDGER_URL": "reporting_ledger",
        "migrate REPORTING_STORE_ADMIN_URL": "postgres",
    }
    exporter = SERVICES["postgres_exporter"]["environment"]
    assert exporter["DATA_SOURCE_USER"] == "reporting_monitor"
    assert "sslmode=verify-full" in exporter["DATA_SOURCE_URI"]
    assert SERVICES["grafana"]["environment"]["DASHBOARD_DB_SSLMODE"] == "verify-full"
    # Only the migration can become the superuser.
    assert [n for n, s in SERVICES.items() if "pgpass_admin" in s.get("secrets", ())] == ["migrate"]


def test_no_secret_is_in_an_environment_and_each_is_read_by_somebody() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASS|SECRET|TOKEN|KEY", key):
                assert value.startswith("/run/secrets/"), f"{name}: {key}"
                assert value.removeprefix("/run/secrets/") in service["secrets"], f"{name}: {key}"
    used = set(COMPOSE["secrets"])
    for name, secret in COMPOSE["secrets"].items():
        assert secret["file"].endswith(f"/{name}")
    texts = json.dumps(COMPOSE["services"]) + (GRAFANA / "datasources/reporting.yml").read_text()
    for path in ("20-roles.sh",):
        texts += (ROOT / "deploy/postgres" / path).read_text()
    own = used - set(SERVICES["alertmanager"]["secrets"])
    assert {name for name in own if f"/run/secrets/{name}" not in texts} == set()


def test_grafana_finds_what_it_is_given() -> None:
    service = SERVICES["grafana"]
    given = {mount.split(":")[1] for mount in service["volumes"]}
    provider = yaml.safe_load((GRAFANA / "dashboards/reporting.yml").read_text())
    assert provider["providers"][0]["options"]["path"] in given
    text = (GRAFANA / "datasources/reporting.yml").read_text()
    assert set(re.findall(r"\$(\w+)", text)) - {"__file"} <= set(service["environment"])
    secrets = set(re.findall(r"/run/secrets/(\w+)", text))
    assert secrets <= set(service["secrets"])


def test_the_service_owns_nothing_but_its_folders() -> None:
    service = SERVICES["reporting"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    written = {mount.split(":")[1] for mount in service["volumes"]}
    settings = service["environment"]
    assert written == {settings["REPORTING_REPORTS_DIR"], settings["REPORTING_VAR_DIR"]}
    last_user = re.findall(r"^USER (\S+)", DOCKERFILE, flags=re.MULTILINE)[-1]
    assert int(last_user) > 0
    # The image asks as compose does.
    (asked,) = re.findall(r"^HEALTHCHECK .*? CMD (\[.+\])$", DOCKERFILE, flags=re.MULTILINE)
    words = [word.replace("'", '"') for word in json.loads(asked)]
    assert ["CMD", *words] == service["healthcheck"]["test"]
    compile(words[-1], "healthcheck", "exec")
    assert f":{settings['REPORTING_HTTP_PORT']}/readyz" in words[-1]


def test_nothing_but_the_database_may_write_outside_its_volumes() -> None:
    for name, service in SERVICES.items():
        if name != "postgres":
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name


def test_every_server_has_a_healthcheck_and_comes_back() -> None:
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == ONCE
    for name, service in SERVICES.items():
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped")


def test_nobody_is_root_but_who_has_to_begin_as_root() -> None:
    """The images of Prometheus bring a user of their own (65534), as does ours."""
    own = {"prometheus", "alertmanager", "blackbox_exporter", "node_exporter", "postgres_exporter"}
    for name, service in SERVICES.items():
        if name in own or service["image"] == "reporting:local":
            assert "user" not in service
        elif name != "postgres":  # hands its folder to its user, then becomes that user
            assert int(service["user"].split(":")[0]) > 0


def test_alertmanager_gets_the_secrets_that_it_reads() -> None:
    text = (ROOT / "deploy/alertmanager/alertmanager.yml").read_text()
    read = set(re.findall(r"/run/secrets/(\w+)", text))
    assert read | {"deadmans_switch_token"} == set(SERVICES["alertmanager"]["secrets"])


def test_prometheus_can_resolve_what_compose_runs() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    addresses = {
        address.split(":")[0]
        for job in config["scrape_configs"]
        for static in job["static_configs"]
        for address in static["targets"]
    } | {
        rule["replacement"].split(":")[0]
        for job in config["scrape_configs"]
        for rule in job.get("relabel_configs", ())
        if "replacement" in rule
    }
    exporters = {"node_exporter", "blackbox_exporter", "postgres_exporter", "alertmanager"}
    assert exporters <= addresses & set(SERVICES)
    # It is in the host's network, hence not in compose's names.
    assert SERVICES["node_exporter"]["network_mode"] == "host"
    assert SERVICES["prometheus"]["extra_hosts"] == ["node_exporter:host-gateway"]


def test_what_the_service_says_in_clear_stays_between_containers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It opens as compose sets it, and allows no host that it need not."""
    monkeypatch.chdir(tmp_path)
    for name in ("reporting", "migrate"):
        with monkeypatch.context() as environment:
            for key, value in SERVICES[name]["environment"].items():
                environment.setenv(key, value)
            settings = Service(load()).settings
        found = {c.setting for c in in_clear(settings)}
        assert found == {"prometheus_url", "alertmanager_url"}
        urls = (settings.prometheus_url, settings.alertmanager_url)
        assert settings.allowed_in_clear == {urlsplit(url or "").hostname for url in urls}
        assert settings.allowed_in_clear < set(SERVICES)


# ---- Every command, run here --------------------------------------------------------------------

#: Programs of this machine, or of var/tools.
PROGRAMS = {
    "prometheus": "prometheus",
    "alertmanager": "prometheus-alertmanager",
    "node_exporter": "prometheus-node-exporter",
    "blackbox_exporter": "prometheus-blackbox-exporter",
    "postgres_exporter": "prometheus-postgres-exporter",
}
#: Run together by a test of their own.
OURS = {"postgres", "migrate", "reporting"}
#: Not run here, and why.
NOT_RUN = {
    "grafana": "in neither Debian nor PyPI; its files are checked against its own schema",
    "mail": "Mailpit is in neither Debian nor PyPI; it has no command but its image's",
}


def test_every_command_is_run_here_or_says_why_not() -> None:
    assert sorted([*PROGRAMS, *OURS, *NOT_RUN]) == sorted(SERVICES)
    assert [name for name in NOT_RUN if "command" in SERVICES[name]] == []


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=needs_its_texts if n == "alertmanager" else ()) for n in PROGRAMS],
)
def test_the_commands_of_compose_start(name: str, tmp_path: Path) -> None:
    """The same flags and files, on this machine's programs, until the healthcheck is content."""
    service = SERVICES[name]
    port = free_port()
    command = [on_this_machine(flag, service, tmp_path) for flag in service.get("command", ())]
    command = [flag for flag in command if not flag.startswith("--web.listen-address=")]
    command = [str(find_binary(PROGRAMS[name], ROOT / "var")), *command]
    environment = {}
    for key, value in service.get("environment", {}).items():
        secret = re.sub(r"^/run/secrets/", f"{tmp_path}/", value)
        if secret != value:
            Path(secret).write_text("secret")
        environment[key] = secret
    settings = [f"{key}={value}" for key, value in environment.items()]
    check = service["healthcheck"]["test"]
    if check[1] == "wget":
        path = re.sub(r"^http://.+?:\d+(?=/)", "", check[-1])
    else:
        assert check[1:] == ["promtool", "check", "ready"]
        path = "/-/ready"
    log = tmp_path / "log"
    with child(
        ["env", *settings, *command, f"--web.listen-address=127.0.0.1:{port}"], log
    ) as process:
        assert wait_ready(f"http://127.0.0.1:{port}{path}", process, 15), log.read_text()[-1500:]
        if name == "prometheus":
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/rules", timeout=5) as got:
                groups = json.load(got)["data"]["groups"]
            files = {Path(group["file"]).name for group in groups}
            assert files == {"alerts.yml", "recording.yml", "reporting.yml"}


def on_this_machine(flag: str, service: dict[str, Any], folder: Path) -> str:
    """A flag of a container's command, with its paths where they lie here."""
    for mount in service.get("volumes", ()):
        source, target = mount.split(":")[:2]
        if source.startswith("."):
            here = str(ROOT / source)
        else:
            here = "/" if source == "/" else str(folder / source)
        flag = re.sub(rf"={re.escape(target)}$", f"={here}", flag)
    return flag


Env = dict[str, str]
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]  # Debian's; ours has no TLS


@contextmanager
def database_of_compose(folder: Path, secrets: Path) -> Iterator[int]:
    """A PostgreSQL set up and started as compose does it; gives its port."""
    service, data, port = SERVICES["postgres"], folder / "data", free_port()
    # Root may not run it; Debian's user has another number than the image's.
    user = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else os.geteuid()
    for mine in (folder, *(secrets / name for name in service["secrets"])):
        os.chown(mine, user, -1)

    def run(*words: str | Path, user: int | None = None, env: Env | None = None) -> None:
        environment = {"PATH": f"{POSTGRES[0]}:{os.environ['PATH']}", **(env or {})}
        done = subprocess.run(
            words, env=environment, user=user, cwd=folder, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    run(
        "initdb", "--no-sync", "--pgdata", data, "--username", "postgres", "--auth-local", "trust",
        "--pwfile", secrets / "postgres_password", user=user,
    )  # fmt: skip
    # As the image does.
    (data / "pg_hba.conf").write_text("local all all trust\nhost all all all scram-sha-256\n")
    command = [word.replace("/run/secrets", str(secrets)) for word in service["command"]]
    command += ["-D", str(data), "-k", str(folder), "-p", str(port)]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    log = folder / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [POSTGRES[0] / command[0], *command[1:]], user=user, stdout=written, stderr=written
        )
    try:
        here = {"PGHOST": str(folder), "PGPORT": str(port)}
        until = time.monotonic() + 20
        while "listening on Unix socket" not in log.read_text():
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        name = service["environment"]["POSTGRES_DB"]
        run("createdb", "--username", "postgres", name, env=here)
        told = {"POSTGRES_USER": "postgres", "POSTGRES_DB": name, "PGDATA": str(data), **here}
        told["ROLES_FILE"] = str(secrets / "postgres_roles")
        mounts = [mount.split(":") for mount in service["volumes"] if "initdb.d" in mount]
        for source, *_ in sorted(mounts, key=lambda mount: mount[1]):  # the image's order
            file = ROOT / source
            if file.suffix == ".sql":
                run("psql", "-qU", "postgres", "-v", "ON_ERROR_STOP=1", "-f", file, name, env=here)
            else:
                run("bash", file, env=told)
        run("psql", "-qU", "postgres", "-c", "select pg_reload_conf()", name, env=here)
        _, *check = service["healthcheck"]["test"]
        run(*check, env=here)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def environment_of(name: str, folder: Path, secrets: Path, postgres: int, prometheus: int) -> Env:
    """What compose gives a service of ours, with addresses and paths as they are here."""
    found = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    for key, value in SERVICES[name]["environment"].items():
        here = value.replace("/run/secrets", str(secrets)).replace("/srv/reporting", str(folder))
        if here.startswith("postgresql:"):  # its name stays: the certificate is for it
            here = here.replace(":5432/", f":{postgres}/") + "&hostaddr=127.0.0.1"
        found[key] = here.replace("prometheus:9090", f"127.0.0.1:{prometheus}")
    passwords = folder / f"{name}.pgpass"
    passwords.touch(0o600)
    text = Path(found["PGPASSFILE"]).read_text()
    passwords.write_text(text.replace(":5432:", f":{postgres}:"))
    return {**found, "PGPASSFILE": str(passwords)}


@pytest.mark.skipif(not POSTGRES, reason="Debian's PostgreSQL, with TLS, is not on this machine")
def test_the_database_the_migration_and_the_service_run_as_compose_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over TLS 1.3, with the secrets and roles that its scripts make."""
    with tempfile.TemporaryDirectory(prefix="reporting-compose-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        secrets = folder / "secrets"
        subprocess.run([ROOT / "deploy/secrets.sh", secrets], check=True, capture_output=True)
        secrets.chmod(0o755)
        (folder / "postgres").mkdir()
        scraping, http = free_port(), free_port()
        prometheus = [str(find_binary("prometheus", ROOT / "var"))]
        prometheus += [f"--config.file={ROOT}/deploy/prometheus/prometheus.yml"]
        prometheus += [f"--storage.tsdb.path={folder}/tsdb"]
        prometheus += [f"--web.listen-address=127.0.0.1:{scraping}"]
        with (
            database_of_compose(folder / "postgres", secrets) as port,
            child(prometheus, folder / "prometheus.log") as process,
        ):
            assert wait_ready(f"http://127.0.0.1:{scraping}/-/ready", process, 15)
            told = environment_of("migrate", folder, secrets, port, scraping)
            with monkeypatch.context() as environment:
                environment.chdir(folder)
                for key, value in told.items():
                    environment.setenv(key, value)
                migrated = CliRunner().invoke(app, SERVICES["migrate"]["command"])
            assert migrated.exit_code == 0, migrated.output
            told = environment_of("reporting", folder, secrets, port, scraping)
            told["REPORTING_HTTP_PORT"] = str(http)
            with child(
                ["env", *(f"{k}={v}" for k, v in told.items()), sys.executable, "-m", "reporting",
                 *SERVICES["reporting"]["command"]],
                folder / "serve.log",
            ) as serving:  # fmt: skip
                log = folder / "serve.log"
                assert wait_ready(f"http://127.0.0.1:{http}/readyz", serving, 60), log.read_text()
                serving.send_signal(signal.SIGTERM)
                assert serving.wait(30) == 0, log.read_text()[-1500:]


def test_no_port_is_open_to_the_network() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_everything_that_is_copied_exists_and_is_sent_to_the_engine() -> None:
    sent = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)", DOCKERFILE, flags=re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in sent), source


def test_the_image_has_the_libraries_of_the_setup() -> None:
    # Both lists are Pango's; one that grew alone would break the other's PDF.
    setup = (ROOT / "deploy" / "setup.sh").read_text()
    wanted = set(re.findall(r'"lib[\w.-]+\.so\.0", "(lib[\w.-]+)"', setup))
    assert wanted
    assert wanted == set(re.findall(r"(?<= )lib[\w.-]+-?0\b", DOCKERFILE))


def test_prometheus_accepts_its_configuration() -> None:
    tools = ROOT / "var" / "tools" / "usr" / "bin"
    promtool = shutil.which("promtool", path=f"{tools}:/usr/local/bin:/usr/bin:/bin")
    assert promtool, "promtool is missing; run: make setup"
    command = [promtool, "check", "config", str(ROOT / "deploy/prometheus/prometheus.yml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_pin_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    pins = re.split(r"\n(?=\w)", text.strip())
    assert len(pins) > 50
    assert [pin.split()[0] for pin in pins if "--hash=sha256:" not in pin] == []
    assert "://" not in text and "index" not in text


def test_the_image_and_the_checkout_run_the_same_versions() -> None:
    service, everything = (
        set(re.findall(r"^\w\S+==\S+", (ROOT / lock).read_text(), flags=re.MULTILINE))
        for lock in ("requirements.lock", "requirements-dev.lock")
    )
    assert service < everything


# ---- systemd ------------------------------------------------------------------------------------

UNIT = ROOT / "deploy" / "systemd" / "reporting.service"


def test_systemd_accepts_the_unit_and_finds_little_to_expose(tmp_path: Path) -> None:
    """By systemd's own checks, offline: it is not started here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    unit = tmp_path / UNIT.name
    # The only thing that a machine without an installation lacks is the program.
    unit.write_text(UNIT.read_text().replace("/usr/local/lib/reporting/bin/reporting", "/bin/true"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0 and not checked.stderr, checked.stderr
    limits = [line for line in unit.read_text().splitlines() if line.startswith("StartLimit")]
    assert limits == ["StartLimitIntervalSec=0"]  # never given up, however long a database is away
    graded = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert graded.returncode == 0, graded.stdout[-2000:]


def test_the_unit_gives_settings_that_exist_and_secrets_as_files() -> None:
    text = UNIT.read_text()
    known = {f"REPORTING_{field.upper()}" for field in Settings.model_fields}
    given = re.findall(r"^#? ?Environment=(\w+)=(\S+)", text, flags=re.MULTILINE)
    assert given
    for name, value in given:
        assert name in known | {"PGPASSFILE", "MPLCONFIGDIR"}
        if name.endswith(("PASSFILE", "_FILE")):
            assert value.startswith("%d/")
            assert f"LoadCredential={value.removeprefix('%d/')}:" in text
