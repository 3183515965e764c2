"""ustar archives, written in passing and read with limits (POSIX.1-1988; pax sizes of POSIX.1-2001).

Members have known sizes, so that a writer needs no seek. A size of 8 GiB or more does not fit the header's
eleven octal digits: a pax record says it then. Reading needs the headers only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lightwell.domain.archive.errors import Damaged

BLOCK = 512
END = bytes(2 * BLOCK)
OCTAL_LIMIT = 8 << 30  # sizes from here on need a pax record
MOST_MEMBERS = 2_000_000
_PAX_LIMIT = 64 * 1024
_ZERO = bytes(BLOCK)

ReadRange = Callable[[int, int], bytes]
"""`read(offset, length)`: exactly those bytes of the pack; raises when they are not there."""


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file of an archive: `offset` and `size` of its content."""

    name: str
    offset: int
    size: int


def member_head(name: str, size: int, moment: int = 0) -> bytes:
    """What stands before a member's content. Raises ValueError for names longer than 100 bytes."""
    if size < OCTAL_LIMIT:
        return _header(name, size, b"0", moment)
    record = _pax_record("size", str(size))
    extra = _header(f"pax/{name}"[:100], len(record), b"x", moment)
    return extra + record + padding(len(record)) + _header(name, 0, b"0", moment)


def padding(size: int) -> bytes:
    """Zeros that fill a member's last block."""
    return bytes(-size % BLOCK)


def _header(name: str, size: int, kind: bytes, moment: int) -> bytes:
    raw = name.encode("ascii")
    if len(raw) > 100:
        raise ValueError("the name of a member is too long")
    fields = [
        raw.ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,  # mode, owner, group
        b"%011o\0" % size + b"%011o\0" % moment,
        b" " * 8,  # the sum counts its own field as spaces
        kind + bytes(100) + b"ustar\x0000" + bytes(64),
        b"0000000\0" * 2,
    ]
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _pax_record(key: str, value: str) -> bytes:
    """`length key=value newline`, where the length counts itself."""
    body = f" {key}={value}\n"
    length = len(body)
    while len(f"{length}{body}") != length:
        length = len(f"{length}{body}")
    return f"{length}{body}".encode("ascii")


def members(read: ReadRange, length: int, start: int = 0) -> Iterator[Member]:
    """The regular files of an archive of `length` bytes, by their headers, from the one at `start`.

    Raises Damaged when it is none, is cut off, or has no end blocks.
    """
    at = start
    stated: int | None = None
    for _ in range(MOST_MEMBERS):
        if at + BLOCK > length:
            raise Damaged("A pack ends without its end blocks.")
        block = read(at, BLOCK)
        if block == _ZERO:
            return
        name, size, kind = _parse(block)
        content = at + BLOCK
        if kind == b"x":
            if size > _PAX_LIMIT:
                raise Damaged("A pax record of a pack is too long.")
            stated = _pax_size(read(content, size))
        elif kind in (b"0", b"\0"):
            size = size if stated is None else stated
            stated = None
            if content + size > length:
                raise Damaged("A member of a pack ends beyond it.")
            yield Member(name, content, size)
        at = content + size + (-size % BLOCK)
    raise Damaged("A pack has too many members.")


def _parse(block: bytes) -> tuple[str, int, bytes]:
    try:
        wanted = int(block[148:156].rstrip(b"\0 ") or b"0", 8)
        size = int(block[124:136].rstrip(b"\0 ") or b"0", 8)
        name = block[:100].rstrip(b"\0").decode("ascii")
    except ValueError:
        raise Damaged("A header of a pack is damaged.") from None
    if (
        size < 0
        or wanted != sum(block[:148]) + 8 * 32 + sum(block[156:])
        or block[257:262] != b"ustar"
    ):
        raise Damaged("A header of a pack is damaged.")
    return name, size, block[156:157]


def _pax_size(raw: bytes) -> int | None:
    for line in raw.split(b"\n"):
        _length, _, body = line.partition(b" ")
        key, _, value = body.partition(b"=")
        if key == b"size" and value.isdigit() and len(value) < 20:
            return int(value)
    return None
