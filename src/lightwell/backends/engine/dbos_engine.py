"""The worker: carries runs out with DBOS, under a lease that it must keep renewing.

The library runs bodies on a loop and threads of its own, so that nothing it does can stall the process;
steps come back to the process's loop, where the rooms and their connections live. A few steps are
carried out at a time (`at_once`), each within a turn of the gate; bodies that wait cost nothing
but one of `PLACES`.

Fencing, outermost first: a worker whose lease ran out stops its steps and the library; a step is begun
only when the run's row still names this incarnation; the library records a result only for the run's
present owner; and the run's last commit looks at the rows it changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from uuid import UUID

from dbos import DBOS
from dbos import error as dbos_error
from sqlalchemy.exc import SQLAlchemyError

from lightwell.backends.database.executors import BEAT_SECONDS, Executors, Lease
from lightwell.backends.database.pool import FAILURES, Database
from lightwell.backends.database.roles import ConnectionInfo, Role
from lightwell.backends.database.run_book import DEATHS, Key, NotMine, Progress, RunBook
from lightwell.backends.engine.dbos_run import DbosRun
from lightwell.backends.engine.desk import APPLICATION, QUEUE, VERSION, WORKFLOW
from lightwell.backends.engine.library_log import route_logging
from lightwell.backends.engine.schema import SCHEMA
from lightwell.backends.engine.serialization import JsonSerializer
from lightwell.kernel.errors import Broken, LightwellError, Unavailable
from lightwell.workflows.ports import Json, State, Workflows
from lightwell.workflows.steps import Turn, carry_out
from lightwell.workflows.values import told

log = logging.getLogger("lightwell.engine")

PLACES = 200  # runs begun and not ended, in one worker
THREADS = 16
POOL = 6
POLL_SECONDS = 1.0  # of the engine: each poll costs this process more than all its other idle work
REPORT_SECONDS = 1.0
PAUSE_SECONDS = 1.0

T = TypeVar("T")


class DbosWorker:
    """One a process: the library is a singleton. `run` it on the loop of the rooms."""

    def __init__(
        self,
        info: ConnectionInfo,
        work: Database,
        workflows: Workflows,
        *,
        executor: str,
        at_once: int = 2,
        gate: Turn = contextlib.nullcontext,
    ) -> None:
        self._info = info
        self._work = work
        self._workflows = workflows
        self._executor = executor
        self._executors = Executors(work)
        self._gate = gate
        self._places = asyncio.Semaphore(at_once)
        self._lease = Lease(time.monotonic)
        self._book = RunBook(work, executor, UUID(int=0))
        self._steps: set[asyncio.Task[Any]] = set()
        self._news: dict[Key, Progress] = {}
        self._last: dict[Key, Progress] = {}  # of runs under way, reported or not
        self._news_lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.launched = asyncio.Event()
        """Set while runs are carried out."""

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop. A lost lease or database ends this incarnation, and a new one begins."""
        self._loop = asyncio.get_running_loop()
        while not stop.is_set():
            try:
                await self._serve(stop)
            except (
                LightwellError,
                dbos_error.DBOSException,
                SQLAlchemyError,
                *FAILURES,
            ) as error:
                log.warning("the work engine begins anew: %s", type(error).__name__)
            await _pause(stop, PAUSE_SECONDS)

    async def _serve(self, stop: asyncio.Event) -> None:
        asked_at = time.monotonic()
        incarnation = await self._executors.register(self._executor)
        self._lease = Lease(time.monotonic)
        self._lease.renew(asked_at)
        self._book = RunBook(self._work, self._executor, incarnation)
        report = asyncio.create_task(self._report())
        beat = asyncio.create_task(self._beat(incarnation, stop))
        try:
            await asyncio.to_thread(self._launch)
            self.launched.set()
            log.info("worker %s carries out runs", self._executor)
            await beat
        finally:
            self.launched.clear()
            for task in (beat, report, *self._steps):
                task.cancel()
            held = self._lease.held
            self._lease.lose()  # a body that stumbles over the library's end has not failed
            await asyncio.to_thread(_quit)
            if held:
                await self._book.release()
                await self._executors.leave(self._executor, incarnation)

    async def _beat(self, incarnation: UUID, stop: asyncio.Event) -> None:
        """Renew the lease; returns when told to stop or when the lease is lost."""
        while not stop.is_set():
            asked_at = time.monotonic()
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    if await self._executors.beat(self._executor, incarnation):
                        self._lease.renew(asked_at)
                    else:
                        self._lease.lose()
            except (LightwellError, *FAILURES) as error:
                log.warning("worker %s could not beat: %s", self._executor, type(error).__name__)
            if not self._lease.held:
                log.error("worker %s was taken for dead: its steps stop", self._executor)
                return
            await _pause(stop, max(0.0, BEAT_SECONDS - (time.monotonic() - asked_at)))

    # -- the library -------------------------------------------------------------------------------

    def _launch(self) -> None:
        """On a thread without a loop, so that the library makes its own."""
        route_logging()
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": self._info.url(Role.WORK),
                "dbos_system_schema": SCHEMA,
                "run_migrations": False,  # the owner's business, see schema.py
                "application_version": VERSION,
                "executor_id": self._executor,
                "serializer": JsonSerializer(),
                "sys_db_pool_size": POOL,
                "max_executor_threads": THREADS,
                "enable_otlp": False,
                "log_level": "WARNING",
            }
        )
        DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)(self._conducting())
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=PLACES,
            polling_interval_sec=POLL_SECONDS,
            on_conflict="always_update",
        )

    def _conducting(self) -> Callable[[str, int, str, Json], Coroutine[Any, Any, None]]:
        async def lightwell_run(workflow: str, tenant: int, run_id: str, arguments: Json) -> None:
            await self._conduct(workflow, (tenant, run_id), arguments)

        return lightwell_run

    # -- on the library's loop -----------------------------------------------------------------------

    async def _conduct(self, workflow: str, key: Key, arguments: Json) -> None:
        """One execution of a body, with its row. The row says how it ended; to the library every end
        is a success, so that no failure's text lies in two places."""
        run = DbosRun(self, key)
        try:
            deaths = await self._on_main(self._persist(lambda: self._book.begin(key)))
            if deaths is None:
                return
            state, error = State.DONE, ""
            try:
                if deaths > DEATHS:
                    raise Broken(f"Its worker died {deaths} times at the same step.")
                body = self._workflows.get(workflow)
                if body is None:
                    raise Broken(f"This version has no workflow {workflow}.")
                await body(run, arguments)
            except Exception as failure:  # noqa: BLE001 - however a body ends, its row says so
                state, error = State.FAILED, told(failure)
                log.error("%s of %s failed: %s", key[1], workflow, error)
            # A report is up to a second away, and would come too late for a row that has ended.
            last = self._forget(key)
            await self._on_main(self._persist(lambda: self._book.end(key, state, error, last)))
        except NotMine:
            raise asyncio.CancelledError from None
        except asyncio.CancelledError:
            if run.let_down:
                log.warning("%s is begun again: the engine's database failed", key[1])
                with contextlib.suppress(NotMine):
                    await self._on_main(self._persist(lambda: self._book.hand_back(key)))
            raise
        finally:
            self._forget(key)

    async def _on_main(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something on the process's loop; cancelled with whoever awaits it."""
        assert self._loop is not None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def perform(
        self,
        key: Key,
        number: int,
        name: str,
        function: Callable[..., object],
        args: tuple[object, ...],
    ) -> Json:
        return await self._on_main(self._perform(key, number, name, function, args))

    def note(self, key: Key, progress: Progress) -> None:
        with self._news_lock:
            self._news[key] = self._last[key] = progress

    def _forget(self, key: Key) -> Progress | None:
        """Drop what a run said of its progress; the last of it."""
        with self._news_lock:
            self._news.pop(key, None)
            return self._last.pop(key, None)

    # -- on the process's loop -----------------------------------------------------------------------

    async def _perform(
        self,
        key: Key,
        number: int,
        name: str,
        function: Callable[..., object],
        args: tuple[object, ...],
    ) -> Json:
        task = asyncio.current_task()
        assert task is not None
        self._steps.add(task)

        @contextlib.asynccontextmanager
        async def turn() -> AsyncIterator[None]:
            async with self._places, self._gate():
                await self._persist(lambda: self._book.step(key, name, number))
                self._forget(key)  # a step counts from nothing
                yield

        try:
            return await carry_out(function, args, turn=turn)
        finally:
            self._steps.discard(task)

    async def _persist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write to the run's row, however long that takes, while the lease lasts. Raises NotMine."""
        while self._lease.held:
            try:
                return await write()
            except Unavailable:
                await asyncio.sleep(PAUSE_SECONDS)
        raise NotMine

    async def _report(self) -> None:
        """Write the progress of all runs about once a second."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            with self._news_lock:
                news, self._news = self._news, {}
            if news:
                try:
                    await self._book.progress(news)
                except (LightwellError, *FAILURES) as error:
                    log.info("progress is reported later: %s", type(error).__name__)


def _quit() -> None:
    """End the library's threads; what was under way stays recorded as it is."""
    DBOS.destroy(destroy_registry=True)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
