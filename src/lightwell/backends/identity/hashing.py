"""argon2id (RFC 9106), two at a time a process: each takes 64 MiB and a core."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from lightwell.kernel.errors import Busy

T = TypeVar("T")

MEMORY_KIB: Final = 64 * 1024
PASSES: Final = 3
AT_ONCE: Final = 2
WAITING: Final = 32  # more would wait longer than anybody does


class Argon2Hasher:
    """`domain.people.ports.Hasher`."""

    def __init__(self, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._here = 0
        self._nobody: str | None = None

    async def hashed(self, password: str) -> str:
        """See the port."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, encoded: str | None, password: str) -> bool:
        """See the port."""
        if encoded is None:
            return await self._run(lambda: self._verified(self._nobodys(), password)) and False
        return await self._run(lambda: self._verified(encoded, password))

    def outdated(self, encoded: str) -> bool:
        """See the port."""
        return self._hasher.check_needs_rehash(encoded)

    def _nobodys(self) -> str:
        """What an unknown login is compared with, so that it costs the same."""
        if self._nobody is None:
            self._nobody = self._hasher.hash("nobody has this password")
        return self._nobody

    def _verified(self, encoded: str, password: str) -> bool:
        try:
            return self._hasher.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._here >= AT_ONCE + WAITING:
            raise Busy("Too many people sign in at once.", remedy="Try again in a moment.")
        self._here += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work)
        finally:
            self._here -= 1
