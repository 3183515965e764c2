"""Small secrets that have to be read again, sealed with AES-256-GCM by a key beside the data, not in it.

Sealed form: version (1 byte, 1), nonce (12), ciphertext and tag. The place is authenticated with it: a row
that was moved to another person or tenant does not open.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lightwell.kernel.errors import Broken, Invalid

VARIABLE: Final = "LIGHTWELL_SEALING_KEY"
KEY_BYTES: Final = 32
_VERSION: Final = b"\x01"
_NONCE: Final = 12


class AesSealer:
    """`domain.people.ports.Sealer`. The key is read or made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cipher: AESGCM | None = None

    def seal(self, secret: bytes, place: str) -> bytes:
        """See the port."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._opened().encrypt(nonce, secret, place.encode())
        return _VERSION + nonce + sealed

    def unseal(self, sealed: bytes, place: str) -> bytes:
        """See the port."""
        try:
            if sealed[:1] != _VERSION:
                raise InvalidTag
            nonce, body = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
            return self._opened().decrypt(nonce, body, place.encode())
        except (InvalidTag, ValueError):
            raise Broken(
                "A sealed secret does not open with this installation's key.",
                remedy=f"Restore {self._path.name} of the data folder, or set {VARIABLE} as it was.",
            ) from None

    def _opened(self) -> AESGCM:
        if self._cipher is None:
            self._cipher = AESGCM(_given_key() or _key_of(self._path))
        return self._cipher


def _given_key() -> bytes | None:
    """The key of the environment: several machines on one database share it."""
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise Invalid(
            f"{VARIABLE} is no key.", remedy=f"It is {KEY_BYTES} random bytes, in base64."
        )
    return key


def _key_of(path: Path) -> bytes:
    """The key in its file, made when there is none; two processes that make it at once agree on one."""
    try:
        return _read(path)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(made, path)  # fails where another was faster: never replaces
        except FileExistsError:
            return _read(path)
        finally:
            made.unlink()
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return _read(path)


def _read(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise Broken(f"{path} is no sealing key.", remedy="Restore it from a backup.")
    return key
