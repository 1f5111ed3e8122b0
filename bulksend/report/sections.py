"""The sections of a report, each a heading and what is under it; empty where there is nothing to say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bulksend.model import CampaignState, ResultRow, SkipReason
from bulksend.report.became import Became
from bulksend.report.chart import bar, rate_chart
from bulksend.report.fates import fates_section
from bulksend.report.markup import clock, duration_in_words, instant, isolated, share, some, table, under
from bulksend.report.outline import CampaignReport
from bulksend.report.reasons import MAX_REASON, advice_in_doubt, advice_on_dead, in_their_words, kinds_table, named
from bulksend.report.ses_metrics import ses_metrics_section
from bulksend.report.text import rate_in_words

__all__ = ["sections"]

MAX_ADDRESS = 320
"""Characters."""
_MANY_ATTEMPTS = 5
_SKIPPED = {
    SkipReason.INVALID: ("invalid", "The address, or what belongs to the mail, cannot be sent."),
    SkipReason.DUPLICATE: ("duplicate", "The address has a row before this one, and gets that mail."),
    SkipReason.SUPPRESSED: ("suppressed", "The address is not to be written to."),
    SkipReason.CANCELLED: ("cancelled", "The campaign was cancelled before its turn came."),
}


def sections(report: CampaignReport) -> Iterator[str]:
    """All of them, in their order."""
    yield _conservation(report)
    yield _rate(report)
    yield _answers(report)
    yield fates_section(report)
    yield ses_metrics_section(report.by_ses, report.tally, report.became or Became())
    yield _refused(report)
    yield _in_doubt(report)
    yield _retries(report)
    yield _skipped(report)
    yield _rows("refused or given up", report.tally.dead, report.dead_rows, report)
    yield _rows("in doubt", report.tally.in_doubt, report.in_doubt_rows, report)


def _conservation(report: CampaignReport) -> str:
    tally = report.tally
    parts = [
        ("Accepted", tally.accepted, "SES has taken the mail over."),
        ("Dead", tally.dead, "SES refused it for good, or somebody gave it up."),
        ("In doubt", tally.in_doubt, "SES may have accepted it without saying so; it is not sent again by itself."),
        ("In flight", tally.in_flight, "It is sent, and the answer awaited."),
        ("Pending", tally.pending, "It is still to be sent."),
        *(
            (f"Skipped: {_SKIPPED[reason][0]}", tally.skipped.get(reason, 0), _SKIPPED[reason][1])
            for reason in _SKIPPED
        ),
    ]
    total = sum(count for _, count, _ in parts)
    rows = [(f"{name}{under(words)}", f"{count:,}", share(count, tally.rows)) for name, count, words in parts]
    summed = table(
        "Each row of the list is in one of these, and in one only",
        ("state", "rows", "share of rows read"),
        [
            *rows,
            ("Sum", f"{total:,}", share(total, tally.rows)),
            ("Rows read from the list", f"{tally.rows:,}", share(tally.rows, tally.rows)),
        ],
        numbers=(1, 2),
        of="summed",
    )
    if tally.adds_up:
        check = '<p class="check good">The numbers add up: nobody is lost.</p>'
    else:
        why = f"the parts make {total:,}, the list has {some(tally.rows, 'row')}"
        if tally.contradictions:
            entries = "entry" if tally.contradictions == 1 else "entries"
            why += f"; the attempts on {tally.contradictions:,} {entries} contradict each other"
        check = f'<p class="check bad">The numbers do not add up: {why}. Keep the store as it is and report this.</p>'
    return f'<section class="whole"><h2>Every row accounted for</h2>{summed}{check}</section>'


def _rate(report: CampaignReport) -> str:
    spans = report.accepted.spans()
    if not spans:
        return "<section><h2>Rate over time</h2><p>SES has not answered anything yet.</p></section>"
    width = duration_in_words(report.accepted.width_s)
    pace = report.pace
    waits = ""
    if pace.silent_s:
        waits = f", not counting {duration_in_words(pace.silent_s)} of waiting in which it accepted nothing"
    if report.send_rate_per_s is None:
        quota = "The account's send rate is not drawn: SES did not tell it when this report was made."
    else:
        quota = (
            "The dashed line is the send rate that the account was granted when this report was made; it may have been "
            "another at that time."
        )
    return (
        '<section class="whole"><h2>Rate over time</h2>'
        f"<figure>{rate_chart(spans, report.send_rate_per_s)}<figcaption>{instant(spans[0].begins)} to "
        f"{instant(spans[-1].ends)}. Recipients (To, Cc and Bcc) that SES accepted per second, by the time of its "
        f"answer; each step is the mean over {width}. The mean from the first request "
        f"to the last acceptance is {rate_in_words(pace.per_s)} a second{waits}. {quota}"
        "</figcaption></figure></section>"
    )


def _answers(report: CampaignReport) -> str:
    answers, requests = report.answers, report.requests
    if not answers.count:
        return ""
    tiles = "".join(
        f"<div><dt>{words}</dt><dd>{duration_in_words(took_s)}</dd></div>"
        for words, took_s in (
            ("median", answers.percentile_s(50)),
            ("95 % within", answers.percentile_s(95)),
            ("99 % within", answers.percentile_s(99)),
            ("longest", answers.longest_s),
        )
    )
    bins = list(answers.bins())
    most = max(count for _, _, count in bins)
    others = [
        *([f"{some(requests.unanswered, 'request')} that had no answer"] if requests.unanswered else []),
        *([f"{some(requests.not_sent, 'request')} that never left"] if requests.not_sent else []),
    ]
    said = f" Not counted here: {' and '.join(others)}." if others else ""
    return (
        '<section class="whole"><h2>How fast SES answered</h2>'
        f"<p>From the durable intent to send a request of up to 50 recipients to its recorded answer, of "
        f"{some(answers.count, 'answered request')}.{said}</p>"
        f'<dl class="tiles four">{tiles}</dl>'
        + table(
            "Answers by the time they took",
            ("time", "requests", "share of answers", "compared"),
            [
                (_bin(begins_s, ends_s), f"{count:,}", share(count, answers.count), bar(count / most))
                for begins_s, ends_s, count in bins
            ],
            numbers=(1, 2),
            of="bars",
        )
        + "</section>"
    )


def _bin(begins_s: float, ends_s: float) -> str:
    if ends_s == math.inf:
        return f"{begins_s:g} s or more"
    times, unit = (1000, "ms") if ends_s < 1 else (1, "s")
    between = f"{begins_s * times:g}–{ends_s * times:g}" if begins_s else f"under {ends_s * times:g}"
    return f"{between} {unit}"


def _refused(report: CampaignReport) -> str:
    if not report.tally.dead:
        return ""
    name = report.campaign.name
    given_up = again = ""
    if report.given_up:
        given_up = (
            f"<p>{some(report.given_up, 'mail')} of these SES did not refuse: DROPPED was decided by a person after "
            "doubt, FORGOTTEN means that the person's data was removed, SUPPRESSED that nobody is to write there.</p>"
        )
    can_be_sent = not report.pruned and report.campaign.state is not CampaignState.CANCELLED
    if can_be_sent:
        again = f"<p>What is retried is pending again; it is sent by <code>bulksend resume {named(name)}</code>.</p>"

    def advice(status: str) -> str:
        return advice_on_dead(status, name) if can_be_sent else ""

    refused = kinds_table("Dead mails by what SES said last", "mails", "dead", report.refused, advice)
    return f"<section><h2>Refused, by reason</h2>{refused}{given_up}{again}</section>"


def _in_doubt(report: CampaignReport) -> str:
    if not report.tally.in_doubt:
        return ""
    caption = "Mails in doubt by what came back"
    if report.pruned:
        return (
            "<section><h2>In doubt</h2><p>SES may have accepted these mails without saying so. Without the list "
            f"nothing can be decided any more.</p>{kinds_table(caption, 'mails', 'these', report.in_doubt)}</section>"
        )
    return (
        "<section><h2>In doubt, and what to do</h2>"
        "<p>SES may have accepted these mails without saying so. They are not sent again by themselves, since somebody "
        f"might get a second copy. <code>bulksend resolve {named(report.campaign.name)}</code> lists them; then "
        f"{_option('--accepted')} counts them as accepted, {_option('--resend')} sends them again (31 minutes after "
        f"the attempt at the earliest), {_option('--drop')} gives them up.</p>"
        f"{kinds_table(caption, 'mails', 'these', report.in_doubt, advice_in_doubt)}</section>"
    )


def _option(name: str) -> str:
    return f'<code class="option">{name}</code>'


def _retries(report: CampaignReport) -> str:
    again = sum(count for attempts, count in report.attempts.items() if attempts > 1)
    if not again and not report.retried.total:
        return ""
    by_attempts = {n: report.attempts.get(n, 0) for n in range(1, _MANY_ATTEMPTS)}
    by_attempts[_MANY_ATTEMPTS] = sum(n for attempts, n in report.attempts.items() if attempts >= _MANY_ATTEMPTS)
    every = sum(by_attempts.values())
    counted = table(
        "Mails by the requests that they were in",
        ("requests", "mails", "share of mails sent"),
        [
            (f"{attempts}{' or more' if attempts == _MANY_ATTEMPTS else ''}", f"{count:,}", share(count, every))
            for attempts, count in by_attempts.items()
            if count
        ],
        numbers=(1, 2),
    )
    why = ""
    if report.retried.total:
        why = kinds_table("Why mails were to be sent again, each time counted", "times", "times", report.retried)
    return (
        f"<section><h2>Retries</h2><p>{some(again, 'mail')} needed more than one request, as it was known that SES had "
        f"not accepted the one before, or as somebody decided so.</p>{counted}{why}</section>"
    )


def _skipped(report: CampaignReport) -> str:
    tally = report.tally
    listed = [
        (f"{words}{under(meaning)}", f"{count:,}", share(count, tally.rows))
        for reason, (words, meaning) in _SKIPPED.items()
        if (count := tally.skipped.get(reason, 0))
    ]
    if not listed:
        return ""
    who = ""
    if not report.list_gone:
        who = f"<p>Who and why: <code>bulksend results {named(report.campaign.name)} --state skipped</code></p>"
    return (
        '<section class="whole"><h2>Skipped rows</h2>'
        + table("Rows that were never to be sent", ("reason", "rows", "share of rows read"), listed, numbers=(1, 2))
        + f"{who}</section>"
    )


def _rows(which: str, there: int, rows: Sequence[ResultRow], report: CampaignReport) -> str:
    """The first of them."""
    if not there:
        return ""
    if report.list_gone:
        said = f"<p>These {there:,} cannot be shown: {isolated(report.list_gone, MAX_REASON)}.</p>"
        return f"<section><h2>Rows {which}</h2>{said}</section>"
    first = "all of them" if there == len(rows) else f"the first {len(rows):,} of {there:,}"
    listed = table(
        f"{which.capitalize()}: {first}. Rows are counted from 1, without the list's head; times are UTC",
        ("row", f"{'address' if report.with_addresses else 'address, masked'}; last request", "status and reason"),
        [
            (
                f"{row.row:,}",
                isolated(row.address, MAX_ADDRESS).replace("@", "<wbr>@") + under(clock(row.at)),
                in_their_words(row.status, row.reason),
            )
            for row in rows
        ],
        of="rows",
    )
    return f"<section><h2>Rows {which}</h2>{listed}</section>"
