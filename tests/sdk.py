"""The SDK as all tests have it: without awscrt, as bulksend is installed by default, and opened quickly.

Each of our clients has a session of its own. Half of what that costs is to look names of events up in a table of old
ones; that is done once a process here, for tests open thousands of clients.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["BOTO_DISABLE_CRT"] = "true"
"""It is read when botocore is imported; one test takes it back."""

from botocore.hooks import EventAliaser  # noqa: E402

__all__: list[str] = []

_KNOWN: dict[str, str] = {}
_begin = EventAliaser.__init__


def _begin_with_what_is_known(self: Any, emitter: Any, aliases: Any = None) -> None:
    _begin(self, emitter, aliases)
    if aliases is None:
        self._alias_name_cache = _KNOWN


EventAliaser.__init__ = _begin_with_what_is_known
