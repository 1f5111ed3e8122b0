"""Verifies SigV4A: the signature of a request that is good in every Region of its region set. Pure.

The signer's key pair follows from its credentials, so who knows the secret can derive the public half. Sources: AWS
Signature Version 4A (IAM User Guide, AWS Signature Version 4 for API requests); NIST SP 800-108 (the key derivation);
FIPS 186-4 and SEC 1 (P-256, ECDSA). It is some milliseconds of Python integers, and no library: nothing here is secret
from the one who runs it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote, unquote

__all__ = ["ALGORITHM", "Point", "canonical_request", "is_signature", "public_key", "string_to_sign"]

ALGORITHM = "AWS4-ECDSA-P256-SHA256"

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_MAX_COUNTER = 254
_SEQUENCE, _INTEGER = 0x30, 0x02
_SPACES = re.compile(r" +").sub

Point = tuple[int, int]
"""A point of the curve in affine coordinates."""
_Jacobian = tuple[int, int, int]
_NOWHERE: _Jacobian = (1, 1, 0)


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    if not y or not z:
        return _NOWHERE
    yy = y * y % _P
    s = 4 * x * yy % _P
    zz = z * z % _P
    m = 3 * (x - zz) * (x + zz) % _P
    x3 = (m * m - 2 * s) % _P
    return x3, (m * (s - x3) - 8 * yy * yy) % _P, 2 * y * z % _P


def _add(a: _Jacobian, b: Point) -> _Jacobian:
    x1, y1, z1 = a
    if not z1:
        return (*b, 1)
    zz = z1 * z1 % _P
    h = (b[0] * zz - x1) % _P
    r = (b[1] * zz * z1 - y1) % _P
    if not h:
        return _NOWHERE if r else _double(a)
    hh = h * h % _P
    hhh = h * hh % _P
    v = x1 * hh % _P
    x3 = (r * r - hhh - 2 * v) % _P
    return x3, (r * (v - x3) - y1 * hhh) % _P, z1 * h % _P


def _affine(point: _Jacobian) -> Point | None:
    x, y, z = point
    if not z:
        return None
    inverse = pow(z, -1, _P)
    return x * inverse * inverse % _P, y * inverse * inverse * inverse % _P


def _sum_of(a: int, at: Point, b: int, bt: Point) -> Point | None:
    """a·at + b·bt, with one row of doublings for both; None is the point at infinity."""
    both = _affine(_add((*at, 1), bt))
    total = _NOWHERE
    for bit in range(max(a.bit_length(), b.bit_length()) - 1, -1, -1):
        total = _double(total)
        match a >> bit & 1, b >> bit & 1:
            case 1, 1 if both is not None:
                total = _add(total, both)
            case 1, 0:
                total = _add(total, at)
            case 0, 1:
                total = _add(total, bt)
            case _:
                pass
    return _affine(total)


@lru_cache(maxsize=8)
def public_key(access_key_id: str, secret: str) -> Point:
    """The public key of some credentials.

    The private one is the first of the key derivation's candidates (counter mode, HMAC-SHA256) that is at most n - 2,
    and one more. It is not kept.
    """
    key = b"AWS4A" + secret.encode()
    for counter in range(1, _MAX_COUNTER + 1):
        context = access_key_id.encode() + bytes([counter])
        fixed = b"\x00\x00\x00\x01" + ALGORITHM.encode() + b"\x00" + context + (256).to_bytes(4, "big")
        candidate = int.from_bytes(hmac.digest(key, fixed, "sha256"), "big")
        if candidate <= _N - 2:
            point = _sum_of(candidate + 1, _G, 0, _G)
            assert point is not None
            return point
    raise AssertionError("no candidate: has a probability of 2 to the -8128")


def canonical_request(method: str, target: str, headers: Mapping[str, str], signed: Sequence[str], body: bytes) -> str:
    """A request in the form that is hashed: `target` as it is on the wire, `signed` the names of signed headers."""
    path, _, query = target.partition("?")
    pairs = [part.partition("=") for part in query.split("&") if part]
    encoded = sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)
    lines = [
        method,
        quote(path, safe="/-_.~"),  # a second time: every service but S3 wants it
        "&".join(f"{name}={value}" for name, value in encoded),
        *(f"{name}:{_SPACES(' ', headers[name].strip())}" for name in signed),
        "",
        ";".join(signed),
        hashlib.sha256(body).hexdigest(),
    ]
    return "\n".join(lines)


def _encoded(text: str) -> str:
    return quote(unquote(text), safe="-_.~")


def string_to_sign(stamp: str, scope: str, canonical: str) -> bytes:
    """What is signed: `stamp` is X-Amz-Date, `scope` the credential's without the access key, which names no Region."""
    return f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}".encode()


def is_signature(signature: str, message: bytes, key: Point) -> bool:
    """Whether `signature`, hexadecimal DER, is one of SHA-256 of the message by the owner of the key."""
    numbers = _read_der(signature)
    if numbers is None:
        return False
    r, s = numbers
    if not (0 < r < _N and 0 < s < _N):
        return False
    inverse = pow(s, -1, _N)
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    point = _sum_of(digest * inverse % _N, _G, r * inverse % _N, key)
    return point is not None and point[0] % _N == r


def _read_der(signature: str) -> tuple[int, int] | None:
    """The two numbers of a SEQUENCE of two INTEGERs, each in its shortest form; None for anything else."""
    try:
        data = bytes.fromhex(signature)
    except ValueError:
        return None
    numbers = []
    rest = data[2:]
    if len(data) < 2 or data[0] != _SEQUENCE or data[1] != len(rest):  # noqa: PLR2004 - tag and length
        return None
    for _ in range(2):
        if len(rest) < 2 or rest[0] != _INTEGER or not 0 < rest[1] <= len(rest) - 2:  # noqa: PLR2004 - the same
            return None
        content, rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
        number = int.from_bytes(content, "big", signed=True)
        if number <= 0 or len(content) != number.bit_length() // 8 + 1:
            return None
        numbers.append(number)
    return (numbers[0], numbers[1]) if not rest else None
