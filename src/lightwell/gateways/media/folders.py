"""Plain files below the paths that were given. Symbolic links are reported, never followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lightwell.gateways.media.report import Refusal

LINK = "symbolic link"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was found. `open` blocks; it raises Refusal when this is not to be read."""

    name: str
    open: Callable[[], BinaryIO]
    path: Path | None = None  # where it lies, if it may be opened as an archive


def entries(path: Path) -> Iterator[Entry]:
    """The file itself, or everything below a folder, in the order of names. Blocking."""
    if path.is_dir():  # a link that the operator named is meant
        yield from _below(path, path.name or str(path))
    else:
        yield Entry(str(path), lambda: open_plain(path, follow=True), path)


def _below(folder: Path, shown: str) -> Iterator[Entry]:
    try:
        with os.scandir(folder) as found:
            listed = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        yield _unreadable(shown, error)
        return
    for item in listed:
        name, path = f"{shown}/{item.name}", Path(item.path)
        if item.is_dir(follow_symlinks=False):
            yield from _below(path, name)
        else:
            yield Entry(name, lambda path=path: open_plain(path), path)  # type: ignore[misc]


def _unreadable(name: str, error: OSError) -> Entry:
    reason = error.strerror or type(error).__name__

    def refuse() -> BinaryIO:
        raise Refusal("cannot be read", reason)

    return Entry(name, refuse)


def open_plain(path: Path, *, follow: bool = False) -> BinaryIO:
    """A regular file for reading, without ever waiting for a pipe or a device. Raises Refusal."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        if not follow and path.is_symlink():
            raise Refusal(LINK, "links are not followed")
        descriptor = os.open(path, flags)
    except OSError as error:
        raise Refusal("cannot be read", error.strerror or type(error).__name__) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refusal("not a file", "a pipe, a device or a socket")
    return os.fdopen(descriptor, "rb")
