"""The one place that knows everyone: rooms put together with the backends they need."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lightwell.access.context import Context, Tenant, operator_context, system_context
from lightwell.app.settings import Settings
from lightwell.app.stores import RegionStore, open_stores, together
from lightwell.backends.blobs.journal import BlobJournal
from lightwell.backends.codecs.frame_coder import PoolFrameCoder
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.backends.database.committer import GroupCommitter
from lightwell.backends.database.directories import (
    PostgresPeers,
    PostgresPolicy,
    PostgresTenants,
    SystemResolver,
)
from lightwell.backends.database.erasing import PostgresErasures
from lightwell.backends.database.feed import ChangeFeed
from lightwell.backends.database.glass import PostgresGlass
from lightwell.backends.database.index import PostgresIndex
from lightwell.backends.database.migrate import migrate
from lightwell.backends.database.people import PostgresPeople, PostgresTries
from lightwell.backends.database.pool import FAILURES, Database, connect
from lightwell.backends.database.roles import ConnectionInfo, Role
from lightwell.backends.database.runs import PostgresEngine
from lightwell.backends.database.staleness import CHANNEL
from lightwell.backends.identity.hashing import Argon2Hasher
from lightwell.backends.identity.openid import OpenIdConnect
from lightwell.backends.identity.passkeys import WebAuthnCeremonies
from lightwell.backends.identity.sealing import AesSealer
from lightwell.domain.archive.api import Archive, attribute_reader
from lightwell.domain.archive.ports import BlobStore
from lightwell.domain.peers.api import Peers
from lightwell.domain.people.api import People
from lightwell.domain.people.glass_api import Glass
from lightwell.domain.people.machine_api import MachineSignIn
from lightwell.domain.people.policy_api import Policies
from lightwell.domain.people.provider_api import Providers
from lightwell.domain.people.provider_sign_in_api import ProviderSignIn
from lightwell.domain.people.relations_api import Relations
from lightwell.domain.people.sign_in_api import SignIn
from lightwell.domain.tenants.api import Tenants
from lightwell.domain.tenants.erase_api import Erasing
from lightwell.domain.tenants.model import DEFAULT
from lightwell.kernel.clock import SystemClock
from lightwell.kernel.errors import LightwellError
from lightwell.workflows.api import Jobs

log = logging.getLogger("lightwell.app")

LISTEN_RETRY_SECONDS = 1.0
LISTEN_PROOF_SECONDS = 5.0
LEASE_SWEEP_SECONDS = 5.0
BLOCKING_THREADS = 32
# Children a process that give settled frames back; none starts before it is needed.
CODECS = 2 if (os.cpu_count() or 1) >= 4 else 1


@dataclass(slots=True)
class House:
    """The rooms of one process, on its event loop."""

    settings: Settings
    info: ConnectionInfo
    database: Database
    work: Database
    committer: GroupCommitter
    blobs: BlobStore  # of all regions together
    stores: dict[str, RegionStore]  # by region
    index: PostgresIndex
    journal: BlobJournal
    tenants: Tenants
    erasing: Erasing
    peers: Peers
    archive: Archive
    feed: ChangeFeed
    engine: PostgresEngine
    jobs: Jobs
    policy: PostgresPolicy
    people: People
    sign_in: SignIn
    openid: OpenIdConnect
    providers: Providers
    provider_sign_in: ProviderSignIn
    machines: MachineSignIn
    policies: Policies
    relations: Relations
    glass: Glass
    codecs: DecoderPool
    coder: PoolFrameCoder
    _tasks: list[asyncio.Task[None]]

    async def close(self) -> None:
        """Write what is noted, end the background tasks, give connections back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.committer.close()
        await self.database.close()
        await self.work.close()
        await self.codecs.close()
        self.openid.close()
        await asyncio.to_thread(self.blobs.close)

    def operator(self, tenant: Tenant, name: str = "command") -> Context:
        """The context of a command on this machine."""
        return operator_context(tenant, name)


def open_house(settings: Settings, info: ConnectionInfo, *, examine: bool = True) -> House:
    """Put the rooms together. Call on the loop that will use them; nothing connects yet but a bucket."""
    clock = SystemClock()
    stores = open_stores(settings, examine=examine)
    blobs = together(stores)
    codecs = DecoderPool(CODECS)
    coder = PoolFrameCoder(codecs)
    database = Database(info)
    work = Database(info, size=4, role=Role.WORK)
    committer = GroupCommitter(info)
    policy = PostgresPolicy(database, clock)
    journal = BlobJournal(blobs, clock)
    index = PostgresIndex(database, attribute_reader(blobs, coder))
    tenants = Tenants(
        PostgresTenants(database, work, clock), journal, policy, committer, clock, settings.places
    )
    peers = Peers(
        PostgresPeers(database), SystemResolver(), tenants, journal, policy, committer, clock
    )
    archive = Archive(
        blobs=blobs,
        index=index,
        committer=committer,
        policy=policy,
        journal=journal,
        clock=clock,
        coder=coder,
        folders=settings.folder_of,
    )
    engine = PostgresEngine(database)
    book, hasher, tries = PostgresPeople(database), Argon2Hasher(), PostgresTries(database)
    openid, sealer = OpenIdConnect(clock), AesSealer(settings.sealing_key)
    return House(
        settings=settings,
        info=info,
        database=database,
        work=work,
        committer=committer,
        blobs=blobs,
        stores=stores,
        index=index,
        journal=journal,
        tenants=tenants,
        erasing=Erasing(tenants, PostgresErasures(info, work), policy, committer, clock),
        peers=peers,
        archive=archive,
        feed=ChangeFeed(database),
        engine=engine,
        jobs=Jobs(engine, policy, committer, clock),
        policy=policy,
        people=People(book, hasher, policy, committer, clock),
        sign_in=SignIn(book, tries, hasher, sealer, WebAuthnCeremonies(), policy, committer, clock),
        openid=openid,
        providers=Providers(book, openid, sealer, policy, committer, clock),
        provider_sign_in=ProviderSignIn(book, tries, openid, sealer, policy, committer, clock),
        machines=MachineSignIn(book, tries, openid, policy, committer, clock),
        policies=Policies(book, policy, committer, clock, index),
        relations=Relations(book, policy, committer, clock),
        glass=Glass(book, PostgresGlass(database), policy, committer, clock),
        codecs=codecs,
        coder=coder,
        _tasks=[],
    )


def use_threads() -> None:
    """Give the running loop enough threads for what blocks: file syncs and reads of several peers.

    asyncio's own default is four more than there are cores, which sixteen syncs fill at once.
    """
    asyncio.get_running_loop().set_default_executor(
        ThreadPoolExecutor(BLOCKING_THREADS, thread_name_prefix="blocking")
    )


def start_listening(house: House) -> None:
    """Begin the background tasks of a serving process: stale locations dropped, leases closed."""
    loop = asyncio.get_running_loop()
    house._tasks.append(loop.create_task(_hear_changes(house)))
    house._tasks.append(loop.create_task(_close_leases(house)))


async def _contexts(house: House) -> dict[int, Context]:
    return {tenant.key: system_context(tenant) for tenant in await house.tenants.everyone()}


async def _hear_changes(house: House) -> None:
    """LISTEN for studies whose located instances are out of date; deaf means: forget everything."""
    while True:
        connection = None
        try:
            contexts = await _contexts(house)
            connection = await connect(house.info, Role.APP)
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _connection: lost.set())  # noqa: B023
            await connection.add_listener(CHANNEL, _forgetting(house, contexts, lost))
            house.policy.forget()
            for context in contexts.values():
                house.archive.forget(context, "")
            while not lost.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LISTEN_PROOF_SECONDS):
                        await lost.wait()
                await connection.execute("SELECT 1", timeout=10)  # half-open is deaf, too
                contexts.update(await _contexts(house))
        except (LightwellError, *FAILURES) as error:
            log.warning("not hearing changes: %s", type(error).__name__)
            await asyncio.sleep(LISTEN_RETRY_SECONDS)
        finally:
            if connection is not None:
                connection.terminate()


def _forgetting(
    house: House, contexts: dict[int, Context], lost: asyncio.Event
) -> Callable[..., None]:
    """What to do when a study's location is out of date.

    A tenant made after the contexts were read is not known yet: `lost` is set, so that they are read
    again, which forgets everything of everybody.
    """

    def heard(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        tenant, _, study_uid = str(payload).partition("\x1f")
        context = contexts.get(int(tenant))
        if context is None:
            lost.set()
        else:
            if not study_uid:  # also what policies and relations say
                house.policy.forget()
            house.archive.forget(context, study_uid)

    return heard


async def _close_leases(house: House) -> None:
    while True:
        await asyncio.sleep(LEASE_SWEEP_SECONDS)
        try:
            house.archive.close_expired(await _contexts(house))
        except LightwellError as error:
            log.warning("leases are closed later: %s", type(error).__name__)


async def furnish(settings: Settings, info: ConnectionInfo) -> None:
    """Bring an installation to this version: schema, the default tenant. Repeatable."""
    await migrate(info)
    house = open_house(settings, info, examine=False)
    try:
        existing = await house.tenants.everyone()
        if not any(tenant.name == DEFAULT for tenant in existing):
            first = Tenant(
                key=0,
                name=DEFAULT,
                label="Default",
                aet=settings.aet,
                region=settings.places.default,
            )
            await house.tenants.create(
                system_context(first), DEFAULT, label="Default", aet=settings.aet
            )
    finally:
        await house.close()
