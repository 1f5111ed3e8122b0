"""What can be wrong with a queue, in words; the same whoever asked it.

Source: Amazon SQS API reference, Common Error Types and the errors of ReceiveMessage, DeleteMessageBatch,
SendMessageBatch, ChangeMessageVisibilityBatch and GetQueueAttributes, by the names of the JSON protocol and the older.
"""

from __future__ import annotations

from enum import Enum, unique

from bulksend.errors import BulksendError, ExitCode

__all__ = ["CLOCK_CODES", "CREDENTIAL_CODES", "QueueError", "Trouble", "refusal"]

MAX_TEXT = 300

CREDENTIAL_CODES = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""The keys are refused: others, read anew, may serve."""
CLOCK_CODES = frozenset(
    {
        "InvalidSignatureException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
"""The signature's time may be what is wrong: the answer's Date tells."""
_GONE = frozenset(
    {"AWS.SimpleQueueService.NonExistentQueue", "InvalidAddress", "NonExistentQueue", "QueueDoesNotExist"}
)
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "KMS.AccessDeniedException",
        "KmsAccessDenied",
        "NotAuthorized",
        "OptInRequired",
    }
)
_THROTTLED = frozenset(
    {
        "KMS.ThrottlingException",
        "KmsThrottled",
        "OverLimit",
        "RequestThrottled",
        "RequestThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
TOO_MANY = 429
SERVER_ERRORS = 500


@unique
class Trouble(Enum):
    """What kind of trouble it is.

    GONE         there is no such queue.
    DENIED       the credentials are good, and may not do that.
    CREDENTIALS  there are none, or they are refused.
    THROTTLED    too many requests, or too many messages that were received and not deleted.
    AWAY         no connection, no whole answer, or an error of the server's own.
    REFUSED      anything else.
    """

    GONE = "gone"
    DENIED = "denied"
    CREDENTIALS = "credentials"
    THROTTLED = "throttled"
    AWAY = "away"
    REFUSED = "refused"


class QueueError(BulksendError):
    """The events' queue cannot be used"""

    exit_code = ExitCode.USAGE
    default_hint = "Sending does not depend on it. Check events.queues, the Region, and the network."

    def __init__(self, detail: str = "", *, trouble: Trouble = Trouble.REFUSED, hint: str | None = None) -> None:
        self.trouble = trouble
        super().__init__(detail, hint=hint)

    @property
    def passes(self) -> bool:
        """Whether it is likely to be over soon, by itself."""
        return self.trouble in (Trouble.THROTTLED, Trouble.AWAY)


def refusal(operation: str, queue_url: str, code: str, text: str, http_status: int) -> QueueError:
    """What SQS answered to an operation, in place of what was asked for."""
    if code in _GONE:
        return QueueError(
            f"there is no queue {queue_url}",
            trouble=Trouble.GONE,
            hint="Correct events.queues (BULKSEND_EVENTS_QUEUES): the queue's URL, with its Region and account.",
        )
    if code in CREDENTIAL_CODES or code in CLOCK_CODES:
        return QueueError(
            f"{operation} on {queue_url}: the credentials are refused ({code})",
            trouble=Trouble.CREDENTIALS,
            hint="Renew the credentials; with aws sso login, for instance. They are read anew by themselves.",
        )
    if code in _DENIED or (not code and http_status in {401, 403}):
        return QueueError(
            f"{operation} on {queue_url} is denied",
            trouble=Trouble.DENIED,
            hint="Allow sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes "
            "on the queue, sqs:SendMessage on its dead-letter queue, and kms:Decrypt where a key of yours encrypts it.",
        )
    if code in _THROTTLED or http_status == TOO_MANY:
        return QueueError(f"{operation} on {queue_url} is throttled ({code})", trouble=Trouble.THROTTLED)
    if http_status >= SERVER_ERRORS:
        return QueueError(
            f"{operation} on {queue_url}: SQS has an error of its own ({http_status})", trouble=Trouble.AWAY
        )
    return QueueError(f"{operation} on {queue_url} was refused: {code or http_status}: {text[:MAX_TEXT]}")
