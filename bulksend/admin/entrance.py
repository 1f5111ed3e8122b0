"""Who may come in: by a token, or from this machine, and then not by way of a web page."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bulksend.admin.refusals import Refusal
from bulksend.errors import ConfigError

__all__ = ["Entrance", "is_loopback"]

MIN_TOKEN_CHARACTERS = 16
_TOKEN = re.compile(r"[!-~]+")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/\\\s]+)(?::[0-9]{1,5})?")

_NO_TOKEN = Refusal(
    401,
    "This needs the worker's token",
    "Send the header Authorization: Bearer TOKEN.",
    headers={"WWW-Authenticate": 'Bearer realm="bulksend"'},
)
_FOREIGN_HOST = Refusal(
    421,
    "The Host header does not name this machine",
    "Ask by http://127.0.0.1, http://[::1] or http://localhost, or give the worker a token and send it.",
)
_FOREIGN_ORIGIN = Refusal(
    403,
    "A web page of another origin may not ask this",
    "Ask without a browser, or give the worker a token and send it.",
)


class Headers(Protocol):
    """Those of a request."""

    def getall(self, name: str, otherwise: list[str], /) -> list[str]:
        """All of a name."""
        ...


@dataclass(frozen=True, slots=True)
class Entrance:
    """Whom a face on `host` lets in.

    Where there is a token it is needed, and enough. Where there is none, only requests that name this machine are
    answered, for a browser here can be made to send others (DNS rebinding).
    """

    host: str
    token: str | None

    def check(self) -> None:
        """Whether it may be opened at all.

        Raises:
            ConfigError: an address other than loopback has no token, or the token is too easily guessed or not one.
        """
        if self.token is None:
            if not is_loopback(self.host):
                where = f"on {self.host!r}" if self.host else "on every address"
                raise ConfigError(
                    f"the HTTP face would listen {where} without a token: anybody there could send mail",
                    hint="Give the worker a token (http.token_file), or have it listen on 127.0.0.1.",
                )
        elif len(self.token) < MIN_TOKEN_CHARACTERS or not _TOKEN.fullmatch(self.token):
            raise ConfigError(
                f"the token of the HTTP face must be {MIN_TOKEN_CHARACTERS} or more ASCII characters without a space",
                hint="Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )

    def refusal_by(self, headers: Headers) -> Refusal | None:
        """Why a request with these headers is not let in, if so."""
        return self.refusal(*(headers.getall(name, []) for name in ("Authorization", "Host", "Origin")))

    def refusal(self, authorizations: Sequence[str], hosts: Sequence[str], origins: Sequence[str]) -> Refusal | None:
        """Why a request is not let in, if so: by all of its headers Authorization, Host and Origin."""
        if self.token is not None:
            return None if _is_bearer(authorizations, self.token) else _NO_TOKEN
        if len(hosts) != 1 or not _names_loopback(hosts[0]):
            return _FOREIGN_HOST
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            return _FOREIGN_ORIGIN
        return None


def is_loopback(host: str) -> bool:
    """Whether `host` is localhost, in 127.0.0.0/8 or ::1. Other names may lead anywhere."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _names_loopback(host: str) -> bool:
    found = _HOST.fullmatch(host)
    return found is not None and is_loopback(found[1].removeprefix("[").removesuffix("]"))


def _is_bearer(values: Sequence[str], token: str) -> bool:
    if len(values) != 1:
        return False
    scheme, _, given = values[0].partition(" ")
    # Bytes, for compare_digest refuses text that is not ASCII; headers come with surrogates for what is not UTF-8.
    same = hmac.compare_digest(given.strip(" ").encode("utf-8", "surrogateescape"), token.encode())
    return same and scheme.lower() == "bearer"
