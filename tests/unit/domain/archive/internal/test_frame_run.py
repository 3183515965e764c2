"""Frames that lie in one piece: where they lie is said without reading, and only where that is all."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from lightwell.dicom.frames import NativeFrames
from lightwell.domain.archive.errors import NoSuchFrame
from lightwell.domain.archive.internal.reading import frame_run
from lightwell.domain.archive.model import FrameRun, Landed, Located

META, HEADER, FRAME = 300, 1000, 64
EXPLICIT_LE, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"

LANDED = Landed(
    blob_id=uuid.UUID(int=1),
    key="local/default/landed/aa/bb/1",
    offset=7,
    length=META + HEADER + 2 * FRAME,
    data_offset=META,
    sha256=bytes(32),
    crc32c=0,
)
CT = Located(
    study_uid="1.2",
    series_uid="1.2.3",
    sop_uid="1.2.3.4",
    sop_class="1.2.840.10008.5.1.4.1.1.2",
    syntax=EXPLICIT_LE,
    number=1,
    rows=8,
    columns=8,
    frames=2,
    landed=LANDED,
    pixel_offset=HEADER,
    pixel_length=2 * FRAME,
    pixel_tag=0x7FE00010,
    frame_index=NativeFrames(2, HEADER, 8 * FRAME, 2 * FRAME).to_bytes(),
    edits={},
    version="1",
)


def test_where_a_native_frame_lies() -> None:
    first = 7 + META + HEADER
    assert frame_run(CT, 1) == FrameRun(LANDED.key, first, FRAME)
    assert frame_run(CT, 2) == FrameRun(LANDED.key, first + FRAME, FRAME)


@pytest.mark.parametrize(
    "other",
    [
        replace(CT, syntax=DEFLATED),
        replace(CT, landed=replace(LANDED, inline=bytes(LANDED.length))),
        replace(CT, landed=replace(LANDED, coded=b"recipe")),
    ],
    ids=["deflated", "in its row", "coded"],
)
def test_what_must_be_made_lies_nowhere(other: Located) -> None:
    assert frame_run(other, 1) is None


def test_a_frame_that_is_not_there() -> None:
    with pytest.raises(NoSuchFrame):
        frame_run(CT, 3)
    short = replace(CT, landed=replace(LANDED, length=LANDED.length - 1))
    assert frame_run(short, 1) is not None
    with pytest.raises(NoSuchFrame, match="beyond the end"):
        frame_run(short, 2)
