"""QIDO-RS (PS3.18 10.6): from a query string to the archive's one query model, and its rows back.

Owns the syntax of parameters. What matching means is the archive's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import orjson

from lightwell.dicom.tags import NAMED, tag_of
from lightwell.dicom.uids import acceptable_uid
from lightwell.domain.archive.api import Archive
from lightwell.domain.archive.model import Attributes, Level
from lightwell.domain.archive.query import Found, Query
from lightwell.domain.archive.query_building import Key, build_query
from lightwell.gateways.dicomweb.resources import CHANNEL, Target, check_charset, chosen
from lightwell.gateways.http.asgi import Header
from lightwell.gateways.http.exchange import Exchange
from lightwell.kernel.errors import Invalid
from lightwell.wire.mediatypes import Answer, ResourceCategory, negotiate

LIMIT: Final = 1000  # rows of one answer (reliability 3.11)
OFFSET_LIMIT: Final = 10_000_000
MORE: Final = b'299 lightwell "There are additional results that can be requested"'

Path = tuple[int, ...]


@dataclass(slots=True)
class Asked:
    """What a search request says, before anything is looked up."""

    keys: list[tuple[Path, str]] = field(default_factory=list)
    include: set[int] = field(default_factory=set)
    include_all: bool = False
    fuzzy: bool = False
    empty_value_matching: bool = False
    multiple_value_matching: bool = False
    limit: int = LIMIT
    offset: int = 0
    cursor: str | None = None
    order: str | None = None


_ANY_CASE: Final = {name.lower(): tag for name, tag in NAMED.items()}


def _tag(step: str) -> int:
    """A tag by its name. `patientId` means PatientID: ignored, it would find everybody's studies."""
    known = _ANY_CASE.get(step.lower())
    return tag_of(step) if known is None else known


def attribute_path(name: str) -> Path | None:
    """`PatientID`, `00100020` or `RequestAttributesSequence.00400009` as tags; None if unknown."""
    try:
        return tuple(_tag(step) for step in name.split("."))
    except (KeyError, ValueError, Invalid):
        return None


def _flag(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise Invalid(f"{name} is neither true nor false.")
    return value.lower() == "true"


def _count(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()) or len(value) > 18:
        raise Invalid(f"{name} is not a number of 0 or more.")
    return int(value)


# What other parts of the standard put into a query string, and what keeps caches apart.
_NO_KEYS: Final = re.compile(r"accept|accept-?charset|charset|_.*", re.IGNORECASE)


def parse(pairs: Iterable[tuple[str, str]]) -> Asked:
    """Read the parameters of a search (PS3.18 8.3.4).

    A name that is neither a parameter nor an attribute is refused: ignoring a mistyped `patientidd`
    or `PatientID[]` would show every patient. Eight hexadecimal digits are an attribute, if they may be
    one of a data set. Raises Invalid.
    """
    asked = Asked()
    for name, value in pairs:
        match name.lower():
            case "includefield":
                _include(asked, value)
            case "limit":
                asked.limit = _count("limit", value)
            case "offset":
                asked.offset = _count("offset", value)
            case "cursor":
                asked.cursor = value
            case "order":
                asked.order = value
            case "fuzzymatching":
                asked.fuzzy = _flag(name, value)
            case "emptyvaluematching":
                asked.empty_value_matching = _flag(name, value)
            case "multiplevaluematching":
                asked.multiple_value_matching = _flag(name, value)
            case _:
                path = attribute_path(name)
                if path is not None and path[0] >> 16 >= 8:
                    asked.keys.append((path, value))
                elif not _NO_KEYS.fullmatch(name):
                    raise Invalid(
                        f"There is no attribute {name[:64]}.", remedy="Check its spelling (PS3.6)."
                    )
    return asked


def _include(asked: Asked, value: str) -> None:
    for name in value.split(","):
        if name.strip().lower() == "all":
            asked.include_all = True
        elif (path := attribute_path(name.strip())) is not None:
            asked.include.add(path[0])


def query_of(level: Level, target: Target | None, asked: Asked) -> Query:
    """The query that a search at this address asks. Raises Invalid, naming the key."""
    keys: list[Key] = [(path, None, value) for path, value in asked.keys]
    return build_query(
        level,
        keys,
        study_uids=(target.study_uid,) if target else (),
        series_uids=(target.series_uid,) if target and target.series_uid else (),
        fuzzy=asked.fuzzy,
        empty_value_matching=asked.empty_value_matching,
        multiple_value_matching=asked.multiple_value_matching,
        comma_lists=True,
        zero_length_is_empty=asked.empty_value_matching,
        include=asked.include,
        include_all=asked.include_all,
        limit=min(asked.limit, LIMIT),
        offset=min(asked.offset, OFFSET_LIMIT),
        cursor=asked.cursor,
        order=asked.order or "-StudyDate",
    )


def row(found: Found, root: str) -> Attributes:
    """One match as DICOM JSON, with the address it can be retrieved from."""
    attributes = dict(found.attributes)
    if found.study_uid:
        target = Target(found.study_uid, found.series_uid or None, found.sop_uid or None)
        attributes["00081190"] = {"vr": "UR", "Value": [root + target.path]}
        attributes.setdefault("00080056", {"vr": "CS", "Value": ["ONLINE"]})
    return dict(sorted(attributes.items()))


class Search:
    """Handlers of the search transactions; the address says the level and the parents."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def studies(self, x: Exchange) -> None:
        """`GET …/studies`"""
        await self._search(x, Level.STUDY)

    async def series(self, x: Exchange) -> None:
        """`GET …/series`, `GET …/studies/{study}/series`"""
        await self._search(x, Level.SERIES)

    async def instances(self, x: Exchange) -> None:
        """`GET …/instances`, also below a study or series."""
        await self._search(x, Level.INSTANCE)

    async def _search(self, x: Exchange, level: Level) -> None:
        check_charset(x)
        answer: Answer = chosen(negotiate(ResourceCategory.SEARCH, x.accept, x.asked("accept")))
        target = None
        if "study" in x.names:
            target = Target(x.names["study"], x.names.get("series"))
        asked = parse(x.query)
        headers: list[Header] = [
            (b"cache-control", b"private, no-cache"),
            (b"vary", b"Accept, Accept-Encoding"),
        ]
        uids = (target.study_uid, target.series_uid or "1") if target else ()
        if asked.limit == 0 or not all(map(acceptable_uid, uids)):
            await x.reply(200, b"[]", answer.media_type, headers)
            return
        page = await self._archive.find(x.context(CHANNEL), query_of(level, target, asked))
        root = f"{x.root}/dicomweb"
        if page.next_cursor is not None:
            headers.append((b"warning", MORE))
            headers.append((b"x-next-cursor", page.next_cursor.encode("ascii")))
        # Always a list: 2026a replaced 204 by 200 with an empty one, and every client reads that.
        body = orjson.dumps([row(found, root) for found in page.items])
        await x.reply(200, body, answer.media_type, headers)
