"""From the keys of a C-FIND identifier or of a QIDO-RS request to a `Query`. Pure.

The gateways only translate syntax: they name each key by its path of tags and hand over its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lightwell.dicom.dictionary import vr_of
from lightwell.domain.archive.internal import moments
from lightwell.domain.archive.internal.matching import criterion
from lightwell.domain.archive.model import Level
from lightwell.domain.archive.query import Criterion, DateTimeRange, Match, Query
from lightwell.kernel.errors import Invalid

Path = tuple[int, ...]  # (0x00400275, 0x00400009): a key within a sequence
Key = tuple[Path, str | None, str | Sequence[str]]

KEYS_LIMIT = 512
DEPTH_LIMIT = 8
PAGE_LIMIT = 5000

_STUDY_UID, _SERIES_UID, _SOP_UID = 0x0020000D, 0x0020000E, 0x00080018
# They say how to read the identifier, not what to look for: (0008,0005), (0008,0052), (0008,0053).
_NOT_KEYS = frozenset({0x00080005, 0x00080052, 0x00080053})
# Date and time attributes that are one point in time together (PS3.4 C.2.2.2.5.4).
_PAIRS = (
    (0x00080020, 0x00080030),
    (0x00080021, 0x00080031),
    (0x00080022, 0x00080032),
    (0x00080023, 0x00080033),
    (0x00080012, 0x00080013),
    (0x00100030, 0x00100032),
    (0x00400244, 0x00400245),
)


@dataclass(slots=True)
class _Node:
    """One key while the paths are gathered into a tree."""

    vr: str
    values: list[str] = field(default_factory=list)
    below: dict[int, _Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Options:
    fuzzy: bool
    empty: bool
    multiple: bool
    commas: bool
    zero_length_is_empty: bool


def build_query(
    level: Level,
    keys: Iterable[Key],
    *,
    study_uids: Sequence[str] = (),
    series_uids: Sequence[str] = (),
    sop_uids: Sequence[str] = (),
    fuzzy: bool = False,
    empty_value_matching: bool = False,
    multiple_value_matching: bool = False,
    combined_date_time: bool = False,
    comma_lists: bool = False,
    zero_length_is_empty: bool = False,
    include: Iterable[int] = (),
    include_all: bool = False,
    limit: int = 100,
    offset: int = 0,
    cursor: str | None = None,
    order: str = "-StudyDate",
    text: str = "",
    modality: str = "",
) -> Query:
    """Assemble the query both doors ask.

    `keys` are (path of tags, VR or None for the dictionary's, text or values). The named UIDs are
    those of the resource or of the unique keys. `comma_lists` (QIDO-RS) lets a comma separate UIDs,
    and other values under `multiple_value_matching`. `zero_length_is_empty` (QIDO-RS with
    `emptyvaluematching=true`) makes a key without text ask for empty values; in C-FIND such a key is
    universal always and `""` asks for empty. Tags of all keys are added to `include`.
    Raises Invalid with the key that cannot be used.
    """
    options = _Options(
        fuzzy, empty_value_matching, multiple_value_matching, comma_lists, zero_length_is_empty
    )
    tree = _gather(keys, options)
    overnight = {time for date, time in _PAIRS if combined_date_time and date in tree}
    criteria = [
        _criterion(tag, node, options, overnight=tag in overnight) for tag, node in tree.items()
    ]
    for tag, uids in ((_STUDY_UID, study_uids), (_SERIES_UID, series_uids), (_SOP_UID, sop_uids)):
        if uids:
            criteria.append(criterion(tag, "UI", list(uids)))
    combined: list[DateTimeRange] = []
    if combined_date_time:
        criteria, combined = _combine(criteria)
    return Query(
        level=level,
        criteria=tuple(criteria),
        combined=tuple(combined),
        include=frozenset(include) | frozenset(tree),
        include_all=include_all,
        limit=max(1, min(limit, PAGE_LIMIT)),
        offset=max(0, offset),
        cursor=cursor,
        order=order,
        text=text[:256],
        modality=modality.strip()[:16],
    )


def _gather(keys: Iterable[Key], options: _Options) -> dict[int, _Node]:
    tree: dict[int, _Node] = {}
    for count, (path, vr, raw) in enumerate(keys, start=1):
        if count > KEYS_LIMIT:
            raise Invalid(f"More than {KEYS_LIMIT} search keys.", remedy="Ask for less at once.")
        if not path or len(path) > DEPTH_LIMIT:
            raise Invalid(
                f"A search key lies {len(path)} sequences deep; {DEPTH_LIMIT} are allowed.",
                remedy="Leave that key out.",
            )
        if path[0] in _NOT_KEYS or path[0] >> 16 < 8 or not path[0] & 0xFFFF:
            continue
        _plant(tree, path, vr, raw, options)
    return tree


def _plant(
    tree: dict[int, _Node], path: Path, vr: str | None, raw: str | Sequence[str], options: _Options
) -> None:
    branch = tree
    for tag in path[:-1]:
        branch = branch.setdefault(tag, _Node("SQ")).below
    leaf = path[-1]
    node = branch.setdefault(leaf, _Node(vr or vr_of(leaf)))
    texts = [raw] if isinstance(raw, str) else list(raw)
    if options.commas and (node.vr == "UI" or options.multiple):
        texts = [part for text in texts for part in text.split(",")]
    if options.commas and node.values and node.vr != "UI" and not options.multiple:
        # ?PatientID=A&PatientID=B would have to match both; asking for either would widen.
        raise Invalid(
            f"The search key ({leaf >> 16:04X},{leaf & 0xFFFF:04X}) is given twice.",
            remedy="Give it once, or ask for several values with multiplevaluematching=true.",
        )
    node.values += texts


def _criterion(tag: int, node: _Node, options: _Options, *, overnight: bool = False) -> Criterion:
    items = [_criterion(below, child, options) for below, child in node.below.items()]
    values = node.values
    if options.empty and options.zero_length_is_empty and values and not "".join(values).strip():
        values = ['""']
    return criterion(
        tag,
        node.vr,
        values,
        fuzzy=options.fuzzy,
        empty_value_matching=options.empty,
        multiple_value_matching=options.multiple,
        items=items,
        overnight=overnight,
    )


def _combine(criteria: list[Criterion]) -> tuple[list[Criterion], list[DateTimeRange]]:
    """Replace each date and time pair, of which at least one is a range, by one interval."""
    by_tag = {key.tag: key for key in criteria}
    combined: list[DateTimeRange] = []
    gone: set[int] = set()
    for date_tag, time_tag in _PAIRS:
        date, time = by_tag.get(date_tag), by_tag.get(time_tag)
        if not date or not time or time.kind is not Match.RANGE:
            continue
        if date.kind not in (Match.SINGLE, Match.RANGE):
            continue
        combined.append(_interval(date, time))
        gone |= {date_tag, time_tag}
    return [key for key in criteria if key.tag not in gone], combined


def _interval(date: Criterion, time: Criterion) -> DateTimeRange:
    """Ends as digits 'YYYYMMDDHHMMSSFFFFFF'; a missing time is the first or last of its day."""
    first_day, last_day = (date.values * 2)[:2]
    first, last = moments.time(time.values[0]), moments.time(time.values[1])
    low = first_day and first_day + (first.low if first else "000000").replace(".", "")
    high = last_day and last_day + (last.high if last else "235959").replace(".", "")
    return DateTimeRange(date.tag, time.tag, low, high)
