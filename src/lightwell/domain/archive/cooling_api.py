"""The archive's fifth front door: packs that nobody opens go to a cheaper store, and come back when asked.

What is searched, shown in lists and seen first (metadata, previews) stays where it was. A pack is readable
at every moment of its move, which can be repeated after any interruption.
"""

from __future__ import annotations

import asyncio

from lightwell.access.actions import Action
from lightwell.access.commit import Committer
from lightwell.access.operation import Act, operation
from lightwell.access.ports import PolicySource
from lightwell.domain.archive import events
from lightwell.domain.archive.internal.moving import move
from lightwell.domain.archive.model import Level, PackClassRow, Target
from lightwell.domain.archive.ports import BlobStore, Folders, Index, no_folder
from lightwell.kernel.clock import Clock


class Cooling:
    """One a process; `hot` and `cool` are the two stores behind the archive's one."""

    def __init__(
        self,
        *,
        hot: BlobStore,
        cool: BlobStore,
        index: Index,
        committer: Committer,
        policy: PolicySource,
        clock: Clock,
        folders: Folders = no_folder,
    ) -> None:
        self.policy = policy
        self.committer = committer
        self.clock = clock
        self._hot = hot
        self._cool = cool
        self._index = index
        self._folders = folders  # where a copy waits on its way

    @operation(Action.ARCHIVE_SERIES_COOL)
    async def cool(self, act: Act, study_uid: str, series_uid: str | None = None) -> int:
        """Move the packs of a study, or of one series, to the cool store; how many there were.

        Raises Damaged (a pack is not what was written: it stays), Unavailable.
        """
        return await self._move(act, study_uid, series_uid, cool=True)

    @operation(Action.ARCHIVE_STUDY_RECALL)
    async def recall(self, act: Act, study_uid: str, series_uid: str | None = None) -> int:
        """Move them back. Raises as `cool`."""
        return await self._move(act, study_uid, series_uid, cool=False)

    async def _move(self, act: Act, study_uid: str, series_uid: str | None, *, cool: bool) -> int:
        act.about(study_uid=study_uid, subject=series_uid or "")
        sight, study = act.sight, Target(Level.STUDY, study_uid)
        if not (sight.everything or await self._index.sees(act.context.tenant, study, sight)):
            return 0  # as of a study that is not there
        source, target = (self._hot, self._cool) if cool else (self._cool, self._hot)
        tenant = act.context.tenant
        moved: list[tuple[str, int]] = []
        try:
            for pack in await self._index.packs(tenant, study_uid, series_uid):
                if pack.cool != cool:
                    folder = self._folders(tenant.region)
                    await asyncio.to_thread(move, source, target, pack.pack, folder)
                    moved.append((pack.series_uid, pack.generation))
        finally:
            if moved:  # also those before one that could not be
                act.about(
                    study_uid=study_uid, subject=series_uid or "", detail=f"{len(moved)} packs"
                )
                row = PackClassRow(study_uid, tuple(moved), cool)
                told = events.series_cooled if cool else events.series_recalled
                uids = dict.fromkeys(uid for uid, _ in moved)
                await act.commit((row,), tuple(told(study_uid, uid) for uid in uids))
        return len(moved)
