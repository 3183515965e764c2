"""The front door of the room of tenants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from lightwell.access.actions import Action
from lightwell.access.commit import Committer
from lightwell.access.context import Tenant
from lightwell.access.operation import Act, operation
from lightwell.access.ports import Journal, PolicySource
from lightwell.domain.tenants.branding import (
    Branding,
    branding_of,
    checked_accent,
    checked_notice,
)
from lightwell.domain.tenants.model import (
    DEFAULT,
    Usage,
    being_erased,
    checked_aet,
    checked_host,
    checked_label,
    checked_name,
    checked_names,
    checked_quota,
    checked_reason,
    checked_settling,
    checked_zone,
    host_of,
    knows_all,
    no_such_tenant,
    visible_to,
)
from lightwell.domain.tenants.ports import TenantDirectory
from lightwell.domain.tenants.regions import Place, Regions
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Conflict


class Tenants:
    """Find a tenant by the name in a path or by a called AE title; make new ones."""

    def __init__(
        self,
        directory: TenantDirectory,
        journal: Journal,
        policy: PolicySource,
        committer: Committer,
        clock: Clock,
        regions: Regions | None = None,
    ) -> None:
        self._regions = regions or Regions()
        self._directory = directory
        self._journal = journal
        self.policy = policy
        self.committer = committer
        self.clock = clock

    async def named(self, name: str = DEFAULT) -> Tenant:
        """The tenant of that name, if it is served. Raises Missing, of a suspended one in the same words and
        time. (No operation: it runs before there is a context.)"""
        for tenant in await self._directory.tenants():  # each request comes by here
            if tenant.name == name and not tenant.suspended:
                return tenant
        found = await self._find(lambda tenant: tenant.name == name and not tenant.suspended)
        if found is None:
            raise no_such_tenant()
        return found

    async def known(self, name: str) -> Tenant:
        """The tenant of that name, suspended or not: for operators of this machine. Raises Missing."""
        found = await self._find(lambda tenant: tenant.name == name)
        if found is None:
            raise no_such_tenant()
        return found

    async def serves(self, tenant: Tenant) -> bool:
        """Whether a tenant is still served: asked while a long answer goes out, from memory."""
        return any(
            one.key == tenant.key and not one.suspended for one in await self._directory.tenants()
        )

    async def called(self, aet: str) -> Tenant | None:
        """The tenant peers call by this AE title, also a suspended one; None when nobody answers to it."""
        return await self._find(lambda tenant: tenant.aet == aet or aet in tenant.titles)

    async def at(self, header: str) -> Tenant | None:
        """The tenant of a Host header; None where nobody has it. Raises Missing for one that is suspended:
        what was meant for it must not come to another. From memory, for each request."""
        host = host_of(header)
        for tenant in await self._directory.tenants():
            if host in tenant.hosts:
                if tenant.suspended:
                    raise no_such_tenant()
                return tenant
        return None

    async def branding(self, name: str) -> Branding:
        """What the sign-in page of a tenant shows; of one that is not there, what one shows that has chosen
        nothing. Read anew in either case, so that time does not tell them apart. (No operation: it runs
        before there is a context.)"""
        for tenant in await self._directory.tenants(fresh=True):
            if tenant.name == name and not tenant.suspended:
                return branding_of(tenant)
        return Branding(name)

    async def _find(self, wanted: Callable[[Tenant], bool]) -> Tenant | None:
        """A tenant that was made a moment ago by another process is found, too."""
        for fresh in (False, True):
            for tenant in await self._directory.tenants(fresh=fresh):
                if wanted(tenant):
                    return tenant
        return None

    async def everyone(self) -> tuple[Tenant, ...]:
        """All tenants: for our own background work and start-up."""
        return await self._directory.tenants()

    @operation(Action.TENANTS_TENANT_LIST)
    async def list(self, act: Act) -> tuple[Tenant, ...]:
        """The tenants one may go to: one's own; all for administrators of the installation and for us."""
        # Fresh: one that another process made or renamed a moment ago is shown.
        return visible_to(act.context.actor, await self._directory.tenants(fresh=True))

    @operation(Action.TENANTS_TENANT_CREATE)
    async def create(
        self,
        act: Act,
        name: str,
        *,
        label: str = "",
        aet: str,
        demo: bool = False,
        new: bool = False,
        region: str | None = None,
    ) -> Tenant:
        """Make a tenant, or return it when it exists. Journalled, so that a re-index knows it.

        `new`: raises Conflict when there is one of that name. `region`: where its images will lie, for ever;
        None: in the default one. Raises Invalid for one that is not there, Conflict for one of another
        jurisdiction, where the tenant exists elsewhere, and for the name of one that was erased.
        """
        place = self._regions.chosen(region)
        act.about(subject=name, detail=f"region: {place}")
        if new and any(tenant.name == name for tenant in await self._directory.tenants(fresh=True)):
            raise Conflict(f"There is a tenant {name!r}.", remedy="Choose another name.")
        tenant = await self._directory.create(
            checked_name(name),
            checked_label(label or name),
            checked_aet(aet),
            region=place,
            demo=demo,
        )
        if region is not None and tenant.region != region:
            raise Conflict(
                f"The tenant {name} lies in region {tenant.region}.",
                remedy="A tenant is not moved: export it, and import it into another one.",
            )
        await self._note(tenant)
        return tenant

    @operation(Action.TENANTS_TENANT_CONFIGURE)
    async def configure(
        self,
        act: Act,
        *,
        settling: str | None = None,
        label: str | None = None,
        accent: str | None = None,
        notice: str | None = None,
        zone: str | None = None,
    ) -> Tenant:
        """Choose how quiet series of the context's tenant are packed from now on, what it is called, how it
        looks to its people and which time zone it is in.

        What is None stays; an accent, notice or zone that is '' is taken away. Raises Invalid.
        """
        before = act.context.tenant
        tenant = replace(
            before,
            settling=before.settling if settling is None else checked_settling(settling),
            label=before.label if label is None else checked_label(label),
            accent=before.accent if accent is None else checked_accent(accent),
            notice=before.notice if notice is None else checked_notice(notice),
            zone=before.zone if zone is None else checked_zone(zone),
        )
        said = {"settling": settling, "label": label, "accent": accent, "zone": zone}
        changed = [f"{name}: {value}" for name, value in said.items() if value is not None]
        if notice is not None:
            changed.append("notice" if tenant.notice else "no notice")
        act.about(subject=tenant.name, detail=", ".join(changed))
        if settling is not None or label is not None:
            await self._note(tenant)
            if tenant.settling != before.settling:
                await self._directory.choose_settling(tenant, tenant.settling)
            if tenant.label != before.label:
                await self._directory.relabel(tenant, tenant.label)
        # Entries of their own, as of a suspension: nothing else is overwritten by a re-index.
        if accent is not None or notice is not None:
            chosen = {"accent": tenant.accent, "notice": tenant.notice}
            await self._journal.append(tenant, "tenant", {"name": tenant.name, **chosen})
            await self._directory.brand(tenant, tenant.accent, tenant.notice)
        if zone is not None:
            chosen = {"zone": tenant.zone}
            await self._journal.append(tenant, "tenant", {"name": tenant.name, **chosen})
            await self._directory.place(tenant, tenant.zone)
        return tenant

    @operation(Action.TENANTS_TENANT_LIST)
    async def regions(self, act: Act) -> tuple[Place, ...]:
        """Where tenants can be made, the default first: for who may know of all tenants, else nowhere."""
        if not knows_all(act.context.actor):
            return ()
        under = self._regions.jurisdictions
        return tuple(Place(name, under[name]) for name in self._regions.choices)

    async def everyones_usage(self) -> Mapping[int, Usage]:
        """What each tenant keeps, by its key: for the metrics page."""
        return await self._directory.usage()

    @operation(Action.TENANTS_TENANT_LIST)
    async def usage(self, act: Act) -> Mapping[int, Usage]:
        """What the tenants of `list` keep, by their keys."""
        seen = visible_to(act.context.actor, await self._directory.tenants())
        used = await self._directory.usage()
        return {tenant.key: used.get(tenant.key, Usage()) for tenant in seen}

    @operation(Action.TENANTS_TENANT_LIMIT)
    async def limit(self, act: Act, name: str, *, studies: int | None, size: int | None) -> Tenant:
        """Say how many studies and bytes a tenant may keep; None: no limit. What is there stays, whatever it
        comes to, and is acknowledged when it comes again. Raises Invalid, Missing."""
        act.about(subject=name, detail=f"studies: {studies}, bytes: {size}")
        for number in (studies, size):
            if number is not None:
                checked_quota(number)
        tenant = await self._staying(name)
        await self._journal.append(
            tenant, "tenant", {"name": name, "quota_studies": studies, "quota_bytes": size}
        )
        await self._directory.limit(tenant, studies, size)
        return replace(tenant, quota_studies=studies, quota_bytes=size)

    @operation(Action.TENANTS_TENANT_EXPORT)
    async def export(self, act: Act, name: str) -> Tenant:
        """The tenant, suspended or not, for whoever writes it out from here. Raises Missing, Conflict for one
        that is being erased."""
        act.about(subject=name)
        return await self._staying(name)

    @operation(Action.TENANTS_TENANT_NAME)
    async def name(
        self, act: Act, name: str, *, titles: Iterable[str], hosts: Iterable[str]
    ) -> Tenant:
        """Say by which further AE titles and by which hosts a tenant is called. Each belongs to one tenant.
        Raises Conflict for another's, Invalid, Missing."""
        tenant = await self._staying(name)
        wanted = checked_names(titles, checked_aet), checked_names(hosts, checked_host)
        others = tuple(title for title in wanted[0] if title != tenant.aet)
        act.about(subject=name, detail=f"titles: {' '.join(others)}, hosts: {' '.join(wanted[1])}")
        await self._directory.name(tenant, others, wanted[1])
        await self._journal.append(
            tenant, "tenant", {"name": name, "titles": list(others), "hosts": list(wanted[1])}
        )
        return replace(tenant, titles=others, hosts=wanted[1])

    @operation(Action.TENANTS_TENANT_SUSPEND)
    async def suspend(self, act: Act, name: str, reason: str) -> Tenant:
        """Serve a tenant no longer: nobody of it is recognised, nothing of it is found, its background work
        waits. Its sessions end. Raises Invalid, Missing; Conflict for the installation's own."""
        act.about(subject=name, detail=reason)
        reason = checked_reason(reason)
        tenant = await self._staying(name)
        if tenant.name == DEFAULT:
            raise Conflict(
                "The tenant of the installation cannot be suspended.",
                remedy="Who could resume it signs in there.",
            )
        return await self._suspend(tenant, reason)

    @operation(Action.TENANTS_TENANT_SUSPEND)
    async def resume(self, act: Act, name: str) -> Tenant:
        """Serve a suspended tenant again; people sign in anew. Raises Missing; Conflict for one that is being
        erased."""
        act.about(subject=name, detail="resumed")
        return await self._suspend(await self._staying(name), None)

    async def _staying(self, name: str) -> Tenant:
        """The tenant of that name, unless it is being erased. Raises Missing, Conflict."""
        await self._directory.tenants(fresh=True)
        tenant = await self.known(name)
        if tenant.erasing:
            raise being_erased(name)
        return tenant

    async def _suspend(self, tenant: Tenant, reason: str | None) -> Tenant:
        # An entry of its own: nothing else that is changed at the same time is overwritten by a re-index.
        await self._journal.append(tenant, "tenant", {"name": tenant.name, "suspension": reason})
        await self._directory.suspend(tenant, reason)
        return replace(tenant, suspended=reason is not None, suspension=reason or "")

    async def _note(self, tenant: Tenant) -> None:
        await self._journal.append(
            tenant,
            "tenant",
            {
                "name": tenant.name,
                "label": tenant.label,
                "aet": tenant.aet,
                "demo": tenant.demo,
                "settling": tenant.settling,
            },
        )
