"""Emptying what a re-index makes anew; the record of what was done stays."""

from __future__ import annotations

from lightwell.backends.database.pool import connect, wrapped
from lightwell.backends.database.roles import ConnectionInfo, Role

# Tenants, sites, peers, rules, accounts, commitment requests, events and the audit record are kept, and the
# marks of sensitive studies: what is not to be seen is at no moment to be seen.
REBUILT = (
    "patient_word",
    "series_pack",
    "blob_going",
    "instance",
    "series",
    "study",
    "patient",
    "blob",
    "qc_item",
    "overlay",
    "rejection",
    "study_delta",
    "usage_delta",
    "tenant_usage",
    "lease",
)
LOCK_TIMEOUT = "10s"
SECONDS = 600.0


_KEPT = ("blob", "instance", "qc_item", "overlay", "rejection")
_HOLDS = " OR ".join(f"EXISTS (SELECT 1 FROM {t} x WHERE x.tenant = t.tenant)" for t in _KEPT)


async def holds_objects(info: ConnectionInfo, region: str | None = None) -> bool:
    """Whether there is a row that a re-index would make anew: of any tenant, or of those of a region."""
    connection = await connect(info, Role.OWNER)
    try:
        with wrapped():
            return bool(
                await connection.fetchval(
                    "SELECT EXISTS (SELECT 1 FROM tenant t WHERE ($1::text IS NULL OR t.region = $1)"
                    f" AND ({_HOLDS}))",
                    region,
                )
            )
    finally:
        await connection.close(timeout=5)


async def clear(info: ConnectionInfo) -> None:
    """Remove those rows, all or none. Inline objects must have been put into the store before."""
    connection = await connect(info, Role.OWNER)
    try:
        with wrapped():
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                await connection.execute(f"TRUNCATE {', '.join(REBUILT)}", timeout=SECONDS)
    finally:
        await connection.close(timeout=5)
