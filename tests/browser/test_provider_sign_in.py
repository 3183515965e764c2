"""Signing in through an identity provider as a person sees it: the button, the provider's page, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from lightwell.testing.openid import CLIENT_ID, SECRET, NodeProvider

Server = Any  # tests/browser/conftest.py
Watched = Any
FIT = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
PEOPLE = {
    "ada": {"name": "Ada L.", "preferred_username": "ada.l", "groups": ["readers"]},
    "eve": {"name": "Eve M.", "preferred_username": "eve.m", "groups": ["readers"]},
    "carl": {"name": "Carl", "preferred_username": "carl", "groups": ["choir"]},
}


@pytest.fixture
def place(server: Server, watched: Watched) -> str:
    """The server by a name that no test has a key for."""
    watched.origin = server.url.replace("127.0.0.1", "localhost")
    watched.server_gone = True  # a browser complains of each 401
    return str(watched.origin)


@pytest.fixture
def hospital(
    server: Server,
    watched: Watched,
    place: str,
    openid_provider: Callable[..., NodeProvider],
    tmp_path: Path,
) -> Iterator[NodeProvider]:
    """A provider that the default tenant trusts while the test runs."""
    callback = f"{place}/api/v1/sign-in/provider/hospital/callback"
    provider = openid_provider(callbacks=[callback], people=PEOPLE, signed_out=[f"{place}/sign-in"])
    watched.others.append(provider.issuer)
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    server.run(
        "provider", "add", "hospital", provider.issuer, "--client-id", CLIENT_ID,
        "--secret-file", str(secret), "--map", "readers=radiologist", "--label", "St. Elsewhere",
    )  # fmt: skip
    yield provider
    server.run("provider", "remove", "hospital")


def through(page: Page, who: str, button: str = "Continue") -> None:
    """Press our button, then say who one is on the provider's page."""
    page.get_by_role("link", name="Sign in with St. Elsewhere").click()
    page.get_by_label("Who are you?").fill(who)
    page.get_by_role("button", name=button).click()


def test_there_and_back_to_where_one_was(hospital: NodeProvider, place: str, desktop: Page) -> None:
    desktop.goto(f"{place}/sign-in")
    assert desktop.evaluate(FIT)
    through(desktop, "ada")
    expect(desktop.get_by_title("ada.l (radiologist)", exact=True)).to_be_visible()
    expect(desktop).to_have_url(f"{place}/")
    assert desktop.evaluate("document.cookie") == ""
    desktop.get_by_role("button", name="Sign out ada.l").click()
    expect(desktop.get_by_title("ada.l (radiologist)", exact=True)).to_be_hidden()


def test_signing_out_goes_on_to_the_provider_and_comes_back(
    server: Server, hospital: NodeProvider, place: str, desktop: Page
) -> None:
    server.run("provider", "change", "hospital", "--end-session", "yes")
    desktop.goto(f"{place}/sign-in")
    # Each test has a provider with an issuer of its own: ada's login is that of the other one's ada.
    through(desktop, "eve")
    desktop.get_by_role("button", name="Sign out eve.m").click()
    expect(desktop).to_have_url(re.compile(re.escape(f"{hospital.issuer}/session/end")))
    desktop.get_by_role("button", name="Yes, sign me out").click()
    expect(desktop.get_by_role("status")).to_have_text("You are signed out.")
    expect(desktop).to_have_url(f"{place}/sign-in?state=signed-out")


def test_on_a_phone_who_has_no_role_is_told_so_and_once(
    hospital: NodeProvider, place: str, phone: Page
) -> None:
    phone.goto(f"{place}/sign-in")
    assert phone.evaluate(FIT)
    through(phone, "carl")
    expect(phone.get_by_role("alert")).to_contain_text("none of your groups has a role")
    expect(phone).to_have_url(f"{place}/sign-in")
    phone.reload()
    expect(phone.get_by_label("Login")).to_be_visible()
    expect(phone.get_by_role("alert")).to_have_count(0)


def test_cancelling_there_is_said_here(hospital: NodeProvider, place: str, desktop: Page) -> None:
    desktop.goto(f"{place}/sign-in")
    through(desktop, "ada", "Cancel")
    expect(desktop.get_by_role("alert")).to_contain_text("cancelled")


def test_when_it_is_away_the_page_says_which_part_and_the_form_is_there(
    hospital: NodeProvider, place: str, desktop: Page
) -> None:
    hospital.kill()
    desktop.goto(f"{place}/sign-in")
    desktop.get_by_role("link", name="Sign in with St. Elsewhere").click()
    expect(desktop.get_by_role("alert")).to_contain_text(
        "does not answer as it should (connection)"
    )
    expect(desktop.get_by_label("Password")).to_be_visible()
