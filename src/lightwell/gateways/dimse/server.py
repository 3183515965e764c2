"""The DIMSE server of one process: its doors, its limits, its beginning and its end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightwell.gateways.dimse.association_service import AssociationService
from lightwell.gateways.dimse.counters import Counters, Tally
from lightwell.gateways.dimse.exchange import Rooms
from lightwell.gateways.dimse.listener import Door, Listener
from lightwell.gateways.dimse.places import Slots, WaitingRoom

BACKLOG = 256
_CUT_SECONDS = 5.0


class DimseServer:
    """Accepts associations on some doors for the rooms of this process.

    Make and start it on the rooms' own event loop, which must run for as long as it serves.
    """

    def __init__(self, rooms: Rooms, doors: Sequence[Door]) -> None:
        self._counters = Counters()
        self._waiting = WaitingRoom(rooms.limits)
        self._slots = Slots(rooms.limits)
        self._service = AssociationService(rooms, self._slots, self._counters)
        self._listeners = [
            Listener(door, self._service, self._waiting, rooms.limits, self._counters)
            for door in doors
        ]

    @property
    def tally(self) -> Tally:
        """A copy of the numbers so far."""
        return replace(self._counters.tally, waiting=len(self._waiting), active=self._slots.in_use)

    def seen(self) -> dict[str, Any]:
        """What is known of single machines and of those turned away, as JSON."""
        return self._counters.seen()

    @property
    def closing(self) -> bool:
        """Whether `stop` was called."""
        return self._service.closing

    async def start(self) -> None:
        """Begin to accept."""
        for listener in self._listeners:
            listener.start()

    async def stop(self, grace: float = 60.0) -> None:
        """End within about *grace* seconds.

        From now on new associations are turned away (RJ 2/3/1) while those under way may finish:
        each ends at its next pause, and what is left when the grace is over is aborted.
        """
        self._service.closing = True
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            listener.drain()
        await self._quiet_by(loop.time() + grace)
        for listener in self._listeners:
            await asyncio.to_thread(listener.stop)
            listener.cut()
        await self._quiet_by(loop.time() + _CUT_SECONDS)

    async def _quiet_by(self, deadline: float) -> None:
        """Until no connection is left, or until the deadline of the loop's clock."""
        for listener in self._listeners:
            left = deadline - asyncio.get_running_loop().time()
            await asyncio.to_thread(listener.quiet_within, left)


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket, for one process or to be inherited by several. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def tls_context(certificate: Path, key: Path, authorities: Path) -> ssl.SSLContext:
    """The BCP 195 TLS profile (PS3.15 Annex B.12): 1.2 or 1.3, and a certificate from the client.

    Raises OSError, ssl.SSLError for files that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authorities)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
