"""The wire between the pool and its children: length-prefixed messages over a socket pair.

Parent to child: one job, pickled without its frames, then the frames as they are. Child to parent:
a status byte, a length and bytes, never a pickle: a child that hostile pixels have taken over must
not be able to hand objects to its parent.
"""

from __future__ import annotations

import enum
import itertools
import json
import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from lightwell.backends.codecs.pixels import CodeJob, DecodeJob, NativeFrame, RenderJob
from lightwell.domain.archive import coding
from lightwell.domain.archive.coding import CodedFrame, NotCoded, PixelForm

Job = DecodeJob | RenderJob | CodeJob
Buffer = bytes | bytearray | memoryview

_HEAD = struct.Struct("<BII")
_LENGTH = struct.Struct("<Q")
_ANSWER = struct.Struct("<BQ")
READY = b"\x06"
#: The child has the whole job and begins: from here on its death is the job's fault.
BEGUN = b"\x07"


class Task(enum.IntEnum):
    """What to do with a job."""

    DECODE = 1  # DecodeJob -> samples, little endian
    NATIVE = 2  # DecodeJob -> NativeFrame
    RENDER = 3  # RenderJob -> encoded picture
    ENCODE = 4  # CodeJob -> coded frames
    REBUILD = 5  # CodeJob -> native frames
    COARSE = 6  # CodeJob -> samples of a codestream prefix
    DECOMPRESS = 7  # CodeJob -> native frames, each with its photometric interpretation


class Status(enum.IntEnum):
    """How a job ended."""

    DONE = 0
    FAILED = 1
    REFUSED = 2
    EXHAUSTED = 3  # refused for memory; the child leaves


class Closed(ConnectionError):
    """The other end is gone."""


def buffers_of(job: Job) -> Sequence[Buffer]:
    """The pixel bytes of a job, in the order they travel."""
    if isinstance(job, DecodeJob):
        return (job.data,)
    return job.frames if isinstance(job, RenderJob) else job.buffers


def _without(job: Job) -> Job:
    if isinstance(job, DecodeJob):
        return replace(job, data=b"")
    return replace(job, frames=()) if isinstance(job, RenderJob) else replace(job, buffers=())


def send_job(channel: socket.socket, task: Task, job: Job) -> None:
    """Write one job; raises OSError when the other end is gone, TimeoutError when it does not read."""
    frames = buffers_of(job)
    body = pickle.dumps(_without(job), protocol=5)
    lengths = b"".join(_LENGTH.pack(len(frame)) for frame in frames)
    channel.sendall(_HEAD.pack(task, len(body), len(frames)) + body + lengths)
    for frame in frames:
        channel.sendall(frame)


def receive_job(channel: socket.socket) -> tuple[Task, Job]:
    """Read one job from the parent; raises Closed when it has gone."""
    task, size, count = _HEAD.unpack(receive(channel, _HEAD.size))
    # The parent is trusted: it made this pickle from its own values a moment ago.
    bare = cast(Job, pickle.loads(receive(channel, size)))
    lengths = struct.unpack(f"<{count}Q", receive(channel, _LENGTH.size * count))
    if isinstance(bare, CodeJob):
        # In one go and without copies: these are many and large.
        whole = memoryview(receive(channel, sum(lengths)))
        ends = list(itertools.accumulate(lengths, initial=0))
        buffers = tuple(whole[a:b] for a, b in itertools.pairwise(ends))
        return Task(task), replace(bare, buffers=buffers)
    frames = tuple(bytes(receive(channel, length)) for length in lengths)
    if isinstance(bare, DecodeJob):
        return Task(task), replace(bare, data=frames[0])
    return Task(task), replace(bare, frames=frames)


def send_answer(channel: socket.socket, status: Status, *parts: Buffer) -> None:
    """Write the outcome of one job."""
    channel.sendall(_ANSWER.pack(status, sum(len(part) for part in parts)))
    for part in parts:
        channel.sendall(part)


def answer_head(head: bytes | bytearray) -> tuple[Status, int]:
    """Status and length; raises ValueError for nonsense."""
    status, length = _ANSWER.unpack(head)
    return Status(status), length


ANSWER_SIZE = _ANSWER.size


def receive(channel: socket.socket, count: int) -> bytearray:
    """Exactly `count` bytes; raises Closed when they do not come."""
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = channel.recv_into(view)
        if not got:
            raise Closed("the other end of the decoder channel is gone")
        view = view[got:]
    return data


_NATIVE_FIELDS = (
    "photometric", "samples", "planar_configuration", "bits_allocated", "bits_stored", "high_bit",
    "pixel_representation",
)  # fmt: skip


def pack_native(frame: NativeFrame) -> tuple[bytes, bytes]:
    """A NativeFrame as a JSON head with its length, and the samples."""
    head = json.dumps({name: getattr(frame, name) for name in _NATIVE_FIELDS}).encode()
    return _LENGTH.pack(len(head)) + head, frame.data


def unpack_native(answer: bytes) -> NativeFrame:
    """Reverse of `pack_native`; raises ValueError when the child sent something else."""
    if len(answer) < _LENGTH.size:
        raise ValueError("the decoder's answer is too short")
    start = _LENGTH.size + _LENGTH.unpack_from(answer)[0]
    fields = json.loads(answer[_LENGTH.size : start])
    if not isinstance(fields, dict) or set(fields) != set(_NATIVE_FIELDS):
        raise ValueError("the decoder's answer has other fields than expected")
    return NativeFrame(data=answer[start:], **fields)


#: Of one coded frame: status, `zero`, lengths of codestream (or message), strays and overlay planes.
_CODED = struct.Struct("<BBIII")
_REBUILT = struct.Struct("<BQ")
#: Status, lengths of photometric interpretation (or message) and of the frame.
_DECOMPRESSED = struct.Struct("<BIQ")
_MESSAGE = 500


def pack_coded(frame: CodedFrame | NotCoded) -> tuple[bytes, ...]:
    """One coded frame of an answer, or why there is none."""
    if isinstance(frame, NotCoded):
        text = frame.why.encode()[:_MESSAGE]
        return _CODED.pack(Status.FAILED, 0, len(text), 0, 0), text
    planes = b"".join(frame.planes)
    head = _CODED.pack(Status.DONE, frame.zero, len(frame.stream), len(frame.side), len(planes))
    return head, frame.stream, frame.side, planes


def unpack_coded(answer: Buffer, forms: Sequence[PixelForm]) -> list[CodedFrame | NotCoded]:
    """The frames of an answer to ENCODE. Raises ValueError when the child sent something else."""
    cut = _Cutter(answer)
    found: list[CodedFrame | NotCoded] = []
    for form in forms:
        status, zero, *lengths = _CODED.unpack(cut.take(_CODED.size))
        stream, side, planes = (bytes(cut.take(length)) for length in lengths)
        if status != Status.DONE:
            found.append(NotCoded(stream[:_MESSAGE].decode("utf-8", "replace")))
            continue
        count = len(form.overlays)
        size = len(planes) // count if count else 0
        if size * count != len(planes):
            raise ValueError("the decoder's answer has a broken overlay")
        each = tuple(planes[n * size : (n + 1) * size] for n in range(count))
        found.append(CodedFrame(stream, bool(zero), side, each))
    cut.end()
    return found


def pack_rebuilt(frame: memoryview | NotCoded) -> tuple[bytes | memoryview, ...]:
    """One native frame of an answer, or why there is none."""
    if isinstance(frame, NotCoded):
        text = frame.why.encode()[:_MESSAGE]
        return _REBUILT.pack(Status.FAILED, len(text)), text
    return _REBUILT.pack(Status.DONE, len(frame)), frame


def unpack_rebuilt(answer: Buffer, forms: Sequence[PixelForm]) -> list[memoryview | NotCoded]:
    """The frames of an answer to REBUILD, not copied. Raises ValueError for anything else."""
    cut = _Cutter(answer)
    found: list[memoryview | NotCoded] = []
    for form in forms:
        status, length = _REBUILT.unpack(cut.take(_REBUILT.size))
        frame = cut.take(length)
        if status != Status.DONE:
            found.append(NotCoded(bytes(frame[:_MESSAGE]).decode("utf-8", "replace")))
        elif length != form.frame_bytes:
            raise ValueError("the decoder's answer has a frame of another size")
        else:
            found.append(frame)
    cut.end()
    return found


def pack_decompressed(frame: coding.NativeFrame | NotCoded) -> tuple[Buffer, ...]:
    """One decompressed frame of an answer, or why there is none."""
    if isinstance(frame, NotCoded):
        text = frame.why.encode()[:_MESSAGE]
        return _DECOMPRESSED.pack(Status.FAILED, len(text), 0), text
    text = frame.photometric.encode()
    return _DECOMPRESSED.pack(Status.DONE, len(text), len(frame.data)), text, frame.data


def unpack_decompressed(
    answer: Buffer, forms: Sequence[PixelForm]
) -> list[coding.NativeFrame | NotCoded]:
    """The frames of an answer to DECOMPRESS, not copied. Raises ValueError for anything else."""
    cut = _Cutter(answer)
    found: list[coding.NativeFrame | NotCoded] = []
    for form in forms:
        status, letters, length = _DECOMPRESSED.unpack(cut.take(_DECOMPRESSED.size))
        text = bytes(cut.take(letters)[:_MESSAGE]).decode("utf-8", "replace")
        frame = cut.take(length)
        if status != Status.DONE:
            found.append(NotCoded(text))
        elif length != form.frame_bytes:
            raise ValueError("the decoder's answer has a frame of another size")
        else:
            found.append(coding.NativeFrame(text, frame))
    cut.end()
    return found


class _Cutter:
    """Takes pieces off an answer; a short one raises ValueError."""

    def __init__(self, answer: Buffer) -> None:
        self._view = memoryview(answer)
        self._at = 0

    def take(self, length: int) -> memoryview:
        end = self._at + length
        if end > len(self._view):
            raise ValueError("the decoder's answer is too short")
        taken = self._view[self._at : end]
        self._at = end
        return taken

    def end(self) -> None:
        if self._at != len(self._view):
            raise ValueError("the decoder's answer is too long")
