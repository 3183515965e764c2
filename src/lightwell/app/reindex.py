"""Making the database of an installation anew from its object store.

Tenants and peers come back from the journal first; then each tenant's objects and decisions. The audit
record, leases and commitment requests are not in the store: they come from a database backup, and are
left alone when they are there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from lightwell.access.actions import Action
from lightwell.access.context import Tenant, system_context
from lightwell.access.operation import Act
from lightwell.access.ports import JournalEntry
from lightwell.app.binding import bind_anew, check_contents
from lightwell.app.cooling import find_cool
from lightwell.app.settings import Settings
from lightwell.app.wiring import House, furnish, open_house
from lightwell.backends.database.chores import flush_inline, roll_up_deltas
from lightwell.backends.database.clearing import clear, holds_objects
from lightwell.backends.database.directories import PostgresTenants
from lightwell.backends.database.erasing import PostgresErasures
from lightwell.backends.database.migrate import migrate
from lightwell.backends.database.roles import ConnectionInfo
from lightwell.domain.archive.ports import BlobStore
from lightwell.domain.archive.rebuild_api import Rebuild, Rebuilt
from lightwell.domain.peers.model import Peer, PeerGoneRow, PeerRow, PeerType, checked_peer
from lightwell.domain.tenants.branding import checked_accent, checked_notice
from lightwell.domain.tenants.erasing import ENTRY, Erasure, erasure_from_json
from lightwell.domain.tenants.model import (
    DEFAULT,
    SETTLINGS,
    checked_aet,
    checked_name,
    checked_zone,
)
from lightwell.kernel.clock import SystemClock
from lightwell.kernel.errors import Broken, Conflict, Invalid, LightwellError

Heard = Callable[[int], None]


@dataclass(slots=True)
class Reindexed:
    """What came back."""

    peers: int = 0
    passed_over: list[str] = field(
        default_factory=list
    )  # entries of peers that none can be made of
    tenants: dict[str, Rebuilt] = field(default_factory=dict)

    @property
    def damaged(self) -> int:
        """What did not."""
        return len(self.passed_over) + sum(rebuilt.damaged for rebuilt in self.tenants.values())


async def reindex(
    settings: Settings, info: ConnectionInfo, *, may_clear: bool, heard: Heard = lambda _n: None
) -> Reindexed:
    """Rebuild every tenant of the store. No server may run on it meanwhile.

    Raises Conflict when there are rows and `may_clear` was not given, or when stores are not those of their
    regions; StoreUnavailable when one of them does not answer. Nothing was emptied then.
    """
    await migrate(info)
    await _check_stores(settings, info)
    if await holds_objects(info):
        if not may_clear:
            raise Conflict(
                "The database already holds objects.",
                remedy="Give --yes to empty it first; objects, journal and audit record stay.",
            )
        await _save_inline(settings, info)
        await clear(info)
    house = open_house(settings, info)
    try:
        await _restore_tenants(house)
        await bind_anew(house)
    finally:
        await house.close()
    await furnish(settings, info)
    return await _rebuild(settings, info, heard)


async def _check_stores(settings: Settings, info: ConnectionInfo) -> None:
    """Where there are several stores, each has to be there: what one does not say would be gone."""
    if len(settings.regions) == 1:
        return
    house = open_house(settings, info)
    try:
        for store in house.stores.values():
            await asyncio.to_thread(store.probe)
        await check_contents(house)
        known = {tenant.name: tenant.region for tenant in await house.tenants.everyone()}
        for region, name in await asyncio.to_thread(stored_tenants, house.blobs):
            if known.get(name, region) != region:
                raise Conflict(
                    f"Objects of tenant {name} lie in region {region}, and its region is {known[name]}.",
                    remedy="A tenant is not moved between stores: put them back where they were.",
                )
    finally:
        await house.close()


async def _save_inline(settings: Settings, info: ConnectionInfo) -> None:
    """Small objects that still lie in the database only are put into the store before it is emptied."""
    house = open_house(settings, info)
    try:
        tenants = {tenant.key: tenant for tenant in await house.tenants.everyone()}
        while await flush_inline(house.work, house.blobs, tenants):
            pass
    finally:
        await house.close()


async def _rebuild(settings: Settings, info: ConnectionInfo, heard: Heard) -> Reindexed:
    house = open_house(settings, info)
    report = Reindexed()
    try:
        rebuild = Rebuild(
            archive=house.archive,
            blobs=house.blobs,
            index=house.index,
            journal=house.journal,
            committer=house.committer,
            policy=house.policy,
            clock=house.archive.clock,
            coder=house.coder,
            grace=timedelta(seconds=settings.landed_grace),
        )
        for tenant in await house.tenants.everyone():
            if tenant.erasing:
                continue
            report.peers += await _restore_peers(house, tenant, report.passed_over)
            context = system_context(tenant, "reindex")
            report.tenants[tenant.name] = await rebuild.run(context, heard)
        await find_cool(house)
        while await roll_up_deltas(house.work):
            pass
    finally:
        await house.close()
    return report


# --- tenants and peers ----------------------------------------------------------------------------


def stored_tenants(blobs: BlobStore) -> list[tuple[str, str]]:
    """(region, name) of every tenant that has an object. Blocking; reads keys only.

    Raises Conflict for a tenant with objects in two regions.
    """
    found: dict[str, str] = {}
    for info in blobs.list(""):
        region, _, rest = info.key.partition("/")
        name, slash, _ = rest.partition("/")
        if slash and "/" in rest[len(name) + 1 :] and found.setdefault(name, region) != region:
            raise Conflict(
                f"Objects of tenant {name} lie in the regions {found[name]} and {region}.",
                remedy="A tenant lies in one: take out of the other store what does not belong there.",
            )
    return sorted((region, name) for name, region in found.items())


async def _restore_tenants(house: House) -> None:
    """Make the tenants of the store that the database does not know, and none that was erased."""
    directory = PostgresTenants(house.database, house.work, SystemClock())
    stored = await asyncio.to_thread(stored_tenants, house.blobs)
    for region in sorted({region for region, name in stored if name == DEFAULT}):
        await _restore_erasures(house, region)
    known = {tenant.name for tenant in await house.tenants.everyone()}
    known |= {erasure.name for erasure in await house.erasing.erasures()}
    for region, name in stored:
        if name in known or not _is_name(name):
            continue
        body = await _tenant_entry(house, region, name)
        made = await directory.create(
            name,
            str(body.get("label") or name),
            str(body.get("aet") or name.upper()[:16]),
            region=region,
            demo=body.get("demo") is True,
        )
        settling = body.get("settling")
        if settling in SETTLINGS:
            await directory.choose_settling(made, settling)
        await directory.limit(
            made, _number(body.get("quota_studies")), _number(body.get("quota_bytes"))
        )
        with contextlib.suppress(Conflict):  # it was given to another tenant since
            await directory.name(made, _texts(body.get("titles")), _texts(body.get("hosts")))
        await _restore_looks(directory, made, body)
        if isinstance(reason := body.get("suspension"), str):
            await directory.suspend(made, reason)


async def _restore_looks(directory: PostgresTenants, made: Tenant, body: dict[str, Any]) -> None:
    """Accent, notice and time zone as they were chosen; what cannot be one here is left out."""
    accent, notice = (
        _checked(checked_accent, body, "accent"),
        _checked(checked_notice, body, "notice"),
    )
    if accent or notice:
        await directory.brand(made, accent, notice)
    if zone := _checked(checked_zone, body, "zone"):
        await directory.place(made, zone)


def _checked(check: Callable[[str], str], body: dict[str, Any], name: str) -> str:
    try:
        return check(str(body.get(name) or ""))
    except Invalid:  # a machine may know fewer time zones than the one that it takes the place of
        return ""


async def _restore_erasures(house: House, region: str) -> None:
    """Bring back which tenants are erased, from what the installation's journal last said of each. What is
    left of one that was under way goes when the server runs."""
    last: dict[str, Erasure] = {}
    async for entry in house.journal.entries(Tenant(0, DEFAULT, DEFAULT, "", region)):
        if entry.kind == ENTRY:
            erasure = _erasure(entry)
            last[erasure.name] = erasure
    book = PostgresErasures(house.info, house.work)
    for erasure in last.values():
        await book.restore(erasure)


def _erasure(entry: JournalEntry) -> Erasure:
    try:
        return erasure_from_json(entry.body)
    except (KeyError, TypeError, ValueError) as error:  # passing over it would bring a tenant back
        raise Broken(
            f"The journal entry of {entry.at:%F %T} about an erased tenant cannot be read.",
            remedy="Restore it from a copy of the store; nothing was changed.",
        ) from error


def _number(said: object) -> int | None:
    return said if isinstance(said, int) else None


def _texts(said: object) -> list[str]:
    return [text for text in said if isinstance(text, str)] if isinstance(said, list) else []


def _is_name(name: str) -> bool:
    try:
        checked_name(name)
    except Invalid:
        return False
    return True


async def _tenant_entry(house: House, region: str, name: str) -> dict[str, Any]:
    """What the journal last said of each thing about a tenant; nothing when its journal is lost."""
    nobody = Tenant(key=0, name=name, label=name, aet="", region=region)
    body: dict[str, Any] = {}
    async for entry in house.journal.entries(nobody):
        if entry.kind == "tenant":
            body |= entry.body
    return body


async def _restore_peers(house: House, tenant: Tenant, passed_over: list[str]) -> int:
    """Bring the peers to what the journal last said of each that can be kept; returns how many it knows.

    One that cannot is named in `passed_over`: no tenant's entry keeps the others from coming back.
    """
    last: dict[str, Peer | None] = {}
    async for entry in house.journal.entries(tenant):
        if entry.kind == "peer":
            try:
                peer = checked_peer(peer_from_json(entry.body))
                checked_aet(peer.aet)
            except (LightwellError, KeyError, TypeError, ValueError):
                passed_over.append(
                    f"tenant {tenant.name}: the peer of {entry.at:%F %T} cannot be made again; add it anew"
                )
                continue
            last[peer.aet] = peer
        elif entry.kind == "peer-gone":
            last[str(entry.body["aet"])] = None
    context = system_context(tenant, "reindex")
    for aet, peer_or_gone in last.items():
        action = Action.PEERS_PEER_ADD if peer_or_gone else Action.PEERS_PEER_REMOVE
        act = Act(house.peers, context, action)
        act.about(subject=aet, detail="replayed")
        await act.commit((PeerRow(peer_or_gone) if peer_or_gone else PeerGoneRow(aet),))
    return sum(peer_or_gone is not None for peer_or_gone in last.values())


def peer_from_json(body: dict[str, Any]) -> Peer:
    """The inverse of `domain.peers.api.peer_to_json`."""
    return Peer(
        aet=body["aet"],
        host=body["host"],
        port=int(body["port"]),
        type=PeerType(body["type"]),
        allow=frozenset(body["allow"]),
        site=body["site"],
        issuer=body["issuer"],
        charset=body["charset"],
        zone=body["zone"],
        syntaxes=tuple(body["syntaxes"]),
        certificate=body["certificate"],
        revoked=body["revoked"],
        identity=body.get("identity", False),  # entries of versions before 0016 do not say
        days=body.get("days"),
    )
