"""The multipart parser gives the same parts however the body is cut, and refuses what is not whole."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightwell.kernel.errors import Kind
from lightwell.testing.pace import slowness
from lightwell.wire.multipart import (
    PART_END,
    End,
    LimitExceeded,
    Limits,
    Malformed,
    MultipartError,
    MultipartParser,
    PartBegin,
    PartData,
    PartEnd,
    Truncated,
    boundary_of,
    closing,
    content_type,
    new_boundary,
    parse_part_header,
    part_head,
)


@dataclass
class Part:
    headers: dict[str, str]
    data: bytearray = field(default_factory=bytearray)
    whole: bool = False


@dataclass
class Outcome:
    """What a reader of the events sees: parts, how it ended, nothing about how bytes were cut."""

    parts: list[Part]
    ended: bool
    error: type[MultipartError] | None


def read(chunks: Iterable[bytes], boundary: bytes = b"b", limits: Limits | None = None) -> Outcome:
    parser = MultipartParser(boundary, limits or Limits())
    outcome = Outcome([], ended=False, error=None)

    def take(events: list[PartBegin | PartData | PartEnd | End]) -> None:
        for event in events:
            assert not outcome.ended, "an event after End"
            match event:
                case PartBegin(headers):
                    assert not outcome.parts or outcome.parts[-1].whole
                    outcome.parts.append(Part(dict(headers)))
                case PartData(data):
                    assert len(data), "an empty PartData"
                    assert not outcome.parts[-1].whole
                    outcome.parts[-1].data += data
                case PartEnd():
                    outcome.parts[-1].whole = True
                case End():
                    outcome.ended = True

    try:
        for chunk in chunks:
            take(parser.feed(chunk))
        take(parser.close())
    except MultipartError as error:
        outcome.error = type(error)
    return outcome


def one_by_one(body: bytes) -> Iterable[bytes]:
    return (body[i : i + 1] for i in range(len(body)))


def written(parts: list[bytes], boundary: str = "b") -> bytes:
    heads = [part_head(boundary, "application/dicom") for _ in parts]
    joined = PART_END.join(head + data for head, data in zip(heads, parts, strict=True))
    return joined + closing(boundary)


# --- what is read ------------------------------------------------------------------------------

WHOLE = [
    ("by the book", b"--b\r\nA: 1\r\n\r\nxyz\r\n--b--\r\n", [b"xyz"]),
    ("no line end after the closing boundary", b"--b\r\n\r\nxyz\r\n--b--", [b"xyz"]),
    ("a blank line before the first boundary", b"\r\n--b\r\n\r\nxyz\r\n--b--\r\n", [b"xyz"]),
    ("preamble and epilogue", b"hello\r\n--b\r\n\r\nxyz\r\n--b--\r\nbye\r\n--b\r\n", [b"xyz"]),
    ("a preamble that mentions the boundary", b"see --b\r\n--b\r\n\r\nx\r\n--b--", [b"x"]),
    ("LF only", b"--b\nA: 1\n\nxyz\n--b\n\nuvw\n--b--\n", [b"xyz", b"uvw"]),
    ("LF only: CR before a delimiter is data", b"--b\n\nxyz\r\n--b--\n", [b"xyz\r"]),
    ("CRLF: LF before a look-alike is data", b"--b\r\n\r\nx\n--b\r\ny\r\n--b--", [b"x\n--b\r\ny"]),
    ("blanks behind the boundary", b"--b \t\r\n\r\nxyz\r\n--b-- \t \r\n", [b"xyz"]),
    ("a longer boundary is data", b"--b\r\n\r\nx\r\n--bb\r\ny\r\n--b--", [b"x\r\n--bb\r\ny"]),
    ("a boundary without dashes", b"--b\r\n\r\nx\r\nb\r\ny\r\n--b--", [b"x\r\nb\r\ny"]),
    ("a boundary within a line is data", b"--b\r\n\r\nx--b\r\ny\r\n--b--", [b"x--b\r\ny"]),
    ("a closing boundary with a tail", b"--b\r\n\r\nx\r\n--b--y\r\n--b--", [b"x\r\n--b--y"]),
    ("65 blanks are not padding", b"--b\r\n\r\nx\r\n--b" + b" " * 65 + b"\r\n\r\n--b--",
     [b"x\r\n--b" + b" " * 65 + b"\r\n"]),
    ("part without data", b"--b\r\nA: 1\r\n\r\n\r\n--b--", [b""]),
    ("part without data or its line end", b"--b\r\nA: 1\r\n\r\n--b\r\n\r\nx\r\n--b--", [b"", b"x"]),
    ("part without headers", b"--b\r\n\r\nxyz\r\n--b--", [b"xyz"]),
    ("data that begin like the boundary", b"--b\r\n\r\n--bx\r\n--b--", [b"--bx"]),
    ("data that are line ends", b"--b\r\n\r\n\r\n\r\n\r\n--b--", [b"\r\n\r\n"]),
    ("data ending in CR", b"--b\r\n\r\nx\r\r\n--b--", [b"x\r"]),
    ("data ending in dashes", b"--b\r\n\r\nx\r\n--\r\n--b--", [b"x\r\n--"]),
    ("no part at all", b"--b--\r\n", []),
]  # fmt: skip


@pytest.mark.parametrize(("body", "parts"), [row[1:] for row in WHOLE], ids=[r[0] for r in WHOLE])
@pytest.mark.parametrize("cut", ["whole", "bytes", "pairs"])
def test_whole_bodies(body: bytes, parts: list[bytes], cut: str) -> None:
    step = {"whole": len(body), "bytes": 1, "pairs": 2}[cut]
    outcome = read(body[i : i + step] for i in range(0, len(body), step))
    assert [bytes(part.data) for part in outcome.parts] == parts
    assert all(part.whole for part in outcome.parts)
    assert outcome.ended
    assert outcome.error is None


BROKEN = [
    ("nothing", b"", Truncated),
    ("no boundary", b"hello", Truncated),
    ("only the first boundary", b"--b\r\n", Truncated),
    ("cut in a header", b"--b\r\nContent-Type: application/di", Truncated),
    ("cut in data", b"--b\r\n\r\nxyz", Truncated),
    ("cut in a delimiter", b"--b\r\n\r\nxyz\r\n--", Truncated),
    ("missing closing boundary", b"--b\r\n\r\nxyz\r\n--b\r\n", Truncated),
    ("boundary at the end, not closed", b"--b\r\n\r\nxyz\r\n--b", Truncated),
    ("half closed", b"--b\r\n\r\nxyz\r\n--b-", Truncated),
    ("other boundary", b"--c\r\n\r\nxyz\r\n--c--\r\n", Truncated),
    ("line without colon", b"--b\r\nnonsense\r\n\r\nxyz\r\n--b--", Malformed),
    ("delimiter within a header", b"--b\r\nA: 1\r\n--b--\r\n\r\nx", Malformed),
    ("NUL in a header", b"--b\r\nA: \0\r\n\r\nxyz\r\n--b--", Malformed),
    ("bare CR in a header", b"--b\r\nA: 1\rB: 2\r\n\r\nxyz\r\n--b--", Malformed),
    ("two types", b"--b\r\nContent-Type: a/b\r\ncontent-type: c/d\r\n\r\nx\r\n--b--", Malformed),
    ("continuation first", b"--b\r\n A: 1\r\n\r\nx\r\n--b--", Malformed),
    ("65 header lines", b"--b\r\n" + b"A: 1\r\n" * 65 + b"\r\nx\r\n--b--", LimitExceeded),
    ("endless preamble", b"x" * 70_000 + b"\r\n--b\r\n\r\nx\r\n--b--", Malformed),
]  # fmt: skip


@pytest.mark.parametrize(("body", "error"), [row[1:] for row in BROKEN], ids=[r[0] for r in BROKEN])
def test_broken_bodies(body: bytes, error: type[MultipartError]) -> None:
    assert read([body]).error is error
    assert read(one_by_one(body)).error is error
    assert error("x").kind is Kind.INVALID


def test_a_truncated_body_keeps_the_parts_before_and_never_ends_the_last() -> None:
    body = written([b"first", b"second"])
    for length in range(len(body) - 2):  # the final CRLF may be missing
        outcome = read([body[:length]])
        assert outcome.error is Truncated
        assert not outcome.ended
        for part, data in zip(outcome.parts, [b"first", b"second"], strict=False):
            assert data.startswith(bytes(part.data))
            assert bytes(part.data) == data or not part.whole


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_part_header_limit_is_exact(step: int) -> None:
    def outcome(length: int) -> Outcome:
        header = b"A: " + b"x" * (length - 5) + b"\r\n"
        body = b"--b\r\n" + header + b"\r\nxyz\r\n--b--"
        return read(body[i : i + step] for i in range(0, len(body), step))

    assert outcome(16 * 1024).error is None
    assert outcome(16 * 1024 + 1).error is LimitExceeded


def test_a_part_header_that_never_ends_is_cut_at_the_limit() -> None:
    fed = 0

    def endless() -> Iterator[bytes]:
        nonlocal fed
        yield b"--b\r\nA: "
        while True:
            fed += 1000
            yield b"x" * 1000

    assert read(endless()).error is LimitExceeded
    assert fed <= 17_000


def test_parts_limit_is_exact() -> None:
    limits = Limits(parts=3)
    assert read([written([b"x"] * 3)], limits=limits).error is None
    outcome = read([written([b"x"] * 4)], limits=limits)
    assert outcome.error is LimitExceeded


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_part_data_limit_is_exact(step: int) -> None:
    limits = Limits(part_data=100)
    for length, error in ((100, None), (101, LimitExceeded)):
        body = written([b"y", b"x" * length])
        chunks = (body[i : i + step] for i in range(0, len(body), step))
        assert read(chunks, limits=limits).error is error


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_lookalike_limit_does_not_depend_on_the_cut(step: int) -> None:
    limits = Limits(lookalikes=10)
    for count, error in ((10, None), (11, LimitExceeded)):
        body = written([b"\r\n--bx" * count])
        chunks = (body[i : i + step] for i in range(0, len(body), step))
        assert read(chunks, limits=limits).error is error


# --- cost --------------------------------------------------------------------------------------


def test_a_hundred_thousand_parts_cost_less_than_two_seconds() -> None:
    boundary = new_boundary()
    body = written([b"0123456789"] * 100_000, boundary)
    started = time.process_time()
    outcome = read((body[i : i + 65_536] for i in range(0, len(body), 65_536)), boundary.encode())
    spent = time.process_time() - started
    assert len(outcome.parts) == 100_000
    assert outcome.error is None
    assert spent < 2 * slowness()


def test_single_bytes_cost_linear_time_even_inside_a_header() -> None:
    def spent(header: int, data: int) -> float:
        body = b"--b\r\nA: " + b"x" * header + b"\r\n\r\n" + b"\r\n--" * data + b"\r\n--b--"
        started = time.process_time()
        assert read(one_by_one(body)).error is None
        return time.process_time() - started

    assert spent(16_000, 50_000) < 2 * slowness()


def test_lookalikes_are_cut_before_they_cost() -> None:
    body = b"--b\r\n\r\n" + b"\r\n--bx" * 1_000_000
    started = time.process_time()
    assert read([body]).error is LimitExceeded
    assert time.process_time() - started < 0.5 * slowness()


def test_large_parts_are_handed_on_without_copies() -> None:
    chunk = random.Random(7).randbytes(1 << 20)
    parser = MultipartParser(new_boundary().encode())
    parser.feed(b"--" + parser._dash[2:] + b"\r\n\r\n")
    tracemalloc.start()
    try:
        for _ in range(20):
            for event in parser.feed(chunk):
                assert isinstance(event, PartData)
                assert event.data.obj is chunk
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000


# --- any cut is the whole ----------------------------------------------------------------------

piece = st.one_of(
    st.sampled_from(
        [b"\r\n--b", b"\n--b", b"--b", b"--", b"\r\n", b"\n", b"\r", b"-", b" ", b"b", b"\t"]
    ),
    st.sampled_from([b"Content-Type: a/b", b"A: 1", b":", b"\0", b"xyz", b"\r\n\r\n"]),
    st.binary(max_size=6),
)
soup = st.lists(piece, max_size=40).map(b"".join)
bodies = st.one_of(
    soup,
    soup.map(lambda tail: b"--b\r\nA: 1\r\n\r\n" + tail + b"\r\n--b--"),
    soup.map(lambda tail: b"--b\n\n" + tail + b"\n--b--"),
    st.lists(soup, max_size=4).map(written),
)


def seen(outcome: Outcome) -> tuple[object, ...]:
    """Equal for equal bodies. Of a part that an error cut short, how much was seen may differ."""
    whole = [(p.headers, bytes(p.data)) for p in outcome.parts if p.whole]
    return whole, len(outcome.parts), outcome.ended, outcome.error


@settings(max_examples=600, deadline=None)
@given(bodies, st.lists(st.integers(1, 12), min_size=1, max_size=30))
@example(b"--b\r\n\r\n--b--", [1])
@example(b"--b\n\r\n--b--\r", [3, 1])
def test_any_split_gives_the_same_as_the_whole(body: bytes, sizes: list[int]) -> None:
    limits = Limits(part_header=64, header_lines=4, preamble=64, lookalikes=8)
    whole = read([body], limits=limits)
    chunks, at, turn = [], 0, 0
    while at < len(body):
        chunks.append(body[at : at + sizes[turn % len(sizes)]])
        at += len(chunks[-1])
        turn += 1
    cut = read(chunks, limits=limits)
    assert seen(cut) == seen(whole)
    assert seen(read(one_by_one(body), limits=limits)) == seen(whole)
    if whole.error is None:
        assert [bytes(p.data) for p in cut.parts] == [bytes(p.data) for p in whole.parts]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 64))
def test_what_is_written_is_read_back(parts: list[bytes], step: int) -> None:
    boundary = new_boundary()
    body = written(parts, boundary)
    outcome = read((body[i : i + step] for i in range(0, len(body), step)), boundary.encode())
    assert outcome.error is None
    assert outcome.ended
    assert [bytes(p.data) for p in outcome.parts] == parts
    assert all(p.headers == {"content-type": "application/dicom"} for p in outcome.parts)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_buffer(kind: type) -> None:
    body = written([b"abc", b"def"])
    outcome = read(kind(body[i : i + 9]) for i in range(0, len(body), 9))
    assert [bytes(p.data) for p in outcome.parts] == [b"abc", b"def"]


def test_an_error_comes_after_what_was_whole_and_stays() -> None:
    parser = MultipartParser(b"b")
    events = parser.feed(b"--b\r\n\r\nx\r\n--b\r\nnonsense\r\n\r\ny\r\n--b--\r\n")
    assert [type(event) for event in events] == [PartBegin, PartData, PartEnd]
    with pytest.raises(Malformed):
        parser.feed(b"more")
    with pytest.raises(Malformed):
        parser.close()


# --- headers and writer ------------------------------------------------------------------------


def test_part_headers() -> None:
    headers = parse_part_header(
        b'Content-Type: application/dicom;\r\n transfer-syntax="1.2.3"\r\n'
        b"X-Thing: a\r\nx-thing: b\r\nContent-Location:  ../x%20y \r\nEmpty:\r\n"
    )
    assert headers == {
        "content-type": 'application/dicom; transfer-syntax="1.2.3"',
        "x-thing": "a, b",
        "content-location": "../x%20y",
        "empty": "",
    }
    begin = PartBegin(headers)
    assert begin.content_location == "../x%20y"
    assert begin.content_type is not None
    assert begin.content_type.type == "application/dicom"
    assert begin.content_type.get("transfer-syntax") == "1.2.3"
    assert PartBegin({}).content_type is None
    assert PartBegin({}).content_location is None


@pytest.mark.parametrize(
    ("header", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', b"abc"),
        ('multipart/related; boundary="a b;c,d"; type=application/dicom', b"a b;c,d"),
        ("Multipart/Related;BOUNDARY=abc;type=application/dicom", b"abc"),
        ("multipart/related; boundary = 'x' ", b"'x'"),
        ('multipart/related;boundary="' + "x" * 200 + '"', b"x" * 200),
    ],
)
def test_boundary_of(header: str, boundary: bytes) -> None:
    assert boundary_of(header) == boundary


@pytest.mark.parametrize(
    "header",
    [
        "",
        "application/dicom",
        "multipart/form-data; boundary=abc",
        'multipart/related; type="application/dicom"',
        "multipart/related; boundary=",
        'multipart/related; boundary=""',
        "multipart/related; boundary=" + "x" * 201,
        "multipart/related; boundary=a\x01b",
        "multipart/related; boundary=grün",
    ],
)
def test_boundary_refused(header: str) -> None:
    with pytest.raises(Malformed):
        boundary_of(header)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_only_malformed_escapes_a_content_type(text: str) -> None:
    try:
        found = boundary_of("multipart/related;" + text)
    except Malformed:
        return
    assert 1 <= len(found) <= 200


def test_the_writer_by_the_letter() -> None:
    head = part_head(
        "b",
        "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90",
        content_location="/dicomweb/studies/1/series/2/instances/3/frames/1",
        content_length=3,
    )
    assert head + b"xyz" + closing("b") == (
        b"--b\r\n"
        b"Content-Type: image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90\r\n"
        b"Content-Location: /dicomweb/studies/1/series/2/instances/3/frames/1\r\n"
        b"Content-Length: 3\r\n"
        b"\r\n"
        b"xyz\r\n"
        b"--b--\r\n"
    )
    assert content_type("b", "image/jp2") == 'multipart/related; type="image/jp2"; boundary=b'
    assert boundary_of(content_type(new_boundary(), "application/dicom")).startswith(b"lightwell-")


@pytest.mark.parametrize("value", ["x\r\nSet-Cookie: a", "x\n", "x\0", "grün"])
def test_no_value_can_add_a_header_line(value: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        part_head("b", value)
    with pytest.raises(ValueError, match="printable"):
        part_head("b", "application/dicom", content_location=value)
