"""The account's identities: addresses and domains, and whether mail may be sent in their name.

Source: API reference, CreateEmailIdentity, GetEmailIdentity, ListEmailIdentities, DkimAttributes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bulksend.simulator.answers import Reply, SesError, already_exists, bad_request, json_reply, not_found
from bulksend.simulator.asked import Asked, read_resource_tags
from bulksend.simulator.members import is_address, members

__all__ = ["Identities", "names_of"]

_UNVERIFIED = "Email address is not verified. The following identities failed the check: "
_DKIM_TOKENS = 3
_BYODKIM = frozenset(
    {"DomainSigningAttributesOrigin", "DomainSigningPrivateKey", "DomainSigningSelector", "NextSigningKeyLength"}
)


@dataclass(slots=True)
class _Identity:
    """What is known of an identity beside whether it is verified."""

    tags: list[dict[str, str]] = field(default_factory=list)
    configuration_set: str | None = None
    dkim_signs: bool = True


class Identities:
    """By name in lower case. `verified` are the names that the settings have, all there are when it is empty.

    One that was created is pending where the settings name others.
    """

    def __init__(self, verified: Callable[[], Sequence[str]]) -> None:
        self._verified = verified
        self.reset()

    def reset(self) -> None:
        """Forget what was created."""
        self._created: dict[str, _Identity] = {}

    def is_verified(self, name: str) -> bool:
        """Whether this very identity is verified."""
        verified = self._verified()
        return not verified or name.lower() in (one.lower() for one in verified)

    def check(self, sender: str) -> None:
        """Refuse to send from an address of which neither itself nor its domain, or one above, is verified."""
        address = sender.rpartition("<")[2].rstrip(">")
        if not any(self.is_verified(name) for name in names_of(address)):
            raise SesError(400, "MessageRejected", f"{_UNVERIFIED}{address}")

    def create(self, asked: Asked) -> Reply:
        """CreateEmailIdentity."""
        request = asked.members("ConfigurationSetName", "DkimSigningAttributes", "EmailIdentity", "Tags")
        name = request.get("EmailIdentity")
        if not isinstance(name, str) or not is_address(name if "@" in name else f"a@{name}"):
            raise bad_request("EmailIdentity: an address or a domain is expected.")
        if name.lower() in self._created:
            raise already_exists(f"Email identity {name} already exists.")
        if request.get("DkimSigningAttributes") is not None:
            members(request["DkimSigningAttributes"], _BYODKIM, "DkimSigningAttributes")
            if "@" in name:
                raise bad_request("DkimSigningAttributes: can be specified for a domain only.")
        made = _Identity(read_resource_tags(request.get("Tags")), request.get("ConfigurationSetName"))
        self._created[name.lower()] = made
        told = self._told(name, made)
        return json_reply({key: told[key] for key in ("DkimAttributes", "IdentityType", "VerifiedForSendingStatus")})

    def get(self, asked: Asked) -> Reply:
        """GetEmailIdentity."""
        return json_reply(self._told(asked.name, self._known(asked.name)))

    def delete(self, asked: Asked) -> Reply:
        """DeleteEmailIdentity, for one that was created."""
        if self._created.pop(asked.name.lower(), None) is None:
            raise not_found(f"Email identity {asked.name} does not exist.")
        return json_reply({})

    def put_dkim(self, asked: Asked) -> Reply:
        """PutEmailIdentityDkimAttributes: whether its mails are signed."""
        identity = self._known(asked.name)
        signs = asked.members("SigningEnabled").get("SigningEnabled", False)
        if not isinstance(signs, bool):
            raise bad_request("SigningEnabled: true or false is expected.")
        identity.dkim_signs = signs
        self._created[asked.name.lower()] = identity
        return json_reply({})

    def list(self, asked: Asked) -> Reply:
        """ListEmailIdentities: those that were created, and those that the settings name."""
        page, _ = asked.page()
        names, more = page.of(sorted({*self._created, *(name.lower() for name in self._verified())}))
        listed = [
            {
                "IdentityName": name,
                "IdentityType": _type(name),
                "SendingEnabled": self.is_verified(name),
                "VerificationStatus": self._status(name),
            }
            for name in names
        ]
        return json_reply({"EmailIdentities": listed, **more})

    def _known(self, name: str) -> _Identity:
        found = self._created.get(name.lower())
        if found is None:
            if not self.is_verified(name):
                raise not_found(f"Email identity {name} does not exist.")
            found = _Identity()
        return found

    def _status(self, name: str) -> str:
        return "SUCCESS" if self.is_verified(name) else "PENDING"

    def _told(self, name: str, identity: _Identity) -> dict[str, Any]:
        status = self._status(name)
        told: dict[str, Any] = {
            "DkimAttributes": {
                "CurrentSigningKeyLength": "RSA_2048_BIT",
                "NextSigningKeyLength": "RSA_2048_BIT",
                "SigningAttributesOrigin": "AWS_SES",
                "SigningEnabled": identity.dkim_signs,
                "Status": status,
                "Tokens": [hashlib.sha256(f"{name} {n}".encode()).hexdigest()[:32] for n in range(_DKIM_TOKENS)],
            },
            "FeedbackForwardingStatus": True,
            "IdentityType": _type(name),
            "Policies": {},
            "Tags": identity.tags,
            "VerificationStatus": status,
            "VerifiedForSendingStatus": self.is_verified(name),
        }
        if identity.configuration_set:
            told["ConfigurationSetName"] = identity.configuration_set
        return told


def names_of(address: str) -> list[str]:
    """The identities that may stand for a bare address, in lower case: itself, its domain, those above that."""
    domain = address.rpartition("@")[2].lower()
    labels = domain.split(".")
    return [address.lower(), *(".".join(labels[i:]) for i in range(max(1, len(labels) - 1)))]


def _type(name: str) -> str:
    return "EMAIL_ADDRESS" if "@" in name else "DOMAIN"
