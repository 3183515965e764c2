"""Emergency access as a person sees it: form, proof, banner, end, review; on a desk and on a phone."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from lightwell.domain.people import totp
from lightwell.testing.builders import a_study
from tests.browser.test_access import check_contrast, check_controls
from tests.browser.test_jobs import within

Server = Any  # tests/browser/conftest.py
Watched = Any
PASSWORD = "seven green bottles hang"
FIT = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
DESK = {"viewport": {"width": 1440, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
WHY = "Stroke, and no other physician is here."


@pytest.fixture
def place(server: Server, watched: Watched) -> str:
    """The server by a name; nobody is signed in there."""
    watched.origin = server.url.replace("127.0.0.1", "localhost")
    watched.server_gone = True  # a browser complains of each 401 and 403
    return str(watched.origin)


class Account:
    """An account that was enrolled in a browser of its own."""

    def __init__(self, page: Page, secret: bytes) -> None:
        self.page, self.secret = page, secret
        self.step = int(time.time()) // 30

    def code(self) -> str:
        """A code that was not used yet; waits for the clock to allow it."""
        self.step += 1
        while int(time.time()) // 30 + 1 < self.step:
            time.sleep(0.5)  # the authenticator's own clock: there is nothing to wait on
        return totp.code_at(self.secret, self.step)


@pytest.fixture
def account(
    server: Server, place: str, open_context: Callable[..., BrowserContext]
) -> Callable[..., Account]:
    """Makes an account and signs it in."""

    def made(login: str, *roles: str, **options: Any) -> Account:
        arguments = [part for role in roles for part in ("--role", role)]
        printed = server.run("user", "add", login, *arguments, "--http", place)
        page = open_context(**options).new_page()
        page.goto(printed.strip().splitlines()[-1])
        text = page.locator(".sign-in-secret").inner_text().replace(" ", "")
        secret = base64.b32decode(text + "=" * (-len(text) % 8))
        one = Account(page, secret)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_label("Code it shows now").fill(totp.code_at(secret, one.step))
        page.get_by_role("button", name="Use password and code").click()
        page.get_by_role("button", name="I have kept them").click()
        expect(page.get_by_role("button", name=re.compile(f"Sign out {login}"))).to_be_visible()
        return one

    return made


def grow_old(server: Server) -> None:
    """Everybody's last proof is ten minutes ago."""

    async def work(house: Any) -> None:
        async with house.work.session() as connection:
            await connection.execute("UPDATE session SET proved = proved - interval '10 minutes'")

    within(server, work)
    time.sleep(2.1)  # what a door remembers of a bearer


def break_glass(page: Page, patient: str) -> None:
    """Through the form, from the list."""
    page.get_by_role("link", name="Emergency access", exact=True).click()
    expect(page.get_by_role("heading", name="Open one patient in an emergency")).to_be_visible()
    button = page.get_by_role("button", name="Break the glass")
    page.get_by_label("Patient ID").fill(patient)
    page.get_by_label("Reason").fill("because")
    expect(button).to_be_disabled()
    expect(page.get_by_text("Too short by 3 characters: at least 10.")).to_be_visible()
    page.get_by_label("Reason").fill(WHY)
    assert page.evaluate(FIT)
    button.click()


def test_r05_from_the_form_over_a_proof_to_the_banner_and_its_end(
    server: Server, place: str, account: Callable[..., Account]
) -> None:
    ada = account("glass-ada", "radiologist", **DESK)
    grow_old(server)
    page = ada.page
    break_glass(page, "GLASS-1")
    card = page.get_by_role("dialog", name="Prove again who you are")
    expect(card).to_be_visible()
    check_controls(page)
    check_contrast(page)
    card.get_by_label("Password of glass-ada").fill(PASSWORD)
    card.get_by_label("Code").fill("000000")
    card.get_by_role("button", name="Prove and go on").click()
    expect(card.get_by_role("alert")).to_contain_text("Password or code is not right.")
    card.get_by_label("Code").fill(ada.code())
    page.keyboard.press("Enter")
    expect(card).to_be_hidden()
    banner = page.get_by_role("region", name="Emergency access")
    expect(banner).to_contain_text("Patient GLASS-1")
    expect(banner.get_by_role("timer")).to_have_text(re.compile(r"^(59|60):\d\d$"))
    expect(page.get_by_label("Search studies")).to_have_value("GLASS-1")
    check_contrast(page)
    page.reload()
    expect(banner).to_be_visible()
    banner.get_by_role("button", name="End now").click()
    expect(banner).to_be_hidden()


def test_r05_what_is_ended_in_another_tab_goes_from_the_screen_and_says_why(
    server: Server, place: str, account: Callable[..., Account]
) -> None:
    """The image goes as soon as the page hears of it, which is within seconds; nobody has to reload."""
    study = a_study("GLASS-7").with_series("CT", instances=2)
    server.stow(study.each())
    page = account("glass-rita", "referrer", **DESK).page
    break_glass(page, "GLASS-7")
    expect(page.get_by_role("region", name="Emergency access")).to_be_visible()
    page.goto(f"{place}/viewer/{study.study_uid}")
    expect(page.locator('[data-pane="0"] .edge').first).to_be_visible()
    other = page.context.new_page()
    other.goto(f"{place}/")
    other.get_by_role("region", name="Emergency access").get_by_role("button").click()
    over = page.get_by_role("alert").filter(has_text="Your emergency access ended.")
    expect(over).to_be_visible()
    expect(page.locator("[data-pane]")).to_have_count(0)
    page.wait_for_timeout(3_000)  # every door knows by now: it stays so, and is told as what it is
    expect(over).to_be_visible()
    expect(page.get_by_text("There is no such study")).to_have_count(0)


def test_who_would_rather_not_prove_it_loses_nothing_typed(
    server: Server, place: str, account: Callable[..., Account]
) -> None:
    page = account("glass-eve", "radiologist", **DESK).page
    grow_old(server)
    break_glass(page, "GLASS-2")
    page.get_by_role("button", name="Not now").click()
    expect(page.get_by_role("alert")).to_contain_text("First prove again who you are.")
    expect(page.get_by_label("Reason")).to_have_value(WHY)
    expect(page.get_by_label("Patient ID")).to_have_value("GLASS-2")


def test_r05_a_phone_breaks_it_and_somebody_else_reviews(
    server: Server, place: str, account: Callable[..., Account]
) -> None:
    bob = account("glass-bob", "radiologist", **PHONE).page
    break_glass(bob, "GLASS-3")
    banner = bob.get_by_role("region", name="Emergency access")
    expect(banner).to_contain_text("Patient GLASS-3")
    assert bob.evaluate(FIT)
    assert all(c["height"] >= 24 for c in check_controls(bob) if c["width"] > 0)
    rev = account("glass-rev", "auditor", **DESK).page
    rev.goto(f"{place}/")
    rev.get_by_role("link", name=re.compile(r"Review of emergency access, \d+ waiting")).click()
    row = rev.get_by_role("listitem").filter(has_text="GLASS-3")
    expect(row).to_contain_text(WHY)
    expect(row).to_contain_text("Open now")
    check_controls(rev)
    check_contrast(rev)
    row.get_by_role("button", name="End now").click()
    expect(row).to_contain_text("To review")
    expect(row).to_contain_text("ended by glass-rev")
    bob.bring_to_front()
    bob.reload()
    expect(bob.get_by_role("button", name="Sign out glass-bob (radiologist)")).to_be_visible()
    expect(banner).to_be_hidden()
    row.get_by_role("button", name="Not justified").click()
    row.get_by_label("Not justified: what is done about it").fill("Talked to him.")
    row.get_by_role("button", name="Save verdict").click()
    expect(row).to_be_hidden()
    rev.get_by_role("button", name="Reviewed").click()
    expect(row).to_contain_text("Not justified")
    expect(row).to_contain_text("person:glass-rev: Talked to him.")


def test_the_queue_on_a_phone_and_empty(
    server: Server, place: str, account: Callable[..., Account]
) -> None:
    server.run("tenant", "create", "quiet", "--aet", "QUIET")
    printed = server.run("login-link", "--role", "auditor", "--tenant", "quiet", "--http", place)
    page = account("glass-ned", "auditor", **PHONE).page
    page.goto(f"{place}/reviews")
    expect(page.get_by_role("heading", name="Emergency access: review")).to_be_visible()
    assert page.evaluate(FIT)
    page.get_by_role("button", name="Sign out").count()
    page.goto(printed.strip().splitlines()[-1])
    expect(page.locator(".list-header")).to_be_visible()
    page.goto(f"{place}/t/quiet/reviews")
    expect(page.get_by_text("Nothing waits for review")).to_be_visible()
    assert page.evaluate(FIT)


def test_an_envelope_signs_in_and_every_page_says_so(
    server: Server, place: str, open_context: Callable[..., BrowserContext]
) -> None:
    password = server.run("user", "seal", "glass-night", "--role", "radiologist")
    page = open_context(**DESK).new_page()
    page.goto(f"{place}/sign-in")
    page.get_by_label("Login").fill("glass-night")
    page.get_by_label("Password").fill(password.strip().splitlines()[-1])
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("region", name="Emergency account")).to_be_visible()
    check_contrast(page)
