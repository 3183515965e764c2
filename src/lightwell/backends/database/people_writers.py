"""How each row of the room of people is written. What may be used once says FactsChanged afterwards."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from lightwell.access.commit import ChangeSet, FactsChanged
from lightwell.backends.database.glass import GLASS_WRITERS, MEANT, end_openings, meant
from lightwell.backends.database.staleness import tell_stale
from lightwell.domain.people import model as m
from lightwell.domain.people.providers import IdentityProvider
from lightwell.kernel.errors import Conflict

if TYPE_CHECKING:
    from lightwell.backends.database.pool import Connection

Writer = Callable[["Connection", ChangeSet, Any], Awaitable[bool]]


def _must_be_first(status: str) -> None:
    if status.endswith(" 0"):
        raise FactsChanged("it was used already")


async def _roles(
    connection: Connection, tenant: int, person_id: uuid.UUID, roles: frozenset[str]
) -> None:
    await connection.execute(
        "DELETE FROM person_role WHERE tenant = $1 AND person_id = $2", tenant, person_id
    )
    await connection.execute(
        "INSERT INTO person_role (tenant, person_id, role) SELECT $1, $2, unnest($3::text[])",
        tenant,
        person_id,
        sorted(roles),
    )


async def _person(connection: Connection, change: ChangeSet, row: m.PersonRow) -> bool:
    person, tenant = row.person, change.tenant.key
    made = await connection.fetchval(
        "INSERT INTO person (tenant, person_id, login, name, created, issuer, subject)"
        " VALUES ($1, $2, $3, $4, $5, nullif($6, ''), nullif($7, ''))"
        " ON CONFLICT DO NOTHING RETURNING true",
        tenant,
        person.person_id,
        person.login,
        person.name,
        person.created,
        person.issuer,
        person.subject,
    )
    if made is None:
        raise Conflict(f"There is an account {person.login!r}.", remedy="Choose another login.")
    await _roles(connection, tenant, person.person_id, person.roles)
    return True


async def _person_changed(
    connection: Connection, change: ChangeSet, row: m.PersonChangedRow
) -> bool:
    tenant = change.tenant.key
    if row.roles is not None:
        await _roles(connection, tenant, row.person_id, row.roles)
    await connection.execute(
        "UPDATE person SET disabled = coalesce($3, disabled) WHERE tenant = $1 AND person_id = $2",
        tenant,
        row.person_id,
        row.disabled,
    )
    return True


async def _credentials(connection: Connection, change: ChangeSet, row: m.CredentialsRow) -> bool:
    tenant, new = change.tenant.key, row.credentials
    await connection.execute(
        "UPDATE person SET password = $3, totp = $4, totp_step = $5"
        " WHERE tenant = $1 AND person_id = $2",
        tenant,
        row.person_id,
        new.password,
        new.totp,
        new.totp_step,
    )
    await connection.execute(
        "DELETE FROM recovery_code WHERE tenant = $1 AND person_id = $2", tenant, row.person_id
    )
    await connection.executemany(
        "INSERT INTO recovery_code (tenant, person_id, digest) VALUES ($1, $2, $3)",
        [(tenant, row.person_id, code) for code in sorted(new.recovery)],
    )
    return True


async def _password(connection: Connection, change: ChangeSet, row: m.PasswordRow) -> bool:
    await connection.execute(
        "UPDATE person SET password = $3 WHERE tenant = $1 AND person_id = $2",
        change.tenant.key,
        row.person_id,
        row.password,
    )
    return True


async def _totp_used(connection: Connection, change: ChangeSet, row: m.TotpUsedRow) -> bool:
    _must_be_first(
        await connection.execute(
            "UPDATE person SET totp_step = $3"
            " WHERE tenant = $1 AND person_id = $2 AND totp_step < $3",
            change.tenant.key,
            row.person_id,
            row.step,
        )
    )
    return True


async def _recovery_used(connection: Connection, change: ChangeSet, row: m.RecoveryUsedRow) -> bool:
    _must_be_first(
        await connection.execute(
            "DELETE FROM recovery_code WHERE tenant = $1 AND person_id = $2 AND digest = $3",
            change.tenant.key,
            row.person_id,
            row.digest,
        )
    )
    return True


async def _passkey(connection: Connection, change: ChangeSet, row: m.PasskeyRow) -> bool:
    key = row.passkey
    made = await connection.fetchval(
        "INSERT INTO passkey (tenant, credential_id, person_id, public_key, sign_count, site)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING true",
        change.tenant.key,
        key.credential_id,
        row.person_id,
        key.public_key,
        key.sign_count,
        key.site,
    )
    if made is None:
        raise FactsChanged("that passkey is known already")
    return True


async def _passkey_used(connection: Connection, change: ChangeSet, row: m.PasskeyUsedRow) -> bool:
    # Synced passkeys count nothing and stay at 0 (WebAuthn 6.1.1); one that counts only rises.
    _must_be_first(
        await connection.execute(
            "UPDATE passkey SET sign_count = $3 WHERE tenant = $1 AND credential_id = $2"
            " AND (sign_count < $3 OR (sign_count = 0 AND $3 = 0))",
            change.tenant.key,
            row.credential_id,
            row.sign_count,
        )
    )
    return True


async def _program(connection: Connection, change: ChangeSet, row: m.ProgramRow) -> bool:
    p = row.program
    await connection.execute(
        "INSERT INTO program (tenant, program_id, name, digest, roles, scopes, made_by, created, expires)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        change.tenant.key,
        p.program_id,
        p.name,
        row.digest,
        sorted(p.roles),
        sorted(p.scopes),
        p.made_by,
        p.created,
        p.expires,
    )
    return True


async def _program_revoked(
    connection: Connection, change: ChangeSet, row: m.ProgramRevokedRow
) -> bool:
    await connection.execute(
        "UPDATE program SET revoked = coalesce(revoked, $3) WHERE tenant = $1 AND program_id = $2",
        change.tenant.key,
        row.program_id,
        row.at,
    )
    return True


async def _access_token(connection: Connection, change: ChangeSet, row: m.AccessTokenRow) -> bool:
    await connection.execute(
        "INSERT INTO program_token (tenant, digest, program_id, scopes, created, expires)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        change.tenant.key,
        row.digest,
        row.program_id,
        sorted(row.scopes),
        row.created,
        row.expires,
    )
    return True


async def _certificate(connection: Connection, change: ChangeSet, row: m.CertificateRow) -> bool:
    status = await connection.execute(
        "INSERT INTO program_certificate (tenant, digest, fingerprint, program_id, made_by, created)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (digest) DO NOTHING",
        change.tenant.key,
        row.digest,
        row.fingerprint,
        row.program_id,
        row.made_by,
        row.created,
    )
    if status == "INSERT 0 0":
        raise Conflict(
            "A program has that certificate already.", remedy="Take it away there first."
        )
    return True


async def _certificate_gone(
    connection: Connection, change: ChangeSet, row: m.CertificateGoneRow
) -> bool:
    await connection.execute(
        "DELETE FROM program_certificate WHERE tenant = $1 AND digest = $2",
        change.tenant.key,
        row.digest,
    )
    return True


async def _session(connection: Connection, change: ChangeSet, row: m.SessionRow) -> bool:
    s = row.session
    await connection.execute(
        "INSERT INTO session (tenant, session_id, digest, person_id, name, roles, how, origin, agent,"
        " created, seen, expires, idle, proved)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        change.tenant.key,
        s.session_id,
        row.digest,
        s.person_id,
        s.name,
        None if s.roles is None else sorted(s.roles),
        s.how,
        s.origin,
        s.agent,
        s.created,
        s.seen,
        s.expires,
        s.idle,
        s.proved,
    )
    return True


async def _session_seen(connection: Connection, change: ChangeSet, row: m.SessionSeenRow) -> bool:
    await connection.execute(
        "UPDATE session SET seen = greatest(seen, $3)"
        " WHERE tenant = $1 AND session_id = $2 AND ended IS NULL",
        change.tenant.key,
        row.session_id,
        row.at,
    )
    return False


async def _session_proved(
    connection: Connection, change: ChangeSet, row: m.SessionProvedRow
) -> bool:
    _must_be_first(
        await connection.execute(
            "UPDATE session SET digest = $4, proved = $5, seen = greatest(seen, $5)"
            " WHERE tenant = $1 AND session_id = $2 AND digest = $3 AND ended IS NULL",
            change.tenant.key,
            row.session_id,
            row.digest,
            row.new_digest,
            row.at,
        )
    )
    return True


async def _sessions_ended(
    connection: Connection, change: ChangeSet, row: m.SessionsEndedRow
) -> bool:
    await end_openings(connection, change.tenant.key, row)
    await connection.execute(
        f"UPDATE session SET ended = $2, ended_by = $3 WHERE {MEANT}",
        *meant(change.tenant.key, row),
    )
    return True


async def _link(connection: Connection, change: ChangeSet, row: m.LinkRow) -> bool:
    link, tenant = row.link, change.tenant.key
    if link.kind is not m.LinkKind.SESSION:  # one that enrols takes the place of an earlier one
        await connection.execute(
            "UPDATE sign_in_link SET used = now() WHERE tenant = $1 AND kind = $2"
            " AND person_id IS NOT DISTINCT FROM $3 AND used IS NULL",
            tenant,
            link.kind,
            link.person_id,
        )
    await connection.execute(
        "INSERT INTO sign_in_link (tenant, digest, kind, person_id, roles, made_by, expires)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tenant,
        link.digest,
        link.kind,
        link.person_id,
        sorted(link.roles),
        link.made_by,
        link.expires,
    )
    return True


async def _link_used(connection: Connection, change: ChangeSet, row: m.LinkUsedRow) -> bool:
    _must_be_first(
        await connection.execute(
            "UPDATE sign_in_link SET used = $3 WHERE tenant = $1 AND digest = $2 AND used IS NULL"
            " AND expires > $3",
            change.tenant.key,
            row.digest,
            row.at,
        )
    )
    return True


async def _challenge(connection: Connection, change: ChangeSet, row: m.ChallengeRow) -> bool:
    c = row.challenge
    await connection.execute(
        "INSERT INTO challenge (tenant, digest, kind, body, expires) VALUES ($1, $2, $3, $4, $5)",
        change.tenant.key,
        c.digest,
        c.kind,
        c.body,
        c.expires,
    )
    return True


async def _challenge_used(
    connection: Connection, change: ChangeSet, row: m.ChallengeUsedRow
) -> bool:
    _must_be_first(
        await connection.execute(
            "DELETE FROM challenge WHERE tenant = $1 AND digest = $2", change.tenant.key, row.digest
        )
    )
    return True


async def _policy(connection: Connection, change: ChangeSet, row: m.PolicyRow) -> bool:
    await connection.execute(
        "INSERT INTO tenant_policy (tenant, name, body, author, at) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (tenant, name) DO UPDATE SET body = excluded.body, author = excluded.author,"
        " at = excluded.at",
        change.tenant.key,
        row.name,
        row.body,
        row.author,
        row.at,
    )
    await tell_stale(connection, change.tenant.key, "")
    return True


async def _policy_gone(connection: Connection, change: ChangeSet, row: m.PolicyGoneRow) -> bool:
    await connection.execute(
        "DELETE FROM tenant_policy WHERE tenant = $1 AND name = $2", change.tenant.key, row.name
    )
    await tell_stale(connection, change.tenant.key, "")
    return True


async def _provider(connection: Connection, change: ChangeSet, row: m.ProviderRow) -> bool:
    p = row.provider
    made = await connection.fetchval(
        "INSERT INTO identity_provider (tenant, name, label, issuer, client_id, secret, scopes,"
        " groups_claim, login_claim, roles, enabled, made_by, created, end_session)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11, $12, $13, $14)"
        " ON CONFLICT DO NOTHING RETURNING true",
        change.tenant.key,
        p.name,
        p.label,
        p.issuer,
        p.client_id,
        p.secret,
        list(p.scopes),
        p.groups_claim,
        p.login_claim,
        _role_map(p),
        p.enabled,
        p.made_by,
        p.created,
        p.end_session,
    )
    if made is None:
        raise Conflict("There is an identity provider of that name or issuer.")
    return True


def _role_map(provider: IdentityProvider) -> str:
    return json.dumps({group: sorted(given) for group, given in provider.roles.items()})


async def _provider_changed(
    connection: Connection, change: ChangeSet, row: m.ProviderChangedRow
) -> bool:
    p = row.provider
    await connection.execute(
        "UPDATE identity_provider SET label = $4, client_id = $5, secret = $6, scopes = $7,"
        " groups_claim = $8, login_claim = $9, roles = $10::jsonb, enabled = $11, end_session = $12"
        " WHERE tenant = $1 AND name = $2 AND issuer = $3",
        change.tenant.key,
        p.name,
        p.issuer,
        p.label,
        p.client_id,
        p.secret,
        list(p.scopes),
        p.groups_claim,
        p.login_claim,
        _role_map(p),
        p.enabled,
        p.end_session,
    )
    return True


async def _provider_gone(connection: Connection, change: ChangeSet, row: m.ProviderGoneRow) -> bool:
    await connection.execute(
        "DELETE FROM identity_provider WHERE tenant = $1 AND name = $2", change.tenant.key, row.name
    )
    return True


async def _consent(connection: Connection, change: ChangeSet, row: m.ConsentRow) -> bool:
    tenant = change.tenant.key
    await connection.execute("DELETE FROM support_consent WHERE tenant = $1", tenant)
    if row.until is not None:
        await connection.execute(
            "INSERT INTO support_consent (tenant, until, author) VALUES ($1, $2, $3)",
            tenant,
            row.until,
            row.author,
        )
    return True


async def _relation(connection: Connection, change: ChangeSet, row: m.RelationRow) -> bool:
    tenant, relation = change.tenant.key, row.relation
    key = (tenant, row.person_id, relation.kind, relation.issuer, relation.name)
    if row.gone:
        await connection.execute(
            "DELETE FROM relation WHERE tenant = $1 AND person_id = $2 AND kind = $3"
            " AND issuer = $4 AND name = $5",
            *key,
        )
    else:
        await connection.execute(
            "INSERT INTO relation (tenant, person_id, kind, issuer, name, author, at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            *key,
            row.author,
            row.at,
        )
    await tell_stale(connection, tenant, "")  # what is open was opened by what was so before
    return True


async def _limits(connection: Connection, change: ChangeSet, row: m.LimitsRow) -> bool:
    tenant = change.tenant.key
    await connection.execute(
        "DELETE FROM person_limit WHERE tenant = $1 AND person_id = $2 AND kind = $3",
        tenant,
        row.person_id,
        row.limit,
    )
    await connection.execute(
        "INSERT INTO person_limit (tenant, person_id, kind, value)"
        " SELECT $1, $2, $3, unnest($4::text[])",
        tenant,
        row.person_id,
        row.limit,
        sorted(row.values),
    )
    await tell_stale(connection, tenant, "")
    return True


PEOPLE_WRITERS: dict[type, Writer] = {
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
    m.ProviderRow: _provider,
    m.ProviderChangedRow: _provider_changed,
    m.ProviderGoneRow: _provider_gone,
    m.ConsentRow: _consent,
    m.RelationRow: _relation,
    m.LimitsRow: _limits,
    **GLASS_WRITERS,
}
