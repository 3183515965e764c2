"""Packs in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import settings

from lightwell.domain.archive.coding import Reason
from lightwell.domain.archive.internal.packing.index import Entry
from lightwell.domain.archive.internal.packing.proving import Failed, prove
from lightwell.domain.archive.internal.packing.reading import data_set
from lightwell.domain.archive.internal.packing.sources import Source
from lightwell.domain.archive.internal.packing.writing import Packed, SeriesFacts, pack_series
from lightwell.testing.inline_coder import InlineFrameCoder
from lightwell.testing.raw_objects import RawObject

settings.register_profile("lightwell", deadline=None)
settings.load_profile("lightwell")

FACTS = SeriesFacts("1.2", "1.2.3", 1, datetime(2026, 1, 2, tzinfo=UTC))


def source_of(made: RawObject) -> Source:
    data = made.data_set
    return Source(
        sop_uid=made.sop_uid,
        sop_class=made.sop_class,
        syntax=made.syntax,
        size=len(data),
        sha256=made.sha256,
        read=lambda offset, length: data[offset : offset + length],
        arrival={"source": "CT1"},
    )


@dataclass
class Pack:
    """A pack in memory, and what was said when it was written."""

    raw: bytes
    packed: Packed
    coder: InlineFrameCoder

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.packed.entries

    def read(self, offset: int, length: int) -> bytes:
        return self.raw[offset : offset + length]

    def rebuilt(self, number: int = 0) -> bytes:
        return b"".join(map(bytes, data_set(self.read, self.entries[number], self.coder)))

    def prove(self) -> list[Failed]:
        return prove(self.read, len(self.raw), self.coder, self.entries, self.packed.crc32c)

    def part10(self, number: int = 0) -> bytes:
        entry = self.entries[number]
        return self.read(entry.offset, entry.length)


Packer = Callable[..., Pack]


@pytest.fixture
def pack() -> Packer:
    """Write objects into a pack."""

    def packer(
        *objects: RawObject,
        coder: InlineFrameCoder | None = None,
        refuse: dict[str, Reason] | None = None,
        sources: Iterable[Source] | None = None,
    ) -> Pack:
        out = bytearray()
        coder = coder or InlineFrameCoder()
        wanted = sources if sources is not None else map(source_of, objects)
        packed = pack_series(wanted, coder, out.extend, FACTS, refuse=refuse)
        return Pack(bytes(out), packed, coder)

    return packer


@pytest.fixture
def facts() -> SeriesFacts:
    return FACTS


@pytest.fixture
def sources_of() -> Callable[[Iterable[RawObject]], list[Source]]:
    return lambda objects: [source_of(each) for each in objects]
