"""A `dimse` process: associations on the sockets the supervisor opened, rooms on its own event loop."""

from __future__ import annotations

import asyncio
import signal
import socket
from dataclasses import asdict

import uvloop

from lightwell.app.generation import (
    Generation,
    allow_many_files,
    await_generation,
    die_with_parent,
)
from lightwell.app.heartbeat import Heart
from lightwell.app.logs import log_to_file
from lightwell.app.transcoding import PoolTranscoder
from lightwell.app.wiring import open_house, start_listening, use_threads
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.backends.database.doors import DOOR
from lightwell.gateways.dimse.exchange import Rooms
from lightwell.gateways.dimse.listener import Door
from lightwell.gateways.dimse.server import DimseServer, tls_context

GRACE_SECONDS = 50.0


def doors(generation: Generation) -> list[Door]:
    """The inherited listening sockets."""
    found = [Door(socket.socket(fileno=generation.dimse_socket))]
    tls = generation.settings.tls
    if generation.tls_socket >= 0 and tls is not None:
        context = tls_context(tls.certificate, tls.key, tls.authorities)
        found.append(Door(socket.socket(fileno=generation.tls_socket), context))
    return found


async def run(generation: Generation) -> None:
    """Until SIGTERM; then associations under way get their grace."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    use_threads()
    house = open_house(generation.settings, generation.info, examine=False)
    pool = DecoderPool(1)
    rooms = Rooms(
        house.peers,
        house.archive,
        loop,
        transcoder=PoolTranscoder(pool),
        machines=house.machines,
    )
    server = DimseServer(rooms, doors(generation))
    heart = Heart(
        house,
        generation.name,
        "dimse",
        lambda: {
            **{f"dimse_{name}": value for name, value in asdict(server.tally).items()},
            "commit_changes": house.committer.counters.changes,
            "commit_groups": house.committer.counters.groups,
            "commit_retried": house.committer.counters.retried,
        },
        lambda: {DOOR: server.seen()},
    )
    start_listening(house)
    await server.start()
    await heart.start()
    try:
        await stop.wait()
    finally:
        await server.stop(GRACE_SECONDS)
        await heart.stop()
        await pool.close()
        await house.close()


def main() -> None:
    """Entry point of the process."""
    generation = await_generation()
    die_with_parent(generation.lifeline)
    allow_many_files()
    log_to_file(generation.settings.logs, generation.name)
    uvloop.run(run(generation))


if __name__ == "__main__":
    main()
