"""npm's oidc-provider and a served Lightwell: real redirects, real tokens, and its sudden end (Must show).

The browser is played with httpx: cookies, redirects, one form. Chromium does it in `tests/browser`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from lightwell.testing.openid import CLIENT_ID, SECRET, NodeProvider, node_keys
from lightwell.testing.served import Served, free_port, wait_until

pytestmark = pytest.mark.slow
BEGIN = "/api/v1/sign-in/provider/hospital"
PEOPLE = {
    "s-ada": {"name": "Ada L.", "preferred_username": "ada", "groups": ["readers", "choir"]},
    "s-grace": {"name": "Grace H.", "preferred_username": "grace", "groups": ["it"]},
    "s-carl": {"name": "Carl", "preferred_username": "carl", "groups": ["choir"]},
}
MAP = ("--map", "readers=radiologist", "--map", "it=admin,auditor")
Started = Callable[..., NodeProvider]


SAME_ORIGIN = {"sec-fetch-site": "same-origin"}
WANTED = {"patient_id": "4711", "issuer": "", "reason": "Stroke, no other physician here"}


@dataclass
class Browser:
    """Cookies and the will to follow redirects, up to our own door."""

    served: Served
    client: httpx.Client

    def begin(self, to: str = "") -> httpx.Response:
        """The answer to pressing the button."""
        return self.client.get(f"{self.served.url}{BEGIN}", params={"to": to})

    def at_provider(self, subject: str, do: str = "in", to: str = "") -> str:
        """Sign in at the provider, if it asks; the address that leads back to us."""
        return self._through(self.begin(to), subject, do)

    def _through(self, answer: httpx.Response, subject: str, do: str = "in") -> str:
        while True:
            assert answer.status_code in (302, 303), answer.text
            place = str(answer.next_request.url) if answer.next_request else ""
            if place.startswith(self.served.url):
                return place
            answer = self.client.get(place)
            if answer.status_code == 200:
                answer = self.client.post(place, data={"login": subject, "do": do})

    def sign_in(self, subject: str, to: str = "") -> httpx.Response:
        """All the way; our answer at its end."""
        return self.client.get(self.at_provider(subject, to=to))

    def post(self, path: str, body: object) -> httpx.Response:
        """As a page of ours does."""
        return self.client.post(f"{self.served.url}/api/v1{path}", json=body, headers=SAME_ORIGIN)

    def forget_provider(self) -> None:
        """What somebody does to be another person there."""
        for name in [each for each in self.client.cookies if each.startswith("_session")]:
            self.client.cookies.delete(name)

    def proved(self, subject: str, to: str) -> httpx.Response:
        """Sign in at the provider once more; our answer at the end."""
        departure = self.post("/prove/provider", {"name": "hospital", "to": to})
        assert departure.status_code == 200, departure.text
        return self.client.get(self._through(self.client.get(departure.json()["address"]), subject))

    def sign_out(self) -> httpx.Response:
        """Press the other button."""
        return self.post("/sign-out", {})

    def me(self) -> Any:
        """Who the archive says one is; None for nobody in particular."""
        answer = self.client.get(f"{self.served.url}/api/v1/me")
        return answer.json() if answer.status_code == 200 else None


@pytest.fixture
def another(served: Served) -> Iterator[Callable[[], Browser]]:
    """Makes browsers that know nothing of each other."""
    with ExitStack() as stack:
        yield lambda: Browser(served, stack.enter_context(httpx.Client(timeout=30)))


@pytest.fixture
def browser(another: Callable[[], Browser]) -> Browser:
    return another()


def trust(
    served: Served, provider: NodeProvider, folder: Path, *more: str, secret: str | None = SECRET
) -> None:
    """`lightwell provider add`, in place of the one of an earlier test."""
    served.run("provider", "remove", "hospital")
    given: list[str] = []
    if secret is not None:
        file = folder / "secret"
        file.write_text(secret + "\n")
        given = ["--secret-file", str(file)]
    done = served.run(
        "provider", "add", "hospital", provider.issuer, "--client-id", CLIENT_ID, *given, *MAP, *more,
        "--public-url", served.url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{served.url}{BEGIN}/callback"


@pytest.fixture(scope="module")
def same() -> dict[str, Any]:
    """One issuer with the same keys for all tests: to the archive it is the same provider all the time."""
    return {"port": free_port(), "keys": node_keys()}


@pytest.fixture
def begun(served: Served, openid_provider: Started, same: dict[str, Any]) -> Started:
    """Starts the provider with other options."""
    usual = {
        "callbacks": [f"{served.url}{BEGIN}/callback"],
        "signed_out": [f"{served.url}/sign-in"],
        "people": PEOPLE,
    }
    return lambda **options: openid_provider(**{**usual, **same, **options})


@pytest.fixture
def hospital(served: Served, begun: Started, tmp_path: Path) -> NodeProvider:
    """A provider that the default tenant trusts."""
    provider = begun()
    trust(served, provider, tmp_path)
    return provider


def test_there_and_back(served: Served, browser: Browser, hospital: NodeProvider) -> None:
    back = browser.sign_in("s-ada", to="/viewer/1.2.3")
    assert (back.status_code, back.headers["location"]) == (303, "/viewer/1.2.3")
    me = browser.me()
    assert (me["kind"], me["name"], me["roles"]) == ("person", "ada", ["radiologist"])
    again = browser.sign_in("s-ada")  # the provider knows the browser and asks nothing
    assert again.headers["location"] == "/"
    listed = served.run("user", "list", "--json").stdout
    assert listed.count('"ada"') == 1
    found = served.run("provider", "test", "hospital")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "not refuse" in " ".join(found.stdout.split())


def test_who_one_is_there_and_here(
    browser: Browser, another: Callable[[], Browser], hospital: NodeProvider
) -> None:
    carl = browser.sign_in("s-carl")
    assert carl.headers["location"] == "/sign-in?problem=no-role"
    cancelled = browser.client.get(another().at_provider("s-ada", do="out"))
    assert cancelled.headers["location"] == "/sign-in?problem=again", "another browser's answer"
    other = another()
    said_no = other.client.get(other.at_provider("s-ada", do="out"))
    assert said_no.headers["location"] == "/sign-in?problem=cancelled"
    assert other.sign_in("s-grace").headers["location"] == "/"
    assert sorted(other.me()["roles"]) == ["admin", "auditor"]


def test_a09_whoever_came_through_it_signs_in_there_once_more_to_break_the_glass(
    browser: Browser, another: Callable[[], Browser], hospital: NodeProvider
) -> None:
    browser.sign_in("s-ada")
    wanted = browser.post("/glass", WANTED)
    assert (wanted.status_code, wanted.json()["type"]) == (403, "urn:lightwell:prove-again")
    ways = browser.client.get(f"{browser.served.url}/api/v1/prove").json()
    assert ways["provider"] == {"name": "hospital", "label": "hospital"}
    browser.forget_provider()
    other = browser.proved("s-grace", "/break-glass")
    assert other.headers["location"] == "/sign-in?problem=other"
    assert browser.me()["name"] == "ada", "who was here is here"
    assert browser.post("/glass", WANTED).status_code == 403
    browser.forget_provider()
    browser.sign_in("s-ada")  # who has signed in there a moment ago is asked all the same
    assert browser.post("/glass", WANTED).status_code == 403
    back = browser.proved("s-ada", "/break-glass")
    assert (back.status_code, back.headers["location"]) == (303, "/break-glass")
    broken = browser.post("/glass", WANTED)
    assert broken.status_code == 201, broken.text
    assert browser.post(f"/glass/openings/{broken.json()['id']}/end", {}).status_code == 200


def test_a12_the_way_back_is_good_once(browser: Browser, hospital: NodeProvider) -> None:
    place = browser.at_provider("s-ada")
    cookies = dict(browser.client.cookies)
    assert browser.client.get(place).headers["location"] == "/"
    browser.client.cookies.update(cookies)
    assert browser.client.get(place).headers["location"] == "/sign-in?problem=again"


def test_a12_a_code_for_another_address_or_without_its_proof(
    browser: Browser, hospital: NodeProvider
) -> None:
    """A code alone is worth nothing: the provider wants PKCE's verifier, which never left us."""
    place = httpx.URL(browser.at_provider("s-ada"))
    form = {
        "grant_type": "authorization_code",
        "code": place.params["code"],
        "redirect_uri": f"{browser.served.url}{BEGIN}/callback",
        "code_verifier": "a" * 64,
    }
    stolen = httpx.post(
        f"{hospital.issuer}/token", data=form, auth=httpx.BasicAuth(CLIENT_ID, quoted(SECRET))
    )
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")


def quoted(secret: str) -> str:
    from urllib.parse import quote_plus

    return quote_plus(secret)


def test_signing_out_leads_there_and_ends_both_sessions(
    served: Served, browser: Browser, hospital: NodeProvider
) -> None:
    """OpenID Connect RP-Initiated Logout 1.0, without an ID token: the provider asks the person."""
    browser.sign_in("s-ada")
    assert browser.sign_out().status_code == 204
    assert browser.me() is None
    again = browser.sign_in("s-nobody-is-asked")
    assert again.headers["location"] == "/", (
        "the session there lives on, as that is how it is set up"
    )
    done = served.run("provider", "change", "hospital", "--end-session", "yes")
    assert done.returncode == 0, done.stderr
    assert served.run("provider", "test", "hospital").returncode == 0
    # The list of providers is read anew at each question.
    out = browser.sign_out()
    assert out.status_code == 200, out.text
    assert browser.me() is None
    page = browser.client.get(out.json()["address"])
    assert page.status_code == 200, page.text
    form = dict(re.findall(r'name="(xsrf)" value="([^"]+)"', page.text))
    action = re.findall(r'action="([^"]+)"', page.text)[0]
    back = browser.client.post(action, data={**form, "logout": "yes"})
    assert back.headers["location"] == f"{served.url}/sign-in?state=signed-out"
    asked = browser.begin()
    place = browser.client.get(str(asked.next_request.url) if asked.next_request else "")
    assert "/interaction/" in place.headers["location"], "the session there is over, too"


def test_must_show_the_provider_is_killed_while_a_reader_works(
    served: Served,
    browser: Browser,
    another: Callable[[], Browser],
    hospital: NodeProvider,
    same: dict[str, Any],
) -> None:
    assert browser.sign_in("s-ada").headers["location"] == "/"
    hospital.kill()

    def says_so() -> bool:
        place = another().begin().headers["location"]
        return place == "/sign-in?problem=away&at=connection"

    wait_until(says_so, 60, "the sign-in did not say that the provider is away")
    me = browser.me()
    assert me["name"] == "ada", "the session lives on"
    assert browser.client.get(f"{served.url}/dicomweb/studies").status_code in (200, 204)
    found = served.run("provider", "test", "hospital", "--json")
    assert found.returncode == 1
    assert '"connection"' in found.stdout
    # Nobody can be asked there who this is: an envelope opens, and what it opened is seen by others.
    wait_until(
        lambda: browser.post("/prove/provider", {"name": "hospital"}).status_code == 503,
        60,
        "a proof at the provider did not say that it is away",
    )
    envelope = served.run("user", "seal", "night", "--role", "radiologist").stdout.split()[-1]
    night = another()
    opened = night.post("/sign-in/password", {"login": "night", "password": envelope, "code": ""})
    assert opened.status_code == 200, opened.text
    broken = night.post("/glass", WANTED)
    assert broken.status_code == 201, broken.text
    link = served.run("login-link", "--role", "auditor").stdout
    token = re.findall(r"lwl_[\w-]{43}", link)[0]
    auditor = another()
    assert auditor.post("/sign-in/link", {"token": token}).status_code == 200
    queue = auditor.client.get(f"{served.url}/api/v1/glass/openings?which=all").json()["items"]
    assert {(each["by"], each["kind"]) for each in queue} >= {
        ("night", "seal"),
        ("night", "patient"),
    }
    hospital.keys = same["keys"] = node_keys()
    hospital.start()
    # Each process finds it again by itself: the page of the refusal has no location.
    wait_until(
        lambda: another().sign_in("s-ada").headers.get("location") == "/",
        60,
        "the provider was not found again",
    )


@pytest.mark.parametrize(
    "options",
    [{"lean": True}, {"secret": None}, {"alg": "ES256"}],
    ids=["claims-in-userinfo", "public-client", "es256"],
)
def test_other_kinds_of_providers(
    served: Served, browser: Browser, begun: Started, tmp_path: Path, options: dict[str, Any]
) -> None:
    trust(served, begun(**options), tmp_path, secret=options.get("secret", SECRET))
    assert browser.sign_in("s-ada").headers["location"] == "/"
    assert browser.me()["roles"] == ["radiologist"]


def test_a_wrong_secret(served: Served, browser: Browser, begun: Started, tmp_path: Path) -> None:
    trust(served, begun(), tmp_path, secret="not the secret")
    assert browser.sign_in("s-ada").headers["location"] == "/sign-in?problem=away&at=client"
    found = served.run("provider", "test", "hospital", "--json")
    assert found.returncode == 1
    assert '"client"' in found.stdout


def test_a_reader_of_the_provider_is_a_reader_here(
    served: Served, browser: Browser, hospital: NodeProvider
) -> None:
    browser.sign_in("s-ada")
    answer = browser.client.post(
        f"{served.url}/api/v1/jobs/none/retry", json={}, headers={"sec-fetch-site": "same-origin"}
    )
    assert answer.status_code == 403
