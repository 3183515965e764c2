"""From the click to the first image: our viewer, and OHIF on Orthanc, over the same slow line.

    script/bench first-image [--rounds N]

A CT of 300 slices with 26 HU of noise, settled. Chromium draws in software, on a line of 30 Mbit/s and 40 ms
(its own emulation). The list is open and the viewer's code is in the cache of the browser; the clock starts
with the click, by the page's own clock. "Image" = a picture of at least 128 x 128 on the canvas, seen in the
canvas of both viewers in the same way. Screenshots are taken in a round of their own, which is not counted.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import shutil
import statistics
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from PIL import Image
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from bench import peers
from bench.objects import BOUNDARY, ct_slices, stow_body

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
OHIF = ROOT / ".tools" / "ohif"
SLICES = 300
MBIT, LATENCY_MS = 30, 40
SHOTS_MS = (100, 200, 300, 500, 1000)
REST_MS = 400  # of the pointer on the row, where it rests
WAIT_SECONDS = 60.0
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--disable-gpu-rasterization",
]  # fmt: skip

# Notes when a canvas first shows a picture that is not of one grey, by the page's own clock.
WATCH = """
(() => {
  const small = document.createElement('canvas');
  small.width = small.height = 24;
  const pen = small.getContext('2d', { willReadFrequently: true });
  const look = () => {
    for (const canvas of document.querySelectorAll('canvas.cornerstone-canvas, canvas.software-canvas')) {
      if (canvas.width < 128 || canvas.height < 128) continue;
      pen.drawImage(canvas, 0, 0, 24, 24);
      const { data } = pen.getImageData(0, 0, 24, 24);
      let [low, high] = [255, 0];
      for (let i = 0; i < data.length; i += 4) {
        low = Math.min(low, data[i]);
        high = Math.max(high, data[i]);
      }
      if (high - low > 60) { window.__image ??= performance.now(); return; }
    }
    requestAnimationFrame(look);
  };
  addEventListener('click', () => {
    window.__click = performance.now();
    window.__image = undefined;
    requestAnimationFrame(look);
  }, { capture: true });
})();
"""

STATE = """() => {
  const said = document.querySelector('.surface')?.dataset ?? {};
  const since = (at) => at === undefined ? null : Number(at) - window.__click;
  return {
    image: since(window.__image), first: since(said.firstImageAt),
    final: since(said.finalAt), coarse: since(said.coarseAt),
  };
}"""


def throttle(page: Page) -> CDPSession:
    """Put the page on the slow line."""
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    speed = MBIT * 1_000_000 / 8
    conditions = {"offline": False, "latency": LATENCY_MS}
    line.send(
        "Network.emulateNetworkConditions",
        {**conditions, "downloadThroughput": speed, "uploadThroughput": speed},
    )
    return line


class Film:
    """What was on the screen when: the browser's own screencast."""

    def __init__(self, line: CDPSession) -> None:
        self._line = line
        self._frames: list[tuple[float, bytes]] = []
        line.on("Page.screencastFrame", self._frame)
        line.send("Page.startScreencast", {"format": "png", "maxWidth": 960, "maxHeight": 600})

    def _frame(self, event: dict[str, Any]) -> None:
        self._frames.append(
            (event["metadata"]["timestamp"] * 1000, base64.b64decode(event["data"]))
        )
        self._line.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    def save(self, click_ms: float, name: str) -> None:
        """The picture that stood there at each of the moments after the click."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        for number, moment in enumerate(SHOTS_MS, 1):
            before = [data for at, data in self._frames if at <= click_ms + moment]
            if before:
                picture = Image.open(io.BytesIO(before[-1])).convert("RGB")
                target = PICTURES / f"first-image-{name}-{number}-{moment}ms.jpg"
                picture.save(target, quality=72, optimize=True)


def when(page: Page, wanted: str) -> dict[str, float | None]:
    """The times of a page as soon as `wanted` is among them; what is not known by then is None."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        state: dict[str, float | None] = page.evaluate(STATE)
        if state[wanted] is not None or time.monotonic() > deadline:
            return state
        page.wait_for_timeout(100)  # far apart: looking costs time, too


def our_round(
    browser: Browser, url: str, study: str, *, rest: bool, film: str | None = None
) -> dict[str, float | None]:
    """One opening in our viewer."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        peers.sign_in(context, url)
        context.add_init_script(WATCH)
        page = context.new_page()
        page.goto(url)
        row = page.locator(f'[data-study-uid="{study}"]')
        row.wait_for()
        page.wait_for_timeout(4000)  # the list is being read
        line = throttle(page)
        shots = Film(line) if film else None
        box = row.bounding_box()
        assert box is not None
        at = (box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
        page.mouse.move(*at)
        if rest:
            page.wait_for_timeout(REST_MS)
        page.mouse.click(*at)
        state = when(page, "coarse")
        state = when(page, "final")
        if shots and film:
            page.wait_for_timeout(1500)
            shots.save(page.evaluate("() => performance.timeOrigin + window.__click"), film)
        return state
    finally:
        context.close()


# --- OHIF on Orthanc ------------------------------------------------------------------------------

CONFIG = """window.config = {
  routerBasename: '/', extensions: [], modes: [], customizationService: {}, showStudyList: true,
  maxNumberOfWebWorkers: 2, showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false,
  showLoadingIndicator: true, strictZSpacingForVolumeViewport: true,
  investigationalUseDialog: { option: 'never' },
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 25 },
  defaultDataSourceName: 'orthanc',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'orthanc',
    configuration: {
      friendlyName: 'orthanc', name: 'orthanc', wadoUriRoot: location.origin + '/dicom-web',
      qidoRoot: location.origin + '/dicom-web', wadoRoot: location.origin + '/dicom-web',
      qidoSupportsIncludeField: false, imageRendering: 'wadors', thumbnailRendering: 'wadors',
      enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true,
      dicomUploadEnabled: false, omitQuotationForMultipartRequest: true,
      bulkDataURI: { enabled: true, relativeResolution: 'studies' }, singlepart: 'bulkdata,video,pdf',
    },
  }],
};"""
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
         ".wasm": "application/wasm", ".json": "application/json"}  # fmt: skip


def ohif_files() -> dict[str, bytes] | None:
    """The files of the package that the tests fetch; None when it is not there."""
    archives = sorted(OHIF.glob("ohif-app-*.tgz"))
    if not archives:
        return None
    files = {}
    with tarfile.open(archives[-1]) as package:
        for member in package:
            path = member.name.removeprefix("package/dist/")
            body = package.extractfile(member)
            if body and path != member.name and not path.startswith("ort/") and path[-4:] != ".map":
                files[f"/{path}"] = body.read()
    return files


@contextlib.contextmanager
def ohif(files: dict[str, bytes], orthanc_port: int) -> Iterator[str]:
    """OHIF and Orthanc's DICOMweb on one origin."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if path.startswith("/dicom-web"):
                    self._pass_on()
                elif path == "/app-config.js":
                    self._send("text/javascript", CONFIG.encode())
                else:
                    body = files.get(path, files["/index.html"])
                    suffix = Path(path).suffix if path in files else ".html"
                    self._send(TYPES.get(suffix, "application/octet-stream"), body, cache=True)

        def _pass_on(self) -> None:
            back = http.client.HTTPConnection("127.0.0.1", orthanc_port, timeout=60)
            accept = {"Accept": self.headers.get("Accept", "*/*")}
            back.request("GET", self.path, headers=accept)
            answer = back.getresponse()
            body = answer.read()
            back.close()
            self._send(answer.getheader("Content-Type", ""), body, status=answer.status)

        def _send(self, kind: str, body: bytes, *, status: int = 200, cache: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if cache:
                self.send_header("Cache-Control", "max-age=3600")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A browser that leaves resets its connections."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def ohif_round(
    browser: Browser, url: str, other: str, film: str | None = None
) -> dict[str, float | None]:
    """One opening in OHIF: its row is chosen, the click is the one on "Basic Viewer"."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        context.add_init_script(WATCH)
        context.add_init_script("localStorage.setItem('shownTours', '[\"basicViewerTour\"]')")
        page = context.new_page()
        # Another study first: the code of the viewer is then in the browser's cache.
        page.goto(f"{url}/viewer?StudyInstanceUIDs={other}")
        page.locator("canvas.cornerstone-canvas").first.wait_for(timeout=WAIT_SECONDS * 1000)
        page.wait_for_timeout(4000)
        page.goto(f"{url}/")
        row = page.locator("tr", has_text="B300").last
        row.wait_for(timeout=WAIT_SECONDS * 1000)
        row.click()
        start = page.get_by_text("Basic Viewer", exact=True)
        start.wait_for(timeout=WAIT_SECONDS * 1000)
        page.wait_for_timeout(2000)
        line = throttle(page)
        shots = Film(line) if film else None
        start.click()
        state = when(page, "image")
        if shots and film:
            page.wait_for_timeout(1500)
            shots.save(page.evaluate("() => performance.timeOrigin + window.__click"), film)
        return state
    finally:
        context.close()


# --- the measure ----------------------------------------------------------------------------------


def store(files: list[Path], url: str, folder: Path) -> None:
    """STOW them, a few at a time."""
    for start in range(0, len(files), 50):
        body = stow_body(files[start : start + 50], folder / "body")
        request = urllib.request.Request(
            url,
            data=body.read_bytes(),
            headers={
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
                "Accept": "application/dicom+json",
            },
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            answer.read()


def study_of(path: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID)


def median(rounds: list[dict[str, float | None]], name: str) -> float | None:
    found = [value for one in rounds if (value := one[name]) is not None]
    return round(statistics.median(found)) if found else None


def measure(folder: Path, _figures: object, rounds: int) -> dict[str, Any]:
    """Milliseconds from the click; a median over the rounds, and each round."""
    if CHROMIUM is None:
        raise SystemExit("first-image: no Chromium")
    files, small = ct_slices(folder / "ct", SLICES, 300), ct_slices(folder / "small", 3, 301)
    study, other = study_of(files[0]), study_of(small[0])
    found: dict[str, list[dict[str, float | None]]] = {
        "at once": [],
        "after a rest": [],
        "ohif": [],
    }
    viewer = ohif_files()
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(peers.ours(folder))
        store(files, f"http://127.0.0.1:{ours.http}/dicomweb/studies", folder)
        settle = [sys.executable, "-m", "lightwell.app.main", "settle", study]
        subprocess.run(
            [*settle, "--data", str(folder / "lightwell")], check=True, stdout=subprocess.DEVNULL
        )
        theirs = None
        if viewer:
            orthanc = stack.enter_context(peers.orthanc(folder))
            for part in (files, small):
                store(part, f"http://127.0.0.1:{orthanc.http}/dicom-web/studies", folder)
            theirs = stack.enter_context(ohif(viewer, orthanc.http))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        url = f"http://127.0.0.1:{ours.http}/"
        for number in range(rounds + 1):
            # Round 0 warms every program, and takes the pictures.
            film = number == 0
            one = our_round(browser, url, study, rest=False, film="ours" if film else None)
            two = our_round(browser, url, study, rest=True)
            three = None
            if theirs:
                three = ohif_round(browser, theirs, other, "ohif" if film else None)
            print(f"  round {number}: {one} | {two} | {three}", file=sys.stderr, flush=True)
            if not film:
                found["at once"].append(one)
                found["after a rest"].append(two)
                found["ohif"] += [three] if three else []
        browser.close()
    names = ("image", "final", "coarse")
    table = {who: {name: median(of, name) for name in names} for who, of in found.items() if of}
    print(
        "| ms after the click, 30 Mbit/s, 40 ms | first image | shown slice final | series coarse |"
    )
    print("|---|---|---|---|")
    for who, row in table.items():
        print(f"| {who} | {row['image']} | {row['final']} | {row['coarse']} |")
    return {"median": table, "rounds": found}
