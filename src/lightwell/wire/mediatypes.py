"""Which representation a DICOMweb client gets: all media-type negotiation in one place.

Owns: lenient parsing of media types, `Accept` headers and `accept=` query parameters, and the choice
of media type, transfer syntax and form (multipart or single part) after PS3.18 8.7 (edition 2026b).
Refuses: to look at objects. The caller says how a part is stored and what it could be turned into;
for a response of several parts the choice is made once a part (PS3.18 8.7.8.1).

The order of choice: the `accept=` query parameter, else the `Accept` header (q-values, then the more
specific range, then the order written), else the default of the resource when a wildcard allows it,
else `NotAcceptable` (406). An absent header means `*/*`.

Where clients in the field and the text differ, clients win and the part says what it really is:
`transfer-syntax=*` means "as stored" for every type, `application/octet-stream; transfer-syntax=*`
included, and is answered with the media type of the stored codestream. Implicit VR Little Endian and
Explicit VR Big Endian are never sent (PS3.18 8.7.3): they become Explicit VR Little Endian.

The contract in full, row by row and each row a test, is `docs/conformance/media-types.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
ENCAPSULATED_UNCOMPRESSED: Final = "1.2.840.10008.1.2.1.98"
DEFLATED_EXPLICIT_VR: Final = "1.2.840.10008.1.2.1.99"
HTJ2K_RPCL: Final = "1.2.840.10008.1.2.4.202"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"

DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"
PREVIEW: Final = "application/vnd.lightwell.preview"
MULTIPART: Final = "multipart/related"

AS_STORED: Final = "*"
"""The `transfer-syntax` value that asks for whatever the object is stored in."""

NEVER_SENT: Final = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN})
"""Transfer syntaxes that PS3.18 8.7.3 bans from web services."""

_NATIVE: Final = NEVER_SENT | {EXPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR}
_UNWRAPPED: Final = _NATIVE | {ENCAPSULATED_UNCOMPRESSED}
"""Syntaxes whose pixel data, taken out of the data set, are plain Explicit Little Endian pixels."""


def _compressed(*last: str) -> tuple[str, ...]:
    """Transfer syntax UIDs of the compressed family by their last arcs."""
    return tuple(f"1.2.840.10008.1.2.{each}" for each in last)


FRAME_TYPES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        OCTETS: (EXPLICIT_VR_LITTLE_ENDIAN,),
        "image/jpeg": _compressed("4.70", "4.50", "4.51", "4.57")
        # Retired processes: never produced, but an old object may be stored so.
        + _compressed("4.52", "4.53", "4.54", "4.55", "4.56", "4.58", "4.59")
        + _compressed("4.60", "4.61", "4.62", "4.63", "4.64", "4.65", "4.66"),
        "image/dicom-rle": _compressed("5"),
        "image/jls": _compressed("4.80", "4.81"),
        "image/jp2": _compressed("4.90", "4.91"),
        "image/jpx": _compressed("4.92", "4.93"),
        "image/jphc": _compressed("4.201", "4.202", "4.203"),
        "image/jxl": _compressed("4.110", "4.111", "4.112"),
        "video/mpeg": _compressed("4.100", "4.100.1", "4.101", "4.101.1"),
        "video/mp4": _compressed("4.102", "4.102.1", "4.103", "4.103.1", "4.104", "4.104.1")
        + _compressed("4.105", "4.105.1", "4.106", "4.106.1"),
        "video/H265": _compressed("4.107", "4.108"),
    }
)
"""Bulk data media types and their transfer syntaxes, the default first (PS3.18 Table 8.7.3-5)."""

MEDIA_TYPE_OF: Final[Mapping[str, str]] = MappingProxyType(
    {syntax: media for media, syntaxes in FRAME_TYPES.items() for syntax in syntaxes}
)
"""The media type of a frame by its transfer syntax; what is not here is `application/octet-stream`."""

RENDERED_TYPES: Final = ("image/jpeg", "image/png")
"""Single-frame rendered types that we draw, the default first (PS3.18 Table 8.7.4-1)."""

_ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "*": "*/*",
        "image/jpg": "image/jpeg",
        "image/x-jls": "image/jls",
        "image/x-dicom-rle": "image/dicom-rle",
        "image/jph": "image/jphc",
        "image/jhc": "image/jphc",
        "image/dicom+jpeg": "image/jpeg",
        "image/dicom+jpeg-ls": "image/jls",
        "image/dicom+jls": "image/jls",
        "image/dicom+rle": "image/dicom-rle",
        "image/dicom+jp2": "image/jp2",
        "image/dicom+jpx": "image/jpx",
        "video/h265": "video/H265",
    }
)
"""Names that clients still send (drafts, the years before 2017) and the name that is meant."""

_MAX_TEXT: Final = 8192
_MAX_RANGES: Final = 64
_CACHED_TEXT: Final = 512


class ResourceCategory(StrEnum):
    """What a URL addresses, as far as negotiation cares (PS3.18 8.7.2)."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"
    METADATA = "metadata"
    FRAMES = "frames"
    BULKDATA = "bulkdata"
    PIXELDATA = "pixeldata"
    RENDERED = "rendered"
    THUMBNAIL = "thumbnail"
    PREVIEW = "preview"
    SEARCH = "search"


_OBJECTS: Final = frozenset(
    {ResourceCategory.STUDY, ResourceCategory.SERIES, ResourceCategory.INSTANCE}
)
_BULK: Final = frozenset(
    {ResourceCategory.FRAMES, ResourceCategory.BULKDATA, ResourceCategory.PIXELDATA}
)
_DRAWN: Final = MappingProxyType(
    {ResourceCategory.RENDERED: RENDERED_TYPES, ResourceCategory.PREVIEW: (PREVIEW,)}
)
_TEXTS: Final = frozenset({ResourceCategory.METADATA, ResourceCategory.SEARCH})
_COLLECTIONS: Final = frozenset({ResourceCategory.STUDY, ResourceCategory.SERIES})


@dataclass(frozen=True, slots=True)
class MediaType:
    """A parsed media type: lower-case `type/subtype` and its parameters, first one of a name wins."""

    type: str
    parameters: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """The value of a parameter (name in lower case), without its quotes; None when absent."""
        return next((value for key, value in self.parameters if key == name), None)


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One entry of an `Accept` list.

    `media` is the range itself, or for multipart the range of its parts; aliases are resolved.
    `multipart` is None for `*/*`, which allows both forms.
    """

    media: str
    multipart: bool | None
    transfer_syntax: str | None
    charset: str | None
    q: float

    @property
    def wild(self) -> bool:
        """Whether it leaves the type open."""
        return "*" in self.media

    @property
    def specificity(self) -> int:
        """RFC 9110 12.5.1: `type/subtype;params` > `type/subtype` > `type/*` > `*/*`."""
        if self.media == "*/*":
            return 0 if self.multipart is None else 1
        if self.wild:
            return 2
        return 4 if self.transfer_syntax else 3


@dataclass(frozen=True, slots=True)
class Answer:
    """The representation to send.

    `resource` is what will be served; it differs from what was asked only where a study, series or
    instance URL was asked for `multipart/related; type="application/octet-stream"`, which means its
    bulk data (PS3.18 10.4.4 note 2).
    """

    media_type: str
    transfer_syntax: str | None
    multipart: bool
    resource: ResourceCategory

    @property
    def content_type(self) -> str:
        """`Content-Type` of the part, or of the response when it is single-part."""
        if self.transfer_syntax is None:
            return self.media_type
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax}"


@dataclass(frozen=True, slots=True)
class NotAcceptable:
    """Nothing the client accepts can be made from the stored object: HTTP 406."""

    resource: ResourceCategory
    offered: tuple[str, ...]

    @property
    def reason(self) -> str:
        """What happened and what to do; holds nothing that the client sent."""
        return (
            f"None of the accepted media types is available for this {self.resource.value} resource. "
            f"Available: {', '.join(self.offered)}."
        )


@dataclass(frozen=True, slots=True)
class PartAnswers:
    """The choice for each stored transfer syntax of one multipart response."""

    answers: Mapping[str, Answer]
    refused: frozenset[str]


CanTranscode = Callable[[str, str], bool]
"""`(stored syntax, wanted syntax)` -> can we make it? Pure and hashable: answers are remembered."""


def cannot_transcode(stored: str, wanted: str) -> bool:
    """The `CanTranscode` of a server without codecs."""
    del stored, wanted
    return False


# --- parsing -----------------------------------------------------------------------------------

# Quoted strings are taken whole; a lone quote is an ordinary character. Backslash escapes have no
# place in a media type parameter and are not understood, which keeps every scan linear.
_ENTRIES: Final = re.compile(r'(?:[^,"]|"[^"]*"|")+')
_FIELDS: Final = re.compile(r'(?:[^;"]|"[^"]*"|")+')
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_QVALUE: Final = re.compile(r"\d*\.?\d+|\d+\.")


@lru_cache(maxsize=512)
def _parse_media_type(text: str) -> MediaType | None:
    first, *rest = _FIELDS.findall(text) or [""]
    # A form decoder has turned `+` of `application/dicom+json` into a blank.
    name = first.strip().strip('"').strip().lower().replace(" ", "+")
    left, slash, right = name.partition("/")
    if not _NAME.fullmatch(left) or (slash and not _NAME.fullmatch(right)):
        return None
    if not slash and left != "*":
        return None
    seen: dict[str, str] = {}
    for field in rest:
        key, equals, value = field.partition("=")
        if equals:
            seen.setdefault(key.strip().lower(), value.strip().strip('"').strip())
    return MediaType(name, tuple(seen.items()))


def parse_media_type(text: str) -> MediaType | None:
    """Read one media type with parameters (a `Content-Type` value), or None when it is none.

    Lenient: quotes are optional, order and blanks do not matter. At most 8 KiB are looked at.
    """
    if len(text) > _CACHED_TEXT:
        return _parse_media_type.__wrapped__(text[:_MAX_TEXT])
    return _parse_media_type(text)


def _quality(text: str | None) -> float:
    """A q-value in 0..1; nonsense counts as 1, since the client did name the type."""
    if text is None or not _QVALUE.fullmatch(text):
        return 1.0
    return min(float(text), 1.0)


def _range_of(entry: str) -> MediaRange | None:
    parsed = parse_media_type(entry)
    if parsed is None:
        return None
    media, multipart = parsed.type, False
    if media.startswith("multipart/"):
        if media not in (MULTIPART, "multipart/*"):
            return None
        inner = parse_media_type(parsed.get("type") or "*/*")
        if inner is None:
            return None
        media, multipart = inner.type, True
    media = _ALIASES.get(media, media)
    either = media == "*/*" and not multipart
    return MediaRange(
        media=media,
        multipart=None if either else multipart,
        transfer_syntax=parsed.get("transfer-syntax") or None,
        charset=parsed.get("charset"),
        q=_quality(parsed.get("q")),
    )


def parse_accept(values: Iterable[str]) -> tuple[MediaRange, ...]:
    """Read `Accept` header values (or `accept=` parameters), in order.

    What cannot be understood is left out, and so is what lies behind 64 entries or 8 KiB: one strange
    entry must not spoil the others.
    """
    text = ",".join(values)[:_MAX_TEXT]
    entries = _ENTRIES.findall(text)[:_MAX_RANGES]
    return tuple(found for found in map(_range_of, entries) if found is not None)


def charset_acceptable(accept_charset: str | None) -> bool:
    """Whether `Accept-Charset` leaves room for UTF-8, the only one sent (PS3.18 8.8.1)."""
    if accept_charset is None or not accept_charset.strip():
        return True
    wildcard = False
    for entry in accept_charset[:_MAX_TEXT].split(","):
        name, *fields = (piece.strip().lower() for piece in entry.split(";"))
        q = _quality(next((f[2:].strip() for f in fields if f.startswith("q=")), None))
        if name in ("utf-8", "utf8"):
            return q > 0
        if name == "*":
            wildcard = q > 0
    return wildcard


# --- choosing ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Situation:
    """What is asked of what: everything but the client's wishes."""

    resource: ResourceCategory
    stored: str
    can_transcode: CanTranscode
    single_item: bool
    drawn: tuple[str, ...]

    def producible(self, wanted: str) -> bool:
        """Whether the stored object can be sent in this transfer syntax."""
        if wanted in NEVER_SENT:
            return False
        if wanted == self.stored:
            return True
        if wanted == EXPLICIT_VR_LITTLE_ENDIAN and self.stored in _NATIVE:
            return True
        return self.can_transcode(self.stored, wanted)

    @property
    def as_stored(self) -> str:
        """The syntax that `transfer-syntax=*` means for a whole object."""
        return EXPLICIT_VR_LITTLE_ENDIAN if self.stored in NEVER_SENT else self.stored

    @property
    def forms(self) -> tuple[bool, ...]:
        """Multipart or not, the usual one first. Single part needs a single item (10.4.4 note)."""
        match self.resource:
            case (
                ResourceCategory.METADATA
                | ResourceCategory.SEARCH
                | ResourceCategory.THUMBNAIL
                | ResourceCategory.PREVIEW
            ):
                return (False,)
            case ResourceCategory.RENDERED:
                return (False, True) if self.single_item else (True,)
            case _:
                return (True, False) if self.single_item else (True,)


def _covers(wide: str, media: str) -> bool:
    """Whether a media range allows a media type."""
    if wide == "*/*":
        return True
    if wide.endswith("/*"):
        return media.startswith(wide[:-1])
    return wide == media


_Content = tuple[str, str | None]


def _texts(wish: MediaRange) -> Iterator[_Content]:
    if wish.charset is not None and not charset_acceptable(wish.charset):
        return
    for media in (DICOM_JSON, JSON):
        if _covers(wish.media, media):
            yield media, None


def _objects(wish: MediaRange, at: _Situation) -> Iterator[_Content]:
    """`application/dicom`: Explicit VR Little Endian unless the client names a syntax (8.7.3.1).

    An object we cannot turn into Explicit (video, an unknown codestream) is then sent as stored: its
    File Meta Information says what it is, and refusing would keep a study from its reader.
    """
    if not _covers(wish.media, DICOM):
        return
    if wish.transfer_syntax is None:
        if at.producible(EXPLICIT_VR_LITTLE_ENDIAN):
            yield DICOM, EXPLICIT_VR_LITTLE_ENDIAN
        yield DICOM, at.as_stored
    elif wish.transfer_syntax == AS_STORED:
        yield DICOM, at.as_stored
    elif at.producible(wish.transfer_syntax):
        yield DICOM, wish.transfer_syntax


def _bulk(wish: MediaRange, at: _Situation) -> Iterator[_Content]:
    """Frames and other bulk data: the media type names the codestream (8.7.3.3, Table 8.7.3-5)."""
    stored = EXPLICIT_VR_LITTLE_ENDIAN if at.stored in _UNWRAPPED else at.stored
    own = MEDIA_TYPE_OF.get(stored, OCTETS)
    asked = wish.transfer_syntax
    if asked not in (None, AS_STORED):
        media = MEDIA_TYPE_OF.get(asked, OCTETS)
        # `application/octet-stream; transfer-syntax=<compressed>` is common, though not in the table.
        if (_covers(wish.media, media) or wish.media == OCTETS) and at.producible(asked):
            yield media, asked
        return
    if asked == AS_STORED and (_covers(wish.media, own) or wish.media == OCTETS):
        yield own, stored
        return
    if wish.wild and _covers(wish.media, own):
        yield own, stored
    for media, syntaxes in FRAME_TYPES.items():
        if _covers(wish.media, media) and at.producible(syntaxes[0]):
            yield media, syntaxes[0]
    # Asked for `image/jpeg`, whose default .70 we cannot make, while baseline JPEG is stored: the
    # codestream describes itself, so the stored one serves. Raw octets do not: they are refused.
    if wish.media == own != OCTETS:
        yield own, stored


def _contents(wish: MediaRange, at: _Situation) -> Iterator[_Content]:
    if at.resource in _TEXTS:
        return _texts(wish)
    if at.resource in _OBJECTS:
        return _objects(wish, at)
    if at.resource in _BULK:
        return _bulk(wish, at)
    return ((media, None) for media in at.drawn if _covers(wish.media, media))


def _answers(wish: MediaRange, at: _Situation) -> tuple[Answer, ...]:
    """Everything we could send to please one range, the best first."""
    forms = [form for form in at.forms if wish.multipart in (None, form)]
    found = [
        Answer(media, syntax, form, at.resource)
        for form in forms
        for media, syntax in _contents(wish, at)
    ]
    if at.resource in _OBJECTS and wish.multipart and wish.media == OCTETS:
        found += [
            Answer(media, syntax, True, ResourceCategory.BULKDATA)
            for media, syntax in _bulk(wish, at)
        ]
    return tuple(found)


def _best(wishes: tuple[MediaRange, ...], at: _Situation) -> Answer | None:
    """The answer of highest q; the most specific range that covers an answer rules its q."""
    possible = [(wish, _answers(wish, at)) for wish in wishes]
    ruling: dict[Answer, MediaRange] = {}
    for wish, answers in possible:
        for answer in answers:
            current = ruling.get(answer)
            if current is None or wish.specificity > current.specificity:
                ruling[answer] = wish
    for wish, answers in sorted(possible, key=lambda each: (-each[0].q, -each[0].specificity)):
        if wish.q <= 0:
            break
        for answer in answers:
            if ruling[answer] is wish:
                return answer
    return None


_ANYTHING: Final = (MediaRange("*/*", None, None, None, 1.0),)


def _negotiate(
    headers: tuple[str, ...], query: tuple[str, ...], at: _Situation
) -> Answer | NotAcceptable:
    # The query parameter names types, not ranges (8.3.3.1): a wildcard there chooses nothing.
    asked = tuple(wish for wish in parse_accept(query) if not wish.wild)
    if asked and (answer := _best(asked, at)):
        return answer
    wishes = parse_accept(headers) if any(value.strip() for value in headers) else _ANYTHING
    if answer := _best(wishes, at):
        return answer
    offers = (each.content_type for each in _answers(_ANYTHING[0], at))
    return NotAcceptable(at.resource, tuple(dict.fromkeys(offers)))


_remembered = lru_cache(maxsize=1024)(_negotiate)


def negotiate(
    resource: ResourceCategory,
    accept_headers: Iterable[str] = (),
    accept_query: Iterable[str] = (),
    *,
    stored_syntax: str | None = None,
    can_transcode: CanTranscode = cannot_transcode,
    single_item: bool | None = None,
    drawn_types: tuple[str, ...] | None = None,
) -> Answer | NotAcceptable:
    """Choose the representation of one part (or of a single-part response).

    `stored_syntax`: transfer syntax of the stored object; None where there is none (metadata, search)
    or where bulk data are plain octets. `single_item`: whether the resource is one item, so that a
    single-part answer is allowed; by default yes for everything but studies and series, and the
    caller says so for a list of frames. `drawn_types`: what can be rendered, the default first.
    """
    at = _Situation(
        resource,
        stored_syntax or EXPLICIT_VR_LITTLE_ENDIAN,
        can_transcode,
        resource not in _COLLECTIONS if single_item is None else single_item,
        drawn_types or _DRAWN.get(resource, ("image/jpeg",)),
    )
    headers, query = tuple(accept_headers), tuple(accept_query)
    short = sum(map(len, headers)) + sum(map(len, query)) <= _CACHED_TEXT
    return (_remembered if short else _negotiate)(headers, query, at)


def negotiate_parts(
    resource: ResourceCategory,
    accept_headers: Iterable[str] = (),
    accept_query: Iterable[str] = (),
    *,
    stored_syntaxes: Iterable[str],
    can_transcode: CanTranscode = cannot_transcode,
) -> PartAnswers | NotAcceptable:
    """Choose for every stored syntax of a multipart response (a study of mixed objects).

    All parts are of one kind, objects or bulk data: the kind of the first syntax that can be answered.
    `refused` holds the syntaxes that cannot be sent in any accepted way (the response is then
    206 Partial Content); NotAcceptable when none can.
    """
    headers, query = tuple(accept_headers), tuple(accept_query)
    answers: dict[str, Answer] = {}
    refused: dict[str, NotAcceptable | None] = {}
    for stored in dict.fromkeys(stored_syntaxes):
        choice = negotiate(
            resource,
            headers,
            query,
            stored_syntax=stored,
            can_transcode=can_transcode,
            single_item=False,
        )
        if isinstance(choice, NotAcceptable):
            refused[stored] = choice
        elif answers and next(iter(answers.values())).resource is not choice.resource:
            refused[stored] = None
        else:
            answers[stored] = choice
    if answers:
        return PartAnswers(MappingProxyType(answers), frozenset(refused))
    offers = (each for choice in refused.values() if choice for each in choice.offered)
    return NotAcceptable(resource, tuple(dict.fromkeys(offers)))
