"""A small DICOM writer for test objects, independent of `lightwell.dicom` on purpose.

The parser under test must not be judged by objects that its own writer made. This module writes
data sets from keyword dictionaries in every native transfer syntax (PS3.5 section 7 and annex A)
and Part 10 files around them (PS3.10 section 7). It trusts its caller: values are written as given,
so that tests can also make objects that break the rules (`bytes` are written raw under any VR).
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydicom.datadict

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.201"
HTJ2K_RPCL = "1.2.840.10008.1.2.4.202"
JPEG_XL = "1.2.840.10008.1.2.4.110"
RLE = "1.2.840.10008.1.2.5"

NATIVE = frozenset({IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED})

#: (0002,0012) of everything the test builders write.
IMPLEMENTATION_CLASS_UID = "2.25.318205946087423958714421870946532170215"
IMPLEMENTATION_VERSION = "LIGHTWELL_TEST"

PIXEL_DATA = 0x7FE00010
UNDEFINED = 0xFFFFFFFF

#: VR and value. A value is text, a number, raw bytes, a list of those, or a list of data sets (SQ).
Element = tuple[str, object]
#: Attributes by keyword of PS3.6 (a value, None = absent) or by tag (a `(vr, value)` pair).
Attributes = Mapping[Any, object]
#: Elements by tag, e.g. `{0x00100020: ("LO", "4711")}`.
Dataset = dict[int, Element]

_LONG_VRS = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
_PACK = {
    "US": "H",
    "SS": "h",
    "UL": "I",
    "SL": "i",
    "FL": "f",
    "FD": "d",
    "SV": "q",
    "UV": "Q",
}
#: Bytes per word that Explicit Big Endian swaps (PS3.5 7.3).
_WORD = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}
_CODECS = {
    "": "ascii",
    "ISO_IR 6": "ascii",
    "ISO_IR 100": "latin_1",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 127": "iso8859_6",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 148": "iso8859_9",
    "ISO_IR 13": "shift_jis",
    "ISO_IR 166": "iso8859_11",
    "ISO_IR 192": "utf_8",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
_LOCALISED = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})


@functools.cache
def tag_and_vr(keyword: str) -> tuple[int, str]:
    """Tag and VR of an attribute keyword of PS3.6; the first VR where the table gives several."""
    tag = pydicom.datadict.tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(f"{keyword} is not a keyword of PS3.6")
    return int(tag), str(pydicom.datadict.dictionary_VR(tag)).split(" or ")[0]


def elements(attributes: Attributes) -> Dataset:
    """Turn keywords (or tags with explicit `(vr, value)`) into a data set; None leaves one out."""
    made: Dataset = {}
    for key, value in attributes.items():
        if value is None:
            continue
        if isinstance(key, int):
            if not (isinstance(value, tuple) and len(value) == 2):
                raise TypeError(f"tag {key:08X} needs a (vr, value) pair")
            made[key] = (str(value[0]), value[1])
            continue
        tag, vr = tag_and_vr(key)
        if vr == "SQ":
            if not isinstance(value, Sequence):
                raise TypeError(f"{key} needs a list of items")
            value = [item if _is_dataset(item) else elements(item) for item in value]
        made[tag] = (vr, value)
    return made


def _is_dataset(item: object) -> bool:
    return isinstance(item, dict) and all(
        isinstance(k, int) and isinstance(v, tuple) for k, v in item.items()
    )


@dataclass(frozen=True)
class Form:
    """How a native transfer syntax lays out elements."""

    implicit: bool = False
    order: str = "<"
    #: Write sequences and items with undefined length and delimiters (PS3.5 7.5).
    undefined_lengths: bool = False

    @classmethod
    def of(cls, syntax: str, *, undefined_lengths: bool = False) -> Form:
        return cls(syntax == IMPLICIT_LE, ">" if syntax == EXPLICIT_BE else "<", undefined_lengths)


def encode(dataset: Dataset, form: Form) -> bytes:
    """The bytes of a data set, in ascending tag order."""
    charset = dataset.get(0x00080005, ("CS", ""))[1]
    codec = _CODECS.get(charset if isinstance(charset, str) else "ISO_IR 192", "utf_8")
    return _encode(dataset, form, codec)


def _encode(dataset: Dataset, form: Form, codec: str) -> bytes:
    return b"".join(
        _encode_element(tag, vr, value, form, codec) for tag, (vr, value) in sorted(dataset.items())
    )


def _encode_element(tag: int, vr: str, value: object, form: Form, codec: str) -> bytes:
    if vr == "SQ":
        if not isinstance(value, list):
            raise TypeError(f"{tag:08X}: a sequence is a list of data sets")
        body = b"".join(_item(_encode(item, form, codec), form) for item in value)
        if form.undefined_lengths:
            end = _tag(0xFFFEE0DD, form) + bytes(4)
            return element_head(tag, vr, UNDEFINED, form) + body + end
        return element_head(tag, vr, len(body), form) + body
    raw = encode_value(vr, value, form, codec)
    return element_head(tag, vr, len(raw), form) + raw


def _item(body: bytes, form: Form) -> bytes:
    if form.undefined_lengths:
        end = _tag(0xFFFEE00D, form) + bytes(4)
        return _tag(0xFFFEE000, form) + struct.pack(form.order + "I", UNDEFINED) + body + end
    return _tag(0xFFFEE000, form) + struct.pack(form.order + "I", len(body)) + body


def _tag(tag: int, form: Form) -> bytes:
    return struct.pack(form.order + "HH", tag >> 16, tag & 0xFFFF)


def element_head(tag: int, vr: str, length: int, form: Form) -> bytes:
    """Tag, VR and length field of one element (PS3.5 7.1.2 and 7.1.3)."""
    head = _tag(tag, form)
    if form.implicit:
        return head + struct.pack("<I", length)
    if vr in _LONG_VRS:
        return head + vr.encode("ascii") + bytes(2) + struct.pack(form.order + "I", length)
    if length > 0xFFFF:
        raise ValueError(f"{tag:08X}: {length} bytes do not fit a {vr} value")
    return head + vr.encode("ascii") + struct.pack(form.order + "H", length)


def encode_value(vr: str, value: object, form: Form, codec: str = "ascii") -> bytes:
    """The value field, padded to even length (PS3.5 6.2)."""
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        word = _WORD.get(vr)
        if form.order == ">" and word:
            raw = swap_words(raw, word)
        return raw + (b"" if len(raw) % 2 == 0 else b"\0" if vr in {"OB", "UN", "UI"} else b" ")
    several: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    if vr in _PACK:
        return struct.pack(form.order + _PACK[vr] * len(several), *several)
    if vr == "AT":
        return b"".join(_tag(int(one), form) for one in several)
    text = "\\".join(_text(vr, one) for one in several)
    raw = text.encode(codec if vr in _LOCALISED else "ascii")
    return raw + (b"" if len(raw) % 2 == 0 else b"\0" if vr == "UI" else b" ")


def _text(vr: str, value: object) -> str:
    if value is None:
        return ""
    if vr == "DS" and isinstance(value, float):
        return decimal_string(value)
    return str(value)


def decimal_string(value: float) -> str:
    """A DS of at most 16 characters (PS3.5 6.2)."""
    for digits in range(15, 4, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(f"{value} does not fit a decimal string")


def swap_words(raw: bytes, size: int) -> bytes:
    """Reverse the bytes of every whole word of `size` bytes; a rest stays as it is."""
    whole = len(raw) // size * size
    swapped = bytearray(raw[:whole])
    for at in range(size // 2):
        mirror = size - 1 - at
        swapped[at::size], swapped[mirror::size] = raw[mirror:whole:size], raw[at:whole:size]
    return bytes(swapped) + raw[whole:]


def encode_for_syntax(dataset: Dataset, syntax: str, *, undefined_lengths: bool = False) -> bytes:
    """The data set as it lies in a file of this syntax: deflated where the syntax says so."""
    raw = encode(dataset, Form.of(syntax, undefined_lengths=undefined_lengths))
    if syntax != DEFLATED:
        return raw
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(raw) + packer.flush()
    return packed + (b"" if len(packed) % 2 == 0 else b"\0")


def file_meta(sop_class: str, sop_instance: str, syntax: str) -> bytes:
    """Preamble, DICM and group 0002 (PS3.10 7.1)."""
    form = Form()
    body = encode(
        elements(
            {
                "FileMetaInformationVersion": b"\x00\x01",
                "MediaStorageSOPClassUID": sop_class,
                "MediaStorageSOPInstanceUID": sop_instance,
                "TransferSyntaxUID": syntax,
                "ImplementationClassUID": IMPLEMENTATION_CLASS_UID,
                "ImplementationVersionName": IMPLEMENTATION_VERSION,
            }
        ),
        form,
    )
    group_length = encode({0x00020000: ("UL", len(body))}, form)
    return bytes(128) + b"DICM" + group_length + body


def encapsulate(frames: Iterable[bytes], *, offset_table: bool = True) -> bytes:
    """The value of encapsulated Pixel Data: offset table, one fragment a frame, delimiter (A.4)."""
    form = Form()
    padded = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    offsets: list[int] = []
    at = 0
    for frame in padded:
        offsets.append(at)
        at += len(frame) + 8
    table = struct.pack(f"<{len(offsets)}I", *offsets) if offset_table else b""
    parts = [_item(table, form)]
    parts.extend(_item(frame, form) for frame in padded)
    parts.append(_tag(0xFFFEE0DD, form) + bytes(4))
    return b"".join(parts)


def encapsulated_pixel_element(frames: Iterable[bytes], *, offset_table: bool = True) -> bytes:
    """The whole Pixel Data element of a compressed object: OB, undefined length."""
    head = element_head(PIXEL_DATA, "OB", UNDEFINED, Form())
    return head + encapsulate(frames, offset_table=offset_table)
