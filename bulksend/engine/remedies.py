"""Why sending stopped, in words, and what a person has to do. Pure.

How to go on then (bulksend resume) is for whoever shows it: a rehearsal cannot be resumed.

Sources: API reference, SendBulkEmail (errors) and BulkEmailEntryResult (statuses).
"""

from __future__ import annotations

import re

from bulksend.model import Halt, HaltScope

__all__ = [
    "account_halt",
    "campaign_halt",
    "clock_halt",
    "credentials_halt",
    "doubtful_probes_halt",
    "streak_halt",
    "without_addresses",
]

MAX_SEARCHED = 4000
"""Characters of a text that names somebody; the journal keeps 2,000 of what SES says."""
_MAX_ADDRESS = 512
"""Characters of an address, with room for the quotes and escapes of its 320 (RFC 5321, 4.5.3.1)."""

_WRITTEN_OUT = r"&(?:\#0{0,6}64(?!\d);?|\#x0{0,6}40(?![0-9a-f]);?|commat;)"
_AT = rf"(?:[@\uff20\ufe6b]|{_WRITTEN_OUT})"
"""The sign itself, full-width, small, or as HTML has it."""
_CODED_AT = r"(?:%(?:25){0,3}40|=40|\\x40|\\u0040)(?=[^\s<>,;:\"]{0,255}?(?:[.\u3002\uff0e\uff61]|[%=]2e)[^\W\d_])"
"""As URLs, mail headers and JSON have it. It may be part of a number, so a domain with a dot must follow."""
_IN_A_WORD = rf'(?:{_WRITTEN_OUT}|{_AT}\[[\w:.]{{1,64}}\]|[^\s<>,;:"])'
_ANY_AT = re.compile(rf"{_AT}|{_CODED_AT}", re.IGNORECASE)
_NAMES_SOMEBODY = re.compile(rf"(?<=.)(?:{_AT}.|{_CODED_AT})", re.IGNORECASE)
_AFTER_QUOTES = re.compile(rf"(?:{_AT}|{_CODED_AT}).", re.IGNORECASE)
_WORD = re.compile(
    rf'"(?:(?:[^"\\]|\\.){{0,128}}+"|[^"]{{0,128}}+")(?:{_AT}|{_CODED_AT}){_IN_A_WORD}++|{_IN_A_WORD}++',
    re.IGNORECASE | re.DOTALL,
)
"""What has no space or other separator in it, unless that is in the quoted local part of an address."""

_CAMPAIGN_REMEDIES = (
    ("template", "Create the template in this account and region, or correct content.template in the campaign file."),
    ("configurationsetsendingpaused", "Enable sending for the configuration set."),
    ("configurationset", "Create the configuration set, or correct sender.configuration_set in the campaign file."),
    ("pool", "The configuration set names a dedicated IP pool that does not exist: correct the configuration set."),
    ("mailfrom", "Verify the sender's address or domain in this account and region."),
    ("unknownoperation", "The endpoint does not offer SendBulkEmail: correct aws.endpoint_url."),
)


def campaign_halt(status: str, text: str, endpoint_remedy: str = "") -> Halt:
    """SES refused for a reason that concerns every entry of this campaign.

    `endpoint_remedy` is what to do if the reason is the multi-region endpoint that it is sent by; empty without one.
    """
    letters = _letters(status, text)
    remedy = _of_endpoint(letters, endpoint_remedy) or next(
        (words for key, words in _CAMPAIGN_REMEDIES if key in letters),
        "See that the template, configuration set and identities exist in this account and region.",
    )
    return Halt(f"SES refused the campaign: {_quoted(status, text)}", remedy)


def account_halt(status: str, text: str) -> Halt:
    """SES refused for a reason that concerns every campaign of the account."""
    return Halt(
        f"SES does not let this account send: {_quoted(status, text)}",
        "Look at the account's status in the SES console and answer AWS Support.",
        HaltScope.ACCOUNT,
    )


def credentials_halt(code: str, text: str, *, by_endpoint: bool = False) -> Halt:
    """Credentials were refused, read anew, and refused again.

    By an endpoint it may be that one Region of two does not let them; whoever does not need that one can go on.
    """
    if by_endpoint:
        return Halt(
            f"the credentials were refused in a Region of the multi-region endpoint: {_quoted(code, text)}",
            "See that they allow ses:SendBulkEmail in both Regions (the Region is part of the ARN of each identity, "
            "template and configuration set), and ses:GetAccount. If they are good no more, renew them.",
        )
    return Halt(
        f"the credentials were refused: {_quoted(code, text)}",
        "Renew the credentials, and see that they allow ses:SendBulkEmail and ses:GetAccount.",
        HaltScope.ACCOUNT,
    )


def clock_halt(*, by_endpoint: bool = False) -> Halt:
    """Signed with the server's own clock, requests are still too old or too new.

    Those for an endpoint cannot be signed with it: others go on.
    """
    if by_endpoint:
        return Halt(
            "SES says that the time of the requests is wrong, and what is for a multi-region endpoint can be signed by "
            "this machine's clock alone",
            "Set this machine's clock (NTP). Campaigns without an endpoint go by SES's own clock meanwhile.",
        )
    return Halt(
        "SES says that the time of the requests is wrong, even by its own clock",
        "Set this machine's clock (NTP), and see that no proxy rewrites the Date header.",
        HaltScope.ACCOUNT,
    )


def doubtful_probes_halt() -> Halt:
    """Ten single-entry probes in a row got no readable answer."""
    return Halt(
        "ten probes in a row got no readable answer: each entry tried may have been accepted",
        "Look at the network and the AWS Health dashboard. bulksend resolve CAMPAIGN lists what is in doubt.",
        HaltScope.ACCOUNT,
    )


def streak_halt(status: str, text: str, entries: int, endpoint_remedy: str = "") -> Halt:
    """Entry after entry got the same refusal; `endpoint_remedy` as for `campaign_halt`."""
    return Halt(
        f"{entries} entries running were refused for the same reason: {_quoted(status, text)}",
        _of_endpoint(_letters(status, text), endpoint_remedy)
        or "The campaign is at fault, not its recipients (they are pending again): mend what SES names.",
    )


def without_addresses(text: str) -> str:
    """SES's error texts name recipients; what goes to a terminal, a log or a report does not.

    A text without any address is returned as it is; of any other, at most `MAX_SEARCHED` characters.
    """
    if _ANY_AT.search(text) is None:
        return text
    if len(text) <= MAX_SEARCHED:
        return _WORD.sub(_masked, text)
    # An address that is cut in two would not be known for one: what begins near the end of the search is left out.
    shown, seen, end = "", 0, MAX_SEARCHED
    for word in _WORD.finditer(text, 0, MAX_SEARCHED):
        if word.start() > MAX_SEARCHED - _MAX_ADDRESS or word.end() == MAX_SEARCHED:
            end = word.start()
            break
        shown += text[seen : word.start()] + _masked(word)
        seen = word.end()
    return f"{shown}{text[seen:end]}…"


def _masked(word: re.Match[str]) -> str:
    """A word, or that somebody was named. Apostrophes around an address are not its own, if it is one without them."""
    whole = word[0]
    if word.string[: word.start()].endswith('"') and _AFTER_QUOTES.match(whole):
        return "[address]"  # what is left of one whose quotes go with others
    for inner in (whole.strip("'").rstrip(".'"), whole):
        if _NAMES_SOMEBODY.search(inner):
            before, _, after = whole.partition(inner)
            return f"{before}[address]{after}"
    return whole


def _letters(status: str, text: str) -> str:
    return "".join(c for c in status + text if c.isalnum()).lower()


def _of_endpoint(letters: str, endpoint_remedy: str) -> str:
    """What to do if it is the multi-region endpoint that SES refuses; else empty.

    How SES words it is not documented: a refusal that names an endpoint is taken for one.
    """
    return endpoint_remedy if "endpoint" in letters and "unknownoperation" not in letters else ""


def _quoted(status: str, text: str) -> str:
    return without_addresses(f"{status}: {text}" if text else status)
