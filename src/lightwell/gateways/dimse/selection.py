"""What a C-MOVE or C-GET is about: from the unique keys of its identifier to instances under leases.

The room is asked for a lease a study or series, and asked again every few seconds while instances
are sent: a lease that ended, or an image that was rejected meanwhile, is noticed then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lightwell.access.context import Context
from lightwell.dicom import tags
from lightwell.domain.archive.model import Lease, Level, Located
from lightwell.domain.archive.query import Found
from lightwell.domain.archive.query_building import Key, build_query
from lightwell.gateways.dimse.exchange import Rooms
from lightwell.gateways.dimse.identifiers import UNIQUE_KEYS, Identifier
from lightwell.kernel.errors import Busy, Invalid, Missing

RECHECK_SECONDS: Final = 5.0
STUDIES_LIMIT: Final = 5000
"""The most studies or series that one request may mean."""

_PAGE: Final = 500


@dataclass(slots=True)
class Part:
    """Instances to send under one lease, in reading order."""

    study_uid: str
    series_uid: str | None
    sop_uids: tuple[str, ...]
    lease: Lease
    asked: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """One instance to send, and the part it belongs to."""

    part: Part
    located: Located


class Selection:
    """The instances of one request."""

    def __init__(self, rooms: Rooms, actor: Context, parts: list[Part]) -> None:
        self._rooms = rooms
        self._actor = actor
        self._parts = parts

    def chosen(self) -> list[Chosen]:
        """Every instance as it was when the request came, series by series."""
        return [
            Chosen(part, part.lease.instances[uid]) for part in self._parts for uid in part.sop_uids
        ]

    def still(self, one: Chosen) -> Located | None:
        """The instance as it may be sent now; None when it may not any more."""
        part = one.part
        now = time.monotonic()
        if now - part.asked >= RECHECK_SECONDS or now >= part.lease.expires:
            try:
                part.lease = _lease(self._rooms, self._actor, part.study_uid, part.series_uid)
            except Missing:
                return None
            part.asked = now
        return part.lease.instances.get(one.located.sop_uid)

    def served(self, one: Chosen, size: int) -> None:
        """Count what was sent, for the closing record of the lease."""
        self._rooms.loop.call_soon_threadsafe(
            self._rooms.archive.used, self._actor, one.part.lease, 1, size
        )


def select(rooms: Rooms, actor: Context, identifier: Identifier) -> Selection:
    """The instances an identifier names; none when nothing matches.

    The unique key of its level must be given; those above it may be missing (relational retrieval).
    Raises Invalid, Refused, Busy, Unavailable.
    """
    parts = [
        part for scope in _scopes(rooms, actor, identifier) if (part := _part(rooms, actor, *scope))
    ]
    return Selection(rooms, actor, parts)


Scope = tuple[str, str | None, tuple[str, ...]]
"""Study UID, series UID or None, and the wanted SOP UIDs; () for all of them."""


def _scopes(rooms: Rooms, actor: Context, identifier: Identifier) -> Iterator[Scope]:
    level = identifier.level
    if level is Level.PATIENT:
        yield from ((study, None, ()) for study in _studies_of_patient(rooms, actor, identifier))
        return
    wanted = identifier.uids(UNIQUE_KEYS[level])
    if not wanted:
        raise Invalid("The unique key of the retrieve level is missing.")
    above = _patient_keys(identifier)
    studies = identifier.uids(tags.StudyInstanceUID)
    series = identifier.uids(tags.SeriesInstanceUID)
    if level is Level.STUDY and not above:
        yield from ((study, None, ()) for study in wanted)
    elif level is Level.SERIES and not above and len(studies) == 1:
        yield from ((studies[0], one, ()) for one in wanted)
    elif level is Level.INSTANCE and not above and len(studies) == 1 and len(series) <= 1:
        yield studies[0], series[0] if series else None, wanted
    else:
        if level is not Level.STUDY and studies:
            above.append(((tags.StudyInstanceUID,), "UI", list(studies)))
        if level is Level.INSTANCE and series:
            above.append(((tags.SeriesInstanceUID,), "UI", list(series)))
        yield from _looked_up(rooms, actor, level, wanted, above)


def _looked_up(
    rooms: Rooms, actor: Context, level: Level, wanted: tuple[str, ...], above: list[Key]
) -> Iterator[Scope]:
    """What no single study, or more than that, says where it is: every key that was given narrows."""
    series: dict[tuple[str, str | None], list[str]] = {}
    keys: list[Key] = [((UNIQUE_KEYS[level],), "UI", list(wanted)), *above]
    for found in _find(rooms, actor, level, keys):
        series.setdefault((found.study_uid, found.series_uid or None), []).append(found.sop_uid)
    for (study_uid, series_uid), sop_uids in series.items():
        yield study_uid, series_uid, tuple(sop_uids) if level is Level.INSTANCE else ()


def _patient_keys(identifier: Identifier) -> list[Key]:
    """The keys of the patient level that were given; unique ones, so without lists and wildcards."""
    keys: list[Key] = []
    for tag in (tags.PatientID, tags.IssuerOfPatientID):
        values = [value for value in identifier.header.strings(tag) if value != "*"]
        if len(values) > 1 or any(mark in value for value in values for mark in "*?"):
            raise Invalid("A retrieval takes one Patient ID, without wildcards.")
        if values:
            keys.append(((tag,), "LO", values[0]))
    return keys


def _studies_of_patient(rooms: Rooms, actor: Context, identifier: Identifier) -> list[str]:
    """The studies of one patient. An ID that several issuers have given names nobody."""
    keys = _patient_keys(identifier)
    if not keys or keys[0][0] != (tags.PatientID,):
        raise Invalid("A retrieval of a patient needs one Patient ID, without wildcards.")
    found = list(_find(rooms, actor, Level.STUDY, keys))
    if len({(study.issuer, study.pid) for study in found}) > 1:
        raise Invalid(
            "Several issuers have given that Patient ID.", remedy="Name the Issuer of Patient ID."
        )
    return [study.study_uid for study in found]


def _find(rooms: Rooms, actor: Context, level: Level, keys: list[Key]) -> Iterator[Found]:
    cursor: str | None = None
    count = 0
    while True:
        query = build_query(level, keys, limit=_PAGE, cursor=cursor)
        page = rooms.ask(rooms.archive.find(actor, query))
        count += len(page.items)
        if level is not Level.INSTANCE and count > STUDIES_LIMIT:
            raise Busy("The request means too many studies.", remedy="Name them one by one.")
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _part(
    rooms: Rooms, actor: Context, study_uid: str, series_uid: str | None, wanted: tuple[str, ...]
) -> Part | None:
    try:
        lease = _lease(rooms, actor, study_uid, series_uid)
    except Missing:
        return None
    names = frozenset(wanted)
    # A lease on the whole study serves for a series too, so it may hold more than was asked for.
    sop_uids = tuple(
        uid
        for uid, located in lease.instances.items()
        if series_uid in (None, located.series_uid) and (not names or uid in names)
    )
    return Part(study_uid, series_uid, sop_uids, lease, time.monotonic())


def _lease(rooms: Rooms, actor: Context, study_uid: str, series_uid: str | None) -> Lease:
    return rooms.ask(rooms.archive.locate(actor, study_uid, series_uid))
