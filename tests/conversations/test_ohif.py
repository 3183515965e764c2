"""OHIF, as it comes from npm, in a real Chromium on our DICOMweb (Must show 3, standards CHECK 11).

The viewer is some 50 MB: it is fetched with `npm pack` into `.tools/ohif` on the first run and never
committed. It is served on the origin through which it reaches us, as behind a hospital's proxy.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from lightwell.testing.builders import a_study
from lightwell.testing.corpus import Corpus
from lightwell.testing.served import Served

VERSION = "3.13.2"
SHA256 = "b189d3963bfc58e9394a9db8c7be75d07beb029ec211dbb126d47b62969dd3f1"
TOOLS = Path(__file__).resolve().parents[2] / ".tools" / "ohif"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]  # fmt: skip
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install chromium"),
]
TENANT = "ohif"
FETCH_SECONDS, SCREEN_SECONDS = 300, 30
SCREENSHOTS = Path("/tmp")
HEAD = "series/ct-head-phantom-philips"

CONFIG = """window.config = {
  name: 'lightwell-test', routerBasename: '/', extensions: [], modes: [], customizationService: {},
  showStudyList: true, maxNumberOfWebWorkers: 2, showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: false, showLoadingIndicator: true, strictZSpacingForVolumeViewport: true,
  investigationalUseDialog: { option: 'never' },
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 25 },
  defaultDataSourceName: 'own',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'own',
    configuration: {
      friendlyName: 'own', name: 'own', wadoUriRoot: location.origin + 'ROOT',
      qidoRoot: location.origin + 'ROOT', wadoRoot: location.origin + 'ROOT',
      qidoSupportsIncludeField: false, imageRendering: 'wadors', thumbnailRendering: 'wadors',
      enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true,
      dicomUploadEnabled: false, omitQuotationForMultipartRequest: true,
      bulkDataURI: { enabled: true, relativeResolution: 'studies' },
      singlepart: 'bulkdata,video,pdf',
    },
  }],
};"""


@pytest.fixture(scope="session")
def viewer() -> dict[str, bytes]:
    """OHIF's static files by their path, without what a CT does not need (segmentation models)."""
    archive = TOOLS / f"ohif-app-{VERSION}.tgz"
    if not archive.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip(f"OHIF is not at {archive}, and there is no npm to fetch it")
        TOOLS.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(
                [npm, "pack", f"@ohif/app@{VERSION}", "--pack-destination", str(TOOLS)],
                check=True, capture_output=True, timeout=FETCH_SECONDS,
            )  # fmt: skip
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"OHIF could not be fetched: {type(error).__name__}")
    raw = archive.read_bytes()
    assert hashlib.sha256(raw).hexdigest() == SHA256, f"{archive} is not the one we know: delete it"
    files = {}
    with tarfile.open(fileobj=io.BytesIO(raw)) as package:
        for member in package:
            path = member.name.removeprefix("package/dist/")
            if path == member.name or path.startswith("ort/") or path.endswith(".map"):
                continue
            body = package.extractfile(member)
            if body is not None:
                files[f"/{path}"] = body.read()
    return files


@dataclass(frozen=True)
class Asked:
    """One request of the viewer to us, and what we answered."""

    path: str
    query: dict[str, list[str]]
    accept: str
    status: int
    content_type: str
    body: bytes


@dataclass
class Origin:
    """The viewer's files and a way through to our DICOMweb, on one origin; every way is noted."""

    served: Served
    files: dict[str, bytes]
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> Origin:
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                origin.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Requests are kept in `asked`, not printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def root(self) -> str:
        return urlsplit(self.served.dicomweb(TENANT)).path

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(handler.path).path)
        if path.startswith(self.root):
            self._pass_on(handler)
        elif path == "/app-config.js":
            self._send(handler, 200, "text/javascript", CONFIG.replace("ROOT", self.root).encode())
        elif path in self.files:
            self._send(handler, 200, _type_of(path), self.files[path])
        else:  # a single-page application: every other address is the application's
            self._send(handler, 200, "text/html", self.files["/index.html"])

    def _pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name: value for name, value in handler.headers.items() if name != "Connection"}
        # As a proxy does that has signed its user in.
        headers |= self.served.keys.headers(handler.path)
        back = http.client.HTTPConnection("127.0.0.1", self.served.http_port, timeout=60)
        try:
            back.request("GET", handler.path, headers=headers)
            answer = back.getresponse()
            body, kind = answer.read(), answer.getheader("Content-Type", "")
            coding = answer.getheader("Content-Encoding")
        finally:
            back.close()
        parts = urlsplit(handler.path)
        self.asked.append(
            Asked(
                path=parts.path.removeprefix(self.root),
                query=parse_qs(parts.query, keep_blank_values=True),
                accept=handler.headers.get("Accept", ""),
                status=answer.status,
                content_type=kind,
                body=body,
            )
        )
        self._send(handler, answer.status, kind, body, coding)

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        kind: str,
        body: bytes,
        coding: str | None = None,
    ) -> None:
        try:
            handler.send_response(status)
            handler.send_header("Content-Type", kind)
            if coding:
                handler.send_header("Content-Encoding", coding)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the browser gave the request up: it does that when the user moves on


def _type_of(path: str) -> str:
    known = {
        ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
        ".wasm": "application/wasm", ".json": "application/json", ".png": "image/png",
    }  # fmt: skip
    return known.get(Path(path).suffix, "application/octet-stream")


@dataclass(frozen=True)
class Case:
    """What is stored: a real CT, an earlier study of the same patient, and other people's studies."""

    ct: str
    patient: str
    prior: str
    strangers: frozenset[str]


@pytest.fixture(scope="module")
def case(served: Served, corpus: Corpus) -> Case:
    served.register(tenants={TENANT: []})
    head = [one for one in corpus.objects if one.folder == HEAD]
    study = max({one.study_uid for one in head}, key=[one.study_uid for one in head].count)
    head = [one for one in head if one.study_uid == study]
    patient = head[0].patient_id
    assert patient
    prior = a_study(patient=patient, name=head[0].identity[0]).with_series("CT", instances=2)
    others = [
        a_study(patient=f"{patient}{n}", name="Someone^Else").with_series("CT", instances=1)
        for n in range(3)
    ]
    served.stow([one.file.path.read_bytes() for one in head], TENANT)
    for builder in (prior, *others):
        served.stow([one.part10 for one in builder.objects()], TENANT)
    return Case(study, patient, prior.study_uid, frozenset(one.study_uid for one in others))


@pytest.fixture(scope="module")
def origin(served: Served, viewer: dict[str, bytes]) -> Iterator[Origin]:
    with Origin(served, viewer) as made:
        yield made


@pytest.fixture
def page(origin: Origin) -> Iterator[Page]:
    origin.asked.clear()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        # Its tour would lie over the picture.
        context.add_init_script("localStorage.setItem('shownTours', '[\"basicViewerTour\"]')")
        opened = context.new_page()
        opened.set_default_timeout(SCREEN_SECONDS * 1000)
        yield opened
        browser.close()


def wait_for(page: Page, shown: Callable[[], bool]) -> None:
    """Look every half second until it is shown; fails after a while."""
    for _ in range(2 * SCREEN_SECONDS):
        if shown():
            return
        page.wait_for_timeout(500)
    pytest.fail("the picture did not come")


def studies_in(asked: Asked) -> set[str]:
    body = json.loads(asked.body) if asked.body else []
    return {study["0020000D"]["Value"][0] for study in body}


def test_the_study_list(origin: Origin, page: Page, case: Case) -> None:
    page.goto(f"{origin.url}/")
    try:
        page.get_by_text("1A TRAUMA/PLAIN HEAD DM").wait_for()
        page.get_by_text("1-5 of 5").wait_for()
    finally:
        page.screenshot(path=SCREENSHOTS / "lightwell-ohif-list.png")
    lists = [one for one in origin.asked if one.path == "/studies"]
    assert lists
    assert {one.status for one in lists} == {200}
    assert studies_in(lists[0]) == {case.ct, case.prior} | case.strangers


def test_a_ct_is_on_the_screen_and_its_priors_are_of_this_patient(
    origin: Origin, page: Page, case: Case
) -> None:
    page.goto(f"{origin.url}/viewer?StudyInstanceUIDs={case.ct}")
    canvas = page.locator("canvas.cornerstone-canvas").first
    canvas.wait_for()

    def bright() -> float:
        """The part of the picture's middle, where no text is, that is white: bone, at W 80."""
        picture = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("L"))
        height, width = picture.shape
        middle = picture[height // 8 : -height // 8, width // 8 : -width // 8]
        return float((middle > 200).mean())

    wait_for(page, lambda: bright() > 0.001)
    canvas.hover()
    for _ in range(14):  # from the head rest up to the middle of the skull
        page.mouse.wheel(0, 120)
        page.wait_for_timeout(50)
    try:
        wait_for(page, lambda: bright() > 0.03)
    finally:
        page.screenshot(path=SCREENSHOTS / "lightwell-ohif-ct.png")

    failed = [(one.path, one.status) for one in origin.asked if one.status >= 400]
    assert failed == []
    frames = [one for one in origin.asked if "/frames/" in one.path]
    assert frames
    assert all("multipart/related" in one.content_type for one in frames)

    priors = [one for one in origin.asked if one.path == "/studies" and "00100020" in one.query]
    assert priors, sorted({f"{one.path}?{sorted(one.query)}" for one in origin.asked})
    for one in priors:
        assert one.query["00100020"] == [case.patient]
        assert studies_in(one) == {case.ct, case.prior}
