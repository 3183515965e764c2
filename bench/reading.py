"""Reading larger things over the slow line: a whole series, a radiograph, 2,000 slices, a film, many frames.

    script/bench reading [--rounds N]

The same browser, line and clock as in bench/first_image.py. Nothing is compared with a peer here: each figure
stands beside the limit that was set for it, and the link itself is the peer of the whole series.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from bench import peers
from bench.first_image import CHROMIUM, FLAGS, MBIT, REST_MS, WATCH, study_of, throttle, when
from bench.large import push
from bench.objects import written
from bench.peers import Peer
from lightwell.testing.builders import BuiltInstance, a_study
from lightwell.testing.phantoms import Case, cr_chest, ct_thorax, us_cine

SCROLL_SECONDS = 6
FILM_SECONDS = 4
QUIET_MS = 700  # without an answer: the whole series is here
RANDOM_FRAMES = 400
HTJ2K = "image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202"

# Counts the images that stood on the screen one after another, and keeps the size of every answer.
COUNT = """
(() => {
  performance.setResourceTimingBufferSize(20000);
  window.__drawn = 0;
  let before;
  const look = () => {
    const shown = document.querySelector('.surface')?.dataset.shown;
    if (shown !== before) window.__drawn += 1;
    before = shown;
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})();
"""
TRAFFIC = """() => {
  const got = performance.getEntriesByType('resource').filter((e) => e.responseEnd > window.__click);
  return {
    bytes: got.reduce((sum, e) => sum + e.encodedBodySize, 0), count: got.length,
    last: Math.max(0, ...got.map((e) => e.responseEnd)) - window.__click,
    quiet: performance.now() - Math.max(0, ...got.map((e) => e.responseEnd)),
  };
}"""
SCROLL = """async (seconds) => {
  const slider = document.querySelector('input.slider');
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
  const end = performance.now() + seconds * 1000;
  const began = performance.now();
  window.__drawn = 0;
  for (let at = 1, step = 1; performance.now() < end; at += step) {
    if (at >= Number(slider.max)) step = -1;
    set.call(slider, String(at));
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    await new Promise(requestAnimationFrame);
  }
  return window.__drawn / ((performance.now() - began) / 1000);
}"""


@contextlib.contextmanager
def opened(browser: Browser, url: str, study: str, *, rest: bool = True) -> Iterator[Page]:
    """The viewer on a study over the slow line, from the click on."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        peers.sign_in(context, url)
        context.add_init_script(WATCH)
        context.add_init_script(COUNT)
        page = context.new_page()
        page.goto(url)
        row = page.locator(f'[data-study-uid="{study}"]')
        row.wait_for()
        page.wait_for_timeout(4000)
        throttle(page)
        box = row.bounding_box()
        assert box is not None
        at = (box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
        page.mouse.move(*at)
        if rest:
            page.wait_for_timeout(REST_MS)
        page.mouse.click(*at)
        yield page
    finally:
        context.close()


def whole_series(page: Page) -> dict[str, float]:
    """Milliseconds until nothing more comes, and what the bare link would take for as many bytes."""
    when(page, "final")
    while (seen := page.evaluate(TRAFFIC))["quiet"] < QUIET_MS:
        page.wait_for_timeout(200)
    link = seen["bytes"] * 8 / (MBIT * 1000)
    return {
        "whole": seen["last"],
        "link": link,
        "ratio": seen["last"] / link,
        "MB": seen["bytes"] / 1e6,
    }


def scrolled(page: Page) -> dict[str, float]:
    """Images drawn a second while one scrolls on and on, and the memory of the browser afterwards."""
    when(page, "coarse")
    rate = page.evaluate(SCROLL, SCROLL_SECONDS)
    return {"images a second": rate, "memory MB": memory_of_chromium()}


def played(page: Page) -> dict[str, float | None]:
    """The film from the moment it can be played: how many images a second it shows."""
    state = when(page, "coarse")
    page.keyboard.press("c")
    page.wait_for_timeout(300)
    page.evaluate("() => { window.__drawn = 0; window.__from = performance.now(); }")
    page.wait_for_timeout(FILM_SECONDS * 1000)
    rate = page.evaluate("() => window.__drawn * 1000 / (performance.now() - window.__from)")
    return {"first": state["image"], "playable": state["coarse"], "images a second": rate}


def memory_of_chromium() -> float:
    """Proportional set size of all our renderers, MB."""
    total = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if b"--type=renderer" in (entry / "cmdline").read_bytes():
                for line in (entry / "smaps_rollup").read_text().splitlines():
                    total += int(line.split()[1]) if line.startswith("Pss:") else 0
    return total / 1000


def random_frames(peer: Peer, path: str, count: int) -> dict[str, float]:
    """Milliseconds for a frame of a large object at random, its pack in the page cache or not.

    Cold: the pages of the pack are given back to the disk before, and the frames are asked for once.
    """
    picks = random.Random(7).sample(range(1, count + 1), RANDOM_FRAMES)
    packs = [
        p for p in (peer.data / "blobs").rglob("*") if p.is_file() and p.stat().st_size > 1 << 20
    ]
    found = {}
    for name in ("cold", "warm"):
        if name == "cold":
            for pack in packs:
                with pack.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        line = http.client.HTTPConnection("127.0.0.1", peer.http, timeout=60)
        spent = []
        for number in picks:
            began = time.perf_counter()
            line.request("GET", f"/dicomweb{path}/frames/{number}", headers={"Accept": HTJ2K})
            answer = line.getresponse()
            answer.read()
            spent.append(1000 * (time.perf_counter() - began))
            if answer.status != 200:
                raise SystemExit(f"frame {number}: {answer.status}")
        line.close()
        found[name] = statistics.quantiles(spent, n=100)[94]
    return found


def settled(peer: Peer, folder: Path, objects: Iterable[BuiltInstance]) -> str:
    """Store a study by C-STORE and settle it; its UID."""
    files = written(folder, objects)
    push(peer, files, preload=False)
    study = study_of(files[0])
    for path in files:
        path.unlink()
    command = [
        sys.executable,
        "-m",
        "lightwell.app.main",
        "settle",
        study,
        "--data",
        str(peer.data),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return study


def many_frames(count: int) -> Iterator[BuiltInstance]:
    """One object of so many small grey frames."""
    yield from (
        a_study(seed=99).with_series("XA", instances=1, rows=128, columns=128, frames=count).each()
    )


def medians(rounds: list[dict[str, Any]]) -> dict[str, float]:
    return {
        name: round(statistics.median(v for one in rounds if (v := one[name]) is not None), 2)
        for name in rounds[0]
    }


def measure(folder: Path, _figures: object, rounds: int) -> dict[str, Any]:
    """Every case, a median over the rounds; the first round of each warms and is not counted."""
    if CHROMIUM is None:
        raise SystemExit("reading: no Chromium")
    cases: list[tuple[str, Callable[[], Iterable[BuiltInstance]], Callable[[Page], dict[str, Any]]]] = [
        ("CT, 300 slices, whole", lambda: ct_thorax(Case(seed=1, patient_id="R1"), slices=300), whole_series),
        ("radiograph of 6 MB", lambda: cr_chest(Case(seed=2, patient_id="R2"), rows=1760, columns=1704),
         lambda page: when(page, "final")),
        ("ultrasound, 512 frames", lambda: us_cine(Case(seed=3, patient_id="R3"), frames=512), played),
        ("CT, 2,000 slices, scrolling", lambda: ct_thorax(Case(seed=4, patient_id="R4"), slices=2000),
         scrolled),
    ]  # fmt: skip
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(peers.ours(folder))
        url = f"http://127.0.0.1:{peer.http}/"
        study = settled(peer, folder / "many", many_frames(10_000))
        root = f"http://127.0.0.1:{peer.http}/dicomweb/studies/{study}"
        line = http.client.HTTPConnection("127.0.0.1", peer.http, timeout=60)
        line.request("GET", f"{root}/instances")
        (one,) = json.loads(line.getresponse().read())
        series, sop = (one[tag]["Value"][0] for tag in ("0020000E", "00080018"))
        path = f"/studies/{study}/series/{series}/instances/{sop}"
        times = [random_frames(peer, path, 10_000) for _ in range(rounds)]
        show(found, "random frame of 10,000, p95 ms", medians(times))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for number, (name, objects, read) in enumerate(cases):
            study = settled(peer, folder / f"case{number}", objects())
            results = []
            for turn in range(rounds + 1):
                with opened(browser, url, study) as page:
                    result = read(page)
                print(f"  {name}: {result}", file=sys.stderr, flush=True)
                if turn:
                    results.append(result)
            show(found, name, medians(results))
        browser.close()
    return found


def show(found: dict[str, Any], name: str, result: dict[str, float]) -> None:
    found[name] = result
    print(f"| {name} | " + ", ".join(f"{key} {value:g}" for key, value in result.items()) + " |")
