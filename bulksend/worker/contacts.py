"""A contact list of SES as a campaign's list: fetched to a private file, then planned like any other."""

from __future__ import annotations

import asyncio
import csv
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO
from urllib.parse import parse_qs, urlsplit

from bulksend.aws import AwsAccess
from bulksend.config import CampaignFile
from bulksend.errors import ListError, SnapshotError
from bulksend.recipients.scratch import create_private, scratch_folder
from bulksend.ses.contacts import Contact, ContactLists

__all__ = ["UNSUBSCRIBED", "ContactSource", "fetched", "fetched_beginning"]

SCHEME = "contacts://"
ADDRESS, CHANGED, UNSUBSCRIBED = "email", "updated_at", "unsubscribed"
OF_TOPIC = "topic_"
_WORDS = {True: "OPT_IN", False: "OPT_OUT"}


@dataclass(frozen=True, slots=True)
class ContactSource:
    """Where a campaign's list is a contact list; with a topic, whoever is subscribed to that."""

    url: str
    name: str
    topic: str | None

    @classmethod
    def of(cls, path: Path | str) -> ContactSource | None:
        """None where recipients.path leads elsewhere."""
        if not (isinstance(path, str) and path.startswith(SCHEME)):
            return None
        parts = urlsplit(path)
        return cls(path, parts.netloc, parse_qs(parts.query).get("topic", [None])[0])

    def why_not(self, contact: Contact, defaults: Mapping[str, bool]) -> str:
        """Why a contact is not written to; empty where they are subscribed."""
        if contact.unsubscribed_from_all:
            return f"has unsubscribed from everything of the contact list {self.name}"
        if self.topic is None:
            return ""
        chosen = contact.opted_in.get(self.topic)
        if chosen is None and not defaults[self.topic]:
            return f"has not opted in to the topic {self.topic}, which nobody is subscribed to by default"
        return f"has opted out of the topic {self.topic}" if chosen is False else ""


@contextmanager
def fetched(
    source: ContactSource,
    access: AwsAccess,
    folder: Path,
    campaign_id: str,
    *,
    limit: int | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Iterator[Path]:
    """The contact list as a CSV file in a private folder inside `folder`, which is gone afterwards.

    Its columns are the address, when the contact was last changed (ISO 8601, UTC), `topic_NAME` for each topic (OPT_IN
    or OPT_OUT, by default where the contact has no preference), and in UNSUBSCRIBED why they are not written to. With a
    `limit` it ends once so many are subscribed. `on_progress` is told the contacts read so far.

    Raises:
        AccountError: SES cannot be asked, or refuses.
        ListError: there is no such list, or no such topic; or, of what is done inside, in the list's own name.
        SnapshotError: the file cannot be written.
    """
    with ExitStack() as stack:
        try:
            path = stack.enter_context(scratch_folder(folder, f"{campaign_id}.contacts")) / "contacts.csv"
            with os.fdopen(create_private(path), "w", encoding="utf-8", newline="") as out:
                asyncio.run(_fetch(source, access, out, limit, on_progress))
        except OSError as error:
            raise SnapshotError(
                f"the contact list cannot be written to {folder}: {error}",
                hint="Check the disk's free space and the folder's permissions, and plan again. Nothing was sent.",
            ) from error
        try:
            yield path
        except ListError as error:
            raise ListError(error.detail.replace(str(path), source.url), hint=error.hint) from error


@contextmanager
def fetched_beginning(file: CampaignFile, access: AwsAccess, folder: Path, limit: int | None) -> Iterator[Path | None]:
    """The campaign's contact list, as far as `limit` subscribed contacts go; None where its list is another.

    For what is thrown away: a campaign that is kept has all of its list, which is what its digest is of. Raises what
    `fetched` raises.
    """
    source = ContactSource.of(file.recipients.path)
    if source is None:
        yield None
        return
    with fetched(source, access, folder, "beginning", limit=limit) as path:
        yield path


async def _fetch(
    source: ContactSource, access: AwsAccess, out: TextIO, limit: int | None, on_progress: Callable[[int], None]
) -> None:
    read = subscribed = 0
    async with ContactLists(access) as lists:
        defaults = await lists.topics(source.name)
        if source.topic is not None and source.topic not in defaults:
            there = f"Its topics are: {', '.join(sorted(defaults))}" if defaults else "It has no topics"
            raise ListError(f"the contact list {source.name!r} has no topic {source.topic!r}. {there}")
        rows = csv.writer(out)
        rows.writerow([ADDRESS, CHANGED, *(OF_TOPIC + topic for topic in defaults), UNSUBSCRIBED])
        async for page in lists.contacts(source.name):
            for contact in page:
                why_not = source.why_not(contact, defaults)
                subscribed += not why_not
                chosen = [_WORDS[contact.opted_in.get(topic, default)] for topic, default in defaults.items()]
                rows.writerow([contact.address, _iso(contact.changed_at), *chosen, why_not])
            read += len(page)
            on_progress(read)
            if limit is not None and subscribed >= limit:
                return
    if not read:
        raise ListError(f"the contact list {source.name!r} is empty")


def _iso(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
