"""The SDK's credentials, whatever they come from, kept fresh while a campaign runs."""

from __future__ import annotations

import asyncio
from typing import Any

from bulksend.aws.client import AwsAccess, open_session
from bulksend.aws.signing import Credentials

__all__ = ["CredentialSource"]

LOOK_AGAIN_S = 1.0
"""The SDK renews credentials that expire soon when it is asked for them: that is worth asking so often, not more."""


class CredentialSource:
    """Hands out the credentials of now. Each new set of keys is another generation."""

    def __init__(self, access: AwsAccess) -> None:
        self._access = access
        self._source: Any = None
        self._current: Credentials | None = None
        self._error: Exception | None = None
        self._looked_at_s = float("-inf")
        self._look_at_s = float("-inf")
        self._looking = asyncio.Lock()
        self.generation = 0

    @property
    def due(self) -> bool:
        """Whether it is time to look at them again."""
        return asyncio.get_running_loop().time() >= self._look_at_s

    async def current(self) -> Credentials:
        """Raises whatever the SDK raises when there are none, or when those that were refused cannot be renewed.

        However many ask at once, the source is asked once. While it is asked, or does not answer, those of before
        serve: the SDK renews them minutes before their end, and whether they are good still is for AWS to say.
        """
        now_s = asyncio.get_running_loop().time()
        if self._current is not None and (now_s < self._look_at_s or self._looking.locked()):
            return self._current
        async with self._looking:
            if self._looked_at_s < now_s:
                await self._look()
        if self._error is not None:
            raise self._error
        assert self._current is not None
        return self._current

    async def renew(self, refused_generation: int) -> int:
        """Read them anew from wherever they come from, unless that was done since; returns the generation."""
        async with self._looking:  # keys that are on their way are the refused ones
            if refused_generation == self.generation:
                self._source = self._current = None
                self._looked_at_s = float("-inf")
                self.generation += 1
            return self.generation

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._look_at_s = loop.time() + LOOK_AGAIN_S
        try:
            found = await self._read()
        except Exception as error:  # noqa: BLE001  it is raised to all who wait
            if self._current is None:
                self._error = error
                self._look_at_s = float("-inf")
        else:
            self._error = None
            if found != self._current:
                if self._current is not None:
                    self.generation += 1
                self._current = found
        self._looked_at_s = loop.time()

    async def _read(self) -> Credentials:
        from botocore.exceptions import NoCredentialsError  # noqa: PLC0415

        if self._source is None:
            self._source = await open_session(self._access).get_credentials()
            if self._source is None:
                raise NoCredentialsError
        frozen = await self._source.get_frozen_credentials()
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)
