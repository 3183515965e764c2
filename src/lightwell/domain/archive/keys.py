"""Object keys. Made here only, from random ids and our own names: nothing from a data set or a header."""

from __future__ import annotations

import os
import threading
import uuid

LANDED = "landed"
PACK = "pack"
DERIVED = "derived"
MANIFEST = "manifest"
JOURNAL = "journal"

STORE_ID = "store-id"  # beside the region: which store this is

KIND_NUMBERS = {1: LANDED, 2: PACK, 3: DERIVED, 4: MANIFEST}  # as blob rows say it


def blob_key(region: str, tenant: str, kind: str, blob_id: uuid.UUID) -> str:
    """`{region}/{tenant}/{kind}/aa/bb/{random}` (architecture 5)."""
    name = blob_id.hex
    return f"{region}/{tenant}/{kind}/{name[:2]}/{name[2:4]}/{name}"


def tenant_prefix(region: str, tenant: str) -> str:
    """Where everything of one tenant lies."""
    return f"{region}/{tenant}/"


def region_of(key: str) -> str:
    """The region of a key or of the beginning of one."""
    return key.partition("/")[0]


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


def is_packed(key: str) -> bool:
    """Whether an object is a pack."""
    return key.split("/", 3)[2:3] == [PACK]


def is_image(key: str) -> bool:
    """Whether an object holds what was received, landed or packed."""
    return key.split("/", 3)[2:3] in ([LANDED], [PACK])


class BlobIds:
    """Random ids, a thousand in a row with the same first two bytes.

    Those two bytes are the folders of a local store. A new folder costs two more syncs, so objects that
    come one after the other share one; the other fourteen bytes keep them apart. Thread-safe.
    """

    SHARED = 1000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = 0
        self._head = b""

    def next(self) -> uuid.UUID:
        """An id nobody had before."""
        with self._lock:
            if self._left == 0:
                self._head, self._left = os.urandom(2), self.SHARED
            self._left -= 1
            head = self._head
        return uuid.UUID(bytes=head + os.urandom(14), version=4)
