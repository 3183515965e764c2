"""Which region a tenant may lie in."""

from __future__ import annotations

import pytest

from lightwell.domain.tenants.regions import Regions, checked_jurisdiction
from lightwell.kernel.errors import Conflict, Invalid

SWISS = Regions({"zurich": "CH", "geneva": "CH", "berlin": "EU"}, default="geneva", rows="CH")


def test_one_that_is_not_named_is_the_only_one() -> None:
    assert Regions().chosen(None) == "local"
    assert Regions().choices == ("local",)
    assert Regions().misplaced({"default": "local"}) is None


def test_a_tenant_is_made_in_the_default_region_or_in_the_one_that_is_said() -> None:
    assert SWISS.chosen(None) == "geneva"
    assert SWISS.chosen("zurich") == "zurich"
    assert SWISS.choices == ("geneva", "zurich")


def test_an_unknown_region_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(Invalid, match="no region 'paris'") as refused:
        SWISS.chosen("paris")
    assert refused.value.remedy == "There are: berlin, geneva, zurich."
    with pytest.raises(Invalid):
        SWISS.chosen("")


def test_a_region_under_another_law_is_refused_and_the_way_out_named() -> None:
    with pytest.raises(
        Conflict, match="under EU, and the database of this installation"
    ) as refused:
        SWISS.chosen("berlin")
    assert "installation of its own" in str(refused.value.remedy)


def test_tenants_that_lie_where_they_may_not_are_found() -> None:
    assert SWISS.misplaced({"a": "zurich", "b": "geneva"}) is None
    assert "tenant b lie in region paris" in str(SWISS.misplaced({"a": "zurich", "b": "paris"}))
    assert "under EU, and its rows under CH" in str(SWISS.misplaced({"a": "berlin"}))


@pytest.mark.parametrize("text", ["", "C", "C H", "CH/ZH", "1A", "A" * 17, "CH\n1", "ÄÖ"])
def test_a_jurisdiction_is_a_short_word(text: str) -> None:
    with pytest.raises(Invalid):
        checked_jurisdiction(text)


def test_it_is_folded() -> None:
    assert checked_jurisdiction(" us-ca ") == "US-CA"
