"""The sections of a report, each a heading and what is under it; empty where there is nothing to say."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence

from bulksend.model import CampaignState, ResultRow, SkipReason
from bulksend.outcome import knows_status
from bulksend.report.became import Became, became_in_words
from bulksend.report.chart import bar, rate_chart
from bulksend.report.figures import Kinds
from bulksend.report.markup import clock, duration_in_words, instant, isolated, some, table, under
from bulksend.report.outline import CampaignReport
from bulksend.report.ses_metrics import ses_metrics_section
from bulksend.report.text import rate_in_words

__all__ = ["MOST_KINDS", "sections"]

MOST_KINDS = 20
"""Reasons listed; all others are summed up."""
MAX_NAME, MAX_STATUS, MAX_REASON, MAX_ADDRESS = 64, 48, 200, 320
"""Characters of others' texts."""
_OTHERS = "other reasons, taken together"
_MANY_ATTEMPTS = 5
_ALL = 1000
"""Tenths of a per cent."""
_WORDS = re.compile(r"_|(?<=[a-z])(?=[A-Z])")
"""Where SES's words are made of words, and so may be broken."""

_NOT_ACCEPTED = frozenset({"rejected", "rendering failed"})
"""SES had accepted these and did not send them: they are dead, and no part of those accepted."""

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
    yield _became(report)
    yield ses_metrics_section(report.by_ses, report.tally, report.became or Became())
    yield _refused(report)
    yield _in_doubt(report)
    yield _retries(report)
    yield _skipped(report)
    yield _rows("refused or given up", report.tally.dead, report.dead_rows, report)
    yield _rows("in doubt", report.tally.in_doubt, report.in_doubt_rows, report)


def _share(count: int, of: int) -> str:
    """In per cent, by tenths; none and all are said of none and all alone."""
    if not of:
        return "–"
    tenths = round(1000 * count / of)
    sign = "< " if count and not tenths else "> " if count < of and tenths == _ALL else ""
    return f"{sign}{min(max(tenths, bool(count)), _ALL - (count < of)) / 10:.1f} %".replace(" ", "\u202f")


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
    rows = [(f"{name}{under(words)}", f"{count:,}", _share(count, tally.rows)) for name, count, words in parts]
    summed = table(
        "Each row of the list is in one of these, and in one only",
        ("state", "rows", "share"),
        [
            *rows,
            ("Sum", f"{total:,}", _share(total, tally.rows)),
            ("Rows read from the list", f"{tally.rows:,}", _share(tally.rows, tally.rows)),
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
    mean = report.accepted.total / max(report.duration_s or 0.0, 1.0)
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
        f"answer; each step is the mean over {width}. The mean of all is {rate_in_words(mean)} a second. {quota}"
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
            ("time", "requests", "share", "compared"),
            [
                (_bin(begins_s, ends_s), f"{count:,}", _share(count, answers.count), bar(count / most))
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


def _became(report: CampaignReport) -> str:
    became = report.became
    if became is None:
        return ""
    accepted = report.tally.accepted
    listed = [
        (f"{words[0].upper()}{words[1:]}", f"{count:,}", "–" if words in _NOT_ACCEPTED else _share(count, accepted))
        for words, count in became_in_words(became)
    ]
    if became.last_at is None and not listed:
        return ""
    counted = table(
        "Rows by what became of their mails; a row counts in each that befell it",
        ("what", "rows", "share"),
        listed,
        numbers=(1, 2),
    )
    why = _kinds("Bounces by kind, and by the receiving server's words", "mails", report.bounced)
    copies = ""
    if became.copies:
        copies = (
            f"<p>Of {some(became.copies, 'row')} SES has sent more than one mail: a request was sent again though it "
            "had been accepted, or somebody decided so.</p>"
        )
    judged = ""
    if report.campaign.halt is not None:
        judged = (
            " A canary or a breaker judges by mails sent in the time that it names, and only by those of which it is "
            "known whether they arrived, so its share may be another."
        )
    if became.last_at is None:
        by = "By the links in the mails: no event of theirs has come."
    else:
        by = (
            f"By events of {some(became.rows, 'row')}, the latest of {instant(became.last_at)}. SES reports what it "
            "hears; what it has not heard may come later, or never."
        )
    return (
        f"<section><h2>Delivered and bounced</h2><p>{by} "
        f"The share is of the {some(accepted, 'row')} that SES has accepted so far.{judged}</p>"
        f"{counted}{why if report.bounced.total else ''}{copies}</section>"
    )


def _refused(report: CampaignReport) -> str:
    if not report.tally.dead:
        return ""
    given_up = again = ""
    if report.given_up:
        given_up = (
            f"<p>{some(report.given_up, 'mail')} of these SES did not refuse: DROPPED was decided by a person after "
            "doubt, FORGOTTEN means that the person's data was removed, SUPPRESSED that nobody is to write there.</p>"
        )
    if not report.pruned and report.campaign.state is not CampaignState.CANCELLED:
        again = (
            f"<p>Once a reason is mended, these can be sent: <code>bulksend retry {_name(report)}</code>, then "
            f"<code>bulksend resume {_name(report)}</code>.</p>"
        )
    return (
        f"<section><h2>Refused, by reason</h2>{_kinds('Dead mails by what SES said last', 'mails', report.refused)}"
        f"{given_up}{again}</section>"
    )


def _in_doubt(report: CampaignReport) -> str:
    if not report.tally.in_doubt:
        return ""
    caption = "Mails in doubt by what came back"
    if report.pruned:
        return (
            "<section><h2>In doubt</h2><p>SES may have accepted these mails without saying so. Without the list "
            f"nothing can be decided any more.</p>{_kinds(caption, 'mails', report.in_doubt)}</section>"
        )
    return (
        "<section><h2>In doubt, and what to do</h2>"
        "<p>SES may have accepted these mails without saying so. They are not sent again by themselves, since somebody "
        f"might get a second copy. <code>bulksend resolve {_name(report)}</code> lists them; then "
        f"{_option('--accepted')} counts them as accepted, {_option('--resend')} sends them again (31 minutes after "
        f"the attempt at the earliest), {_option('--drop')} gives them up.</p>"
        f"{_kinds(caption, 'mails', report.in_doubt, _advice)}</section>"
    )


def _option(name: str) -> str:
    return f'<code class="option">{name}</code>'


def _advice(status: str) -> str:
    if status == "NO_ANSWER":
        return "The request left, or may have, and no answer came. Look for an event of the mail, then decide."
    if status == "RESULT_COUNT":
        return "SES answered for more or fewer mails than were asked: it has most likely accepted them."
    if status.startswith("HTTP_") or status.endswith(("Exception", "Failure", "Error", "Timeout")):
        return "The server failed at the request: it may have accepted it before. Look for an event of the mail."
    if not knows_status(status):
        return "SES's word is not among those documented. Ask AWS Support what it means, then decide."
    return "Look for an event of the mail, then decide."


def _retries(report: CampaignReport) -> str:
    again = sum(count for attempts, count in report.attempts.items() if attempts > 1)
    if not again and not report.retried.total:
        return ""
    by_attempts = {n: report.attempts.get(n, 0) for n in range(1, _MANY_ATTEMPTS)}
    by_attempts[_MANY_ATTEMPTS] = sum(n for attempts, n in report.attempts.items() if attempts >= _MANY_ATTEMPTS)
    every = sum(by_attempts.values())
    counted = table(
        "Mails by the requests that they were in",
        ("requests", "mails", "share"),
        [
            (f"{attempts}{' or more' if attempts == _MANY_ATTEMPTS else ''}", f"{count:,}", _share(count, every))
            for attempts, count in by_attempts.items()
            if count
        ],
        numbers=(1, 2),
    )
    why = ""
    if report.retried.total:
        why = _kinds("Why mails were to be sent again, each time counted", "times", report.retried)
    return (
        f"<section><h2>Retries</h2><p>{some(again, 'mail')} needed more than one request, as it was known that SES had "
        f"not accepted the one before, or as somebody decided so.</p>{counted}{why}</section>"
    )


def _skipped(report: CampaignReport) -> str:
    tally = report.tally
    listed = [
        (f"{words}{under(meaning)}", f"{count:,}", _share(count, tally.rows))
        for reason, (words, meaning) in _SKIPPED.items()
        if (count := tally.skipped.get(reason, 0))
    ]
    if not listed:
        return ""
    who = ""
    if not report.list_gone:
        who = f"<p>Who and why: <code>bulksend results {_name(report)} --state skipped</code></p>"
    return (
        '<section class="whole"><h2>Skipped rows</h2>'
        + table("Rows that were never to be sent", ("reason", "rows", "share"), listed, numbers=(1, 2))
        + f"{who}</section>"
    )


def _kinds(caption: str, what: str, kinds: Kinds, advice: Callable[[str], str] = lambda _: "") -> str:
    """Statuses, each with its reason, and with what is to be done about it."""
    most, rest = kinds.most(MOST_KINDS)
    listed = [
        (
            _said(kind.status, kind.reason or "")
            + under(_OTHERS if kind.reason is None else "")
            + under(advice(kind.status)),
            f"{kind.entries:,}",
            _share(kind.entries, kinds.total),
        )
        for kind in most
    ]
    if rest:
        listed.append(("all other statuses", f"{rest:,}", _share(rest, kinds.total)))
    return table(caption, ("status and reason", what, "share"), listed, numbers=(1, 2))


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
                _said(row.status, row.reason),
            )
            for row in rows
        ],
        of="rows",
    )
    return f"<section><h2>Rows {which}</h2>{listed}</section>"


def _said(status: str, reason: str) -> str:
    """In others' words."""
    words = _WORDS.sub(r"\g<0><wbr>", isolated(status, MAX_STATUS)) if status else "–"
    return words + under(isolated(reason, MAX_REASON) if reason else "")


def _name(report: CampaignReport) -> str:
    return isolated(report.campaign.name, MAX_NAME)
