"""The two sending operations: what they accept, what they answer, and what a fault makes of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from bulksend.simulator.account import Account
from bulksend.simulator.answers import Reply, SesError, error_reply, json_reply
from bulksend.simulator.faults import STATUSES, Fault, Mangle, Rule
from bulksend.simulator.members import json_object
from bulksend.simulator.tally import CampaignLog, Mark, message_ids
from bulksend.simulator.validate import Entry, bulk_call, bulk_entries, email_call

__all__ = ["Sent", "befall", "send_bulk_email", "send_email"]

_UNVERIFIED = "Email address is not verified. The following identities failed the check: "
_EMAIL_ERRORS = {
    "ACCOUNT_THROTTLED": (429, "TooManyRequestsException"),
    "ACCOUNT_DAILY_QUOTA_EXCEEDED": (400, "LimitExceededException"),
    "ACCOUNT_SUSPENDED": (400, "AccountSuspendedException"),
    "ACCOUNT_SENDING_PAUSED": (400, "SendingPausedException"),
    "CONFIGURATION_SET_SENDING_PAUSED": (400, "SendingPausedException"),
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": (400, "MailFromDomainNotVerifiedException"),
    "MESSAGE_REJECTED": (400, "MessageRejected"),
    "CONFIGURATION_SET_NOT_FOUND": (404, "NotFoundException"),
    "TEMPLATE_NOT_FOUND": (404, "NotFoundException"),
    "TRANSIENT_FAILURE": (503, "ServiceUnavailable"),
}
"""What SendEmail, which has no statuses, says instead of each."""


@dataclass(slots=True)
class Sent:
    """A call with its answer. `ambiguous`: even if it arrives, the answer leaves open what became of the entries."""

    reply: Reply
    campaign: str = ""
    entries: int = 0
    ambiguous: bool = False
    unknown_statuses: int = 0
    """Entries with a status that nobody can read, in an answer that is otherwise clean."""
    log: CampaignLog | None = None
    marks: list[Mark] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Which entries were accepted, by place in the call."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A status for an entry; SUCCESS has no text."""

    status: str
    text: str = ""


_SUCCESS = _Outcome("SUCCESS")
_PAUSED = _Outcome("CONFIGURATION_SET_SENDING_PAUSED", "Sending is paused for the configuration set.")
_DAY_SPENT = _Outcome("ACCOUNT_DAILY_QUOTA_EXCEEDED", "Daily message quota exceeded.")


def _peek(call: dict[str, Any]) -> tuple[list[str], str, int]:
    """To addresses, campaign and number of entries of a call that may yet turn out to be wrong in any way."""
    addresses: list[str] = []
    campaign = ""
    entries = call.get("BulkEmailEntries")
    entries = entries if isinstance(entries, list) else [call]
    for entry in entries:
        try:
            addresses += entry["Destination"]["ToAddresses"]
        except (KeyError, TypeError):
            continue
    try:
        tags = entries[0].get("ReplacementTags") or entries[0].get("EmailTags") or []
        campaign = next((tag["Value"] for tag in tags if tag["Name"] == "bulksend-campaign"), "")
    except (AttributeError, IndexError, KeyError, TypeError):
        campaign = ""
    return [a for a in addresses if isinstance(a, str)], campaign if isinstance(campaign, str) else "", len(entries)


def befall(fault: Fault | None, reply: Reply) -> Reply:
    """What a fault of the whole call makes of the answer that it would have had."""
    if fault is None:
        return reply
    body, by_ses = reply.body, fault.by_ses
    if fault.http_status is not None:
        if fault.by_ses:
            error = SesError(fault.http_status, fault.code, fault.text)
            body, code = error_reply(error).body, fault.code
        else:
            body, code = f"<html><body><h1>{fault.http_status} {fault.text}</h1></body></html>".encode(), ""
        return Reply(fault.http_status, body, code, by_ses, delay_ms=fault.delay_ms)
    match fault.mangle:
        case Mangle.NOTHING:
            pass
        case Mangle.MALFORMED:
            body = body[: len(body) // 2] + b"\xff<"
        case Mangle.EMPTY:
            body = b""
        case Mangle.TOO_FEW | Mangle.TOO_MANY:
            answer = orjson.loads(body)
            if results := answer.get("BulkEmailEntryResults"):
                results = results[:-1] if fault.mangle is Mangle.TOO_FEW else [*results, results[-1]]
                body = orjson.dumps({"BulkEmailEntryResults": results})
    return Reply(reply.http_status, body, by_ses=by_ses, delivery=fault.delivery, delay_ms=fault.delay_ms)


def send_bulk_email(account: Account, request: int, body: bytes) -> Sent:
    """SendBulkEmail."""
    return _send(account, request, body, "SendBulkEmail")


def send_email(account: Account, request: int, body: bytes) -> Sent:
    """SendEmail: one entry, and an error where the bulk call has a status."""
    return _send(account, request, body, "SendEmail")


def _send(account: Account, request: int, body: bytes, operation: str) -> Sent:
    """Check, spend, accept; errors become answers here, so that the tally knows whose they are."""
    sent = Sent(Reply(500, b""))
    try:
        call = json_object(body)
        addresses, sent.campaign, sent.entries = _peek(call)
        fault, entry_rules = account.faults.begin(operation, addresses)
        if fault is not None and not fault.accepts:
            sent.reply = befall(fault, json_reply({}))
        else:
            account.check_sending()
            if operation == "SendEmail":
                _email(account, request, call, sent, entry_rules)
            else:
                _bulk(account, request, call, sent, entry_rules)
            sent.reply = befall(fault, sent.reply)
        sent.ambiguous = fault is not None and fault.ambiguous
    except SesError as error:
        sent.reply = error_reply(error)
    sent.log = account.tally.note_request(sent.campaign, throttled=sent.reply.http_status == 429)  # noqa: PLR2004
    return sent


def _spend(account: Account, recipients: int) -> None:
    """Both quotas, for a whole call."""
    if not account.settings.enforce:
        return
    if account.settings.daily_refusal == "call" and account.day_is_spent():
        raise SesError(400, "LimitExceededException", "Daily message quota exceeded.")
    if not account.bucket.take(recipients, account.steady()):
        raise SesError(429, "TooManyRequestsException", "Maximum sending rate exceeded.")


def _decide(account: Account, entry: Entry, entry_rules: list[Rule]) -> _Outcome:
    """What becomes of one entry; a success is counted in the day."""
    fault = account.faults.for_entry(entry.to, entry_rules)
    if fault is not None:
        return _Outcome(fault.entry_status, fault.text)
    if entry.problem:
        return _Outcome("INVALID_PARAMETER", entry.problem)
    if account.settings.sandbox:
        unverified = [address for address in entry.addresses if not account.is_verified(address)]
        if unverified:
            return _Outcome("MESSAGE_REJECTED", _UNVERIFIED + ", ".join(unverified))
    if account.day_is_spent() and account.settings.daily_refusal == "entry":
        return _DAY_SPENT
    return _SUCCESS


def _bulk(account: Account, request: int, call: dict[str, Any], sent: Sent, entry_rules: list[Rule]) -> None:
    template = bulk_call(call)
    entries = bulk_entries(call, strict_addresses=account.settings.bad_address == "call")
    account.check_call(call, template)
    paused = account.sets.is_paused(call.get("ConfigurationSetName"))
    _spend(account, sum([entry.recipients for entry in entries]))
    places: list[int] = []
    accepted: list[Entry] = []
    results: list[dict[str, str]] = []
    simple = not (entry_rules or paused or account.settings.sandbox or account.settings.daily_refusal == "entry")
    ids, steady = message_ids(account.run, request), account.steady()
    for place, entry in enumerate(entries):
        # The way of nearly all entries of a load test: nothing that could befall them.
        easy = simple and not entry.problem and "fault." not in entry.to
        outcome = _SUCCESS if easy else _PAUSED if paused else _decide(account, entry, entry_rules)
        if outcome is _SUCCESS:
            places.append(place)
            accepted.append(entry)
            results.append({"Status": "SUCCESS", "MessageId": ids(place)})
            if not simple:
                account.window.add(entry.recipients, steady)
        else:
            results.append({"Status": outcome.status, "Error": outcome.text})
            sent.unknown_statuses += outcome.status not in STATUSES
    if simple:
        account.window.add(sum([entry.recipients for entry in accepted]), steady)
    if accepted:
        account.insights.accepted(accepted[0].campaign, call)
    sent.places = places
    sent.marks = account.tally.accept(request, places, accepted, account.now())
    sent.reply = json_reply({"BulkEmailEntryResults": results})


def _email(account: Account, request: int, call: dict[str, Any], sent: Sent, entry_rules: list[Rule]) -> None:
    entry, template = email_call(call)
    account.check_call(call, template)
    _spend(account, entry.recipients)
    paused = account.sets.is_paused(call.get("ConfigurationSetName"))
    outcome = _PAUSED if paused else _decide(account, entry, entry_rules)
    if outcome is not _SUCCESS:
        http_status, code = _EMAIL_ERRORS.get(outcome.status, (400, "BadRequestException"))
        raise SesError(http_status, code, outcome.text)
    account.window.add(entry.recipients, account.steady())
    account.insights.accepted(entry.campaign, call)
    sent.places = [0]
    sent.marks = account.tally.accept(request, [0], [entry], account.now())
    sent.reply = json_reply({"MessageId": message_ids(account.run, request)(0)})
