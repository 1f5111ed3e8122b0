"""Statuses and reasons in a table, each with what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto, unique
from typing import assert_never

from bulksend.outcome import knows_status
from bulksend.report.figures import Kinds
from bulksend.report.markup import isolated, share, table, under

__all__ = [
    "MAX_NAME",
    "MAX_REASON",
    "MOST_KINDS",
    "advice_in_doubt",
    "advice_on_dead",
    "in_their_words",
    "kinds_table",
    "named",
]

MOST_KINDS = 20
"""Reasons listed; all others are summed up."""
MAX_NAME, MAX_STATUS, MAX_REASON = 64, 48, 200
"""Characters of others' texts."""
_OTHERS = "other reasons, taken together"
_WORDS = re.compile(r"_|(?<=[a-z])(?=[A-Z])")
"""Where SES's words are made of words, and so may be broken."""
_TYPED = re.compile(r"[A-Za-z0-9_]{1,48}")
"""A status that can be typed as it stands."""


def named(name: str) -> str:
    """A campaign's name, in a command."""
    return isolated(name, MAX_NAME)


def in_their_words(status: str, reason: str) -> str:
    """In others' words: ready HTML."""
    words = _WORDS.sub(r"\g<0><wbr>", isolated(status, MAX_STATUS)) if status else "–"
    return words + under(isolated(reason, MAX_REASON) if reason else "")


def kinds_table(caption: str, what: str, of: str, kinds: Kinds, advice: Callable[[str], str] = lambda _: "") -> str:
    """Statuses, each with its reason, and once with what is to be done about it (ready HTML).

    `what` is counted, and each share is one `of` that.
    """
    most, rest = kinds.most(MOST_KINDS)
    advised: set[str] = set()
    listed = []
    for kind in most:
        advised_now = "" if kind.status in advised else advice(kind.status)
        advised.add(kind.status)
        listed.append(
            (
                in_their_words(kind.status, kind.reason or "")
                + under(_OTHERS if kind.reason is None else "")
                + under(advised_now),
                f"{kind.entries:,}",
                share(kind.entries, kinds.total),
            )
        )
    if rest:
        listed.append(("all other statuses", f"{rest:,}", share(rest, kinds.total)))
    return table(caption, ("status and reason", what, f"share of {of}"), listed, numbers=(1, 2))


@unique
class _Remedy(Enum):
    """What helps against a refusal.

    NOTHING      SES would refuse the same again, whatever is mended.
    READ_FIRST   it depends on SES's words.
    MEND_ROW     the same again is refused again; the row, or what every row has, is to be mended first.
    MEND_AROUND  the template is mended in SES, and the mail sent again as it is.
    TRY_AGAIN    the trouble was not the mail's.
    DECIDED      somebody did not want it sent.
    """

    NOTHING = auto()
    READ_FIRST = auto()
    MEND_ROW = auto()
    MEND_AROUND = auto()
    TRY_AGAIN = auto()
    DECIDED = auto()


def _spelling(status: str) -> str:
    """SNAKE_CASE and CamelCase of one word fall together; some codes of SES end with their kind."""
    return "".join(c for c in status if c.isalnum()).lower().removesuffix("exception")


_REMEDIES = {
    _spelling(status): remedy
    for remedy, statuses in {
        _Remedy.NOTHING: ("REJECT",),
        _Remedy.READ_FIRST: ("MESSAGE_REJECTED",),
        _Remedy.MEND_ROW: (
            *("INVALID_PARAMETER", "INVALID_PARAMETER_VALUE", "BadRequest", "ValidationError", "Validation"),
            *("MalformedHttpRequest", "RequestEntityTooLarge", "Serialization", "HTTP_400", "HTTP_413"),
        ),
        _Remedy.MEND_AROUND: ("RENDERING_FAILURE",),
        _Remedy.DECIDED: ("DROPPED", "FORGOTTEN", "SUPPRESSED"),
    }.items()
    for status in statuses
}


def advice_on_dead(status: str, campaign: str) -> str:
    """Whether a mail that SES refused may be sent again, and how: ready HTML."""
    remedy = _REMEDIES.get(_spelling(status), _Remedy.TRY_AGAIN)
    option = f" {_option('--status')} {status}" if _TYPED.fullmatch(status) else ""
    again = f"<code>bulksend retry {named(campaign)}{option}</code>"
    match remedy:
        case _Remedy.NOTHING:
            return "SES took it for harmful, a virus for instance. It would refuse the same mail again."
        case _Remedy.READ_FIRST:
            return (
                "Read SES's words first. Content that it refuses is refused again, however often it is sent. Where an "
                "address is not verified, verify it, or leave the sandbox, before mails of this status are retried."
            )
        case _Remedy.MEND_ROW:
            rows = f"<code>bulksend results {named(campaign)} {_option('--format')} list{option}</code>"
            return f"The same mail would be refused again. Mend the rows, and send them as another campaign: {rows}"
        case _Remedy.MEND_AROUND:
            return f"The row lacks what the template uses. Once the template does without it: {again}"
        case _Remedy.TRY_AGAIN:
            return f"Once the trouble is over, or mended: {again}"
        case _Remedy.DECIDED:
            return ""
    assert_never(remedy)


def _option(name: str) -> str:
    """Within a command; no line ends in it."""
    return f'<span class="option">{name}</span>'


def advice_in_doubt(status: str) -> str:
    """What to look for before a doubt is decided."""
    if status == "NO_ANSWER":
        return "The request left, or may have, and no answer came. Look for an event of the mail, then decide."
    if status == "RESULT_COUNT":
        return "SES answered for more or fewer mails than were asked: it has most likely accepted them."
    if status.startswith("HTTP_") or status.endswith(("Exception", "Failure", "Error", "Timeout")):
        return "The server failed at the request: it may have accepted it before. Look for an event of the mail."
    if not knows_status(status):
        return "SES's word is not among those documented. Ask AWS Support what it means, then decide."
    return "Look for an event of the mail, then decide."
