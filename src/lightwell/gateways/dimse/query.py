"""Query SCP: C-FIND, Patient Root and Study Root, all levels (PS3.4 Annex C).

Lenient about the hierarchy: unique keys of the levels above may be missing (relational queries are
always allowed), because the result is bounded anyway. The bound is visible: past it the query ends
with A700 instead of a success that would hide matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from lightwell.dicom import tags
from lightwell.dicom.dictionary import vr_of
from lightwell.domain.archive.levels import level_of
from lightwell.domain.archive.model import Attributes, Level
from lightwell.domain.archive.query import Found, Query
from lightwell.domain.archive.query_building import build_query
from lightwell.gateways.dimse.exchange import Exchange
from lightwell.gateways.dimse.identifiers import (
    LEVEL_NAMES,
    UNIQUE_KEYS,
    Identifier,
    read_identifier,
    write_identifier,
)
from lightwell.gateways.dimse.status import Service
from lightwell.kernel.errors import LightwellError
from lightwell.wire.dimse.items import ExtendedNegotiation
from lightwell.wire.dimse.status import (
    CANCEL,
    MISSING_ATTRIBUTE,
    OUT_OF_RESOURCES,
    PENDING,
    PENDING_OPTIONAL_KEYS_UNSUPPORTED,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
)

_STUDY_LEVELS: Final = frozenset({Level.STUDY, Level.SERIES, Level.INSTANCE})
_PATIENT_LEVELS: Final = _STUDY_LEVELS | {Level.PATIENT}

MODELS: Final[Mapping[str, frozenset[Level]]] = MappingProxyType(
    {
        "1.2.840.10008.5.1.4.1.2.1.1": _PATIENT_LEVELS,
        "1.2.840.10008.5.1.4.1.2.2.1": _STUDY_LEVELS,
    }
)
"""The information models we serve, and their levels."""

_DEPTH: Final = {level: depth for depth, level in enumerate(Level)}
_FIRST_PAGE: Final = 100  # the first answers should not wait for many


@dataclass(frozen=True, slots=True)
class Options:
    """What was agreed by SOP Class Extended Negotiation (PS3.4 Table C.5-1).

    Relational queries (field 1) are always done. Timezone adjustment (4) and conversion to enhanced
    multi-frame (5) never are.
    """

    combined_date_time: bool = False
    fuzzy: bool = False
    empty_value: bool = False
    multiple_value: bool = False

    @classmethod
    def of(cls, information: bytes) -> Options:
        """As asked for; fields left out are not wanted."""
        wanted = [flag == 1 for flag in information[:7].ljust(7, b"\0")]
        return cls(wanted[1], wanted[2], wanted[5], wanted[6])


def extended(asked: ExtendedNegotiation) -> bytes | None:
    """The answer to an extended negotiation of a query class; None for other classes."""
    if asked.SOPClassUID not in MODELS:
        return None
    options = Options.of(asked.information)
    flags = [True, options.combined_date_time, options.fuzzy, False, False]
    does = bytes([*flags, options.empty_value, options.multiple_value])
    return does[: max(len(asked.information), 1)]


def serve(exchange: Exchange) -> None:
    """Answer one C-FIND-RQ."""
    command, model = exchange.command, exchange.context.abstract_syntax
    if missing := command.missing():
        exchange.answer(MISSING_ATTRIBUTE, ErrorComment=f"{missing[0]} is missing")
        return
    if model not in MODELS or command.AffectedSOPClassUID != model:
        exchange.answer(SOP_CLASS_NOT_SUPPORTED)
        return
    session = exchange.session
    session.counters.add(queries=1)
    machine = session.actor.actor.machine.name
    if session.plain and not session.pace.takes(session.actor.tenant.key, machine):
        exchange.answer(OUT_OF_RESOURCES, ErrorComment="too many queries a minute: wait a little")
        return
    try:
        raw = exchange.data_set(exchange.connection.limits.identifier)
        identifier = read_identifier(raw, exchange.context.transfer_syntax, MODELS[model])
        _answer(exchange, identifier, Options.of(exchange.session.agreed(model)))
    except LightwellError as error:
        exchange.fail(error, Service.FIND)


def _answer(exchange: Exchange, identifier: Identifier, options: Options) -> None:
    wanted = _Wanted(identifier, exchange.session.request.called_ae)
    syntax = exchange.context.transfer_syntax
    for sent, found in enumerate(_search(exchange, identifier, options)):
        if exchange.is_cancelled():
            exchange.answer(CANCEL)
            return
        if sent == exchange.connection.limits.find_rows:
            exchange.answer(OUT_OF_RESOURCES, ErrorComment=f"more than {sent} matches: narrow it")
            return
        body = write_identifier(wanted.of(found), syntax, identifier.charsets)
        exchange.answer(wanted.status(found), (body,))
        exchange.session.counters.add(rows_found=1)
    exchange.answer(SUCCESS)


def _search(exchange: Exchange, identifier: Identifier, options: Options) -> Iterator[Found]:
    """Every match, page by page, so that no result lies whole in memory."""
    cursor: str | None = None
    size = min(_FIRST_PAGE, exchange.connection.limits.find_page)
    while True:
        exchange.session.still_named()
        query = _query(identifier, options, size, cursor)
        page = exchange.rooms.ask(exchange.rooms.archive.find(exchange.actor, query))
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return
        size = exchange.connection.limits.find_page


def _query(identifier: Identifier, options: Options, limit: int, cursor: str | None) -> Query:
    return build_query(
        identifier.level,
        identifier.search_keys(),
        fuzzy=options.fuzzy,
        empty_value_matching=options.empty_value,
        multiple_value_matching=options.multiple_value,
        combined_date_time=options.combined_date_time,
        limit=limit,
        cursor=cursor,
    )


class _Wanted:
    """What a response returns: the keys asked for, the unique key, and where to retrieve."""

    def __init__(self, identifier: Identifier, retrieve_ae: str) -> None:
        self._level = identifier.level
        unique = UNIQUE_KEYS[identifier.level]
        self._empty: Attributes = {
            f"{tag:08X}": {"vr": _vr(identifier, tag)} for tag in (*identifier.tags(), unique)
        }
        self._fixed: Attributes = {
            f"{tags.QueryRetrieveLevel:08X}": {"vr": "CS", "Value": [LEVEL_NAMES[self._level]]},
            f"{tags.RetrieveAETitle:08X}": {"vr": "AE", "Value": [retrieve_ae]},
        }
        self._below = tuple(
            f"{tag:08X}" for tag in identifier.tags() if _DEPTH[level_of(tag)] > _DEPTH[self._level]
        )

    def of(self, found: Found) -> Attributes:
        """The attributes of one response; a key without a value comes back empty."""
        known = found.attributes
        return {tag: known.get(tag, empty) for tag, empty in self._empty.items()} | self._fixed

    def status(self, found: Found) -> int:
        """Pending, with a warning when a key belongs to a level below and nothing computes it."""
        fixed = self._fixed
        if all(tag in found.attributes or tag in fixed for tag in self._below):
            return PENDING
        return PENDING_OPTIONAL_KEYS_UNSUPPORTED


def _vr(identifier: Identifier, tag: int) -> str:
    element = identifier.header.get(tag)
    return vr_of(tag) if element is None else element.vr
