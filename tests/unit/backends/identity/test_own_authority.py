"""The authority that an installation makes for itself."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from lightwell.backends.identity.own_authority import OwnAuthority, machine_names
from lightwell.kernel.errors import Broken, Invalid

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
NAMES = ("localhost", "127.0.0.1", "pacs.example")


def chain(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def test_a_server_s_certificate_is_one_a_browser_would_take(tmp_path: Path) -> None:
    authority = OwnAuthority(tmp_path / "tls")
    certificate, key = authority.server_files(NAMES, NOW)
    own, root = chain(certificate)
    store = verification.Store([x509.load_pem_x509_certificate(authority.certificate(NOW))])
    for name in (x509.DNSName("pacs.example"), x509.DNSName("localhost")):
        verifier = verification.PolicyBuilder().store(store).time(NOW)
        assert verifier.build_server_verifier(name).verify(own, [])
    assert root == x509.load_pem_x509_certificate(authority.certificate_file.read_bytes())
    assert own.not_valid_after_utc - own.not_valid_before_utc <= timedelta(days=398)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    assert private.public_key() == own.public_key()
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)


def test_keys_are_private_and_the_public_part_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    authority = OwnAuthority(folder)
    authority.server_files(NAMES, NOW)
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes.pop("authority.crt") & 0o077 == 0o044
    assert set(modes.values()) == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_it_stays_until_it_is_near_its_end(tmp_path: Path) -> None:
    authority = OwnAuthority(tmp_path)
    first = chain(authority.server_files(NAMES, NOW)[0])[0]
    again = OwnAuthority(tmp_path)
    late = NOW + timedelta(days=330)
    assert chain(again.server_files(NAMES[:2], late)[0])[0] == first
    later = NOW + timedelta(days=340)
    renewed, root = chain(again.server_files(NAMES, later)[0])
    assert renewed != first
    renewed.verify_directly_issued_by(root)
    assert authority.certificate(later) == again.certificate(NOW)


def test_other_names_and_half_a_pair_are_made_anew(tmp_path: Path) -> None:
    authority = OwnAuthority(tmp_path)
    certificate, key = authority.server_files(NAMES, NOW)
    first = chain(certificate)[0]
    more = chain(authority.server_files((*NAMES, "10.1.2.3"), NOW)[0])[0]
    names = more.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert first != more
    assert "10.1.2.3" in {str(one) for one in names.get_values_for_type(x509.IPAddress)}
    key.write_bytes(b"cut")  # killed between the two files
    authority.server_files(NAMES, NOW)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)


def test_an_authority_that_is_damaged_is_not_replaced(tmp_path: Path) -> None:
    """Every device trusts the old one: a new one in its place would shut them all out, silently."""
    authority = OwnAuthority(tmp_path)
    authority.server_files(NAMES, NOW)
    (tmp_path / "authority.pem").write_bytes(b"rubbish")
    with pytest.raises(Broken, match="no certificate authority"):
        authority.server_files(NAMES, NOW)


def test_another_authority_is_the_one_that_is_told(tmp_path: Path) -> None:
    """Its key leaked, and the file was taken away: devices of the old one are trusted no longer."""
    authority = OwnAuthority(tmp_path)
    before = authority.certificate(NOW)
    (tmp_path / "authority.pem").unlink()
    after = authority.certificate(NOW)
    assert before != after == authority.certificate_file.read_bytes()


def test_a_device_s_certificate_shows_a_client_only(tmp_path: Path) -> None:
    authority = OwnAuthority(tmp_path)
    made = authority.issue_client("CT_SCANNER", NOW)
    certificate = x509.load_pem_x509_certificate(made.certificate)
    certificate.verify_directly_issued_by(
        x509.load_pem_x509_certificate(authority.certificate(NOW))
    )
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert made.fingerprint == certificate.fingerprint(hashes.SHA256()).hex()
    assert made.key.decode() not in repr(made)
    for name in ("", "A" * 65, "bell\a"):
        with pytest.raises(Invalid):
            authority.issue_client(name, NOW)


def test_names_of_this_machine() -> None:
    assert {"localhost", "127.0.0.1", "::1", "10.1.2.3"} <= set(machine_names("10.1.2.3"))
    assert "0.0.0.0" not in machine_names("0.0.0.0")
