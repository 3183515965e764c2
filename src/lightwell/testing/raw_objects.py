"""Objects with exactly these pixel bytes, in any form a header can claim: the rows of the recipe table.

Unlike `builders`, nothing is derived from samples: stray bits, odd pads, short values and elements
behind the pixel data are what is asked for. Written by `lightwell.testing.encoding`, which shares no
code with the parser.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightwell.testing import encoding as enc
from lightwell.testing.builders import stable_uid

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True)
class RawObject:
    """One data set and what a landed row would say of it."""

    data_set: bytes = field(repr=False)
    syntax: str
    sop_uid: str
    sop_class: str = SECONDARY_CAPTURE

    @property
    def sha256(self) -> bytes:
        """Digest of the data set."""
        return hashlib.sha256(self.data_set).digest()


@dataclass(frozen=True)
class Form:
    """The Image Pixel module to be claimed (PS3.3 C.7.6.3)."""

    rows: int = 64
    columns: int = 64
    allocated: int = 16
    stored: int = 12
    high: int = 11
    signed: bool = False
    samples: int = 1
    photometric: str = "MONOCHROME2"
    planar: int | None = None
    frames: int = 1

    @property
    def frame_bytes(self) -> int:
        """Length of one native frame."""
        return self.rows * self.columns * self.samples * self.allocated // 8

    def attributes(self) -> dict[str, object]:
        """As keywords."""
        return {
            "SamplesPerPixel": self.samples,
            "PhotometricInterpretation": self.photometric,
            "PlanarConfiguration": self.planar,
            "NumberOfFrames": self.frames if self.frames > 1 else None,
            "Rows": self.rows,
            "Columns": self.columns,
            "BitsAllocated": self.allocated,
            "BitsStored": self.stored,
            "HighBit": self.high,
            "PixelRepresentation": int(self.signed),
        }


def smooth_words(form: Form, seed: int = 0) -> NDArray[np.unsignedinteger]:
    """Values of `stored` bits with some noise, at the bottom of the word, in the form's byte order: shape
    (frames, rows, columns[, 3] or, planar, 3, rows, columns). Signed ones are sign-extended."""
    rng = np.random.default_rng(seed)
    shape: tuple[int, ...] = (form.frames, form.rows, form.columns)
    if form.samples == 3:
        planar = (form.frames, 3, form.rows, form.columns)
        shape = planar if form.planar == 1 else (*shape, 3)
    top = (1 << form.stored) - 1
    ramp = np.linspace(0, top, int(np.prod(shape))).reshape(shape)
    noisy = np.clip(ramp + rng.normal(0, top / 256, shape), 0, top).astype(np.int64)
    if form.signed:
        noisy -= (top + 1) // 2
    return noisy.astype(f"<i{form.allocated // 8}").view(f"<u{form.allocated // 8}")


def raw_object(
    form: Form = Form(),
    pixels: bytes | None = None,
    *,
    syntax: str = enc.EXPLICIT_LE,
    vr: str | None = None,
    tail: Mapping[int, tuple[str, object]] | None = None,
    extra: enc.Attributes | None = None,
    seed: int = 0,
) -> RawObject:
    """An object whose pixel value is exactly `pixels` (default: smooth noise), with `tail` behind it."""
    raw = smooth_words(form, seed).tobytes() if pixels is None else pixels
    uid = stable_uid("raw", seed, form, syntax, hashlib.sha256(raw).hexdigest())
    attributes: dict[Any, object] = {
        "SOPClassUID": SECONDARY_CAPTURE,
        "SOPInstanceUID": uid,
        "StudyDate": "20260101",
        "Modality": "OT",
        "StudyDescription": "Made for a pack",
        "PatientName": "Pack^Test",
        "PatientID": "P-1",
        "StudyInstanceUID": stable_uid("raw-study"),
        "SeriesInstanceUID": stable_uid("raw-series"),
        "InstanceNumber": seed + 1,
        "WindowCenter": 40.5,
        **form.attributes(),
        **(extra or {}),
    }
    laid = enc.Form.of(syntax)
    head = enc.encode(enc.elements(attributes), laid)
    kind = vr or ("OW" if form.allocated > 8 else "OB")
    element = enc.element_head(enc.PIXEL_DATA, kind, len(raw), laid) + raw
    behind = enc.encode(dict(tail), laid) if tail else b""
    return RawObject(head + element + behind, syntax, uid)
