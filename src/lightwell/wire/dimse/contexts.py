"""The presentation contexts two ends agreed on, seen from either end. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lightwell.kernel.errors import Broken
from lightwell.wire.dimse.items import RoleSelection
from lightwell.wire.dimse.pdu import AssociateRQ, ContextAnswer, PresentationContext


class LocalProtocolError(Broken):
    """We used the engine in a way its state does not allow: our own bug, never the peer's."""


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """A context both ends agreed on, with the roles the *requestor* of the association has in it."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str
    requestor_scu: bool = True
    requestor_scp: bool = False


def check_answers(
    proposed: Iterable[PresentationContext], answers: Iterable[ContextAnswer]
) -> None:
    """Our own answers must fit the question: one for each context, syntaxes out of those offered."""
    offered = {context.context_id: context.transfer_syntaxes for context in proposed}
    answered = [answer.context_id for answer in answers]
    if sorted(answered) != sorted(offered):
        raise LocalProtocolError(f"contexts {sorted(offered)} were proposed, answered {answered}")
    for answer in answers:
        if answer.result == 0 and answer.transfer_syntax not in offered[answer.context_id]:
            raise LocalProtocolError(
                f"{answer.transfer_syntax} was not offered for context {answer.context_id}"
            )


def agree(
    request: AssociateRQ, answers: Iterable[ContextAnswer], granted: Iterable[RoleSelection]
) -> dict[int, AcceptedContext]:
    """The contexts both sides agreed on.

    An answer that was not asked for, or that names a syntax that was not offered, is no agreement:
    the context is left out, as if refused. A role counts if it was proposed and granted; without
    both, the requestor is SCU only (PS3.7 Annex D.3.3.4).
    """
    wanted = {context.context_id: context for context in request.contexts}
    asked = {role.SOPClassUID: role for role in request.user_information.roles}
    roles = {role.SOPClassUID: role for role in granted if role.SOPClassUID in asked}
    agreed: dict[int, AcceptedContext] = {}
    for answer in answers:
        context = wanted.get(answer.context_id)
        if answer.result != 0 or context is None:
            continue
        if answer.transfer_syntax not in context.transfer_syntaxes:
            continue
        role = roles.get(context.abstract_syntax)
        agreed[context.context_id] = AcceptedContext(
            context.context_id,
            context.abstract_syntax,
            answer.transfer_syntax,
            requestor_scu=True if role is None else role.scu,
            requestor_scp=role is not None and role.scp and asked[role.SOPClassUID].scp,
        )
    return agreed
