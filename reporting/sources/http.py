"""The only door to httpx: reads JSON from the APIs that operations use, with bounded patience."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from ..errors import SourceUnavailable, UsageError, ValidationFailed

#: Answers after which the same question may be answered later.
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
CONNECT_TIMEOUT_S = 5.0


class JsonApi:
    """GET requests to one API, each repeated at most ``tries`` times in all.

    ``name`` and ``mend`` are for messages: who was asked, and where its address and credentials
    are set. A server that asks to wait (``Retry-After`` or ``ratelimit-reset``, in seconds) is
    waited for up to ``patience_s`` for one request; a longer wait is the caller's to plan.
    Redirects are not followed: they would carry the credentials elsewhere.

    Raises :class:`SourceUnavailable` where there is no answer, :class:`ValidationFailed` where the
    question or the credentials are refused.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        mend: str,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30,
        tries: int = 4,
        patience_s: float = 60,
        backoff_s: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise UsageError(f"{mend} is no address; expected https://host/path")
        self._name, self._mend = name, mend
        self._tries, self._patience, self._backoff = tries, patience_s, backoff_s
        self._sleep = sleep
        self._client = httpx.Client(
            base_url=url.rstrip("/"),
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            # Proxies and .netrc come from the environment, which is read in one place only.
            trust_env=False,
        )

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The JSON that ``path`` answers."""
        waited, problem = 0.0, ""
        for attempt in range(1, self._tries + 1):
            asked_s = 0.0
            try:
                answer = self._client.get(path, params=parameters)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {str(error)[:200]}"
            else:
                if answer.status_code not in TRANSIENT:
                    return self._json(answer, path)
                problem = f"HTTP {answer.status_code}"
                asked_s = _asked_to_wait(answer)
            pause = max(asked_s, self._backoff * 2 ** (attempt - 1))
            if attempt == self._tries or waited + pause > self._patience:
                raise SourceUnavailable(
                    f"{self._name} at {self._where()} did not answer {path}: {problem} after "
                    f"{attempt} tries"
                    + (f", and asks to wait {asked_s:g} s" if asked_s else "")
                    + f"; try again later, or check {self._mend}"
                )
            self._sleep(pause)
            waited += pause
        raise AssertionError("at least one try is made")

    def _json(self, answer: httpx.Response, path: str) -> Any:
        if answer.status_code in (401, 403):
            raise ValidationFailed(
                f"{self._name} refuses the credentials (HTTP {answer.status_code} for {path}); "
                f"check {self._mend}"
            )
        if not answer.is_success:
            raise ValidationFailed(
                f"{self._name} at {self._where()} refuses {path}: HTTP {answer.status_code}: "
                f"{answer.text[:200]!r}; check {self._mend}"
            )
        try:
            return answer.json()
        except ValueError:
            raise SourceUnavailable(
                f"{self._name} at {self._where()} answers {path} with no JSON: "
                f"{answer.text[:80]!r}; check {self._mend}"
            ) from None

    def _where(self) -> str:
        return f"{self._client.base_url.host}:{self._client.base_url.port or ''}".rstrip(":")


def _asked_to_wait(answer: httpx.Response) -> float:
    """Seconds that the server asks to wait; 0 where it does not say (or names a date)."""
    for header in ("retry-after", "ratelimit-reset"):
        given = answer.headers.get(header, "")
        if given.isascii() and given.isdigit():
            return float(given)
    return 0.0
