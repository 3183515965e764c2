"""Trying a peer out: C-ECHO (PS3.4 Annex A) and C-STORE of one trial image (PS3.4 Annex B), as requestor.

Each call is an association of its own with short deadlines, and at most a few are under way: somebody waits
for the answer at a screen. What went wrong is said in words an administrator can act on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from lightwell.dicom.trial_image import SECONDARY_CAPTURE, trial_image
from lightwell.domain.peers.model import Peer, Probed
from lightwell.gateways.dimse.connection import Connection, Ended
from lightwell.gateways.dimse.counters import Counters
from lightwell.gateways.dimse.implicit import implicit_le_chunks
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.gateways.dimse.requestor import Called, Unreachable, associate
from lightwell.kernel.errors import Busy
from lightwell.wire.dimse.association import AcceptedContext
from lightwell.wire.dimse.commands import c_echo_rq, c_store_rq
from lightwell.wire.dimse.proposal import propose_service
from lightwell.wire.dimse.status import SUCCESS, Category, category
from lightwell.wire.dimse.syntaxes import EXPLICIT_LE

VERIFICATION: Final = "1.2.840.10008.1.1"
AT_ONCE: Final = 4
TOGETHER_SECONDS: Final = 18.0  # of a call, whatever each step may take; pages wait for 20
LIMITS: Final = DimseLimits(
    connect=4.0, artim=5.0, response=6.0, silence=5.0, max_pdu=64 << 10, lobby_buffer=64 << 10
)

Talk = Callable[[Connection, AcceptedContext], int]
"""One request over an open association; the status of its response. Raises Ended."""


class AssociationProbe:
    """`domain.peers.ports.Probe`."""

    def __init__(self, limits: DimseLimits = LIMITS) -> None:
        self._limits = limits
        self._under_way = 0

    async def echo(self, peer: Peer, calling: str) -> Probed:
        """See the port."""
        return await self._call(peer, calling, VERIFICATION, self._ask_echo, "It answers.")

    async def store(self, peer: Peer, calling: str) -> Probed:
        """See the port."""
        image = trial_image(calling, datetime.now(UTC))

        def send(connection: Connection, context: AcceptedContext) -> int:
            explicit = context.transfer_syntax == EXPLICIT_LE
            body = (image.data_set,) if explicit else implicit_le_chunks((image.data_set,))
            request = c_store_rq(1, image.sop_class, image.sop_uid)
            connection.send(context.context_id, request, body)
            return connection.response_to(1, self._limits.response).status

        return await self._call(peer, calling, SECONDARY_CAPTURE, send, "It took the image.")

    def _ask_echo(self, connection: Connection, context: AcceptedContext) -> int:
        connection.send(context.context_id, c_echo_rq(1))
        return connection.response_to(1, self._limits.response).status

    async def _call(
        self, peer: Peer, calling: str, service: str, talk: Talk, success: str
    ) -> Probed:
        if self._under_way >= AT_ONCE:
            raise Busy("Several peers are being called.", remedy="Try again in a few seconds.")
        self._under_way += 1
        # The thread counts itself out: one that is given up may still hold its association for a moment.
        work = asyncio.get_running_loop().run_in_executor(
            None, self._converse, peer, calling, service, talk, success
        )
        work.add_done_callback(self._over)
        try:
            async with asyncio.timeout(TOGETHER_SECONDS):
                return await asyncio.shield(work)
        except TimeoutError:
            return Probed(False, f"No answer within {TOGETHER_SECONDS:.0f} s.")

    def _over(self, _work: asyncio.Future[Probed]) -> None:
        self._under_way -= 1

    def _converse(self, peer: Peer, calling: str, service: str, talk: Talk, success: str) -> Probed:
        called = Called(peer.host, peer.port, peer.aet, calling)
        try:
            connection = associate(called, propose_service(service), self._limits, Counters())
        except Unreachable as error:
            return Probed(False, refusal(str(error), calling))
        try:
            context = connection.association.find_context(service)
            status = None if context is None else talk(connection, context)
        except Ended as ended:
            connection.abort()
            return Probed(False, f"The association ended early ({ended}).")
        try:
            connection.release(self._limits.connect)
        except Ended:  # what was asked has its answer
            connection.abort()
        else:
            connection.close(wait_for_peer=False)
        if status is None:
            return Probed(False, "It accepts the association, but not this service.")
        well = category(status) in (Category.SUCCESS, Category.WARNING)
        said = success if status == SUCCESS else f"It answers with status {status:04X}H."
        return Probed(well, said, status)


def refusal(why: str, calling: str) -> str:
    """Why there is no association, with what to look at."""
    if "ConnectionRefusedError" in why:
        return "Nothing listens at its address and port: is it switched on, and is the port right?"
    if "gaierror" in why:
        return "Its host name is not known here: look how it is spelt, or give its address."
    if "TimeoutError" in why:
        return "Its address does not answer: wrong, switched off, or behind a firewall."
    if why == "rejected (1/1/3)":  # PS3.8 Table 9-21: calling AE title not recognized
        return f"It does not know our AE title {calling}: register us there."
    if why == "rejected (1/1/7)":  # called AE title not recognized
        return "It says that this AE title is not its own."
    return f"No association: {why}."
