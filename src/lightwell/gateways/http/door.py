"""The root ASGI application: limits, then the route table, then the rest of the house.

Order: route table (DICOMweb and whatever else is hot), `inner` (the console's API and the pages about
the API), the web app's files. Errors become answers here and nowhere else.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable

from lightwell.access.context import Tenant
from lightwell.gateways.http.asgi import (
    NOSNIFF,
    Answering,
    Application,
    Message,
    Receive,
    Scope,
    Send,
    answer,
)
from lightwell.gateways.http.exchange import ClientGone, Exchange, Serves, SessionOver
from lightwell.gateways.http.guard import DoorLimits, Guard
from lightwell.gateways.http.identity import Caller, Identity
from lightwell.gateways.http.problems import (
    PROBLEM_JSON,
    HttpProblem,
    headers_of,
    problem_body,
    status_of,
    type_of,
)
from lightwell.gateways.http.routes import Matched, Route, RouteTable, split_tenant
from lightwell.gateways.http.site import Site
from lightwell.kernel.errors import Kind, LightwellError, Missing

log = logging.getLogger("lightwell.http")

TENANT_SCOPE = "lightwell.tenant"
PREFIX_SCOPE = "lightwell.prefix"
CALLER_SCOPE = "lightwell.caller"
DEFAULT_TENANT = "default"
INNER_BODY = 64 * 1024
"""Bytes of a body for the framework application, which reads all of it before anything is decided."""

TenantNamed = Callable[[str], Awaitable[Tenant]]
"""Finds a tenant by name; raises Missing."""


TenantAt = Callable[[str], Awaitable[Tenant | None]]
"""Finds the tenant of a Host header; raises Missing for a suspended one."""


class Door:
    """The application inside the guard."""

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        tenant_named: TenantNamed,
        inner: Application,
        inner_paths: tuple[str, ...],
        site: Site,
        identity: Identity,
        public_paths: tuple[str, ...] = (),
        serves: Serves | None = None,
        tenant_at: TenantAt | None = None,
    ) -> None:
        self._table = RouteTable(routes)
        self._tenant_named = tenant_named
        self._inner = inner
        self._inner_paths = inner_paths
        # Below these first segments an unknown address is an error, never the web app's page.
        self._reserved = frozenset(
            template.split("/")[1]
            for template in (*inner_paths, *(route.template for route in self._table.routes))
        )
        self._site = site
        self._identity = identity
        self._public_paths = public_paths
        self._serves = serves
        self._tenant_at = tenant_at

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        sending = Answering.of(send)
        try:
            await self._serve(scope, receive, sending)
        except ClientGone:
            log.info("request cut by the client: %s", scope["method"])
        except LightwellError as error:
            if sending.started:
                # Part of an answer is out. Raising makes the server cut the connection, which is the
                # only way to tell the client that what it got is not whole.
                raise
            await _problem(send, error)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The raw path: `%2F` inside a segment must not become a separator.
        raw = scope.get("raw_path") or scope["path"].encode("utf-8")
        prefix, path, name = split_tenant(raw.decode("latin-1").partition("?")[0])
        found = self._table.find(scope["method"], path)
        public = isinstance(found, Matched) and found.route.public
        caller = None
        if self._answers_to_anybody(path):
            await self._inside(scope, receive, send, prefix, path, name, None)
            return
        # Before anything is said of an address: whoever is not recognised learns of none.
        if not public and (found or path[1:].partition("/")[0] in self._reserved):
            caller = await self._identity.caller(scope)
        if isinstance(found, Matched):
            # What answers to anybody is the same below every tenant, also below one that is none.
            tenant = await self._tenant_of(
                None if public else name, caller, None if public else scope
            )
            exchange = Exchange(
                scope,
                receive,
                send,
                tenant=tenant,
                prefix=prefix,
                names=found.names,
                caller=caller,
                serves=self._serves,
            )
            await found.route.handler(exchange)
        elif found:
            allow = ", ".join(sorted({*found, *(["HEAD"] if "GET" in found else [])}))
            raise HttpProblem(
                405, "That method does nothing here.", headers=[(b"allow", allow.encode())]
            )
        elif path.startswith(self._inner_paths):
            await self._inside(scope, receive, send, prefix, path, name, caller)
        elif path[1:].partition("/")[0] in self._reserved:
            raise HttpProblem(404, "There is nothing at this address.")
        else:
            await self._file(scope, send, path)

    def _answers_to_anybody(self, path: str) -> bool:
        """Whether an address is one of the public ones or below it; not one that merely begins so."""
        return any(path == one or path.startswith(f"{one}/") for one in self._public_paths)

    async def _named_by_host(self, scope: Scope) -> str | None:
        """The tenant whose host the request names; None: nobody's. Raises Missing for a suspended one."""
        if self._tenant_at is None:
            return None
        said = [value for key, value in scope["headers"] if key.lower() == b"host"]
        tenant = await self._tenant_at(said[0].decode("latin-1")) if len(said) == 1 else None
        return None if tenant is None else tenant.name

    async def _tenant_of(
        self, name: str | None, caller: Caller | None, scope: Scope | None
    ) -> Tenant:
        """The tenant of an address. Raises Missing alike where it is not there and not the caller's.

        An address without one means that of its host, else the caller's own; without `scope`, the latter.
        """
        if name is None and scope is not None:
            name = await self._named_by_host(scope)
        if caller is None:
            return await self._tenant_named(DEFAULT_TENANT if name is None else name)
        if name is None:
            return caller.home
        tenant = await self._tenant_named(name)
        caller.context(tenant, "", "")  # raises where it is not theirs
        return tenant

    async def _inside(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        prefix: str,
        path: str,
        name: str | None,
        caller: Caller | None,
    ) -> None:
        """Hand over to the framework application, with the tenant found and its prefix taken off."""
        _check_length(scope)
        tenant: Tenant | None
        if self._answers_to_anybody(path):
            # Nobody is known yet: a tenant that is not there must not be told from one that is.
            try:
                tenant = await self._tenant_of(name, None, scope)
            except Missing:
                tenant = None
        else:
            tenant = await self._tenant_of(name, caller, scope)
        inner = {
            **scope,
            "path": path,
            "raw_path": path.encode("latin-1"),
            TENANT_SCOPE: tenant,
            PREFIX_SCOPE: prefix,
            CALLER_SCOPE: caller,
        }
        await self._inner(inner, receive, _unkept(send))

    async def _file(self, scope: Scope, send: Send, path: str) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise HttpProblem(404, "There is nothing at this address.")
        headers = {
            key.decode("latin-1").lower(): value.decode("latin-1")
            for key, value in scope["headers"]
        }
        reply = self._site.reply(path or "/", headers, head=scope["method"] == "HEAD")
        if reply is None:
            raise HttpProblem(404, "There is nothing at this address.")
        await send(
            {"type": "http.response.start", "status": reply.status, "headers": reply.headers}
        )
        await send({"type": "http.response.body", "body": reply.body})


def _unkept(send: Send) -> Send:
    """What the console's API says is of this moment and this caller: no cache has it after they have left
    (R03), unless the address itself says otherwise. Nor is it taken for anything but what it says it is."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            said = {name.lower() for name, _ in headers}
            more = (NOSNIFF, (b"cache-control", b"no-store"))
            headers += [header for header in more if header[0] not in said]
            message = {**message, "headers": headers}
        await send(message)

    return sending


def _check_length(scope: Scope) -> None:
    """Refuse a body of unknown or great length. Raises HttpProblem 411, 413."""
    headers = {name.lower(): value for name, value in scope["headers"]}
    if b"transfer-encoding" in headers:
        raise HttpProblem(411, "The length of the body is not said.", remedy="Send Content-Length.")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > INNER_BODY:
        raise HttpProblem(413, f"A body here has at most {INNER_BODY} bytes.")


async def _problem(send: Send, error: LightwellError) -> None:
    status = status_of(error)
    trace = ""
    if error.kind is Kind.BROKEN:
        trace = secrets.token_hex(8)
        log.error("broken (trace %s): %s", trace, error, exc_info=error)
    body = problem_body(
        status, error.message, remedy=error.remedy, trace=trace, kind=type_of(error)
    )
    await answer(send, status, body, PROBLEM_JSON, headers_of(error))


class Last:
    """Catches what nobody else did: the client gets a trace id, the log gets the rest."""

    def __init__(self, inner: Application) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        sending = Answering.of(send)
        try:
            await self._inner(scope, receive, sending)
        except SessionOver:
            log.info("an answer was cut: its reader may not read on")
            raise
        except Exception as error:
            trace = secrets.token_hex(8)
            log.error("unexpected (trace %s)", trace, exc_info=error)
            if sending.started or scope["type"] != "http":
                raise
            body = problem_body(500, "Something went wrong here; it was logged.", trace=trace)
            await answer(send, 500, body, PROBLEM_JSON)


def guarded(door: Application, limits: DoorLimits | None = None) -> Application:
    """The whole HTTP application: limits outermost."""
    return Last(Guard(door, limits))
