"""What is said between the archive and the codec that gives frames back bit for bit. Pure values.

`PixelForm` is all a codec needs to know of an object's frames, `CodedFrame` is what it makes of one, and
`Reason` says why an object lies in a pack as received. Byte layouts: docs/design/storage.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag, StrEnum

Buffer = bytes | bytearray | memoryview


class Reason(StrEnum):
    """Why an object is packed as received. Stored on rows: a value never changes its meaning."""

    NO_PIXELS = "no-pixels"
    ALREADY_ENCAPSULATED = "already-encapsulated"
    DEFLATED = "deflated"
    BIG_ENDIAN = "big-endian"
    OTHER_SYNTAX = "other-syntax"
    ONE_BIT = "one-bit"
    WIDE = "32-bit"  # integers of 32 or 64 bits
    FLOAT = "float"  # Float and Double Float Pixel Data (PS3.5 A.4: never encapsulated)
    BITS = "bits"  # Bits Allocated, Stored and High Bit that fit nothing we code
    YBR_NATIVE = "ybr-native"
    COLOUR_FORM = "colour-form"
    LOSSY_FLAG = "lossy-flag"
    SIGNED_OBJECT = "signed-object"
    SHORT_VALUE = "short-value"
    LONG_PADDING = "long-padding"
    LONG_TAIL = "long-tail"
    DISORDER = "disorder"
    UNKNOWN_VR = "unknown-vr"
    OVERLAY_BITS = "overlay-bits"
    TOO_LARGE = "too-large"
    NO_GAIN = "no-gain"
    CODEC_FAILED = "codec-failed"
    PROOF_FAILED = "proof-failed"
    UNREADABLE = "unreadable"
    POLICY = "policy"
    LOSSY_SYNTAX = "lossy-syntax"  # of a pixel-exact tenant: it came in a syntax that may be lossy


class FrameFlag(IntFlag):
    """Bits of a frame record."""

    ZERO = 1  # zeros above the High Bit of signed words, where sign bits would be
    SIDED = 2  # the frame has a stray plane


@dataclass(frozen=True, slots=True)
class PixelForm:
    """Native little endian frames of one object (PS3.5 8.1.1), as planned for coding."""

    rows: int
    columns: int
    samples: int  # 1 or 3
    bits_allocated: int  # 8 or 16
    bits_stored: int
    high_bit: int
    signed: bool = False
    planar: bool = False  # samples plane by plane in the original
    frames: int = 1
    overlays: tuple[int, ...] = ()  # bit positions of overlay planes to be taken out besides

    @property
    def frame_bytes(self) -> int:
        """Length of one native frame."""
        return self.rows * self.columns * self.samples * self.bits_allocated // 8

    @property
    def levels(self) -> int:
        """Decompositions of the codestream: the base resolution is at most 64 pixels wide or high
        (PS3.5 10.18), and large images keep five steps."""
        return levels_for(self.rows, self.columns)


def levels_for(rows: int, columns: int) -> int:
    """Decompositions for a frame of that size; at least 1."""
    side = min(rows, columns)
    levels = min(max(side.bit_length() - 1 - 3, 1), 5)
    while -(-side // (1 << levels)) > 64:
        levels += 1
    return levels


@dataclass(frozen=True, slots=True)
class CodedFrame:
    """One frame as a codestream. `side` is its stray plane (zlib, b"" when there is none); `planes` are
    the packed overlay planes asked for by `PixelForm.overlays`, while it is being packed."""

    stream: bytes = field(repr=False)
    zero: bool = False
    side: bytes = field(default=b"", repr=False)
    planes: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class CompressedFrame:
    """One frame as it came, in a transfer syntax that loses nothing; `photometric` as its header says."""

    syntax: str
    photometric: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NativeFrame:
    """One frame as Explicit VR Little Endian holds it, colours pixel by pixel; `photometric` is what it now
    is (PS3.5 8.2: some codecs undo their colour transform)."""

    photometric: str
    data: Buffer = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotCoded:
    """A frame the codec could not take. `why` holds no values of the data set."""

    why: str
