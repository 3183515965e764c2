"""The front door before there is a context: signing in, being recognised, signing out.

Nothing here is an operation: each runs before anybody is known, and records what it did itself. What was
wrong is never said: an unknown login, a wrong password and a wrong code cost and answer the same.
"""

from __future__ import annotations

import hmac
import json
import logging
import uuid
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Final

from lightwell.access.actions import Action
from lightwell.access.audit import Outcome, record
from lightwell.access.commit import ChangeSet, Committer, FactsChanged
from lightwell.access.context import Actor, ActorKind, Context, Purpose, Tenant
from lightwell.access.operation import Act, operation
from lightwell.access.ports import PolicySource
from lightwell.access.roles import Role
from lightwell.domain.people import totp
from lightwell.domain.people.errors import NotProved, NotSignedIn
from lightwell.domain.people.glass import Opened, SealBrokenRow, allowed_from
from lightwell.domain.people.model import (
    PROVED,
    SEEN_STEP,
    Bearer,
    BearerKind,
    ChallengeUsedRow,
    Credentials,
    CredentialsRow,
    How,
    Link,
    LinkKind,
    LinkUsedRow,
    Over,
    PasskeyRow,
    PasskeyUsedRow,
    PasswordRow,
    Person,
    PersonRow,
    RecoveryUsedRow,
    Session,
    SessionProvedRow,
    SessionSeenRow,
    SessionsEndedRow,
    TotpUsedRow,
    checked_label,
    checked_login,
    folded_login,
    judge,
)
from lightwell.domain.people.opening import Opening, SignedIn, Visitor
from lightwell.domain.people.passwords import normalised, objection
from lightwell.domain.people.ports import (
    Hasher,
    PasskeyCeremonies,
    PeopleBook,
    Sealer,
    Site,
    TryCounter,
)
from lightwell.domain.people.providers import IdentityProvider
from lightwell.domain.people.tokens import (
    TokenKind,
    certificate_digest,
    digest,
    is_token,
    new_recovery_codes,
    new_token,
    recovery_digest,
)
from lightwell.domain.tenants.model import DEFAULT, no_such_tenant
from lightwell.kernel.clock import Clock
from lightwell.kernel.errors import Invalid, LightwellError, Unavailable

log = logging.getLogger("lightwell.people")

REMEMBER_SECONDS: Final = 2.0  # a revoked token is refused everywhere within 5 s
REMEMBERED: Final = 8192


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What somebody with a link is offered to sign in with from now on."""

    ticket: str
    first: bool  # the first administrator: login and name are theirs to choose
    login: str
    totp_uri: str
    passkey_options: dict[str, Any] | None

    def __repr__(self) -> str:
        return f"Enrolment({self.login})"


@dataclass(frozen=True, slots=True)
class Ways:
    """With what one can prove again who one is. None at all: the session came by a link.

    `provider`: where one signs in once more, whose account comes through one.
    """

    password: bool
    code: bool
    passkey: bool
    provider: IdentityProvider | None = None


class SignIn:
    """Who is there?"""

    def __init__(
        self,
        book: PeopleBook,
        tries: TryCounter,
        hasher: Hasher,
        sealer: Sealer,
        passkeys: PasskeyCeremonies,
        policy: PolicySource,
        committer: Committer,
        clock: Clock,
    ) -> None:
        self._book = book
        self._opening = Opening(book, tries, committer, clock)
        self._hasher = hasher
        self._sealer = sealer
        self._passkeys = passkeys
        self.policy = policy
        self.committer = committer
        self.clock = clock
        self._known: OrderedDict[bytes, tuple[float, Bearer | None]] = OrderedDict()

    @property
    def seals_broken(self) -> int:
        """The uses of sealed accounts that this process saw."""
        return self._opening.seals_broken

    # --- being recognised -------------------------------------------------------------------------

    async def recognise(self, token: str) -> Bearer | None:
        """Who holds a token, if it is good now. Answers from memory for two seconds at most."""
        if not is_token(token, TokenKind.SESSION, TokenKind.KEY, TokenKind.ACCESS):
            return None
        return await self._recognised(digest(token))

    async def recognise_certificate(self, fingerprint: str) -> Bearer | None:
        """Which program comes with a certificate that a proxy has verified, if it is good now."""
        return await self._recognised(certificate_digest(fingerprint))

    async def _recognised(self, key: bytes) -> Bearer | None:
        now = self.clock.monotonic()
        known = self._known.get(key)
        if known is not None and now - known[0] < REMEMBER_SECONDS:
            bearer = known[1]
        else:
            bearer = await self._book.bearer(key)
            if bearer is not None and bearer.opened:  # without what is over by its time
                bearer = replace(bearer, opened=self._open_now(bearer))
            self._known[key] = (now, bearer)
            self._known.move_to_end(key)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            self._note_seen(bearer)
        if bearer is None or judge(bearer, self.clock.now()) is not None:
            return None
        return bearer

    def _note_seen(self, bearer: Bearer | None) -> None:
        if bearer is None or bearer.idle is None:
            return
        now = self.clock.now()
        where = Tenant(bearer.tenant, "", "", "")
        over = judge(bearer, now)
        if over in (Over.EXPIRED, Over.IDLE):
            # Written down, so that a clock that is set back does not revive it (A16).
            row = SessionsEndedRow(now, f"system:{over}", bearer.id)
            self.committer.note(ChangeSet(where, (row,)))
        elif over is None and now - bearer.seen >= SEEN_STEP:
            self.committer.note(ChangeSet(where, (SessionSeenRow(bearer.id, now),)))

    def actor(self, bearer: Bearer, home: Tenant, tenant: Tenant) -> Actor:
        """The bearer in a tenant. Raises Missing, as for a tenant that does not exist, where it is not
        theirs: only administrators of the installation go elsewhere."""
        chief = Role.ADMIN in bearer.roles and home.name == DEFAULT
        if tenant.key != home.key and not chief:
            raise no_such_tenant()
        person = bearer.kind is BearerKind.SESSION
        return Actor(
            ActorKind.PERSON if person else ActorKind.PROGRAM,
            bearer.name,
            home=home.name,
            roles=bearer.roles,
            scopes=bearer.scopes,
            session=str(bearer.id) if person else "",
            # Only at home: there is no way to open a patient of another tenant.
            glass=self._glass(bearer) if tenant.key == home.key else "",
        )

    def _open_now(self, bearer: Bearer) -> tuple[Opened, ...]:
        if not bearer.opened:
            return ()
        now = self.clock.now()
        return tuple(opened for opened in bearer.opened if now < opened.until)

    def _glass(self, bearer: Bearer) -> str:
        """Part of the actor, so that what was granted while the glass was broken ends with it."""
        return " ".join(sorted(str(opened.opening_id) for opened in self._open_now(bearer)))

    def context(
        self, bearer: Bearer, home: Tenant, tenant: Tenant, channel: str, origin: str
    ) -> Context:
        """The bearer's context in a tenant. Raises as `actor`."""
        actor = self.actor(bearer, home, tenant)
        opened = self._open_now(bearer) if actor.glass else ()
        return Context(
            tenant,
            actor,
            channel=channel,
            origin=origin,
            purpose=Purpose.EMERGENCY if opened else Purpose.TREATMENT,
            stepped_up=self.stepped_up(bearer),
            opened=frozenset(key for each in opened for key in each.keys),
        )

    def stepped_up(self, bearer: Bearer) -> bool:
        """Whether a person has proved a moment ago who they are."""
        person = bearer.kind is BearerKind.SESSION
        return person and self.clock.now() - bearer.proved < PROVED

    async def unchanged(self, bearer: Bearer) -> bool:
        """Whether who was recognised a while ago still is, with the same roles, and with all open that was:
        asked while an answer of many seconds goes out. Never of the token: a proof renews it."""
        try:
            now = await self._book.standing(bearer)
        except Unavailable:
            return True  # what was granted is read to its end (reliability 3.8); nothing new is
        self._note_seen(now)
        return (
            now is not None
            and judge(now, self.clock.now()) is None
            and now.roles == bearer.roles
            # What a short-lived token may do is less than its key may, and neither ever changes.
            and (bearer.kind is BearerKind.PROGRAM or now.scopes == bearer.scopes)
            and {o.opening_id for o in bearer.opened} <= {o.opening_id for o in self._open_now(now)}
        )

    # --- password and code ------------------------------------------------------------------------

    async def by_password(self, who: Visitor, login: str, password: str, code: str) -> SignedIn:
        """Sign in with all of it at once. Raises NotSignedIn, TooManyTries."""
        folded = folded_login(login)
        await self._opening.heard(who, folded)
        found = await self._book.person(who.tenant, folded)
        proof = await self._proof(who, found, password, code)
        if found is None or proof is None:
            raise self._opening.refusal(who, found[0].login if found else "")
        how, rows = proof
        signed_in = await self._opening.open(who, found[0], how, rows)
        await self._opening.forget(who, folded)
        return signed_in

    async def _proof(
        self, who: Visitor, found: tuple[Person, Credentials] | None, password: str, code: str
    ) -> tuple[How, tuple[object, ...]] | None:
        """What password and code prove of an account, and what is used up by it; None: nothing, at the same
        cost whether there is such an account or not."""
        credentials = found[1] if found else Credentials()
        typed = normalised(password)[:1024]
        right = await self._hasher.verify(credentials.password, typed)
        if found is None or not right or found[0].disabled:
            return None
        person = found[0]
        used = self._second_factor(who, person, credentials, code)
        if used is None:
            return None
        how, rows = used
        if credentials.password is not None and self._hasher.outdated(credentials.password):
            rows = (*rows, PasswordRow(person.person_id, await self._hasher.hashed(typed)))
        return how, rows

    def _second_factor(
        self, who: Visitor, person: Person, known: Credentials, code: str
    ) -> tuple[How, tuple[object, ...]] | None:
        """What the code proves, and what is used up by it; None when it proves nothing."""
        if person.seal is not None:
            if not allowed_from(person.seal.places, who.origin):
                log.warning(
                    "a sealed account of tenant %s was tried with its password from where it may not be used",
                    who.tenant.name,
                )
                return None
            return How.SEALED, (SealBrokenRow(person.person_id, self.clock.now()),)
        if known.totp is None:
            # Only accounts of a demonstration tenant are ever made without a second factor.
            return (How.PASSWORD, ()) if who.tenant.demo else None
        secret = self._sealer.unseal(known.totp, _place(who.tenant, person.person_id))
        step = totp.matching_step(secret, code, self.clock.now().timestamp(), known.totp_step)
        if step is not None:
            return How.PASSWORD_TOTP, (TotpUsedRow(person.person_id, step),)
        typed = recovery_digest(code)
        if any(hmac.compare_digest(typed, one) for one in known.recovery):
            return How.PASSWORD_RECOVERY, (RecoveryUsedRow(person.person_id, typed),)
        return None

    # --- passkeys ---------------------------------------------------------------------------------

    async def passkey_request(self, who: Visitor, site: Site) -> tuple[str, dict[str, Any]]:
        """A ticket, and what the browser is asked: any passkey it has for this site. Raises TooManyTries."""
        await self._opening.started(who)  # each is a row, for whoever asks
        options, challenge = self._passkeys.request(site)
        ticket = await self._opening.ask(who, "passkey", challenge)
        return ticket, options

    async def by_passkey(
        self, who: Visitor, site: Site, ticket: str, answer: dict[str, Any]
    ) -> SignedIn:
        """Sign in with a passkey. Raises NotSignedIn, TooManyTries."""
        await self._opening.heard(who, "")
        asked = await self._opening.asked(who, ticket, "passkey")
        if asked is None:
            raise self._opening.refusal(who, "")
        try:
            found = await self._book.passkey(who.tenant, self._passkeys.credential_id(answer))
            if found is None or found[0].disabled:
                raise self._opening.refusal(who, found[0].login if found else "")
            person, passkey = found
            count = self._passkeys.signed(site, asked.body, answer, passkey)
        except NotSignedIn:
            raise
        except LightwellError:
            raise self._opening.refusal(who, "") from None
        rows = (ChallengeUsedRow(asked.digest), PasskeyUsedRow(passkey.credential_id, count))
        return await self._opening.open(who, person, How.PASSKEY, rows)

    # --- links ------------------------------------------------------------------------------------

    async def by_link(self, who: Visitor, token: str) -> SignedIn:
        """Sign in with a one-time link. Raises NotSignedIn, TooManyTries."""
        link = await self._link(who, token, LinkKind.SESSION)
        name = f"link-{link.digest.hex()[:8]}"
        used = (LinkUsedRow(link.digest, self.clock.now()),)
        return await self._opening.begin(who, name, None, link.roles, How.LINK, used)

    async def _link(self, who: Visitor, token: str, *kinds: LinkKind) -> Link:
        await self._opening.heard(who, "")
        link = None
        if is_token(token, TokenKind.LINK):
            link = await self._book.link(who.tenant, digest(token))
        if link is None or link.kind not in kinds or not link.good(self.clock.now()):
            used = link is not None and link.kind in kinds and link.used is not None
            raise self._opening.refusal(
                who,
                "",
                "This link was used already; it opens nothing more."
                if used
                else "This link opens nothing: it is too old, or not whole.",
            )
        return link

    async def enrolment(
        self, who: Visitor, site: Site | None, token: str, login: str = ""
    ) -> Enrolment:
        """What the bearer of a link may choose from. The link stays good until `enrol`."""
        link = await self._link(who, token, LinkKind.ENROL, LinkKind.FIRST_ADMIN)
        await self._opening.give_back(who)
        person = await self._enrolling(who, link, login or "administrator", "")
        secret = totp.new_secret()
        options, challenge = (None, b"")
        if site is not None:
            known = await self._book.passkeys(who.tenant, person.person_id)
            options, challenge = self._passkeys.creation(site, person, who.tenant, known)
        body = json.dumps(
            {"totp": secret.hex(), "challenge": challenge.hex(), "person": str(person.person_id)}
        ).encode()
        place = f"enrolment:{who.tenant.key}:{link.digest.hex()}"
        ticket = await self._opening.ask(who, "enrolment", self._sealer.seal(body, place))
        uri = totp.provisioning_uri(
            secret, login=person.login, issuer=f"Lightwell {who.tenant.label}".strip()
        )
        first = link.kind is LinkKind.FIRST_ADMIN
        return Enrolment(ticket, first, "" if first else person.login, uri, options)

    async def enrol(
        self,
        who: Visitor,
        site: Site | None,
        token: str,
        ticket: str,
        *,
        login: str = "",
        name: str = "",
        password: str = "",
        code: str = "",
        passkey: dict[str, Any] | None = None,
    ) -> SignedIn:
        """Choose what one signs in with, and be signed in: a password and a code, or a passkey.

        Raises Invalid with what to do better (the link stays good), NotSignedIn for a link or ticket
        that is none.
        """
        link = await self._link(who, token, LinkKind.ENROL, LinkKind.FIRST_ADMIN)
        asked = await self._opening.asked(who, ticket, "enrolment")
        if asked is None:
            raise self._opening.refusal(who, "", "This page is too old. Open the link again.")
        place = f"enrolment:{who.tenant.key}:{link.digest.hex()}"
        offered = json.loads(self._sealer.unseal(asked.body, place))
        person = await self._enrolling(who, link, login, name, uuid.UUID(offered["person"]))
        now = self.clock.now()
        rows: list[object] = [LinkUsedRow(link.digest, now), ChallengeUsedRow(asked.digest)]
        if link.kind is LinkKind.FIRST_ADMIN:
            rows.append(PersonRow(person))
        codes: tuple[str, ...] = ()
        if passkey is not None and site is not None:
            made = self._passkeys.created(site, bytes.fromhex(offered["challenge"]), passkey)
            rows.append(PasskeyRow(person.person_id, made))
            how = How.PASSKEY
        else:
            codes = new_recovery_codes()
            rows.append(
                await self._chosen(
                    who, person, password, code, bytes.fromhex(offered["totp"]), codes
                )
            )
            how = How.PASSWORD_TOTP
        if link.kind is LinkKind.ENROL:  # whoever was signed in with what is replaced, is no more
            rows.append(SessionsEndedRow(now, f"person:{person.login}", None, person.person_id))
        return await self._opening.open(who, person, how, tuple(rows), codes)

    async def _enrolling(
        self,
        who: Visitor,
        link: Link,
        login: str,
        name: str,
        person_id: uuid.UUID | None = None,
    ) -> Person:
        """The account a link is for: there already, or about to be made as the first administrator's."""
        if link.person_id is not None:
            found = await self._book.person_by_id(who.tenant, link.person_id)
            if found is None or found[0].disabled:
                raise self._opening.refusal(
                    who, "", "This link opens nothing: its account is shut."
                )
            return found[0]
        folded, label = checked_login(login), checked_label(name, "A name")
        if await self._book.person(who.tenant, folded) is not None:
            raise Invalid(f"There is an account {folded!r}.", remedy="Choose another login.")
        roles = frozenset({Role.ADMIN.value})
        return Person(person_id or uuid.uuid4(), folded, label, roles, self.clock.now())

    async def _chosen(
        self,
        who: Visitor,
        person: Person,
        password: str,
        code: str,
        secret: bytes,
        codes: tuple[str, ...],
    ) -> CredentialsRow:
        wrong = objection(password, login=person.login)
        if wrong is not None:
            raise Invalid(wrong, remedy="Choose another password.")
        step = totp.matching_step(secret, code, self.clock.now().timestamp(), 0)
        if step is None:
            raise Invalid(
                "That is not the code the authenticator shows now.",
                remedy="Read the next one; the clocks of both devices must be right.",
            )
        return CredentialsRow(
            person.person_id,
            Credentials(
                password=await self._hasher.hashed(normalised(password)),
                totp=self._sealer.seal(secret, _place(who.tenant, person.person_id)),
                totp_step=step,
                recovery=frozenset(recovery_digest(one) for one in codes),
            ),
        )

    # --- proving again ------------------------------------------------------------------------------

    @operation(Action.PEOPLE_SELF_READ)
    async def ways(self, act: Act) -> Ways:
        """With what one can prove again who one is."""
        session = await self._opening.own_session(act.context)
        if session.person_id is None:
            return Ways(password=False, code=False, passkey=False)
        tenant = act.context.tenant
        found = await self._book.person_by_id(tenant, session.person_id)
        keys = await self._book.passkeys(tenant, session.person_id)
        known = found[1] if found else Credentials()
        issuer = found[0].issuer if found else ""
        there = await self._book.providers(tenant) if issuer else ()
        return Ways(
            password=known.password is not None,
            code=known.totp is not None,
            passkey=bool(keys),
            provider=next((p for p in there if p.enabled and p.issuer == issuer), None),
        )

    @operation(Action.PEOPLE_SESSION_PROVE)
    async def prove_by_password(self, act: Act, token: str, password: str, code: str) -> SignedIn:
        """Prove with all of it at once; the session goes on under a new token (A09). Throttled as a sign-in.

        `token`: the one it had. Raises NotProved, TooManyTries, Missing for who has no account here.
        """
        session = await self._opening.own_session(act.context)
        who = Visitor(act.context.tenant, act.context.origin)
        await self._opening.heard(who, session.name)
        found = None
        if session.person_id is not None:
            found = await self._book.person_by_id(who.tenant, session.person_id)
        proof = await self._proof(who, found, password, code)
        if proof is None:
            raise NotProved
        proved = await self._renewed(act, who, session, token, *proof)
        await self._opening.forget(who, session.name)
        return proved

    @operation(Action.PEOPLE_SESSION_PROVE)
    async def prove_request(self, act: Act, site: Site) -> tuple[str, dict[str, Any]]:
        """A ticket for this session alone, and what its browser is asked: a passkey it has for this site."""
        session = await self._opening.own_session(act.context)
        act.about(subject=session.name, detail="passkey asked for")
        options, challenge = self._passkeys.request(site)
        who = Visitor(act.context.tenant, act.context.origin)
        return await self._opening.ask(who, _proving(session), challenge), options

    @operation(Action.PEOPLE_SESSION_PROVE)
    async def prove_by_passkey(
        self, act: Act, token: str, site: Site, ticket: str, answer: dict[str, Any]
    ) -> SignedIn:
        """Prove with a passkey of this account. Raises as `prove_by_password`."""
        session = await self._opening.own_session(act.context)
        who = Visitor(act.context.tenant, act.context.origin)
        await self._opening.heard(who, session.name)
        asked = await self._opening.asked(who, ticket, _proving(session))
        if asked is None:
            raise NotProved
        try:
            found = await self._book.passkey(who.tenant, self._passkeys.credential_id(answer))
            if found is None or found[0].disabled or found[0].person_id != session.person_id:
                raise NotProved
            count = self._passkeys.signed(site, asked.body, answer, found[1])
        except NotProved:
            raise
        except LightwellError:
            raise NotProved from None
        rows = (ChallengeUsedRow(asked.digest), PasskeyUsedRow(found[1].credential_id, count))
        proved = await self._renewed(act, who, session, token, How.PASSKEY, rows)
        await self._opening.forget(who, session.name)
        return proved

    async def _renewed(
        self,
        act: Act,
        who: Visitor,
        session: Session,
        token: str,
        how: How,
        rows: tuple[object, ...],
    ) -> SignedIn:
        now, fresh = self.clock.now(), new_token(TokenKind.SESSION)
        act.about(subject=session.name, detail=how)
        row = SessionProvedRow(session.session_id, now, digest(token), digest(fresh))
        try:
            await act.commit((*rows, row))
        except FactsChanged:  # the same code or answer a moment ago: used is used
            raise NotProved from None
        self._known.pop(digest(token), None)
        await self._opening.give_back(who)
        return SignedIn(fresh, replace(session, proved=now))

    # --- signing out ------------------------------------------------------------------------------

    async def sign_out(self, token: str) -> Bearer | None:
        """End one's own session, and say which it was; a token that is none is none afterwards, too."""
        key = digest(token)
        bearer = await self._book.bearer(key) if is_token(token, TokenKind.SESSION) else None
        self._known.pop(key, None)
        if bearer is None or bearer.ended is not None:
            return None
        where = Tenant(bearer.tenant, "", "", "")
        now = self.clock.now()
        me = Context(where, Actor(ActorKind.PERSON, bearer.name), channel="console")
        entry = record(
            me,
            Action.PEOPLE_SESSION_REVOKE,
            Outcome.DONE,
            now,
            subject=bearer.name,
            detail="sign-out",
        )
        ended = SessionsEndedRow(now, str(me.actor), bearer.id)
        await self.committer.commit(ChangeSet(where, (ended,), (), (entry,)))
        return bearer


def _place(tenant: Tenant, person_id: uuid.UUID) -> str:
    return f"totp:{tenant.key}:{person_id}"


def _proving(session: Session) -> str:
    """The kind of question that only this session answers."""
    return f"prove:{session.session_id}"
