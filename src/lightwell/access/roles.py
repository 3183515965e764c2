"""The roles that are shipped. What each may do is policy (`policies/shipped.cedar`), not code."""

from __future__ import annotations

from enum import StrEnum

from lightwell.kernel.errors import Invalid


class Role(StrEnum):
    """What a person or program is in its tenant. The comment is what an administrator reads."""

    ADMIN = "admin"  # runs the tenant: people, peers, policies; of `default`: the installation
    PACS_ADMIN = "pacs-admin"  # runs the archive: peers, corrections, background work
    RADIOLOGIST = "radiologist"  # reads images
    TECHNOLOGIST = "technologist"  # makes images, corrects who and what they are of
    REFERRER = "referrer"  # sees the patients they sent
    PATIENT = "patient"  # sees their own images
    RESEARCHER = "researcher"  # sees images without a person behind them
    AUDITOR = "auditor"  # sees records of what was done, not images
    INTEGRATION = "integration"  # a program beside us: information system, router, AI
    SUPPORT = "support"  # the vendor's people, with the tenant's consent


ADMINISTRATORS = frozenset({Role.ADMIN, Role.PACS_ADMIN, Role.SUPPORT})


def checked_roles(names: frozenset[str]) -> frozenset[str]:
    """Only roles that exist, at least one. Raises Invalid."""
    unknown = sorted(names - set(Role))
    if unknown or not names:
        what = (
            f"There is no role {', '.join(map(repr, unknown))}." if unknown else "No role is given."
        )
        raise Invalid(what, remedy=f"Roles are {', '.join(Role)}.")
    return names
