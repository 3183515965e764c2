"""The database is killed under the worker, and comes back: no run is lost, and none fails for it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightwell.app.data_folder import make_data_folder
from lightwell.app.durable import Durable
from lightwell.app.settings import Endpoint, Settings
from lightwell.app.wiring import House, furnish, open_house
from lightwell.backends.database.embedded import EmbeddedPostgres
from lightwell.backends.engine.schema import migrate_engine
from lightwell.kernel.errors import LightwellError
from lightwell.testing.durable import Notes, workflows
from lightwell.workflows.ports import FINISHED, State

DEADLINE_SECONDS = 120.0


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A data folder that the database's own user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="lightwell-test-", dir="/tmp"))
    folder.chmod(0o755)
    anywhere = Endpoint("127.0.0.1", 0)
    made = Settings(data=folder / "data", http=anywhere, dimse=anywhere)
    make_data_folder(made.data)
    yield made
    shutil.rmtree(folder, ignore_errors=True)


async def states(house: House, names: list[str]) -> list[State | None]:
    """How the runs are; None while nobody can say."""
    try:
        tenant = await house.tenants.named()
        return [(await house.engine.status(tenant, name)).state for name in names]
    except LightwellError:
        return [None]


# Shorter than the lease, when the worker goes on; and longer, when it begins anew.
@pytest.mark.parametrize("seconds", [4, 11])
async def test_runs_outlive_their_database(
    settings: Settings, tmp_path: Path, seconds: float
) -> None:
    server = EmbeddedPostgres(settings.data)
    info = await asyncio.to_thread(server.start)
    notes, stop = Notes(tmp_path / "notes"), asyncio.Event()
    try:
        await furnish(settings, info)
        await migrate_engine(info)
        house = open_house(settings, info, examine=False)
        durable = Durable(house, workflows=workflows(notes), rules=())
        tasks = [asyncio.create_task(task) for task in durable.tasks(stop)]
        await asyncio.wait_for(durable.worker.launched.wait(), DEADLINE_SECONDS)
        tenant = await house.tenants.named()
        names = ["slow", "sleeper", "listener"]
        for name in names:
            await house.engine.start(tenant, name, name, {"seconds": 3, "timeout": 8})
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (notes.count("middle") and notes.count("before")):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        postmaster = settings.data / "postgres" / "cluster" / "postmaster.pid"
        os.kill(int(postmaster.read_text().split()[0]), signal.SIGKILL)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(server.start)
        while not set(found := await states(house, names)) <= FINISHED:
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.2)
        assert found == [State.DONE] * 3
        assert notes.count("first") == notes.count("before") == 1
        assert notes.count("last") >= 1
        stop.set()
        await asyncio.gather(*tasks)
        await durable.close()
        await house.close()
    finally:
        stop.set()
        await asyncio.to_thread(server.stop)
