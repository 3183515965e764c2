"""What a series may hold and a store may do (issue B, Bad input): originals stay until the proof."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lightwell.access.context import Context
from lightwell.app.settling import settling_of
from lightwell.app.wiring import House
from lightwell.domain.archive.keys import DERIVED, MANIFEST, PACK
from lightwell.domain.archive.model import Outcome
from lightwell.domain.archive.ports import BlobSink
from lightwell.kernel.errors import LightwellError
from lightwell.testing.builders import BuiltInstance, a_study, stable_uid
from lightwell.testing.raw_objects import RawObject
from tests.integration.test_reindex import BIG, answers, keep
from tests.integration.test_reindex_packs import again, keep_all, keys, places, served, sound
from tests.unit.domain.archive.internal.packing.test_recipe_table import CODED, REFUSED, STRAYS

Harm = Callable[[Any, str], None]


class Liar:
    """A store that answers as if all were well, and does something else to objects of one kind."""

    def __init__(self, store: Any, kind: str, harm: Harm) -> None:
        self._store, self._kind, self._harm = store, kind, harm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _after(self, key: str) -> None:
        if f"/{self._kind}/" in key:
            self._harm(self._store, key)

    def put(self, key: str, data: Any, *, replace: bool = False) -> None:
        self._store.put(key, data, replace=replace)
        self._after(key)

    def begin(self, key: str) -> Any:
        return LyingSink(self._store.begin(key), self._after)


class LyingSink:
    def __init__(self, sink: BlobSink, after: Callable[[str], None]) -> None:
        self._sink, self._after = sink, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)

    def seal(self) -> None:
        self._sink.seal()
        self._after(self._sink.key)


def keeps_nothing(store: Any, key: str) -> None:
    store.delete(key)


def keeps_half(store: Any, key: str) -> None:
    data = store.read(key)
    store.delete(key)
    store.put(key, data[: len(data) // 2])


def keeps_another_bit(store: Any, key: str) -> None:
    data = bytearray(store.read(key))
    data[len(data) // 2] ^= 4
    store.delete(key)
    store.put(key, bytes(data))


@pytest.mark.parametrize("kind", [PACK, DERIVED, MANIFEST])
@pytest.mark.parametrize("harm", [keeps_nothing, keeps_half, keeps_another_bit])
async def test_a_store_that_says_yes_and_keeps_something_else_switches_nothing(
    house: House, context: Context, kind: str, harm: Harm
) -> None:
    study = a_study("P1", "HOSP").with_series("CT", instances=3, **BIG)
    await keep_all(house, context, study)
    before = [at.landed for at in await places(house, context, study)]
    honest = house.blobs
    settle = (context, study.study_uid, study.series_uid())
    house.blobs = Liar(honest, kind, harm)  # type: ignore[assignment]
    try:
        with pytest.raises(LightwellError):
            await settling_of(house).settle(*settle)
    finally:
        house.blobs = honest
    assert [at.landed for at in await places(house, context, study)] == before
    for left in (PACK, DERIVED, MANIFEST):
        assert keys(house, context, left) == []
    for at, built in zip(await places(house, context, study), study.objects(), strict=True):
        assert await served(house, at) == built.dataset
    await sound(house, context)
    assert (await settling_of(house).settle(*settle)).instances == 3
    await sound(house, context)


def numbered(made: RawObject, number: int) -> RawObject:
    """The same under a UID of its own: the tables use one for all objects of the same pixels."""
    uid = f"{made.sop_uid[:-3]}{number:03}"
    assert made.data_set.count(made.sop_uid.encode()) == 1
    data = made.data_set.replace(made.sop_uid.encode(), uid.encode())
    return replace(made, data_set=data, sop_uid=uid)


def as_built(made: RawObject) -> BuiltInstance:
    uids = stable_uid("raw-study"), stable_uid("raw-series")
    return BuiltInstance(b"", made.data_set, made.sop_class, made.sop_uid, made.syntax, *uids)


async def test_every_form_of_pixels_in_one_series_settles_and_comes_back(
    house: House, context: Context
) -> None:
    """Stray bits, signed objects, 1 bit, float, RGB, palette, odd lengths, foreign syntaxes: one series."""
    tables = [*REFUSED.values(), *STRAYS.values(), *CODED.values()]
    made = {
        one.sop_uid: one for one in (numbered(each, number) for number, each in enumerate(tables))
    }
    kept = {}
    for uid, one in made.items():
        outcome = await keep(house, context, as_built(one))
        if outcome is Outcome.STORED:
            kept[uid] = one
    assert len(kept) == len(tables), made.keys() - kept.keys()
    study, series = stable_uid("raw-study"), stable_uid("raw-series")
    done = await settling_of(house).settle(context, study, series)
    print(f"\n{done.instances} forms, {done.coded} coded, {dict(done.reasons or {})}")
    assert done.instances == len(kept)
    assert not {"proof-failed", "codec-failed"} & (done.reasons or {}).keys()
    wanted = {
        "signed-object",
        "float",
        "one-bit",
        "32-bit",
        "lossy-flag",
        "short-value",
        "disorder",
    }
    assert wanted <= (done.reasons or {}).keys()

    async def compared(one: House) -> Counter[bool]:
        one.archive.forget(context, study)
        lease = await one.archive.locate(context, study)
        assert lease.instances.keys() == kept.keys()
        counted: Counter[bool] = Counter()
        for uid, at in lease.instances.items():
            data = await served(one, at)
            assert hashlib.sha256(data).digest() == kept[uid].sha256, uid
            counted[at.landed.coded is not None] += 1
        return counted

    counted = await compared(house)
    assert counted[True] == done.coded
    before = await answers(house, context)
    await sound(house, context)
    async with again(house) as (fresh, report):
        assert (report.found, report.damaged, report.findings) == (len(kept), 0, [])
        assert await compared(fresh) == counted
        after = await answers(fresh, context)
        for name in before.keys() - {"blobs"}:
            assert after[name] == before[name], name
        await sound(fresh, context)
