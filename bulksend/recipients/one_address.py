"""One address that a person has typed, judged as those of a list are."""

from __future__ import annotations

import pyarrow as pa

from bulksend.errors import UsageError
from bulksend.recipients import addresses

__all__ = ["one_address"]


def one_address(typed: str) -> str:
    """As it is sent: the domain in lower-case Punycode. Raises UsageError: why it cannot be."""
    canonical, faults = addresses.check(pa.array([typed], pa.string()))
    if faults:
        raise UsageError(f"{typed!r} is not an address: {faults[0]}", hint="Correct the address.")
    found: str = canonical[0].as_py()
    return found
