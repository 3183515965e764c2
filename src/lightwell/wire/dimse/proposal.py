"""Which presentation contexts to ask for when we are the requestor. Pure functions.

An acceptor picks one transfer syntax a context. A context that lists a compressed syntax beside
uncompressed ones lets it pick the uncompressed one, and the compressed file can then not be sent as
it is. So each (class, compressed syntax) gets a context of its own, and each class one more for the
uncompressed syntaxes (standards 1.2). One association holds 128 contexts (ids are odd, 1 to 255);
what does not fit goes to further associations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from lightwell.wire.dimse.pdu import PresentationContext
from lightwell.wire.dimse.syntaxes import EXPLICIT_LE, IMPLICIT_LE, UNCOMPRESSED

MAX_CONTEXTS: Final = 128

Offer = tuple[str, tuple[str, ...]]
"""An abstract syntax and the transfer syntaxes of one context for it."""


def offers_for(needs: Iterable[tuple[str, str]], *, fallback: bool = True) -> list[list[Offer]]:
    """Offers for (SOP class, transfer syntax) pairs, grouped by class, in order of first need.

    With *fallback* each class also gets ``[Explicit LE, Implicit LE]``, so that an object can still
    be sent decoded when its own syntax is refused. Uncompressed Big Endian and deflated syntaxes get
    contexts of their own, like compressed ones.
    """
    groups: dict[str, dict[Offer, None]] = {}
    for sop_class, syntax in needs:
        group = groups.setdefault(sop_class, {})
        if not (fallback and syntax in (EXPLICIT_LE, IMPLICIT_LE)):
            group[sop_class, (syntax,)] = None
    if fallback:
        for sop_class, group in groups.items():
            group[sop_class, (EXPLICIT_LE, IMPLICIT_LE)] = None
    return [list(group) for group in groups.values()]


def split(groups: Iterable[Sequence[Offer]]) -> list[tuple[PresentationContext, ...]]:
    """Number the offers, at most 128 an association; a class is split only if it alone exceeds it."""
    associations: list[list[Offer]] = [[]]
    for group in groups:
        if len(associations[-1]) + len(group) > MAX_CONTEXTS and associations[-1]:
            associations.append([])
        for offer in group:
            if len(associations[-1]) == MAX_CONTEXTS:
                associations.append([])
            associations[-1].append(offer)
    return [number(offers) for offers in associations if offers]


def number(offers: Iterable[Offer]) -> tuple[PresentationContext, ...]:
    """Contexts with the ids 1, 3, 5, ... Raises ValueError for more than 128."""
    contexts = tuple(
        PresentationContext(2 * index + 1, abstract, syntaxes)
        for index, (abstract, syntaxes) in enumerate(offers)
    )
    if len(contexts) > MAX_CONTEXTS:
        raise ValueError(f"{len(contexts)} contexts do not fit one association: split them")
    return contexts


def propose(
    needs: Iterable[tuple[str, str]], *, fallback: bool = True
) -> list[tuple[PresentationContext, ...]]:
    """The contexts to propose, per association, to send objects of these (class, syntax) pairs."""
    return split(offers_for(needs, fallback=fallback))


def propose_service(*abstract_syntaxes: str) -> tuple[PresentationContext, ...]:
    """Contexts for services without pixel data: each class once, in the uncompressed syntaxes.

    Deflated and Big Endian are left out: no peer needs them for an identifier.
    """
    readable = tuple(name for name in UNCOMPRESSED if name in (EXPLICIT_LE, IMPLICIT_LE))
    return number((abstract, readable) for abstract in abstract_syntaxes)
