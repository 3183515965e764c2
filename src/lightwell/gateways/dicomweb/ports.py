"""What this gateway needs of the machine: a renderer that the app wires to the decoder pool.

Pixel decoding happens in limited child processes only; nothing here imports a codec.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from lightwell.domain.archive.model import Attributes, JSONElement


@dataclass(frozen=True, slots=True)
class WantedWindow:
    """`window=center,width,function` (PS3.18 8.3.5.1.4); function as in VOILUTFunction."""

    center: float
    width: float
    function: str


@dataclass(frozen=True, slots=True)
class WantedViewport:
    """`viewport=vw,vh[,sx,sy,sw,sh]` (PS3.18 8.3.5.1.3); negative sw or sh mirror the picture."""

    width: int
    height: int
    x: float = 0.0
    y: float = 0.0
    source_width: float | None = None
    source_height: float | None = None


@dataclass(frozen=True, slots=True)
class WantedPicture:
    """How a rendered image is wanted."""

    media_type: str = "image/jpeg"
    quality: int = 90
    window: WantedWindow | None = None
    viewport: WantedViewport | None = None
    annotation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """One frame as stored, with the effective attributes of its object."""

    attributes: Attributes
    syntax: str
    number: int  # 1-based
    data: bytes = field(repr=False)
    first_bit: int = 0  # of one-bit native frames that do not begin at a byte
    tables: dict[str, bytes] = field(default_factory=dict, repr=False)
    # LUT and palette data that the attributes give as BulkDataURI, by that URI


@dataclass(frozen=True, slots=True)
class NativePixels:
    """A decoded frame as Explicit VR Little Endian holds it; `changes` are what the header must say."""

    data: bytes = field(repr=False)
    changes: dict[str, JSONElement | None]


class Renderer(Protocol):
    """Decodes and draws in child processes, within limits.

    Raises Invalid (kind) for pixel data that cannot be decoded or are over a limit, Busy when the
    queue is full, Unavailable when closed.
    """

    decodable: frozenset[str]  # transfer syntaxes that `native` and `picture` take

    def drawn_size(self, frame: StoredFrame, wanted: WantedPicture) -> tuple[int, int] | None:
        """Rows and columns that the whole image is drawn with; None when it is not drawn whole, not drawn
        smaller, or has samples that do not blend. Looks at no pixels: `frame.data` may be empty."""

    async def picture(self, frame: StoredFrame, wanted: WantedPicture) -> bytes:
        """An encoded picture."""

    async def native(self, frame: StoredFrame) -> NativePixels:
        """The frame uncompressed: little endian, pixel-interleaved where it has colours."""
