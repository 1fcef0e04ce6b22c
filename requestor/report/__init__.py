"""The HTML report of a run: one page, without scripts or anything from elsewhere, made from the run's folder alone."""

from requestor.report.page import write_report

__all__ = ["write_report"]
