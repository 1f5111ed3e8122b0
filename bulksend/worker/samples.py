"""A few rows of a planned list, and what can be told of them without asking anybody."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import orjson

from bulksend.errors import BulksendError
from bulksend.event import SuppressionReason
from bulksend.model import EntryState
from bulksend.recipients import FORGOTTEN_ADDRESS, SnapshotReader
from bulksend.ses import fill
from bulksend.ses.inquiry import Unknown
from bulksend.worker.examined import Rendering, Sample

__all__ = ["filled", "samples_of", "suppressed_in"]

SAMPLES = 3
"""Rows whose mails are rendered, spread over the list."""


def samples_of(reader: SnapshotReader) -> tuple[Sample, ...]:
    """Entries from the list's beginning, middle and end."""
    places = []
    for number in dict.fromkeys((0, len(reader) // 2, len(reader) - 1)):
        if 0 <= number < len(reader):
            chunk = reader.chunk(number)
            places += [(number, index) for index in dict.fromkeys((0, len(chunk) // 2, len(chunk) - 1))]
    spread = dict.fromkeys((places[0], places[len(places) // 2], places[-1])) if places else {}
    samples = []
    for number, index in spread:
        chunk, address = reader.chunk(number), reader.addresses(number)[index]
        if address == FORGOTTEN_ADDRESS:
            continue
        entry = orjson.loads(bytes(chunk.entries[chunk.offsets[index] : chunk.offsets[index + 1] - 1]))
        content = entry.get("ReplacementEmailContent", {}).get("ReplacementTemplate", {})
        headers = tuple((one["Name"], one["Value"]) for one in entry.get("ReplacementHeaders", ()))
        data = orjson.loads(content.get("ReplacementTemplateData", "{}"))
        samples.append(Sample(chunk.rows[index], data, headers))
    return tuple(samples[:SAMPLES])


def suppressed_in(
    reader: SnapshotReader,
    look_up: Callable[[Collection[str]], dict[str, SuppressionReason]],
    states: Mapping[int, bytes],
) -> int | Unknown:
    """How many of those that are still to be sent to are not written to. Holds one chunk in memory.

    `states` are those of each chunk's entries, by its number.
    """

    def pending(number: int) -> set[str]:
        there = zip(reader.addresses(number), states[number], strict=True)
        return {address.lower() for address, state in there if state == EntryState.PENDING}

    try:
        return sum(len(look_up(pending(number))) for number in states if EntryState.PENDING in states[number])
    except BulksendError as error:
        return Unknown(error.message)


def filled(parts: Collection[str], sample: Sample) -> Rendering:
    """What comes of an inline template, whose simple substitutions are all that SES would make."""
    try:
        for part in parts:
            fill(part, dict(sample.data))
    except KeyError as error:
        return Rendering(sample.row, f"it uses {error.args[0]!r}, which the row does not have")
    return Rendering(sample.row)
