"""Who may do what with which study, at every address and DIMSE operation: asked of the policies, as a page.

    python -m lightwell.app.matrix > docs/security/matrix.md

Nothing here says what anybody may do: the rows come from the route table, the console's addresses and the
DIMSE operations, the answers from Cedar. A test holds the page equal to this, and tries its cells.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from lightwell.access.actions import Action
from lightwell.access.cedar import ABOUT_STUDIES
from lightwell.access.context import Actor, ActorKind, Context, Tenant
from lightwell.access.policy import Rules, decide, look
from lightwell.access.roles import Role
from lightwell.access.sight import ORDINARY, Fact, Facts, Standing
from lightwell.app.http import addresses
from lightwell.gateways.dimse.asked import ASKED as OPERATIONS
from lightwell.gateways.http.routes import Open
from lightwell.kernel.errors import Broken

HOME: Final = Tenant(2, "clinic", "Clinic", "CLINIC")
ELSEWHERE: Final = Tenant(3, "elsewhere", "Elsewhere", "ELSEWHERE")
GRANTS: Final = ("echo", "store", "find", "move", "get")


class Whose(StrEnum):
    """What a study is to whoever asks: the columns of a cell."""

    THEIRS = "theirs"  # they are its patient, or treat them
    ANY = "any"  # of their tenant, and nothing to them
    SENSITIVE = "sensitive"  # the same, and marked
    ELSEWHERE = "elsewhere"  # of another tenant


class Answer(StrEnum):
    """What they get."""

    YES = "Y"
    REFUSED = "-"  # 403, 0124H: whatever is asked for
    UNKNOWN = "0"  # as for what is not there: 404, an empty list, no match


FACTS: Final[Mapping[Whose, Facts]] = MappingProxyType(
    {
        Whose.THEIRS: ORDINARY | {Fact.OWN, Fact.TREATED},
        Whose.ANY: ORDINARY,
        Whose.SENSITIVE: ORDINARY | {Fact.SENSITIVE},
    }
)
# Somebody who is one patient and treats others, in a tenant where some study is marked.
STANDING: Final = Standing(uuid.UUID(int=1), frozenset({Fact.OWN, Fact.TREATED, Fact.PRIOR}))
RULES: Final = Rules(sensitive=True)


def person(role: Role) -> Actor:
    """Somebody of the tenant with that role alone."""
    return Actor(ActorKind.PERSON, "somebody", home=HOME.name, roles=frozenset({role}))


def peer(grant: str) -> Actor:
    """A machine of the tenant with that grant alone."""
    return Actor(ActorKind.PEER, "PEER", grants=frozenset({grant}))


def answer(actor: Actor, asked: Action | Open, whose: Whose) -> Answer:
    """One cell, as the doors and the rooms put it together."""
    if asked is Open.PUBLIC:
        return Answer.YES
    if whose is Whose.ELSEWHERE:  # to whoever is of one tenant, another is none
        return Answer.UNKNOWN
    if isinstance(asked, Open):
        return Answer.YES
    context = Context(
        HOME, actor, channel="console", origin="10.0.0.7", trace="matrix", stepped_up=True
    )
    if asked not in ABOUT_STUDIES:
        return Answer.YES if decide(context, asked, RULES).allowed else Answer.REFUSED
    decision, sight = look(context, asked, RULES, STANDING)
    if not decision.allowed:
        return Answer.REFUSED
    return Answer.YES if sight.shows(FACTS[whose]) else Answer.UNKNOWN


def cell(actor: Actor, asked: Action | Open) -> str:
    """The answers to all of `Whose`, in order."""
    return "".join(answer(actor, asked, whose) for whose in Whose)


def rows() -> dict[str, Action | Open]:
    """Every address, and what is asked there. Raises Broken for one of which nobody has said it."""
    found = addresses()
    silent = sorted(name for name, asked in found.items() if asked is None)
    if silent:
        raise Broken(
            f"Nobody has said what policy is asked at {', '.join(silent)}.",
            remedy="Routes of the table carry an action; for the console, gateways/console/asked.py.",
        )
    return {name: asked for name, asked in sorted(found.items(), key=_by_path) if asked is not None}


def _by_path(item: tuple[str, object]) -> tuple[str, str]:
    method, _, path = item[0].partition(" ")
    return path, method


def _table(head: list[str], body: Iterator[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page() -> str:
    """The whole page, in Markdown."""
    roles = [f"`{role}`" for role in Role]
    http = _table(
        ["address", "policy is asked", *roles],
        (
            [f"`{name}`", f"`{asked}`", *(cell(person(role), asked) for role in Role)]
            for name, asked in rows().items()
        ),
    )
    operations = [(command.name.removesuffix("_RQ").replace("_", "-"), asked)
                  for command, asked in OPERATIONS.items()]  # fmt: skip
    machines = _table(
        ["operation", "policy is asked", *(f"`{grant}`" for grant in GRANTS)],
        (
            [name, f"`{asked}`", *(cell(peer(grant), asked) for grant in GRANTS)]
            for name, asked in operations
        ),
    )
    people = _table(
        ["operation", "policy is asked", *roles],
        (
            [name, f"`{asked}`", *(cell(person(role), asked) for role in Role)]
            for name, asked in operations
        ),
    )
    return f"""{HEAD}
## HTTP, by role

Also below `/t/{{tenant}}`. `public` answers anybody, `recognised` whoever has said who they are.

{http}

## DIMSE, by what a machine was given

{machines}

## DIMSE, by role

What the same policies say of a person behind an association. (Nobody is there yet: user identity is not
negotiated.)

{people}
"""


HEAD: Final = """# Who may do what, with which study

Made by `python -m lightwell.app.matrix` from the route table, the DIMSE operations and the policies that
ship; do not edit. A test fails when this page is not what that makes, and another tries the cells of every
address that reads over HTTP (not those of jobs).

A cell has four letters, one for each study that there is to somebody of a tenant with one role: theirs (they
are its patient, or treat them), any other of the tenant, one that is marked as sensitive, one of another
tenant.

* `Y`: they get it
* `-`: refused, whatever is asked for (403, 0124H)
* `0`: exactly what one gets for what is not there (404, an empty list, no match)

`admin` of the installation's own tenant reaches other tenants' people, peers and policies, not their
patients; that is not in the table. An account can be limited to institutions, departments or modalities:
beyond them is `0`, but for what is theirs. Keys of programs and machines see what is sensitive.

Everybody here has just proved who they are: what takes a proof (making accounts, keys, links, policies
and providers, breaking the glass) is refused without one, and asks for it. A patient who is open by
break-glass is theirs while it lasts, for reading and searching.
"""


if __name__ == "__main__":
    sys.stdout.write(page())
