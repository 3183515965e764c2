"""The small parts below the DBOS worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightwell.backends.database.executors import DEAD_SECONDS, LEASE_SECONDS, Lease
from lightwell.backends.engine.desk import engine_id, key_of
from lightwell.backends.engine.identity import executor_id
from lightwell.backends.engine.serialization import JsonSerializer
from lightwell.kernel.errors import Broken, Conflict


@pytest.mark.parametrize(
    "value",
    [None, 1, "é", [1, [2]], {"a": {"b": None}}, {"args": ("settle", 1, {"n": [1]}), "kwargs": {}}],
)
def test_values_come_back(value: object) -> None:
    serializer = JsonSerializer()
    assert serializer.deserialize(serializer.serialize(value)) == value


def test_failures_come_back_without_data() -> None:
    serializer = JsonSerializer()
    back = serializer.deserialize(serializer.serialize(Conflict("No.", remedy="Yes.")))
    assert (type(back), str(back)) == (Conflict, "No. Yes.")
    text = serializer.serialize(ValueError("SMITH^JOHN"))
    assert "SMITH" not in text
    assert type(serializer.deserialize(text)) is Broken


def test_nothing_is_pickled() -> None:
    with pytest.raises(TypeError):
        JsonSerializer().serialize(object())


def test_a_run_is_known_by_tenant_and_id() -> None:
    assert key_of(engine_id((7, "settle:1.2/3:4"))) == (7, "settle:1.2/3:4")


def test_the_executors_name_is_kept(tmp_path: Path) -> None:
    made = executor_id(tmp_path)
    assert executor_id(tmp_path) == made
    (tmp_path / "other").mkdir()
    assert executor_id(tmp_path / "other") != made
    assert sorted(path.name for path in tmp_path.iterdir()) == ["executor-id", "other"]


def test_a_lease_ends_before_its_holder_is_declared_dead() -> None:
    now = [100.0]
    lease = Lease(lambda: now[0])
    assert not lease.held
    lease.renew(100.0)
    assert lease.held
    now[0] += LEASE_SECONDS
    assert not lease.held
    lease.renew(now[0])
    assert lease.held
    lease.lose()
    lease.renew(now[0])
    assert not lease.held, "what was taken away does not come back"
    assert LEASE_SECONDS < DEAD_SECONDS
