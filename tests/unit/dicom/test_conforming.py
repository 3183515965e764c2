"""Values that people type, against PS3.5 Table 6.2-1."""

from __future__ import annotations

from typing import Any

import pytest

from lightwell.dicom.conforming import objection


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("DA", "20260228"), ("DA", "20240229"), ("DA", ""), ("TM", "07"), ("TM", "0705"), ("TM", "235960"),
        ("TM", "070500.123456"), ("DT", "2026"), ("DT", "20261129101500.5+0100"), ("CS", "ORIGINAL"),
        ("CS", "M"),
        ("AS", "018M"), ("LO", "x" * 64), ("SH", "x" * 16), ("ST", "two\r\nlines"),
        ("UI", "1.2.840.10008.1.2"),
        ("PN", {"Alphabetic": "Doe^Jane^^^"}), ("PN", {"Alphabetic": "x" * 64, "Ideographic": "山田^太郎"}),
        ("IS", 12), ("IS", "-7"), ("DS", 1.5), ("DS", "1e-3"), ("US", 65535), ("SS", -1), ("LT", "a\\b"),
        ("LO", None),
        ("SQ", {"00100010": {}}),
    ],
)  # fmt: skip
def test_what_conforms(vr: str, value: Any) -> None:
    assert objection(vr, value) == ""


@pytest.mark.parametrize(
    ("vr", "value", "said"),
    [
        ("DA", "12.3.1960", "YYYYMMDD"), ("DA", "yesterday", "YYYYMMDD"), ("DA", "20260231", "YYYYMMDD"),
        ("DA", "２０２６０１０１", "YYYYMMDD"), ("TM", "7:05", "HHMMSS"), ("TM", "2460", "HHMMSS"),
        ("TM", "0705.5", "HHMMSS"),
        ("DT", "29.11.2026", "YYYYMMDD"), ("CS", "banana", "upper-case"), ("CS", "X" * 17, "longer"),
        ("AS", "18", "three digits"),
        ("LO", "x" * 65, "longer than 64"), ("SH", "x" * 17, "longer than 16"), ("LO", "a\nb", "control"),
        ("LO", "a\\b", "backslash"),
        ("UI", "1.2.x", "UID"), ("PN", {"Alphabetic": "x" * 65}, "64"),
        ("PN", {"Alphabetic": "a^b^c^d^e^f"}, "five"),
        ("PN", {"Alphabetic": "a\x1bb"}, "control"), ("IS", "1.5", "number"), ("IS", 2**31, "between"),
        ("US", -1, "between"),
        ("US", 1.5, "whole"), ("DS", "wide", "number"), ("DS", "1" * 17, "longer"),
    ],
)  # fmt: skip
def test_what_does_not(vr: str, value: Any, said: str) -> None:
    assert said in objection(vr, value)
