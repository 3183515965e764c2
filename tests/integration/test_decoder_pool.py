"""The decoder pool with real child processes: limits, crashes, and what survives them (W12)."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import pydicom
import pytest
from pydicom.encaps import generate_frames

from lightwell.backends.codecs import pixels as px
from lightwell.backends.codecs.describe import describe
from lightwell.backends.codecs.errors import DecodeFailed, DecodeRefused
from lightwell.backends.codecs.pixels import (
    DecodeJob,
    ImageDescription,
    Limits,
    PixelDescription,
    RenderJob,
    RenderRequest,
    Viewport,
)
from lightwell.backends.codecs.pool import DecoderPool
from lightwell.kernel.errors import Busy, Kind, Unavailable

_SHARED = Path(__file__).resolve().parents[3] / "shared"
SHARED = Path(os.environ.get("LIGHTWELL_SHARED", _SHARED))

GREY = PixelDescription(px.EXPLICIT_LE, 64, 64, bits_stored=12, high_bit=11)
SAMPLES = np.arange(64 * 64, dtype="<u2").reshape(64, 64) % 4096
GOOD = RenderJob(ImageDescription(GREY), (SAMPLES.tobytes(),), RenderRequest("image/png"))


@pytest.fixture
async def pool() -> AsyncIterator[DecoderPool]:
    async with DecoderPool(workers=2) as running:
        yield running


#: A few bytes in, seconds of honest work: enlarged to 36 million pixels and coded as JPEG 2000.
SLOW = RenderJob(
    ImageDescription(GREY),
    (SAMPLES.tobytes(),),
    RenderRequest("image/jp2", viewport=Viewport(6_000, 6_000)),
)


async def test_decode_gives_the_samples_back(pool: DecoderPool) -> None:
    assert await pool.decode(DecodeJob(GREY, SAMPLES.tobytes())) == SAMPLES.tobytes()


async def test_transcoding_names_what_changes(pool: DecoderPool) -> None:
    colour = np.random.default_rng(2).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    stream = imagecodecs.htj2k_encode(colour, reversible=True, rgb=True, planar=False)
    pixels = PixelDescription("1.2.840.10008.1.2.4.201", 40, 50, 3, 8, 8, 7, photometric="YBR_RCT")
    native = await pool.transcode_to_explicit_le(DecodeJob(pixels, bytes(stream)))
    assert native.data == colour.tobytes()
    assert native.attributes == {
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "RGB",
        "PlanarConfiguration": 0,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
    }


async def test_every_codec_works_inside_the_locked_child(pool: DecoderPool) -> None:
    """No file can be opened in there any more: a codec that loads late would fail."""
    picture = np.random.default_rng(3).integers(0, 256, (64, 64), dtype=np.uint8)
    streams = {
        "1.2.840.10008.1.2.4.57": imagecodecs.jpeg8_encode(picture, lossless=True, predictor=1),
        "1.2.840.10008.1.2.4.70": imagecodecs.jpeg8_encode(picture, lossless=True, predictor=1),
        "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_encode(picture),
        "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_encode(
            picture, codecformat="j2k", reversible=True
        ),
        "1.2.840.10008.1.2.4.202": imagecodecs.htj2k_encode(picture, reversible=True),
        "1.2.840.10008.1.2.4.110": imagecodecs.jpegxl_encode(picture, lossless=True),
    }
    for syntax, stream in streams.items():
        pixels = PixelDescription(syntax, 64, 64, 1, 8, 8, 7)
        assert await pool.decode(DecodeJob(pixels, bytes(stream))) == picture.tobytes(), syntax
    jpeg = bytes(imagecodecs.jpeg8_encode(picture))
    pixels = PixelDescription("1.2.840.10008.1.2.4.50", 64, 64, 1, 8, 8, 7)
    assert len(await pool.decode(DecodeJob(pixels, jpeg))) == 64 * 64
    for media in ("image/jpeg", "image/png", "image/gif", "image/jp2"):
        job = RenderJob(ImageDescription(pixels), (jpeg,), RenderRequest(media))
        assert len(await pool.render(job)) > 100
    assert pool.stats.failed == pool.stats.killed == 0


async def test_a_child_holds_no_socket_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LIGHTWELL_DATABASE_URL", "postgresql://secret")
    with (tmp_path / "open").open("w"):
        async with DecoderPool(workers=1) as pool:
            await pool.render(GOOD)
            (pid,) = pool.pids
            # The child made itself undumpable: only the superuser may look.
            if os.geteuid() != 0:
                pytest.skip("needs root to look into the child")
            child = psutil.Process(pid)
            assert "LIGHTWELL_DATABASE_URL" not in child.environ()
            links = [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]
            assert sorted(link.split(":")[0] for link in links) == ["/dev/null"] * 3 + ["socket"]


async def test_fifty_good_pictures_beside_a_crashing_child(pool: DecoderPool) -> None:
    alone = await pool.render(GOOD)
    before = pool.pids
    victim = asyncio.create_task(pool.render(SLOW))
    busy = await _busiest(pool)
    good = [asyncio.create_task(pool.render(GOOD)) for _ in range(50)]
    os.kill(busy, signal.SIGSEGV)
    with pytest.raises(DecodeFailed, match="broke the decoder"):
        await victim
    assert await asyncio.gather(*good) == [alone] * 50
    assert busy not in pool.pids
    assert len(pool.pids) == len(before) == 2
    assert pool.stats.killed == 1


async def _busiest(pool: DecoderPool) -> int:
    """The child that is at work: the one whose processor time grows."""
    idle = {pid: sum(psutil.Process(pid).cpu_times()[:2]) for pid in pool.pids}
    async with asyncio.timeout(30):
        while True:
            for pid, before in idle.items():
                if sum(psutil.Process(pid).cpu_times()[:2]) > before + 0.1:
                    return pid
            await asyncio.sleep(0.01)


async def test_a_job_that_takes_too_long_is_ended() -> None:
    async with DecoderPool(workers=1, limits=Limits(seconds=0.5)) as pool:
        (pid,) = pool.pids
        with pytest.raises(DecodeRefused, match=r"longer than 0\.5 s"):
            await pool.render(SLOW)
        assert not psutil.pid_exists(pid)
        assert await pool.render(GOOD)


async def test_memory_is_bounded_and_the_answer_is_a_refusal() -> None:
    """300 million pixels of honest RLE zeros: allowed by count, but they need 600 MB twice."""
    pixels = PixelDescription(px.RLE, 20_000, 15_000, 1, 16, 16, 15)
    segment = b"\x81\x00" * (20_000 * 15_000 // 128 + 1)
    head = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13)
    async with DecoderPool(workers=1, limits=Limits(memory=700 << 20)) as pool:
        job = DecodeJob(pixels, head + segment * 2)
        with pytest.raises(DecodeRefused, match="700 MiB"):
            await pool.decode(job)
        assert await pool.render(GOOD)
        assert pool.stats.refused == 1


async def test_children_are_recycled() -> None:
    async with DecoderPool(workers=1, recycle_after=3) as pool:
        seen = set(pool.pids)
        for _ in range(7):
            await pool.render(GOOD)
            seen |= pool.pids
        assert pool.stats.started == len(seen) == 3
        assert pool.stats.killed == 0


async def test_a_child_that_died_idle_fails_no_job(pool: DecoderPool) -> None:
    for pid in pool.pids:
        os.kill(pid, signal.SIGKILL)
    assert await pool.render(GOOD)
    assert await pool.render(GOOD)
    assert pool.stats.failed == 0


async def test_a_full_queue_is_busy_and_empties_again() -> None:
    async with DecoderPool(workers=1, waiting=1) as pool:
        jobs = [asyncio.create_task(pool.render(GOOD)) for _ in range(20)]
        ended = await asyncio.gather(*jobs, return_exceptions=True)
        refused = [one for one in ended if isinstance(one, Busy)]
        assert refused
        assert len([one for one in ended if isinstance(one, bytes)]) == 20 - len(refused) >= 2
        assert await pool.render(GOOD)


async def test_a_closed_pool_says_so_and_leaves_nobody() -> None:
    pool = DecoderPool(workers=2)
    await pool.start()
    pids = pool.pids
    slow = asyncio.create_task(pool.render(SLOW))
    await _busiest(pool)
    await pool.close()
    with pytest.raises((DecodeFailed, Unavailable)):
        await slow
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    with pytest.raises(Unavailable):
        await pool.render(GOOD)


_ORPHAN = """
import asyncio
from lightwell.backends.codecs.pool import DecoderPool

async def main():
    pool = DecoderPool(workers=2)
    await pool.start()
    print(*pool.pids, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_children_die_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", _ORPHAN], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
        parent.kill()
        _, alive = psutil.wait_procs(children, timeout=10)
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kit = SHARED / "kit" / "evil_files.py"
    if not kit.exists():
        pytest.skip(f"the hostile files' maker is not at {kit}")
    folder = tmp_path_factory.mktemp("evil")
    done = subprocess.run(
        [sys.executable, str(kit), str(folder)], capture_output=True, timeout=120, check=False
    )
    if not (folder / "rle_65535.dcm").exists():
        pytest.skip(f"the hostile files were not made: {done.stderr[-300:]!r}")
    return folder


@pytest.mark.parametrize("name", ["rle_65535.dcm", "frames_2e9.dcm"])
async def test_render_bombs_are_refused_quickly(pool: DecoderPool, evil: Path, name: str) -> None:
    dataset = pydicom.dcmread(evil / name)
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    raw = dataset.PixelData
    dataset.PixelData = b""
    image = describe(dataset.to_json_dict(), syntax)
    frame = raw if syntax in px.NATIVE else next(generate_frames(raw, number_of_frames=1))
    rss = {pid: psutil.Process(pid).memory_info().rss for pid in pool.pids}
    bad = [
        pool.render(RenderJob(image, (bytes(frame),), RenderRequest(viewport=Viewport(128, 128)))),
        pool.decode(DecodeJob(image.pixels, bytes(frame))),
    ]
    good = [pool.render(GOOD) for _ in range(50)]
    ended = await asyncio.gather(*bad, *good, return_exceptions=True)
    if name == "rle_65535.dcm":
        assert [one.kind for one in ended[:2] if isinstance(one, DecodeRefused | DecodeFailed)] == [
            Kind.INVALID
        ] * 2
    else:
        # Its first frame is whole; the others are the frame locator's to refuse.
        assert image.pixels.frames == 2_000_000_000
    assert all(isinstance(one, bytes) for one in ended[2:])
    grown = [psutil.Process(pid).memory_info().rss - rss[pid] for pid in pool.pids]
    assert max(grown) < 200 << 20
    assert pool.stats.killed == 0, "refused for what they are, not ended by a deadline"


async def test_a_job_larger_than_a_child_is_refused_before_it_is_sent() -> None:
    async with DecoderPool(workers=1, limits=Limits(memory=700 << 20)) as pool:
        with pytest.raises(DecodeRefused, match="too many for one job"):
            await pool.decode(DecodeJob(GREY, bytes(351 << 20)))
        assert pool.stats.started == 1
        assert await pool.render(GOOD)


async def test_random_damage_never_hurts_others(pool: DecoderPool) -> None:
    """200 damaged codestreams of all kinds: an answer or a refusal each, and good jobs go on."""
    rng = np.random.default_rng(7)
    picture = rng.integers(0, 4096, (48, 48), dtype=np.uint16)
    streams = {
        "1.2.840.10008.1.2.4.70": imagecodecs.jpeg8_encode(picture, lossless=True, predictor=1),
        "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_encode(picture),
        "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_encode(
            picture, codecformat="j2k", reversible=True
        ),
        "1.2.840.10008.1.2.4.201": imagecodecs.htj2k_encode(picture, reversible=True),
        "1.2.840.10008.1.2.4.110": imagecodecs.jpegxl_encode(picture, lossless=True),
    }
    jobs = []
    for number in range(200):
        syntax, stream = list(streams.items())[number % len(streams)]
        damaged = bytearray(stream)
        for at in rng.integers(0, len(damaged), 3):
            damaged[at] ^= int(rng.integers(1, 256))
        pixels = PixelDescription(syntax, 48, 48, bits_stored=12, high_bit=11)
        jobs.append(pool.decode(DecodeJob(pixels, bytes(damaged))))
    ended = await asyncio.gather(*jobs, pool.render(GOOD), return_exceptions=True)
    assert isinstance(ended[-1], bytes)
    for one in ended[:-1]:
        assert isinstance(one, bytes | DecodeFailed | DecodeRefused), one
    assert sum(isinstance(one, DecodeFailed) for one in ended) > 20
    assert await pool.render(GOOD) == ended[-1]
