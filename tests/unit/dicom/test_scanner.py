"""The header scanner: encodings, stops, mending, limits."""

from __future__ import annotations

import struct
import time
import tracemalloc
from dataclasses import replace

import pytest

from lightwell.dicom import tags
from lightwell.dicom.defects import Flaw
from lightwell.dicom.errors import LimitExceeded, NotDicom
from lightwell.dicom.header import Header
from lightwell.dicom.limits import DEFAULT
from lightwell.dicom.scanner import NeedMore, scan, scan_data_set, scan_tail
from lightwell.dicom.uids import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline,
    TransferSyntax,
)
from lightwell.dicom.vrs import (
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    UNDEFINED,
    element_header,
)
from lightwell.testing.pace import slowness

EVL, IVL, EVB = ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian


def el(tag: int, vr: str, value: bytes = b"", syntax: TransferSyntax = EVL) -> bytes:
    return element_header(tag, vr, len(value), syntax.encoding) + value


def delimiters(little: bool = True) -> tuple[bytes, bytes, bytes]:
    """Item of undefined length, item end, sequence end."""
    form = "<HHI" if little else ">HHI"
    return (
        struct.pack(form, 0xFFFE, 0xE000, UNDEFINED),
        struct.pack(form, 0xFFFE, 0xE00D, 0),
        struct.pack(form, 0xFFFE, 0xE0DD, 0),
    )


ITEM, ITEM_END, SEQ_END = delimiters()
CODE = 0x0008_2218


def header(data: bytes, syntax: TransferSyntax = EVL, complete: bool = True) -> Header:
    found = scan(data, syntax, complete=complete)
    assert isinstance(found, Header)
    return found


def flaws(found: Header) -> list[Flaw]:
    return [defect.code for defect in found.defects]


def sequence(*items: bytes, syntax: TransferSyntax = EVL, defined: bool = False) -> bytes:
    little = syntax.little_endian
    item, item_end, sequence_end = delimiters(little)
    if defined:
        form = "<HHI" if little else ">HHI"
        body = b"".join(struct.pack(form, 0xFFFE, 0xE000, len(i)) + i for i in items)
        return element_header(CODE, "SQ", len(body), syntax.encoding) + body
    body = b"".join(item + i + item_end for i in items)
    return element_header(CODE, "SQ", UNDEFINED, syntax.encoding) + body + sequence_end


def small(syntax: TransferSyntax, defined: bool) -> bytes:
    rows = struct.pack("<H" if syntax.little_endian else ">H", 512)
    return b"".join(
        [
            el(tags.SOPClassUID, "UI", b"1.2.840.10008.5.1.4.1.1.7\0", syntax),
            sequence(
                el(tags.CodeValue, "SH", b"T-1234", syntax),
                el(tags.CodeValue, "SH", b"X ", syntax)
                + sequence(el(tags.CodeMeaning, "LO", b"deep", syntax), syntax=syntax),
                syntax=syntax,
                defined=defined,
            ),
            el(tags.PatientName, "PN", b"Doe^Jane", syntax),
            el(tags.InstanceNumber, "IS", b"7 ", syntax),
            el(tags.Rows, "US", rows, syntax),
        ]
    )


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("syntax", [EVL, IVL, EVB], ids=lambda s: s.name)
def test_the_same_values_in_every_encoding(syntax: TransferSyntax, defined: bool) -> None:
    pixels = el(tags.PixelData, "OW", b"\1\2\3\4", syntax)
    data = small(syntax, defined) + pixels
    found = header(data, syntax)
    assert found.text(tags.SOPClassUID) == "1.2.840.10008.5.1.4.1.1.7"
    assert str(found.pn(tags.PatientName)) == "Doe^Jane"
    assert found.int(tags.InstanceNumber) == 7
    assert found.int(tags.Rows) == 512
    items = found.sequence(CODE)
    assert [item.text(tags.CodeValue) for item in items] == ["T-1234", "X"]
    assert items[1].sequence(CODE)[0].text(tags.CodeMeaning) == "deep"
    assert (found.pixel_tag, found.pixel_vr, found.pixel_length) == (tags.PixelData, "OW", 4)
    assert found.pixel_offset == len(data) - 4
    assert found.end == len(data) - len(pixels)
    assert found.defects == ()


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("syntax", [EVL, IVL, EVB], ids=lambda s: s.name)
def test_every_prefix_asks_for_more_or_gives_the_same_header(
    syntax: TransferSyntax, defined: bool
) -> None:
    data = small(syntax, defined) + el(tags.PixelData, "OW", b"\1\2\3\4", syntax)
    whole = header(data, syntax)
    for length in range(len(data)):
        found = scan(data[:length], syntax, complete=False)
        if isinstance(found, NeedMore):
            assert length < found.minimum <= (whole.pixel_offset or 0)
        else:
            assert length >= (whole.pixel_offset or 0)
            assert found.node.rows == whole.node.rows


def test_without_pixel_data_only_the_end_ends_it() -> None:
    data = small(EVL, True)
    assert isinstance(scan(data, EVL, complete=False), NeedMore)
    found = header(data)
    assert found.pixel_tag is None
    assert found.tail_offset is None
    assert found.defects == ()


def test_the_buffer_belongs_to_the_caller_again() -> None:
    data = bytearray(small(EVL, False) + el(tags.PixelData, "OW", b"\1\2"))
    partial = scan(data[:50], EVL, complete=False)
    assert isinstance(partial, NeedMore)
    growing = data[:50]
    assert isinstance(scan(growing, EVL, complete=False), NeedMore)
    growing += data[50:]  # raises BufferError if a view were kept
    found = scan(growing, EVL, complete=False)
    assert isinstance(found, Header)
    growing[:] = bytes(len(growing))
    assert found.text(tags.SOPClassUID) == "1.2.840.10008.5.1.4.1.1.7"


def test_encapsulated_pixel_data_have_no_length() -> None:
    data = small(EVL, True) + element_header(tags.PixelData, "OB", UNDEFINED)
    found = header(data, JPEGBaseline, complete=False)
    assert found.encapsulated
    assert (found.pixel_length, found.pixel_vr) == (None, "OB")


def test_pixel_data_of_four_gibibytes_are_only_a_number() -> None:
    data = small(EVL, True) + element_header(tags.PixelData, "OW", 0xFFFFFFFE)
    found = header(data, complete=False)
    assert found.pixel_length == 0xFFFFFFFE
    assert found.tail_offset == (found.pixel_offset or 0) + 0xFFFFFFFE


@pytest.mark.parametrize("tag", [tags.FloatPixelData, tags.DoubleFloatPixelData])
def test_float_pixels_end_the_header_too(tag: int) -> None:
    found = header(small(EVL, True) + el(tag, "OF", bytes(8)))
    assert found.pixel_tag == tag


def test_what_follows_the_pixels_is_the_tail() -> None:
    data = small(EVL, True) + el(tags.PixelData, "OW", b"\1\2")
    found = header(data + el(0xFFFAFFFA, "SQ") + el(tags.DataSetTrailingPadding, "OB", bytes(4)))
    tail = scan_tail(data[found.tail_offset :] + el(0xFFFAFFFA, "SQ"), found)
    assert isinstance(tail, Header)
    assert list(tail.index) == [0xFFFAFFFA]
    empty = scan_tail(b"", found)
    assert isinstance(empty, Header)
    assert len(empty) == 0
    assert empty.defects == ()
    zeros = scan_tail(bytes(5000), found)
    assert isinstance(zeros, Header)
    assert flaws(zeros) == [Flaw.TRAILING]


def test_a_long_document_ends_the_header_and_its_tail_is_read_later() -> None:
    pdf = el(tags.EncapsulatedDocument, "OB", bytes(5 << 20))
    data = (
        small(EVL, True) + pdf + el(tags.MIMETypeOfEncapsulatedDocument, "LO", b"application/pdf ")
    )
    found = header(data[:2000], complete=False)
    assert found.bulk is not None
    assert found.bulk[0] == tags.EncapsulatedDocument
    assert found.bulk[4] == 5 << 20
    assert found.pixel_tag is None
    tail = scan_tail(data[found.tail_offset :], found)
    assert isinstance(tail, Header)
    assert tail.text(tags.MIMETypeOfEncapsulatedDocument) == "application/pdf"
    short = small(EVL, True) + el(tags.EncapsulatedDocument, "OB", b"%PDF")
    assert header(short).raw(tags.EncapsulatedDocument) == b"%PDF"


# what is mended, and said


def test_first_of_two_elements_counts() -> None:
    data = el(tags.PatientID, "LO", b"FIRST ") + el(tags.PatientID, "LO", b"SECOND")
    found = header(data)
    assert found.text(tags.PatientID) == "FIRST"
    assert flaws(found) == [Flaw.DUPLICATE]


def test_disorder_is_noted_and_read() -> None:
    data = el(tags.PatientID, "LO", b"A1") + el(tags.StudyDate, "DA", b"20260101")
    found = header(data)
    assert found.text(tags.StudyDate) == "20260101"
    assert flaws(found) == [Flaw.UNSORTED]


def test_odd_lengths_and_bad_uids_are_noted() -> None:
    found = header(el(tags.SOPInstanceUID, "UI", b"1.02.3\0x/"))
    assert flaws(found) == [Flaw.ODD_LENGTH, Flaw.BAD_UID]


def test_an_implicit_element_in_an_explicit_data_set_is_read() -> None:
    data = (
        el(tags.StudyDate, "DA", b"20260101")
        + el(tags.PatientID, "LO", b"A1", IVL)
        + el(tags.Rows, "US", b"\2\0")
    )
    found = header(data)
    assert (found.text(tags.PatientID), found.int(tags.Rows)) == ("A1", 2)
    assert flaws(found) == [Flaw.MISSING_VR]


def test_an_unknown_vr_has_a_long_length_as_new_vrs_have() -> None:
    new = struct.pack("<HH2sHI", 0x0008, 0x0099, b"ZZ", 0, 4) + b"data"
    old = struct.pack("<HH2sH", 0x0008, 0x009A, b"ZZ", 4) + b"data"
    found = header(el(0x00080060, "CS", b"CT") + new + old + el(tags.Rows, "US", b"\2\0"))
    assert found.raw(0x00080099) == found.raw(0x0008009A) == b"data"
    assert found.int(tags.Rows) == 2
    assert flaws(found) == [Flaw.BAD_VR, Flaw.BAD_VR]


@pytest.mark.parametrize("real", [EVL, IVL, EVB], ids=lambda s: s.name)
@pytest.mark.parametrize("declared", [EVL, IVL, EVB], ids=lambda s: s.name)
def test_a_wrong_transfer_syntax_is_seen(declared: TransferSyntax, real: TransferSyntax) -> None:
    found = header(small(real, True), declared)
    assert found.int(tags.Rows) == 512
    assert found.encoding == real.encoding
    assert (Flaw.WRONG_SYNTAX in flaws(found)) == (real is not declared)


def test_un_of_undefined_length_is_an_implicit_sequence() -> None:
    inner = el(tags.PatientID, "LO", b"INNER ", IVL)
    data = element_header(0x00091001, "UN", UNDEFINED) + ITEM + inner + ITEM_END + SEQ_END
    found = header(el(0x00090010, "LO", b"ACME") + data + el(tags.Rows, "US", b"\2\0"))
    [item] = found.sequence(0x00091001)
    assert item.text(tags.PatientID) == "INNER"
    assert item.node.encoding == IMPLICIT_LE
    assert found.int(tags.Rows) == 2


def test_a_known_un_is_read_with_its_own_vr_in_little_endian() -> None:
    found = header(el(tags.Rows, "UN", b"\0\2", EVB), EVB)
    element = found.get(tags.Rows)
    assert element is not None
    assert (element.wire_vr, element.vr, found.int(tags.Rows)) == ("UN", "US", 512)


def test_encapsulated_icons_inside_items_are_passed() -> None:
    fragment = struct.pack("<HHI", 0xFFFE, 0xE000, 6) + b"\xfe\xff\xdd\xe0\0\0"
    icon = (
        element_header(tags.PixelData, "OB", UNDEFINED) + ITEM[:4] + bytes(4) + fragment + SEQ_END
    )
    data = (
        element_header(tags.IconImageSequence, "SQ", UNDEFINED) + ITEM + icon + ITEM_END + SEQ_END
    )
    found = header(data + el(0x00880200 + 0x100, "LO", b"after "))
    assert found.text(0x00880300) == "after"
    [item] = found.sequence(tags.IconImageSequence)
    assert item.raw(tags.PixelData) == ITEM[:4] + bytes(4) + fragment


def test_missing_delimiters_end_where_something_else_begins() -> None:
    inner = el(tags.CodeValue, "SH", b"T-1 ")
    no_item_end = element_header(CODE, "SQ", UNDEFINED) + ITEM + inner + SEQ_END
    found = header(no_item_end + el(tags.PatientID, "LO", b"A1"))
    assert found.sequence(CODE)[0].text(tags.CodeValue) == "T-1"
    assert found.text(tags.PatientID) == "A1"
    assert flaws(found) == [Flaw.BAD_SEQUENCE]
    no_sequence_end = element_header(CODE, "SQ", UNDEFINED) + ITEM + inner + ITEM_END
    found = header(no_sequence_end + el(tags.PatientID, "LO", b"A1"))
    assert found.text(tags.PatientID) == "A1"


def test_content_that_overruns_its_sequence_is_cut() -> None:
    lying = struct.pack("<HH2sH", 0x0008, 0x0100, b"SH", 5000) + b"T-1 "
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(lying)) + lying
    data = element_header(CODE, "SQ", len(item)) + item + el(tags.PatientID, "LO", b"A1")
    found = header(data)
    assert found.text(tags.PatientID) == "A1"
    assert flaws(found) == [Flaw.BAD_SEQUENCE]
    assert len(found.sequence(CODE)) == 1


def test_a_data_set_cut_off_in_an_element_says_so() -> None:
    data = small(EVL, True)
    found = header(data[:-1])
    assert found.truncated
    assert tags.Rows not in found
    assert found.int(tags.InstanceNumber) == 7
    assert flaws(header(data + b"\x10\0\x20")) == [Flaw.TRAILING]


@pytest.mark.parametrize(
    "data", [b"", b"\x08\0", bytes(100), b"\xff" * 100, ITEM + SEQ_END], ids=repr
)
def test_what_does_not_begin_with_an_element_is_refused(data: bytes) -> None:
    with pytest.raises(NotDicom):
        scan(data, EVL, complete=True)


# limits


def nested(depth: int) -> bytes:
    head = element_header(CODE, "SQ", UNDEFINED) + ITEM
    return head * depth + (ITEM_END + SEQ_END) * depth


def test_thirty_two_levels_are_read_and_no_more() -> None:
    data_set = header(nested(32))
    depth = 0
    items = data_set.sequence(CODE)
    while items:
        depth += 1
        items = items[0].sequence(CODE)
    assert depth == 32
    with pytest.raises(LimitExceeded, match="nested deeper"):
        scan(nested(33), EVL, complete=True)


def test_two_thousand_levels_are_refused_at_once_even_in_part() -> None:
    start = time.process_time()
    for data in (nested(2000), nested(2000)[:10_000], nested(100_000)):
        with pytest.raises(LimitExceeded):
            scan(data, EVL, complete=False)
    assert time.process_time() - start < 10 * slowness()


def test_defined_lengths_do_not_hide_depth() -> None:
    data = b""
    for _ in range(33):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data
        data = element_header(CODE, "SQ", len(item)) + item
    with pytest.raises(LimitExceeded, match="nested deeper"):
        scan(data, EVL, complete=True)


def test_an_element_that_claims_gigabytes_is_refused_with_and_without_them() -> None:
    data = el(tags.StudyDate, "DA", b"20260101") + element_header(0x00091001, "OB", 3 << 30)
    for complete in (True, False):
        with pytest.raises(LimitExceeded, match="longer than"):
            scan(data + bytes(1000), EVL, complete=complete)


def test_too_many_elements_are_refused_in_bounded_memory() -> None:
    limits = replace(DEFAULT, top_elements=1000, elements=5000)
    many = b"".join(el(0x00090000 + n, "UL", b"\0\0\0\0") for n in range(1, 1002))
    with pytest.raises(LimitExceeded, match="More than 1000"):
        scan(many, EVL, limits=limits, complete=True)
    items = sequence(*[b""] * 6000)
    with pytest.raises(LimitExceeded, match="More than 5000"):
        scan(items, EVL, limits=limits, complete=True)


def test_a_hostile_order_costs_neither_time_nor_memory() -> None:
    data = el(tags.PatientID, "LO", b"A1") * 90_000
    tracemalloc.start()
    start = time.process_time()
    found = header(data)
    assert time.process_time() - start < 20 * slowness()  # quadratic work takes minutes
    assert tracemalloc.get_traced_memory()[1] < 60 << 20
    tracemalloc.stop()
    assert len(found.structure) == DEFAULT.defects
    assert found.text(tags.PatientID) == "A1"


def test_a_deflated_data_set_is_inflated_first() -> None:
    import zlib

    from lightwell.dicom.uids import DeflatedExplicitVRLittleEndian

    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = packer.compress(small(EVL, True)) + packer.flush()
    found = scan_data_set(raw, DeflatedExplicitVRLittleEndian)
    assert found.int(tags.Rows) == 512
    assert found.encoding == EXPLICIT_LE


def test_encodings_are_what_they_say() -> None:
    assert (EXPLICIT_BE.order, EXPLICIT_LE.order) == (">", "<")
