"""What became of the mails after SES had accepted them, on the page: against what SES takes for too much.

Source: Amazon SES Developer Guide, Enforcement FAQ (bounce rate, complaint rate); Monitoring your sender reputation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bulksend.event import BounceKind, EventType
from bulksend.report.became import Became, became_in_words
from bulksend.report.markup import escaped, instant, share, some, table, under
from bulksend.report.outline import CampaignReport
from bulksend.report.reasons import kinds_table

__all__ = ["fate_tiles", "fates_section"]


@dataclass(frozen=True, slots=True)
class _Limits:
    """Shares from which SES reviews an account, and from which it may pause it, in ten-thousandths."""

    review: int
    pause: int

    def beside(self, count: int, of: int) -> str:
        """Ready to stand under a share of that kind."""
        words = f"SES reviews an account from {_limit(self.review)}, and may pause it from {_limit(self.pause)}"
        is_over = 10_000 * count >= self.review * of > 0
        return f'<small class="{"over" if is_over else "limit"}">{words}</small>'


_BOUNCES, _COMPLAINTS = _Limits(500, 1000), _Limits(10, 50)
_REFUSED = {EventType.REJECT, EventType.RENDERING_FAILURE}
_NOT_ACCEPTED = frozenset({"rejected", "rendering failed"})
"""SES had accepted these and did not send them: they are dead, and no part of those accepted."""
_PERMANENT, _COMPLAINED = f"bounced: {BounceKind.PERMANENT.value}", "complained"


def fate_tiles(report: CampaignReport) -> list[tuple[str, str]]:
    """(words, ready number) of what people ask for first; none where no event has come."""
    became, accepted = report.became, report.tally.accepted
    if became is None or became.last_at is None:
        return []
    delivered, bounced, complained = (
        became.types.get(kind, 0) for kind in (EventType.DELIVERY, EventType.BOUNCE, EventType.COMPLAINT)
    )
    lasting = became.bounces.get(BounceKind.PERMANENT, 0)
    return [
        ("delivered", f"{delivered:,}{under(f'{share(delivered, accepted)} of accepted')}"),
        ("bounced", f"{bounced:,}{under(f'{share(lasting, accepted)} for good')}"),
        ("complained", f"{complained:,}{under(f'{share(complained, accepted, finely=True)} of accepted')}"),
    ]


def fates_section(report: CampaignReport) -> str:
    """Empty where nothing is known."""
    became = report.became
    if became is None:
        return ""
    accepted = report.tally.accepted
    listed = list(_rows(became, accepted))
    if became.last_at is None and not listed:
        return ""
    counted = table(
        "Rows by what became of their mails; a row counts in each that befell it",
        ("what", "rows", "share of accepted"),
        listed,
        numbers=(1, 2),
    )
    why = kinds_table("Bounces by kind, and by the receiving server's words", "mails", "bounced", report.bounced)
    copies = ""
    if became.copies:
        copies = (
            f"<p>Of {some(became.copies, 'row')} SES has sent more than one mail: a request was sent again though it "
            "had been accepted, or somebody decided so.</p>"
        )
    if became.last_at is None:
        by = "By the links in the mails: no event of theirs has come."
    else:
        by = (
            f"By events of {some(became.rows, 'row')}, the latest of {instant(became.last_at)}. SES reports what it "
            "hears; what it has not heard may come later, or never."
        )
    return (
        f"<section><h2>Delivered and bounced</h2><p>{by} {_of_what(report, became)}</p>"
        f"{counted}{why if report.bounced.total else ''}{copies}</section>"
    )


def _rows(became: Became, accepted: int) -> Iterator[tuple[str, str, str]]:
    for words, count in became_in_words(became):
        beside = {_PERMANENT: _BOUNCES, _COMPLAINED: _COMPLAINTS}.get(words)
        what = escaped(f"{words[0].upper()}{words[1:]}") + ("" if beside is None else beside.beside(count, accepted))
        of = "–" if words in _NOT_ACCEPTED else share(count, accepted, finely=words == _COMPLAINED)
        yield what, f"{count:,}", of


def _of_what(report: CampaignReport, became: Became) -> str:
    """What the shares are parts of, and why others may be found elsewhere."""
    accepted = report.tally.accepted
    said = f"The share is of the {some(accepted, 'row')} that SES has accepted so far"
    refused = sum(became.types.get(kind, 0) for kind in _REFUSED)
    if refused:
        of = "the one" if refused == 1 else f"the {refused:,}"
        said += f", without {of} that it accepted and then did not send"
    said += "; SES's own rates are those of all mails that the account has sent lately."
    if report.campaign.halt is not None:
        said += (
            " A canary or a breaker judges by mails sent in the time that it names, and only by those of which it is "
            "known whether they arrived, so its share may be another."
        )
    return said


def _limit(ten_thousandths: int) -> str:
    return f"{ten_thousandths / 100:g}\u202f%"
