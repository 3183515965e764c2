"""The decoder pool as the DICOMweb gateway's renderer: values translated, nothing decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lightwell.backends.codecs.describe import describe, describe_pixels
from lightwell.backends.codecs.pixels import (
    DECODABLE,
    DecodeJob,
    RenderJob,
    RenderRequest,
    Viewport,
    Window,
    fitted,
)
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.dicom.dictionary import vr_of
from lightwell.dicom.tags import hex_tag, tag_of
from lightwell.domain.archive.model import JSONElement
from lightwell.gateways.dicomweb.ports import NativePixels, StoredFrame, WantedPicture

_WHOLE = (0.0, 0.0, None, None)  # a viewport without a region
_PLANAR_CONFIGURATION = "00280006"


class PoolRenderer:
    """`gateways.dicomweb.ports.Renderer` over limited child processes."""

    def __init__(self, pool: DecoderPool) -> None:
        self._pool = pool
        self.decodable = frozenset(DECODABLE)

    async def picture(self, frame: StoredFrame, wanted: WantedPicture) -> bytes:
        """An encoded picture. Raises DecodeFailed, DecodeRefused (invalid), Busy, Unavailable."""
        image = describe(
            frame.attributes, frame.syntax, frame=frame.number, bulk=_tables(frame.tables)
        )
        window, port = wanted.window, wanted.viewport
        request = RenderRequest(
            media_type=wanted.media_type,
            quality=wanted.quality,
            window=Window(window.center, window.width, window.function) if window else None,
            viewport=(
                Viewport(
                    port.width, port.height, port.x, port.y, port.source_width, port.source_height
                )
                if port
                else None
            ),
            annotation=wanted.annotation,
        )
        return await self._pool.render(RenderJob(image, (frame.data,), request, frame.first_bit))

    def drawn_size(self, frame: StoredFrame, wanted: WantedPicture) -> tuple[int, int] | None:
        """See the port."""
        port = wanted.viewport
        if port is None or (port.x, port.y, port.source_width, port.source_height) != _WHOLE:
            return None
        image = describe(
            frame.attributes, frame.syntax, frame=frame.number, bulk=_tables(frame.tables)
        )
        if image.palette is not None or (image.pixels.samples > 1 and image.pixels.bits_stored > 8):
            return None  # indices do not blend; nor does what is to lose its lower bits
        viewport = Viewport(port.width, port.height)
        return fitted(image.pixels.rows, image.pixels.columns, viewport, image.aspect)

    async def native(self, frame: StoredFrame) -> NativePixels:
        """The frame uncompressed, and what its header must say then."""
        pixels = describe_pixels(frame.attributes, frame.syntax)
        made = await self._pool.transcode_to_explicit_le(
            DecodeJob(pixels, frame.data, frame.first_bit)
        )
        changes: dict[str, JSONElement | None] = {_PLANAR_CONFIGURATION: None}
        for keyword, value in made.attributes.items():
            tag = tag_of(keyword)
            changes[hex_tag(tag)] = {"vr": vr_of(tag), "Value": [value]}
        return NativePixels(made.data, changes)


def _tables(tables: Mapping[str, bytes]) -> Callable[[str], bytes]:
    return tables.__getitem__
