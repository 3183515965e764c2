"""DICOM JSON elements to encoded elements (PS3.18 F.2, PS3.5 7).

One encoder serves STOW with JSON metadata, overlays and coercions. Input is hostile: wrong types and
impossible numbers raise `DicomError` naming the tag; nothing is silently mended that changes a value.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from lightwell.dicom import charsets as cs
from lightwell.dicom import tags
from lightwell.dicom.dictionary import vr_of
from lightwell.dicom.errors import DicomError, LimitExceeded
from lightwell.dicom.limits import DEFAULT, Limits
from lightwell.dicom.values import swap_words
from lightwell.dicom.vrs import (
    BINARY,
    EXPLICIT_LE,
    IMPLICIT_HEAD,
    ITEM,
    ITEM_END,
    KNOWN,
    NUMBER,
    SEQUENCE_END,
    SHORT_FORM,
    TEXT,
    UNDEFINED,
    WORD,
    Encoding,
    element_header,
    pad_byte,
)

Json = Mapping[str, Any]
Buffer = bytes | bytearray | memoryview
FetchBulk = Callable[[str], Buffer]

_NOT_FINITE = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
LONGEST_SHORT_VALUE = 0xFFFE


def item_header(length: int, *, little: bool = True) -> bytes:
    """An Item tag with a length, which may be `UNDEFINED`."""
    return IMPLICIT_HEAD[little].pack(ITEM >> 16, ITEM & 0xFFFF, length)


def item_end(*, little: bool = True) -> bytes:
    """Item Delimitation Item."""
    return IMPLICIT_HEAD[little].pack(ITEM_END >> 16, ITEM_END & 0xFFFF, 0)


def sequence_end(*, little: bool = True) -> bytes:
    """Sequence Delimitation Item."""
    return IMPLICIT_HEAD[little].pack(SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)


def framed(tag: int, vr: str, value: bytes, encoding: Encoding = EXPLICIT_LE) -> bytes:
    """A whole element, padded to even length. What a 16-bit length cannot hold goes as UN (PS3.5
    6.2.2), whose bytes are the same in little endian."""
    if len(value) % 2:
        value += pad_byte(vr)
    if len(value) > LONGEST_SHORT_VALUE and vr in SHORT_FORM and not encoding.implicit:
        if not encoding.little and vr in WORD:
            value = swap_words(value, WORD[vr])
        vr = "UN"
    return element_header(tag, vr, len(value), encoding) + value


def encapsulate(fragments: Iterable[Buffer]) -> Iterator[bytes]:
    """Encapsulated pixel data, element header included, with an empty Basic Offset Table (PS3.5 A.4).

    Each fragment must be one whole frame where the object has several, so that they can be told apart.
    """
    yield element_header(tags.PixelData, "OB", UNDEFINED) + item_header(0)
    for fragment in fragments:
        odd = len(fragment) % 2
        yield item_header(len(fragment) + odd)
        yield bytes(fragment)
        if odd:
            yield b"\0"
    yield sequence_end()


@dataclass(slots=True)
class ElementEncoder:
    """Encodes JSON elements in one encoding and under one character set.

    `fits` turns False when a text did not fit the character set; it was then encoded as UTF-8 and the
    caller must begin anew with ("ISO_IR 192",).
    """

    encoding: Encoding = EXPLICIT_LE
    charsets: tuple[str, ...] = (cs.UTF8,)
    bulk: FetchBulk | None = None
    limits: Limits = DEFAULT
    fits: bool = True
    _count: int = field(default=0, repr=False)

    def data_set(self, json: Json, depth: int = 0) -> bytes:
        """The elements of one level in ascending order; group lengths, file meta and the character set
        attribute are left out. Raises DicomError."""
        if not isinstance(json, Mapping):
            raise DicomError("A DICOM JSON data set must be an object.")
        keyed = sorted(
            ((parse_key(key), element) for key, element in json.items()), key=itemgetter(0)
        )
        if len({tag for tag, _ in keyed}) < len(keyed):
            raise DicomError("An attribute is given twice.")
        return b"".join(
            self.element(tag, element, depth)
            for tag, element in keyed
            if tag & 0xFFFF and tag >> 16 not in (0, 2) and tag != tags.SpecificCharacterSet
        )

    def element(self, tag: int, element: Json, depth: int = 0) -> bytes:
        """One whole element. Raises DicomError when it cannot be encoded, LimitExceeded."""
        self._count += 1
        if self._count > self.limits.elements:
            raise LimitExceeded(f"More than {self.limits.elements} elements in one data set.")
        if not isinstance(element, Mapping):
            raise DicomError(f"{tags.show_tag(tag)} is not a DICOM JSON element.")
        vr = element.get("vr")
        if vr is None:
            vr = vr_of(tag)
        if not isinstance(vr, str) or vr not in KNOWN:
            raise DicomError(f"{tags.show_tag(tag)} has a VR that does not exist.")
        if vr == "SQ":
            return self._sequence(tag, element.get("Value"), depth)
        try:
            return framed(tag, vr, self._value(vr, element), self.encoding)
        except (struct.error, TypeError, ValueError, OverflowError, AttributeError) as error:
            text = f"The value of {tags.show_tag(tag)} does not fit its VR {vr}."
            raise DicomError(text) from error

    def _sequence(self, tag: int, items: object, depth: int) -> bytes:
        if depth >= self.limits.depth:
            raise LimitExceeded(f"Sequences nested deeper than {self.limits.depth}.")
        if items is None:
            items = []
        if not isinstance(items, list):
            raise DicomError(f"The value of {tags.show_tag(tag)} is not a list of items.")
        little = self.encoding.little
        body = bytearray()
        for item in items:
            content = self.data_set({} if item is None else item, depth + 1)
            body += item_header(len(content), little=little) + content
        return element_header(tag, "SQ", len(body), self.encoding) + bytes(body)

    def _value(self, vr: str, element: Json) -> bytes:
        if "BulkDataURI" in element:
            if self.bulk is None:
                raise ValueError("no bulk data here")
            return self._ordered(vr, bytes(self.bulk(element["BulkDataURI"])))
        if "InlineBinary" in element:
            return self._ordered(vr, _base64(element["InlineBinary"]))
        values = element.get("Value")
        if values is None:
            return b""
        if not isinstance(values, list):
            raise TypeError("Value is not a list")
        if vr in NUMBER:
            return self._numbers(vr, values)
        if vr == "AT":
            return b"".join(self._tag(str(value)) for value in values)
        if vr in BINARY:
            raise TypeError("binary values come as InlineBinary or BulkDataURI")
        return self._text(vr, "\\".join(_as_text(vr, value) for value in values))

    def _ordered(self, vr: str, raw: bytes) -> bytes:
        """Little endian bytes (PS3.18 F.2.7) in the byte order of the target."""
        if self.encoding.little or vr not in WORD:
            return raw
        return swap_words(raw, WORD[vr])

    def _numbers(self, vr: str, values: list[Any]) -> bytes:
        convert: Callable[[Any], Any] = _real if vr in ("FL", "FD") else _whole
        order = self.encoding.order
        return struct.pack(f"{order}{len(values)}{NUMBER[vr]}", *map(convert, values))

    def _tag(self, text: str) -> bytes:
        tag = tags.tag_of(text)
        return struct.pack(f"{self.encoding.order}2H", tag >> 16, tag & 0xFFFF)

    def _text(self, vr: str, text: str) -> bytes:
        if vr not in TEXT:
            return text.encode("latin-1")
        encoded = cs.encode_text(text, self.charsets, vr)
        if encoded.charsets != self.charsets:
            self.fits = False
        return encoded.raw


def parse_key(key: str) -> int:
    """The tag of a JSON attribute name, which must be eight hexadecimal digits. Raises DicomError."""
    if len(key) == 8:
        try:
            return int(key, 16) if key.isalnum() else _no_key()
        except ValueError:
            _no_key()
    return _no_key()


def _no_key() -> int:
    raise DicomError("A DICOM JSON attribute is named by eight hexadecimal digits.")


def _base64(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError("InlineBinary is not a text")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("InlineBinary is not base64") from error


def _whole(value: object) -> int:
    if isinstance(value, bool):
        raise TypeError("a truth value is no number")
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("not a whole number")
    return int(value)  # type: ignore[call-overload,no-any-return]


def _real(value: object) -> float:
    if isinstance(value, bool):
        raise TypeError("a truth value is no number")
    if isinstance(value, str):
        return float(_NOT_FINITE.get(value, value))
    return float(value)  # type: ignore[arg-type]


def _as_text(vr: str, value: object) -> str:
    """One value of a textual VR; None is an empty one."""
    if value is None:
        return ""
    if vr == "PN" and isinstance(value, Mapping):
        groups = [str(value.get(name) or "") for name in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    if vr == "DS" and isinstance(value, float):
        return decimal_string(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError("not a text or number")
    if vr == "IS" and isinstance(value, float):
        return str(_whole(value))
    return str(value)


def decimal_string(value: float) -> str:
    """A float as DS: at most 16 characters (PS3.5 6.2), as exact as these allow."""
    text = repr(value)
    if text in ("nan", "inf", "-inf"):
        raise ValueError("DS holds finite numbers only")
    text = text.removesuffix(".0")
    digits = 16
    while len(text) > 16:
        digits -= 1
        text = f"{value:.{digits}g}"
    return text
