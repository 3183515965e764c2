"""`present(original, overlay)`: what leaves is the original with its edits laid over, at every exit.

Headers are edited as bytes (C-GET, C-MOVE, WADO) or as DICOM JSON (metadata, queries, rendering);
both come from the same edits, so no door can show another truth than its neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping

from lightwell.dicom.rewrite import apply_edits
from lightwell.dicom.uids import TransferSyntax
from lightwell.domain.archive.model import Attributes, Edits, JSONElement


def present(original: Mapping[str, JSONElement], overlay: Edits) -> Attributes:
    """Effective attributes: an edit replaces, None removes, everything else stays."""
    effective: Attributes = dict(original)
    for tag, element in overlay.items():
        if element is None:
            effective.pop(tag, None)
        else:
            effective[tag] = element
    return dict(sorted(effective.items()))


def present_bytes(header: bytes, syntax: TransferSyntax, overlay: Edits) -> bytes:
    """The same for an encoded header (the data set up to its pixel data)."""
    if not overlay:
        return header
    return apply_edits(header, syntax, {int(tag, 16): edit for tag, edit in overlay.items()})


def layered(*overlays: Edits) -> dict[str, JSONElement | None]:
    """Several edits as one; a later one wins tag by tag."""
    merged: dict[str, JSONElement | None] = {}
    for overlay in overlays:
        merged.update(overlay)
    return merged
