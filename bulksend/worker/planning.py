"""plan: a campaign file and its list become a frozen campaign in the journal, with its snapshot."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bulksend.config import AttachedFile, CampaignFile, Settings, frozen_keys, read_attachments
from bulksend.errors import CampaignChangedError, ListError, NameTakenError
from bulksend.model import Binding, Campaign, CampaignState, Policy
from bulksend.recipients import Mapping, OneClick, Snapshot, skipped_rows, take_snapshot
from bulksend.recipients.source import ListFormat, list_digest
from bulksend.ses import Envelope, EnvelopeAttachment, TemplateNames, find_binding
from bulksend.worker.access import aws_access, s3_endpoint
from bulksend.worker.contacts import UNSUBSCRIBED, ContactSource, fetched
from bulksend.worker.multiregion import endpoint_warnings
from bulksend.worker.one_click import keys_to_sign, one_click
from bulksend.worker.store import Store
from bulksend.worker.suppression import look_up
from bulksend.worker.templates import template_use

__all__ = ["Planned", "differences", "plan", "policy_of", "unheard_canary", "waits_for_events"]

ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ID_LENGTH = 26
REASONS_SHOWN = 3
CONTACTS = "recipients.path"
"""Frozen with a campaign whose list is a contact list; of other lists the digest is what counts."""
LIMIT = "limit"
"""Frozen with a campaign that was planned for the first rows only."""
SET = "sender.configuration_set"
UNSEEN = (
    "sender.configuration_set",
    "sender.endpoint_id",
    "sender.feedback_address",
    "sender.feedback_identity_arn",
    "sender.from_identity_arn",
    "sender.tenant",
    "content.tags.",
    "recipients.tags.",
)
"""Keys by which a mail goes another way, and is the same to whoever gets it."""
NOBODY_PUBLISHES = (
    f"safety.canary is judged by events, and {SET} is not set: unless the sender's identity has a configuration set by "
    "default, no events come, and the campaign halts after its canary"
)
NOBODY_LISTENS = (
    "events.queues is not set, so no events are taken in here, and the canary is judged by them: unless another "
    "process takes them into this store, the campaign halts after it"
)


@dataclass(frozen=True, slots=True)
class Planned:
    """A campaign that is ready to send, whether it was planned just now, and what its reader should know."""

    campaign: Campaign
    is_new: bool
    warnings: tuple[str, ...] = ()


def plan(
    file: CampaignFile,
    settings: Settings,
    store: Store,
    *,
    again: bool = False,
    limit: int | None = None,
    fetched_list: Path | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Planned:
    """Check the list and freeze the campaign; a campaign that is known already is only compared. Nothing is sent.

    `again` allows a list and content that an earlier campaign of another name has sent. `limit` takes only the first so
    many rows that can be sent. `fetched_list` is the campaign's contact list where that was fetched already.
    `on_progress` is told the rows read so far.

    Raises:
        AccountError: the account that the campaign is bound to cannot be found out; its contact list cannot be read.
        CampaignBusyError: the store's lock was lost, and somebody has removed the snapshot. Nothing is planned.
        ConfigError: an attachment cannot be read.
        CampaignChangedError: the name is known, with something else behind it; the keys that differ are named.
        JournalError: the list of suppressions cannot be read.
        ListError: the list cannot be used, or has no usable recipient.
        TemplateError: the inline template has more than simple substitutions.
        UsageError: the campaign is known, and was pruned.
    """
    attached = read_attachments(file.content.attachments, file.path)
    frozen = _frozen(file, attached, limit)
    binding = asyncio.run(find_binding(aws_access(settings)))
    if store.journal.find(file.name) is None:
        # Else, or if somebody else plans it at this moment, what is there already is compared.
        with suppress(NameTakenError):
            return _plan_anew(file, settings, store, binding, attached, frozen, again, limit, fetched_list, on_progress)
    known = store.journal.campaign(file.name)
    store.refuse_pruned(known)
    _refuse_changes(known, file, frozen, binding, _form(file, settings))
    policy, schedule, safety = policy_of(file), file.schedule.as_schedule(), file.safety.as_safety()
    if (policy, schedule, safety) != (known.policy, known.schedule, known.safety):
        store.journal.set_terms(known, policy, schedule, safety)
    campaign = store.journal.campaign(file.name)
    return Planned(campaign, is_new=False, warnings=unheard_canary(campaign, settings))


def differences(known: Campaign, file: CampaignFile, settings: Settings, binding: Binding) -> list[str]:
    """What of a planned campaign is another in its file or its list by now, so that `plan` refuses it. Nothing changes.

    Raises:
        ConfigError: an attachment cannot be read.
    """
    frozen = _frozen(file, read_attachments(file.content.attachments, file.path), None)
    return _changes(known, file, frozen, binding, _form(file, settings))


def unheard_canary(campaign: Campaign, settings: Settings) -> tuple[str, ...]:
    """Warnings, where a canary waits for events that nobody publishes, or that nobody takes in here."""
    if not waits_for_events(campaign):
        return ()
    return (
        *(() if SET in campaign.frozen else (NOBODY_PUBLISHES,)),
        *(() if settings.events.queues else (NOBODY_LISTENS,)),
    )


def waits_for_events(campaign: Campaign) -> bool:
    """Whether there is a canary that is still to be judged."""
    over = campaign.state in {CampaignState.FINISHED, CampaignState.CANCELLED}
    return campaign.safety.canary is not None and campaign.canary_passed_at is None and not over


def _plan_anew(  # noqa: PLR0917  what there is to know of it
    file: CampaignFile,
    settings: Settings,
    store: Store,
    binding: Binding,
    attached: Sequence[AttachedFile],
    frozen: dict[str, str],
    again: bool,  # noqa: FBT001
    limit: int | None,
    fetched_list: Path | None,
    on_progress: Callable[[int], None],
) -> Planned:
    campaign_id = "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))
    template = template_use(file, settings, binding)
    unsubscribing = None
    if file.unsubscribe is not None:
        unsubscribing = one_click(file.unsubscribe, keys_to_sign(settings, store), campaign_id)
    contacts, access = ContactSource.of(file.recipients.path), aws_access(settings)
    warnings = asyncio.run(endpoint_warnings(file, access, binding))
    with ExitStack() as stack:
        stack.enter_context(store.planning(f"{campaign_id}.parquet"))
        source: Path | str = fetched_list or file.recipients.path
        if contacts is not None and fetched_list is None:
            workshop = store.shelf.workshop
            source = stack.enter_context(fetched(contacts, access, workshop, campaign_id, on_progress=on_progress))
        snapshot = take_snapshot(
            source,
            _mapping(file, template.names, unsubscribing),
            campaign_id=campaign_id,
            folder=store.shelf.workshop,
            form=_form(file, settings) if contacts is None else ListFormat(),
            limit=limit,
            suppressed=look_up(store.events),
            on_progress=on_progress,
        )
        campaign = _campaign(campaign_id, file, binding, snapshot, attached, frozen)
        _refuse_empty(campaign, file.recipients.path, snapshot.path)
        if not again:
            _refuse_repetition(store, campaign, store.journal.campaigns())
        store.shelf.put(snapshot.path)
        store.journal.add(
            campaign, snapshot.chunks, lambda there: None if again else _refuse_repetition(store, campaign, there)
        )
    return Planned(
        campaign,
        is_new=True,
        warnings=(
            *template.warnings,
            *snapshot.warnings,
            *warnings,
            *unheard_canary(campaign, settings),
        ),
    )


def policy_of(file: CampaignFile) -> Policy:
    """What the campaign file says of doubt and retries."""
    return Policy(file.policy.in_doubt == "resend", file.policy.max_attempts)


def _frozen(file: CampaignFile, attached: Sequence[AttachedFile], limit: int | None) -> dict[str, str]:
    frozen = frozen_keys(file, attached)
    if limit is not None:
        frozen[LIMIT] = str(limit)
    contacts = ContactSource.of(file.recipients.path)
    if contacts is not None:
        frozen[CONTACTS] = contacts.url  # it is not read anew to be compared
    return frozen


def _form(file: CampaignFile, settings: Settings) -> ListFormat:
    return ListFormat(
        delimiter=file.recipients.delimiter,
        encoding=file.recipients.encoding,
        s3_endpoint_url=s3_endpoint(settings),
    )


def _mapping(file: CampaignFile, names: TemplateNames, unsubscribing: OneClick | None) -> Mapping:
    return Mapping(
        address=file.recipients.address,
        data=file.recipients.data,
        default_data=dict(file.content.default_data),
        tags={**file.content.tags, **file.recipients.tags},
        dedupe=file.recipients.dedupe,
        cc=file.recipients.cc,
        bcc=file.recipients.bcc,
        display_name=file.recipients.display_name,
        headers=dict(file.recipients.headers),
        unsubscribed=None if ContactSource.of(file.recipients.path) is None else UNSUBSCRIBED,
        one_click=unsubscribing,
        template_needs=names.needed,
        template_may_use=names.optional,
    )


def _campaign(  # noqa: PLR0917  what a campaign is made of
    campaign_id: str,
    file: CampaignFile,
    binding: Binding,
    snapshot: Snapshot,
    attached: Sequence[AttachedFile],
    frozen: dict[str, str],
) -> Campaign:
    inline = file.content.inline
    prefix, suffix = Envelope(
        from_address=file.sender.from_address,
        reply_to=file.sender.reply_to,
        configuration_set=file.sender.configuration_set,
        from_identity_arn=file.sender.from_identity_arn,
        feedback_address=file.sender.feedback_address,
        feedback_identity_arn=file.sender.feedback_identity_arn,
        tenant=file.sender.tenant,
        template=file.content.template,
        template_arn=file.content.template_arn,
        inline=None if inline is None else inline.model_dump(exclude_none=True),
        default_data=file.content.default_data,
        headers=file.content.headers,
        attachments=[
            EnvelopeAttachment(
                one.file_name,
                one.content,
                one.content_type,
                one.content_id,
                one.disposition,
                one.description,
                one.transfer_encoding,
            )
            for one in attached
        ],
        endpoint_id=file.sender.endpoint_id,
    ).frame()
    return Campaign(
        id=campaign_id,
        name=file.name,
        state=CampaignState.PLANNED,
        created_at=time.time(),
        binding=binding,
        prefix=prefix,
        suffix=suffix,
        frozen=frozen,
        list_digest=snapshot.list_digest,
        snapshot=snapshot.path.name,
        snapshot_bytes=snapshot.size_bytes,
        snapshot_sha256=snapshot.sha256,
        rows=snapshot.rows,
        entries=snapshot.entries,
        recipients=snapshot.recipients,
        skipped=snapshot.skipped,
        policy=policy_of(file),
        schedule=file.schedule.as_schedule(),
        safety=file.safety.as_safety(),
    )


def _refuse_changes(
    known: Campaign, file: CampaignFile, frozen: dict[str, str], binding: Binding, form: ListFormat
) -> None:
    changed = _changes(known, file, frozen, binding, form)
    if changed:
        raise CampaignChangedError(f"{file.name!r} differs in {'; '.join(changed)}")


def _changes(
    known: Campaign, file: CampaignFile, frozen: dict[str, str], binding: Binding, form: ListFormat
) -> list[str]:
    # Not to repeat the limit is no change: the campaign goes on with the rows that it was planned for.
    now = {key: value for key, value in known.frozen.items() if key == LIMIT} | frozen
    changed = [
        f"{key} (was {known.frozen.get(key, 'not set')}, is {now.get(key, 'not set')})"
        for key in sorted(known.frozen.keys() | now.keys())
        if known.frozen.get(key) != now.get(key)
    ]
    changed += [
        f"{words} (was {was}, is {now_is})"
        for words, was, now_is in (
            ("the account", known.binding.account, binding.account),
            ("the region", known.binding.region, binding.region),
        )
        if was != now_is
    ]
    if _digest(file, form) not in (None, known.list_digest):
        changed.append(f"the contents of {file.recipients.path}")
    return changed


def _refuse_empty(campaign: Campaign, path: Path | str, snapshot: Path) -> None:
    if campaign.entries == 0:
        reasons = ", ".join(f"{count:,} {reason.value}" for reason, count in campaign.skipped.items() if count)
        first = "; ".join(f"row {one.row}: {one.detail}" for one in islice(skipped_rows(snapshot), REASONS_SHOWN))
        raise ListError(
            f"{path} has no usable recipient: of {campaign.rows:,} {'row' if campaign.rows == 1 else 'rows'} "
            f"{reasons or 'none is left'} ({first})"
        )


def _refuse_repetition(store: Store, campaign: Campaign, there: Sequence[Campaign]) -> None:
    for earlier in there:
        if (
            earlier.name != campaign.name
            and earlier.list_digest == campaign.list_digest
            and _content(earlier) == _content(campaign)
            and not _reached_nobody(store, earlier)
        ):
            raise CampaignChangedError(
                f"{campaign.name!r} has the same list and content as {earlier.name!r}",
                hint="To send the same mail to the same people once more, pass --again.",
            )


def _reached_nobody(store: Store, campaign: Campaign) -> bool:
    """Whether nobody got anything by it, nor ever will."""
    return campaign.state is CampaignState.CANCELLED and store.journal.first_sent_at(campaign) is None


def _content(campaign: Campaign) -> dict[str, str]:
    """What whoever gets it sees."""
    return {key: value for key, value in campaign.frozen.items() if key != LIMIT and not key.startswith(UNSEEN)}


def _digest(file: CampaignFile, form: ListFormat) -> str | None:
    """The list's, now; None where it is not there any more, since the snapshot is what is sent.

    A contact list is not read again for it.
    """
    if ContactSource.of(file.recipients.path) is not None:
        return None
    try:
        return list_digest(file.recipients.path, form)
    except ListError:
        return None
