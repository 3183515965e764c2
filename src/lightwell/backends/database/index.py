"""`ports.Index` on PostgreSQL: each call is one transaction of one tenant on the read pool."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from lightwell.access.context import Tenant
from lightwell.access.sight import EVERYTHING, Facts, Sight, Standing
from lightwell.backends.database import index_read
from lightwell.backends.database.index_find import PLANNING, PostgresCandidates, ReadAttributes
from lightwell.backends.database.pool import FAILURES, Database, translated
from lightwell.domain.archive import finding
from lightwell.domain.archive.model import (
    Allowance,
    AsideItem,
    Attributes,
    CommitmentRow,
    Known,
    KnownInstance,
    Located,
    OverlayRow,
    RejectionRow,
    SeriesContents,
    SeriesPack,
    Target,
    Totals,
)
from lightwell.domain.archive.query import Found, Query
from lightwell.domain.patients.model import PatientFacts
from lightwell.kernel.pages import Page

if TYPE_CHECKING:
    from lightwell.backends.database.pool import Connection


class PostgresIndex:
    """Rows of the archive, read. Raises Unavailable, and Busy past the statement limit."""

    def __init__(self, database: Database, read_attributes: ReadAttributes | None = None) -> None:
        """`read_attributes` gives the original header attributes of one instance.

        It is called in worker threads, for at most 2,000 instances a query; without it, queries that
        need headers are Invalid.
        """
        self._database = database
        self._read_attributes = read_attributes

    @contextlib.asynccontextmanager
    async def _reading(self, tenant: Tenant, settings: str = "") -> AsyncIterator[Connection]:
        try:
            async with self._database.transaction(tenant, settings=settings) as connection:
                yield connection
        except FAILURES as error:
            ours = translated(error)
            if ours is None:
                raise
            raise ours from error

    async def find(self, tenant: Tenant, query: Query, sight: Sight = EVERYTHING) -> Page[Found]:
        asked = finding.plan(query)
        if sight.nothing:
            return Page(())
        async with self._reading(tenant, PLANNING) as connection:
            candidates = PostgresCandidates(connection, tenant, asked, self._read_attributes, sight)
            return await finding.find(query, candidates)

    async def known(
        self, tenant: Tenant, patient: PatientFacts, study_uid: str, sop_uid: str
    ) -> Known:
        async with self._reading(tenant) as connection:
            return await index_read.known(connection, tenant, patient, study_uid, sop_uid)

    async def keeps(self, tenant: Tenant, sop_uids: list[str]) -> dict[str, list[KnownInstance]]:
        async with self._reading(tenant) as connection:
            return await index_read.keeps(connection, tenant, sop_uids)

    async def inline(self, tenant: Tenant, blob_id: uuid.UUID) -> bytes | None:
        async with self._reading(tenant) as connection:
            found: bytes | None = await connection.fetchval(
                "SELECT inline FROM blob WHERE tenant = $1 AND blob_id = $2", tenant.key, blob_id
            )
        return found

    async def locate(
        self,
        tenant: Tenant,
        study_uid: str,
        series_uid: str | None,
        sop_uid: str | None,
        sight: Sight = EVERYTHING,
    ) -> tuple[list[Located], str]:
        async with self._reading(tenant) as connection:
            return await index_read.locate(
                connection, tenant, study_uid, series_uid, sop_uid, sight
            )

    async def facts(self, tenant: Tenant, study_uid: str, standing: Standing) -> Facts | None:
        async with self._reading(tenant) as connection:
            return await index_read.facts(connection, tenant, study_uid, standing)

    async def sees(self, tenant: Tenant, target: Target, sight: Sight) -> bool:
        async with self._reading(tenant, PLANNING) as connection:
            return await index_read.sees(connection, tenant, target, sight)

    async def contents(self, tenant: Tenant, study_uid: str, series_uid: str) -> SeriesContents:
        async with self._reading(tenant) as connection:
            return await index_read.contents(connection, tenant, study_uid, series_uid)

    async def packs(
        self, tenant: Tenant, study_uid: str, series_uid: str | None
    ) -> list[SeriesPack]:
        async with self._reading(tenant) as connection:
            return await index_read.packs(connection, tenant, study_uid, series_uid)

    async def version(self, tenant: Tenant, study_uid: str, series_uid: str | None) -> str:
        async with self._reading(tenant) as connection:
            return await index_read.version(connection, tenant, study_uid, series_uid)

    async def overlays(self, tenant: Tenant, target: Target) -> list[OverlayRow]:
        return [edit for edit in await self.overlay_history(tenant, target) if not edit.undoes]

    async def overlay_history(self, tenant: Tenant, target: Target) -> list[OverlayRow]:
        async with self._reading(tenant) as connection:
            return await index_read.overlay_history(connection, tenant, target)

    async def overlay(self, tenant: Tenant, edit_id: uuid.UUID) -> OverlayRow | None:
        async with self._reading(tenant) as connection:
            return await index_read.overlay(connection, tenant, edit_id)

    async def original(self, tenant: Tenant, target: Target) -> Attributes | None:
        async with self._reading(tenant) as connection:
            return await index_read.described(connection, tenant, target, "original")

    async def effective(self, tenant: Tenant, target: Target) -> Attributes | None:
        async with self._reading(tenant) as connection:
            return await index_read.described(connection, tenant, target, "attributes")

    async def rejections(self, tenant: Tenant, study_uid: str) -> list[RejectionRow]:
        async with self._reading(tenant) as connection:
            return await index_read.rejections(connection, tenant, study_uid)

    async def aside(self, tenant: Tenant, limit: int, sight: Sight = EVERYTHING) -> list[AsideItem]:
        async with self._reading(tenant) as connection:
            return await index_read.aside(connection, tenant, limit, sight)

    async def totals(self, tenant: Tenant, sight: Sight = EVERYTHING) -> Totals:
        async with self._reading(tenant, "" if sight.everything else PLANNING) as connection:
            return await index_read.totals(connection, tenant, sight)

    async def allowance(self, tenant: Tenant) -> Allowance:
        async with self._reading(tenant) as connection:
            return await index_read.allowance(connection, tenant)

    async def due_commitments(self, tenant: Tenant, limit: int) -> list[CommitmentRow]:
        async with self._reading(tenant) as connection:
            return await index_read.due_commitments(connection, tenant, limit)
