"""The address of a bucket: `s3://bucket/prefix?endpoint=…&region=…`.

Credentials never stand in the address (it gets logged, and shown by `ps`): they come from the
environment. There is no falling back to what a cloud's metadata service hands out to anybody on the
machine: without a key of our own the client would go and ask it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from lightwell.backends.blobs.keys import checked_prefix
from lightwell.kernel.errors import Invalid

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config

_KNOWN = frozenset({"endpoint", "region", "allow_http", "ca", "virtual_hosted"})
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_EXAMPLE = "It looks like s3://bucket/prefix?endpoint=https://host&region=us-east-1."


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to the server. Never shown."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Credentials:
        """From AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if set, AWS_SESSION_TOKEN."""
        key, secret = (environment.get(name) for name in _KEYS)
        if not key or not secret:
            raise Invalid(
                "There are no credentials for the bucket.", remedy=f"Set {' and '.join(_KEYS)}."
            )
        return cls(key, secret, environment.get("AWS_SESSION_TOKEN") or None)


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where the bucket is and how to reach it."""

    bucket: str
    credentials: Credentials
    prefix: str = ""
    endpoint: str | None = None  # none: Amazon's, by region
    region: str = "us-east-1"
    virtual_hosted: bool = False
    ca: str | None = field(default=None, repr=False)  # PEM of a private authority

    @classmethod
    def parse(cls, url: str, environment: Mapping[str, str]) -> S3Settings:
        """Read an address. Raises Invalid, with an example, for anything unclear."""
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.hostname:
            raise Invalid("That is not the address of a bucket.", remedy=_EXAMPLE)
        if parts.username or parts.password or "@" in parts.netloc:
            raise Invalid(
                "Credentials do not belong in the address of a bucket.",
                remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            )
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        options = dict(pairs)
        if len(options) != len(pairs) or not options.keys() <= _KNOWN:
            odd = sorted(options.keys() - _KNOWN) or "something twice"
            raise Invalid(
                f"The address of the bucket holds {odd}.",
                remedy=f"Known are {', '.join(sorted(_KNOWN))}.",
            )
        try:
            prefix = checked_prefix(parts.path.lstrip("/"))
        except ValueError as error:
            raise Invalid(
                "The prefix may have lower-case letters, digits, '.', '_' and '-'.", remedy=_EXAMPLE
            ) from error
        return cls(
            bucket=parts.netloc,
            prefix=prefix,
            endpoint=_checked_endpoint(options.get("endpoint"), options.get("allow_http")),
            region=options.get("region") or "us-east-1",
            virtual_hosted=options.get("virtual_hosted") == "1",
            ca=_read_ca(options.get("ca")),
            credentials=Credentials.of(environment),
        )

    def configuration(self, *, checksum: bool) -> S3Config:
        """obstore's configuration."""
        made: S3Config = {
            "region": self.region,
            "virtual_hosted_style_request": self.virtual_hosted,
            "disable_bulk_delete": True,  # we remove one at a time; some servers know no other way
            "access_key_id": self.credentials.access_key_id,
            "secret_access_key": self.credentials.secret_access_key,
        }
        if self.endpoint:
            made["endpoint"] = self.endpoint
        if checksum:
            made["checksum_algorithm"] = "SHA256"
        if self.credentials.session_token:
            made["session_token"] = self.credentials.session_token
        return made

    def client_options(self) -> ClientConfig:
        """obstore's client options, without the timeouts."""
        made: ClientConfig = {
            "allow_http": bool(self.endpoint and self.endpoint.startswith("http:"))
        }
        if self.ca:
            made["root_certificate"] = self.ca
        return made


def _checked_endpoint(endpoint: str | None, allow_http: str | None) -> str | None:
    if not endpoint:
        return None
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise Invalid(
            "The endpoint must be http://HOST:PORT or https://HOST:PORT.", remedy=_EXAMPLE
        )
    if parts.scheme == "http" and allow_http != "1" and not _is_loopback(parts.hostname):
        raise Invalid(
            f"The endpoint {parts.hostname} would be reached without encryption.",
            remedy="Use https, or add allow_http=1 if the network between is trusted.",
        )
    return endpoint.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_ca(path: str | None) -> str | None:
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"The certificate file {path} cannot be read: {error}.") from error
