"""The HTTP application over rooms in memory: everything but a database, a disk and a codec."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from lightwell.access.context import Actor, ActorKind, Context, Purpose, Tenant, operator_context
from lightwell.access.policy import Denial, Rules
from lightwell.access.roles import Role
from lightwell.app.rendering import PoolRenderer
from lightwell.backends.blobs.journal import BlobJournal
from lightwell.backends.blobs.memory import MemoryStore
from lightwell.backends.memory.committer import MemoryCommitter
from lightwell.backends.memory.engine import MemoryEngine
from lightwell.backends.memory.index import MemoryIndex
from lightwell.backends.memory.tables import MemoryDatabase
from lightwell.domain.archive.api import Archive, attribute_reader
from lightwell.domain.archive.settle_api import SettledSeries, Settling
from lightwell.domain.tenants.api import Tenants
from lightwell.gateways.console import api as console
from lightwell.gateways.dicomweb.ports import NativePixels, StoredFrame, WantedPicture
from lightwell.gateways.dicomweb.routes import routes
from lightwell.gateways.http.door import Door, guarded
from lightwell.gateways.http.guard import DoorLimits
from lightwell.gateways.http.openapi import document
from lightwell.gateways.http.probes import probe_routes
from lightwell.gateways.http.routes import Route
from lightwell.gateways.http.site import File, Site
from lightwell.kernel.clock import SystemClock
from lightwell.kernel.errors import Busy, Invalid
from lightwell.testing.builders import StudyBuilder
from lightwell.testing.inline_coder import InlineFrameCoder
from lightwell.wire.multipart import (
    PART_END,
    MultipartParser,
    PartBegin,
    PartData,
    boundary_of,
    closing,
    content_type,
    new_boundary,
    part_head,
)
from lightwell.workflows.api import Jobs
from lightwell.workflows.ports import Arguments, Run

DEFAULT = Tenant(1, "default", "Default", "LIGHTWELL")
OTHER = Tenant(2, "other", "Other", "OTHER")


class Router:
    """A program with a key of the default tenant that may go to the other one, too."""

    home = DEFAULT
    stepped_up = False
    in_emergency = False

    def actor(self, tenant: Tenant) -> Actor:
        roles = frozenset({Role.PACS_ADMIN, Role.INTEGRATION})
        return Actor(ActorKind.PROGRAM, "router", home=tenant.name, roles=roles)

    def context(self, tenant: Tenant, channel: str, origin: str) -> Context:
        return Context(
            tenant, self.actor(tenant), channel=channel, origin=origin, purpose=Purpose.TREATMENT
        )

    async def stays(self) -> bool:
        return True


class Doorman:
    """Recognises everybody as that program: what a door does with strangers is tested elsewhere."""

    async def caller(self, _scope: object) -> Router:
        return Router()


class Directory:
    """Two tenants."""

    async def tenants(self, *, fresh: bool = False) -> tuple[Tenant, ...]:
        return (DEFAULT, OTHER)

    async def create(self, name: str, label: str, aet: str, *, region: str, demo: bool) -> Tenant:
        raise AssertionError("no tenant is made here")


@dataclass
class Policy:
    """Denials a test puts in."""

    rules: tuple[Denial, ...] = ()

    async def in_force(self, _tenant: Tenant) -> Rules:
        return Rules(self.rules)


@dataclass
class PlainRenderer:
    """Decodes nothing: a frame's 'pixels' are its stored bytes the other way round."""

    decodable: frozenset[str] = frozenset({"1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"})
    wanted: list[tuple[StoredFrame, WantedPicture]] = field(default_factory=list)
    broken: bool = False
    busy: bool = False

    def drawn_size(self, frame: StoredFrame, wanted: WantedPicture) -> tuple[int, int] | None:
        return PoolRenderer.drawn_size(self, frame, wanted)  # type: ignore[arg-type]

    async def picture(self, frame: StoredFrame, wanted: WantedPicture) -> bytes:
        if self.busy:
            raise Busy("Too many pictures are being made.")
        if self.broken:
            raise Invalid("The pixel data broke the decoder.")
        self.wanted.append((frame, wanted))
        return f"{wanted.media_type} of {frame.number}".encode()

    async def native(self, frame: StoredFrame) -> NativePixels:
        if self.broken:
            raise Invalid("The pixel data broke the decoder.")
        changes = {"00280004": {"vr": "CS", "Value": ["MONOCHROME2"]}}
        return NativePixels(frame.data[::-1], changes)


@dataclass
class Part:
    headers: dict[str, str]
    data: bytearray = field(default_factory=bytearray)


def parts_of(response: httpx.Response) -> list[Part]:
    """The parts of a multipart answer; fails when it is not whole."""
    parser = MultipartParser(boundary_of(response.headers["content-type"]))
    parts: list[Part] = []
    for event in [*parser.feed(response.content), *parser.close()]:
        match event:
            case PartBegin(headers):
                parts.append(Part(dict(headers)))
            case PartData(data):
                parts[-1].data += data
    return parts


def strictly(text: str) -> Any:
    """JSON without the constants that JSON does not have."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.load(io.StringIO(text), parse_constant=refuse)


@dataclass
class House:
    """The application and what a test may reach into."""

    client: httpx.AsyncClient
    archive: Archive
    blobs: MemoryStore
    database: MemoryDatabase
    policy: Policy
    renderer: PlainRenderer
    table: list[Route]
    engine: MemoryEngine
    settling: Settling
    tenant: Tenant = DEFAULT

    parts = staticmethod(parts_of)
    json = staticmethod(strictly)

    async def post(
        self, *files: bytes, to: str = "/dicomweb/studies", **headers: str
    ) -> httpx.Response:
        """STOW these files as multipart/related."""
        boundary = new_boundary()
        heads = [part_head(boundary, "application/dicom") for _ in files]
        body = PART_END.join(h + f for h, f in zip(heads, files, strict=True)) + closing(boundary)
        kind = content_type(boundary, "application/dicom")
        return await self.client.post(to, content=body, headers={"content-type": kind, **headers})

    async def settle(self, study: StudyBuilder, *series: int) -> list[SettledSeries]:
        """Pack series of a study, all of them when none is named."""
        context = operator_context(self.tenant, "test")
        numbers = series or range(len({b.series_uid for b in study.objects()}))
        done = [
            await self.settling.settle(context, study.study_uid, study.series_uid(n))
            for n in numbers
        ]
        self.archive.forget(context, study.study_uid)  # as the database's notification does
        return done

    async def get(self, path: str, accept: str | None = None, **headers: str) -> httpx.Response:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        if accept is not None:
            named["accept"] = accept
        return await self.client.get(path, headers=named)


async def never_missing() -> dict[str, str]:
    return {}


async def waits(run: Run, _arguments: Arguments) -> None:
    """A body that is under way until somebody ends it."""
    await run.receive("word", 600)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    clock = SystemClock()
    blobs, database, policy = MemoryStore(), MemoryDatabase(), Policy()
    coder = InlineFrameCoder()
    index = MemoryIndex(database, attribute_reader(blobs, coder))
    committer, journal = MemoryCommitter(database), BlobJournal(blobs, clock)
    archive = Archive(
        blobs=blobs,
        index=index,
        committer=committer,
        policy=policy,
        journal=journal,
        clock=clock,
        coder=coder,
    )
    settling = Settling(
        blobs=blobs, coder=coder, index=index, committer=committer, policy=policy, clock=clock
    )
    tenants = Tenants(Directory(), journal, policy, committer, clock)
    renderer = PlainRenderer()
    engine = MemoryEngine({"waits": waits}, clock)
    inner = console.application(archive, tenants, Jobs(engine, policy, committer, clock))
    table = routes(archive, renderer)
    table += probe_routes(never_missing, lambda: b"x 1\n", lambda: document(table, inner.openapi()))
    page = File("text/html; charset=utf-8", b"no-cache", b'"1"', {"identity": b"<html>"})
    door = Door(
        table,
        tenant_named=tenants.named,
        inner=inner,
        inner_paths=("/api/",),
        site=Site({"/index.html": page}),
        identity=Doorman(),  # type: ignore[arg-type]
    )
    transport = httpx.ASGITransport(guarded(door, DoorLimits()))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://pacs.test") as client:
        yield House(client, archive, blobs, database, policy, renderer, table, engine, settling)
    await engine.close()
