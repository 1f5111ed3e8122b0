"""Names before addresses: `"Ann Example" <ann@example.com>`."""

from __future__ import annotations

import email.header
import email.utils
import functools
import re
from typing import TYPE_CHECKING

import pyarrow as pa

from bulksend.recipients.columns import compute as pc
from bulksend.recipients.columns import longest_bytes

if TYPE_CHECKING:
    from bulksend.recipients.columns import Texts

__all__ = ["MAX_MAILBOX_CHARS", "name_addresses"]

MAX_MAILBOX_CHARS = 320
"""The longest address with its name that SES takes knows (API reference, Destination in EmailInsights)."""

_PLAIN = r"\A[ !#-\[\]-~]*\z"
"""Printable ASCII that needs no backslash between quotes."""

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
_WORD_CHARS = 75
"""The longest encoded word (RFC 2047, 2)."""


def name_addresses(names: Texts, canonical: Texts) -> tuple[Texts, dict[int, str]]:
    """Put names before addresses that `addresses.check` gave out; a refused one is null, and stays so.

    Returns:
        What stands in ToAddresses: the address alone where the name is empty. And for each name that cannot be sent
        its place in the column with the reason in words.
    """
    reasons: dict[int, str] = {}
    trimmed = pc.utf8_trim(names, " \t")
    plain = pc.match_substring_regex(trimmed, _PLAIN)
    phrases = pc.binary_join_element_wise('"', trimmed, '" ', "")
    if not pc.all(plain).as_py():
        others = pc.invert(plain)
        places = pc.indices_nonzero(others)
        encoded: list[str] = []
        for place, name in zip(places.to_pylist(), trimmed.filter(others).to_pylist(), strict=True):
            if _CONTROLS.search(name):
                reasons[place] = "the display name has a line end or another control character in it"
                encoded.append("")
            else:
                encoded.append(f"{_phrase(name)} ")
        phrases = pc.replace_with_mask(phrases, others, pa.array(encoded, pa.string()))
    named = pc.binary_join_element_wise(phrases, "<", canonical, ">", "")
    mailboxes: Texts = pc.if_else(pc.equal(trimmed, ""), canonical, named)
    if longest_bytes(mailboxes) > MAX_MAILBOX_CHARS:
        sizes = pc.fill_null(pc.binary_length(mailboxes), 0)
        for place in pc.indices_nonzero(pc.greater(sizes, MAX_MAILBOX_CHARS)).to_pylist():
            chars = sizes[place].as_py()
            reasons.setdefault(
                place, f"the address has {chars} characters with its name; SES takes {MAX_MAILBOX_CHARS}"
            )
    return mailboxes, reasons


@functools.lru_cache(maxsize=4096)
def _phrase(name: str) -> str:
    """The name as it stands in a header: quoted, or where it is not ASCII as encoded words."""
    if name.isascii():
        return f'"{email.utils.quote(name)}"'
    folded = email.header.Header(name, "utf-8", maxlinelen=_WORD_CHARS).encode(linesep="\n")
    return " ".join(line.strip() for line in folded.split("\n"))
