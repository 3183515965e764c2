"""The HTTP application put together: DICOMweb, the console's API, probes and the web app's files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from lightwell.access.actions import Action
from lightwell.app.rendering import PoolRenderer
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.domain.archive.api import Archive
from lightwell.domain.people.glass_api import Glass
from lightwell.domain.people.machine_api import MachineSignIn
from lightwell.domain.people.provider_sign_in_api import ProviderSignIn
from lightwell.domain.people.sign_in_api import SignIn
from lightwell.domain.tenants.api import Tenants
from lightwell.gateways.console import api as console
from lightwell.gateways.console.administration import Offices
from lightwell.gateways.console.asked import ASKED
from lightwell.gateways.console.callers import deliberate
from lightwell.gateways.console.glass import add_glass
from lightwell.gateways.console.prove import add_prove, add_prove_at_provider
from lightwell.gateways.console.provider_administration import add_provider_administration
from lightwell.gateways.console.provider_sign_in import add_provider_sign_in
from lightwell.gateways.console.sign_in import PUBLIC, SIGN_OUT, add_sign_in
from lightwell.gateways.console.sign_out import add_sign_out
from lightwell.gateways.console.token import TOKEN, add_token
from lightwell.gateways.dicomweb.ports import Renderer
from lightwell.gateways.dicomweb.routes import routes as dicomweb_routes
from lightwell.gateways.http.asgi import Application
from lightwell.gateways.http.door import Door, guarded
from lightwell.gateways.http.forwarded import Forwarded, Network
from lightwell.gateways.http.guard import DoorLimits
from lightwell.gateways.http.identity import Identity
from lightwell.gateways.http.openapi import document
from lightwell.gateways.http.probes import Metrics, Ready, probe_routes
from lightwell.gateways.http.routes import Open, Route
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
    sign_in: SignIn,
    tenant_metrics: Metrics | None = None,
    static: Path | None = None,
    limits: DoorLimits | None = None,
    provider_sign_in: ProviderSignIn | None = None,
    public_url: str | None = None,
    glass: Glass | None = None,
    offices: Offices | None = None,
    proxies: tuple[Network, ...] = (),
    machines: MachineSignIn | None = None,
    away: Ready | None = None,
) -> Application:
    """The ASGI application of an HTTP process.

    `ready` says what is not ready, `away` what else does not answer, `metrics` the Prometheus text,
    `tenant_metrics` what of it names tenants. `static` is the folder of the built
    web app, by default the one in this package; without files there is no web app, everything else
    works. `public_url`: the root that browsers know us by, without a slash at the end; None: loopback.
    `offices`: the rooms behind the administration pages; without them there are none.
    `proxies`: whose word on the browser's side of a connection counts. `machines`: gives programs tokens.
    """
    https = public_url is not None and public_url.startswith("https:")
    identity = Identity(sign_in, tenants, https=https)
    inner = _console(
        archive,
        tenants,
        jobs,
        offices,
        sign_in,
        identity,
        provider_sign_in,
        glass,
        machines,
        public_url,
    )
    table = _table(archive, PoolRenderer(pool), inner, ready, metrics, tenant_metrics, away)
    door = Door(
        table,
        tenant_named=tenants.named,
        inner=inner,
        inner_paths=("/api/",),
        site=Site(load(static or Path(str(files("lightwell.app") / STATIC)))),
        identity=identity,
        public_paths=(PUBLIC, SIGN_OUT, TOKEN),
        serves=tenants.serves,
        tenant_at=tenants.at,
    )
    return guarded(Forwarded(door, proxies) if proxies else door, limits)


def _console(
    archive: Archive,
    tenants: Tenants,
    jobs: Jobs,
    offices: Offices | None,
    sign_in: SignIn,
    identity: Identity,
    provider_sign_in: ProviderSignIn | None,
    glass: Glass | None,
    machines: MachineSignIn | None,
    public_url: str | None = None,
) -> FastAPI:
    """The framework's addresses."""
    inner = console.application(archive, tenants, jobs, offices)
    add_sign_in(inner, sign_in, identity, tenants.named, deliberate, tenants.branding)
    add_sign_out(inner, sign_in, provider_sign_in, identity, public_url, deliberate)
    add_prove(inner, sign_in, identity)
    if provider_sign_in is not None:
        add_provider_sign_in(inner, provider_sign_in, identity, public_url)
        add_prove_at_provider(inner, provider_sign_in, identity, public_url)
    if offices is not None:
        add_provider_administration(inner, offices.providers, identity, public_url)
    if glass is not None:
        add_glass(inner, glass)
    if machines is not None:
        add_token(inner, machines)
    return inner


def _table(
    archive: Archive,
    renderer: Renderer,
    inner: FastAPI,
    ready: Ready,
    metrics: Metrics,
    tenant_metrics: Metrics | None = None,
    away: Ready | None = None,
) -> list[Route]:
    """The addresses of the route table; `/openapi.json` describes them and the framework's."""
    table: list[Route] = []
    table += probe_routes(
        ready, metrics, lambda: document(table, inner.openapi(), ASKED), tenant_metrics, away
    )
    table += dicomweb_routes(archive, renderer)
    return table


def addresses() -> dict[str, Action | Open | None]:
    """Every address, `GET /livez`, and what policy is asked there; None: nobody has said.

    The same assembly as serves requests, with nothing behind it.
    """
    nothing: Any = _Nothing()
    inner = _console(*(nothing,) * 9)
    table = _table(nothing, nothing, inner, nothing, nothing)
    found: dict[str, Action | Open | None] = {
        f"{route.method} {route.template.replace('*}', '}')}": route.asked for route in table
    }
    for path, methods in inner.openapi()["paths"].items():
        for method in methods:
            name = f"{method.upper()} {path}"
            found[name] = ASKED.get(name)
    return found


class _Nothing:
    """Stands where a room would: bound to handlers that nobody calls."""

    def __getattr__(self, name: str) -> None:
        return None
