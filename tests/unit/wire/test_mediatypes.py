"""`docs/conformance/media-types.md` is the contract of media-type negotiation: each row is a test."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightwell.testing.pace import slowness
from lightwell.wire.mediatypes import (
    AS_STORED,
    EXPLICIT_VR_LITTLE_ENDIAN,
    FRAME_TYPES,
    MEDIA_TYPE_OF,
    NEVER_SENT,
    Answer,
    MediaType,
    NotAcceptable,
    PartAnswers,
    ResourceCategory,
    charset_acceptable,
    negotiate,
    negotiate_parts,
    parse_accept,
    parse_media_type,
)

PAGE = Path(__file__).resolve().parents[3] / "docs" / "conformance" / "media-types.md"

IVLE, EVLE, EVBE, DEFLATED = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)
J50, J57, J70, JLS, JLSN, J2K, J2KL, HT, HTRPCL, MP4, JXL = (
    f"1.2.840.10008.1.2.4.{arc}" for arc in (50, 57, 70, 80, 81, 90, 91, 201, 202, 102, 110)
)
RLE = "1.2.840.10008.1.2.5"
STRANGE = "1.2.3.4.5.6"
NAMES = {
    "Implicit LE": IVLE,
    "Explicit LE": EVLE,
    "Explicit BE": EVBE,
    "Deflated": DEFLATED,
    "JPEG .50": J50,
    "JPEG .57": J57,
    "JPEG .70": J70,
    "JPEG-LS .80": JLS,
    "JPEG-LS .81": JLSN,
    "J2K .90": J2K,
    "J2K .91": J2KL,
    "HTJ2K .201": HT,
    "HTJ2K .202": HTRPCL,
    "RLE": RLE,
    "MPEG-4 .102": MP4,
    "JPEG XL .110": JXL,
    "private": STRANGE,
}
NAME_OF = {uid: name for name, uid in NAMES.items()}

DECODABLE = {J50, J57, J70, JLS, JLSN, J2K, J2KL, HT, HTRPCL, RLE}
MADE = {J2K, JLS, HT}


def codecs(stored: str, wanted: str) -> bool:
    """The server of the table: decodes what is common, makes three lossless syntaxes."""
    readable = stored in DECODABLE or stored in {IVLE, EVLE, EVBE, DEFLATED}
    return readable and wanted in MADE | {EVLE, DEFLATED}


@dataclass(frozen=True)
class Row:
    """A line of the page."""

    resource: ResourceCategory
    items: int
    stored: str
    accept: tuple[str, ...]
    query: tuple[str, ...]
    answer: str
    why: str


def table() -> list[Row]:
    """The first table of the page. Cells: code is what is sent, a dash means that nothing is sent."""
    rows = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            break
        if len(cells) != 6 or cells[0] == "Resource" or cells[0].startswith("--"):
            continue
        resource, stored, accept, query, answer, why = cells
        name, _, count = resource.partition(" ")
        rows.append(
            Row(
                ResourceCategory(name),
                int(re.sub(r"\D", "", count) or 1),
                NAMES[stored],
                tuple(re.findall("`([^`]*)`", accept)),
                tuple(re.findall("`([^`]*)`", query)),
                answer,
                why,
            )
        )
    return rows


ROWS = table()


def outcome(row: Row) -> str:
    choice = negotiate(
        row.resource,
        row.accept,
        row.query,
        stored_syntax=row.stored,
        can_transcode=codecs,
        single_item=None if row.items == 1 else False,
    )
    if isinstance(choice, NotAcceptable):
        return "406"
    redirected = "" if choice.resource == row.resource else f"{choice.resource.value} "
    syntax = "" if choice.transfer_syntax is None else f", {NAME_OF[choice.transfer_syntax]}"
    form = "multipart" if choice.multipart else "single"
    return f"{redirected}{form} {choice.media_type}{syntax}"


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.resource}: {row.why}" for row in ROWS])
def test_the_table(row: Row) -> None:
    assert outcome(row) == row.answer


def test_the_table_is_large_enough_and_says_each_thing_once() -> None:
    assert len(ROWS) >= 110
    asked = [(r.resource, r.accept, r.query, r.stored, r.items) for r in ROWS]
    assert len(set(asked)) == len(asked)
    assert {row.resource for row in ROWS} == set(ResourceCategory)


def test_the_page_lists_every_media_type_of_frames() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for media, syntaxes in FRAME_TYPES.items():
        assert f"| {media} | {', '.join(syntaxes)} |" in text


# --- properties --------------------------------------------------------------------------------

resources = st.sampled_from(list(ResourceCategory))
stored_syntaxes = st.sampled_from([*NAME_OF, None])
types = st.one_of(
    st.sampled_from(
        ["*/*", "*", "image/*", "application/*", "multipart/*", "text/html", "image/png"]
    ),
    st.sampled_from(["multipart/related", "application/dicom", "application/dicom+json"]),
    st.sampled_from(["image/x-jls", *FRAME_TYPES]),
)
parameter = st.one_of(
    st.sampled_from(["type=application/dicom", 'type="application/octet-stream"', "type=image/*"]),
    st.sampled_from(["q=0", "q=0.5", "q=1", "q=nan", "charset=utf-8", "transfer-syntax=*"]),
    st.sampled_from([f"transfer-syntax={uid}" for uid in NAME_OF]),
)
parameters = st.lists(parameter, max_size=3)
entries = st.one_of(
    st.builds(lambda t, p: ";".join([t, *p]), types, parameters),
    st.text(max_size=30),
)
accepts = st.lists(st.lists(entries, max_size=5).map(",".join), max_size=3)


@settings(max_examples=1500, deadline=None)
@given(resources, accepts, accepts, stored_syntaxes, st.booleans())
def test_whatever_is_asked(
    resource: ResourceCategory,
    headers: list[str],
    query: list[str],
    stored: str | None,
    single: bool,
) -> None:
    choice = negotiate(
        resource, headers, query, stored_syntax=stored, can_transcode=codecs, single_item=single
    )
    if isinstance(choice, NotAcceptable):
        assert choice.offered
        return
    syntax = choice.transfer_syntax
    assert syntax not in NEVER_SENT
    assert syntax != AS_STORED
    alone = ("metadata", "search", "thumbnail", "preview")
    assert choice.multipart or single or resource in alone
    known = stored or EVLE
    if syntax is not None:
        assert syntax in (known, EVLE) or codecs(known, syntax)
        # A compressed object is called Explicit only if it can be decoded.
        if syntax == EVLE:
            assert known in (IVLE, EVLE, EVBE, DEFLATED) or codecs(known, EVLE)
    if choice.resource in ("frames", "bulkdata", "pixeldata"):
        assert choice.media_type == MEDIA_TYPE_OF.get(syntax or "", "application/octet-stream")


@settings(max_examples=500, deadline=None)
@given(resources, accepts, stored_syntaxes)
def test_an_unsupported_entry_never_spoils_the_others(
    resource: ResourceCategory, headers: list[str], stored: str | None
) -> None:
    plain = negotiate(resource, headers, stored_syntax=stored, can_transcode=codecs)
    if isinstance(plain, NotAcceptable) or not "".join(headers).strip() or '"' in "".join(headers):
        return
    more = negotiate(
        resource, ["model/vnd.nothing", *headers], stored_syntax=stored, can_transcode=codecs
    )
    assert more == plain


@pytest.mark.parametrize(
    "header",
    [
        ",".join(["*/*;q=0.1"] * 4000),
        '"' * 32_000,
        ('"\\' * 16_000),
        ";" * 32_000,
        "a/b;" + "x=y;" * 8000,
        "multipart/related;type=" * 1000,
        "application/dicom;q=" + "1" * 30_000,
    ],
)
def test_a_hostile_header_costs_little(header: str) -> None:
    started = time.process_time()
    for resource in ResourceCategory:
        negotiate(resource, [header], [header], stored_syntax=J2K, can_transcode=codecs)
    assert time.process_time() - started < 0.5 * slowness()


# --- several parts -----------------------------------------------------------------------------


MP = "multipart/related; type="


def parts(accept: str, *stored: str) -> PartAnswers | NotAcceptable:
    return negotiate_parts(
        ResourceCategory.STUDY, [accept], stored_syntaxes=stored, can_transcode=codecs
    )


def test_each_part_is_chosen_for_itself() -> None:
    choice = parts(MP + '"application/dicom"; transfer-syntax=*', J2K, IVLE, EVLE, MP4, J2K)
    assert isinstance(choice, PartAnswers)
    assert not choice.refused
    assert {stored: a.transfer_syntax for stored, a in choice.answers.items()} == {
        J2K: J2K,
        IVLE: EVLE,
        EVLE: EVLE,
        MP4: MP4,
    }


def test_what_cannot_be_sent_is_named() -> None:
    choice = parts(MP + f'"application/dicom"; transfer-syntax={EVLE}', J2K, MP4, RLE)
    assert isinstance(choice, PartAnswers)
    assert choice.refused == {MP4}
    assert set(choice.answers) == {J2K, RLE}


def test_nothing_can_be_sent() -> None:
    choice = parts(MP + f'"application/dicom"; transfer-syntax={EVLE}', MP4, STRANGE)
    assert isinstance(choice, NotAcceptable)
    assert f"application/dicom; transfer-syntax={MP4}" in choice.offered
    assert MP4 in choice.reason


def test_objects_and_bulk_data_are_not_mixed() -> None:
    accept = (
        MP + f'"application/dicom"; transfer-syntax={EVLE}, '
        + MP + '"application/octet-stream"; transfer-syntax=*; q=0.5'
    )  # fmt: skip
    choice = parts(accept, J2K, MP4)
    assert isinstance(choice, PartAnswers)
    assert {a.resource for a in choice.answers.values()} == {ResourceCategory.STUDY}
    assert choice.refused == {MP4}
    only_video = parts(accept, MP4)
    assert isinstance(only_video, PartAnswers)
    assert only_video.answers[MP4].resource is ResourceCategory.BULKDATA


# --- parsing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("application/dicom", MediaType("application/dicom")),
        (" Application/DICOM ;Q = 1 ", MediaType("application/dicom", (("q", "1"),))),
        ('a/b; x="1;2,3"; y', MediaType("a/b", (("x", "1;2,3"),))),
        ("a/b; x=1; X=2", MediaType("a/b", (("x", "1"),))),
        ('a/b; x="open', MediaType("a/b", (("x", "open"),))),
        ("", None),
        ("dicom", None),
        ("a/b/c", None),
        ("/b", None),
        ("a\r\n/b", None),
    ],
)
def test_media_types(text: str, expected: MediaType | None) -> None:
    assert parse_media_type(text) == expected


def test_accept_is_bounded() -> None:
    assert len(parse_accept(["*/*"] * 1000)) == 64
    assert parse_accept([]) == ()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, True),
        ("", True),
        ("utf-8", True),
        ("UTF-8;q=0.1, iso-8859-1", True),
        ("iso-8859-1", False),
        ("utf-8;q=0, *", False),
        ("iso-8859-1, *;q=0.1", True),
        ("*;q=0", False),
    ],
)
def test_accept_charset(header: str | None, expected: bool) -> None:
    assert charset_acceptable(header) is expected


def test_answers_without_a_syntax() -> None:
    answer = Answer("image/png", None, False, ResourceCategory.RENDERED)
    assert answer.content_type == "image/png"
    assert EXPLICIT_VR_LITTLE_ENDIAN == EVLE
