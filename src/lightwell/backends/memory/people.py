"""The room of people in memory: its book, its counter of tries, and how its rows are written."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from lightwell.access.cedar import SHIPPED
from lightwell.access.commit import FactsChanged
from lightwell.access.context import Actor, Tenant
from lightwell.access.policy import Rules
from lightwell.access.roles import Role
from lightwell.access.sight import NOBODY, Standing
from lightwell.backends.memory.glass import GLASS_WRITERS, end_openings, meant, opened_by
from lightwell.backends.memory.tables import (
    AccessTokenRecord,
    CertificateRecord,
    MemoryDatabase,
    PasskeyRecord,
    PersonRecord,
    ProgramRecord,
    SessionRecord,
    TenantTables,
)
from lightwell.domain.people import model as m
from lightwell.domain.people.providers import IdentityProvider
from lightwell.domain.people.standing import standing_of
from lightwell.domain.people.throttling import delay_after, until_after
from lightwell.kernel.errors import Conflict


class MemoryPeople:
    """`domain.people.ports.PeopleBook`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    def _of(self, tenant: Tenant) -> TenantTables:
        return self._database.of(tenant.key)

    async def people(self, tenant: Tenant) -> tuple[m.Person, ...]:
        """See the port."""
        there = (self._seen(tenant, record) for record in self._of(tenant).people.values())
        return tuple(sorted(there, key=lambda person: person.login))

    def _seen(self, tenant: Tenant, record: PersonRecord) -> m.Person:
        """An account, and whether there is anything to sign in with."""
        person, keys = record.person, self._of(tenant).passkeys.values()
        has = record.credentials.password is not None or any(
            key.person_id == person.person_id for key in keys
        )
        return replace(person, enrolled=has or bool(person.issuer))

    async def has_administrator(self, tenant: Tenant) -> bool:
        """See the port."""
        people = (record.person for record in self._of(tenant).people.values())
        return any(
            Role.ADMIN in person.roles and not person.disabled and not person.issuer
            for person in people
        )

    async def person(self, tenant: Tenant, login: str) -> tuple[m.Person, m.Credentials] | None:
        """See the port."""
        for record in self._of(tenant).people.values():
            if record.person.login == login:
                return self._seen(tenant, record), record.credentials
        return None

    async def person_by_id(
        self, tenant: Tenant, person_id: uuid.UUID
    ) -> tuple[m.Person, m.Credentials] | None:
        """See the port."""
        record = self._of(tenant).people.get(person_id)
        return (self._seen(tenant, record), record.credentials) if record else None

    async def person_of(
        self, tenant: Tenant, issuer: str, subject: str
    ) -> tuple[m.Person, m.Credentials] | None:
        """See the port."""
        for record in self._of(tenant).people.values():
            if issuer and (record.person.issuer, record.person.subject) == (issuer, subject):
                return self._seen(tenant, record), record.credentials
        return None

    async def passkey(
        self, tenant: Tenant, credential_id: bytes
    ) -> tuple[m.Person, m.Passkey] | None:
        """See the port."""
        key = self._of(tenant).passkeys.get(credential_id)
        record = self._of(tenant).people.get(key.person_id) if key else None
        return (self._seen(tenant, record), key.passkey) if key and record else None

    async def passkeys(self, tenant: Tenant, person_id: uuid.UUID) -> tuple[m.Passkey, ...]:
        """See the port."""
        keys = self._of(tenant).passkeys.values()
        return tuple(key.passkey for key in keys if key.person_id == person_id)

    async def programs(self, tenant: Tenant) -> tuple[m.Program, ...]:
        """See the port."""
        return tuple(record.program for record in reversed(self._of(tenant).programs.values()))

    async def program(self, tenant: Tenant, program_id: uuid.UUID) -> m.Program | None:
        """See the port."""
        record = self._of(tenant).programs.get(program_id)
        return record.program if record else None

    async def sessions(self, tenant: Tenant, name: str | None = None) -> tuple[m.Session, ...]:
        """See the port."""
        there = (record.session for record in reversed(self._of(tenant).sessions.values()))
        return tuple(s for s in there if s.ended is None and name in (None, s.name))

    async def count_sessions(self, tenant: Tenant, name: str | None, but: uuid.UUID | None) -> int:
        """See the port."""
        return sum(s.session_id != but for s in await self.sessions(tenant, name))

    async def session(self, tenant: Tenant, session_id: uuid.UUID) -> m.Session | None:
        """See the port."""
        record = self._of(tenant).sessions.get(session_id)
        return record.session if record else None

    async def link(self, tenant: Tenant, digest: bytes) -> m.Link | None:
        """See the port."""
        return self._of(tenant).links.get(digest)

    async def challenge(self, tenant: Tenant, digest: bytes) -> m.Challenge | None:
        """See the port."""
        return self._of(tenant).challenges.get(digest)

    async def bearer(self, digest: bytes) -> m.Bearer | None:
        """See the port."""
        for key, tables in self._database.tenants.items():
            for session in tables.sessions.values():
                if session.digest == digest:
                    return _session_bearer(key, tables, session.session)
            for program in tables.programs.values():
                if program.digest == digest:
                    return _program_bearer(key, program.program)
            token = tables.access_tokens.get(digest)
            given = tables.programs.get(token.program_id) if token else None
            if token is not None and given is not None:
                return _token_bearer(key, given.program, token)
            certificate = tables.certificates.get(digest)
            holder = tables.programs.get(certificate.program_id) if certificate else None
            if holder is not None:
                return _program_bearer(key, holder.program)
        return None

    async def certificates(self, tenant: Tenant) -> tuple[tuple[uuid.UUID, str], ...]:
        """See the port."""
        there = self._of(tenant).certificates.values()
        return tuple((record.program_id, record.fingerprint) for record in there)

    async def has_certificate(self, tenant: Tenant, digest: bytes) -> bool:
        """See the port."""
        return self._of(tenant).certificates.get(digest) is not None

    async def relations(self, tenant: Tenant, person_id: uuid.UUID) -> tuple[m.Relation, ...]:
        """See the port."""
        found = self._of(tenant).relations_of(person_id)
        return tuple(sorted(found, key=lambda r: (r.kind, r.issuer, r.name)))

    async def is_related(self, tenant: Tenant, person_id: uuid.UUID, relation: m.Relation) -> bool:
        """See the port."""
        return relation in self._of(tenant).relations_of(person_id)

    async def limits(self, tenant: Tenant, person_id: uuid.UUID) -> dict[m.Limit, frozenset[str]]:
        """See the port."""
        return self._of(tenant).limits_of(person_id)

    async def providers(self, tenant: Tenant) -> tuple[IdentityProvider, ...]:
        """See the port."""
        return tuple(sorted(self._of(tenant).providers.values(), key=lambda each: each.name))

    async def standing(self, bearer: m.Bearer) -> m.Bearer | None:
        """See the port."""
        tables = self._database.of(bearer.tenant)
        session, program = tables.sessions.get(bearer.id), tables.programs.get(bearer.id)
        if session is not None:
            return _session_bearer(bearer.tenant, tables, session.session)
        return _program_bearer(bearer.tenant, program.program) if program is not None else None

    async def own_policies(self, tenant: Tenant) -> tuple[tuple[str, str, str, datetime], ...]:
        """See the port."""
        rows = sorted(self._of(tenant).policies.values(), key=lambda row: row.name)
        return tuple((row.name, row.body, row.author, row.at) for row in rows)

    async def support_until(self, tenant: Tenant) -> datetime | None:
        """See the port."""
        row = self._of(tenant).consents.get("")
        return row.until if row else None


class MemoryPolicy:
    """`access.ports.PolicySource`: what ships and the tenant's own, never old."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def in_force(self, tenant: Tenant) -> Rules:
        """See the port."""
        tables = self._database.of(tenant.key)
        own = SHIPPED.with_stored((row.name, row.body) for row in tables.policies.values())
        return Rules(
            policies=own,
            sensitive=len(tables.sensitive) > 0,
            suspended=tenant.key in self._database.suspended,
        )

    async def standing(self, tenant: Tenant, actor: Actor) -> Standing:
        """See the port."""
        tables = self._database.of(tenant.key)
        if actor.home != tenant.name:
            return NOBODY
        if actor.session:
            signed_in = tables.sessions.get(uuid.UUID(actor.session))
            person = signed_in.session.person_id if signed_in else None
        else:
            ids = [
                r.person.person_id for r in tables.people.values() if r.person.login == actor.name
            ]
            person = ids[0] if ids else None
        if person is None:
            return NOBODY
        kinds = (relation.kind for relation in tables.relations_of(person))
        listed = tables.limits_of(person).items()
        return standing_of(person, kinds, ((sort, v) for sort, values in listed for v in values))


def _session_bearer(tenant: int, tables: TenantTables, session: m.Session) -> m.Bearer:
    record = tables.people.get(session.person_id) if session.person_id else None
    own = session.roles if session.roles is not None else frozenset[str]()
    return m.Bearer(
        kind=m.BearerKind.SESSION,
        tenant=tenant,
        id=session.session_id,
        name=record.person.login if record else session.name,
        roles=record.person.roles if record else own,
        scopes=frozenset(),
        created=session.created,
        seen=session.seen,
        expires=session.expires,
        idle=session.idle,
        proved=session.proved,
        disabled=record.person.disabled if record else False,
        ended=session.ended,
        opened=opened_by(tables, session.session_id),
    )


def _program_bearer(tenant: int, program: m.Program) -> m.Bearer:
    return m.Bearer(
        kind=m.BearerKind.PROGRAM,
        tenant=tenant,
        id=program.program_id,
        name=program.name,
        roles=program.roles,
        scopes=program.scopes,
        created=program.created,
        seen=program.created,
        expires=program.expires,
        idle=None,
        proved=program.created,
        disabled=False,
        ended=program.revoked,
    )


def _token_bearer(tenant: int, program: m.Program, token: AccessTokenRecord) -> m.Bearer:
    return replace(
        _program_bearer(tenant, program),
        scopes=token.scopes,
        created=token.created,
        seen=token.created,
        expires=min(token.expires, program.expires),
    )


class MemoryTries:
    """`domain.people.ports.TryCounter`."""

    def __init__(self) -> None:
        self._counts: dict[tuple[int, bytes], tuple[int, datetime, datetime]] = {}

    async def attempt(
        self, tenant: Tenant, key: bytes, now: datetime, delays: tuple[float, ...], window: float
    ) -> datetime | None:
        """See the port."""
        tries, since, until = self._counts.get((tenant.key, key), (0, now, now))
        if until > now:
            return until
        if now - since > timedelta(seconds=window):
            tries, since = 0, now
        tries += 1
        wait = timedelta(seconds=until_after(delay_after(tries, delays)))
        self._counts[tenant.key, key] = (tries, since, now + wait)
        return None

    async def give_back(self, tenant: Tenant, key: bytes, now: datetime) -> None:
        """See the port."""
        tries, since, _ = self._counts.get((tenant.key, key), (0, now, now))
        free = now + timedelta(seconds=until_after(0))
        self._counts[tenant.key, key] = (max(tries - 1, 0), since, free)

    async def forget(self, tenant: Tenant, key: bytes) -> None:
        """See the port."""
        self._counts.pop((tenant.key, key), None)


# --- writing ---------------------------------------------------------------------------------------


def _must_be_first(first: bool) -> None:
    if not first:
        raise FactsChanged("it was used already")


def _person(_database: MemoryDatabase, tables: TenantTables, row: m.PersonRow) -> bool:
    new = row.person
    for _, there in tables.people.drafts():
        same = new.issuer and (new.issuer, new.subject) == (
            there.person.issuer,
            there.person.subject,
        )
        if there.person.login == new.login or same:
            raise Conflict(f"There is an account {new.login!r}.", remedy="Choose another login.")
    tables.people.put(new.person_id, PersonRecord(new))
    return True


def _changed(
    tables: TenantTables, person_id: uuid.UUID, change: Callable[[PersonRecord], PersonRecord]
) -> bool:
    old = tables.people.draft(person_id)
    if old is not None:
        tables.people.put(person_id, change(old))
    return old is not None


def _person_changed(
    _database: MemoryDatabase, tables: TenantTables, row: m.PersonChangedRow
) -> bool:
    def change(old: PersonRecord) -> PersonRecord:
        roles = old.person.roles if row.roles is None else row.roles
        disabled = old.person.disabled if row.disabled is None else row.disabled
        return replace(old, person=replace(old.person, roles=roles, disabled=disabled))

    return _changed(tables, row.person_id, change)


def _credentials(_database: MemoryDatabase, tables: TenantTables, row: m.CredentialsRow) -> bool:
    return _changed(tables, row.person_id, lambda old: replace(old, credentials=row.credentials))


def _password(_database: MemoryDatabase, tables: TenantTables, row: m.PasswordRow) -> bool:
    return _changed(
        tables,
        row.person_id,
        lambda old: replace(old, credentials=replace(old.credentials, password=row.password)),
    )


def _totp_used(_database: MemoryDatabase, tables: TenantTables, row: m.TotpUsedRow) -> bool:
    old = tables.people.draft(row.person_id)
    _must_be_first(old is not None and old.credentials.totp_step < row.step)
    return _changed(
        tables,
        row.person_id,
        lambda old: replace(old, credentials=replace(old.credentials, totp_step=row.step)),
    )


def _recovery_used(_database: MemoryDatabase, tables: TenantTables, row: m.RecoveryUsedRow) -> bool:
    old = tables.people.draft(row.person_id)
    _must_be_first(old is not None and row.digest in old.credentials.recovery)
    return _changed(
        tables,
        row.person_id,
        lambda old: replace(
            old,
            credentials=replace(old.credentials, recovery=old.credentials.recovery - {row.digest}),
        ),
    )


def _passkey(_database: MemoryDatabase, tables: TenantTables, row: m.PasskeyRow) -> bool:
    _must_be_first(tables.passkeys.draft(row.passkey.credential_id) is None)
    tables.passkeys.put(row.passkey.credential_id, PasskeyRecord(row.person_id, row.passkey))
    return True


def _passkey_used(_database: MemoryDatabase, tables: TenantTables, row: m.PasskeyUsedRow) -> bool:
    old = tables.passkeys.draft(row.credential_id)
    risen = old is not None and (
        old.passkey.sign_count < row.sign_count or old.passkey.sign_count == row.sign_count == 0
    )
    _must_be_first(risen)
    if old is not None:
        used = replace(old, passkey=replace(old.passkey, sign_count=row.sign_count))
        tables.passkeys.put(row.credential_id, used)
    return True


def _program(_database: MemoryDatabase, tables: TenantTables, row: m.ProgramRow) -> bool:
    tables.programs.put(row.program.program_id, ProgramRecord(row.program, row.digest))
    return True


def _access_token(_database: MemoryDatabase, tables: TenantTables, row: m.AccessTokenRow) -> bool:
    record = AccessTokenRecord(row.program_id, row.scopes, row.created, row.expires)
    tables.access_tokens.put(row.digest, record)
    return True


def _certificate(database: MemoryDatabase, tables: TenantTables, row: m.CertificateRow) -> bool:
    if any(each.certificates.draft(row.digest) for each in database.tenants.values()):
        raise Conflict(
            "A program has that certificate already.", remedy="Take it away there first."
        )
    tables.certificates.put(row.digest, CertificateRecord(row.program_id, row.fingerprint))
    return True


def _certificate_gone(
    _database: MemoryDatabase, tables: TenantTables, row: m.CertificateGoneRow
) -> bool:
    tables.certificates.remove(row.digest)
    return True


def _program_revoked(
    _database: MemoryDatabase, tables: TenantTables, row: m.ProgramRevokedRow
) -> bool:
    old = tables.programs.draft(row.program_id)
    if old is not None and old.program.revoked is None:
        revoked = replace(old, program=replace(old.program, revoked=row.at))
        tables.programs.put(row.program_id, revoked)
    return True


def _session(_database: MemoryDatabase, tables: TenantTables, row: m.SessionRow) -> bool:
    tables.sessions.put(row.session.session_id, SessionRecord(row.session, row.digest))
    return True


def _session_seen(_database: MemoryDatabase, tables: TenantTables, row: m.SessionSeenRow) -> bool:
    old = tables.sessions.draft(row.session_id)
    if old is not None and old.session.ended is None:
        seen = max(old.session.seen, row.at)
        tables.sessions.put(row.session_id, replace(old, session=replace(old.session, seen=seen)))
    return False


def _session_proved(
    _database: MemoryDatabase, tables: TenantTables, row: m.SessionProvedRow
) -> bool:
    old = tables.sessions.draft(row.session_id)
    _must_be_first(old is not None and old.digest == row.digest and old.session.ended is None)
    if old is not None:
        session = replace(old.session, proved=row.at, seen=max(old.session.seen, row.at))
        tables.sessions.put(row.session_id, SessionRecord(session, row.new_digest))
    return True


def _sessions_ended(
    _database: MemoryDatabase, tables: TenantTables, row: m.SessionsEndedRow
) -> bool:
    end_openings(tables, row)
    for key, old in tables.sessions.drafts():
        if meant(old.session, row):
            tables.sessions.put(key, replace(old, session=replace(old.session, ended=row.at)))
    return True


def _link(_database: MemoryDatabase, tables: TenantTables, row: m.LinkRow) -> bool:
    new = row.link
    for key, old in tables.links.drafts():
        same = (old.kind, old.person_id) == (new.kind, new.person_id)
        if same and new.kind is not m.LinkKind.SESSION and old.used is None:
            tables.links.remove(key)
    tables.links.put(new.digest, new)
    return True


def _link_used(_database: MemoryDatabase, tables: TenantTables, row: m.LinkUsedRow) -> bool:
    old = tables.links.draft(row.digest)
    _must_be_first(old is not None and old.good(row.at))
    if old is not None:
        tables.links.put(row.digest, replace(old, used=row.at))
    return True


def _challenge(_database: MemoryDatabase, tables: TenantTables, row: m.ChallengeRow) -> bool:
    tables.challenges.put(row.challenge.digest, row.challenge)
    return True


def _challenge_used(
    _database: MemoryDatabase, tables: TenantTables, row: m.ChallengeUsedRow
) -> bool:
    _must_be_first(tables.challenges.draft(row.digest) is not None)
    tables.challenges.remove(row.digest)
    return True


def _policy(_database: MemoryDatabase, tables: TenantTables, row: m.PolicyRow) -> bool:
    tables.policies.put(row.name, row)
    return True


def _policy_gone(_database: MemoryDatabase, tables: TenantTables, row: m.PolicyGoneRow) -> bool:
    tables.policies.remove(row.name)
    return True


def _relation(_database: MemoryDatabase, tables: TenantTables, row: m.RelationRow) -> bool:
    key = (row.person_id, row.relation)
    if row.gone:
        tables.relations.remove(key)
    else:
        tables.relations.put(key, row.relation)
    return True


def _limits(_database: MemoryDatabase, tables: TenantTables, row: m.LimitsRow) -> bool:
    key = (row.person_id, row.limit)
    if row.values:
        tables.limits.put(key, row.values)
    else:
        tables.limits.remove(key)
    return True


def _provider(_database: MemoryDatabase, tables: TenantTables, row: m.ProviderRow) -> bool:
    new = row.provider
    if any(new.name == p.name or new.issuer == p.issuer for _, p in tables.providers.drafts()):
        raise Conflict("There is an identity provider of that name or issuer.")
    tables.providers.put(new.name, new)
    return True


def _provider_changed(
    _database: MemoryDatabase, tables: TenantTables, row: m.ProviderChangedRow
) -> bool:
    new = row.provider
    old = tables.providers.draft(new.name)
    if old is not None and old.issuer == new.issuer:
        tables.providers.put(new.name, replace(new, made_by=old.made_by, created=old.created))
    return True


def _provider_gone(_database: MemoryDatabase, tables: TenantTables, row: m.ProviderGoneRow) -> bool:
    tables.providers.remove(row.name)
    return True


def _consent(_database: MemoryDatabase, tables: TenantTables, row: m.ConsentRow) -> bool:
    tables.consents.put("", row)
    return True


PEOPLE_WRITERS: dict[type, Callable[[MemoryDatabase, TenantTables, Any], bool]] = {
    m.PersonRow: _person,
    m.PersonChangedRow: _person_changed,
    m.CredentialsRow: _credentials,
    m.PasswordRow: _password,
    m.TotpUsedRow: _totp_used,
    m.RecoveryUsedRow: _recovery_used,
    m.PasskeyRow: _passkey,
    m.PasskeyUsedRow: _passkey_used,
    m.ProgramRow: _program,
    m.ProgramRevokedRow: _program_revoked,
    m.AccessTokenRow: _access_token,
    m.CertificateRow: _certificate,
    m.CertificateGoneRow: _certificate_gone,
    m.SessionRow: _session,
    m.SessionSeenRow: _session_seen,
    m.SessionProvedRow: _session_proved,
    m.SessionsEndedRow: _sessions_ended,
    m.LinkRow: _link,
    m.LinkUsedRow: _link_used,
    m.ChallengeRow: _challenge,
    m.ChallengeUsedRow: _challenge_used,
    m.PolicyRow: _policy,
    m.PolicyGoneRow: _policy_gone,
    m.RelationRow: _relation,
    m.LimitsRow: _limits,
    m.ProviderRow: _provider,
    m.ProviderChangedRow: _provider_changed,
    m.ProviderGoneRow: _provider_gone,
    m.ConsentRow: _consent,
    **GLASS_WRITERS,
}
