"""Columns as values."""

from __future__ import annotations

from lightwell.backends.database.rows import attributes_of, entry_attributes

TEXT = '{"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}}'


def test_attributes_of_an_entry_are_remembered_by_what_they_say() -> None:
    first = entry_attributes(TEXT)
    assert first == attributes_of(TEXT)
    assert entry_attributes("".join(TEXT)) is first
    assert entry_attributes(TEXT.replace("Jane", "Joan"))["00100010"] != first["00100010"]


def test_no_attributes() -> None:
    assert entry_attributes(None) == entry_attributes("") == {}
