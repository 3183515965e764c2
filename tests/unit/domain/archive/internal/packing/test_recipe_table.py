"""Every row of the recipe table (ADR 0015): what is coded, what is not, and that all of it comes back."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement

from lightwell.domain.archive.coding import Reason
from lightwell.domain.archive.internal.packing.recipe import Recipe
from lightwell.testing import encoding as enc
from lightwell.testing.inline_coder import InlineFrameCoder
from lightwell.testing.raw_objects import Form, RawObject, raw_object, smooth_words

GREY = Form()
BYTE = Form(allocated=8, stored=8, high=7)
FULL = Form(stored=16, high=15)
COLOUR = Form(allocated=8, stored=8, high=7, samples=3, photometric="RGB", planar=0)


def shifted(form: Form, by: int) -> bytes:
    return (smooth_words(form) << by).astype("<u2").tobytes()


CODED = {
    "u8": raw_object(BYTE),
    "s8": raw_object(replace(BYTE, signed=True)),
    "u8 in OW": raw_object(BYTE, vr="OW"),
    "u16 in OB": raw_object(GREY, vr="OB"),
    "u12 in 16": raw_object(GREY),
    "u16": raw_object(FULL),
    "s16": raw_object(replace(FULL, signed=True)),
    "s12 in 16": raw_object(replace(GREY, signed=True)),
    "monochrome 1": raw_object(replace(GREY, photometric="MONOCHROME1")),
    "palette 8": raw_object(replace(BYTE, photometric="PALETTE COLOR")),
    "palette 16": raw_object(replace(FULL, photometric="PALETTE COLOR")),
    "rgb 8": raw_object(COLOUR),
    "rgb 8 by plane": raw_object(replace(COLOUR, planar=1)),
    "rgb 16": raw_object(replace(COLOUR, allocated=16, stored=16, high=15)),
    "rgb 12 in 16 by plane": raw_object(
        replace(COLOUR, allocated=16, stored=12, high=11, planar=1)
    ),
    "rgb without planar configuration": raw_object(replace(COLOUR, planar=None)),
    "high bit above": raw_object(replace(GREY, high=15), shifted(GREY, 4)),
    "frames": raw_object(replace(GREY, frames=7)),
    "many pixels in a row": raw_object(replace(GREY, rows=1, columns=4096), bytes(8192)),
    "odd size": raw_object(replace(BYTE, rows=67, columns=65), smooth_words(
        replace(BYTE, rows=67, columns=65)).tobytes() + b"\x7f"),
    "odd length": raw_object(replace(BYTE, rows=67, columns=65)),
    "implicit": raw_object(GREY, syntax=enc.IMPLICIT_LE),
    "implicit rgb by plane": raw_object(replace(COLOUR, planar=1), syntax=enc.IMPLICIT_LE),
    "pad of ones": raw_object(GREY, smooth_words(GREY).tobytes() + b"\x01\x02" * 50),
    "trailing padding": raw_object(GREY, tail={0xFFFCFFFC: ("OB", bytes(126))}),
    "private tail": raw_object(GREY, tail={0x7FE10010: ("LO", "ACME"), 0x7FE11001: ("OB", b"ab")}),
    "implicit private tail": raw_object(
        GREY, syntax=enc.IMPLICIT_LE, tail={0x7FE10010: ("LO", "ACME"), 0x7FE11001: ("OB", b"ab")}
    ),
    "group lengths": raw_object(GREY, extra={0x00080000: ("UL", 999), 0x00280000: ("UL", 7)}),
    "lossy 00": raw_object(GREY, extra={"LossyImageCompression": "00"}),
    "original attributes": raw_object(
        GREY, extra={"OriginalAttributesSequence": [{"SourceOfPreviousValues": "x"}]}
    ),
    "sequence": raw_object(GREY, extra={"ReferencedImageSequence": [{"ReferencedSOPInstanceUID": "1"}]}),
}  # fmt: skip


@pytest.mark.parametrize("name", CODED)
def test_coded_and_rebuilt_bit_for_bit(name: str, pack) -> None:
    made = CODED[name]
    done = pack(made)
    assert done.entries[0].reason is None
    assert done.rebuilt() == made.data_set
    assert done.prove() == []
    assert len(done.part10()) < len(made.data_set)


@pytest.mark.parametrize("name", CODED)
def test_pydicom_reads_the_entry_as_it_reads_the_original(name: str, pack) -> None:
    made = CODED[name]
    entry = pydicom.dcmread(io.BytesIO(pack(made).part10()))
    whole = enc.file_meta(made.sop_class, made.sop_uid, made.syntax) + made.data_set
    original = pydicom.dcmread(io.BytesIO(whole))
    assert entry.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.202"
    assert entry["PixelData"].is_undefined_length
    assert entry.HighBit == entry.BitsStored - 1
    assert entry.BitsStored == original.BitsStored
    assert entry.get("LossyImageCompression") == original.get("LossyImageCompression")
    changed = {0x00280004, 0x00280006, 0x00280102, 0x7FE00010, 0xFFFCFFFC}
    kept = [e for e in original if int(e.tag) not in changed and e.tag.element]
    for element in kept:
        found: DataElement = entry[element.tag]
        if not element.tag.is_private or made.syntax == enc.EXPLICIT_LE:
            assert (found.VR, found.value) == (element.VR, element.value)
    assert not [e.tag for e in entry if e.tag.element == 0 or e.tag == 0xFFFCFFFC]
    if original.SamplesPerPixel == 3:
        assert (entry.PhotometricInterpretation, entry.PlanarConfiguration) == ("YBR_RCT", 0)
    else:
        assert entry.PhotometricInterpretation == original.PhotometricInterpretation


def _strayed(form: Form, mask: int) -> RawObject:
    words = smooth_words(form)
    rng = np.random.default_rng(5)
    some = rng.integers(0, 2, words.shape, dtype=np.uint16) * np.uint16(mask)
    return raw_object(form, (words ^ some).astype("<u2").tobytes())


STRAYS = {
    "unsigned": _strayed(GREY, 0xF000),
    "signed": _strayed(replace(GREY, signed=True), 0x8000),
    "below a high bit": raw_object(
        replace(GREY, high=15), (smooth_words(GREY) << 4 | 5).astype("<u2").tobytes()
    ),
    "frames, one of them": raw_object(
        replace(GREY, frames=3),
        smooth_words(replace(GREY, frames=3)).tobytes()[:-2] + b"\xff\xff",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STRAYS)
def test_stray_bits_come_back_from_the_side_member(name: str, pack) -> None:
    made = STRAYS[name]
    done = pack(made)
    entry = done.entries[0]
    assert entry.reason is None
    assert entry.side is not None
    assert Recipe.from_bytes(entry.recipe).sided
    assert done.rebuilt() == made.data_set
    assert done.prove() == []


def test_zeros_for_sign_bits_need_no_side(pack) -> None:
    form = replace(GREY, signed=True)
    made = raw_object(form, (smooth_words(form) & 0x0FFF).astype("<u2").tobytes())
    done = pack(made)
    assert (done.entries[0].reason, done.entries[0].side) == (None, None)
    assert done.rebuilt() == made.data_set


def test_an_overlay_in_the_pixel_data_is_taken_out(pack) -> None:
    plane = np.zeros((64, 64), bool)
    plane[10:20, 5:50] = True
    words = smooth_words(GREY)[0] | (plane.astype("<u2") << 12)
    overlay: dict[object, object] = {
        0x60000010: ("US", 64), 0x60000011: ("US", 64), 0x60000040: ("CS", "G"),
        0x60000050: ("SS", [1, 1]), 0x60000100: ("US", 16), 0x60000102: ("US", 12),
    }  # fmt: skip
    made = raw_object(GREY, words.astype("<u2").tobytes(), extra=overlay)
    done = pack(made)
    assert done.entries[0].reason is None
    entry = pydicom.dcmread(io.BytesIO(done.part10()))
    assert (entry[0x60000100].value, entry[0x60000102].value) == (1, 0)
    assert np.array_equal(entry.overlay_array(0x6000).astype(bool), plane)
    assert done.rebuilt() == made.data_set
    for refused in ({0x60000010: ("US", 32)}, {0x60000050: ("SS", [2, 1])}):
        odd = raw_object(GREY, words.astype("<u2").tobytes(), extra=overlay | refused)
        done = pack(odd)
        assert done.entries[0].reason is Reason.OVERLAY_BITS
        assert done.rebuilt() == odd.data_set


def _noise(form: Form) -> bytes:
    return np.random.default_rng(3).bytes(form.frames * form.frame_bytes)


def _bad_order() -> RawObject:
    made = raw_object(GREY)
    rows = enc.encode(enc.elements({"BodyPartExamined": "HEAD"}), enc.Form())
    at = made.data_set.index(struct.pack("<HH", 0x7FE0, 0x0010))
    return replace(made, data_set=made.data_set[:at] + rows + made.data_set[at:])


WIDE = Form(allocated=32, stored=32, high=31, rows=16, columns=16)
YBR = replace(COLOUR, photometric="YBR_FULL")
REFUSED = {
    "one-bit": raw_object(Form(allocated=1, stored=1, high=0), bytes(512)),
    "32-bit": raw_object(WIDE, bytes(1024)),
    "bits": raw_object(replace(GREY, stored=12, high=3)),
    "bits allocated 24": raw_object(replace(GREY, allocated=24, stored=24, high=23), bytes(64 * 64 * 3)),
    "float": raw_object(GREY, extra={0x7FE00008: ("OF", bytes(64))}),
    "lossy-flag": raw_object(GREY, extra={"LossyImageCompression": "01"}),
    "signed-object": raw_object(GREY, tail={0xFFFAFFFA: ("SQ", [{0x04000005: ("US", 1)}])}),
    "signed-object, an item": raw_object(
        GREY, extra={"ReferencedImageSequence": [{0xFFFAFFFA: ("SQ", [{0x04000005: ("US", 1)}])}]}
    ),
    "ybr-native": raw_object(YBR),
    "ybr-native 422": raw_object(replace(YBR, photometric="YBR_FULL_422"), bytes(64 * 64 * 2)),
    "colour-form": raw_object(replace(BYTE, samples=4, photometric="CMYK"), bytes(64 * 64 * 4)),
    "colour-form, one sample": raw_object(replace(BYTE, photometric="RGB")),
    "colour-form, signed": raw_object(replace(COLOUR, signed=True)),
    "short-value": raw_object(GREY, bytes(64 * 64 * 2 - 2)),
    "short-value, frames": raw_object(replace(GREY, frames=70_000), bytes(640)),
    "long-padding": raw_object(GREY, smooth_words(GREY).tobytes() + bytes(4098)),
    "long-tail": raw_object(GREY, tail={0x7FE10010: ("LO", "A"), 0x7FE11001: ("OB", bytes(2 << 20))}),
    "disorder": _bad_order(),
    "disorder, an offset table": raw_object(GREY, extra={0x7FE00001: ("OV", bytes(8))}),
    "big-endian": raw_object(GREY, syntax=enc.EXPLICIT_BE),
    "unknown-vr": raw_object(GREY, vr="UN"),
    "no-gain": raw_object(FULL, _noise(FULL)),
    "no-gain, tiny": raw_object(replace(BYTE, rows=10, columns=10)),
    "too-large": raw_object(replace(GREY, rows=65535, columns=65535), bytes(64)),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_its_reason_and_kept_as_received(name: str, pack) -> None:
    made = REFUSED[name]
    done = pack(made)
    entry = done.entries[0]
    assert entry.reason is not None
    assert entry.reason.value == name.split(",")[0].split(" ")[0]
    assert (entry.syntax, entry.recipe, entry.records) == (made.syntax, b"", None)
    assert done.read(entry.offset + entry.meta, entry.size) == made.data_set
    assert done.rebuilt() == made.data_set
    assert done.prove() == []


def test_a_deflated_and_an_unreadable_data_set(pack) -> None:
    plain = raw_object(GREY)
    elements = enc.elements({"SOPClassUID": plain.sop_class, "SOPInstanceUID": plain.sop_uid})
    deflated = RawObject(enc.encode_for_syntax(elements, enc.DEFLATED), enc.DEFLATED, "1.2")
    garbage = RawObject(b"\xff" * 300, enc.EXPLICIT_LE, "1.3")
    done = pack(deflated, garbage)
    assert [e.reason for e in done.entries] == [Reason.DEFLATED, Reason.UNREADABLE]
    assert [done.rebuilt(n) for n in (0, 1)] == [deflated.data_set, garbage.data_set]


def test_policy_and_a_codec_that_fails(pack) -> None:
    made = raw_object(GREY)
    refused = pack(made, refuse={made.sop_uid: Reason.POLICY})
    assert refused.entries[0].reason is Reason.POLICY

    def cut(_number: int, frame):
        return replace(frame, stream=frame.stream[:-10])

    broken = pack(made, coder=InlineFrameCoder(spoil=cut))
    assert broken.entries[0].reason is Reason.CODEC_FAILED
    assert broken.rebuilt() == made.data_set


@pytest.mark.parametrize("reason", Reason)
def test_reason_codes_never_change(reason: Reason) -> None:
    known = (
        "no-pixels already-encapsulated deflated big-endian other-syntax one-bit 32-bit float bits"
        " ybr-native colour-form lossy-flag signed-object short-value long-padding long-tail disorder"
        " unknown-vr overlay-bits too-large no-gain codec-failed proof-failed unreadable policy"
        " lossy-syntax"
    )
    assert reason.value in known.split()
