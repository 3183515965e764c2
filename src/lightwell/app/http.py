"""The HTTP application put together: DICOMweb, the console's API, probes and the web app's files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from lightwell.app.rendering import PoolRenderer
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.domain.archive.api import Archive
from lightwell.domain.people.sign_in_api import SignIn
from lightwell.domain.tenants.api import Tenants
from lightwell.gateways.console import api as console
from lightwell.gateways.console.administration import Offices
from lightwell.gateways.console.callers import deliberate
from lightwell.gateways.console.sign_in import PUBLIC, SIGN_OUT, add_sign_in
from lightwell.gateways.dicomweb.routes import routes as dicomweb_routes
from lightwell.gateways.http.asgi import Application
from lightwell.gateways.http.door import Door, guarded
from lightwell.gateways.http.forwarded import Forwarded, Network
from lightwell.gateways.http.guard import DoorLimits
from lightwell.gateways.http.identity import Identity
from lightwell.gateways.http.openapi import document
from lightwell.gateways.http.probes import Metrics, Ready, probe_routes
from lightwell.gateways.http.routes import Route
from lightwell.gateways.http.site import Site, load
from lightwell.workflows.api import Jobs

STATIC = "static"


def http_application(
    *,
    archive: Archive,
    tenants: Tenants,
    jobs: Jobs,
    pool: DecoderPool,
    ready: Ready,
    metrics: Metrics,
    static: Path | None = None,
    limits: DoorLimits | None = None,
    sign_in: SignIn | None = None,
    anonymous: bool = True,
    offices: Offices | None = None,
    proxies: tuple[Network, ...] = (),
) -> Application:
    """The ASGI application of an HTTP process.

    `ready` says what is not ready, `metrics` the Prometheus text. `static` is the folder of the built
    web app, by default the one in this package; without files there is no web app, everything else
    works. `anonymous`: whoever presents nothing is let through as nobody in particular. `offices`: the rooms
    behind the administration pages; without them there are none.
    `proxies`: whose word on the browser's side of a connection counts.
    """
    inner = console.application(archive, tenants, jobs, offices)
    identity: Identity | None = None
    public: tuple[str, ...] = ()
    if sign_in is not None:
        identity = Identity(sign_in, tenants, anonymous=anonymous)
        add_sign_in(inner, sign_in, identity, tenants.named, deliberate)
        public = (PUBLIC, SIGN_OUT)
    hot = dicomweb_routes(archive, PoolRenderer(pool))
    table: list[Route] = []
    table += probe_routes(ready, metrics, lambda: document(table, inner.openapi()))
    table += hot
    door = Door(
        table,
        tenant_named=tenants.named,
        inner=inner,
        inner_paths=("/api/",),
        site=Site(load(static or Path(str(files("lightwell.app") / STATIC)))),
        identity=identity,
        public_paths=public,
    )
    return guarded(Forwarded(door, proxies) if proxies else door, limits)
