"""What an object key may look like, and the same words for the same faults in every store."""

from __future__ import annotations

import re

KEY_LIMIT = 512
"""Characters in a whole key; every S3 server takes 1,024 bytes, of which a prefix may use some."""

_SEGMENT = r"[a-z0-9_-][a-z0-9._-]{0,127}"
_KEY = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")


def is_key(text: str) -> bool:
    """Whether the text could be one of our keys; a listing passes over what could not."""
    return len(text) <= KEY_LIMIT and _KEY.fullmatch(text) is not None


def checked_key(key: str) -> str:
    """The key itself if it is one, else ValueError.

    Lower-case letters, digits, `.`, `_`, `-` in segments that do not begin with a dot: no key can
    climb out of the store, hide, or differ from another one only in case. Keys come from the
    archive's random generator, never from a data set; this is the second lock.
    """
    if not is_key(key):
        raise ValueError(f"not an object key: {key[:80]!r}")
    return key


def checked_prefix(prefix: str) -> str:
    """A prefix of whole segments without its closing slash; the empty one means everything."""
    trimmed = prefix.removesuffix("/")
    return checked_key(trimmed) if trimmed else ""


def is_below(key: str, prefix: str) -> bool:
    """Whether the key lies below a prefix that `checked_prefix` returned."""
    return not prefix or key.startswith(f"{prefix}/")


def checked_range(offset: int, length: int | None) -> None:
    """ValueError for a range that no object could have."""
    if offset < 0 or (length is not None and length < 0):
        raise ValueError(f"not a byte range: offset {offset}, length {length}")


def checked_patch(offset: int, size: int, written: int) -> None:
    """ValueError when a patch would reach beyond what is written: it may only overwrite."""
    if offset < 0 or offset + size > written:
        raise ValueError(f"patch of {size} bytes at {offset} leaves the {written} bytes written")


def missing_text(key: str) -> str:
    return f"There is no object {key}."


def exists_text(key: str) -> str:
    return f"There is an object {key} already, and keys are never reused."


def short_text(key: str, wanted_end: int, length: int) -> str:
    return f"The object {key} has {length} bytes; {wanted_end} were expected."


def dead_text(key: str) -> str:
    return f"The sink of {key} is closed: it was sealed, discarded, or has failed."
