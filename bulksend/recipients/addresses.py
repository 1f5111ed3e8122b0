"""Which addresses SES can send to, and the one form in which each is sent and compared.

SES takes no SMTPUTF8: a local part is ASCII, a domain Punycode (Amazon SES developer guide, "Creating raw email
messages"). Almost every address is plain ASCII, and one regular expression over the column accepts it; email-validator
judges the others, one by one.
"""

from __future__ import annotations

import functools
import re

import email_validator
import pyarrow as pa

from bulksend.recipients.columns import Flags, Texts, longest_bytes, occurs
from bulksend.recipients.columns import compute as pc

__all__ = ["check", "comparison_keys"]

MAX_ADDRESS_BYTES = 254
"""RFC 5321, 4.5.3.1.3 (a path of 256 with its angle brackets)."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL = r"[A-Za-z0-9](?:-?[A-Za-z0-9])*"
_PLAIN = rf"\A{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+[A-Za-z]{{2,}}\z"
"""Stricter than the standards: two hyphens in a row (Punycode among them) are left to email-validator."""

_ALWAYS_SHORT_ENOUGH_BYTES = 64
_ALWAYS_SHORT_ENOUGH_CHARS = 60
"""Even at four bytes to a character."""

_SHORT_ENOUGH = r"\A[^@]{1,64}@(?:[^.]{1,63}\.)+[^.]{1,63}\z"
"""The longest local part and label (RFC 5321, 4.5.3.1.1; RFC 1035, 2.3.4)."""

_SPECIAL_USE = "|".join(name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES if name != "test")
"""Top-level domains that no mail can reach. ".test" is let through: it is made for trying things out (RFC 6761)."""

_DOMAIN_WITH_CAPITALS = r"@.*[A-Z]"
_PARTS = r"\A(?P<local>[^@]*@)(?P<domain>.*)\z"


def check(addresses: Texts) -> tuple[Texts, dict[int, str]]:
    """Judge a column of addresses as they stand in the list.

    Returns:
        The addresses as they are sent: trimmed, the domain in lower-case Punycode, the local part as it was; null where
        the address is refused. And for each of those its place in the column with the reason in words.
    """
    accepted = _plain(addresses)
    if pc.all(accepted).as_py() is not False:
        return _lower_domains(addresses), {}
    trimmed = pc.ascii_trim_whitespace(addresses)
    accepted = _plain(trimmed)
    canonical = _lower_domains(pc.if_else(accepted, trimmed, pa.scalar(None, pa.string())))
    others = pc.indices_nonzero(pc.invert(accepted))
    reasons: dict[int, str] = {}
    replaced: list[str | None] = []
    for place, text in zip(others.to_pylist(), trimmed.take(others).to_pylist(), strict=True):
        address, reason = _judge(text) if len(text) <= MAX_ADDRESS_BYTES else (None, _too_long(text))
        replaced.append(address)
        if address is None:
            reasons[place] = reason
    return pc.replace_with_mask(canonical, pc.invert(accepted), pa.array(replaced, pa.string())), reasons


def comparison_keys(canonical: Texts) -> Texts:
    """What two addresses are compared by: those that `check` gave out, in lower case."""
    lowered: Texts = pc.ascii_lower(canonical)
    return lowered


def _plain(addresses: Texts) -> Flags:
    plain: Flags = pc.match_substring_regex(addresses, _PLAIN)
    if longest_bytes(addresses) > _ALWAYS_SHORT_ENOUGH_BYTES:
        short = pc.less_equal(pc.binary_length(addresses), MAX_ADDRESS_BYTES)
        plain = pc.and_(plain, pc.and_(short, pc.match_substring_regex(addresses, _SHORT_ENOUGH)))
    if occurs(rf"(?i)\.(?:{_SPECIAL_USE})", addresses):
        plain = pc.and_not(plain, pc.match_substring_regex(addresses, rf"(?i)\.(?:{_SPECIAL_USE})\z"))
    return plain


def _lower_domains(addresses: Texts) -> Texts:
    if pc.ascii_lower(addresses).equals(addresses):
        return addresses
    capitals = pc.fill_null(pc.match_substring_regex(addresses, _DOMAIN_WITH_CAPITALS), fill_value=False)
    if not pc.any(capitals).as_py():
        return addresses
    parts = pc.extract_regex(addresses.filter(capitals), _PARTS)
    lowered = pc.binary_join_element_wise(
        pc.struct_field(parts, "local"), pc.ascii_lower(pc.struct_field(parts, "domain")), ""
    )
    replaced: Texts = pc.replace_with_mask(addresses, capitals, lowered)
    return replaced


def _judge(text: str) -> tuple[str | None, str]:
    """email-validator's opinion: the address as it is sent, or None and why not."""
    address = text.strip()
    if not address:
        return None, "no address"
    local, at, domain = address.partition("@")
    if at and len(address) <= _ALWAYS_SHORT_ENOUGH_CHARS and _LOCAL.fullmatch(local):
        # Nothing can be wrong but the domain, and domains come again.
        judged, reason = _validate(f"a@{domain}")
        if judged is None:
            return None, reason
        canonical = local + judged.removeprefix("a")
        if len(canonical) <= _ALWAYS_SHORT_ENOUGH_CHARS:
            return canonical, ""
    return _validate(address)


@functools.lru_cache(maxsize=4096)
def _validate(address: str) -> tuple[str | None, str]:
    try:
        valid = email_validator.validate_email(
            address,
            allow_display_name=False,
            allow_domain_literal=False,
            allow_empty_local=False,
            allow_quoted_local=False,
            allow_smtputf8=False,
            check_deliverability=False,
            globally_deliverable=True,
            strict=True,
            test_environment=True,
        )
    except email_validator.EmailNotValidError as error:
        return None, str(error)
    # Its own form of the local part is not taken: it puts a few well-known names into lower case.
    local = valid.original.rpartition("@")[0]
    return f"{local}@{valid.ascii_domain}", ""


def _too_long(text: str) -> str:
    return f"the address has {len(text):,} characters; {MAX_ADDRESS_BYTES} are possible"
