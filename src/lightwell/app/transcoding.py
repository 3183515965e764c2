"""The decoder pool as the DIMSE gateway's transcoder: values translated, nothing decided."""

from __future__ import annotations

from lightwell.backends.codecs.describe import describe_pixels
from lightwell.backends.codecs.pixels import DecodeJob
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.domain.archive.model import Attributes
from lightwell.gateways.dimse.ports import NativeFrame


class PoolTranscoder:
    """`gateways.dimse.ports.Transcoder` over limited child processes."""

    def __init__(self, pool: DecoderPool) -> None:
        self._pool = pool

    async def native_frame(self, attributes: Attributes, syntax: str, frame: bytes) -> NativeFrame:
        """See the port."""
        pixels = describe_pixels(attributes, syntax)
        made = await self._pool.transcode_to_explicit_le(DecodeJob(pixels, frame))
        return NativeFrame(made.data, made.attributes)
