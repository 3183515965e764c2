"""Bearer tokens for tests, one a tenant: the one place where they get their identity from.

Each is made with the operator's command when a tenant is first asked for, as an administrator of that tenant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from lightwell.access.roles import Role
from lightwell.domain.tenants.model import DEFAULT

Command = Callable[..., str]
"""Runs `lightwell ARGUMENTS` on the installation; its output. Raises when it fails."""


def tenant_of(url: str) -> str:
    """The tenant an address names: `/t/demo/…`, or the default one."""
    first, _, rest = urlsplit(url).path.lstrip("/").partition("/")
    return rest.partition("/")[0] if first == "t" else DEFAULT


class KeyRing:
    """The keys of one installation."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._keys: dict[str, str] = {}

    def bearer(self, tenant: str = DEFAULT) -> str:
        """The bearer token for a tenant."""
        if tenant not in self._keys:
            arguments = (
                "token",
                "create",
                "--role",
                Role.ADMIN,
                "--name",
                "test",
                "--tenant",
                tenant,
            )
            self._keys[tenant] = self._command(*arguments).strip().splitlines()[-1]
        return self._keys[tenant]

    def forget(self) -> None:
        """The installation has another database now: keys are made anew."""
        self._keys.clear()

    def headers(self, url: str) -> dict[str, str]:
        """The header for a request to an address."""
        return {"Authorization": f"Bearer {self.bearer(tenant_of(url))}"}

    def __call__(self, request: Any) -> Any:
        """As `auth` of httpx and requests: the header for wherever the request goes."""
        request.headers.update(self.headers(str(request.url)))
        return request
