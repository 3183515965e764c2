"""First boot, password and code, recovery code, passkey, one-time link: what a person sees and does.

The passkey is one of Chromium's virtual authenticator: a real ceremony with the real server.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from lightwell.domain.people import totp
from tests.browser.test_glass import grow_old

Server = Any  # tests/browser/conftest.py
Watched = Any
PASSWORD = "seven green bottles hang"
FIT = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture
def place(server: Server, watched: Watched) -> str:
    """The server by a name, because passkeys are bound to one; nobody is signed in there."""
    watched.origin = server.url.replace("127.0.0.1", "localhost")
    watched.server_gone = True  # a browser complains of each 401
    return str(watched.origin)


def link(server: Server, place: str, *arguments: str) -> str:
    """A one-time link as the operator gets it."""
    printed = server.run(*arguments, "--http", place).strip().splitlines()[-1]
    assert printed.startswith(place)
    return str(printed)


def code_on(page: Page) -> str:
    """What an authenticator would show for the secret on the page."""
    text = page.locator(".sign-in-secret").inner_text().replace(" ", "")
    secret = base64.b32decode(text + "=" * (-len(text) % 8))
    return totp.code_at(secret, int(time.time()) // 30)


def first_link(server: Server) -> str:
    """The link of the first administrator, from what `serve` printed."""
    log = (server.data.parent / f"{server.data.name}.log").read_text()
    return str(re.findall(r"http://localhost:\d+/enrol#lwl_[\w-]{43}", log)[-1])


def enrol(page: Page) -> list[str]:
    """Choose password and code; the recovery codes."""
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Code it shows now").fill(code_on(page))
    assert page.evaluate(FIT)
    page.get_by_role("button", name="Use password and code").click()
    expect(page.get_by_role("heading", name="Keep these codes")).to_be_visible()
    codes = page.locator(".sign-in-codes li").all_inner_texts()
    assert len(codes) == 10
    assert page.evaluate(FIT)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    kept = Path(download.value.path()).read_text()
    assert all(code in kept for code in codes)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name=re.compile("Copied|Ctrl"))).to_be_visible()
    page.get_by_role("button", name="I have kept them").click()
    return codes


def test_first_boot_then_out_and_in_again(server: Server, place: str, desktop: Page) -> None:
    desktop.goto(first_link(server))
    expect(desktop.get_by_role("heading", name="Make the first administrator")).to_be_visible()
    desktop.get_by_label("Login").fill("grace")
    desktop.get_by_label("Name").fill("Grace H.")
    desktop.get_by_role("button", name="Continue").click()
    expect(desktop.get_by_role("heading", name="How will grace sign in?")).to_be_visible()
    codes = enrol(desktop)
    expect(desktop.get_by_title("grace (admin)", exact=True)).to_be_visible()
    assert "lwl_" not in desktop.url
    # The cookie is out of reach of scripts.
    assert desktop.evaluate("document.cookie") == ""
    desktop.get_by_role("button", name="Sign out grace (admin)").click()
    expect(desktop.get_by_text("You are signed out.")).to_be_visible()
    expect(desktop.get_by_title("grace (admin)", exact=True)).to_be_hidden()
    desktop.goto(f"{place}/sign-in")
    expect(desktop.get_by_text("You are signed out.")).to_be_hidden()
    desktop.get_by_label("Login").fill("grace")
    desktop.get_by_label("Password").fill("not the password")
    desktop.get_by_label("Code").fill(codes[0])
    desktop.get_by_role("button", name="Sign in", exact=True).click()
    expect(desktop.get_by_role("alert")).to_contain_text("Login, password or code is not right.")
    expect(desktop.get_by_label("Code")).to_have_value("")
    desktop.get_by_label("Password").fill(PASSWORD)
    desktop.get_by_label("Code").fill(codes[0])
    desktop.keyboard.press("Enter")
    expect(desktop.get_by_title("grace (admin)", exact=True)).to_be_visible()


def test_an_account_is_set_up_on_a_phone(server: Server, place: str, phone: Page) -> None:
    phone.goto(link(server, place, "user", "add", "ada", "--role", "radiologist"))
    expect(phone.get_by_role("heading", name="How will ada sign in?")).to_be_visible()
    enrol(phone)
    expect(phone.get_by_role("button", name="Sign out ada (radiologist)")).to_be_visible()
    assert phone.evaluate(FIT)


def give_passkeys(page: Page) -> None:
    """A page with an authenticator that says yes by itself."""
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    devices.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
            }
        },
    )


def test_a_passkey_is_made_and_signs_in(
    server: Server, place: str, open_context: Callable[..., BrowserContext]
) -> None:
    context = open_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    give_passkeys(page)
    page.goto(link(server, place, "user", "add", "kay", "--role", "technologist"))
    page.get_by_role("button", name="Make a passkey").click()
    signed_in = page.get_by_title("kay (technologist)", exact=True)
    expect(signed_in).to_be_visible()
    page.get_by_role("button", name="Sign out kay").click()
    expect(signed_in).to_be_hidden()
    page.goto(f"{place}/sign-in")
    page.get_by_role("button", name="Use a passkey").click()
    expect(signed_in).to_be_visible()


def test_whoever_has_only_a_passkey_proves_it_again_and_goes_on(
    server: Server, place: str, open_context: Callable[..., BrowserContext]
) -> None:
    page = open_context(viewport={"width": 1440, "height": 900}).new_page()
    give_passkeys(page)
    page.goto(link(server, place, "user", "add", "pat", "--role", "admin"))
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.get_by_title("pat (admin)", exact=True)).to_be_visible()
    grow_old(server)
    page.goto(f"{place}/admin/people")
    page.get_by_role("button", name="Add a person").click()
    page.get_by_label("Login", exact=True).fill("vouched")
    page.get_by_role("checkbox", name="radiologist").check()
    page.get_by_role("button", name="Add and make a link").click()
    card = page.get_by_role("dialog", name="Prove again who you are")
    expect(card.get_by_label(re.compile("Password of"))).to_have_count(0)
    card.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("group", name="Link for vouched")).to_be_visible()


def test_a_session_that_was_ended_says_so_and_one_s_own_end_does_not(
    server: Server, place: str, open_context: Callable[..., BrowserContext]
) -> None:
    page = open_context(viewport={"width": 390, "height": 844}).new_page()
    url = link(server, place, "user", "add", "una", "--role", "admin")
    page.goto(url)
    enrol(page)
    page.get_by_role("button", name="Sign out una").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    expect(page.get_by_text("Your session was ended.")).to_have_count(0)
    page.goto(url)  # a link that was used says so, and where to go
    expect(page.get_by_role("alert")).to_contain_text("used already")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
    page = page.context.new_page()
    page.goto(link(server, place, "login-link", "--role", "auditor"))
    expect(page.locator(".list-header")).to_be_visible()
    name = page.locator(".account-name").text_content() or ""  # a phone has no room to show it
    there = json.loads(server.run("sessions", "list", "--json"))
    (mine,) = (each["id"] for each in there if each["who"] in name)
    page.goto(f"{place}/reviews")
    expect(page.get_by_role("heading", name="Emergency access: review")).to_be_visible()
    server.run("sessions", "revoke", mine)
    page.get_by_role("button", name="Studies").click()
    expect(page.get_by_role("status")).to_contain_text("Your session was ended. Sign in again.")


def test_a_link_signs_in_once(server: Server, place: str, desktop: Page, phone: Page) -> None:
    url = link(server, place, "login-link", "--role", "auditor")
    desktop.goto(url)
    expect(desktop.locator(".account-name")).to_contain_text("link-")
    phone.goto(url)
    expect(phone.get_by_role("heading", name="This link opens nothing")).to_be_visible()
    assert "lwl_" not in phone.url
    phone.get_by_role("button", name="Sign in another way").click()
    expect(phone.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()


def test_the_card_says_where_one_signs_in_and_what_is_optional(
    server: Server, place: str, chromium: Browser
) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{place}/t/demo/sign-in")
    expect(page.locator(".sign-in-tenant")).to_have_text("demo")
    expect(page.get_by_label("Code (optional)")).to_be_visible()
    page.goto(f"{place}/sign-in")
    expect(page.locator(".sign-in-tenant")).to_have_text("Default")
    expect(page.get_by_text("optional")).to_have_count(0)
    expect(page.get_by_text("passkeys are bound to a name")).to_have_count(0)
    page.goto(f"{server.url}/sign-in")
    named = page.get_by_role("link", name=f"localhost:{server.http}")
    expect(named).to_have_attribute("href", f"{place}/sign-in")
    assert page.evaluate(FIT)
    context.close()


def test_who_may_see_no_studies_is_told_so_in_words(
    server: Server, place: str, desktop: Page
) -> None:
    desktop.goto(link(server, place, "login-link", "--role", "patient"))
    expect(
        desktop.get_by_text("Studies that you may see appear here as they arrive.")
    ).to_be_visible()
    expect(desktop.get_by_text("lightwell import")).to_have_count(0)
    desktop.get_by_role("button", name="Sign out").click()
    expect(desktop.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    desktop.goto(link(server, place, "login-link", "--role", "researcher"))
    expect(desktop.get_by_text("No studies are open to you here")).to_be_visible()
    expect(desktop.get_by_text("With the role researcher")).to_be_visible()
    expect(desktop.get_by_text("archive:study")).to_have_count(0)
    expect(desktop.get_by_role("link", name="Background work")).to_have_count(0)


def test_the_panel_about_closes_by_its_button(server: Server, place: str, phone: Page) -> None:
    phone.goto(link(server, place, "login-link", "--role", "radiologist"))
    phone.get_by_role("button", name="About and keys").tap()
    panel = phone.get_by_role("region", name="About Lightwell")
    expect(panel).to_be_visible()
    panel.get_by_role("button", name="Close").tap()
    expect(panel).to_be_hidden()
