"""The administration pages as people see them: at a desk, on a phone, by keyboard, refused and empty."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from lightwell.gateways.http.identity import PLAIN_COOKIE
from lightwell.testing.dimse_house import dimse_house, memory_rooms
from lightwell.testing.openid import CLIENT_ID, SECRET, NodeProvider
from lightwell.testing.scu import Rejected, Scu
from lightwell.wire.dimse.proposal import propose_service
from tests.browser.conftest import Server, Watched
from tests.browser.test_access import check_contrast, check_controls

TENANT = "ward"
LONG = "The very long name of somebody whose parents could not decide " + "x" * 30
WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
SIZES = {"desk": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}
PAGES = (
    "people", "keys", "sessions", "providers", "policies", "explain", "peers", "tenants", "you",
)  # fmt: skip
#: Where pictures of the pages go, for whoever wants to look at them.
PICTURES = os.environ.get("LIGHTWELL_TEST_PICTURES", "")


@pytest.fixture(scope="module")
def ward(server: Server) -> str:
    """A tenant with people, keys and machines."""
    server.run("tenant", "create", TENANT, "--aet", "WARD", "--label", "Ward Nine")
    for login, role, name in (
        ("ada", "radiologist", "Ada Lovelace"),
        ("grace", "technologist", "Grace Hopper"),
        ("lang", "auditor", LONG),
    ):
        server.run("user", "add", login, "--role", role, "--name", name[:100], "--tenant", TENANT)
    server.run("token", "create", "--role", "integration", "--name", "router", "--tenant", TENANT)
    server.run("peer", "add", "CT_ONE", "127.0.0.1:1", "--type", "modality", "--tenant", TENANT)
    return TENANT


def bearer(server: Server, *roles: str, tenant: str = TENANT) -> str:
    """The session of somebody who signed in with a link of these roles."""
    arguments = [word for role in roles for word in ("--role", role)]
    url = server.run("login-link", *arguments, "--tenant", tenant).strip().splitlines()[-1]
    place = "" if tenant == "default" else f"/t/{tenant}"
    request = urllib.request.Request(
        f"{server.url}{place}/api/v1/sign-in/link",
        data=json.dumps({"token": url.partition("#")[2]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(re.findall(r"lws_[\w-]{43}", answer.headers["set-cookie"])[0])


@pytest.fixture
def as_roles(
    server: Server, chromium: Any, watched: Watched, ward: str
) -> Iterator[Callable[..., Page]]:
    """Pages of somebody signed in with roles, at a size."""
    contexts: list[BrowserContext] = []

    def opened(*roles: str, size: str = "desk", tenant: str = TENANT) -> Page:
        phone = {"has_touch": True, "is_mobile": True} if size == "phone" else {}
        context = chromium.new_context(viewport=SIZES[size], **phone)
        contexts.append(context)
        cookie = {"name": PLAIN_COOKIE, "domain": "127.0.0.1", "path": "/", "httpOnly": True}
        context.add_cookies([{**cookie, "value": bearer(server, *roles, tenant=tenant)}])
        watched.watch(context)
        return context.new_page()

    yield opened
    for context in contexts:
        context.close()


def address(server: Server, section: str = "", tenant: str = TENANT) -> str:
    return f"{server.url}/t/{tenant}/admin/{section}"


def picture(page: Page, name: str) -> None:
    """Kept where somebody asked for pictures."""
    if PICTURES:
        Path(PICTURES).mkdir(exist_ok=True)
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def row(page: Page, text: str) -> Locator:
    return page.locator(".admin-list > li").filter(has_text=text)


@pytest.mark.parametrize("size", list(SIZES))
def test_every_page_fits_is_named_and_readable(
    server: Server, as_roles: Callable[..., Page], size: str
) -> None:
    page = as_roles("admin", size=size)
    titles = set()
    for section in PAGES:
        page.goto(address(server, section))
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        if section == "explain":
            page.get_by_label("Anybody with the role").select_option("radiologist")
        expect(page.locator(".admin-list > *, .admin-box > *, .admin-guide").first).to_be_visible()
        expect(page.locator(".admin-skeleton")).to_have_count(0)
        titles.add(page.title())
        assert not page.evaluate(WIDE), section
        controls = check_controls(page)
        check_contrast(page)
        if size == "phone":
            assert all(c["height"] >= 24 for c in controls if c["width"] > 0), section
        picture(page, f"{section}-{size}")
    assert len(titles) == len(PAGES)


def test_a_person_is_added_changed_shut_and_opened(
    server: Server, as_roles: Callable[..., Page]
) -> None:
    page = as_roles("admin")
    page.goto(address(server, "people"))
    page.get_by_role("button", name="Add a person").click()
    expect(page.get_by_label("Login", exact=True)).to_be_focused()
    add = page.get_by_role("button", name="Add and make a link")
    expect(add).to_be_disabled()
    page.get_by_label("Login", exact=True).fill("kay")
    page.get_by_label("Name (optional)").fill("Kay M.")
    page.get_by_role("checkbox", name="radiologist").check()
    picture(page, "people-add")
    add.click()
    secret = page.get_by_role("group", name="Link for kay")
    expect(secret).to_be_visible()
    value = secret.get_by_role("textbox").input_value()
    assert re.fullmatch(rf"http://localhost:\d+/t/{TENANT}/enrol#lwl_[\w-]{{43}}", value)
    picture(page, "people-secret")
    secret.get_by_role("button", name="Done, it is kept").click()
    expect(secret).to_be_hidden()
    kay = row(page, "Kay M.")
    expect(kay.get_by_text("radiologist", exact=True)).to_be_visible()
    kay.get_by_role("button", name="Roles of kay").click()
    kay.get_by_role("checkbox", name="technologist").check()
    kay.get_by_role("checkbox", name="radiologist").uncheck()
    kay.get_by_role("button", name="Save the roles of kay").click()
    expect(kay.get_by_role("button", name="Save the roles of kay")).to_be_hidden()
    expect(kay.get_by_text("technologist", exact=True)).to_be_visible()
    kay.get_by_role("button", name="Shut kay").click()
    question = kay.get_by_role("group", name=re.compile("Shut the account of Kay M"))
    expect(question.get_by_role("button", name="Keep as it is")).to_be_focused()
    picture(page, "people-shut")
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    kay.get_by_role("button", name="Shut kay").click()
    question.get_by_role("button", name="Shut kay").click()
    expect(kay.get_by_text("Shut", exact=True).first).to_be_visible()
    kay.get_by_role("button", name="Open kay").click()
    kay.get_by_role("group").get_by_role("button", name="Open kay").click()
    expect(kay.get_by_role("button", name="Shut kay")).to_be_visible()
    search = page.get_by_role("searchbox")
    search.fill("nobody of that name")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    page.get_by_role("button", name="Clear the search").click()
    search.fill("lovelace")
    expect(page.locator(".admin-list > li")).to_have_count(1)


@pytest.mark.parametrize("size", list(SIZES))
def test_what_a_person_reaches_is_said_in_their_row(
    server: Server, as_roles: Callable[..., Page], size: str
) -> None:
    login = f"ref-{size}"
    server.run("user", "add", login, "--role", "referrer", "--tenant", TENANT)
    page = as_roles("admin", size=size)
    page.goto(address(server, "people"))
    person = row(page, login)
    person.get_by_role("button", name=f"Access of {login}").click()
    patients = person.get_by_role("region", name=f"Whose patients are theirs: {login}")
    expect(patients.get_by_text("Nobody’s.")).to_be_visible()
    patients.get_by_role("button", name=f"Add a patient of {login}").click()
    patients.get_by_label("Patient ID").fill("P 1/2")
    patients.get_by_label("Issuer of the ID").fill("NORTH")
    patients.get_by_role("button", name="Record it").click()
    said = "Treats the patient P 1/2 of NORTH"
    expect(patients.get_by_text(said)).to_be_visible()
    limits = person.get_by_role("region", name=f"Limits of {login}")
    limits.get_by_label("Institutions").fill("Klinik, Nord\nKlinik Süd")
    limits.get_by_label("Modalities").fill("CT")
    limits.get_by_role("button", name=f"Save the limits of {login}").click()
    expect(limits.get_by_role("button", name=f"Save the limits of {login}")).to_be_disabled()
    assert not page.evaluate(WIDE)
    check_controls(page)
    check_contrast(page)
    picture(page, f"people-access-{size}")
    kept = json.loads(server.run("user", "relations", login, "--json", "--tenant", TENANT))
    assert kept["relations"] == [{"kind": "treats", "name": "P 1/2", "issuer": "NORTH"}]
    assert kept["limits"] == {"site": ["Klinik Süd", "Klinik, Nord"], "modality": ["CT"]}
    patients.get_by_role("button", name=f"Take back: {said}").click()
    question = patients.get_by_role("group", name=re.compile("Take back"))
    expect(question.get_by_role("button", name="Keep as it is")).to_be_focused()
    question.get_by_role("button", name="Take it back").click()
    expect(patients.get_by_text("Nobody’s.")).to_be_visible()


def test_an_account_is_sealed_and_sealed_again(
    server: Server, as_roles: Callable[..., Page]
) -> None:
    page = as_roles("admin")
    page.goto(address(server, "people"))
    page.get_by_role("button", name="Emergency account").click()
    page.get_by_label("Login", exact=True).fill("night")
    page.get_by_role("button", name="Seal and show the password").click()
    secret = page.get_by_role("group", name="Password of night, for the envelope")
    first = secret.get_by_role("textbox").input_value()
    assert len(first) >= 20
    picture(page, "people-envelope")
    secret.get_by_role("button", name="Done, it is kept").click()
    night = row(page, "night")
    expect(night.get_by_text("Sealed", exact=True)).to_be_visible()
    night.get_by_role("button", name="Access of night").click()
    envelope = night.get_by_role("region", name="Envelope of night")
    expect(envelope.get_by_text("which is shut")).to_be_visible()
    envelope.get_by_role("button", name="Seal again").click()
    expect(envelope.get_by_label("Where it may be used")).to_have_value("loopback private")
    envelope.get_by_role("button", name="Seal again night").click()
    again = envelope.get_by_role("group", name="Password of night, for the envelope")
    assert again.get_by_role("textbox").input_value() != first


# --- identity providers --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", list(SIZES))
def test_a_provider_that_is_nowhere_is_added_looked_at_and_removed(
    server: Server, as_roles: Callable[..., Page], size: str
) -> None:
    page = as_roles("admin", size=size)
    page.goto(address(server, "providers"))
    guide = page.get_by_role("group", name="No identity provider yet")
    callback = f"{server.url}/t/{TENANT}/api/v1/sign-in/provider"
    expect(guide.get_by_label("Redirect address", exact=True)).to_have_value(
        f"{callback}/sso/callback"
    )
    guide.get_by_role("button", name="Copy the redirect address").click()
    expect(guide.get_by_role("status")).to_have_text(re.compile("Copied|Press"))
    guide.get_by_role("button", name="Add a provider").click()
    form = page.get_by_role("form", name="Add an identity provider")
    trust = form.get_by_role("button", name="Trust this provider")
    expect(trust).to_be_disabled()
    form.get_by_label("Short name").fill("north")
    expect(form.get_by_label("Redirect address", exact=True)).to_have_value(
        f"{callback}/north/callback"
    )
    form.get_by_label("Name on the button").fill("Clinic North")
    form.get_by_label("Issuer").fill("https://id.invalid/realms/main")
    form.get_by_label("Client ID").fill("lightwell")
    form.get_by_label("Client secret").fill("s3cret-of-the-client")
    form.get_by_label("Group 1", exact=True).fill("readers")
    form.get_by_role("button", name="Another group").click()
    form.get_by_label("Group 2", exact=True).fill("it")
    form.get_by_label("Role of group 2").select_option("auditor")
    assert not page.evaluate(WIDE)
    check_controls(page)
    check_contrast(page)
    picture(page, f"providers-add-{size}")
    trust.click()
    provider = row(page, "Clinic North")
    expect(provider.get_by_text("it: auditor; readers: radiologist")).to_be_visible()
    assert "s3cret" not in page.content()
    provider.get_by_role("button", name="Test the connection to north").click()
    found = provider.get_by_role("status", name="Test of Clinic North")
    expect(found.get_by_text("The connection is not good.")).to_be_visible()
    expect(found.locator("li")).to_have_count(1)
    expect(found).to_contain_text("Its name has an address")
    expect(found).to_contain_text("typing error in the issuer")
    assert not page.evaluate(WIDE)
    check_contrast(page)
    picture(page, f"providers-failed-{size}")
    provider.get_by_role("button", name="Remove north").click()
    question = provider.get_by_role("group", name=re.compile("Remove Clinic North"))
    expect(question.get_by_role("button", name="Keep as it is")).to_be_focused()
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    provider.get_by_role("button", name="Remove north").click()
    question.get_by_role("button", name="Remove north").click()
    expect(guide).to_be_visible()


def test_a_provider_that_answers_is_changed_and_switched_off(
    server: Server,
    as_roles: Callable[..., Page],
    openid_provider: Callable[..., NodeProvider],
    tmp_path: Path,
) -> None:
    """npm's oidc-provider: on this machine, so named by a command."""
    callback = f"{server.url}/t/{TENANT}/api/v1/sign-in/provider/hospital/callback"
    there = openid_provider(callbacks=[callback], people={"ada": {"groups": ["readers"]}})
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    server.run(
        "provider", "add", "hospital", there.issuer, "--client-id", CLIENT_ID, "--secret-file",
        str(secret), "--map", "readers=radiologist", "--label", "St. Elsewhere", "--tenant", TENANT,
    )  # fmt: skip
    try:
        page = as_roles("admin")
        page.goto(address(server, "providers"))
        hospital = row(page, "St. Elsewhere")
        test = hospital.get_by_role("button", name="Test the connection to hospital")
        test.click()
        found = hospital.get_by_role("status", name="Test of St. Elsewhere")
        expect(found.get_by_text("The connection is good.")).to_be_visible()
        expect(found.locator("li").last).to_contain_text("It knows us")
        expect(found.get_by_label("Redirect address", exact=True)).to_have_value(callback)
        picture(page, "providers-good")
        hospital.get_by_role("button", name="Change hospital").click()
        form = hospital.get_by_role("form", name="Change St. Elsewhere")
        expect(form.get_by_label("Client secret")).to_have_value("")
        form.get_by_label("Client secret").fill("another one")
        form.get_by_label("Role of group 1").select_option("technologist")
        picture(page, "providers-change")
        form.get_by_role("button", name="Save hospital").click()
        expect(hospital.get_by_text("readers: technologist")).to_be_visible()
        test.click()
        expect(found.get_by_text("The connection is not good.")).to_be_visible()
        expect(found).to_contain_text("Compare client ID and secret")
        hospital.get_by_role("button", name="Switch hospital off").click()
        hospital.get_by_role("group").get_by_role("button", name="Switch hospital off").click()
        expect(hospital.get_by_text("Off", exact=True)).to_be_visible()
        with urllib.request.urlopen(
            f"{server.url}/t/{TENANT}/api/v1/sign-in/providers", timeout=30
        ) as answer:
            assert "St. Elsewhere" not in [each["label"] for each in json.load(answer)]
    finally:
        server.run("provider", "remove", "hospital", "--tenant", TENANT)


MIDDLES = """() => [...document.querySelectorAll('.list-header > *')]
  .filter(each => each.matches('.brand, .badge, .icon-button, .account') && each.offsetWidth > 0)
  .map(each => each.getBoundingClientRect())
  .map(box => [Math.round(box.top + box.height / 2), box.left >= 0 && box.right <= innerWidth])"""


@pytest.mark.parametrize("place", ["", "/admin/people"])
def test_on_a_phone_the_header_is_one_line(
    server: Server, as_roles: Callable[..., Page], place: str
) -> None:
    """Whoever has every role has every icon."""
    page = as_roles("admin", "radiologist", "auditor", size="phone")
    page.goto(f"{server.url}/t/{TENANT}{place or '/'}")
    out = page.locator(".account").get_by_role("button", name="Sign out")  # not those of the people
    expect(out).to_be_visible()
    expect(page.get_by_role("button", name="About and keys")).to_be_visible()
    page.wait_for_function(f"({MIDDLES})().length >= {4 if place else 6}")
    boxes = page.evaluate(MIDDLES)
    assert len({middle for middle, _ in boxes}) == 1, boxes
    assert all(inside for _, inside in boxes), boxes
    picture(page, f"header-phone{place.replace('/', '-')}")


def test_what_is_wrong_with_a_form_is_said_in_it(
    server: Server, as_roles: Callable[..., Page], watched: Watched
) -> None:
    watched.server_gone = True  # the browser complains of the 409
    page = as_roles("admin")
    page.goto(address(server, "people"))
    page.get_by_role("button", name="Add a person").click()
    page.get_by_label("Login", exact=True).fill("ada")
    page.get_by_role("checkbox", name="radiologist").check()
    page.keyboard.press("Enter")
    form = page.get_by_role("form", name="Add a person")
    expect(form.get_by_role("alert")).to_contain_text("There is an account 'ada'")
    page.keyboard.press("Escape")
    expect(form).to_be_hidden()


BRIGHT = "bright"
NOTICE = (
    "For staff of the clinic only. What you open is recorded. If you cannot sign in, call the service desk at"
    " extension 4711; at night, the radiologist on duty opens images with the emergency account."
)


@pytest.fixture(scope="module")
def bright(server: Server) -> str:
    """A tenant with looks of its own."""
    server.run("tenant", "create", BRIGHT, "--aet", "BRIGHT", "--label", "St. Elsewhere")
    server.run("tenant", "configure", BRIGHT, "--accent", "#ffb74d", "--notice", NOTICE)
    return BRIGHT


@pytest.mark.parametrize("size", list(SIZES))
def test_the_sign_in_page_and_the_headers_look_as_a_tenant_chose(
    server: Server, as_roles: Callable[..., Page], watched: Watched, bright: str, size: str
) -> None:
    watched.server_gone = True  # the browser complains of the 401
    page = as_roles("radiologist", size=size, tenant=bright)
    cookies = page.context.cookies()
    page.context.clear_cookies()
    page.goto(f"{server.url}/t/{bright}/sign-in")
    expect(page.get_by_text(NOTICE)).to_be_visible()
    expect(page.get_by_text("St. Elsewhere", exact=True)).to_be_visible()
    button = page.get_by_role("button", name="Sign in", exact=True)
    expect(button).to_have_css("background-color", "rgb(255, 183, 77)")
    assert not page.evaluate(WIDE)
    check_contrast(page)
    picture(page, f"sign-in-bright-{size}")
    page.goto(f"{server.url}/t/{TENANT}/sign-in")
    expect(page.get_by_text("Ward Nine", exact=True)).to_be_visible()
    expect(button).not_to_have_css("background-color", "rgb(255, 183, 77)")
    page.context.add_cookies(cookies)
    for section in ("", "admin/you"):
        page.goto(f"{server.url}/t/{bright}/{section}")
        name = page.get_by_title(f"Tenant {bright}", exact=True)
        expect(name).to_have_text("St. Elsewhere")
        expect(name).to_have_css("color", "rgb(255, 183, 77)")
        assert not page.evaluate(WIDE)
        picture(page, f"header-bright-{section.replace('/', '-') or 'list'}-{size}")


@pytest.mark.parametrize("size", list(SIZES))
def test_a_tenant_is_edited_in_its_row(
    server: Server, as_roles: Callable[..., Page], watched: Watched, bright: str, size: str
) -> None:
    watched.server_gone = True  # the browser complains of the 400
    page = as_roles("admin", size=size, tenant="default")
    page.goto(address(server, "tenants", tenant="default"))
    theirs = page.locator(".admin-list > li").filter(has=page.get_by_text(BRIGHT, exact=True))
    theirs.get_by_role("button", name="Edit").click()
    form = theirs.get_by_role("form")
    name = form.get_by_label("Name shown to people")
    expect(name).to_be_focused()
    expect(form.get_by_label("Notice on the sign-in page")).to_have_value(NOTICE)
    expect(form.get_by_label("Accent", exact=False).nth(1)).to_have_value("#ffb74d")
    assert not page.evaluate(WIDE)
    picture(page, f"tenants-edit-{size}")
    accent = form.get_by_placeholder("#5fb3ce")
    accent.fill("#000080")
    name.fill(f"St. Elsewhere, {size}")
    form.get_by_role("button", name=f"Save {bright}").click()
    expect(form.get_by_role("alert")).to_contain_text("4.5 : 1")
    picture(page, f"tenants-edit-refused-{size}")
    accent.fill("#ffb74d")
    form.get_by_label("Time zone").fill("Europe/Berlin")
    form.get_by_label("Further AE titles").fill(f"BRIGHT {size}\n\nMR ROOM".upper())
    form.get_by_label("Hosts").fill(f"{size}.example")
    form.get_by_role("button", name=f"Save {bright}").click()
    expect(form).to_be_hidden()
    expect(
        theirs.get_by_text(f"BRIGHT, BRIGHT {size.upper()}, MR ROOM, {size}.example")
    ).to_be_visible()
    listed = {each["name"]: each for each in json.loads(server.run("tenant", "list", "--json"))}
    told = listed[bright]
    assert (told["label"], told["zone"]) == (f"St. Elsewhere, {size}", "Europe/Berlin")
    assert (told["notice"], told["hosts"]) == (NOTICE, [f"{size}.example"])
    server.run("tenant", "configure", BRIGHT, "--label", "St. Elsewhere")


def test_who_runs_one_tenant_edits_its_looks_and_not_by_what_it_is_called(
    server: Server, as_roles: Callable[..., Page], bright: str
) -> None:
    page = as_roles("admin", tenant=bright)
    page.goto(address(server, "tenants", tenant=bright))
    page.get_by_role("button", name="Edit St. Elsewhere").click()
    form = page.get_by_role("form", name="Edit St. Elsewhere")
    expect(form.get_by_label("Notice on the sign-in page")).to_be_visible()
    expect(form.get_by_label("Hosts")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(form).to_be_hidden()


def test_a_key_is_shown_once_and_revoked(server: Server, as_roles: Callable[..., Page]) -> None:
    page = as_roles("admin")
    page.goto(address(server, "keys"))
    page.get_by_role("button", name="Add a key").click()
    page.get_by_label("Program", exact=True).fill("archive mover")
    page.get_by_label("Days it is good for").fill("7")
    page.get_by_label("Only for (optional)").fill("archive:study:*")
    page.get_by_role("button", name="Make the key").click()
    secret = page.get_by_role("group", name="Key of archive mover")
    assert secret.get_by_role("textbox").input_value().startswith("lwk_")
    secret.get_by_role("button", name="Copy the key").click()
    expect(secret.get_by_role("status")).to_have_text(re.compile("Copied|Press"))
    secret.get_by_role("button", name="Done").click()
    mover = row(page, "archive mover")
    expect(mover.get_by_text("7 days left")).to_be_visible()
    mover.get_by_role("button", name="Revoke archive mover").click()
    mover.get_by_role("group").get_by_role("button", name="Revoke archive mover").click()
    expect(mover).to_be_hidden()
    page.get_by_role("button", name="With the old ones").click()
    expect(mover.get_by_text("Revoked")).to_be_visible()


def test_sessions_are_ended_from_here(server: Server, as_roles: Callable[..., Page]) -> None:
    bearer(server, "auditor")
    page = as_roles("admin")
    page.goto(address(server, "sessions"))
    mine = row(page, "This one")
    expect(mine).to_be_visible()
    expect(mine.get_by_role("button")).to_have_count(0)
    page.get_by_role("button", name="End all others").click()
    picture(page, "sessions-end")
    page.get_by_role("button", name=re.compile(r"End \d+ session")).click()
    expect(page.locator(".admin-list > li")).to_have_count(1)


def test_a_policy_is_written_refused_and_taken_back(
    server: Server, as_roles: Callable[..., Page], watched: Watched
) -> None:
    watched.server_gone = True  # the browser complains of the 400
    page = as_roles("admin")
    page.goto(address(server, "policies"))
    page.get_by_role("button", name="Write a policy").click()
    text = page.get_by_label("Cedar")
    text.fill("permit (principal, action, resource);")
    page.get_by_role("button", name="Put it in force").click()
    expect(page.get_by_role("alert")).to_contain_text("@id")
    text.fill('@id("closed") @reason("stock-taking") forbid (principal is Peer, action, resource);')
    page.get_by_role("button", name="Put it in force").click()
    own = row(page, "stock-taking")
    expect(own.get_by_text("Own", exact=True)).to_be_visible()
    own.get_by_role("button", name="Text of closed").click()
    expect(own.locator("pre")).to_contain_text("principal is Peer")
    own.get_by_role("button", name="Take back closed").click()
    own.get_by_role("group").get_by_role("button", name="Take back closed").click()
    expect(own).to_be_hidden()


@pytest.mark.parametrize("size", list(SIZES))
def test_why_is_told_for_an_account_and_a_role(
    server: Server, as_roles: Callable[..., Page], size: str
) -> None:
    page = as_roles("admin", size=size)
    page.goto(address(server, "explain"))
    expect(page.get_by_text("About whom?")).to_be_visible()
    page.get_by_label("Account").fill("ada")
    images = page.get_by_role("region", name="Images")
    opens = images.locator(".explain-details").filter(has_text="Open images")
    expect(opens.get_by_text("Yes")).to_be_visible()
    opens.locator("summary").click()
    expect(opens.locator("pre")).to_contain_text('principal in Role::"radiologist"')
    picture(page, f"explain-ada-{size}")
    corrects = images.locator(".explain-row").filter(has_text="archive:study:correct")
    expect(corrects.get_by_text("No", exact=True)).to_be_visible()
    expect(corrects.get_by_text("No policy permits it.")).to_be_visible()
    page.get_by_label("Account").fill("nobody")
    expect(page.get_by_text("There is no account “nobody” here")).to_be_visible()


def test_peers_are_let_in_called_and_removed(
    server: Server, as_roles: Callable[..., Page], tmp_path: Path
) -> None:
    page = as_roles("pacs-admin")
    page.goto(address(server, "peers"))
    with dimse_house(lambda: memory_rooms(tmp_path / "other")) as other:
        other.add_peer("WARD", allow=frozenset({"store"}))
        page.get_by_role("button", name="Let a machine in").click()
        page.get_by_label("AE title", exact=True).fill("LIGHTWELL")
        page.get_by_label("Address", exact=True).fill("127.0.0.1")
        page.get_by_label("Port", exact=True).fill(str(other.port))
        page.get_by_role("radio", name="archive", exact=True).check()
        picture(page, "peers-add")
        page.get_by_role("button", name="Let it in").click()
        peer = row(page, "LIGHTWELL")
        peer.get_by_role("button", name="Echo to LIGHTWELL").click()
        expect(peer.locator("[data-well]")).to_contain_text("It answers.")
        peer.get_by_role("button", name="Send test image to LIGHTWELL").click()
        expect(peer.locator("[data-well]")).to_contain_text("It took the image.")
        assert other.server.tally.stored == 1
    picture(page, "peers-probed")
    peer.get_by_role("button", name="Echo to LIGHTWELL").click()
    expect(peer.get_by_role("status")).to_contain_text("Nothing listens")
    peer.get_by_role("button", name="Change LIGHTWELL").click()
    peer.get_by_role("radio", name="What I choose").check()
    peer.get_by_role("checkbox", name="find", exact=True).check()
    peer.get_by_role("button", name="Save LIGHTWELL").click()
    expect(peer.get_by_text("find", exact=True)).to_be_visible()
    peer.get_by_role("button", name="Remove LIGHTWELL").click()
    peer.get_by_role("group").get_by_role("button", name="Remove LIGHTWELL").click()
    expect(peer).to_be_hidden()


@pytest.mark.parametrize("size", list(SIZES))
def test_who_was_turned_away_can_be_let_in(
    server: Server, as_roles: Callable[..., Page], size: str
) -> None:
    calling = f"NEWCT_{size.upper()}"
    with pytest.raises(Rejected):
        Scu("127.0.0.1", server.dimse, propose_service("1.2.840.10008.1.1"), called_ae="WARD",
            calling_ae=calling)  # fmt: skip
    page = as_roles("pacs-admin", size=size)
    page.goto(address(server, "peers"))
    turned = page.get_by_role("region", name="Turned away lately").locator("li")
    stranger = turned.filter(has_text=calling)
    expect(stranger.get_by_text("Its AE title is not registered")).to_be_visible()
    picture(page, f"peers-turned-away-{size}")
    stranger.get_by_role("button", name=f"Let {calling} in").click()
    expect(page.get_by_label("AE title", exact=True)).to_have_value(calling)
    expect(page.get_by_label("Address", exact=True)).to_have_value("127.0.0.1")


def test_a_tenant_is_made_named_and_lets_support_in(
    server: Server, as_roles: Callable[..., Page]
) -> None:
    page = as_roles("admin", tenant="default")
    page.goto(f"{server.url}/admin/tenants")
    page.get_by_role("button", name="Make a tenant").click()
    page.get_by_label("Name", exact=True).fill("north")
    page.get_by_label("AE title", exact=True).fill("NORTH")
    page.get_by_role("button", name="Make the tenant").click()
    row(page, "NORTH").get_by_role("button", name="Go there, to north").click()
    here = page.get_by_role("region", name="This tenant: north")
    here.get_by_label("Name shown to people").fill("Clinic North")
    here.get_by_role("radio", name="Pixel-exact").check()
    here.get_by_role("button", name="Save").click()
    question = here.get_by_role("group", name=re.compile("pixel-exact from now on"))
    picture(page, "tenants-pixel-exact")
    question.get_by_role("button", name="Keep as it is").click()
    here.get_by_label("Name shown to people").fill("Clinic North")
    here.get_by_role("button", name="Save").click()
    named = page.get_by_role("region", name="This tenant: Clinic North")
    named.get_by_role("button", name="Let support in").click()
    expect(named.get_by_text("Support is let in until")).to_be_visible()
    named.get_by_role("button", name="End it now").click()
    expect(named.get_by_text("Support is not let in.")).to_be_visible()


def test_a_tenant_is_limited_suspended_and_resumed(
    server: Server, as_roles: Callable[..., Page]
) -> None:
    page = as_roles("admin", tenant="default")
    page.goto(f"{server.url}/admin/tenants")
    page.get_by_role("button", name="Make a tenant").click()
    page.get_by_label("Name", exact=True).fill("east")
    page.get_by_label("AE title", exact=True).fill("EAST")
    page.get_by_role("button", name="Make the tenant").click()
    east = row(page, "EAST")
    east.get_by_role("button", name="Quota of east").click()
    page.get_by_label("Bytes").fill("lots")
    expect(page.get_by_text("That is no size: write it like 500 GB")).to_be_visible()
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    page.get_by_label("Bytes").fill("2 tb")
    page.get_by_role("button", name="Save", exact=True).first.click()
    expect(east.get_by_text("0 B of 2.0 TB")).to_be_visible()
    east.get_by_role("button", name="Suspend east").click()
    page.get_by_label("Why").fill("the contract has ended")
    picture(page, "tenants-suspend")
    page.get_by_role("button", name="Suspend east").last.click()
    expect(east.get_by_text("the contract has ended")).to_be_visible()
    expect(east.get_by_role("button", name="Go there, to east")).to_have_count(0)
    picture(page, "tenants-suspended")
    east.get_by_role("button", name="Resume east").click()
    page.get_by_role("button", name="Resume east").last.click()
    expect(east.get_by_role("button", name="Go there, to east")).to_be_visible()


def test_a_suspended_tenant_is_erased_once_its_name_is_typed(
    server: Server, as_roles: Callable[..., Page]
) -> None:
    server.run("tenant", "create", "south", "--aet", "SOUTH")
    page = as_roles("admin", tenant="default")
    page.goto(f"{server.url}/admin/tenants")
    south = row(page, "SOUTH")
    expect(south.get_by_role("button", name="Suspend south")).to_be_visible()
    expect(south.get_by_role("button", name="Erase south")).to_have_count(0)
    server.run("tenant", "suspend", "south", "--reason", "the contract has ended")
    page.reload()
    south.get_by_role("button", name="Erase south").click()
    form = page.get_by_role("form", name="Erase south")
    expect(form.get_by_text("0 studies with 0 objects, 0 B")).to_be_visible()
    go = form.get_by_role("button", name="Erase south for good")
    form.get_by_label("Why").fill("the contract has ended")
    form.get_by_label("Its name once more").fill("sout")
    expect(go).to_be_disabled()
    form.get_by_label("Its name once more").fill("south")
    picture(page, "tenants-erase")
    check_controls(page)
    go.click()
    expect(page.get_by_text("SOUTH", exact=True)).to_have_count(0)


def test_who_may_not_sees_no_way_in(
    server: Server, as_roles: Callable[..., Page], chromium: Any, watched: Watched
) -> None:
    reader = as_roles("radiologist")
    reader.goto(f"{server.url}/t/{TENANT}/")
    expect(reader.locator(".account-name")).to_be_visible()
    expect(reader.get_by_role("link", name="Administration")).to_have_count(0)
    reader.goto(address(server, "people"))
    expect(reader.get_by_text("This page is not open to you")).to_be_visible()
    nav = reader.get_by_role("navigation", name="Administration").get_by_role("link")
    expect(nav).to_have_text(["Your sign-ins"])
    auditor = as_roles("auditor")
    auditor.goto(address(server, "people"))
    expect(row(auditor, "Ada Lovelace")).to_be_visible()
    expect(auditor.get_by_role("button", name="Add a person")).to_have_count(0)
    expect(row(auditor, "Ada Lovelace").get_by_role("button")).to_have_count(0)


def test_nobody_in_particular_is_asked_to_sign_in(
    server: Server, chromium: Any, watched: Watched
) -> None:
    watched.server_gone = True  # the browser complains of each 401
    context = chromium.new_context(viewport=SIZES["desk"])
    watched.watch(context)
    page = context.new_page()
    for place in ("", "/admin", "/admin/providers"):
        page.goto(f"{server.url}{place}")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        expect(page.get_by_text("open this page at localhost")).to_be_visible()
        expect(page.get_by_role("link", name="Administration")).to_have_count(0)
        expect(page.get_by_role("navigation", name="Administration")).to_have_count(0)
    context.close()


def test_by_keyboard_from_page_to_page(server: Server, as_roles: Callable[..., Page]) -> None:
    page = as_roles("admin")
    page.goto(address(server))
    expect(page.get_by_role("heading", level=1)).to_have_text("People")
    keys = page.get_by_role("link", name="Keys")
    keys.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Keys")
    expect(keys).to_have_attribute("aria-current", "page")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("People")


def test_a_server_that_is_away_is_said_and_asked_again(
    server: Server, as_roles: Callable[..., Page], watched: Watched
) -> None:
    watched.server_gone = True
    page = as_roles("admin")
    page.route("**/api/v1/people", lambda route: route.abort())
    page.goto(address(server, "people"))
    expect(page.get_by_role("alert")).to_contain_text("could not reach the server")
    page.unroute("**/api/v1/people")
    page.get_by_role("button", name="Try again").click()
    expect(row(page, "Ada Lovelace")).to_be_visible()
