"""The only door to Prometheus, and to any server with its HTTP API.

Uptime is read in two steps. A screen of three grouped range queries finds the series that were up
without a gap; they need nothing more. The others are fetched as raw samples, since ``increase``,
``avg_over_time`` and the five-minute lookback of ``query_range`` hide exactly the gaps that an
availability figure has to show.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from statistics import median_low
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pandas as pd
import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from ..errors import SourceUnavailable, ValidationFailed
from ..model import Coverage, Finding, Frame, Missing, Why, Window

#: Label that tells the answers of one grouped query apart.
TARGET_LABEL = "reporting_target"
#: Selectors in one grouped query: keeps its text and the server's work per query bounded.
GROUP = 100
#: Samples further apart than this do not describe a state (Prometheus' own lookback), so that
#: no interval may be longer.
MAX_INTERVAL_MS = 300_000
#: Samples are read from this long before the window to this long after it: who owns the time at
#: its edges, and whether a gap there was everyone's, is decided by the neighbours.
MARGIN_MS = 2 * MAX_INTERVAL_MS
#: Lengths of a slice of the screen; the longest one that divides the window is used.
SLICES_MS = (3_600_000, 1_800_000, 900_000, 300_000, 60_000)
#: Points that a range query may return for a series (Prometheus refuses more than 11,000).
MAX_POINTS = 10_000
#: How far back to look for a target's earlier life. A server that forgets sooner makes a target
#: that was lost long ago look as if it had not been born.
SEEN_WITHIN = "1y"
#: A connection that is not accepted by then won't be.
CONNECT_TIMEOUT_S = 5.0


class Server(NamedTuple):
    """What answered: its version, and whether range selectors include their left end."""

    version: str
    ranges: str  # "closed" (Prometheus 2.x) or "left-open" (3.x)


class PrometheusSource:
    """Reads one server; nothing is sent before the first question.

    ``url`` may have a path but no query. ``basic_auth`` is (user, password), ``client_cert`` one
    file or (certificate, key), ``ca_file`` the authority to trust instead of the system's. Every
    request has a timeout of ``timeout_s`` seconds and at most ``retries`` repetitions.

    Raises :class:`SourceUnavailable` where the server does not answer as Prometheus does, and
    :class:`ValidationFailed` where it refuses a query as wrong.
    """

    def __init__(
        self,
        url: str,
        *,
        bearer_token: str | None = None,
        basic_auth: tuple[str, str] | None = None,
        client_cert: str | tuple[str, str] | None = None,
        ca_file: str | None = None,
        timeout_s: float = 30,
        retries: int = 2,
    ) -> None:
        self._url = url.rstrip("/")
        self._timeout = (min(CONNECT_TIMEOUT_S, timeout_s), timeout_s)
        self._session = _FormSession()
        self._session.cert = client_cert
        self._session.verify = ca_file or True
        # Proxies and .netrc come from the environment, which is read in one place only.
        self._session.trust_env = False
        self._client = PrometheusConnect(
            url=self._url,
            headers={"Authorization": f"Bearer {bearer_token}"} if bearer_token else None,
            auth=basic_auth,
            # POST is not repeated by default; our queries change nothing, so it may be.
            retry=Retry(
                total=retries,
                backoff_factor=0.2,
                status_forcelist=(429, 502, 503, 504),
                allowed_methods=None,
                respect_retry_after_header=False,  # it may ask for an hour
            ),
            session=self._session,
            timeout=self._timeout,
            method="POST",
        )
        self._closed: bool | None = None
        self._texts: dict[str, str] = {}

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def query_texts(self) -> Mapping[str, str]:
        """The text of every query asked so far, by the digest that its Coverage cites."""
        return dict(self._texts)

    def check(self) -> Server:
        """Whether the server answers, its version and the kind of its range selectors."""
        try:
            answer = self._session.get(
                f"{self._url}/api/v1/status/buildinfo",
                headers=self._client.headers,
                auth=self._client.auth,
                timeout=self._timeout,
            )
            # VictoriaMetrics and old proxies have no such page; the query below decides.
            known = answer.json()["data"]["version"] if answer.ok else "unknown"
        except (requests.RequestException, KeyError, TypeError) as error:
            raise self._unavailable(error) from error
        return Server(str(known), "closed" if self._ranges_closed() else "left-open")

    def read_up(
        self,
        queries: Mapping[str, str],
        window: Window,
        *,
        titles: Mapping[str, str] | None = None,
        screen: bool = True,
    ) -> dict[str, Frame | Missing]:
        """What the uptime measure reads about ``window``: two frames by name.

        ``queries`` maps a target's id to a plain selector of a series that is 1 while the target
        is up and 0 while it is down. ``screen=False`` fetches every series raw (same facts).

        ``uptime_targets`` has a row a target: target, title, query, clean (up throughout, without
        a gap, neighbouring samples included), interval_ms (0: not known), samples (of the clean),
        seen_before (had samples before the window), ambiguous (several series).
        ``uptime_samples`` has target, at_ms, up of all others, from MARGIN_MS before the window
        to MARGIN_MS after it, in order of target and time.
        Both are Missing where no target has a sample.
        """
        names = titles or {}
        targets = [Target(id=t, query=q, title=names.get(t, t)) for t, q in sorted(queries.items())]
        findings: list[Finding] = []
        screened = self._screen(targets, window) if screen else None
        suspicious = [t for t in targets if not t.clean]
        raw = self._raw(suspicious, window, findings)
        # Several series of one target are a mistake in its selector, not an empty source.
        if not len(raw.table) and not any(t.clean or t.ambiguous for t in targets):
            missing = Missing(
                why=Why.EMPTY,
                detail=f"Prometheus has no sample of any of {len(targets)} targets "
                f"from {window.start.isoformat()} to {window.end.isoformat()}",
            )
            return {"uptime_targets": missing, "uptime_samples": missing}
        table = pd.DataFrame(
            {
                "target": [t.id for t in targets],
                "title": [t.title for t in targets],
                "query": [t.query for t in targets],
                "clean": [t.clean for t in targets],
                "interval_ms": [t.interval_ms for t in targets],
                "samples": [t.samples for t in targets],
                "seen_before": [t.seen_before for t in targets],
                "ambiguous": [t.ambiguous for t in targets],
            }
        )
        coverage = screened or self._coverage("up_screen", "(no screen: all raw)", 0, {})
        coverage = coverage.model_copy(update={"rows": len(targets)})
        return {
            "uptime_targets": Frame(table, coverage, tuple(findings)),
            "uptime_samples": raw,
        }

    # -- the screen ----------------------------------------------------------------------------

    def _screen(self, targets: Sequence[Target], window: Window) -> Coverage | None:
        """Mark the targets that were up without a gap; None where the window has no slices.

        The slices end one MAX_INTERVAL after the window and begin before it, so that the
        neighbours of the first and last sample are screened too. A slice is clean if it holds
        exactly slice/interval samples, all of them 1, and if the last sample before each of its
        ends has the same phase: since a scrape never comes early, a gap would leave too few
        samples or shift the phase, whereas counts alone (of an hour or of a minute) let a gap of
        nearly two intervals pass.
        """
        length = window.end_ms - window.start_ms
        slice_ms = next((s for s in SLICES_MS if length % s == 0), 0)
        if not slice_ms or not targets:
            return None
        slices = length // slice_ms + -(-MARGIN_MS // slice_ms)
        if slices + 1 > MAX_POINTS:
            return None
        last = window.end_ms + MAX_INTERVAL_MS
        marks = [last - slice_ms * back for back in range(slices, -1, -1)]
        span = f"{slice_ms // 1000}s"
        closed = self._ranges_closed()
        answers = {}
        for name, form in (
            ("count", f"count_over_time({{}}[{span}])"),
            ("sum", f"sum_over_time({{}}[{span}])"),
            ("last", "timestamp({})"),
        ):
            answers[name] = self._grouped(form, targets, marks, slice_ms)
        text = "\n".join(text for _, text in answers.values())
        found = {name: series for name, (series, _) in answers.items()}
        total = up = 0
        for target in targets:
            count, up_sum, at = (found[n].get(target.id, []) for n in ("count", "sum", "last"))
            if len(count) != 1 or len(up_sum) != 1 or len(at) != 1:
                continue
            interval = _clean_interval(marks, slice_ms, closed, count[0], up_sum[0], at[0])
            total += sum(int(v) for v in count[0].values())
            up += sum(int(v) for v in up_sum[0].values())
            if interval:
                target.clean, target.seen_before = True, True
                target.interval_ms, target.samples = interval, length // interval
        control = {
            "slice_s": str(slice_ms // 1000),
            "slices": str(slices),
            "samples_in_slices": str(total),
            "up_in_slices": str(up),
            "clean": str(sum(t.clean for t in targets)),
        }
        return self._coverage("up_screen", text, len(targets), control)

    def _grouped(
        self, form: str, targets: Sequence[Target], marks: Sequence[int], step_ms: int
    ) -> tuple[dict[str, list[dict[int, float]]], str]:
        """Ask ``form`` of every target at ``marks``: (target -> series of mark -> value, text)."""
        series: dict[str, list[dict[int, float]]] = {}
        texts = []
        for start in range(0, len(targets), GROUP):
            text = _either(form, targets[start : start + GROUP])
            texts.append(text)
            for item in self._range(text, marks[0], marks[-1], step_ms):
                points = {_ms(at): float(value) for at, value in item["values"]}
                series.setdefault(item["metric"].get(TARGET_LABEL, ""), []).append(points)
        return series, "\n".join(texts)

    # -- raw samples ---------------------------------------------------------------------------

    def _raw(self, targets: Sequence[Target], window: Window, findings: list[Finding]) -> Frame:
        """Raw samples of ``targets``; completes their interval, seen_before and ambiguous."""
        at_ms = window.end_ms + MARGIN_MS
        span = f"{window.end_ms - window.start_ms + 2 * MARGIN_MS}ms"
        frames: list[pd.DataFrame] = []
        texts = []
        read = up = 0
        for target in targets:
            text = f"{target.query}[{span}]"
            texts.append(text)
            series = [s for s in self._query(text, at_ms) if s["values"]]
            if len(series) > 1:
                target.ambiguous = True
                findings.append(_ambiguous(target, series))
            if len(series) != 1:
                continue
            samples = pd.DataFrame(
                ((_ms(at), value) for at, value in series[0]["values"]), columns=["at_ms", "value"]
            )
            known = samples["value"].isin(("0", "1"))
            if not known.all():
                findings.append(_not_binary(target, samples.loc[~known, "value"]))
            samples = samples[known]
            read += len(samples)
            up += int((samples["value"] == "1").sum())
            target.interval_ms = _interval(samples["at_ms"].tolist())
            target.seen_before = bool((samples["at_ms"] < window.start_ms).any())
            frames.append(
                pd.DataFrame(
                    {
                        "target": target.id,
                        "at_ms": samples["at_ms"].astype("int64"),
                        "up": samples["value"] == "1",
                    }
                )
            )
        control = {"samples_read": str(read), "up_read": str(up)}
        if targets:
            control |= self._control(targets, span, at_ms, findings, read)
            texts.append(self._mark_seen_before([t for t in targets if not t.seen_before], window))
        empty = pd.DataFrame({"target": [], "at_ms": [], "up": []}).astype(
            {"target": "str", "at_ms": "int64", "up": "bool"}
        )
        table = pd.concat(frames, ignore_index=True) if frames else empty
        text = "\n".join(t for t in texts if t)
        return Frame(table, self._coverage("up_raw", text, len(table), control))

    def _control(
        self,
        targets: Sequence[Target],
        span: str,
        at_ms: int,
        findings: list[Finding],
        read: int,
    ) -> dict[str, str]:
        """The server's own count of what was just read, to reconcile with."""
        wanted = [t for t in targets if not t.ambiguous]
        counted = 0
        for start in range(0, len(wanted), GROUP):
            text = _either(f"count_over_time({{}}[{span}])", wanted[start : start + GROUP])
            counted += sum(int(s["value"][1]) for s in self._query(text, at_ms))
        odd = sum(f.count for f in findings if f.check == "uptime.not_binary")
        if counted != read + odd:
            findings.append(
                Finding(
                    check="uptime.control_total",
                    severity="error",
                    count=1,
                    detail=f"Prometheus counts {counted} samples where {read + odd} were read; "
                    "expected the same: samples were written or deleted meanwhile",
                )
            )
        return {"samples_counted": str(counted)}

    def _mark_seen_before(self, targets: Sequence[Target], window: Window) -> str:
        """Find which of ``targets`` had samples before the window: lost, not unborn."""
        by_id = {t.id: t for t in targets}
        texts = []
        for start in range(0, len(targets), GROUP):
            form = f"present_over_time({{}}[{SEEN_WITHIN}])"
            texts.append(_either(form, targets[start : start + GROUP]))
            for item in self._query(texts[-1], window.start_ms):
                by_id[item["metric"][TARGET_LABEL]].seen_before = True
        return "\n".join(texts)

    # -- asking --------------------------------------------------------------------------------

    def _ranges_closed(self) -> bool:
        """Whether range selectors include their left end: three points in two seconds, not two."""
        if self._closed is None:
            answer = self._query("count_over_time(vector(1)[2s:1s])", 1_000_000_000_000)
            self._closed = bool(answer) and answer[0]["value"][1] == "3"
        return self._closed

    def _query(self, text: str, at_ms: int) -> list[dict[str, Any]]:
        return self._ask(lambda: self._client.custom_query(text, params=_whole(time=at_ms)), text)

    def _range(self, text: str, start: int, end: int, step: int) -> list[dict[str, Any]]:
        # The client rounds its datetimes to whole seconds; its params override them.
        from_to = _whole(start=start, end=end, step=step)
        epoch = pd.Timestamp(0, tz="UTC").to_pydatetime()
        return self._ask(
            lambda: self._client.custom_query_range(text, epoch, epoch, "1", params=from_to), text
        )

    def _ask(self, call: Callable[[], list[dict[str, Any]]], text: str) -> list[dict[str, Any]]:
        try:
            return call()
        except PrometheusApiClientException as error:
            status = re.search(r"HTTP Status Code (\d+)", str(error))
            if status and status[1] in ("400", "422"):
                raise ValidationFailed(
                    f"{self._where()} refused the query {text[:200]!r}: {str(error)[:300]}; "
                    'expected a plain selector such as up{job="grafana"} in config/objectives'
                ) from error
            raise self._unavailable(error) from error
        except (requests.RequestException, KeyError, TypeError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> SourceUnavailable:
        # The client's own messages repeat the whole request; the kind and the start are enough.
        return SourceUnavailable(
            f"Prometheus at {self._where()} did not answer: {type(error).__name__}: "
            f"{str(error)[:200]}; expected a server with the Prometheus HTTP API: "
            "check its address, credentials and that it runs (reporting doctor)"
        )

    def _where(self) -> str:
        parts = urlsplit(self._url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"  # without a password

    def _coverage(self, query: str, text: str, rows: int, control: Mapping[str, str]) -> Coverage:
        digest = sha256(text.encode()).hexdigest()
        self._texts[digest] = text
        return Coverage(
            source="prometheus",
            query=query,
            query_digest=digest,
            text=text,
            rows=rows,
            control=control,
        )


@dataclass
class Target:
    """One row of ``uptime_targets`` while it is being found out."""

    id: str
    query: str
    title: str
    clean: bool = False
    interval_ms: int = 0
    samples: int = 0
    seen_before: bool = False
    ambiguous: bool = False


class _FormSession(requests.Session):
    """Sends a POST's parameters as the body: the client puts them into the URL, and a grouped
    query is longer than what proxies take there."""

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        if method == "POST" and kwargs.get("params"):
            kwargs["data"] = kwargs.pop("params")
        return super().request(method, url, *args, **kwargs)


def _clean_interval(
    marks: Sequence[int],
    slice_ms: int,
    closed: bool,
    count: Mapping[int, float],
    up: Mapping[int, float],
    last: Mapping[int, float],
) -> int:
    """The scrape interval of a series that was up without a gap over all slices, else 0."""
    first = marks[1]
    if first not in count or marks[0] not in last:
        return 0
    before = {mark: round(last[mark] * 1000) for mark in marks if mark in last}
    interval = 0
    for previous, mark in pairwise(marks):
        if mark not in count or mark not in before or count[mark] != up.get(mark):
            return 0
        # A closed range also holds a sample exactly at its left end.
        n = int(count[mark]) - (1 if closed and before[previous] == previous else 0)
        if n < 1 or slice_ms % n:
            return 0
        interval = interval or slice_ms // n
        drift = abs(before[mark] - before[previous] - slice_ms)
        late = mark - before[mark]
        if slice_ms // n != interval or drift > interval // 10 or late >= interval:
            return 0
    return interval if interval <= MAX_INTERVAL_MS else 0


def _interval(at_ms: Sequence[int]) -> int:
    """The scrape interval as the median distance of samples; 0 where there is none to be had."""
    gaps = [b - a for a, b in pairwise(at_ms)]
    interval = int(median_low(gaps)) if gaps else 0
    return interval if interval <= MAX_INTERVAL_MS else 0


def _either(form: str, targets: Iterable[Target]) -> str:
    """One query that asks ``form`` of every target and labels the answers with its id."""
    return "\nor ".join(
        f'label_replace({form.format(t.query)}, "{TARGET_LABEL}", "{t.id}", "", "")'
        for t in targets
    )


def _whole(**ms: int) -> dict[str, str]:
    """Milliseconds as the decimal seconds that the API takes, without a detour over floats."""
    # A part of a federated answer is no answer: Thanos and VictoriaMetrics are told to refuse.
    strict = {"partial_response": "false", "deny_partial_response": "1"}
    return strict | {key: f"{v // 1000}.{v % 1000:03d}" for key, v in ms.items()}


def _ms(seconds: float) -> int:
    """The API's decimal seconds, parsed as a float by JSON, back to the exact millisecond."""
    return round(seconds * 1000)


def _ambiguous(target: Target, series: Sequence[Mapping[str, Any]]) -> Finding:
    labels = tuple(str(dict(sorted(s["metric"].items()))) for s in series[:5])
    return Finding(
        check="uptime.several_series",
        severity="error",
        count=len(series),
        detail=f"{target.id}: {target.query} selects {len(series)} series; expected one: narrow "
        "the selector in config/objectives. Its whole window is reported as unknown",
        samples=labels,
    )


def _not_binary(target: Target, values: pd.Series[Any]) -> Finding:
    return Finding(
        check="uptime.not_binary",
        severity="error",
        count=len(values),
        detail=f"{target.id}: {target.query} has values other than 0 and 1; expected a series "
        "like up or probe_success. Those samples are left out, their time is unknown",
        samples=tuple(str(v) for v in values.unique()[:5]),
    )
