"""House rules: what nobody should have to remember in a review."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
import typer
from pydantic_core import PydanticUndefined

from reporting.cli import app
from reporting.document import COMPOSED
from reporting.facts import MEASURES as MEASURES_IN_USE
from reporting.page import Kind
from reporting.settings import Settings

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "reporting"

# A measure is a file, or a package where it is several; the folder's name is its stem then.
MEASURES = sorted(
    path.stem
    for path in (PACKAGE / "measures").iterdir()
    if (path.suffix == ".py" or (path / "__init__.py").is_file()) and not path.stem.startswith("_")
)


def tracked() -> list[Path]:
    """Every file of the repository, whether committed yet or not."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [path for name in output.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> dict[str, str]:
    """Text of every file that is text, by path."""
    found = {}
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data[:8000]:
            found[path.relative_to(ROOT).as_posix()] = data.decode("utf-8", errors="replace")
    return found


TEXTS = texts()
CODE = {name: text for name, text in TEXTS.items() if name.startswith("reporting/")}
TEMPLATES = {name: text for name, text in TEXTS.items() if name.startswith("templates/")}

# Written in pieces, or this file would find itself.
REGISTRIES = [
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "npmjs" + ".org",
    "npmjs" + ".com",
    "docker" + ".io",
    "docker" + ".com",
    "ghcr" + ".io",
    "quay" + ".io",
    "deb.debian" + ".org",
    "security.debian" + ".org",
    "archive.ubuntu" + ".com",
    "proxy.golang" + ".org",
]
MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])/(?:" + "|".join(("home", "Users", "root", "work", "mnt", "opt")) + r")/[\w.]"
    r"|(?<![\w.-])/tmp/v"
    r"env|\.py"
    r"env/"
)


@pytest.mark.parametrize("host", REGISTRIES)
def test_no_file_names_a_registry(host: str) -> None:
    # Where packages come from is the machine's configuration, which may be a mirror.
    assert [name for name, text in TEXTS.items() if host in text] == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in TEXTS.items()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    ["open('/home" + "/ann/x')", "cd /work" + "/main", "#!/root" + "/.venv/bin/python"],
)
def test_a_machine_path_would_be_found(line: str) -> None:
    assert MACHINE_PATH.search(line)


# ---- a measure is one stem ----------------------------------------------------------------------


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_is_one_stem(name: str) -> None:
    expected = [f"templates/sections/{name}.html", f"tests/measures/test_{name}.py"]
    assert [path for path in expected if path not in TEXTS] == []


def test_no_section_is_left_without_its_measure() -> None:
    sections = {Path(name).stem for name in TEMPLATES if name.startswith("templates/sections/")}
    assert sorted(sections - set(MEASURES)) == sorted(COMPOSED)


def test_every_template_is_used() -> None:
    everything = "\n".join((*CODE.values(), *TEMPLATES.values()))
    chosen = {f"templates/sections/{name}.html" for name in (*MEASURES, *COMPOSED)}
    chosen |= {f"templates/{kind.value}.html" for kind in Kind}
    unused = [
        name
        for name in TEMPLATES
        if name.endswith((".html", ".css", "mail.txt"))
        and name not in chosen
        and not re.search(
            rf"""["'](?:\w+/)?{Path(name).stem}(?:{Path(name).suffix})?["']""", everything
        )
    ]
    assert unused == []


# ---- SQL ----------------------------------------------------------------------------------------

QUERIES = [
    (name, query)
    for name, text in TEXTS.items()
    if re.fullmatch(r"sql/[^/]+\.sql", name)
    for query in re.findall(r"^-- name: *(\w+)", text, flags=re.MULTILINE)
]


def test_there_are_named_queries() -> None:
    assert QUERIES  # otherwise the next test proves nothing


@pytest.mark.parametrize(("file", "query"), QUERIES)
def test_every_named_query_is_used(file: str, query: str) -> None:
    # As "name" in a list of what is read, or as an attribute.
    used = re.compile(rf"""["']{query}["']|\.{query}\b""")
    assert [name for name, text in CODE.items() if used.search(text)], f"{file}: {query}"


@pytest.mark.parametrize(("file", "query"), QUERIES)
def test_every_named_query_is_described(file: str, query: str) -> None:
    # The text is printed in the report's appendix as its logic: an auditor reads the first line.
    after = TEXTS[file].split(f"-- name: {query}", 1)[1].split("\n", 2)[1]
    assert after.startswith("-- ") and len(after) > len("-- a few words"), f"{file}: {query}"


def test_every_query_file_is_one_query_file() -> None:
    named = {file for file, _ in QUERIES}
    files = {name for name in TEXTS if re.fullmatch(r"sql/[^/]+\.sql", name)}
    assert sorted(files - named) == []


# ---- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(name for name in CODE if name.endswith(".py")))
def test_every_module_says_what_it_is(name: str) -> None:
    docstring = ast.get_docstring(ast.parse(CODE[name]))
    assert docstring and docstring.split("\n")[0].endswith((".", "?", ":")), name


def test_every_make_target_is_in_make_help() -> None:
    makefile = TEXTS["Makefile"]
    phony = next(line for line in makefile.splitlines() if line.startswith(".PHONY:"))
    targets = re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE)
    described = re.findall(r"^([a-z]+):.*## \w", makefile, flags=re.MULTILINE)
    assert sorted(targets) == sorted(described) == sorted(phony.split()[1:])


def test_every_verb_is_in_the_readme() -> None:
    verbs = list(getattr(typer.main.get_command(app), "commands", {}))
    assert {"close", "build", "issue", "verify", "status", "doctor", "demo"} <= set(verbs)
    assert [verb for verb in verbs if f"reporting {verb}" not in TEXTS["README.md"]] == []


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_every_measure_is_in_the_tuple(name: str) -> None:
    assert name in {measure.name for measure in MEASURES_IN_USE}


# ---- settings -----------------------------------------------------------------------------------


def test_every_setting_is_in_the_example_and_none_is_invented() -> None:
    prefix = Settings.model_config["env_prefix"]
    settings = {f"{prefix}{name}".upper() for name in Settings.model_fields}
    settings.add("REPORTING_CONFIG")  # names the file that may hold all the others
    set_to = r"^(?:# )?(REPORTING_[A-Z0-9_]+)="
    example = re.findall(set_to, TEXTS[".env.example"], flags=re.MULTILINE)
    assert sorted(example) == sorted(settings)


def test_every_default_in_the_example_is_the_default() -> None:
    for name, field in Settings.model_fields.items():
        if field.default in (None, PydanticUndefined):
            continue
        assert f"\n# REPORTING_{name.upper()}={field.default}\n" in TEXTS[".env.example"]


@pytest.mark.parametrize("name", ["docker-compose.yml", "deploy/Dockerfile", "Makefile"])
def test_no_secret_is_written_down(name: str) -> None:
    secret = r"(?i)(?:password|token|secret)[ \t]*[:=][ \t]*[^\s$/{#:…?]\S*"
    written = re.findall(secret, TEXTS[name])
    assert written == []
