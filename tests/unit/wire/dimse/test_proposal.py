"""Which contexts we propose."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightwell.wire.dimse.proposal import number, propose, propose_service
from lightwell.wire.dimse.syntaxes import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
J2K, RLE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"


def test_a_compressed_syntax_has_its_own_context_beside_the_uncompressed_one() -> None:
    (contexts,) = propose([(CT, J2K), (CT, EXPLICIT_LE), (CT, J2K), (MR, IMPLICIT_LE), (CT, RLE)])
    assert [(context.abstract_syntax, context.transfer_syntaxes) for context in contexts] == [
        (CT, (J2K,)),
        (CT, (RLE,)),
        (CT, (EXPLICIT_LE, IMPLICIT_LE)),
        (MR, (EXPLICIT_LE, IMPLICIT_LE)),
    ]
    assert [context.context_id for context in contexts] == [1, 3, 5, 7]


def test_without_fallback_each_object_goes_as_it_is_or_not_at_all() -> None:
    (contexts,) = propose([(CT, IMPLICIT_LE), (CT, EXPLICIT_BE)], fallback=False)
    assert [context.transfer_syntaxes for context in contexts] == [(IMPLICIT_LE,), (EXPLICIT_BE,)]


pairs = st.tuples(
    st.integers(1, 120).map(lambda n: f"1.2.840.113619.4.{n}"),
    st.sampled_from([EXPLICIT_LE, IMPLICIT_LE, J2K, RLE, EXPLICIT_BE]),
)


@settings(deadline=None)
@example([(f"1.2.3.{n}", f"1.2.840.{syntax}") for n in range(60) for syntax in range(5)])
@given(st.lists(pairs, max_size=400))
def test_past_128_the_needs_are_split(needs: list[tuple[str, str]]) -> None:
    proposals = propose(needs, fallback=False)
    offered: set[tuple[str, str]] = set()
    for contexts in proposals:
        assert 1 <= len(contexts) <= 128
        assert [context.context_id for context in contexts] == list(range(1, 2 * len(contexts), 2))
        offered |= {(context.abstract_syntax, context.transfer_syntaxes[0]) for context in contexts}
    assert offered == set(needs)
    # A class is never torn apart when it fits one association.
    where: dict[str, set[int]] = {}
    for index, contexts in enumerate(proposals):
        for context in contexts:
            where.setdefault(context.abstract_syntax, set()).add(index)
    assert all(len(places) == 1 for places in where.values())


def test_a_class_with_more_than_128_syntaxes_is_split_too() -> None:
    proposals = propose([(CT, f"1.2.3.{n}") for n in range(200)], fallback=False)
    assert [len(contexts) for contexts in proposals] == [128, 72]


def test_services_and_limits() -> None:
    (context,) = propose_service("1.2.840.10008.1.1")
    assert context.transfer_syntaxes == (EXPLICIT_LE, IMPLICIT_LE)
    with pytest.raises(ValueError, match="129 contexts"):
        number((CT, (EXPLICIT_LE,)) for _ in range(129))
