"""Object keys. Made here only, from random ids and our own names: nothing from a data set or a header."""

from __future__ import annotations

import uuid

LANDED = "landed"
JOURNAL = "journal"


def blob_key(region: str, tenant: str, kind: str, blob_id: uuid.UUID) -> str:
    """`{region}/{tenant}/{kind}/aa/bb/{random}` (architecture 5)."""
    name = blob_id.hex
    return f"{region}/{tenant}/{kind}/{name[:2]}/{name[2:4]}/{name}"


def kind_prefix(region: str, tenant: str, kind: str) -> str:
    """Where all objects of one kind lie."""
    return f"{region}/{tenant}/{kind}/"


def blob_of_key(key: str) -> uuid.UUID | None:
    """The random id of a key made by `blob_key`; None for anything else."""
    parts = key.split("/")
    if len(parts) != 6:
        return None
    try:
        blob_id = uuid.UUID(hex=parts[5])
    except ValueError:
        return None
    return blob_id if (parts[3], parts[4]) == (blob_id.hex[:2], blob_id.hex[2:4]) else None
