"""Given certificates are looked at before anything starts: G07."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer.testing
from cryptography.hazmat.primitives import serialization

from lightwell.app.certificates import with_certificates
from lightwell.app.commands.certificate_commands import app
from lightwell.app.settings import Settings, TlsFiles, TlsPair, parse_endpoint
from lightwell.backends.identity.own_authority import OwnAuthority
from lightwell.kernel.errors import Conflict, Invalid

NOW = datetime(2026, 11, 30, tzinfo=UTC)
LATER = NOW + timedelta(days=400)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, parse_endpoint(":8042"), parse_endpoint(":11112"))


@pytest.fixture
def pair(tmp_path: Path) -> TlsPair:
    return TlsPair(*OwnAuthority(tmp_path / "given").server_files(("localhost",), NOW))


def test_loopback_makes_no_certificate(settings: Settings) -> None:
    assert with_certificates(settings, NOW) is settings
    assert not settings.tls_folder.exists()


def test_a_good_pair_is_taken_as_it_is(settings: Settings, pair: TlsPair) -> None:
    given = replace(settings, http=parse_endpoint("0.0.0.0:8443"), http_tls=pair)
    assert with_certificates(given, NOW).http_tls == pair


def test_g07_an_expired_certificate_is_refused_with_its_date(
    settings: Settings, pair: TlsPair
) -> None:
    with pytest.raises(Invalid, match="ended at 2028-01-01"):
        with_certificates(replace(settings, http_tls=pair), LATER)


def test_g07_what_is_no_pair_is_refused(settings: Settings, pair: TlsPair, tmp_path: Path) -> None:
    other = OwnAuthority(tmp_path / "other").server_files(("localhost",), NOW)
    rubbish, locked = tmp_path / "rubbish", tmp_path / "locked"
    rubbish.write_bytes(b"rubbish")
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )
    for certificate, private in (
        (rubbish, rubbish),
        (tmp_path / "none", tmp_path / "none"),
        (pair.certificate, other[1]),  # of another certificate
        (pair.certificate, locked),
    ):
        with pytest.raises(Invalid, match="are no certificate and key"):
            with_certificates(replace(settings, http_tls=TlsPair(certificate, private)), NOW)
    files = TlsFiles(pair.certificate, pair.key, rubbish)
    with pytest.raises(Invalid, match="no certificates to trust"):
        with_certificates(replace(settings, tls=files), NOW)


def issue(name: str, data: Path, to: Path) -> typer.testing.Result:
    words = ["issue", name, "--data", str(data), "--to", str(to)]
    return typer.testing.CliRunner().invoke(app, words)


def test_a_device_s_files_are_private_and_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()  # an installation
    to = tmp_path / "ct"
    assert issue("CT_ONE", tmp_path, to).exit_code == 0
    assert (to / "CT_ONE.key").stat().st_mode & 0o077 == 0
    assert isinstance(issue("CT_ONE", tmp_path, to).exception, Conflict)
    assert isinstance(issue("../CT", tmp_path, to).exception, Invalid)
    assert isinstance(issue("CT_TWO", tmp_path, tmp_path / "ct" / "CT_ONE.crt").exception, Invalid)
