"""The matching engine's public face: what gateways and indexes of this room may use.

Gateways make a query with `build_query`; an index answers it with `find` over its `Candidates` and may
narrow with the folded keys. Whether something matches is decided inside and nowhere else.
"""

from __future__ import annotations

from lightwell.domain.archive.internal.asking import Key, build_query
from lightwell.domain.archive.internal.entries import (
    InstanceEntry,
    PatientEntry,
    SeriesEntry,
    StudyEntry,
    visible_series,
)
from lightwell.domain.archive.internal.finding import Candidates, Plan, Position, find, plan
from lightwell.domain.archive.internal.folding import (
    FOLD_LIMIT,
    KIND_GROUP,
    KIND_SOUND,
    KIND_WORD,
    fold,
    fold_group,
    sound,
    words,
    words_of,
)
from lightwell.domain.archive.internal.matching import (
    criterion,
    matches,
    spellings,
    text_tokens,
)
from lightwell.domain.archive.internal.presenting import layered, present

__all__ = [
    "FOLD_LIMIT",
    "KIND_GROUP",
    "KIND_SOUND",
    "KIND_WORD",
    "Candidates",
    "InstanceEntry",
    "Key",
    "PatientEntry",
    "Plan",
    "Position",
    "SeriesEntry",
    "StudyEntry",
    "build_query",
    "criterion",
    "find",
    "fold",
    "fold_group",
    "layered",
    "matches",
    "plan",
    "present",
    "sound",
    "spellings",
    "text_tokens",
    "visible_series",
    "words",
    "words_of",
]
