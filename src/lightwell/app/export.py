"""A tenant written out into a folder: its objects as plain files, what people decided, who they are.

    objects/NNNNNN/NNNNNNNNN.dcm   shown and rejected objects, each as it arrived
    aside/…                        held, candidates, conflicts, unreadable bytes
    journal.jsonl                  corrections, rejections, marks, machines: what people decided, in order
    tenant.jsonl                   the tenant itself: names, hosts, quota, how it keeps its images
    people.jsonl, seals.jsonl, relations.jsonl, limits.jsonl, openings.jsonl        accounts and what they are
    programs.jsonl, providers.jsonl, policies.jsonl, denials.jsonl, peers.jsonl, sites.jsonl  without secrets
    audit.jsonl, audit-chain.jsonl what was done, in the order of its chain, and the chain's heads
    manifest.jsonl                 a line a file: path, bytes, SHA-256; of an object also what arrived
    complete.json                  written last: how many objects and bytes, and the manifest's SHA-256

An export that was interrupted goes on when it is asked for again: what the manifest names is there. Files are
synced before their line is, every so many; the last lines may be written twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from lightwell.access.context import Context, Tenant, system_context
from lightwell.app.wiring import House
from lightwell.backends.database.checks import PostgresLedger
from lightwell.backends.database.records import RECORDS, PostgresRecords
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.export_api import Export, Parcel
from lightwell.domain.peers.api import peer_to_json
from lightwell.domain.tenants.model import being_erased
from lightwell.kernel.errors import Conflict

SECRETS = frozenset({"secret", "password", "totp", "recovery", "digest"})
MANIFEST, COMPLETE = "manifest.jsonl", "complete.json"
SYNC_EVERY = 200  # objects

Heard = Callable[[int], None]


@dataclass(slots=True)
class Exported:
    """What an export came to."""

    objects: int = 0  # in the folder now, those of an earlier try too
    written: int = 0  # by this try
    bytes: int = 0
    damaged: tuple[str, ...] = ()


async def export_tenant(
    house: House, context: Context, name: str, folder: Path, heard: Heard = lambda _n: None
) -> Exported:
    """Write a tenant out, or go on with it. `context` is the installation's; suspended tenants are exported,
    too. Raises Missing, Conflict for a folder that holds something else and for a tenant that is being
    erased, OSError for a full one."""
    async with house.erasing.exporting(await house.tenants.known(name)) as free:
        if not free:
            raise being_erased(name)
        # Asked while this is held: until it has ended nothing of the tenant goes.
        tenant = await house.tenants.export(context, name)
        return await _export(house, tenant, folder, heard)


async def _export(house: House, tenant: Tenant, folder: Path, heard: Heard) -> Exported:
    folder.mkdir(parents=True, exist_ok=True)
    manifest = _Manifest(folder)
    manifest.open_for(tenant.name)
    ours = system_context(tenant, "export")
    try:
        export = Export(
            blobs=house.blobs,
            ledger=PostgresLedger(house.database),
            committer=house.committer,
            policy=house.policy,
            clock=house.archive.clock,
            coder=house.coder,
        )
        report = Exported()
        damaged: list[str] = []
        async for parcel in await export.begin(ours):
            try:
                size, new = await asyncio.to_thread(manifest.take, parcel)
            except Damaged as error:
                damaged.append(error.message)
                continue
            report.objects += 1
            report.bytes += size
            report.written += new
            heard(1)
        report.damaged = tuple(damaged)
        async for file, pages in _records(house, ours):
            await manifest.put_lines(file, pages)
        await asyncio.to_thread(manifest.complete, tenant.name, report)
    finally:
        manifest.close()
    return report


Lines = list[dict[str, Any]]


async def _records(
    house: House, context: Context
) -> AsyncIterator[tuple[str, AsyncIterator[Lines]]]:
    """What is no object, a file at a time, each some lines at a time."""
    tenant, kept = context.tenant, PostgresRecords(house.database)
    yield "journal.jsonl", _journal(house, tenant)
    yield "tenant.jsonl", _page([_told(tenant)])
    own = [policy for policy in await house.policies.list(context) if not policy.shipped]
    yield "policies.jsonl", _page([{"name": policy.name, "text": policy.text} for policy in own])
    providers = await house.providers.list(context)
    yield "providers.jsonl", _page([_told(each) for each in providers])
    peers = await house.peers.list(context)
    yield "peers.jsonl", _page([peer_to_json(peer) for peer in peers])
    for sort in RECORDS:
        yield f"{sort}.jsonl", _plain_pages(kept.pages(tenant, sort))


async def _journal(house: House, tenant: Tenant) -> AsyncIterator[Lines]:
    async for entry in house.journal.entries(tenant):
        yield [{"at": entry.at.isoformat(), "kind": entry.kind, "body": entry.body}]


async def _page(lines: Lines) -> AsyncIterator[Lines]:
    yield lines


async def _plain_pages(pages: AsyncIterator[Lines]) -> AsyncIterator[Lines]:
    async for page in pages:
        yield [_plain(line) for line in page]


def _told(value: Any) -> dict[str, Any]:
    """A record as JSON, without what somebody could sign in with."""
    return {
        field.name: _plain(getattr(value, field.name))
        for field in fields(value)
        if field.name not in SECRETS
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value):
        return _told(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(_plain(each) for each in value)
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


class _Manifest:
    """The folder and what its manifest says is there. Blocking."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, int] = {}  # path of an object, bytes of its file
        self._waiting: list[tuple[Path, dict[str, Any]]] = []
        self._stream: Any = None

    def open_for(self, tenant: str) -> None:
        """Read what an earlier try has written. Raises Conflict."""
        path = self._folder / MANIFEST
        if not path.exists() and any(self._folder.iterdir()):
            raise Conflict(
                f"{self._folder} holds something else.",
                remedy="Give an empty folder, or a new one.",
            )
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        if lines and _line(lines[0]).get("tenant") != tenant:
            raise Conflict(
                f"{self._folder} holds the export of another tenant.", remedy="Give another folder."
            )
        kept = lines[:1]
        for text in lines[1:]:
            line = _line(text)
            if "sha256_arrived" in line and self._holds(line):
                self._known[str(line["path"])] = int(line["bytes"])
                kept.append(text)
        for half in self._folder.rglob("*.part"):
            half.unlink()
        (self._folder / COMPLETE).unlink(missing_ok=True)
        # Without what a kill has cut, and without the records, which are written anew.
        whole = "".join(f"{line}\n" for line in kept)
        fresh = path.with_suffix(".part")
        fresh.write_text(whole or json.dumps({"tenant": tenant, "version": 1}) + "\n", "utf-8")
        _sync(fresh)
        fresh.rename(path)
        self._stream = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by `close`

    def _holds(self, line: dict[str, Any]) -> bool:
        path = self._folder / str(line["path"])
        return path.is_file() and path.stat().st_size == line["bytes"]

    def take(self, parcel: Parcel) -> tuple[int, bool]:
        """Write one object, or find it there; its bytes, and whether it was written. Raises Damaged."""
        path = self._folder / parcel.place
        if (known := self._known.get(parcel.place)) is not None:
            return known, False
        path.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        partial = path.with_suffix(".part")
        try:
            with partial.open("wb") as stream:
                for piece in parcel.chunks():
                    stream.write(piece)
                    digest.update(piece)
                    size += len(piece)
        except BaseException:
            partial.unlink()
            raise
        partial.rename(path)
        kept = parcel.kept
        line = {
            "path": parcel.place,
            "bytes": size,
            "sha256": digest.hexdigest(),
            "sha256_arrived": kept.sha256.hex(),
            "as_arrived": kept.digest == kept.sha256,
            "sop_uid": kept.sop_uid,
        }
        self._waiting.append((path, line))
        if len(self._waiting) >= SYNC_EVERY:
            self._settle()
        return size, True

    def _settle(self) -> None:
        """The bytes first, then the lines that say they are there."""
        for path, _ in self._waiting:
            _sync(path)
        for folder in {path.parent for path, _ in self._waiting}:
            _sync(folder)
        self._stream.writelines(json.dumps(line) + "\n" for _, line in self._waiting)
        self._waiting.clear()
        self._stream.flush()
        os.fsync(self._stream.fileno())

    async def put_lines(self, file: str, pages: AsyncIterator[Lines]) -> None:
        """A file of JSON lines, written beside its name until it is whole."""
        path = self._folder / file
        partial = path.with_suffix(".part")
        digest, size = hashlib.sha256(), 0
        with partial.open("wb") as stream:
            async for page in pages:
                raw = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in page).encode()
                await asyncio.to_thread(stream.write, raw)
                digest.update(raw)
                size += len(raw)
        partial.rename(path)
        line = {"path": file, "bytes": size, "sha256": digest.hexdigest()}
        self._waiting.append((path, line))

    def complete(self, tenant: str, report: Exported) -> None:
        """Everything is there and durable: say so."""
        self._settle()
        said = {
            "tenant": tenant,
            "objects": report.objects,
            "bytes": report.bytes,
            "damaged": list(report.damaged),
            "manifest_sha256": hashlib.sha256((self._folder / MANIFEST).read_bytes()).hexdigest(),
        }
        path = self._folder / COMPLETE
        path.write_text(json.dumps(said) + "\n", "utf-8")
        _sync(path)
        _sync(self._folder)

    def close(self) -> None:
        """What was written is said, as far as that goes."""
        if self._stream is not None:
            try:
                self._settle()
            finally:
                self._stream.close()


def _line(text: str) -> dict[str, Any]:
    """One line of a manifest; an empty one for what a kill has cut."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
