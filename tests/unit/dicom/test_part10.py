"""Heads of DICOM files: tolerant reading, exact writing."""

from __future__ import annotations

import io
import struct

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.dicom import part10
from lightwell.dicom.defects import Flaw
from lightwell.dicom.errors import DicomError, LimitExceeded, NotDicom, Truncated
from lightwell.dicom.uids import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    valid_uid,
)
from lightwell.dicom.vrs import IMPLICIT_LE, element_header
from lightwell.testing.builders import a_study

UID = "1.2.3.4.5"
DATA = b"\x08\0\x60\0CS\2\0CT"


def meta_of(raw: bytes) -> part10.FileMeta:
    meta, offset = part10.read_meta(raw + DATA)
    assert raw + DATA == raw[:offset] + DATA
    return meta


def test_what_is_written_is_read_back_by_us_and_by_pydicom() -> None:
    raw = part10.write_meta(
        CTImageStorage,
        UID,
        HTJ2KLossless,
        source_ae="CT1",
        sending_ae="CT1OUT",
        receiving_ae="LIGHTWELL",
        private=b"arrival",
        private_creator_uid="1.2.3",
    )
    assert raw[:128] == bytes(128)
    meta = meta_of(raw)
    assert meta.defects == ()
    assert (meta.sop_class, meta.sop_instance) == (CTImageStorage, UID)
    assert meta.syntax is HTJ2KLossless
    assert (meta.source_ae, meta.sending_ae, meta.receiving_ae) == ("CT1", "CT1OUT", "LIGHTWELL")
    assert (meta.private_creator_uid, meta.private) == ("1.2.3", b"arrival\0")
    assert raw[meta.private_offset : meta.private_offset + 8] == b"arrival\0"
    theirs = pydicom.dcmread(io.BytesIO(raw + DATA)).file_meta
    assert theirs.TransferSyntaxUID == HTJ2KLossless.uid
    assert theirs.FileMetaInformationGroupLength == len(raw) - 144
    assert theirs.ReceivingApplicationEntityTitle == "LIGHTWELL"
    assert theirs.PrivateInformation == b"arrival\0"


def test_our_identity() -> None:
    assert valid_uid(part10.IMPLEMENTATION_CLASS_UID)
    assert len(part10.IMPLEMENTATION_VERSION_NAME) <= 16
    meta = meta_of(part10.write_meta(CTImageStorage, UID, ExplicitVRLittleEndian))
    assert meta.implementation_class == part10.IMPLEMENTATION_CLASS_UID


def test_what_leaves_has_a_zero_preamble_and_no_arrival_facts() -> None:
    evil = b"MZ".ljust(128, b"\x90")
    raw = (
        evil
        + part10.write_meta(CTImageStorage, UID, HTJ2KLossless, source_ae="A", private=b"x")[128:]
    )
    meta = meta_of(raw)
    assert meta.preamble == evil
    clean = part10.clean_meta(meta)
    assert clean[:128] == bytes(128)
    again = meta_of(clean)
    assert (again.source_ae, again.private, again.private_creator_uid) == ("", b"", "")
    assert again.syntax is HTJ2KLossless
    other = meta_of(part10.clean_meta(meta, ExplicitVRLittleEndian))
    assert other.syntax is ExplicitVRLittleEndian
    assert part10.with_identity(meta, "1.2", "1.3").sop_instance == "1.3"


def test_wrong_and_missing_group_lengths_do_not_matter() -> None:
    raw = part10.write_meta(CTImageStorage, UID, ExplicitVRLittleEndian)
    lying = raw[:140] + struct.pack("<I", 5) + raw[144:]
    for broken in (lying, raw[:132] + raw[144:]):
        meta = meta_of(broken)
        assert meta.sop_instance == UID
        assert [d.code for d in meta.defects] == [Flaw.BAD_META]


def test_no_preamble_with_and_without_the_prefix() -> None:
    raw = part10.write_meta(CTImageStorage, UID, ExplicitVRLittleEndian)
    for start in (128, 132):
        meta = meta_of(raw[start:])
        assert meta.sop_instance == UID
        assert Flaw.BAD_META in [d.code for d in meta.defects]


def test_implicit_meta_is_read() -> None:
    uid = b"1.2.840.10008.1.2\0"
    raw = bytes(128) + b"DICM" + element_header(0x00020010, "UI", len(uid), IMPLICIT_LE) + uid
    assert meta_of(raw).syntax is ImplicitVRLittleEndian


@pytest.mark.parametrize(
    ("head", "syntax"),
    [
        (DATA, ExplicitVRLittleEndian),
        (b"\x08\0\x60\0\2\0\0\0CT", ImplicitVRLittleEndian),
        (b"\0\x08\0\x60CS\0\2CT", ExplicitVRBigEndian),
    ],
)
def test_a_bare_data_set_tells_its_encoding(head: bytes, syntax: object) -> None:
    meta, offset = part10.read_meta(head)
    assert (meta.syntax, offset, meta.guessed) == (syntax, 0, True)


def test_a_missing_transfer_syntax_is_guessed_from_the_data_set() -> None:
    raw = bytes(128) + b"DICM" + element_header(0x00020003, "UI", 4) + b"1.2\0"
    meta = meta_of(raw)
    assert meta.syntax is ExplicitVRLittleEndian
    assert meta.guessed


def test_dicm_inside_a_data_set_without_preamble_is_no_prefix() -> None:
    head = b"\x08\0\x3e\x10LO\xff\0"
    raw = head + b"x" * (128 - len(head)) + b"DICM" + b"y" * 200
    meta, offset = part10.read_meta(raw)
    assert (offset, meta.guessed) == (0, True)


@pytest.mark.parametrize(
    "raw", [b"", b"DICM", b"\xde\xad" * 500, b"PK\3\4" + bytes(200), b"<html>" * 40]
)
def test_other_files_are_refused(raw: bytes) -> None:
    with pytest.raises(NotDicom):
        part10.read_meta(raw)


def test_every_cut_is_truncated_with_the_length_needed_or_read() -> None:
    raw = part10.write_meta(CTImageStorage, UID, ExplicitVRLittleEndian, private=bytes(64))
    for length in range(132 + 12):
        with pytest.raises(Truncated) as caught:
            part10.read_meta(raw[:length], complete=False)
        assert caught.value.needed is not None
        assert caught.value.needed > length
    with pytest.raises(Truncated):
        part10.read_meta(raw[:-1])


def test_meta_beyond_its_limit_is_refused() -> None:
    raw = bytes(128) + b"DICM" + element_header(0x00020102, "OB", 2 << 20) + bytes(2 << 20)
    with pytest.raises(LimitExceeded):
        part10.read_meta(raw)
    huge = bytes(128) + b"DICM" + element_header(0x00020102, "OB", 0xFFFFFFF0) + bytes(100)
    with pytest.raises(LimitExceeded):
        part10.read_meta(huge)


@given(st.binary(max_size=400), st.booleans(), st.booleans())
def test_only_dicom_errors_escape(raw: bytes, prefixed: bool, complete: bool) -> None:
    if prefixed:
        raw = bytes(128) + b"DICM\2\0" + raw
    try:
        _meta, offset = part10.read_meta(raw, complete=complete)
    except DicomError:
        return
    assert 0 <= offset <= len(raw)


def test_a_file_cut_anywhere_in_its_meta_is_never_taken_for_whole() -> None:
    """Bytes that end between two meta elements once passed for a data set in a guessed syntax."""
    whole = a_study().with_series("CT", instances=1).only().part10
    expected, offset = part10.read_meta(whole)
    for length in range(offset + 2):
        with pytest.raises(Truncated):
            part10.read_meta(whole[:length], complete=False)
    meta, start = part10.read_meta(whole[: offset + 2], complete=False)
    assert (meta.syntax, start) == (expected.syntax, offset)
