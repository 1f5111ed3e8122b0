"""What becomes of each accepted mail: as the mailbox simulator has it, as a rule says, or by its share.

Shares are kept exactly, not by dice: the same mails in the same order have the same fates. After any number of a
campaign's mails each has come to its share of them, within two mails, and to the very mail where all the shares of that
number are whole. (A delay, an open or a click that no mail was there for is made up for by a later one.)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bulksend.event import EventType
from bulksend.simulator.event_shapes import BOUNCE, Fate
from bulksend.simulator.faults import Rule
from bulksend.simulator.settings import SimulatorSettings

__all__ = ["Fates"]

_WHOLE = 10**9
"""Shares are counted in parts of this, in integers: 25 times 0.04 is 1."""
_SEND = Fate(EventType.SEND)
_DELIVERY = Fate(EventType.DELIVERY)
_COMPLAINT = Fate(EventType.COMPLAINT)
_OPEN = Fate(EventType.OPEN)
_CLICK = Fate(EventType.CLICK)
_DELAY = Fate(EventType.DELIVERY_DELAY)
_REJECT = Fate(EventType.REJECT)
_FAILURE = Fate(EventType.RENDERING_FAILURE)
_OF_ALL = frozenset({EventType.REJECT, EventType.RENDERING_FAILURE})
"""What befalls a mail as a whole, whoever its recipients are: it is not sent, and nothing else becomes of it."""

_Fates = tuple[Fate, ...]

_DELIVERED: _Fates = (_DELIVERY,)
_MAILBOX_SIMULATOR: dict[str, _Fates] = {
    "success": _DELIVERED,
    "bounce": (BOUNCE,),
    # An automatic reply comes as a bounce (Developer Guide, Bounce types: Transient, General).
    "ooto": (_DELIVERY, Fate(EventType.BOUNCE, "Transient", "General")),
    "complaint": (_DELIVERY, _COMPLAINT),
    "suppressionlist": (Fate(EventType.BOUNCE, "Permanent", "Suppressed"),),
}
"""Developer Guide, Using the mailbox simulator manually: by local part, without the label after +."""
_SUPPRESSED: _Fates = (Fate(EventType.BOUNCE, "Permanent", "OnAccountSuppressionList"),)


class _Shares(NamedTuple):
    """The settings' shares in parts of a whole; `ends` exclude each other and make one."""

    ends: dict[Fate, int]
    delay: int
    open: int
    click: int

    @classmethod
    def of(cls, settings: SimulatorSettings) -> _Shares | None:
        """None where nothing becomes of a mail but its delivery."""
        ends = {
            _FAILURE: round(settings.rendering_failure_share * _WHOLE),
            _REJECT: round(settings.reject_share * _WHOLE),
            BOUNCE: round(settings.bounce_share * _WHOLE),
            _COMPLAINT: round(settings.complaint_share * _WHOLE),
        }
        others = [round(share * _WHOLE) for share in (settings.delay_share, settings.open_share, settings.click_share)]
        if not any(ends.values()) and not any(others):
            return None
        ends[_DELIVERY] = _WHOLE - sum(ends.values())
        return cls({fate: part for fate, part in ends.items() if part}, *others)


class _Credits:
    """What each fate has coming to it in one campaign, in parts of a mail."""

    def __init__(self) -> None:
        self._ends: dict[Fate, int] = {}
        self._others: dict[str, int] = {}

    def one_of(self, ends: dict[Fate, int]) -> Fate:
        """Of fates that exclude each other, and whose parts make a whole, the one that is most behind."""
        credit = self._ends
        for fate, part in ends.items():
            credit[fate] = credit.get(fate, 0) + part
        chosen = max(ends, key=credit.__getitem__)
        credit[chosen] -= _WHOLE
        return chosen

    def is_due(self, name: str, part: int, *, possible: bool) -> bool:
        """Whether one more of this is due; where it is not possible, it stays due for a later mail."""
        if not part:
            return False
        credit = self._others.get(name, 0) + part
        happens = possible and credit >= _WHOLE
        self._others[name] = credit - _WHOLE if happens else credit
        return happens


class Fates:
    """The fates of one run."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - rules with a share want to be repeatable
        self._credits: dict[str, _Credits] = {}
        self._settings: SimulatorSettings | None = None
        self._shares: _Shares | None = None

    def of(
        self,
        campaign: str,
        addresses: Sequence[str],
        settings: SimulatorSettings,
        rules: Sequence[Rule],
        is_suppressed: Callable[[str], bool],
    ) -> list[tuple[Fate, list[str]]]:
        """What becomes of a mail, in order, each with the recipients whom it befalls."""
        groups: dict[_Fates, list[str]] = {}
        ordinary: list[str] = []
        for address in addresses:
            fates = self._of_address(address, rules, is_suppressed)
            if fates is None:
                ordinary.append(address)
            else:
                groups.setdefault(fates, []).append(address)
        if ordinary:
            groups.setdefault(self._by_share(campaign, settings), []).extend(ordinary)
        everybody = list(addresses)
        for fates in groups:
            if whole := [fate for fate in fates if fate.type in _OF_ALL]:
                sent = [] if whole[0].type is EventType.RENDERING_FAILURE else [(_SEND, everybody)]
                return [*sent, (whole[0], everybody)]
        return [(_SEND, everybody), *((fate, who) for fates, who in groups.items() for fate in fates)]

    def _of_address(self, address: str, rules: Sequence[Rule], is_suppressed: Callable[[str], bool]) -> _Fates | None:
        """What is laid down for this very address."""
        for rule in rules:
            if rule.address_contains in address and rule.throw(self._dice):
                return rule.events
        local, _, domain = address.rpartition("@")
        if domain.lower() == "simulator.amazonses.com":
            return _MAILBOX_SIMULATOR.get(local.partition("+")[0].lower(), _DELIVERED)
        return _SUPPRESSED if is_suppressed(address) else None

    def _by_share(self, campaign: str, settings: SimulatorSettings) -> _Fates:
        if settings is not self._settings:
            self._settings, self._shares = settings, _Shares.of(settings)
        shares = self._shares
        if shares is None:
            return _DELIVERED
        credit = self._credits.get(campaign)
        if credit is None:
            credit = self._credits[campaign] = _Credits()
        end = credit.one_of(shares.ends)
        fates: list[Fate] = []
        if credit.is_due("delay", shares.delay, possible=end not in (_REJECT, _FAILURE)):
            fates.append(_DELAY)
        arrives = end in (_DELIVERY, _COMPLAINT)
        fates.append(_DELIVERY if arrives else end)
        for seen, part in ((_OPEN, shares.open), (_CLICK, shares.click)):
            if credit.is_due(seen.type, part, possible=arrives):
                fates.append(seen)
        if end is _COMPLAINT:
            fates.append(_COMPLAINT)
        return tuple(fates)
