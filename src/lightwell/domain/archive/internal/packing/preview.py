"""The preview of a series: coarse tile-parts of all frames, resolution-major, the middle slice first.

A reader takes the head and as many sections as it wants: after each, every frame it has met is a codestream
prefix of 1/2^k of its size. Layout: docs/design/storage.md. Derived: it can be made again from the pack.
"""

from __future__ import annotations

import itertools
import json
import struct
import zlib
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from lightwell.dicom.tile_parts import MOST_PARTS
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.checks import crc32c

MAGIC = b"LWPV\x01\0\0\0"
FINEST = 2  # sections go down to 1/2^2 of the size
SIZE_LIMIT = 64 << 20  # bytes of all sections
_HEAD = struct.Struct("<II")
HEAD_AT = len(MAGIC) + _HEAD.size
_HEAD_LIMIT = 64 << 20
_FRAMES_LIMIT = 4_000_000


def middle_out(count: int) -> list[int]:
    """Numbers 0 to count-1, the middle first, then in turn after and before it."""
    middle = count // 2
    order = [middle] if count else []
    for step in range(1, count // 2 + 1):
        order += [n for n in (middle + step, middle - step) if 0 <= n < count]
    return order


def reductions(levels: int) -> range:
    """Which sections a frame of so many decompositions has a part in, coarsest first."""
    return range(levels, min(FINEST, levels) - 1, -1)


@dataclass(slots=True)
class PreviewBuilder:
    """Takes the frames of a pack in their order, then gives the preview; keeps at most SIZE_LIMIT bytes
    by giving up the finest sections first."""

    _instances: list[tuple[str, int]] = field(default_factory=list)
    _levels: list[int] = field(default_factory=list)
    _parts: dict[int, dict[int, bytes]] = field(default_factory=dict)  # section -> frame -> part
    _size: int = 0
    _finest: int = 0  # sections below this one were given up

    def instance(self, sop_uid: str, frames: int) -> None:
        """The next coded instance; its frames follow."""
        self._instances.append((sop_uid, frames))

    def frame(self, stream: bytes, ends: Sequence[int]) -> None:
        """The next frame: its codestream and the ends of its tile-parts."""
        number = len(self._levels)
        levels = len(ends) - 1
        self._levels.append(levels)
        start = 0
        for section in reductions(levels):
            end = ends[levels - section]
            if section >= self._finest:
                self._parts.setdefault(section, {})[number] = stream[start:end]
                self._size += end - start
            start = end
        while self._size > SIZE_LIMIT and self._parts:
            finest = min(self._parts)
            self._size -= sum(map(len, self._parts.pop(finest).values()))
            self._finest = finest + 1

    def to_bytes(self) -> bytes:
        """The preview; b"" when no frame of the series is coded."""
        if not self._levels:
            return b""
        order = middle_out(len(self._levels))
        sections, bodies = [], []
        for level in sorted(self._parts, reverse=True):
            parts = self._parts[level]
            found = [parts.get(frame, b"") for frame in order]
            sections.append([level, [len(part) for part in found]])
            bodies.append(b"".join(found))
        model = {
            "v": 1,
            "instances": [list(each) for each in self._instances],
            "order": order,
            "levels": self._levels,
            "sections": sections,
            "crcs": [crc32c(body) for body in bodies],
        }
        head = zlib.compress(json.dumps(model, separators=(",", ":")).encode("ascii"), 6)
        return b"".join([MAGIC, _HEAD.pack(len(head), crc32c(head)), head, *bodies])


@dataclass(frozen=True, slots=True)
class Section:
    """All parts that complete 1/2^level; `offset` from the first byte of the preview."""

    level: int
    offset: int
    length: int
    lengths: tuple[int, ...]  # in order
    crc: int


@dataclass(frozen=True, slots=True)
class PreviewHead:
    """What the head of a preview says. `frames` count through `instances` from 0."""

    instances: tuple[tuple[str, int], ...]
    order: tuple[int, ...]
    levels: tuple[int, ...]
    sections: tuple[Section, ...]

    def until(self, level: int) -> int:
        """Bytes of the preview that bring every frame to 1/2^level (or as far as there is)."""
        wanted = [s for s in self.sections if s.level >= level] or list(self.sections[:1])
        return wanted[-1].offset + wanted[-1].length if wanted else 0


def head_length(lead: bytes) -> int:
    """Bytes of a preview up to its first section; `lead` are its first `HEAD_AT`. Raises Damaged."""
    if len(lead) < HEAD_AT or lead[: len(MAGIC)] != MAGIC:
        raise Damaged("A preview has a version that is not known here.")
    length = int(_HEAD.unpack_from(lead, len(MAGIC))[0])
    if length > _HEAD_LIMIT:
        raise Damaged("The head of a preview is too long.")
    return HEAD_AT + length


def read_head(raw: bytes) -> PreviewHead:
    """The head of a preview; `raw` begins with it. Raises Damaged."""
    end = head_length(raw)
    head = raw[HEAD_AT:end]
    if len(head) != end - HEAD_AT or crc32c(head) != _HEAD.unpack_from(raw, len(MAGIC))[1]:
        raise Damaged("The head of a preview is damaged.")
    try:
        engine = zlib.decompressobj()
        model = json.loads(engine.decompress(head, _HEAD_LIMIT))
        return _parse(model, end)
    except (ValueError, KeyError, TypeError, zlib.error, RecursionError) as error:
        raise Damaged("The head of a preview makes no sense.") from error


def _parse(model: dict[str, Any], at: int) -> PreviewHead:
    if model["v"] != 1:
        raise Damaged("A preview has a version that is not known here.")
    instances = tuple((str(uid), _small(count)) for uid, count in model["instances"])
    order = tuple(_small(frame) for frame in model["order"])
    levels = tuple(_small(level, MOST_PARTS) for level in model["levels"])
    count = sum(frames for _uid, frames in instances)
    if count > _FRAMES_LIMIT or len(levels) != count or sorted(order) != list(range(count)):
        raise Damaged("The head of a preview contradicts itself.")
    sections = []
    for (level, lengths), crc in zip(model["sections"], model["crcs"], strict=True):
        sizes = tuple(_small(length, SIZE_LIMIT) for length in lengths)
        if len(sizes) != count or sum(sizes) > SIZE_LIMIT:
            raise Damaged("The head of a preview contradicts itself.")
        section = Section(_small(level, MOST_PARTS), at, sum(sizes), sizes, _small(crc, 2**32))
        sections.append(section)
        at += section.length
    return PreviewHead(instances, order, levels, tuple(sections))


def _small(number: Any, most: int = _FRAMES_LIMIT) -> int:
    if type(number) is not int or not 0 <= number <= most:
        raise TypeError("not a whole number within its bounds")
    return number


def prefixes(raw: bytes, head: PreviewHead, level: int) -> dict[int, bytes]:
    """Frame number to codestream prefix, from the sections down to `level`; `raw` holds at least
    `head.until(level)` bytes. Raises Damaged when a section's sum is wrong."""
    found: dict[int, list[bytes]] = {}
    for section in head.sections:
        if section.level < level and section is not head.sections[0]:
            break
        body = raw[section.offset : section.offset + section.length]
        if len(body) != section.length or crc32c(body) != section.crc:
            raise Damaged("A section of a preview is damaged; it was not shown.")
        at = 0
        for frame, length in zip(head.order, section.lengths, strict=True):
            if length:
                found.setdefault(frame, []).append(body[at : at + length])
            at += length
    return {frame: b"".join(parts) for frame, parts in found.items()}


def check(raw: bytes, head: PreviewHead, level: int) -> None:
    """Compare the sums of the sections down to `level`; `raw` holds them. Raises Damaged."""
    for section in _down_to(head, level):
        if crc32c(raw[section.offset : section.offset + section.length]) != section.crc:
            raise Damaged("A section of a preview is damaged; it was not shown.")


def without(raw: bytes, head: PreviewHead, level: int, kept: Set[str]) -> bytes:
    """The preview of the `kept` instances alone, down to `level`; b"" when none is in it. Sections below
    are listed as they are in the whole, so that a reader sees what there is. Raises Damaged."""
    check(raw, head, level)
    instances = [(uid, frames) for uid, frames in head.instances if uid in kept]
    if not instances:
        return b""
    numbers: dict[int, int] = {}  # of a frame in the whole -> in what is left
    first = 0
    for uid, frames in head.instances:
        if uid in kept:
            numbers |= {first + n: len(numbers) + n for n in range(frames)}
        first += frames
    places = [place for place, frame in enumerate(head.order) if frame in numbers]
    sections, sums, bodies = [], [], []
    shown = _down_to(head, level)
    for section in head.sections:
        sections.append([section.level, [section.lengths[place] for place in places]])
        if section not in shown:
            sums.append(0)  # what is not there has none
            continue
        starts = list(itertools.accumulate(section.lengths, initial=section.offset))
        body = b"".join(raw[starts[place] : starts[place + 1]] for place in places)
        sums.append(crc32c(body))
        bodies.append(body)
    model = {
        "v": 1,
        "instances": [list(each) for each in instances],
        "order": [numbers[head.order[place]] for place in places],
        "levels": [head.levels[frame] for frame in sorted(numbers)],
        "sections": sections,
        "crcs": sums,
    }
    packed = zlib.compress(json.dumps(model, separators=(",", ":")).encode("ascii"), 6)
    return b"".join([MAGIC, _HEAD.pack(len(packed), crc32c(packed)), packed, *bodies])


def _down_to(head: PreviewHead, level: int) -> tuple[Section, ...]:
    return tuple(s for s in head.sections if s.level >= level) or head.sections[:1]
