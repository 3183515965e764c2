"""Segmented palette tables (PS3.3 C.7.9.2). Pure Python; the result is bounded by its descriptor."""

from __future__ import annotations

from collections.abc import Sequence

from lightwell.backends.codecs.errors import DecodeFailed

_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


def expand_segments(words: Sequence[int], count: int) -> list[int]:
    """Expand segments until `count` entries are made; raises DecodeFailed when they contradict."""
    table: list[int] = []
    _expand(words, 0, len(words), count, table, depth=0)
    if len(table) < count:
        raise DecodeFailed(f"A segmented palette gives {len(table)} of {count} entries.")
    return table[:count]


def _expand(
    words: Sequence[int], at: int, segments: int, count: int, table: list[int], depth: int
) -> None:
    while at + 1 < len(words) and segments > 0 and len(table) < count:
        segments -= 1
        opcode, length = words[at], words[at + 1]
        if opcode == _DISCRETE:
            table.extend(words[at + 2 : at + 2 + length])
            at += 2 + length
        elif opcode == _LINEAR:
            if not table or at + 2 >= len(words):
                raise DecodeFailed("A palette cannot begin with a linear segment.")
            _line(table, words[at + 2], length)
            at += 3
        elif opcode == _INDIRECT:
            if depth or at + 3 >= len(words):
                raise DecodeFailed("An indirect palette segment points to another one.")
            target = (words[at + 2] | words[at + 3] << 16) // 2
            _expand(words, target, length, count, table, depth=1)
            at += 4
        else:
            raise DecodeFailed(f"A segmented palette has the unknown opcode {opcode}.")


def _line(table: list[int], end: int, length: int) -> None:
    """`length` entries from the last one (not repeated) up to `end`."""
    start = table[-1]
    table.extend(
        start + round((end - start) * step / length) for step in range(1, min(length, 65_536) + 1)
    )
