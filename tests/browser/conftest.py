"""A running server and a real Chromium: what these tests see is what a user sees.

Every page is watched: an error in its console, an exception, a dialog or a request to another origin
fails the test it happened in. `LIGHTWELL_TEST_DRAWING=gl` draws by WebGL in all of them; else the viewer
decides, which on a machine without a graphics card is the other way.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from lightwell.domain.tenants.model import DEFAULT
from lightwell.gateways.http.identity import PLAIN_COOKIE
from lightwell.testing.builders import BuiltInstance
from lightwell.testing.keyring import KeyRing

START_SECONDS = 90.0
STOP_SECONDS = 90.0
SCREEN_SECONDS = 20.0  # until something on the screen is as it should be, on a busy machine
expect.set_options(timeout=SCREEN_SECONDS * 1000)
REPOSITORY = Path(__file__).resolve().parents[2]
STATIC = REPOSITORY / "src" / "lightwell" / "app" / "static"
CHROMIUM = next((p for n in ("chromium", "chromium-browser") if (p := shutil.which(n))), None)
DRAWING = os.environ.get("LIGHTWELL_TEST_DRAWING", "")
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    # WebGL without a graphics card.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Server:
    """`lightwell serve` as a child process, with the ports it keeps over restarts."""

    data: Path
    http: int = field(default_factory=free_port)
    dimse: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @cached_property
    def keys(self) -> KeyRing:
        """Who the tests are to the web door."""
        return KeyRing(self.run)

    def sign_in(self, context: BrowserContext, tenant: str, *, key_of: str = "") -> None:
        """Have a browser signed in at a tenant's addresses, and those of the default one at no prefix."""
        key = self.keys.bearer(key_of or tenant)
        paths = ("/api", "/dicomweb") if tenant == DEFAULT else (f"/t/{tenant}",)
        cookie = {"name": PLAIN_COOKIE, "value": key, "domain": "127.0.0.1", "httpOnly": True}
        context.add_cookies([{**cookie, "path": path} for path in paths])  # type: ignore[list-item]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def start(self) -> None:
        """Start and wait until every door is open. Series settle when a test says so, not in its midst."""
        command = ["serve", "--http", f"127.0.0.1:{self.http}", "--dimse", f"127.0.0.1:{self.dimse}",
                   "--workers", "1", "--settle-after", "86400"]  # fmt: skip
        self.data.parent.mkdir(exist_ok=True)
        with (self.data.parent / f"{self.data.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command(*command), stdout=log, stderr=log, env=_environment()
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not open its doors"
            time.sleep(0.1)  # another process: there is nothing to wait on

    def stop(self) -> None:
        """Stop in peace; killed only when it does not go."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def run(self, *arguments: str) -> str:
        """Output of `lightwell ARGUMENTS --data …`."""
        done = subprocess.run(
            self._command(*arguments),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=_environment(),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stow(self, instances: Iterable[BuiltInstance], tenant: str | None = None) -> None:
        """Store them all with one STOW-RS request."""
        boundary = secrets.token_hex(16)
        body = b"".join(
            b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n"
            % (boundary.encode(), built.part10)
            for built in instances
        )
        prefix = f"/t/{tenant}" if tenant else ""
        url = f"{self.url}{prefix}/dicomweb/studies"
        request = urllib.request.Request(
            url,
            data=body + b"--%s--\r\n" % boundary.encode(),
            headers={
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Accept": "application/dicom+json",
                **self.keys.headers(url),
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200, answer.read()

    def json(self, path: str) -> Any:
        """A JSON resource."""
        url = self.url + path
        request = urllib.request.Request(url, headers=self.keys.headers(url))
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def _ready(self) -> bool:
        with suppress(urllib.error.URLError, OSError):
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        return False

    def _command(self, *arguments: str) -> list[str]:
        command = [sys.executable, "-m", "lightwell.app.main", *arguments]
        return [*command, "--data", str(self.data)]


def _environment() -> dict[str, str]:
    """Ours, but compiled modules are kept: else each process compiles all of them again."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LIGHTWELL_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    kept.setdefault("PYTHONPYCACHEPREFIX", str(REPOSITORY / ".tools" / "pycache"))
    return kept


@pytest.fixture(scope="session")
def server(session_folder: Path) -> Iterator[Server]:
    """One server for all tests of this folder; each test brings studies of its own."""
    if not (STATIC / "index.html").exists():
        pytest.skip("the web app is not built: script/setup.py server")
    running = Server(session_folder / "browser" / "data")
    with ExitStack() as stack:
        stack.callback(running.stop)
        running.start()
        yield running


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The machine's Chromium, headless, drawing in software."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: install the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Watched:
    """What a page did that it should not have; empty unless something is wrong."""

    origin: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    #: Set by a test that takes the server away: the browser then reports failed requests.
    server_gone: bool = False
    #: Other sites that a test sends the browser to.
    others: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        """Listen to everything in this context."""
        context.on("request", self._on_request)
        context.on("weberror", lambda error: self.complaints.append(f"exception: {error.error}"))
        context.on("console", self._on_console)
        context.on("dialog", self._on_dialog)

    def _on_request(self, request: Any) -> None:
        self.requests.append(request.url)
        ours = (self.origin + "/", "data:", f"blob:{self.origin}/")
        if not request.url.startswith((*ours, *(f"{other}/" for other in self.others))):
            self.complaints.append(f"a request left the origin: {request.url}")

    def _on_console(self, message: Any) -> None:
        if message.type not in ("error", "warning"):
            return
        if self.server_gone and "Failed to load resource" in message.text:
            return
        if "GPU stall due to ReadPixels" in message.text:  # software drawing
            return
        self.complaints.append(f"console {message.type}: {message.text}")

    def _on_dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@pytest.fixture
def watched(server: Server) -> Iterator[Watched]:
    """What the pages of this test do; looked at when it ends."""
    watched = Watched(server.url)
    yield watched
    assert watched.complaints == []


@pytest.fixture
def open_context(
    chromium: Browser, watched: Watched, server: Server
) -> Iterator[Callable[..., BrowserContext]]:
    """Makes contexts that are watched, signed in at every tenant there is, and closes them."""
    with ExitStack() as stack:

        def opened(**options: Any) -> BrowserContext:
            context = chromium.new_context(**options)
            context.set_default_timeout(SCREEN_SECONDS * 1000)
            if DRAWING:
                draw_by(context, DRAWING)
            stack.callback(context.close)
            for tenant in server.json("/api/v1/tenants"):
                server.sign_in(context, tenant["name"])
            watched.watch(context)
            return context

        yield opened


def draw_by(context: BrowserContext, means: str) -> None:
    """Every page of a context draws by `gl` or on a `canvas`."""
    # A blank page has no storage.
    script = f"try {{ localStorage.setItem('lightwell.drawing', '{means}') }} catch {{}}"
    context.add_init_script(script)


@pytest.fixture
def desktop(open_context: Callable[..., BrowserContext]) -> Page:
    """A page on a desk."""
    return open_context(viewport={"width": 1440, "height": 900}).new_page()


@pytest.fixture
def phone(open_context: Callable[..., BrowserContext]) -> Page:
    """A page on a phone."""
    return open_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    ).new_page()


# --- looking at pictures --------------------------------------------------------------------------


class Screen:
    """One viewport of the viewer and what is drawn in it."""

    def __init__(self, page: Page, pane: int = 0) -> None:
        self.page = page
        self.pane = page.locator(f'[data-pane="{pane}"]')

    def wait(self) -> Screen:
        """Until an image is on the screen: its edges are labelled, or said to be unknown."""
        self.pane.locator(".edge").first.wait_for()
        return self

    def pixels(self) -> NDArray[np.int16]:
        """(height, width, 3) of the viewport in CSS pixels."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        picture = Image.open(io.BytesIO(self.pane.screenshot())).convert("RGB")
        return np.asarray(picture).astype(np.int16)

    def until(self, right: Callable[[NDArray[np.int16]], bool]) -> None:
        """Wait for pixels that are right; fails with what they were."""
        deadline = time.monotonic() + SCREEN_SECONDS
        while True:
            seen = self.pixels()
            if right(seen):
                return
            assert time.monotonic() < deadline, "the picture on the screen is not the expected one"

    def edges(self) -> dict[str, str]:
        """The letters at the edges."""
        return {
            str(edge.get_attribute("data-edge")): edge.inner_text()
            for edge in self.pane.locator("[data-edge]").all()
        }

    def corner(self, place: str) -> Locator:
        """`tl` patient, `tr` study, `bl` series, `br` image."""
        return self.pane.locator(f".corner-{place}")


def patch(pixels: NDArray[np.int16], dx: float, dy: float) -> NDArray[np.float64]:
    """Median colour (3,) of 5 x 5 pixels at an offset from the centre of the viewport."""
    height, width = pixels.shape[:2]
    x, y = round(width / 2 + dx), round(height / 2 + dy)
    assert 2 <= x < width - 2
    assert 2 <= y < height - 2
    cut = pixels[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3)
    median: NDArray[np.float64] = np.median(cut, axis=0)
    return median


def fit(pixels: NDArray[np.int16], rows: int, columns: int) -> float:
    """CSS pixels a column when an image of square pixels fits the viewport."""
    height, width = pixels.shape[:2]
    return min(float(width) / columns, float(height) / rows)
