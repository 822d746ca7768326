"""The only door to Prometheus, and to any server with its HTTP API.

``client`` is what sends; ``states`` and ``levels`` know what to ask and hand the answers to the
measures as tidy frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from ...model import Frame, Missing, Window, epoch_ms
from ...policy.indicators import Objective
from ...policy.operations import Alert
from . import alerts, levels, states
from .client import Client, QueryFailed, Series, Server
from .levels import queries_of
from .states import MARGIN_MS, MAX_INTERVAL_MS

__all__ = [
    "MARGIN_MS",
    "MAX_INTERVAL_MS",
    "Client",
    "PrometheusSource",
    "QueryFailed",
    "Series",
    "Server",
    "queries_of",
]


class PrometheusSource:
    """Reads one server; nothing is sent before the first question.

    ``url`` may have a path but no query. ``basic_auth`` is (user, password), ``client_cert`` one
    file or (certificate, key), ``ca_file`` the authority to trust instead of the system's. Every
    request has a timeout of ``timeout_s`` seconds and at most ``retries`` repetitions.

    What one query can't answer makes what it is about Missing or unknown, with a finding; where
    the server answers nothing at all, :class:`SourceUnavailable` is raised.
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
        self.client = Client(
            url,
            bearer_token=bearer_token,
            basic_auth=basic_auth,
            client_cert=client_cert,
            ca_file=ca_file,
            timeout_s=timeout_s,
            retries=retries,
        )

    def close(self) -> None:
        """Give the connections back."""
        self.client.close()

    def query_texts(self) -> Mapping[str, str]:
        """The text of every query asked so far, by the digest that its Coverage cites."""
        return self.client.query_texts()

    def check(self) -> Server:
        """Whether the server answers, its version and the kind of its range selectors."""
        return self.client.check()

    def reaches(self, at: datetime, now: datetime) -> bool:
        """Whether there is a sample of ``up`` within the five minutes up to ``at``, or a later one.

        With a later one the server has seen ``at`` go by, and nothing more will come of before.
        """
        if self.client.query("count(up)", epoch_ms(at)):
            return True
        return self.sees(at, now)

    def sees(self, start: datetime, end: datetime) -> bool:
        """Whether there is any sample of ``up`` after ``start`` and not after ``end``."""
        seconds = max(int((end - start).total_seconds()), 1)
        return bool(self.client.query(f"count(present_over_time(up[{seconds}s]))", epoch_ms(end)))

    def read_up(
        self,
        queries: Mapping[str, str],
        window: Window,
        *,
        titles: Mapping[str, str] | None = None,
        screen: bool = True,
    ) -> dict[str, Frame | Missing]:
        """As :meth:`read_states`, for plain selectors by target and one window for all."""
        return states.read_up(self.client, queries, window, titles=titles, screen=screen)

    def read_states(
        self, objectives: Sequence[Objective], day: date, *, screen: bool = True
    ) -> dict[str, Frame | Missing]:
        """What the uptime measure reads about ``day``: two frames by name.

        Of ``objectives`` those whose indicator is a State are read, each in the calendar day of
        its own zone. ``screen=False`` fetches every series raw (same facts).

        ``uptime_targets`` has a row a target: target, title, query, start_ms, end_ms, no_data,
        clean (up throughout, without a gap, neighbouring samples included), interval_ms (0: not
        known), samples (of the clean), seen_before (had samples before the window), ambiguous
        (several series).
        ``uptime_samples`` has target, at_ms, up of all others, from MARGIN_MS before the window
        to MARGIN_MS after it, in order of target and time.
        Both are Missing where no target has a sample. A target whose query is not answered has no
        samples and an error among the findings.
        """
        return states.read_states(self.client, objectives, day, screen=screen)

    def read_levels(self, objectives: Sequence[Objective], day: date) -> dict[str, Frame | Missing]:
        """What the service-level measure reads about ``day``: three frames by name.

        Of ``objectives`` those that are Counts, Threshold or Share are read, each in the calendar
        day of its own zone; samples are as Prometheus has them, neither scaled nor differenced.

        ``level_queries`` has a row an objective: objective, title, kind ("counts", "threshold",
        "share"), start_ms, end_ms, comparator, value, scale, rate, numerator_good, monotonic,
        success, budgeting ("occurrences", "timeslices", "ratio_timeslices"), slice_ms,
        slice_target, no_data, missing (why nothing could be read, or nothing), increase (the
        server's own increase() of a counter's total over the window, or nothing).
        ``level_series`` has a row a series: objective, role ("numerator", "total", "value",
        "bucket", "sum"), series (its number in this frame), labels (JSON), le, interval_ms (0: not
        known), clean (no gap and no reset from before the window to after it: only the samples
        beside the window's edges are there), seen_before (had samples before the window),
        up_before (its target was being scraped when it appeared).
        ``level_samples`` has series, at_ms, value, in order of series and time, from MARGIN_MS
        before the window to MARGIN_MS after it.
        """
        return levels.read_levels(self.client, objectives, day)

    def read_alerts(self, rules: Sequence[Alert], window: Window) -> dict[str, Frame | Missing]:
        """What the alerts measure reads about ``window``; see :func:`alerts.read_alerts`."""
        return alerts.read_alerts(self.client, rules, window)
