"""The manifest of a pack: digests and arrival facts, what `reindex` needs and a pack's entries lack.

It lies as an object of its own beside the pack, and as a copy within it. JSON, version 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lightwell.domain.archive.coding import Reason
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.index import ENTRIES_LIMIT, Entry

VERSION = 1
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


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one pack holds."""

    study_uid: str
    series_uid: str
    generation: int
    packed: datetime
    entries: tuple[ManifestEntry, ...]


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
        "v": VERSION,
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
    return model if entry.reason is None else model | {"reason": entry.reason.value}


def read_manifest(raw: bytes) -> Manifest:
    """Raises Damaged."""
    if len(raw) > MANIFEST_LIMIT:
        raise Damaged("A manifest is longer than any manifest may be.")
    try:
        model = json.loads(raw)
        if model["v"] != VERSION or len(model["entries"]) > ENTRIES_LIMIT:
            raise Damaged("A manifest has a version or a length that is not known here.")
        return Manifest(
            study_uid=str(model["study"]),
            series_uid=str(model["series"]),
            generation=int(model["generation"]),
            packed=datetime.fromisoformat(model["packed"]),
            entries=tuple(_from_json(each) for each in model["entries"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged("A manifest makes no sense.") from error


def _from_json(model: dict[str, Any]) -> ManifestEntry:
    arrival = model["arrival"]
    if not isinstance(arrival, dict):
        raise TypeError("no arrival facts")
    return ManifestEntry(
        sop_uid=str(model["sop"]),
        sop_class=str(model["class"]),
        syntax=str(model["syntax"]),
        stored=str(model["stored"]),
        offset=int(model["at"]),
        length=int(model["len"]),
        size=int(model["size"]),
        sha256=bytes.fromhex(model["sha256"]),
        reason=Reason(model["reason"]) if "reason" in model else None,
        arrival=arrival,
    )
