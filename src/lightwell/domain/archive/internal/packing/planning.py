"""What can be coded bit for bit: one pure decision an object, from its header (the table of ADR 0015).

Whatever is not plainly foreseen is packed as received, with the reason. Native codecs never see an object
this has refused.
"""

from __future__ import annotations

from lightwell.dicom import tags
from lightwell.dicom.defects import Flaw
from lightwell.dicom.frames import frame_bits
from lightwell.dicom.header import Header
from lightwell.dicom.uids import ExplicitVRLittleEndian, ImplicitVRLittleEndian, syntax_of
from lightwell.domain.archive.coding import PixelForm, Reason
from lightwell.domain.archive.internal.packing.recipe import (
    FRAME_LIMIT,
    FRAMES_LIMIT,
    PAD_LIMIT,
    TAIL_LIMIT,
)

_SIGNATURES = b"\xfa\xff\xfa\xff"  # (FFFA,FFFA) in little endian, at any depth
#: Defects that leave every byte of the header in its place.
HARMLESS = frozenset({Flaw.ODD_LENGTH})
_GREY = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
_NATIVE = frozenset({ExplicitVRLittleEndian.uid, ImplicitVRLittleEndian.uid})
_OVERLAYS = range(0x6000, 0x6020, 2)


def refuse_syntax(uid: str) -> Reason | None:
    """What the transfer syntax alone decides."""
    syntax = syntax_of(uid)
    if uid in _NATIVE:
        return None
    if syntax.deflated:
        return Reason.DEFLATED
    if syntax.encapsulated:
        return Reason.ALREADY_ENCAPSULATED
    return Reason.OTHER_SYNTAX if syntax.little_endian else Reason.BIG_ENDIAN


def plan(header: Header, size: int) -> PixelForm | Reason:
    """How the frames of a data set of `size` bytes are coded, or why not.

    Nothing is allocated by what the header claims: that its frames are all there is checked first.
    """
    reason = refuse_syntax(header.syntax.uid) or _refuse_structure(header)
    if reason is not None:
        return reason
    form = _form(header)
    if isinstance(form, Reason):
        return form
    return _refuse_lengths(header, form, size) or form


def _refuse_structure(header: Header) -> Reason | None:
    if header.pixel_tag is None or header.bulk is not None:
        # Damage in front of pixel data hides them as well; either way nothing is to be coded.
        return Reason.NO_PIXELS
    if header.pixel_tag != tags.PixelData:
        return Reason.FLOAT
    if header.encapsulated:
        return Reason.ALREADY_ENCAPSULATED
    if any(defect.code not in HARMLESS for defect in header.structure):
        return Reason.DISORDER
    if any(tag >= tags.ExtendedOffsetTable for tag in header.index):  # of fragments that are none
        return Reason.DISORDER
    if header.pixel_vr not in ("OB", "OW"):
        return Reason.UNKNOWN_VR
    if _SIGNATURES in header.data:
        return Reason.SIGNED_OBJECT
    if (header.text(tags.LossyImageCompression) or "") not in ("", "00"):
        return Reason.LOSSY_FLAG
    return None


def _form(header: Header) -> PixelForm | Reason:
    allocated = header.int(tags.BitsAllocated) or 0
    stored, high = header.int(tags.BitsStored), header.int(tags.HighBit)
    samples = header.int(tags.SamplesPerPixel) or 1
    photometric = header.text(tags.PhotometricInterpretation) or ""
    representation = header.int(tags.PixelRepresentation) or 0
    if allocated == 1:
        return Reason.ONE_BIT
    if allocated in (32, 64):
        return Reason.WIDE
    if allocated not in (8, 16) or stored is None or high is None or representation not in (0, 1):
        return Reason.BITS
    if not 1 <= stored <= high + 1 <= allocated:
        return Reason.BITS
    planar = header.int(tags.PlanarConfiguration) or 0
    if samples == 3 and photometric in ("YBR_FULL", "YBR_FULL_422"):
        return Reason.YBR_NATIVE
    grey = samples == 1 and photometric in _GREY
    colour = samples == 3 and photometric == "RGB" and planar in (0, 1) and not representation
    if not grey and not colour:
        return Reason.COLOUR_FORM
    overlays = _overlay_bits(header, allocated)
    if overlays is None:
        return Reason.OVERLAY_BITS
    form = PixelForm(
        rows=header.int(tags.Rows) or 0,
        columns=header.int(tags.Columns) or 0,
        samples=samples,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high,
        signed=bool(representation),
        planar=colour and planar == 1,
        frames=max(1, header.int(tags.NumberOfFrames) or 1),
        overlays=overlays,
    )
    if form.rows < 1 or form.columns < 1 or max(form.rows, form.columns) > 0xFFFF:
        return Reason.BITS
    if form.frame_bytes > FRAME_LIMIT or form.frames > FRAMES_LIMIT:
        return Reason.TOO_LARGE
    return Reason.BITS if frame_bits(header) != 8 * form.frame_bytes else form


def _refuse_lengths(header: Header, form: PixelForm, size: int) -> Reason | None:
    offset, length = header.pixel_offset or 0, header.pixel_length or 0
    needed = form.frames * form.frame_bytes
    if length < needed or offset + length > size:
        return Reason.SHORT_VALUE
    if length - needed > PAD_LIMIT:
        return Reason.LONG_PADDING
    return Reason.LONG_TAIL if size - offset - length > TAIL_LIMIT else None


def _overlay_bits(header: Header, allocated: int) -> tuple[int, ...] | None:
    """Bit positions of overlay planes that lie in the pixel data (retired in 2004; PS3.5 8.1.2 wants them
    in (60xx,3000)), in order of their groups; None for one that cannot be taken out."""
    bits = []
    for group in overlay_groups(header):
        base = group << 16
        position = header.int(base | 0x0102) or 0
        shape = [header.int(base | 0x0010), header.int(base | 0x0011)]
        whole = shape == [header.int(tags.Rows), header.int(tags.Columns)]
        at_origin = header.ints(base | 0x0050) in ([], [1, 1])
        single = (header.int(tags.NumberOfFrames) or 1) == 1 and (
            header.int(tags.SamplesPerPixel) or 1
        ) == 1
        if not (whole and at_origin and single and position < allocated):
            return None
        if base | 0x3000 in header or base | 0x0100 not in header:
            return None
        bits.append(position)
    return tuple(bits)


def overlay_groups(header: Header) -> list[int]:
    """Groups of the overlays that claim a bit of the pixel data."""
    return [group for group in _OVERLAYS if (header.int(group << 16 | 0x0102) or 0) > 0]


def refuse_tail(tail: Header | None, raw: bytes) -> Reason | None:
    """What the elements behind the pixel data decide; `tail` is their scan, None when there are none."""
    if tail is None:
        return None
    if _SIGNATURES in raw:
        return Reason.SIGNED_OBJECT
    if tail.pixel_tag is not None or tail.bulk is not None or tail.end != len(raw):
        return Reason.DISORDER
    if any(defect.code not in HARMLESS for defect in tail.structure):
        return Reason.DISORDER
    first = next(iter(tail.index), tags.DataSetTrailingPadding)
    return Reason.DISORDER if first <= tags.PixelData else None
