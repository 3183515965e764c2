"""How a provider's client secret is sealed: for one tenant, name and issuer. For another it does not open."""

from __future__ import annotations

from lightwell.access.context import Tenant
from lightwell.domain.people.ports import Sealer
from lightwell.domain.people.providers import IdentityProvider


def sealed(sealer: Sealer, tenant: Tenant, name: str, issuer: str, secret: str) -> bytes:
    """A client secret, as it is kept."""
    return sealer.seal(secret.encode(), _place(tenant, name, issuer))


def opened(sealer: Sealer, tenant: Tenant, provider: IdentityProvider) -> str | None:
    """A provider's client secret; None where it has none. Raises Broken when it was sealed for another."""
    if provider.secret is None:
        return None
    place = _place(tenant, provider.name, provider.issuer)
    return sealer.unseal(provider.secret, place).decode()


def _place(tenant: Tenant, name: str, issuer: str) -> str:
    return f"provider:{tenant.key}:{name}:{issuer}"
