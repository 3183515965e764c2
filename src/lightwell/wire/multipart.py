"""multipart/related without I/O: a streaming parser for uploads and the writer for answers.

Owns: RFC 2046 5.1 and RFC 2387 as PS3.18 8.6 uses them. Bytes in, events out; the caller owns the
socket, the clock and the total size of the body. Refuses: to buffer a part (the most it holds is one
part header), to guess a boundary, to call a body whole whose closing boundary never came.

Line ends: CRLF by the book, bare LF tolerated. The line end of the first delimiter decides for the
whole body, so that in a CRLF body a line feed inside pixel data can never become part of a delimiter,
and in an LF body a carriage return before a delimiter stays the data it is. A boundary inside data is
a delimiter only when a line end comes before it and nothing but blanks and a line end follow.

Cost: data are searched once by `bytes.find` and handed on as views of the caller's buffer; a feed
copies only bytes that may be the beginning of a delimiter, and part headers that came in pieces.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from lightwell.kernel.errors import Invalid
from lightwell.wire.mediatypes import MULTIPART, MediaType, parse_media_type

Buffer = bytes | bytearray | memoryview


class MultipartError(Invalid):
    """The body is not the multipart/related message that it claims to be."""


class Malformed(MultipartError):
    """The syntax is broken; nothing after this point can be understood."""


class Truncated(MultipartError):
    """The body ended before its closing boundary: the last part is incomplete, or parts are missing."""


class LimitExceeded(MultipartError):
    """One of `Limits` was passed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one body, in bytes unless said otherwise."""

    parts: int = 100_000  # number of parts
    part_header: int = 16 * 1024  # one part's header block
    header_lines: int = 64  # fields in one part's header block
    part_data: int = 2 * 1024**3
    preamble: int = 64 * 1024  # text allowed before the first boundary
    lookalikes: int = 10_000  # boundaries inside data that are none: each costs a slow look


DEFAULT_LIMITS: Final = Limits()


# --- events ------------------------------------------------------------------------------------


@dataclass(slots=True)
class PartBegin:
    """A part starts. Names in `headers` are lower case, values as sent without folding."""

    headers: Mapping[str, str]

    @property
    def content_type(self) -> MediaType | None:
        """The part's media type, or None when it names none that can be read."""
        return parse_media_type(self.headers.get("content-type", ""))

    @property
    def content_location(self) -> str | None:
        """The URI of the part, to which a BulkDataURI of the metadata may point (PS3.18 10.5.1.2)."""
        return self.headers.get("content-location")


@dataclass(slots=True)
class PartData:
    """Some bytes of the current part: a view of the fed buffer, valid while that is unchanged."""

    data: memoryview


@dataclass(slots=True)
class PartEnd:
    """The current part is whole."""


@dataclass(slots=True)
class End:
    """The closing boundary was seen: the body is whole. Always the last event."""


Event = PartBegin | PartData | PartEnd | End


# --- parser ------------------------------------------------------------------------------------

# RFC 2046 5.1.1 allows 70 characters of a small alphabet; longer ones and any printable are met.
_BOUNDARY: Final = re.compile(rb"[\x20-\x7e]{1,200}")
_PADDING: Final = rb"[ \t]{0,64}"
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNIQUE: Final = frozenset({"content-type", "content-location", "content-transfer-encoding"})


def boundary_of(content_type: str) -> bytes:
    """The boundary of a `multipart/related` `Content-Type` value, quoted or not.

    Raises Malformed when it is another type, or the boundary is missing or impossible.
    """
    parsed = parse_media_type(content_type)
    if parsed is None or parsed.type != MULTIPART:
        raise Malformed("The body is not multipart/related.")
    text = (parsed.get("boundary") or "").rstrip()
    if not text:
        raise Malformed(
            "The Content-Type names no boundary.",
            remedy='Send multipart/related; type="…"; boundary=…',
        )
    try:
        boundary = text.encode("ascii")
    except UnicodeEncodeError:
        raise Malformed("The boundary is not ASCII.") from None
    if not _BOUNDARY.fullmatch(boundary):
        raise Malformed("The boundary is longer than 200 characters or holds control characters.")
    return boundary


def parse_part_header(block: bytes, limits: Limits = DEFAULT_LIMITS) -> dict[str, str]:
    """Read the header fields of a part (without the blank line): lower-case names, unfolded values.

    Raises Malformed for a line that is no field, control characters, or a second `Content-Type`,
    `Content-Location` or `Content-Transfer-Encoding`; LimitExceeded for too many lines.
    """
    headers: dict[str, str] = {}
    last = ""
    lines = block.decode("latin-1").split("\n")
    if len(lines) > limits.header_lines:
        raise LimitExceeded(f"A part header has more than {limits.header_lines} lines.")
    for raw in lines:
        line = raw.removesuffix("\r")
        if not line:
            continue
        if _CONTROL.search(line):
            raise Malformed("A part header holds control characters.")
        if line[0] in " \t":
            if not last:
                raise Malformed("A part header begins with a continuation line.")
            headers[last] = f"{headers[last]} {line.strip()}".strip()
            continue
        name, colon, value = line.partition(":")
        last = name.rstrip().lower()
        if not colon or not _FIELD_NAME.fullmatch(last):
            raise Malformed("A part header line is not of the form Name: value.")
        if last in headers:
            if last in _UNIQUE:
                raise Malformed(f"A part header holds {last} twice.")
            headers[last] = f"{headers[last]}, {value.strip()}"
        else:
            headers[last] = value.strip()
    return headers


class _Stage(Enum):
    PREAMBLE = auto()
    HEADER = auto()
    DATA_START = auto()  # nothing of the part's data seen yet
    DATA = auto()
    DONE = auto()


# What may follow a boundary for it to be a delimiter. `more`: the buffer ends before that is known.
_TAIL: Final = re.compile(
    rb"(?P<open>[ \t]{0,64}\r?\n)"
    rb"|(?P<close>--[ \t]{0,64}\r?\n)"
    rb"|(?P<more>(?:--?)?[ \t]{0,64}\r?\Z)"
)


class MultipartParser:
    """Feed a body in pieces of any size; any way of cutting it gives the same parts.

    `feed` and `close` return events in order. What was whole before an error is still returned: the
    error is raised by the next call then, and by every one after it. `parts` counts the parts begun.
    """

    def __init__(self, boundary: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.parts = 0
        self._dash = b"--" + boundary
        self._needle = b"\n" + self._dash
        self._stage = _Stage.PREAMBLE
        # Bytes to be seen again together with the next ones. The body may begin with a delimiter: a
        # line end put before it makes that no special case.
        self._kept = b"\n"
        self._scanned = 0  # bytes of `_kept` known to hold no blank line
        self._closing = False  # `_kept` is a closing boundary, if the body ends here
        self._preamble = 0
        self._part_data = 0
        self._lookalikes = 0
        self._failure: MultipartError | None = None

    def feed(self, chunk: Buffer) -> list[Event]:
        """Take the next bytes of the body. `chunk` must not change while its views are in use.

        Raises Malformed, LimitExceeded.
        """
        if self._failure is not None:
            raise self._failure
        events: list[Event] = []
        if self._stage is _Stage.DONE or not len(chunk):
            return events
        piece = bytes(chunk) if isinstance(chunk, memoryview) else chunk
        buffer = self._kept + piece if self._kept else piece
        self._kept, self._closing = b"", False
        position = 0
        while position >= 0:
            try:
                position = self._step(buffer, position, events)
            except MultipartError as error:
                self._failure = error
                if not events:
                    raise
                break
        return events

    def close(self) -> list[Event]:
        """The body has ended. Returns what the closing boundary still owes, `End` last.

        Raises Truncated when the closing boundary never came.
        """
        if self._failure is not None:
            raise self._failure
        if self._stage is _Stage.DONE:
            return []
        if not self._closing:
            raise Truncated(
                f"The body ends after {self.parts} part(s) without its closing boundary.",
                remedy="Send it again, whole.",
            )
        events: list[Event] = [] if self._stage is _Stage.PREAMBLE else [PartEnd()]
        events.append(End())
        self._stage = _Stage.DONE
        return events

    # Each stage works on `buffer[position:]` and returns where to go on, or -1 when it needs more
    # bytes; what must be seen again then lies in `_kept`.

    def _step(self, buffer: bytes | bytearray, position: int, events: list[Event]) -> int:
        match self._stage:
            case _Stage.PREAMBLE:
                return self._pass_preamble(buffer, position, events)
            case _Stage.HEADER:
                return self._read_header(buffer, position, events)
            case _Stage.DATA_START:
                return self._start_data(buffer, position, events)
            case _Stage.DATA:
                return self._pass_data(buffer, position, events)
            case _Stage.DONE:
                return -1  # whatever follows is epilogue

    def _pass_preamble(self, buffer: bytes | bytearray, position: int, events: list[Event]) -> int:
        start, tail = self._find(buffer, position)
        self._preamble += start - position
        if self._preamble > self.limits.preamble:
            raise Malformed(
                f"No boundary in the first {self.limits.preamble} bytes of the body.",
                remedy="The boundary named in the Content-Type must be the one in the body.",
            )
        if tail is None:
            self._kept = bytes(buffer[start:])
            return -1
        if tail[0].endswith(b"\r\n"):
            self._needle = b"\r\n" + self._dash
        return self._pass_delimiter(tail, events)

    def _read_header(self, buffer: bytes | bytearray, position: int, events: list[Event]) -> int:
        """`buffer[position]` is the line feed before the header block."""
        limit = self.limits.part_header
        blank = _BLANK_LINE.search(buffer, position + self._scanned, position + limit + 4)
        if blank is None:
            if len(buffer) - position >= limit + 4:
                raise LimitExceeded(f"A part header is longer than {limit} bytes.")
            self._kept = bytes(buffer[position:])
            self._scanned = max(len(self._kept) - 2, 0)
            return -1
        self._scanned = 0
        block = bytes(buffer[position + 1 : blank.start() + 1])
        if len(block) > limit:
            raise LimitExceeded(f"A part header is longer than {limit} bytes.")
        events.append(PartBegin(parse_part_header(block, self.limits)))
        self._part_data = 0
        self._stage = _Stage.DATA_START
        return blank.end()

    def _start_data(self, buffer: bytes | bytearray, position: int, events: list[Event]) -> int:
        """The blank line may also be the line end of a delimiter: a part without data."""
        dash = self._dash
        piece = bytes(buffer[position : position + len(dash)])
        if piece == dash:
            tail = _TAIL.match(buffer, position + len(dash))
            if tail is not None and tail["more"] is None:
                events.append(PartEnd())
                return self._pass_delimiter(tail, events)
            undecided = tail is not None
            self._closing = tail is not None and tail["more"].startswith(b"--")
        else:
            undecided = dash.startswith(piece)
        if undecided:
            self._kept = bytes(buffer[position:])
            return -1
        self._stage = _Stage.DATA
        return position

    def _pass_data(self, buffer: bytes | bytearray, position: int, events: list[Event]) -> int:
        start, tail = self._find(buffer, position)
        if start > position:
            self._part_data += start - position
            if self._part_data > self.limits.part_data:
                raise LimitExceeded(f"A part is larger than {self.limits.part_data} bytes.")
            events.append(PartData(memoryview(buffer)[position:start]))
        if tail is None:
            self._kept = bytes(buffer[start:])
            return -1
        events.append(PartEnd())
        return self._pass_delimiter(tail, events)

    def _pass_delimiter(self, tail: re.Match[bytes], events: list[Event]) -> int:
        if tail["close"] is not None:
            self._stage = _Stage.DONE
            events.append(End())
            return -1
        if self.parts >= self.limits.parts:
            raise LimitExceeded(
                f"The body has more than {self.limits.parts} parts.",
                remedy="Send it as several requests.",
            )
        self.parts += 1
        self._stage = _Stage.HEADER
        return tail.end() - 1

    def _find(self, buffer: bytes | bytearray, position: int) -> tuple[int, re.Match[bytes] | None]:
        """The next delimiter: its start and what follows the boundary.

        Without one (None): where something begins that the end of the buffer leaves undecided, which
        is the end of the buffer itself nearly always.
        """
        needle = self._needle
        at = buffer.find(needle, position)
        while at >= 0:
            tail = _TAIL.match(buffer, at + len(needle))
            if tail is not None:
                if tail["more"] is None:
                    return at, tail
                self._closing = tail["more"].startswith(b"--")
                return at, None
            self._lookalikes += 1
            if self._lookalikes > self.limits.lookalikes:
                raise LimitExceeded(
                    f"The boundary occurs inside data more than {self.limits.lookalikes} times.",
                    remedy="Choose a long random boundary.",
                )
            at = buffer.find(needle, at + len(needle))
        # A line end occurs only as the first byte of the needle: the last one is the only candidate.
        at = buffer.rfind(needle[:1], max(position, len(buffer) - len(needle) + 1))
        if at >= 0 and needle.startswith(bytes(buffer[at:])):
            return at, None
        return len(buffer), None


# --- writer ------------------------------------------------------------------------------------

PART_END: Final = b"\r\n"
"""Ends the data of a part that is not the last."""

_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*")


def new_boundary() -> str:
    """A boundary of 128 random bits, which no pixel data will hold; a token, so it needs no quotes."""
    return f"lightwell-{secrets.token_hex(16)}"


def content_type(boundary: str, part_type: str) -> str:
    """`Content-Type` of the whole message: the type always quoted, the boundary never (PS3.18 8.6.1).

    `part_type` is the bare media type of the first part (RFC 2387 3.1).
    """
    return f'{MULTIPART}; type="{part_type}"; boundary={boundary}'


def part_head(
    boundary: str,
    part_content_type: str,
    *,
    content_location: str | None = None,
    content_length: int | None = None,
) -> bytes:
    """Delimiter and header of a part, up to where its data begin.

    `part_content_type` comes with its `transfer-syntax` (`mediatypes.Answer.content_type`). End the
    data with `PART_END` when another part follows, with `closing` after the last.
    Raises ValueError for a value that is not printable ASCII, so that none can add a header line.
    """
    lines = [f"--{boundary}", f"Content-Type: {part_content_type}"]
    if content_location is not None:
        lines.append(f"Content-Location: {content_location}")
    if content_length is not None:
        lines.append(f"Content-Length: {content_length}")
    if not all(map(_PRINTABLE.fullmatch, lines)):
        raise ValueError("a part header must be printable ASCII")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def closing(boundary: str) -> bytes:
    """What follows the data of the last part."""
    return f"\r\n--{boundary}--\r\n".encode("ascii")
