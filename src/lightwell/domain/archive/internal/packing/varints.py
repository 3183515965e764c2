"""Unsigned LEB128 numbers and counted bytes, as packs store them; reading has a bound for everything."""

from __future__ import annotations

from lightwell.domain.archive.errors import Damaged

_LONGEST = 10  # bytes of a 64-bit number


def varint(value: int) -> bytes:
    """One number >= 0."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def counted(data: bytes) -> bytes:
    """A length and the bytes."""
    return varint(len(data)) + data


class VarintReader:
    """Reads numbers and counted bytes from the front of a buffer. Raises Damaged at its end."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self.at = at

    def number(self, most: int = 2**63 - 1) -> int:
        """The next number. Raises Damaged when it is greater than `most`."""
        value = shift = 0
        for byte in self._data[self.at : self.at + _LONGEST]:
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if value > most:
                    raise Damaged("A number in a pack is out of its bounds.")
                return value
        raise Damaged("A part of a pack ends inside a number.")

    def take(self, length: int) -> bytes:
        """Exactly that many bytes."""
        taken = self._data[self.at : self.at + length]
        if len(taken) != length:
            raise Damaged("A part of a pack is shorter than it says.")
        self.at += length
        return taken

    def counted(self, most: int) -> bytes:
        """Bytes behind their length, at most `most`."""
        return self.take(self.number(most))
