"""The metadata of a series as one blob whose answers are slices laid side by side.

An instance's DICOM JSON is made once, without patient and study attributes (kept once a series as
*heads*) and with holes where its bulk data URL goes. An answer takes the slices between what differs:
head elements, edits, URL. So a correction rewrites nothing, and the bytes are those that
`effective_json` would give. Layout: docs/design/storage.md. Derived: it can be made again from the
pack.
"""

from __future__ import annotations

import json
import secrets
import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from lightwell.dicom.errors import LimitExceeded
from lightwell.dicom.header import Header
from lightwell.dicom.json_model import header_to_json
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.checks import crc32c, inflated
from lightwell.domain.archive.levels import LEVEL_OF
from lightwell.domain.archive.model import Edits, JSONElement, Level

MAGIC = b"LWMD\x01\0\0\0"
PER_BLOCK = 32
_HEAD = struct.Struct("<II")
HEAD_AT = len(MAGIC) + _HEAD.size
_HEAD_LIMIT = 64 << 20
_BLOCK_LIMIT = 512 << 20
_COUNT_LIMIT = 200_000
_INSTANCE = struct.Struct("<IHHH")
_NO_JSON = 0xFFFF
_PARENTS = frozenset(
    f"{tag:08X}" for tag, level in LEVEL_OF.items() if level in (Level.PATIENT, Level.STUDY)
)

HeadElements = tuple[tuple[int, bytes], ...]  # (tag, `"TTTTTTTT":{…}`), ascending


@dataclass(slots=True)
class MetadataBuilder:
    """Takes the headers of a series in reading order, then gives the blob."""

    _uids: list[str] = field(default_factory=list)
    _heads: dict[HeadElements, int] = field(default_factory=dict)
    _waiting: list[bytes] = field(default_factory=list)
    _blocks: list[list[int]] = field(default_factory=list)
    _bodies: list[bytes] = field(default_factory=list)
    _at: int = 0
    _mark: str = field(default_factory=lambda: secrets.token_hex(24))

    def add(self, sop_uid: str, header: Header | None) -> None:
        """The next instance; None (or a header too large for JSON) leaves it out of the blob's answers."""
        self._uids.append(sop_uid)
        self._waiting.append(self._instance(header) if header is not None else _absent())
        if len(self._waiting) == PER_BLOCK:
            self._close_block()

    def _instance(self, header: Header) -> bytes:
        # No data set can know the mark: it is drawn at random for this blob.
        try:
            model = header_to_json(header, bulk=lambda path: f"{self._mark}/{path}")
        except LimitExceeded:
            return _absent()
        parents: list[tuple[int, bytes]] = []
        own: list[tuple[int, bytes]] = []
        for key, element in sorted(model.items()):
            (parents if key in _PARENTS else own).append(
                (int(key, 16), element_bytes(key, element))
            )
        if len(own) > 0xFFFF:
            return _absent()
        head = self._heads.setdefault(tuple(parents), len(self._heads))
        tags, starts, at = array("I"), array("I"), 0
        for tag, raw in own:
            tags.append(tag)
            starts.append(at)
            at += len(raw) + 1
        body, holes = _cut(b",".join(raw for _tag, raw in own), self._mark.encode(), starts)
        if head >= _NO_JSON or len(holes) > 0xFFFF:
            return _absent()
        fixed = _INSTANCE.pack(len(body), head, len(tags), len(holes))
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
        return b"".join([MAGIC, _HEAD.pack(len(head), crc32c(head)), head, *self._bodies])


def element_bytes(key: str, element: JSONElement) -> bytes:
    """One attribute of a DICOM JSON object."""
    return b'"%b":%b' % (key.encode("ascii"), orjson.dumps(element))


def _absent() -> bytes:
    return _INSTANCE.pack(0, _NO_JSON, 0, 0)


def _cut(body: bytes, mark: bytes, starts: array[int]) -> tuple[bytes, array[int]]:
    """Take the marks out; `starts` are moved along, and the places of the marks come back."""
    holes = array("I")
    at = body.find(mark)
    if at < 0:
        return body, holes
    pieces, last = [], 0
    while at >= 0:
        pieces.append(body[last:at])
        holes.append(at - len(holes) * len(mark))
        last = at + len(mark)
        at = body.find(mark, last)
    pieces.append(body[last:])
    for number, start in enumerate(starts):
        gone = sum(hole + i * len(mark) < start for i, hole in enumerate(holes))
        starts[number] = start - gone * len(mark)
    return b"".join(pieces), holes


def _words(numbers: array[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


@dataclass(frozen=True, slots=True)
class _Told:
    """One instance of a block: its JSON and where what lies."""

    head: int
    tags: tuple[int, ...]
    starts: tuple[int, ...]
    holes: tuple[int, ...]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MetadataHead:
    """What the head of a blob says. `blocks`: (offset from the first byte of the blob, length, inflated
    length, CRC32C)."""

    uids: tuple[str, ...]
    per: int
    blocks: tuple[tuple[int, int, int, int], ...]
    heads: tuple[HeadElements, ...] = field(repr=False)


def head_length(lead: bytes) -> int:
    """Bytes of a blob up to its first block; `lead` are its first `HEAD_AT`. Raises Damaged."""
    if len(lead) < HEAD_AT or lead[: len(MAGIC)] != MAGIC:
        raise Damaged("A metadata blob has a version that is not known here.")
    length = int(_HEAD.unpack_from(lead, len(MAGIC))[0])
    if length > _HEAD_LIMIT:
        raise Damaged("The head of a metadata blob is too long.")
    return HEAD_AT + length


def read_head(raw: bytes) -> MetadataHead:
    """The head of a blob; `raw` begins with it. Raises Damaged."""
    end = head_length(raw)
    head = raw[HEAD_AT:end]
    if len(head) != end - HEAD_AT or crc32c(head) != _HEAD.unpack_from(raw, len(MAGIC))[1]:
        raise Damaged("The head of a metadata blob is damaged.")
    try:
        model = json.loads(zlib.decompressobj().decompress(head, _HEAD_LIMIT))
        return _parse_head(model, end)
    except (ValueError, KeyError, TypeError, zlib.error, RecursionError) as error:
        raise Damaged("The head of a metadata blob makes no sense.") from error


def _parse_head(model: dict[str, Any], end: int) -> MetadataHead:
    uids = tuple(str(uid) for uid in model["uids"])
    per = int(model["per"])
    blocks = tuple(
        (end + int(o), int(n), int(size), int(crc)) for o, n, size, crc in model["blocks"]
    )
    heads = tuple(
        tuple((int(tag), str(text).encode()) for tag, text in head) for head in model["heads"]
    )
    right = (
        model["v"] == 1
        and model["count"] == len(uids) <= _COUNT_LIMIT
        and 1 <= per <= _COUNT_LIMIT
        and len(blocks) == -(-len(uids) // per)
        and all(o >= end and n > 0 and 0 < size <= _BLOCK_LIMIT for o, n, size, _crc in blocks)
    )
    if not right:
        raise Damaged("The head of a metadata blob contradicts itself.")
    return MetadataHead(uids, per, blocks, heads)


def _read_block(raw: bytes, count: int, heads: int) -> list[_Told | None]:
    """The instances of an inflated block; None for those that cannot be told as JSON."""
    found: list[_Told | None] = []
    at = 0
    try:
        for _ in range(count):
            size, head, elements, holes = _INSTANCE.unpack_from(raw, at)
            at += _INSTANCE.size
            words = struct.unpack_from(f"<{2 * elements + holes}I", raw, at)
            at += 4 * len(words)
            body = raw[at : at + size]
            at += size
            starts, places = words[elements : 2 * elements], words[2 * elements :]
            if head != _NO_JSON and (head >= heads or max((*starts, *places, 0)) > size):
                raise Damaged("A block of metadata contradicts itself.")
            told = _Told(head, words[:elements], starts, places, body)
            found.append(None if head == _NO_JSON else told)
    except struct.error as error:
        raise Damaged("A block of metadata is cut off.") from error
    if at != len(raw):
        raise Damaged("A block of metadata is longer than its instances.")
    return found


class MetadataAnswers:
    """Makes answers from a blob. `read(offset, length)` reads its bytes; blocks are read when needed.

    One object serves one request: plans of where edits go are remembered within it.
    """

    def __init__(self, head: MetadataHead, read: Callable[[int, int], bytes]) -> None:
        self.head = head
        self._read = read
        self._numbers = {uid: number for number, uid in enumerate(head.uids)}
        self._blocks: dict[int, list[_Told | None]] = {}
        self._plans: dict[tuple[int, tuple[int, ...], bytes], list[tuple[int, int, bytes]]] = {}

    def answer(self, sop_uid: str, bulk_root: str, edits: Edits) -> bytes | None:
        """The effective DICOM JSON object of one instance; None when the blob cannot tell it and the header
        has to be read. `edits` is the effective overlay of all levels, `bulk_root` the URL before
        `/7FE00010`. Raises Damaged."""
        number = self._numbers.get(sop_uid)
        told = None if number is None else self._told(number)
        if told is None:
            return None
        root = orjson.dumps(bulk_root)[1:-1]
        pieces: list[bytes] = []
        for start, end, new in self._plan(told, edits):
            if start < end:
                pieces.append(_filled(told, start, end, root))
            if new:
                pieces.append(new)
        return b"{" + b",".join(pieces) + b"}"

    def _told(self, number: int) -> _Told | None:
        block, place = divmod(number, self.head.per)
        if block not in self._blocks:
            offset, length, size, crc = self.head.blocks[block]
            packed = self._read(offset, length)
            if crc32c(packed) != crc:
                raise Damaged("A block of metadata is damaged: its checksum differs.")
            count = min(self.head.per, len(self.head.uids) - block * self.head.per)
            raw = inflated(packed, size, "A block of metadata")
            self._blocks[block] = _read_block(raw, count, len(self.head.heads))
        return self._blocks[block][place]

    def _plan(self, told: _Told, edits: Edits) -> list[tuple[int, int, bytes]]:
        """What to lay side by side: elements `start` to `end` of the instance, then something new."""
        key = (told.head, told.tags, orjson.dumps(dict(edits)))
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = _plan(told.tags, self.head.heads[told.head], edits)
        return plan


def _plan(tags: Sequence[int], head: HeadElements, edits: Edits) -> list[tuple[int, int, bytes]]:
    laid: dict[int, bytes] = dict(head)
    for key, element in edits.items():
        laid[int(key, 16)] = b"" if element is None else element_bytes(key.upper(), element)
    plan: list[tuple[int, int, bytes]] = []
    at = 0
    for tag, new in sorted(laid.items()):
        place = bisect_left(tags, tag)
        plan.append((at, place, new))
        at = place + (place < len(tags) and tags[place] == tag)
    plan.append((at, len(tags), b""))
    return plan


def _filled(told: _Told, first: int, last: int, root: bytes) -> bytes:
    """Elements `first` to `last` of an instance, holes filled."""
    start = told.starts[first]
    end = told.starts[last] - 1 if last < len(told.starts) else len(told.body)
    if not told.holes or told.holes[-1] < start or told.holes[0] >= end:
        return told.body[start:end]
    pieces = []
    for hole in told.holes:
        if start <= hole < end:
            pieces += [told.body[start:hole], root]
            start = hole
    pieces.append(told.body[start:end])
    return b"".join(pieces)
