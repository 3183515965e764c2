"""The iterative walk over elements, items and delimiters: positions only, no values.

Nothing here recurses: a hostile data set of 2,000 nested sequences costs a list of `Limits.depth`
entries and is refused at the limit. Positions are offsets into one buffer that begins with the data
set. A *row* is `(tag, vr, start, offset, length)`: `start` of the element, `offset` and `length` of its
value without delimiters. `vr` is what the wire says; for implicit elements what the dictionary lists
("US or SS" is settled later, by who knows the context), "UN" for private ones.

Mending rules (each leaves a defect; a reader that refused would lose images):
* an explicit element whose two VR bytes are no letters is read as implicit (writers do this in items);
* an unknown VR of two letters has a 32-bit length when its reserved bytes are zero, as every VR added
  by the standard has had (PS3.5 7.1.2), else a 16-bit one;
* a sequence or item without its delimiter ends where something appears that cannot be inside it;
* what overruns the defined length of an enclosing item or sequence is cut there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lightwell.dicom.defects import Defect, Flaw
from lightwell.dicom.dictionary import listed_vr
from lightwell.dicom.errors import LimitExceeded
from lightwell.dicom.limits import DEFAULT, Limits
from lightwell.dicom.vrs import (
    EXPLICIT_HEAD,
    EXPLICIT_LE,
    IMPLICIT_HEAD,
    IMPLICIT_LE,
    ITEM,
    ITEM_END,
    LENGTH32,
    LONG_NAMES,
    SEQUENCE_END,
    SHORT_NAMES,
    UNDEFINED,
    Encoding,
)

Row = tuple[int, str, int, int, int]
Bytes = bytes | memoryview


class Short(Exception):
    """Internal: the buffer ends inside something; `needed` bytes at least would be required."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


@dataclass(slots=True, eq=False)
class Node:
    """One data set located in a buffer: the top level or an item. `children` are its sequences' items,
    by the start of the row that holds them."""

    encoding: Encoding
    start: int
    end: int = 0
    rows: list[Row] = field(default_factory=list)
    children: dict[int, list[Node]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Account:
    """What a scan has met so far: the number of elements, and defects up to a bound."""

    limits: Limits = DEFAULT
    elements: int = 0
    defects: list[Defect] = field(default_factory=list)

    def note(self, code: Flaw, tag: int, text: str) -> None:
        """Keep a defect; after `Limits.defects` of them more would tell nobody anything."""
        if len(self.defects) < self.limits.defects:
            self.defects.append(Defect(code, tag, text))

    def count(self, number: int = 1) -> None:
        """Count elements and items. Raises LimitExceeded."""
        self.elements += number
        if self.elements > self.limits.elements:
            raise LimitExceeded(f"More than {self.limits.elements} elements in one data set.")


def is_letters(two: bytes) -> bool:
    """Two upper-case letters: the shape of every VR, present and future."""
    return len(two) == 2 and 0x41 <= two[0] <= 0x5A and 0x41 <= two[1] <= 0x5A


def read_head(
    data: Bytes, pos: int, bound: int, encoding: Encoding, account: Account
) -> tuple[int, str, int, int]:
    """(tag, vr, offset of the value, length) of the element at `pos`; vr is "" for delimiters.

    Raises Short when the head itself does not fit before `bound`.
    """
    if pos + 8 > bound:
        raise Short(pos + 8)
    little = encoding.little
    if encoding.implicit:
        return _implicit_head(data, pos, little)
    group, element, two, length = EXPLICIT_HEAD[little].unpack_from(data, pos)
    tag = group << 16 | element
    name = SHORT_NAMES.get(two)
    if name is not None:
        return tag, name, pos + 8, length
    name = LONG_NAMES.get(two)
    if name is not None:
        if pos + 12 > bound:
            raise Short(pos + 12)
        return tag, name, pos + 12, LENGTH32[little].unpack_from(data, pos + 8)[0]
    if group == 0xFFFE:
        return tag, "", pos + 8, LENGTH32[little].unpack_from(data, pos + 4)[0]
    if not is_letters(two):
        if group:  # zeros after the last element are padding, not elements
            text = "an element without VR inside an explicit data set"
            account.note(Flaw.MISSING_VR, tag, text)
        return _implicit_head(data, pos, little)
    account.note(Flaw.BAD_VR, tag, "a VR that the standard does not list, read as UN")
    if length:
        return tag, "UN", pos + 8, length
    if pos + 12 > bound:
        raise Short(pos + 12)
    return tag, "UN", pos + 12, LENGTH32[little].unpack_from(data, pos + 8)[0]


def _implicit_head(data: Bytes, pos: int, little: bool) -> tuple[int, str, int, int]:
    group, element, length = IMPLICIT_HEAD[little].unpack_from(data, pos)
    tag = group << 16 | element
    if group == 0xFFFE:
        return tag, "", pos + 8, length
    return tag, listed_vr(tag), pos + 8, length


def is_sequence(vr: str, length: int) -> bool:
    """Whether the value is a sequence of items: SQ, or UN of undefined length (PS3.5 6.2.2, CP-246)."""
    return vr == "SQ" or (length == UNDEFINED and vr not in FRAGMENTED)


#: VRs whose undefined length means encapsulated fragments, not items that hold elements (PS3.5 A.4)
FRAGMENTED = frozenset(["OB", "OW", "OB or OW", "OD", "OF", "OL", "OV", "US or OW"])


def item_encoding(data: Bytes, offset: int, bound: int, vr: str, encoding: Encoding) -> Encoding:
    """How the items of the sequence whose value begins at `offset` are encoded.

    Items of a UN are Implicit VR Little Endian whatever surrounds them (PS3.5 6.2.2, CP-246). Some
    writers disagree, so the first item is looked at: a VR there, or its tag in the other byte order,
    means "as around it". Raises Short when too little is there to see.
    """
    if vr != "UN" or encoding.implicit:
        return encoding
    if offset + 8 > bound:
        raise Short(offset + 8)
    if IMPLICIT_HEAD[True].unpack_from(data, offset)[:2] != (0xFFFE, 0xE000):
        return encoding
    if offset + 16 > bound:
        raise Short(offset + 16)
    two = bytes(data[offset + 12 : offset + 14])
    return EXPLICIT_LE if two in SHORT_NAMES or two in LONG_NAMES else IMPLICIT_LE


def skip_fragments(
    data: Bytes, pos: int, bound: int, little: bool, account: Account
) -> tuple[int, int]:
    """Pass encapsulated fragments; (position of the delimiter, position after it).

    Raises Short when `bound` comes first.
    """
    head = IMPLICIT_HEAD[little]
    while True:
        if pos + 8 > bound:
            raise Short(pos + 8)
        group, element, length = head.unpack_from(data, pos)
        tag = group << 16 | element
        if tag == SEQUENCE_END:
            return pos, pos + 8
        if tag != ITEM or length == UNDEFINED:
            account.note(Flaw.BAD_SEQUENCE, tag, "something that is no fragment among fragments")
            return pos, pos
        account.count()
        pos += 8 + length


class _Frame:
    """One open sequence or item of the walk. `end` is None for undefined lengths; `bound` is the
    innermost defined end around it."""

    __slots__ = ("bound", "encoding", "end", "is_item", "items", "node", "row_start", "tag")

    def __init__(
        self,
        is_item: bool,
        tag: int,
        end: int | None,
        bound: int,
        encoding: Encoding,
        node: Node | None,
        items: list[Node] | None,
        row_start: int,
    ) -> None:
        self.is_item = is_item
        self.tag = tag
        self.end = end
        self.bound = bound
        self.encoding = encoding
        self.node = node  # the item being filled, or the item that owns this sequence
        self.items = items  # the sequence's items, or None when nothing is kept
        self.row_start = row_start


class SequenceWalk:
    """Walks one sequence to its end. With `keep` it builds the tree of items below it."""

    def __init__(
        self,
        data: Bytes,
        bound: int,
        account: Account,
        *,
        keep: bool,
        depth: int = 0,
    ) -> None:
        self.data = data
        self.bound = bound
        self.account = account
        self.keep = keep
        self.depth = depth  # sequences already open around this one
        self.stack: list[_Frame] = []
        self.value_end = 0  # where the value of the sequence last closed ended, without delimiter

    def run(
        self, tag: int, offset: int, length: int, encoding: Encoding
    ) -> tuple[int, int, list[Node]]:
        """(end of the value, position after the element, items); items is empty unless `keep`.

        Raises Short when the buffer ends first, LimitExceeded on depth or count.
        """
        items: list[Node] = []
        self._open_sequence(tag, offset, length, encoding, None, items if self.keep else None, 0)
        pos = offset
        while self.stack:
            frame = self.stack[-1]
            if frame.end is not None and pos >= frame.end:
                if pos > frame.end:
                    self.account.note(Flaw.BAD_SEQUENCE, frame.tag, "content overruns its length")
                pos = frame.end
                self._close(pos)
                continue
            try:
                pos = self._in_item(frame, pos) if frame.is_item else self._in_sequence(frame, pos)
            except Short:
                if frame.bound == self.bound and not self._bounded():
                    raise
                pos = self._abandon(frame.bound)
        return self.value_end, pos, items

    def _bounded(self) -> bool:
        """Whether the end that was overrun belongs to a frame, not to the buffer."""
        return any(f.end is not None and f.end == self.bound for f in self.stack)

    def _abandon(self, bound: int) -> int:
        """Close everything inside the defined end that was overrun, and go on behind it."""
        self.account.note(Flaw.BAD_SEQUENCE, self.stack[-1].tag, "content is cut off by a length")
        while self.stack and self.stack[-1].end != bound:
            self._close(bound)
        return bound

    def _open_sequence(
        self,
        tag: int,
        offset: int,
        length: int,
        encoding: Encoding,
        owner: Node | None,
        items: list[Node] | None,
        row_start: int,
    ) -> None:
        sequences = self.depth + len(self.stack) // 2 + 1
        if sequences > self.account.limits.depth:
            raise LimitExceeded(f"Sequences nested deeper than {self.account.limits.depth}.")
        outer = self.stack[-1].bound if self.stack else self.bound
        end = None if length == UNDEFINED else min(offset + length, outer)
        if end is not None and end < offset + length:
            if outer == self.bound and not self._bounded():
                raise Short(offset + length)
            self.account.note(Flaw.BAD_SEQUENCE, tag, "a sequence overruns what holds it")
        self.stack.append(
            _Frame(
                False, tag, end, outer if end is None else end, encoding, owner, items, row_start
            )
        )

    def _close(self, end: int) -> None:
        frame = self.stack.pop()
        self.value_end = end
        if frame.node is None:
            return
        if frame.is_item:
            frame.node.end = end
        elif frame.items is not None:
            self._settle_row(frame.node, frame.row_start, end)
            frame.node.children[frame.row_start] = frame.items

    def _settle_row(self, node: Node, start: int, end: int) -> None:
        """Replace the undefined length of a sequence's row, the last one of its item, by the real."""
        tag, vr, row_start, offset, _length = node.rows[-1]
        if row_start == start:
            node.rows[-1] = (tag, vr, row_start, offset, end - offset)

    def _in_sequence(self, frame: _Frame, pos: int) -> int:
        if pos + 8 > frame.bound:
            raise Short(pos + 8)
        little = frame.encoding.little
        group, element, length = IMPLICIT_HEAD[little].unpack_from(self.data, pos)
        tag = group << 16 | element
        if tag == ITEM:
            self.account.count()
            start = pos + 8
            end = None if length == UNDEFINED else min(start + length, frame.bound)
            if end is not None and end < start + length:
                if frame.end is None and not self._bounded():
                    raise Short(start + length)
                self.account.note(Flaw.BAD_SEQUENCE, frame.tag, "an item overruns its sequence")
            node = None
            if frame.items is not None:
                node = Node(frame.encoding, start)
                frame.items.append(node)
            bound = frame.bound if end is None else end
            self.stack.append(
                _Frame(True, frame.tag, end, bound, frame.encoding, node, frame.items, pos)
            )
            return start
        if tag == SEQUENCE_END:
            if frame.end is None:
                self._close(pos)
            else:
                self.account.note(Flaw.BAD_SEQUENCE, frame.tag, "a delimiter inside a known length")
            return pos + 8
        self.account.note(Flaw.BAD_SEQUENCE, frame.tag, "something that is no item in a sequence")
        if frame.end is not None:
            return frame.end
        self._close(pos)  # its delimiter is missing: what follows belongs to who is around it
        return pos

    def _in_item(self, frame: _Frame, pos: int) -> int:
        """Elements of one item, until it ends or a sequence opens."""
        data, account, bound, encoding = self.data, self.account, frame.bound, frame.encoding
        rows = frame.node.rows if frame.node is not None else None
        stop = bound if frame.end is None else frame.end
        while pos < stop or frame.end is None:
            tag, vr, offset, length = read_head(data, pos, bound, encoding, account)
            if not vr:
                return self._delimiter(frame, tag, pos)
            account.count()
            if is_sequence(vr, length):
                if vr not in ("SQ", "UN"):
                    account.note(Flaw.UNDEFINED_LENGTH, tag, "undefined length, read as sequence")
                inner = item_encoding(data, offset, bound, vr, encoding)
                children: list[Node] | None = None
                if rows is not None:
                    children = []
                    rows.append((tag, "UN" if vr == "UN" else "SQ", pos, offset, length))
                self._open_sequence(tag, offset, length, inner, frame.node, children, pos)
                return offset
            if length == UNDEFINED:
                value_end, after = skip_fragments(data, offset, bound, encoding.little, account)
            else:
                value_end = after = offset + length
                if after > bound:
                    raise Short(after)
            if rows is not None:
                rows.append((tag, vr, pos, offset, value_end - offset))
            pos = after
        return pos

    def _delimiter(self, frame: _Frame, tag: int, pos: int) -> int:
        if tag == ITEM_END:
            if frame.end is None:
                self._close(pos)
            else:
                self.account.note(Flaw.BAD_SEQUENCE, frame.tag, "a delimiter inside a known length")
            return pos + 8
        if tag in (ITEM, SEQUENCE_END) and frame.end is None:
            self.account.note(Flaw.BAD_SEQUENCE, frame.tag, "an item without its delimiter")
            self._close(pos)
            return pos
        self.account.note(Flaw.BAD_SEQUENCE, frame.tag, "a stray delimiter inside an item")
        return pos + 8
