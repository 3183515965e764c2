"""No text but a key passes as a key."""

from __future__ import annotations

import os.path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwell.backends.blobs.keys import (
    KEY_LIMIT,
    checked_key,
    checked_patch,
    checked_prefix,
    checked_range,
    is_below,
    is_key,
)

segments = st.from_regex(r"[a-z0-9_-][a-z0-9._-]{0,30}", fullmatch=True)
keys = st.lists(segments, min_size=1, max_size=8).map("/".join)


@given(keys)
def test_keys_are_keys_and_stay_below_the_root(key: str) -> None:
    assert checked_key(key) == key
    assert os.path.normpath(os.path.join("/root", key)) == f"/root/{key}"


@given(st.text(max_size=40))
def test_whatever_passes_stays_below_the_root(text: str) -> None:
    if is_key(text):
        assert os.path.normpath(os.path.join("/root", text)) == f"/root/{text}"
        assert text == text.lower()
        assert not any(part.startswith(".") for part in text.split("/"))
    else:
        with pytest.raises(ValueError, match="not an object key"):
            checked_key(text)


@given(keys, st.sampled_from(["/..", "/.", "//x", "/", "\n", "\x00", "/A", "/é", " ", "\\x"]))
def test_no_key_with_an_odd_end_is_a_key(key: str, end: str) -> None:
    assert not is_key(key + end)
    assert not is_key(end + key)


def test_length_is_limited() -> None:
    assert is_key("/".join(["a" * 127] * 4))
    assert not is_key("/".join(["a"] * KEY_LIMIT))
    assert not is_key("a" * 129)


@given(keys, keys)
def test_a_prefix_covers_whole_segments_only(prefix: str, rest: str) -> None:
    assert checked_prefix(prefix) == checked_prefix(f"{prefix}/") == prefix
    assert is_below(f"{prefix}/{rest}", prefix)
    assert not is_below(f"{prefix}x/{rest}", prefix)
    assert not is_below(prefix, prefix)
    assert is_below(rest, "")


@given(st.integers(-5, 50), st.integers(0, 20), st.integers(0, 40))
def test_a_patch_lies_inside_what_is_written(offset: int, size: int, written: int) -> None:
    if offset >= 0 and offset + size <= written:
        checked_patch(offset, size, written)
    else:
        with pytest.raises(ValueError, match="patch"):
            checked_patch(offset, size, written)


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (-1, 0), (0, -1)])
def test_no_range_is_negative(offset: int, length: int | None) -> None:
    with pytest.raises(ValueError, match="range"):
        checked_range(offset, length)
    checked_range(0, 0)
    checked_range(2**60, None)
