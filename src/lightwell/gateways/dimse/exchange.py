"""What the services see: the rooms, the association they serve on, and one request to answer."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from lightwell.access.context import Context
from lightwell.domain.archive.api import Archive
from lightwell.domain.peers.api import Peers
from lightwell.domain.people.machine_api import MachineSignIn, Named
from lightwell.gateways.dimse.connection import Connection, Ended, Ending
from lightwell.gateways.dimse.counters import Counters
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.gateways.dimse.ports import Transcoder
from lightwell.gateways.dimse.query_pace import QueryPace
from lightwell.gateways.dimse.status import Service, comment, of_error
from lightwell.kernel.errors import Invalid, Kind, LightwellError, Unavailable
from lightwell.wire.dimse.association import AcceptedContext, Buffer
from lightwell.wire.dimse.commands import Command, response
from lightwell.wire.dimse.pdu import AssociateRQ

T = TypeVar("T")

STANDING_SECONDS: Final = 2.0
"""How long whoever a machine speaks for is taken to be who they were: a revoked key ends within 5 s."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """The front doors, and the loop they live on. ``transcoder`` is None where none is installed,
    ``machines`` where nobody can be named: then who names somebody is turned away."""

    peers: Peers
    archive: Archive
    loop: asyncio.AbstractEventLoop
    limits: DimseLimits = field(default_factory=DimseLimits)
    transcoder: Transcoder | None = None
    machines: MachineSignIn | None = None

    def ask(self, question: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """Ask a room from an association's thread, and wait ``limits.room`` unless told otherwise.

        Raises what the room raises, and Unavailable.
        """
        answer = asyncio.run_coroutine_threadsafe(question, self.loop)
        try:
            return answer.result(self.limits.room if seconds is None else seconds)
        except TimeoutError as error:  # ours, or one that the room met itself
            answer.cancel()
            raise Unavailable("The archive took too long.", remedy="Try again later.") from error
        except concurrent.futures.CancelledError as error:
            raise Unavailable("The server is stopping.", remedy="Try again later.") from error


@dataclass(slots=True)
class Session:
    """One accepted association, from request to end."""

    connection: Connection
    rooms: Rooms
    actor: Context
    request: AssociateRQ
    counters: Counters
    pace: QueryPace
    may_store_until: float = 0.0
    """Until when (monotonic seconds) a permission to store, once asked for, is taken as given."""
    named: Named | None = None
    """Who the peer speaks for, where it has said so."""
    plain: bool = False
    """Whether it came without TLS."""
    asked: float = field(default_factory=time.monotonic)
    """When (monotonic seconds) it was last asked whether they still are who they were."""

    def still_named(self, *, new_request: bool = False) -> None:
        """Raises Ended when whoever the peer speaks for may not go on; a new request, also when what
        proved it is over by its time."""
        named, machines = self.named, self.rooms.machines
        if named is None or machines is None:
            return
        if new_request and machines.clock.now() >= named.until:
            raise Ended(Ending.CUT, "what proved who it speaks for has expired")
        now = time.monotonic()
        if now - self.asked < STANDING_SECONDS:
            return
        self.asked = now
        try:
            good = self.rooms.ask(machines.unchanged(self.actor.tenant, named))
        except Unavailable:
            return  # as long as nobody can say, what is under way goes on; each act asks policy anyway
        if not good:
            raise Ended(Ending.CUT, "whoever it speaks for may not any more")

    def agreed(self, sop_class: str) -> bytes:
        """What the requestor asked for by SOP Class Extended Negotiation; empty when nothing."""
        for asked in self.request.user_information.extended:
            if asked.SOPClassUID == sop_class:
                return asked.information
        return b""


@dataclass(slots=True)
class Exchange:
    """One request and its answers."""

    session: Session
    context: AcceptedContext
    command: Command

    @property
    def connection(self) -> Connection:
        return self.session.connection

    @property
    def rooms(self) -> Rooms:
        return self.session.rooms

    @property
    def actor(self) -> Context:
        return self.session.actor

    def data_set(self, limit: int) -> bytes:
        """The request's whole data set. Raises Invalid when it is longer than *limit* bytes."""
        gathered = bytearray()
        length = 0
        for view in self.connection.fragments():
            length += len(view)
            if length <= limit:
                gathered += view
        if length > limit:
            raise Invalid("The request's data set is too long.", remedy="Ask for less at once.")
        return bytes(gathered)

    def is_cancelled(self) -> bool:
        """Whether the peer has asked to cancel this request."""
        return self.connection.is_cancelled(self.command.message_id)

    def answer(self, status: int, chunks: Iterable[Buffer] | None = None, **more: Any) -> None:
        """Send a response; *chunks* are its data set, if it has one."""
        self.connection.skip_data_set()  # a response may only follow the end of its request
        reply = response(self.command, status, has_data_set=chunks is not None, **more)
        self.connection.send(self.context.context_id, reply, chunks or ())

    def fail(self, error: LightwellError, service: Service) -> None:
        """Send the response for an error."""
        if error.kind is Kind.REFUSED:
            self.session.counters.add(denied=1)
        self.answer(of_error(error, service), ErrorComment=comment(error))
