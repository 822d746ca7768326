"""The story, one short function a verb: close, build, issue, verify, status.

The only package that sees both the sources and the pure core. Time comes in as an argument: ``now``
is what the caller's clock says, and every moment that is printed is recorded when it happens.
"""

from .auditing import Rounds, catch_up_witness, verified, viewed
from .closing import Closed, close
from .connections import InClear, in_clear
from .delivering import Delivered, arrived, deliver, resend
from .explaining import Explanation, Opened, explain, open_report
from .health import Check, doctor, status
from .issuing import Issued, draft, files_of, issue, period_of, rewrite
from .observing import not_ready, snapshot
from .service import Progress, Service, silent
from .serving import Filled, Reconciled, Worked, backfill, reconcile, runs_of, waive, work
from .verifying import Against, Verified, against, verify, verify_folder, verify_pdf, worth

__all__ = [
    "Against",
    "Check",
    "Closed",
    "Delivered",
    "Explanation",
    "Filled",
    "InClear",
    "Issued",
    "Opened",
    "Progress",
    "Reconciled",
    "Rounds",
    "Service",
    "Verified",
    "Worked",
    "against",
    "arrived",
    "backfill",
    "catch_up_witness",
    "close",
    "deliver",
    "doctor",
    "draft",
    "explain",
    "files_of",
    "in_clear",
    "issue",
    "not_ready",
    "open_report",
    "period_of",
    "reconcile",
    "resend",
    "rewrite",
    "runs_of",
    "silent",
    "snapshot",
    "status",
    "verified",
    "verify",
    "verify_folder",
    "verify_pdf",
    "viewed",
    "waive",
    "work",
    "worth",
]
