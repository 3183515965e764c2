"""Who asks the console's API, and whether a change was meant."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from lightwell.access.context import Context, Tenant
from lightwell.gateways.http.door import CALLER_SCOPE, TENANT_SCOPE
from lightwell.gateways.http.identity import Caller, not_recognised
from lightwell.kernel.errors import Invalid


def context_of(request: Request) -> Context:
    """Who asks. Raises HttpProblem 401 at an address that answers to anybody."""
    tenant: Tenant = request.scope[TENANT_SCOPE]
    origin = request.client.host if request.client else ""
    caller: Caller | None = request.scope[CALLER_SCOPE]
    if caller is None:
        raise not_recognised()
    return caller.context(tenant, "console", origin)


def deliberate(request: Request) -> None:
    """Refuse a change that a page from anywhere could ask for: no form sends JSON, and a script of
    another site that says it does is stopped by the browser's preflight. Raises Invalid."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Invalid("A change is asked for as application/json.", remedy="Send {} with it.")


Who = Annotated[Context, Depends(context_of)]
