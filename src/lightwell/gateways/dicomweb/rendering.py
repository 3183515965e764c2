"""WADO-RS: rendered images and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from lightwell.domain.archive.errors import NoSuchFrame
from lightwell.domain.archive.model import Attributes, CoarseFrame, JSONElement, Located
from lightwell.gateways.dicomweb.frames import frame_numbers
from lightwell.gateways.dicomweb.pixels import stored_frame
from lightwell.gateways.dicomweb.ports import StoredFrame, WantedPicture
from lightwell.gateways.dicomweb.rendered_parameters import parse_rendered, parse_thumbnail
from lightwell.gateways.dicomweb.resources import Opened, Shelf, boundary_of, chosen
from lightwell.gateways.http.exchange import Exchange
from lightwell.gateways.http.problems import HttpProblem
from lightwell.kernel.errors import Invalid
from lightwell.kernel.remembering import Remembered
from lightwell.wire import multipart
from lightwell.wire.mediatypes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    Answer,
    ResourceCategory,
    negotiate,
)

RENDERED_LIMIT: Final = 500  # pictures of one request
THUMBNAIL_BYTES: Final = 16 * 1024 * 1024  # kept in a process: some thousands
# Lookup tables that may lie in bulk data: palettes, and the data of modality and VOI LUT items.
_TABLES: Final = frozenset(
    {"00281201", "00281202", "00281203", "00281221", "00281222", "00281223", "00283006"}
)
_LUT_SEQUENCES: Final = ("00283000", "00283010")


def table_uris(attributes: Attributes) -> Iterator[str]:
    """BulkDataURIs of the lookup tables that drawing needs."""
    items: list[dict[str, JSONElement]] = [attributes]
    for sequence in _LUT_SEQUENCES:
        items += (attributes.get(sequence) or {}).get("Value") or []
    for item in items:
        for tag in _TABLES & item.keys():
            if uri := item[tag].get("BulkDataURI"):
                yield uri


def annotation_lines(attributes: Attributes, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """What is burned in: who it is, how it was made (PS3.18 8.3.5.1.1)."""
    lines: list[str] = []
    if "patient" in kinds:
        lines += [_text(attributes, tag) for tag in ("00100010", "00100020", "00100030")]
    if "technique" in kinds:
        lines += [_text(attributes, tag) for tag in ("00080060", "00081030", "0008103E")]
    return tuple(line[:64] for line in lines if line)


def _text(attributes: Attributes, tag: str) -> str:
    values = (attributes.get(tag) or {}).get("Value") or [""]
    value = values[0]
    if isinstance(value, dict):
        value = value.get("Alphabetic") or next(iter(value.values()), "")
    return str(value if value is not None else "")


class Rendering:
    """Handlers of `…/rendered` and `…/thumbnail` at every level."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._thumbnails: Remembered[bytes] = Remembered(THUMBNAIL_BYTES)

    async def rendered(self, x: Exchange) -> None:
        """Draw the addressed images: one picture single-part, several as multipart."""
        opened = await self._shelf.open(x)
        pictures = await self._pictures(x, opened)
        answer: Answer = chosen(
            negotiate(
                ResourceCategory.RENDERED,
                x.accept,
                x.asked("accept"),
                single_item=len(pictures) == 1,
            )
        )
        wanted, kinds = parse_rendered(x.query, answer.media_type)
        etag = opened.etag("rendered", answer.media_type, repr(wanted), *kinds, repr(x.names))
        headers = opened.headers(etag)
        if x.has(etag):
            await x.not_modified(headers)
            return
        located, number = pictures[0]
        first = await self._draw(opened, located, number, wanted, kinds)
        if not answer.multipart:
            await x.reply(200, first, answer.media_type, headers)
            return
        boundary = boundary_of(etag)
        await x.start(200, multipart.content_type(boundary, answer.media_type), headers)
        lead = b""
        for index, (located, number) in enumerate(pictures):
            data = first if index == 0 else await self._draw(opened, located, number, wanted, kinds)
            place = f"{opened.url(located)}/frames/{number}/rendered"
            head = multipart.part_head(boundary, answer.media_type, content_location=place)
            await x.write(lead + head + data)
            lead = multipart.PART_END
        await x.end(multipart.closing(boundary))

    async def _pictures(self, x: Exchange, opened: Opened) -> list[tuple[Located, int]]:
        """(instance, frame) of every picture asked for. Raises NoSuchFrame, HttpProblem 413."""
        if "frames" in x.names:
            located = opened.instances[0]
            count = await self._shelf.read(self._shelf.archive.frame_count, located)
            numbers = frame_numbers(x.names["frames"])
            if max(numbers) > count:
                raise NoSuchFrame(f"There is no frame {max(numbers)}: the object has {count}.")
            pictures = [(located, number) for number in numbers]
        else:
            images = [each for each in opened.instances if each.pixel_offset is not None]
            pictures = [(each, 1) for each in images]
        if not pictures:
            raise NoSuchFrame("There is no image to draw here.")
        if len(pictures) > RENDERED_LIMIT:
            raise HttpProblem(
                413,
                f"More than {RENDERED_LIMIT} pictures at once.",
                remedy="Ask for series or instances.",
            )
        return pictures

    async def thumbnail(self, x: Exchange) -> None:
        """One small picture of whatever is addressed; the image in the middle of its first series."""
        opened = await self._shelf.open(x)
        chosen(negotiate(ResourceCategory.THUMBNAIL, x.accept, x.asked("accept")))
        wanted = parse_thumbnail(x.query)
        located, number = await self._middle(x, opened)
        etag = opened.etag("thumbnail", located.sop_uid, str(number), repr(wanted))
        headers = opened.headers(etag)
        if x.has(etag):
            await x.not_modified(headers)
            return
        picture = self._thumbnails.get(etag)
        if picture is None:
            picture = await self._draw(opened, located, number, wanted, ())
            self._thumbnails.keep(etag, picture, len(picture))
        await x.reply(200, picture, wanted.media_type, headers)

    async def _middle(self, x: Exchange, opened: Opened) -> tuple[Located, int]:
        if "frames" in x.names:
            return (await self._pictures(x, opened))[0]
        images = [each for each in opened.instances if each.pixel_offset is not None]
        if not images:
            raise NoSuchFrame("There is no image to draw here.")
        series = [each for each in images if each.series_uid == images[0].series_uid]
        located = series[len(series) // 2]
        return located, (max(located.frames or 1, 1) + 1) // 2

    async def _draw(
        self,
        opened: Opened,
        located: Located,
        number: int,
        wanted: WantedPicture,
        kinds: tuple[str, ...],
    ) -> bytes:
        """One encoded picture. Raises HttpProblem 422 for what cannot be drawn."""
        shelf = self._shelf
        attributes = await shelf.attributes(opened, located)
        bulk_root = f"{opened.url(located)}/bulkdata/"
        tables = {}
        for uri in table_uris(attributes):
            path = uri.removeprefix(bulk_root)
            tables[uri] = await shelf.read(shelf.archive.bulk, located, path)
        lines = annotation_lines(attributes, kinds)
        try:
            frame = await self._coarse(attributes, located, number, wanted, tables)
            if frame is None:
                frame = await stored_frame(shelf, opened, located, number)
            picture = await shelf.renderer.picture(
                replace(frame, tables=tables), replace(wanted, annotation=lines)
            )
        except Invalid as error:
            raise HttpProblem(422, error.message, remedy=error.remedy) from error
        shelf.used(opened, 1, len(picture))
        return picture

    async def _coarse(
        self,
        attributes: Attributes,
        located: Located,
        number: int,
        wanted: WantedPicture,
        tables: dict[str, bytes],
    ) -> StoredFrame | None:
        """A settled frame from the smallest resolution that the picture needs; None for the whole frame."""
        shelf = self._shelf
        if located.landed.coded is None:
            return None
        blank = StoredFrame(attributes, EXPLICIT_VR_LITTLE_ENDIAN, number, b"", tables=tables)
        size = shelf.renderer.drawn_size(blank, wanted)
        if size is None:
            return None
        coarse = await asyncio.to_thread(shelf.archive.coarse_frame, located, number, *size)
        if coarse is None:
            return None
        return replace(blank, attributes={**attributes, **_pixels_of(coarse)}, data=coarse.data)


def _pixels_of(coarse: CoarseFrame) -> Attributes:
    """What the Image Pixel module says of a coarse frame. All allocated bits count: the wavelet may
    overshoot those that were stored."""
    said: dict[str, tuple[str, object]] = {
        "00280010": ("US", coarse.rows),
        "00280011": ("US", coarse.columns),
        "00280101": ("US", coarse.bits),
        "00280102": ("US", coarse.bits - 1),
    }
    if coarse.samples > 1:
        said |= {"00280004": ("CS", "RGB"), "00280006": ("US", 0)}
    return {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in said.items()}
