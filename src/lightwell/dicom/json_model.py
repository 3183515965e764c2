"""DICOM JSON, out and in (PS3.18 Annex F).

What goes out is strict JSON: non-finite floats are the texts "NaN", "Infinity", "-Infinity"; a DS or IS
that is no number stays the text that was sent; SV and UV beyond 2^53 are texts; `null` stands only
inside multi-valued attributes. File meta, group lengths and padding are left out, and Specific
Character Set says ISO_IR 192, since JSON is UTF-8.

A `BulkDataURI` path is the attribute path of PS3.18 10.4.1.1.5: `7FE00010`, or nested
`00480105/1/00282000` with items numbered from 1.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lightwell.dicom import charsets as cs
from lightwell.dicom import tags
from lightwell.dicom.encode import ElementEncoder, FetchBulk, Json, framed, parse_key
from lightwell.dicom.errors import DicomError, LimitExceeded
from lightwell.dicom.header import DataSet, Element, Header
from lightwell.dicom.limits import DEFAULT, Limits
from lightwell.dicom.values import (
    Number,
    PersonName,
    decimal,
    decode_numbers,
    decode_strings,
    decode_tags,
    integer,
    swap_words,
)
from lightwell.dicom.vrs import BINARY, EXPLICIT_LE, WORD
from lightwell.dicom.walk import Row

BulkUri = Callable[[str], str]

INLINE_LIMIT = 1024  # bytes of a binary value kept inline
NUMBER_LIMIT = 65536  # bytes of a numeric value (LUT, vectors) kept as numbers: viewers read them
_EXACT = 1 << 53  # beyond this a JSON number is not exact in every reader


def header_to_json(
    header: DataSet,
    *,
    bulk: BulkUri | None = None,
    inline_limit: int = INLINE_LIMIT,
    number_limit: int = NUMBER_LIMIT,
    private: bool = True,
) -> dict[str, Any]:
    """The DICOM JSON model of a header.

    `bulk` makes the URI for an attribute path; without it every value that is in the header goes inline
    and pixel data are left out. Raises LimitExceeded for sequences nested too deep.
    """
    writer = _Writer(bulk, inline_limit, number_limit, private)
    out = writer.data_set(header, "")
    if isinstance(header, Header) and bulk is not None:
        out |= bulk_to_json(header, bulk)
    return out


def rows_to_json(header: DataSet, rows: Iterable[Row], bulk: BulkUri) -> dict[str, Any]:
    """The part of `header_to_json` that these top-level rows make; some make none (group lengths)."""
    return _Writer(bulk, INLINE_LIMIT, NUMBER_LIMIT, True).data_set(header, "", rows)


def bulk_to_json(header: Header, bulk: BulkUri) -> dict[str, Any]:
    """The part of `header_to_json` that the pixel data, or a long value that ended the header, make."""
    out: dict[str, Any] = {}
    if header.pixel_tag is not None:
        name = tags.hex_tag(header.pixel_tag)
        out[name] = {"vr": header.pixel_vr, "BulkDataURI": bulk(name)}
    if header.bulk is not None:
        name = tags.hex_tag(header.bulk[0])
        out[name] = {"vr": header.bulk[1], "BulkDataURI": bulk(name)}
    return out


def selected_to_json(header: DataSet, wanted: Iterable[int]) -> dict[str, Any]:
    """The DICOM JSON of some top-level attributes, those that are present; every value inline."""
    rows = [row for tag in wanted if (row := header.index.get(tag)) is not None]
    return _Writer(None, INLINE_LIMIT, NUMBER_LIMIT, True).data_set(header, "", rows)


def dumps(model: object) -> bytes:
    """UTF-8 bytes of a JSON model, compact; refuses NaN (ValueError) because JSON has none."""
    return json.dumps(model, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


class _Writer:
    """One conversion: its options, and the VR table of what makes a JSON value."""

    def __init__(
        self, bulk: BulkUri | None, inline_limit: int, number_limit: int, private: bool
    ) -> None:
        self.bulk = bulk
        self.inline_limit = inline_limit if bulk is not None else math.inf
        self.number_limit = number_limit if bulk is not None else math.inf
        self.private = private
        self.budget = DEFAULT.json_values

    def data_set(
        self, data_set: DataSet, path: str, rows: Iterable[Row] | None = None
    ) -> dict[str, Any]:
        """One level, or only these rows of it. `path` ends with `/` or is empty."""
        if data_set.depth > DEFAULT.depth:
            raise LimitExceeded(f"Sequences nested deeper than {DEFAULT.depth}.")
        out: dict[str, Any] = {}
        data = data_set.data
        charsets, little = data_set.charsets, data_set.node.encoding.little
        for row in data_set.index.values() if rows is None else rows:
            tag, vr, _start, offset, length = row
            if tag & 0xFFFF == 0 or tag >> 16 in (0, 2) or tag == tags.DataSetTrailingPadding:
                continue
            if not self.private and (tag >> 16) & 1:
                continue
            name = f"{tag:08X}"
            if tag == tags.SpecificCharacterSet:
                out[name] = {"vr": "CS", "Value": [cs.UTF8]}
                continue
            if vr == "UN" or len(vr) != 2:
                little_here = True if vr == "UN" else little
                vr = data_set.effective_vr(row)
            else:
                little_here = little
            if vr == "SQ":
                out[name] = self._sequence(data_set, row, f"{path}{name}/")
            elif not length:
                out[name] = {"vr": vr}
            else:
                raw = data[offset : offset + length]
                self._count(1 + (raw.count(b"\\") if length > 1000 else 0))
                convert = _CONVERT.get(vr)
                if convert is not None:
                    values = convert(raw, vr, charsets)
                    out[name] = {"vr": vr, "Value": values} if values else {"vr": vr}
                else:
                    out[name] = self._machine(raw, vr, path + name, little_here)
        return out

    def _count(self, values: int) -> None:
        """Count values before they are made: small ones cost far more than their bytes."""
        self.budget -= values
        if self.budget < 0:
            raise LimitExceeded(f"More than {DEFAULT.json_values} values in one data set.")

    def _sequence(
        self, data_set: DataSet, row: tuple[int, str, int, int, int], path: str
    ) -> dict[str, Any]:
        items = data_set.items_of(Element(data_set, row))
        if items:
            values = [self.data_set(item, f"{path}{n}/") for n, item in enumerate(items, 1)]
            return {"vr": "SQ", "Value": values}
        if row[4] and row[1] != "SQ":  # a sequence by the dictionary only, and not readable as one
            raw = data_set.data[row[3] : row[3] + row[4]]
            return self._machine(raw, "UN", path[:-1], True)
        return {"vr": "SQ"}

    def _machine(self, raw: bytes, vr: str, path: str, little: bool) -> dict[str, Any]:
        """Numbers, tags and binary values."""
        if vr in BINARY:
            if self.bulk is not None and len(raw) > self.inline_limit:
                return {"vr": vr, "BulkDataURI": self.bulk(path)}
            if not little and vr in WORD:
                raw = swap_words(raw, WORD[vr])
            return {"vr": vr, "InlineBinary": b64encode(raw).decode("ascii")}
        if self.bulk is not None and len(raw) > self.number_limit and vr != "AT":
            return {"vr": vr, "BulkDataURI": self.bulk(path)}
        values: list[Any]
        if vr == "AT":
            values = [f"{tag:08X}" for tag in decode_tags(raw, little=little)]
        else:
            self._count(len(raw) // WORD[vr])
            values = decode_numbers(raw, vr, little=little)
            if vr in ("FL", "FD"):
                values = [_finite(value) for value in values]
            elif vr in ("SV", "UV"):
                values = [value if abs(value) <= _EXACT else str(value) for value in values]
        return {"vr": vr, "Value": values} if values else {"vr": vr}


def _finite(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _texts(raw: bytes, vr: str, charsets: tuple[str, ...]) -> list[str | None]:
    return [text or None for text in decode_strings(raw, vr, charsets)]


def _names(raw: bytes, vr: str, charsets: tuple[str, ...]) -> list[dict[str, str] | None]:
    return [_name(text) for text in decode_strings(raw, vr, charsets)]


def _name(text: str) -> dict[str, str] | None:
    name = PersonName.parse(text)
    groups = {
        "Alphabetic": name.alphabetic,
        "Ideographic": name.ideographic,
        "Phonetic": name.phonetic,
    }
    return {key: group for key, group in groups.items() if group} or None


def _integers(raw: bytes, vr: str, charsets: tuple[str, ...]) -> list[int | str | None]:
    return [_integer(text) for text in decode_strings(raw, vr, charsets)]


def _integer(text: str) -> int | str | None:
    value = integer(text)
    return (text or None) if value is None or abs(value) > _EXACT else value


def _decimals(raw: bytes, vr: str, charsets: tuple[str, ...]) -> list[Number | str | None]:
    return [_decimal(text) for text in decode_strings(raw, vr, charsets)]


def _decimal(text: str) -> Number | str | None:
    value = decimal(text)
    if value is None:
        return text or None
    return int(value) if value % 1 == 0 and -_EXACT < value < _EXACT else value


_CONVERT: dict[str, Callable[[bytes, str, tuple[str, ...]], list[Any]]] = {
    **dict.fromkeys(
        ["AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"], _texts
    ),
    "PN": _names,
    "IS": _integers,
    "DS": _decimals,
}


@dataclass(frozen=True, slots=True)
class BulkValue:
    """Where a bulk value lies in the data set; `word` > 1 means big endian words of that size, to be
    swapped before they go out (DICOMweb is little endian)."""

    tag: int
    vr: str
    offset: int
    length: int
    word: int = 1


def find_bulk(header: Header, path: str) -> BulkValue | None:
    """The value that a `BulkDataURI` path names, None when there is none.

    Pixel data of undefined length are not answered here: they are fragments (`frames`).
    """
    parts = path.split("/")
    if len(parts) % 2 == 0 or len(parts) > 2 * DEFAULT.depth + 1:
        return None
    try:
        steps = [parse_key(part) for part in parts[::2]]
    except DicomError:
        return None
    if not all(part.isdecimal() and len(part) <= 9 for part in parts[1::2]):
        return None
    data_set: DataSet = header
    for tag, number in zip(steps, map(int, parts[1::2]), strict=False):
        items = data_set.sequence(tag)
        if not 1 <= number <= len(items):
            return None
        data_set = items[number - 1]
    return _bulk_value(header, data_set, steps[-1])


def _bulk_value(header: Header, data_set: DataSet, tag: int) -> BulkValue | None:
    little = header.encoding.little
    if data_set is header and tag == header.pixel_tag and header.pixel_length is not None:
        vr, offset = header.pixel_vr or "OW", header.pixel_offset or 0
        return BulkValue(tag, vr, offset, header.pixel_length, 1 if little else WORD.get(vr, 1))
    if data_set is header and header.bulk is not None and tag == header.bulk[0]:
        _tag, vr, _start, offset, length = header.bulk
        return BulkValue(tag, vr, offset, length, 1 if little else WORD.get(vr, 1))
    element = data_set.get(tag)
    if element is None or element.vr == "SQ" or not element.length:
        return None
    word = 1 if element.little or element.vr not in WORD else WORD[element.vr]
    return BulkValue(tag, element.vr, element.offset, element.length, word)


def json_to_dataset_bytes(
    model: Json, bulk: FetchBulk | None = None, *, limits: Limits = DEFAULT
) -> bytes:
    """A DICOM JSON data set as Explicit VR Little Endian bytes, texts in ISO_IR 192.

    `bulk` fetches the bytes of a `BulkDataURI`; without it such an element raises. Specific Character Set
    is written when the model has it or a text needs it. Raises DicomError.
    """
    encoder = ElementEncoder(encoding=EXPLICIT_LE, charsets=(cs.UTF8,), bulk=bulk, limits=limits)
    body = encoder.data_set(model)
    needed = "00080005" in model or not _texts_are_ascii(model)
    if not needed:
        return body
    head = framed(tags.SpecificCharacterSet, "CS", cs.UTF8.encode())
    first = encoder.data_set({k: v for k, v in model.items() if parse_key(k) < 0x00080005})
    return first + head + body[len(first) :]


def _texts_are_ascii(model: object) -> bool:
    """Whether no text anywhere in the model needs a character set."""
    pending = [model]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            if not one.isascii():
                return False
        elif isinstance(one, dict):
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)
    return True
