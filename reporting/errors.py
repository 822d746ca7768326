"""Every failure that a person or a scheduler has to tell apart, each with its exit code.

Exit codes: 0 ok, 2 usage, 3 data not ready, 4 validation, 5 delivery failed or unknown,
75 try again (``EX_TEMPFAIL`` of sysexits.h).

A message names the value, what was expected and the next step. Problems *of the data* (a stale
mark, an orphan fill) are not exceptions: they are values that the report lists.
"""

from __future__ import annotations


class ReportingError(Exception):
    """A failure that is explained to the user; never a bug of ours."""

    exit_code = 1


class UsageError(ReportingError):
    """What was asked for can't be meant: a holiday as a session, an unknown kind of report."""

    exit_code = 2


class NotReady(ReportingError):
    """The period has not ended, or a day that it needs is not sealed yet."""

    exit_code = 3


class ValidationFailed(ReportingError):
    """Something is not what it claims to be: a digest, a chain, a configuration file."""

    exit_code = 4


class SourceUnavailable(ReportingError):
    """A source or the store did not answer; the same command may succeed later."""

    exit_code = 75


class EngineUnavailable(ReportingError):
    """Nobody is there to work the day out, or they die over it; see REPORTING_ENGINE."""

    exit_code = 75


class SigningFailed(ValidationFailed):
    """A report can not be signed: the key, its certificate or the authority's answer is no good."""


class SigningUnavailable(SigningFailed):
    """The time-stamp authority or a revocation service did not answer; it may the next time."""

    exit_code = 75


class LeaseLost(ReportingError):
    """Another process may have taken the work over: nothing of it is written."""

    exit_code = 75


class DeliveryFailed(ReportingError):
    """A report did not reach somebody, or nobody knows whether it did; ``status`` shows who."""

    exit_code = 5
