"""The native form of a compressed original: what a pixel-exact tenant keeps in its place (ADR 0019).

Explicit VR Little Endian with every pixel value that the original decompresses to; its header byte for
byte but for Photometric Interpretation and Planar Configuration, where decompressing changes them, and what
speaks of fragments that are gone: their offset tables and total length, (7FE0,0001) to (7FE0,0003), and the
length of that group, (7FE0,0000). A deflated data set is simply inflated. Whatever is not plainly foreseen
stays as received, with its reason: a syntax or a codestream that may have lost something, too, for what is
kept must not hang on which decoder was asked; and fragments or bytes that belong to no frame, which nobody
would ever see again.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO, Any

from lightwell.dicom import tags
from lightwell.dicom.errors import DicomError
from lightwell.dicom.frames import FragmentedFrames, FrameLocator
from lightwell.dicom.header import Header
from lightwell.dicom.inflate import InflatingReader
from lightwell.dicom.rewrite import apply_edits
from lightwell.dicom.scanner import scan, scan_tail
from lightwell.dicom.uids import (
    DeflatedExplicitVRLittleEndian,
    EncapsulatedUncompressed,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    syntax_of,
)
from lightwell.dicom.vrs import element_header
from lightwell.domain.archive.coding import (
    CompressedFrame,
    NativeFrame,
    NotCoded,
    PixelForm,
    Reason,
)
from lightwell.domain.archive.internal.packing.feeding import Feeder
from lightwell.domain.archive.internal.packing.planning import HARMLESS, plan, refuse_tail
from lightwell.domain.archive.internal.packing.reading import Window
from lightwell.domain.archive.internal.packing.recipe import FRAME_LIMIT, FRAMES_LIMIT, TAIL_LIMIT
from lightwell.domain.archive.internal.packing.sources import CHUNK, WHOLE, Arrived, Opened, Source
from lightwell.domain.archive.ports import FrameCoder

_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
#: JPEG 2000 Part 2 and JPEG XL are missing: nothing in their codestreams that we read proves them lossless.
LOSSLESS = frozenset(
    {
        syntax.uid
        for syntax in (
            *(RLELossless, EncapsulatedUncompressed, JPEGLossless, JPEGLosslessSV1),
            *(JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL),
        )
    }
    | {_DEFLATED_FRAMES}
)
_LONGEST_VALUE = 0xFFFFFFFE
_PIXELS = tags.PixelData >> 16  # the group of pixel data and their offset tables
_GROUP_LENGTH = _PIXELS << 16
#: Those that go with the fragments they describe (PS3.3 C.7.6.3); the group's length counts them.
_OF_FRAGMENTS = frozenset(range(_GROUP_LENGTH, _GROUP_LENGTH + 4))
_IMAGE_GROUP_LENGTH = tags.PhotometricInterpretation >> 16 << 16
#: Frames of these begin with no marker; how many there are their lengths tell.
_UNMARKED = frozenset({EncapsulatedUncompressed.uid, _DEFLATED_FRAMES})


class _StaysAsReceived(Exception):
    """Why an original is not replaced by its native form."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def native_of(source: Source, coder: FrameCoder, folder: str | None = None) -> Source:
    """The source of the native form, where it can stand for the original; else the same source, with the
    reason in `refused` where it has one of this kind.

    Large ones wait in an unlinked file in `folder`. Blocking. Raises what reading or the coder raises.
    """
    syntax = syntax_of(source.syntax)
    deflated = source.syntax == DeflatedExplicitVRLittleEndian.uid
    if source.arrived is not None or not (deflated or source.syntax in LOSSLESS):
        lossy = syntax.known and syntax.encapsulated and syntax.lossy
        return replace(source, refused=Reason.LOSSY_SYNTAX) if lossy else source
    whole = _Whole(folder)
    try:
        digest = hashlib.sha256()
        pieces = _inflated(source, digest) if deflated else _decompressed(source, digest, coder)
        for piece in pieces:
            whole.write(piece)
        if digest.digest() != source.sha256:
            whole.close()  # packed as received, the proof says what is wrong with it
            return source
    except _StaysAsReceived as stays:
        whole.close()
        return replace(source, refused=stays.reason)
    except DicomError:
        whole.close()
        return replace(source, refused=Reason.UNREADABLE)
    except BaseException:
        whole.close()
        raise
    made = replace(
        source,
        syntax=ExplicitVRLittleEndian.uid,
        size=whole.size,
        sha256=whole.digest.digest(),
        read=whole.read,
        arrived=Arrived(source.syntax, source.size, source.sha256),
        original=source,
    )
    if deflated:  # only now can its pixels be looked at
        header = Opened(made).header
        form = Reason.UNREADABLE if header is None else plan(header, made.size)
        if isinstance(form, Reason):
            return replace(source, refused=form)
    return made


class _Whole:
    """A data set while it is made, and as a source reads it afterwards."""

    def __init__(self, folder: str | None) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed with the last reader
            max_size=WHOLE, dir=folder
        )
        self.digest = hashlib.sha256()
        self.size = 0

    def __del__(self) -> None:
        self.close()

    def write(self, piece: bytes | memoryview | bytearray) -> None:
        self._file.write(piece)
        self.digest.update(piece)
        self.size += len(piece)

    def read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)

    def close(self) -> None:
        self._file.close()


def _inflated(source: Source, digest: Any) -> Iterator[bytes]:
    def chunks() -> Iterator[bytes]:
        for at in range(0, source.size, CHUNK):
            piece = source.read(at, min(CHUNK, source.size - at))
            digest.update(piece)
            yield piece

    reader = InflatingReader()
    for chunk in chunks():
        yield from reader.feed(chunk)
    yield from reader.finish()
    if reader.beyond not in (b"", b"\0"):  # one pad byte (PS3.5 A.5); more may be anything
        raise _StaysAsReceived(Reason.DISORDER)


def _decompressed(source: Source, digest: Any, coder: FrameCoder) -> Iterator[bytes | memoryview]:
    """The native form in pieces; `digest` then is that of the original. Raises _StaysAsReceived."""
    opened = Opened(source)
    header = opened.header
    if header is None:
        raise _StaysAsReceived(Reason.UNREADABLE)
    if not header.encapsulated or header.pixel_offset is None or header.bulk is not None:
        # Without pixel data an encapsulated syntax is Explicit VR Little Endian (PS3.5 A.4).
        raise _StaysAsReceived(
            Reason.NO_PIXELS if header.pixel_tag is None else Reason.ALREADY_ENCAPSULATED
        )
    _check_structure(header)
    locator = FrameLocator(header, syntax_of(source.syntax))
    at = 0
    for chunk in opened.chunks():
        digest.update(chunk)
        locator.feed(chunk[max(header.pixel_offset - at, 0) :])
        at += len(chunk)
    index, end = locator.finish(), locator.tail_offset
    form, photometric = _form(header)
    if end is None or not isinstance(index, FragmentedFrames) or index.defects:
        raise _StaysAsReceived(Reason.DISORDER)
    if locator.unaccounted(index, codestreams=source.syntax not in _UNMARKED):
        raise _StaysAsReceived(Reason.DISORDER)
    tail = _tail(opened, header, end)
    frames = _frames(opened, index, CompressedFrame(source.syntax, photometric, b""), form, coder)
    first = next(frames)
    yield _head(opened, header, form, first.photometric, len(tail))
    yield memoryview(first.data)
    for frame in frames:
        if frame.photometric != first.photometric:
            raise _StaysAsReceived(Reason.COLOUR_FORM)
        yield memoryview(frame.data)
    yield b"\0" * (form.frames * form.frame_bytes % 2) + tail


def _check_structure(header: Header) -> None:
    """Of the header as it came: what is not kept of it stands last and describes fragments, each once."""
    if any(defect.code not in HARMLESS for defect in header.structure):
        raise _StaysAsReceived(Reason.DISORDER)
    found = [row[0] for row in header.node.rows]
    late = [tag for tag in found if tag >> 16 >= _PIXELS]
    rows = [tag for tag in late if tag != tags.PixelData]
    if found[len(found) - len(late) :] != late or not _OF_FRAGMENTS.issuperset(rows):
        raise _StaysAsReceived(Reason.DISORDER)
    if rows != sorted(set(rows)) or header.pixel_tag != tags.PixelData:
        raise _StaysAsReceived(Reason.DISORDER)


def _form(header: Header) -> tuple[PixelForm, str]:
    """How the frames will lie, and the colour space in the header. Whether that can be coded `plan` says."""
    allocated = header.int(tags.BitsAllocated) or 0
    stored, high = header.int(tags.BitsStored), header.int(tags.HighBit)
    form = PixelForm(
        rows=header.int(tags.Rows) or 0,
        columns=header.int(tags.Columns) or 0,
        samples=header.int(tags.SamplesPerPixel) or 1,
        bits_allocated=allocated,
        bits_stored=stored or 0,
        high_bit=-1 if high is None else high,
        signed=header.int(tags.PixelRepresentation) == 1,
        planar=header.int(tags.PlanarConfiguration) == 1,
        frames=max(1, header.int(tags.NumberOfFrames) or 1),
    )
    if allocated == 1:
        raise _StaysAsReceived(Reason.ONE_BIT)
    if allocated not in (8, 16) or form.samples not in (1, 3) or not form.frame_bytes:
        raise _StaysAsReceived(Reason.WIDE if allocated in (32, 64) else Reason.BITS)
    if form.frame_bytes > FRAME_LIMIT or form.frames > FRAMES_LIMIT:
        raise _StaysAsReceived(Reason.TOO_LARGE)
    if form.frames * form.frame_bytes > _LONGEST_VALUE - 1:
        raise _StaysAsReceived(Reason.TOO_LARGE)
    return form, header.text(tags.PhotometricInterpretation) or ""


def _tail(opened: Opened, header: Header, end: int) -> bytes:
    """The elements behind the pixel data, as they are: they are Explicit VR Little Endian already."""
    size = opened.source.size - end
    if size > TAIL_LIMIT:
        raise _StaysAsReceived(Reason.LONG_TAIL)
    tail = bytes(opened.range(end, size))
    found = scan_tail(tail, header) if tail else None
    if found is not None and not isinstance(found, Header):
        raise _StaysAsReceived(Reason.DISORDER)
    reason = refuse_tail(found, tail)
    if reason is not None:
        raise _StaysAsReceived(reason)
    return tail


def _head(opened: Opened, header: Header, form: PixelForm, photometric: str, tail: int) -> bytes:
    """The native data set up to its pixel value, when `plan` takes it. Raises _StaysAsReceived."""
    length = form.frames * form.frame_bytes
    length += length % 2
    starts = [row[2] for row in header.node.rows if row[0] >> 16 == _PIXELS]
    head = bytes(opened.range(0, min([header.end, *starts])))
    edits: dict[int, dict[str, Any] | None] = {}
    if photometric != (header.text(tags.PhotometricInterpretation) or ""):
        edits[tags.PhotometricInterpretation] = {"vr": "CS", "Value": [photometric]}
    if form.samples == 3 and header.int(tags.PlanarConfiguration) != 0:
        edits[tags.PlanarConfiguration] = {"vr": "US", "Value": [0]}
    if edits:
        if _IMAGE_GROUP_LENGTH in header:  # it would go: a new value has another length
            raise _StaysAsReceived(Reason.DISORDER)
        head = apply_edits(head, ExplicitVRLittleEndian, edits)
    head += element_header(tags.PixelData, "OB" if form.bits_allocated == 8 else "OW", length)
    found = scan(head, ExplicitVRLittleEndian, complete=False)
    if not isinstance(found, Header):
        raise _StaysAsReceived(Reason.DISORDER)
    planned = plan(found, len(head) + length + tail)
    if isinstance(planned, Reason):
        raise _StaysAsReceived(planned)
    return head


@dataclass(slots=True)
class _Frames:
    """Frames on their way from the codec."""

    ready: list[NativeFrame]

    def take(self, made: NativeFrame | NotCoded) -> None:
        if isinstance(made, NotCoded):
            raise _StaysAsReceived(Reason.CODEC_FAILED)
        self.ready.append(made)

    def drain(self) -> Iterable[NativeFrame]:
        drained, self.ready = self.ready, []
        return drained


def _frames(
    opened: Opened,
    index: FragmentedFrames,
    like: CompressedFrame,
    form: PixelForm,
    coder: FrameCoder,
) -> Iterator[NativeFrame]:
    """All frames, decompressed, in order."""
    made = _Frames([])
    source = opened.source
    read = opened.range if source.size <= WHOLE else Window(source.read, source.size).read
    feeder: Feeder[CompressedFrame, NativeFrame] = Feeder(coder.decompress, coder.depth)
    try:
        for number in range(1, form.frames + 1):
            spans = index.spans(number)
            data = b"".join(read(offset, length) for offset, length in spans)
            feeder.add(form, replace(like, data=data), made.take)
            yield from made.drain()
        feeder.finish()
        yield from made.drain()
    finally:
        feeder.abandon()
