"""Every well-formed test object, settled, and after the loss of the database (issue B, Must show 1, 4).

Sent by DIMSE, packed with `lightwell settle`, then compared bit for bit at every exit; then the database is
deleted, made anew from packs, manifests and journal, and everything is compared again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from lightwell.app.wiring import House
from lightwell.testing.corpus import Corpus, deal
from lightwell.testing.served import Served, serving
from tests.conversations.test_corpus import (
    NEVER_ON_THE_WEB,
    Shelf,
    fetch_all,
    found,
    listed,
    pairs_of,
    rewritten_rightly,
    send_all,
    shelves,
    taken_apart,
    wado,
)

# pydicom, the judge here, warns of what it finds odd in the objects; oddities are their purpose.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

SECONDS = 600.0  # of one command: a guard against hanging


@pytest.fixture(scope="module")
def packing() -> Iterator[Served]:
    """A server of this module's own, because its database is to be deleted."""
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def settled(packing: Served, corpus: Corpus) -> list[Shelf]:
    """The corpus, sent and settled."""
    dealt = deal(corpus.objects, lambda one: one.folder)
    made = shelves(packing, "p", dealt, by_folder=True)
    for shelf in made:
        report = send_all(packing, shelf)
        assert not report.failed
        assert {answer.status for answer in report.acknowledged} == {0}
        done = packing.run("settle", "--tenant", shelf.tenant, "--json", seconds=SECONDS)
        assert (done.returncode, json.loads(done.stdout)["damaged"]) == (0, []), done.stderr
    return made


@pytest.fixture(scope="module")
def web(packing: Served) -> Iterator[httpx.Client]:
    with httpx.Client(timeout=120, auth=packing.keys) as client:
        yield client


def reasons(served: Served) -> Counter[str]:
    """How every instance lies in the store, over all tenants; 'landed' where it is in no pack."""

    async def ask(house: House) -> list[tuple[str, int]]:
        async with house.work.session() as connection:
            rows = await connection.fetch(
                "SELECT coalesce(settled, 'landed') AS form, count(*) AS n FROM instance GROUP BY 1"
            )
        return [(row["form"], row["n"]) for row in rows]

    return Counter(dict(served.within(ask)))


def sound(served: Served) -> None:
    checked = served.run("fsck", "--deep", "--json", seconds=SECONDS)
    assert checked.returncode == 0, checked.stdout[-3000:]


def unpacked(served: Served, shelf: Shelf, folder: Path) -> list[str]:
    """Where `lightwell unpack` gives something else than what was sent."""
    done = served.run(
        *("unpack", "--tenant", shelf.tenant, "--to", str(folder), "--json"), seconds=SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    got = {}
    for path in folder.rglob("*.dcm"):
        given = taken_apart(path.read_bytes())
        got[path.stem] = (given.syntax, hashlib.sha256(given.data).hexdigest())
    return differing(shelf, got)


def differing(shelf: Shelf, got: dict[str, tuple[str, str]]) -> list[str]:
    wanted = {one.uid: (one.file.transfer_syntax, one.sha256) for one in shelf.objects}
    names = {one.uid: one.name for one in shelf.objects}
    wrong = [f"{names[uid]}: {got.get(uid)}" for uid in wanted if got.get(uid) != wanted[uid]]
    return wrong + [f"{uid}: never sent" for uid in got.keys() - wanted.keys()]


def by_wado(served: Served, web: httpx.Client, shelf: Shelf) -> list[str]:
    wrong, seen = [], set()
    objects = {one.uid: one for one in shelf.objects}
    for study in shelf.by_study():
        for given in wado(web, served.dicomweb(shelf.tenant), study):
            one = objects[given.sop_uid]
            seen.add(given.sop_uid)
            if one.file.transfer_syntax in NEVER_ON_THE_WEB:
                wrong += [f"{one.name}: {why}" for why in rewritten_rightly(one, given)]
            elif hashlib.sha256(given.data).hexdigest() != one.sha256:
                wrong.append(f"{one.name}: other bytes, {given.syntax}")
    return wrong + [f"{objects[uid].name}: not there" for uid in objects.keys() - seen]


def by_c_get(served: Served, shelf: Shelf) -> list[str]:
    studies = {study: pairs_of(objects) for study, objects in shelf.by_study().items()}
    return differing(shelf, fetch_all(served, shelf, studies))


def every_exit(
    served: Served, web: httpx.Client, all_shelves: Sequence[Shelf], folder: Path
) -> None:
    """Bit for bit by unpack, WADO-RS and C-GET."""
    wrong = []
    for shelf in all_shelves:
        wrong += [f"unpack: {why}" for why in unpacked(served, shelf, folder / shelf.tenant)]
        wrong += [f"WADO-RS: {why}" for why in by_wado(served, web, shelf)]
        wrong += [f"C-GET: {why}" for why in by_c_get(served, shelf)]
    assert wrong == [], "\n".join(wrong)


def shown(served: Served, web: httpx.Client, all_shelves: Sequence[Shelf]) -> list[Any]:
    """What queries answer, and the metadata of every study."""
    seen = []
    for shelf in all_shelves:
        root = served.dicomweb(shelf.tenant)
        metadata = []
        for study in sorted(shelf.by_study()):
            answer = web.get(f"{root}/studies/{study}/metadata")
            assert answer.status_code == 200, answer.text[:500]
            metadata.append(answer.json())
        seen.append((shelf.tenant, found(served, shelf), listed(web, root), metadata))
    return seen


def test_every_object_is_settled_and_gives_back_what_arrived(
    packing: Served, settled: list[Shelf], corpus: Corpus, web: httpx.Client, tmp_path: Path
) -> None:
    counted = reasons(packing)
    print(f"\n{counted.total()} objects settled: {dict(counted.most_common())}")
    different = sum(len({one.sha256 for one in shelf.objects}) for shelf in settled)
    assert counted.total() == different  # one file of the corpus is there twice
    assert sum(len(shelf.objects) for shelf in settled) == len(corpus.objects)
    assert not counted["landed"]
    assert counted["coded"] >= 300
    for bad in ("proof-failed", "codec-failed", "unreadable"):
        assert not counted[bad], bad
    sound(packing)
    every_exit(packing, web, settled, tmp_path)


def test_the_database_is_deleted_and_everything_comes_back(
    packing: Served, settled: list[Shelf], web: httpx.Client, tmp_path: Path
) -> None:
    before, counted = shown(packing, web, settled), reasons(packing)
    packing.stop()
    shutil.rmtree(packing.data / "postgres")
    done = packing.run("reindex", "--json", seconds=SECONDS)
    packing.keys.forget()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    packing.start()
    assert reasons(packing) == counted
    after = shown(packing, web, settled)
    for mine, theirs in zip(after, before, strict=True):
        assert mine == theirs, mine[0]
    sound(packing)
    every_exit(packing, web, settled, tmp_path)
