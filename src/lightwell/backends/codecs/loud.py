"""Codec trouble made audible: also what Cython swallows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused


@contextmanager
def loud() -> Iterator[None]:
    """Turn codec trouble into DecodeFailed.

    OpenJPH reports damage from a callback whose exception Cython prints and forgets; the array that
    comes back is then garbage. `sys.unraisablehook` sees it.
    """
    swallowed: list[BaseException | None] = []
    previous = sys.unraisablehook
    sys.unraisablehook = lambda trouble: swallowed.append(trouble.exc_value)
    try:
        yield
    except (DecodeFailed, DecodeRefused, MemoryError):
        raise
    except (RuntimeError, ValueError, OSError, TypeError, NotImplementedError) as trouble:
        raise DecodeFailed(f"The codec could not read the frame: {brief(trouble)}.") from trouble
    finally:
        sys.unraisablehook = previous
    if swallowed:
        raise DecodeFailed(f"The codec reported damage: {brief(swallowed[0])}.")


def brief(trouble: BaseException | None) -> str:
    """Codec messages speak of bytes and markers, never of patients; keep them short all the same."""
    return " ".join(str(trouble).split())[:160] or type(trouble).__name__
