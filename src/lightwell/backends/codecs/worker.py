"""The child process that touches hostile pixels: `python -P -m lightwell.backends.codecs.worker`.

It loads every codec, then locks itself in (no new files, sockets or processes' privileges, bounded
memory and processor time, dies with its parent) and serves one job after the other over the socket
that it was given as file descriptor 0. It holds no secret: its environment is empty but for paths.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator

import imagecodecs
import numpy as np

from lightwell.backends.codecs import protocol
from lightwell.backends.codecs.decode import decode_frame, native_frame
from lightwell.backends.codecs.decompress import decompress_frame
from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.backends.codecs.htj2k import (
    decode_coarse,
    encode_frame,
)
from lightwell.backends.codecs.htj2k import (
    decode_frame as rebuild_frame,
)
from lightwell.backends.codecs.pixels import CodeJob, DecodeJob, Limits, RenderJob
from lightwell.backends.codecs.protocol import Job, Status, Task
from lightwell.backends.codecs.render import render
from lightwell.domain.archive.coding import (
    CodedFrame,
    CompressedFrame,
    NativeFrame,
    NotCoded,
    PixelForm,
)

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38


def main() -> int:
    """Serve until the parent closes the socket. Exit code 0: the parent is gone or done."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    _die_with(options.parent)
    limits = Limits(memory=options.memory, seconds=options.seconds)
    channel = socket.socket(fileno=os.dup(0))
    _load_codecs()
    _lock_in(channel, limits)
    try:
        channel.sendall(protocol.READY)
        while _serve(channel, limits):
            pass
    except (protocol.Closed, OSError):
        return 0
    return 0


def _die_with(parent: int) -> None:
    """Be killed when the parent dies, also when it died before we could ask for that."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


def _prctl(option: int, value: int) -> None:
    """Best effort: other systems than Linux have no such call, and end by EOF on the socket."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _load_codecs() -> None:
    """Use every codec once: they load lazily, and later no file can be opened any more."""
    grey = np.zeros((16, 16), np.uint8)
    pairs = (
        (imagecodecs.jpeg8_encode, imagecodecs.jpeg8_decode),
        (imagecodecs.jpegls_encode, imagecodecs.jpegls_decode),
        (imagecodecs.jpeg2k_encode, imagecodecs.jpeg2k_decode),
        (imagecodecs.htj2k_encode, imagecodecs.htj2k_decode),
        (imagecodecs.jpegxl_encode, imagecodecs.jpegxl_decode),
        (imagecodecs.png_encode, imagecodecs.png_decode),
        (imagecodecs.gif_encode, imagecodecs.gif_decode),
    )
    for encoder, decoder in pairs:
        decoder(encoder(grey))
    imagecodecs.jpegsof3_decode(imagecodecs.jpeg8_encode(grey, lossless=True, predictor=1))
    imagecodecs.packbits_decode(b"\xff\x00")


def _lock_in(channel: socket.socket, limits: Limits) -> None:
    """Give up what a decoder does not need."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    # No descriptor above the channel can be opened: no file, no socket, no pipe.
    highest = channel.fileno() + 1
    os.closerange(highest, 4096)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))


def _serve(channel: socket.socket, limits: Limits) -> bool:
    """One job; False when this process should leave."""
    task, job = protocol.receive_job(channel)
    channel.sendall(protocol.BEGUN)
    _allow_seconds(limits.seconds)
    try:
        parts = _do(task, job, limits)
    except DecodeFailed as trouble:
        protocol.send_answer(channel, Status.FAILED, trouble.message.encode())
    except DecodeRefused as trouble:
        protocol.send_answer(channel, Status.REFUSED, str(trouble).encode())
    except MemoryError:
        text = f"Decoding needs more than the {limits.memory >> 20} MiB allowed."
        protocol.send_answer(channel, Status.EXHAUSTED, text.encode())
        return False
    else:
        protocol.send_answer(channel, Status.DONE, *parts)
    return True


def _allow_seconds(seconds: float) -> None:
    """Processor time for one job; the kernel ends us with SIGXCPU after it."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _do(task: Task, job: Job, limits: Limits) -> tuple[protocol.Buffer, ...]:
    if isinstance(job, RenderJob):
        return (render(job, limits),)
    if isinstance(job, CodeJob):
        return tuple(_code(task, job, limits))
    return _decode(task, job, limits)


def _code(task: Task, job: CodeJob, limits: Limits) -> Iterator[protocol.Buffer]:
    """The parts of an answer; a frame that fails says so in its place and the others go on."""
    if task is Task.COARSE:
        picture = decode_coarse(bytes(job.buffers[0]), *job.picture)
        yield np.ascontiguousarray(picture).tobytes()
        return
    for number, form in enumerate(job.forms):
        if task is Task.ENCODE:
            yield from protocol.pack_coded(_encoded(form, job.buffers[number]))
        elif task is Task.DECOMPRESS:
            frame = CompressedFrame(*job.said[number], bytes(job.buffers[number]))
            yield from protocol.pack_decompressed(_decompressed(form, frame, limits))
        else:
            stream, side = job.buffers[2 * number : 2 * number + 2]
            coded = CodedFrame(bytes(stream), job.zeros[number], bytes(side))
            yield from protocol.pack_rebuilt(_rebuilt(form, coded))


def _encoded(form: PixelForm, frame: protocol.Buffer) -> CodedFrame | NotCoded:
    try:
        return encode_frame(form, frame)
    except DecodeFailed as trouble:
        return NotCoded(trouble.message)


def _rebuilt(form: PixelForm, coded: CodedFrame) -> memoryview | NotCoded:
    try:
        return rebuild_frame(form, coded)
    except DecodeFailed as trouble:
        return NotCoded(trouble.message)


def _decompressed(
    form: PixelForm, frame: CompressedFrame, limits: Limits
) -> NativeFrame | NotCoded:
    try:
        return decompress_frame(form, frame, limits)
    except DecodeFailed as trouble:
        return NotCoded(trouble.message)
    except DecodeRefused as trouble:
        return NotCoded(str(trouble))


def _decode(task: Task, job: DecodeJob, limits: Limits) -> tuple[bytes | memoryview, ...]:
    if task is Task.NATIVE:
        return protocol.pack_native(native_frame(job, limits))
    samples = decode_frame(job, limits).samples
    return (np.ascontiguousarray(samples).tobytes(),)


if __name__ == "__main__":
    sys.exit(main())
