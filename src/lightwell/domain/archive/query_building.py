"""How the gateways turn keys into a `Query`: the room's own translation, for every door alike."""

from __future__ import annotations

from lightwell.domain.archive.internal.asking import Key, build_query

__all__ = ["Key", "build_query"]
