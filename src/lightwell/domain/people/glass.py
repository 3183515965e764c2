"""Break-glass and sealed accounts: what is opened in an emergency, and what is judged of it afterwards. Pure.

An *opening* is one patient for an hour, by one session, with a reason; or the use of a sealed account, which
ends with its session. Both stand in one queue until somebody else has judged them (HIPAA 164.312(a)(2)(ii):
emergency access is a procedure, not an exception to all of them).
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from lightwell.access.policy import network
from lightwell.kernel.errors import Invalid

LIFE: Final = timedelta(minutes=60)
REVIEW_WITHIN: Final = timedelta(hours=72)
REASON_LEAST: Final = 10
REASON_MOST: Final = 500
ID_MOST: Final = 64  # PS3.5 6.2: LO
PLACES_MOST: Final = 32
DEFAULT_PLACES: Final = ("loopback", "private")
_WORDS: Final = frozenset({"loopback", "private", "public"})
# Of a search, not of a name (PS3.4 C.2.2.2.4), and the separator of values (PS3.5 6.2).
_NOT_OF_ONE: Final = frozenset("*?\\")


class OpeningKind(StrEnum):
    """What was opened."""

    PATIENT = "patient"  # one patient, by a person who may
    SEAL = "seal"  # a sealed account, by whoever had its envelope


class Verdict(StrEnum):
    """What a reviewer found."""

    JUSTIFIED = "justified"
    NOT_JUSTIFIED = "not-justified"


@dataclass(frozen=True, slots=True)
class Opened:
    """What a session has open, as it was when its bearer was read.

    `keys`: (issuer, ID) of the patients as the archive keys them. An ID without an issuer means the one its
    senders did not qualify either: the archive keeps those apart by sender.
    """

    opening_id: uuid.UUID
    kind: OpeningKind
    until: datetime
    keys: frozenset[tuple[str, str]] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class Review:
    """A verdict. `remark` says why; of what was not justified it must."""

    at: datetime
    by: str
    verdict: Verdict
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Opening:
    """One entry of the queue. Of a seal, patient and issuer are empty."""

    opening_id: uuid.UUID
    kind: OpeningKind
    session_id: uuid.UUID
    login: str
    origin: str
    since: datetime
    until: datetime
    issuer: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    reason: str = field(default="", repr=False)
    ended: datetime | None = None
    ended_by: str = ""
    review: Review | None = field(default=None, repr=False)

    def open(self, now: datetime) -> bool:
        """Whether it opens anything now."""
        return self.ended is None and now < self.until

    def overdue(self, now: datetime) -> bool:
        """Whether it should have been judged by now."""
        return self.review is None and now - self.since >= REVIEW_WITHIN


class Which(StrEnum):
    """Which entries somebody wants to see."""

    ALL = "all"
    UNREVIEWED = "unreviewed"
    REVIEWED = "reviewed"


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many openings wait for a verdict, for too long, and are open now."""

    unreviewed: int = 0
    overdue: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True)
class Seal:
    """What makes an account a sealed one. `broken`: when its envelope was first opened since."""

    at: datetime
    places: tuple[str, ...] = DEFAULT_PLACES
    broken: datetime | None = None


def _one_line(text: str) -> str:
    """Runs of white space as single blanks: what is typed in a field of several lines is one line here."""
    return " ".join(text.split())


def checked_reason(text: str) -> str:
    """Why the glass is broken, in a sentence. Raises Invalid."""
    reason = _one_line(text)
    if not REASON_LEAST <= len(reason) <= REASON_MOST or not reason.isprintable():
        raise Invalid(
            f"A reason has {REASON_LEAST} to {REASON_MOST} characters.",
            remedy="Say in a sentence why this patient's images are needed now.",
        )
    return reason


def checked_remark(text: str, verdict: Verdict) -> str:
    """What a reviewer says about it. Raises Invalid."""
    remark = _one_line(text)
    if len(remark) > REASON_MOST or not remark.isprintable():
        raise Invalid(f"A remark has at most {REASON_MOST} characters.")
    if verdict is Verdict.NOT_JUSTIFIED and len(remark) < REASON_LEAST:
        raise Invalid(
            "What was not justified needs a remark.",
            remedy="Say in a sentence what is done about it.",
        )
    return remark


def checked_patient(issuer: str, patient_id: str) -> tuple[str, str]:
    """(issuer, ID) of exactly one patient, as typed from a request form. Raises Invalid; says nothing of
    whether there is such a patient."""
    named = (issuer.strip(), patient_id.strip())
    for text in named:
        if len(text) > ID_MOST or not text.isprintable() or _NOT_OF_ONE & set(text):
            raise Invalid(
                f"A patient is named by an ID of at most {ID_MOST} characters, without *, ? and \\.",
                remedy="Type the ID as it stands on the request.",
            )
    if not named[1]:
        raise Invalid("Name one patient by the patient ID.")
    return named


def keyed(typed_issuer: str, kept_issuer: str) -> bool:
    """Whether an issuer as typed means the one a patient is kept under (`patients.model`).

    Empty means: stated by nobody, so that a key was made up for the sender; never that of a study whose
    object named no patient at all. What was stated and looks made up is kept behind a backslash.
    """
    if typed_issuer == "":
        return kept_issuer.startswith("~") and not kept_issuer.startswith("~study:")
    return kept_issuer == ("\\" + typed_issuer if typed_issuer.startswith("~") else typed_issuer)


def checked_places(places: Iterable[str]) -> tuple[str, ...]:
    """Network places: `loopback`, `private`, `public`, addresses and networks. Raises Invalid."""
    found: list[str] = []
    for text in places:
        place = text.strip().lower()
        if place not in _WORDS:
            try:
                place = str(ipaddress.ip_network(place, strict=False))
            except ValueError:
                raise Invalid(
                    f"{text!r} is no network place.",
                    remedy="Say loopback, private, public, or a network such as 10.20.0.0/16.",
                ) from None
        found.append(place)
    if not 0 < len(found) <= PLACES_MOST:
        raise Invalid(f"A sealed account is used from 1 to {PLACES_MOST} places.")
    return tuple(dict.fromkeys(found))


def allowed_from(places: Iterable[str], origin: str) -> bool:
    """Whether a network address is one of the places; what is no address is in none."""
    kind = network(origin)
    if kind == "unknown":
        return False
    address = ipaddress.ip_address(origin)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(
        place == kind if place in _WORDS else address in ipaddress.ip_network(place)
        for place in places
    )


# --- what is written ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpeningRow:
    """Something is opened. FactsChanged when its session has ended, is nobody's, or has a patient open."""

    opening: Opening


@dataclass(frozen=True, slots=True)
class OpeningEndedRow:
    """It is over before its time. FactsChanged when it was."""

    opening_id: uuid.UUID
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class OpeningReviewedRow:
    """It is judged. FactsChanged when it was."""

    opening_id: uuid.UUID
    review: Review


@dataclass(frozen=True, slots=True)
class SealRow:
    """An account is sealed: this password and nothing else opens it from now on."""

    person_id: uuid.UUID
    seal: Seal
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealBrokenRow:
    """The envelope was opened."""

    person_id: uuid.UUID
    at: datetime
