"""How a process comes to a database: the embedded one of the data folder, or somebody else's."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator

from lightwell.app.settings import Settings
from lightwell.backends.database.embedded import EmbeddedPostgres
from lightwell.backends.database.roles import ConnectionInfo, prepare_external


class DatabaseHold:
    """A running database, held while it is needed. For the embedded one: started or adopted."""

    def __init__(self, settings: Settings, say: Callable[[str], None] | None = None) -> None:
        self._url = settings.database_url
        self._embedded = None if self._url else EmbeddedPostgres(settings.data, progress=say)

    @property
    def embedded(self) -> bool:
        return self._embedded is not None

    def start(self) -> ConnectionInfo:
        """Wait until it answers. Raises what the backend raises, with the remedy."""
        if self._embedded is not None:
            return self._embedded.start()
        assert self._url is not None
        return asyncio.run(
            prepare_external(
                self._url,
                app_url=os.environ.get("LIGHTWELL_DATABASE_APP_URL"),
                work_url=os.environ.get("LIGHTWELL_DATABASE_WORK_URL"),
            )
        )

    def alive(self) -> bool:
        """Whether the embedded server runs; somebody else's is its owner's care."""
        return self._embedded is None or self._embedded.alive()

    def stop(self) -> None:
        """Let go; the last holder of an embedded server shuts it down."""
        if self._embedded is not None:
            self._embedded.stop()


@contextlib.contextmanager
def database(
    settings: Settings, say: Callable[[str], None] | None = None
) -> Iterator[ConnectionInfo]:
    """For commands: beside a running server, or with a database of their own while they run."""
    hold = DatabaseHold(settings, say)
    try:
        yield hold.start()
    finally:
        hold.stop()
