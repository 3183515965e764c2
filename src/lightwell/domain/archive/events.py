"""What the archive tells the world, in the past tense, through the change feed.

Subjects hold UIDs and codes only. `InstanceStored` is written by the group commit itself.
"""

from __future__ import annotations

from lightwell.access.commit import Event
from lightwell.domain.archive.model import Target

INSTANCE_STORED = "InstanceStored"  # study, series, sop


def kept_aside(kind: str, study_uid: str, sop_uid: str, reason: str) -> Event:
    """An object was held, quarantined, or kept as a candidate or conflict."""
    return Event(
        "InstanceKeptAside", {"kind": kind, "study": study_uid, "sop": sop_uid, "reason": reason}
    )


def withdrawn(sop_uid: str) -> Event:
    """A row went because its bytes could not be made durable."""
    return Event("InstanceWithdrawn", {"sop": sop_uid})


def repaired(study_uid: str, series_uid: str, sop_uid: str) -> Event:
    """The bytes of an object were not whole; the same data set came again and took their place."""
    return Event("InstanceRepaired", {"study": study_uid, "series": series_uid, "sop": sop_uid})


def corrected(target: Target, edit_id: str, *, undone: bool) -> Event:
    """Attributes changed. A patient's key is not in the feed: only that somebody's changed."""
    subject = {"level": target.level.value, "edit": edit_id, "undone": "yes" if undone else "no"}
    if target.study_uid:
        subject["study"] = target.study_uid
    return Event("AttributesCorrected", subject)


def rejected(target: Target, reject_id: str, code: str, *, restored: bool) -> Event:
    """Images were taken out of clinical lists, or put back."""
    return Event(
        "InstancesRestored" if restored else "InstancesRejected",
        {
            "study": target.study_uid,
            "series": target.series_uid,
            "sop": target.sop_uid,
            "code": code,
            "rejection": reject_id,
        },
    )


def series_settled(study_uid: str, series_uid: str, generation: int) -> Event:
    """A series lies in packs: the bytes of its instances have moved, nothing else has changed."""
    return Event(
        "SeriesSettled",
        {"study": study_uid, "series": series_uid, "generation": str(generation)},
    )


def series_cooled(study_uid: str, series_uid: str) -> Event:
    """A pack of a series has gone to the cool store: it is read more slowly, and is NEARLINE."""
    return Event("SeriesCooled", {"study": study_uid, "series": series_uid})


def series_recalled(study_uid: str, series_uid: str) -> Event:
    """It has come back."""
    return Event("SeriesRecalled", {"study": study_uid, "series": series_uid})


def commitment_requested(peer: str, transaction_uid: str) -> Event:
    """A peer asks us to take responsibility."""
    return Event("CommitmentRequested", {"peer": peer, "transaction": transaction_uid})
