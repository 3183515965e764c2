"""Hashing, sealing and passkeys against their real libraries; the authenticator is played here."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import stat
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from lightwell.access.context import Tenant
from lightwell.backends.identity.hashing import AT_ONCE, WAITING, Argon2Hasher
from lightwell.backends.identity.passkeys import WebAuthnCeremonies
from lightwell.backends.identity.sealing import VARIABLE, AesSealer
from lightwell.domain.people.model import Passkey, Person
from lightwell.domain.people.ports import Site
from lightwell.kernel.errors import Broken, Busy, Invalid, Refused

SITE = Site("https://pacs.example", "pacs.example")
TENANT = Tenant(1, "default", "Default", "LIGHTWELL")
ADA = Person(uuid.uuid4(), "ada", "Ada", frozenset({"radiologist"}), datetime.now(UTC))


def cheap() -> Argon2Hasher:
    return Argon2Hasher(memory_kib=64, passes=1)


# --- argon2id ------------------------------------------------------------------------------------------


async def test_a05_a_difference_at_the_75th_byte_counts() -> None:
    hasher = cheap()
    one, other = "x" * 74 + "a" + "y" * 5, "x" * 74 + "b" + "y" * 5
    encoded = await hasher.hashed(one)
    assert encoded.startswith("$argon2id$")
    assert await hasher.verify(encoded, one)
    assert not await hasher.verify(encoded, other)


async def test_nobody_has_no_password() -> None:
    hasher = cheap()
    assert not await hasher.verify(None, "nobody has this password")
    assert not await hasher.verify("not a hash", "x")


async def test_a_raised_cost_is_seen() -> None:
    encoded = await cheap().hashed("seven green bottles")
    assert not cheap().outdated(encoded)
    assert Argon2Hasher(memory_kib=128, passes=2).outdated(encoded)


async def test_more_than_can_wait_are_turned_away() -> None:
    hasher = cheap()
    crowd = [hasher.verify(None, "x") for _ in range(AT_ONCE + WAITING + 10)]
    outcomes = await asyncio.gather(*crowd, return_exceptions=True)
    assert sum(isinstance(one, Busy) for one in outcomes) == 10


# --- sealing -------------------------------------------------------------------------------------------


def test_a_secret_opens_in_its_place_only(tmp_path: Path) -> None:
    sealer = AesSealer(tmp_path / "secrets" / "sealing.key")
    sealed = sealer.seal(b"secret", "totp:1:ada")
    assert b"secret" not in sealed
    assert AesSealer(tmp_path / "secrets" / "sealing.key").unseal(sealed, "totp:1:ada") == b"secret"
    assert sealer.seal(b"secret", "totp:1:ada") != sealed
    for wrong, place in (
        (sealed, "totp:2:ada"),
        (sealed[:-1], "totp:1:ada"),
        (bytes([sealed[0]]) + bytes(len(sealed) - 1), "totp:1:ada"),
        (b"\x02" + sealed[1:], "totp:1:ada"),
        (b"", "totp:1:ada"),
    ):
        with pytest.raises(Broken):
            sealer.unseal(wrong, place)
    key = tmp_path / "secrets" / "sealing.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert [p.name for p in key.parent.iterdir()] == ["sealing.key"]


def test_the_key_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, base64.b64encode(b"k" * 32).decode())
    sealed = AesSealer(tmp_path / "a").seal(b"secret", "p")
    assert AesSealer(tmp_path / "b").unseal(sealed, "p") == b"secret"
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(VARIABLE, "short")
    with pytest.raises(Invalid):
        AesSealer(tmp_path / "c").seal(b"secret", "p")


def test_a_broken_key_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(Broken):
        AesSealer(tmp_path / "key").seal(b"secret", "p")


# --- passkeys ------------------------------------------------------------------------------------------


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Authenticator:
    """A passkey of one site (WebAuthn Level 3, 6.1 and 7), with knobs for what it does wrong."""

    def __init__(self, site: str = SITE.name) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = uuid.uuid4().bytes
        self.site = site
        self.count = 0

    def _data(self, flags: int, attested: bytes = b"") -> bytes:
        self.count += 1
        head = hashlib.sha256(self.site.encode()).digest()
        return head + bytes([flags]) + self.count.to_bytes(4, "big") + attested

    @staticmethod
    def _client(kind: str, challenge: bytes, origin: str) -> bytes:
        said = {"type": kind, "challenge": b64(challenge), "origin": origin, "crossOrigin": False}
        return json.dumps(said).encode()

    def create(
        self, challenge: bytes, origin: str = SITE.origin, flags: int = 0x45
    ) -> dict[str, Any]:
        point = self.key.public_key().public_numbers()
        cose = cbor2.dumps(
            {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}
        )
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cose
        made = {"fmt": "none", "attStmt": {}, "authData": self._data(flags, attested)}
        return self._answer(
            {
                "clientDataJSON": b64(self._client("webauthn.create", challenge, origin)),
                "attestationObject": b64(cbor2.dumps(made)),
            }
        )

    def get(self, challenge: bytes, origin: str = SITE.origin, flags: int = 0x05) -> dict[str, Any]:
        data, client = self._data(flags), self._client("webauthn.get", challenge, origin)
        signed = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(
            {
                "clientDataJSON": b64(client),
                "authenticatorData": b64(data),
                "signature": b64(signed),
                "userHandle": b64(ADA.person_id.bytes),
            }
        )

    def _answer(self, response: dict[str, str]) -> dict[str, Any]:
        return {
            "id": b64(self.id),
            "rawId": b64(self.id),
            "type": "public-key",
            "response": response,
        }


@pytest.fixture
def ceremonies() -> WebAuthnCeremonies:
    return WebAuthnCeremonies()


def registered(ceremonies: WebAuthnCeremonies, authenticator: Authenticator) -> Passkey:
    options, challenge = ceremonies.creation(SITE, ADA, TENANT, ())
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["rp"]["id"] == SITE.name
    return ceremonies.created(SITE, challenge, authenticator.create(challenge))


def test_a_passkey_is_made_and_signs(ceremonies: WebAuthnCeremonies) -> None:
    authenticator = Authenticator()
    passkey = registered(ceremonies, authenticator)
    assert passkey.credential_id == authenticator.id
    _, challenge = ceremonies.request(SITE)
    answer = authenticator.get(challenge)
    assert ceremonies.credential_id(answer) == authenticator.id
    assert ceremonies.signed(SITE, challenge, answer, passkey) == 2


def test_a08_wrong_origin_site_challenge_and_no_user_verification(
    ceremonies: WebAuthnCeremonies,
) -> None:
    authenticator = Authenticator()
    passkey = registered(ceremonies, authenticator)
    _, challenge = ceremonies.request(SITE)
    evil = Site("https://pacs.example.evil", "pacs.example.evil")
    wrong = (
        authenticator.get(challenge, origin="https://evil.example"),
        authenticator.get(challenge, origin="http://pacs.example"),
        authenticator.get(b"another challenge"),
        authenticator.get(challenge, flags=0x01),  # UV=0
        authenticator.get(challenge, flags=0x04),  # UP=0
        Authenticator().get(challenge),  # another key says it is this one
    )
    for answer in wrong:
        with pytest.raises(Refused):
            ceremonies.signed(SITE, challenge, answer, passkey)
    with pytest.raises(Refused):
        ceremonies.signed(
            evil, challenge, authenticator.get(challenge, origin=evil.origin), passkey
        )
    for answer in (
        Authenticator(site="evil.example").create(challenge),
        Authenticator().create(challenge, origin="https://evil.example"),
        Authenticator().create(challenge, flags=0x41),
        Authenticator().create(b"another"),
    ):
        with pytest.raises(Refused):
            ceremonies.created(SITE, challenge, answer)


def test_a08_a_counter_that_went_back(ceremonies: WebAuthnCeremonies) -> None:
    authenticator = Authenticator()
    passkey = registered(ceremonies, authenticator)
    _, challenge = ceremonies.request(SITE)
    ahead = Passkey(passkey.credential_id, passkey.public_key, 1000, passkey.site)
    with pytest.raises(Refused):
        ceremonies.signed(SITE, challenge, authenticator.get(challenge), ahead)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"id": 1},
        {"id": "AA", "rawId": "AA", "type": "public-key", "response": None},
        {"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": "AA"}},
        {
            "id": "AA",
            "rawId": "AA",
            "type": "public-key",
            "response": {"clientDataJSON": "e30", "attestationObject": "n" * 1000},
        },
        {"id": "é" * 50, "rawId": [], "type": {}, "response": "x"},
    ],
)
def test_answers_that_are_none_are_refused(
    ceremonies: WebAuthnCeremonies, answer: dict[str, Any]
) -> None:
    with pytest.raises(Refused):
        ceremonies.created(SITE, b"challenge", answer)
    with pytest.raises(Refused):
        ceremonies.signed(SITE, b"challenge", answer, Passkey(b"\0", b"\0", 0, SITE.name))
