"""A settled frame through the decoder that every door uses: the values that were received.

The entry's header, not the recipe, is what renderers and transcoders go by.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightwell.backends.codecs import words
from lightwell.backends.codecs.decode import decode_frame, stored_values
from lightwell.backends.codecs.htj2k import encode_frame
from lightwell.backends.codecs.pixels import DecodeJob, PixelDescription
from lightwell.domain.archive.coding import PixelForm

RPCL = "1.2.840.10008.1.2.4.202"
GREY = PixelForm(48, 40, 1, 16, 12, 11)
FORMS = (
    GREY,
    replace(GREY, signed=True),
    replace(GREY, bits_stored=16, high_bit=15),
    replace(GREY, bits_stored=16, high_bit=15, signed=True),
    replace(GREY, high_bit=15),
    replace(GREY, high_bit=15, signed=True),
    PixelForm(48, 40, 1, 8, 8, 7),
    PixelForm(48, 40, 1, 8, 8, 7, signed=True),
    PixelForm(48, 40, 1, 8, 5, 6),
    PixelForm(48, 40, 3, 8, 8, 7),
    PixelForm(48, 40, 3, 8, 8, 7, planar=True),
    PixelForm(48, 40, 3, 16, 16, 15),
)


@pytest.mark.parametrize("form", FORMS)
def test_values_are_those_of_the_original(form: PixelForm) -> None:
    data = np.random.default_rng(3).bytes(form.frame_bytes)
    original = PixelDescription(
        "1.2.840.10008.1.2.1",
        form.rows,
        form.columns,
        samples=form.samples,
        bits_allocated=form.bits_allocated,
        bits_stored=form.bits_stored,
        high_bit=form.high_bit,
        signed=form.signed,
        photometric="RGB" if form.samples == 3 else "MONOCHROME2",
        planar_configuration=int(form.planar),
    )
    entry = replace(
        original,
        transfer_syntax=RPCL,
        high_bit=form.bits_stored - 1,
        photometric="YBR_RCT" if form.samples == 3 else "MONOCHROME2",
        planar_configuration=0,
    )
    stream = encode_frame(form, data).stream
    shown = decode_frame(DecodeJob(entry, stream))
    received = decode_frame(DecodeJob(original, data))
    assert shown.photometric == received.photometric
    wanted = stored_values(received.samples, original)
    assert np.array_equal(stored_values(shown.samples, entry), wanted)
    values, _zero, _strays = words.split(form, words.words_of(form, data))
    assert np.array_equal(values, wanted)
