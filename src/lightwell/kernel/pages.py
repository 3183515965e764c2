"""Pages of results and the opaque cursors between them."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Generic, TypeVar

from lightwell.kernel.errors import Invalid

T = TypeVar("T")

CURSOR_LIMIT = 2048


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some results, and where the next ones begin; `next_cursor` is None on the last page."""

    items: tuple[T, ...]
    next_cursor: str | None = None


def encode_cursor(position: list[str | int | None]) -> str:
    """A position in a stable order as URL-safe text. Not secret, not signed: it only says where."""
    raw = json.dumps(position, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> list[str | int | None]:
    """The position a cursor stands for; anything we did not write ourselves is Invalid."""
    if len(cursor) > CURSOR_LIMIT:
        raise Invalid("The page cursor is too long.", remedy="Start again from the first page.")
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as error:
        raise Invalid(
            "The page cursor is not one of ours.", remedy="Start again from the first page."
        ) from error
    if (
        not isinstance(position, list)
        or len(position) != length
        or not all(part is None or isinstance(part, str | int) for part in position)
    ):
        raise Invalid(
            "The page cursor is not one of ours.", remedy="Start again from the first page."
        )
    return position
