"""What an Alertmanager holds at the close: alerts that are active, silenced or inhibited.

Alertmanager knows the present only, so a day that ended long ago can't be asked about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import pandas as pd

from ..errors import SourceUnavailable
from ..model import Coverage, Frame, Missing, Why, Window, epoch_ms
from .http import JsonApi

NO_ALERTMANAGER = Missing(why=Why.NOT_MEASURED, detail="no Alertmanager is configured")
#: Its answer still stands for the end of a day that ended at most so long ago.
FRESH = timedelta(hours=24)
COLUMNS = ("alertname", "labels", "state", "since_ms", "because")
ALERTS, SILENCES = "/api/v2/alerts", "/api/v2/silences"


def read_alertmanager(
    url: str | None, window: Window, now: datetime, **patience: Any
) -> Frame | Missing:
    """The alerts that an Alertmanager holds ``now``, for the close of ``window``.

    Columns: alertname, labels (canonical JSON), state (active, silenced or inhibited), since_ms,
    because (who silenced it, why and until when; else ""). ``patience`` goes to the client.
    Raises :class:`SourceUnavailable` where it does not answer.
    """
    if url is None:
        return NO_ALERTMANAGER
    if now - window.end > FRESH:
        return Missing(
            why=Why.NOT_MEASURED,
            detail=f"Alertmanager knows the present only, and the day ended on "
            f"{window.end.isoformat()}",
        )
    api = JsonApi(url, name="Alertmanager", mend="REPORTING_ALERTMANAGER_URL", **patience)
    try:
        alerts, silences = _list(api, ALERTS), _list(api, SILENCES)
    finally:
        api.close()
    reasons = {str(s.get("id")): _silence(s) for s in silences}
    try:
        rows = sorted(_row(alert, reasons) for alert in alerts)
    except (KeyError, TypeError, ValueError) as error:
        raise SourceUnavailable(
            f"Alertmanager sends an alert that is not of its API v2 ({type(error).__name__}: "
            f"{error}); check REPORTING_ALERTMANAGER_URL"
        ) from error
    text = f"GET {ALERTS}\nGET {SILENCES}"
    coverage = Coverage(
        source="alertmanager",
        query="alertmanager",
        query_digest=sha256(text.encode()).hexdigest(),
        text=text,
        rows=len(rows),
        control={"silences": str(len(silences))},
    )
    return Frame(pd.DataFrame(rows, columns=list(COLUMNS)), coverage)


def _list(api: JsonApi, path: str) -> list[Mapping[str, Any]]:
    found = api.get(path)
    if not isinstance(found, list):
        raise SourceUnavailable(
            f"Alertmanager answers {path} with {type(found).__name__}; expected the list of its "
            "API v2: check REPORTING_ALERTMANAGER_URL"
        )
    return found


def _row(alert: Mapping[str, Any], reasons: Mapping[str, str]) -> tuple[str, str, str, int, str]:
    labels = {str(k): str(v) for k, v in alert["labels"].items()}
    status = alert["status"]
    silenced, inhibited = status["silencedBy"], status["inhibitedBy"]
    state = "silenced" if silenced else "inhibited" if inhibited else "active"
    name = labels.pop("alertname", "")
    return (
        name,
        json.dumps(labels, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
        state,
        epoch_ms(datetime.fromisoformat(alert["startsAt"])),
        "; ".join(reasons.get(str(each), str(each)) for each in silenced)[:300],
    )


def _silence(silence: Mapping[str, Any]) -> str:
    by, why = silence.get("createdBy", ""), silence.get("comment", "")
    return f"{by}: {why} (until {silence.get('endsAt', '')})"
