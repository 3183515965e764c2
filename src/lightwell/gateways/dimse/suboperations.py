"""The C-STORE sub-operations of one C-MOVE or C-GET: counting, telling, ending (PS3.4 C.4.2, C.4.3).

One engine for both: they differ in where the objects go (a :class:`Courier`) and in whether a
pending response may be sent while an object is under way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from lightwell.dicom import tags
from lightwell.gateways.dimse.ahead import AHEAD
from lightwell.gateways.dimse.connection import Ended
from lightwell.gateways.dimse.exchange import Exchange
from lightwell.gateways.dimse.identifiers import write_identifier
from lightwell.gateways.dimse.selection import Chosen, Selection
from lightwell.wire.dimse.status import (
    CANCEL,
    PENDING,
    SUBOPERATIONS_COMPLETE_WITH_FAILURES,
    SUCCESS,
    UNABLE_TO_PERFORM_SUBOPERATIONS,
    Category,
    category,
)

_MOST: Final = 0xFFFF  # what a US counter can say
_LISTED_BYTES: Final = 0xFFFE  # what an explicit VR UI element can hold


class RequestorGone(Exception):
    """Whoever asked is not there any more: nothing is sent on for nobody."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(str(ended))
        self.ended = ended


class Courier(Protocol):
    """Brings objects to their destination."""

    def prepare(self, upcoming: Sequence[Chosen]) -> None:
        """These are sent next: begin with what can be done without the network."""

    def deliver(self, selection: Selection, one: Chosen) -> int:
        """Send one object; the status of its C-STORE response, or a failure status of our own.

        Raises RequestorGone, and Ended when the association of the request itself has ended.
        """


@dataclass(slots=True)
class Progress:
    """The counters of the responses."""

    remaining: int
    completed: int = 0
    warnings: int = 0
    failed: int = 0

    def fields(self) -> dict[str, Any]:
        """As fields of a response; a counter that does not fit says the most it can."""
        return {
            "NumberOfCompletedSuboperations": min(self.completed, _MOST),
            "NumberOfFailedSuboperations": min(self.failed, _MOST),
            "NumberOfWarningSuboperations": min(self.warnings, _MOST),
        }

    def count(self, status: int) -> bool:
        """Count one response; whether the object arrived."""
        self.remaining -= 1
        kind = category(status)
        if kind is Category.SUCCESS:
            self.completed += 1
        elif kind is Category.WARNING:
            self.warnings += 1
        else:
            self.failed += 1
        return kind in (Category.SUCCESS, Category.WARNING)

    @property
    def final_status(self) -> int:
        """PS3.4 Tables C.4-2 and C.4-3: all well, some not, none."""
        if not self.failed and not self.warnings:
            return SUCCESS
        if not self.completed and not self.warnings:
            return UNABLE_TO_PERFORM_SUBOPERATIONS
        return SUBOPERATIONS_COMPLETE_WITH_FAILURES


class SubOperations:
    """Runs them and answers the request."""

    def __init__(self, exchange: Exchange, selection: Selection) -> None:
        self._exchange = exchange
        self._selection = selection
        self.chosen = selection.chosen()
        self._progress = Progress(remaining=len(self.chosen))
        self._failed: list[str] = []
        self._told = time.monotonic()

    def run(self, courier: Courier) -> None:
        """Deliver every object in turn, and send the final response."""
        for number, one in enumerate(self.chosen):
            self._exchange.session.still_named()
            courier.prepare(self.chosen[number : number + AHEAD])
            if self._exchange.is_cancelled():
                self._finish(CANCEL, NumberOfRemainingSuboperations=self._remaining)
                return
            status = courier.deliver(self._selection, one)
            arrived = self._progress.count(status)
            if not arrived:
                self._failed.append(one.located.sop_uid)
            self._exchange.session.counters.add(
                suboperations=1, suboperation_failures=int(not arrived)
            )
            self.tell()
        self._finish(self._progress.final_status)

    def fail_all(self, status: int, why: str) -> None:
        """No object can be sent at all."""
        self._failed = [one.located.sop_uid for one in self.chosen]
        self._progress = Progress(remaining=0, failed=len(self.chosen))
        self._exchange.session.counters.add(
            suboperations=len(self.chosen), suboperation_failures=len(self.chosen)
        )
        self._finish(status, ErrorComment=why[:64])

    def tell(self) -> None:
        """A pending response, if the last one was long enough ago."""
        now = time.monotonic()
        if now - self._told < self._exchange.connection.limits.pending_every:
            return
        self._told = now
        self._exchange.answer(
            PENDING, NumberOfRemainingSuboperations=self._remaining, **self._progress.fields()
        )

    def tell_from_afar(self) -> None:
        """The same while another association is being worked on, or waited for."""
        try:
            self.tell()
        except Ended as ended:
            raise RequestorGone(ended) from ended

    @property
    def _remaining(self) -> int:
        return min(self._progress.remaining, _MOST)

    def _finish(self, status: int, **more: Any) -> None:
        body = None
        if self._failed:
            syntax = self._exchange.context.transfer_syntax
            body = (write_identifier(failed_list(self._failed), syntax),)
        self._exchange.answer(status, body, **self._progress.fields(), **more)


def failed_list(sop_uids: list[str]) -> dict[str, dict[str, Any]]:
    """Failed SOP Instance UID List (0008,0058): as many as an element can hold, first ones first."""
    listed: list[str] = []
    length = 0
    for uid in sop_uids:
        length += len(uid) + 1
        if length > _LISTED_BYTES:
            break
        listed.append(uid)
    return {f"{tags.FailedSOPInstanceUIDList:08X}": {"vr": "UI", "Value": listed}}
