"""Frames of lossless transfer syntaxes to native ones, where every decoder must give the same values.

What `decode` shows is what a reader sees; what is kept in the place of an original must be more: a codestream
that was allowed to lose something is refused, also where its transfer syntax says that it did not. Runs
only in limited child processes (`worker`).
"""

from __future__ import annotations

import struct

from lightwell.backends.codecs import pixels as px
from lightwell.backends.codecs.codestreams import loses_nothing
from lightwell.backends.codecs.decode import native_frame
from lightwell.backends.codecs.errors import DecodeFailed
from lightwell.backends.codecs.pixels import DecodeJob, Limits, PixelDescription
from lightwell.domain.archive.coding import CompressedFrame, NativeFrame, PixelForm

_PLAIN = frozenset({px.RLE, px.ENCAPSULATED_UNCOMPRESSED, px.DEFLATED_FRAMES})


def decompress_frame(
    form: PixelForm, frame: CompressedFrame, limits: Limits = px.DEFAULT_LIMITS
) -> NativeFrame:
    """One frame as Explicit VR Little Endian holds it. Raises DecodeFailed, DecodeRefused."""
    data = bytes(frame.data)
    pixels = PixelDescription(
        transfer_syntax=frame.syntax,
        rows=form.rows,
        columns=form.columns,
        samples=form.samples,
        bits_allocated=form.bits_allocated,
        bits_stored=form.bits_stored,
        high_bit=form.high_bit,
        signed=form.signed,
        photometric=frame.photometric,
        planar_configuration=int(form.planar),
    )
    if frame.syntax not in _PLAIN and not _reversible(data):
        raise DecodeFailed("The codestream may have lost something: it is no reversible one.")
    made = native_frame(DecodeJob(pixels, data), limits)
    if len(made.data) != form.frame_bytes:
        raise DecodeFailed(
            f"A frame of {len(made.data)} bytes where {form.frame_bytes} are declared."
        )
    return NativeFrame(made.photometric, made.data)


def _reversible(data: bytes) -> bool:
    try:
        return loses_nothing(data)
    except (struct.error, IndexError):
        return False
