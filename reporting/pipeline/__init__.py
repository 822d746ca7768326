"""The story, one short function a verb: close, build, issue, verify, status.

The only package that sees both the sources and the pure core. Time comes in as an argument: ``now``
is what the caller's clock says, and every moment that is printed is recorded when it happens.
"""

from .closing import Closed, close
from .explaining import Explanation, Opened, explain, open_report
from .health import Check, doctor, in_clear, status
from .issuing import Issued, draft, files_of, issue, period_of, rewrite
from .service import Progress, Service, silent
from .verifying import Against, Verified, against, verify, verify_folder, verify_pdf, worth

__all__ = [
    "Against",
    "Check",
    "Closed",
    "Explanation",
    "Issued",
    "Opened",
    "Progress",
    "Service",
    "Verified",
    "against",
    "close",
    "doctor",
    "draft",
    "explain",
    "files_of",
    "in_clear",
    "issue",
    "open_report",
    "period_of",
    "rewrite",
    "silent",
    "status",
    "verify",
    "verify_folder",
    "verify_pdf",
    "worth",
]
