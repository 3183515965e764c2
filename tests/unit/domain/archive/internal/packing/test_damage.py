"""Truncated, flipped and hostile packs: noticed, never silently wrong pixels."""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.domain.archive.coding import CodedFrame, PixelForm, Reason
from lightwell.domain.archive.errors import Damaged, NoSuchFrame
from lightwell.domain.archive.internal.packing import index as ix
from lightwell.domain.archive.internal.packing import metadata, preview
from lightwell.domain.archive.internal.packing.checks import crc32c
from lightwell.domain.archive.internal.packing.index import read_index
from lightwell.domain.archive.internal.packing.manifest import read_manifest
from lightwell.domain.archive.internal.packing.proving import pack_proved, prove
from lightwell.domain.archive.internal.packing.reading import (
    Window,
    data_set,
    frame_records,
    frame_stream,
    native_frame,
)
from lightwell.domain.archive.internal.packing.recipe import Recipe, Splice
from lightwell.domain.archive.internal.packing.records import FrameRecord
from lightwell.domain.archive.internal.packing.tar import members
from lightwell.testing import encoding as enc
from lightwell.testing.inline_coder import InlineFrameCoder
from lightwell.testing.raw_objects import Form, raw_object, smooth_words

GREY = Form(rows=32, columns=32)
FRAMES = replace(GREY, frames=3)
PLANAR = Form(32, 32, 8, 8, 7, samples=3, photometric="RGB", planar=1)
OBJECTS = (
    raw_object(GREY, seed=1),
    raw_object(GREY, syntax=enc.IMPLICIT_LE, seed=2),
    raw_object(FRAMES, smooth_words(FRAMES).tobytes()[:-2] + b"\xff\xff", seed=3),
    raw_object(PLANAR, seed=4),
    raw_object(Form(rows=4, columns=4), seed=5),
)


def _outcome(raw: bytes, done, number: int) -> bytes | None:
    """The data set as read from a damaged pack by its row; None when the damage was noticed."""
    entry = done.entries[number]
    try:
        pieces = data_set(lambda at, n: raw[at : at + n], entry, done.coder)
        return b"".join(map(bytes, pieces))
    except Damaged:
        return None


def test_every_flipped_bit_is_noticed_by_the_proof_and_never_read_as_pixels(pack) -> None:
    done = pack(*OBJECTS)
    assert done.prove() == []
    rng = random.Random(11)
    noticed = 0
    for _ in range(400):
        at = rng.randrange(len(done.raw))
        raw = bytearray(done.raw)
        raw[at] ^= 1 << rng.randrange(8)
        flipped = bytes(raw)
        try:
            failed = prove(
                lambda a, n, raw=flipped: raw[a : a + n],
                len(flipped),
                done.coder,
                done.entries,
                done.packed.crc32c,
            )
        except Damaged:
            failed = [None]
        assert failed, at
        for number, made in enumerate(OBJECTS):
            found = _outcome(flipped, done, number)
            noticed += found is None
            assert found in (None, made.data_set), (at, number)
            if done.entries[number].coded:
                frame = _frame(flipped, done, number)
                assert frame is None or frame in made.data_set
    assert noticed > 100


def _frame(raw: bytes, done, number: int) -> bytes | None:
    try:
        entry = done.entries[number]
        return bytes(native_frame(lambda a, n: raw[a : a + n], entry, 1, done.coder))
    except Damaged:
        return None


def test_every_truncation_is_noticed(pack) -> None:
    done = pack(*OBJECTS)
    for length in [*range(0, len(done.raw), 997), *range(len(done.raw) - 2100, len(done.raw), 7)]:
        raw = done.raw[:length]
        with pytest.raises(Damaged):
            prove(lambda a, n, raw=raw: raw[a : a + n], length, done.coder)
        for number, made in enumerate(OBJECTS):
            assert _outcome(raw, done, number) in (None, made.data_set)


def test_a_codec_that_lies_is_found_by_the_digest(pack) -> None:
    """Frames of other pixels, sums and all: only the rebuilt data set tells."""
    other = InlineFrameCoder().encode([(FORM, smooth_words(GREY, 99).tobytes())]).result()[0]
    assert isinstance(other, CodedFrame)
    lying = InlineFrameCoder(spoil=lambda number, frame: other if number == 1 else frame)
    done = pack(raw_object(GREY, seed=1), raw_object(GREY, seed=2), coder=lying)
    failed = done.prove()
    assert [f.entry.sop_uid for f in failed] == [done.entries[1].sop_uid]
    with pytest.raises(Damaged, match="digest"):
        done.rebuilt(1)


FORM = PixelForm(32, 32, 1, 16, 12, 11)
RECIPE = Recipe(
    form=FORM, head=400, original_head=390, pad=b"\0", splices=(Splice(9, 20, b"x" * 10),)
).to_bytes()


def test_a_hostile_index_is_bounded(pack) -> None:
    done = pack(OBJECTS[0])
    where = len(done.raw) - 1536
    locator = json.loads(done.raw[where : where + 512])
    at, length = locator["index"]
    model = json.loads(zlib.decompress(done.raw[at : at + length]))

    def read_with(changed: dict[str, object], size: int | None = None) -> None:
        raw = json.dumps(changed).encode()
        packed = zlib.compress(raw)
        body = done.raw[:at] + packed
        body += bytes(-len(body) % 512)
        body += ix.locator_bytes((at, len(packed)), size or len(raw), crc32c(packed)) + bytes(1024)
        read_index(lambda a, n: body[a : a + n], len(body))

    read_with(model)
    entry = model["entries"][0]
    for key, value in (
        ("at", 1 << 62), ("at", -1), ("len", True), ("sop", 5), ("sop", "1" * 500), ("sha256", "00"),
        ("recipe", "!"), ("records", [0, 1, 68]), ("records", [at, 1 << 40, 68]), ("side", [0]),
        ("reason", "because"), ("meta", 1 << 40),
    ):  # fmt: skip
        with pytest.raises(Damaged):
            read_with(model | {"entries": [entry | {key: value}]})
    for broken in ({"v": 2}, {"v": 3}, {"entries": 5}, {"frames": [0, 1 << 60]}):
        with pytest.raises(Damaged):
            read_with(model | broken)
    with pytest.raises(Damaged):
        read_with(model, size=7)  # inflates to more than it says
    with pytest.raises(Damaged):
        read_with(model, size=ix.INDEX_LIMIT + 1)


@given(st.binary(max_size=200))
def test_garbage_is_refused_by_every_parser(raw: bytes) -> None:
    for parse in (
        Recipe.from_bytes,
        lambda data: FrameRecord.from_bytes(data, sided=False),
        lambda data: FrameRecord.from_bytes(data, sided=True),
        read_manifest,
        preview.read_head,
        metadata.read_head,
        lambda data: list(members(lambda a, n: data[a : a + n], len(data))),
        lambda data: read_index(lambda a, n: data[a : a + n], len(data)),
    ):
        with pytest.raises(Damaged):
            parse(raw)


@given(st.data())
def test_a_recipe_with_a_right_sum_and_wrong_content(data: st.DataObject) -> None:
    body = bytearray(RECIPE[:-4])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    raw = bytes(body) + crc32c(bytes(body)).to_bytes(4, "little")
    try:
        found = Recipe.from_bytes(raw)
        found.rebuild_head(bytes(found.head % 10_000), bytes(found.deflated % 10_000))
    except Damaged:
        return
    assert found.size < 1 << 62


def test_records_and_frames_that_are_not_there(pack) -> None:
    done = pack(OBJECTS[2], OBJECTS[4])
    for number in (0, 4):
        with pytest.raises(NoSuchFrame):
            frame_records(done.read, done.entries[0], number, 1)
    with pytest.raises(NoSuchFrame):
        frame_records(done.read, done.entries[1], 1, 1)
    record = frame_records(done.read, done.entries[0], 2, 1)[0]
    assert frame_stream(done.read, record, 1) == done.read(record.offset, record.ends[0])
    elsewhere = replace(done.entries[0], offset=done.entries[1].offset)
    with pytest.raises(Damaged, match="outside"):
        frame_records(done.read, elsewhere, 1, 1)


def test_the_window_reads_each_byte_once_going_forward() -> None:
    data = random.Random(1).randbytes(10_000)
    asked: list[tuple[int, int]] = []

    def read(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return data[offset : offset + length]

    window = Window(read, len(data), step=1000)
    for at, length in ((0, 10), (5, 990), (990, 2500), (4000, 100), (6000, 10)):
        assert window.read(at, length) == data[at : at + length]
    assert window.read(3, 20) == data[3:23]  # back: a read of its own
    back = asked.pop()
    assert window.finish() == crc32c(data)
    assert back == (3, 20)
    assert sum(length for _at, length in asked) == len(data)
    with pytest.raises(Damaged):
        window.read(9_990, 20)


class _Store:
    """As much of a blob store as packing needs; `spoil` changes what it keeps."""

    def __init__(self, spoil=None) -> None:
        self.kept: dict[str, bytearray] = {}
        self.spoil = spoil

    def begin(self, key: str):
        store, out = self, bytearray()

        class Sink:
            write = staticmethod(out.extend)

            @staticmethod
            def seal() -> None:
                store.kept[key] = out
                if store.spoil:
                    store.spoil(out)

            @staticmethod
            def discard() -> None:
                store.kept.pop(key, None)

        return Sink()

    def itself(self) -> _Store:
        return self

    def read(self, key: str, offset: int, length: int) -> bytes:
        return bytes(self.kept[key][offset : offset + length])

    def length(self, key: str) -> int:
        return len(self.kept[key])

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


def test_pack_proved_falls_back_to_as_received(sources_of, facts) -> None:
    objects = (raw_object(GREY, seed=1), raw_object(GREY, seed=2))
    other = InlineFrameCoder().encode([(FORM, smooth_words(GREY, 99).tobytes())]).result()[0]
    lying = InlineFrameCoder(spoil=lambda number, frame: other if number == 1 else frame)
    store, keys = _Store(), iter("abc")
    key, packed = pack_proved(lambda: sources_of(objects), lying, store, lambda: next(keys), facts)
    assert (key, list(store.kept)) == ("b", ["b"])
    assert [e.reason for e in packed.entries] == [None, Reason.PROOF_FAILED]


def test_pack_proved_keeps_nothing_when_what_landed_is_damaged(sources_of, facts) -> None:
    (source,) = sources_of([raw_object(GREY, seed=1)])
    damaged = replace(source, sha256=bytes(32))
    store, keys = _Store(), iter("abc")
    with pytest.raises(Damaged, match="landed"):
        pack_proved(lambda: [damaged], InlineFrameCoder(), store, lambda: next(keys), facts)
    assert store.kept == {}


@pytest.mark.parametrize("spoil", [lambda out: out.clear(), lambda out: out.__setitem__(700, 0x55)])
def test_a_store_that_does_not_keep_what_it_was_given(sources_of, facts, spoil) -> None:
    store, keys = _Store(spoil), iter("abc")
    objects = [raw_object(GREY, seed=1)]
    with pytest.raises(Damaged):
        pack_proved(
            lambda: sources_of(objects), InlineFrameCoder(), store, lambda: next(keys), facts
        )
    assert store.kept == {}
