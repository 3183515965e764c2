"""Storage SCU: one object over one association, in the best form the other end takes.

Best is the stored syntax, bit for bit. Else native objects go as Explicit or Implicit VR Little
Endian, and compressed ones are decoded for it; nothing is ever compressed, and nothing lossy again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from lightwell.dicom.uids import syntax_of
from lightwell.domain.archive.model import Located
from lightwell.gateways.dimse.ahead import Ahead
from lightwell.gateways.dimse.connection import Connection, Ended
from lightwell.gateways.dimse.decompression import can_decode, native_chunks
from lightwell.gateways.dimse.exchange import Rooms
from lightwell.gateways.dimse.implicit import implicit_le_chunks
from lightwell.kernel.errors import LightwellError
from lightwell.wire.dimse.association import AcceptedContext
from lightwell.wire.dimse.commands import Command, c_store_rq
from lightwell.wire.dimse.syntaxes import EXPLICIT_LE, IMPLICIT_LE

_ASKED_FOR_ONLY: Final = frozenset(
    f"1.2.840.10008.1.2.4.{number}" for number in (110, 111, 112, 201, 202, 203)
)
"""HTJ2K and JPEG XL: most installed workstations accept what they cannot show (clinical 2)."""


class NotSendable(Exception):
    """No accepted context can take this object."""


class HalfSent(Exception):
    """Our own side failed within the data set: the association can only be aborted."""

    def __init__(self, cause: LightwellError) -> None:
        super().__init__(type(cause).__name__)


@dataclass(frozen=True, slots=True)
class Originator:
    """The C-MOVE that a C-STORE is a sub-operation of (PS3.7 section 9.1.1.1)."""

    ae_title: str = ""
    message_id: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """The response to one object, and how many bytes its data set had."""

    response: Command
    bytes: int


def offered(syntax: str, wanted: tuple[str, ...]) -> bool:
    """Whether a destination is offered the stored *syntax*; *wanted* are those it was set up with."""
    if syntax in wanted or not syntax_of(syntax).encapsulated:
        return True
    return not wanted and syntax not in _ASKED_FOR_ONLY


def choose(
    rooms: Rooms, located: Located, contexts: Iterable[AcceptedContext]
) -> AcceptedContext | None:
    """The context to send an object in, best form first; None when there is none."""
    by_syntax = {
        context.transfer_syntax: context
        for context in contexts
        if context.abstract_syntax == located.sop_class
    }
    stored = rooms.archive.sent_syntax(located, web=False)
    if stored in by_syntax:
        return by_syntax[stored]
    syntax = syntax_of(stored)
    if (syntax.encapsulated or not syntax.known) and not can_decode(rooms, located):
        return None
    return by_syntax.get(EXPLICIT_LE) or by_syntax.get(IMPLICIT_LE)


def body(rooms: Rooms, located: Located, syntax: str) -> Iterator[bytes]:
    """The effective data set in one of the syntaxes `choose` allows. Raises LightwellError."""
    stored = rooms.archive.sent_syntax(located, web=False)
    if syntax == stored:
        return rooms.archive.data_set(located, syntax)
    if syntax_of(stored).encapsulated:
        explicit = native_chunks(rooms, located)
    else:
        explicit = rooms.archive.data_set(located, EXPLICIT_LE)
    return explicit if syntax == EXPLICIT_LE else implicit_le_chunks(explicit)


def ahead_of(rooms: Rooms) -> Ahead:
    """For one retrieval."""
    return Ahead(rooms.archive.make_ready, rooms.archive.length)


def send_object(
    connection: Connection,
    rooms: Rooms,
    located: Located,
    context: AcceptedContext,
    message_id: int,
    originator: Originator,
    ahead: Ahead | None = None,
) -> Sent:
    """C-STORE one object, made ready before where `ahead` has it, and await the response.

    Raises LightwellError when the object cannot be read (nothing was sent), HalfSent when that shows
    too late, Ended when the association is over.
    """
    if ahead is not None:
        ahead.wait(located)
    chunks = body(rooms, located, context.transfer_syntax)
    first = next(chunks, b"")  # whatever is wrong with a small object is found out here
    size = 0

    def counted() -> Iterator[bytes]:
        nonlocal size
        for chunk in itertools.chain((first,), chunks):
            size += len(chunk)
            yield chunk

    request = c_store_rq(
        message_id,
        located.sop_class,
        located.sop_uid,
        move_originator=originator.ae_title,
        move_originator_id=originator.message_id,
    )
    try:
        connection.send(context.context_id, request, counted())
    except Ended:
        raise
    except LightwellError as error:
        raise HalfSent(error) from error
    answer = connection.response_to(message_id, connection.limits.response)
    connection.counters.add(bytes_sent=size)
    return Sent(answer, size)
