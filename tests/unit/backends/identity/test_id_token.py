"""ID tokens: each attack of the catalogue (A01, A02), with keys made here; and what is good stays good."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwk

from lightwell.backends.identity.id_token import (
    AGE,
    SKEW,
    Expected,
    UnknownKey,
    VerifyKey,
    check_signed_in,
    checked_claims,
    half_hash,
    keys_of,
)
from lightwell.domain.people.errors import Unproved
from lightwell.testing.openid import Key, new_key, signed

ISSUER, CLIENT, NONCE = "https://id.example/realm", "pacs", "n" * 43
NOW = 1_796_000_000.0  # a fixed instant: the names of tests hold it, and two processes have to agree on them
RSA, EC = new_key("RSA", "r1"), new_key("EC", "e1")
OTHER = new_key("RSA", "o1")
EXPECTED = Expected(ISSUER, CLIENT, NONCE)


def shown(*keys: Key) -> tuple[VerifyKey, ...]:
    """Keys as a provider shows them."""
    return keys_of({"keys": [key.as_dict(private=False) for key in keys]})


KEYS = shown(RSA, EC)


def claims(**changes: Any) -> dict[str, Any]:
    right = {
        "iss": ISSUER,
        "sub": "s-1",
        "aud": CLIENT,
        "exp": NOW + 300,
        "iat": NOW,
        "nonce": NONCE,
    }
    return {k: v for k, v in {**right, **changes}.items() if v is not None}


def refused(
    token: object, keys: tuple[VerifyKey, ...] = KEYS, expected: Expected = EXPECTED
) -> str:
    """Why a token is refused."""
    with pytest.raises(Unproved) as error:
        checked_claims(token, keys, expected, NOW)
    return error.value.reason


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], body: dict[str, Any], signature: bytes) -> str:
    """A token no library would make."""
    return ".".join(
        (b64(json.dumps(header).encode()), b64(json.dumps(body).encode()), b64(signature))
    )


@pytest.mark.parametrize("said", [NOW, NOW - SKEW, NOW + 1, int(NOW)])
def test_a09_whoever_signed_in_there_since(said: float) -> None:
    check_signed_in({"auth_time": said}, NOW)


@pytest.mark.parametrize("said", [None, NOW - SKEW - 1, 0, True, str(NOW), -1, 1e300, [NOW]])
def test_a09_whoever_did_not_sign_in_there_again_proves_nothing(said: object) -> None:
    with pytest.raises(Unproved):
        check_signed_in({} if said is None else {"auth_time": said}, NOW)


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256", "PS512", "ES256"])
def test_a_good_token_is_good(alg: str) -> None:
    key = EC if alg == "ES256" else RSA
    said = {**key.as_dict(private=False)}
    said.pop("alg", None)
    keys = keys_of({"keys": [said]})
    assert checked_claims(signed(claims(), key, alg), keys, EXPECTED, NOW)["sub"] == "s-1"


# --- A01: forged -------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "", None, 7, ["RS256"], {"a": 1}])
def test_a01_no_algorithm_is_none(alg: Any) -> None:
    header = {"alg": alg, "kid": "r1"}
    for signature in (b"", b"x" * 256):
        assert refused(by_hand(header, claims(), signature))


def hmac_of(secret: bytes) -> str:
    head, body = (
        b64(json.dumps({"alg": "HS256", "kid": "r1"}).encode()),
        b64(json.dumps(claims()).encode()),
    )
    mac = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{b64(mac)}"


def test_a01_a_public_key_is_no_secret() -> None:
    """HS256 with what everybody can read: the PEM, the DER, the modulus."""
    public = jwk.import_key(RSA.as_dict(private=False))
    for secret in (
        public.as_pem(private=False),
        public.as_der(private=False),
        RSA.as_dict()["n"].encode(),
    ):
        assert "algorithm" in refused(hmac_of(secret))
    # Not even where the provider says that it signs so, or shows a symmetric key.
    symmetric = keys_of({"keys": [{"kty": "oct", "k": b64(b"x" * 32), "kid": "r1"}]})
    assert symmetric == ()
    allowed = Expected(ISSUER, CLIENT, NONCE, algorithms=frozenset({"HS256", "none"}))
    assert "algorithm" in refused(hmac_of(b"x" * 32), KEYS, allowed)


@pytest.mark.parametrize("hint", ["jwk", "x5c", "jku", "x5u"])
def test_a01_a_token_does_not_bring_its_own_key(hint: str) -> None:
    """Signed by a stranger who names their key in the header: the provider's is used, and nothing is fetched
    (this function has no way to)."""
    value: Any = {
        "jwk": OTHER.as_dict(private=False),
        "x5c": [b64(b"certificate")],
        "jku": "http://127.0.0.1:9/keys",
        "x5u": "http://127.0.0.1:9/certificate",
    }[hint]
    assert "signature" in refused(signed(claims(), OTHER, header={"kid": "r1", hint: value}))
    assert refused(signed(claims(), OTHER, header={hint: value})) == UnknownKey().reason


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "", "r2", "r1\x00", "' OR 1=1 --", "x" * 300, 1, ["r1"]]
)
def test_a01_a_key_id_is_a_name_and_nothing_else(kid: Any) -> None:
    with pytest.raises(Unproved):
        checked_claims(
            by_hand({"alg": "RS256", "kid": kid}, claims(), b"x" * 256), KEYS, EXPECTED, NOW
        )


@pytest.mark.parametrize("crit", [["exp"], ["x-unknown"], [], "exp", ["b64"]])
def test_a01_critical_headers_are_refused(crit: Any) -> None:
    header = {"alg": "RS256", "kid": "r1", "crit": crit, "x-unknown": 1, "b64": False}
    assert "critical" in refused(by_hand(header, claims(), b"x" * 256))


def test_a01_a_signature_is_there_whole_and_of_these_words() -> None:
    token = signed(claims(), RSA)
    head, body, signature = token.split(".")
    forged = b64(json.dumps(claims(sub="s-2")).encode())
    flipped = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
    for bad in (
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{forged}.{signature}",
        f"{head}.{body}.{flipped}",
    ):
        assert refused(bad)
    for bad in (
        f"{head}.{body}.{signature}.",
        f"{token}.x.y",
        f" {token}",
        token + "\n",
        token + "=",
    ):
        assert "no signed" in refused(bad)


def test_a01_zero_is_no_ecdsa_signature() -> None:
    header = {"alg": "ES256", "kid": "e1"}
    for signature in (b"\0" * 64, b"\xff" * 64, b"\0" * 63, b""):
        assert refused(by_hand(header, claims(), signature))


def test_a01_an_algorithm_goes_with_its_key() -> None:
    """An RSA key does not check an ES256 token, nor one key's `alg` another's."""
    assert isinstance_of_unknown(by_hand({"alg": "ES256", "kid": "r1"}, claims(), b"x" * 64))
    only_256 = keys_of({"keys": [{**RSA.as_dict(private=False), "alg": "RS256"}]})
    assert refused(signed(claims(), RSA, "RS512"), only_256)
    narrow = Expected(ISSUER, CLIENT, NONCE, algorithms=frozenset({"ES256"}))
    assert "algorithm" in refused(signed(claims(), RSA), KEYS, narrow)


def isinstance_of_unknown(token: str) -> bool:
    with pytest.raises(UnknownKey):
        checked_claims(token, KEYS, EXPECTED, NOW)
    return True


def test_a_token_that_names_no_key_is_checked_with_the_only_one() -> None:
    bare = signed(claims(), RSA, header={"kid": None})
    head = json.loads(base64.urlsafe_b64decode(bare.split(".")[0] + "=="))
    assert "kid" not in head
    assert checked_claims(bare, KEYS, EXPECTED, NOW)
    assert refused(bare, shown(RSA, OTHER)) == "several keys could be meant"


@pytest.mark.parametrize(
    "token",
    [None, 7, {}, "", "..", "a.b.c", "x" * 50_000, "e30.e30.e30", f"{b64(b'[]')}.e30.e30", "é.é.é",
     f"{b64(b'[' * 5000)}.e30.e30", f"{b64(b'{' + b' ' * 9000 + b'}')}.e30.e30"],
)  # fmt: skip
def test_what_is_no_token(token: Any) -> None:
    assert refused(token)


def test_what_is_signed_and_no_object_is_no_token() -> None:
    from joserfc import jws

    for body in (b"[]", b'"x"', b"null", b"{", b"[" * 50_000):
        token = jws.serialize_compact({"alg": "RS256", "kid": "r1"}, body, RSA)
        assert "signature" in refused(token) or "no ID token" in refused(token)


# --- A02: for somebody else, or for another time --------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"iss": "https://id.example/other"}, "issuer"),
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"iss": [ISSUER]}, "issuer"),
        ({"aud": "other"}, "for somebody else"),
        ({"aud": None}, "for somebody else"),
        ({"aud": []}, "for somebody else"),
        ({"aud": {"pacs": 1}}, "for somebody else"),
        ({"aud": "pacs2"}, "for somebody else"),
        ({"aud": [CLIENT, "other"]}, "given to somebody else"),
        ({"aud": [CLIENT, "other"], "azp": "other"}, "given to somebody else"),
        ({"azp": "other"}, "given to somebody else"),
        ({"nonce": None}, "this sign-in"),
        ({"nonce": "m" * 43}, "this sign-in"),
        ({"nonce": [NONCE]}, "this sign-in"),
        ({"exp": None}, "when"),
        ({"iat": None}, "when"),
        ({"exp": "tomorrow"}, "when"),
        ({"exp": True}, "when"),
        ({"exp": 1e300}, "when"),
        ({"exp": NOW - SKEW}, "expired"),
        ({"iat": NOW + SKEW + 1}, "future"),
        ({"nbf": NOW + SKEW + 1}, "future"),
        ({"nbf": "soon"}, "future"),
        ({"iat": NOW - AGE - SKEW - 1}, "old"),
        ({"at_hash": "x" * 22}, "access token"),
        ({"at_hash": 7}, "access token"),
    ],
)
def test_a02_a_good_signature_is_not_enough(change: dict[str, Any], says: str) -> None:
    assert says in refused(signed(claims(**change), RSA))


@pytest.mark.parametrize(
    "change",
    [
        {"exp": NOW - SKEW + 1},
        {"iat": NOW + SKEW},
        {"nbf": NOW + SKEW},
        {"iat": NOW - AGE},
        {"aud": [CLIENT]},
        {"aud": [CLIENT, "other"], "azp": CLIENT},
        {"azp": CLIENT},
    ],
)
def test_clocks_may_differ_by_a_minute_and_we_may_be_one_of_several(change: dict[str, Any]) -> None:
    assert checked_claims(signed(claims(**change), RSA), KEYS, EXPECTED, NOW)


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512"])
def test_the_access_token_is_the_one_it_came_with(alg: str) -> None:
    said = RSA.as_dict(private=False)
    keys = keys_of({"keys": [said]})
    token = signed(claims(at_hash=half_hash(alg, "at-1")), RSA, alg)
    assert checked_claims(token, keys, Expected(ISSUER, CLIENT, NONCE, "at-1"), NOW)
    assert "access token" in refused(token, keys, Expected(ISSUER, CLIENT, NONCE, "at-2"))


def test_the_half_hash_is_that_of_the_standard() -> None:
    """OpenID Connect Core 1.0, A.3: the example's access token and at_hash."""
    assert (
        half_hash("RS256", "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y")
        == "77QmUPtjPfzWtF2AnpK9RQ"
    )


# --- keys ------------------------------------------------------------------------------------------------


def public(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in {**RSA.as_dict(private=False), **changes}.items() if v is not None}


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "oct", "k": "AAAA"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
        {"kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA"},
        {"kty": "EC", "crv": "P-256", "x": 7, "y": "AAAA"},
        {"kty": ["RSA"], "n": "AAAA", "e": "AQAB"},
        public(use="enc"),
        public(key_ops=["encrypt"]),
        public(n="AQAB"),
        public(n="A" * 3000),
        public(n="A" * 342 + "AQAB"),
        public(n="not base64!" * 40),
        public(e="A" * 400),
        public(kid=7),
        public(alg=["RS256"]),
        public(e=None),
        "RSA",
        None,
    ],
)
def test_what_is_no_key_to_check_with_is_passed_over(key: Any) -> None:
    assert keys_of({"keys": [key]}) == ()
    assert len(keys_of({"keys": [key, public()]})) == 1


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {"a": 1}}, {"keys": "RSA"}])
def test_a_set_that_is_none_has_no_keys(document: dict[str, Any]) -> None:
    assert keys_of(document) == ()


def test_private_members_of_a_key_are_not_taken() -> None:
    (key,) = keys_of({"keys": [RSA.as_dict(private=True)]})
    assert set(key.members) == {"kty", "n", "e"}


def test_a_key_that_cannot_be_one_is_a_wrong_signature() -> None:
    """A point that is not on the curve, as the library finds."""
    made = {**EC.as_dict(private=False), "x": b64(b"\x01" * 32), "y": b64(b"\x02" * 32)}
    assert "signature" in refused(signed(claims(), EC, "ES256"), keys_of({"keys": [made]}))


def test_reasons_never_hold_a_text_of_the_provider() -> None:
    token = signed(claims(iss="https://evil.example/<script>", aud="<b>"), RSA)
    check: Callable[[str], bool] = lambda reason: "<" not in reason and "evil" not in reason  # noqa: E731
    assert check(refused(token))
