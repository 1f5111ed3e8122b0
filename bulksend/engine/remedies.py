"""Why sending stopped, in words, and what a person has to do. Pure.

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

_CAMPAIGN_REMEDIES = (
    ("template", "Create the template in this account and region, or correct content.template in the campaign file."),
    ("configurationsetsendingpaused", "Enable sending for the configuration set, then send again."),
    ("configurationset", "Create the configuration set, or correct sender.configuration_set in the campaign file."),
    ("pool", "The configuration set names a dedicated IP pool that does not exist: correct the configuration set."),
    ("mailfrom", "Verify the sender's address or domain in this account and region, then send again."),
    ("unknownoperation", "The endpoint does not offer SendBulkEmail: correct aws.endpoint_url."),
)


def campaign_halt(status: str, text: str) -> Halt:
    """SES refused for a reason that concerns every entry of this campaign."""
    letters = "".join(c for c in status + text if c.isalnum()).lower()
    remedy = next(
        (words for key, words in _CAMPAIGN_REMEDIES if key in letters),
        "See that the template, configuration set and identities exist in this account and region, then send again.",
    )
    return Halt(f"SES refused the campaign: {_quoted(status, text)}", remedy)


def account_halt(status: str, text: str) -> Halt:
    """SES refused for a reason that concerns every campaign of the account."""
    return Halt(
        f"SES does not let this account send: {_quoted(status, text)}",
        "Look at the account's status in the SES console and answer AWS Support; then send again.",
        HaltScope.ACCOUNT,
    )


def credentials_halt(code: str, text: str) -> Halt:
    """Credentials were refused, read anew, and refused again."""
    return Halt(
        f"the credentials were refused: {_quoted(code, text)}",
        "Renew the credentials, and see that they allow ses:SendBulkEmail and ses:GetAccount; then send again.",
        HaltScope.ACCOUNT,
    )


def clock_halt() -> Halt:
    """Signed with the server's own clock, requests are still too old or too new."""
    return Halt(
        "SES says that the time of the requests is wrong, even by its own clock",
        "Set this machine's clock (NTP), and see that no proxy rewrites the Date header; then send again.",
        HaltScope.ACCOUNT,
    )


def doubtful_probes_halt() -> Halt:
    """Ten single-entry probes in a row got no readable answer."""
    return Halt(
        "ten probes in a row got no readable answer: each entry tried may have been accepted",
        "Look at the network and the AWS Health dashboard, then send again. bulksend resolve lists what is in doubt.",
        HaltScope.ACCOUNT,
    )


def streak_halt(status: str, text: str, entries: int) -> Halt:
    """Entry after entry got the same refusal."""
    return Halt(
        f"{entries} entries running were refused for the same reason: {_quoted(status, text)}",
        "The campaign is at fault, not its recipients (they are pending again): mend what SES names, then send again.",
    )


def without_addresses(text: str) -> str:
    """SES's error texts name recipients; what goes to a terminal or a log does not."""
    return re.sub(r"[^\s<>,;:'\"]+@[^\s<>,;:'\"]+", "[address]", text)


def _quoted(status: str, text: str) -> str:
    return without_addresses(f"{status}: {text}" if text else status)
