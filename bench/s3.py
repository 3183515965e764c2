"""Our store on S3 (SeaweedFS on this machine) against our store in a folder; requests and what they cost.

    script/bench s3 [--rounds N] [--slices N] [--out FILE]

Two servers of ours in one run, alike but for the store; targets alternate, a ratio is the median of the
ratios paired by round. Then one series of N slices through a server on S3 that settles by itself: the
requests of each step by our own client's counters (`/metrics`), beside one object an instance.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from bench import peers, run
from bench.machine import cpu_seconds
from bench.objects import ct_slices
from bench.peers import Peer
from lightwell.backends.blobs import open_store
from lightwell.testing.scu import Scu
from lightwell.testing.seaweed import SeaweedFS
from lightwell.wire.dimse.items import RoleSelection
from lightwell.wire.dimse.proposal import number

SLICES = 160
INGEST = "C-STORE 512 kB CT, 4 associations"
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.3"
EXPLICIT_LE, IMPLICIT_LE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
FLOOR = 0.6
QUIET = 30  # seconds after which the counted series is settled: enough to read it before
# Public list prices of S3 Standard, USD for 1,000 requests, as of 2026-11-24. Deletions cost nothing.
PRICE_PUT, PRICE_GET, PRICES_OF = 0.005, 0.0004, "2026-11-24"
_METRIC = re.compile(r"^lightwell_(store_\w+|cache_\w+)\{[^}]*\} (\S+)$", re.MULTILINE)

Counts = dict[str, int]


@contextlib.contextmanager
def on_s3(folder: Path, server: SeaweedFS, prefix: str, *options: str) -> Iterator[Peer]:
    """A server of ours whose objects are in the bucket."""
    folder.mkdir(mode=0o755)
    environment = {**server.environment(), "LIGHTWELL_STORE_URL": server.store_url(prefix=prefix)}
    with peers.ours(folder, name="s3", options=options, environment=environment) as peer:
        yield peer


def c_get(peer: Peer, study: str) -> tuple[int, float]:
    """A whole study over one association in Explicit LE; instances and seconds."""
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", study

    def identifier(syntax: str) -> bytes:
        out = DicomBytesIO()
        out.is_little_endian, out.is_implicit_VR = True, syntax == IMPLICIT_LE
        write_dataset(out, wanted)
        return out.getvalue()

    got = 0

    def take(_message: object) -> int:
        nonlocal got
        got += 1
        return 0

    contexts = number([(STUDY_GET, (EXPLICIT_LE,)), (CT, (EXPLICIT_LE,))])
    roles = [RoleSelection(CT, scu=False, scp=True)]
    began = time.perf_counter()
    with Scu("127.0.0.1", peer.dimse, contexts, roles=roles, timeout=120) as scu:
        final = list(scu.get(STUDY_GET, identifier, take))[-1]
    if final.command.Status != 0:
        raise SystemExit(f"C-GET from {peer.name} ended with {final.command.Status:04X}")
    return got, time.perf_counter() - began


def settle(peer: Peer, study: str) -> None:
    """`lightwell settle` beside the running server."""
    command = [sys.executable, "-m", "lightwell.app.main", "settle", study, "--json"]
    said = subprocess.run(
        [*command, "--data", str(peer.data)], env=peer.environment, check=True, capture_output=True
    )
    if not json.loads(said.stdout)["series"]:
        raise SystemExit(f"{peer.name}: nothing was settled")


def frame_paths(peer: Peer, study: str) -> list[str]:
    base = f"http://127.0.0.1:{peer.http}/dicomweb/studies/{study}/instances?limit=1000"
    return [
        f"/dicomweb/studies/{study}/series/{i['0020000E']['Value'][0]}"
        f"/instances/{i['00080018']['Value'][0]}/frames/1"
        for i in run.get_json(base)
    ]


def study_of(files: list[Path]) -> str:
    from pydicom import dcmread

    return str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)


def rates(folder: Path, server: SeaweedFS, figures: run.Figures, rounds: int) -> None:
    """C-STORE, C-GET and frames; landed and settled."""
    (folder / "local").mkdir(mode=0o755)
    later = ("--settle-after", "604800")
    accept = "multipart/related; type=application/octet-stream; transfer-syntax=*"
    with (
        peers.ours(folder / "local", name="local", options=later) as local,
        on_s3(folder / "s3", server, "rates", *later) as remote,
    ):
        warm = ct_slices(folder / "warm", 40, 1)
        for target in (local, remote):
            run.send(target, warm, 4)
        for turn in range(rounds):
            files = ct_slices(folder / "in", SLICES, 300 + turn)
            study = study_of(files)
            order = (local, remote) if turn % 2 == 0 else (remote, local)
            for target in order:
                theirs = cpu_seconds(server.pid)
                sent = run.send(target, files, 4)
                figures.add(INGEST, target.name, sent.rate)
                of = figures.cpu.setdefault(INGEST, {})
                theirs = cpu_seconds(server.pid) - theirs
                of.setdefault(target.name, []).append(sent.cpu * 1000 / SLICES)
                if target is remote:
                    of.setdefault("SeaweedFS", []).append(theirs * 1000 / SLICES)
            shutil.rmtree(folder / "in")
            for state in ("landed", "settled, cold", "settled, again"):
                for target in order:
                    if state == "settled, cold":
                        settle(target, study)
                    got, seconds = c_get(target, study)
                    if got != SLICES:
                        raise SystemExit(f"{target.name}: {got} of {SLICES} came")
                    figures.add(f"C-GET, {state}", target.name, got / seconds)
                if state == "settled, cold":
                    continue
                for target in order:
                    paths = frame_paths(target, study)
                    rate = run.wrk(target.http, paths, 8, 3, folder, accept)
                    figures.add(f"frames, 8 connections, {state.split(',')[0]}", target.name, rate)


def counted(peer: Peer) -> Counts:
    """Requests and cache figures of all processes, once they have all told them."""
    time.sleep(5)  # beats come every two seconds, and are read every two
    with urllib.request.urlopen(f"http://127.0.0.1:{peer.http}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    totals: Counts = {}
    for name, value in _METRIC.findall(text):
        totals[name] = totals.get(name, 0) + int(float(value))
    return totals


def since(now: Counts, before: Counts) -> Counts:
    return {name: count - before.get(name, 0) for name, count in now.items()}


def bill(counts: Mapping[str, int]) -> dict[str, Any]:
    """Requests by price, and the price."""
    puts = counts.get("store_puts", 0) + counts.get("store_lists", 0)
    gets = counts.get("store_gets", 0) + counts.get("store_heads", 0)
    return {
        "put": puts,
        "get": gets,
        "delete": counts.get("store_deletes", 0),
        "usd": round(puts * PRICE_PUT / 1000 + gets * PRICE_GET / 1000, 6),
    }


def requests(folder: Path, server: SeaweedFS, slices: int) -> dict[str, Any]:
    """The steps of a series: stored, settled and cleared, read from its pack; another read as landed.

    The second, as whoever reads a study as landed holds its objects for the quarter of an hour of a lease.
    """
    files = ct_slices(folder / "series", slices, 99)
    study = study_of(files)
    environment = {**server.environment()}
    store = open_store(server.store_url(prefix="count"), folder / "look", environment=environment)

    def objects() -> dict[str, int]:
        found: dict[str, int] = {}
        for info in store.list(""):
            parts = info.key.split("/")
            if len(parts) > 2:  # a probe of the store's is of no kind
                found[parts[2]] = found.get(parts[2], 0) + 1
        return found

    steps: dict[str, Any] = {}
    options = ("--settle-after", str(QUIET), "--landed-grace", "0")
    with on_s3(folder / "count", server, "count", *options) as peer:
        at = counted(peer)

        def step(name: str) -> None:
            nonlocal at
            now = counted(peer)
            steps[name] = {**bill(since(now, at)), "counters": since(now, at)}
            at = now
            print(f"  {name}: {steps[name]}", file=sys.stderr, flush=True)

        run.send(peer, files, 4)
        shutil.rmtree(folder / "series")
        step("stored")
        deadline = time.monotonic() + 600
        while not objects().get("manifest") or objects().get("landed"):
            if time.monotonic() > deadline:
                raise SystemExit(f"not settled: {objects()}")
            time.sleep(2)
        step("settled, landed objects deleted")
        c_get(peer, study)
        step("read, settled, cold (C-GET of all)")
        c_get(peer, study)
        step("read, settled, again (C-GET of all)")
        steps["objects"] = {k: n for k, n in objects().items() if k != "journal"}
        files = ct_slices(folder / "other", slices, 98)
        run.send(peer, files, 4)
        at = counted(peer)
        c_get(peer, study_of(files))
        step("another, read as landed (C-GET of all)")
    one = {"store_puts": slices}
    steps["one object an instance: stored"] = bill(one)
    steps["one object an instance: read"] = bill({"store_gets": slices})
    return steps


def table(figures: run.Figures) -> list[dict[str, Any]]:
    rows = []
    for measure, of in figures.rates.items():
        ratio = run.paired(of["s3"], of["local"])
        rows.append(
            {
                "measure": measure,
                "s3": round(sorted(of["s3"])[len(of["s3"]) // 2], 1),
                "local": round(sorted(of["local"])[len(of["local"]) // 2], 1),
                "ratio": round(ratio, 2),
                "floor": FLOOR,
                "held": ratio >= FLOOR,
            }
        )
    return rows


def show(rows: list[dict[str, Any]], steps: dict[str, Any], slices: int) -> str:
    out = io.StringIO()
    print("| a second | S3 | local | ratio | floor |\n|---|---|---|---|---|", file=out)
    for row in rows:
        mark = "" if row["held"] else " (below the floor)"
        print(
            f"| {row['measure']} | {row['s3']} | {row['local']} | **{row['ratio']}x**{mark} | {FLOOR} |",
            file=out,
        )
    print(
        f"\nA series of {slices} slices; USD at S3 Standard's list prices of {PRICES_OF}"
        f" ({PRICE_PUT} for 1,000 PUT or LIST, {PRICE_GET} for 1,000 GET or HEAD):\n\n"
        "| step | PUT, LIST | GET, HEAD | DELETE | USD |\n|---|---|---|---|---|",
        file=out,
    )
    for name, found in steps.items():
        if name != "objects":
            print(
                f"| {name} | {found['put']} | {found['get']} | {found['delete']} | {found['usd']:.6f} |",
                file=out,
            )
    print(f"\nObjects left: {steps['objects']}", file=out)
    return out.getvalue()


def main(rounds: int, slices: int, target: Path | None) -> None:
    """Measure, print, keep."""
    folder = Path(tempfile.mkdtemp(prefix="lightwell-bench-s3-", dir="/tmp"))
    folder.chmod(0o755)
    figures = run.Figures()
    try:
        with SeaweedFS.running() as server:
            rates(folder, server, figures, rounds)
            steps = requests(folder, server, slices)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = table(figures)
    print(show(rows, steps, slices))
    cpu = {name: round(statistics.median(of), 1) for name, of in figures.cpu[INGEST].items()}
    print(f"Processor time of {INGEST}, ms an object: {cpu}; load {os.getloadavg()[0]:.1f}")
    out = target or run.RESULTS / f"{time.strftime('%Y-%m-%d')}-s3.json"
    out.parent.mkdir(exist_ok=True)
    body = {
        "command": "script/bench " + " ".join(sys.argv[1:]),
        "machine": {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "load": os.getloadavg(),
        },
        "prices": {"put_per_1000": PRICE_PUT, "get_per_1000": PRICE_GET, "of": PRICES_OF},
        "rows": rows,
        "rates": figures.rates,
        "cpu_ms_an_object": figures.cpu,
        "series": {"slices": slices, **steps},
    }
    out.write_text(json.dumps(body, indent=1) + "\n")
    print(f"kept in {out}", file=sys.stderr)
