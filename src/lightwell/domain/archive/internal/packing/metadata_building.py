"""The metadata blob of a series, made while it is packed. Layout and answers: `metadata`.

The slices of a series say mostly the same: an element whose bytes were met before is not translated again.
"""

from __future__ import annotations

import json
import secrets
import struct
import zlib
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate

from lightwell.dicom.errors import LimitExceeded
from lightwell.dicom.header import Header
from lightwell.dicom.json_model import bulk_to_json, rows_to_json
from lightwell.domain.archive.internal.packing.checks import crc32c
from lightwell.domain.archive.internal.packing.metadata import (
    INSTANCE,
    LEAD,
    MAGIC,
    NO_JSON,
    HeadElements,
    element_bytes,
)
from lightwell.domain.archive.levels import LEVEL_OF
from lightwell.domain.archive.model import Level

PER_BLOCK = 32
_PARENTS = frozenset(t for t, level in LEVEL_OF.items() if level in (Level.PATIENT, Level.STUDY))
_REMEMBERED = 20_000  # elements of a series whose JSON is kept
_LONGEST = 16 * 1024  # bytes of such an element

Told = tuple[int, bytes]  # (tag, `"TTTTTTTT":{…}` with marks where the bulk data URL goes)


class _Elements:
    """Top-level elements as DICOM JSON. Equal bytes in an equal context make equal JSON: the context is
    what `json_model` looks at besides (character set, sign, encoding, private creators)."""

    def __init__(self) -> None:
        # No data set can know the mark: it is drawn at random for this blob.
        self._text = secrets.token_hex(24)
        self.mark = self._text.encode()
        self._context: object = None
        self._known: dict[bytes, Told | None] = {}

    def of(self, header: Header) -> list[Told]:
        """All elements in ascending order. Raises LimitExceeded."""
        data = header.data
        creators = tuple(
            data[row[2] : row[3] + row[4]]
            for tag, row in header.index.items()
            if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF
        )
        context = (header.charsets, header.signed, header.encoding, creators)
        if context != self._context or len(self._known) > _REMEMBERED:
            self._context, self._known = context, {}
        known, told, new = self._known, [], []
        for row in header.index.values():
            raw = data[row[2] : row[3] + row[4]]
            if raw not in known:
                new.append((row, raw))
            elif (one := known[raw]) is not None:
                told.append(one)
        model = rows_to_json(header, [row for row, _raw in new], self._uri)
        for row, raw in new:
            key = f"{row[0]:08X}"
            made = (row[0], element_bytes(key, model[key])) if key in model else None
            if len(raw) <= _LONGEST:
                known[raw] = made
            if made is not None:
                told.append(made)
        for key, element in bulk_to_json(header, self._uri).items():
            told.append((int(key, 16), element_bytes(key, element)))
        return sorted(told)

    def _uri(self, path: str) -> str:
        return f"{self._text}/{path}"


@dataclass(slots=True)
class MetadataBuilder:
    """Takes the headers of a series in reading order, then gives the blob."""

    _uids: list[str] = field(default_factory=list)
    _heads: dict[HeadElements, int] = field(default_factory=dict)
    _waiting: list[bytes] = field(default_factory=list)
    _blocks: list[list[int]] = field(default_factory=list)
    _bodies: list[bytes] = field(default_factory=list)
    _at: int = 0
    _elements: _Elements = field(default_factory=lambda: _Elements())

    def add(self, sop_uid: str, header: Header | None) -> None:
        """The next instance; None (or a header too large for JSON) leaves it out of the blob's answers."""
        self._uids.append(sop_uid)
        self._waiting.append(self._instance(header) if header is not None else _absent())
        if len(self._waiting) == PER_BLOCK:
            self._close_block()

    def _instance(self, header: Header) -> bytes:
        try:
            elements = self._elements.of(header)
        except LimitExceeded:
            return _absent()
        parents = tuple(each for each in elements if each[0] in _PARENTS)
        own = [each for each in elements if each[0] not in _PARENTS]
        head = self._heads.setdefault(parents, len(self._heads))
        if len(own) > 0xFFFF or head >= NO_JSON:
            return _absent()
        body, starts, holes = _cut([raw for _tag, raw in own], self._elements.mark)
        if len(holes) > 0xFFFF:
            return _absent()
        tags = array("I", (tag for tag, _raw in own))
        fixed = INSTANCE.pack(len(body), head, len(tags), len(holes))
        return b"".join((fixed, _words(tags), _words(starts), _words(holes), body))

    def _close_block(self) -> None:
        raw = b"".join(self._waiting)
        packed = zlib.compress(raw, 6)
        self._blocks.append([self._at, len(packed), len(raw), crc32c(packed)])
        self._bodies.append(packed)
        self._at += len(packed)
        self._waiting = []

    def to_bytes(self) -> bytes:
        """The blob."""
        if self._waiting:
            self._close_block()
        model = {
            "v": 1,
            "count": len(self._uids),
            "per": PER_BLOCK,
            "uids": self._uids,
            "blocks": self._blocks,
            "heads": [[[tag, raw.decode()] for tag, raw in head] for head in self._heads],
        }
        head = zlib.compress(json.dumps(model, separators=(",", ":")).encode("ascii"), 6)
        return b"".join([MAGIC, LEAD.pack(len(head), crc32c(head)), head, *self._bodies])


def _absent() -> bytes:
    return INSTANCE.pack(0, NO_JSON, 0, 0)


def _cut(elements: list[bytes], mark: bytes) -> tuple[bytes, array[int], array[int]]:
    """(the elements joined by commas without the marks, where each begins, where each mark was)."""
    starts = array("I", accumulate((len(raw) + 1 for raw in elements), initial=0))[:-1]
    pieces = b",".join(elements).split(mark)
    holes = array("I", accumulate(map(len, pieces[:-1])))
    marked = [hole + number * len(mark) for number, hole in enumerate(holes)]
    for number in range(bisect_right(starts, marked[0]) if marked else len(starts), len(starts)):
        starts[number] -= bisect_right(marked, starts[number]) * len(mark)
    return b"".join(pieces), starts, holes


def _words(numbers: array[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)
