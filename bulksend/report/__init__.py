"""What people read, and what programs read in its place."""

from __future__ import annotations

from bulksend.report.export import write_list, write_results
from bulksend.report.figures import Durations, Kinds, Rate
from bulksend.report.outline import CampaignReport, Requests
from bulksend.report.page import render_page
from bulksend.report.progress import LiveProgress
from bulksend.report.text import campaign_facts, print_campaigns, print_doubts, print_plan, print_status, rate_in_words

__all__ = [
    "CampaignReport",
    "Durations",
    "Kinds",
    "LiveProgress",
    "Rate",
    "Requests",
    "campaign_facts",
    "print_campaigns",
    "print_doubts",
    "print_plan",
    "print_status",
    "rate_in_words",
    "render_page",
    "write_list",
    "write_results",
]
