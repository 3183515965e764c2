"""A real server to be killed, senders that remember every acknowledgement, and the judge.

Everything happens on loopback and in one folder under /tmp, which the database's own user can reach.
`LIGHTWELL_CRASH_ROUNDS` sets the rounds (20 for the full sweep), `LIGHTWELL_CRASH_SEED` the moments.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import httpx
import pytest

from lightwell.dicom.part10 import read_meta
from lightwell.testing.builders import BuiltInstance, a_study
from lightwell.testing.keyring import KeyRing
from lightwell.testing.sender import Acknowledged, PartTenFile, Report, Target, find_files, send
from lightwell.wire.multipart import MultipartParser, PartBegin, PartData, boundary_of

READY_SECONDS = 120.0
GONE_SECONDS = 3.0
DATABASE_GONE_SECONDS = 30.0
SENDER = "LW_SENDER"


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Look again until it is so; AssertionError naming *what* after *seconds*."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children_of(pid: int) -> dict[int, str]:
    """Every living descendant of a process: pid and command line."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                state, parent = (
                    Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[:2]
                )
                if state != "Z":
                    parents[int(entry)] = int(parent)
                    line = Path("/proc", entry, "cmdline").read_bytes()
                    names[int(entry)] = line.replace(b"\0", b" ").decode(errors="replace").strip()
    found, border = set(), {pid}
    while border:
        border = {child for child, parent in parents.items() if parent in border} - found
        found |= border
    return {child: names.get(child, "") for child in found}


def running(pids: Iterator[int] | Sequence[int]) -> list[int]:
    """Those of them that still run."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(pid)
    return found


def is_database(command: str) -> bool:
    return "postgres" in command


@dataclass
class Server:
    """`lightwell serve` on a data folder of its own; started and killed as often as wanted."""

    folder: Path
    http: int = field(default_factory=free_port)
    dimse: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    known: dict[int, str] = field(default_factory=dict)

    @cached_property
    def keys(self) -> KeyRing:
        """Who the tests are to the web door; the key is made while the server is well."""

        def said(*arguments: str) -> str:
            done = self.command(*arguments)
            assert done.returncode == 0, done.stderr
            return done.stdout

        return KeyRing(said)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def start(self, *, prefix: Sequence[str] = (), **environment: str) -> None:
        """Start, by way of the command *prefix*, and wait until /readyz says 200."""
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(*prefix, sys.executable, "-m", "lightwell.app.main", "serve"),
                    *("--data", str(self.data), "--workers", "2"),
                    *("--http", f"127.0.0.1:{self.http}", "--dimse", f"127.0.0.1:{self.dimse}"),
                ],
                env={**os.environ, **environment},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.wait_ready()
        if not environment:  # a key made now is there when the server is to die on a request
            self.keys.bearer()

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the server ended:\n{self.output()}"
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False

    def wait_ready(self) -> None:
        until(self.is_ready, READY_SECONDS, f"ready\n{self.output()}")
        assert self.process is not None
        self.known = children_of(self.process.pid)

    def output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")[-4000:]

    def child(self, module: str) -> list[int]:
        """Pids of the children that run `lightwell.app.<module>`, oldest first."""
        assert self.process is not None
        living = children_of(self.process.pid).items()
        return sorted(pid for pid, line in living if f"lightwell.app.{module}" in line)

    def postmaster(self) -> int:
        """Pid of the database's first process; 0 while there is none."""
        assert self.process is not None
        for pid, line in children_of(self.process.pid).items():
            if "bin/postgres -D" in line and "embedded_keeper" not in line:
                return pid
        return 0

    def answers(self) -> list[int]:
        """Our ports that still accept a connection."""
        found = []
        for port in (self.http, self.dimse):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                found.append(port)
        return found

    def kill(self, *, group: bool) -> None:
        """Signal 9 to the supervisor, or to its whole process group; then nobody may be left."""
        assert self.process is not None
        self.known |= children_of(self.process.pid)
        if group:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()
        self.nobody_left()

    def nobody_left(self) -> None:
        """No port answers and no child lives within 3 s; the database may take its checkpoint."""
        ours = [pid for pid, line in self.known.items() if not is_database(line)]
        until(lambda: not running(ours), GONE_SECONDS, f"the end of every child {self.left(ours)}")
        until(lambda: not self.answers(), GONE_SECONDS, "closed ports")
        until(lambda: not running(list(self.known)), DATABASE_GONE_SECONDS, "the database's end")

    def left(self, pids: Sequence[int]) -> list[str]:
        return [self.known[pid] for pid in running(pids)]

    def stop(self) -> None:
        """SIGTERM and an orderly end."""
        if self.process is None or self.process.poll() is not None:
            return
        self.known |= children_of(self.process.pid)
        self.process.terminate()
        assert self.process.wait(90) == 0, self.output()
        self.nobody_left()

    def abandon(self) -> None:
        """At the end of a test, whatever became of it."""
        if self.process is not None:
            self.known |= children_of(self.process.pid)
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            for pid in running(list(self.known)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a `lightwell` command on this data folder."""
        return subprocess.run(
            [sys.executable, "-m", "lightwell.app.main", *arguments, "--data", str(self.data)],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=180,
        )


def objects(
    round_number: int, studies: int = 4, each: int = 10, *, size: int = 160
) -> list[BuiltInstance]:
    """New objects for one round: two studies of files to one of objects small enough for a row."""
    made: list[BuiltInstance] = []
    for number in range(studies):
        edge = 16 if number % 3 == 2 else size
        study = a_study(f"CR{round_number}-{number}", name=f"Crash^N{number}")
        series = study.with_series("CT", instances=each, rows=edge, columns=edge)
        made += series.each()
    return made


class Sending(threading.Thread):
    """A sender at work; its log grows by a line with each answer."""

    associations = 4

    def __init__(self, files: Sequence[PartTenFile], target: Target, log: Path) -> None:
        super().__init__(name="sender")
        self.log = log
        self.report = Report()
        self._files = files
        self._target = target

    def run(self) -> None:
        self.report = send(
            self._files, self._target, associations=self.associations, ack_log=self.log
        )

    def answers(self) -> int:
        """How many answers have come."""
        return self.log.read_bytes().count(b"\n")

    def wait_for(self, count: int) -> None:
        """Until so many answers have come, or the sender is done."""
        until(lambda: self.answers() >= count or not self.is_alive(), 90, f"{count} answers")
        assert self.answers() >= count, self.report.summary()

    def finish(self) -> None:
        """Until it has nothing more to send, or nobody to send it to."""
        self.join(120)
        assert not self.is_alive()


@dataclass
class Ward:
    """Senders and their memory of what was acknowledged over all rounds."""

    server: Server
    places: dict[str, BuiltInstance] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)  # SOP UID -> SHA-256
    refused: list[Acknowledged] = field(default_factory=list)

    def write(self, made: Sequence[BuiltInstance]) -> list[Path]:
        """The objects as files to be sent."""
        folder = self.server.folder / "objects"
        folder.mkdir(exist_ok=True)
        paths = []
        for built in made:
            self.places[built.sop_uid] = built
            path = folder / f"{built.sop_uid}.dcm"
            path.write_bytes(built.part10)
            paths.append(path)
        return paths

    def send(self, made: Sequence[BuiltInstance], associations: int = 4) -> Report:
        """C-STORE everything; remembers what was acknowledged, also when the server dies on it."""
        files, left_out = find_files(self.write(made))
        assert not left_out
        target = Target("127.0.0.1", self.server.dimse, "LIGHTWELL", SENDER, timeout=40.0)
        report = send(files, target, associations=associations)
        for answer in report.stored:
            self.acknowledged[answer.sop_instance] = answer.sha256
        self.refused += [a for a in report.acknowledged if a not in report.stored]
        return report

    def sending(self, made: Sequence[BuiltInstance]) -> Sending:
        """The same in a thread, so that something may happen meanwhile."""
        log = self.server.folder / "acks"
        log.unlink(missing_ok=True)
        log.touch()
        files, _ = find_files(self.write(made))
        target = Target("127.0.0.1", self.server.dimse, "LIGHTWELL", SENDER, timeout=40.0)
        started = Sending(files, target, log)
        started.start()
        return started

    def remember(self, sending: Sending) -> int:
        """Take what a finished sender heard; how many successes there were."""
        report = sending.report
        for answer in report.stored:
            self.acknowledged[answer.sop_instance] = answer.sha256
        self.refused += [a for a in report.acknowledged if a not in report.stored]
        return len(report.stored)

    def missing(self, made: Sequence[BuiltInstance]) -> list[BuiltInstance]:
        """Those nobody has acknowledged yet."""
        return [built for built in made if built.sop_uid not in self.acknowledged]

    def stow_blindly(self, made: Sequence[BuiltInstance]) -> None:
        """The same for a server that may die on it."""
        with contextlib.suppress(httpx.HTTPError):
            self.stow(made)

    # -- the judge ------------------------------------------------------------------------------

    def judge(self) -> None:
        """fsck holds, and every acknowledged object is served with the bytes that were sent."""
        checked = self.server.command("fsck", "--json")
        assert checked.returncode == 0, f"fsck: {findings(checked.stdout)} {checked.stderr[-2000:]}"
        kept = self.kept()
        lost = [uid for uid, digest in self.acknowledged.items() if kept.get(uid) != digest]
        assert not lost, f"acknowledged and lost: {lost}"
        for uid, digest in kept.items():
            assert self.places[uid].sha256 == digest, f"served, but never sent like that: {uid}"

    def kept(self) -> dict[str, str]:
        """SOP UID and SHA-256 of every data set served, over WADO-RS in the stored syntax.

        Studies first, which is quick; then one by one what a study's answer did not hold, because the
        question here is whether it is kept (whether a growing study is served whole is another test's).
        """
        found: dict[str, str] = {}
        for study_uid in sorted({built.study_uid for built in self.places.values()}):
            found |= self.served(study_uid)
        for uid in self.acknowledged.keys() - found.keys():
            place = self.places[uid]
            found |= self.served(f"{place.study_uid}/series/{place.series_uid}/instances/{uid}")
        return found

    def served(self, below: str) -> dict[str, str]:
        """SOP UID and SHA-256 of what is served under `studies/{below}`; nothing for 404."""
        answer = httpx.get(
            f"{self.server.url}/dicomweb/studies/{below}",
            headers={"accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
            timeout=60,
            auth=self.server.keys,
        )
        if answer.status_code == 404:
            return {}
        assert answer.status_code == 200, (answer.status_code, answer.text[:500])
        found: dict[str, str] = {}
        for part in parts_of(answer):
            meta, offset = read_meta(part, complete=True)
            assert meta.sop_instance not in found, "served twice"
            found[meta.sop_instance] = hashlib.sha256(part[offset:]).hexdigest()
        return found

    def stow(self, made: Sequence[BuiltInstance], timeout: float = 60.0) -> list[str]:
        """STOW-RS of all of them in one request; the UIDs that came back as stored.

        Raises httpx.HTTPError when the server dies on it: then nothing was promised.
        """
        for built in made:
            self.places[built.sop_uid] = built
        body = b"".join(
            b"--lw\r\nContent-Type: application/dicom\r\n\r\n" + built.part10 + b"\r\n"
            for built in made
        )
        answer = httpx.post(
            f"{self.server.url}/dicomweb/studies",
            content=body + b"--lw--\r\n",
            headers={"content-type": 'multipart/related; type="application/dicom"; boundary=lw'},
            timeout=timeout,
            auth=self.server.keys,
        )
        assert answer.status_code in (200, 202, 409, 503), (answer.status_code, answer.text[:500])
        if answer.status_code not in (200, 202):
            return []
        items = answer.json().get("00081199", {}).get("Value", [])
        stored = [str(item["00081155"]["Value"][0]) for item in items]
        for uid in stored:
            self.acknowledged[uid] = self.places[uid].sha256
        return stored


def findings(report: str) -> object:
    """What fsck found, for an assertion's text."""
    with contextlib.suppress(ValueError):
        return [
            i for i in json.loads(report)["invariants"] if i["state"] == "broken" or i["findings"]
        ]
    return report[-2000:]


def parts_of(answer: httpx.Response) -> list[bytes]:
    """The bodies of a multipart answer."""
    parser = MultipartParser(boundary_of(answer.headers["content-type"]))
    parts: list[bytearray] = []
    for event in [*parser.feed(answer.content), *parser.close()]:
        if isinstance(event, PartBegin):
            parts.append(bytearray())
        elif isinstance(event, PartData):
            parts[-1] += event.data
    return [bytes(part) for part in parts]


@pytest.fixture
def make_server() -> Iterator[Callable[..., Server]]:
    """Servers on folders of their own, gone after the test."""
    made: list[Server] = []

    def make(folder: Path | None = None) -> Server:
        home = folder or Path(tempfile.mkdtemp(prefix="lightwell-crash-", dir="/tmp"))
        home.chmod(0o755)
        made.append(Server(home))
        return made[-1]

    yield make
    for server in made:
        server.abandon()
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture
def new_objects() -> Callable[..., list[BuiltInstance]]:
    """See `objects`."""
    return objects


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool], float, str], None]:
    """See `until`."""
    return until


@pytest.fixture(scope="module")
def ward() -> Iterator[Ward]:
    """One running server for the tests of a module, with its sender let in."""
    home = Path(tempfile.mkdtemp(prefix="lightwell-crash-", dir="/tmp"))
    home.chmod(0o755)
    server = Server(home)
    try:
        server.start()
        let_in(server)
        yield Ward(server)
    finally:
        server.abandon()
        if "LIGHTWELL_CRASH_KEEP" not in os.environ:
            shutil.rmtree(home, ignore_errors=True)


def let_in(server: Server) -> None:
    """Register the sender of these tests."""
    added = server.command("peer", "add", SENDER, "127.0.0.1:11113", "--allow", "store,find,get")
    assert added.returncode == 0, added.stderr[-2000:]


@pytest.fixture
def open_ward(make_server: Callable[..., Server]) -> Callable[..., Ward]:
    """A server of the test's own, not yet started but furnished."""

    def make(folder: Path | None = None) -> Ward:
        server = make_server(folder)
        let_in(server)
        return Ward(server)

    return make


@pytest.fixture(scope="session")
def moments() -> random.Random:
    """Where the random moments come from; the seed is printed with a failure."""
    seed = int(os.environ.get("LIGHTWELL_CRASH_SEED", "0")) or random.SystemRandom().randrange(
        1 << 32
    )
    print(f"LIGHTWELL_CRASH_SEED={seed}")
    return random.Random(seed)
