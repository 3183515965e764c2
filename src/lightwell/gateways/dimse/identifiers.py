"""Identifiers of C-FIND, C-MOVE and C-GET: from bytes to keys, from DICOM JSON to bytes.

A response is written in the character sets of its request when they can hold it, else in ISO_IR 192
(PS3.4 C.4.1.1.3, standards 1.6); its Specific Character Set says which, whether it was asked for or
not, because peers that must guess guess wrong.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lightwell.dicom import charsets as cs
from lightwell.dicom import tags
from lightwell.dicom.encode import ElementEncoder, framed
from lightwell.dicom.errors import DicomError
from lightwell.dicom.header import DataSet, Element, Header
from lightwell.dicom.scanner import scan_data_set
from lightwell.dicom.uids import syntax_of
from lightwell.dicom.vrs import BINARY, Encoding
from lightwell.domain.archive.model import Attributes, Level
from lightwell.domain.archive.query_building import Key
from lightwell.kernel.errors import Invalid

LEVELS: Final[Mapping[str, Level]] = {
    "PATIENT": Level.PATIENT,
    "STUDY": Level.STUDY,
    "SERIES": Level.SERIES,
    "IMAGE": Level.INSTANCE,
}
LEVEL_NAMES: Final = {level: name for name, level in LEVELS.items()}

UNIQUE_KEYS: Final[Mapping[Level, int]] = {
    Level.PATIENT: tags.PatientID,
    Level.STUDY: tags.StudyInstanceUID,
    Level.SERIES: tags.SeriesInstanceUID,
    Level.INSTANCE: tags.SOPInstanceUID,
}

_DEPTH_LIMIT: Final = 8
_NO_KEYS: Final = frozenset({tags.SpecificCharacterSet, tags.QueryRetrieveLevel})


@dataclass(frozen=True, slots=True)
class Identifier:
    """A request's identifier: its level, and its data set."""

    level: Level
    header: Header

    @property
    def charsets(self) -> tuple[str, ...]:
        """The request's Specific Character Set."""
        return self.header.charsets

    def uids(self, tag: int) -> tuple[str, ...]:
        """The values of a UID key; () when it is absent, empty or universal."""
        return tuple(uid for uid in self.header.strings(tag) if uid != "*")

    def text(self, tag: int) -> str:
        """The first value of a key, "" when it is absent or empty."""
        return self.header.text(tag) or ""

    def search_keys(self) -> Iterator[Key]:
        """Every key by its path of tags, as `build_query` wants them. Raises Invalid."""
        return _keys(self.header, ())

    def tags(self) -> tuple[int, ...]:
        """The top-level keys, whose attributes a response returns."""
        return tuple(
            tag
            for tag in self.header.index
            if tag not in _NO_KEYS and tag & 0xFFFF and tag >> 16 >= 8
        )


def read_identifier(raw: bytes, transfer_syntax: str, levels: frozenset[Level]) -> Identifier:
    """The identifier in a request's data set. Raises Invalid (DicomError is one by kind)."""
    try:
        header = scan_data_set(raw, syntax_of(transfer_syntax))
        name = header.text(tags.QueryRetrieveLevel) or ""
    except DicomError as error:
        raise Invalid("The identifier cannot be read.", remedy="Send a valid data set.") from error
    level = LEVELS.get(name)
    if level is None or level not in levels:
        known = ", ".join(LEVEL_NAMES[one] for one in levels)
        raise Invalid(
            "The Query/Retrieve Level is not one of this model.", remedy=f"It may be {known}."
        )
    return Identifier(level, header)


def _keys(data_set: DataSet, path: tuple[int, ...]) -> Iterator[Key]:
    if len(path) >= _DEPTH_LIMIT:
        raise Invalid("The identifier's sequences are nested too deep.")
    for element in data_set.elements:
        tag = element.tag
        if tag & 0xFFFF == 0 or (not path and tag in _NO_KEYS):
            continue
        if element.vr != "SQ":
            yield (*path, tag), element.vr, _text(element)
            continue
        items = element.items
        if len(items) > 1:
            raise Invalid(
                f"The sequence key {tags.show_tag(tag)} has more than one item.",
                remedy="A sequence key has one item (PS3.4 C.2.2.2.6).",
            )
        yield (*path, tag), "SQ", ""
        for item in items:
            yield from _keys(item, (*path, tag))


def _text(element: Element) -> str | list[str]:
    """A key's values as texts; what cannot be searched by its VR is named and left to the room."""
    if not element.length:
        return ""
    if element.vr in BINARY:
        return element.raw.decode("latin-1")
    if element.vr == "AT":
        return [f"{tag:08X}" for tag in element.owner.tags(element.tag)]
    return element.owner.texts(element.tag)


# ---- responses -----------------------------------------------------------------------------------


def write_identifier(
    attributes: Attributes, transfer_syntax: str, charsets: tuple[str, ...] = ()
) -> bytes:
    """A data set in an uncompressed (or the deflated) transfer syntax, its texts in *charsets*.

    An attribute that cannot be encoded goes out empty.
    """
    syntax = syntax_of(transfer_syntax)
    fits = not cs.unknown_terms(charsets)
    body = b""
    if fits:
        body, fits = _encode(attributes, syntax.encoding, charsets)
    if not fits:
        charsets = (cs.UTF8,)
        body, _ = _encode(attributes, syntax.encoding, charsets)
    if charsets:
        names = "\\".join(charsets).encode("latin-1")
        body = framed(tags.SpecificCharacterSet, "CS", names, syntax.encoding) + body
    return _deflated(body) if syntax.deflated else body


def _deflated(body: bytes) -> bytes:
    """As PS3.5 section A.5 wants it: a bare RFC 1951 stream, padded to even length."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    raw = compressor.compress(body) + compressor.flush()
    return raw + b"\0" * (len(raw) % 2)


def _encode(
    attributes: Attributes, encoding: Encoding, charsets: tuple[str, ...]
) -> tuple[bytes, bool]:
    encoder = ElementEncoder(encoding=encoding, charsets=charsets)
    parts = [
        _element(encoder, int(key, 16), element)
        for key, element in sorted(attributes.items())
        if int(key, 16) != tags.SpecificCharacterSet
    ]
    return b"".join(parts), encoder.fits


def _element(encoder: ElementEncoder, tag: int, element: Mapping[str, Any]) -> bytes:
    try:
        return encoder.element(tag, element)
    except DicomError:
        # A recorded value that its VR cannot hold. Leaving the whole match out would hide an image.
        return encoder.element(tag, {"vr": element.get("vr", "UN")})
