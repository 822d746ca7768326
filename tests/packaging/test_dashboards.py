"""Grafana's dashboards: their form, and every query in them against real servers.

Grafana itself is not here. Its schema is (grafana-foundation-sdk), and so are Prometheus and
PostgreSQL with the demo's history.
"""

from __future__ import annotations

import importlib.util
import json
import re
import time
import types
import typing
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any

import psycopg2
import pytest
import yaml
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from reporting.document.backtest import backtests
from reporting.facts import fact_from
from reporting.measures.fill_rate import FILL_RATE, in_full
from reporting.measures.pnl import PNL, daily_totals, totals
from reporting.measures.service_levels import SERVICE_LEVELS
from reporting.measures.service_levels.readings import share_of, values_stats
from reporting.measures.slippage import SLIPPAGE, bps
from reporting.measures.uptime import UPTIME, availability
from reporting.measures.var import VAR
from reporting.model import Missing, Why
from reporting.postgres import database
from reporting.risk.growth import drawdown
from reporting.seal import SealedDay
from reporting.store import Store

from ..line.site import ROOT, WORKER, Demo, Server, connected

GRAFANA = ROOT / "deploy" / "grafana"
NAMES = ("agents", "system_health", "trading", "risk", "database_infrastructure")
ROLE = "reporting_dashboard"
#: What Grafana puts in place of its variables and macros: all agents, all strategies, two weeks.
AGENTS = ("strategic", "tactical", "risk")
STRATEGIES = ("hedge-overlay", "market-making", "mean-reversion", "trend", "value")
SECONDS, STEP_S = 14 * 86_400, 1800
#: Queries that the demo's history has no answer for, and why.
EMPTY = {
    "reporting_": "nobody scraped the reporting service in the demo's history",
}


def _generator() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("generate", GRAFANA / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = _generator()
LOADED: dict[str, dict[str, Any]] = {
    name: json.loads((GRAFANA / "dashboards" / f"{name}.json").read_text("utf-8")) for name in NAMES
}


def targets(kind: str) -> list[tuple[str, str, dict[str, Any]]]:
    """(dashboard, panel, target) of every query to one kind of data source."""
    return [
        (name, panel["title"], target)
        for name, loaded in LOADED.items()
        for panel in loaded["panels"]
        for target in panel.get("targets", ())
        if target["datasource"]["type"] == kind
    ]


# ---- form ---------------------------------------------------------------------------------------


def test_there_are_five_and_they_are_as_generated() -> None:
    assert {p.stem for p in (GRAFANA / "dashboards").glob("*.json")} == set(NAMES)
    for name in NAMES:
        committed = (GRAFANA / "dashboards" / f"{name}.json").read_text("utf-8")
        assert committed == GENERATOR.text_of(name), f"{name}: run make dashboards"


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_of_grafanas_schema(name: str) -> None:
    register_default_plugins()
    model = Dashboard.from_json(LOADED[name])
    assert not list(differences(LOADED[name], _plain(model)))
    assert not list(unfit(model, Dashboard, name))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("panels", 1, "fieldConfig", "defaults", "noValues"), "-"),
        (("panels", 1, "options", "colourMode"), "value"),
        (("panels", 1, "options", "colorMode"), "colour"),
        (("panels", 1, "targets", 0, "expression"), "up"),
        (("panels", 4, "fieldConfig", "defaults", "custom", "drawStyle"), "curve"),
        (("panels", 4, "gridPos", "h"), "8"),
        (("templating", "list", 0, "includesAll"), True),
    ],
)
def test_a_misspelt_key_or_value_is_found(path: tuple[Any, ...], value: Any) -> None:
    register_default_plugins()
    broken = json.loads(json.dumps(LOADED["agents"]))
    at = broken
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    model = Dashboard.from_json(broken)
    assert [*differences(broken, _plain(model)), *unfit(model, Dashboard, "agents")]


def _plain(model: Any) -> Any:
    """What the models write, all the way down, as JSON."""
    return json.loads(json.dumps(model, default=lambda o: o.to_json()))


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Keys and values of ours that Grafana's models did not keep."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key not in theirs and value is not None:
                yield f"{path}.{key} is not known"
            else:
                yield from differences(value, theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for n, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(a, b, f"{path}[{n}]")
    elif ours != theirs:
        yield f"{path}: {ours!r} became {theirs!r}"


def unfit(value: Any, hint: Any, path: str) -> Iterator[str]:
    """Values that are not of the type that Grafana's models declare for them."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if hint in (Any, object) or isinstance(hint, typing.TypeVar):
        if not hasattr(value, "to_json"):
            return
        hint = type(value)  # a panel's options: of the panel's own kind
        origin = None
    if hint is type(None) or value is None:
        if value is not None:
            yield f"{path}: {value!r} is not none"
        return
    if origin in (typing.Union, types.UnionType):
        found = [list(unfit(value, one, path)) for one in inside if one is not type(None)]
        yield from min(found, key=len)
    elif origin is typing.Literal:
        if value not in inside:
            yield f"{path}: {value!r} is not {inside}"
    elif origin in (list, dict):
        if not isinstance(value, origin):
            yield f"{path}: {value!r} is no {origin.__name__}"
            return
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in pairs:
            yield from unfit(one, inside[-1], f"{path}.{key}")
    elif isinstance(hint, type) and issubclass(hint, Enum):
        if value not in {member.value for member in hint}:
            yield f"{path}: {value!r} is no {hint.__name__}"
    elif hint is float:
        if not isinstance(value, int | float):
            yield f"{path}: {value!r} is no number"
    elif hint in (str, int, bool):
        plain = value.value if isinstance(value, Enum) else value
        if type(plain) is not hint:
            yield f"{path}: {value!r} is no {hint.__name__}"
    elif hasattr(hint, "to_json") and not isinstance(value, hint):
        yield f"{path}: {value!r} is no {hint.__name__}"
    elif hasattr(value, "to_json"):
        hints = typing.get_type_hints(type(value))
        for key, one in vars(value).items():
            yield from unfit(one, hints.get(key, Any), f"{path}.{key}")


def test_ids_are_fixed_and_panels_do_not_overlap() -> None:
    assert len({loaded["uid"] for loaded in LOADED.values()}) == len(NAMES)
    for name, loaded in LOADED.items():
        panels = loaded["panels"]
        assert len({p["id"] for p in panels}) == len(panels)
        taken = set()
        for panel in panels:
            grid = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(grid["x"], grid["x"] + grid["w"])
                for y in range(grid["y"], grid["y"] + grid["h"])
            }
            assert not cells & taken, f"{name}: {panel['title']}"
            assert max(x for x, _ in cells) < 24
            taken |= cells


def test_every_panel_says_what_it_shows_and_that_there_is_no_data() -> None:
    known = {unit for unit in vars(units).values() if isinstance(unit, str)}
    for name, loaded in LOADED.items():
        for panel in loaded["panels"]:
            if panel["type"] == "row":
                continue
            assert panel["description"], f"{name}: {panel['title']}"
            assert panel["fieldConfig"]["defaults"]["noValue"] == "no data"
            assert panel["fieldConfig"]["defaults"].get("unit", "short") in known, panel["title"]


def test_data_sources_are_those_that_are_provisioned() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/reporting.yml").read_text())
    known = {(d["type"], d["uid"]) for d in provisioned["datasources"]}
    used = {
        (t["datasource"]["type"], t["datasource"]["uid"])
        for kind in {k for k, _ in known}
        for _, _, t in targets(kind)
    }
    assert used == known
    for source in provisioned["datasources"]:
        assert source["editable"] is False
        # A password only by way of the environment, which compose fills from a file.
        assert re.fullmatch(r"\$\w+|\$__file\{/run/secrets/\w+\}",
                            source.get("secureJsonData", {}).get("password", "$x"))  # fmt: skip


def test_promises_are_those_of_the_configuration() -> None:
    """The lines drawn are what config/ promises."""
    found: dict[str, float] = {}
    for key, slo in objectives():
        promise = slo["spec"].get("objectives", [{}])[0]
        bound = re.search(r'le="([\d.]+)"', str(slo))
        if "value" in promise:
            found[key] = float(promise["value"])
        elif bound and promise.get("target"):
            found[key] = float(bound[1])
        elif "targetPercent" in promise:
            found[key] = round(promise["targetPercent"] / 100, 9)
        elif "target" in promise:
            target = float(promise["target"])
            found[key] = round(1 - target, 9) if key.endswith("error_rate") else target
    text = (ROOT / "config" / "policy.toml").read_text("utf-8")
    for key, value in re.findall(r'id = "(\w+)"[^\[]*?value = "([\d.]+)"', text):
        found[key] = float(value)
    assert {k: found.get(k) for k in GENERATOR.PROMISES} == GENERATOR.PROMISES


def objectives() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every SLO of config/objectives with the name that its facts have."""
    for path in sorted((ROOT / "config" / "objectives").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text("utf-8")):
            for one in document if isinstance(document, list) else [document]:
                if one and one["kind"] == "SLO":
                    yield one["metadata"]["name"].replace("-", "_"), one


def test_every_metric_that_an_objective_reads_is_on_a_dashboard() -> None:
    shown = " ".join(target["expr"] for _, _, target in targets("prometheus"))
    checked = set()
    for path in sorted((ROOT / "config" / "objectives").glob("*.yaml")):
        for query in re.findall(r"query: '([^']+)'", path.read_text("utf-8")):
            for metric in re.findall(r"[a-z]\w*:\w+:\w+|[a-z]\w*(?=\{)", query):
                assert re.sub("_seconds_count$", "_seconds_bucket", metric) in shown, query
                checked.add(metric)
    assert len(checked) > 25


# ---- Prometheus ---------------------------------------------------------------------------------


def test_every_query_to_prometheus_gives_what_there_is(prometheus: str) -> None:
    end = int(time.mktime((2025, 12, 7, 0, 0, 0, 0, 0, 0)))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    wrong = []
    for name, title, target in targets("prometheus"):
        expr = target["expr"].replace("$agent", "|".join(AGENTS))
        expr = expr.replace("$__rate_interval", "8m")
        assert "$" not in expr, f"{name}: {title}: {expr}"
        query = {"query": expr, "start": end - SECONDS, "end": end, "step": STEP_S}
        url = f"{prometheus}/api/v1/query_range?{urllib.parse.urlencode(query)}"
        with opener.open(url, timeout=30) as got:
            result = json.load(got)["data"]["result"]
        values = [v for one in result for _, v in one["values"] if v not in ("NaN", "+Inf", "-Inf")]
        expected = not any(part in expr for part in EMPTY)
        if bool(values) is not expected:
            wrong.append(f"{name}: {title}: {len(values)} values of {expr}")
    assert not wrong, "\n".join(wrong)


# ---- the sealed facts ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sealed_name(demo: Demo) -> Iterator[str]:
    name = f"dashboards{WORKER}"
    demo.server.clone(name, "reporting_template")
    yield name
    demo.server.drop(name)


@pytest.fixture(scope="module")
def days(demo: Demo, sealed_name: str) -> list[SealedDay]:
    """The newest revision of every day, as the store gives it."""
    store = Store(database(demo.server.database(sealed_name), "store"), "tests")
    index = [row["day"] for row in store.day_index()]
    return [SealedDay.model_validate_json(row.body) for row in store.days(index[0], index[-1])]


@pytest.fixture(scope="module")
def ask(demo: Demo, sealed_name: str) -> Iterator[Any]:
    """Rows of a query as the dashboards' role."""
    with connected(demo.server.database(sealed_name, ROLE)) as cursor:

        def rows(text: str, **between: date) -> list[dict[str, Any]]:
            cursor.execute(substituted(text, **between))
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        yield rows


def substituted(text: str, first: date = date(2025, 9, 1), last: date = date(2025, 12, 31)) -> str:
    """A query as Grafana sends it."""
    text = re.sub(
        r"\$__timeFilter\((\w+)\)",
        rf"\1 BETWEEN '{first}T00:00:00Z' AND '{last}T23:59:59Z'",
        text,
    )
    text = text.replace("${agent:sqlstring}", ",".join(f"'{a}'" for a in AGENTS))
    text = text.replace("${strategy:sqlstring}", ",".join(f"'{s}'" for s in STRATEGIES))
    assert "$" not in text, text
    return text


def test_every_query_to_the_sealed_facts_gives_rows(ask: Any) -> None:
    wrong = []
    for name, title, target in targets("grafana-postgresql-datasource"):
        rows = ask(target["rawSql"])
        columns = set(rows[0]) if rows else set()
        if not rows or all(all(v is None for v in row.values()) for row in rows):
            wrong.append(f"{name}: {title}: no rows")
        elif target["format"] == "time_series" and "time" not in columns:
            wrong.append(f"{name}: {title}: no time column")
    for name, loaded in LOADED.items():
        for variable in loaded["templating"]["list"]:
            if variable["type"] == "query":
                values = [label for row in ask(variable["query"]) for label in row.values()]
                assert values and set(values) <= {*STRATEGIES, "none"}, f"{name}: {values}"
    assert not wrong, "\n".join(wrong)


def query_of(name: str, title: str, n: int = 0) -> str:
    """The SQL of one panel."""
    found = [t for d, p, t in targets("grafana-postgresql-datasource") if (d, p) == (name, title)]
    return str(found[n]["rawSql"])


def of(measure: Any, days: list[SealedDay]) -> list[tuple[date, Any]]:
    """The facts of one measure, without days that are no session."""
    found = [(d.day, fact_from(measure, d.facts[measure.name])) for d in days]
    return [p for p in found if not (isinstance(p[1], Missing) and p[1].why is Why.NO_SESSION)]


def known(pairs: list[tuple[date, Any]]) -> list[tuple[date, Any]]:
    """Those that are not missing."""
    return [pair for pair in pairs if not isinstance(pair[1], Missing)]


def close_to(ours: Any, exact: Any) -> bool:
    """Equal but for the digits that PostgreSQL's division keeps."""
    return abs(Decimal(ours) - Decimal(exact.numerator) / exact.denominator) < Decimal("1e-12")


def test_the_result_of_every_day_is_that_of_the_report(ask: Any, days: list[SealedDay]) -> None:
    shown = {
        row["day"]: row
        for row in ask("select * from dashboard.figure where figure = 'pnl.net' and dimension = ''")
    }
    assert len(shown) == len(days)
    for day, total in daily_totals(of(PNL, days)):
        if isinstance(total, Missing):
            assert shown[day]["value"] is None and shown[day]["missing"] == total.why
        else:
            assert shown[day]["value"] == total.net
    (row,) = ask(query_of("trading", "Net P&L"))
    results = [t for _, t in daily_totals(of(PNL, days)) if not isinstance(t, Missing)]
    assert row["value"] == sum(t.net for t in results)
    (row,) = ask(query_of("trading", "Fees"))
    assert row["value"] == sum(t.fees for t in results)


def test_ratios_of_many_days_are_merged(ask: Any, days: list[SealedDay]) -> None:
    filled = FILL_RATE.merge(known(of(FILL_RATE, days)))
    (row,) = ask(query_of("trading", "Orders filled in full"))
    assert close_to(row["value"], in_full(filled.accepted).fraction)
    cells = SLIPPAGE.merge(known(of(SLIPPAGE, days))).cells
    rows = ask(query_of("trading", "Slippage"))
    assert {row["currency"] for row in rows} == {c.currency for c in cells}
    for row in rows:
        measured = bps([c for c in cells if c.currency == row["currency"]]).value
        assert measured is not None and close_to(row["value"], measured)


def test_agents_earn_what_the_facts_say(ask: Any, days: list[SealedDay]) -> None:
    facts = known(of(PNL, days))
    for row in ask(query_of("agents", "Agents over the chosen days")):
        parts = [totals(f, [c for c in f.cells if c.agent == row["agent"]]) for _, f in facts]
        assert row["net"] == sum(p.net for p in parts if not isinstance(p, Missing))
        assert row["fees"] == sum(p.fees for p in parts if not isinstance(p, Missing))
    merged = SERVICE_LEVELS.merge(known(of(SERVICE_LEVELS, days)))
    levels = {level.title: level for level in merged.levels}
    rows = ask(query_of("agents", "Objectives over the chosen days"))
    assert len(rows) > 8
    for row in rows:
        share = share_of(levels[row["objective"]])
        assert not isinstance(share, Missing)
        # The table shows what was good of what is known; the report bounds what is not.
        low, high = (Decimal(x.numerator) / x.denominator for x in share)
        unknown = row["without_data"]
        assert low - unknown <= row["good"] <= high + unknown


def test_availability_is_the_band_of_the_report(ask: Any, days: list[SealedDay]) -> None:
    pairs = of(UPTIME, days)
    merged = UPTIME.merge(known(pairs))
    unsealed = sum(
        d.window.end_ms - d.window.start_ms
        for d in days
        if d.facts["uptime"].get("kind") == "missing"
    )
    rows = {
        r["component"]: r
        for r in ask(query_of("system_health", "Availability over the chosen days"))
    }
    assert unsealed and len(rows) == len(merged.targets)
    for target in merged.targets:
        band = availability(target, unsealed)
        assert not isinstance(band, Missing)
        row = rows[target.title]
        assert close_to(row["at_least"], band[0]) and close_to(row["at_most"], band[1])


def test_risk_is_that_of_the_report(ask: Any, days: list[SealedDay]) -> None:
    pnl, var = of(PNL, days), of(VAR, days)
    (row,) = ask(query_of("risk", "VaR 99 %, last close"))
    assert row["value"] == var[-1][1].days[-1].at("0.99").var
    tests = backtests(pnl, var, days[0].day, "XNYS")
    (row,) = ask(query_of("risk", "Exceptions"))
    assert row["sessions"] == len(tests) > 50
    assert row["95 %"] == sum(t.is_exception("0.95") for t in tests) > 0
    net = [(d, t.net) for d, t in daily_totals(pnl) if not isinstance(t, Missing)]
    (row,) = ask(query_of("risk", "Drawdown"))
    assert row["value"] == drawdown(net).current


def test_machines_are_as_used_as_the_facts_say(ask: Any, days: list[SealedDay]) -> None:
    rows = ask(query_of("database_infrastructure", "Mean use of each day"))
    shown = {(row["time"].date(), row["metric"]): row["value"] for row in rows}
    checked = 0
    for day, fact in known(of(SERVICE_LEVELS, days)):
        for level in fact.levels:
            stats = values_stats(level)
            if level.id in ("cpu", "memory", "disk") and not isinstance(stats, Missing):
                assert abs(shown[day, level.title] - stats.mean) < Decimal("1e-6")
                checked += 1
    assert checked > 100


def test_the_role_sees_the_views_and_nothing_else(demo: Demo, sealed_name: str) -> None:
    server: Server = demo.server
    views = server.run(
        "select format('%I.%I', schemaname, viewname) from pg_views where schemaname = 'dashboard'",
        sealed_name,
    )
    assert len(views) == 7
    for (view,) in views:
        server.run(f"select * from {view} limit 1", sealed_name, ROLE)
    tables = server.run(
        "select format('%I.%I', n.nspname, c.relname) from pg_class c"
        " join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('reporting', 'audit', 'dashboard') and c.relkind in ('r', 'v')"
        " and not (n.nspname = 'dashboard' and c.relkind = 'v')",
        sealed_name,
    )
    assert len(tables) > 12
    for (table,) in tables:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            server.run(f"select * from {table} limit 1", sealed_name, ROLE)
    with connected(server.database(sealed_name, ROLE)) as cursor:
        cursor.execute("set default_transaction_read_only = off")
        for text in (
            "create schema x",
            "create table public.x ()",
            "insert into dashboard.day_head select 1",
            "delete from dashboard.figure",
        ):
            with pytest.raises(psycopg2.Error):
                cursor.execute(text)
    for (function,) in server.run(
        "select oid::regprocedure from pg_proc where pronamespace = 'dashboard'::regnamespace",
        sealed_name,
    ):
        allowed = f"select has_function_privilege('{ROLE}', '{function}', 'execute')"
        assert server.run(allowed, sealed_name) == [(False,)]


# ---- kept up to date ----------------------------------------------------------------------------


@pytest.fixture
def fresh_store(server: Server, empty_store: str) -> Iterator[str]:
    name = f"dashboards_fresh{WORKER}"
    server.clone(name, empty_store)
    yield name
    server.drop(name)


def seal(server: Server, store: str, revision: int, facts: Any) -> None:
    """A day's revision, added by the service's own role; facts None: a body that is no JSON."""
    body = {
        "session": True,
        "flash": False,
        "window": {"start": "2025-11-03T05:00:00Z", "end": "2025-11-04T05:00:00Z"},
        "facts": facts,
        "findings": [],
    }
    text = "no JSON" if facts is None else json.dumps(body)
    with connected(server.database(store, "reporting_app")) as cursor:
        cursor.execute(
            "insert into reporting.sealed_day (day, revision, digest, body, known_at, sealed_at,"
            " reason) values ('2025-11-03', %s, %s, %s, now(), now(), '')",
            (revision, str(revision), text.encode()),
        )


def test_a_day_is_on_the_dashboards_once_it_is_sealed(server: Server, fresh_store: str) -> None:
    absent = {"kind": "missing", "why": "no mark", "detail": "of ALDR"}

    def shown(text: str) -> list[Any]:
        return server.run(text, fresh_store, ROLE)

    net = "select revision, value, missing, detail from dashboard.figure where figure = 'pnl.net'"
    seal(server, fresh_store, 1, {"pnl": absent})
    assert shown(net) == [(1, None, "no mark", "of ALDR")]
    flat = {"base": "USD", "cells": [], "fx": [], "marks": []}
    seal(server, fresh_store, 2, {"pnl": flat})
    assert shown(net) == [(2, 0, None, None)]
    assert shown("select revision, session, problem from dashboard.day") == [(2, True, None)]

    # What can't be read is sealed all the same, and is not shown as something that it is not.
    for revision, facts in ((3, None), (4, {"pnl": {**flat, "cells": [{"fills": "many"}]}})):
        seal(server, fresh_store, revision, facts)
        assert shown(net) == []
        ((problem,),) = shown("select problem from dashboard.day")
        assert problem
    assert server.run("select count(*) from reporting.sealed_day", fresh_store) == [(4,)]


def test_a_purged_day_leaves_nothing_on_the_dashboards(server: Server, fresh_store: str) -> None:
    seal(server, fresh_store, 1, {"pnl": {"base": "USD", "cells": [], "fx": [], "marks": []}})
    server.run(
        "insert into reporting.purged (record, name, digest, reason, class, until, person)"
        " values ('sealed_day', '2025-11-03/r1', '1', 'old', 'x', '2025-12-01', 'somebody');"
        "update reporting.sealed_day set body = ''",
        fresh_store,
    )
    for view in ("figure", "incident", "drawdown", "backtest"):
        assert server.run(f"select count(*) from dashboard.{view}", fresh_store, ROLE) == [(0,)]
    assert server.run("select session from dashboard.day", fresh_store, ROLE) == [(None,)]
    assert server.run("select count(*) from dashboard.day_row", fresh_store) == [(0,)]
