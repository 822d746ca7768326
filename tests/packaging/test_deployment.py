"""What docker-compose.yml and the Dockerfile refer to exists, and keeps to the house's rules.

No container engine is needed, and none is started: that the image builds is not proved here.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from reporting.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PINNED = re.compile(r"^[\w/.-]+:v?\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$")


def test_every_image_is_pinned() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert len(images) == 4
    assert [image for image in images if not PINNED.match(image)] == []


def test_every_mounted_file_and_volume_exists() -> None:
    for name, service in SERVICES.items():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file(), f"{name}: {mount}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {mount}"


def test_every_dependency_has_a_healthcheck() -> None:
    for service in SERVICES.values():
        for other in service.get("depends_on", {}):
            assert "healthcheck" in SERVICES[other]


def test_the_service_gets_only_settings_that_exist() -> None:
    known = {f"REPORTING_{name.upper()}" for name in Settings.model_fields}
    assert set(SERVICES["reporting"]["environment"]) <= known


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
    assert re.search(r"^HEALTHCHECK ", DOCKERFILE, flags=re.MULTILINE)


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
