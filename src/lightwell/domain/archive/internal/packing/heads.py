"""The header of a coded entry, and the way back to the one received.

Explicit VR: the original bytes with a few elements changed in place; each change leaves its inverse as
a splice. Implicit VR: written anew as Explicit; the original is kept deflated, with the new one as
dictionary. Nothing else in a header changes, so whoever reads the entry reads what was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lightwell.dicom import tags
from lightwell.dicom.encode import framed, item_header
from lightwell.dicom.errors import DicomError
from lightwell.dicom.header import Header
from lightwell.dicom.rewrite import to_explicit_le
from lightwell.dicom.scanner import NeedMore, scan
from lightwell.dicom.uids import ExplicitVRLittleEndian
from lightwell.dicom.vrs import EXPLICIT_LE, UNDEFINED, element_header
from lightwell.domain.archive.coding import PixelForm, Reason
from lightwell.domain.archive.internal.packing.planning import overlay_groups
from lightwell.domain.archive.internal.packing.recipe import Splice, deflate_with

_PIXEL_HEAD = element_header(tags.PixelData, "OB", UNDEFINED)
_BASIC_LIMIT = 2**32  # offsets of a Basic Offset Table are 32 bits wide


@dataclass(frozen=True, slots=True)
class Change:
    """Bytes `start` to `end` of a header become `new`."""

    start: int
    end: int
    new: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EntryHead:
    """The data set of an entry up to its first fragment: `head` ends with the pixel element's own head,
    then comes the Basic Offset Table as an item."""

    head: bytes = field(repr=False)
    table: bytes = field(repr=False)
    splices: tuple[Splice, ...]
    deflated: bytes = field(repr=False)  # the original head, when splices cannot make it


def entry_head(
    header: Header,
    original: bytes,
    form: PixelForm,
    planes: Sequence[bytes],
    lengths: Sequence[int],
) -> EntryHead | Reason:
    """The entry's head for frames whose codestreams have these `lengths`.

    `original` are the bytes received, up to the pixel value; `planes` the overlay planes taken out of the
    pixels, in order of their groups.
    """
    explicit, base = header, original[: header.end]
    if header.encoding != EXPLICIT_LE:
        found = _as_explicit(header, base)
        if isinstance(found, Reason):
            return found
        explicit, base = found, found.data
    extended, table = offset_tables(lengths)
    changes = _changes(explicit, form, planes)
    changes.append(Change(len(base), len(original), extended + _PIXEL_HEAD))
    if explicit is header:
        head, splices = apply_changes(original, changes)
        return EntryHead(head, table, splices, b"")
    changes[-1] = Change(len(base), len(base), extended + _PIXEL_HEAD)
    head, _splices = apply_changes(base, changes)
    return EntryHead(head, table, (), deflate_with(original, head))


def _as_explicit(header: Header, base: bytes) -> Header | Reason:
    """An Implicit VR header written as Explicit. The converter must have known every VR."""
    try:
        raw = to_explicit_le(base, header.syntax)
        found = scan(raw, ExplicitVRLittleEndian, complete=True)
    except DicomError:
        return Reason.UNKNOWN_VR
    if isinstance(found, NeedMore) or found.structure or found.end != len(raw):
        return Reason.UNKNOWN_VR
    wanted = [tag for tag in header.index if tag & 0xFFFF]
    return found if list(found.index) == wanted else Reason.UNKNOWN_VR


def _changes(header: Header, form: PixelForm, planes: Sequence[bytes]) -> list[Change]:
    """What a reader of the entry must see otherwise, in ascending order."""
    new: dict[int, bytes] = {}
    if form.samples == 3:
        new[tags.PhotometricInterpretation] = framed(
            tags.PhotometricInterpretation, "CS", b"YBR_RCT"
        )
        if header.int(tags.PlanarConfiguration) != 0:
            new[tags.PlanarConfiguration] = _us(tags.PlanarConfiguration, 0)
    if form.high_bit != form.bits_stored - 1:
        new[tags.HighBit] = _us(tags.HighBit, form.bits_stored - 1)
    for group, plane in zip(overlay_groups(header), planes, strict=True):
        new[group << 16 | 0x0100] = _us(group << 16 | 0x0100, 1)
        new[group << 16 | 0x0102] = _us(group << 16 | 0x0102, 0)
        new[group << 16 | 0x3000] = framed(group << 16 | 0x3000, "OW", plane)
    changes = []
    waiting = sorted(new.items(), reverse=True)
    for tag, _vr, start, offset, length in header.node.rows:
        while waiting and waiting[-1][0] < tag:
            changes.append(Change(start, start, waiting.pop()[1]))
        if waiting and waiting[-1][0] == tag:
            changes.append(Change(start, offset + length, waiting.pop()[1]))
        elif not tag & 0xFFFF:  # the length of a group that may have changed (PS3.5 7.2, retired)
            changes.append(Change(start, offset + length, b""))
    changes += [Change(header.end, header.end, raw) for _tag, raw in reversed(waiting)]
    return changes


def _us(tag: int, value: int) -> bytes:
    return framed(tag, "US", value.to_bytes(2, "little"))


def apply_changes(original: bytes, changes: Sequence[Change]) -> tuple[bytes, tuple[Splice, ...]]:
    """The changed bytes, and the splices that undo it. Changes ascend and do not overlap."""
    pieces: list[bytes] = []
    splices: list[Splice] = []
    at = made = 0
    for change in changes:
        pieces += [original[at : change.start], change.new]
        made += change.start - at
        splices.append(Splice(made, len(change.new), original[change.start : change.end]))
        made += len(change.new)
        at = change.end
    pieces.append(original[at:])
    return b"".join(pieces), tuple(splices)


def offset_tables(lengths: Sequence[int]) -> tuple[bytes, bytes]:
    """(Extended Offset Table elements or nothing, Basic Offset Table item) for fragments of these
    lengths without pad (PS3.5 A.4; PS3.3 C.7.6.3.1.8).

    Extended lengths count the pad byte: pydicom takes them so, and a codestream has its own end.
    """
    offsets = []
    at = 0
    for length in lengths:
        offsets.append(at)
        at += 8 + length + length % 2
    if not offsets or offsets[-1] < _BASIC_LIMIT:
        raw = b"".join(offset.to_bytes(4, "little") for offset in offsets)
        return b"", item_header(len(raw)) + raw
    wide = b"".join(offset.to_bytes(8, "little") for offset in offsets)
    sizes = b"".join((n + n % 2).to_bytes(8, "little") for n in lengths)
    extended = framed(tags.ExtendedOffsetTable, "OV", wide)
    return extended + framed(tags.ExtendedOffsetTableLengths, "OV", sizes), item_header(0)


def entry_tail(tail: Header | None, raw: bytes) -> bytes:
    """The elements behind the pixel data as the entry has them: all but trailing padding. Implicit VR is
    written as Explicit. Raises DicomError when that fails."""
    if tail is None:
        return b""
    rows = tail.node.rows
    ends = [*(row[2] for row in rows[1:]), len(raw)]
    kept = b"".join(
        raw[row[2] : end]
        for row, end in zip(rows, ends, strict=True)
        if row[0] != tags.DataSetTrailingPadding and row[0] & 0xFFFF
    )
    if not kept or tail.encoding == EXPLICIT_LE:
        return kept
    return to_explicit_le(kept, tail.syntax)
