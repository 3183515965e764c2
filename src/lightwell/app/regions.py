"""The file of regions (`LIGHTWELL_REGIONS`): which stores there are, where, and under which law.

    default = "geneva"

    [regions.geneva]
    store = "/srv/geneva/blobs"
    jurisdiction = "CH"

    [regions.zurich]
    store = "s3://pacs/zurich?endpoint=https://s3.example"
    jurisdiction = "CH"

Read once by whoever is started by hand; processes of a server are told what was read.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lightwell.domain.tenants.regions import checked_jurisdiction, checked_region
from lightwell.kernel.errors import Invalid

SIZE_LIMIT = 64 * 1024  # bytes of the file
REGIONS_LIMIT = 64
TEXT_LIMIT = 1024
LINES_TRIED = 300  # to find the one in which a quote or bracket is missing

SECRETS = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}
"""Credentials of a region's buckets, and the variable that says the same where the file does not."""

_KNOWN = frozenset({"store", "jurisdiction", "cool_store", "cache", "staging", *SECRETS})
_EXAMPLE = "It should look as docs/operate/regions.md says."


@dataclass(frozen=True, slots=True)
class Region:
    """One region: where the images of its tenants lie, and what belongs to that on this machine."""

    name: str
    store: str  # s3://…, or a folder
    cache: Path  # chunks of what is read from a bucket
    staging: Path  # what is on its way
    jurisdiction: str = ""
    cool_store: str | None = None
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)  # none: the process's
    expects: uuid.UUID | None = None  # the mark to look for first: it was away at the start

    @property
    def remote(self) -> bool:
        """Whether its store is asked over a network."""
        return is_remote(self.store) or (self.cool_store is not None and is_remote(self.cool_store))

    @property
    def folders(self) -> tuple[Path, ...]:
        """What it has of this machine."""
        stores = (each for each in (self.store, self.cool_store) if each and not is_remote(each))
        return (*map(Path, stores), self.cache, self.staging)

    def to_json(self) -> dict[str, Any]:
        """For our own processes; holds secrets."""
        return {
            **asdict(self),
            "cache": str(self.cache),
            "staging": str(self.staging),
            "expects": self.expects.hex if self.expects else None,
        }


def region_from_json(body: dict[str, Any]) -> Region:
    """The inverse of `Region.to_json`."""
    expects = body["expects"]
    told = {
        "cache": Path(body["cache"]),
        "staging": Path(body["staging"]),
        "expects": uuid.UUID(hex=expects) if expects else None,
    }
    return Region(**{**body, **told})


def is_remote(location: str) -> bool:
    """Whether a store's location is an address, and no folder."""
    return "://" in location


def read_regions(path: Path, data: Path) -> tuple[Region, ...]:
    """The regions that a file names, the default one first. `data`: the data folder.

    Raises Invalid, also for a file with credentials that others may read.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            raw = file.read(SIZE_LIMIT + 1) if stat.S_ISREG(found.st_mode) else None
    except OSError as error:
        raise Invalid(f"The file of regions {path} cannot be read: {error.strerror}.") from error
    if raw is None:
        raise Invalid(f"{path} is no file.", remedy="LIGHTWELL_REGIONS names one.")
    regions = parse_regions(raw, data)
    if any(region.credentials for region in regions) and stat.S_IMODE(found.st_mode) & 0o077:
        raise Invalid(
            f"{path} holds credentials, and others may read it.", remedy=f"chmod 600 {path}"
        )
    return regions


def _line_of(error: Exception, raw: bytes) -> str:
    """In which line it stops being TOML. Of what the reader says only its last words count: before them may
    stand what it has read. Where a quote or bracket is missing it stumbles at the end only: then it is the
    line after all that can be read."""
    found = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)\Z", str(error))
    if found is None:
        return ""
    if found[1]:
        return f" in line {found[1]}"
    lines = raw.decode("utf-8").split("\n")[:LINES_TRIED]
    read = max(n for n in range(len(lines)) if _is_toml("\n".join(lines[:n])))
    return f" in line {read + 1}"


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def parse_regions(raw: bytes, data: Path) -> tuple[Region, ...]:
    """The same of the file's bytes. Raises Invalid."""
    if len(raw) > SIZE_LIMIT:
        raise Invalid(f"The file of regions has more than {SIZE_LIMIT} bytes.")
    try:
        said = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # what it says may hold a secret: not repeated
        where = _line_of(error, raw)
        raise Invalid(f"The file of regions is no TOML{where}.", remedy=_EXAMPLE) from None
    if odd := sorted(said.keys() - {"default", "regions"}):
        raise Invalid(f"The file of regions says {odd[0][:60]!r}.", remedy=_EXAMPLE)
    tables = said.get("regions")
    if not isinstance(tables, dict) or not 1 <= len(tables) <= REGIONS_LIMIT:
        raise Invalid(f"The file names 1 to {REGIONS_LIMIT} regions.", remedy=_EXAMPLE)
    regions = {name: _region(name, table, data) for name, table in tables.items()}
    default = said.get("default", next(iter(regions)) if len(regions) == 1 else None)
    if not isinstance(default, str) or default not in regions:
        raise Invalid(
            "The file of regions does not say which of them is the default.",
            remedy=f'Begin it with default = "{next(iter(regions))}", for example.',
        )
    _check_apart(regions.values())
    return (regions.pop(default), *regions.values())


def _region(name: str, table: object, data: Path) -> Region:
    checked_region(name)
    if not isinstance(table, dict):
        raise Invalid(f"What is said of region {name} is no table.", remedy=_EXAMPLE)
    if odd := sorted(table.keys() - _KNOWN):
        raise Invalid(
            f"Region {name} says {odd[0][:60]!r}.", remedy=f"Known are {', '.join(sorted(_KNOWN))}."
        )
    texts = {key: _text(name, key, value) for key, value in table.items()}
    if not texts.keys() >= {"store", "jurisdiction"}:
        raise Invalid(f"Region {name} says no store or no jurisdiction.", remedy=_EXAMPLE)
    credentials = {SECRETS[key]: texts[key] for key in SECRETS if key in texts}
    if credentials and not texts.keys() >= {"access_key_id", "secret_access_key"}:
        raise Invalid(f"Region {name} has a part of its credentials only.", remedy=_EXAMPLE)
    own = data / "regions" / name
    cool = texts.get("cool_store")
    return Region(
        name=name,
        store=_location(name, texts["store"]),
        cache=_folder(name, texts["cache"]) if "cache" in texts else own / "cache",
        staging=_folder(name, texts["staging"]) if "staging" in texts else own / "staging",
        jurisdiction=checked_jurisdiction(texts["jurisdiction"]),
        cool_store=_location(name, cool) if cool is not None else None,
        credentials=credentials,
    )


def _text(region: str, key: str, value: object) -> str:
    text = value if isinstance(value, str) else ""
    if not 1 <= len(text) <= TEXT_LIMIT or not text.isprintable():
        raise Invalid(
            f"Of region {region}, {key} is no text of 1 to {TEXT_LIMIT} printable characters."
        )
    return text


def _location(region: str, text: str) -> str:
    if not is_remote(text):
        return str(_folder(region, text))
    try:
        parts = urlsplit(text)
        clear = parts.scheme == "s3" and "@" not in parts.netloc
    except ValueError:
        clear = False
    if not clear:
        raise Invalid(
            f"Region {region} has a store that is neither a folder nor s3://…",
            remedy="Credentials stand in lines of their own or in the environment.",
        )
    return text


def _folder(region: str, text: str) -> Path:
    if not text.startswith("/"):
        raise Invalid(
            f"Region {region} names the folder {text[:100]!r}.",
            remedy="A folder is named by its whole path, from / on.",
        )
    return Path(os.path.normpath(text))


def _check_apart(regions: Iterable[Region]) -> None:
    """No place of a region is another's, or within another place: what lies there would be whose?

    Raises Invalid. Links are not followed: that two names are one store is found by its mark.
    """
    taken: list[tuple[str, str]] = []
    for region in regions:
        for place in _places(region):
            for other, theirs in taken:
                if place.startswith(theirs) or theirs.startswith(place):
                    raise Invalid(
                        f"{_said(place)} of region {region.name} would share a place with region {other}.",
                        remedy="Each store, cache and staging folder is a place of its own.",
                    )
            taken.append((region.name, place))


def _places(region: Region) -> list[str]:
    stores = [each for each in (region.store, region.cool_store) if each and is_remote(each)]
    return [*map(_bucket, stores), *(f"{folder}/" for folder in region.folders)]


def _bucket(url: str) -> str:
    """A bucket and its prefix, wherever the server is told."""
    parts = urlsplit(url)
    endpoint = parse_qs(parts.query).get("endpoint", [""])[0].rstrip("/")
    path = f"/{parts.path.strip('/')}/" if parts.path.strip("/") else "/"
    return f"s3:{endpoint}|{parts.netloc}{path}"


def _said(place: str) -> str:
    return place.rpartition("|")[2] if place.startswith("s3:") else place
