"""OpenSLO v1 documents as objectives: all of the format is read, none of it is quietly ignored.

Seven kinds of document are checked: SLO, SLI, Service, DataSource, AlertPolicy, AlertCondition and
AlertNotificationTarget. References are resolved over all files at once. What the format allows and
we can't do is refused by name: other sources than Prometheus and our own report, windows of less
than a day, periods that begin at noon. Alert policies are checked and not used, since alerts are
routed by the Alertmanager. A DataSource says of what type a source is; where it is comes from the
settings, so that all objectives must mean one and the same server.

What the format lacks stands in annotations under our prefix, on the SLO:

    no-data    flag | exclude | down   how time without data is judged (flag: both bounds)
    promise    target | tracked        tracked: observed only; the target is then 0
    strict     true | false            true: the goal itself is a miss ("above 95 %")
    answers    the operator's targets that this is about, as paths with commas between
    unit       of the indicator's own value: ms, %, /s
    allocated  the capacity of which the value is the use
    watch      latency | throughput    what is compared with its trailing period

Three readings that the format leaves open: ``duration: 1m`` with a calendar is one month, since a
window of a minute can't be meant; ``op: gt`` beside a ratioMetric makes the goal itself a miss; a
raw ratio is a state (up or down) where its metric is ``up``, ``…_up`` or ``…_success``.

Reference: the OpenSLO specification, version v1, with the composite objectives of its Go SDK.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..indicators import Objective
from .catalogue import Catalogue
from .documents import PREFIX, Document, read_documents
from .queries import parse_query

__all__ = ["PREFIX", "Document", "parse_objectives", "parse_query", "read_documents"]


def parse_objectives(texts: Mapping[str, str]) -> tuple[Objective, ...]:
    """The objectives of all files, by name of the file and then in its order.

    ``texts`` maps a file's name to its YAML: documents with ``---`` between, or lists of them.
    Raises :class:`ValidationFailed` with a line for every problem: file, document, field, what
    stands there and what was expected.
    """
    documents = read_documents(texts)
    return Catalogue(documents).objectives()
