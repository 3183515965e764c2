"""The engine's records from outside: give it runs, cancel, resume, send. Blocking; call on a thread.

Everything goes through the library's public client, which needs no code of any workflow. A run's id here
is `tenant/run id`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import ParamSpec, TypeVar

from dbos import DBOSClient, EnqueueOptions
from dbos import error as dbos_error
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from lightwell.backends.database.handing import Key, Message, New
from lightwell.backends.database.roles import ConnectionInfo, DatabaseUnavailable, Role
from lightwell.backends.engine.library_log import route_logging
from lightwell.backends.engine.schema import SCHEMA
from lightwell.backends.engine.serialization import JsonSerializer
from lightwell.kernel.errors import Broken

APPLICATION = "lightwell"
# Never changed: runs under way belong to a version, and another one would leave them lying. A body that
# must take other steps gets another name.
VERSION = "1"
QUEUE = "lightwell"
WORKFLOW = "lightwell_run"  # one function for all workflows: which one is its first argument
POOL = 2
FORGOTTEN = 200  # runs of a tenant that is erased, at a time
ENDED = frozenset({"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})

P = ParamSpec("P")
T = TypeVar("T")


def engine_id(key: Key) -> str:
    """The id by which the engine knows a run."""
    return f"{key[0]}/{key[1]}"


def key_of(engine_id_: str) -> Key:
    """The run that an id of the engine's means."""
    tenant, _, run_id = engine_id_.partition("/")
    return int(tenant), run_id


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except dbos_error.DBOSNonExistentWorkflowError:
        raise
    except dbos_error.DBOSException as error:
        raise Broken(f"The work engine refuses ({type(error).__name__}).") from error
    except (DBAPIError, SQLAlchemyError) as error:
        raise DatabaseUnavailable(
            f"The work engine's database does not answer ({type(error).__name__})."
        ) from error


def _outcome(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    with _translated():
        return act(*args, **kwargs)


class Desk:
    """One connection or two to the engine's tables, as the `work` role. Methods raise Unavailable."""

    def __init__(self, info: ConnectionInfo) -> None:
        route_logging()
        self._client = DBOSClient(
            system_database_url=info.url(Role.WORK),
            dbos_system_schema=SCHEMA,
            serializer=JsonSerializer(),
            system_database_pool_size=POOL,
            application_name=APPLICATION,
            lazy=True,
            retry_connection_errors=False,
        )

    def close(self) -> None:
        """Give the connections back."""
        self._client.destroy()

    def enqueue(self, runs: Sequence[New]) -> dict[Key, str]:
        """Have runs carried out; one that the engine has already is left as it is. What it refused for
        good, and why."""
        refused = {}
        for run in runs:
            options = EnqueueOptions(
                queue_name=QUEUE,
                workflow_name=WORKFLOW,
                workflow_id=engine_id(run.key),
                app_version=VERSION,
            )
            arguments = json.loads(run.arguments)
            try:
                with _translated():
                    self._client.enqueue(options, run.workflow, *run.key, arguments)
            except Broken as error:
                refused[run.key] = error.message
        return refused

    def cancel(self, key: Key) -> None:
        """End it between two steps, or in one. No effect on one that has ended or is not known."""
        with contextlib.suppress(dbos_error.DBOSNonExistentWorkflowError):
            _outcome(self._client.cancel_workflow, engine_id(key))

    def states(self, keys: Sequence[Key]) -> dict[Key, str]:
        """The engine's word for the state of each run it knows."""
        found = _outcome(
            self._client.list_workflows,
            workflow_ids=[engine_id(key) for key in keys],
            load_input=False,
            load_output=False,
        )
        return {key_of(each.workflow_id): str(each.status) for each in found}

    def again(self, key: Key) -> bool:
        """Carry on with one that has ended: a cancelled one where it was, any other at the step that
        failed (after its last one when none did). False when it has not ended yet."""
        state = self.states([key]).get(key)
        name = engine_id(key)
        try:
            if state == "CANCELLED":
                _outcome(self._client.resume_workflow, name, queue_name=QUEUE)
                return True
            if state not in ENDED:
                return False
            _outcome(
                self._client.rewind_workflow, name, start_step=self._next(name), queue_name=QUEUE
            )
        except Broken:  # it changed meanwhile: looked at again in a moment
            return False
        return True

    def _next(self, name: str) -> int:
        steps = _outcome(self._client.list_workflow_steps, name)
        if not steps:
            return 1
        last = steps[-1]
        return int(last["function_id"]) + (0 if last["error"] is not None else 1)

    def under_way(self) -> dict[Key, str]:
        """Runs that an executor has begun and not ended, with the executor's name."""
        found = _outcome(
            self._client.list_workflows,
            status="PENDING",
            name=WORKFLOW,
            load_input=False,
            load_output=False,
        )
        return {key_of(each.workflow_id): each.executor_id or "" for each in found}

    def resume(self, keys: Sequence[Key]) -> None:
        """Give runs that nobody carries out any more to whoever comes first."""
        for key in keys:  # one by one: the call for several does nothing when one is gone
            with contextlib.suppress(dbos_error.DBOSNonExistentWorkflowError):
                _outcome(self._client.resume_workflow, engine_id(key), queue_name=QUEUE)

    def send(self, message: Message) -> None:
        """Put a message into a run's mailbox, once however often this is called."""
        with contextlib.suppress(dbos_error.DBOSNonExistentWorkflowError):
            _outcome(
                self._client.send,
                engine_id(message.key),
                json.loads(message.message),
                message.topic,
                idempotency_key=message.signal_id,
            )

    def forget_tenant(self, tenant: int) -> int:
        """Remove the records of all runs of a tenant, ending first what has not ended; how many."""
        done = 0
        while True:
            found = _outcome(
                self._client.list_workflows,
                workflow_id_prefix=f"{tenant}/",
                limit=FORGOTTEN,
                load_input=False,
                load_output=False,
            )
            if not found:
                return done
            for each in found:
                if str(each.status) not in ENDED:
                    self.cancel(key_of(each.workflow_id))
            self.forget([key_of(each.workflow_id) for each in found])
            done += len(found)

    def forget(self, keys: Sequence[Key]) -> None:
        """Remove the records of runs that have ended."""
        names = [engine_id(key) for key in keys]
        _outcome(self._client.delete_workflows, names)
