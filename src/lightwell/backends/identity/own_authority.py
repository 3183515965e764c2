"""The installation's own certificate authority: TLS from the first start, without anybody's help.

    secrets/tls/authority.pem   key and certificate of the authority, in one file so that they are one thing
    secrets/tls/authority.crt   its certificate alone, to be given to browsers and devices
    secrets/tls/server.key, server.crt

An authority of one installation vouches for nothing else: it is trusted by whoever was handed its certificate
(RFC 5280; profile of BCP 195, RFC 9325 and PS3.15 B.12: ECDSA on P-256 with SHA-256).
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lightwell.kernel.errors import Broken, Invalid

AUTHORITY_LIFE: Final = timedelta(days=3650)
SERVER_LIFE: Final = timedelta(days=397)  # what browsers take at most
CLIENT_LIFE: Final = timedelta(days=730)
RENEW_BEFORE: Final = timedelta(days=60)
BACKDATED: Final = timedelta(hours=1)  # clocks of devices differ
NAME_LIMIT: Final = 64  # X.520 common name

_Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, in PEM. `fingerprint`: SHA-256 of the certificate, hex."""

    certificate: bytes
    key: bytes
    fingerprint: str

    def __repr__(self) -> str:
        return f"Issued({self.fingerprint})"


class OwnAuthority:
    """Makes itself when it is first needed. Blocking."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def certificate_file(self) -> Path:
        """The certificate to hand out; there once anything was issued."""
        return self._folder / "authority.crt"

    def certificate(self, now: datetime) -> bytes:
        """The same in PEM."""
        _, certificate = self._opened(now)
        return certificate.public_bytes(serialization.Encoding.PEM)

    def server_files(self, names: Iterable[str], now: datetime) -> tuple[Path, Path]:
        """Certificate chain and key for these names, made anew when they are near their end, of another
        authority or of other names. Raises Broken for an authority's file that is damaged."""
        key, authority = self._opened(now)
        wanted = _general_names(names)
        chain_file, key_file = self._folder / "server.crt", self._folder / "server.key"
        if not _still_good(chain_file, key_file, authority, wanted, now):
            own = ec.generate_private_key(ec.SECP256R1())
            made = (
                _builder("Lightwell", authority, own, now, SERVER_LIFE)
                .add_extension(x509.SubjectAlternativeName(wanted), critical=False)
                .add_extension(_usage(ExtendedKeyUsageOID.SERVER_AUTH), critical=False)
                .sign(key, hashes.SHA256())
            )
            _replace(key_file, _key_pem(own))
            _replace(chain_file, _pem(made) + _pem(authority))
        return chain_file, key_file

    def issue_client(self, name: str, now: datetime) -> Issued:
        """A certificate with which a device shows who it is. Raises Invalid, Broken."""
        if not 0 < len(name) <= NAME_LIMIT or not name.isprintable():
            raise Invalid(f"A certificate's name has 1 to {NAME_LIMIT} printable characters.")
        key, authority = self._opened(now)
        own = ec.generate_private_key(ec.SECP256R1())
        made = (
            _builder(name, authority, own, now, CLIENT_LIFE)
            .add_extension(_usage(ExtendedKeyUsageOID.CLIENT_AUTH), critical=False)
            .sign(key, hashes.SHA256())
        )
        return Issued(_pem(made), _key_pem(own), made.fingerprint(hashes.SHA256()).hex())

    def _opened(self, now: datetime) -> tuple[_Key, x509.Certificate]:
        path = self._folder / "authority.pem"
        if not path.exists():
            self._make(path, now)
        key, certificate = _read_pair(path)
        told = self.certificate_file.read_bytes() if self.certificate_file.exists() else b""
        if told != _pem(
            certificate
        ):  # another authority stands here now: the old one is trusted no longer
            _replace(self.certificate_file, _pem(certificate), 0o644)
        return key, certificate

    def _make(self, path: Path, now: datetime) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _subject(f"Lightwell {socket.gethostname()[:40]} {secrets.token_hex(4)}")
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_signs_certificates(), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        made = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        _write(made, _key_pem(key) + _pem(certificate), 0o600)
        with contextlib.suppress(
            FileExistsError
        ):  # another process was faster: its authority holds
            os.link(made, path)
        made.unlink()
        _sync(self._folder)


def machine_names(host: str) -> tuple[str, ...]:
    """By what a server on this machine is called when it listens on *host*."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn()]
    if host in ("0.0.0.0", "::"):
        with contextlib.suppress(OSError):
            found = socket.getaddrinfo(socket.gethostname(), None)
            names += sorted(str(one[4][0]).partition("%")[0] for one in found)
    else:
        names.append(host)
    return tuple(dict.fromkeys(name for name in names if name))


def _general_names(names: Iterable[str]) -> list[x509.GeneralName]:
    """Addresses as addresses, names as names (RFC 6125); what is neither is left out."""
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            with contextlib.suppress(ValueError):
                found.append(x509.DNSName(name))
    return found


def _still_good(
    chain_file: Path,
    key_file: Path,
    authority: x509.Certificate,
    wanted: list[x509.GeneralName],
    now: datetime,
) -> bool:
    try:
        own = x509.load_pem_x509_certificates(chain_file.read_bytes())[0]
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        own.verify_directly_issued_by(authority)
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, IndexError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return (
        key.public_key() == own.public_key()
        and set(wanted) <= set(names)
        and now + RENEW_BEFORE < own.not_valid_after_utc
    )


def _builder(
    name: str, authority: x509.Certificate, own: _Key, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    end = min(now + life, authority.not_valid_after_utc)
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .issuer_name(authority.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_signs_handshakes(), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(_public(authority)), critical=False
        )
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _public(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    found = certificate.public_key()
    assert isinstance(found, ec.EllipticCurvePublicKey)
    return found


def _usage(purpose: x509.ObjectIdentifier) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([purpose])


def _key_usage(*, handshakes: bool, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=handshakes,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _signs_handshakes() -> x509.KeyUsage:
    return _key_usage(handshakes=True, certificates=False)


def _signs_certificates() -> x509.KeyUsage:
    return _key_usage(handshakes=False, certificates=True)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: _Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _read_pair(path: Path) -> tuple[_Key, x509.Certificate]:
    data = path.read_bytes()
    with contextlib.suppress(ValueError, TypeError):
        key = serialization.load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificate(data)
        if isinstance(key, _Key) and key.public_key() == certificate.public_key():
            return key, certificate
    raise Broken(
        f"{path} is no certificate authority.",
        remedy="Restore it from a backup; without it every device needs a new certificate.",
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, data: bytes, mode: int = 0o600) -> None:
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    _write(fresh, data, mode)
    fresh.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
