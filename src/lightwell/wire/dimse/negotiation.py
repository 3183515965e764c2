"""Which proposed presentation contexts we accept, and with which transfer syntax. Pure functions.

The standard leaves the choice to the acceptor (PS3.8 section 9.3.3.2: one transfer syntax a
context). Ours follows from the promise to keep the bytes as received: prefer what keeps private VRs,
never lead a sender into a lossy syntax when it offered another, and take objects of classes and in
syntaxes we have never heard of. What an AE serves besides storage is the gateway's policy, given as
data and callables; the answers are values for :meth:`Association.accept`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from lightwell.wire.dimse.items import ExtendedNegotiation, RoleSelection
from lightwell.wire.dimse.pdu import AssociateRQ, ContextAnswer, PresentationContext
from lightwell.wire.dimse.syntaxes import UNCOMPRESSED, is_storage, never_stored, rank

ACCEPTANCE: Final = 0
USER_REJECTION: Final = 1
ABSTRACT_SYNTAX_NOT_SUPPORTED: Final = 3
TRANSFER_SYNTAXES_NOT_SUPPORTED: Final = 4


def _nothing(_extended: ExtendedNegotiation) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class Policy:
    """What one AE takes from one peer.

    ``services``: abstract syntaxes it serves besides storage (verification, query, ...), taken in
    uncompressed syntaxes only, for their data sets must be read on the spot.
    ``stores``: whether objects of a storage class are taken; all of them by default.
    ``peer_may_be_scp``: whether the requestor may take the SCP role of a class (C-GET: it then
    receives our C-STORE; storage commitment: it then sends us N-EVENT-REPORT).
    ``extended``: the application information to answer a SOP Class Extended Negotiation with, or
    None to leave it unanswered, which means "not supported".
    """

    services: frozenset[str] = frozenset()
    stores: Callable[[str], bool] = is_storage
    peer_may_be_scp: Callable[[str], bool] = is_storage
    extended: Callable[[ExtendedNegotiation], bytes | None] = _nothing


@dataclass(frozen=True, slots=True)
class Negotiated:
    """Our answers: one per proposed context in its order, and the user information they need."""

    contexts: tuple[ContextAnswer, ...]
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    async_operations: tuple[int, int] | None = None
    refused: tuple[str, ...] = field(default=())
    """Abstract syntaxes refused, for the log of the association."""


def choose_transfer_syntax(offered: Iterable[str]) -> str | None:
    """The one of *offered* to store in: the best by :func:`rank`, then the requestor's order.

    None if nothing offered can hold an object at rest.
    """
    candidates = [syntax for syntax in offered if not never_stored(syntax)]
    return min(candidates, key=rank, default=None)


def choose_readable_syntax(offered: Iterable[str]) -> str | None:
    """The one of *offered* for a service whose data sets we parse: uncompressed, our order."""
    there = frozenset(offered)
    return next((syntax for syntax in UNCOMPRESSED if syntax in there), None)


def answer_context(context: PresentationContext, policy: Policy) -> ContextAnswer:
    """The answer to one proposed context."""
    if context.abstract_syntax in policy.services:
        syntax = choose_readable_syntax(context.transfer_syntaxes)
    elif is_storage(context.abstract_syntax):
        if not policy.stores(context.abstract_syntax):
            return ContextAnswer(context.context_id, USER_REJECTION)
        syntax = choose_transfer_syntax(context.transfer_syntaxes)
    else:
        return ContextAnswer(context.context_id, ABSTRACT_SYNTAX_NOT_SUPPORTED)
    if syntax is None:
        return ContextAnswer(context.context_id, TRANSFER_SYNTAXES_NOT_SUPPORTED)
    return ContextAnswer(context.context_id, ACCEPTANCE, syntax)


def negotiate(request: AssociateRQ, policy: Policy) -> Negotiated:
    """Answer every context, role, extended negotiation and the operations window of *request*.

    Windows are granted as (1, 1): one operation at a time each way (PS3.7 Annex D.3.3.3). Common
    extended negotiation has no answer (PS3.7 Annex D.3.3.6).
    """
    answers = tuple(answer_context(context, policy) for context in request.contexts)
    refused = tuple(
        context.abstract_syntax
        for context, answer in zip(request.contexts, answers, strict=True)
        if answer.result != ACCEPTANCE
    )
    asked = request.user_information
    return Negotiated(
        contexts=answers,
        roles=tuple(_grant(role, policy) for role in asked.roles),
        extended=tuple(_extended(asked.extended, policy)),
        async_operations=None if asked.async_operations is None else (1, 1),
        refused=refused,
    )


def _grant(role: RoleSelection, policy: Policy) -> RoleSelection:
    """The roles of *role* that the requestor gets; never one it did not propose."""
    scp = role.scp and policy.peer_may_be_scp(role.SOPClassUID)
    return RoleSelection(role.SOPClassUID, role.scu, scp)


def _extended(
    asked: Iterable[ExtendedNegotiation], policy: Policy
) -> Iterable[ExtendedNegotiation]:
    for negotiation in asked:
        information = policy.extended(negotiation)
        if information is not None:
            yield ExtendedNegotiation(negotiation.SOPClassUID, information)
