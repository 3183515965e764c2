"""People, programs, sessions and links, and the rules about them. Pure."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from lightwell.access.policy import covers
from lightwell.access.roles import ADMINISTRATORS
from lightwell.domain.people.glass import Opened, Seal
from lightwell.domain.people.providers import IdentityProvider
from lightwell.kernel.errors import Invalid

ABSOLUTE = timedelta(hours=12)  # NIST SP 800-63B-4 AAL2: at most 24 h
IDLE = timedelta(minutes=30)  # at most 1 h
ADMIN_ABSOLUTE = timedelta(hours=8)  # AAL3: at most 12 h
ADMIN_IDLE = timedelta(minutes=15)  # at most 15 min
SEEN_STEP = timedelta(seconds=60)  # how exactly "last seen" is kept
PROVED = timedelta(minutes=5)  # so long after a proof somebody has stepped up
LINK_LIFE = timedelta(minutes=30)
ENROL_LIFE = timedelta(hours=24)
CHALLENGE_LIFE = timedelta(minutes=10)
KEY_LIFE = timedelta(days=90)
KEY_LONGEST = timedelta(days=366)
ACCESS_LIFE = timedelta(minutes=15)
NAME_LIMIT = 100
ISSUER_LIMIT = 300

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}\Z")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}\Z")
_SCOPE = re.compile(r"(\w+:){0,2}(\w+|\*)\Z")


def folded_login(text: str) -> str:
    """A login as it is kept and compared: without the case and spaces somebody types."""
    return text.strip().casefold()


def is_login(text: str) -> bool:
    """Whether an account can have it, in its kept form."""
    return _LOGIN.match(text) is not None


def checked_login(text: str) -> str:
    """The login in its kept form. Raises Invalid."""
    login = folded_login(text)
    if not is_login(login):
        raise Invalid(
            "A login has 1 to 64 characters a-z, 0-9, '.', '_', '@', '-', and begins with a letter or digit.",
            remedy="Choose another login.",
        )
    return login


def checked_label(text: str, what: str) -> str:
    """A name shown to people: one printable line. Raises Invalid."""
    trimmed = text.strip()
    if len(trimmed) > NAME_LIMIT or not trimmed.isprintable():
        raise Invalid(f"{what} is one line of at most {NAME_LIMIT} characters.")
    return trimmed


def checked_scopes(scopes: frozenset[str]) -> frozenset[str]:
    """Patterns of actions: `archive:study:query`, `archive:*`. Raises Invalid."""
    bad = sorted(scope for scope in scopes if not _SCOPE.match(scope))
    if bad:
        raise Invalid(
            f"{bad[0]!r} is no scope.", remedy="A scope is an action or its beginning: archive:*"
        )
    return scopes


def narrowed(given: frozenset[str], asked: frozenset[str]) -> frozenset[str] | None:
    """The scopes of a token of a key that was given some: those asked for, or the key's own. None when one is
    wider than the key's. No scopes: for all that its roles may."""
    if not asked or not given:
        return asked or given
    inside = all(any(covers(pattern, scope) for pattern in given) for scope in asked)
    return asked if inside else None


def checked_fingerprint(text: str) -> str:
    """The SHA-256 of a certificate, in small hexadecimal digits without colons. Raises Invalid."""
    plain = text.strip().replace(":", "").lower()
    if not _FINGERPRINT.match(plain):
        raise Invalid(
            "A certificate is named by its SHA-256 fingerprint: 64 hexadecimal digits.",
            remedy="openssl x509 -in FILE -noout -fingerprint -sha256 prints it.",
        )
    return plain


def checked_life(life: timedelta) -> timedelta:
    """How long a key is good for. Raises Invalid."""
    if not timedelta(0) < life <= KEY_LONGEST:
        raise Invalid(
            f"A key is good for 1 to {KEY_LONGEST.days} days.", remedy="Make another then."
        )
    return life


@dataclass(frozen=True, slots=True)
class Person:
    """An account of one tenant. A local one signs in with its `Credentials`; of another an identity provider
    says who it is, by (issuer, subject)."""

    person_id: uuid.UUID
    login: str
    name: str
    roles: frozenset[str]
    created: datetime
    disabled: bool = False
    issuer: str = ""  # of a local account: none
    subject: str = field(default="", repr=False)
    seal: Seal | None = None  # an emergency account: its password is in an envelope
    enrolled: bool = False  # whether there is anything to sign in with yet


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a person signs in with, as far as it can be told. Never shown, never logged."""

    password: str | None = field(default=None, repr=False)  # argon2id, encoded
    totp: bytes | None = field(default=None, repr=False)  # sealed
    totp_step: int = 0
    recovery: frozenset[bytes] = field(default=frozenset(), repr=False)  # digests


@dataclass(frozen=True, slots=True)
class Passkey:
    """A public key credential (WebAuthn Level 3). `site`: the relying party it was made for."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    site: str


@dataclass(frozen=True, slots=True)
class Program:
    """An API key: a program of a tenant. Its secret is shown once and never kept."""

    program_id: uuid.UUID
    name: str
    roles: frozenset[str]
    scopes: frozenset[str]
    made_by: str
    created: datetime
    expires: datetime
    revoked: datetime | None = None


class How(StrEnum):
    """How somebody signed in."""

    PASSWORD = "password"  # a demonstration account only: nothing beside it
    PASSWORD_TOTP = "password+totp"
    PASSWORD_RECOVERY = "password+recovery"
    PASSKEY = "passkey"
    LINK = "link"
    OPENID = "openid"  # an identity provider said so
    SEALED = "sealed"  # the password from a sealed envelope: nothing beside it, from few places


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in. `roles` of its own only where no account stands behind it."""

    session_id: uuid.UUID
    person_id: uuid.UUID | None
    name: str
    how: How
    origin: str
    agent: str
    created: datetime
    seen: datetime
    expires: datetime
    idle: timedelta
    proved: datetime
    roles: frozenset[str] | None = None
    ended: datetime | None = None


class LinkKind(StrEnum):
    """What a one-time link opens."""

    SESSION = "session"  # a session with a role, without an account
    ENROL = "enrol"  # choosing what an account signs in with
    FIRST_ADMIN = "first-admin"  # making the first administrator


@dataclass(frozen=True, slots=True)
class Link:
    """A one-time link, found by the digest of its token."""

    digest: bytes
    kind: LinkKind
    made_by: str
    expires: datetime
    person_id: uuid.UUID | None = None
    roles: frozenset[str] = frozenset()
    used: datetime | None = None

    def good(self, now: datetime) -> bool:
        """Whether it opens anything now."""
        return self.used is None and now < self.expires


@dataclass(frozen=True, slots=True)
class Challenge:
    """What we asked a browser; it is answered once. `body` is ours to read, sealed where it is secret."""

    digest: bytes
    kind: str
    body: bytes = field(repr=False)
    expires: datetime = field(kw_only=True)


class BearerKind(StrEnum):
    """What stands behind a token."""

    SESSION = "session"
    PROGRAM = "program"


@dataclass(frozen=True, slots=True)
class Bearer:
    """What a token stands for, as it was when it was read."""

    kind: BearerKind
    tenant: int
    id: uuid.UUID
    name: str
    roles: frozenset[str]
    scopes: frozenset[str]
    created: datetime
    seen: datetime
    expires: datetime
    idle: timedelta | None
    proved: datetime
    disabled: bool
    ended: datetime | None
    opened: tuple[Opened, ...] = ()


class Over(StrEnum):
    """Why a token opens nothing any more."""

    ENDED = "ended"
    DISABLED = "the account is shut"
    EXPIRED = "expired"
    IDLE = "idle for too long"


def judge(bearer: Bearer, now: datetime) -> Over | None:
    """Whether a token is still good (None), or why not."""
    if bearer.ended is not None:
        return Over.ENDED
    if bearer.disabled:
        return Over.DISABLED
    if now >= bearer.expires:
        return Over.EXPIRED
    if bearer.idle is not None and now - bearer.seen >= bearer.idle:
        return Over.IDLE
    return None


def limits(roles: frozenset[str]) -> tuple[timedelta, timedelta]:
    """(absolute, idle) limit of a session: shorter for those who can do more."""
    if roles & ADMINISTRATORS:
        return ADMIN_ABSOLUTE, ADMIN_IDLE
    return ABSOLUTE, IDLE


# --- whose patients are whose -------------------------------------------------------------------------


class RelationKind(StrEnum):
    """What somebody is to a patient or a study. `name` and `issuer` of a `Relation` by kind."""

    IS = "is"  # the patient: patient ID and its issuer
    TREATS = "treats"  # a patient: patient ID and its issuer
    TREATS_STUDY = "treats-study"  # a study: its UID, no issuer
    REFERS_AS = "refers-as"  # studies that name them: code value and coding scheme (PS3.3 C.7.2.1)


@dataclass(frozen=True, slots=True)
class Relation:
    """One recorded relation of a person."""

    kind: RelationKind
    name: str
    issuer: str = ""


class Limit(StrEnum):
    """What somebody can be limited to, as it stands in the images."""

    SITE = "site"  # Institution Name (0008,0080)
    DEPARTMENT = "department"  # Institutional Department Name (0008,1040)
    MODALITY = "modality"  # Modality (0008,0060)


def checked_relation(kind: RelationKind, name: str, issuer: str) -> Relation:
    """A relation that can be kept. Raises Invalid."""
    name, issuer = name.strip(), issuer.strip()
    if not name or len(name) > NAME_LIMIT or len(issuer) > ISSUER_LIMIT:
        raise Invalid(f"A patient ID, study UID or code has 1 to {NAME_LIMIT} characters.")
    # Of issuers alone some hold a backslash: those that look like the ones we make up (patients/model.py).
    lines = name + (issuer if kind is RelationKind.REFERS_AS else "")
    if not (name + issuer).isprintable() or "\\" in lines:
        raise Invalid("A patient ID, study UID, code or issuer is one line without backslashes.")
    if kind is RelationKind.TREATS_STUDY and issuer:
        raise Invalid("A study UID has no issuer.")
    if kind is RelationKind.REFERS_AS and not issuer:
        raise Invalid("A code has a coding scheme.", remedy="Name it: --issuer 99HOSPITAL")
    return Relation(kind, name, issuer)


def checked_limits(values: frozenset[str]) -> frozenset[str]:
    """Institutions, departments or modalities, as they stand in images. Raises Invalid."""
    trimmed = frozenset(value.strip() for value in values)
    if len(trimmed) > NAME_LIMIT or any(
        not value or len(value) > NAME_LIMIT or not value.isprintable() for value in trimmed
    ):
        raise Invalid(f"A limit is 1 to {NAME_LIMIT} characters on one line.")
    return trimmed


# --- what is written ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RelationRow:
    """A relation, recorded or (`gone`) taken back."""

    person_id: uuid.UUID
    relation: Relation
    author: str
    at: datetime
    gone: bool = False


@dataclass(frozen=True, slots=True)
class LimitsRow:
    """All that somebody is limited to, of one sort; empty: not limited."""

    person_id: uuid.UUID
    limit: Limit
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A new account."""

    person: Person


@dataclass(frozen=True, slots=True)
class PersonChangedRow:
    """Other roles, or shut, or opened. What is None stays."""

    person_id: uuid.UUID
    roles: frozenset[str] | None = None
    disabled: bool | None = None


@dataclass(frozen=True, slots=True)
class CredentialsRow:
    """All that an account signs in with, anew; passkeys are beside it."""

    person_id: uuid.UUID
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class PasswordRow:
    """The same password hashed at today's cost."""

    person_id: uuid.UUID
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TotpUsedRow:
    """A step is used. FactsChanged when it, or a later one, was."""

    person_id: uuid.UUID
    step: int


@dataclass(frozen=True, slots=True)
class RecoveryUsedRow:
    """A recovery code is used up. FactsChanged when it was."""

    person_id: uuid.UUID
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PasskeyRow:
    """A new passkey."""

    person_id: uuid.UUID
    passkey: Passkey


@dataclass(frozen=True, slots=True)
class PasskeyUsedRow:
    """A passkey has signed; its counter never goes back."""

    credential_id: bytes
    sign_count: int


@dataclass(frozen=True, slots=True)
class ProgramRow:
    """A new key."""

    program: Program
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProgramRevokedRow:
    """A key taken away."""

    program_id: uuid.UUID
    at: datetime


@dataclass(frozen=True, slots=True)
class AccessTokenRow:
    """A program was given a token for its key."""

    digest: bytes = field(repr=False)
    program_id: uuid.UUID
    scopes: frozenset[str]
    created: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A certificate that a program comes with from now on. Conflict when it is a program's already."""

    digest: bytes
    fingerprint: str
    program_id: uuid.UUID
    made_by: str
    created: datetime


@dataclass(frozen=True, slots=True)
class CertificateGoneRow:
    """A certificate that no program comes with any more."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class SessionRow:
    """Somebody has signed in."""

    session: Session
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SessionSeenRow:
    """A session was used."""

    session_id: uuid.UUID
    at: datetime


@dataclass(frozen=True, slots=True)
class SessionProvedRow:
    """Its person has proved again who they are: another token from now on. FactsChanged when the session
    has ended, or its token is another already."""

    session_id: uuid.UUID
    at: datetime
    digest: bytes = field(repr=False)
    new_digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SessionsEndedRow:
    """Sessions are over: one, all of a person's, all of a name, all of the tenant (`everybody`); with them
    what they had opened. `but`: one that stays."""

    at: datetime
    by: str
    session_id: uuid.UUID | None = None
    person_id: uuid.UUID | None = None
    name: str | None = None
    everybody: bool = False
    but: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A new link. A first administrator's takes the place of an earlier one."""

    link: Link


@dataclass(frozen=True, slots=True)
class LinkUsedRow:
    """A link is used up. FactsChanged when it was."""

    digest: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class ChallengeRow:
    """Something was asked of a browser."""

    challenge: Challenge


@dataclass(frozen=True, slots=True)
class ChallengeUsedRow:
    """It was answered. FactsChanged when it was answered before."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """One of the tenant's own policies, new or in another wording."""

    name: str
    body: str
    author: str
    at: datetime


@dataclass(frozen=True, slots=True)
class PolicyGoneRow:
    """One of the tenant's own policies, taken back."""

    name: str


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """A new identity provider. Conflict when there is one of that name or issuer."""

    provider: IdentityProvider


@dataclass(frozen=True, slots=True)
class ProviderChangedRow:
    """What is said of a provider, anew. Name, issuer, who made it and when stay."""

    provider: IdentityProvider


@dataclass(frozen=True, slots=True)
class ProviderGoneRow:
    """A provider, taken away. Accounts that came through it stay, and open no more."""

    name: str


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """The tenant lets support in until then; None: not any more."""

    until: datetime | None
    author: str
