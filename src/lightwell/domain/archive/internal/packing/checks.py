"""CRC32C and bounded zlib: every part of a pack is checked before it is believed."""

from __future__ import annotations

import zlib

import google_crc32c

from lightwell.domain.archive.errors import Damaged


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """CRC32C (Castagnoli) of the bytes."""
    return int(google_crc32c.value(data if isinstance(data, bytes) else bytes(data)))


def extended(crc: int, data: bytes | bytearray | memoryview) -> int:
    """CRC32C of what `crc` covers followed by these bytes."""
    return int(google_crc32c.extend(crc, data if isinstance(data, bytes) else bytes(data)))


def inflated(data: bytes, size: int, what: str) -> bytes:
    """zlib data that must inflate to exactly `size` bytes. Raises Damaged."""
    engine = zlib.decompressobj()
    try:
        out = engine.decompress(data, size + 1)
    except zlib.error as error:
        raise Damaged(f"{what} of a pack cannot be inflated.") from error
    if len(out) != size:
        raise Damaged(f"{what} of a pack has another size than it says.")
    return out
