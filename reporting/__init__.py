"""SLA and business-metrics reports that an auditor can check without us."""

__version__ = "0.1.0"
