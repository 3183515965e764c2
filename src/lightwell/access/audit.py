"""The audit record: who did what to what, when, from where, why, and how it ended.

The leaf is what the Merkle log of a later issue chains: a hash of the canonical record. Patient data
stays out of it: subjects are UIDs and codes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lightwell.access.actions import Action
from lightwell.access.context import Context

FIELD_LIMIT = 512


class Outcome(StrEnum):
    """How an act ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"


def clean(text: str) -> str:
    """One printable line of bounded length, so that no name can forge a second record (U06)."""
    bounded = text[:FIELD_LIMIT]
    if bounded.isprintable():
        return bounded
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in bounded)[:FIELD_LIMIT]


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One act. `subject` is a UID, an AE title or a code; `detail` says what a reader needs more."""

    at: datetime
    actor: str
    action: Action
    outcome: Outcome
    channel: str
    origin: str
    purpose: str
    trace: str
    study_uid: str = ""
    subject: str = ""
    detail: str = ""

    def leaf(self, tenant: int) -> bytes:
        """SHA-256 over the canonical record, domain-separated as an RFC 6962 leaf (prefix 0x00)."""
        line = "\x1f".join(
            (
                str(tenant),
                self.at.isoformat(),
                self.actor,
                self.action,
                self.outcome,
                self.channel,
                self.origin,
                self.purpose,
                self.trace,
                self.study_uid,
                self.subject,
                self.detail,
            )
        )
        return hashlib.sha256(b"\0" + line.encode("utf-8", "surrogatepass")).digest()


def record(
    context: Context,
    action: Action,
    outcome: Outcome,
    at: datetime,
    *,
    study_uid: str = "",
    subject: str = "",
    detail: str = "",
) -> AuditRecord:
    """The record of one act in this context, every outside text cleaned."""
    via = context.actor.via
    return AuditRecord(
        at=at,
        actor=clean(str(context.actor) if via is None else f"{context.actor} via {via}"),
        action=action,
        outcome=outcome,
        channel=context.channel,
        origin=clean(context.origin),
        purpose=context.purpose,
        trace=context.trace,
        study_uid=clean(study_uid),
        subject=clean(subject),
        detail=clean(detail),
    )
