"""What SES said, made into what happens next. Pure.

Sources: API reference, BulkEmailEntryResult (statuses, in two spellings), SendBulkEmail (errors), Common Errors; the
SES v1 reference for the CamelCase spelling of statuses.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from bulksend.model import AllAccepted, Answer, Answered, Doubtful, EntryOutcome, EntryResult, NotSent, Refused, Verdict

__all__ = [
    "RESEND_AFTER_S",
    "SIGN_WITHIN_S",
    "Backoff",
    "EntryHistory",
    "classify_entry",
    "classify_refusal",
    "classify_request",
    "knows_status",
    "resolve_retry",
]


@lru_cache(256)
def _spelling(text: str) -> str:
    """The letters of a status or code: SNAKE_CASE and CamelCase of one word fall together."""
    return "".join(c for c in text if c.isalnum()).lower()


_STATUSES: dict[str, Verdict] = {
    _spelling(name): verdict
    for verdict, names in {
        Verdict.ACCEPTED: ("SUCCESS",),
        Verdict.TRANSIENT: ("TRANSIENT_FAILURE",),
        Verdict.FAILED: ("FAILED",),
        Verdict.THROTTLED: ("ACCOUNT_THROTTLED",),
        Verdict.DAY_SPENT: ("ACCOUNT_DAILY_QUOTA_EXCEEDED",),
        Verdict.DEAD: ("MESSAGE_REJECTED", "INVALID_PARAMETER", "INVALID_PARAMETER_VALUE"),
        Verdict.CAMPAIGN_AT_FAULT: (
            "MAIL_FROM_DOMAIN_NOT_VERIFIED",
            "CONFIGURATION_SET_NOT_FOUND",
            "CONFIGURATION_SET_DOES_NOT_EXIST",
            "TEMPLATE_NOT_FOUND",
            "TEMPLATE_DOES_NOT_EXIST",
            "INVALID_SENDING_POOL_NAME",
            "CONFIGURATION_SET_SENDING_PAUSED",
        ),
        Verdict.ACCOUNT_AT_FAULT: ("ACCOUNT_SUSPENDED", "ACCOUNT_SENDING_PAUSED"),
    }.items()
    for name in names
}

_CODES: dict[str, Verdict] = {
    _spelling(name): verdict
    for verdict, names in {
        Verdict.THROTTLED: (
            "TooManyRequestsException",
            "TooManyRequests",
            "ThrottlingException",
            "Throttling",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "SlowDown",
        ),
        Verdict.DAY_SPENT: ("LimitExceededException", "LimitExceeded"),
        Verdict.SPLIT: (
            "BadRequestException",
            "BadRequest",
            "MessageRejected",
            "ValidationError",
            "ValidationException",
            "MalformedHttpRequestException",
            "RequestEntityTooLargeException",
            "InvalidParameterValue",
            "SerializationException",
        ),
        Verdict.CAMPAIGN_AT_FAULT: (
            "NotFoundException",
            "MailFromDomainNotVerifiedException",
            "MailFromDomainNotVerified",
            "UnknownOperationException",
        ),
        Verdict.ACCOUNT_AT_FAULT: ("AccountSuspendedException", "SendingPausedException", "OptInRequired"),
        Verdict.CLOCK_SKEWED: ("RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"),
        Verdict.CREDENTIALS_REFUSED: (
            "AccessDeniedException",
            "AccessDenied",
            "ExpiredTokenException",
            "ExpiredToken",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "InvalidClientTokenId",
            "UnrecognizedClientException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "NotAuthorized",
        ),
        Verdict.UNREACHABLE: ("ServiceUnavailable", "ServiceUnavailableException"),
        Verdict.IN_DOUBT: (
            "RequestAbortedException",
            "RequestTimeoutException",
            "RequestTimeout",
            "InternalFailure",
            "InternalServiceErrorException",
            "InternalServiceError",
            "InternalServerError",
        ),
    }.items()
    for name in names
}

_HTTP_STATUSES: dict[int, Verdict] = {
    400: Verdict.SPLIT,
    401: Verdict.CREDENTIALS_REFUSED,
    403: Verdict.CREDENTIALS_REFUSED,
    404: Verdict.CAMPAIGN_AT_FAULT,
    413: Verdict.SPLIT,
    429: Verdict.THROTTLED,
    503: Verdict.UNREACHABLE,
}


def classify_entry(result: EntryResult) -> Verdict:
    """One entry of a readable 200. Total: a status that nobody has heard of is in doubt."""
    return _STATUSES.get(_spelling(result.status), Verdict.IN_DOUBT)


def knows_status(status: str) -> bool:
    """Whether a status is one of the documented ones, in any spelling."""
    return _spelling(status) in _STATUSES


def classify_refusal(refused: Refused) -> Verdict:
    """An HTTP error, for the whole request: the code comes before the HTTP status (ThrottlingException is a 400).

    Only what SES itself wrote proves that nothing was accepted ("returns an error and does not send"), and of that
    only 4xx other than 408, and 503.
    """
    if not refused.by_ses:
        return Verdict.IN_DOUBT
    certain = (400 <= refused.http_status < 500 and refused.http_status != 408) or refused.http_status == 503  # noqa: PLR2004
    if not certain:
        return Verdict.IN_DOUBT
    by_code = _CODES.get(_spelling(refused.code))
    if by_code is not None:
        return by_code
    return _HTTP_STATUSES.get(refused.http_status, Verdict.TRANSIENT)


def classify_request(answer: Answer, entries: int) -> tuple[Verdict, list[EntryOutcome]]:
    """The whole answer: what it says of the request, and of each of its `entries` entries in order.

    The request's verdict is ACCEPTED for any readable 200 with one result per entry; its entries then have their own.
    Retries carry no due time yet: that is for `resolve_retry`, which knows each entry's history.
    """
    match answer:
        case Answered(results=results) if len(results) == entries:
            return Verdict.ACCEPTED, [_entry_outcome(result) for result in results]
        case AllAccepted(message_ids=ids) if len(ids) == entries:
            return Verdict.ACCEPTED, [EntryOutcome(Verdict.ACCEPTED, "SUCCESS", message_id=id_) for id_ in ids]
        case Answered(results=given) | AllAccepted(message_ids=given):
            verdict, status, reason = Verdict.IN_DOUBT, "RESULT_COUNT", f"{len(given)} results for {entries} entries"
        case Refused():
            verdict, status, reason = classify_refusal(answer), answer.code or f"HTTP_{answer.http_status}", answer.text
        case NotSent(reason=reason):
            verdict, status = Verdict.UNREACHABLE, "NOT_SENT"
        case Doubtful(reason=reason):
            verdict, status = Verdict.IN_DOUBT, "NO_ANSWER"
    return verdict, [EntryOutcome(verdict, status, reason)] * entries


def _entry_outcome(result: EntryResult) -> EntryOutcome:
    verdict = classify_entry(result)
    message_id = result.message_id if verdict is Verdict.ACCEPTED else ""
    return EntryOutcome(verdict, result.status, result.error, message_id)


RESEND_AFTER_S = 31 * 60.0
"""A signature is good for 15 minutes either side of its date: until then a first copy may still be accepted."""
SIGN_WITHIN_S = 30.0
"""A request is signed so soon after its intent, or not sent: the 31 minutes count from the intent."""
MAX_BACKOFF_S = 300.0
DEAD_AFTER_S = 3600.0
"""A transient failure is nobody's verdict before an hour has passed since the first (promise 7)."""
MAX_FAILED_RETRIES = 2
FAILED_RETRY_S = 120.0
FREE_RETRY_S = 1.0
MAX_FREE_BACKOFF_S = 60.0


@dataclass(slots=True)
class EntryHistory:
    """What an entry has been through, as far as it bears on the next retry. Rebuilt from the journal on resume.

    `attempts` are those that cost one; `free` counts the others; `first_failed_at` is epoch seconds.
    """

    attempts: int = 0
    failed: int = 0
    free: int = 0
    first_failed_at: float | None = None
    last_failed_at: float = 0.0
    due_at: float = 0.0

    def trouble_since(self, at: float) -> float:
        """When the trouble that lasts until `at` began: a longer silence than any backoff begins a new one."""
        if self.first_failed_at is None or at - self.last_failed_at > 2 * MAX_BACKOFF_S:
            return at
        return self.first_failed_at

    def note(self, verdict: Verdict, at: float, due_at: float | None) -> None:
        """Take up an outcome that leaves the entry pending."""
        match verdict:
            case Verdict.TRANSIENT:
                self.attempts += 1
                self.free = 0
            case Verdict.FAILED:
                self.attempts += 1
                self.failed += 1
                self.free = 0
            case _:
                self.free += 1
        if verdict in (Verdict.TRANSIENT, Verdict.FAILED):
            self.first_failed_at = self.trouble_since(at)
            self.last_failed_at = at
        self.due_at = at if due_at is None else due_at


@dataclass(frozen=True, slots=True)
class Backoff:
    """How retries are spaced: full jitter, so that what failed together does not come back together."""

    max_attempts: int = 5
    uniform: Callable[[float, float], float] = random.uniform

    def transient_s(self, attempts: int) -> float:
        """Seconds to wait after the given number of attempts that cost one."""
        return self.uniform(0.0, min(MAX_BACKOFF_S, 2.0 ** min(attempts, 16)))

    def free_s(self, free: int) -> float:
        """Seconds to wait after an answer that costs no attempt.

        The pacer or the circuit does the real holding back.
        """
        return self.uniform(0.0, min(MAX_FREE_BACKOFF_S, FREE_RETRY_S * 2.0 ** min(free, 16)))

    def failed_s(self) -> float:
        """Seconds to wait after FAILED, which names no cause: minutes."""
        return self.uniform(FAILED_RETRY_S, 2 * FAILED_RETRY_S)


def resolve_retry(outcome: EntryOutcome, history: EntryHistory, now: float, backoff: Backoff) -> EntryOutcome:
    """Give a pending outcome its due time, or turn it into a dead letter when the entry's patience is used up.

    `history` is the entry's before this outcome; the caller notes the result in it. Outcomes that are not retries
    come back as they are. Times are epoch seconds.
    """
    match outcome.verdict:
        case Verdict.TRANSIENT:
            attempts = history.attempts + 1
            if attempts >= backoff.max_attempts and now - history.trouble_since(now) >= DEAD_AFTER_S:
                return EntryOutcome(Verdict.DEAD, outcome.status, outcome.reason)
            due_at = now + backoff.transient_s(attempts)
        case Verdict.FAILED:
            if history.failed >= MAX_FAILED_RETRIES:
                return EntryOutcome(Verdict.DEAD, outcome.status, outcome.reason)
            due_at = now + backoff.failed_s()
        case Verdict.THROTTLED | Verdict.UNREACHABLE:
            due_at = now + backoff.free_s(history.free)
        case (
            Verdict.SPLIT
            | Verdict.DAY_SPENT
            | Verdict.CLOCK_SKEWED
            | Verdict.CREDENTIALS_REFUSED
            | Verdict.CAMPAIGN_AT_FAULT
            | Verdict.ACCOUNT_AT_FAULT
        ):
            due_at = now
        case Verdict.ACCEPTED | Verdict.DEAD | Verdict.IN_DOUBT:
            return outcome
    return EntryOutcome(outcome.verdict, outcome.status, outcome.reason, due_at=due_at)
