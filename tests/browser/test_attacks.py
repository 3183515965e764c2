"""What a page of another site can do with a signed-in browser (A10), and what an address can make the viewer
do (W13): Chromium, the real server, and listeners that write down what reaches them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from lightwell.domain.tenants.model import DEFAULT
from lightwell.testing.builders import a_study

Server = Any  # tests/browser/conftest.py
Watched = Any
SECONDS = 20_000  # milliseconds


class Listener:
    """Another site: serves one page, and keeps every request with its headers."""

    def __init__(self) -> None:
        self.page = ""
        self.heard: list[tuple[str, str, dict[str, str]]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.heard.append(
                    (self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
                )
                body = listener.page.encode()
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("access-control-allow-origin", "*")
                self.send_header("access-control-allow-headers", "*")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_POST = do_OPTIONS = do_HEAD = do_PROPFIND = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    @contextmanager
    def running(self) -> Iterator[Listener]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(10)


@pytest.fixture
def evil() -> Iterator[Listener]:
    with Listener().running() as listener:
        yield listener


# --- A10 -----------------------------------------------------------------------------------------------

WANTED = '{"login":"mallory","roles":["admin"]}'
FORMS = {
    "text/plain": f"<input name='{WANTED[:-1]},\"name\":\"' value='\"}}'>",
    "application/x-www-form-urlencoded": "<input name=login value=mallory><input name=roles value=admin>",
    "multipart/form-data": "<input name=login value=mallory><input name=roles value=admin>",
}
SCRIPT = """async ([url, body]) => {
  const said = []
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/json', ''])
    for (const mode of ['no-cors', 'cors']) {
      const headers = type ? {'content-type': type} : {}
      try {
        const answer = await fetch(url, {method: 'POST', mode, credentials: 'include', headers, body})
        said.push(`${mode} ${type} ${answer.type} ${answer.status}`)
      } catch (error) { said.push(`${mode} ${type} refused`) }
    }
  navigator.sendBeacon(url, body)
  return said
}"""


@pytest.mark.parametrize("place", ["127.0.0.1", "localhost"])
def test_a10_a_page_of_another_origin_changes_nothing_with_any_body(
    server: Server, chromium: Browser, evil: Listener, place: str
) -> None:
    """`127.0.0.1`: the same site on another port, so the cookie comes along; `localhost`: another site."""
    target = f"{server.url}/api/v1/people"
    before = server.json("/api/v1/people")
    context = chromium.new_context()
    statuses: list[int] = []
    try:
        server.sign_in(context, DEFAULT)
        context.on(
            "response",
            lambda answer: statuses.append(answer.status) if answer.url == target else None,
        )
        page = context.new_page()
        # The browser is signed in: its own page is answered.
        assert page.goto(f"{server.url}/api/v1/people").status == 200
        for kind, fields in FORMS.items():
            evil.page = f"<form id=f method=post action='{target}' enctype='{kind}'>{fields}</form>"
            page.goto(f"http://{place}:{evil.port}/form")
            with page.expect_navigation(timeout=SECONDS) as sent:
                page.evaluate("document.getElementById('f').submit()")
            answer = sent.value
            assert answer.status in (400, 401, 403), (kind, answer.status)
        evil.page = "<p>a page"
        page.goto(f"http://{place}:{evil.port}/script")
        said = page.evaluate(SCRIPT, [target, WANTED])
        assert len(said) == 8
        assert not [line for line in said if line.startswith("cors") and "refused" not in line], (
            said
        )
    finally:
        context.close()
    assert statuses[0] == 200
    assert len(statuses) > 4
    assert set(statuses[1:]) <= {400, 401, 403}, statuses
    assert server.json("/api/v1/people") == before


# --- W13 -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def w13_study(server: Server) -> str:
    study = a_study("W13-1").with_series("CT", instances=2, rows=64, columns=64)
    server.stow(study.each())
    return study.study_uid


def test_w13_no_address_of_the_viewer_sends_a_browser_with_its_credentials_elsewhere(
    server: Server,
    watched: Watched,
    open_context: Callable[..., Any],
    evil: Listener,
    w13_study: str,
) -> None:
    """CVE-2026-12473's class: a link that names another data source. Two listeners: one by its address, one
    through every place in a link where a viewer might look for it."""
    there = f"http://127.0.0.1:{evil.port}"
    evil.page = json.dumps({"studies": [], "servers": {"dicomWeb": [{"wadoRoot": there}]}})
    watched.server_gone = True  # addresses that are none are complained of
    page: Page = open_context(viewport={"width": 1280, "height": 800}).new_page()
    viewer = f"/viewer/{w13_study}"
    for path in (
        f"/viewer?url={there}/x", f"/viewer?dicomweb={there}/dicomweb", f"{viewer}?url={there}/x",
        f"{viewer}?dicomweb={there}", f"{viewer}?configUrl={there}/c.js&wadoRoot={there}",
        f"{viewer}#/{there}", f"{viewer}#url={there}/x", f"/#/{there}/x", f"/?next={there}/x",
        f"/sign-in?to={there}/x", f"/sign-in?next=//127.0.0.1:{evil.port}/x", f"//127.0.0.1:{evil.port}/x",
        f"/viewer/{there}/x", f"/?study={there}&StudyInstanceUIDs={there}", f"{viewer}?tenant={there}",
        f"{viewer}?token={there}&server={there}&root={there}&manifest={there}/m.json",
    ):  # fmt: skip
        page.goto(f"{server.url}{path}", wait_until="networkidle", timeout=SECONDS)
    # The listener can be heard: what would have come is what this one request is.
    heard = list(evil.heard)
    assert [each for each in heard if {"authorization", "cookie"} & set(each[2])] == []
    assert heard == [], "the viewer asked another server"
    assert page.request.get(f"{there}/alive").status == 200
    assert len(evil.heard) == 1
