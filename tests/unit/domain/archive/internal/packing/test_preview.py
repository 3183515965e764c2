"""The preview: middle first, coarsest first, each prefix a codestream prefix of its frame."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing import preview
from lightwell.domain.archive.internal.packing.preview import (
    HEAD_AT,
    PreviewBuilder,
    head_length,
    middle_out,
    prefixes,
    read_head,
    reductions,
)
from lightwell.domain.archive.internal.packing.reading import (
    coarse_frame,
    frame_records,
    frame_stream,
    native_frame,
)
from lightwell.testing.raw_objects import Form, raw_object

SLICE = Form(rows=128, columns=128)


def test_the_middle_first_then_outward() -> None:
    assert middle_out(0) == []
    assert middle_out(1) == [0]
    assert middle_out(2) == [1, 0]
    assert middle_out(5) == [2, 3, 1, 4, 0]
    assert middle_out(6) == [3, 4, 2, 5, 1, 0]
    for count in range(50):
        assert sorted(middle_out(count)) == list(range(count))


def test_sections_of_a_frame() -> None:
    assert list(reductions(5)) == [5, 4, 3, 2]
    assert list(reductions(2)) == [2]
    assert list(reductions(1)) == [1]  # too small for a quarter: its half


def _series(pack):
    small = Form(rows=20, columns=20)
    return pack(
        *(raw_object(SLICE, seed=n) for n in range(5)),
        raw_object(Form(rows=4, columns=4), seed=5),  # as received: not in it
        raw_object(replace(SLICE, frames=3), seed=6),
        raw_object(small, bytes(800), seed=7),
        raw_object(replace(SLICE, rows=300, columns=280), seed=8),
    )


def test_every_prefix_is_one_of_its_codestream(pack) -> None:
    done = _series(pack)
    raw = done.packed.preview
    head = read_head(raw)
    assert head_length(raw[:HEAD_AT]) == head.sections[0].offset
    coded = [e for e in done.entries if e.coded]
    assert head.instances == tuple((e.sop_uid, e.records.count) for e in coded)
    assert [s.level for s in head.sections] == [5, 4, 3, 2, 1]
    assert raw[head.until(1) :] == b""
    records = [r for e in coded for r in frame_records(done.read, e, 1, e.records.count)]
    streams = [frame_stream(done.read, record) for record in records]
    assert head.levels == tuple(record.levels for record in records)
    for level in (5, 4, 3, 2):
        found = prefixes(raw[: head.until(level)], head, level)
        for frame, record in enumerate(records):
            if record.levels < level:
                assert frame not in found
                continue
            end = record.ends[record.levels - level]
            assert found[frame] == streams[frame][:end]
    assert found.keys() | {8} == set(range(len(records)))
    assert prefixes(raw, head, 1)[8] == streams[8][: records[8].ends[0]]


def test_nothing_coded_has_no_preview(pack) -> None:
    assert pack(raw_object(Form(rows=4, columns=4))).packed.preview == b""


def test_the_finest_sections_go_first_at_the_limit(monkeypatch: pytest.MonkeyPatch, pack) -> None:
    done = _series(pack)
    whole = read_head(done.packed.preview)
    monkeypatch.setattr(preview, "SIZE_LIMIT", sum(s.length for s in whole.sections) - 1000)
    builder = PreviewBuilder()
    for entry in done.entries:
        if entry.coded:
            builder.instance(entry.sop_uid, entry.records.count)
            for record in frame_records(done.read, entry, 1, entry.records.count):
                builder.frame(frame_stream(done.read, record), record.ends)
    head = read_head(builder.to_bytes())
    kept = [s.level for s in head.sections]
    assert kept == sorted(kept, reverse=True)
    assert set(kept) < {5, 4, 3, 2, 1}
    assert 5 in kept


def test_damage_is_noticed(pack) -> None:
    raw = _series(pack).packed.preview
    for at in range(0, len(raw), 41):
        flipped = bytearray(raw)
        flipped[at] ^= 4
        with pytest.raises(Damaged):
            prefixes(bytes(flipped), read_head(bytes(flipped)), 1)
    with pytest.raises(Damaged):
        prefixes(raw[:-1], read_head(raw), 1)


def test_a_coarse_frame_reads_only_its_tile_parts(pack) -> None:
    done = _series(pack)
    entry = done.entries[-1]  # 300 x 280, five levels
    asked: list[int] = []

    def counting(offset: int, length: int) -> bytes:
        asked.append(length)
        return done.read(offset, length)

    for reduction, size in ((9, (10, 9)), (5, (10, 9)), (3, (38, 35)), (0, (300, 280))):
        asked.clear()
        picture = coarse_frame(counting, entry, 1, reduction, done.coder)
        assert (picture.rows, picture.columns) == size
        record = frame_records(done.read, entry, 1, 1)[0]
        assert asked == [entry.records.size, record.ends[5 - picture.reduction]]
    assert picture.samples == bytes(native_frame(done.read, entry, 1, done.coder))
