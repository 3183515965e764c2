"""Rules of corrections and rejections, and their form in the journal. Pure."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lightwell.dicom import tags
from lightwell.dicom.conforming import objection
from lightwell.dicom.dictionary import keyword_of
from lightwell.domain.archive.internal.presenting import layered, present
from lightwell.domain.archive.levels import UNTOUCHABLE, level_of
from lightwell.domain.archive.model import (
    Attributes,
    Edits,
    JSONElement,
    Landed,
    Level,
    Outcome,
    OverlayRow,
    RejectionRow,
    SensitiveRow,
    Target,
    Verdict,
)
from lightwell.kernel.errors import Conflict, Invalid

SEXES = ("M", "F", "O")  # PS3.3 C.7.1.1
REASON_LIMIT = 1000
EDIT_LIMIT = 200

# PS3.16 CID 7011 Rejected for ... Reasons
REJECTION_CODES = {
    "113001": "Rejected for Quality Reasons",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}


def check_reason(reason: str) -> None:
    """There is one, and it fits. Raises Invalid."""
    if not reason.strip():
        raise Invalid("A reason is needed: it stands in the record.", remedy="Give one.")
    if len(reason) > REASON_LIMIT:
        raise Invalid(f"The reason is longer than {REASON_LIMIT} characters.")


def check_edits(target: Target, edits: Edits, reason: str) -> None:
    """Only attributes of the target's own level, none that names or decodes the object."""
    check_reason(reason)
    if not edits:
        raise Invalid("Nothing to correct was given.")
    if len(edits) > EDIT_LIMIT:
        raise Invalid(f"More than {EDIT_LIMIT} attributes in one correction.")
    for name in edits:
        tag = int(name, 16)
        if tag in UNTOUCHABLE or tag >> 16 <= 0x0002 or tag >> 16 >= 0x7FE0:
            raise Invalid(
                f"Attribute {name} may not be corrected: it names the object or says how to read it."
            )
        if level_of(tag) is not target.level:
            raise Invalid(
                f"Attribute {name} belongs to the {level_of(tag).value}, not to the {target.level.value}.",
                remedy=f"Correct it on the {level_of(tag).value}.",
            )
        _check_element(tag, edits[name])


def _check_element(tag: int, element: JSONElement | None) -> None:
    """What a correction says is written into every copy that leaves: it must be DICOM."""
    for value in (element or {}).get("Value", ()):
        trouble = objection(str((element or {}).get("vr", "")), value)
        if not trouble and tag == tags.PatientSex and value not in SEXES:
            trouble = f"is not one of {', '.join(SEXES)}"
        if trouble:
            raise Invalid(
                f"The value for {keyword_of(tag) or f'{tag:08X}'} {trouble}.",
                remedy="Nothing was changed; give it in the form that DICOM has for it.",
            )


def check_undo(edit: OverlayRow) -> None:
    """An edit ends once."""
    if edit.undoes is not None:
        raise Conflict("That correction is undone already.")


def check_rejection(target: Target, code: str, reason: str) -> None:
    """A known code, a reason, and something below a study."""
    check_reason(reason)
    if code not in REJECTION_CODES:
        known = ", ".join(f"{c} ({text})" for c, text in REJECTION_CODES.items())
        raise Invalid(f"Unknown rejection code {code!r}.", remedy=f"Use one of {known}.")
    if target.level is Level.PATIENT or not target.study_uid:
        raise Invalid("A rejection is about a study, a series or an instance.")


def merged(edits: list[OverlayRow]) -> dict[str, JSONElement | None]:
    """Edits in force as one, later versions over earlier ones."""
    ordered = sorted(edits, key=lambda edit: edit.version)
    return layered(*(edit.edits for edit in ordered))


def effective(original: Attributes, edits: Edits) -> Attributes:
    """What the row shows: the original with its edits laid over."""
    return present(original, edits)


def _target_to_json(target: Target) -> dict[str, str]:
    return {
        "level": target.level.value,
        "study": target.study_uid,
        "series": target.series_uid,
        "sop": target.sop_uid,
        "issuer": target.issuer,
        "pid": target.pid,
    }


def target_from_json(body: dict[str, Any]) -> Target:
    """The inverse of what the journal holds."""
    return Target(
        level=Level(body["level"]),
        study_uid=body["study"],
        series_uid=body["series"],
        sop_uid=body["sop"],
        issuer=body["issuer"],
        pid=body["pid"],
    )


def overlay_to_json(row: OverlayRow) -> dict[str, Any]:
    """One correction as it stands in the journal: what was decided, not what followed."""
    return {
        "edit": str(row.edit_id),
        "target": _target_to_json(row.target),
        "version": row.version,
        "edits": dict(row.edits),
        "reason": row.reason,
        "author": row.author,
        "at": row.at.isoformat(),
        "undoes": str(row.undoes) if row.undoes else None,
    }


def overlay_from_json(body: dict[str, Any]) -> OverlayRow:
    """The inverse, without the effect: replay works that out anew."""
    return OverlayRow(
        edit_id=uuid.UUID(body["edit"]),
        target=target_from_json(body["target"]),
        version=int(body["version"]),
        edits=body["edits"],
        reason=body["reason"],
        author=body["author"],
        at=datetime.fromisoformat(body["at"]),
        undoes=uuid.UUID(body["undoes"]) if body["undoes"] else None,
    )


def hold_to_json(landed: Landed, verdict: Verdict) -> dict[str, Any]:
    """An object kept aside, as it stands in the journal: of two rivals, this one was judged later."""
    return {
        "key": landed.key,
        "outcome": verdict.outcome.value,
        "reason": verdict.reason,
        "study": verdict.study_uid,
        "sop": verdict.sop_uid,
    }


@dataclass(frozen=True, slots=True)
class Hold:
    """What was decided, and when, about an object that was kept aside."""

    at: datetime
    outcome: Outcome
    reason: str


def repair_to_json(sha256: bytes, received: datetime) -> dict[str, Any]:
    """A journal entry: this data set came first at this time, whatever its present copy says."""
    return {"sha256": sha256.hex(), "received": received.isoformat()}


def repair_from_json(body: dict[str, Any]) -> tuple[bytes, datetime]:
    """The inverse. Raises KeyError, TypeError, ValueError."""
    received = datetime.fromisoformat(body["received"])
    if received.tzinfo is None:
        raise ValueError("a time without its zone")
    return bytes.fromhex(body["sha256"]), received


def hold_from_json(body: dict[str, Any], at: datetime) -> tuple[str, Hold]:
    """The inverse: the object's key and the decision on it."""
    return str(body["key"]), Hold(at, Outcome(body["outcome"]), str(body["reason"]))


def rejection_to_json(row: RejectionRow) -> dict[str, Any]:
    """One rejection or restoration as it stands in the journal."""
    return {
        "rejection": str(row.reject_id),
        "target": _target_to_json(row.target),
        "code": row.code,
        "reason": row.reason,
        "author": row.author,
        "at": row.at.isoformat(),
        "restores": str(row.restores) if row.restores else None,
    }


def rejection_from_json(body: dict[str, Any]) -> RejectionRow:
    """The inverse."""
    return RejectionRow(
        reject_id=uuid.UUID(body["rejection"]),
        target=target_from_json(body["target"]),
        code=body["code"],
        reason=body["reason"],
        author=body["author"],
        at=datetime.fromisoformat(body["at"]),
        restores=uuid.UUID(body["restores"]) if body["restores"] else None,
    )


def sensitivity_to_json(row: SensitiveRow) -> dict[str, Any]:
    """One mark, or its end, as it stands in the journal."""
    return {
        "study": row.study_uid,
        "sensitive": not row.gone,
        "reason": row.reason,
        "author": row.author,
        "at": row.at.isoformat(),
    }


def sensitivity_from_json(body: dict[str, Any]) -> SensitiveRow:
    """The inverse."""
    return SensitiveRow(
        study_uid=str(body["study"]),
        reason=str(body["reason"]),
        author=str(body["author"]),
        at=datetime.fromisoformat(body["at"]),
        gone=not body["sensitive"],
    )
