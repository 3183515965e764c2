"""Re-encoding: whole data sets to Explicit VR Little Endian, and edits of a header in place.

`explicit_le_chunks` streams: Implicit VR and Big Endian may never be sent over the web (PS3.18 8.7.3),
and their pixel data may be larger than memory. Values stay equal; group lengths, which would become
wrong, are left out (retired since PS3.5-2008), and so is garbage behind the last element.

`apply_edits` changes nothing but what it is told to: every other byte of the header stays as it was, in
whatever encoding the object came. Only when a new text does not fit the declared character set are all
texts of the header re-encoded as ISO_IR 192.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from lightwell.dicom import charsets as cs
from lightwell.dicom import tags
from lightwell.dicom.encode import (
    ElementEncoder,
    framed,
    item_end,
    item_header,
    sequence_end,
)
from lightwell.dicom.errors import DicomError, LimitExceeded, Truncated
from lightwell.dicom.header import DataSet, Element, Header
from lightwell.dicom.inflate import inflate_bounded
from lightwell.dicom.limits import DEFAULT, Limits
from lightwell.dicom.scanner import NeedMore, scan, scan_tail
from lightwell.dicom.uids import TransferSyntax
from lightwell.dicom.values import swap_words
from lightwell.dicom.vrs import (
    EXPLICIT_LE,
    TEXT,
    UNDEFINED,
    WORD,
    Encoding,
    element_header,
)

Buffer = bytes | bytearray | memoryview
Edits = Mapping[int, Mapping[str, Any] | None]

_FIRST_LOOK = 64 * 1024


def to_explicit_le(
    header_bytes: Buffer, syntax: TransferSyntax, *, limits: Limits = DEFAULT
) -> bytes:
    """A header (or a whole small data set, already inflated) as Explicit VR Little Endian.

    Raises DicomError when it cannot be scanned.
    """
    plain = _inflated(syntax)
    return b"".join(explicit_le_chunks([header_bytes], plain, limits=limits))


def _inflated(syntax: TransferSyntax) -> TransferSyntax:
    """The same syntax for bytes that were inflated already."""
    return replace(syntax, deflated=False) if syntax.deflated else syntax


def explicit_le_chunks(
    chunks: Iterable[Buffer], syntax: TransferSyntax, *, limits: Limits = DEFAULT
) -> Iterator[bytes]:
    """A data set in any native syntax as Explicit VR Little Endian, in pieces; memory is bounded by the
    header and one piece.

    Explicit VR Little Endian passes through unchanged, deflated comes out inflated. Raises Truncated
    when the pixel data end early, DicomError for what cannot be re-encoded.
    """
    source = iter(inflate_bounded(chunks, limits) if syntax.deflated else chunks)
    head, header = _read_header(source, syntax, limits)
    if header.encoding == EXPLICIT_LE:
        yield bytes(head)
        for chunk in source:
            yield bytes(chunk)
        return
    yield b"".join(_elements(header))
    stop = header.pixel_tag, header.pixel_vr, header.pixel_offset, header.pixel_length
    if header.bulk is not None:
        tag, vr, _start, offset, length = header.bulk
        stop = tag, vr, offset, length
    if stop[0] is None or stop[1] is None or stop[2] is None:
        return
    rest = _Rest(bytes(head[stop[2] :]), source)
    yield from _stop_element(header, stop[0], stop[1], stop[3], rest)
    tail = rest.all(limits)
    if tail:
        found = scan_tail(tail, header, limits=limits)
        if isinstance(found, Header):
            yield b"".join(_elements(found))


def _read_header(
    source: Iterator[Buffer], syntax: TransferSyntax, limits: Limits
) -> tuple[bytearray, Header]:
    head = bytearray()
    wanted = _FIRST_LOOK
    ended = False
    while True:
        while len(head) < wanted and not ended:
            chunk = next(source, None)
            if chunk is None:
                ended = True
            else:
                head += chunk
        found = scan(head, syntax, limits=limits, complete=ended)
        if isinstance(found, Header):
            return head, found
        wanted = max(found.minimum, 2 * len(head))


class _Rest:
    """What follows the header: the part already read, then the source."""

    def __init__(self, first: bytes, source: Iterator[Buffer]) -> None:
        self._first = first
        self._source = source

    def next(self) -> bytes:
        """The next piece, b"" at the end."""
        if self._first:
            first, self._first = self._first, b""
            return first
        return bytes(next(self._source, b""))

    def take(self, length: int, word: int) -> Iterator[bytes]:
        """Exactly `length` bytes in pieces of whole words. Raises Truncated."""
        left = length
        carried = b""
        while left:
            piece = self.next()
            if not piece:
                raise Truncated("The data set ends inside its pixel data.")
            self._first = piece[left:]
            piece = piece[:left]
            left -= len(piece)
            piece = carried + piece
            whole = len(piece) - len(piece) % word if left else len(piece)
            carried = piece[whole:]
            yield piece[:whole]

    def all(self, limits: Limits) -> bytes:
        """Everything that is left. Raises LimitExceeded when it is longer than a header may be."""
        out = bytearray()
        while piece := self.next():
            out += piece
            if len(out) > limits.header:
                raise LimitExceeded(f"More than {limits.header} bytes after the pixel data.")
        return bytes(out)


def _stop_element(
    header: Header, tag: int, vr: str, length: int | None, rest: _Rest
) -> Iterator[bytes]:
    """The element that ended the header: its head, then its value with words swapped."""
    if length is None:
        if not header.encoding.little:
            raise DicomError("Encapsulated pixel data in big endian cannot be re-encoded.")
        yield element_header(tag, "OB", UNDEFINED)
        while piece := rest.next():
            yield piece
        return
    yield element_header(tag, vr, length)
    word = 1 if header.encoding.little or vr not in WORD else WORD[vr]
    for piece in rest.take(length, word):
        yield swap_words(piece, word) if word > 1 else piece


def _elements(data_set: DataSet) -> Iterator[bytes]:
    """The elements of one level as Explicit VR Little Endian."""
    for element in data_set.elements:
        if element.tag & 0xFFFF:
            yield _explicit(element)


def _explicit(element: Element) -> bytes:
    vr = element.vr
    if vr == "SQ":
        if element.items or not element.length:
            return _explicit_sequence(element)
        vr = "UN"  # a sequence only by the dictionary
    raw = element.raw
    if element.undefined:
        return element_header(element.tag, vr, UNDEFINED) + raw + sequence_end()
    if not element.little and vr in WORD:
        raw = swap_words(raw, WORD[vr])
    return framed(element.tag, vr, raw)


def _explicit_sequence(element: Element) -> bytes:
    body = bytearray()
    for item in element.items:
        content = b"".join(_elements(item))
        body += item_header(len(content)) + content
    return element_header(element.tag, "SQ", len(body)) + bytes(body)


def apply_edits(
    header_bytes: Buffer, syntax: TransferSyntax, edits: Edits, *, limits: Limits = DEFAULT
) -> bytes:
    """Replace, insert and remove top-level elements of a header.

    `header_bytes` are the bytes in front of the pixel data (inflated; what follows a pixel data element
    in them is passed on as it is). An edit is a DICOM JSON element, or None to remove. The result is in
    the same encoding; group lengths of changed groups are removed. (0008,0005) is not editable: it follows
    from the texts. Raises DicomError for what cannot be encoded, ValueError for tags that do not belong in
    a header.
    """
    header = scan(header_bytes, syntax, limits=limits, complete=True)
    if isinstance(header, NeedMore):  # cannot be: a complete scan never asks for more
        raise DicomError("The header could not be scanned.")
    wanted = {tag: edit for tag, edit in edits.items() if tag != tags.SpecificCharacterSet}
    for tag in wanted:
        if not 0x00080000 <= tag < 0x7FE00000 or not tag & 0xFFFF:
            raise ValueError(f"{tags.show_tag(tag)} cannot be edited in a header")
    charsets = header.charsets
    pieces, fits = _encode_edits(wanted, header.encoding, charsets, limits)
    kept = _untouched(header)
    if not fits:
        pieces, _fits = _encode_edits(wanted, header.encoding, (cs.UTF8,), limits)
        kept = _as_utf8(header)
        label = framed(tags.SpecificCharacterSet, "CS", cs.UTF8.encode(), header.encoding)
        pieces[tags.SpecificCharacterSet] = label
    changed_groups = {tag >> 16 for tag in pieces}
    rest = bytes(memoryview(header_bytes)[header.end :])
    return _merge(kept, pieces, changed_groups) + rest


def _encode_edits(
    edits: Edits, encoding: Encoding, charsets: tuple[str, ...], limits: Limits
) -> tuple[dict[int, bytes], bool]:
    """Tag to encoded element (b"" to remove), and whether all texts fit the character set."""
    encoder = ElementEncoder(encoding=encoding, charsets=charsets, limits=limits)
    pieces = {
        tag: b"" if edit is None else encoder.element(tag, edit) for tag, edit in edits.items()
    }
    return pieces, encoder.fits


def _untouched(header: Header) -> list[tuple[int, bytes]]:
    """(tag, bytes) of each element exactly as it lies there, duplicates included."""
    rows = header.node.rows
    ends = [*(row[2] for row in rows[1:]), header.end]
    return [(row[0], header.data[row[2] : end]) for row, end in zip(rows, ends, strict=False)]


def _merge(
    kept: list[tuple[int, bytes]], pieces: dict[int, bytes], changed_groups: set[int]
) -> bytes:
    """Put each piece in front of the first element with a greater tag."""
    out = bytearray()
    waiting = sorted(pieces.items(), reverse=True)
    for tag, raw in kept:
        while waiting and waiting[-1][0] <= tag:
            out += waiting.pop()[1]
        group_length = not tag & 0xFFFF and tag >> 16 in changed_groups
        if tag not in pieces and not group_length:
            out += raw
    for _tag, raw in reversed(waiting):
        out += raw
    return bytes(out)


def _as_utf8(data_set: DataSet) -> list[tuple[int, bytes]]:
    """(tag, bytes) of each element with every text re-encoded; character set attributes left out."""
    return [
        (element.tag, _element_as_utf8(element))
        for element in data_set.elements
        if element.tag != tags.SpecificCharacterSet
    ]


def _element_as_utf8(element: Element) -> bytes:
    owner = element.owner
    encoding = owner.node.encoding
    if element.wire_vr in TEXT or (encoding.implicit and element.vr in TEXT):
        raw = element.raw
        if not raw.isascii() or b"\x1b" in raw:
            raw = cs.decode_text(raw, owner.charsets, element.vr).encode()
        return framed(element.tag, element.vr, raw, encoding)
    if element.vr == "SQ" and element.items:
        return _sequence_as_utf8(element)
    end = element.offset + element.length
    raw = owner.data[element.start : end]
    return raw + sequence_end(little=encoding.little) if element.undefined else raw


def _sequence_as_utf8(element: Element) -> bytes:
    """The sequence with the same kinds of lengths (defined or not) as it came with."""
    encoding = element.owner.node.encoding
    little = encoding.little
    body = bytearray()
    for item in element.items:
        content = b"".join(raw for _tag, raw in _as_utf8(item))
        item_little = item.node.encoding.little
        if item.data[item.node.start - 4 : item.node.start] == b"\xff\xff\xff\xff":
            body += item_header(UNDEFINED, little=item_little) + content
            body += item_end(little=item_little)
        else:
            body += item_header(len(content), little=item_little) + content
    vr = "UN" if element.wire_vr == "UN" else "SQ"
    if element.undefined:
        head = element_header(element.tag, vr, UNDEFINED, encoding)
        return head + bytes(body) + sequence_end(little=little)
    return element_header(element.tag, vr, len(body), encoding) + bytes(body)
