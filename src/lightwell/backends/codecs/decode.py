"""Frame bytes to samples. Runs only in limited child processes (`worker`): codecs are native code.

`decode_frame` gives the samples as the object would hold them natively: same words, same colour
space, except where the codec itself undoes a colour transform (JPEG, JPEG 2000, JPEG XL give RGB).
`stored_values` then strips stray high bits and applies the sign, which is what pictures are made of.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lightwell.backends.codecs import pixels as px
from lightwell.backends.codecs.codestreams import Codestream, inspect
from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.backends.codecs.loud import loud
from lightwell.backends.codecs.pixels import DecodeJob, Limits, NativeFrame, PixelDescription

Samples = NDArray[Any]

#: PackBits turns two bytes into at most 128, so RLE cannot expand more than this (PS3.5 G.3.1).
_RLE_RATIO = 64


@dataclass(frozen=True)
class DecodedFrame:
    """`samples` is (rows, columns) or (rows, columns, 3), little-endian words of Bits Allocated."""

    samples: Samples
    photometric: str


def decode_frame(job: DecodeJob, limits: Limits = px.DEFAULT_LIMITS) -> DecodedFrame:
    """Decode one frame.

    Raises DecodeRefused when the object asks for too much or for a form we do not read, and
    DecodeFailed when the data is damaged or contradicts its header.
    """
    job.pixels.check(limits)
    syntax = job.pixels.transfer_syntax
    if syntax in px.NATIVE:
        return _native(job.pixels, job.data, job.first_bit)
    if syntax == px.DEFLATED_FRAMES:
        return _native(job.pixels, _inflate(job.pixels, job.data), 0)
    if syntax == px.RLE:
        return DecodedFrame(_rle(job.pixels, job.data), job.pixels.photometric)
    samples, stream = codec_samples(job, limits)
    return fit(job.pixels, samples, stream)


def codec_samples(job: DecodeJob, limits: Limits = px.DEFAULT_LIMITS) -> tuple[Samples, Codestream]:
    """What the codec of a JPEG family syntax gives, before it is made to fit its header. Raises as
    `decode_frame`."""
    job.pixels.check(limits)
    stream = inspect(job.data)
    _check_stream(job.pixels, stream)
    with loud():
        samples = _DECODERS[job.pixels.transfer_syntax](job.data, job.pixels, stream)
    return samples, stream


def stored_values(samples: Samples, pixels: PixelDescription) -> Samples:
    """The values that Bits Stored, High Bit and Pixel Representation mean (PS3.5 8.1.1).

    Overlay bits and other strays outside the stored bits are dropped. Returns int32 for signed and
    unsigned words up to 16 bits alike, int64 for 32-bit words, floats as they are.
    """
    if samples.dtype.kind == "f" or pixels.bits_allocated == 1:
        return samples
    wide = np.int64 if pixels.bits_allocated == 32 else np.int32
    values: Any = samples.view(f"<u{samples.dtype.itemsize}").astype(wide)
    low_bit = pixels.high_bit + 1 - pixels.bits_stored
    if low_bit:
        values >>= low_bit
    if pixels.bits_stored < pixels.bits_allocated or pixels.signed:
        values &= (1 << pixels.bits_stored) - 1
    if pixels.signed:
        half = 1 << (pixels.bits_stored - 1)
        values = (values ^ half) - half
    stored: Samples = values
    return stored


def native_frame(job: DecodeJob, limits: Limits = px.DEFAULT_LIMITS) -> NativeFrame:
    """Decode one frame to what an Explicit VR Little Endian object holds (PS3.5 8.1, 8.2.x)."""
    decoded = decode_frame(job, limits)
    samples, pixels = decoded.samples, job.pixels
    if pixels.bits_allocated == 1:
        data = np.packbits(samples.reshape(-1).astype(np.uint8), bitorder="little").tobytes()
    else:
        data = np.ascontiguousarray(samples, samples.dtype.newbyteorder("<")).tobytes()
    return NativeFrame(
        data=data,
        photometric=decoded.photometric,
        samples=pixels.samples,
        planar_configuration=0 if pixels.samples == 3 else None,
        bits_allocated=pixels.bits_allocated,
        bits_stored=pixels.bits_stored,
        high_bit=pixels.high_bit,
        pixel_representation=int(pixels.signed),
    )


def _word(pixels: PixelDescription) -> np.dtype[Any]:
    """The little-endian unsigned word of one sample."""
    return np.dtype(f"<u{pixels.bits_allocated // 8}")


def _native(pixels: PixelDescription, data: bytes, first_bit: int) -> DecodedFrame:
    needed = (first_bit + pixels.frame_bits + 7) // 8
    if len(data) < needed:
        raise DecodeFailed(
            f"The frame holds {len(data)} bytes; {pixels.rows} x {pixels.columns} needs {needed}."
        )
    if pixels.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8, needed), bitorder="little")
        frame = bits[first_bit : first_bit + pixels.frame_bits]
        return DecodedFrame(frame.reshape(pixels.rows, pixels.columns), pixels.photometric)
    words = _words(pixels, data, needed)
    if pixels.subsampled:
        return DecodedFrame(_upsample_chroma(words, pixels), "YBR_FULL")
    return DecodedFrame(_interleaved(words, pixels), pixels.photometric)


def _words(pixels: PixelDescription, data: bytes, needed: int) -> Samples:
    real = pixels.vr in {"OF", "OD"}
    dtype: np.dtype[Any] = np.dtype(f"<f{pixels.bits_allocated // 8}") if real else _word(pixels)
    if pixels.transfer_syntax != px.EXPLICIT_BE:
        return np.frombuffer(data, dtype, needed // dtype.itemsize)
    if dtype.itemsize == 1:
        # OW in Big Endian swaps the bytes of 16-bit words even when the samples have 8 bits.
        if pixels.vr == "OB":
            return np.frombuffer(data, dtype, needed)
        even = np.frombuffer(data + b"\0" * (len(data) % 2), np.uint8)
        return even.reshape(-1, 2)[:, ::-1].reshape(-1)[:needed]
    big = np.frombuffer(data, dtype.newbyteorder(">"), needed // dtype.itemsize)
    return big.astype(dtype)


def _interleaved(words: Samples, pixels: PixelDescription) -> Samples:
    if pixels.samples == 1:
        return words.reshape(pixels.rows, pixels.columns)
    if pixels.planar_configuration == 1:
        return words.reshape(3, pixels.rows, pixels.columns).transpose(1, 2, 0)
    return words.reshape(pixels.rows, pixels.columns, 3)


def _upsample_chroma(words: Samples, pixels: PixelDescription) -> Samples:
    """Y1 Y2 Cb Cr for every two pixels -> one Cb and Cr each (PS3.3 C.7.6.3.1.2)."""
    if pixels.columns % 2:
        raise DecodeFailed("YBR_FULL_422 needs an even number of columns.")
    pairs = words.reshape(pixels.rows, pixels.columns // 2, 4)
    full = np.empty((pixels.rows, pixels.columns, 3), words.dtype)
    full[:, 0::2, 0] = pairs[:, :, 0]
    full[:, 1::2, 0] = pairs[:, :, 1]
    full[:, :, 1:] = np.repeat(pairs[:, :, 2:], 2, axis=1)
    return full


def _inflate(pixels: PixelDescription, data: bytes) -> bytes:
    """One frame of Deflated Image Frame Compression, bounded by what the header declares."""
    needed = (pixels.frame_bits + 7) // 8
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return engine.decompress(data, needed)
    except zlib.error as trouble:
        raise DecodeFailed(f"The deflated frame is damaged: {trouble}.") from trouble


def _rle(pixels: PixelDescription, data: bytes) -> Samples:
    """PS3.5 annex G: one PackBits segment a byte plane, most significant byte first."""
    width = max(pixels.bits_allocated // 8, 1)
    expected = pixels.samples * width
    if len(data) < 64:
        raise DecodeFailed("The RLE frame is shorter than its header.")
    head = np.frombuffer(data, "<u4", 16)
    count = int(head[0])
    if count != expected:
        raise DecodeFailed(f"The RLE frame has {count} segments; the header asks for {expected}.")
    starts = [*head[1 : count + 1].tolist(), len(data)]
    if starts[0] < 64 or any(b < a for a, b in itertools.pairwise(starts)):
        raise DecodeFailed("The RLE segment offsets are out of order.")
    one_bit = pixels.bits_allocated == 1
    area = (pixels.frame_bits + 7) // 8 if one_bit else pixels.rows * pixels.columns
    if any((b - a) * _RLE_RATIO < area for a, b in itertools.pairwise(starts)):
        raise DecodeFailed(
            f"The RLE frame of {len(data)} bytes cannot hold {pixels.rows} x {pixels.columns}."
        )
    planes = np.empty((area, pixels.samples, width), np.uint8)
    for number in range(count):
        segment = data[starts[number] : starts[number + 1]]
        with loud():
            octets = imagecodecs.packbits_decode(segment)
        if len(octets) < area:
            raise DecodeFailed(f"RLE segment {number + 1} ends early.")
        sample, byte = divmod(number, width)
        planes[:, sample, width - 1 - byte] = np.frombuffer(octets, np.uint8, area)
    if one_bit:
        # Not foreseen by PS3.5, yet written by segmentation tools: the packed bits as bytes.
        bits = np.unpackbits(planes.reshape(-1), bitorder="little", count=pixels.frame_bits)
        return bits.reshape(pixels.rows, pixels.columns)
    words = planes.view(_word(pixels)).reshape(pixels.rows, pixels.columns, pixels.samples)
    return words[:, :, 0] if pixels.samples == 1 else words


def _check_stream(pixels: PixelDescription, stream: Codestream) -> None:
    if (stream.rows, stream.columns) != (pixels.rows, pixels.columns):
        raise DecodeFailed(
            f"The header says {pixels.rows} x {pixels.columns}, the compressed frame "
            f"{stream.rows} x {stream.columns}."
        )
    if stream.components and stream.components != pixels.samples:
        raise DecodeFailed(
            f"The header says {pixels.samples} samples per pixel, the compressed frame "
            f"{stream.components}."
        )
    if pixels.bits_allocated == 1:
        raise DecodeRefused("One-bit images in a compressed codestream are not supported.")


def _jpeg(data: bytes, pixels: PixelDescription, stream: Codestream) -> Samples:
    if stream.components != 3:
        return np.asarray(imagecodecs.jpeg8_decode(data))
    # What the stream says wins: some devices label YBR data as RGB. A stream without any word of
    # its own is what the header says.
    is_rgb = (stream.colour or ("RGB" if pixels.photometric == "RGB" else "YBR")) == "RGB"
    kind = "RGB" if is_rgb else "YCBCR"
    return np.asarray(imagecodecs.jpeg8_decode(data, colorspace=kind, outcolorspace="RGB"))


def _jpeg_lossless(data: bytes, pixels: PixelDescription, stream: Codestream) -> Samples:
    """No colour transform: lossless frames hold the samples of the header's colour space."""
    return np.asarray(imagecodecs.jpegsof3_decode(data))


def _jpeg_ls(data: bytes, pixels: PixelDescription, stream: Codestream) -> Samples:
    samples = np.asarray(imagecodecs.jpegls_decode(data))
    planar = (stream.components, stream.rows, stream.columns)
    if stream.components == 3 and samples.shape == planar and samples.shape[2] != 3:
        return samples.transpose(1, 2, 0)
    return samples


def _jpeg_2000(data: bytes, pixels: PixelDescription, stream: Codestream) -> Samples:
    return np.asarray(imagecodecs.jpeg2k_decode(data, planar=False, numthreads=1))


def _htj2k(data: bytes, pixels: PixelDescription, stream: Codestream) -> Samples:
    return np.asarray(imagecodecs.htj2k_decode(data, planar=False))


def _jpeg_xl(data: bytes, pixels: PixelDescription, stream: Codestream) -> Samples:
    return np.asarray(imagecodecs.jpegxl_decode(data, numthreads=1))


_Decoder = Callable[[bytes, PixelDescription, Codestream], Samples]
_DECODERS: dict[str, _Decoder] = {
    **dict.fromkeys(px.JPEG, _jpeg),
    **dict.fromkeys(px.JPEG_LOSSLESS, _jpeg_lossless),
    **dict.fromkeys(px.JPEG_LS, _jpeg_ls),
    **dict.fromkeys(px.JPEG_2000, _jpeg_2000),
    **dict.fromkeys(px.HTJ2K, _htj2k),
    **dict.fromkeys(px.JPEG_XL, _jpeg_xl),
}


def fit(pixels: PixelDescription, samples: Samples, stream: Codestream) -> DecodedFrame:
    """Check what the codec made, widen it to Bits Allocated and name its colour space."""
    wanted: tuple[int, ...] = (pixels.rows, pixels.columns)
    if pixels.samples == 3:
        wanted = (*wanted, 3)
    if samples.shape == (*wanted, 1):
        samples = samples[..., 0]
    if samples.shape != wanted:
        raise DecodeFailed(f"The codec gave {samples.shape} samples instead of {wanted}.")
    if samples.dtype.kind not in "iu":
        raise DecodeFailed(f"The codec gave {samples.dtype} samples instead of integers.")
    word = _word(pixels)
    if samples.dtype.itemsize > word.itemsize:
        if int(samples.max()) >= 1 << pixels.bits_allocated:
            raise DecodeFailed(
                f"The compressed frame holds more than the {pixels.bits_allocated} bits allocated."
            )
        samples = samples.astype(word)
    elif samples.dtype.itemsize < word.itemsize:
        samples = samples.astype(word.str.replace("u", "i") if samples.dtype.kind == "i" else word)
    words = samples.view(word)
    if pixels.signed and not stream.signed and 0 < stream.precision < pixels.bits_allocated:
        words = _sign_extend(words, min(stream.precision, pixels.bits_stored))
    return DecodedFrame(words, _photometric_after(pixels, stream))


def _sign_extend(words: Samples, bits: int) -> Samples:
    """Signed samples that lay in an unsigned codestream of fewer bits than allocated."""
    signed = words.view(words.dtype.str.replace("u", "i"))
    shift = words.dtype.itemsize * 8 - bits
    return ((signed << shift) >> shift).view(words.dtype)


def _photometric_after(pixels: PixelDescription, stream: Codestream) -> str:
    """Colour space of decoded samples (PS3.5 8.2): which codecs undo their transform."""
    if pixels.samples == 1:
        return pixels.photometric
    syntax = pixels.transfer_syntax
    if syntax in px.JPEG or syntax in px.JPEG_XL:
        return "RGB"
    if pixels.photometric in {"YBR_RCT", "YBR_ICT"}:
        return "RGB"
    if pixels.photometric.startswith("YBR_FULL"):
        # A stream with its own transform has already given RGB back, whatever the header says.
        return "RGB" if stream.component_transform else "YBR_FULL"
    return pixels.photometric
