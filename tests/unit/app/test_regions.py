"""The file of regions: what it may say, and what is refused before anything starts."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from lightwell.app.binding import awaiting
from lightwell.app.commands.options import settings_from
from lightwell.app.regions import (
    REGIONS_LIMIT,
    SIZE_LIMIT,
    Region,
    parse_regions,
    read_regions,
    region_from_json,
)
from lightwell.app.settings import Settings, parse_endpoint
from lightwell.kernel.errors import Invalid

DATA = Path("/var/lightwell")

TWO = """
default = "zurich"

[regions.geneva]
store = "/srv/geneva/blobs/"
jurisdiction = "ch"
cache = "/srv/geneva/cache"
cool_store = "/slow/geneva"

[regions.zurich]
store = "s3://pacs/zurich?endpoint=https://s3.example"
jurisdiction = "CH"
access_key_id = "KEY"
secret_access_key = "hush"
"""


def parsed(text: str) -> tuple[Region, ...]:
    return parse_regions(text.encode(), DATA)


def refused(text: str | bytes) -> str:
    raw = text.encode() if isinstance(text, str) else text
    with pytest.raises(Invalid) as error:
        parse_regions(raw, DATA)
    return str(error.value)


def one(**said: str) -> str:
    lines = {"store": "/srv/a", "jurisdiction": "CH", **said}
    return "[regions.a]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in lines.items())


def test_a_file_says_stores_places_and_law_the_default_first() -> None:
    zurich, geneva = parsed(TWO)
    assert geneva == Region(
        name="geneva",
        store="/srv/geneva/blobs",
        cache=Path("/srv/geneva/cache"),
        staging=DATA / "regions/geneva/staging",
        jurisdiction="CH",
        cool_store="/slow/geneva",
    )
    assert zurich.store == "s3://pacs/zurich?endpoint=https://s3.example"
    assert zurich.cache == DATA / "regions/zurich/cache"
    assert zurich.credentials == {"AWS_ACCESS_KEY_ID": "KEY", "AWS_SECRET_ACCESS_KEY": "hush"}
    assert "hush" not in repr(zurich)


def test_one_region_needs_no_default() -> None:
    assert [region.name for region in parsed(one())] == ["a"]


def test_processes_are_told_what_was_read() -> None:
    zurich, geneva = parsed(TWO)
    marked = replace(geneva, expects=uuid.uuid4())
    for region in (zurich, geneva, marked):
        assert region_from_json(json.loads(json.dumps(region.to_json()))) == region


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1 to 64 regions"),
        ("regions = 3", "1 to 64 regions"),
        ("[regions]", "1 to 64 regions"),
        ("[regions]\na = 3", "no table"),
        ("[regions.a]\nstore = '/srv/a'", "no jurisdiction"),
        ("[regions.a]\njurisdiction = 'CH'", "no store"),
        (one() + "[regions.b]\nstore = '/srv/b'\njurisdiction = 'CH'", "the default"),
        ("default = 'c'\n" + one(), "the default"),
        ("default = ['a']\n" + one(), "the default"),
        ("other = 1\n" + one(), "'other'"),
        (one(passphrase="x"), "'passphrase'"),
        (one(store=""), "printable"),
        (one(store="/srv/\n"), "printable"),
        (one(store="/" + "x" * 2000), "printable"),
        (one(store="blobs"), "whole path"),
        (one(cache="../cache"), "whole path"),
        (one(store="http://bucket"), "neither a folder nor s3"),
        (one(store="s3://key:word@bucket"), "neither a folder nor s3"),
        (one(store="s3://[::1"), "neither a folder nor s3"),
        (one(jurisdiction="Switzerland, mostly"), "no jurisdiction"),
        (one(jurisdiction="C"), "no jurisdiction"),
        (one(secret_access_key="x"), "part of its credentials"),
        ("[regions.a]\nstore = 3\njurisdiction = 'CH'", "printable"),
        ("[regions.a", "no TOML in line 1. It should look as "),
        ("# ours\n\n[regions.a]\nstore = '/srv/a\n", "no TOML in line 4"),
        ("default = 'a'\n\na = [\n1,\n2", "no TOML in line 3"),
        ("a = 'secret (at line 7, column 1)\nb = 1", "no TOML in line 1"),
        ("a = " + "[" * 20_000, "no TOML"),
        (b"\xff\xfe", "no TOML"),
        (b"#" * (SIZE_LIMIT + 1), "bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(text: str | bytes, says: str) -> None:
    assert says in refused(text)


@pytest.mark.parametrize("name", ["A", "", "a/b", "..", "probe", "store-id", "-a", "ä", "a" * 41])
def test_a_name_is_fit_for_keys(name: str) -> None:
    said = refused(f"[regions.{json.dumps(name)}]\nstore = '/srv/a'\njurisdiction = 'CH'\n")
    assert "no name of a region" in said


def test_there_is_a_most() -> None:
    made = "".join(
        f"[regions.r{n}]\nstore = '/srv/{n}'\njurisdiction = 'CH'\n"
        for n in range(REGIONS_LIMIT + 1)
    )
    assert "1 to 64 regions" in refused("default = 'r0'\n" + made)


@pytest.mark.parametrize(
    ("store", "more"),
    [
        ("/srv/a", {}),
        ("/srv/a/b/..", {}),
        ("/srv/a/inside", {}),
        ("/srv", {}),
        (f"{DATA}/regions/a/cache", {}),
        ("/srv/b", {"cache": "/srv/b/cache"}),
        ("/srv/b", {"staging": f"{DATA}/regions/a/staging"}),
        ("/srv/b", {"cool_store": "/srv/a/"}),
    ],
)
def test_no_place_is_that_of_two(store: str, more: dict[str, str]) -> None:
    lines = {"store": store, "jurisdiction": "CH", **more}
    second = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    assert "share a place" in refused(f"default = 'a'\n{one()}[regions.b]\n{second}")


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [
        ("s3://b/x", "s3://b/y", True),
        ("s3://b/x", "s3://b/xy", True),
        ("s3://b/x", "s3://b/x/y", False),
        ("s3://b", "s3://b/y", False),
        ("s3://b/x?endpoint=https://one.example", "s3://b/x?endpoint=https://two.example", True),
        ("s3://b/x?region=eu-1", "s3://b/x/", False),
    ],
)
def test_buckets_are_told_apart_by_server_name_and_prefix(
    first: str, second: str, apart: bool
) -> None:
    text = (
        "default = 'a'\n" + one(store=first) + one(store=second).replace("regions.a", "regions.b")
    )
    if apart:
        assert len(parsed(text)) == 2
    else:
        assert "share a place" in refused(text)


def test_errors_repeat_no_secret() -> None:
    said = refused(one(access_key_id="AKIDENT", secret_access_key="hush-hush\n"))
    assert "hush" not in said
    broken = one(access_key_id="AKIDENT", secret_access_key="hush-hush") + "= nothing"
    assert "hush" not in refused(broken)


def test_a_file_with_credentials_is_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "regions.toml"
    path.write_text(TWO)
    for mode in (0o644, 0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(Invalid, match="others may read it"):
            read_regions(path, DATA)
    path.chmod(0o600)
    assert len(read_regions(path, DATA)) == 2
    path.write_text(one())
    path.chmod(0o644)
    assert len(read_regions(path, DATA)) == 1


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        read_regions(tmp_path / "missing", DATA)
    with pytest.raises(Invalid):
        read_regions(tmp_path, DATA)
    with pytest.raises(Invalid, match="is no file"):
        read_regions(Path("/dev/null"), DATA)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("REGIONS", "JURISDICTION", "STORE_URL", "COOL_STORE_URL"):
        monkeypatch.delenv(f"LIGHTWELL_{name}", raising=False)
    return monkeypatch


def test_without_a_file_there_is_one_region_as_ever(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("LIGHTWELL_JURISDICTION", "eu")
    settings = settings_from(DATA)
    (only,) = settings.regions
    assert (only.name, only.store) == ("local", str(DATA / "blobs"))
    assert (only.cache, only.staging) == (DATA / "cache/chunks", DATA / "staging")
    assert settings.folder_of("local") == str(DATA / "staging")
    assert (settings.places.choices, settings.places.rows) == (("local",), "EU")
    bare.setenv("LIGHTWELL_STORE_URL", "s3://bucket")
    assert settings_from(DATA).regions[0].store == "s3://bucket"


def test_the_law_of_the_rows_is_that_of_the_default_region(
    bare: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "regions.toml"
    path.write_text(TWO.replace('"ch"', '"EU"'))
    path.chmod(0o600)
    bare.setenv("LIGHTWELL_REGIONS", str(path))
    places = settings_from(DATA).places
    assert (places.default, places.rows, places.choices) == ("zurich", "CH", ("zurich",))
    bare.setenv("LIGHTWELL_JURISDICTION", "EU")
    assert settings_from(DATA).places.choices == ("geneva",)


def test_a_file_and_a_store_besides_contradict_each_other(
    bare: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "regions.toml"
    path.write_text(one())
    bare.setenv("LIGHTWELL_REGIONS", str(path))
    for name in ("LIGHTWELL_STORE_URL", "LIGHTWELL_COOL_STORE_URL"):
        bare.setenv(name, "s3://bucket")
        with pytest.raises(Invalid, match="a store besides it"):
            settings_from(DATA)
        bare.delenv(name)
    assert len(settings_from(DATA).regions) == 1


def test_marks_are_looked_for_where_the_store_was_away() -> None:
    settings = Settings(DATA, parse_endpoint(":1"), parse_endpoint(":2"), named_regions=parsed(TWO))
    mark = uuid.uuid4()
    told = awaiting(settings, {"geneva": mark})
    assert {region.name: region.expects for region in told.regions} == {
        "geneva": mark,
        "zurich": None,
    }
