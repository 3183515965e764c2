"""OpenID Connect as relying party: discovery, authorization code with PKCE, what a provider says of somebody.

Descriptions and keys are remembered for an hour; a key nobody has seen makes us look once a minute at most;
a provider that failed is left alone for some seconds, so that a crowd does not wait for it one by one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote_plus, urlencode, urlsplit

from lightwell.backends.identity.id_token import (
    ALGORITHMS,
    SKEW,
    Expected,
    UnknownKey,
    VerifyKey,
    check_signed_in,
    checked_claims,
    claimed_issuer,
    keys_of,
)
from lightwell.backends.identity.outbound import Outgoing, Reply
from lightwell.domain.people.errors import ProviderAway, Step, Unproved
from lightwell.domain.people.ports import Farewell, Finding, Inbound, Outbound, Vouched
from lightwell.domain.people.providers import (
    IdentityProvider,
    Proven,
    claim_at,
    proven,
    safe_url,
    split_url,
)
from lightwell.kernel.clock import Clock

log = logging.getLogger("lightwell.identity")

REMEMBER: Final = 3600.0  # seconds that a description and its keys are good for
FRESH: Final = (
    5.0  # before somebody is sent there: a page of ours says more than one that does not load
)
WAY_OUT: Final = 3.0  # that somebody who has signed out here waits to be told where to go
REFRESH: Final = 60.0  # seconds between two looks for a new key
AFTER_FAILURE: Final = 5.0
REMEMBERED: Final = 1000  # providers
TOKEN_LIMIT: Final = 16 * 1024  # characters of an access token
_JSON: Final = ("application/json", "application/jwk-set+json")


@dataclass(frozen=True, slots=True)
class Description:
    """What a provider says of itself (OpenID Connect Discovery 1.0, 3; RFC 8414, RFC 9207)."""

    authorization: str
    token: str
    keys: str
    userinfo: str
    methods: frozenset[str]  # of telling it who we are
    algorithms: frozenset[str]  # of its signatures, as far as we allow them
    names_itself: bool  # its answers carry `iss`
    end_session: (
        str  # where a browser ends its session there; '' where that is nowhere we send anybody
    )


@dataclass(slots=True)
class _Known:
    """What we know of one issuer, and when (monotonic seconds): heard, looked for an unknown key, failed."""

    turn: asyncio.Lock
    description: Description | None = None
    keys: tuple[VerifyKey, ...] = ()
    at: float = 0.0
    keys_at: float = 0.0
    looked: float = -math.inf
    failed: tuple[Step, str] | None = None
    failed_at: float = 0.0


class OpenIdConnect:
    """`domain.people.ports.OpenId`. One a process."""

    def __init__(self, clock: Clock, outgoing: Outgoing | None = None) -> None:
        self._clock = clock
        self._outgoing = outgoing or Outgoing()
        self._known: dict[str, _Known] = {}

    def close(self) -> None:
        """Start nothing more."""
        self._outgoing.close()

    # --- the port -------------------------------------------------------------------------------------

    async def address(self, provider: IdentityProvider, outbound: Outbound) -> str:
        """See the port."""
        known = await self._described(provider, FRESH)
        # Core 3.1.2.1: `prompt` has them asked, `max_age` has it said when they answered.
        again = {"prompt": "login", "max_age": "0"} if outbound.again else {}
        query = urlencode(
            {
                "response_type": "code",
                "client_id": provider.client_id,
                "redirect_uri": outbound.callback,
                "scope": " ".join(provider.scopes),
                "state": outbound.state,
                "nonce": outbound.nonce,
                "code_challenge": outbound.challenge,
                "code_challenge_method": "S256",
                **again,
            }
        )
        place = _description(known).authorization
        return f"{place}{'&' if urlsplit(place).query else '?'}{query}"

    async def proven(
        self, provider: IdentityProvider, secret: str | None, inbound: Inbound
    ) -> Proven:
        """See the port."""
        known = await self._described(provider)
        there = _description(known)
        # RFC 9207 2.4: an answer of another provider (mix-up), and one that should be named and is not.
        if inbound.issuer != provider.issuer and (inbound.issuer is not None or there.names_itself):
            raise self._doubt(provider, "the answer is another provider's")
        answer = await self._exchanged(provider, there, secret, inbound)
        access = _access_token(answer)
        expected = Expected(
            provider.issuer, provider.client_id, inbound.nonce, access, there.algorithms
        )
        try:
            claims = await self._claims(provider, known, answer.get("id_token"), expected)
            if inbound.since is not None:
                check_signed_in(claims, inbound.since)
            claims = await self._completed(provider, there, claims, access)
            return proven(provider, claims)
        except Unproved as error:
            raise self._doubt(provider, error.reason) from None

    async def way_out(self, provider: IdentityProvider, farewell: Farewell) -> str | None:
        """See the port."""
        try:
            async with asyncio.timeout(WAY_OUT):
                there = _description(await self._described(provider, FRESH))
        except TimeoutError:
            raise ProviderAway(Step.DISCOVERY, "it takes too long to answer.") from None
        if not there.end_session:
            return None
        # RP-Initiated Logout 1.0, 2: without an ID token the client's name says whose way back it is.
        said = {"client_id": provider.client_id, "logout_hint": farewell.subject}
        if farewell.back:
            said |= {"post_logout_redirect_uri": farewell.back, "state": farewell.state}
        query = urlencode(said)
        return f"{there.end_session}{'&' if urlsplit(there.end_session).query else '?'}{query}"

    async def vouched(self, providers: tuple[IdentityProvider, ...], token: str) -> Vouched:
        """See the port."""
        issuer = claimed_issuer(token)
        provider = next((each for each in providers if each.issuer == issuer), None)
        if provider is None:
            raise Unproved("nobody here trusts its issuer")
        known = await self._described(provider)
        algorithms = _description(known).algorithms
        expected = Expected(provider.issuer, provider.client_id, None, algorithms=algorithms)
        try:
            claims = await self._claims(provider, known, token, expected)
            until = datetime.fromtimestamp(float(claims["exp"]), UTC)
            return Vouched(provider, proven(provider, claims), until)
        except Unproved as error:
            raise self._doubt(provider, error.reason) from None

    async def examine(self, provider: IdentityProvider, secret: str | None) -> tuple[Finding, ...]:
        """See the port."""
        found: list[Finding] = []
        try:
            await self._examined(provider, secret, found)
        except ProviderAway as error:
            found += _before(error.step, provider, found)
            found.append(Finding(error.step, False, error.what))
        return tuple(found)

    # --- what it says of itself -------------------------------------------------------------------------

    async def _described(self, provider: IdentityProvider, age: float = REMEMBER) -> _Known:
        """What is known of a provider, asked for when it is not, or older than `age`. Raises ProviderAway."""
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        known = self._known.setdefault(provider.issuer, _Known(asyncio.Lock()))
        async with known.turn:  # a crowd asks once
            now = self._clock.monotonic()
            if known.failed is not None and now - known.failed_at < AFTER_FAILURE:
                raise ProviderAway(*known.failed)
            if known.description is not None and now - known.at < age:
                return known
            try:
                known.description = described(provider, await self._discovered(provider))
                if not known.keys or now - known.keys_at >= REMEMBER:
                    known.keys = await self._shown_keys(known.description)
                    known.keys_at = now
            except ProviderAway as error:
                log.warning("provider %s: fails at %s: %s", provider.name, error.step, error.what)
                known.failed, known.failed_at = (error.step, error.what), now
                raise
            known.failed, known.at = None, now
        return known

    async def _discovered(self, provider: IdentityProvider) -> Mapping[str, Any]:
        reply = await self._outgoing.get(Step.DISCOVERY, discovery_url(provider.issuer))
        return parsed(reply, Step.DISCOVERY)

    async def _shown_keys(self, there: Description) -> tuple[VerifyKey, ...]:
        keys = keys_of(parsed(await self._outgoing.get(Step.KEYS, there.keys), Step.KEYS))
        if not keys:
            raise ProviderAway(Step.KEYS, "it shows no key that can check a signature.")
        return keys

    # --- what it says of somebody -------------------------------------------------------------------------

    async def _exchanged(
        self,
        provider: IdentityProvider,
        there: Description,
        secret: str | None,
        inbound: Inbound,
    ) -> Mapping[str, Any]:
        """The token endpoint's answer to a code (RFC 6749 4.1.3, RFC 7636 4.5)."""
        form = {
            "grant_type": "authorization_code",
            "code": inbound.code,
            "redirect_uri": inbound.callback,
            "code_verifier": inbound.verifier,
        }
        reply = await self._posted(provider, there, secret, form)
        refused = refusal_in(reply)
        if refused == "invalid_grant":
            raise self._doubt(provider, "the provider does not know the code")
        if refused:
            raise ProviderAway(Step.CLIENT, "it refuses our client id or secret.")
        return parsed(reply, Step.TOKEN)

    async def _posted(
        self,
        provider: IdentityProvider,
        there: Description,
        secret: str | None,
        form: Mapping[str, str],
    ) -> Reply:
        more, headers = authenticated(provider.client_id, secret, there.methods)
        return await self._outgoing.post(Step.TOKEN, there.token, {**form, **more}, headers)

    async def _claims(
        self, provider: IdentityProvider, known: _Known, token: object, expected: Expected
    ) -> Mapping[str, Any]:
        now = self._clock.now().timestamp()
        try:
            return checked_claims(token, known.keys, expected, now)
        except UnknownKey:
            await self._look_again(provider, known)
            return checked_claims(token, known.keys, expected, now)

    async def _look_again(self, provider: IdentityProvider, known: _Known) -> None:
        """Ask for the keys, as they may have been changed; not oftener than strangers may make us."""
        async with known.turn:
            now = self._clock.monotonic()
            if now - known.looked < REFRESH:
                return
            known.looked = now
            log.info("provider %s: looking for a new key", provider.name)
            known.keys = await self._shown_keys(_description(known))

    async def _completed(
        self,
        provider: IdentityProvider,
        there: Description,
        claims: Mapping[str, Any],
        access: str,
    ) -> Mapping[str, Any]:
        """With what the UserInfo endpoint adds, where the ID token lacks what we need (Core 5.3)."""
        needed = (provider.groups_claim, provider.login_claim)
        if all(claim_at(claims, name) is not None for name in needed):
            return claims
        if not there.userinfo or not access:
            return claims
        reply = await self._outgoing.get(Step.CLAIMS, there.userinfo, bearer=access)
        more = parsed(reply, Step.CLAIMS)
        # Core 5.3.2: without the same subject these are claims of somebody else.
        if not isinstance(more.get("sub"), str) or more["sub"] != claims.get("sub"):
            raise Unproved("what it says more is of somebody else")
        return {**more, **claims}

    def _doubt(self, provider: IdentityProvider, reason: str) -> Unproved:
        log.warning("provider %s: an answer was refused: %s", provider.name, reason)
        return Unproved(reason)

    # --- "test connection" --------------------------------------------------------------------------------

    async def _examined(
        self, provider: IdentityProvider, secret: str | None, found: list[Finding]
    ) -> None:
        reply = await self._outgoing.get(Step.DISCOVERY, discovery_url(provider.issuer))
        document = parsed(reply, Step.DISCOVERY)
        found += _before(Step.DISCOVERY, provider, found)
        found.append(
            Finding(Step.DISCOVERY, True, f"described at {discovery_url(provider.issuer)}")
        )
        there = described(provider, document)
        found.append(Finding(Step.ISSUER, True, "it calls itself what we call it"))
        found.append(self._clocks(reply))
        keys = await self._shown_keys(there)
        found.append(Finding(Step.KEYS, True, f"{len(keys)} keys to check its signatures with"))
        found.append(await self._client(provider, there, secret))
        if provider.end_session:
            if not there.end_session:
                raise ProviderAway(Step.SIGN_OUT, "it names no address to sign out at.")
            found.append(Finding(Step.SIGN_OUT, True, "it names where to sign out"))

    def _clocks(self, reply: Reply) -> Finding:
        try:
            theirs = parsedate_to_datetime(reply.date).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            return Finding(Step.CLOCK, True, "it does not say what time it is")
        apart = abs(theirs - self._clock.now().timestamp())
        if apart > SKEW:
            raise ProviderAway(Step.CLOCK, f"its clock and ours are {apart:.0f} s apart.")
        return Finding(Step.CLOCK, True, "its clock and ours agree")

    async def _client(
        self, provider: IdentityProvider, there: Description, secret: str | None
    ) -> Finding:
        """Whether it knows us, asked with a code that it cannot have given."""
        form = {
            "grant_type": "authorization_code",
            "code": "lightwell-connection-test",
            "redirect_uri": "https://lightwell.invalid/",
            "code_verifier": "lightwell-connection-test-lightwell-connection-test",
        }
        refused = refusal_in(await self._posted(provider, there, secret, form))
        if refused in ("invalid_client", "unauthorized_client"):
            raise ProviderAway(Step.CLIENT, "it refuses our client id or secret.")
        if not refused:
            return Finding(Step.CLIENT, True, "it did not say whether it knows us")
        return Finding(Step.CLIENT, True, "it did not refuse our client id and secret")


# --- pure parts ---------------------------------------------------------------------------------------------


def _description(known: _Known) -> Description:
    if known.description is None:
        raise ProviderAway(Step.DISCOVERY, "it has not described itself.")
    return known.description


def discovery_url(issuer: str) -> str:
    """Where a provider describes itself (Discovery 1.0, 4.1)."""
    return f"{issuer.removesuffix('/')}/.well-known/openid-configuration"


def parsed(reply: Reply, step: Step) -> Mapping[str, Any]:
    """The JSON object of an answer. Raises ProviderAway."""
    if 300 <= reply.status < 400:
        raise ProviderAway(step, "it sends us elsewhere, which is not followed.")
    if reply.status != 200:
        raise ProviderAway(step, f"it answers with the status {reply.status}.")
    if reply.kind not in _JSON:
        raise ProviderAway(step, "its answer is not called JSON.")
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        raise ProviderAway(step, "its answer is no JSON.") from None
    if not isinstance(document, dict):
        raise ProviderAway(step, "its answer is no JSON object.")
    return document


def refusal_in(reply: Reply) -> str:
    """The error of a token endpoint (RFC 6749 5.2); '' for none. Compared, never shown."""
    if reply.status not in (400, 401, 403) or reply.kind not in _JSON:
        return ""
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        return ""
    said = document.get("error") if isinstance(document, dict) else None
    return said if isinstance(said, str) else ""


def described(provider: IdentityProvider, document: Mapping[str, Any]) -> Description:
    """A provider's description, if it is its own and names what is needed. Raises ProviderAway."""
    if document.get("issuer") != provider.issuer:
        raise ProviderAway(Step.ISSUER, _other_name(document.get("issuer")))

    def place(name: str) -> str:
        url = document.get(name)
        if not isinstance(url, str) or not safe_url(url, issuer=provider.issuer):
            raise ProviderAway(Step.DISCOVERY, f"it names no {name} that is reached by https.")
        return url

    methods = _texts(document, "token_endpoint_auth_methods_supported")
    algorithms = _texts(document, "id_token_signing_alg_values_supported")
    return Description(
        authorization=place("authorization_endpoint"),
        token=place("token_endpoint"),
        keys=place("jwks_uri"),
        userinfo=place("userinfo_endpoint") if "userinfo_endpoint" in document else "",
        methods=methods or frozenset({"client_secret_basic"}),  # the default of Discovery 1.0, 3
        algorithms=ALGORITHMS & algorithms if algorithms else ALGORITHMS,
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
        end_session=_way_out(provider, document),
    )


def _way_out(provider: IdentityProvider, document: Mapping[str, Any]) -> str:
    """Where a browser signs out there (RP-Initiated Logout 1.0, 2.1). One that is nothing for us shuts nobody
    out of signing in."""
    url = document.get("end_session_endpoint")
    return url if isinstance(url, str) and safe_url(url, issuer=provider.issuer) else ""


def _other_name(said: object) -> str:
    if isinstance(said, str) and split_url(said) is not None:
        return f"it calls itself {said[:255]}: to the letter, that is its issuer."
    return "it does not say what its issuer is."


def _texts(document: Mapping[str, Any], name: str) -> frozenset[str]:
    said = document.get(name)
    return (
        frozenset(each for each in said if isinstance(each, str))
        if isinstance(said, list)
        else frozenset()
    )


def authenticated(
    client_id: str, secret: str | None, methods: frozenset[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """(form fields, headers) with which a client says who it is (RFC 6749 2.3.1)."""
    if secret is None:
        return {"client_id": client_id}, {}
    if "client_secret_basic" not in methods and "client_secret_post" in methods:
        return {"client_id": client_id, "client_secret": secret}, {}
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
    return {}, {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _access_token(answer: Mapping[str, Any]) -> str:
    """The access token, if it is a bearer token that a header can carry (RFC 6750 2.1); '' otherwise."""
    said, kind = answer.get("access_token"), answer.get("token_type")
    if not isinstance(said, str) or not isinstance(kind, str) or kind.lower() != "bearer":
        return ""
    sound = len(said) <= TOKEN_LIMIT and said.isascii() and said.isprintable() and " " not in said
    return said if sound else ""


def _before(step: Step, provider: IdentityProvider, found: list[Finding]) -> list[Finding]:
    """What was good when a later part is reached: the request says it by getting there."""
    host = urlsplit(provider.issuer).hostname
    tls = provider.issuer.startswith("https:")
    texts = {
        Step.ADDRESS: f"{host} has an address",
        Step.CONNECTION: "something answers there",
        Step.TLS: f"a certificate for {host}" if tls else "none is needed on this machine",
    }
    order, there = list(Step), {finding.step for finding in found}
    return [
        Finding(each, True, text)
        for each, text in texts.items()
        if order.index(each) < order.index(step) and each not in there
    ]
