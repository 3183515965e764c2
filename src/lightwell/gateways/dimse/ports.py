"""What this door needs from outside besides the rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lightwell.domain.archive.model import Attributes


@dataclass(frozen=True, slots=True)
class NativeFrame:
    """One decoded frame as Explicit VR Little Endian holds it.

    ``attributes``: the Image Pixel attributes that the header must now carry, by keyword (PS3.3
    C.7.6.3); those of every frame of an object are the same.
    """

    data: bytes = field(repr=False)
    attributes: Mapping[str, int | str]


class Transcoder(Protocol):
    """Decodes compressed frames for peers that cannot take the stored syntax."""

    async def native_frame(self, attributes: Attributes, syntax: str, frame: bytes) -> NativeFrame:
        """Decode one frame of an object with these attributes (DICOM JSON) and transfer syntax.

        Lossless codings give back equal pixels. Raises LightwellError when it cannot be decoded, is
        over a limit, or the decoder is busy.
        """
