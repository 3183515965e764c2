"""The wire between the pool and its children: length-prefixed messages over a socket pair.

Parent to child: one job, pickled without its frames, then the frames as they are. Child to parent:
a status byte, a length and bytes, never a pickle: a child that hostile pixels have taken over must
not be able to hand objects to its parent.
"""

from __future__ import annotations

import enum
import json
import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from lightwell.backends.codecs.pixels import DecodeJob, NativeFrame, RenderJob

Job = DecodeJob | RenderJob

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


class Status(enum.IntEnum):
    """How a job ended."""

    DONE = 0
    FAILED = 1
    REFUSED = 2
    EXHAUSTED = 3  # refused for memory; the child leaves


class Closed(ConnectionError):
    """The other end is gone."""


def send_job(channel: socket.socket, task: Task, job: Job) -> None:
    """Write one job; raises OSError when the other end is gone, TimeoutError when it does not read."""
    if isinstance(job, DecodeJob):
        frames: Sequence[bytes] = (job.data,)
        bare: Job = replace(job, data=b"")
    else:
        frames, bare = job.frames, replace(job, frames=())
    body = pickle.dumps(bare, protocol=5)
    lengths = b"".join(_LENGTH.pack(len(frame)) for frame in frames)
    channel.sendall(_HEAD.pack(task, len(body), len(frames)) + body + lengths)
    for frame in frames:
        channel.sendall(frame)


def receive_job(channel: socket.socket) -> tuple[Task, Job]:
    """Read one job from the parent; raises Closed when it has gone."""
    task, size, count = _HEAD.unpack(receive(channel, _HEAD.size))
    # The parent is trusted: it made this pickle from its own values a moment ago.
    bare = cast(Job, pickle.loads(receive(channel, size)))
    lengths = [_LENGTH.unpack(receive(channel, _LENGTH.size))[0] for _ in range(count)]
    frames = tuple(bytes(receive(channel, length)) for length in lengths)
    if isinstance(bare, DecodeJob):
        return Task(task), replace(bare, data=frames[0])
    return Task(task), replace(bare, frames=frames)


def send_answer(channel: socket.socket, status: Status, *parts: bytes | memoryview) -> None:
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
