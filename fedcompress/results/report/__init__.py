"""One HTML page about runs: it opens offline, and every plot has its numbers in a table."""

from __future__ import annotations

from fedcompress.results.report.page import write_report

__all__ = ["write_report"]
