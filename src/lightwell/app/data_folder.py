"""The data folder: made with narrow permissions, held by one server at a time.

blobs/     the objects (unless a bucket is given)      cache/    what can be made again
postgres/  the embedded database                       logs/     one file a process
staging/   what is on its way to a bucket       secrets/  the key that seals TOTP secrets
regions/   staging and cache of each region, where a file names several
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from lightwell.kernel.errors import Conflict, Invalid

PARTS = ("blobs", "staging", "cache", "logs")
LOCK = "serve.lock"


def make_data_folder(data: Path) -> None:
    """Create what is missing. Permissions of folders that exist already are never changed.

    As root the folder itself may be traversed by others (0711), because the database runs as its own
    user; everything in it stays private.
    """
    try:
        if not data.exists():
            data.mkdir(parents=True)
            data.chmod(0o711 if os.geteuid() == 0 else 0o700)  # ours to set, whatever the umask
        for part in PARTS:
            (data / part).mkdir(mode=0o700, exist_ok=True)
    except NotADirectoryError as error:
        raise Invalid(f"{data} is not a folder.", remedy="Choose another --data.") from error
    except PermissionError as error:
        raise Invalid(
            f"The folder {error.filename} may not be written by this user.",
            remedy="Choose another --data, or give this user the folder.",
        ) from error
    except OSError as error:
        raise Invalid(f"{data} cannot be used: {error.strerror}.") from error


@contextlib.contextmanager
def held_by_server(data: Path) -> Iterator[int]:
    """The server's lock: gone with its process, whatever happens. Raises Conflict.

    Yields the locked descriptor: children inherit it, so that a new server refuses while any process
    of an older generation still runs.
    """
    descriptor = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(
                f"A Lightwell server already runs on {data}.",
                remedy="Stop it first, or choose another --data.",
            ) from error
        yield descriptor
    finally:
        os.close(descriptor)
