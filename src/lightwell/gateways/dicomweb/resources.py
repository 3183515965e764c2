"""What the retrieve handlers share: the addressed instances, their lease, entity tags, blocking reads."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from lightwell.access.context import Context
from lightwell.dicom.uids import acceptable_uid
from lightwell.domain.archive.api import Archive
from lightwell.domain.archive.model import Attributes, Lease, Located
from lightwell.gateways.dicomweb.ports import NativePixels, Renderer
from lightwell.gateways.http.asgi import Header
from lightwell.gateways.http.exchange import Exchange
from lightwell.gateways.http.problems import HttpProblem
from lightwell.kernel.errors import Missing
from lightwell.kernel.remembering import Remembered
from lightwell.wire.mediatypes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    HTJ2K_RPCL,
    CanTranscode,
    NotAcceptable,
    charset_acceptable,
)

CHANNEL: Final = "dicomweb"
REMEMBERED: Final = 64  # instances whose attributes are kept decoded
DECODED_BYTES: Final = 64 * 1024 * 1024  # of decoded frames kept in a process
_VARY: Final = b"Accept, Accept-Encoding"
# Answers may be kept but must be asked for again: a correction shows at once.
_CACHE: Final = b"private, no-cache"
_FOREVER: Final = b"private, max-age=31536000, immutable"

P = ParamSpec("P")
T = TypeVar("T")


def unknown() -> Missing:
    """The one answer to whatever is not there, was never there, or is not for this caller."""
    return Missing("There is no such study, series or instance.")


@dataclass(frozen=True, slots=True)
class Target:
    """The UIDs of an address."""

    study_uid: str
    series_uid: str | None = None
    sop_uid: str | None = None

    @property
    def path(self) -> str:
        """The address below the service root."""
        path = f"/studies/{self.study_uid}"
        if self.series_uid:
            path += f"/series/{self.series_uid}"
        return f"{path}/instances/{self.sop_uid}" if self.sop_uid else path


@dataclass(frozen=True, slots=True)
class Opened:
    """The addressed instances under a lease, in reading order; never empty."""

    context: Context
    lease: Lease
    target: Target
    instances: tuple[Located, ...]
    root: str  # of absolute links: scheme, host, prefix, '/dicomweb'
    version: str = ""  # `v` of the address: the entity tag that the client knows its content by

    def url(self, located: Located) -> str:
        """Absolute address of an instance."""
        return (
            f"{self.root}/studies/{located.study_uid}/series/{located.series_uid}"
            f"/instances/{located.sop_uid}"
        )

    def etag(self, *kind: str) -> str:
        """A strong entity tag of these instances as `kind`: changes with every edit and every byte."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update("|".join((self.lease.version, self.root, *kind)).encode())
        for located in self.instances:
            digest.update(located.landed.digest)
            digest.update(f"{located.sop_uid}|{located.version}".encode())
        return f'"{digest.hexdigest()}"'

    def headers(self, etag: str) -> list[Header]:
        """Caching headers of an answer. An address that names the entity tag (`?v=…`) never gives
        anything else: it may be kept for ever."""
        cache = _FOREVER if self.version and self.version == etag[1:-1] else _CACHE
        return [(b"etag", etag.encode()), (b"cache-control", cache), (b"vary", _VARY)]


def target_of(x: Exchange) -> Target:
    """The UIDs of the address. One that can be no UID is unknown, like any other."""
    names = x.names
    target = Target(names["study"], names.get("series"), names.get("instance"))
    for uid in (target.study_uid, target.series_uid, target.sop_uid):
        if uid is not None and not acceptable_uid(uid):
            raise unknown()
    return target


def chosen(choice: T | NotAcceptable) -> T:
    """The answer of a negotiation. Raises HttpProblem 406."""
    if isinstance(choice, NotAcceptable):
        raise HttpProblem(406, choice.reason)
    return choice


def boundary_of(etag: str) -> str:
    """A boundary that belongs to the content, so that equal answers are equal byte for byte."""
    return f"lightwell-{etag.strip(chr(34))}"


def check_charset(x: Exchange) -> None:
    """Refuse a client that excludes UTF-8. Raises HttpProblem 406."""
    if not charset_acceptable(x.header("accept-charset") or None):
        raise HttpProblem(406, "Only UTF-8 is sent.", remedy="Accept UTF-8.")


class Shelf:
    """The archive as the retrieve handlers use it: leases, blocking reads off the loop, attributes."""

    def __init__(self, archive: Archive, renderer: Renderer) -> None:
        self.archive = archive
        self.renderer = renderer
        self._attributes: OrderedDict[tuple[bytes, str, str, str], Attributes] = OrderedDict()
        self.decoded: Remembered[NativePixels] = Remembered(DECODED_BYTES)

    def can_transcode(self, stored: str, wanted: str) -> bool:
        """Compressed pixels can be sent uncompressed; nothing else is converted."""
        return wanted == EXPLICIT_VR_LITTLE_ENDIAN and stored in self.renderer.decodable

    def can_give(self, located: Located) -> CanTranscode:
        """What this object can be sent in besides its own syntax: decoded, and as it lies coded."""
        return self.can_transcode if located.landed.coded is None else self.can_transcode_coded

    def can_transcode_coded(self, stored: str, wanted: str) -> bool:
        """The same for an object whose frames were coded when its series settled."""
        return wanted == HTJ2K_RPCL or self.can_transcode(stored, wanted)

    async def open(self, x: Exchange) -> Opened:
        """Everything addressed, under a lease. Raises Missing, Refused."""
        target = target_of(x)
        context = x.context(CHANNEL)
        lease = await self.archive.locate(
            context, target.study_uid, target.series_uid, target.sop_uid
        )
        if target.sop_uid is not None:
            located = lease.instances.get(target.sop_uid)
            found: Iterable[Located] = () if located is None else (located,)
        else:
            found = lease.instances.values()
        # A lease on the study serves its series too.
        wanted = tuple(i for i in found if target.series_uid in (None, i.series_uid))
        if not wanted:
            raise unknown()
        version = (x.asked("v") or ("",))[-1].strip('"')
        return Opened(context, lease, target, wanted, f"{x.root}/dicomweb", version)

    async def read(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """A blocking read: on the loop where that takes microseconds, else in a thread."""
        decodes = any(isinstance(a, Located) and a.landed.coded is not None for a in arguments)
        if self.archive.reads_quickly and not decodes:
            return work(*arguments, **options)
        return await asyncio.to_thread(work, *arguments, **options)

    async def read_stored(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """A blocking read of coded frames as they are stored: nothing is decoded."""
        if self.archive.reads_quickly:
            return work(*arguments, **options)
        return await asyncio.to_thread(work, *arguments, **options)

    def is_coded(self, located: Located, syntax: str) -> bool:
        """Whether an answer in this syntax is what lies coded in a pack, and not what arrived."""
        return located.landed.coded is not None and syntax == HTJ2K_RPCL != located.syntax

    async def next_piece(self, located: Located, source: Iterator[bytes]) -> bytes | None:
        """The next piece of a blocking iterator over an object; None at its end."""
        if located.landed.coded is not None:
            return await asyncio.to_thread(next, source, None)
        return await self.read(next, source, None)

    async def attributes(self, opened: Opened, located: Located) -> Attributes:
        """Effective DICOM JSON of one instance; a few are remembered. Do not change it."""
        bulk_root = f"{opened.url(located)}/bulkdata"
        key = (located.landed.digest, located.version, opened.lease.version, bulk_root)
        found = self._attributes.get(key)
        if found is None:
            found = await asyncio.to_thread(self.archive.attributes, located, bulk_root)
            self._attributes[key] = found
            while len(self._attributes) > REMEMBERED:
                self._attributes.popitem(last=False)
        else:
            self._attributes.move_to_end(key)
        return found

    def used(self, opened: Opened, instances: int, size: int) -> None:
        """Count what was served."""
        self.archive.used(opened.context, opened.lease, instances, size)
