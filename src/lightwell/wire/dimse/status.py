"""DIMSE status codes, by the names the standard gives them.

Sources: PS3.7 Annex C (general), PS3.4 Tables B.2-1 (storage), C.4-1 to C.4-3 (query/retrieve),
J.3-2 (storage commitment), edition 2026b. The codes A77xH are not standard: they are the ones of
dcm4chee for rejected objects and patient conflicts, kept so that mixed sites read one table.

These are the words only. Which verdict earns which word is decided in one total table of the
gateway; ``SUCCESS`` for a stored object is reachable there through the acknowledgement alone.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

SUCCESS: Final = 0x0000
CANCEL: Final = 0xFE00
"""Matching or sub-operations terminated due to a cancel request."""
PENDING: Final = 0xFF00
PENDING_OPTIONAL_KEYS_UNSUPPORTED: Final = 0xFF01
"""Pending; one or more optional keys were not supported for existence or matching."""

# General (PS3.7 Annex C)
NO_SUCH_ATTRIBUTE: Final = 0x0105
INVALID_ATTRIBUTE_VALUE: Final = 0x0106
ATTRIBUTE_LIST_ERROR: Final = 0x0107
PROCESSING_FAILURE: Final = 0x0110
DUPLICATE_SOP_INSTANCE: Final = 0x0111
NO_SUCH_SOP_INSTANCE: Final = 0x0112
NO_SUCH_EVENT_TYPE: Final = 0x0113
NO_SUCH_ARGUMENT: Final = 0x0114
INVALID_ARGUMENT_VALUE: Final = 0x0115
ATTRIBUTE_VALUE_OUT_OF_RANGE: Final = 0x0116
INVALID_OBJECT_INSTANCE: Final = 0x0117
NO_SUCH_SOP_CLASS: Final = 0x0118
CLASS_INSTANCE_CONFLICT: Final = 0x0119
MISSING_ATTRIBUTE: Final = 0x0120
MISSING_ATTRIBUTE_VALUE: Final = 0x0121
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
NO_SUCH_ACTION_TYPE: Final = 0x0123
NOT_AUTHORIZED: Final = 0x0124
DUPLICATE_INVOCATION: Final = 0x0210
UNRECOGNIZED_OPERATION: Final = 0x0211
MISTYPED_ARGUMENT: Final = 0x0212
RESOURCE_LIMITATION: Final = 0x0213

# Storage commitment (PS3.4 section J.3.2)
DUPLICATE_TRANSACTION_UID: Final = 0x0131

# Storage (PS3.4 Table B.2-1)
OUT_OF_RESOURCES: Final = 0xA700
DATA_SET_DOES_NOT_MATCH_SOP_CLASS: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000
COERCION_OF_DATA_ELEMENTS: Final = 0xB000
ELEMENTS_DISCARDED: Final = 0xB006
DATA_SET_DOES_NOT_MATCH_SOP_CLASS_WARNING: Final = 0xB007

CONFLICT_WITH_STORED_INSTANCE: Final = 0xC001
"""One of "cannot understand" (CxxxH): another object with this UID is kept; this one is set aside."""

# Query and retrieve (PS3.4 Tables C.4-1 to C.4-3)
UNABLE_TO_CALCULATE_MATCHES: Final = 0xA701
UNABLE_TO_PERFORM_SUBOPERATIONS: Final = 0xA702
MOVE_DESTINATION_UNKNOWN: Final = 0xA801
IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS: Final = 0xA900
UNABLE_TO_PROCESS: Final = 0xC000
SUBOPERATIONS_COMPLETE_WITH_FAILURES: Final = 0xB000

# Private, after dcm4chee
DUPLICATE_REJECTION_NOTE: Final = 0xA770
REJECTED_OBJECT_AGAIN: Final = 0xA771
REJECTION_NO_SUCH_INSTANCE: Final = 0xA772
REJECTION_CLASS_INSTANCE_CONFLICT: Final = 0xA773
REJECTION_ALREADY_REJECTED: Final = 0xA774
REJECTION_RETENTION_NOT_EXPIRED: Final = 0xA775
REJECTION_NOT_ALLOWED: Final = 0xA776
PATIENT_ID_MISSING: Final = 0xA777
PATIENT_ID_CONFLICT: Final = 0xA778
PATIENT_ATTRIBUTE_CONFLICT: Final = 0xA779


class Category(Enum):
    """What a status means for the exchange (PS3.7 Annex C.1)."""

    SUCCESS = "success"
    PENDING = "pending"
    CANCEL = "cancel"
    WARNING = "warning"
    FAILURE = "failure"


_WARNINGS: Final = frozenset({0x0001, 0x0107, 0x0116})


def category(status: int) -> Category:
    """The category of *status*; a code nobody defined is a failure."""
    if status == SUCCESS:
        return Category.SUCCESS
    if status in (PENDING, PENDING_OPTIONAL_KEYS_UNSUPPORTED):
        return Category.PENDING
    if status == CANCEL:
        return Category.CANCEL
    if status in _WARNINGS or status >> 12 == 0xB:
        return Category.WARNING
    return Category.FAILURE
