"""A server of two regions, as an operator starts it: who lies where, and stores that change places."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest

from lightwell.backends.database.directories import CACHE_SECONDS
from lightwell.testing.builders import a_study
from lightwell.testing.served import serving

FILE = """
default = "zurich"

[regions.zurich]
store = "{zurich}"
jurisdiction = "CH"

[regions.geneva]
store = "{geneva}"
jurisdiction = "CH"
"""
LARGE = {"rows": 256, "columns": 256}  # goes to the store at once


def test_r07_each_tenant_s_images_lie_in_the_store_of_its_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, stores = tmp_path / "regions.toml", {n: tmp_path / n for n in ("zurich", "geneva")}
    file.write_text(FILE.format(**stores))
    monkeypatch.setenv("LIGHTWELL_REGIONS", str(file))  # of the commands beside the server
    with serving(arguments=("--regions", str(file)), workers=1) as served:
        made = served.run("tenant", "create", "clinic", "--aet", "CLINIC", "--region", "geneva")
        assert made.returncode == 0, made.stderr
        time.sleep(CACHE_SECONDS)  # so long a serving process may not have heard of it
        for tenant in ("default", "clinic"):
            study = a_study(f"Zz{tenant}").with_series("CT", instances=2, **LARGE)
            served.stow([built.part10 for built in study.each()], tenant)
        told = json.loads(served.run("tenant", "list", "--json").stdout)
        assert {row["name"]: row["region"] for row in told} == {
            "default": "zurich",
            "clinic": "geneva",
        }
        for region, tenant in (("zurich", "default"), ("geneva", "clinic")):
            files = [path for path in stores[region].rglob("*") if path.is_file()]
            mine = stores[region] / region / tenant
            assert len(list((mine / "landed").rglob("*/*/*"))) == 2
            assert {mine in path.parents or path.name == "store-id" for path in files} == {True}
        with urllib.request.urlopen(f"{served.url}/readyz", timeout=10) as answer:
            assert json.load(answer) == {"ready": True, "waiting_for": {}}
        checked = served.run("fsck", "--json")
        assert checked.returncode == 0, checked.stdout

        served.stop()
        swapped = {"zurich": stores["geneva"], "geneva": stores["zurich"]}
        file.write_text(FILE.format(**swapped))
        with pytest.raises(RuntimeError, match="is that of region"):
            served.start()
        file.write_text(FILE.format(**stores))
        served.start()
        assert served.stats()["tenants"]["clinic"]["instances"] == 2
