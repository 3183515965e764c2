"""Sessions for tests without a browser's ceremony: an account and its token, as a sign-in leaves them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta

from lightwell.access.commit import ChangeSet
from lightwell.access.context import Context
from lightwell.app.wiring import House
from lightwell.domain.people.model import How, Session, SessionRow
from lightwell.domain.people.tokens import TokenKind, digest, new_token

LIFE = timedelta(hours=1)


async def signed_in(house: House, operator: Context, login: str, roles: Iterable[str]) -> str:
    """Make an account in the operator's tenant and sign it in; its bearer token."""
    made = await house.people.add(operator, login, roles=roles)
    now = house.archive.clock.now()
    session = Session(
        session_id=uuid.uuid4(),
        person_id=made.id,
        name=login,
        how=How.PASSWORD_TOTP,
        origin="",
        agent="",
        created=now,
        seen=now,
        expires=now + LIFE,
        idle=LIFE,
        proved=now,
    )
    token = new_token(TokenKind.SESSION)
    await house.committer.commit(ChangeSet(operator.tenant, (SessionRow(session, digest(token)),)))
    return token
