"""A multi-frame object of any size, written to disk frame by frame.

Native Pixel Data of Explicit VR Little Endian ends at 2^32 - 2 bytes (PS3.5 7.1.1). Larger objects
are written as Encapsulated Uncompressed Explicit VR Little Endian (PS3.5 A.4.11): one fragment a
frame, an empty Basic Offset Table and an Extended Offset Table (PS3.3 C.7.6.3.1.8).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lightwell.testing import encoding as enc
from lightwell.testing.builders import stable_rng, stable_uid

MULTIFRAME_GREY_WORD = "1.2.840.10008.5.1.4.1.1.7.3"
_NATIVE_MOST = 0xFFFFFFFE


@dataclass(frozen=True)
class BigObject:
    """What was written, to compare with what comes back."""

    path: Path
    sop_class: str
    sop_uid: str
    study_uid: str
    series_uid: str
    syntax: str
    frames: int
    rows: int
    columns: int
    dataset_length: int
    dataset_sha256: str
    seed: int

    def frame(self, number: int) -> bytes:
        """The samples of frame `number` (from 1)."""
        return frame_bytes(self.seed, number, self.rows * self.columns * 2)


def frame_bytes(seed: int, number: int, size: int) -> bytes:
    """A frame that no other is equal to: its number, then noise turned by its number."""
    noise = _noise(seed, size)
    turn = number * 7919 % size
    return (struct.pack("<Q", number) + noise[turn:] + noise[:turn])[:size]


_noise_kept: dict[tuple[int, int], bytes] = {}


def _noise(seed: int, size: int) -> bytes:
    if (seed, size) not in _noise_kept:
        _noise_kept.clear()
        values = stable_rng("big", seed).integers(0, 4096, (size + 1) // 2, dtype="<u2")
        _noise_kept[seed, size] = values.tobytes()[:size]
    return _noise_kept[seed, size]


def big_multiframe(
    path: Path,
    size: int,
    *,
    rows: int = 1024,
    columns: int = 1024,
    patient: str = "BIG-0001",
    seed: int = 0,
    syntax: str | None = None,
) -> BigObject:
    """Write an object with at least `size` bytes of pixel data, holding one frame at a time.

    `syntax` None: native as long as that can hold it. Raises ValueError when Explicit VR Little
    Endian is asked for more than it can hold.
    """
    frame = rows * columns * 2
    frames = max(-(-size // frame), 1)
    if syntax is None:
        native = frames * frame <= _NATIVE_MOST
        syntax = enc.EXPLICIT_LE if native else enc.ENCAPSULATED_UNCOMPRESSED
    if syntax == enc.EXPLICIT_LE and frames * frame > _NATIVE_MOST:
        raise ValueError("native Pixel Data cannot be 4 GiB or more")
    uids = {part: stable_uid("big", seed, size, part) for part in ("study", "series", "instance")}
    header = enc.encode(_header(uids, rows, columns, frames, patient), enc.Form())
    digest, length = hashlib.sha256(), 0
    with path.open("wb") as file:
        file.write(enc.file_meta(MULTIFRAME_GREY_WORD, uids["instance"], syntax))
        for part in _dataset(header, syntax, frames, frame, seed):
            file.write(part)
            digest.update(part)
            length += len(part)
    return BigObject(
        path=path,
        sop_class=MULTIFRAME_GREY_WORD,
        sop_uid=uids["instance"],
        study_uid=uids["study"],
        series_uid=uids["series"],
        syntax=syntax,
        frames=frames,
        rows=rows,
        columns=columns,
        dataset_length=length,
        dataset_sha256=digest.hexdigest(),
        seed=seed,
    )


def _dataset(header: bytes, syntax: str, frames: int, frame: int, seed: int) -> Iterator[bytes]:
    form = enc.Form()
    yield header
    if syntax == enc.EXPLICIT_LE:
        yield enc.element_head(enc.PIXEL_DATA, "OW", frames * frame, form)
        for number in range(1, frames + 1):
            yield frame_bytes(seed, number, frame)
        return
    item = struct.Struct("<HHI")
    offsets = [number * (frame + item.size) for number in range(frames)]
    for tag, values in ((0x7FE00001, offsets), (0x7FE00002, [frame] * frames)):
        yield enc.element_head(tag, "OV", 8 * frames, form) + struct.pack(f"<{frames}Q", *values)
    yield enc.element_head(enc.PIXEL_DATA, "OB", enc.UNDEFINED, form)
    yield item.pack(0xFFFE, 0xE000, 0)
    for number in range(1, frames + 1):
        yield item.pack(0xFFFE, 0xE000, frame)
        yield frame_bytes(seed, number, frame)
    yield item.pack(0xFFFE, 0xE0DD, 0)


def _header(
    uids: dict[str, str], rows: int, columns: int, frames: int, patient: str
) -> enc.Dataset:
    return enc.elements(
        {
            "ImageType": ["DERIVED", "SECONDARY"],
            "SOPClassUID": MULTIFRAME_GREY_WORD,
            "SOPInstanceUID": uids["instance"],
            "StudyDate": "20250101",
            "StudyTime": "120000",
            "Modality": "OT",
            "ConversionType": "SYN",
            "StudyDescription": "A very large object",
            "PatientName": "Big^Object",
            "PatientID": patient,
            "StudyInstanceUID": uids["study"],
            "SeriesInstanceUID": uids["series"],
            "SeriesNumber": 1,
            "InstanceNumber": 1,
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "NumberOfFrames": frames,
            "FrameIncrementPointer": 0x00181063,
            "FrameTime": 40,
            "Rows": rows,
            "Columns": columns,
            "BitsAllocated": 16,
            "BitsStored": 12,
            "HighBit": 11,
            "PixelRepresentation": 0,
            "RescaleIntercept": 0,
            "RescaleSlope": 1,
        }
    )
