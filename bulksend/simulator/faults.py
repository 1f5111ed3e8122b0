"""Everything that the simulator can be told to do wrong.

By address: a To address whose local part is `fault.NAME`, `fault.NAME.TIMES`, or either with `+anything`, for example
`fault.transient_failure.2+u17@example.com`. Its entry, or for a fault of the whole call the call with it, suffers NAME
the first TIMES times that it comes (always, without TIMES), counted per address. A name not in the table is a 400.

By rule: POST a JSON list to `/_simulator/rules` (it replaces the rules before), or start with `--rules FILE`. A rule
has `fault` (a NAME) and any of:

    share               0 to 1: of the entries (entry faults) or requests (the others), by dice with a seed [1]
    times               stop after so many
    first_request, last_request   of the requests that came since the rule, from 1, inclusive
    address_contains    only entries, or requests with an entry, with this in the To address
    operation           "SendBulkEmail", "GetAccount", ..., or "*" for all ["SendBulkEmail"]
    status, code, text  of the answer: the entry's status for entry faults, else the HTTP status
    no_request_id       true: as a proxy would write it, without SES's headers
    accept              true: the call is accepted before the error; not with what SES writes as 4xx or 503
    delay_ms            the answer takes longer

A rule may have `events` in place of `fault`: what becomes of accepted mails to these addresses, as a list of SES's
names (`"Delivery"`, `"DeliveryDelay"`, `"Bounce/Transient/MailboxFull"`, ...; empty: nothing is heard of them). Of the
other members it takes share, times and address_contains.

| NAME | what happens | accepted |
|---|---|---|
| message_rejected, mail_from_domain_not_verified, configuration_set_not_found | that status for the entry | no |
| configuration_set_does_not_exist, template_not_found, template_does_not_exist | the same | no |
| account_suspended, account_throttled, account_daily_quota_exceeded | the same | no |
| invalid_sending_pool_name, account_sending_paused, configuration_set_sending_paused | the same | no |
| invalid_parameter, invalid_parameter_value, transient_failure, failed | the same | no |
| status | any status for the entry; without a rule one that nobody knows | no |
| http | any HTTP error for the call; without a rule a 500 | no |
| throttled_429, throttling_400, limit_exceeded_400 | that HTTP error for the call, by SES | no |
| bad_request_400, message_rejected_400, mail_from_400, too_large_413, not_found_404 | the same | no |
| unauthorized_401, forbidden_403, request_expired_400, unavailable_503 | the same | no |
| account_suspended_400, sending_paused_400 | the same | no |
| timeout_408, internal_500 | an HTTP error by SES that proves nothing | no |
| bad_gateway_502, unavailable_503_proxy, gateway_timeout_504 | one by a proxy, without SES's headers | no |
| timeout_408_accepted, internal_500_accepted | an HTTP error by SES that proves nothing | yes |
| bad_gateway_502_accepted, unavailable_503_proxy_accepted, gateway_timeout_504_accepted | one by a proxy | yes |
| hang_before_accepting | no answer, ever | no |
| hang_after_accepting | no answer, ever | yes |
| reset_before_reading | RST (the body is read for the tally alone) | no |
| reset_after_accepting | RST | yes |
| close_after_accepting | FIN without an answer | yes |
| truncated_answer | half of the body that Content-Length announces, then FIN | yes |
| malformed_answer | 200, but no JSON | yes |
| empty_answer | 200 without a body | yes |
| too_few_results | 200 with the last result missing | yes |
| too_many_results | 200 with one result more than entries | yes |
| slow_answer | a good answer, 2 s later | yes |

Where SES refuses a call for a reason of its own (a throttle, a bad request), it answers so, whatever the fault says.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, unique
from typing import Any

from bulksend.errors import ConfigError
from bulksend.event import EventType
from bulksend.simulator.answers import Delivery, bad_request
from bulksend.simulator.event_shapes import Fate, read_fate

__all__ = ["FAULTS", "STATUSES", "Fault", "FaultBook", "Mangle", "Rule"]

_ADDRESS = re.compile(r"(?:^|<)fault\.([a-z0-9_]+)(?:\.(\d+))?(?:\+[^@]*)?@")


@unique
class Mangle(Enum):
    """What is done to the body of a 200."""

    NOTHING = "nothing"
    MALFORMED = "malformed"
    EMPTY = "empty"
    TOO_FEW = "too few"
    TOO_MANY = "too many"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to do wrong: to an entry (`entry_status` says what), or to a whole call.

    `http_status` of None leaves the answer to the call as SES would write it.
    """

    name: str
    entry_status: str = ""
    http_status: int | None = None
    code: str = ""
    text: str = ""
    by_ses: bool = True
    accepts: bool = False
    delivery: Delivery = Delivery.WHOLE
    mangle: Mangle = Mangle.NOTHING
    delay_ms: float = 0.0

    @property
    def for_entry(self) -> bool:
        """Whether it befalls a single entry."""
        return self.entry_status != ""

    @property
    def ambiguous(self) -> bool:
        """Whether the answer leaves open what was accepted."""
        if self.http_status is None:
            return self.delivery is not Delivery.WHOLE or self.mangle is not Mangle.NOTHING
        return not self.by_ses or not proves_refusal(self.http_status)


def proves_refusal(http_status: int) -> bool:
    """Whether this status, written by SES, says that nothing was accepted: 4xx but 408, and 503."""
    return (400 <= http_status < 500 and http_status != 408) or http_status == 503  # noqa: PLR2004


STATUSES = {
    "MESSAGE_REJECTED": "Message rejected.",
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": "The sender's email address or domain is not verified.",
    "CONFIGURATION_SET_NOT_FOUND": "Configuration set does not exist.",
    "CONFIGURATION_SET_DOES_NOT_EXIST": "Configuration set does not exist.",
    "TEMPLATE_NOT_FOUND": "Template does not exist.",
    "TEMPLATE_DOES_NOT_EXIST": "Template does not exist.",
    "ACCOUNT_SUSPENDED": "The account has been shut down.",
    "ACCOUNT_THROTTLED": "Maximum sending rate exceeded.",
    "ACCOUNT_DAILY_QUOTA_EXCEEDED": "Daily message quota exceeded.",
    "INVALID_SENDING_POOL_NAME": "The dedicated IP pool does not exist.",
    "ACCOUNT_SENDING_PAUSED": "Sending is paused for this account.",
    "CONFIGURATION_SET_SENDING_PAUSED": "Sending is paused for this configuration set.",
    "INVALID_PARAMETER": "Illegal address.",
    "INVALID_PARAMETER_VALUE": "Illegal address.",
    "TRANSIENT_FAILURE": "A temporary issue; try again.",
    "FAILED": "The request could not be processed.",
}
"""API reference, BulkEmailEntryResult, Status: prose and valid values, which spell three of them differently."""

_REFUSALS = {
    "throttled_429": (429, "TooManyRequestsException", "Maximum sending rate exceeded."),
    "throttling_400": (400, "ThrottlingException", "Rate exceeded"),
    "bad_request_400": (400, "BadRequestException", "The input you provided is invalid."),
    "message_rejected_400": (400, "MessageRejected", "The message contains invalid content."),
    "limit_exceeded_400": (400, "LimitExceededException", "Daily message quota exceeded."),
    "unauthorized_401": (401, "NotAuthorized", "You do not have permission to perform this action."),
    "forbidden_403": (403, "AccessDeniedException", "You are not authorized to perform: ses:SendBulkEmail."),
    "not_found_404": (404, "NotFoundException", "The resource you attempted to access does not exist."),
    "timeout_408": (408, "RequestTimeoutException", "Reading the request timed out."),
    "too_large_413": (413, "RequestEntityTooLargeException", "The request entity is too large."),
    "internal_500": (500, "InternalFailure", "An unknown error."),
    "bad_gateway_502": (502, "", "Bad Gateway"),
    "unavailable_503": (503, "ServiceUnavailable", "A temporary failure of the server."),
    "unavailable_503_proxy": (503, "", "Service Unavailable"),
    "gateway_timeout_504": (504, "", "Gateway Timeout"),
    "account_suspended_400": (400, "AccountSuspendedException", "The account's ability to send email is restricted."),
    "sending_paused_400": (400, "SendingPausedException", "The account's ability to send email is currently paused."),
    "mail_from_400": (400, "MailFromDomainNotVerifiedException", "The sending domain isn't verified."),
    "request_expired_400": (400, "RequestExpired", "The date stamp on the request is more than 15 minutes away."),
}
"""API reference, SendBulkEmail (Errors) and Common Errors; without a code it is a proxy that speaks."""


def _catalogue() -> dict[str, Fault]:
    faults = [Fault(status.lower(), status, text=text) for status, text in STATUSES.items()]
    faults.append(Fault("status", "STATUS_THAT_NOBODY_KNOWS", text="An issue without a name."))
    faults.append(Fault("http", http_status=500, code="InternalFailure", text="An unknown error."))
    for name, (http_status, code, text) in _REFUSALS.items():
        fault = Fault(name, http_status=http_status, code=code, text=text, by_ses=bool(code))
        faults.append(fault)
        if fault.ambiguous:
            faults.append(replace(fault, name=f"{name}_accepted", accepts=True))
    for name, accepts, delivery in (
        ("hang_before_accepting", False, Delivery.HANG),
        ("hang_after_accepting", True, Delivery.HANG),
        ("reset_before_reading", False, Delivery.RESET),
        ("reset_after_accepting", True, Delivery.RESET),
        ("close_after_accepting", True, Delivery.CLOSE),
        ("truncated_answer", True, Delivery.TRUNCATED),
    ):
        faults.append(Fault(name, accepts=accepts, delivery=delivery))
    for name, mangle in (
        ("malformed_answer", Mangle.MALFORMED),
        ("empty_answer", Mangle.EMPTY),
        ("too_few_results", Mangle.TOO_FEW),
        ("too_many_results", Mangle.TOO_MANY),
    ):
        faults.append(Fault(name, accepts=True, mangle=mangle))
    faults.append(Fault("slow_answer", accepts=True, delay_ms=2000.0))
    return {fault.name: fault for fault in faults}


FAULTS: dict[str, Fault] = _catalogue()

_NUMBERS = ("share", "times", "first_request", "last_request", "delay_ms")
_FLAGS = ("no_request_id", "accept")
_TEXTS = ("fault", "address_contains", "operation", "code", "text")
_KEYS = frozenset((*_NUMBERS, *_FLAGS, *_TEXTS, "status", "events"))
_EVENT_KEYS = frozenset({"events", "share", "times", "address_contains"})
_NO_FAULT = Fault("")


@dataclass(slots=True)
class Rule:
    """A fault with the circumstances in which it fires, and how often it did; or, in its place, the fate of mails."""

    spec: dict[str, Any]
    fault: Fault
    share: float = 1.0
    times: int | None = None
    first_request: int = 1
    last_request: int | None = None
    address_contains: str = ""
    operation: str = "SendBulkEmail"
    events: tuple[Fate, ...] | None = None
    requests: int = 0
    fired: int = 0

    @classmethod
    def read(cls, spec: Any) -> Rule:
        """A rule from its JSON.

        Raises:
            ConfigError: for an unknown key or fault, or a value that does not fit.
        """
        if not isinstance(spec, Mapping):
            raise ConfigError(f"a fault rule is an object, not {spec!r}")
        if unknown := sorted(set(spec) - _KEYS):
            raise ConfigError(f"fault rules have no key {unknown[0]!r}")
        for key, value in spec.items():
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (is_number and value >= 0) and key in _NUMBERS:
                raise ConfigError(f"fault rule: {key} takes a number, not {value!r}")
            if (not isinstance(value, bool) and key in _FLAGS) or (not isinstance(value, str) and key in _TEXTS):
                raise ConfigError(f"fault rule: {key} does not take {value!r}")
        events = _fates(spec) if "events" in spec else None
        return cls(
            spec=dict(spec),
            fault=_specified(spec) if events is None else _NO_FAULT,
            events=events,
            share=float(spec.get("share", 1.0)),
            times=None if spec.get("times") is None else int(spec["times"]),
            first_request=int(spec.get("first_request", 1)),
            last_request=None if spec.get("last_request") is None else int(spec["last_request"]),
            address_contains=spec.get("address_contains", ""),
            operation=spec.get("operation", "SendBulkEmail"),
        )

    def concerns(self, operation: str) -> bool:
        """Count a request; whether the rule may fire in it."""
        if self.operation not in (operation, "*"):
            return False
        self.requests += 1
        if self.requests < self.first_request or (self.last_request is not None and self.requests > self.last_request):
            return False
        return self.times is None or self.fired < self.times

    def throw(self, dice: random.Random) -> bool:
        """Throw the dice, and count it when the fault befalls."""
        if self.times is not None and self.fired >= self.times:
            return False
        if self.share < 1.0 and dice.random() >= self.share:
            return False
        self.fired += 1
        return True


def _fates(spec: Mapping[str, Any]) -> tuple[Fate, ...]:
    """What a rule says becomes of mails. That they are sent goes without saying."""
    if wrong := sorted(set(spec) - _EVENT_KEYS):
        raise ConfigError(f"fault rule: events go with {', '.join(sorted(_EVENT_KEYS))}, not with {wrong[0]}")
    if not isinstance(spec["events"], list):
        raise ConfigError(f"fault rule: events takes a list of names, not {spec['events']!r}")
    fates = [read_fate(name) for name in spec["events"]]
    return tuple(fate for fate in fates if fate.type is not EventType.SEND)


def _specified(spec: Mapping[str, Any]) -> Fault:
    """The fault that a rule names, with the rule's own words in it."""
    base = FAULTS.get(spec.get("fault", ""))
    if base is None:
        raise ConfigError(f"there is no fault {spec.get('fault')!r}", hint=f"One of: {', '.join(sorted(FAULTS))}.")
    fault = replace(
        base,
        text=spec.get("text", base.text),
        code=spec.get("code", base.code),
        by_ses=base.by_ses and not spec.get("no_request_id", False),
        accepts=spec.get("accept", base.accepts),
        delay_ms=float(spec.get("delay_ms", base.delay_ms)),
    )
    status = spec.get("status")
    if status is not None and fault.for_entry:
        if not isinstance(status, str) or status in ("", "SUCCESS"):
            raise ConfigError(f"fault rule: the status of an entry is a word other than SUCCESS, not {status!r}")
        fault = replace(fault, entry_status=status)
    elif status is not None:
        if fault.http_status is None or not isinstance(status, int) or not 300 <= status <= 599:  # noqa: PLR2004
            raise ConfigError(f"fault rule: {fault.name} does not take status {status!r}")
        fault = replace(fault, http_status=status)
    if fault.accepts and (fault.for_entry or (fault.http_status is not None and not fault.ambiguous)):
        raise ConfigError(f"fault rule: {fault.name} cannot accept what SES says it refuses")
    return fault


class FaultBook:
    """The rules in force, and how often each faulty address has had its fault."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._suffered: dict[str, int] = {}
        self.replace_rules([])

    def replace_rules(self, specs: Sequence[Any]) -> None:
        """New rules for the old ones; the dice start again."""
        self.rules = [Rule.read(spec) for spec in specs]
        self.event_rules = [rule for rule in self.rules if rule.events is not None]
        self._dice = random.Random(self._seed)  # noqa: S311 - faults want to be repeatable

    def forget_addresses(self) -> None:
        """Let every faulty address begin anew."""
        self._suffered.clear()

    def begin(self, operation: str, addresses: Sequence[str]) -> tuple[Fault | None, list[Rule]]:
        """Open a request: the fault that befalls the whole call, and the rules that may befall its entries.

        Raises:
            SesError: 400, for an address with a fault that does not exist.
        """
        befallen: Fault | None = None
        entry_rules: list[Rule] = []
        for rule in self.rules:
            if rule.events is not None or not rule.concerns(operation):
                continue
            if rule.fault.for_entry:
                entry_rules.append(rule)
            elif befallen is None:
                part = rule.address_contains
                if (not part or any(part in address for address in addresses)) and rule.throw(self._dice):
                    befallen = rule.fault
        if befallen is None:
            for address in addresses:
                if "fault." in address:
                    befallen = self._of_address(address, for_entry=False)
                    if befallen is not None:
                        break
        return befallen, entry_rules

    def for_entry(self, address: str, entry_rules: Sequence[Rule]) -> Fault | None:
        """The fault that befalls one entry, if any."""
        for rule in entry_rules:
            if rule.address_contains in address and rule.throw(self._dice):
                return rule.fault
        return self._of_address(address, for_entry=True) if "fault." in address else None

    def _of_address(self, address: str, *, for_entry: bool) -> Fault | None:
        match = _ADDRESS.search(address)
        if match is None:
            return None
        fault = FAULTS.get(match[1])
        if fault is None:
            raise bad_request(f"The simulator has no fault {match[1]!r}, which a To address asks for.")
        if fault.for_entry is not for_entry:
            return None
        suffered = self._suffered.get(address, 0)
        if match[2] is not None and suffered >= int(match[2]):
            return None
        self._suffered[address] = suffered + 1
        return fault
