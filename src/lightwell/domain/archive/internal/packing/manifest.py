"""The manifest of a pack: digests and arrival facts, what `reindex` needs and a pack's entries lack.

It lies within the pack (JSON, version 1), and as an object of its own (version 2) that also names the pack
and what was derived: written behind those, and before the commit, it says that a generation was proved.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lightwell.domain.archive.coding import Reason
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.index import (
    ENTRIES_LIMIT,
    Entry,
    Kept,
    kept_from_json,
    kept_to_json,
)
from lightwell.domain.archive.keys import DERIVED, PACK
from lightwell.domain.archive.model import NewBlob

VERSION = 1
NAMING = 2  # version 1, and `blobs`
KEPT_VERSION = 3  # version 1, and `kept` of some entry
KEPT_NAMING = 4  # both
_NAMING = {VERSION: NAMING, KEPT_VERSION: KEPT_NAMING}
MANIFEST_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One object of a pack and how it once arrived."""

    sop_uid: str
    sop_class: str
    syntax: str  # received
    stored: str
    offset: int
    length: int
    size: int
    sha256: bytes
    reason: Reason | None
    arrival: Mapping[str, object]
    kept: Kept | None = None  # see `index.Entry`


@dataclass(frozen=True, slots=True)
class Named:
    """The objects of one generation beside its manifest."""

    pack: NewBlob
    metadata: NewBlob
    preview: NewBlob | None = None

    @property
    def derived(self) -> tuple[NewBlob, ...]:
        """What can be made again."""
        return (self.metadata,) if self.preview is None else (self.metadata, self.preview)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one pack holds. `blobs` is None in the copy that lies within it."""

    study_uid: str
    series_uid: str
    generation: int
    packed: datetime
    entries: tuple[ManifestEntry, ...]
    blobs: Named | None = None


def manifest_bytes(
    study_uid: str,
    series_uid: str,
    generation: int,
    packed: datetime,
    entries: Sequence[Entry],
    arrivals: Sequence[Mapping[str, object]],
) -> bytes:
    """The manifest of these entries, each with its arrival facts."""
    model = {
        "v": VERSION if all(entry.kept is None for entry in entries) else KEPT_VERSION,
        "study": study_uid,
        "series": series_uid,
        "generation": generation,
        "packed": packed.isoformat(),
        "entries": [_to_json(e, a) for e, a in zip(entries, arrivals, strict=True)],
    }
    return json.dumps(model, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _to_json(entry: Entry, arrival: Mapping[str, object]) -> dict[str, Any]:
    model: dict[str, Any] = {
        "sop": entry.sop_uid,
        "class": entry.sop_class,
        "syntax": entry.received_syntax,
        "stored": entry.syntax,
        "at": entry.offset,
        "len": entry.length,
        "size": entry.size,
        "sha256": entry.sha256.hex(),
        "arrival": dict(arrival),
    }
    if entry.kept is not None:
        model["kept"] = kept_to_json(entry.kept)
    return model if entry.reason is None else model | {"reason": entry.reason.value}


def naming(copy: bytes, blobs: Named) -> bytes:
    """The manifest object: what the copy within the pack says, and the objects of its generation."""
    heads = {version: f'{{"v":{version},'.encode("ascii") for version in _NAMING}
    version = next((each for each, head in heads.items() if copy.startswith(head)), None)
    if version is None:
        raise ValueError("not a manifest of ours")
    named = {"pack": _blob_json(blobs.pack), "metadata": _blob_json(blobs.metadata)}
    if blobs.preview is not None:
        named["preview"] = _blob_json(blobs.preview)
    text = json.dumps(named, separators=(",", ":"))
    return f'{{"v":{_NAMING[version]},"blobs":{text},'.encode("ascii") + copy[len(heads[version]) :]


def _blob_json(blob: NewBlob) -> list[str | int]:
    return [blob.blob_id.hex, blob.length, blob.crc32c]


def _named(model: dict[str, Any]) -> Named:
    preview = model.get("preview")
    return Named(
        pack=_blob(model["pack"], PACK),
        metadata=_blob(model["metadata"], DERIVED),
        preview=None if preview is None else _blob(preview, DERIVED),
    )


def _blob(model: Any, kind: str) -> NewBlob:
    name, length, crc = model
    if type(length) is not int or type(crc) is not int or not (length > 0 and 0 <= crc < 2**32):
        raise TypeError("no length or no checksum")
    return NewBlob(uuid.UUID(hex=name), kind, length, crc)


def read_manifest(raw: bytes) -> Manifest:
    """Raises Damaged."""
    if len(raw) > MANIFEST_LIMIT:
        raise Damaged("A manifest is longer than any manifest may be.")
    try:
        model = json.loads(raw)
        if model["v"] not in {*_NAMING, *_NAMING.values()} or len(model["entries"]) > ENTRIES_LIMIT:
            raise Damaged("A manifest has a version or a length that is not known here.")
        entries = tuple(_from_json(each) for each in model["entries"])
        keeping = model["v"] in (KEPT_VERSION, KEPT_NAMING)
        if keeping != any(entry.kept is not None for entry in entries):
            raise Damaged("A manifest is not of the version that it says.")
        return Manifest(
            study_uid=str(model["study"]),
            series_uid=str(model["series"]),
            generation=_whole(model["generation"], 2**31),
            packed=_moment(model["packed"]),
            entries=entries,
            blobs=_named(model["blobs"]) if model["v"] in _NAMING.values() else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged("A manifest makes no sense.") from error


def _whole(number: Any, below: int = 2**63) -> int:
    if type(number) is not int or not 0 <= number < below:
        raise TypeError("not a whole number within its bounds")
    return number


def _moment(text: Any) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment


def _from_json(model: dict[str, Any]) -> ManifestEntry:
    arrival = model["arrival"]
    if not isinstance(arrival, dict):
        raise TypeError("no arrival facts")
    return ManifestEntry(
        sop_uid=str(model["sop"]),
        sop_class=str(model["class"]),
        syntax=str(model["syntax"]),
        stored=str(model["stored"]),
        offset=_whole(model["at"]),
        length=_whole(model["len"]),
        size=_whole(model["size"]),
        sha256=bytes.fromhex(model["sha256"]),
        reason=Reason(model["reason"]) if "reason" in model else None,
        arrival=arrival,
        kept=kept_from_json(model.get("kept")),
    )
