"""Geometry of pictures: square pixels, region and viewport, text, animated GIF. Pure numpy."""

from __future__ import annotations

import math
import struct
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.backends.codecs.lettering import burn
from lightwell.backends.codecs.pixels import Viewport, fitted

Picture = NDArray[np.uint8]

#: Colours of an animated or indexed colour picture: a cube of 6 x 7 x 6 shades.
_CUBE = (6, 7, 6)


def square_size(rows: int, columns: int, aspect: float) -> tuple[int, int]:
    """Size with square pixels; only ever enlarges, so that no sample is lost."""
    if aspect >= 1.0:
        return max(round(rows * aspect), 1), columns
    return rows, max(round(columns / aspect), 1)


def fit(picture: Picture, port: Viewport, aspect: float = 1.0) -> Picture:
    """Region, mirroring and scaling to exactly the viewport, centred on black (PS3.18 8.3.5.1.3).

    Raises DecodeRefused when the region lies outside the picture.
    """
    region = _region(picture, port)
    rows, columns = fitted(region.shape[0], region.shape[1], port, aspect)
    scaled = resize(region, rows, columns)
    framed = np.zeros((port.height, port.width, *picture.shape[2:]), np.uint8)
    top, left = (port.height - rows) // 2, (port.width - columns) // 2
    framed[top : top + rows, left : left + columns] = scaled
    return framed


def _region(picture: Picture, port: Viewport) -> Picture:
    rows, columns = picture.shape[:2]
    wide = port.source_width if port.source_width else columns - port.x
    high = port.source_height if port.source_height else rows - port.y
    left, right = max(math.floor(port.x), 0), min(math.ceil(port.x + abs(wide)), columns)
    top, bottom = max(math.floor(port.y), 0), min(math.ceil(port.y + abs(high)), rows)
    if left >= right or top >= bottom:
        raise DecodeRefused("The region of the viewport lies outside the image.")
    region = picture[top:bottom, left:right]
    region = region[:, ::-1] if wide < 0 else region
    return region[::-1] if high < 0 else region


def resize(picture: Picture, rows: int, columns: int) -> Picture:
    """Area average downwards, bilinear upwards, each axis on its own. Equal size: the same array."""
    if picture.shape[:2] == (rows, columns):
        return picture
    scaled: NDArray[Any] = picture
    if rows != picture.shape[0]:
        scaled = _resize_rows(scaled, rows)
    if columns != picture.shape[1]:
        scaled = _resize_rows(scaled.swapaxes(0, 1), columns).swapaxes(0, 1)
    rounded: Picture = np.floor(np.clip(scaled, 0, 255) + 0.5).astype(np.uint8)
    return rounded


def _resize_rows(picture: NDArray[Any], rows: int) -> NDArray[Any]:
    return _average_rows(picture, rows) if rows < picture.shape[0] else _blend(picture, rows)


def _average_rows(picture: NDArray[Any], rows: int) -> NDArray[Any]:
    """Each new row is the mean of the old rows it covers, parts of rows by their share.

    Row by row, so that a very large picture never exists a second time as floats.
    """
    if picture.shape[0] % rows == 0:
        whole = picture.reshape(rows, picture.shape[0] // rows, *picture.shape[1:])
        mean: NDArray[Any] = whole.mean(axis=1, dtype=np.float32)
        return mean
    step = picture.shape[0] / rows
    out = np.empty((rows, *picture.shape[1:]), np.float32)
    for row in range(rows):
        start, end = row * step, min((row + 1) * step, float(picture.shape[0]))
        first, last = int(start), min(math.ceil(end), picture.shape[0])
        weights = np.ones(last - first, np.float32)
        weights[0] -= start - first
        weights[-1] -= last - end
        out[row] = np.tensordot(weights, picture[first:last], axes=(0, 0)) / (end - start)
    return out


def _blend(picture: NDArray[Any], rows: int) -> NDArray[Any]:
    """Linear interpolation between row centres."""
    places = (np.arange(rows) + 0.5) * (picture.shape[0] / rows) - 0.5
    places = np.clip(places, 0, picture.shape[0] - 1)
    low = places.astype(np.intp)
    high = np.minimum(low + 1, picture.shape[0] - 1)
    share = (places - low).astype(np.float32).reshape(-1, *([1] * (picture.ndim - 1)))
    blended: NDArray[Any] = picture[low] * (1 - share) + picture[high] * share
    return blended


def annotate(picture: Picture, lines: tuple[str, ...]) -> Picture:
    """Burn lines of text into the upper left corner of a copy."""
    if not lines:
        return picture
    marked = picture.copy()
    scale = max(min(picture.shape[:2]) // 256, 1)
    for number, line in enumerate(lines[:16]):
        row = scale * (4 + 10 * number)
        burn(marked, line[:64], row=row, column=4 * scale, scale=scale, ink=255, edge=0)
    return marked


def gif(pictures: list[Picture], frame_time: float) -> bytes:
    """A GIF; several pictures become an endless animation, `frame_time` milliseconds each."""
    if any(picture.shape != pictures[0].shape for picture in pictures):
        raise DecodeFailed("The frames of an animation differ in size.")
    colours = _cube() if pictures[0].ndim == 3 else np.arange(256, dtype=np.uint8)[:, None]
    table = np.array(np.broadcast_to(colours, (256, 3)))  # a copy: the codec wants it writable
    single = [
        bytes(imagecodecs.gif_encode(np.ascontiguousarray(_indexed(picture)), colormap=table))
        for picture in pictures
    ]
    if len(single) == 1:
        return single[0]
    return _animate(single, frame_time)


def _indexed(picture: Picture) -> Picture:
    if picture.ndim == 2:
        return picture
    index = np.zeros(picture.shape[:2], np.uint16)
    for channel, shades in enumerate(_CUBE):
        level = (picture[:, :, channel].astype(np.uint16) * (shades - 1) + 127) // 255
        index = index * shades + level
    return index.astype(np.uint8)


def _cube() -> Picture:
    table = np.zeros((256, 3), np.uint8)
    grids = np.meshgrid(*(np.linspace(0, 255, shades) for shades in _CUBE), indexing="ij")
    cube = np.stack([grid.reshape(-1) for grid in grids], axis=1)
    table[: len(cube)] = np.floor(cube + 0.5)
    return table


def _animate(single: list[bytes], frame_time: float) -> bytes:
    """Splice GIFs with one and the same global colour table into an animation (GIF89a 15-26)."""
    head = 13 + 3 * 256
    delay = struct.pack("<H", min(max(round(frame_time / 10), 2), 0xFFFF))
    control = b"\x21\xf9\x04\x04" + delay + b"\x00\x00"
    forever = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
    parts = [b"GIF89a", single[0][6:head], forever]
    for one in single:
        parts += [control, one[head:-1]]
    return b"".join([*parts, b"\x3b"])
