"""The proof of a pack: everything read back from the store, every data set rebuilt, every digest compared.

Only after it may rows be switched and landed objects go. It trusts neither the codec nor the store nor the
writer: it starts from the last two kilobytes, as a stranger would.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from lightwell.domain.archive.coding import CodedFrame, NotCoded, Reason
from lightwell.domain.archive.errors import Damaged
from lightwell.domain.archive.internal.packing.feeding import Feeder
from lightwell.domain.archive.internal.packing.index import Entry, read_index
from lightwell.domain.archive.internal.packing.reading import (
    CHUNK,
    Window,
    coded_frames,
    loose_entries,
    original_head,
)
from lightwell.domain.archive.internal.packing.recipe import Recipe
from lightwell.domain.archive.internal.packing.sources import Source
from lightwell.domain.archive.internal.packing.tar import Member, ReadRange
from lightwell.domain.archive.internal.packing.writing import Packed, SeriesFacts, pack_series
from lightwell.domain.archive.ports import BlobStore, FrameCoder
from lightwell.kernel.errors import LightwellError


@dataclass(frozen=True, slots=True)
class Failed:
    """An entry that did not prove: its data set, rebuilt, is not what arrived."""

    entry: Entry
    why: str


class _Account:
    """The digest of one data set while its pieces come in."""

    def __init__(self, entry: Entry, recipe: Recipe | None) -> None:
        self.entry = entry
        self.recipe = recipe
        self.digest = hashlib.sha256()
        self.size = 0
        self.left = recipe.form.frames if recipe is not None else 0
        self.why = ""

    def add(self, piece: bytes | memoryview) -> None:
        self.digest.update(piece)
        self.size += len(piece)

    def take(self, made: memoryview | NotCoded) -> None:
        if isinstance(made, NotCoded):
            self.why = self.why or f"a frame cannot be decoded: {made.why}"
            return
        self.add(made)
        self.left -= 1
        if not self.left and self.recipe is not None:
            self.add(self.recipe.pad + self.recipe.tail)

    @property
    def failure(self) -> Failed | None:
        given = self.entry.given
        right = self.size == given.size and self.digest.digest() == given.sha256
        if right and not self.why and not self.left:
            return None
        return Failed(self.entry, self.why or "the rebuilt data set has another digest")


def prove(
    read: ReadRange,
    length: int,
    coder: FrameCoder,
    written: Sequence[Entry] | None = None,
    crc: int | None = None,
    heard: Callable[[], None] | None = None,
) -> list[Failed]:
    """The entries of a stored pack that are not what arrived; [] is the proof.

    `written` are the rows about to be switched: the pack's own index must say the same; `crc` is the
    CRC32C of all that was written; `heard` is called after each entry. Raises Damaged when
    index, TAR or frame records are not whole, and what reading or the coder raises.
    """
    index = read_index(read, length)
    if written is not None and index.entries != tuple(written):
        raise Damaged("The index of a pack is not what was written.")
    window = Window(read, length)
    forward = partial(_either, window, Window(read, length), index.frames)
    found = loose_entries(forward, length)
    accounts: list[_Account] = []
    feeder: Feeder[CodedFrame, memoryview] = Feeder(coder.decode, coder.depth)
    try:
        for entry in index.entries:
            _same(next(found, None), entry)
            accounts.append(_begin(forward, entry, feeder))
            if heard is not None:
                heard()
        feeder.finish()
    finally:
        feeder.abandon()
    _same(next(found, None), None)
    if crc is not None and window.finish() != crc:
        raise Damaged("What the store gives back of a pack is not what was written.")
    return [failure for account in accounts if (failure := account.failure) is not None]


def _same(member: Member | None, entry: Entry | None) -> None:
    """The TAR must say of each entry what the index says: one is read without the other."""
    lies = None if member is None else (member.offset, member.size)
    if lies != (None if entry is None else (entry.offset, entry.length)):
        raise Damaged("The members of a pack are not those of its index.")


def _either(
    window: Window, frames: Window, member: tuple[int, int], offset: int, length: int
) -> bytes:
    """Frame records by a window of their own, so that the other one only goes forward."""
    inside = member[0] <= offset < member[0] + member[1]
    return (frames if inside else window).read(offset, length)


def _begin(read: ReadRange, entry: Entry, feeder: Feeder[CodedFrame, memoryview]) -> _Account:
    """Start rebuilding one entry; its account is settled when its last frame has come back."""
    account = _Account(entry, None)
    try:
        if not entry.coded:
            at, end = entry.offset + entry.meta, entry.offset + entry.length
            while at < end:
                piece = read(at, min(CHUNK, end - at))
                account.add(piece)
                at += len(piece)
            return account
        recipe = Recipe.from_bytes(entry.recipe)
        account = _Account(entry, recipe)
        account.add(original_head(read, entry, recipe))
        for coded in coded_frames(read, entry):
            feeder.add(recipe.form, coded, account.take)
    except Damaged as error:
        account.why = str(error)
    return account


def pack_proved(
    sources: Callable[[], Iterable[Source]],
    coder: FrameCoder,
    store: BlobStore,
    new_key: Callable[[], str],
    facts: SeriesFacts,
    *,
    refuse: Mapping[str, Reason] | None = None,
    folder: str | None = None,
    heard: Callable[[int], None] | None = None,
    again: Callable[[str], bytes] | None = None,
) -> tuple[str, Packed]:
    """Write a pack to the store, seal it, prove it from there; its key and what is in it.

    `heard` is told how many objects are done, one half of each by writing it and one by proving it. `again`
    gives, by SOP Instance UID, the digest of the native form of an original, decompressed once more: that of
    every entry that keeps no original has to be equal to what the pack gives back.
    Entries that fail go into a second pack as received (`proof-failed`); the first is deleted. Raises
    Damaged when an object fails as received, too: then what landed is damaged. Whatever is raised, the
    store keeps nothing of it, as far as it can be reached.
    """
    refused = dict(refuse or {})
    for _ in range(2):
        count = _Halves(heard)
        key = new_key()
        sink = store.begin(key)
        try:
            packed = pack_series(
                sources(), coder, sink.write, facts, refuse=refused, folder=folder, heard=count
            )
            sink.seal()
        except BaseException:
            sink.discard()
            raise
        try:
            failed = _prove_stored(store, key, coder, packed, count)
            failed += _prove_decompressed(packed, failed, again)
        except BaseException:
            _drop(store, key)
            raise
        if not failed:
            return key, packed
        _drop(store, key)
        broken = [failure for failure in failed if not failure.entry.coded]
        if broken:
            raise Damaged(
                f"{len(broken)} landed objects of a series are damaged; it was not settled."
            )
        refused |= {failure.entry.sop_uid: Reason.PROOF_FAILED for failure in failed}
    raise Damaged("A series could not be proved, even as received; it was not settled.")


class _Halves:
    """Called twice an object; tells whole ones."""

    def __init__(self, heard: Callable[[int], None] | None) -> None:
        self._heard = heard
        self._halves = 0

    def __call__(self) -> None:
        self._halves += 1
        if self._heard is not None:
            self._heard(self._halves // 2)


def _prove_stored(
    store: BlobStore, key: str, coder: FrameCoder, packed: Packed, heard: Callable[[], None]
) -> list[Failed]:
    itself = store.itself()  # a proof by what a cache has kept would prove the cache
    if itself.length(key) != packed.length:
        raise Damaged("The store keeps a pack of another length than was written.")
    read = partial(itself.read, key)
    return prove(read, packed.length, coder, packed.entries, packed.crc32c, heard)


def _prove_decompressed(
    packed: Packed, failed: Sequence[Failed], again: Callable[[str], bytes] | None
) -> list[Failed]:
    """What a decoder erred in once is not what it gives again: the codec's word alone proves nothing."""
    known = {failure.entry.sop_uid for failure in failed}
    return [
        Failed(entry, "decompressed once more, it has other pixels")
        for entry in packed.entries
        if entry.kept is not None
        and entry.coded
        and entry.sop_uid not in known
        and (again is None or again(entry.sop_uid) != entry.kept.sha256)
    ]


def _drop(store: BlobStore, key: str) -> None:
    """No row points to it yet; what cannot be removed now is an orphan like any other."""
    with contextlib.suppress(LightwellError, OSError):
        store.delete(key)
