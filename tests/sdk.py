"""The SDK as all tests have it: without awscrt, as bulksend is installed by default, and opened quickly.

Tests open thousands of clients, each with a session of its own. Of what that costs, most is to read models, to look
names of events up in a table of old ones, and to read signatures: here the first two are done once a process, and the
third is asked of the code.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import cache
from typing import Any

os.environ["BOTO_DISABLE_CRT"] = "true"
"""It is read when botocore is imported; one test takes it back."""

from botocore import hooks, session  # noqa: E402

__all__: list[str] = []

_KNOWN: dict[str, str] = {}
_begin = hooks.EventAliaser.__init__
_accepts_kwargs: Callable[[Any], bool] = hooks.accepts_kwargs


def _begin_with_what_is_known(self: Any, emitter: Any, aliases: Any = None) -> None:
    _begin(self, emitter, aliases)
    if aliases is None:
        self._alias_name_cache = _KNOWN


def _accepts_kwargs_by_its_code(handler: Any) -> bool:
    code = getattr(handler, "__code__", None)
    return _accepts_kwargs(handler) if code is None else bool(code.co_flags & inspect.CO_VARKEYWORDS)


hooks.EventAliaser.__init__ = _begin_with_what_is_known
hooks.accepts_kwargs = _accepts_kwargs_by_its_code
session.create_loader = cache(session.create_loader)
