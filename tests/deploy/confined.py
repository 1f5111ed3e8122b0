"""Run a program under the system call filters that a systemd unit asks for: `confined.py FILTERS.json PROGRAM…`.

FILTERS.json: {"calls": [names], "families": [numbers]}. What is not among the calls fails with EPERM, a socket of
another family with EAFNOSUPPORT, and memory that is both writable and executable (MemoryDenyWriteExecute) with EPERM;
systemd.exec(5). Filters are in force for all that the program starts. Uses libseccomp, as systemd does.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import sys
from pathlib import Path

ALLOW = 0x7FFF0000
FAIL = 0x00050000
"""Plus an errno (seccomp.h)."""
NOT_KNOWN = -1
EQUAL, MASKED_EQUAL = 4, 7
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
PR_SET_NO_NEW_PRIVS = 38
MOST_FAMILIES = 64
WHEN = tuple[int, int, int, int]
"""Number of an argument, comparison, and its two numbers."""


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class Filter:
    """One filter; the kernel asks all that are loaded, and the strictest answer counts."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._filter = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, call: str, when: WHEN | None = None) -> None:
        """A rule for a system call; one that this machine does not have needs none. Raises OSError."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number == NOT_KNOWN:
            return
        comparisons = (_Comparison * 1)(*([] if when is None else [_Comparison(*when)]))
        count = 0 if when is None else 1
        self._done(
            self._library.seccomp_rule_add_array(self._filter, ctypes.c_uint32(action), number, count, comparisons)
        )

    def load(self) -> None:
        """From here on it is in force. Raises OSError."""
        self._done(self._library.seccomp_load(self._filter))

    def _done(self, result: int) -> None:
        if result < 0:
            raise OSError(-result, os.strerror(-result))


def main() -> None:
    """Load the filters and become the program."""
    wanted = json.loads(Path(sys.argv[1]).read_text("ascii"))
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    some = Filter(ALLOW)
    both = PROT_WRITE | PROT_EXEC
    some.add(FAIL | errno.EPERM, "mmap", (2, MASKED_EQUAL, both, both))
    for call in ("mprotect", "pkey_mprotect"):
        some.add(FAIL | errno.EPERM, call, (2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC))
    some.add(FAIL | errno.EPERM, "shmat", (2, MASKED_EQUAL, SHM_EXEC, SHM_EXEC))
    for family in set(range(MOST_FAMILIES)) - set(wanted["families"]):
        some.add(FAIL | errno.EAFNOSUPPORT, "socket", (0, EQUAL, family, 0))
    some.load()
    calls = Filter(FAIL | errno.EPERM)
    for call in wanted["calls"]:
        calls.add(ALLOW, call)
    calls.load()
    # Proof that they are: whoever reads the log of a test that passed sees it.
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
    except OSError as error:
        sys.stderr.write(f"confined: {error.strerror}\n")
        sys.stderr.flush()
        os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  no shell is wanted
    sys.exit("the filters are not in force")


if __name__ == "__main__":
    main()
