"""What negotiation must know about transfer syntaxes and SOP classes, and no more.

The full dated tables are generated in ``lightwell.dicom``. Negotiation needs two judgements only,
and must make them for UIDs that no table holds yet: does this transfer syntax lose information, and
is this abstract syntax something one stores.
"""

from __future__ import annotations

import re
from typing import Final

IMPLICIT_LE: Final = "1.2.840.10008.1.2"
EXPLICIT_LE: Final = "1.2.840.10008.1.2.1"
EXPLICIT_BE: Final = "1.2.840.10008.1.2.2"
DEFLATED_LE: Final = "1.2.840.10008.1.2.1.99"

UNCOMPRESSED: Final = (EXPLICIT_LE, DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE)
"""The syntaxes without encapsulated pixel data, best first.

Implicit VR last: with it the VRs of private elements are lost for ever (standards 1.2)."""

_DICOM: Final = "1.2.840.10008.1.2."

LOSSLESS: Final = frozenset(
    _DICOM + tail
    for tail in (
        "1.98",  # encapsulated uncompressed
        "4.57",  # JPEG lossless, process 14
        "4.58",  # JPEG lossless, process 15 (retired)
        "4.65",  # JPEG lossless hierarchical, process 28 (retired)
        "4.66",  # JPEG lossless hierarchical, process 29 (retired)
        "4.70",  # JPEG lossless, first-order prediction
        "4.80",  # JPEG-LS lossless
        "4.90",  # JPEG 2000 lossless only
        "4.92",  # JPEG 2000 part 2 multi-component lossless only
        "4.110",  # JPEG XL lossless
        "4.201",  # HTJ2K lossless only
        "4.202",  # HTJ2K lossless RPCL
        "5",  # RLE
        "8.1",  # deflated image frame
    )
)
"""Encapsulated syntaxes that cannot lose information (PS3.5 section 10, PS3.6 Table A-1)."""

_LOSSY: Final = re.compile(
    r"1\.2\.840\.10008\.1\.2\.4\."
    r"(5[0-69]|6[0-4]|81|91|93|111|112|203|10[0-9](\.1)?)"
)
_REFERENCED: Final = frozenset(_DICOM + tail for tail in ("4.94", "4.95", "4.204", "4.205"))
_REAL_TIME: Final = _DICOM + "7."


def may_lose(transfer_syntax: str) -> bool:
    """Whether pixel data in this syntax may have lost information (JPEG, video, J2K .91, ...)."""
    return _LOSSY.fullmatch(transfer_syntax) is not None


def never_stored(transfer_syntax: str) -> bool:
    """SMPTE ST 2110 (PS3.22) is a live stream: nothing in these syntaxes is ever an object."""
    return transfer_syntax.startswith(_REAL_TIME)


def rank(transfer_syntax: str) -> int:
    """How much we want a syntax, 0 best; equals are taken in the requestor's order.

    Uncompressed by our preference, then lossless, then syntaxes we do not know (private, future:
    kept as they are), then pixel data by reference, then lossy.
    """
    if transfer_syntax in UNCOMPRESSED:
        return UNCOMPRESSED.index(transfer_syntax)
    if transfer_syntax in LOSSLESS:
        return 10
    if may_lose(transfer_syntax):
        return 40
    return 30 if transfer_syntax in _REFERENCED else 20


# SOP classes of the standard that are services, not objects. Everything else is an object one may
# store: the 200 storage classes of today, those of the next edition, and every private class.
_SERVICES: Final = re.compile(
    r"1\.2\.840\.10008\."
    r"(1\.(1|3\.10|9|16|20(\.\d+)?|40|42)"  # verification, DICOMDIR, commitment, procedural log
    r"|3\.1\.2\..*"  # patient, visit, study, MPPS, interpretation management
    r"|4\.2"  # storage service class itself
    r"|5\.1\.1\.(?!(27|29|30)$).*"  # print; hard copy and stored print are objects
    r"|5\.1\.4\.1\.2\..*"  # query/retrieve
    r"|5\.1\.4\.1\.1\.(200\.[456]|201\.[2-6])"  # protocol and inventory query/retrieve
    r"|5\.1\.4\.(31|32(\.\d+)?|33|34\.([2-46]|4\.\d+|6\.\d+|8|9)|37\.\d|41|42)"  # worklists, UPS, IAN
    r"|5\.1\.4\.20\.\d|10\.\d"  # procedure protocol query/retrieve, real-time communication
    r"|5\.1\.4\.(38|39|43|44|45)\.[2-4])"  # query/retrieve of hanging protocols, palettes, implants
)


def is_storage(abstract_syntax: str) -> bool:
    """Whether one stores objects of this class: all but the standard's service classes."""
    return _SERVICES.fullmatch(abstract_syntax) is None
