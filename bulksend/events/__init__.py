"""What SES reports of mails, from queues into the store of events."""

from __future__ import annotations

from bulksend.events.consumer import Consumer, Events, Listener
from bulksend.events.parse import NothingToCount, Reading, Unreadable, parse
from bulksend.events.queue import Message, Queue, QueuePlace, open_queue, place_of
from bulksend.events.troubles import QueueError, Trouble

__all__ = [
    "Consumer",
    "Events",
    "Listener",
    "Message",
    "NothingToCount",
    "Queue",
    "QueueError",
    "QueuePlace",
    "Reading",
    "Trouble",
    "Unreadable",
    "open_queue",
    "parse",
    "place_of",
]
