"""The codec without its child processes, as a `FrameCoder`: for tests of what is around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from lightwell.backends.codecs.decompress import decompress_frame
from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.backends.codecs.htj2k import decode_coarse, decode_frame, encode_frame
from lightwell.domain.archive.coding import (
    Buffer,
    CodedFrame,
    CompressedFrame,
    NativeFrame,
    NotCoded,
    PixelForm,
)

T = TypeVar("T")
Spoil = Callable[[int, CodedFrame], CodedFrame | NotCoded]
Mangle = Callable[[int, NativeFrame], NativeFrame | NotCoded]


@dataclass(slots=True)
class InlineFrameCoder:
    """Codes in the calling thread. `spoil(number, frame)` may replace what was made of the n-th frame
    encoded (from 0), to play a codec that errs; `mangle(number, frame)` the same of those decompressed.
    `batches` counts calls."""

    spoil: Spoil | None = None
    mangle: Mangle | None = None
    depth: int = 2
    batches: int = 0
    encoded: int = 0
    decompressed: int = 0

    def encode(
        self, frames: Sequence[tuple[PixelForm, Buffer]]
    ) -> Future[list[CodedFrame | NotCoded]]:
        """See `domain.archive.ports.FrameCoder`."""
        made: list[CodedFrame | NotCoded] = []
        self.batches += 1
        for form, frame in frames:
            try:
                one: CodedFrame | NotCoded = encode_frame(form, frame)
            except DecodeFailed as trouble:
                one = NotCoded(trouble.message)
            if self.spoil is not None and isinstance(one, CodedFrame):
                one = self.spoil(self.encoded, one)
            self.encoded += 1
            made.append(one)
        return _done(made)

    def decode(
        self, frames: Sequence[tuple[PixelForm, CodedFrame]]
    ) -> Future[list[memoryview | NotCoded]]:
        """See the port."""
        made: list[memoryview | NotCoded] = []
        for form, coded in frames:
            try:
                made.append(decode_frame(form, coded))
            except DecodeFailed as trouble:
                made.append(NotCoded(trouble.message))
        return _done(made)

    def decompress(
        self, frames: Sequence[tuple[PixelForm, CompressedFrame]]
    ) -> Future[list[NativeFrame | NotCoded]]:
        """See the port."""
        made: list[NativeFrame | NotCoded] = []
        for form, frame in frames:
            try:
                one: NativeFrame | NotCoded = decompress_frame(form, frame)
            except (DecodeFailed, DecodeRefused) as trouble:
                one = NotCoded(str(trouble))
            if self.mangle is not None and isinstance(one, NativeFrame):
                one = self.mangle(self.decompressed, one)
            self.decompressed += 1
            made.append(one)
        return _done(made)

    def coarse(self, prefix: bytes, levels: int, reduction: int) -> Future[bytes]:
        """See the port."""
        return _done(np.ascontiguousarray(decode_coarse(prefix, levels, reduction)).tobytes())


def _done(result: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(result)
    return future
