"""DICOM JSON (PS3.18 F) of one object -> what the decoder and the renderer need to know.

Runs in the serving process on parsed metadata and touches no pixels. Per-frame functional groups
(PS3.3 C.7.6.16) win over shared ones, and those over the top level, each attribute on its own.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.backends.codecs.luts import expand_segments
from lightwell.backends.codecs.pixels import (
    ImageDescription,
    Lut,
    Palette,
    PixelDescription,
    Window,
)

Json = Mapping[str, Any]
#: Fetches the value behind a BulkDataURI (lookup tables may lie there).
Bulk = Callable[[str], bytes]

_SHARED = "52009229"
_PER_FRAME = "52009230"
_PIXEL_VALUE_TRANSFORMATION = "00289145"
_FRAME_VOI_LUT = "00289132"
_PIXEL_MEASURES = "00289110"
_FUNCTIONS = frozenset({"LINEAR", "LINEAR_EXACT", "SIGMOID"})
_MAX_LUT = 65_536


def describe(
    dicom_json: Json, transfer_syntax: str, *, frame: int = 1, bulk: Bulk | None = None
) -> ImageDescription:
    """Describe frame `frame` (from 1) of an object.

    `transfer_syntax` is that of the frame bytes which will be handed to the decoder. Values that no
    display can use (a window of width 0, a spacing of NaN) count as absent. Raises DecodeFailed when
    a lookup table is broken, DecodeRefused when it lies in bulk data and `bulk` is None.
    """
    pixels = describe_pixels(dicom_json, transfer_syntax)
    groups = _frame_groups(dicom_json, frame)
    transform = _first(groups, _PIXEL_VALUE_TRANSFORMATION, dicom_json)
    voi = _first(groups, _FRAME_VOI_LUT, dicom_json)
    measures = _first(groups, _PIXEL_MEASURES, dicom_json)
    grey = pixels.samples == 1 and pixels.photometric != "PALETTE COLOR"
    modality = _lut_item(dicom_json, "00283000", pixels.signed, bulk) if grey else None
    slope, intercept = _float(transform, "00281053"), _float(transform, "00281052")
    return ImageDescription(
        pixels=pixels,
        slope=slope if slope and grey else 1.0,
        intercept=intercept or 0.0 if grey else 0.0,
        modality_lut=modality,
        window=_window(voi) if grey else None,
        # VOI LUTs are entered with modality values, which can be negative whatever the samples are.
        voi_lut=_lut_item(dicom_json, "00283010", True, bulk) if grey else None,
        presentation_shape=_text(dicom_json, "20500020"),
        padding=_padding(dicom_json, pixels) if grey else None,
        palette=_palette(dicom_json, bulk) if pixels.photometric == "PALETTE COLOR" else None,
        aspect=_aspect(dicom_json, measures),
    )


def describe_pixels(dicom_json: Json, transfer_syntax: str) -> PixelDescription:
    """The Image Pixel module alone, enough to decode frames without showing them."""
    real = {"7FE00008": ("OF", 32), "7FE00009": ("OD", 64)}
    vr, bits = next((real[tag] for tag in real if tag in dicom_json), ("", 16))
    allocated = _int(dicom_json, "00280100") or bits
    stored = allocated if vr else _int(dicom_json, "00280101") or allocated
    high = allocated - 1 if vr else _int(dicom_json, "00280102")
    return PixelDescription(
        transfer_syntax=transfer_syntax,
        rows=_int(dicom_json, "00280010") or 0,
        columns=_int(dicom_json, "00280011") or 0,
        samples=_int(dicom_json, "00280002") or 1,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if high is None else high,
        signed=_int(dicom_json, "00280103") == 1,
        photometric=_text(dicom_json, "00280004") or "MONOCHROME2",
        planar_configuration=_int(dicom_json, "00280006") or 0,
        frames=max(_int(dicom_json, "00280008") or 1, 1),
        vr=vr or str(dicom_json.get("7FE00010", {}).get("vr") or "OW"),
    )


def _frame_groups(dicom_json: Json, frame: int) -> list[Json]:
    """The functional groups of this frame, then the shared ones."""
    found: list[Json] = []
    per_frame = _values(dicom_json, _PER_FRAME)
    if 0 < frame <= len(per_frame) and isinstance(per_frame[frame - 1], Mapping):
        found.append(per_frame[frame - 1])
    found.extend(item for item in _values(dicom_json, _SHARED)[:1] if isinstance(item, Mapping))
    return found


def _first(groups: Sequence[Json], macro: str, otherwise: Json) -> Json:
    for group in groups:
        items = _values(group, macro)
        if items and isinstance(items[0], Mapping):
            return items[0]
    return otherwise


def _values(item: Json, tag: str) -> Sequence[Any]:
    value = item.get(tag, {}).get("Value")
    return value if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    """JSON number, or a string where PS3.18 F.2.2 lets numbers be strings; NaN and Inf are none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _float(item: Json, tag: str) -> float | None:
    values = _values(item, tag)
    return _number(values[0]) if values else None


def _int(item: Json, tag: str) -> int | None:
    number = _float(item, tag)
    return int(number) if number is not None else None


def _text(item: Json, tag: str) -> str:
    values = _values(item, tag)
    return str(values[0]).strip() if values else ""


def _window(item: Json) -> Window | None:
    """The first window; None when it is absent or impossible for its function (C.11.2.1.2)."""
    center, width = _float(item, "00281050"), _float(item, "00281051")
    function = _text(item, "00281056").upper() or "LINEAR"
    if center is None or width is None or function not in _FUNCTIONS:
        return None
    if width < 1 if function == "LINEAR" else width <= 0:
        return None
    return Window(center, width, function)


def _padding(item: Json, pixels: PixelDescription) -> tuple[int, int] | None:
    """Pixel Padding Value to Range Limit, read with the sign of the samples (C.7.5.1.1.2)."""
    value, limit = _int(item, "00280120"), _int(item, "00280121")
    if value is None:
        return None
    ends = [_as_sample(end, pixels) for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _as_sample(value: int, pixels: PixelDescription) -> int:
    """US and SS are easily confused in these attributes: take the bits, apply the right sign."""
    if pixels.bits_allocated > 16:
        return value
    word = value & 0xFFFF
    if pixels.signed:
        return word - 0x10000 if word & 0x8000 else word
    return word


def _aspect(item: Json, measures: Json) -> float:
    """Pixel height divided by width: PixelAspectRatio, else a spacing (PS3.3 C.7.6.3.1.7)."""
    sources = ((item, "00280034"), (measures, "00280030"), (item, "00181164"), (item, "00182010"))
    for source, tag in sources:
        numbers = [_number(value) for value in _values(source, tag)[:2]]
        if len(numbers) == 2 and all(number and number > 0 for number in numbers):
            high, wide = numbers
            ratio = (high or 1.0) / (wide or 1.0)
            return ratio if 1 / 64 <= ratio <= 64 else 1.0
    return 1.0


def _lut_item(item: Json, sequence: str, signed: bool, bulk: Bulk | None) -> Lut | None:
    """The first table of a LUT sequence; later items are the user's to choose (C.11.2.1.1)."""
    items = _values(item, sequence)
    if not items or not isinstance(items[0], Mapping):
        return None
    return _lut(items[0], "00283002", "00283006", None, signed, bulk)


def _palette(item: Json, bulk: Bulk | None) -> Palette:
    made = [_lut(item, f"0028110{n}", f"0028120{n}", f"0028122{n}", False, bulk) for n in (1, 2, 3)]
    red, green, blue = made
    if red is None or green is None or blue is None:
        raise DecodeFailed("A PALETTE COLOR image has no complete palette.")
    return Palette(red, green, blue)


def _lut(
    item: Json, descriptor: str, data: str, segmented: str | None, signed: bool, bulk: Bulk | None
) -> Lut | None:
    numbers = [_number(value) for value in _values(item, descriptor)]
    if len(numbers) != 3 or any(number is None for number in numbers):
        return None
    count, first, bits = (int(number or 0) for number in numbers)
    # 0 stands for 65536 entries, and is also what an overflow into a signed word would read as.
    count = (count & 0xFFFF) or _MAX_LUT
    bits = bits if 1 <= bits <= 16 else 16
    if signed:
        first = first - 0x10000 if first > 0x7FFF else first
    else:
        first &= 0xFFFF
    values = _table(item, data, count, bulk)
    if values is None and segmented is not None:
        words = _table(item, segmented, None, bulk)
        values = None if words is None else expand_segments(words, count)
    if values is None:
        return None
    if len(values) < count:
        raise DecodeFailed(f"A lookup table holds {len(values)} of {count} entries.")
    return Lut(first, bits, tuple(values[:count]))


def _table(item: Json, tag: str, count: int | None, bulk: Bulk | None) -> list[int] | None:
    """Entries of a table as numbers, inline bytes or bulk data, in 16- or 8-bit words."""
    element = item.get(tag)
    if not isinstance(element, Mapping):
        return None
    if isinstance(element.get("Value"), list):
        numbers = [_number(value) for value in element["Value"][: 4 * _MAX_LUT]]
        return [int(number or 0) & 0xFFFF for number in numbers]
    if "InlineBinary" in element:
        try:
            raw = base64.b64decode(element["InlineBinary"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise DecodeFailed("A lookup table is not valid base64.") from None
    elif "BulkDataURI" in element:
        if bulk is None:
            raise DecodeRefused("A lookup table lies in bulk data that was not handed over.")
        raw = bulk(str(element["BulkDataURI"]))
    else:
        return None
    raw = raw[: 8 * _MAX_LUT]
    if count is not None and len(raw) in (count, count + count % 2):
        return list(raw)  # 8-bit entries packed two a word (C.7.6.3.1.5)
    return list(struct.unpack(f"<{len(raw) // 2}H", raw[: len(raw) // 2 * 2]))
