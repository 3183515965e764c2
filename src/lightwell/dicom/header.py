"""What a scan found: data sets whose values are decoded when somebody asks.

A `DataSet` is a view: the located rows of one level plus the buffer they point into. `Header` is the
outermost one, with the place of the pixel data and the list of defects. First occurrence wins for
duplicate tags, everywhere. UN elements whose tag the dictionary knows are read with its VR (PS3.5
6.2.2): `Element.vr` is that effective VR, `Element.wire_vr` what was sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from lightwell.dicom import charsets as cs
from lightwell.dicom import tags
from lightwell.dicom.defects import Defect, Flaw
from lightwell.dicom.dictionary import vr_of
from lightwell.dicom.errors import DicomError
from lightwell.dicom.uids import TransferSyntax, valid_uid
from lightwell.dicom.values import (
    Number,
    PersonName,
    decimal,
    decode_numbers,
    decode_strings,
    decode_tags,
    integer,
)
from lightwell.dicom.vrs import (
    NUMBER,
    SHORT_FORM,
    TEXT,
    UNDEFINED,
    WORD,
    Encoding,
)
from lightwell.dicom.walk import Account, Node, Row, SequenceWalk, Short, item_encoding


class Element:
    """One located element. Cheap to make; nothing is decoded before it is asked for."""

    __slots__ = ("length", "offset", "owner", "start", "tag", "vr", "wire_vr")

    def __init__(self, owner: DataSet, row: Row) -> None:
        self.owner = owner
        self.tag, self.wire_vr, self.start, self.offset, self.length = row
        self.vr = owner.effective_vr(row)

    @property
    def value(self) -> memoryview:
        """The raw value (for a sequence: its items as encoded), in the byte order of `little`."""
        return memoryview(self.owner.data)[self.offset : self.offset + self.length]

    @property
    def raw(self) -> bytes:
        """A copy of the raw value."""
        return self.owner.data[self.offset : self.offset + self.length]

    @property
    def little(self) -> bool:
        """The byte order of the value; a UN is always little endian (PS3.5 6.2.2)."""
        return self.wire_vr == "UN" or self.owner.node.encoding.little

    @property
    def undefined(self) -> bool:
        """Whether the element was sent with undefined length."""
        return self.owner.data[self.offset - 4 : self.offset] == b"\xff\xff\xff\xff" and (
            self.wire_vr not in SHORT_FORM or self.owner.node.encoding.implicit
        )

    @property
    def items(self) -> list[DataSet]:
        """The items of a sequence; [] for every other VR."""
        return self.owner.items_of(self)

    def strings(self) -> list[str]:
        """The values as texts, for any textual VR; [] for numbers, binary and sequences."""
        if self.vr in WORD or self.vr in ("OB", "UN", "SQ"):
            return []
        return decode_strings(self.raw, self.vr, self.owner.charsets)

    def numbers(self, limit: int | None = None) -> list[Number]:
        """The values as numbers, for numeric VRs and for IS and DS texts that are numbers; of numeric
        VRs at most the first `limit`."""
        if self.vr in NUMBER:
            end = self.length if limit is None else limit * WORD[self.vr]
            return decode_numbers(bytes(self.value[:end]), self.vr, little=self.little)
        if self.vr == "IS":
            return [n for n in map(integer, self.strings()) if n is not None]
        return [n for n in map(decimal, self.strings()) if n is not None]

    def __repr__(self) -> str:
        return f"Element({tags.show_tag(self.tag)} {self.vr} at {self.offset}, {self.length} bytes)"


#: The methods `int` and `float` below hide the builtin names from annotations.
Tag = int
Whole = int
Real = float


class DataSet:
    """One level of a data set: the top, or an item of a sequence."""

    def __init__(
        self, data: bytes, node: Node, parent: DataSet | None = None, depth: Whole = 0
    ) -> None:
        self.data = data
        self.node = node
        self.parent = parent
        self.depth = depth

    # what is there

    @cached_property
    def index(self) -> dict[Tag, Row]:
        """Tag to row, in the order of the bytes; of duplicates the first."""
        rows = self.node.rows
        index = {row[0]: row for row in rows}
        if len(index) == len(rows):
            return index
        first: dict[Tag, Row] = {}
        for row in rows:
            first.setdefault(row[0], row)
        return first

    @property
    def elements(self) -> Iterator[Element]:
        """The elements in the order of the bytes, duplicates left out."""
        return (Element(self, row) for row in self.index.values())

    def __contains__(self, tag: object) -> bool:
        return tag in self.index

    def __len__(self) -> Whole:
        return len(self.index)

    def get(self, tag: Tag) -> Element | None:
        """The element of a tag."""
        row = self.index.get(tag)
        return None if row is None else Element(self, row)

    def raw(self, tag: Tag) -> bytes | None:
        """A copy of the raw value, None when the element is absent."""
        element = self.get(tag)
        return None if element is None else element.raw

    # what it means

    @cached_property
    def charsets(self) -> tuple[str, ...]:
        """Specific Character Set in force here: own, else that of the enclosing data set."""
        row = self.index.get(tags.SpecificCharacterSet)
        if row is not None:
            return cs.parse_charsets(self.data[row[3] : row[3] + row[4]])
        return self.parent.charsets if self.parent is not None else ()

    @cached_property
    def signed(self) -> bool:
        """Whether Pixel Representation, here or in the nearest enclosing data set, says signed."""
        row = self.index.get(tags.PixelRepresentation)
        if row is not None and row[4]:
            value = self.data[row[3] : row[3] + row[4]]
            return bool(value[0 if self.node.encoding.little else len(value) - 1] & 1)
        return self.parent.signed if self.parent is not None else False

    def private_creator(self, tag: Tag) -> str | None:
        """The creator that reserved the block of a private element (PS3.5 7.8.1)."""
        block = (tag & 0xFFFF) >> 8
        if not (tag >> 16) & 1 or block < 0x10:
            return None
        row = self.index.get((tag & 0xFFFF0000) | block)
        if row is None or row[4] > 64:  # LO (PS3.5 6.2)
            return None
        return self.data[row[3] : row[3] + row[4]].decode("latin-1").strip(" \0") or None

    def effective_vr(self, row: Row) -> str:
        """The VR to read a row with: as sent, else by the dictionary in this context."""
        tag, vr, offset = row[0], row[1], row[3]
        if len(vr) == 2 and vr != "UN":
            return vr
        if vr == "UN" and self.data[offset - 4 : offset] == b"\xff\xff\xff\xff":
            return "SQ"  # UN of undefined length (PS3.5 6.2.2)
        return vr_of(tag, self.private_creator(tag), signed=self.signed)

    def items_of(self, element: Element) -> list[DataSet]:
        """The items of one of our sequence elements, located when first asked for.

        What was called a sequence only by the dictionary and is none gives [].
        """
        if element.vr != "SQ":
            return []
        nodes = self.node.children.get(element.start)
        if nodes is None:
            nodes = self._locate_items(element)
            self.node.children[element.start] = nodes
        return [DataSet(self.data, node, self, self.depth + 1) for node in nodes]

    def _locate_items(self, element: Element) -> list[Node]:
        end = element.offset + element.length
        account = Account()
        encoding = self.node.encoding
        try:
            encoding = item_encoding(self.data, element.offset, end, element.wire_vr, encoding)
            walk = SequenceWalk(self.data, end, account, keep=True, depth=self.depth)
            return walk.run(element.tag, element.offset, element.length, encoding)[2]
        except (Short, DicomError):
            return []

    # values

    def text(self, tag: Tag) -> str | None:
        """The first value as text, stripped; None when absent or empty."""
        values = self.texts(tag)
        return (values[0] or None) if values else None

    def texts(self, tag: Tag) -> list[str]:
        """All values as texts, empty ones as ""; [] when absent. Numbers are written out."""
        element = self.get(tag)
        if element is None:
            return []
        if element.vr in NUMBER:
            return [str(number) for number in element.numbers()]
        return element.strings()

    def strings(self, tag: Tag) -> list[str]:
        """All values that are not empty, as texts."""
        return [text for text in self.texts(tag) if text]

    def ints(self, tag: Tag, limit: Whole | None = None) -> list[Whole]:
        """All values that are whole numbers, from US, UL, IS and whatever else holds numbers."""
        element = self.get(tag)
        if element is None:
            return []
        return [int(number) for number in element.numbers(limit) if number == number // 1]

    def int(self, tag: Tag) -> Whole | None:
        """The first whole number, None when there is none."""
        numbers = self.ints(tag, 1)
        return numbers[0] if numbers else None

    def floats(self, tag: Tag, limit: Whole | None = None) -> list[Real]:
        """All values that are numbers."""
        element = self.get(tag)
        return [] if element is None else [float(number) for number in element.numbers(limit)]

    def float(self, tag: Tag) -> Real | None:
        """The first number, None when there is none."""
        numbers = self.floats(tag, 1)
        return numbers[0] if numbers else None

    def pn(self, tag: Tag) -> PersonName | None:
        """The first person name; None when absent or empty."""
        names = self.pns(tag)
        return names[0] if names else None

    def pns(self, tag: Tag) -> list[PersonName]:
        """All person names that are not empty."""
        return [PersonName.parse(text) for text in self.strings(tag)]

    def tags(self, tag: Tag) -> list[Whole]:
        """The values of an AT element."""
        element = self.get(tag)
        if element is None or element.vr != "AT":
            return []
        return decode_tags(element.raw, little=element.little)

    def sequence(self, tag: Tag) -> list[DataSet]:
        """The items of a sequence; [] when absent, empty, or no sequence."""
        element = self.get(tag)
        return [] if element is None else element.items


class Header(DataSet):
    """The top level of a scanned data set, up to the pixel data.

    `end` is the number of bytes from the beginning of the data set to the end of the last element in
    front of the pixel data; `encoding` (of `node`) is how it really is encoded. The header keeps its own
    copy of these bytes; positions are offsets from the beginning of the data set.

    Pixel data: `pixel_tag` (None when there is none), `pixel_vr` as on the wire ("OW" when implicit),
    `pixel_offset` of the value, `pixel_length` in bytes or None when undefined (encapsulated).
    `bulk` is a long binary element that ended the scan like pixel data would (its value is not in
    `data`): reading its `value` gives only what is there, so use its offset and length.
    """

    def __init__(
        self,
        data: bytes,
        node: Node,
        syntax: TransferSyntax,
        defects: list[Defect],
        *,
        pixel: Row | None = None,
        bulk: Row | None = None,
    ) -> None:
        super().__init__(data, node)
        self.syntax = syntax
        self.structure = tuple(defects)
        self.pixel_tag = pixel[0] if pixel else None
        self.pixel_vr = pixel[1] if pixel else None
        self.pixel_start = pixel[2] if pixel else None
        self.pixel_offset = pixel[3] if pixel else None
        self.pixel_length = None if pixel is None or pixel[4] == UNDEFINED else pixel[4]
        self.bulk = bulk

    @property
    def end(self) -> int:
        """Bytes from the beginning of the data set to the pixel data (or bulk) element."""
        return self.node.end

    @property
    def encoding(self) -> Encoding:
        """How the elements really are framed, whatever the transfer syntax says."""
        return self.node.encoding

    @property
    def encapsulated(self) -> bool:
        """Whether the pixel data come as fragments (undefined length)."""
        return self.pixel_tag is not None and self.pixel_length is None

    @property
    def truncated(self) -> bool:
        """Whether the data set ended inside an element of the header."""
        return any(defect.code is Flaw.TRUNCATED for defect in self.structure)

    @property
    def tail_offset(self) -> int | None:
        """Where elements behind the pixel data (or bulk) element begin; None when not known yet."""
        if self.bulk is not None:
            return self.bulk[3] + self.bulk[4]
        if self.pixel_offset is None or self.pixel_length is None:
            return None
        return self.pixel_offset + self.pixel_length

    @cached_property
    def defects(self) -> tuple[Defect, ...]:
        """Everything that is wrong: the structure of all levels, the values of the top level."""
        return (*self.structure, *value_defects(self))


def value_defects(data_set: DataSet) -> list[Defect]:
    """What is wrong with the values of one level."""
    defects = []
    for term in cs.unknown_terms(data_set.charsets):
        text = f"character set {term[:16]!r} is not defined"
        defects.append(Defect(Flaw.BAD_CHARSET, tags.SpecificCharacterSet, text))
    data, charsets = data_set.data, data_set.charsets
    for tag, vr, _start, offset, length in data_set.node.rows:
        if not length:
            continue
        if vr == "UI":
            uids = data[offset : offset + length].rstrip(b"\0 ").decode("latin-1")
            if not all(valid_uid(uid) for uid in uids.split("\\")):
                defects.append(Defect(Flaw.BAD_UID, tag, "a UID that PS3.5 9.1 does not allow"))
        elif vr in TEXT:
            raw = data[offset : offset + length]
            suspect = not raw.isascii() or b"\x1b" in raw
            if suspect and not cs.decode(raw, charsets, vr).clean:
                text = "bytes that the declared character set does not hold"
                defects.append(Defect(Flaw.BAD_TEXT, tag, text))
        elif vr in NUMBER and length % WORD[vr]:
            defects.append(Defect(Flaw.BAD_VALUE, tag, f"{length} bytes are no whole {vr} values"))
    return defects
