"""Frames of lossless transfer syntaxes to native ones, where every decoder must give the same values.

What `decode` shows is what a reader sees; what is kept in the place of an original must be more: a codestream
that was allowed to lose something is refused, also where its transfer syntax says that it did not, and so is
one with bytes, bits or signs that the native form would not have. Runs only in limited child processes
(`worker`).
"""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np

from lightwell.backends.codecs import pixels as px
from lightwell.backends.codecs.codestreams import Codestream
from lightwell.backends.codecs.decode import Samples, codec_samples, fit, native_frame
from lightwell.backends.codecs.errors import DecodeFailed
from lightwell.backends.codecs.lossless import (
    check_codestream,
    check_length,
    check_rle,
    inflated,
    process_14,
)
from lightwell.backends.codecs.pixels import DecodeJob, Limits, PixelDescription
from lightwell.backends.codecs.process14 import check_samples
from lightwell.domain.archive.coding import CompressedFrame, NativeFrame, PixelForm


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
    pixels.check(limits)
    if frame.syntax == px.DEFLATED_FRAMES:
        data = inflated(data, form.frame_bytes)
        pixels = replace(pixels, transfer_syntax=px.ENCAPSULATED_UNCOMPRESSED)
    if pixels.transfer_syntax == px.ENCAPSULATED_UNCOMPRESSED:
        check_length(data, form.frame_bytes)
        made = _words(DecodeJob(pixels, data), limits)
    elif frame.syntax == px.RLE:
        planes = form.samples * form.bits_allocated // 8
        check_rle(data, planes, form.rows * form.columns)
        made = _words(DecodeJob(pixels, data), limits)
    else:
        made = _decoded(DecodeJob(pixels, data), limits)
    if len(made.data) != form.frame_bytes:
        raise DecodeFailed(
            f"A frame of {len(made.data)} bytes where {form.frame_bytes} are declared."
        )
    return made


def _words(job: DecodeJob, limits: Limits) -> NativeFrame:
    """Of syntaxes that hold the very words."""
    made = native_frame(job, limits)
    return NativeFrame(made.photometric, made.data)


def _decoded(job: DecodeJob, limits: Limits) -> NativeFrame:
    """Of codestreams, which hold values."""
    pixels, data = job.pixels, job.data
    check_codestream(pixels.transfer_syntax, data)
    samples, stream = codec_samples(job, limits)
    _check_colour(pixels, stream)
    if pixels.transfer_syntax in px.JPEG_LOSSLESS:
        try:
            check_samples(process_14(data), samples)
        except (struct.error, IndexError):
            raise DecodeFailed("The JPEG frame ends inside its markers.") from None
    _check_values(pixels, samples, stream)
    made = fit(pixels, samples, stream)
    words = np.ascontiguousarray(made.samples, made.samples.dtype.newbyteorder("<"))
    return NativeFrame(made.photometric, words.tobytes())


def _check_colour(pixels: PixelDescription, stream: Codestream) -> None:
    """Header and codestream say the same of a colour transform (PS3.5 8.2.4). Raises DecodeFailed."""
    if pixels.samples == 1 or pixels.photometric == "RGB":
        return
    if pixels.photometric != "YBR_RCT" or not stream.component_transform:
        raise DecodeFailed("The header names another colour space than the codestream.")


def _check_values(pixels: PixelDescription, samples: Samples, stream: Codestream) -> None:
    """Every value is one of Bits Stored and Pixel Representation (PS3.5 8.1.1): then what lies above the
    stored bits is sign and nothing else, and no bit is made up or overwritten. Raises DecodeFailed."""
    precision, stored = stream.precision, pixels.bits_stored
    if samples.dtype.kind not in "iu" or pixels.high_bit != stored - 1:
        raise DecodeFailed("The codestream holds other bits than the header says.")
    if not 0 < precision <= pixels.bits_allocated:
        raise DecodeFailed("The codestream holds more bits than are allocated.")
    low, high = int(samples.min()), int(samples.max())
    if pixels.signed and not stream.signed:
        if low < 0 or high >= 1 << precision:
            raise DecodeFailed("The codec gave other values than the codestream can hold.")
        half = 1 << (precision - 1)
        if precision < stored and high >= half:
            raise DecodeFailed("Whether the codestream holds signs cannot be told.")
        values = (samples.astype(np.int32) ^ half) - half
        low, high = int(values.min()), int(values.max())
    half = 1 << (stored - 1)
    least, most = (-half, half - 1) if pixels.signed else (0, 2 * half - 1)
    if low < least or high > most:
        raise DecodeFailed(f"The codestream holds values of more than {stored} bits.")
