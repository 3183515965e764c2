"""A PostgreSQL that is not ours: a new server in a folder, with a superuser and a password."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SYSTEM_PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), Path("/nowhere"))
SUPERUSER = "boss"
SECONDS = 60.0  # to make it, to start it, to stop it


@contextlib.contextmanager
def foreign_postgres(programs: Path, folder: Path, password: str, *options: str) -> Iterator[int]:
    """Run a new server in an empty folder; gives its port on loopback. `options`: `name=value`.

    What it says is in `folder/log`. As root it runs as the user postgres, who is given the folder.
    """
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        identity = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    word = folder / "word"
    word.write_text(password)
    subprocess.run(
        [programs / "initdb", "-D", folder / "data", "-U", SUPERUSER, "-A", "scram-sha-256",
         "--pwfile", word, "-E", "UTF8", "--locale=C", "-N"],
        check=True, capture_output=True, timeout=SECONDS, cwd="/", **identity,
    )  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    more = [word for option in options for word in ("-c", option)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder,
             "-h", "127.0.0.1", *more],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **identity,
        )  # fmt: skip
    try:
        deadline, pid_file = time.monotonic() + SECONDS, folder / "data/postmaster.pid"
        while not (pid_file.exists() and "ready" in pid_file.read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text()}")
            time.sleep(0.02)  # a word in a file of another process
        yield port
    finally:
        process.terminate()
        process.wait(timeout=SECONDS)
