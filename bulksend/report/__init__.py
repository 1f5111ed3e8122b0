"""What people read, and what programs read in its place."""

from __future__ import annotations

from bulksend.report.export import write_list, write_results
from bulksend.report.progress import LiveProgress
from bulksend.report.text import campaign_facts, print_doubts, print_plan, print_status, rate_in_words

__all__ = [
    "LiveProgress",
    "campaign_facts",
    "print_doubts",
    "print_plan",
    "print_status",
    "rate_in_words",
    "write_list",
    "write_results",
]
