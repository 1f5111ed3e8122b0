"""events status: messages that wait and that nobody takes, on real queues that no CloudWatch tells of."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from bulksend.config import Settings
from bulksend.report import Level
from bulksend.worker.event_status import COUNTED_APART_S, judge_events, look_at_events
from tests.events_account import ACCOUNT, root_client
from tests.harness import settings_for
from tests.independent import Ministack

STILL = "3 waiting, 0 in flight; age of the oldest: could not check: CloudWatch has no figure of it yet. "
NOBODY = "Nobody takes them: 5 seconds later all were still waiting"


@dataclass
class Queue:
    """One with three messages in it; what happens while the verb pauses is up to the test."""

    server: Ministack
    settings: Settings
    url: str
    paused_s: list[float] = field(default_factory=list)

    def call(self, operation: str, **arguments: Any) -> Any:
        return getattr(root_client("sqs", self.server.endpoint_url), operation)(QueueUrl=self.url, **arguments)

    def judged(self, meanwhile: Callable[[], object] = lambda: None, *, apart: bool = False) -> tuple[Level, str, str]:
        def pause(duration_s: float) -> Awaitable[None]:
            self.paused_s.append(duration_s)
            meanwhile()
            return _nothing()

        events = self.settings.events.model_copy(update={"apart": apart})
        found = look_at_events(None, self.settings.model_copy(update={"events": events}), pause=pause)
        check = judge_events(found)[0]
        return check.level, check.says, check.remedy


async def _nothing() -> None:
    pass


@pytest.fixture
def queue(ministack: Ministack, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT)
    created = root_client("sqs", ministack.endpoint_url).create_queue(QueueName=f"q{secrets.token_hex(4)}")
    url = created["QueueUrl"]
    events = {"events.endpoint_url": ministack.endpoint_url, "events.queues": [url]}
    made = Queue(ministack, settings_for(ministack.endpoint_url, **events), url)
    for body in ("a", "b", "c"):
        made.call("send_message", MessageBody=body)
    return made


def test_messages_that_nobody_takes_are_a_warning(queue: Queue) -> None:
    level, says, remedy = queue.judged()
    assert (level, says, queue.paused_s) == (Level.WARNING, STILL + NOBODY, [COUNTED_APART_S])
    assert remedy == "See that a worker runs, or bulksend events consume, and that it takes from this queue."


def test_who_leaves_them_to_a_consumer_is_told_to_run_it(queue: Queue) -> None:
    level, _, remedy = queue.judged(lambda: queue.call("send_message", MessageBody="d"), apart=True)
    assert level is Level.WARNING
    assert remedy.startswith("See that bulksend events consume runs (events.apart leaves the queues to it)")


def test_messages_that_somebody_takes_are_none(queue: Queue) -> None:
    """One is in his hands, or gone."""
    level, says, _ = queue.judged(lambda: queue.call("receive_message", MaxNumberOfMessages=1))
    assert (level, NOBODY in says) == (Level.OK, False)
    taken = queue.call("receive_message", MaxNumberOfMessages=1)["Messages"][0]
    assert len(queue.paused_s) == 1
    assert queue.judged()[0] is Level.OK, "what is in flight is taken by somebody"
    assert len(queue.paused_s) == 1, "so that nothing need be counted twice"
    queue.call("delete_message", ReceiptHandle=taken["ReceiptHandle"])


def test_a_queue_that_fills_while_somebody_takes_from_it_is_none(queue: Queue) -> None:
    def both() -> None:
        for body in ("d", "e", "f"):
            queue.call("send_message", MessageBody=body)
        queue.call("receive_message", MaxNumberOfMessages=1)

    assert queue.judged(both)[0] is Level.OK


def test_messages_that_are_gone_meanwhile_were_taken(queue: Queue) -> None:
    assert queue.judged(lambda: queue.call("purge_queue"))[0] is Level.OK
    assert queue.judged()[:2] == (Level.OK, "0 waiting, 0 in flight")
    assert queue.paused_s == [COUNTED_APART_S], "an empty queue is counted once"


@pytest.mark.parametrize(
    ("oldest_s", "pauses", "said"),
    [(899.0, 1, NOBODY), (900.0, 1, NOBODY), (901.0, 0, "3 waiting, 0 in flight, the oldest for 16 minutes")],
)
def test_what_cloudwatch_says_to_be_old_need_not_be_counted_twice(
    queue: Queue, oldest_s: float, pauses: int, said: str
) -> None:
    """While they are young, an age alone does not tell that nobody takes them: 30,000 gather in ten minutes."""
    figure = {
        "MetricName": "ApproximateAgeOfOldestMessage",
        "Dimensions": [{"Name": "QueueName", "Value": queue.url.rpartition("/")[2]}],
        "Value": oldest_s,
    }
    watch = root_client("cloudwatch", queue.server.endpoint_url)
    watch.put_metric_data(Namespace="AWS/SQS", MetricData=[figure])
    level, says, remedy = queue.judged()
    assert (level, len(queue.paused_s)) == (Level.WARNING, pauses)
    assert says.endswith(said)
    assert remedy.endswith("keeps up." if not pauses else "takes from this queue.")
