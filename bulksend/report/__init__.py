"""What people read, and what programs read in its place."""

from __future__ import annotations

from bulksend.report.became import Became
from bulksend.report.checks import Check, Level, checks_facts, print_checks, print_prospects, verdict_of
from bulksend.report.export import write_list, write_results
from bulksend.report.figures import Durations, Kinds, Rate
from bulksend.report.outline import CampaignReport, Requests
from bulksend.report.page import render_page
from bulksend.report.progress import LiveProgress
from bulksend.report.ses_metrics import SesMetrics, ses_metrics_facts
from bulksend.report.suppressions import write_suppressions
from bulksend.report.text import campaign_facts, print_campaigns, print_doubts, print_plan, print_status, rate_in_words
from bulksend.report.trace import (
    Step,
    Trace,
    TracedMail,
    TracedRow,
    answer_of,
    event_in_words,
    print_trace,
    trace_facts,
)
from bulksend.report.waiting import Pending, why_pending

__all__ = [
    "Became",
    "CampaignReport",
    "Check",
    "Durations",
    "Kinds",
    "Level",
    "LiveProgress",
    "Pending",
    "Rate",
    "Requests",
    "SesMetrics",
    "Step",
    "Trace",
    "TracedMail",
    "TracedRow",
    "answer_of",
    "campaign_facts",
    "checks_facts",
    "event_in_words",
    "print_campaigns",
    "print_checks",
    "print_doubts",
    "print_plan",
    "print_prospects",
    "print_status",
    "print_trace",
    "rate_in_words",
    "render_page",
    "ses_metrics_facts",
    "trace_facts",
    "verdict_of",
    "why_pending",
    "write_list",
    "write_results",
    "write_suppressions",
]
