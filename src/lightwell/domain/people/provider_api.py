"""The front door for identity providers: which a tenant trusts, and whether they answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from lightwell.access.actions import Action
from lightwell.access.commit import Committer, Event
from lightwell.access.context import ActorKind, Context
from lightwell.access.operation import Act, operation
from lightwell.access.ports import PolicySource
from lightwell.domain.people.api import may_give
from lightwell.domain.people.model import ProviderChangedRow, ProviderGoneRow, ProviderRow
from lightwell.domain.people.ports import Finding, OpenId, PeopleBook, Sealer
from lightwell.domain.people.provider_secrets import opened, sealed
from lightwell.domain.people.providers import (
    DEFAULT_GROUPS_CLAIM,
    DEFAULT_LOGIN_CLAIM,
    DEFAULT_SCOPES,
    LABEL_LIMIT,
    IdentityProvider,
    checked_claim,
    checked_client_id,
    checked_issuer,
    checked_name,
    checked_role_map,
    checked_scopes,
    loopback_host,
    split_url,
)
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Conflict, Invalid, Missing, Refused

MOST = 20  # of one tenant: each is a button
SECRET_LIMIT = 1000
_PARTS = (
    "label", "client_id", "secret", "roles", "scopes", "groups_claim", "login_claim", "end_session",
)  # fmt: skip


class Providers:
    """Which identity providers a tenant trusts."""

    def __init__(
        self,
        book: PeopleBook,
        openid: OpenId,
        sealer: Sealer,
        policy: PolicySource,
        committer: Committer,
        clock: Clock,
    ) -> None:
        self._book = book
        self._openid = openid
        self._sealer = sealer
        self.policy = policy
        self.committer = committer
        self.clock = clock

    @operation(Action.PEOPLE_PROVIDER_LIST)
    async def list(self, act: Act) -> tuple[IdentityProvider, ...]:
        """All providers of the tenant, by name; their secrets stay sealed."""
        return await self._book.providers(act.context.tenant)

    @operation(Action.PEOPLE_PROVIDER_ADD)
    async def add(
        self,
        act: Act,
        name: str,
        *,
        issuer: str,
        client_id: str,
        roles: Mapping[str, Iterable[str]],
        secret: str | None = None,
        label: str = "",
        scopes: Iterable[str] = DEFAULT_SCOPES,
        groups_claim: str = DEFAULT_GROUPS_CLAIM,
        login_claim: str = DEFAULT_LOGIN_CLAIM,
        end_session: bool = False,
    ) -> IdentityProvider:
        """Trust a provider. Nothing is asked of it yet: `test` does that.

        `roles`: group to roles; a group that is not in it has none. Raises Invalid, Conflict for a name or
        issuer that is there, Refused for a role one cannot give.
        """
        tenant, actor = act.context.tenant, act.context.actor
        provider = IdentityProvider(
            name=checked_name(name),
            label=_checked_label(label or name),
            issuer=checked_issuer(issuer),
            client_id=checked_client_id(client_id),
            roles=checked_role_map({g: frozenset(given) for g, given in roles.items()}),
            made_by=str(actor),
            created=self.clock.now(),
            scopes=checked_scopes(tuple(scopes)),
            groups_claim=checked_claim(groups_claim, "The claim for groups"),
            login_claim=checked_claim(login_claim, "The claim for logins"),
            secret=self._sealed(act.context, name, issuer, secret),
            end_session=end_session,
        )
        act.about(subject=provider.name, detail=provider.issuer)
        may_give(act.context, frozenset[str]().union(*provider.roles.values()))
        _may_knock(act.context, provider)
        there = await self._book.providers(tenant)
        if any(each.name == provider.name or each.issuer == provider.issuer for each in there):
            raise _there_already()
        if len(there) >= MOST:
            raise Conflict(f"A tenant has at most {MOST} identity providers.")
        await act.commit(
            (ProviderRow(provider),), (Event("ProviderAdded", {"provider": provider.name}),)
        )
        return provider

    @operation(Action.PEOPLE_PROVIDER_CHANGE)
    async def change(
        self,
        act: Act,
        name: str,
        *,
        enabled: bool | None = None,
        label: str | None = None,
        client_id: str | None = None,
        secret: str | None = None,
        roles: Mapping[str, Iterable[str]] | None = None,
        scopes: Iterable[str] | None = None,
        groups_claim: str | None = None,
        login_claim: str | None = None,
        end_session: bool | None = None,
    ) -> IdentityProvider:
        """Change what is said of a provider, or switch it on or off; what is None stays. Name and issuer
        stay always: accounts and the sealed secret are bound to them. Sessions go on either way, and who
        has signed in before has new roles at the next sign-in.

        Raises Missing, Invalid, Refused for a role one cannot give, or would take back.
        """
        old = await self._named(act.context, name)
        new = old
        if enabled is not None:
            new = replace(new, enabled=enabled)
        if label is not None:
            new = replace(new, label=_checked_label(label))
        if client_id is not None:
            new = replace(new, client_id=checked_client_id(client_id))
        if secret is not None:
            new = replace(new, secret=self._sealed(act.context, old.name, old.issuer, secret))
        if roles is not None:
            given = {group: frozenset(meant) for group, meant in roles.items()}
            new = replace(new, roles=checked_role_map(given))
        if scopes is not None:
            new = replace(new, scopes=checked_scopes(tuple(scopes)))
        if groups_claim is not None:
            new = replace(new, groups_claim=checked_claim(groups_claim, "The claim for groups"))
        if login_claim is not None:
            new = replace(new, login_claim=checked_claim(login_claim, "The claim for logins"))
        if end_session is not None:
            new = replace(new, end_session=end_session)
        act.about(subject=old.name, detail=_difference(old, new))
        # Also the roles of before: who could not have given one does not take it from a group either.
        may_give(act.context, frozenset[str]().union(*old.roles.values(), *new.roles.values()))
        await act.commit(
            (ProviderChangedRow(new),), (Event("ProviderChanged", {"provider": old.name}),)
        )
        return new

    @operation(Action.PEOPLE_PROVIDER_REMOVE)
    async def remove(self, act: Act, name: str) -> None:
        """Trust a provider no longer. Accounts that came through it stay, for the record; nobody can sign
        in to them. Their sessions go on until they end."""
        provider = await self._named(act.context, name)
        act.about(subject=provider.name, detail=provider.issuer)
        row = ProviderGoneRow(provider.name)
        await act.commit((row,), (Event("ProviderRemoved", {"provider": provider.name}),))

    @operation(Action.PEOPLE_PROVIDER_TEST)
    async def test(self, act: Act, name: str) -> tuple[Finding, ...]:
        """Look at each part of the connection; the last finding is the one that failed, if one did."""
        provider = await self._named(act.context, name)
        secret = opened(self._sealer, act.context.tenant, provider)
        found = await self._openid.examine(provider, secret)
        failed = [finding.step for finding in found if not finding.good]
        act.about(subject=provider.name, detail=f"fails at {failed[0]}" if failed else "answers")
        return found

    # --- what several of them do -----------------------------------------------------------------------

    def _sealed(self, context: Context, name: str, issuer: str, secret: str | None) -> bytes | None:
        if secret is None:
            return None
        if not 0 < len(secret) <= SECRET_LIMIT or not secret.isprintable():
            raise Invalid(f"A client secret is one line of at most {SECRET_LIMIT} characters.")
        return sealed(self._sealer, context.tenant, name, issuer, secret)

    async def _named(self, context: Context, name: str) -> IdentityProvider:
        there = await self._book.providers(context.tenant)
        found = next((each for each in there if each.name == name), None)
        if found is None:
            raise Missing(
                "There is no such identity provider.",
                remedy="`lightwell provider list` names them.",
            )
        return found


def _checked_label(text: str) -> str:
    label = text.strip()
    if not 0 < len(label) <= LABEL_LIMIT or not label.isprintable():
        raise Invalid(f"A label is one line of at most {LABEL_LIMIT} characters.")
    return label


def _difference(old: IdentityProvider, new: IdentityProvider) -> str:
    """What a change is about, for the record: no secret, and of a map that it is another one."""
    parts = ["enabled" if new.enabled else "disabled"] if new.enabled != old.enabled else []
    for part in _PARTS:
        if getattr(old, part) != getattr(new, part):
            parts.append(part)
    return " ".join(parts) or "nothing"


def _may_knock(context: Context, provider: IdentityProvider) -> None:
    """An administrator of a tenant must not have this machine speak to its own doors (SSRF): only who is on
    it already names a provider there."""
    parts = split_url(provider.issuer)
    local = parts is not None and loopback_host(parts.hostname)
    if local and context.actor.kind not in (ActorKind.OPERATOR, ActorKind.SYSTEM):
        raise Refused(
            "Only an operator on this machine names a provider that is on it.",
            remedy=f"There: `lightwell provider add {provider.name} ISSUER --client-id ID --map GROUP=ROLE"
            f" --tenant {context.tenant.name}`.",
        )


def _there_already() -> Conflict:
    return Conflict(
        "There is an identity provider of that name or issuer.",
        remedy="`lightwell provider remove` it first; accounts that came through it stay.",
    )
