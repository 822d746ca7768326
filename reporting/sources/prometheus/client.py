"""The only module that sends anything to Prometheus, or to a server with its HTTP API.

A query that fails is tried again a bounded number of times. What is left then is a
:class:`QueryFailed` that concerns this query alone, or a :class:`SourceUnavailable` where the
server answers nothing else either.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import requests
from prometheus_api_client import PrometheusConnect
from urllib3.util.retry import Retry

from ...errors import SourceUnavailable
from ...model import Coverage

#: Points that a range query may return for a series (Prometheus refuses more than 11,000).
MAX_POINTS = 10_000
#: A connection that is not accepted by then won't be.
CONNECT_TIMEOUT_S = 5.0
#: Answers that another try may better: busy or restarting servers, and 422, which is also what
#: Prometheus says to a query for which it has no room at the moment.
TRY_AGAIN = (422, 429, 500, 502, 503, 504)
#: Seconds to wait before the first repetition; each further one waits twice as long.
BACKOFF_S = 0.2
#: After so many queries that timed out at every try, further ones are tried only once: a slow
#: server may cost a close minutes but not hours.
PATIENCE = 3
#: Counts up to this are exact as floats.
MAX_COUNT = 2.0**53
#: No sample is as late as the year 10000.
LAST_MS = 253_402_300_800_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Server(NamedTuple):
    """What answered: its version, and whether range selectors include their left end."""

    version: str
    ranges: str  # "closed" (Prometheus 2.x) or "left-open" (3.x)


class QueryFailed(Exception):
    """One query that the server does not answer, though it answers others.

    ``refused``: it says that the query itself is wrong, so that it will never be answered.
    ``str()`` is the reason alone: ``HTTP 422 after 3 tries: query processing would load …``.
    """

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels and its samples, in order of time.

    ``at_ms`` are whole milliseconds since 1970 (int64), ``value`` float64 of the same length; an
    instant vector has one sample a series.
    """

    labels: Mapping[str, str]
    at_ms: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]


class Client:
    """Asks one server; nothing is sent before the first question. Arguments: PrometheusSource."""

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
        self._timeout_s = timeout_s
        self._tries = retries + 1
        self._slow = 0
        timeout = (min(CONNECT_TIMEOUT_S, timeout_s), timeout_s)
        self._session = _Session()
        self._session.cert = client_cert
        self._session.verify = ca_file or True
        # Proxies and .netrc come from the environment, which is read in one place only.
        self._session.trust_env = False
        # Compressing takes the server five times as long as sending (measured on loopback).
        self._session.headers["Accept-Encoding"] = "identity"
        self._connect = PrometheusConnect(
            url=self._url,
            headers={"Authorization": f"Bearer {bearer_token}"} if bearer_token else None,
            auth=basic_auth,
            retry=Retry(0),  # tries are counted here: the reason names them
            session=self._session,
            timeout=timeout,
            method="POST",
        )
        self._timeout = timeout
        self._closed: bool | None = None
        self._texts: dict[str, str] = {}

    def close(self) -> None:
        """Give the connections back."""
        self._connect.close()

    def begin(self) -> None:
        """A new reading: slow queries of the one before don't count any more (see PATIENCE)."""
        self._slow = 0

    # -- questions -----------------------------------------------------------------------------

    def query(self, text: str, at_ms: int) -> list[Series]:
        """An instant query at ``at_ms``: a vector (one sample a series) or a matrix (all raw).

        Raises :class:`QueryFailed` and :class:`SourceUnavailable`.
        """
        params = self._params(time=at_ms)
        return self._ask(lambda: self._connect.custom_query(text, params=params))

    def range(self, text: str, start_ms: int, end_ms: int, step_ms: int) -> list[Series]:
        """A range query from ``start_ms`` to ``end_ms``, both included.

        Beware: it shows each sample again for five minutes, so it can't show gaps by itself.
        Raises :class:`QueryFailed` and :class:`SourceUnavailable`.
        """
        # The client rounds its datetimes to whole seconds; its params override them.
        params = self._params(start=start_ms, end=end_ms, step=step_ms)
        return self._ask(
            lambda: self._connect.custom_query_range(text, EPOCH, EPOCH, "1", params=params)
        )

    def ranges_closed(self) -> bool:
        """Whether range selectors include their left end: three points in two seconds, not two.

        Prometheus 2.x does; 3.x and VictoriaMetrics don't.
        """
        if self._closed is None:
            try:
                answer = self.query("count_over_time(vector(1)[2s:1s])", 1_000_000_000_000)
            except QueryFailed as error:  # as simple as can be: it may not fail
                raise self._unavailable(str(error)) from error
            self._closed = bool(answer) and bool(answer[0].value[0] == 3)
        return self._closed

    def check(self) -> Server:
        """Whether the server answers, its version and the kind of its range selectors."""
        try:
            answer = self._session.get(
                f"{self._url}/api/v1/status/buildinfo",
                headers=self._connect.headers,
                auth=self._connect.auth,
                timeout=self._timeout,
            )
            # VictoriaMetrics and old proxies have no such page; the query below decides.
            known = json.loads(answer.content)["data"]["version"] if answer.ok else "unknown"
        except requests.RequestException as error:
            raise self._unavailable(f"{type(error).__name__}: {_short(str(error))}") from error
        except (ValueError, KeyError, TypeError):
            known = "unknown"
        return Server(str(known), "closed" if self.ranges_closed() else "left-open")

    # -- evidence ------------------------------------------------------------------------------

    def coverage(self, query: str, text: str, rows: int, control: Mapping[str, str]) -> Coverage:
        """The Coverage of an answer; ``query`` is its name, ``text`` all that was sent for it."""
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

    def query_texts(self) -> Mapping[str, str]:
        """The text of every query asked so far, by the digest that its Coverage cites."""
        return dict(self._texts)

    # -- asking --------------------------------------------------------------------------------

    def _params(self, **ms: int) -> dict[str, str]:
        # A part of a federated answer is no answer: Thanos and VictoriaMetrics are told to refuse,
        # and the latter not to answer from a cache that may not know late samples. Nothing goes on
        # being worked out for a client that has stopped listening.
        fixed = {
            "partial_response": "false",
            "deny_partial_response": "1",
            "nocache": "1",
            "timeout": f"{round(self._timeout_s * 1000)}ms",
        }
        # Milliseconds as the decimal seconds that the API takes, without a detour over floats.
        return fixed | {key: f"{v // 1000}.{v % 1000:03d}" for key, v in ms.items()}

    def _ask(self, call: Callable[[], list[Series]]) -> list[Series]:
        """Try ``call`` until it answers or no further try is worth it."""
        tries = self._tries if self._slow < PATIENCE else 1
        for number in range(1, tries + 1):
            try:
                return call()
            except _Failed as error:
                failure, last = error, number
            if failure.status is not None and failure.status not in TRY_AGAIN:
                break
            if number < tries:
                time.sleep(BACKOFF_S * 2 ** (number - 1))
        self._slow += failure.slow
        reason = failure.reason(last)
        if not self._alive():
            raise self._unavailable(reason) from failure
        raise QueryFailed(reason, refused=failure.status in (400, 422)) from failure

    def _alive(self) -> bool:
        """Whether the simplest of all questions is answered: the fault is the query's then."""
        params = self._params(time=1_000_000_000_000)
        for number in range(self._tries):
            try:
                return bool(self._connect.custom_query("vector(1)", params=params))
            except _Failed:
                time.sleep(BACKOFF_S * 2**number)
        return False

    def _unavailable(self, reason: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"Prometheus at {self._where()} did not answer: {reason}; expected a server with the "
            "Prometheus HTTP API: check its address, credentials and that it runs "
            "(reporting doctor)"
        )

    def _where(self) -> str:
        parts = urlsplit(self._url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"  # without a password


class _Failed(Exception):
    """One try that brought no answer: what happened, and the HTTP status if there was one."""

    def __init__(self, what: str, words: str, *, status: int | None = None, slow: bool) -> None:
        super().__init__(what, words)
        self.what, self.words, self.status, self.slow = what, words, status, slow

    def reason(self, tries: int) -> str:
        """For people: ``HTTP 422 after 3 tries: query processing would …``."""
        after = f" after {tries} tries" if tries > 1 else ""
        return f"{self.what}{after}: {self.words}"


class _Session(requests.Session):
    """Sends a POST's parameters as the body, follows nobody, and reads answers as arrays.

    The client puts parameters into the URL, where a grouped query is longer than proxies take;
    it has a number object for each sample, and puts whole error pages into its messages.
    """

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        # A redirect may lead to a line in clear, and to whom nobody named.
        kwargs["allow_redirects"] = False
        if method != "POST":
            return super().request(method, url, *args, **kwargs)
        if kwargs.get("params"):
            kwargs["data"] = kwargs.pop("params")
        try:
            answer = super().request(method, url, *args, **kwargs)
        except requests.RequestException as error:
            slow = isinstance(error, requests.ReadTimeout) or "timed out" in str(error)
            raise _Failed(type(error).__name__, _short(str(error)), slow=slow) from error
        status = answer.status_code
        if status != 200:
            slow = status in (503, 504)  # how servers and proxies say that their time is up
            raise _Failed(f"HTTP {status}", _words(answer), status=status, slow=slow)
        answer.__class__ = _Answer
        return answer


class _Answer(requests.Response):
    """An answer whose ``data.result`` is a list of :class:`Series`."""

    def json(self, **kwargs: Any) -> Any:
        try:
            return {"data": {"result": decode(self.content)}}
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            what = "an answer that is none of Prometheus"
            raise _Failed(what, _short(f"{type(error).__name__}: {error}"), slow=False) from error


def decode(body: bytes) -> list[Series]:
    """The series, with at least one sample, of an answer of ``query`` or ``query_range``.

    Samples are most of an answer's bytes: they are cut out, read as one table of numbers, and the
    rest is read as JSON. What is no such answer raises whatever its reading stumbles over, and
    ValueError where that would be nothing.
    """
    skeleton: list[bytes] = []
    blocks: list[bytes] = []
    at = 0
    # A quote within a JSON string is escaped, so that this can't be part of a label's value.
    while (start := body.find(b'"values":[[', at)) >= 0:
        end = body.index(b"]]", start)
        skeleton += (body[at:start], b'"values":%d' % len(blocks))
        blocks.append(body[start + 11 : end])
        at = end + 2
    skeleton.append(body[at:])
    answer = json.loads(b"".join(skeleton))
    if answer["status"] != "success":
        raise ValueError(f"status {answer['status']!r}; expected success")
    data = answer["data"]
    if data["resultType"] not in ("vector", "matrix"):
        raise ValueError(f"a {data['resultType']} as result; expected a vector or a matrix")
    lengths = [block.count(b"],[") + 1 for block in blocks]
    at_ms, value = _numbers(blocks)
    ends = np.cumsum(lengths, dtype=np.int64)
    if len(at_ms) != sum(lengths):
        raise ValueError("samples that are no pairs of a time and a value")
    found = []
    seen = 0
    for item in data["result"]:
        given = item.get("values", [item["value"]] if "value" in item else [])
        if isinstance(given, int):
            if given != seen or seen == len(blocks):  # a number of the server's, not ours
                raise ValueError(f"values are {given}; expected pairs of a time and a value")
            seen += 1
            cut = slice(int(ends[given]) - lengths[given], int(ends[given]))
            found.append(_series(item["metric"], at_ms[cut], value[cut]))
        else:  # an instant vector, or a server that puts spaces into its JSON
            times = np.array([_ms(t) for t, _ in given], dtype=np.int64)
            values = np.array([float(v) for _, v in given], dtype=np.float64)
            found.append(_series(item["metric"], times, values))
    return [series for series in found if len(series.at_ms)]


def counted(series: Iterable[Series]) -> int:
    """The sum of what a server counted; a value that is no count adds nothing."""
    return sum(int(s.value[np.abs(s.value) < MAX_COUNT].sum()) for s in series)


def _series(
    labels: Mapping[str, str], at_ms: npt.NDArray[np.int64], value: npt.NDArray[np.float64]
) -> Series:
    if not all(isinstance(text, str) for text in labels.values()):
        raise TypeError(f"labels are {labels!r}; expected texts")
    if (at_ms[1:] < at_ms[:-1]).any():
        raise ValueError("samples that are not in order of time")
    return Series(labels, at_ms, value)


def _numbers(
    blocks: Sequence[bytes],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Times (ms) and values of ``1.5,"7"],[2.5,"8"`` …, all blocks one after the other."""
    if not blocks:
        return np.empty(0, np.int64), np.empty(0, np.float64)
    rows = b"],[".join(blocks).replace(b"],[", b"\n").replace(b'"', b"")
    columns = {"at": pa.float64(), "value": pa.float64()}
    table = pa.csv.read_csv(
        pa.BufferReader(rows),
        read_options=pa.csv.ReadOptions(column_names=list(columns)),
        convert_options=pa.csv.ConvertOptions(
            column_types=columns, null_values=["NaN"], strings_can_be_null=False
        ),
    )
    # Decimal seconds, read as a float, back to the exact millisecond.
    at = np.rint(table["at"].to_numpy() * 1000)
    if not (np.abs(at) < LAST_MS).all():
        raise ValueError("a time that is none")
    return at.astype(np.int64), table["value"].to_numpy()


def _ms(seconds: Any) -> int:
    at = round(float(seconds) * 1000)
    if abs(at) >= LAST_MS:
        raise ValueError("a time that is none")
    return at


def _words(answer: requests.Response) -> str:
    """What the server says about its refusal, shortened."""
    try:
        said = json.loads(answer.content)["error"]
    except (ValueError, KeyError, TypeError):
        said = answer.text
    return _short(str(said)) or answer.reason or "no words"


def _short(words: str) -> str:
    # The libraries' own messages repeat the whole request; the start is enough.
    return " ".join(words.split())[:240]
