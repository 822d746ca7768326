"""Writes the five dashboards: `make dashboards`.

Their JSON is committed, so that Grafana needs nothing of this; a test compares the two. The upper
rows of a dashboard ask Prometheus, which forgets after 15 days; those called "Sealed days" ask the
views of schema `dashboard`, which do not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]

FOLDER = Path(__file__).parent / "dashboards"
PROMETHEUS: Json = {"type": "prometheus", "uid": "prometheus"}
SEALED: Json = {"type": "grafana-postgresql-datasource", "uid": "sealed"}
TAG = "reporting"
#: What is promised, by objective or threshold: a test compares it with config/.
PROMISES = {
    "strategic_inference_latency": 0.008,
    "tactical_inference_latency": 0.008,
    "risk_inference_latency": 0.005,
    "strategic_accuracy": 0.8,
    "tactical_accuracy": 0.8,
    "strategic_error_rate": 0.02,
    "tactical_error_rate": 0.02,
    "strategic_throughput": 50.0,
    "tactical_throughput": 50.0,
    "order_latency": 0.01,
    "execution_error_rate": 0.005,
    "ingestion": 1000.0,
    "data_ingestion": 10000.0,
    "processing_latency": 0.1,
    "health_check_latency": 500.0,
    "dashboard_load": 2.0,
    "log_search": 1.0,
    "cpu": 80.0,
    "memory": 85.0,
    "disk": 90.0,
    "capacity_cpu": 8.0,
    "capacity_memory": 16.0,
    "capacity_storage": 500.0,
    "capacity_network": 1.0,
    "fill_rate_pct": 95.0,
    "slippage_bps": 2.0,
    "elasticsearch": 0.995,
    "overall_monitoring": 0.999,
}
NO_DATA = "no data"


# ---- thresholds ---------------------------------------------------------------------------------


def below(limit: float) -> list[Json]:
    """Green below ``limit``, red from it on."""
    return [{"color": "green", "value": None}, {"color": "red", "value": limit}]


def above(limit: float) -> list[Json]:
    """Red below ``limit``, green from it on."""
    return [{"color": "red", "value": None}, {"color": "green", "value": limit}]


PLAIN: list[Json] = [{"color": "blue", "value": None}]


# ---- queries ------------------------------------------------------------------------------------


def prom(expr: str, legend: str = "__auto", *, now: bool = False) -> Json:
    """A query to Prometheus over the range, or ``now`` alone."""
    return {
        "datasource": PROMETHEUS,
        "expr": expr,
        "legendFormat": legend,
        "editorMode": "code",
        "range": not now,
        "instant": now,
        "format": "table" if now and legend == "" else "time_series",
    }


def sql(text: str, *, table: bool = False) -> Json:
    """A query to the sealed facts: as a series (time, metric, value) or as a table."""
    return {
        "datasource": SEALED,
        "editorMode": "code",
        "format": "table" if table else "time_series",
        "rawQuery": True,
        "rawSql": text,
    }


def daily(figure: str, dimension: str = "", *, metric: str = "title", value: str = "value",
          where: str = "") -> Json:  # fmt: skip
    """A value a day of one figure, a series a label; days without a session are left out."""
    return sql(
        f"select at as time, {metric} as metric, {value} as value\n"
        f"from dashboard.figure\n"
        f"where $__timeFilter(at) and figure = '{figure}' and dimension = '{dimension}'{where}\n"
        "  and missing is distinct from 'no session'\n"
        "order by at, metric"
    )


def merged(figure: str, dimension: str = "", *, scale: str = "", where: str = "") -> Json:
    """A ratio over the whole range, from the sums of its parts."""
    return sql(
        f"select sum(numerator) / nullif(sum(denominator), 0){scale} as value\n"
        f"from dashboard.figure\n"
        f"where $__timeFilter(at) and figure = '{figure}' and dimension = '{dimension}'{where}",
        table=True,
    )


def share(figure: str, name: str) -> str:
    """A column with a ratio of one figure among several, from the sums of its parts."""
    only = f"filter (where figure = '{figure}')"
    return f"  sum(numerator) {only}\n    / nullif(sum(denominator) {only}, 0) as {name}"


def total(figure: str, where: str = "") -> Json:
    """A sum over the range; none where no day has a value."""
    return sql(
        "select sum(value) as value from dashboard.figure\n"
        f"where $__timeFilter(at) and figure = '{figure}' and dimension = ''{where}",
        table=True,
    )


# ---- panels -------------------------------------------------------------------------------------


def series(
    title: str,
    targets: Sequence[Json],
    unit: str = "short",
    *,
    about: str,
    steps: Sequence[Json] = PLAIN,
    bars: bool = False,
    stacked: bool = False,
    decimals: int | None = None,
    lowest: float | None = None,
    width: int = 8,
    overrides: Sequence[Json] = (),
) -> Json:
    """A chart over time; a gap in the data is a gap in the line."""
    promised = len(steps) > 1
    defaults: Json = {
        "unit": unit,
        "noValue": NO_DATA,
        "color": {"mode": "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": list(steps)},
        "custom": {
            "drawStyle": "bars" if bars else "line",
            "fillOpacity": 60 if bars else 0,
            "lineWidth": 1,
            "showPoints": "auto",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
            "thresholdsStyle": {"mode": "line" if promised else "off"},
        },
    }
    if decimals is not None:
        defaults["decimals"] = decimals
    if lowest is not None:
        defaults["min"] = lowest
    return panel(
        "timeseries",
        title,
        targets,
        about,
        defaults,
        {
            "legend": {
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
                "calcs": [],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        width=width,
        overrides=overrides,
    )


def stat(
    title: str,
    targets: Sequence[Json],
    unit: str = "short",
    *,
    about: str,
    steps: Sequence[Json] = PLAIN,
    decimals: int | None = None,
    mappings: Sequence[Json] = (),
    each_row: bool = False,
    width: int = 4,
) -> Json:
    """One number, or one a series or, of a table, one a row."""
    defaults: Json = {
        "unit": unit,
        "noValue": NO_DATA,
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": list(steps)},
        "mappings": list(mappings),
    }
    if decimals is not None:
        defaults["decimals"] = decimals
    return panel(
        "stat",
        title,
        targets,
        about,
        defaults,
        {
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "auto",
            "wideLayout": True,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": each_row},
        },
        width=width,
        height=5,
    )


def table(
    title: str,
    targets: Sequence[Json],
    *,
    about: str,
    units: dict[str, str] | None = None,
    width: int = 12,
    height: int = 9,
) -> Json:
    """Rows; ``units`` by column."""
    overrides = [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "unit", "value": unit}],
        }
        for name, unit in (units or {}).items()
    ]
    return panel(
        "table",
        title,
        targets,
        about,
        {"noValue": NO_DATA, "custom": {"align": "auto", "filterable": True}},
        {"cellHeight": "sm", "showHeader": True},
        width=width,
        height=height,
        overrides=overrides,
    )


def states(title: str, targets: Sequence[Json], *, about: str) -> Json:
    """Up and down over time."""
    return panel(
        "state-timeline",
        title,
        targets,
        about,
        {
            "noValue": NO_DATA,
            "color": {"mode": "thresholds"},
            "thresholds": {"mode": "absolute", "steps": above(1)},
            "mappings": UP_DOWN,
            "custom": {"fillOpacity": 80, "lineWidth": 0},
        },
        {
            "alignValue": "left",
            "mergeValues": True,
            "rowHeight": 0.8,
            "showValue": "never",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False,
                       "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        },
        width=24,
        height=13,
    )  # fmt: skip


UP_DOWN: list[Json] = [
    {
        "type": "value",
        "options": {
            "0": {"text": "down", "color": "red", "index": 0},
            "1": {"text": "up", "color": "green", "index": 1},
        },
    }
]


def panel(
    kind: str,
    title: str,
    targets: Sequence[Json],
    about: str,
    defaults: Json,
    options: Json,
    *,
    width: int,
    height: int = 8,
    overrides: Sequence[Json] = (),
) -> Json:
    """A panel whose place and id are given by :func:`dashboard`."""
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": targets[0]["datasource"],
        "gridPos": {"h": height, "w": width, "x": 0, "y": 0},
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options,
        "targets": [
            {**target, "refId": chr(ord("A") + n)} for n, target in enumerate(targets)
        ],
    }  # fmt: skip


def row(title: str) -> Json:
    """A heading over the panels that follow."""
    return {
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": {"h": 1, "w": 24, "x": 0, "y": 0},
        "panels": [],
    }


def choice(name: str, label: str, values: Sequence[str]) -> Json:
    """A variable with fixed values, all of them chosen at first."""
    return {
        **variable(name, label),
        "type": "custom",
        "query": ",".join(values),
        "options": [{"text": value, "value": value, "selected": False} for value in values],
    }


def asked(name: str, label: str, query: str) -> Json:
    """A variable whose values the sealed facts give."""
    return {
        **variable(name, label),
        "type": "query",
        "datasource": SEALED,
        "query": query,
        "refresh": 2,
        "regex": "",
        "sort": 1,
    }


def variable(name: str, label: str) -> Json:
    """What every variable has."""
    return {
        "name": name,
        "label": label,
        "hide": 0,
        "multi": True,
        "includeAll": True,
        "skipUrlSync": False,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def dashboard(
    uid: str, title: str, about: str, panels: Sequence[Json], *, variables: Sequence[Json] = ()
) -> Json:
    """A dashboard with its panels laid out from left to right, row by row."""
    x = y = height = 0
    placed = []
    for number, given in enumerate(panels, 1):
        grid = given["gridPos"]
        if x + grid["w"] > 24 or given["type"] == "row":
            x, y, height = 0, y + height, 0
        placed.append({**given, "id": number, "gridPos": {**grid, "x": x, "y": y}})
        x, height = x + grid["w"], max(height, grid["h"])
    return {
        "uid": f"reporting-{uid}",
        "title": title,
        "description": about,
        "tags": [TAG],
        "editable": False,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "schemaVersion": 41,
        "timezone": "browser",
        "time": {"from": "now-14d", "to": "now"},
        "timepicker": {},
        "refresh": "1m",
        "annotations": {"list": []},
        "templating": {"list": list(variables)},
        "links": [
            {
                "title": "Other dashboards",
                "type": "dashboards",
                "tags": [TAG],
                "asDropdown": True,
                "includeVars": False,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            }
        ],
        "panels": placed,
    }


NOW, PAST = "Now: Prometheus", "Sealed days"
MERGED = "Over the chosen days: sums of the parts, never a mean of daily ratios."


# ---- agents -------------------------------------------------------------------------------------

AGENT = 'job=~"$agent"'
OF_AGENT = " and label in (${agent:sqlstring})"


def objectives(suffix: str) -> str:
    """The objectives of the chosen agents whose names end in ``suffix``."""
    return (
        f" and label like '%\\_{suffix}'\n  and split_part(label, '_', 1) in (${{agent:sqlstring}})"
    )


def agents() -> Json:
    """What the three agents do and what they earn."""
    slow = [
        {
            "matcher": {"id": "byName", "options": "risk"},
            "properties": [
                {"id": "thresholds",
                 "value": {"mode": "absolute", "steps": below(PROMISES["risk_inference_latency"])}},
            ],
        }
    ]  # fmt: skip
    return dashboard(
        "agents",
        "Agents",
        "The strategic, the tactical and the risk agent: inference, accuracy, errors, throughput, "
        "memory, and what each earns.",
        [
            row(NOW),
            stat("Up", [prom(f"min by (job) (up{{{AGENT}}})", "{{job}}")], steps=above(1),
                 mappings=UP_DOWN, about="Whether each agent answers its last scrape.", width=6),
            stat("Accuracy, last hour",
                 [prom("sum by (job) (rate("
                       f'agent_predictions_total{{{AGENT},outcome="correct"}}[1h]))'
                       f"\n/ sum by (job) (rate(agent_predictions_total{{{AGENT}}}[1h]))",
                       "{{job}}")],
                 "percentunit", steps=above(PROMISES["strategic_accuracy"]), decimals=1, width=9,
                 about="Correct of all predictions. Promised: more than 80 % (strategic, "
                 "tactical)."),
            stat("Inference time, p95 of the last hour",
                 [prom("histogram_quantile(0.95, sum by (job, le) (\n"
                       f"  rate(agent_inference_duration_seconds_bucket{{{AGENT}}}[1h])))",
                       "{{job}}")],
                 "s", steps=below(PROMISES["strategic_inference_latency"]), decimals=1, width=9,
                 about="Promised: less than 8 ms (strategic, tactical), 5 ms (risk). Between the "
                 "bounds of buckets it is interpolated."),
            series("Inference time, p95",
                   [prom("histogram_quantile(0.95, sum by (job, le) (\n"
                         f"  rate(agent_inference_duration_seconds_bucket{{{AGENT}}}"
                         "[$__rate_interval])))", "{{job}}")],
                   "s", steps=below(PROMISES["strategic_inference_latency"]), overrides=slow,
                   lowest=0,
                   about="Promised: less than 8 ms (strategic, tactical), 5 ms (risk)."),
            series("Accuracy",
                   [prom("sum by (job) (rate(agent_predictions_total"
                         f'{{{AGENT},outcome="correct"}}[$__rate_interval]))'
                         "\n/ sum by (job) (rate(agent_predictions_total"
                         f"{{{AGENT}}}[$__rate_interval]))", "{{job}}")],
                   "percentunit", steps=above(PROMISES["strategic_accuracy"]),
                   about="Promised: more than 80 %."),
            series("Errors",
                   [prom("sum by (job) (rate(agent_errors_total"
                         f"{{{AGENT}}}[$__rate_interval]))"
                         "\n/ sum by (job) (rate(agent_inference_duration_seconds_count"
                         f"{{{AGENT}}}[$__rate_interval]))", "{{job}}")],
                   "percentunit", steps=below(PROMISES["strategic_error_rate"]), lowest=0,
                   about="Errors of all inferences. Promised: less than 2 %."),
            series("Throughput",
                   [prom("sum by (job) (rate(agent_predictions_total"
                         f"{{{AGENT}}}[$__rate_interval]))", "{{job}}")],
                   "ops", steps=above(PROMISES["strategic_throughput"]), lowest=0,
                   about="Predictions a second. Promised: more than 50."),
            series("Memory", [prom(f"process_resident_memory_bytes{{{AGENT}}}", "{{job}}")],
                   "bytes", lowest=0, about="Resident memory of each agent's process."),
            series("Kelly fraction", [prom('agent_kelly_fraction{job="risk"}', "risk")],
                   "percentunit", about="The fraction that the risk agent applies."),
            row(PAST),
            series("Net P&L", [daily("pnl.net", "agent", where=OF_AGENT)], "locale", bars=True,
                   stacked=True, decimals=0,
                   about="Of each session, in the report's base currency, after fees."),
            series("Accuracy of each day",
                   [daily("level.good", "objective", where=objectives("accuracy"))],
                   "percentunit", steps=above(PROMISES["strategic_accuracy"]),
                   about="Correct of all predictions of the day, of the time with data."),
            series("Errors of each day",
                   [daily("level.good", "objective", value="1 - value",
                          where=objectives("error\\_rate"))],
                   "percentunit", steps=below(PROMISES["strategic_error_rate"]), lowest=0,
                   about="Errors of all inferences of the day."),
            series("Inference time of each day, p95",
                   [daily("level.p95", "objective", where=objectives("inference\\_latency"))],
                   "s", steps=below(PROMISES["strategic_inference_latency"]), lowest=0,
                   about="The upper edge of the bucket that holds the 95th percentile: at most "
                   "this."),
            series("Throughput of each day",
                   [daily("level.mean", "objective", where=objectives("throughput"))],
                   "ops", steps=above(PROMISES["strategic_throughput"]), lowest=0,
                   about="Mean of the day's predictions a second."),
            series("Memory of each day",
                   [daily("level.highest", "objective", where=objectives("memory"))],
                   "bytes", lowest=0, about="The highest of the day."),
            table("Agents over the chosen days",
                  [sql("select label as agent,\n"
                       "  sum(value) filter (where figure = 'pnl.net') as net,\n"
                       "  sum(value) filter (where figure = 'pnl.fees') as fees,\n"
                       "  sum(value) filter (where figure = 'pnl.fills') as fills,\n"
                       f"{share('fill_rate.full', 'filled_in_full')}\n"
                       "from dashboard.figure\n"
                       f"where $__timeFilter(at) and dimension = 'agent'{OF_AGENT}\n"
                       "group by label order by label", table=True)],
                  units={"net": "locale", "fees": "locale", "filled_in_full": "percentunit"},
                  about=MERGED),
            table("Objectives over the chosen days",
                  [sql("select title as objective,\n"
                       f"{share('level.good', 'good')},\n"
                       f"{share('level.unknown', 'without_data')},\n"
                       "  count(*) filter (where figure = 'level.good' and value is null)"
                       " as days_missing\n"
                       "from dashboard.figure\n"
                       "where $__timeFilter(at) and dimension = 'objective'\n"
                       "  and split_part(label, '_', 1) in (${agent:sqlstring})\n"
                       "group by title order by title", table=True)],
                  units={"good": "percentunit", "without_data": "percentunit"},
                  about="Share that was good of what is known, and the share of time that nobody "
                  "knows of. " + MERGED),
        ],
        variables=[choice("agent", "Agent", ("strategic", "tactical", "risk"))],
    )  # fmt: skip


# ---- system health ------------------------------------------------------------------------------


def system_health() -> Json:
    """What is up, what fires, what is promised of it, and whether reports come."""
    return dashboard(
        "system-health",
        "System health",
        "Every component, the alerts and incidents, the promises of the monitoring itself, and the "
        "reports.",
        [
            row(NOW),
            stat("Components down",
                 [prom('count(min by (job) (up) == 0) or 0 * count(up)', "down")],
                 steps=below(1), about="Of those that Prometheus scrapes or probes."),
            stat("Critical alerts firing",
                 [prom('count(ALERTS{alertstate="firing",severity="critical"})'
                       " or 0 * count(up)", "critical")],
                 steps=below(1), about="0 only while Prometheus has targets."),
            stat("Channels that answer",
                 [prom('min by (target) (probe_success{job="blackbox",'
                       'target=~"pagerduty|slack|email"})', "{{target}}")],
                 steps=above(1), mappings=UP_DOWN, width=6,
                 about="PagerDuty, Slack and e-mail, seen from outside."),
            stat("Health check",
                 [prom('1000 * probe_duration_seconds{job="blackbox",target="health_check_api"}',
                       "health check")],
                 "ms", steps=below(PROMISES["health_check_latency"]), decimals=0,
                 about="Promised: less than 500 ms."),
            stat("Reports overdue", [prom("max(reporting_overdue_seconds)", "overdue")], "s",
                 steps=below(1), width=6,
                 about="Since the oldest due instant for which nothing was issued."),
            states("Components",
                   [prom("min by (job) (up)", "{{job}}"),
                    prom('min by (target) (probe_success{job="blackbox",'
                         'target=~"pagerduty|slack|email"})', "{{target}}")],
                   about="What does not answer is down; a gap is time without data."),
            series("Health check latency",
                   [prom('1000 * probe_duration_seconds{job="blackbox",target="health_check_api"}',
                         "health check")],
                   "ms", steps=below(PROMISES["health_check_latency"]), lowest=0,
                   about="Promised: less than 500 ms."),
            series("Dashboard load time",
                   [prom('probe_duration_seconds{job="blackbox",target="grafana_dashboard"}',
                         "dashboard")],
                   "s", steps=below(PROMISES["dashboard_load"]), lowest=0,
                   about="Promised: less than 2 s."),
            series("Log search time",
                   [prom('probe_duration_seconds{job="blackbox",target="log_search"}',
                         "log search")],
                   "s", steps=below(PROMISES["log_search"]), lowest=0,
                   about="Promised: less than 1 s."),
            series("Alerts firing",
                   [prom('count by (alertname, severity) (ALERTS{alertstate="firing"})',
                         "{{alertname}} ({{severity}})")],
                   bars=True, stacked=True, decimals=0, width=12, lowest=0,
                   about="Nothing is drawn where nothing fires."),
            series("Notifications",
                   [prom("sum by (integration) (increase(alertmanager_notifications_total"
                         "[$__rate_interval]))", "{{integration}}")],
                   bars=True, width=12, lowest=0, about="Sent by Alertmanager, by channel."),
            row("Now: the reporting service"),
            series("Reports overdue", [prom("max by (report) (reporting_overdue_seconds)",
                                            "{{report}}")],
                   "s", lowest=0, about="By report; replicas say the same, hence max."),
            series("Mails", [prom("max by (state) (reporting_outbox_mails)", "{{state}}")],
                   lowest=0, about="In the outbox, by state. Unknown ones need a person."),
            series("Last look at the schedule",
                   [prom("time() - max(reporting_last_tick_timestamp_seconds)", "ago")], "s",
                   lowest=0, about="Of the replica that looked last."),
            row(PAST),
            table("Availability over the chosen days",
                  [sql("with days as (\n"
                       "  select coalesce(sum(denominator), 0) as unsealed\n"
                       "  from dashboard.figure\n"
                       "  where $__timeFilter(at) and figure = 'uptime.available'"
                       " and dimension = ''\n"
                       ")\n"
                       "select title as component,\n"
                       "  sum(numerator) / nullif(sum(denominator) + min(unsealed), 0)"
                       " as at_least,\n"
                       "  (sum(upper) + min(unsealed))"
                       " / nullif(sum(denominator) + min(unsealed), 0) as at_most,\n"
                       "  (sum(value) filter (where figure = 'uptime.down')) as down\n"
                       "from dashboard.figure, days\n"
                       "where $__timeFilter(at) and dimension = 'target'\n"
                       "  and figure in ('uptime.available', 'uptime.down')\n"
                       "group by title order by at_least, title", table=True)],
                  units={"at_least": "percentunit", "at_most": "percentunit", "down": "s"},
                  about="Outside of planned maintenance. A day without the measure counts as time "
                  "in which anything may have been. " + MERGED, height=12),
            series("Least availability of each day",
                   [daily("uptime.available", "target",
                          where=" and label in ('prometheus', 'grafana', 'alertmanager',\n"
                          "    'health_check_api', 'elasticsearch')")],
                   "percentunit", steps=above(PROMISES["elasticsearch"]), width=12, decimals=3,
                   about="The lower bound. Promised a month: 99.9 %, Elasticsearch 99.5 % (the "
                   "line)."),
            table("Promises in the reports",
                  [sql("select day, kind, section, title as figure, value, upper, unit,\n"
                       "  comparator || ' ' || target || ' ' || target_unit as promise, verdict,\n"
                       "  missing\n"
                       "from dashboard.report_figure\n"
                       "where $__timeFilter(at) and (verdict is not null or missing is not null)\n"
                       "order by at desc, kind, position", table=True)],
                  about="Figures with a verdict, or without a value, of the newest revision of "
                  "each report; upper is the other bound where only bounds are known.", width=24),
            series("Alerts of each day",
                   [daily("alerts.fired", "severity")], bars=True, stacked=True, lowest=0,
                   about="That began to fire on the day, by severity."),
            table("Alerts over the chosen days",
                  [sql("select title as alert,\n"
                       "  sum(value) filter (where figure = 'alerts.fired') as fired,\n"
                       "  sum(value) filter (where figure = 'alerts.firing') as firing,\n"
                       "  sum(numerator) filter (where figure = 'alerts.in_time')"
                       " as told_in_time,\n"
                       "  sum(upper - numerator) filter (where figure = 'alerts.in_time')"
                       " as not_known,\n"
                       "  sum(denominator - upper) filter (where figure = 'alerts.in_time')"
                       " as told_late\n"
                       "from dashboard.figure\n"
                       "where $__timeFilter(at) and dimension = 'alert'\n"
                       "group by title order by fired desc, title", table=True)],
                  units={"firing": "s"}, width=8,
                  about="The first notification against the promise of each alert."),
            series("Incidents of each day", [daily("incidents.opened", "priority")],
                   bars=True, stacked=True, lowest=0, about="By priority."),
            stat("Time to acknowledge",
                 [sql("select extract(epoch from avg(acknowledged_at - opened_at)) as value\n"
                      "from dashboard.incident where $__timeFilter(opened_at)", table=True)],
                 "s", about="Mean of the incidents that were, opened in the chosen time.",
                 width=6),
            stat("Time to resolve",
                 [sql("select extract(epoch from avg(resolved_at - opened_at)) as value\n"
                      "from dashboard.incident where $__timeFilter(opened_at)", table=True)],
                 "s", about="Mean of the incidents that were, opened in the chosen time.",
                 width=6),
            stat("False alarms",
                 [sql("select count(*) filter (where false_positive)::numeric"
                      " / nullif(count(false_positive), 0) as value\n"
                      "from dashboard.incident where $__timeFilter(opened_at)", table=True)],
                 "percentunit", about="Of the incidents that say whether they were one.", width=6),
            stat("Days that dashboards can't read",
                 [sql("select count(*) filter (where problem is not null or session is null)"
                      " as value\n"
                      "from dashboard.day where $__timeFilter(at)", table=True)],
                 steps=below(1), about="Sealed and well, but purged, or of a form that the "
                 "dashboards' views do not know.", width=6),
            table("Incidents",
                  [sql("select opened_at, priority, target, alert, id,\n"
                       "  extract(epoch from acknowledged_at - opened_at) as acknowledged_after,\n"
                       "  extract(epoch from resolved_at - opened_at) as resolved_after,\n"
                       "  level as escalated_to, as_of\n"
                       "from dashboard.incident where $__timeFilter(opened_at)\n"
                       "order by opened_at desc", table=True)],
                  units={"acknowledged_after": "s", "resolved_after": "s"},
                  about="As the last sealed day knows each."),
            table("Reports",
                  [sql("select issued_at, kind, period, revision, status, verdict, gaps, reason\n"
                       "from dashboard.report where $__timeFilter(issued_at)\n"
                       "order by issued_at desc, kind", table=True)],
                  about="Every revision that was issued in the chosen time."),
            series("Problems of the data", [daily("findings", "severity", metric="label")],
                   bars=True, stacked=True, lowest=0, width=12,
                   about="What the checks of the ledger's rows found, by severity."),
        ],
    )  # fmt: skip


# ---- trading ------------------------------------------------------------------------------------

OF_STRATEGY = " and label in (${strategy:sqlstring})"
ENGINE, PIPELINE = 'job="execution_engine"', 'job="data_pipeline"'


def trading() -> Json:
    """Execution, the data pipeline, the result and how well it was traded."""
    bps = PROMISES["slippage_bps"]
    full = PROMISES["fill_rate_pct"] / 100
    return dashboard(
        "trading",
        "Trading",
        "Result, fees, fill rate and slippage of the sealed days; order latency, errors and the "
        "data pipeline as they are now.",
        [
            row(NOW),
            stat("Engine and pipeline",
                 [prom('min by (job) (up{job=~"execution_engine|data_pipeline"})', "{{job}}")],
                 steps=above(1), mappings=UP_DOWN, width=8,
                 about="Whether each answers its last scrape."),
            stat("Order latency, p95 of the last hour",
                 [prom("histogram_quantile(0.95, sum by (le) (\n"
                       f"  rate(execution_order_latency_seconds_bucket{{{ENGINE}}}[1h])))",
                       "orders")],
                 "s", steps=below(PROMISES["order_latency"]), decimals=1, width=8,
                 about="Promised: less than 10 ms."),
            stat("Messages taken in, a second",
                 [prom(f"sum(rate(pipeline_messages_total{{{PIPELINE}}}[5m]))", "messages")],
                 "ops", steps=above(PROMISES["ingestion"]), width=8, decimals=0,
                 about="Promised: more than 1,000."),
            series("Order latency, p95",
                   [prom("histogram_quantile(0.95, sum by (le) (\n"
                         f"  rate(execution_order_latency_seconds_bucket{{{ENGINE}}}"
                         "[$__rate_interval])))", "orders")],
                   "s", steps=below(PROMISES["order_latency"]), lowest=0,
                   about="Promised: less than 10 ms. No order, no line."),
            series("Orders",
                   [prom(f"sum(rate(execution_order_latency_seconds_count{{{ENGINE}}}"
                         "[$__rate_interval]))", "orders")],
                   "ops", lowest=0, about="A second."),
            series("Execution errors",
                   [prom("(sum(rate(http_requests_total"
                         f'{{{ENGINE},code=~"5.."}}[$__rate_interval])) or\n'
                         f"  0 * sum(rate(http_requests_total{{{ENGINE}}}[$__rate_interval])))\n"
                         f"/ sum(rate(http_requests_total{{{ENGINE}}}[$__rate_interval]))",
                         "errors")],
                   "percentunit", steps=below(PROMISES["execution_error_rate"]), lowest=0,
                   about="Of all requests. Promised: less than 0.5 %. Without a failed request "
                   "ever there is no series of them, which counts as none."),
            series("Messages and records",
                   [prom(f"sum(rate(pipeline_messages_total{{{PIPELINE}}}[$__rate_interval]))",
                         "messages"),
                    prom(f"sum(rate(pipeline_records_total{{{PIPELINE}}}[$__rate_interval]))",
                         "records")],
                   "ops", lowest=0,
                   steps=above(PROMISES["data_ingestion"]),
                   about="A second. Promised: more than 1,000 messages and at least 10,000 records "
                   "(the line)."),
            series("Processing time, p95",
                   [prom("histogram_quantile(0.95, sum by (le) (\n"
                         f"  rate(pipeline_processing_duration_seconds_bucket{{{PIPELINE}}}"
                         "[$__rate_interval])))", "processing")],
                   "s", steps=below(PROMISES["processing_latency"]), lowest=0,
                   about="Promised: less than 100 ms."),
            series("Invalid records",
                   [prom("sum(rate(pipeline_records_total"
                         f'{{{PIPELINE},quality="invalid"}}[$__rate_interval]))\n'
                         f"/ sum(rate(pipeline_records_total{{{PIPELINE}}}[$__rate_interval]))",
                         "invalid"),
                    prom(f"sum(rate(pipeline_missing_records_total{{{PIPELINE}}}"
                         "[$__rate_interval]))\n"
                         f"/ sum(rate(pipeline_records_total{{{PIPELINE}}}[$__rate_interval]))",
                         "missing")],
                   "percentunit", lowest=0, about="Share of all records."),
            row(PAST),
            stat("Net P&L", [total("pnl.net")], "locale", decimals=0,
                 about="Sum of the chosen sessions, in base currency, after fees."),
            stat("Fees", [total("pnl.fees")], "locale", decimals=0,
                 about="Sum of the chosen sessions."),
            stat("Orders filled in full", [merged("fill_rate.full")], "percentunit", decimals=2,
                 steps=above(full), about="Promised: more than 95 %. " + MERGED),
            stat("Slippage",
                 [sql("select right(unit, 3) as currency,\n"
                      "  sum(numerator) / nullif(sum(denominator), 0) as value\n"
                      "from dashboard.figure\n"
                      "where $__timeFilter(at) and figure = 'slippage.arrival'"
                      " and dimension = ''\n"
                      "  and value is not null\n"
                      "group by 1 order by 1", table=True)],
                 "short", decimals=2, steps=below(bps), width=6, each_row=True,
                 about="Basis points against arrival, by the notional's currency. Promised: less "
                 "than 2. " + MERGED),
            stat("Sessions without a result",
                 [sql("select count(*) filter (where missing is not null) as value\n"
                      "from dashboard.figure\n"
                      "where $__timeFilter(at) and figure = 'pnl.net' and dimension = ''\n"
                      "  and missing is distinct from 'no session'", table=True)],
                 steps=below(1), width=6,
                 about="They are in no sum on this page."),
            series("Net P&L of each session",
                   [daily("pnl.net", "strategy", where=OF_STRATEGY)], "locale", bars=True,
                   stacked=True, decimals=0, width=12, about="By strategy, after fees."),
            series("Net P&L, summed up",
                   [sql("select at as time, height as net from dashboard.drawdown\n"
                        "where $__timeFilter(at) order by at")],
                   "locale", decimals=0, width=12, about="Since the first sealed day."),
            series("Orders filled in full, of each session",
                   [daily("fill_rate.full", "strategy", where=OF_STRATEGY)], "percentunit",
                   steps=above(full), about="Promised: more than 95 %."),
            series("Slippage of each session",
                   [daily("slippage.arrival", metric="unit", where=" and value is not null")],
                   "short", steps=below(bps), decimals=2,
                   about="Against arrival. Promised: less than 2 bps."),
            series("Fees of each session", [daily("pnl.fees", "strategy", where=OF_STRATEGY)],
                   "locale", bars=True, stacked=True, decimals=0, about="In base currency."),
            series("Rejected orders", [daily("fill_rate.rejected", "reason")], bars=True,
                   stacked=True, lowest=0, about="By reason."),
            series("Positions and cash that match",
                   [daily("reconciliation.matched", "kind")], "percentunit",
                   about="Of those that the custodian states."),
            series("Breaks", [daily("reconciliation.breaks", metric="'open breaks'")], bars=True,
                   lowest=0, about="Differences to the custodian's statement at the close."),
            table("Strategies over the chosen days",
                  [sql("select label as strategy,\n"
                       "  sum(value) filter (where figure = 'pnl.net') as net,\n"
                       "  sum(value) filter (where figure = 'pnl.gross') as gross,\n"
                       "  sum(value) filter (where figure = 'pnl.fees') as fees,\n"
                       "  sum(value) filter (where figure = 'pnl.fills') as fills,\n"
                       f"{share('fill_rate.full', 'filled_in_full')},\n"
                       "  count(*) filter (where figure = 'pnl.net' and value is null)"
                       " as sessions_missing\n"
                       "from dashboard.figure\n"
                       f"where $__timeFilter(at) and dimension = 'strategy'{OF_STRATEGY}\n"
                       "group by label order by net desc", table=True)],
                  units={"net": "locale", "gross": "locale", "fees": "locale",
                         "filled_in_full": "percentunit"},
                  about=MERGED),
            table("Objectives over the chosen days",
                  [sql("select title as objective,\n"
                       f"{share('level.good', 'good')},\n"
                       f"{share('level.unknown', 'without_data')}\n"
                       "from dashboard.figure\n"
                       "where $__timeFilter(at) and dimension = 'objective' and label in (\n"
                       "  'order_latency', 'execution_error_rate', 'ingestion', 'data_ingestion',\n"
                       "  'processing_latency', 'data_quality', 'missing_data', 'latency_spikes')\n"
                       "group by title order by title", table=True)],
                  units={"good": "percentunit", "without_data": "percentunit"},
                  about="Of the engine and the data pipeline. " + MERGED),
        ],
        variables=[
            asked("strategy", "Strategy",
                  "select distinct label from dashboard.figure\n"
                  "where figure = 'pnl.net' and dimension = 'strategy' order by 1"),
        ],
    )  # fmt: skip


# ---- risk ---------------------------------------------------------------------------------------

RISK = 'job="risk"'


def risk() -> Json:
    """VaR and its exceptions, drawdown, exposure, limits, and the risk agent."""
    return dashboard(
        "risk",
        "Risk",
        "VaR and expected shortfall with their exceptions, drawdown, exposure and limits of the "
        "sealed days; what the risk agent does now.",
        [
            row(NOW),
            stat("Risk agent", [prom(f"min(up{{{RISK}}})", "risk")], steps=above(1),
                 mappings=UP_DOWN, about="Whether it answers its last scrape.", width=6),
            stat("Limits crossed, last 24 h",
                 [prom(f"sum(increase(agent_risk_threshold_alerts_total{{{RISK}}}[24h]))",
                       "alerts")],
                 steps=below(1), decimals=0, width=6,
                 about="Alerts of the risk agent about a limit."),
            stat("VaR calculations that failed, last 24 h",
                 [prom(f'sum(increase(agent_var_calculations_total{{{RISK},result="failed"}}[24h]))\n'
                       f"or 0 * sum(agent_var_calculations_total{{{RISK}}})", "failed")],
                 steps=below(1), decimals=0, width=6,
                 about="0 only while the agent counts calculations."),
            stat("Compliance checks refused, last 24 h",
                 [prom(f'sum(increase(agent_compliance_checks_total{{{RISK},result="fail"}}[24h]))\n'
                       f"/ sum(increase(agent_compliance_checks_total{{{RISK}}}[24h]))",
                       "refused")],
                 "percentunit", decimals=3, width=6, about="Of all checks."),
            series("Limits crossed",
                   [prom(f"sum(increase(agent_risk_threshold_alerts_total{{{RISK}}}"
                         "[$__rate_interval]))", "alerts")],
                   bars=True, lowest=0, about="Alerts of the risk agent about a limit."),
            series("VaR calculations and compliance checks",
                   [prom("sum by (result) (rate(agent_var_calculations_total"
                         f"{{{RISK}}}[$__rate_interval]))", "VaR {{result}}"),
                    prom("sum by (result) (rate(agent_compliance_checks_total"
                         f"{{{RISK}}}[$__rate_interval]))", "check {{result}}")],
                   "ops", lowest=0, about="A second, by result."),
            series("Kelly fraction", [prom(f"agent_kelly_fraction{{{RISK}}}", "risk")],
                   "percentunit", lowest=0, about="The fraction that the risk agent applies."),
            row(PAST),
            stat("VaR 99 %, last close",
                 [sql("select value from dashboard.figure\n"
                      "where $__timeFilter(at) and figure = 'var.var' and dimension = 'level'"
                      " and label = '0.99'\n"
                      "  and missing is distinct from 'no session'\n"
                      "order by at desc limit 1", table=True)],
                 "locale", decimals=0, about="One day, historical, in base currency."),
            stat("ES 97.5 %, last close",
                 [sql("select value from dashboard.figure\n"
                      "where $__timeFilter(at) and figure = 'var.es' and dimension = 'level'"
                      " and label = '0.975'\n"
                      "  and missing is distinct from 'no session'\n"
                      "order by at desc limit 1", table=True)],
                 "locale", decimals=0, about="Expected shortfall of one day, historical."),
            stat("Exceptions",
                 [sql("select count(*) filter (where exception_95) as \"95 %\",\n"
                      "  count(*) filter (where exception_99) as \"99 %\",\n"
                      "  count(exception_99) as sessions\n"
                      "from dashboard.backtest where $__timeFilter(at)", table=True)],
                 about="Sessions that lost more than VaR, of those that have both.", width=6),
            stat("Drawdown",
                 [sql("select drawdown as value from dashboard.drawdown\n"
                      "where $__timeFilter(at) order by at desc limit 1", table=True)],
                 "locale", decimals=0, about="Below the highest point of the last 250 sessions.",
                 width=5),
            stat("Positions without an estimate",
                 [sql("select value from dashboard.figure\n"
                      "where $__timeFilter(at) and figure = 'var.left_out' and value is not null\n"
                      "order by at desc limit 1", table=True)],
                 steps=below(1), width=5, about="Left out of VaR at the last close: no mark, no "
                 "rate, or too short a history."),
            series("Result against VaR",
                   [sql("select at as time, actual, clean, -var_95 as \"VaR 95 %\",\n"
                        "  -var_99 as \"VaR 99 %\"\n"
                        "from dashboard.backtest where $__timeFilter(at) order by at")],
                   "locale", decimals=0, width=12,
                   about="Each session before fees, with its trades (actual) and without them "
                   "(clean), and what VaR of the close before allowed it to lose."),
            series("VaR and expected shortfall",
                   [daily("var.var", "level", metric="'VaR ' || label"),
                    daily("var.es", "level", metric="'ES ' || label",
                          where=" and label = '0.975'")],
                   "locale", decimals=0, lowest=0, width=12,
                   about="Of each close for the next session, historical."),
            series("Drawdown",
                   [sql("select at as time, drawdown from dashboard.drawdown\n"
                        "where $__timeFilter(at) order by at")],
                   "locale", decimals=0, lowest=0, width=8,
                   about="Net P&L below the highest point of the last 250 sessions."),
            series("Exposure",
                   [daily("var.gross", metric="'gross'"), daily("var.net", metric="'net'")],
                   "locale", decimals=0, about="At each close, in base currency."),
            series("Largest share of gross exposure",
                   [sql("select at as time,\n"
                        "  max(value) filter (where figure = 'var.exposure_gross'"
                        " and dimension = 'instrument')\n"
                        "    / nullif(max(value) filter (where figure = 'var.gross'), 0)"
                        " as share\n"
                        "from dashboard.figure\n"
                        "where $__timeFilter(at) and figure in"
                        " ('var.exposure_gross', 'var.gross')\n"
                        "  and value is not null\n"
                        "group by at order by at")],
                   "percentunit", lowest=0, about="Of one instrument, of those with an estimate."),
            series("Parts of VaR 99 % by strategy", [daily("var.part", "strategy")], "locale",
                   stacked=True, bars=True, decimals=0, width=12,
                   about="They add up to VaR of the positions that it covers."),
            series("Parts of VaR 99 % by agent", [daily("var.part", "agent")], "locale",
                   stacked=True, bars=True, decimals=0, width=12,
                   about="They add up to VaR of the positions that it covers."),
            series("Marks by state", [daily("marks.state", "state", metric="label")], bars=True,
                   stacked=True, lowest=0, width=12,
                   about="A stale mark is from before the session."),
            table("Limits, stress and backtests in the reports",
                  [sql("select day, kind, title as figure, value, unit,\n"
                       "  comparator || ' ' || target || ' ' || target_unit as bound, verdict,\n"
                       "  missing || ': ' || detail as missing\n"
                       "from dashboard.report_figure\n"
                       "where $__timeFilter(at) and section = 'var'\n"
                       "order by at desc, kind, position", table=True)],
                  about="Limits are the firm's own; where none is set there is no such figure."),
        ],
    )  # fmt: skip


# ---- database and infrastructure ----------------------------------------------------------------


def database_infrastructure() -> Json:
    """The machines, what of their capacity is used, and the database."""

    def usage(title: str, rule: str, name: str) -> Json:
        limit = PROMISES[name]
        return series(
            title, [prom(f"100 * instance:node_{rule}_utilisation:ratio", name)], "percent",
            steps=below(limit), lowest=0,
            about=f"Of the busiest host. Promised: less than {limit:g} %, 99 % of the time.",
        )  # fmt: skip

    def capacity(title: str, expr: str, name: str, words: str) -> Json:
        return stat(
            title, [prom(f"{expr} / {PROMISES[name]:g}", "used")], "percentunit", decimals=1,
            steps=below(0.9), width=6,
            about=f"Of {words}. The forecast stands in the daily report.",
        )  # fmt: skip

    platform = "postgresql|redis|nginx|docker|elasticsearch|logstash|kibana|fluentd"
    of_machines = " and label in ('cpu', 'memory', 'disk')"
    return dashboard(
        "database-infrastructure",
        "Database and infrastructure",
        "Processors, memory, disks and network with their capacity, and the database: connections, "
        "queries, locks, replication, backups.",
        [
            row(NOW),
            stat("Platform", [prom(f'min by (job) (up{{job=~"{platform}"}})', "{{job}}")],
                 steps=above(1), mappings=UP_DOWN, width=24,
                 about="Whether each answers."),
            capacity("Cores in use", "instance:node_cpu_cores_used:rate1m", "capacity_cpu",
                     "8 cores"),
            capacity("Memory in use", "1e-9 * instance:node_memory_used_bytes:sum",
                     "capacity_memory", "16 GB"),
            capacity("Storage in use", "1e-9 * instance:node_filesystem_used_bytes:sum",
                     "capacity_storage", "500 GB"),
            capacity("Network in use", "8e-9 * instance:node_network_bytes:rate1m",
                     "capacity_network", "1 Gbit/s"),
            usage("Processor", "cpu", "cpu"),
            usage("Memory", "memory", "memory"),
            usage("Disk", "filesystem", "disk"),
            series("Network", [prom("instance:node_network_bytes:rate1m", "busier direction")],
                   "Bps", lowest=0, about="Bytes a second in the busier direction."),
            series("Load", [prom('node_load1{job="node_exporter"}', "load1")], lowest=0,
                   about="Processes that run or wait, over a minute."),
            series("Storage", [prom("instance:node_filesystem_used_bytes:sum", "used")], "bytes",
                   lowest=0, about="All file systems, each device once."),
            series("Connections in use",
                   [prom("database:connections_used:ratio", "connections")], "percentunit",
                   steps=below(0.9), lowest=0,
                   about="Of those that an ordinary user can get."),
            series("Longest transaction",
                   [prom("database:longest_transaction_seconds:max", "transaction")], "s",
                   lowest=0, about="Of those that are open now."),
            series("Locks", [prom("database:locks:count", "locks")], lowest=0,
                   about="Held, of all kinds."),
            series("Replication lag",
                   [prom("database:replication_lag_seconds:max", "lag")], "s", lowest=0,
                   about="Of a replica; without one there is none."),
            series("Age of the last backup",
                   [prom("database:backup_age_seconds:max", "backup")], "s",
                   steps=below(90000), lowest=0, width=16,
                   about="Backups are made every day: the line is at 25 hours."),
            row(PAST),
            series("Mean use of each day",
                   [daily("level.mean", "objective", where=of_machines)], "percent", lowest=0,
                   about="Processor, memory and disk of the busiest host."),
            series("Highest use of each day",
                   [daily("level.highest", "objective", where=of_machines)], "percent", lowest=0,
                   about="Processor, memory and disk of the busiest host."),
            series("Storage of each day",
                   [daily("level.highest", "objective",
                          where=" and label = 'capacity_storage'")], "decgbytes", lowest=0,
                   steps=below(PROMISES["capacity_storage"]), about="In use, of 500 GB."),
            series("Database of each day: highest",
                   [daily("level.highest", "objective",
                          where=" and label in ('connection_pool', 'locks')")], lowest=0,
                   about="Connections in percent, and locks."),
            series("Database of each day: longest",
                   [daily("level.highest", "objective",
                          where=" and label in ('query_performance', 'replication_lag')")], "s",
                   lowest=0, about="The longest transaction and the longest lag."),
            series("Oldest backup of each day",
                   [daily("level.highest", "objective", where=" and label = 'backup_status'")],
                   "s", steps=below(90000), lowest=0,
                   about="The line is at 25 hours: a day was missed."),
            table("Objectives over the chosen days",
                  [sql("select title as objective,\n"
                       f"{share('level.good', 'good')},\n"
                       f"{share('level.unknown', 'without_data')},\n"
                       "  max(value) filter (where figure = 'level.highest') as highest\n"
                       "from dashboard.figure\n"
                       "where $__timeFilter(at) and dimension = 'objective' and label in (\n"
                       "  'cpu', 'memory', 'disk', 'network_io', 'load_average',"
                       " 'connection_pool',\n"
                       "  'query_performance', 'locks', 'replication_lag', 'backup_status')\n"
                       "group by title order by title", table=True)],
                  units={"good": "percentunit", "without_data": "percentunit"},
                  about="Share of time that was good of what is known. " + MERGED),
            table("Capacity in the reports",
                  [sql("select day, kind, title as figure, value as share, unit, words,\n"
                       "  missing || ': ' || detail as missing\n"
                       "from dashboard.report_figure\n"
                       "where $__timeFilter(at) and section = 'capacity'\n"
                       "order by at desc, kind, position", table=True)],
                  units={"share": "percentunit"},
                  about="Used of what is allocated, as reported."),
        ],
    )  # fmt: skip


DASHBOARDS = {
    "agents": agents,
    "system_health": system_health,
    "trading": trading,
    "risk": risk,
    "database_infrastructure": database_infrastructure,
}


def text_of(name: str) -> str:
    """The file's text of one dashboard."""
    return json.dumps(DASHBOARDS[name](), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all of them."""
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(text_of(name), "utf-8")


if __name__ == "__main__":
    main()
