"""The native form of compressed originals: every pixel value, the rest of the header, or a reason."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from datetime import UTC, datetime

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from lightwell.backends.blobs.memory import MemoryStore
from lightwell.dicom.header import Header
from lightwell.dicom.scanner import scan
from lightwell.dicom.uids import ExplicitVRLittleEndian, syntax_of
from lightwell.domain.archive.coding import NativeFrame, NotCoded, Reason
from lightwell.domain.archive.internal.packing.index import index_bytes, read_index
from lightwell.domain.archive.internal.packing.manifest import read_manifest
from lightwell.domain.archive.internal.packing.native import native_of
from lightwell.domain.archive.internal.packing.proving import pack_proved
from lightwell.domain.archive.internal.packing.rows import form_of
from lightwell.domain.archive.internal.packing.sources import Source
from lightwell.domain.archive.internal.packing.writing import SeriesFacts
from lightwell.testing import encoding as enc
from lightwell.testing.builders import BuiltInstance, Shape, a_study, noise_pixels
from lightwell.testing.compression import compress
from lightwell.testing.inline_coder import InlineFrameCoder

EXPLICIT_LE = ExplicitVRLittleEndian.uid
LOSSLESS = [
    enc.RLE,
    enc.JPEG_LOSSLESS,
    enc.JPEG_LS,
    enc.JPEG_2000,
    enc.HTJ2K,
    enc.HTJ2K_RPCL,
    enc.ENCAPSULATED_UNCOMPRESSED,
]
SIZE = {"rows": 96, "columns": 80}


def smooth(shape: Shape, rng: np.random.Generator) -> NDArray[np.generic]:
    """Like noise, but worth compressing."""
    made = noise_pixels(shape, rng)
    ramp = np.linspace(0, (1 << (shape.bits_stored - 1)) - 9, made.size).reshape(made.shape)
    return (ramp + made % 8).astype(made.dtype)


def built(syntax: str, **options: object) -> BuiltInstance:
    return a_study("P1").with_series("CT", syntax=syntax, pixels=smooth, **SIZE, **options).only()  # type: ignore[arg-type]


def source_of(made: BuiltInstance) -> Source:
    data = made.dataset
    digest = hashlib.sha256(data).digest()
    return Source(
        made.sop_uid,
        made.sop_class,
        made.syntax,
        len(data),
        digest,
        lambda at, n: data[at : at + n],
    )


def header_of(data: bytes, syntax: str = EXPLICIT_LE) -> Header:
    found = scan(data, syntax_of(syntax), complete=True)
    assert isinstance(found, Header)
    return found


def pixels_of(data: bytes) -> bytes:
    header = header_of(data)
    assert header.pixel_offset is not None
    assert header.pixel_length is not None
    return data[header.pixel_offset : header.pixel_offset + header.pixel_length]


def others(header: Header) -> dict[int, bytes]:
    """What no decompression changes."""
    changed = (0x00280004, 0x00280006)
    return {
        tag: header.data[row[2] : row[3] + row[4]]
        for tag, row in header.index.items()
        if tag not in changed and tag >> 16 < 0x7FE0
    }


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize(
    "options",
    [{}, {"frames": 3}, {"signed": True}, {"colour": True}, {"bits_allocated": 8, "frames": 3}],
    ids=["grey", "frames", "signed", "colour", "eight bits"],
)
def test_native_form_is_what_was_compressed(syntax: str, options: dict[str, object]) -> None:
    made, plain = built(syntax, **options), built(EXPLICIT_LE, **options)
    native = native_of(source_of(made), InlineFrameCoder())
    assert native.refused is None
    assert native.arrived is not None
    assert native.arrived.syntax == syntax
    assert native.arrived.sha256 == hashlib.sha256(made.dataset).digest()
    data = native.read(0, native.size)
    assert hashlib.sha256(data).digest() == native.sha256
    assert pixels_of(data) == pixels_of(plain.dataset)
    assert others(header_of(data)) == others(header_of(made.dataset, syntax))
    photometric = header_of(data).text(0x00280004)
    assert photometric == header_of(plain.dataset).text(0x00280004)


def test_deflated_is_inflated() -> None:
    plain, made = built(EXPLICIT_LE), built(enc.DEFLATED)
    native = native_of(source_of(made), InlineFrameCoder())
    assert native.read(0, native.size) == plain.dataset


def test_what_may_have_lost_something_stays_as_received() -> None:
    lossy = native_of(source_of(built(enc.JPEG_BASELINE)), InlineFrameCoder())
    assert (lossy.refused, lossy.arrived) == (Reason.LOSSY_SYNTAX, None)
    flagged = native_of(
        source_of(built(enc.JPEG_LS, LossyImageCompression="01")), InlineFrameCoder()
    )
    assert flagged.refused is Reason.LOSSY_FLAG
    flagged = native_of(
        source_of(built(enc.DEFLATED, LossyImageCompression="01")), InlineFrameCoder()
    )
    assert flagged.refused is Reason.LOSSY_FLAG


def with_frame(syntax: str, stream: bytes) -> BuiltInstance:
    """An object that claims a syntax over a codestream of its own."""
    plain = built(EXPLICIT_LE)
    header = header_of(plain.dataset)
    element = enc.encapsulated_pixel_element([stream])
    return replace(plain, syntax=syntax, dataset=plain.dataset[: header.end] + element)


def frame() -> NDArray[np.uint16]:
    raw = np.frombuffer(pixels_of(built(EXPLICIT_LE).dataset), "<u2")
    return raw.reshape(SIZE["rows"], SIZE["columns"])


@pytest.mark.parametrize(
    ("syntax", "stream"),
    [
        (enc.JPEG_LS, lambda: imagecodecs.jpegls_encode(frame(), level=2)),
        (enc.JPEG_2000, lambda: imagecodecs.jpeg2k_encode(frame(), codecformat="j2k", level=40)),
        (enc.HTJ2K, lambda: imagecodecs.htj2k_encode(frame(), reversible=False)),
        (
            enc.JPEG_LOSSLESS,
            lambda: imagecodecs.jpeg8_encode((frame() >> 5).astype(np.uint8), level=90),
        ),
    ],
    ids=["near-lossless", "9-7 wavelet", "irreversible", "baseline"],
)
def test_a_lossy_codestream_under_a_lossless_name_stays(syntax: str, stream: object) -> None:
    made = with_frame(syntax, bytes(stream()))  # type: ignore[operator]
    native = native_of(source_of(made), InlineFrameCoder())
    assert (native.refused, native.arrived) == (Reason.CODEC_FAILED, None)


def test_a_point_transform_has_lost_bits() -> None:
    stream = bytearray(compress(frame(), enc.JPEG_LOSSLESS))
    assert native_of(
        source_of(with_frame(enc.JPEG_LOSSLESS, bytes(stream))), InlineFrameCoder()
    ).arrived
    at = stream.index(b"\xff\xda")
    stream[at + 5 + 2 * stream[at + 4] + 2] = 1  # Al
    native = native_of(source_of(with_frame(enc.JPEG_LOSSLESS, bytes(stream))), InlineFrameCoder())
    assert native.refused is Reason.CODEC_FAILED


def test_signed_objects_and_damaged_ones_stay() -> None:
    made = built(enc.JPEG_LS)
    signature = enc.encode({0xFFFAFFFA: ("SQ", [])}, enc.Form())
    signed = replace(made, dataset=made.dataset + signature)
    assert native_of(source_of(signed), InlineFrameCoder()).refused is Reason.SIGNED_OBJECT
    cut = replace(made, dataset=made.dataset[:-400])
    assert native_of(source_of(cut), InlineFrameCoder()).arrived is None
    source = source_of(made)
    rotten = bytearray(made.dataset)
    rotten[300] ^= 1
    other = replace(source, read=lambda at, n: bytes(rotten[at : at + n]))
    assert native_of(other, InlineFrameCoder()).arrived is None


def test_elements_behind_the_pixels_stay() -> None:
    made = built(enc.RLE)
    tail = enc.encode({0xFFFCFFFC: ("OB", b"\0" * 40)}, enc.Form())
    native = native_of(source_of(replace(made, dataset=made.dataset + tail)), InlineFrameCoder())
    assert native.read(0, native.size).endswith(tail)


def streams(syntax: str, count: int) -> list[bytes]:
    made = [compress((frame() + n).astype(np.uint16), syntax) for n in range(count)]
    return [stream + b"\0" * (len(stream) % 2) for stream in made]


def refused(made: BuiltInstance) -> Reason | None:
    native = native_of(source_of(made), InlineFrameCoder())
    assert native.arrived is None
    return native.refused


def with_streams(
    syntax: str, parts: list[bytes], more: bytes = b"", **options: object
) -> BuiltInstance:
    """Fragments of one's own behind a header that ends with `more`."""
    plain = built(EXPLICIT_LE, **options)
    head = plain.dataset[: header_of(plain.dataset).end] + more
    pixels = enc.encapsulated_pixel_element(parts, offset_table=False)
    return replace(plain, syntax=syntax, dataset=head + pixels)


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_frames_beyond_their_number_are_not_dropped(syntax: str) -> None:
    assert refused(with_streams(syntax, streams(syntax, 3))) in (
        Reason.DISORDER,
        Reason.CODEC_FAILED,
    )
    one, two = streams(syntax, 2)
    assert refused(with_streams(syntax, [one + two])) is Reason.CODEC_FAILED
    assert refused(with_streams(syntax, [one, two, two], frames=2)) is Reason.DISORDER


def element(tag: int, vr: str, value: bytes) -> bytes:
    return enc.encode({tag: (vr, value)}, enc.Form())


def offsets(parts: list[bytes]) -> bytes:
    starts = [sum(8 + len(part) for part in parts[:n]) for n in range(len(parts))]
    return np.array(starts, "<u8").tobytes()


def sizes(parts: list[bytes]) -> bytes:
    return np.array([len(part) for part in parts], "<u8").tobytes()


def test_what_describes_fragments_goes_with_them_and_nothing_else() -> None:
    parts = streams(enc.JPEG_LS, 2)
    table = element(0x7FE00001, "OV", offsets(parts))
    lengths = element(0x7FE00002, "OV", sizes(parts))
    total = element(0x7FE00003, "UV", np.uint64(sum(map(len, parts))).tobytes())
    group = element(0x7FE00000, "UL", b"\0\0\0\0")
    made = with_streams(enc.JPEG_LS, parts, group + table + lengths + total, frames=2)
    native = native_of(source_of(made), InlineFrameCoder())
    assert native.arrived is not None
    header = header_of(native.read(0, native.size))
    assert [tag for tag in header.index if tag >> 16 == 0x7FE0] == []
    assert header.pixel_tag == 0x7FE00010
    private = element(0x00091001, "OB", b"abcd")
    late = element(0x7FE00005, "OB", b"abcd")
    for more in (late, table + private, table + lengths + late, lengths + table, table * 2):
        made = with_streams(enc.JPEG_LS, parts, more, frames=2)
        assert refused(made) is Reason.DISORDER
    made = with_streams(enc.JPEG_LS, parts, table + element(0x00400031, "OB", b"a"), frames=2)
    assert refused(made) is Reason.DISORDER


def test_the_extended_table_says_what_is_there() -> None:
    parts = streams(enc.JPEG_LS, 3)
    short = sizes([part[:-2] for part in parts[:2]])
    for frames, table, lengths in (
        (1, offsets(parts), sizes(parts)),
        (2, offsets(parts), sizes(parts)),
        (2, offsets(parts[:2]), sizes(parts)),
        (2, offsets(parts[:2]), short),
    ):
        more = element(0x7FE00001, "OV", table) + element(0x7FE00002, "OV", lengths)
        made = with_streams(enc.JPEG_LS, parts[:2], more, frames=frames)
        assert refused(made) is Reason.DISORDER
    only = with_streams(
        enc.JPEG_LS, parts[:2], element(0x7FE00002, "OV", sizes(parts[:2])), frames=2
    )
    assert refused(only) is Reason.DISORDER


def test_a_deflated_data_set_ends_with_its_stream() -> None:
    made = built(enc.DEFLATED)
    data = made.dataset.removesuffix(b"\0")
    for pad in (b"", b"\0"):
        native = native_of(source_of(replace(made, dataset=data + pad)), InlineFrameCoder())
        assert native.arrived is not None
    for more in (b"\1", b"\0\0", b"more that is no padding"):
        assert refused(replace(made, dataset=data + more)) is Reason.DISORDER


def test_a_group_length_that_would_go_keeps_the_object_as_it_is() -> None:
    made = built(enc.JPEG_2000, colour=True)
    header = header_of(made.dataset, enc.JPEG_2000)
    start = next(row[2] for row in header.node.rows if row[0] >> 16 == 0x0028)
    length = element(0x00280000, "UL", b"\x40\0\0\0")
    data = made.dataset[:start] + length + made.dataset[start:]
    assert refused(replace(made, dataset=data)) is Reason.DISORDER


# --- whole packs -----------------------------------------------------------------------------------


def test_a_pack_says_what_is_kept_and_what_arrived(pack) -> None:
    made = [built(enc.JPEG_LS), built(EXPLICIT_LE), built(enc.JPEG_BASELINE)]
    sources = [native_of(source_of(each), InlineFrameCoder()) for each in made]
    stored = pack(sources=sources)
    first, second, third = stored.entries
    assert (form_of(first), form_of(second), form_of(third)) == (
        "pixel-exact",
        "coded",
        "lossy-syntax",
    )
    assert (first.received_syntax, first.sha256) == (enc.JPEG_LS, bytes.fromhex(made[0].sha256))
    assert (first.size, first.given_syntax) == (len(made[0].dataset), EXPLICIT_LE)
    assert first.kept is not None
    assert first.kept.sha256 == sources[0].sha256
    assert (second.kept, third.kept) == (None, None)
    assert stored.prove() == []
    assert stored.rebuilt(0) == sources[0].read(0, sources[0].size)
    assert stored.rebuilt(1) == made[1].dataset
    assert stored.rebuilt(2) == made[2].dataset
    assert stored.packed.raw == sum(len(each.dataset) for each in made)
    assert read_index(stored.read, len(stored.raw)).entries == stored.entries
    said = read_manifest(stored.packed.manifest)
    assert [one.kept for one in said.entries] == [one.kept for one in stored.entries]
    assert stored.packed.manifest[:7] == b'{"v":3,'
    assert zlib.decompress(index_bytes([second], (0, 0))[0])[:7] == b'{"v":1,'


def test_an_original_that_gains_nothing_goes_in_as_received(pack) -> None:
    made = a_study("P1").with_series("CT", syntax=enc.RLE, rows=8, columns=8).only()
    source = native_of(source_of(made), InlineFrameCoder())
    assert source.arrived is not None
    stored = pack(sources=[source])
    (entry,) = stored.entries
    assert (entry.reason, entry.kept) == (Reason.NO_GAIN, None)
    assert stored.rebuilt() == made.dataset
    assert stored.prove() == []


FACTS = SeriesFacts("1.2", "1.2.3", 1, datetime(2026, 1, 2, tzinfo=UTC))


def proved(made: BuiltInstance, coder: InlineFrameCoder) -> tuple[MemoryStore, str, object]:
    store = MemoryStore()
    names = iter(f"local/t/pack/{n:02d}/00/{n:032x}" for n in range(9))

    def source() -> Source:
        return native_of(source_of(made), coder)

    key, packed = pack_proved(
        lambda: [source()],
        coder,
        store,
        lambda: next(names),
        FACTS,
        again=lambda _uid: source().sha256,
    )
    return store, key, packed.entries[0]


def test_what_a_decoder_gives_only_once_is_packed_as_received() -> None:
    def mangle(number: int, frame: NativeFrame) -> NativeFrame | NotCoded:
        if number:
            return frame
        spoiled = bytearray(frame.data)
        spoiled[7] ^= 1
        return NativeFrame(frame.photometric, bytes(spoiled))

    made = built(enc.JPEG_LS)
    _store, _key, entry = proved(made, InlineFrameCoder(mangle=mangle))
    assert (entry.reason, entry.kept) == (Reason.PROOF_FAILED, None)  # type: ignore[attr-defined]
    _store, _key, entry = proved(made, InlineFrameCoder())
    assert (entry.reason, entry.kept is None) == (None, False)  # type: ignore[attr-defined]


def test_nothing_is_kept_instead_without_a_second_look() -> None:
    source = native_of(source_of(built(enc.JPEG_LS)), InlineFrameCoder())
    names = iter(f"local/t/pack/{n:02d}/00/{n:032x}" for n in range(9))
    _key, packed = pack_proved(
        lambda: [source], InlineFrameCoder(), MemoryStore(), lambda: next(names), FACTS
    )
    assert packed.entries[0].reason is Reason.PROOF_FAILED
    assert packed.entries[0].kept is None
