"""Processes and their cost: start, stop by pid, CPU seconds and resident memory of a whole tree."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float = 60) -> None:
    """Until something accepts on the port."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.1)
    raise SystemExit(f"nothing listens on {port} after {seconds} s")


def _stat(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def tree(*roots: int) -> list[int]:
    """These processes and all their descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    found = [pid for pid in roots if pid in parents]
    for pid in found:
        found += [
            child for child, parent in parents.items() if parent == pid and child not in found
        ]
    return found


def cpu_seconds(*roots: int) -> float:
    """User and system time of a tree, reaped children included."""
    total = 0
    for pid in tree(*roots):
        if fields := _stat(pid):
            total += sum(int(value) for value in fields[11:15])
    return total / TICK


class MemoryWatch:
    """The largest resident size that any one process of a tree had, in MiB."""

    def __init__(self, *roots: int, ignore: tuple[str, ...] = ("postgres",)) -> None:
        self._roots, self._ignore = roots, ignore
        self.peak, self.who = 0.0, ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            for pid in tree(*self._roots):
                with contextlib.suppress(OSError):
                    name = Path(f"/proc/{pid}/comm").read_text().strip()
                    if name in self._ignore:
                        continue
                    size = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20
                    if size > self.peak:
                        self.peak, self.who = size, f"{name} {pid}"


@dataclass
class Running:
    """A program under measurement and the roots of its process trees."""

    name: str
    process: subprocess.Popen[bytes]
    others: tuple[int, ...] = ()

    @property
    def roots(self) -> tuple[int, ...]:
        return (self.process.pid, *self.others)


@contextlib.contextmanager
def running(name: str, command: list[str], log: Path, **options: object) -> Iterator[Running]:
    """Start a program, stop it (TERM, then KILL) by its pid."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, **options)  # type: ignore[call-overload]
    try:
        yield Running(name, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
