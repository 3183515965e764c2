"""Which contexts we accept: the rules of standards 1.2 and their check D-3."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightwell.wire.dimse.items import (
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    RoleSelection,
    UserInformation,
)
from lightwell.wire.dimse.negotiation import (
    Policy,
    choose_readable_syntax,
    choose_transfer_syntax,
    negotiate,
)
from lightwell.wire.dimse.pdu import AssociateRQ, ContextAnswer, PresentationContext
from lightwell.wire.dimse.syntaxes import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    may_lose,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
GE_PRIVATE = "1.2.840.113619.4.30"
VERIFICATION = "1.2.840.10008.1.1"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
J2K_LOSSLESS, J2K = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
JPEG, JPEG_LOSSLESS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70"
HTJ2K, JPEG_XL, DEFLATED_FRAME = (
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.8.1",
)
SMPTE = "1.2.840.10008.1.2.7.1"
PRIVATE_SYNTAX = "1.2.840.113619.5.2"

ALL = (EXPLICIT_LE, DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE, J2K_LOSSLESS, J2K, JPEG, JPEG_LOSSLESS)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((IMPLICIT_LE, EXPLICIT_LE, J2K), EXPLICIT_LE),
        ((IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE), DEFLATED_LE),
        ((IMPLICIT_LE, EXPLICIT_BE), EXPLICIT_BE),
        ((IMPLICIT_LE,), IMPLICIT_LE),
        ((J2K_LOSSLESS, IMPLICIT_LE), IMPLICIT_LE),
        ((JPEG, J2K, J2K_LOSSLESS), J2K_LOSSLESS),
        ((JPEG_LOSSLESS, J2K_LOSSLESS), JPEG_LOSSLESS),
        ((J2K_LOSSLESS, JPEG_LOSSLESS), J2K_LOSSLESS),
        ((J2K, JPEG), J2K),
        ((JPEG,), JPEG),
        ((PRIVATE_SYNTAX,), PRIVATE_SYNTAX),
        ((SMPTE, JPEG), JPEG),
        ((SMPTE,), None),
        ((), None),
    ],
)
def test_the_choice(offered: tuple[str, ...], chosen: str | None) -> None:
    assert choose_transfer_syntax(offered) == chosen


@settings(deadline=None)
@given(st.lists(st.sampled_from(ALL), min_size=1, unique=True))
def test_lossy_only_when_nothing_else_is_offered(offered: list[str]) -> None:
    chosen = choose_transfer_syntax(offered)
    assert chosen in offered
    if not all(may_lose(syntax) for syntax in offered):
        assert chosen is not None
        assert not may_lose(chosen)
    if EXPLICIT_LE in offered:
        assert chosen == EXPLICIT_LE


@settings(deadline=None)
@given(st.permutations([EXPLICIT_LE, DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE]))
def test_the_requestors_order_of_uncompressed_syntaxes_does_not_matter(offered: list[str]) -> None:
    assert choose_transfer_syntax(offered) == EXPLICIT_LE
    assert choose_readable_syntax(offered) == EXPLICIT_LE


def asking(
    *offers: tuple[str, tuple[str, ...]], information: UserInformation | None = None
) -> AssociateRQ:
    contexts = tuple(
        PresentationContext(2 * number + 1, abstract, syntaxes)
        for number, (abstract, syntaxes) in enumerate(offers)
    )
    return AssociateRQ("PACS", "CT1", contexts, information or UserInformation())


def test_check_d3() -> None:
    """128 contexts with a private class and new syntaxes: all accepted, Explicit over Implicit."""
    offers: list[tuple[str, tuple[str, ...]]] = [
        (GE_PRIVATE, (IMPLICIT_LE, EXPLICIT_LE)),
        (CT, (J2K_LOSSLESS,)),
        (CT, (HTJ2K,)),
        (CT, (JPEG_XL,)),
        (CT, (DEFLATED_FRAME,)),
    ]
    offers += [(f"1.2.840.113619.4.{n}", (IMPLICIT_LE, EXPLICIT_LE)) for n in range(100, 223)]
    answered = negotiate(asking(*offers), Policy())
    assert len(answered.contexts) == 128
    assert [answer.context_id for answer in answered.contexts] == list(range(1, 256, 2))
    assert all(answer.result == 0 for answer in answered.contexts)
    assert [answer.transfer_syntax for answer in answered.contexts[:5]] == [
        EXPLICIT_LE,
        J2K_LOSSLESS,
        HTJ2K,
        JPEG_XL,
        DEFLATED_FRAME,
    ]
    assert {answer.transfer_syntax for answer in answered.contexts[5:]} == {EXPLICIT_LE}
    assert answered.refused == ()


def test_services_are_the_policys_and_uncompressed() -> None:
    request = asking(
        (VERIFICATION, (IMPLICIT_LE,)),
        (FIND, (IMPLICIT_LE, EXPLICIT_LE)),
        (VERIFICATION, (JPEG,)),
        (CT, (EXPLICIT_LE,)),
        (CT, (SMPTE,)),
    )
    answered = negotiate(request, Policy(services=frozenset({VERIFICATION})))
    assert answered.contexts == (
        ContextAnswer(1, 0, IMPLICIT_LE),
        ContextAnswer(3, 3),
        ContextAnswer(5, 4),
        ContextAnswer(7, 0, EXPLICIT_LE),
        ContextAnswer(9, 4),
    )
    assert answered.refused == (FIND, VERIFICATION, CT)


def test_a_peer_that_may_not_store() -> None:
    answered = negotiate(asking((CT, (EXPLICIT_LE,))), Policy(stores=lambda _uid: False))
    assert answered.contexts == (ContextAnswer(1, 1),)


def test_roles_windows_and_extended_negotiation() -> None:
    information = UserInformation(
        async_operations=(0, 5),
        roles=(
            RoleSelection(CT, scu=False, scp=True),
            RoleSelection(FIND, scu=True, scp=True),
            RoleSelection(GE_PRIVATE, scu=True, scp=False),
        ),
        extended=(ExtendedNegotiation(FIND, b"\1\1\1"), ExtendedNegotiation(CT, b"\2")),
        common_extended=(CommonExtendedNegotiation(CT, "1.2.840.10008.4.2"),),
    )
    policy = Policy(
        services=frozenset({FIND}),
        extended=lambda asked: b"\1\0\0" if asked.SOPClassUID == FIND else None,
    )
    request = asking((CT, (EXPLICIT_LE,)), (FIND, (EXPLICIT_LE,)), information=information)
    answered = negotiate(request, policy)
    assert answered.async_operations == (1, 1)
    assert answered.roles == (
        RoleSelection(CT, scu=False, scp=True),
        RoleSelection(FIND, scu=True, scp=False),
        RoleSelection(GE_PRIVATE, scu=True, scp=False),
    )
    assert answered.extended == (ExtendedNegotiation(FIND, b"\1\0\0"),)


def test_what_was_not_asked_is_not_answered() -> None:
    answered = negotiate(asking((CT, (EXPLICIT_LE,))), Policy())
    assert answered.async_operations is None
    assert answered.roles == ()
    assert answered.extended == ()
