"""Verdicts and errors in DIMSE's words: total tables, and the one way to 0000 for a stored object.

Sources: PS3.4 Tables B.2-1 (storage), C.4-1 (find), C.4-2 (move), C.4-3 (get), J.3-2 (commitment),
PS3.7 Annex C, edition 2026b; the choice among them: reliability 3.2, standards 1.4 and 1.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from lightwell.access.commit import acknowledge
from lightwell.domain.archive.model import SUCCESSES, Outcome, Verdict
from lightwell.kernel.errors import Broken, Kind, LightwellError, Unavailable
from lightwell.wire.dimse import status as codes


class Service(Enum):
    """The services whose failures differ in their codes."""

    STORE = "store"
    FIND = "find"
    RETRIEVE = "retrieve"
    ACTION = "action"
    OTHER = "other"


NOT_ACKNOWLEDGED: Final[Mapping[Outcome, int]] = MappingProxyType(
    {
        Outcome.CONFLICT: codes.CONFLICT_WITH_STORED_INSTANCE,
        Outcome.REJECTED: codes.REJECTED_OBJECT_AGAIN,
        Outcome.UNREADABLE: codes.CANNOT_UNDERSTAND,
        Outcome.MISMATCH: codes.DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    }
)
"""With ``SUCCESSES`` every outcome there is (a test says so)."""

_OF_KIND: Final[Mapping[Service, Mapping[Kind, int]]] = MappingProxyType(
    {
        Service.STORE: {
            Kind.INVALID: codes.CANNOT_UNDERSTAND,
            Kind.REFUSED: codes.NOT_AUTHORIZED,
            Kind.MISSING: codes.PROCESSING_FAILURE,
            Kind.GONE: codes.PROCESSING_FAILURE,
            Kind.CONFLICT: codes.CONFLICT_WITH_STORED_INSTANCE,
            Kind.BUSY: codes.OUT_OF_RESOURCES,
            Kind.UNAVAILABLE: codes.OUT_OF_RESOURCES,
            Kind.BROKEN: codes.PROCESSING_FAILURE,
        },
        Service.FIND: {
            Kind.INVALID: codes.IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS,
            Kind.REFUSED: codes.NOT_AUTHORIZED,
            Kind.MISSING: codes.UNABLE_TO_PROCESS,
            Kind.GONE: codes.UNABLE_TO_PROCESS,
            Kind.CONFLICT: codes.UNABLE_TO_PROCESS,
            Kind.BUSY: codes.OUT_OF_RESOURCES,
            Kind.UNAVAILABLE: codes.OUT_OF_RESOURCES,
            Kind.BROKEN: codes.UNABLE_TO_PROCESS,
        },
        Service.RETRIEVE: {
            Kind.INVALID: codes.IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS,
            Kind.REFUSED: codes.NOT_AUTHORIZED,
            Kind.MISSING: codes.UNABLE_TO_PROCESS,
            Kind.GONE: codes.UNABLE_TO_PROCESS,
            Kind.CONFLICT: codes.UNABLE_TO_PROCESS,
            Kind.BUSY: codes.UNABLE_TO_CALCULATE_MATCHES,
            Kind.UNAVAILABLE: codes.UNABLE_TO_CALCULATE_MATCHES,
            Kind.BROKEN: codes.UNABLE_TO_PROCESS,
        },
        Service.ACTION: {
            Kind.INVALID: codes.INVALID_ARGUMENT_VALUE,
            Kind.REFUSED: codes.NOT_AUTHORIZED,
            Kind.MISSING: codes.NO_SUCH_SOP_INSTANCE,
            Kind.GONE: codes.NO_SUCH_SOP_INSTANCE,
            Kind.CONFLICT: codes.DUPLICATE_TRANSACTION_UID,
            Kind.BUSY: codes.RESOURCE_LIMITATION,
            Kind.UNAVAILABLE: codes.RESOURCE_LIMITATION,
            Kind.BROKEN: codes.PROCESSING_FAILURE,
        },
        Service.OTHER: {
            kind: codes.NOT_AUTHORIZED if kind is Kind.REFUSED else codes.PROCESSING_FAILURE
            for kind in Kind
        },
    }
)


def of_verdict(verdict: Verdict) -> int:
    """The status of a C-STORE response. 0000 only for what is acknowledged as stored."""
    if verdict.outcome not in SUCCESSES:
        return NOT_ACKNOWLEDGED[verdict.outcome]
    if verdict.stored is None:
        raise Broken(f"The outcome {verdict.outcome} came without its proof; not acknowledged.")
    acknowledge(verdict.stored)
    return codes.SUCCESS


def of_error(error: LightwellError, service: Service) -> int:
    """The status of a response to a request that failed."""
    return _OF_KIND[service][error.kind]


def comment(error: LightwellError) -> str:
    """An Error Comment (0000,0902): its message; errors hold no patient data by contract."""
    return error.message[:64]


def out_of_time(what: str) -> LightwellError:
    """For a room that did not answer in its time."""
    return Unavailable(f"{what} took too long.", remedy="Send it again later.")
