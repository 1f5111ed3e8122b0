"""The log: what happened to a run, without anybody's address."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Literal, TextIO, cast

import structlog

from bulksend.engine.remedies import without_addresses
from bulksend.facts import (
    AddressesSuppressed,
    BatchAnswered,
    BatchSent,
    BreakerBlind,
    CampaignHalted,
    CampaignHindered,
    ChunkRead,
    CircuitChanged,
    Committed,
    EntriesReturned,
    EntriesSuppressed,
    EventsHeldUp,
    EventsRecorded,
    Fact,
    LoopLagged,
    PaceChanged,
    QuotaRead,
    StoreCounted,
    UnknownStatus,
    Waiting,
)

__all__ = ["RunLog", "configure_log"]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_log(level: str, form: Literal["auto", "text", "json"]) -> None:
    """Log lines go to standard error: for people on a terminal, JSON elsewhere, unless told."""
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    # The database's pool and queue, and the SDK, speak for themselves otherwise, in no form of ours.
    for name in ("psycopg.pool", "procrastinate", "botocore", "aiobotocore"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if text else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _StandardError())),
        cache_logger_on_first_use=False,
    )


class _StandardError:
    """Standard error as it is when something is written; that it is gone ends nothing that goes on."""

    def write(self, text: str) -> int:
        """Returns how much was written."""
        with suppress(OSError, ValueError):
            return sys.stderr.write(text)
        return 0

    def flush(self) -> None:
        """See above."""
        with suppress(OSError, ValueError):
            sys.stderr.flush()


class RunLog:
    """An observer that logs. SES's error texts may hold addresses: its statuses are logged, and texts without those.

    `campaign` is the name of the campaign that is told of, if it is one. `on_terminal` leaves out what whoever sits
    there is told anyway.
    """

    def __init__(self, campaign: str = "", *, on_terminal: bool = False) -> None:
        self._log = structlog.get_logger().bind(**{"campaign": campaign} if campaign else {})
        self._on_terminal = on_terminal
        self._granted: object = None
        """What was last logged of the quota."""

    def observe(self, fact: Fact) -> None:
        """One line, or none."""
        match fact:
            case Waiting() | CircuitChanged() | CampaignHalted() if self._on_terminal:
                pass
            case QuotaRead():
                self._quota_read(fact)
            case PaceChanged():
                self._log.info("pace changed", rate_per_s=round(fact.rate_per_s, 3), why=fact.why)
            case Waiting():
                self._log.warning("waiting", reason=fact.reason) if fact.reason else self._log.warning("going on")
            case BreakerBlind():
                if fact.reason:
                    self._log.warning("the breaker cannot judge", reason=fact.reason)
                else:
                    self._log.warning("the breaker can judge again")
            case CircuitChanged():
                level = self._log.warning if fact.is_open else self._log.info
                level("circuit opened" if fact.is_open else "circuit closed", next_probe_s=round(fact.next_probe_s, 1))
            case UnknownStatus():
                self._log.error("a status that no document names", status=fact.status[:64])
            case CampaignHalted():
                said = {"reason": without_addresses(fact.halt.reason), "remedy": without_addresses(fact.halt.remedy)}
                self._log.error("halted", scope=fact.halt.scope.value, **said)
            case EntriesReturned():
                self._log.warning("entries pending again", was=fact.verdict.value, entries=fact.entries)
            case EntriesSuppressed():
                self._log.warning("not sent: suppressed since the plan", entries=fact.entries)
            case AddressesSuppressed():
                self._log.info("suppressed", reason=fact.reason.value, addresses=fact.addresses)
            case BatchAnswered():
                outcomes = {f"{verdict.value}/{status}": n for (verdict, status), n in fact.outcomes.items()}
                self._log.debug("batch answered", verdict=fact.verdict.value, outcomes=outcomes)
            case BatchSent() | Committed() | ChunkRead() | LoopLagged() | StoreCounted():
                pass
            case EventsRecorded() | EventsHeldUp() | CampaignHindered():
                pass  # told with its queue, or where it is tried

    def _quota_read(self, fact: QuotaRead) -> None:
        """Every 30 s nothing is new in it but how much is sent: that would hide the lines that explain something."""
        account = fact.account
        granted = {
            "max_send_rate_per_s": account.max_send_rate_per_s,
            "max_24_hour_send": account.max_24_hour_send,
            "sending_enabled": account.sending_enabled,
            "production_access": account.production_access,
            "enforcement_status": account.enforcement_status,
        }
        level = self._log.debug if granted == self._granted else self._log.info
        level("quota read", **granted, sent_last_24_hours=account.sent_last_24_hours, foreign=fact.foreign)
        self._granted = granted
