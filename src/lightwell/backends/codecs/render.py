"""From samples to a picture, in the order of PS3.4 N.2; pure numpy.

stored value -> modality LUT or rescale -> VOI LUT or window -> polarity (MONOCHROME1 and
PresentationLUTShape, after the VOI) -> square pixels, region and viewport -> annotation -> JPEG,
PNG, GIF or JPEG 2000.
"""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lightwell.backends.codecs import canvas
from lightwell.backends.codecs.decode import DecodedFrame, decode_frame, stored_values
from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.backends.codecs.pixels import (
    DEFAULT_LIMITS,
    DecodeJob,
    ImageDescription,
    Limits,
    Lut,
    Palette,
    RenderJob,
    RenderRequest,
    Window,
)

#: 8-bit picture: (rows, columns) grey or (rows, columns, 3) RGB.
Picture = NDArray[np.uint8]
Values = NDArray[Any]

#: Above this many different stored values a table costs more than computing each pixel.
_TABLE_BITS = 16
_FULL = 255.0


def render(job: RenderJob, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Decode, show and encode one picture.

    Raises DecodeFailed for damaged pixel data, DecodeRefused for limits and unknown media types.
    """
    _check_request(job, limits)
    shown = [_frame_picture(job, data, limits) for data in job.frames]
    return encode(shown, job.request)


def _check_request(job: RenderJob, limits: Limits) -> None:
    job.image.pixels.check(limits)
    if not job.frames:
        raise DecodeFailed("There is no frame to render.")
    animated = job.request.media_type == "image/gif"
    if len(job.frames) > (limits.frames_per_job if animated else 1):
        raise DecodeRefused(f"{len(job.frames)} frames are too many for one picture.")
    port = job.request.viewport
    if port and not (0 < port.width <= limits.viewport and 0 < port.height <= limits.viewport):
        raise DecodeRefused(f"The viewport must be 1 to {limits.viewport} pixels wide and high.")


def _frame_picture(job: RenderJob, data: bytes, limits: Limits) -> Picture:
    decoded = decode_frame(DecodeJob(job.image.pixels, data, job.first_bit), limits)
    picture = to_picture(decoded, job.image, job.request.window)
    request = job.request
    aspect = job.image.aspect if request.square_pixels else 1.0
    if request.viewport is not None:
        picture = canvas.fit(picture, request.viewport, aspect)
    elif aspect != 1.0:
        rows, columns = canvas.square_size(picture.shape[0], picture.shape[1], aspect)
        if rows * columns > limits.pixels_per_frame:
            raise DecodeRefused("The picture with square pixels is over the limit.")
        picture = canvas.resize(picture, rows, columns)
    return canvas.annotate(picture, request.annotation)


def to_picture(decoded: DecodedFrame, image: ImageDescription, window: Window | None) -> Picture:
    """The grey or colour pipeline up to 8-bit display values."""
    if decoded.samples.ndim == 3:
        return _colour(decoded, image)
    values = stored_values(decoded.samples, image.pixels)
    if image.palette is not None:
        return _paletted(values, image.palette)
    return grey(values, image, window)


def grey(values: Values, image: ImageDescription, window: Window | None = None) -> Picture:
    """Display values of stored values; `window` is the caller's choice and wins over the header."""
    table_range = _table_range(image)
    if table_range is None:
        return _grey_values(values, values, image, window)
    low, high = table_range
    every = np.arange(low, high + 1, dtype=np.int32)
    table = _grey_values(every, values, image, window)
    return table[values - low] if low else table[values]


def _table_range(image: ImageDescription) -> tuple[int, int] | None:
    """Least and greatest stored value when a table over all of them is worth while."""
    pixels = image.pixels
    if pixels.vr in {"OF", "OD"} or pixels.bits_stored > _TABLE_BITS:
        return None
    if pixels.signed and pixels.bits_allocated > 1:
        half = 1 << (pixels.bits_stored - 1)
        return -half, half - 1
    return 0, (1 << pixels.bits_stored) - 1


def _grey_values(
    stored: Values, picture: Values, image: ImageDescription, window: Window | None
) -> Picture:
    """Display values of `stored`; `picture` is what the automatic window looks at."""
    modality = _modality(stored, image)
    if window is not None:
        shade = apply_window(modality, window)
    elif image.voi_lut is not None:
        shade = _through(modality, image.voi_lut) * (_FULL / ((1 << image.voi_lut.bits) - 1))
    elif image.window is not None:
        shade = apply_window(modality, image.window)
    else:
        shade = _stretch(modality, *_extremes(picture, image))
    if is_inverted(image):
        shade = _FULL - shade
    if image.padding is not None:
        low, high = image.padding
        shade = np.where((stored >= low) & (stored <= high), 0.0, shade)
    # Half up, not to even: 127.5 of an odd window is 128 in every reference implementation.
    shown: Picture = np.floor(np.clip(np.nan_to_num(shade), 0.0, _FULL) + 0.5).astype(np.uint8)
    return shown


def is_inverted(image: ImageDescription) -> bool:
    """Low values bright: said by MONOCHROME1 or by shape INVERSE (PS3.3 C.11.6.1.2).

    IDENTITY with MONOCHROME1 is a contradiction found in some DX; the photometric is trusted then.
    """
    return image.presentation_shape == "INVERSE" or image.pixels.photometric == "MONOCHROME1"


def _modality(stored: Values, image: ImageDescription) -> Values:
    if image.modality_lut is not None:
        return _through(stored, image.modality_lut)
    if image.slope == 1.0 and image.intercept == 0.0:
        return stored.astype(np.float64)
    scaled: Values = stored * image.slope + image.intercept
    return scaled


def _through(values: Values, lut: Lut) -> Values:
    """A table lookup; values before the first or after the last entry take that (C.11.1.1)."""
    table = np.asarray(lut.values, np.float64)
    index = np.floor(values - lut.first + 0.5)
    found: Values = table[np.clip(index, 0, len(table) - 1).astype(np.int64)]
    return found


def apply_window(values: Values, window: Window) -> Values:
    """Window to 0..255 as floats (PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and .2).

    Raises DecodeRefused for a width that the function does not allow.
    """
    center, width = window.center, window.width
    if window.function == "SIGMOID" and width > 0:
        power = np.clip(-4.0 * (values - center) / width, -60.0, 60.0)
        curve: Values = _FULL / (1.0 + np.exp(power))
        return curve
    if window.function == "LINEAR_EXACT" and width > 0:
        return _stretch(values, center - width / 2, center + width / 2)
    if window.function == "LINEAR" and width >= 1:
        return _stretch(values, center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)
    raise DecodeRefused(f"A {window.function} window of width {width} is not allowed.")


def _stretch(values: Values, low: float, high: float) -> Values:
    """0 at and below `low`, 255 above `high`; a step when both are one (width 1)."""
    if high <= low:
        step: Values = np.where(values <= low, 0.0, _FULL)
        return step
    line: Values = np.clip((values - low) * _FULL / (high - low), 0.0, _FULL)
    return line


def _extremes(picture: Values, image: ImageDescription) -> tuple[float, float]:
    """Modality values of the darkest and brightest pixel that is not padding."""
    kept = picture
    if image.padding is not None:
        low, high = image.padding
        kept = picture[(picture < low) | (picture > high)]
    if kept.dtype.kind == "f":
        kept = kept[np.isfinite(kept)]
    if kept.size == 0:
        return 0.0, 0.0
    if image.modality_lut is not None:
        ends = _modality(np.unique(kept), image)
    else:
        ends = _modality(np.asarray([kept.min(), kept.max()]), image)
    return float(ends.min()), float(ends.max())


def _colour(decoded: DecodedFrame, image: ImageDescription) -> Picture:
    samples = decoded.samples
    bits = image.pixels.bits_stored
    if image.pixels.bits_allocated > 8 and bits > 8:
        samples = (stored_values(samples, image.pixels) & ((1 << bits) - 1)) >> (bits - 8)
    octets: Picture = samples.astype(np.uint8)
    if decoded.photometric.startswith("YBR_FULL"):  # RLE keeps the 422 label, not the form
        return _ybr_to_rgb(octets)
    if decoded.photometric == "RGB":
        return octets
    raise DecodeRefused(f"Colour as {decoded.photometric[:16]} is not supported.")


def _ybr_to_rgb(ybr: Picture) -> Picture:
    """YBR_FULL to RGB (PS3.3 C.7.6.3.1.2), rounded."""
    out = np.empty(ybr.shape, np.uint8)
    luma = ybr[:, :, 0].astype(np.float32)
    blue = ybr[:, :, 1].astype(np.float32) - 128.0
    red = ybr[:, :, 2].astype(np.float32) - 128.0
    channels = (luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue)
    for index, channel in enumerate(channels):
        out[:, :, index] = np.clip(np.floor(channel + 0.5), 0, 255)
    return out


def _paletted(values: Values, palette: Palette) -> Picture:
    channels = []
    for lut in (palette.red, palette.green, palette.blue):
        table = np.asarray(lut.values, np.int64)
        # Tables that say 16 bits and hold 8-bit entries exist; their greatest entry shows it.
        wide = lut.bits > 8 and int(table.max(initial=0)) > 255
        octets = (table >> 8 if wide else table).clip(0, 255).astype(np.uint8)
        channels.append(octets[np.clip(values - lut.first, 0, len(octets) - 1)])
    return np.stack(channels, axis=2)


def encode(pictures: list[Picture], request: RenderRequest) -> bytes:
    """The finished file; raises DecodeRefused for a media type that is not made here."""
    picture = np.ascontiguousarray(pictures[0])
    match request.media_type:
        case "image/jpeg":
            quality = min(max(request.quality, 1), 100)
            return bytes(imagecodecs.jpeg8_encode(picture, level=quality))
        case "image/png":
            return bytes(imagecodecs.png_encode(picture, level=1))
        case "image/jp2":
            return bytes(imagecodecs.jpeg2k_encode(picture, codecformat="jp2", reversible=True))
        case "image/gif":
            return canvas.gif(pictures, request.frame_time)
    raise DecodeRefused(f"Pictures of type {request.media_type[:40]} are not made here.")
