"""Any form, any words: what is packed comes back bit for bit, coded or not (packs.md 1)."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightwell.testing import encoding as enc
from lightwell.testing.raw_objects import Form, RawObject, raw_object


@st.composite
def objects(draw: st.DrawFn) -> RawObject:
    allocated = draw(st.sampled_from([8, 8, 16, 16, 16, 32]))
    stored = draw(st.integers(1, allocated))
    samples = draw(st.sampled_from([1, 1, 1, 3]))
    form = Form(
        rows=draw(st.integers(1, 70)),
        columns=draw(st.integers(1, 70)),
        allocated=allocated,
        stored=stored,
        high=draw(st.integers(stored - 1, allocated - 1)),
        signed=draw(st.booleans()) and samples == 1,
        samples=samples,
        photometric="MONOCHROME2" if samples == 1 else draw(st.sampled_from(["RGB", "YBR_FULL"])),
        planar=None if samples == 1 else draw(st.integers(0, 1)),
        frames=draw(st.integers(1, 7)),
    )
    size = form.frames * form.frame_bytes
    pattern = draw(st.binary(min_size=1, max_size=64))
    pixels = (pattern * (size // len(pattern) + 1))[:size]
    if draw(st.booleans()):  # values only, no strays
        mask = ((1 << stored) - 1) << (form.high + 1 - stored)
        keep = mask.to_bytes(allocated // 8, "little")
        pixels = bytes(b & keep[i % len(keep)] for i, b in enumerate(pixels))
    pad = draw(st.binary(max_size=9))
    if (len(pixels) + len(pad)) % 2:
        pad += draw(st.binary(min_size=1, max_size=1))
    tail = {0xFFFCFFFC: ("OB", draw(st.binary(max_size=20)))} if draw(st.booleans()) else None
    syntax = draw(st.sampled_from([enc.IMPLICIT_LE, enc.EXPLICIT_LE, enc.EXPLICIT_BE]))
    return raw_object(form, pixels + pad, syntax=syntax, tail=tail)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(objects(), min_size=1, max_size=3, unique_by=lambda made: made.sop_uid))
def test_whatever_is_packed_comes_back(pack, made: list[RawObject]) -> None:
    done = pack(*made)
    assert done.prove() == []
    for number, one in enumerate(made):
        assert done.rebuilt(number) == one.data_set
