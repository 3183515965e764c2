"""The index of a pack and its locator: from the last 2,048 bytes to any entry, without a database.

JSON, zlib, and a sum that the locator holds. What a row keeps of an entry is `Entry`, too: a settled
instance is read by its row alone, the index serves proof, re-index and whoever has nothing but the
pack.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lightwell.dicom.uids import ExplicitVRLittleEndian
from lightwell.domain.archive.coding import Reason
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing import records
from lightwell.domain.archive.internal.packing.checks import crc32c, inflated
from lightwell.domain.archive.internal.packing.tar import BLOCK, END, ReadRange

VERSION = 1
KEPT_VERSION = 2  # version 1, and `kept` of some entry
INDEX_LIMIT = 256 << 20  # bytes of JSON
ENTRIES_LIMIT = 200_000
LOCATOR_NAME, INDEX_NAME = "locator.json", "index.json.z"
FRAMES_NAME, MANIFEST_NAME = "frames.bin", "manifest.json"
LOCATOR_SIZE = BLOCK
_SHORTEST = 2 * BLOCK + LOCATOR_SIZE + len(END)


@dataclass(frozen=True, slots=True)
class Records:
    """Where the frame records of an entry lie in its pack: `count` of `size` bytes each."""

    offset: int
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A data set in Explicit VR Little Endian that is given in the place of the one received: the same pixel
    values, the same attributes but for those that say how the pixels lie."""

    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One object in a pack; offsets count from the first byte of the pack.

    Coded exactly when `reason` is None: then `recipe` (bytes), `head_sum` (CRC32C of the entry up to
    its first fragment) and `records` are there, and `side` when the recipe needs it. `kept`: the data set
    received does not come back, this one does.
    """

    sop_uid: str
    sop_class: str
    offset: int  # of the Part 10 file
    length: int
    meta: int  # of its preamble and file meta: the data set begins behind them
    syntax: str  # as stored
    received_syntax: str
    size: int  # of the data set as received
    sha256: bytes  # of the data set as received
    reason: Reason | None = None
    recipe: bytes = field(default=b"", repr=False)
    head_sum: int = 0
    records: Records | None = None
    side: tuple[int, int] | None = None
    kept: Kept | None = None

    @property
    def given(self) -> Kept:
        """Size and digest of the data set that the entry gives."""
        return self.kept or Kept(self.size, self.sha256)

    @property
    def given_syntax(self) -> str:
        """Its transfer syntax."""
        return self.received_syntax if self.kept is None else ExplicitVRLittleEndian.uid

    @property
    def coded(self) -> bool:
        """Whether the frames are ours; else the data set lies there as received."""
        return self.reason is None


def index_bytes(entries: Sequence[Entry], frames: tuple[int, int]) -> tuple[bytes, int]:
    """(the index member, its inflated size); `frames` is where `frames.bin` lies."""
    version = KEPT_VERSION if any(e.kept is not None for e in entries) else VERSION
    model = {"v": version, "frames": list(frames), "entries": [_to_json(e) for e in entries]}
    raw = json.dumps(model, separators=(",", ":")).encode("ascii")
    return zlib.compress(raw, 9), len(raw)


def _to_json(entry: Entry) -> dict[str, Any]:
    model: dict[str, Any] = {
        "sop": entry.sop_uid,
        "class": entry.sop_class,
        "at": entry.offset,
        "len": entry.length,
        "meta": entry.meta,
        "syntax": entry.syntax,
        "was": entry.received_syntax,
        "size": entry.size,
        "sha256": entry.sha256.hex(),
    }
    if entry.kept is not None:
        model["kept"] = kept_to_json(entry.kept)
    if entry.reason is not None:
        return model | {"reason": entry.reason.value}
    model["recipe"] = base64.b64encode(entry.recipe).decode("ascii")
    model["head"] = entry.head_sum
    if entry.records is not None:
        model["records"] = [entry.records.offset, entry.records.count, entry.records.size]
    if entry.side is not None:
        model["side"] = list(entry.side)
    return model


def kept_to_json(kept: Kept) -> list[int | str]:
    """[size, digest], also as a manifest says it."""
    return [kept.size, kept.sha256.hex()]


def kept_from_json(model: Any) -> Kept | None:
    """None for None. Raises ValueError, TypeError."""
    if model is None:
        return None
    size, digest = model
    kept = Kept(_whole(size), bytes.fromhex(digest))
    if len(kept.sha256) != 32:
        raise ValueError("no digest")
    return kept


def locator_bytes(index: tuple[int, int], size: int, crc: int) -> bytes:
    """The content of the locator: exactly one block."""
    model = {"lightwell-pack": VERSION, "index": list(index), "size": size, "crc": crc}
    raw = json.dumps(model, separators=(",", ":")).encode("ascii")
    return raw.ljust(LOCATOR_SIZE - 1) + b"\n"


@dataclass(frozen=True, slots=True)
class Index:
    """What `read_index` found."""

    entries: tuple[Entry, ...]
    frames: tuple[int, int]


def read_index(read: ReadRange, length: int) -> Index:
    """The index of a pack of `length` bytes. Raises Damaged when anything of it is not whole."""
    if length < _SHORTEST or length % BLOCK:
        raise Damaged("A pack is cut off.")
    tail = read(length - LOCATOR_SIZE - len(END), LOCATOR_SIZE + len(END))
    if len(tail) != LOCATOR_SIZE + len(END) or tail[LOCATOR_SIZE:] != END:
        raise Damaged("A pack is cut off: it has no end blocks.")
    try:
        model = json.loads(tail[:LOCATOR_SIZE])
        version, crc, size = model["lightwell-pack"], model["crc"], model["size"]
        offset, span = _span(model["index"], length)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged("The locator of a pack is damaged.") from error
    if version != VERSION or not isinstance(size, int) or not 0 < size <= INDEX_LIMIT:
        raise Damaged("The locator of a pack has a version or a size that is not known here.")
    raw = read(offset, span)
    if crc32c(raw) != crc:
        raise Damaged("The index of a pack is damaged: its checksum differs.")
    return _parse(inflated(raw, size, "The index"), length)


def _parse(raw: bytes, length: int) -> Index:
    try:
        model = json.loads(raw)
        if model["v"] not in (VERSION, KEPT_VERSION) or len(model["entries"]) > ENTRIES_LIMIT:
            raise Damaged("The index of a pack has a version or a length that is not known here.")
        frames = _span(model["frames"], length)
        entries = tuple(_from_json(each, length) for each in model["entries"])
    except (ValueError, LookupError, TypeError, binascii.Error, RecursionError) as error:
        raise Damaged("The index of a pack makes no sense.") from error
    if (model["v"] == KEPT_VERSION) != any(entry.kept is not None for entry in entries):
        raise Damaged("The index of a pack is not of the version that it says.")
    for entry in entries:
        if entry.records is not None and not _inside(entry.records, frames):
            raise Damaged("The frame records of an entry lie outside of their member.")
    return Index(entries, frames)


def _inside(at: Records, frames: tuple[int, int]) -> bool:
    end = at.offset + at.count * at.size
    return frames[0] + len(records.FRAMES_HEAD) <= at.offset and end <= frames[0] + frames[1]


def _from_json(model: dict[str, Any], length: int) -> Entry:
    offset, span = _span([model["at"], model["len"]], length)
    reason = Reason(model["reason"]) if "reason" in model else None
    recipe = base64.b64decode(model["recipe"], validate=True) if reason is None else b""
    where = [_whole(n) for n in model["records"]] if reason is None else None
    entry = Entry(
        sop_uid=_text(model["sop"]),
        sop_class=_text(model["class"]),
        offset=offset,
        length=span,
        meta=_whole(model["meta"]),
        syntax=_text(model["syntax"]),
        received_syntax=_text(model["was"]),
        size=_whole(model["size"]),
        sha256=bytes.fromhex(model["sha256"]),
        reason=reason,
        recipe=recipe,
        head_sum=_whole(model["head"]) if reason is None else 0,
        records=Records(where[0], where[1], where[2]) if where else None,
        side=_span(model["side"], length) if "side" in model else None,
        kept=kept_from_json(model.get("kept")),
    )
    as_received = reason is not None and entry.given.size != span - entry.meta
    if entry.meta > span or len(entry.sha256) != 32 or as_received:
        raise Damaged("An entry in the index of a pack contradicts itself.")
    return entry


def _span(model: Any, length: int) -> tuple[int, int]:
    offset, span = model
    if _whole(offset) + _whole(span) > length:
        raise Damaged("The index of a pack points beyond it.")
    return offset, span


def _whole(number: Any) -> int:
    if type(number) is not int or not 0 <= number < 2**63:
        raise TypeError("not a whole number")
    return number


def _text(text: Any) -> str:
    if not isinstance(text, str) or len(text) > 128:
        raise TypeError("not a short text")
    return text
