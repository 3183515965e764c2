"""Certificates of a start: those that were given, else the installation's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from urllib.parse import urlsplit

from lightwell.app.settings import Settings, TlsFiles, TlsPair


def with_certificates(settings: Settings, now: datetime) -> Settings:
    """The settings with a certificate for each door that speaks TLS. Blocking; raises Broken.

    The web door speaks it beyond loopback, always: a password in clear is given away.
    """
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
