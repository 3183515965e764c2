"""ID tokens: whether a text proves who somebody is (OpenID Connect Core 1.0, 3.1.3.7; RFC 7515, 7519, 8725).

Pure but for the library that checks signatures (joserfc). The algorithm is chosen from our list, the key from
the provider's set; nothing a token says of itself adds to either: `jwk`, `jku`, `x5u`, `x5c` are not read,
`crit` is refused whatever it names.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lightwell.domain.people.errors import Unproved

SKEW: Final = 60.0  # seconds that clocks differ (reliability 3.8)
AGE: Final = 600.0  # seconds; older than that nobody was on the way
AGE_ALONE: Final = (
    3600.0  # of a token that we did not ask for: whoever finds an older one has nothing
)
TOKEN_LIMIT: Final = 32 * 1024
HEADER_LIMIT: Final = 8 * 1024
KEYS_LIMIT: Final = 100
KID_LIMIT: Final = 255
RSA_BITS: Final = (2048, 8192)

CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", *CURVES})
_DIGESTS: Final = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
_TEXT: Final = re.compile(r"[A-Za-z0-9_-]+\Z")


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A provider's public key: the members that make it one, and what it says it is for."""

    kid: str | None
    alg: str | None
    members: Mapping[str, str]

    def suits(self, alg: str) -> bool:
        """Whether a signature of this algorithm can be of this key."""
        if self.alg is not None and self.alg != alg:
            return False
        if alg in CURVES:
            return self.members["kty"] == "EC" and self.members["crv"] == CURVES[alg]
        return self.members["kty"] == "RSA"


@dataclass(frozen=True, slots=True)
class Expected:
    """What only a token for this sign-in says. `access_token`: what came beside it, or ''. `nonce`: None for
    a token that came by itself, which is bound to no question of ours (DICOM PS3.7 D.3.3.7)."""

    issuer: str
    client_id: str
    nonce: str | None = field(repr=False)
    access_token: str = field(default="", repr=False)
    algorithms: frozenset[str] = ALGORITHMS


class UnknownKey(Unproved):
    """The key a token names is not in the set that we know: there may be a newer one."""

    def __init__(self) -> None:
        super().__init__("signed with a key that the provider does not show")


def keys_of(document: Mapping[str, Any]) -> tuple[VerifyKey, ...]:
    """The keys of a JWK Set (RFC 7517 5) that can check an ID token; what is unknown there is passed over."""
    listed = document.get("keys")
    if not isinstance(listed, list):
        return ()
    found = (_key(each) for each in listed[:KEYS_LIMIT] if isinstance(each, Mapping))
    return tuple(key for key in found if key is not None)


def _key(said: Mapping[str, Any]) -> VerifyKey | None:
    uses = said.get("key_ops")
    if said.get("use", "sig") != "sig" or (isinstance(uses, list) and "verify" not in uses):
        return None
    kid, alg = said.get("kid"), said.get("alg")
    if not all(each is None or isinstance(each, str) for each in (kid, alg)):
        return None
    # Public members only, one kind after the other: a symmetric key in the set is no key of anybody.
    names = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y")}.get(str(said.get("kty")), ())
    members = {name: said[name] for name in names if isinstance(said.get(name), str)}
    if not names or len(members) != len(names):
        return None
    try:
        if members["kty"] == "RSA" and not _sound_rsa(members):
            return None
    except binascii.Error:
        return None
    if members["kty"] == "EC" and members["crv"] not in CURVES.values():
        return None
    return VerifyKey(kid, alg, members)


def _sound_rsa(members: Mapping[str, str]) -> bool:
    """Neither so short that it can be broken nor so long that checking it is an attack."""
    least, most = RSA_BITS
    modulus, exponent = members["n"], members["e"]
    if not _TEXT.match(modulus) or not _TEXT.match(exponent) or len(modulus) > most:
        return False
    number = int.from_bytes(base64.urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4)), "big")
    return least <= number.bit_length() <= most and len(exponent) <= 8


def checked_claims(
    token: object, keys: tuple[VerifyKey, ...], expected: Expected, now: float
) -> Mapping[str, Any]:
    """The claims of an ID token that is one, is the provider's, and is for this sign-in.

    `now`: seconds since 1970. Raises Unproved with the reason, UnknownKey when a newer key may help.
    """
    header, text = _taken_apart(token)
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in ALGORITHMS & expected.algorithms:
        raise Unproved("signed with an algorithm that is not allowed")
    if "crit" in header:  # RFC 7515 4.1.11: we understand no extension
        raise Unproved("it has critical headers")
    claims = _verified(text, alg, _chosen(keys, alg, header.get("kid")))
    _check_who(claims, expected)
    alone = expected.nonce is None
    _check_when(claims, now, AGE_ALONE if alone else AGE)
    if not alone:
        _check_bound(claims, alg, expected)
    return claims


def claimed_issuer(token: object) -> str:
    """Whose a token says it is, which nobody has checked: only to find whose keys to check it with.

    Raises Unproved.
    """
    _, text = _taken_apart(token)
    body = text.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        raise Unproved("no signed token") from None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    if not isinstance(issuer, str):
        raise Unproved("it does not say whose it is")
    return issuer


def _taken_apart(token: object) -> tuple[Mapping[str, Any], str]:
    if not isinstance(token, str) or len(token) > TOKEN_LIMIT:
        raise Unproved("no ID token")
    parts = token.split(".")
    if len(parts) != 3 or not all(map(_TEXT.match, parts)) or len(parts[0]) > HEADER_LIMIT:
        raise Unproved("no signed ID token")
    try:
        header = json.loads(base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        raise Unproved("no signed ID token") from None
    if not isinstance(header, dict):
        raise Unproved("no signed ID token")
    return header, token


def _chosen(keys: tuple[VerifyKey, ...], alg: str, kid: object) -> VerifyKey:
    """The one key that can be meant: a token does not get to try several."""
    suited = [key for key in keys if key.suits(alg)]
    if kid is not None:
        if not isinstance(kid, str) or len(kid) > KID_LIMIT:
            raise Unproved("it names no key")
        suited = [key for key in suited if key.kid == kid]
    if not suited:
        raise UnknownKey
    if len(suited) > 1:
        raise Unproved("several keys could be meant")
    return suited[0]


def _verified(token: str, alg: str, key: VerifyKey) -> Mapping[str, Any]:
    # Here, so that a door begins without it: only who comes through a provider needs it.
    from joserfc import jwk, jwt
    from joserfc.errors import JoseError
    from joserfc.jws import JWSRegistry

    registry = JWSRegistry(algorithms=[alg], strict_check_header=False)
    registry.max_header_length = HEADER_LIMIT
    try:
        decoded = jwt.decode(token, jwk.import_key(dict(key.members)), registry=registry)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise Unproved("its signature is wrong") from None
    return decoded.claims


def _check_who(claims: Mapping[str, Any], expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise Unproved("it is another issuer's")
    said = claims.get("aud")
    audience = [said] if isinstance(said, str) else said
    if not isinstance(audience, list) or expected.client_id not in audience:
        raise Unproved("it is for somebody else")
    party = claims.get("azp")
    if (len(audience) > 1 or party is not None) and party != expected.client_id:
        raise Unproved("it was given to somebody else")


def _check_when(claims: Mapping[str, Any], now: float, age: float) -> None:
    expires, issued = _seconds(claims, "exp"), _seconds(claims, "iat")
    if expires is None or issued is None:
        raise Unproved("it does not say when it is good")
    if now >= expires + SKEW:
        raise Unproved("it is expired; or the clocks differ")
    begins = _seconds(claims, "nbf") if "nbf" in claims else issued
    if begins is None or max(issued, begins) > now + SKEW:
        raise Unproved("it is of the future; or the clocks differ")
    if issued < now - age - SKEW:
        raise Unproved("it is old; or the clocks differ")


def check_signed_in(claims: Mapping[str, Any], since: float) -> None:
    """Whether somebody has signed in there since then (OpenID Connect Core 2, auth_time; 3.1.3.7, 13).

    `since`: seconds since 1970. Raises Unproved; also where a provider does not say it, as it must where it
    was asked with max_age.
    """
    said = _seconds(claims, "auth_time")
    if said is None:
        raise Unproved("it does not say when they signed in there")
    if said < since - SKEW:
        raise Unproved("they did not sign in there again; or the clocks differ")


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    said = claims.get(name)
    number = isinstance(said, int | float) and not isinstance(said, bool)
    return float(said) if number and 0 <= said < 1e12 else None  # type: ignore[operator, arg-type]


def _check_bound(claims: Mapping[str, Any], alg: str, expected: Expected) -> None:
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not _same(nonce, expected.nonce or ""):
        raise Unproved("it is not for this sign-in")
    if "at_hash" not in claims:
        return
    said = claims["at_hash"]
    if not isinstance(said, str) or not _same(said, half_hash(alg, expected.access_token)):
        raise Unproved("the access token is not the one it came with")


def half_hash(alg: str, text: str) -> str:
    """`at_hash` (Core 3.1.3.6): the left half of the digest of the algorithm, in base64url."""
    digest = _DIGESTS[alg[-3:]](text.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
