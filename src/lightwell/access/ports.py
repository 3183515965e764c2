"""What every room needs from outside: policy data and the journal. (Committing: `commit.py`.)"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from lightwell.access.context import Actor, Tenant
from lightwell.access.policy import Rules
from lightwell.access.sight import Standing


class PolicySource(Protocol):
    """Where the rules come from. May answer from a cache no older than one second."""

    async def in_force(self, tenant: Tenant) -> Rules:
        """What is in force for the tenant. Raises Unavailable: then nothing is allowed."""

    async def standing(self, tenant: Tenant, actor: Actor) -> Standing:
        """What is recorded of a person there. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One decision of a person or an administrator, as kept beside the images."""

    at: datetime
    kind: str  # 'overlay', 'rejection', 'peer', 'tenant', …
    body: dict[str, Any]


class Journal(Protocol):
    """Append-only record of what cannot be read from the objects themselves.

    It lies in the object store and is durable before the database commits, so that `reindex` can
    replay it into an empty database.
    """

    async def append(self, tenant: Tenant, kind: str, body: dict[str, Any]) -> None:
        """Write one entry durably. Raises Unavailable: then the change must not be committed."""

    def entries(self, tenant: Tenant) -> AsyncIterator[JournalEntry]:
        """All entries, oldest first."""
