"""The DICOMweb addresses (PS3.18 10, Annex H), hot ones first."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from lightwell.access.actions import Action
from lightwell.domain.archive.api import Archive
from lightwell.gateways.dicomweb.frames import BulkData, Frames
from lightwell.gateways.dicomweb.metadata import Metadata
from lightwell.gateways.dicomweb.objects import Objects
from lightwell.gateways.dicomweb.ports import Renderer
from lightwell.gateways.dicomweb.preview import Preview
from lightwell.gateways.dicomweb.qido import Search
from lightwell.gateways.dicomweb.rendering import Rendering
from lightwell.gateways.dicomweb.resources import Shelf
from lightwell.gateways.dicomweb.stow import Stow
from lightwell.gateways.http.routes import Handler, Route
from lightwell.wire.mediatypes import (
    DICOM,
    DICOM_JSON,
    JSON,
    MULTIPART,
    OCTETS,
    PREVIEW,
    RENDERED_TYPES,
)

STUDY: Final = "/dicomweb/studies/{study}"
SERIES: Final = STUDY + "/series/{series}"
INSTANCE: Final = SERIES + "/instances/{instance}"
FRAMES: Final = INSTANCE + "/frames/{frames}"

_ACCEPT: Final = {
    "accept": "media types, before those of the Accept header",
    "v": "the entity tag known: while it is still true, the answer may be kept for ever",
}
_SEARCH: Final = MappingProxyType(
    {
        "accept": _ACCEPT["accept"],
        "limit": "most results of one answer, at most 1000",
        "offset": "results to leave out at the beginning",
        "cursor": "the X-Next-Cursor of the answer before: pages that stay stable while objects arrive",
        "includefield": "attributes to return beyond those of the level, or all",
        "fuzzymatching": "true: person names match by word and sound",
        "emptyvaluematching": "true: a key without value asks for empty values",
        "multiplevaluematching": "true: comma-separated values, any of which may match",
    }
)
_RENDERED: Final = MappingProxyType(
    {
        **_ACCEPT,
        "viewport": "width,height[,x,y,width,height of the region]",
        "window": "center,width,linear|linear-exact|sigmoid",
        "quality": "1 to 100",
        "annotation": "patient, technique",
    }
)
_PREVIEW: Final = MappingProxyType(
    {
        **_ACCEPT,
        "level": "2 to 5: coarse frames down to 1/2^level of their size (4)",
        "lead": "64 to 1024: least width and height of the lead image in pixels (128)",
    }
)
_THUMBNAIL: Final = MappingProxyType({**_ACCEPT, "viewport": "width,height"})


def routes(archive: Archive, renderer: Renderer) -> list[Route]:
    """Every DICOMweb address, bound to its handler."""
    shelf = Shelf(archive, renderer)
    frames, bulk, objects = Frames(shelf), BulkData(shelf), Objects(shelf)
    metadata, rendering = Metadata(shelf), Rendering(shelf)
    return [
        _read(
            FRAMES,
            frames.retrieve,
            "Retrieve frames",
            (MULTIPART, OCTETS, "image/jphc"),
            (206, 406, 416, 422),
        ),
        _read(INSTANCE + "/metadata", metadata.retrieve, "Instance metadata", (DICOM_JSON, JSON)),
        _read(SERIES + "/metadata", metadata.retrieve, "Series metadata", (DICOM_JSON, JSON)),
        _read(STUDY + "/metadata", metadata.retrieve, "Study metadata", (DICOM_JSON, JSON)),
        _read(
            SERIES + "/preview",
            Preview(shelf).retrieve,
            "Metadata, lead image and coarse frames of a series",
            (PREVIEW,),
            (206, 400, 416),
            _PREVIEW,
        ),
        *_pictures(rendering),
        _read(
            INSTANCE + "/bulkdata/{path*}",
            bulk.retrieve,
            "One value",
            (MULTIPART, OCTETS),
            (206, 416),
        ),
        _read(INSTANCE + "/pixeldata", bulk.pixeldata, "Pixel data", (MULTIPART,)),
        _read(SERIES + "/pixeldata", bulk.pixeldata, "Pixel data of a series", (MULTIPART,)),
        _read(STUDY + "/pixeldata", bulk.pixeldata, "Pixel data of a study", (MULTIPART,)),
        _read(INSTANCE, objects.retrieve, "Retrieve an instance", (MULTIPART, DICOM)),
        _read(SERIES, objects.retrieve, "Retrieve a series", (MULTIPART,), (206,)),
        _read(STUDY, objects.retrieve, "Retrieve a study", (MULTIPART,), (206,)),
        *_searches(Search(archive)),
        *_uploads(Stow(archive)),
    ]


def _read(
    template: str,
    handler: Handler,
    summary: str,
    produces: tuple[str, ...],
    statuses: tuple[int, ...] = (),
    query: dict[str, str] | MappingProxyType[str, str] = _ACCEPT,
) -> Route:
    return Route(
        "GET",
        template,
        handler,
        Action.ARCHIVE_INSTANCE_RETRIEVE,
        summary,
        query=query,
        produces=produces,
        statuses=(200, 304, 403, 404, 406, *statuses),
    )


def _pictures(rendering: Rendering) -> list[Route]:
    names = {STUDY: "study", SERIES: "series", INSTANCE: "instance", FRAMES: "frames"}
    drawn = [
        _read(
            f"{base}/rendered",
            rendering.rendered,
            f"Pictures of a {name}",
            (*RENDERED_TYPES, MULTIPART),
            (413, 422),
            _RENDERED,
        )
        for base, name in names.items()
    ]
    small = [
        _read(
            f"{base}/thumbnail",
            rendering.thumbnail,
            f"One small picture of a {name}",
            ("image/jpeg",),
            (422,),
            _THUMBNAIL,
        )
        for base, name in names.items()
    ]
    return drawn + small


def _searches(search: Search) -> list[Route]:
    addresses: list[tuple[str, Handler, str]] = [
        ("/dicomweb/studies", search.studies, "Search for studies"),
        (STUDY + "/series", search.series, "Search for series of a study"),
        (STUDY + "/instances", search.instances, "Search for instances of a study"),
        (SERIES + "/instances", search.instances, "Search for instances of a series"),
        ("/dicomweb/series", search.series, "Search for series"),
        ("/dicomweb/instances", search.instances, "Search for instances"),
    ]
    return [
        Route(
            "GET",
            template,
            handler,
            Action.ARCHIVE_STUDY_QUERY,
            summary,
            query=_SEARCH,
            produces=(DICOM_JSON, JSON),
            statuses=(200, 400, 403, 406, 503),
        )
        for template, handler, summary in addresses
    ]


def _uploads(stow: Stow) -> list[Route]:
    return [
        Route(
            "POST",
            template,
            stow.store,
            Action.ARCHIVE_INSTANCE_STORE,
            summary,
            consumes=(MULTIPART, DICOM, DICOM_JSON),
            produces=(DICOM_JSON,),
            statuses=(200, 202, 400, 403, 409, 413, 415, 503, 507),
        )
        for template, summary in (
            ("/dicomweb/studies", "Store instances"),
            (STUDY, "Store instances of one study"),
        )
    ]
