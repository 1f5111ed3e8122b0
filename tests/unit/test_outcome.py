from __future__ import annotations

import string

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.model import Answered, Doubtful, EntryOutcome, EntryResult, EntryState, NotSent, Refused, Verdict
from bulksend.outcome import (
    DEAD_AFTER_S,
    MAX_BACKOFF_S,
    Backoff,
    EntryHistory,
    classify_entry,
    classify_refusal,
    classify_request,
    knows_status,
    resolve_retry,
)

# The API reference's prose, its list of valid values, and the first version of the API.
DOCUMENTED = {
    Verdict.ACCEPTED: ["SUCCESS", "Success"],
    Verdict.DEAD: [
        *("MESSAGE_REJECTED", "INVALID_PARAMETER", "INVALID_PARAMETER_VALUE"),
        *("MessageRejected", "InvalidParameterValue"),
    ],
    Verdict.CAMPAIGN_AT_FAULT: [
        *("MAIL_FROM_DOMAIN_NOT_VERIFIED", "CONFIGURATION_SET_DOES_NOT_EXIST", "CONFIGURATION_SET_NOT_FOUND"),
        *("TEMPLATE_DOES_NOT_EXIST", "TEMPLATE_NOT_FOUND", "INVALID_SENDING_POOL_NAME"),
        *("CONFIGURATION_SET_SENDING_PAUSED", "MailFromDomainNotVerified", "ConfigurationSetDoesNotExist"),
        *("TemplateDoesNotExist", "InvalidSendingPoolName", "ConfigurationSetSendingPaused"),
    ],
    Verdict.ACCOUNT_AT_FAULT: [
        *("ACCOUNT_SUSPENDED", "ACCOUNT_SENDING_PAUSED", "AccountSuspended", "AccountSendingPaused"),
    ],
    Verdict.THROTTLED: ["ACCOUNT_THROTTLED", "AccountThrottled"],
    Verdict.DAY_SPENT: ["ACCOUNT_DAILY_QUOTA_EXCEEDED", "AccountDailyQuotaExceeded"],
    Verdict.TRANSIENT: ["TRANSIENT_FAILURE", "TransientFailure"],
    Verdict.FAILED: ["FAILED", "Failed"],
}


@pytest.mark.parametrize(("verdict", "status"), [(v, s) for v, ss in DOCUMENTED.items() for s in ss])
def test_every_documented_spelling(verdict: Verdict, status: str) -> None:
    assert classify_entry(EntryResult(status)) is verdict
    assert knows_status(status)


def model_statuses() -> list[str]:
    service = botocore.session.get_session().get_service_model("sesv2")
    results = service.operation_model("SendBulkEmail").output_shape.members["BulkEmailEntryResults"]
    statuses: list[str] = results.member.members["Status"].enum
    return statuses


def test_total_over_the_installed_models_enum() -> None:
    statuses = model_statuses()
    assert len(statuses) >= 14
    unknown = [s for s in statuses if not knows_status(s)]
    assert unknown == []


def test_every_modelled_error_has_a_verdict_of_its_own() -> None:
    service = botocore.session.get_session().get_service_model("sesv2")
    for shape in service.operation_model("SendBulkEmail").error_shapes:
        status = shape.metadata["error"]["httpStatusCode"]
        by_code = classify_refusal(Refused(status, shape.name, "", by_ses=True))
        assert by_code is not Verdict.IN_DOUBT, f"{shape.name} is documented not to send"


@given(st.text())
def test_total_over_any_text(status: str) -> None:
    verdict = classify_entry(EntryResult(status))
    assert verdict is Verdict.IN_DOUBT or knows_status(status)


@given(
    st.integers(100, 999),
    st.text(string.ascii_letters) | st.sampled_from(["ThrottlingException", "InternalFailure", "BadRequestException"]),
    st.booleans(),
)
def test_only_what_ses_wrote_with_4xx_or_503_is_certain(status: int, code: str, by_ses: bool) -> None:  # noqa: FBT001
    verdict = classify_refusal(Refused(status, code, "", by_ses=by_ses))
    certain = by_ses and ((400 <= status < 500 and status != 408) or status == 503)
    if not certain:
        assert verdict is Verdict.IN_DOUBT
    assert verdict is not Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (400, "ThrottlingException", Verdict.THROTTLED),
        (429, "TooManyRequestsException", Verdict.THROTTLED),
        (429, "", Verdict.THROTTLED),
        (400, "LimitExceededException", Verdict.DAY_SPENT),
        (400, "RequestExpired", Verdict.CLOCK_SKEWED),
        (403, "ExpiredTokenException", Verdict.CREDENTIALS_REFUSED),
        (403, "", Verdict.CREDENTIALS_REFUSED),
        (413, "RequestEntityTooLargeException", Verdict.SPLIT),
        (413, "", Verdict.SPLIT),
        (404, "NotFoundException", Verdict.CAMPAIGN_AT_FAULT),
        (400, "AccountSuspendedException", Verdict.ACCOUNT_AT_FAULT),
        (503, "ServiceUnavailable", Verdict.UNREACHABLE),
        (503, "", Verdict.UNREACHABLE),
        (408, "RequestTimeoutException", Verdict.IN_DOUBT),
        (500, "InternalFailure", Verdict.IN_DOUBT),
        (502, "", Verdict.IN_DOUBT),
        (409, "NeverHeardOf", Verdict.TRANSIENT),
    ],
)
def test_code_before_http_status(status: int, code: str, verdict: Verdict) -> None:
    assert classify_refusal(Refused(status, code, "", by_ses=True)) is verdict


def test_a_wrong_number_of_results_is_in_doubt_whole() -> None:
    verdict, outcomes = classify_request(Answered([EntryResult("SUCCESS")] * 2), 3)
    assert verdict is Verdict.IN_DOUBT
    assert [o.verdict for o in outcomes] == [Verdict.IN_DOUBT] * 3


def test_no_answer() -> None:
    assert classify_request(NotSent("dns"), 2)[0] is Verdict.UNREACHABLE
    assert classify_request(Doubtful("reset"), 2)[0] is Verdict.IN_DOUBT


def retry(verdict: Verdict, history: EntryHistory, now: float) -> EntryOutcome:
    outcome = resolve_retry(EntryOutcome(verdict, "S", "r"), history, now, Backoff(5, lambda _, high: high))
    if outcome.verdict.state is EntryState.PENDING:
        history.note(outcome.verdict, now, outcome.due_at)
    return outcome


def test_transient_dies_after_its_attempts_and_an_hour_only() -> None:
    history, now = EntryHistory(), 0.0
    for _ in range(40):
        outcome = retry(Verdict.TRANSIENT, history, now)
        if outcome.verdict is Verdict.DEAD:
            break
        assert outcome.due_at is not None
        assert outcome.due_at - now <= MAX_BACKOFF_S
        now = outcome.due_at
    assert outcome.verdict is Verdict.DEAD
    assert now >= DEAD_AFTER_S
    patient = EntryHistory(attempts=1, first_failed_at=0.0, last_failed_at=2 * DEAD_AFTER_S - 60)
    assert retry(Verdict.TRANSIENT, patient, 2 * DEAD_AFTER_S).verdict is Verdict.TRANSIENT, (
        "an hour alone kills nobody"
    )


def test_a_silence_begins_a_new_hour() -> None:
    history = EntryHistory()
    for at in (0.0, 30.0, 60.0, 90.0, 120.0):
        retry(Verdict.TRANSIENT, history, at)
    assert retry(Verdict.TRANSIENT, history, 4 * DEAD_AFTER_S).verdict is Verdict.TRANSIENT, "two short troubles"


def test_failed_is_retried_twice_minutes_apart() -> None:
    history = EntryHistory()
    first = retry(Verdict.FAILED, history, 0.0)
    second = retry(Verdict.FAILED, history, 500.0)
    assert first.due_at is not None
    assert first.due_at >= 120
    assert second.verdict is Verdict.FAILED
    assert retry(Verdict.FAILED, history, 1000.0).verdict is Verdict.DEAD


@pytest.mark.parametrize("verdict", [Verdict.THROTTLED, Verdict.UNREACHABLE])
def test_what_is_not_the_recipients_fault_costs_no_attempt(verdict: Verdict) -> None:
    history, now = EntryHistory(), 0.0
    for _ in range(1000):
        outcome = retry(verdict, history, now)
        assert outcome.verdict is verdict
        assert outcome.due_at is not None
        now = outcome.due_at
    assert history.attempts == 0


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_leads_to_a_state(verdict: Verdict) -> None:
    outcome = resolve_retry(EntryOutcome(verdict), EntryHistory(), 0.0, Backoff())
    assert outcome.verdict.state in (EntryState.ACCEPTED, EntryState.DEAD, EntryState.IN_DOUBT, EntryState.PENDING)
    if outcome.verdict.state is EntryState.PENDING:
        assert outcome.due_at is not None
