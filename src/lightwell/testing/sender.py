"""A bit-preserving C-STORE sender for benchmarks and crash tests.

Most senders rewrite what they send: group lengths, sequence encodings, padding. This one sends the
data set of a Part 10 file as it lies on disk, stripped of preamble and file meta information only,
in its own transfer syntax or not at all. So what an archive gives back can be compared by SHA-256
with what it was given, and every acknowledgement can be held against it.

Run ``python -m lightwell.testing.sender HOST PORT FILES... [--associations N] [--json]``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from struct import Struct
from typing import Final

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from lightwell.testing.channel import ChannelError
from lightwell.testing.scu import Scu
from lightwell.wire.dimse.items import DEFAULT_MAX_PDU
from lightwell.wire.dimse.pdu import PresentationContext
from lightwell.wire.dimse.proposal import propose
from lightwell.wire.dimse.status import Category, category
from lightwell.wire.dimse.syntaxes import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE

_ELEMENT = Struct("<HH2sH")
_LONG_LENGTH = Struct("<L")
_LONG_VRS: Final = frozenset({b"OB", b"OW", b"UN", b"SQ", b"UT", b"OF", b"OD", b"OL", b"UC", b"UR"})
_MAX_META: Final = 1 << 20
_CHILDREN_READY_SECONDS: Final = 300.0


class Unsendable(ValueError):
    """The file does not say which SOP instance it holds, or in which transfer syntax."""


@dataclass(frozen=True, slots=True)
class PartTenFile:
    """A file to send: where its data set starts, and what its meta information says about it."""

    path: Path
    sop_class: str
    sop_instance: str
    transfer_syntax: str
    offset: int
    length: int

    def data_set(self) -> bytes:
        """The data set, exactly as in the file."""
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.length)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One C-STORE response: what was sent, and the status that came back."""

    sop_instance: str
    sha256: str
    status: int
    bytes: int
    path: str


@dataclass(slots=True)
class Report:
    """What became of a run. ``failed`` holds (path, reason) of files without a response."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    started: float = 0.0
    ended: float = 0.0
    """On the monotonic clock of the machine: from before the first association to after the last."""

    @property
    def seconds(self) -> float:
        """How long it took, without looking for files and without preloading."""
        return self.ended - self.started

    @property
    def stored(self) -> list[Acknowledged]:
        """Those the peer says it keeps: status success or warning."""
        kept = (Category.SUCCESS, Category.WARNING)
        return [answer for answer in self.acknowledged if category(answer.status) in kept]

    def summary(self) -> dict[str, object]:
        """Figures for a machine: counts, bytes of the stored, seconds, statuses, failures."""
        stored = self.stored
        return {
            "acknowledged": len(self.acknowledged),
            "stored": len(stored),
            "failed": len(self.failed),
            "bytes": sum(answer.bytes for answer in stored),
            "seconds": round(self.seconds, 6),
            "statuses": dict(Counter(f"{answer.status:04X}" for answer in self.acknowledged)),
            "failures": self.failed[:100],
        }


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to send to, and how."""

    host: str
    port: int
    called_ae: str = "LIGHTWELL"
    calling_ae: str = "LW_SENDER"
    timeout: float = 60.0
    max_pdu: int = DEFAULT_MAX_PDU


def read_part10(path: Path) -> PartTenFile:
    """What *path* holds, by its file meta information (PS3.10 section 7.1).

    The group length is not believed: the elements of group 0002 are walked, so that the data set
    starts where the file really has it. What the meta information does not say is read from the data
    set; a file that is a bare data set, without preamble and meta information, is taken as one.
    Raises Unsendable, OSError.
    """
    with path.open("rb") as stream:
        head = stream.read(_MAX_META)
        size = stream.seek(0, os.SEEK_END)
    if head[128:132] != b"DICM":
        return _from_data_set(path, "", "", "", 0, size)
    values, offset = _walk_meta(path, head)
    named = (values.get(0x0002, ""), values.get(0x0003, ""), values.get(0x0010, ""))
    if all(named):
        return PartTenFile(path, *named, offset, size - offset)
    return _from_data_set(path, *named, offset, size)


def _walk_meta(path: Path, head: bytes) -> tuple[dict[int, str], int]:
    """The UIDs of group 0002 by element number, and where the group ends."""
    values: dict[int, str] = {}
    position = 132
    while position + 8 <= len(head):
        group, element, vr, length = _ELEMENT.unpack_from(head, position)
        if group != 0x0002:
            break
        position += 8
        if vr in _LONG_VRS:
            if position + 4 > len(head):
                raise Unsendable(f"{path}: the file meta information is cut short")
            (length,) = _LONG_LENGTH.unpack_from(head, position)
            position += 4
        if position + length > len(head):
            raise Unsendable(f"{path}: (0002,{element:04X}) claims {length} bytes")
        if vr == b"UI":
            values[element] = head[position : position + length].rstrip(b"\0 ").decode("latin-1")
        position += length
    return values, position


def _from_data_set(
    path: Path, sop_class: str, sop_instance: str, transfer_syntax: str, offset: int, size: int
) -> PartTenFile:
    """Fill in from the data set what the meta information leaves open."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such files are odd on purpose
            dataset = dcmread(path, specific_tags=["SOPClassUID", "SOPInstanceUID"], force=True)
            sop_class = sop_class or str(dataset.get("SOPClassUID", ""))
            sop_instance = sop_instance or str(dataset.get("SOPInstanceUID", ""))
            implicit, little = dataset.original_encoding
    except (InvalidDicomError, OSError, ValueError, KeyError, EOFError, RecursionError) as error:
        raise Unsendable(f"{path} cannot be read: {type(error).__name__}") from error
    if not (sop_class and sop_instance):
        raise Unsendable(f"{path} does not say which SOP instance it holds")
    if not transfer_syntax:
        transfer_syntax = IMPLICIT_LE if implicit else (EXPLICIT_LE if little else EXPLICIT_BE)
    return PartTenFile(path, sop_class, sop_instance, transfer_syntax, offset, size - offset)


def find_files(paths: Iterable[Path]) -> tuple[list[PartTenFile], list[tuple[str, str]]]:
    """The files to send among *paths* and below them, in order of name; and what was left out."""
    files: list[PartTenFile] = []
    left_out: list[tuple[str, str]] = []
    for path in _walk(paths):
        try:
            files.append(read_part10(path))
        except (Unsendable, OSError) as error:
            left_out.append((str(path), str(error)))
    return files, left_out


def _walk(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(below for below in path.rglob("*") if below.is_file())
        else:
            yield path


class _AckLog:
    """An append-only file of acknowledgements: one JSON line each, written before the next send.

    One ``write`` on an O_APPEND descriptor a line: lines of several processes do not mix, and what
    was written survives the death of this process.
    """

    def __init__(self, path: Path | None) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._descriptor = None if path is None else os.open(path, flags, 0o600)

    def write(self, answer: Acknowledged) -> None:
        if self._descriptor is not None:
            os.write(self._descriptor, (json.dumps(asdict(answer)) + "\n").encode())

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _nothing() -> None:
    """Nobody wants to know."""


def send(
    files: Sequence[PartTenFile],
    target: Target,
    *,
    associations: int = 1,
    processes: int = 1,
    ack_log: Path | None = None,
    preload: bool = False,
    announce: Callable[[], None] = _nothing,
) -> Report:
    """Send *files* over parallel associations and report on each file.

    The files are shared out as associations become free; more than 128 pairs of class and syntax
    are sent in rounds. With ``processes`` > 1 the files are dealt out over that many processes, each
    with its part of the associations, so that the sender does not run out of one core.
    A lost association fails the file it was sending; the rest goes over a new one, until none can be
    had any more. With ``preload`` all files are read and hashed before the clock starts, so that a
    benchmark measures the peer and not our disk; they must then fit into memory. *announce* runs in
    the moment before the clock starts; with several processes in one of them, so that it must be a
    function of a module.
    """
    if processes <= 1:
        return _send_in_threads(files, target, associations, ack_log, preload, announce)
    return _send_in_processes(files, target, associations, processes, ack_log, preload, announce)


def say_ready() -> None:
    """Tell whoever reads our standard output that everything is loaded."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def _send_in_processes(
    files: Sequence[PartTenFile],
    target: Target,
    associations: int,
    processes: int,
    ack_log: Path | None,
    preload: bool,
    announce: Callable[[], None],
) -> Report:
    context = get_context("spawn")
    barrier = context.Barrier(processes, announce)
    each = max(1, associations // processes)
    children = []
    for index in range(processes):
        receiver, sender = context.Pipe(duplex=False)
        share = files[index::processes]
        arguments = (sender, barrier, share, target, each, ack_log, preload)
        child = context.Process(target=_send_as_child, args=arguments, daemon=True)
        child.start()
        sender.close()  # the child holds the only end now: its death ends the wait below
        children.append((child, receiver, share))
    report = Report(started=float("inf"))
    for child, receiver, share in children:
        with receiver:
            try:
                part: Report = receiver.recv()
            except EOFError:
                part = Report(failed=[(str(file.path), "the sender died") for file in share])
                part.started = part.ended = time.monotonic()
        child.join()
        report.acknowledged += part.acknowledged
        report.failed += part.failed
        report.started = min(report.started, part.started)
        report.ended = max(report.ended, part.ended)
    return report


def _send_as_child(
    results: Connection,
    barrier: Barrier,
    files: Sequence[PartTenFile],
    target: Target,
    associations: int,
    ack_log: Path | None,
    preload: bool,
) -> None:
    def wait_for_the_others() -> None:
        barrier.wait(_CHILDREN_READY_SECONDS)

    report = _send_in_threads(files, target, associations, ack_log, preload, wait_for_the_others)
    results.send(report)
    results.close()


def _send_in_threads(
    files: Sequence[PartTenFile],
    target: Target,
    associations: int,
    ack_log: Path | None,
    preload: bool,
    ready: Callable[[], None],
) -> Report:
    report = Report()
    log = _AckLog(ack_log)
    loaded = _load(files) if preload else {}
    rounds = propose(((file.sop_class, file.transfer_syntax) for file in files), fallback=False)
    ready()
    report.started = time.monotonic()
    try:
        for contexts in rounds:
            here = {(context.abstract_syntax, context.transfer_syntaxes[0]) for context in contexts}
            queue = deque(file for file in files if (file.sop_class, file.transfer_syntax) in here)
            _Round(queue, contexts, target, loaded, log, report).run(associations)
    finally:
        log.close()
    report.ended = time.monotonic()
    return report


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A data set in memory, with its digest."""

    data: bytes
    sha256: str

    @classmethod
    def from_file(cls, file: PartTenFile) -> _Loaded:
        data = file.data_set()
        return cls(data, hashlib.sha256(data).hexdigest())


def _load(files: Iterable[PartTenFile]) -> dict[PartTenFile, _Loaded]:
    """All of *files* that can be read; the others fail when their turn comes."""
    loaded = {}
    for file in files:
        with suppress(OSError):
            loaded[file] = _Loaded.from_file(file)
    return loaded


@dataclass
class _Round:
    """Files that fit one set of contexts, and the associations that take them from the queue."""

    queue: deque[PartTenFile]
    contexts: tuple[PresentationContext, ...]
    target: Target
    loaded: Mapping[PartTenFile, _Loaded]
    log: _AckLog
    report: Report
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, associations: int) -> None:
        """Send until the queue is empty or no association can be had."""
        workers = min(associations, len(self.queue))
        with ThreadPoolExecutor(workers, thread_name_prefix="association") as pool:
            jobs = [pool.submit(self._send_on_one) for _ in range(workers)]
            reasons = [job.result() for job in jobs]
        # If every worker ended early: what they left behind was never tried.
        reason = next((reason for reason in reasons if reason), "not sent")
        self.report.failed += [(str(file.path), reason) for file in self.queue]

    def _send_on_one(self) -> str:
        """Send files, one association after another; why it ended early, or ""."""
        while self.queue:
            current: PartTenFile | None = None
            try:
                with self._associate() as scu:
                    while (current := self._take()) is not None:
                        self._note(current, self._store(scu, current))
            except ChannelError as error:
                if current is None:
                    return str(error)  # no association at all, or a failed release
                self._note(current, str(error))
        return ""

    def _associate(self) -> Scu:
        target = self.target
        return Scu(
            target.host,
            target.port,
            self.contexts,
            called_ae=target.called_ae,
            calling_ae=target.calling_ae,
            timeout=target.timeout,
            max_pdu=target.max_pdu,
        )

    def _take(self) -> PartTenFile | None:
        try:
            return self.queue.popleft()
        except IndexError:
            return None

    def _note(self, file: PartTenFile, answer: Acknowledged | str) -> None:
        with self.lock:
            if isinstance(answer, str):
                self.report.failed.append((str(file.path), answer))
            else:
                self.log.write(answer)
                self.report.acknowledged.append(answer)

    def _store(self, scu: Scu, file: PartTenFile) -> Acknowledged | str:
        """Send one file; a reason instead of an answer if it cannot be sent on this association."""
        if not scu.takes(file.sop_class, file.transfer_syntax):
            return f"the peer does not take {file.sop_class} in {file.transfer_syntax}"
        try:
            loaded = self.loaded.get(file) or _Loaded.from_file(file)
        except OSError as error:
            return f"cannot be read: {error}"
        answer = scu.store(file.sop_class, file.sop_instance, file.transfer_syntax, (loaded.data,))
        return Acknowledged(
            file.sop_instance, loaded.sha256, answer.status, len(loaded.data), str(file.path)
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; exit code 0 if every file was stored, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m lightwell.testing.sender", description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("files", nargs="+", type=Path, help="Part 10 files, or folders of them")
    parser.add_argument("--aet", default="LW_SENDER", help="our AE title")
    parser.add_argument("--aec", default="LIGHTWELL", help="the AE title to call")
    parser.add_argument("--associations", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for the peer")
    parser.add_argument("--max-pdu", type=int, default=DEFAULT_MAX_PDU)
    parser.add_argument("--acks", type=Path, help="append each acknowledgement to this file")
    parser.add_argument("--preload", action="store_true", help="read all files before the start")
    parser.add_argument("--announce", action="store_true", help="print `ready` before the start")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    files, left_out = find_files(options.files)
    target = Target(
        options.host, options.port, options.aec, options.aet, options.timeout, options.max_pdu
    )
    report = send(
        files,
        target,
        associations=options.associations,
        processes=options.processes,
        ack_log=options.acks,
        preload=options.preload,
        announce=say_ready if options.announce else _nothing,
    )
    summary = {**report.summary(), "left_out": left_out}
    if options.json:
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        sys.stdout.writelines(f"{name}: {value}\n" for name, value in summary.items())
    return 0 if len(report.stored) == len(files) and not left_out else 1


if __name__ == "__main__":
    raise SystemExit(main())
