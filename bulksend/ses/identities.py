"""Identities: in whose name mail may be sent.

Sources: API reference, GetEmailIdentity, DkimAttributes, MailFromAttributes; Developer Guide, Verified identities: a
domain's verification holds for every address in it and in the domains below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any

from bulksend.ses.inquiry import found

__all__ = ["Identity", "identities_for", "read_identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """An address or a domain, and what SES has made sure of. Statuses are SES's own words; empty for none."""

    name: str
    verified: bool
    dkim_signing: bool
    dkim_status: str
    mail_from_domain: str = ""
    mail_from_status: str = ""
    default_set: str = ""
    """The configuration set of mails that name none."""

    @property
    def signed(self) -> bool:
        """Whether its mails carry a DKIM signature of its domain."""
        return self.dkim_signing and self.dkim_status == "SUCCESS"


def identities_for(sender: str) -> tuple[str, ...]:
    """The identities that may stand for a From address: itself, its domain, the domains above that. Nearest first."""
    address = parseaddr(sender)[1]
    domain = address.rpartition("@")[2].lower()
    labels = domain.split(".")
    above = [".".join(labels[place:]) for place in range(max(1, len(labels) - 1))]
    return (address, *above) if address else ()


async def read_identity(client: Any, name: str) -> Identity | None:
    """GetEmailIdentity; None where the account has no such identity."""
    reply = await found(client.get_email_identity(EmailIdentity=name))
    if reply is None:
        return None
    dkim, mail_from = reply.get("DkimAttributes") or {}, reply.get("MailFromAttributes") or {}
    return Identity(
        name,
        verified=bool(reply.get("VerifiedForSendingStatus")),
        dkim_signing=bool(dkim.get("SigningEnabled")),
        dkim_status=str(dkim.get("Status") or ""),
        mail_from_domain=str(mail_from.get("MailFromDomain") or ""),
        mail_from_status=str(mail_from.get("MailFromDomainStatus") or ""),
        default_set=str(reply.get("ConfigurationSetName") or ""),
    )
