"""The values that travel between the doors and the decoder: what pixels claim to be.

Pure data, no numpy and no codec, so that the serving processes can import it freely.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.domain.archive.coding import PixelForm

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
RLE = "1.2.840.10008.1.2.5"

#: One frame is a plain run of samples. Deflated data sets arrive here already inflated.
NATIVE = frozenset({IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED, ENCAPSULATED_UNCOMPRESSED})
JPEG = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55))
JPEG_LOSSLESS = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (57, 70))
JPEG_LS = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))
JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 92, 93))
HTJ2K = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203))
JPEG_XL = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (110, 111, 112))

#: Every transfer syntax that `decode.decode_frame` knows.
DECODABLE = (
    NATIVE | {RLE, DEFLATED_FRAMES} | JPEG | JPEG_LOSSLESS | JPEG_LS | JPEG_2000 | HTJ2K | JPEG_XL
)


@dataclass(frozen=True)
class Limits:
    """What one job may use (reliability page 3.11)."""

    pixels_per_frame: int = 512_000_000
    memory: int = 2 << 30
    seconds: float = 20.0
    frames_per_job: int = 1_000
    #: Widest or highest picture that a request may ask for.
    viewport: int = 16_384


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class PixelDescription:
    """The Image Pixel module of one object (PS3.3 C.7.6.3) and how its frames are encoded."""

    transfer_syntax: str
    rows: int
    columns: int
    samples: int = 1
    bits_allocated: int = 16
    bits_stored: int = 16
    high_bit: int = 15
    signed: bool = False
    photometric: str = "MONOCHROME2"
    #: 1 when native or RLE samples lie plane by plane.
    planar_configuration: int = 0
    frames: int = 1
    #: "OB", "OW", "OF" (Float Pixel Data) or "OD" (Double Float Pixel Data).
    vr: str = "OW"

    def check(self, limits: Limits = DEFAULT_LIMITS) -> None:
        """Refuse what cannot be decoded, before a byte is allocated.

        Raises DecodeRefused (limits, unknown forms) or DecodeFailed (contradictions).
        """
        if self.transfer_syntax not in DECODABLE:
            raise DecodeRefused(
                f"Pixel data in transfer syntax {self.transfer_syntax} cannot be decoded here.",
                remedy="Retrieve the object in its stored transfer syntax.",
            )
        if self.rows < 1 or self.columns < 1:
            raise DecodeFailed("The object has no Rows or Columns: there is no picture in it.")
        if self.rows * self.columns > limits.pixels_per_frame:
            raise DecodeRefused(
                f"A frame of {self.rows} x {self.columns} pixels is over the limit "
                f"of {limits.pixels_per_frame}."
            )
        if self.samples not in (1, 3):
            raise DecodeRefused(f"{self.samples} samples per pixel are not supported.")
        allowed = {"OF": {32}, "OD": {64}}.get(self.vr, {1, 8, 16, 32})
        if self.bits_allocated not in allowed:
            raise DecodeRefused(f"Bits Allocated {self.bits_allocated} is not supported.")
        if self.bits_allocated == 1 and self.samples != 1:
            raise DecodeFailed("One-bit pixel data must have one sample per pixel.")
        low_bit = self.high_bit + 1 - self.bits_stored
        if self.bits_stored < 1 or low_bit < 0 or self.high_bit >= self.bits_allocated:
            raise DecodeFailed(
                f"Bits Stored {self.bits_stored} and High Bit {self.high_bit} do not fit "
                f"Bits Allocated {self.bits_allocated}."
            )

    @property
    def subsampled(self) -> bool:
        """Native YBR_FULL_422: two pixels share their chroma (PS3.3 C.7.6.3.1.2)."""
        return (
            self.photometric == "YBR_FULL_422"
            and self.samples == 3
            and self.transfer_syntax in NATIVE | {DEFLATED_FRAMES}
        )

    @property
    def frame_bits(self) -> int:
        """Length of one native frame in bits; one-bit frames follow each other without padding."""
        samples = 2 if self.subsampled else self.samples
        return self.rows * self.columns * samples * self.bits_allocated


@dataclass(frozen=True)
class Lut:
    """A lookup table (PS3.3 C.11.1.1): stored values from `first` on map to `values`."""

    first: int
    bits: int
    values: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True)
class Palette:
    """Red, green and blue tables of a PALETTE COLOR image (PS3.3 C.7.6.3.1.5)."""

    red: Lut
    green: Lut
    blue: Lut


@dataclass(frozen=True)
class Window:
    """A VOI window (PS3.3 C.11.2); `function` is LINEAR, LINEAR_EXACT or SIGMOID."""

    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True)
class ImageDescription:
    """Everything the rendering pipeline needs to know of an image, per frame where it varies."""

    pixels: PixelDescription
    slope: float = 1.0
    intercept: float = 0.0
    modality_lut: Lut | None = None
    window: Window | None = None
    voi_lut: Lut | None = None
    #: PresentationLUTShape (2050,0020), "" when absent.
    presentation_shape: str = ""
    #: Inclusive range of stored values that hold no image (0028,0120/0121).
    padding: tuple[int, int] | None = None
    palette: Palette | None = None
    #: Height of a pixel divided by its width.
    aspect: float = 1.0


@dataclass(frozen=True)
class Viewport:
    """`viewport=w,h[,sx,sy,sw,sh]` of PS3.18 8.3.5.1.3; negative sw or sh mirror the picture."""

    width: int
    height: int
    x: float = 0.0
    y: float = 0.0
    source_width: float | None = None
    source_height: float | None = None


def fitted(rows: float, columns: float, port: Viewport, aspect: float = 1.0) -> tuple[int, int]:
    """(rows, columns) a region of this size is drawn with in a viewport: all of it, square pixels (PS3.18
    8.3.5.1.3). `aspect`: height of a pixel by its width."""
    high, wide = rows * max(aspect, 1.0), columns * max(1.0 / aspect, 1.0)
    scale = min(port.height / high, port.width / wide)
    return (
        min(max(round(high * scale), 1), port.height),
        min(max(round(wide * scale), 1), port.width),
    )


@dataclass(frozen=True)
class RenderRequest:
    """How a picture is wanted. `media_type`: image/jpeg, image/png, image/gif or image/jp2."""

    media_type: str = "image/jpeg"
    quality: int = 90
    window: Window | None = None
    viewport: Viewport | None = None
    #: Lines burned into the upper left corner, last of all (PS3.18 8.3.5.1.1).
    annotation: tuple[str, ...] = ()
    #: Stretch pixels that are not square. Off only to compare with tools that do not.
    square_pixels: bool = True
    #: Milliseconds a frame of an animated picture stays.
    frame_time: float = 100.0


@dataclass(frozen=True)
class DecodeJob:
    """One frame to decode. For one-bit native data `first_bit` is where it starts in `data`."""

    pixels: PixelDescription
    data: bytes = field(repr=False)
    first_bit: int = 0


@dataclass(frozen=True)
class RenderJob:
    """One picture to make; several frames only for an animated image/gif."""

    image: ImageDescription
    frames: tuple[bytes, ...] = field(repr=False)
    request: RenderRequest = RenderRequest()
    first_bit: int = 0


@dataclass(frozen=True)
class CodeJob:
    """Frames to code (one buffer a form), to rebuild (codestream and strays a form), to decompress (one
    buffer a form), or one prefix to show (no form). `zeros` belong to the second, `said` (transfer syntax,
    photometric interpretation) to the third, `picture` (decompositions, reduction) to the last."""

    forms: tuple[PixelForm, ...]
    buffers: tuple[bytes | bytearray | memoryview, ...] = field(repr=False)
    zeros: tuple[bool, ...] = ()
    said: tuple[tuple[str, str], ...] = ()
    picture: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class NativeFrame:
    """A decoded frame for Explicit VR Little Endian, with the attributes its header must take."""

    data: bytes = field(repr=False)
    photometric: str
    samples: int
    planar_configuration: int | None
    bits_allocated: int
    bits_stored: int
    high_bit: int
    pixel_representation: int

    @property
    def attributes(self) -> dict[str, int | str]:
        """Keyword -> value of the Image Pixel attributes (absent: remove it)."""
        made: dict[str, int | str] = {
            "SamplesPerPixel": self.samples,
            "PhotometricInterpretation": self.photometric,
            "BitsAllocated": self.bits_allocated,
            "BitsStored": self.bits_stored,
            "HighBit": self.high_bit,
            "PixelRepresentation": self.pixel_representation,
        }
        if self.planar_configuration is not None:
            made["PlanarConfiguration"] = self.planar_configuration
        return made
