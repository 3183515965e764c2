"""The web app's own API: tenants, the study list, one study, totals, jobs. FastAPI behind the HTTP door.

The door has found the tenant and put it into the scope; links keep the form the request came by.
"""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from lightwell.access.context import Context
from lightwell.dicom.uids import acceptable_uid
from lightwell.domain.archive.api import Archive
from lightwell.domain.archive.model import Level
from lightwell.domain.archive.query_building import Key, build_query
from lightwell.domain.tenants.api import Tenants
from lightwell.gateways.console.administration import Offices, add_administration
from lightwell.gateways.console.callers import Who, deliberate
from lightwell.gateways.console.views import (
    JobCounts,
    JobPage,
    JobSubject,
    JobView,
    Me,
    Stats,
    StudyDetail,
    StudyPage,
    TenantView,
    hinted,
    job_counts,
    job_subject,
    job_view,
    me_view,
    series_row,
    study_detail,
    study_row,
    tenant_view,
)
from lightwell.gateways.http.door import PREFIX_SCOPE
from lightwell.gateways.http.problems import (
    PROBLEM_JSON,
    headers_of,
    problem_body,
    status_of,
    type_of,
)
from lightwell.kernel.errors import Invalid, LightwellError, Missing
from lightwell.workflows.api import Jobs
from lightwell.workflows.ports import State

PREFIX = "/api/v1"
SERIES_LIMIT = 1000
# What the lists show beyond the attributes every study search returns: Institution Name, Study
# Description; for series the Body Part Examined.
_STUDY_EXTRAS = (0x00080080, 0x00081030)
HINTED_SERIES = 12  # a study of more is told of its series when it is opened
_SERIES_EXTRAS = (0x00180015, 0x0008103E)
# Of what a job is about: Series and Study Description.
_SUBJECT_EXTRAS = (0x0008103E, 0x00081030)
_DATE = re.compile(r"\d{8}")


def prefix_of(request: Request) -> str:
    """`/t/demo`, or empty."""
    return str(request.scope[PREFIX_SCOPE])


Prefix = Annotated[str, Depends(prefix_of)]


def date_range(first: str, last: str) -> str:
    """Two dates as a range key (PS3.4 C.2.2.2.5); '' open. Raises Invalid."""
    for date in (first, last):
        if date and not _DATE.fullmatch(date):
            raise Invalid("A date is not YYYYMMDD.")
    return f"{first}-{last}" if first or last else ""


def application(
    archive: Archive, tenants: Tenants, jobs: Jobs, offices: Offices | None = None
) -> FastAPI:
    """The API as an application; the door calls it with the tenant's prefix taken off.

    Without `offices` there is no administration, and nobody is told what they may do.
    """
    app = FastAPI(
        title="Lightwell", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.add_exception_handler(LightwellError, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)

    @app.get(f"{PREFIX}/me", summary="Who one is, here")
    async def me(who: Who) -> Me:
        return me_view(who, () if offices is None else await offices.policies.permitted(who))

    @app.get(f"{PREFIX}/tenants", summary="Tenants of this installation")
    async def list_tenants(who: Who) -> list[TenantView]:
        """Those that are served: nobody can go to a suspended one."""
        return [tenant_view(each) for each in await tenants.list(who) if not each.suspended]

    @app.get(f"{PREFIX}/studies", summary="The study list")
    async def list_studies(
        who: Who,
        prefix: Prefix,
        q: Annotated[str, Query(max_length=256)] = "",
        modality: Annotated[str, Query(max_length=16)] = "",
        from_: Annotated[str, Query(alias="from", max_length=8)] = "",
        to: Annotated[str, Query(max_length=8)] = "",
        sort: Annotated[str, Query(max_length=32)] = "-StudyDate",
        cursor: Annotated[str, Query(max_length=2048)] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> StudyPage:
        dates = date_range(from_, to)
        keys: list[Key] = [((0x00080020,), "DA", dates)] if dates else []
        query = build_query(
            Level.STUDY,
            keys,
            include=_STUDY_EXTRAS,
            limit=limit,
            cursor=cursor or None,
            order=sort,
            text=q,
            modality=modality,
        )
        page = await archive.find(who, query)
        rows = [study_row(found, prefix) for found in page.items]
        few = tuple(row.study_uid for row in rows if 0 < row.series <= HINTED_SERIES)
        if few:
            # With them the page asks for the first images at the click, not one round trip later.
            limit = len(few) * HINTED_SERIES
            below = build_query(Level.SERIES, (), study_uids=few, limit=limit)
            rows = hinted(rows, (await archive.find(who, below)).items)
        return StudyPage(items=rows, next_cursor=page.next_cursor)

    @app.get(f"{PREFIX}/studies/{{study_uid}}", summary="One study and its series")
    async def one_study(who: Who, prefix: Prefix, study_uid: str) -> StudyDetail:
        if not acceptable_uid(study_uid):
            raise Missing("There is no such study.")
        asked = build_query(
            Level.STUDY, (), study_uids=(study_uid,), include=_STUDY_EXTRAS, limit=1
        )
        studies = (await archive.find(who, asked)).items
        if not studies:
            raise Missing("There is no such study.")
        below = build_query(
            Level.SERIES, (), study_uids=(study_uid,), include=_SERIES_EXTRAS, limit=SERIES_LIMIT
        )
        series = (await archive.find(who, below)).items
        return study_detail(studies[0], [series_row(each, prefix) for each in series], prefix)

    @app.get(f"{PREFIX}/stats", summary="What the tenant keeps")
    async def stats(who: Who) -> Stats:
        totals = await archive.totals(who)
        return Stats(
            patients=totals.patients,
            studies=totals.studies,
            series=totals.series,
            instances=totals.instances,
            bytes=totals.bytes,
            held=totals.held,
            candidates=totals.candidates,
            conflicts=totals.conflicts,
            quarantined=totals.quarantined,
            rejected=totals.rejected,
            by_modality=totals.by_modality,
        )

    @app.get(f"{PREFIX}/jobs", summary="Background work, newest first")
    async def list_jobs(
        who: Who,
        state: Annotated[list[State] | None, Query()] = None,
        before: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        describe: bool = False,
    ) -> JobPage:
        """`describe`: look up which series the jobs are about. Ask for it once a job, not each time."""
        seen = await jobs.overview(who, states=state or (), limit=limit, before=before or None)
        items = [job_view(job) for job in seen.jobs]
        return JobPage(
            items=items,
            next_before=items[-1].id if len(items) == limit else None,
            counts=job_counts(seen.counts),
            subjects=await _subjects(archive, who, items) if describe else {},
            now=jobs.clock.now(),
        )

    @app.get(f"{PREFIX}/jobs/counts", summary="How many jobs wait, run and have failed")
    async def count_jobs(who: Who) -> JobCounts:
        return job_counts(await jobs.counts(who))

    @app.post(
        f"{PREFIX}/jobs/{{job:path}}/retry",
        summary="Carry on with a failed job",
        status_code=202,
        dependencies=[Depends(deliberate)],
    )
    async def retry_job(who: Who, job: str) -> JobView:
        return job_view(await jobs.retry(who, unquote(job)))

    @app.post(
        f"{PREFIX}/jobs/{{job:path}}/cancel",
        summary="End a job before its time; what it has done stays done",
        status_code=202,
        dependencies=[Depends(deliberate)],
    )
    async def cancel_job(who: Who, job: str) -> JobView:
        return job_view(await jobs.cancel(who, unquote(job)))

    if offices is not None:
        add_administration(app, PREFIX, offices)
    return app


async def _subjects(archive: Archive, who: Context, items: list[JobView]) -> dict[str, JobSubject]:
    """The series that jobs are about, by UID, through the same door and policy as every search. A list
    of jobs is of use without them, too: what cannot be searched now is left out."""
    series = list({item.series_uid for item in items if item.series_uid})
    if not series:
        return {}
    asked = build_query(
        Level.SERIES,
        (),
        study_uids=list({item.study_uid for item in items if item.study_uid}),
        series_uids=series,
        include=_SUBJECT_EXTRAS,
        limit=len(series),
    )
    try:
        found = (await archive.find(who, asked)).items
    except LightwellError:
        return {}
    return {each.series_uid: job_subject(each) for each in found}


async def _refused(_request: Request, error: Exception) -> Response:
    """A room's error as HTTP: the same table and body as everywhere behind this door."""
    if not isinstance(error, LightwellError):
        raise error
    status = status_of(error)
    body = problem_body(status, error.message, remedy=error.remedy, kind=type_of(error))
    headers = {name.decode(): value.decode() for name, value in headers_of(error)}
    return Response(body, status, headers=headers, media_type=PROBLEM_JSON)


async def _not_valid(_request: Request, error: Exception) -> Response:
    """A parameter that is not what it must be: which one and why, never its value."""
    details: list[Any] = list(error.errors()) if isinstance(error, RequestValidationError) else []
    what = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in details[:5])
    return Response(problem_body(400, what or "Not valid."), 400, media_type=PROBLEM_JSON)
