"""The judge: what was acknowledged against what is kept, and every row against what was sent."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

from lightwell.access.audit import Outcome as Ended
from lightwell.access.context import operator_context
from lightwell.domain.archive.finding import build_query
from lightwell.domain.archive.model import Landed, Level, Outcome
from lightwell.domain.patients.model import Agreement, PatientFacts, compare
from lightwell.kernel.errors import LightwellError
from lightwell.testing.sim.senders import Answer, Diary, cast
from lightwell.testing.sim.world import TENANT, Process, World

_JUDGE = operator_context(TENANT, "judge")
STUDY_INSTANCES = "00201208"  # Number of Study Related Instances


def data_set_of(world: World, landed: Landed) -> bytes | None:
    """The data set as it lies there now; None when the bytes are gone or short."""
    if landed.inline is not None:
        return landed.inline[landed.data_offset :]
    was_calm, world.calm = world.calm, True
    try:
        start, end = landed.offset + landed.data_offset, landed.offset + landed.length
        return world.store.read(landed.key, start, end - start)
    except LightwellError:
        return None
    finally:
        world.calm = was_calm


def is_whole(world: World, landed: Landed) -> bool:
    """Whether the data set can be read and is what arrived."""
    data = data_set_of(world, landed)
    return data is not None and hashlib.sha256(data).digest() == landed.sha256


def kept(world: World) -> Iterator[tuple[str, str, str, Landed]]:
    """Every row as (state, SOP UID, digest, place): 'current' ones and those kept aside."""
    for record in world.tables.instances.values():
        landed = record.landed
        yield "current", record.facts.sop_uid, landed.sha256.hex(), landed
    for aside in world.tables.qc.values():
        landed = aside.row.landed
        yield aside.row.kind, aside.row.sop_uid, landed.sha256.hex(), landed


def check_acknowledged(world: World, diary: Diary) -> list[str]:
    """I1: what was acknowledged is kept under its UID, with the bytes that were sent."""
    whole = {(uid, digest) for _, uid, digest, landed in kept(world) if is_whole(world, landed)}
    return [
        f"acknowledged and lost: {answer.sop_uid} ({answer.outcome}, {answer.sha256[:8]})"
        for answer in diary.acknowledged()
        if (answer.sop_uid, answer.sha256) not in whole
    ]


async def check(world: World, diary: Diary, crashes: int) -> list[str]:
    """All invariants, when the storm is over and every sender is content."""
    process = world.alive()[0]
    return [
        *check_acknowledged(world, diary),
        *_rows(world, diary),
        *_patients(world),
        *_audit(world),
        *_answers(world, diary),
        *_weather(world, diary, crashes),
        *await _counters(world, process),
        *await _readable(world, diary, process),
        *(f"an error nobody met: {what}" for what in world.unhandled),
    ]


def _rows(world: World, diary: Diary) -> Iterator[str]:
    """I2 and no phantoms: each row has its bytes, and somebody sent them."""
    for state, uid, digest, landed in kept(world):
        if not is_whole(world, landed):
            yield f"a {state} row without its bytes: {uid}"
        if digest not in diary.sent.get(uid, set()):
            yield f"a {state} row nobody sent: {uid}"


def _patients(world: World) -> Iterator[str]:
    """No mix-up: what lies under a patient agrees with her, and nothing lies under two."""
    facts = {built.sha256: built for built in cast()}
    for record in world.tables.instances.values():
        study = world.tables.studies.get(record.facts.study_uid)
        patient = world.tables.patients.get(study.patient) if study else None
        if patient is None:
            yield f"an instance without patient or study: {record.facts.sop_uid}"
            continue
        claimed = _claimed(facts[record.landed.sha256.hex()].dataset)
        if claimed.pid != patient.facts.pid:
            yield f"an image under another patient's ID: {record.facts.sop_uid}"
        if compare(patient.facts, claimed) is Agreement.CONTRADICTS:
            yield f"an image under a contradicting patient: {record.facts.sop_uid}"


def _claimed(data_set: bytes) -> PatientFacts:
    """Who the object says it is of, read without our own scanner (Explicit VR Little Endian)."""

    def value(tag: bytes) -> str:
        at = data_set.index(tag)
        length = int.from_bytes(data_set[at + 6 : at + 8], "little")
        return data_set[at + 8 : at + 8 + length].decode("ascii").strip()

    name, pid = value(b"\x10\x00\x10\x00PN"), value(b"\x10\x00\x20\x00LO")
    return PatientFacts("HOSP", pid, name, value(b"\x10\x00\x30\x00DA"))


def _audit(world: World) -> Iterator[str]:
    """I6: each row came with its audit record."""
    done = {r.subject for r in world.tables.audit.values() if r.outcome is Ended.DONE}
    for state, uid, _, _ in kept(world):
        if uid not in done:
            yield f"a {state} row without an audit record: {uid}"


def _answers(world: World, diary: Diary) -> Iterator[str]:
    """Each answer has a reason, and no object is stored twice."""
    stored = Counter(a.sop_uid for a in diary.answers if a.outcome is Outcome.STORED)
    for uid, times in stored.items():
        if times > 1:
            yield f"acknowledged as new {times} times: {uid}"
    for answer in diary.answers:
        if not _explained(world, answer, diary):
            yield f"unexplained {answer.outcome} ({answer.reason}) for {answer.sop_uid}"
    for uid in diary.given_up:
        yield f"never taken, however often it was sent: {uid}"


def _explained(world: World, answer: Answer, diary: Diary) -> bool:
    """Whether something that was sent accounts for the outcome."""
    match answer.outcome:
        case Outcome.STORED:
            return True
        case Outcome.DUPLICATE:
            repeated = diary.tries[answer.sop_uid, answer.sha256] > 1
            return repeated or answer.sop_uid in world.written_twice
        case Outcome.CANDIDATE | Outcome.CONFLICT:
            return len(diary.sent[answer.sop_uid]) > 1
        case Outcome.HELD:
            return answer.reason in ("patient-contradicts-id", "study-of-other-patient")
        case _:
            return False


def _weather(world: World, diary: Diary, crashes: int) -> Iterator[str]:
    """Nothing fails in fine weather. (The last restart of a history is always there.)"""
    if not world.faults.any and crashes == 0 and world.injected <= 1 and diary.failures:
        yield f"failures without a fault: {Counter(diary.failures)}"


async def _counters(world: World, process: Process) -> list[str]:
    """I4: totals and counts of studies equal a recount of the rows."""
    instances = world.tables.instances.values()
    states = Counter(state for state, *_ in kept(world))
    totals = await process.archive.totals(_JUDGE)
    found: list[str] = []
    recount = (
        len(instances),
        sum(record.landed.length for record in instances),
        states["held"],
        states["candidate"],
        states["conflict"],
    )
    said = (totals.instances, totals.bytes, totals.held, totals.candidates, totals.conflicts)
    if said != recount:
        found.append(f"totals {said} where a recount gives {recount}")
    by_study = Counter(record.facts.study_uid for record in instances)
    page = await process.archive.find(_JUDGE, build_query(Level.STUDY, []))
    listed = {f.study_uid: f.attributes[STUDY_INSTANCES]["Value"][0] for f in page.items}
    if {uid: int(n) for uid, n in listed.items()} != dict(by_study):
        found.append(f"studies count {listed} where a recount gives {dict(by_study)}")
    return found


async def _readable(world: World, diary: Diary, process: Process) -> list[str]:
    """What was acknowledged as stored is served through the front door, bit for bit."""
    found = []
    stored = {a.sop_uid: a.sha256 for a in diary.answers if a.outcome is Outcome.STORED}
    for uid, digest in stored.items():
        record = world.tables.instances.get(uid)
        if record is None:
            continue  # reported as lost already
        lease = await process.archive.locate(_JUDGE, record.facts.study_uid, None, uid)
        data = b"".join(process.archive.data_set(lease.instances[uid], record.facts.syntax))
        if hashlib.sha256(data).hexdigest() != digest:
            found.append(f"served otherwise than acknowledged: {uid}")
    return found
