"""Packs through real stores: written, sealed, read back and proved from what the store gives."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from lightwell.backends.blobs.local import LocalStore
from lightwell.backends.blobs.memory import FailNth, MemoryStore
from lightwell.backends.codecs.frame_coder import PoolFrameCoder
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.domain.archive.internal.packing.proving import pack_proved
from lightwell.domain.archive.internal.packing.reading import data_set
from lightwell.domain.archive.internal.packing.sources import Source
from lightwell.domain.archive.internal.packing.writing import SeriesFacts
from lightwell.domain.archive.keys import blob_key
from lightwell.domain.archive.ports import BlobStore, StoreFull
from lightwell.testing.builders import BuiltInstance, a_study

FACTS = SeriesFacts("1.2", "1.2.3", 1, datetime(2026, 1, 2, tzinfo=UTC))


@pytest.fixture
async def coder() -> AsyncIterator[PoolFrameCoder]:
    async with DecoderPool(workers=1) as pool:
        yield PoolFrameCoder(pool)


@pytest.fixture(scope="module")
def objects() -> list[BuiltInstance]:
    study = a_study().with_series("CT", instances=20, rows=96, columns=96)
    return list(study.each())


def _sources(objects: list[BuiltInstance]) -> list[Source]:
    return [
        Source(
            o.sop_uid,
            o.sop_class,
            o.syntax,
            len(o.dataset),
            bytes.fromhex(o.sha256),
            lambda at, n, data=o.dataset: data[at : at + n],
        )
        for o in objects
    ]


def _key() -> str:
    return blob_key("eu", "default", "pack", uuid.uuid4())


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return LocalStore(tmp_path / "blobs") if request.param == "local" else MemoryStore()


async def test_a_series_goes_in_and_comes_back(
    store: BlobStore, coder: PoolFrameCoder, objects: list[BuiltInstance]
) -> None:
    def settle() -> None:
        key, packed = pack_proved(lambda: _sources(objects), coder, store, _key, FACTS)
        assert store.length(key) == packed.length
        assert all(entry.coded for entry in packed.entries)
        for made, entry in zip(objects, packed.entries, strict=True):
            pieces = data_set(lambda at, n: store.read(key, at, n), entry, coder)
            assert b"".join(map(bytes, pieces)) == made.dataset
        assert [info.key for info in store.list("eu/default/pack/")] == [key]

    await asyncio.to_thread(settle)


@pytest.mark.parametrize("operation", ["write", "seal"])
async def test_a_full_store_keeps_nothing(
    coder: PoolFrameCoder, objects: list[BuiltInstance], operation: str
) -> None:
    store = MemoryStore(hook=FailNth(1, StoreFull("full"), operation))

    def settle() -> None:
        with pytest.raises(StoreFull):
            pack_proved(lambda: _sources(objects), coder, store, _key, FACTS)
        assert list(store.list("eu/")) == []

    await asyncio.to_thread(settle)


async def test_a_source_that_cannot_be_read_leaves_nothing(
    coder: PoolFrameCoder, objects: list[BuiltInstance]
) -> None:
    store, rng = MemoryStore(), Random(1)

    def broken(at: int, n: int) -> bytes:
        raise ConnectionError(f"gone {rng.random()}")

    def sources() -> list[Source]:
        good = _sources(objects)
        last = good[-1]
        bad = Source(last.sop_uid, last.sop_class, last.syntax, last.size, last.sha256, broken)
        return [*good[:-1], bad]

    def settle() -> None:
        with pytest.raises(ConnectionError):
            pack_proved(sources, coder, store, _key, FACTS)
        assert list(store.list("eu/")) == []

    await asyncio.to_thread(settle)
