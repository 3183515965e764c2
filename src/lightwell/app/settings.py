"""Settings: typed, read once from flags and `LIGHTWELL_*` variables, handed down by constructor.

What varies per tenant or peer is data in a room, not a setting.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lightwell.app.regions import Region
from lightwell.domain.tenants.model import checked_aet
from lightwell.domain.tenants.regions import LOCAL, Regions
from lightwell.gateways.http.forwarded import parse_proxies
from lightwell.kernel.errors import Invalid

DEFAULT_HTTP = "127.0.0.1:8042"
DEFAULT_DIMSE = "127.0.0.1:11112"
LEAST_CACHE = 256 << 20  # less would be turned over by one study


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and port to listen on or to call."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_endpoint(text: str) -> Endpoint:
    """`HOST:PORT`, `[v6]:PORT` or `:PORT` (loopback). Raises Invalid."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise Invalid(f"{text!r} is not HOST:PORT.", remedy="For example 127.0.0.1:11112.")
    return Endpoint(host.strip("[]") or "127.0.0.1", int(port))


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the DIMSE-TLS door's certificate lies."""

    certificate: Path
    key: Path
    authorities: Path


@dataclass(frozen=True, slots=True)
class TlsPair:
    """Where the web door's certificate (with its chain) and key lie."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a start needs to know."""

    data: Path
    http: Endpoint
    dimse: Endpoint
    dimse_tls: Endpoint | None = None
    tls: TlsFiles | None = None
    aet: str = "LIGHTWELL"
    demo: bool = False
    workers: int = 2
    work_at_once: int = 2  # steps of background work that are carried out at a time
    settle_after: float = 60.0  # seconds of quiet before a series is packed
    landed_grace: float = 24 * 3600.0  # seconds that what was packed is kept besides
    database_url: str | None = None
    store_url: str | None = None  # s3://…; None: the data folder's `blobs/`
    cool_store_url: str | None = None  # s3://… or a folder: where packs go that nobody opens
    cool_after: float = 180.0  # days without anybody opening them
    cache_bytes: int | None = None  # of chunks of a bucket; None: a share of the volume, 0: none
    named_regions: tuple[Region, ...] = ()  # by the file of regions, the default one first
    jurisdiction: str = ""  # that the database lies in; '': that of the default region
    http_tls: TlsPair | None = None  # beyond loopback the supervisor makes one when none is given
    proxies: str = ""  # addresses whose word on the browser's side counts, with commas
    public_url: str | None = None  # where browsers find the web app, behind a proxy or a name

    @property
    def unnamed(self) -> bool:
        """Whether browsers know the web door by this machine's address only: another name is a trick."""
        named = self.public_url is not None and urlsplit(self.public_url).scheme == "https"
        return self.http.loopback and not self.proxies and not named

    @property
    def web_url(self) -> str:
        """Where browsers find the web app, without a slash at the end."""
        if self.public_url:
            return self.public_url
        return f"http{'s' if self.http_tls else ''}://{self.http}"

    @property
    def named_url(self) -> str:
        """The same by a name, where this machine's own is enough: passkeys are bound to a name, never to an
        address."""
        if self.public_url or not self.http.loopback:
            return self.web_url
        return f"http{'s' if self.http_tls else ''}://localhost:{self.http.port}"

    @property
    def tls_folder(self) -> Path:
        return self.data / "secrets" / "tls"

    @property
    def blobs(self) -> str | Path:
        return self.store_url or self.data / "blobs"

    @property
    def regions(self) -> tuple[Region, ...]:
        """Where images lie, the default one first: without a file of regions one, in the data folder or where
        the store settings say."""
        if self.named_regions:
            return self.named_regions
        return (
            Region(
                name=LOCAL,
                store=str(self.blobs),
                cache=self.cache / "chunks",
                staging=self.staging,
                jurisdiction=self.jurisdiction,
                cool_store=self.cool_store_url,
            ),
        )

    @property
    def places(self) -> Regions:
        """The same as tenants are made by."""
        first = self.regions[0]
        return Regions(
            {region.name: region.jurisdiction for region in self.regions},
            default=first.name,
            rows=self.jurisdiction or first.jurisdiction,
        )

    def folder_of(self, region: str) -> str | None:
        """Where large objects of a region wait. See `domain.archive.ports.Folders`."""
        return next((str(each.staging) for each in self.regions if each.name == region), None)

    @property
    def staging(self) -> Path:
        return self.data / "staging"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def sealing_key(self) -> Path:
        return self.data / "secrets" / "sealing.key"

    @property
    def cache(self) -> Path:
        return self.data / "cache"


def checked_public_url(text: str) -> str:
    """`https://NAME[:PORT]`; `http` for this machine only. Raises Invalid."""
    parts = urlsplit(text)
    try:
        host = Endpoint(parts.hostname or "", parts.port or 443)
    except ValueError:
        host = Endpoint("", 0)
    plain = parts.scheme == "http" and host.loopback
    bare = not (parts.path or parts.query or parts.fragment or parts.username or parts.password)
    if not host.host or not bare or not (plain or parts.scheme == "https"):
        raise Invalid(
            f"{text!r} is not where browsers could find this server.",
            remedy="LIGHTWELL_PUBLIC_URL is like https://pacs.example, without a path.",
        )
    return text


GRACE_RULE = "LIGHTWELL_LANDED_GRACE is a number of seconds from 0 to 31622400."


def checked_grace(seconds: float) -> float:
    """The same, or Invalid; so is what is no number."""
    if not 0 <= seconds <= 366 * 24 * 3600:
        raise Invalid(GRACE_RULE)
    return seconds


def checked(settings: Settings) -> Settings:
    """The same settings, or Invalid with the sentence an operator needs."""
    checked_aet(settings.aet)
    parse_proxies(settings.proxies)
    if settings.public_url is not None:
        checked_public_url(settings.public_url)
    if not 1 <= settings.workers <= 64:
        raise Invalid("--workers is a number from 1 to 64.")
    if not 1 <= settings.work_at_once <= 64:
        raise Invalid("--work-at-once is a number from 1 to 64.")
    if not 1 <= settings.settle_after <= 7 * 24 * 3600:
        raise Invalid("LIGHTWELL_SETTLE_AFTER is a number of seconds from 1 to 604800.")
    checked_grace(settings.landed_grace)
    if not 0 < settings.cool_after <= 100 * 366:
        raise Invalid("LIGHTWELL_COOL_AFTER is a number of days, more than 0.")
    if settings.cache_bytes is not None and not (
        settings.cache_bytes == 0 or settings.cache_bytes >= LEAST_CACHE
    ):
        raise Invalid(f"LIGHTWELL_CACHE_BYTES is 0 or a number of bytes from {LEAST_CACHE}.")
    return settings
