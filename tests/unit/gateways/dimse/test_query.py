"""Extended negotiation of queries (PS3.4 Table C.5-1)."""

from __future__ import annotations

import pytest

from lightwell.gateways.dimse import retrieval
from lightwell.gateways.dimse.query import MODELS, Options, extended
from lightwell.wire.dimse.items import ExtendedNegotiation

STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (b"", b"\1"),
        (b"\0", b"\1"),
        (bytes((1, 1, 1, 1, 1)), bytes((1, 1, 1, 0, 0))),
        (bytes((1, 0, 0, 0, 0, 1, 1)), bytes((1, 0, 0, 0, 0, 1, 1))),
        (bytes((1, 2, 255)), bytes((1, 0, 0))),
        (bytes(20), bytes((1, 0, 0, 0, 0, 0, 0))),
    ],
)
def test_the_answer_is_what_we_do(asked: bytes, answer: bytes) -> None:
    assert extended(ExtendedNegotiation(STUDY_ROOT, asked)) == answer


def test_options_follow_the_answer() -> None:
    assert Options.of(bytes((1, 1, 1, 1, 1, 1, 1))) == Options(True, True, True, True)
    assert Options.of(b"") == Options()


def test_other_classes_are_not_answered_here() -> None:
    other = ExtendedNegotiation("1.2.840.10008.5.1.4.1.1.2", b"\1")
    assert extended(other) is None
    assert retrieval.extended(other) is None
    (move, *_) = retrieval.MOVE
    assert retrieval.extended(ExtendedNegotiation(move, b"\1\1")) == b"\1\0"
    assert STUDY_ROOT in MODELS
