"""What an instance row keeps of a coded entry, beside the columns that every instance has.

Version, size of the data set given, CRC32C of the entry's front, frame records, side member, recipe; about
130 bytes. With the row's own offset, length and digest it is the whole `Entry`: a settled frame is read
without the pack's index.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from lightwell.dicom.uids import HTJ2KLosslessRPCL
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.index import Entry, Records

VERSION = 1
CODED, PIXEL_EXACT = "coded", "pixel-exact"
_FIXED = struct.Struct("<BxxxIQQQIIQ")  # version, head sum, size, records (3), side (2)
_NO_SIDE = (0, 0)


def form_of(entry: Entry) -> str:
    """'coded', 'pixel-exact' (the same, but what arrived does not come back), or the reason code why an entry
    lies there as received."""
    if entry.reason is not None:
        return entry.reason.value
    return CODED if entry.kept is None else PIXEL_EXACT


def row_bytes(entry: Entry) -> bytes | None:
    """For the column; None for an entry as received, which needs none."""
    if not entry.coded or entry.records is None:
        return None
    at, (side_size, side) = entry.records, (entry.side or _NO_SIDE)[::-1]
    fixed = _FIXED.pack(
        VERSION, entry.head_sum, entry.given.size, at.offset, side, at.count, at.size, side_size
    )
    return fixed + entry.recipe


@lru_cache(maxsize=4096)  # each frame request would else parse the same row again
def entry_of(
    coded: bytes,
    *,
    offset: int,
    length: int,
    meta: int,
    sha256: bytes,
    sop_uid: str,
    sop_class: str,
    received_syntax: str,
) -> Entry:
    """The entry a settled, coded instance lies in. Raises Damaged when its row makes no sense.

    `sha256` and `received_syntax` are those of the data set that it gives; of a pixel-exact one that is
    not what arrived.
    """
    if len(coded) <= _FIXED.size or coded[0] != VERSION:
        raise Damaged("The row of a settled instance has a version that is not known here.")
    _, head_sum, size, at, side, count, one, side_size = _FIXED.unpack_from(coded)
    return Entry(
        sop_uid=sop_uid,
        sop_class=sop_class,
        offset=offset,
        length=length,
        meta=meta,
        syntax=HTJ2KLosslessRPCL.uid,
        received_syntax=received_syntax,
        size=size,
        sha256=sha256,
        recipe=coded[_FIXED.size :],
        head_sum=head_sum,
        records=Records(at, count, one),
        side=(side, side_size) if side_size else None,
    )
