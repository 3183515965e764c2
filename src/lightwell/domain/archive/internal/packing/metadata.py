"""The metadata of a series as one blob whose answers are slices laid side by side.

An instance's DICOM JSON is made once, without patient and study attributes (kept once a series as
*heads*) and with holes where its bulk data URL goes. An answer takes the slices between what differs:
head elements, edits, URL. So a correction rewrites nothing, and the bytes are those that
`effective_json` would give. Layout: docs/design/storage.md. Derived: it can be made again from the
pack.
"""

from __future__ import annotations

import json
import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.checks import crc32c, inflated
from lightwell.domain.archive.model import Edits, JSONElement

MAGIC = b"LWMD\x01\0\0\0"
LEAD = struct.Struct("<II")
HEAD_AT = len(MAGIC) + LEAD.size
_HEAD_LIMIT = 64 << 20
_BLOCK_LIMIT = 512 << 20
_COUNT_LIMIT = 200_000
INSTANCE = struct.Struct("<IHHH")
NO_JSON = 0xFFFF
_BEHIND = 1 << 32  # no tag, and behind all of them
HeadElements = tuple[tuple[int, bytes], ...]  # (tag, `"TTTTTTTT":{…}`), ascending


def element_bytes(key: str, element: JSONElement) -> bytes:
    """One attribute of a DICOM JSON object."""
    return b'"%b":%b' % (key.encode("ascii"), orjson.dumps(element))


@dataclass(slots=True, eq=False)
class _Told:
    """One instance of a block: its JSON and where what lies. `starts` has one more number than there are
    elements, so that element i is `body[starts[i] : starts[i + 1] - 1]`."""

    head: int
    tags: bytes  # u32 each, as stored: instances of a series mostly have the same
    starts: tuple[int, ...]
    holes: tuple[int, ...]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How an answer is laid out: slices of the instance, from element `firsts[i]` up to `lasts[i]`, and what
    stands between them. `between` has one more: the first before all slices, the last behind them."""

    firsts: tuple[int, ...]
    lasts: tuple[int, ...]
    between: tuple[bytes, ...]


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
    length = int(LEAD.unpack_from(lead, len(MAGIC))[0])
    if length > _HEAD_LIMIT:
        raise Damaged("The head of a metadata blob is too long.")
    return HEAD_AT + length


def read_head(raw: bytes) -> MetadataHead:
    """The head of a blob; `raw` begins with it. Raises Damaged."""
    end = head_length(raw)
    head = raw[HEAD_AT:end]
    if len(head) != end - HEAD_AT or crc32c(head) != LEAD.unpack_from(raw, len(MAGIC))[1]:
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
    shared: dict[bytes, bytes] = {}
    at = 0
    try:
        for _ in range(count):
            size, head, elements, holes = INSTANCE.unpack_from(raw, at)
            first = at + INSTANCE.size
            start = first + 4 * elements
            words = struct.unpack_from(f"<{elements + holes}I", raw, start)
            body = start + 4 * len(words)
            at = body + size
            if head == NO_JSON:
                found.append(None)
                continue
            if head >= heads:
                raise Damaged("A block of metadata contradicts itself.")
            starts = (*words[:elements], size + 1)
            tags = shared.setdefault(raw[first:start], raw[first:start])
            found.append(_Told(head, tags, starts, words[elements:], raw[body:at]))
    except struct.error as error:
        raise Damaged("A block of metadata is cut off.") from error
    if at != len(raw):
        raise Damaged("A block of metadata is longer than its instances.")
    return found


class MetadataAnswers:
    """Makes answers from a blob. `read(offset, length)` reads its bytes; blocks are read when needed.

    One object serves one request: plans of where edits go are remembered within it. `again` makes another
    one that shares the blocks: they may be kept, and read by several threads.
    """

    def __init__(self, head: MetadataHead, read: Callable[[int, int], bytes]) -> None:
        self.head = head
        self._read = read
        self._numbers = {uid: number for number, uid in enumerate(head.uids)}
        self._blocks: dict[int, list[_Told | None]] = {}
        self._plans: dict[tuple[int, bytes, bytes], _Plan] = {}

    def again(self) -> MetadataAnswers:
        """The same for another request."""
        other = MetadataAnswers.__new__(MetadataAnswers)
        other.head, other._read = self.head, self._read
        other._numbers, other._blocks, other._plans = self._numbers, self._blocks, {}
        return other

    def answer(self, sop_uid: str, bulk_root: str, edits: Edits) -> bytes | None:
        """The effective DICOM JSON object of one instance; None when the blob cannot tell it and the header
        has to be read. `edits` is the effective overlay of all levels, `bulk_root` the URL before
        `/7FE00010`. Raises Damaged."""
        number = self._numbers.get(sop_uid)
        told = None if number is None else self._told(number)
        if told is None:
            return None
        plan = self._plan(told, edits)
        body, starts = told.body, told.starts
        begins = [starts[first] for first in plan.firsts]
        ends = [starts[last] - 1 for last in plan.lasts]
        slices = [body[begin:end] for begin, end in zip(begins, ends, strict=True)]
        for hole in reversed(told.holes):  # backwards: what is filled in moves what is behind it
            place = bisect_right(begins, hole) - 1
            if place >= 0 and hole < ends[place]:
                at, piece = hole - begins[place], slices[place]
                slices[place] = piece[:at] + orjson.dumps(bulk_root)[1:-1] + piece[at:]
        laid = [b""] * (2 * len(slices) + 1)
        laid[0::2], laid[1::2] = plan.between, slices
        return b"".join(laid)

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

    def _plan(self, told: _Told, edits: Edits) -> _Plan:
        """What to lay side by side."""
        key = (told.head, told.tags, orjson.dumps(dict(edits)) if edits else b"")
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = _plan(told.tags, self.head.heads[told.head], edits)
        return plan


def _plan(raw: bytes, head: HeadElements, edits: Edits) -> _Plan:
    tags = struct.unpack(f"<{len(raw) // 4}I", raw)
    laid: dict[int, bytes] = dict(head)
    for key, element in edits.items():
        laid[int(key, 16)] = b"" if element is None else element_bytes(key.upper(), element)
    slices: list[tuple[int, int]] = []
    new: list[list[bytes]] = [[]]  # elements before each slice, and behind the last
    at = 0
    for tag, text in [*sorted(laid.items()), (_BEHIND, b"")]:
        place = bisect_left(tags, tag)
        if at < place:
            slices.append((at, place))
            new.append([])
        if text:
            new[-1].append(text)
        at = place + (place < len(tags) and tags[place] == tag)
    if not slices:
        return _Plan((), (), (b"{%b}" % b",".join(new[0]),))
    before, *inner, behind = (b",".join(elements) for elements in new)
    between = (
        b"{%b," % before if before else b"{",
        *(b",%b," % text if text else b"," for text in inner),
        b",%b}" % behind if behind else b"}",
    )
    firsts, lasts = zip(*slices, strict=True)
    return _Plan(firsts, lasts, between)
