"""Bounds on what one object may cost (design: reliability 3.11)."""

from __future__ import annotations

from dataclasses import dataclass

MiB = 1 << 20
GiB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """What one data set may ask of us. Sizes in bytes.

    `top_elements` bounds what is kept of one level while scanning (some 200 bytes each), `json_values`
    what one JSON model may hold; real objects stay below a tenth of both.

    `bulk` is our own line: a *top-level* binary element longer than this (an encapsulated PDF, spectra)
    ends the header the way pixel data does, so that it never has to lie in memory.
    """

    header: int = 64 * MiB
    depth: int = 32
    elements: int = 1_000_000
    top_elements: int = 100_000
    json_values: int = 4_000_000
    bulk: int = 4 * MiB
    inflate_ratio: int = 200
    inflate_free: int = 16 * MiB
    inflate_total: int = 4 * GiB
    meta: int = 1 * MiB
    fragments: int = 2_000_000
    defects: int = 100


DEFAULT = Limits()
