"""Every bound on what a peer may make this door hold, wait for or work on (reliability 3.11)."""

from __future__ import annotations

from dataclasses import dataclass, field

from lightwell.wire.dimse.pdu import Limits as EngineLimits


@dataclass(frozen=True, slots=True)
class DimseLimits:
    """Sizes in bytes, times in seconds; per process, because processes share nothing.

    ``stall_rate``: bytes a second that a peer must at least move within a message, measured over
    ``stall_window`` seconds of *waiting for it* (our own time does not count against it);
    ``silence`` is how long it may send (or take) nothing at all within a message, ``idle`` how long
    between messages. ``artim`` guards the end of an association (PS3.8 section 9.1.5).
    """

    max_pdu: int = 256 << 10
    receive_buffer: int = 1 << 20
    lobby_buffer: int = 16 << 10
    engine: EngineLimits = field(default_factory=EngineLimits)

    waiting_per_source: int = 64
    waiting: int = 512
    associations: int = 256
    associations_per_tenant: int = 64
    associations_per_peer: int = 8

    request: float = 10.0
    artim: float = 30.0
    idle: float = 60.0
    silence: float = 60.0
    stall_window: float = 30.0
    stall_rate: int = 1000

    room: float = 60.0
    """The longest a room may take over one question."""
    identifier: int = 1 << 20
    """The longest identifier of a C-FIND, C-MOVE or C-GET."""
    action_information: int = 32 << 20
    """The longest action information: a storage commitment names each instance of a study."""
    find_rows: int = 10_000
    find_page: int = 500
    commitment_references: int = 100_000
    plain_queries: int = 600
    """C-FINDs a minute of one machine that comes without TLS."""

    connect: float = 10.0
    response: float = 300.0
    """How long a peer may take over an object we sent it (it may have to make it durable)."""
    pending_every: float = 1.0
    retries: int = 2
    """How often an object is offered again to a destination that says it is out of resources."""
    retry_after: float = 0.5
    """The first pause before that, in seconds; each further one is longer by as much."""
