"""All measures of the table in README, as ratios from one run.

    script/bench [ingest|stow|frames|settled|qido|growth|tenants|stored|first-image|reading|policy|identity …]
                 [--rounds N] [--large] [--out FILE]
    script/bench s3 [--rounds N] [--slices N]   our store on S3 against our local one: bench/s3.py
    script/bench equal-time [--out FILE]        whether time tells what answers do not: bench/equal_time.py

Targets alternate and the order is reversed each round; a ratio is the median of the ratios paired by
round. Prints a table; keeps everything as JSON under bench/results/.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import first_image, identity, peers, policy, reading
from bench.machine import cpu_seconds
from bench.objects import BOUNDARY, ct_slices, small_objects, stow_body, written
from bench.peers import NODELAY, Peer
from lightwell.testing.dimse_house import keys
from lightwell.testing.phantoms import Case, ct_thorax
from lightwell.testing.scu import STUDY_ROOT_GET, Scu
from lightwell.testing.sender import read_part10
from lightwell.wire.dimse.items import RoleSelection
from lightwell.wire.dimse.proposal import number as numbered
from lightwell.wire.dimse.syntaxes import EXPLICIT_LE

RESULTS = Path(__file__).parent / "results"
# What came is not packed while the next is measured: what that costs is a measure of its own (`settled`).
LATER = {"LIGHTWELL_SETTLE_AFTER": "86400"}
CT_ROUND, SMALL_ROUND, STOW_BODIES, STOW_OBJECTS, WARM = 320, 800, 3, 100, 120


@dataclass
class Figures:
    """Raw figures: measure -> target -> one value a round."""

    rates: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    cpu: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, measure: str, target: str, rate: float, cpu_per_gb: float | None = None) -> None:
        self.rates.setdefault(measure, {}).setdefault(target, []).append(rate)
        if cpu_per_gb is not None:
            self.cpu.setdefault(measure, {}).setdefault(target, []).append(cpu_per_gb)
        print(f"  {measure}: {target} {rate:.0f}/s", file=sys.stderr, flush=True)


def paired(ours: list[float], theirs: list[float]) -> float:
    """Median of the ratios by round."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=False))


@dataclass(frozen=True)
class Sent:
    """How a transfer went, start-up of the sender not counted."""

    rate: float  # objects a second
    cpu: float  # seconds of processor time that the peer took


def send(peer: Peer, files: list[Path], associations: int) -> Sent:
    """Send files over so many associations. Any failure ends the bench."""
    sender = subprocess.Popen(
        [sys.executable, "-m", "lightwell.testing.sender", "127.0.0.1", str(peer.dimse),
         *map(str, files), "--aec", peer.aet, "--associations", str(associations),
         "--processes", str(associations), "--preload", "--announce", "--json"],
        stdout=subprocess.PIPE, env=NODELAY,
    )  # fmt: skip
    assert sender.stdout is not None
    ready = sender.stdout.readline()
    before = cpu_seconds(*peer.roots)
    out, _ = sender.communicate()
    cpu = cpu_seconds(*peer.roots) - before
    report = json.loads(out) if ready == b"ready\n" and out else {"stored": 0}
    if report["stored"] != len(files):
        raise SystemExit(f"{peer.name} stored {report['stored']} of {len(files)}: {report}")
    return Sent(len(files) / float(report["seconds"]), cpu)


@contextlib.contextmanager
def postgres15() -> Iterator[str | None]:
    """A PostgreSQL of Debian's for Orthanc's index, in a folder of its own; None when not installed."""
    binaries = Path("/usr/lib/postgresql/15/bin")
    if not binaries.exists() or os.geteuid() != 0:
        yield None
        return
    home = Path(tempfile.mkdtemp(prefix="lightwell-bench-pg-", dir="/tmp"))
    shutil.chown(home, "postgres", "postgres")
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    subprocess.run(
        [*as_user, binaries / "initdb", "-D", home / "db", "-A", "trust", "-U", "orthanc"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    server = subprocess.Popen(
        [*as_user, binaries / "postgres", "-D", home / "db", "-k", home, "-h", ""],
        stderr=(home / "log").open("wb"),
    )
    try:
        for _ in range(100):
            made = subprocess.run(
                [binaries / "createdb", "-h", home, "-U", "orthanc", "orthanc"], capture_output=True
            )
            if made.returncode == 0 or b"already exists" in made.stderr:
                break
            time.sleep(0.1)
        yield f"host={home} user=orthanc dbname=orthanc"
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(home, ignore_errors=True)


def ingest(folder: Path, figures: Figures, rounds: int) -> None:
    """C-STORE: CT at 1 and 4 associations, small objects at 4."""
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(postgres15())
        targets = [
            stack.enter_context(peers.ours(folder, environment=LATER)),
            stack.enter_context(peers.orthanc(folder)),
            stack.enter_context(peers.storescp(folder)),
        ]
        if postgres and (Path(peers.ORTHANC_PLUGINS) / "libOrthancPostgreSQLIndex.so").exists():
            targets.append(stack.enter_context(peers.orthanc(folder, postgres=postgres)))
        for seed, make in ((1, ct_slices), (2, small_objects)):  # warm, uncounted, all alike
            files = make(folder / "warm", WARM, seed)
            for target in targets:
                send(target, files, 4)
        seed = 100
        for number in range(rounds):
            order = targets if number % 2 == 0 else targets[::-1]
            for measure, make, count, associations in (
                ("C-STORE 512 kB CT, 4 associations", ct_slices, CT_ROUND, 4),
                ("C-STORE 512 kB CT, 1 association", ct_slices, CT_ROUND // 2, 1),
                ("C-STORE 1-39 kB, 4 associations", small_objects, SMALL_ROUND, 4),
            ):
                seed += 1
                files = make(folder / f"in{seed}", count, seed)
                size = sum(read_part10(path).length for path in files) / 1e9
                for target in order:
                    sent = send(target, files, associations)
                    figures.add(measure, target.name, sent.rate, sent.cpu / size)
                # What was sent stays until the end: a file system that passes over lately deleted inodes
                # would slow down whoever makes a file next.


def post(url: str, bodies: list[Path], connections: int) -> float:
    """Seconds to POST the bodies over so many curl processes."""
    began, running = time.perf_counter(), []
    for lane in range(connections):
        command: list[str] = ["curl", "-s", "-f"]
        for number, body in enumerate(bodies[lane::connections]):
            if number:
                command += ["--next", "-s", "-f"]
            command += [
                "-H", f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}',
                "-H", "Accept: application/dicom+json", "-H", "Expect:", "-X", "POST", "-T", str(body), url,
            ]  # fmt: skip
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    codes = [process.wait() for process in running]  # every one, before any is judged
    if any(codes):
        raise SystemExit(f"POST to {url} failed")
    return time.perf_counter() - began


def stow(folder: Path, figures: Figures, rounds: int) -> None:
    """STOW-RS: 100 objects a request, 3 connections."""
    with peers.ours(folder, environment=LATER) as a, peers.orthanc(folder) as b:
        roots = {a.name: "/dicomweb/studies", b.name: "/dicom-web/studies"}
        for number in range(rounds):
            bodies, size = [], 0.0
            for body in range(STOW_BODIES):
                seed = 9000 + number * 10 + body
                files = ct_slices(folder / f"st{seed}", STOW_OBJECTS, seed)
                bodies.append(stow_body(files, folder / f"body{body}"))
                size += bodies[-1].stat().st_size / 1e9
            for target in (a, b) if number % 2 == 0 else (b, a):
                before = cpu_seconds(*target.roots)
                seconds = post(f"http://127.0.0.1:{target.http}{roots[target.name]}", bodies, 3)
                spent = cpu_seconds(*target.roots) - before
                figures.add(
                    "STOW 100 objects a request, 3 connections",
                    target.name,
                    STOW_BODIES * STOW_OBJECTS / seconds,
                    spent / size,
                )


def wrk(
    port: int, paths: list[str], connections: int, seconds: int, folder: Path, accept: str
) -> float:
    """Requests a second; anything but 200 ends the bench."""
    script = folder / "wrk.lua"
    listed = ",".join(f'"{path}"' for path in paths)
    said = f', ["Authorization"]="Bearer {peers.BEARERS[port]}"' if port in peers.BEARERS else ""
    script.write_text(
        f"local p = {{{listed}}}; local i = math.random(#p)\n"
        "request = function() i = i % #p + 1;"
        f' return wrk.format("GET", p[i], {{["Accept"]="{accept}"{said}}}) end\n'
    )
    out = subprocess.run(
        ["wrk", "-t1", "--latency", f"-c{connections}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    late = [line.split()[1] for line in out.splitlines() if line.strip().startswith("99%")]
    print(f"    p99 {late[0] if late else '-'}", file=sys.stderr)
    if "Non-2xx" in out:
        raise SystemExit(f"wrk met failures on {port}: {out}")
    return float(
        next(line.split()[1] for line in out.splitlines() if line.startswith("Requests/sec"))
    )


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def frames(folder: Path, figures: Figures, rounds: int) -> None:
    """512 kB frames over 8 connections, under a lease."""
    files = ct_slices(folder / "fr", 120, 77)
    plain = folder / "plain"
    plain.mkdir()
    with (
        peers.ours(folder, environment=LATER) as a,
        peers.orthanc(folder) as b,
        peers.nginx(folder, plain) as c,
    ):
        for target in (a, b):
            send(target, files, 4)
        study = a_study_of(a)
        instances = get_json(
            f"http://127.0.0.1:{a.http}/dicomweb/studies/{study}/instances?limit=1000"
        )
        uids = [(i["0020000E"]["Value"][0], i["00080018"]["Value"][0]) for i in instances]
        paths = [
            f"/studies/{study}/series/{series}/instances/{sop}/frames/1" for series, sop in uids
        ]
        ids = get_json(f"http://127.0.0.1:{b.http}/instances")
        for number, path in enumerate(files):
            (plain / f"{number}.bin").write_bytes(read_part10(path).data_set()[-524288:])
        accept = "multipart/related; type=application/octet-stream; transfer-syntax=*"
        lanes: list[tuple[str, Peer, list[str], str]] = [
            ("lightwell", a, ["/dicomweb" + p for p in paths], accept),
            ("orthanc dicom-web", b, ["/dicom-web" + p for p in paths], accept),
            ("orthanc file", b, [f"/instances/{i}/file" for i in ids], "*/*"),
            ("nginx", c, [f"/{n}.bin" for n in range(len(files))], "*/*"),
        ]
        for _, target, urls, kind in lanes:
            wrk(target.http, urls, 8, 1, folder, kind)
        for number in range(rounds):
            for name, target, urls, kind in lanes if number % 2 == 0 else lanes[::-1]:
                before = cpu_seconds(*target.roots)
                rate = wrk(target.http, urls, 8, 3, folder, kind)
                spent = cpu_seconds(*target.roots) - before
                figures.add(
                    "frames 512 kB, 8 connections", name, rate, spent / (rate * 3 * 524288 / 1e9)
                )


def settled(folder: Path, figures: Figures, rounds: int) -> None:
    """From packs: metadata of 1,000 instances, frames as they lie and as they arrived."""
    images, many = ct_slices(folder / "fr", 400, 78), folder / "many"
    headers = written(many, ct_thorax(Case(seed=79, patient_id="META"), slices=1000, matrix=32))
    plain = folder / "plain"
    plain.mkdir()
    with peers.ours(folder) as a, peers.orthanc(folder) as b, peers.nginx(folder, plain) as c:
        for target in (a, b):
            send(target, images + headers, 4)
        retrievals(a, images, "landed", figures, rounds)
        subprocess.run(
            [sys.executable, "-m", "lightwell.app.main", "settle", "--data", str(folder / "lightwell")],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        series = {path: sop_paths(a, path) for path in (images[0], headers[0])}
        paths = [f"{path}/frames/1" for path in series[images[0]]]
        of_meta = series[headers[0]][0].rpartition("/instances/")[0] + "/metadata"
        metadata_times(a, b, of_meta, figures, rounds)
        retrievals(a, images, "packed", figures, rounds)
        native = "multipart/related; type=application/octet-stream; transfer-syntax=*"
        coded = "image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202"
        sizes = 0
        for number, path in enumerate(paths):
            body = fetch(f"http://127.0.0.1:{a.http}/dicomweb{path}", coded)
            (plain / f"{number}.jphc").write_bytes(body)
            (plain / f"{number}.bin").write_bytes(read_part10(images[number]).data_set()[-524288:])
            sizes += len(body)
        print(f"  HTJ2K frames: {sizes / len(paths) / 1e3:.0f} kB each", file=sys.stderr)
        lanes: list[tuple[str, str, Peer, list[str], str]] = [
            ("HTJ2K", "lightwell", a, ["/dicomweb" + p for p in paths], coded),
            ("HTJ2K", "nginx", c, [f"/{n}.jphc" for n in range(len(paths))], "*/*"),
            ("native", "lightwell", a, ["/dicomweb" + p for p in paths], native),
            ("native", "lightwell, 60 frames", a, ["/dicomweb" + p for p in paths[:60]], native),
            ("native", "orthanc dicom-web", b, ["/dicom-web" + p for p in paths], native),
            ("native", "nginx", c, [f"/{n}.bin" for n in range(len(paths))], "*/*"),
        ]
        for _, _, target, urls, kind in lanes:
            wrk(target.http, urls, 8, 2, folder, kind)
        for number in range(rounds):
            for what, name, target, urls, kind in lanes if number % 2 == 0 else lanes[::-1]:
                rate = wrk(target.http, urls, 8, 3, folder, kind)
                figures.add(f"frames from packs, {what}, 8 connections", name, rate)
                if name == "orthanc dicom-web":  # has no other form: the same images
                    figures.add("frames from packs, HTJ2K, 8 connections", name, rate)


def retrievals(peer: Peer, files: list[Path], name: str, figures: Figures, rounds: int) -> None:
    """C-GET of a series by a peer that takes Explicit VR Little Endian; objects a second."""
    study = sop_paths(peer, files[0])[0].split("/")[2]
    sop_class = read_part10(files[0]).sop_class
    contexts = numbered([(STUDY_ROOT_GET, (EXPLICIT_LE,)), (sop_class, (EXPLICIT_LE,))])
    roles = [RoleSelection(sop_class, scu=False, scp=True)]
    element = {"StudyInstanceUID": study, "QueryRetrieveLevel": "STUDY"}
    for turn in range(rounds + 1):  # the first warms, uncounted
        with Scu("127.0.0.1", peer.dimse, contexts, called_ae=peer.aet, roles=roles) as scu:
            spent, began = -cpu_seconds(*peer.roots), time.perf_counter()
            *_, final = scu.get(STUDY_ROOT_GET, keys(**element))
            rate = len(files) / (time.perf_counter() - began)
        if final.command.NumberOfCompletedSuboperations != len(files):
            raise SystemExit(f"C-GET: {final.command}")
        if turn:
            spent += cpu_seconds(*peer.roots)
            print(f"    {1000 * spent / len(files):.2f} ms of processor an object", file=sys.stderr)
            figures.add("C-GET 512 kB CT, Explicit LE, 1 association", name, rate)


def sop_paths(peer: Peer, file: Path) -> list[str]:
    """Addresses below the service root of all instances of a file's study, in order."""
    sop = file.stem
    root = f"http://127.0.0.1:{peer.http}/dicomweb"
    (one,) = get_json(f"{root}/instances?SOPInstanceUID={sop}&includefield=0020000D")
    study = one["0020000D"]["Value"][0]
    found = get_json(f"{root}/studies/{study}/instances?limit=1000")
    return [
        f"/studies/{study}/series/{i['0020000E']['Value'][0]}/instances/{i['00080018']['Value'][0]}"
        for i in found
    ]


def metadata_times(a: Peer, b: Peer, path: str, figures: Figures, rounds: int) -> None:
    """Answers a second over one connection. The Host of ours changes from one to the next, so that
    each is made anew: links are in it, and finished answers are remembered by them."""
    for number in range(rounds):
        for kind in ("", "gzip"):
            began = time.perf_counter()
            for turn in range(10):
                host = f"127.{number + 1}.{turn}.{1 + bool(kind)}"
                fetch(f"http://127.0.0.1:{a.http}/dicomweb{path}", "*/*", host, kind)
            name = f"metadata of 1,000 instances{', gzip' if kind else ''}"
            figures.add(name, "lightwell", 10 / (time.perf_counter() - began))
            began = time.perf_counter()
            fetch(f"http://127.0.0.1:{b.http}/dicom-web{path}", "*/*", "", kind)
            figures.add(name, "orthanc", 1 / (time.perf_counter() - began))


def fetch(url: str, accept: str, host: str = "", coding: str = "") -> bytes:
    """One answer whole."""
    headers = {"Accept": accept, **({"Host": host} if host else {})}
    if coding:
        headers["Accept-Encoding"] = coding
    with urllib.request.urlopen(
        urllib.request.Request(url, headers=headers), timeout=300
    ) as answer:
        return bytes(answer.read())


def a_study_of(peer: Peer) -> str:
    found = get_json(f"http://127.0.0.1:{peer.http}/dicomweb/studies?limit=1")
    return str(found[0]["0020000D"]["Value"][0])


def qido(folder: Path, figures: Figures, rounds: int) -> None:
    """QIDO, 100 rows at 10,000 studies of one small instance each."""
    with peers.ours(folder, environment=LATER) as a, peers.orthanc(folder) as b:
        for block in range(10):
            files = small_objects(folder / "q", 1000, 5000 + block)
            for target in (a, b):
                send(target, files, 4)
            shutil.rmtree(folder / "q")
        roots = {a.name: "/dicomweb", b.name: "/dicom-web"}
        for number in range(rounds):
            for target in (a, b) if number % 2 == 0 else (b, a):
                url = f"{roots[target.name]}/studies?limit=100"
                rate = wrk(target.http, [url], 1, 5, folder, "application/dicom+json")
                figures.add("QIDO 100 rows at 10 k studies", target.name, rate)


def of_script(name: str) -> Callable[[Path, Figures, int], dict[str, Any]]:
    """A measure with a process of its own, which prints one JSON object."""

    def measure(_folder: Path, _figures: Figures, _rounds: int) -> dict[str, Any]:
        command = [sys.executable, str(Path(__file__).parent / name)]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return dict(json.loads(out))

    return measure


def stored(folder: Path, figures: Figures, rounds: int) -> None:
    """C-STORE with 1 M studies stored against empty."""
    from bench.query_growth import fill_server

    with (
        peers.ours(folder / "empty", environment=LATER) as a,
        peers.ours(folder / "full", environment=LATER) as b,
    ):
        fill_server(folder / "full" / "lightwell", 1_000_000)
        a.name, b.name = "empty", "1 M studies"
        for target in (a, b):
            send(target, ct_slices(folder / "warm", 8, 1), 4)
        for number in range(rounds):
            files = ct_slices(folder / "in", CT_ROUND, 700 + number)
            for target in (a, b) if number % 2 == 0 else (b, a):
                sent = send(target, files, 4)
                figures.add("C-STORE, 4 associations, by size", target.name, sent.rate)
            shutil.rmtree(folder / "in")


ROWS: tuple[tuple[str, str, str, str, float, float], ...] = (
    # measure, ours, theirs, what, floor, goal
    ("C-STORE 512 kB CT, 4 associations", "lightwell", "orthanc", "rate", 2, 3),
    ("C-STORE 512 kB CT, 1 association", "lightwell", "orthanc", "rate", 1.5, 2.5),
    ("C-STORE 512 kB CT, 4 associations", "lightwell", "storescp", "rate", 0.3, 0.5),
    ("C-STORE 1-39 kB, 4 associations", "lightwell", "orthanc", "rate", 2, 4),
    ("C-STORE 512 kB CT, 4 associations", "lightwell", "orthanc-postgres", "rate", 0, 0),
    ("C-STORE 512 kB CT, 4 associations", "lightwell", "orthanc", "cpu", 0.5, 0.35),
    ("STOW 100 objects a request, 3 connections", "lightwell", "orthanc", "rate", 1.7, 2.5),
    ("frames 512 kB, 8 connections", "lightwell", "orthanc dicom-web", "rate", 5, 10),
    ("frames 512 kB, 8 connections", "lightwell", "orthanc file", "rate", 1, 2),
    ("frames 512 kB, 8 connections", "lightwell", "nginx", "rate", 0, 0),
    ("C-GET 512 kB CT, Explicit LE, 1 association", "packed", "landed", "rate", 0.8, 1),
    ("metadata of 1,000 instances", "lightwell", "orthanc", "rate", 50, 50),
    ("metadata of 1,000 instances, gzip", "lightwell", "orthanc", "rate", 50, 50),
    ("frames from packs, HTJ2K, 8 connections", "lightwell", "nginx", "rate", 0.5, 0.8),
    ("frames from packs, HTJ2K, 8 connections", "lightwell", "orthanc dicom-web", "rate", 5, 10),
    ("frames from packs, native, 8 connections", "lightwell", "orthanc dicom-web", "rate", 5, 10),
    (
        "frames from packs, native, 8 connections",
        "lightwell, 60 frames",
        "orthanc dicom-web",
        "rate",
        5,
        10,
    ),
    ("frames from packs, native, 8 connections", "lightwell, 60 frames", "nginx", "rate", 0, 0),
    ("QIDO 100 rows at 10 k studies", "lightwell", "orthanc", "rate", 10, 50),
    ("C-STORE, 4 associations, by size", "1 M studies", "empty", "rate", 0.8, 0.95),
)


def table(figures: Figures) -> list[dict[str, Any]]:
    """The measured rows with floor, goal and verdict."""
    found = []
    for measure, ours, theirs, what, floor, goal in ROWS:
        source = figures.rates if what == "rate" else figures.cpu
        of = source.get(measure, {})
        if ours not in of or theirs not in of:
            continue
        ratio = paired(of[ours], of[theirs])
        better = ratio >= floor if what == "rate" else ratio <= floor
        found.append(
            {
                "measure": measure if what == "rate" else "CPU per GB, database included",
                "against": theirs,
                "ratio": round(ratio, 2),
                "floor": floor or None,
                "goal": goal or None,
                "held": better if floor else None,
                "ours": round(statistics.median(of[ours]), 2),
                "theirs": round(statistics.median(of[theirs]), 2),
            }
        )
    return found


def show(rows: list[dict[str, Any]]) -> None:
    print("| measure | against | ratio | floor | goal | ours | theirs |")
    print("|---|---|---|---|---|---|---|")
    for r in rows:
        mark = {True: "", False: " (below the floor)", None: ""}[r["held"]]
        print(
            f"| {r['measure']} | {r['against']} | **{r['ratio']}x**{mark} | {r['floor'] or '-'} |"
            f" {r['goal'] or '-'} | {r['ours']} | {r['theirs']} |"
        )


MEASURES: dict[str, Callable[[Path, Figures, int], Any]] = {
    "ingest": ingest,
    "stow": stow,
    "frames": frames,
    "settled": settled,
    "qido": qido,
    "growth": of_script("query_growth.py"),  # search at 10 k and at 1 M studies
    "tenants": of_script("tenant_search.py"),  # the same cut by policies, in four tenants
    "stored": stored,
    "first-image": first_image.measure,
    "reading": reading.measure,
    "policy": lambda _folder, _figures, _rounds: policy.measure_policy(),
    "identity": lambda folder, _figures, _rounds: identity.measure_identity(folder),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "measures", nargs="*", choices=[*MEASURES, "s3", "equal-time", []], default=[]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="4 GiB object, 20,000-instance study")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--slices", type=int, default=1000, help="of the series that s3 counts")
    given = parser.parse_args()
    if given.measures == ["s3"]:
        from bench.s3 import main as s3

        s3(min(given.rounds, 3), given.slices, given.out)
        return
    if given.measures == ["equal-time"]:
        from bench.equal_time import main as equal_time

        equal_time(given.out)
        return
    if given.large:
        from bench.large import main as large

        large()
        return
    figures, more = Figures(), {}
    for name in given.measures or list(MEASURES):
        folder = Path(tempfile.mkdtemp(prefix=f"lightwell-bench-{name}-", dir="/tmp"))
        folder.chmod(0o755)
        for part in ("empty", "full"):
            (folder / part).mkdir(mode=0o755)
        try:
            more[name] = MEASURES[name](folder, figures, given.rounds)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    rows = table(figures)
    if rows:
        show(rows)
    for name, found in more.items():
        if found is not None:
            print(f"{name}: {json.dumps(found, indent=1)}")
    out = given.out or RESULTS / f"{time.strftime('%Y-%m-%d-%H%M%S')}.json"
    out.parent.mkdir(exist_ok=True)
    body = {
        "command": "script/bench " + " ".join(sys.argv[1:]),
        "machine": {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "load": os.getloadavg(),
        },
        "rows": rows,
        "rates": figures.rates,
        "cpu_seconds_per_gb": figures.cpu,
        "growth": more.get("growth"),
        "tenants": more.get("tenants"),
        "first_image_ms": more.get("first-image"),
        "reading": more.get("reading"),
        "policy": more.get("policy"),
        "identity": more.get("identity"),
    }
    out.write_text(json.dumps(body, indent=1) + "\n")
    print(f"kept in {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
