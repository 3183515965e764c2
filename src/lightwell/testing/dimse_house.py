"""A running DIMSE door for tests: real gateway and rooms, on an event loop in a thread of its own.

Tests are blocking clients, like the peers they play, so the server lives beside them. The rooms stand
on the memory twins with objects in a folder (:func:`memory_rooms`), or on anything else a test builds
on the loop and hands to :class:`DimseHouse`.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from lightwell.access.audit import AuditRecord
from lightwell.access.commit import ChangeSet, Committed
from lightwell.access.context import Actor, Context, Tenant, system_context
from lightwell.access.policy import Denial, Rules
from lightwell.access.ports import JournalEntry
from lightwell.access.sight import NOBODY, Standing
from lightwell.backends.blobs.local import LocalStore
from lightwell.backends.identity.hashing import Argon2Hasher
from lightwell.backends.identity.openid import OpenIdConnect
from lightwell.backends.memory.committer import MemoryCommitter
from lightwell.backends.memory.directories import MemoryTenants
from lightwell.backends.memory.index import MemoryIndex
from lightwell.backends.memory.people import MemoryPeople, MemoryTries
from lightwell.backends.memory.tables import MemoryDatabase
from lightwell.domain.archive.api import Archive, attribute_reader
from lightwell.domain.archive.model import ArrivalRow
from lightwell.domain.archive.ports import BlobStore
from lightwell.domain.archive.settle_api import Settling
from lightwell.domain.peers.api import Peers
from lightwell.domain.peers.model import Peer, PeerType
from lightwell.domain.people.api import People
from lightwell.domain.people.machine_api import MachineSignIn
from lightwell.domain.tenants.api import Tenants
from lightwell.gateways.dimse.exchange import Rooms
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.gateways.dimse.listener import Door
from lightwell.gateways.dimse.ports import Transcoder
from lightwell.gateways.dimse.server import DimseServer, listen
from lightwell.kernel.clock import SystemClock
from lightwell.testing import encoding as enc
from lightwell.testing.builders import BuiltInstance
from lightwell.testing.channel import Message
from lightwell.testing.inline_coder import InlineFrameCoder
from lightwell.testing.scu import STUDY_ROOT_GET, Scu
from lightwell.wire.dimse.commands import Command
from lightwell.wire.dimse.items import RoleSelection
from lightwell.wire.dimse.proposal import number, propose
from lightwell.wire.dimse.syntaxes import EXPLICIT_LE

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
WAIT = 60.0

HOSPITAL = Tenant(key=1, name="default", label="Hospital A", aet="LIGHTWELL")
NEIGHBOUR = Tenant(key=2, name="other", label="Hospital B", aet="OTHER")


class _Directory(MemoryTenants):
    """Tenants, peers, policy and journal as lists that a test may read and change."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database, (HOSPITAL, NEIGHBOUR))
        self.peer_list: dict[tuple[int, str], Peer] = {}
        self.denial_list: list[Denial] = []

    async def peer(self, tenant: Tenant, aet: str) -> Peer | None:
        return self.peer_list.get((tenant.key, aet))

    async def peers(self, tenant: Tenant) -> tuple[Peer, ...]:
        return tuple(peer for (key, _), peer in self.peer_list.items() if key == tenant.key)

    async def holders(self, certificate: str) -> frozenset[tuple[int, str]]:
        return frozenset(
            place for place, peer in self.peer_list.items() if peer.certificate == certificate
        )

    async def site_issuer(self, tenant: Tenant, site: str) -> str | None:
        return None

    async def addresses(self, host: str) -> frozenset[str]:
        return frozenset({LOOPBACK}) if host == "localhost" else frozenset()

    async def standing(self, tenant: Tenant, actor: Actor) -> Standing:
        return NOBODY

    async def in_force(self, tenant: Tenant) -> Rules:
        shut = tenant.key in self._database.suspended
        return Rules(tuple(self.denial_list), suspended=shut)

    async def append(self, tenant: Tenant, kind: str, body: dict[str, Any]) -> None:
        """No test of this door asks what is in the journal."""

    async def entries(self, tenant: Tenant) -> Any:
        for entry in tuple[JournalEntry, ...]():
            yield entry


class _ToldCommitter(MemoryCommitter):
    """Says which study has changed, as a database's notification would."""

    archive: Archive | None = None

    async def commit(self, change: ChangeSet) -> Committed:
        done = await super().commit(change)
        for row in change.rows:
            if isinstance(row, ArrivalRow) and self.archive is not None:
                study_uid = row.described.instance.study_uid
                self.archive.forget(system_context(change.tenant), study_uid)
        return done


@dataclass
class Rooming:
    """Rooms for a door, and what a test may look at behind them."""

    peers: Peers
    archive: Archive
    tenants: Tenants
    add_peer: Callable[[Tenant, Peer], Awaitable[None]]
    close: Callable[[], Awaitable[None]]
    database: MemoryDatabase | None = None
    directory: _Directory | None = None
    settling: Settling | None = None
    machines: MachineSignIn | None = None
    people: People | None = None


async def memory_rooms(folder: Path, blobs: BlobStore | None = None) -> Rooming:
    """Rooms on the memory twins; objects lie below *folder* unless *blobs* is given."""
    store = blobs or LocalStore(folder)
    database, clock = MemoryDatabase(), SystemClock()
    directory = _Directory(database)
    committer, coder = _ToldCommitter(database), InlineFrameCoder()
    tenants = Tenants(directory, directory, directory, committer, clock)
    peers = Peers(directory, directory, tenants, directory, directory, committer, clock)
    archive = Archive(
        blobs=store,
        index=MemoryIndex(database, attribute_reader(store, coder)),
        committer=committer,
        policy=directory,
        journal=directory,
        clock=clock,
        coder=coder,
    )
    settling = Settling(
        blobs=store,
        coder=coder,
        index=MemoryIndex(database),
        committer=committer,
        policy=directory,
        clock=clock,
    )
    committer.archive = archive
    book = MemoryPeople(database)
    openid = OpenIdConnect(clock)
    machines = MachineSignIn(book, MemoryTries(), openid, directory, committer, clock)
    people = People(book, Argon2Hasher(), directory, committer, clock)

    async def add_peer(tenant: Tenant, peer: Peer) -> None:
        directory.peer_list[tenant.key, peer.aet] = peer

    async def close() -> None:
        openid.close()
        store.close()

    return Rooming(
        peers, archive, tenants, add_peer, close, database, directory, settling, machines, people
    )


class DimseHouse:
    """A served door. Use :func:`dimse_house`; every call here may come from any thread."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="rooms", daemon=True)
        self._thread.start()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, question: Coroutine[Any, Any, T]) -> T:
        """Run something on the rooms' loop."""
        return asyncio.run_coroutine_threadsafe(question, self.loop).result(WAIT)

    def open(
        self,
        build: Callable[[], Awaitable[Rooming]],
        limits: DimseLimits,
        tls: ssl.SSLContext | None,
        transcoder: Transcoder | None,
    ) -> None:
        """Build the rooms and begin to serve on free loopback ports."""
        self.rooming = self.run(_awaited(build))
        rooms = Rooms(
            self.rooming.peers,
            self.rooming.archive,
            self.loop,
            limits,
            transcoder,
            self.rooming.machines,
        )
        self._sockets = [listen(LOOPBACK, 0)]
        doors = [Door(self._sockets[0])]
        self.port: int = self._sockets[0].getsockname()[1]
        if tls is not None:
            self._sockets.append(listen(LOOPBACK, 0))
            doors.append(Door(self._sockets[1], tls))
            self.tls_port: int = self._sockets[1].getsockname()[1]
        self.rooms = rooms
        self.server = DimseServer(rooms, doors)
        self.run(self.server.start())

    def close(self, grace: float = 5.0) -> None:
        """Stop serving, close the rooms, end the loop."""
        self.run(self.server.stop(grace))
        for listener in self._sockets:
            listener.close()
        self.run(_awaited(self.rooming.close))
        self.end_loop()

    def end_loop(self) -> None:
        """End the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(WAIT)
        self.loop.close()

    @property
    def tenant(self) -> Tenant:
        """The tenant that peers reach as LIGHTWELL."""
        return self.run(self.rooming.tenants.named("default"))

    @property
    def context(self) -> Context:
        """The context of our own background work in that tenant."""
        return system_context(self.tenant)

    def add_peer(
        self,
        aet: str,
        type_: PeerType = PeerType.WORKSTATION,
        *,
        port: int = 0,
        tenant: Tenant | None = None,
        **more: Any,
    ) -> Peer:
        """Register a peer on the loopback address; *more* are fields of `Peer`."""
        peer = replace(Peer(aet, LOOPBACK, port, type_), **more)
        where = tenant or self.tenant
        self.run(_awaited(lambda: self.rooming.add_peer(where, peer)))
        return peer

    def audit(self, tenant: Tenant = HOSPITAL) -> list[AuditRecord]:
        """The audit records of a tenant so far (memory rooms only)."""
        assert self.rooming.database is not None, "only the memory twins show their tables"
        return list(self.rooming.database.of(tenant.key).audit.values())


MakeHouse = Callable[..., DimseHouse]
"""A fixture that opens houses with the options of :func:`dimse_house`."""


async def _awaited(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


@contextmanager
def dimse_house(
    build: Callable[[], Awaitable[Rooming]],
    *,
    limits: DimseLimits | None = None,
    tls: ssl.SSLContext | None = None,
    transcoder: Transcoder | None = None,
) -> Iterator[DimseHouse]:
    """Serve the rooms that *build* makes on the loop, for as long as the block runs."""
    house = DimseHouse()
    try:
        house.open(build, limits or DimseLimits(), tls, transcoder)
    except BaseException:
        house.end_loop()
        raise
    try:
        yield house
    finally:
        house.close()


# ---- what peers do ---------------------------------------------------------------------------------


def keys(*unknown: tuple[int, enc.Element], **attributes: object) -> Callable[[str], bytes]:
    """An identifier, to be encoded in the syntax that was agreed.

    Attributes by keyword, SpecificCharacterSet included; *unknown* by tag, with their VR.
    """
    dataset = enc.elements({**attributes, **dict(unknown)})
    return lambda syntax: enc.encode_for_syntax(dataset, syntax)


def store(
    house: DimseHouse, objects: Iterable[BuiltInstance], calling: str = "LW_SENDER"
) -> list[int]:
    """Send each object as it is over one association; the statuses in order."""
    sending = list(objects)
    (contexts,) = propose(((one.sop_class, one.syntax) for one in sending), fallback=False)
    with Scu(LOOPBACK, house.port, contexts, calling_ae=calling, timeout=WAIT) as scu:
        return [
            scu.store(one.sop_class, one.sop_uid, one.syntax, (one.dataset,)).status
            for one in sending
        ]


@dataclass
class Fetched:
    """What a C-GET brought: objects by SOP Instance UID as (transfer syntax, data set)."""

    objects: dict[str, tuple[str, bytes]]
    responses: list[Message]

    @property
    def final(self) -> Command:
        """The final response."""
        return self.responses[-1].command


def fetch(
    house: DimseHouse,
    offers: Iterable[tuple[str, str]],
    identifier: Callable[[str], bytes],
    *,
    calling: str = "LW_SENDER",
    model: str = STUDY_ROOT_GET,
    answer: int = 0,
) -> Fetched:
    """C-GET, taking each object in one of the (class, syntax) pairs *offers*; answer each so."""
    pairs = list(dict.fromkeys(offers))
    contexts = number([(model, (EXPLICIT_LE,)), *((name, (syntax,)) for name, syntax in pairs)])
    roles = [RoleSelection(name, scu=False, scp=True) for name in {name for name, _ in pairs}]
    objects: dict[str, tuple[str, bytes]] = {}

    def keep(message: Message) -> int:
        uid = message.command.AffectedSOPInstanceUID
        objects[uid] = (message.context.transfer_syntax, message.data)
        return answer

    with Scu(LOOPBACK, house.port, contexts, calling_ae=calling, roles=roles, timeout=WAIT) as scu:
        return Fetched(objects, list(scu.get(model, identifier, keep)))
