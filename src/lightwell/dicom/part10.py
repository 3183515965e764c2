"""The head of a DICOM file: preamble, prefix and File Meta Information (PS3.10 7.1).

Reading forgives what real files do: no preamble, no prefix, a wrong or missing group length, meta
elements without (0002,0010), even no meta at all (the encoding is then guessed from the first bytes).
Writing keeps to the standard; the preamble is always zero, because a preamble may make the file
something else as well (a program, a web page).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from lightwell.dicom.defects import Defect, Flaw
from lightwell.dicom.errors import LimitExceeded, NotDicom, Truncated
from lightwell.dicom.limits import DEFAULT, Limits
from lightwell.dicom.uids import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    TransferSyntax,
    syntax_of,
    uuid_uid,
)
from lightwell.dicom.vrs import (
    EXPLICIT_LE,
    IMPLICIT_LE,
    LONG_NAMES,
    SHORT_NAMES,
    element_header,
    pad_byte,
)
from lightwell.dicom.walk import Account, Short, read_head

Buffer = bytes | bytearray | memoryview

PREAMBLE = 128
PREFIX = b"DICM"

#: Lightwell's root under 2.25, from a UUID drawn once for this purpose (PS3.5 B.2).
IMPLEMENTATION_CLASS_UID = uuid_uid(UUID("7c1e5f0a-93d4-4b62-a5b8-2f6d0c9e41d7"))
IMPLEMENTATION_VERSION_NAME = "LIGHTWELL_0_1"


@dataclass(frozen=True, slots=True)
class FileMeta:
    """File Meta Information as found. Texts are "" when absent; `guessed` when the transfer syntax
    was not there to be read."""

    sop_class: str = ""
    sop_instance: str = ""
    syntax: TransferSyntax = ExplicitVRLittleEndian
    implementation_class: str = ""
    implementation_version: str = ""
    source_ae: str = ""
    sending_ae: str = ""
    receiving_ae: str = ""
    private_creator_uid: str = ""
    private: bytes = b""
    private_offset: int = (
        0  # of the value of (0002,0102) from the beginning of the file; 0 = absent
    )
    preamble: bytes = b""
    guessed: bool = False
    defects: tuple[Defect, ...] = ()


def is_part10(head: Buffer) -> bool:
    """Whether DICM stands behind a preamble; 132 bytes are enough to tell."""
    return bytes(head[PREAMBLE : PREAMBLE + 4]) == PREFIX


def read_meta(
    data: Buffer, *, limits: Limits = DEFAULT, complete: bool = True
) -> tuple[FileMeta, int]:
    """File meta and the offset of the data set's first byte.

    `data` may be the beginning of the file; with `complete` False, Truncated (with `needed`) is raised
    where more bytes could change the answer. Raises NotDicom when neither a prefix nor a plausible
    first element is there, Truncated when the file ends inside its meta, LimitExceeded when the meta
    elements pass `limits.meta`.
    """
    view = memoryview(data)
    if not complete and len(view) < PREAMBLE + 12:
        raise Truncated("Too short to tell a DICOM file.", needed=PREAMBLE + 12)
    if is_part10(view) and not _dicm_is_a_value(view):
        return _read_elements(
            view, PREAMBLE + 4, bytes(view[:PREAMBLE]), limits, [], complete=complete
        )
    defects = [Defect(Flaw.BAD_META, 0, "no preamble and prefix")]
    start = 4 if bytes(view[:4]) == PREFIX else 0
    if len(view) < start + 8:
        raise NotDicom("Not a DICOM file: too short for a single element.")
    group = int.from_bytes(view[start : start + 2], "little")
    if group == 0x0002:
        return _read_elements(view, start, b"", limits, defects, complete=complete)
    return FileMeta(syntax=_guess(view, start), guessed=True, defects=tuple(defects)), start


def _dicm_is_a_value(view: memoryview) -> bool:
    """Whether the letters DICM at byte 128 belong to a data set without preamble that holds them."""
    if bytes(view[PREAMBLE + 4 : PREAMBLE + 6]) == b"\x02\0":
        return False
    return _has_vr(view, 0) and bytes(view[:2]) == b"\x08\0"


def _guess(view: memoryview, start: int) -> TransferSyntax:
    """The encoding of a bare data set by its first element. Raises NotDicom when it looks like none.

    Data sets begin with group 0008 (or 0004 in a DICOMDIR, or a private or later group in fragments),
    so the group is small; a VR or a short length must follow.
    """
    group = int.from_bytes(view[start : start + 2], "little")
    swapped = int.from_bytes(view[start : start + 2], "big")
    two = bytes(view[start + 4 : start + 6])
    explicit = two in SHORT_NAMES or two in LONG_NAMES
    if explicit and 0x0004 <= swapped <= 0x0010 and group > 0x0010:
        return ExplicitVRBigEndian
    if explicit and 0x0004 <= group <= 0x7FE0:
        return ExplicitVRLittleEndian
    length = int.from_bytes(view[start + 4 : start + 8], "little")
    if 0x0004 <= group <= 0x0010 and length <= 0xFFFF:
        return ImplicitVRLittleEndian
    raise NotDicom("Not a DICOM file: no DICM prefix and no data element at its beginning.")


def _read_elements(
    view: memoryview,
    start: int,
    preamble: bytes,
    limits: Limits,
    defects: list[Defect],
    *,
    complete: bool,
) -> tuple[FileMeta, int]:
    """The group 0002 elements from `start`; they end at the first other group, whatever
    (0002,0000) says, because group lengths lie. Where the bytes end between two elements, the next
    group is not known yet: more may be meta."""
    account = Account(limits)
    found: dict[int, tuple[int, bytes]] = {}
    bound = min(len(view), start + limits.meta)
    encoding = EXPLICIT_LE
    if not _has_vr(view, start):
        encoding = IMPLICIT_LE
        defects.append(Defect(Flaw.BAD_META, 0, "file meta information in implicit VR"))
    pos = start
    try:
        while pos + 2 <= len(view) and bytes(view[pos : pos + 2]) == b"\x02\0":
            tag, _vr, offset, length = read_head(view, pos, bound, encoding, account)
            end = offset + length
            if end > bound:
                raise Short(end)
            found.setdefault(tag, (offset, bytes(view[offset:end])))
            pos = end
    except Short as short:
        if short.needed > start + limits.meta:
            text = f"The file meta information is longer than {limits.meta} bytes."
            raise LimitExceeded(text) from None
        text = "The file ends inside its file meta information."
        raise Truncated(text, needed=short.needed) from None
    if not complete and pos + 2 > len(view):
        raise Truncated("The file meta information may go on.", needed=pos + 2)
    defects += account.defects
    stated = found.get(0x00020000)
    if stated is None:
        defects.append(Defect(Flaw.BAD_META, 0x00020000, "no group length"))
    elif stated[0] + 4 + int.from_bytes(stated[1][:4], "little") != pos:
        defects.append(Defect(Flaw.BAD_META, 0x00020000, "the group length is wrong"))
    return _meta(found, view, pos, preamble, defects), pos


def _has_vr(view: memoryview, pos: int) -> bool:
    two = bytes(view[pos + 4 : pos + 6])
    return two in SHORT_NAMES or two in LONG_NAMES or bytes(view[pos : pos + 2]) != b"\x02\0"


def _meta(
    found: dict[int, tuple[int, bytes]],
    view: memoryview,
    end: int,
    preamble: bytes,
    defects: list[Defect],
) -> FileMeta:
    def text(tag: int) -> str:
        return found.get(tag, (0, b""))[1].decode("latin-1").strip(" \0")

    uid = text(0x00020010)
    guessed = not uid
    if guessed:
        defects.append(Defect(Flaw.BAD_META, 0x00020010, "no transfer syntax"))
    try:
        syntax = syntax_of(uid) if uid else _guess(view, end)
    except NotDicom:
        syntax = ImplicitVRLittleEndian  # the default of PS3.5 10.1
    private_offset, private = found.get(0x00020102, (0, b""))
    return FileMeta(
        sop_class=text(0x00020002),
        sop_instance=text(0x00020003),
        syntax=syntax,
        implementation_class=text(0x00020012),
        implementation_version=text(0x00020013),
        source_ae=text(0x00020016),
        sending_ae=text(0x00020017),
        receiving_ae=text(0x00020018),
        private_creator_uid=text(0x00020100),
        private=private,
        private_offset=private_offset,
        preamble=preamble,
        guessed=guessed,
        defects=tuple(defects),
    )


def write_meta(
    sop_class: str,
    sop_instance: str,
    syntax: TransferSyntax | str,
    *,
    source_ae: str = "",
    sending_ae: str = "",
    receiving_ae: str = "",
    private: bytes | None = None,
    private_creator_uid: str = IMPLEMENTATION_CLASS_UID,
) -> bytes:
    """Zero preamble, DICM, and group 0002 with a right group length: all that precedes a data set.

    `private` is kept under (0002,0102) with its creator; an odd one is padded with a NUL. Raises
    ValueError for texts that are not ASCII or do not fit their element.
    """
    uid = syntax if isinstance(syntax, str) else syntax.uid
    body = _element(0x00020001, "OB", b"\0\1")
    body += _element(0x00020002, "UI", sop_class.encode("ascii"))
    body += _element(0x00020003, "UI", sop_instance.encode("ascii"))
    body += _element(0x00020010, "UI", uid.encode("ascii"))
    body += _element(0x00020012, "UI", IMPLEMENTATION_CLASS_UID.encode())
    body += _element(0x00020013, "SH", IMPLEMENTATION_VERSION_NAME.encode())
    for tag, title in (
        (0x00020016, source_ae),
        (0x00020017, sending_ae),
        (0x00020018, receiving_ae),
    ):
        if title:
            body += _element(tag, "AE", title.encode("ascii"))
    if private is not None:
        body += _element(0x00020100, "UI", private_creator_uid.encode("ascii"))
        body += _element(0x00020102, "OB", private)
    length = _element(0x00020000, "UL", len(body).to_bytes(4, "little"))
    return bytes(PREAMBLE) + PREFIX + length + body


def _element(tag: int, vr: str, value: bytes) -> bytes:
    if len(value) % 2:
        value += pad_byte(vr)
    return element_header(tag, vr, len(value)) + value


def clean_meta(meta: FileMeta, syntax: TransferSyntax | str | None = None) -> bytes:
    """What every exit sends in front of a data set: zero preamble and no arrival facts.

    `syntax` when the data set leaves in another one than it came in.
    """
    return write_meta(meta.sop_class, meta.sop_instance, syntax or meta.syntax)


def with_identity(meta: FileMeta, sop_class: str, sop_instance: str) -> FileMeta:
    """The same meta for a data set whose own identity is this (the data set is right, PS3.10 7.1)."""
    return replace(meta, sop_class=sop_class, sop_instance=sop_instance)
