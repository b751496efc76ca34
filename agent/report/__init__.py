"""The report: one self-contained HTML page of a ledger, with no network and no claim beyond the records."""

from .model import ReportData
from .render import ReportError, render_report, write_report

__all__ = ["ReportData", "ReportError", "render_report", "write_report"]
