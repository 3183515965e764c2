"""How commands and data sets are cut into P-DATA-TF PDUs (PS3.8 section 9.3.5 and Annex E). Pure.

One presentation data value a PDU, filled up to what the peer announced whatever the sizes of the
chunks, because every fragment but the last must be even and small PDUs cost. Data is not copied:
the results are lists of buffers for ``socket.sendmsg``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

Buffer = bytes | bytearray | memoryview

UNLIMITED_PDU: Final = 256 << 10
"""The longest P-DATA-TF we send, in bytes, however much more the peer would take."""

IS_COMMAND: Final = 0x01
"""Message control header, bit 0 (PS3.8 Annex E.2): command set, else data set."""

IS_LAST: Final = 0x02
"""Message control header, bit 1: the last fragment."""

_P_DATA_TF: Final = 0x04
_PDV_HEADER_BYTES: Final = 6
_BATCH_BYTES: Final = 1 << 20  # handed to one sendmsg
_BATCH_BUFFERS: Final = 256  # and the buffers of one PDU more: well below IOV_MAX (1,024)
_SMALL: Final = 4096  # below this a copy costs less than one more buffer

_HEADERS = Struct(">BxLLBB")


def fragment_size(peer_max_pdu: int) -> int:
    """How many bytes of a message fit one P-DATA-TF for a peer that announced this (0: no limit)."""
    longest = min(peer_max_pdu or UNLIMITED_PDU, UNLIMITED_PDU)
    return (longest - _PDV_HEADER_BYTES) & ~1


def data_header(length: int, context_id: int, control: int) -> bytes:
    """The headers of a P-DATA-TF with one PDV of *length* message bytes."""
    return _HEADERS.pack(_P_DATA_TF, length + _PDV_HEADER_BYTES, length + 2, context_id, control)


def frame_command(context_id: int, command: bytes, size: int) -> bytes:
    """A whole command set as PDUs of at most *size* message bytes."""
    framed = bytearray()
    for start in range(0, len(command), size):
        piece = command[start : start + size]
        control = IS_COMMAND | (IS_LAST if start + size >= len(command) else 0)
        framed += data_header(len(piece), context_id, control)
        framed += piece
    return bytes(framed)


def frame_data(context_id: int, chunks: Iterable[Buffer], size: int) -> Iterator[list[Buffer]]:
    """A data set as PDUs of at most *size* message bytes, in lists of buffers of about 1 MiB.

    Every PDU but the last is full. At least one list comes, so an empty data set has its (empty)
    last fragment. Chunks are kept as views until their list was yielded.
    """
    batch: list[Buffer] = []
    weight = 0
    # The fragment being filled. A full one waits, for only more data tells it is not the last.
    pieces: list[Buffer] = []
    filled = 0
    for chunk in chunks:
        view = memoryview(chunk).cast("B")
        start = 0
        while start < len(view):
            if filled == size:
                batch += (data_header(filled, context_id, 0), *pieces)
                weight += filled
                pieces, filled = [], 0
                if weight >= _BATCH_BYTES or len(batch) >= _BATCH_BUFFERS:
                    yield batch
                    batch, weight = [], 0
            piece = view[start : start + size - filled]
            _add_piece(pieces, piece)
            filled += len(piece)
            start += len(piece)
    batch += (data_header(filled, context_id, IS_LAST), *pieces)
    yield batch


def _add_piece(pieces: list[Buffer], piece: memoryview) -> None:
    """Append *piece*; small ones are copied together, or tiny chunks would exceed IOV_MAX."""
    if len(piece) >= _SMALL:
        pieces.append(piece)
    elif pieces and isinstance(pieces[-1], bytearray):
        pieces[-1] += piece
    else:
        pieces.append(bytearray(piece))
