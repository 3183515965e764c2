"""STOW-RS with metadata and bulk data apart (PS3.18 10.5.1.2, 10.5.2): DICOM JSON and its values.

One or more parts of `application/dicom+json` describe instances; every other part is a value, named by
its Content-Location as a BulkDataURI names it. Pixel data may come as codestreams, one part a frame:
the media type then says the transfer syntax. Attributes are taken as sent; nothing is derived from a
codestream. Kept in memory, hence small: large objects are sent as `application/dicom`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urljoin

import orjson

from lightwell.dicom.encode import encapsulate
from lightwell.dicom.errors import DicomError
from lightwell.dicom.json_model import json_to_dataset_bytes
from lightwell.dicom.uids import syntax_of
from lightwell.domain.archive.model import Announced
from lightwell.gateways.http.exchange import Exchange
from lightwell.gateways.http.problems import HttpProblem
from lightwell.kernel.errors import Invalid
from lightwell.wire.mediatypes import (
    DICOM_JSON,
    EXPLICIT_VR_LITTLE_ENDIAN,
    FRAME_TYPES,
    JSON,
    NEVER_SENT,
    MediaType,
    parse_media_type,
)
from lightwell.wire.multipart import (
    Event,
    Malformed,
    MultipartParser,
    PartBegin,
    PartData,
    boundary_of,
)

SIZE_LIMIT: Final = 64 * 1024 * 1024  # of one request
JSON_LIMIT: Final = 16 * 1024 * 1024
PIXEL_DATA: Final = "7FE00010"

Instance = Mapping[str, Any]


class BulkMissing(Invalid):
    """The metadata name a value that no part holds (failure reason A922 elsewhere in the field)."""


@dataclass(slots=True)
class Part:
    """A part held in memory."""

    kind: MediaType | None
    location: str
    data: bytearray = field(default_factory=bytearray)

    @property
    def is_metadata(self) -> bool:
        return self.kind is not None and self.kind.type in (DICOM_JSON, JSON)

    @property
    def syntax(self) -> str:
        """Transfer syntax of a value: as labelled, else the default of its media type."""
        if self.kind is None:
            return EXPLICIT_VR_LITTLE_ENDIAN
        named = self.kind.get("transfer-syntax")
        return named or FRAME_TYPES.get(self.kind.type, (EXPLICIT_VR_LITTLE_ENDIAN,))[0]


@dataclass(frozen=True, slots=True)
class Described:
    """An instance put together: what it is announced as, and its data set."""

    announced: Announced
    data_set: tuple[bytes, ...]


async def read_single(x: Exchange) -> list[Part]:
    """A body that is metadata alone."""
    data = await x.whole_body(JSON_LIMIT)
    return [Part(parse_media_type(DICOM_JSON), "", bytearray(data))]


async def read_parts(x: Exchange) -> list[Part]:
    """All parts of a multipart body. Raises MultipartError, HttpProblem 413."""
    parser = MultipartParser(boundary_of(x.header("content-type")))
    parts: list[Part] = []
    total = 0
    async for piece in x.body():
        total += len(piece)
        if total > SIZE_LIMIT:
            raise HttpProblem(
                413,
                f"Metadata with bulk data are taken up to {SIZE_LIMIT} bytes.",
                remedy="Send larger objects as application/dicom.",
            )
        _collect(parser.feed(piece), parts)
    _collect(parser.close(), parts)
    return parts


def _collect(events: list[Event], parts: list[Part]) -> None:
    for event in events:
        match event:
            case PartBegin():
                parts.append(Part(event.content_type, event.content_location or ""))
            case PartData(data):
                parts[-1].data += data
                if parts[-1].is_metadata and len(parts[-1].data) > JSON_LIMIT:
                    raise HttpProblem(413, f"The metadata are larger than {JSON_LIMIT} bytes.")


def instances_of(parts: list[Part]) -> Iterator[object]:
    """Every instance the metadata describe, as it stands there. Raises Malformed for broken JSON."""
    for part in parts:
        if not part.is_metadata:
            continue
        try:
            described = orjson.loads(bytes(part.data))
        except orjson.JSONDecodeError:
            raise Malformed("The metadata are not JSON.") from None
        yield from described if isinstance(described, list) else [described]


class Bulk:
    """The values of one request by their location; relative ones are seen from the request."""

    def __init__(self, parts: list[Part], base: str) -> None:
        self._base = base
        self._parts: dict[str, list[Part]] = {}
        for part in parts:
            if not part.is_metadata and part.location:
                self._parts.setdefault(urljoin(base, part.location), []).append(part)

    def parts(self, uri: object) -> list[Part]:
        """The parts at a BulkDataURI: several for the frames of compressed pixel data."""
        found = self._parts.get(urljoin(self._base, uri)) if isinstance(uri, str) else None
        if not found:
            raise BulkMissing("The metadata name a value that no part holds.")
        return found

    def value(self, uri: str) -> bytes:
        """One value whole."""
        return b"".join(bytes(part.data) for part in self.parts(uri))


def _uid(instance: Instance, tag: str) -> str:
    element = instance.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""


def assemble(instance: object, bulk: Bulk, *, source: str, study_uid: str | None) -> Described:
    """The data set of one described instance. Raises Invalid (BulkMissing, DicomError)."""
    if not isinstance(instance, dict):
        raise DicomError("A described instance must be an object.")
    model = {tag: element for tag, element in instance.items() if not tag.startswith("0002")}
    syntax, fragments = EXPLICIT_VR_LITTLE_ENDIAN, list[Part]()
    pixels = model.get(PIXEL_DATA)
    if isinstance(pixels, dict) and "BulkDataURI" in pixels:
        frames = bulk.parts(pixels["BulkDataURI"])
        syntax = frames[0].syntax
        if syntax in NEVER_SENT:
            raise DicomError("Pixel data in that transfer syntax are not taken over the web.")
        if syntax_of(syntax).encapsulated:
            fragments = frames
            model = {tag: element for tag, element in model.items() if tag < PIXEL_DATA}
    data_set = json_to_dataset_bytes(model, bulk.value)
    announced = Announced(
        sop_class=_uid(instance, "00080016"),
        sop_uid=_uid(instance, "00080018"),
        syntax=syntax if fragments else EXPLICIT_VR_LITTLE_ENDIAN,
        source=source,
        study_uid=study_uid,
    )
    if not fragments:
        return Described(announced, (data_set,))
    return Described(announced, (data_set, *encapsulate(part.data for part in fragments)))
