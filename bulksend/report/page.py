"""A report as one HTML file: no script, no network, nothing but what is in it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files

import orjson

from bulksend import __version__
from bulksend.report.became import EVENTS_UNREAD
from bulksend.report.fates import fate_tiles
from bulksend.report.markup import bounded, duration_in_words, escaped, instant, isolated, some, unbroken, under
from bulksend.report.outline import CampaignReport, Weight, state_in_words, verdict_on
from bulksend.report.sections import sections
from bulksend.report.text import LIMIT, rate_in_words

__all__ = ["render_page"]

MAX_NAME, MAX_FACT = 128, 320
"""Characters of a title, and of any other text of others at the top."""


def render_page(report: CampaignReport) -> str:
    """The whole file: at most 300 kB, whatever the campaign."""
    style, digest = _style()
    name = escaped(bounded(report.campaign.name, MAX_NAME))
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(digest)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="format-detection" content="telephone=no">',
            '<meta name="robots" content="noindex">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{name}: report</title>",
            '<link rel="icon" href="data:,">',
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            *_head(report),
            "<main>",
            *(section for section in sections(report) if section),
            "</main>",
            _foot(report),
            "</body>",
            "</html>",
            "",
        )
    )


@cache
def _style() -> tuple[str, str]:
    """The style sheet, and its SHA-256 as a Content-Security-Policy names it."""
    style = files("bulksend.report").joinpath("page.css").read_text("utf-8")
    return style, base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _policy(digest: str) -> str:
    """What the page may do: show itself."""
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def _head(report: CampaignReport) -> Iterator[str]:
    weight, verdict = verdict_on(report)
    yield f"<header><h1>{isolated(report.campaign.name, MAX_NAME)}</h1>"
    yield f'<p class="soft">What became of this campaign, as of {instant(report.made_at)}</p>'
    if report.with_addresses:
        yield (
            f'<div class="notice {Weight.WARN}"><p><strong>This page contains personal data:</strong> addresses of '
            "recipients. Keep it as safe as the list.</p></div>"
        )
    yield f'<div class="notice {weight}"><p class="verdict"><strong>{verdict}</strong></p>'
    is_told = report.became is not None and report.became.last_at is not None
    later = "events: see below" if is_told else "events that this report does not have"
    yield (
        '<p class="soft">Accepted means that SES has taken the mail over. Whether it was delivered, SES says later, in '
        f"{later}.</p></div>"
    )
    if report.became is None:
        yield (
            f'<div class="notice {Weight.WARN}"><p><strong>What became of the mails cannot be told:</strong> '
            f"{EVENTS_UNREAD}.</p></div>"
        )
    if report.campaign.halt is not None:
        yield (
            f'<div class="notice {Weight.BAD}"><p><strong>It halted:</strong> '
            f"{isolated(unbroken(report.campaign.halt.reason), MAX_FACT)}</p>"
            f"<p>What to do: {isolated(unbroken(report.campaign.halt.remedy), MAX_FACT)}</p></div>"
        )
    for why in report.held_up:
        yield (
            f'<div class="notice {Weight.WARN}"><p><strong>Nothing goes out:</strong> '
            f"{isolated(unbroken(why), MAX_FACT)}.</p></div>"
        )
    yield f"{_tiles(report)}{_facts(report)}</header>"


def _tiles(report: CampaignReport) -> str:
    """What people ask for first; where events tell what became of the mails, that above what became of the requests."""
    tally = report.tally
    accepted = ("accepted", f"{tally.accepted:,}")
    without = under("not counting waits") if report.pace.silent_s else ""
    mean = "–" if report.duration_s is None else f"{rate_in_words(report.pace.per_s)}{without}"
    pace = ("mean per second", mean)
    others = [
        ("dead", f"{tally.dead:,}"),
        ("in doubt", f"{tally.in_doubt:,}"),
        ("still to be sent", f"{tally.pending + tally.in_flight:,}"),
        ("skipped", f"{sum(tally.skipped.values()):,}"),
    ]
    fates = fate_tiles(report)
    if fates:
        return _row("four", [accepted, *fates]) + _row("five", [*others, pace])
    return _row("", [accepted, *others, pace])


def _row(of: str, tiles: Sequence[tuple[str, str]]) -> str:
    shown = "".join(f"<div><dt>{words}</dt><dd>{value}</dd></div>" for words, value in tiles)
    return f'<dl class="{f"tiles {of}".rstrip()}">{shown}</dl>'


def _facts(report: CampaignReport) -> str:
    campaign = report.campaign
    binding = campaign.binding
    where = (
        f"{isolated(binding.endpoint_url, MAX_FACT)}, which is not SES"
        if binding.endpoint_url
        else isolated(binding.account, MAX_FACT)
    )
    listed = [
        ("State", state_in_words(report)),
        ("Sender", isolated(_frozen(report, "sender.from"), MAX_FACT)),
        ("Account", where),
        ("Region", isolated(binding.region, MAX_FACT)),
        ("Planned", instant(campaign.created_at)),
        ("First request", instant(report.first_attempt_at)),
        ("Last answer", instant(report.last_answer_at)),
        ("Duration", "–" if report.duration_s is None else duration_in_words(report.duration_s)),
        ("Mails", _mails(report)),
        ("Campaign id", f"<code>{isolated(campaign.id, MAX_FACT)}</code>"),
        ("List", f"SHA-256 <code>{isolated(campaign.list_digest, MAX_FACT)}</code>"),
    ]
    return f'<dl class="facts">{"".join(f"<dt>{words}</dt><dd>{value}</dd>" for words, value in listed)}</dl>'


def _mails(report: CampaignReport) -> str:
    campaign = report.campaign
    words = f"{campaign.entries:,}"
    if campaign.recipients != campaign.entries:
        words += f", to {some(campaign.recipients, 'recipient')} with copies (Cc and Bcc)"
    if LIMIT in campaign.frozen:
        words += f"; limited to the first {int(campaign.frozen[LIMIT]):,} of the list"
    return words


def _frozen(report: CampaignReport, key: str) -> str:
    """A key of the campaign file, as it was when it was planned. A very long one is kept as a digest only."""
    try:
        return str(orjson.loads(report.campaign.frozen.get(key, '""')))
    except orjson.JSONDecodeError:
        return "as in the campaign file"


def _foot(report: CampaignReport) -> str:
    rows = "addresses are shown in full" if report.with_addresses else "addresses are masked"
    return (
        f"<footer><p>Counted from the journal at {instant(report.made_at)}, by bulksend {escaped(__version__)}; "
        f"{rows}. All times are UTC.</p></footer>"
    )
