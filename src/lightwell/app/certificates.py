"""Certificates of a start: those that were given, else the installation's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from lightwell.app.settings import Settings, TlsFiles, TlsPair
from lightwell.kernel.errors import Invalid


def with_certificates(settings: Settings, now: datetime) -> Settings:
    """The settings with a certificate for each door that speaks TLS. Blocking; raises Broken.

    The web door speaks it beyond loopback, always: a password in clear is given away. Raises Invalid for
    given files that no handshake could succeed with (reliability contract G07).
    """
    _check_given(settings, now)
    web = settings.http_tls is None and not settings.http.loopback
    dimse = settings.dimse_tls is not None and settings.tls is None
    if not web and not dimse:
        return settings
    from lightwell.backends.identity.own_authority import OwnAuthority, machine_names

    authority = OwnAuthority(settings.tls_folder)
    names = [*machine_names(settings.http.host)]
    if settings.dimse_tls is not None:
        names += machine_names(settings.dimse_tls.host)
    if settings.public_url is not None:
        names.append(urlsplit(settings.public_url).hostname or "")
    certificate, key = authority.server_files(dict.fromkeys(filter(None, names)), now)
    if web:
        settings = replace(settings, http_tls=TlsPair(certificate, key))
    if dimse:
        files = TlsFiles(certificate, key, authority.certificate_file)
        settings = replace(settings, tls=files)
    return settings


def _check_given(settings: Settings, now: datetime) -> None:
    if settings.http_tls is not None:
        _check_pair(settings.http_tls.certificate, settings.http_tls.key, now)
    if settings.tls is not None:
        _check_pair(settings.tls.certificate, settings.tls.key, now)
        _check_authorities(settings.tls.authorities)


def _check_pair(certificate: Path, key: Path, now: datetime) -> None:
    import ssl

    from cryptography import x509

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_none)
        own = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise Invalid(
            f"{certificate} and {key} are no certificate and key: {_why(error)}.",
            remedy="Give a PEM certificate with its chain, and its key without a passphrase.",
        ) from None
    if own.not_valid_after_utc <= now:
        raise Invalid(
            f"The certificate {certificate} ended at {own.not_valid_after_utc:%F %H:%M} UTC.",
            remedy="Give one that is valid, or none: then the installation makes its own.",
        )


def _check_authorities(path: Path) -> None:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except OSError as error:
        why = f": {error.strerror}" if error.filename else ""  # an SSLError names no file
        raise Invalid(
            f"{path} holds no certificates to trust{why}.", remedy="Give a PEM file."
        ) from None


def _none() -> str:
    """In place of a question at the terminal: a server has nobody to ask."""
    raise ValueError("the key has a passphrase")


def _why(error: Exception) -> str:
    import ssl

    if isinstance(error, ssl.SSLError):  # its own words name a line of a library
        return "they cannot be read, or do not belong together"
    return str(getattr(error, "strerror", None) or error)
