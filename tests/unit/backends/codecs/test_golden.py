"""Our pixels against other people's: every image object of the shared corpus.

Decoded samples must equal those of pydicom, or of dcmtk's decompressors where pydicom has no codec.
Rendered pictures must be within one grey level of dcmtk's. What differs is named with its reason.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import logging
import os
import re
import shutil
import subprocess
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, pixel_array

from lightwell.backends.codecs import pixels as px
from lightwell.backends.codecs.decode import decode_frame, native_frame, stored_values
from lightwell.backends.codecs.describe import describe
from lightwell.backends.codecs.errors import DecodeFailed
from lightwell.backends.codecs.pixels import DecodeJob, ImageDescription
from lightwell.backends.codecs.render import to_picture

_HERE = Path(__file__).resolve()
SHARED = Path(os.environ.get("LIGHTWELL_SHARED", _HERE.parents[5] / "shared"))
DATA = SHARED / "data"
#: Of long series, a few objects stand for all.
_PER_FOLDER = 4


def _image_paths() -> list[str]:
    if not (DATA / "INDEX.csv").exists():
        return []
    seen: Counter[str] = Counter()
    chosen = []
    for row in csv.DictReader((DATA / "INDEX.csv").read_text().splitlines()):
        path = row["path"]
        folder = path.rsplit("/", 1)[0]
        if path.startswith(("malformed", "video")) or not int(row["rows"] or 0):
            continue
        seen[folder] += 1
        if folder.startswith(("series", "media")) and seen[folder] > _PER_FOLDER:
            continue
        chosen.append(path)
    return chosen


PATHS = _image_paths()
pytestmark = pytest.mark.skipif(not PATHS, reason=f"the shared test objects are not at {DATA}")


@pytest.fixture(autouse=True)
def _quiet_pydicom() -> Iterator[None]:
    """pydicom warns about many of these objects; that is not what is tested here."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


class _Object:
    """One image object with its frames, read by pydicom."""

    def __init__(self, path: Path) -> None:
        self.dataset = pydicom.dcmread(path, force=True)
        keywords = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
        found = [word for word in keywords if word in self.dataset]
        syntax = getattr(self.dataset.file_meta, "TransferSyntaxUID", None)
        if not found or syntax is None:
            pytest.skip("no pixel data, or no transfer syntax")
        self.raw: bytes = self.dataset[found[0]].value
        self.image = describe(
            self.dataset.to_json_dict(
                bulk_data_threshold=1 << 20,
                bulk_data_element_handler=lambda _: "big",
                suppress_invalid_tags=True,
            ),
            str(syntax),
        )
        self.pixels = self.image.pixels

    def jobs(self, most: int) -> list[DecodeJob]:
        pixels = self.pixels
        count = min(pixels.frames, most)
        if pixels.transfer_syntax in px.NATIVE:
            bits = pixels.frame_bits
            return [
                DecodeJob(pixels, self.raw[n * bits // 8 : ((n + 1) * bits + 7) // 8], n * bits % 8)
                for n in range(count)
            ]
        frames = generate_frames(self.raw, number_of_frames=pixels.frames)
        return [DecodeJob(pixels, bytes(next(frames))) for _ in range(count)]


def _words(samples: np.ndarray[Any, Any], like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same bits with the sign that the reference chose."""
    return samples.view(like.dtype) if samples.dtype.itemsize == like.dtype.itemsize else samples


#: dcmtk tools that undo a syntax for which pydicom needs plug-ins we do not have.
_TOOLS = {
    **dict.fromkeys(px.JPEG_LS, "dcmdjpls"),
    **dict.fromkeys(px.JPEG_LOSSLESS | px.JPEG, "dcmdjpeg"),
}
#: Objects without any independent decoder on this machine.
_NO_REFERENCE = {
    "transfer-syntax/htj2k/HTJ2KLossless_08_RGB.dcm": "HTJ2K: neither pydicom nor dcmtk",
    "transfer-syntax/jpegxl/will-jxl.dcm": "JPEG XL: neither",
    "seg/liver_rle.dcm": "one bit in RLE: neither; compared with its native twin below",
    "transfer-syntax/jpeg2000lossless/GDCMJ2K_TextGBR.dcm": "pillow calls the stream broken",
    "transfer-syntax/jpegls/JLSL_08_07_0_1F.dcm": "dcmtk calls the stream invalid",
}


def _reference(
    path: Path, one: _Object, count: int, tmp: Path
) -> list[np.ndarray[Any, Any]] | None:
    """Frames by pydicom, else by dcmtk and pydicom; None when neither can."""
    colour_jpeg = one.pixels.transfer_syntax in px.JPEG
    try:
        return [pixel_array(one.dataset, index=n, raw=not colour_jpeg) for n in range(count)]
    except (RuntimeError, NotImplementedError, AttributeError, ValueError):
        pass
    tool = _TOOLS.get(one.pixels.transfer_syntax)
    if tool is None or shutil.which(tool) is None:
        return None
    plain = tmp / "plain.dcm"
    subprocess.run([tool, str(path), str(plain)], check=False, capture_output=True, timeout=60)
    if not plain.exists():
        return None
    undone = pydicom.dcmread(plain)
    return [pixel_array(undone, index=n, raw=True) for n in range(count)]


@pytest.mark.parametrize("path", PATHS)
def test_samples_equal_an_independent_decoder(path: str, tmp_path: Path) -> None:
    if path.endswith("will-jxl.dcm"):
        pytest.skip("pydicom does not know JPEG XL as a transfer syntax; see the next test")
    one = _Object(DATA / path)
    jobs = one.jobs(3)
    ours = [decode_frame(job) for job in jobs]
    reference = _reference(DATA / path, one, len(jobs), tmp_path)
    if reference is None:
        assert path in _NO_REFERENCE, "no reference decoder: name the object and the reason"
        return
    for mine, theirs in zip(ours, reference, strict=True):
        assert mine.samples.shape == theirs.shape
        lossy_jpeg = one.pixels.transfer_syntax in px.JPEG
        words = _words(mine.samples, theirs)
        if lossy_jpeg:
            # Decoders may round the inverse cosine and colour transforms differently.
            assert np.abs(words.astype(int) - theirs.astype(int)).max() <= 3
        elif not np.array_equal(words, theirs):
            assert np.array_equal(stored_values(mine.samples, one.pixels), theirs)


def test_jpeg_xl_decodes_every_frame() -> None:
    dataset = pydicom.dcmread(DATA / "transfer-syntax/jpegxl/will-jxl.dcm", force=True)
    pixels = describe(
        dataset.to_json_dict(bulk_data_threshold=64, bulk_data_element_handler=lambda _: "x"),
        str(dataset.file_meta.TransferSyntaxUID),
    ).pixels
    frames = [bytes(f) for f in generate_frames(dataset.PixelData, number_of_frames=pixels.frames)]
    assert len(frames) == pixels.frames == 27
    decoded = [decode_frame(DecodeJob(pixels, frame)) for frame in frames]
    assert {frame.photometric for frame in decoded} == {"RGB"}
    # A cine: neighbours look alike, and yet no two frames are the same.
    steps = [
        np.abs(a.samples.astype(int) - b.samples).mean() for a, b in itertools.pairwise(decoded)
    ]
    assert min(steps) > 0
    assert max(steps) < 20


def test_a_compressed_frame_that_was_cut_off_is_never_shown() -> None:
    """Codecs fill what is missing with grey or smooth areas; a reader could take that for image."""
    refused: Counter[str] = Counter()
    for path in PATHS:
        if not path.startswith(("pixel", "transfer-syntax", "us", "multiframe", "series")):
            continue
        try:
            one = _Object(DATA / path)
        except (pytest.skip.Exception, ValueError):
            continue
        if one.pixels.transfer_syntax in px.NATIVE:
            continue
        job = one.jobs(1)[0]
        for share in (0.3, 0.66, 0.9):
            cut = dataclasses.replace(job, data=job.data[: int(len(job.data) * share)])
            with pytest.raises(DecodeFailed):
                decode_frame(cut)
        refused[one.pixels.transfer_syntax] += 1
    assert len(refused) >= 11


def test_one_bit_rle_equals_its_native_twin() -> None:
    native, packed = _Object(DATA / "seg/liver.dcm"), _Object(DATA / "seg/liver_rle.dcm")
    for plain, rle in zip(native.jobs(3), packed.jobs(3), strict=True):
        assert np.array_equal(decode_frame(plain).samples, decode_frame(rle).samples)
        assert decode_frame(plain).samples.any()


def test_lossless_encodings_of_one_slice_give_the_same_native_bytes() -> None:
    """Sixteen encodings of one CT slice: the lossless ones transcode to one and the same frame."""
    folder = DATA / "transfer-syntax/ct-one-image-16-encodings"
    lossless = px.NATIVE | {px.RLE} | px.JPEG_LOSSLESS
    lossless |= {"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"}
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.dcm")):
        one = _Object(path)
        if one.pixels.transfer_syntax in lossless:
            found[path.name] = native_frame(one.jobs(1)[0]).data
    assert len(found) >= 9
    assert len(set(found.values())) == 1


@pytest.mark.parametrize("path", [p for p in PATHS if p.startswith(("us/", "pixel/"))])
def test_palettes_equal_pydicoms(path: str) -> None:
    """Among them a segmented one, which dcmtk cannot read."""
    one = _Object(DATA / path)
    if one.image.palette is None:
        return
    job = one.jobs(1)[0]
    mine = to_picture(decode_frame(job), one.image, None)
    theirs = apply_color_lut(pixel_array(one.dataset, index=0, raw=True), one.dataset)
    if theirs.dtype.itemsize == 2:
        theirs = theirs >> 8
    assert np.abs(mine.astype(int) - theirs.astype(int)).max() <= 1


#: Pictures that rightly differ from dcmtk's, and why.
_OTHER_PICTURES = {
    "pixel/SC_ybr_full_uncompressed.dcm": "dcmtk converts YBR with integers: 2 levels off",
    "nm-pt/GH610.dcm": "dcmtk shows black: it loses a Rescale Slope of 6e-8",
}
#: What dcmtk's tools say about objects that they cannot show.
_CANNOT = re.compile(
    r"unsupported|not yet supported|can't change|mandatory|Missing attribute|odd|"
    r"not a multiple|other than OB|larger|empty|no pixel data|invalid"
)


def _pnm(data: bytes) -> np.ndarray[Any, Any]:
    head = re.match(rb"P([56])\s+(?:#[^\n]*\n\s*)*(\d+)\s+(\d+)\s+255\s", data)
    assert head is not None
    columns, rows = int(head[2]), int(head[3])
    samples = np.frombuffer(data, np.uint8, offset=head.end())
    return samples.reshape((rows, columns) if head[1] == b"5" else (rows, columns, 3))


def _dcmtk_picture(path: Path, image: ImageDescription, tmp: Path) -> np.ndarray[Any, Any] | None:
    syntax = image.pixels.transfer_syntax
    tool = "dcmj2pnm" if syntax in px.JPEG | px.JPEG_LOSSLESS else "dcm2pnm"
    tool = "dcml2pnm" if syntax in px.JPEG_LS else tool
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    voi = ["+Wm"]
    if image.window is not None:  # by value: dcmtk does not look into functional groups
        voi = ["+Ww", str(image.window.center), str(image.window.width)]
    if image.voi_lut is not None:
        voi = ["+Wl", "1"]
    if image.window is not None and image.window.function == "SIGMOID":
        voi.append("+Wfs")
    out = tmp / "picture.pnm"
    command = [tool, "-O", "-a", *voi, str(path), str(out)]
    done = subprocess.run(command, check=False, capture_output=True, timeout=60)
    if not out.exists():
        assert _CANNOT.search(done.stderr.decode("latin_1")), done.stderr
        return None
    return _pnm(out.read_bytes())


@pytest.mark.parametrize("path", [p for p in PATHS if not p.endswith("will-jxl.dcm")])
def test_pictures_are_within_one_grey_level_of_dcmtk(path: str, tmp_path: Path) -> None:
    one = _Object(DATA / path)
    decoded = decode_frame(one.jobs(1)[0])
    # dcmtk does not know Pixel Padding: it windows and shows padding as if it were image.
    mine = to_picture(decoded, dataclasses.replace(one.image, padding=None), None)
    theirs = _dcmtk_picture(DATA / path, one.image, tmp_path)
    if theirs is None:
        return
    if theirs.ndim == 3 and mine.ndim == 2:
        theirs = theirs[:, :, 0]
    assert mine.shape == theirs.shape
    worst = int(np.abs(mine.astype(int) - theirs.astype(int)).max())
    if path in _OTHER_PICTURES:
        assert worst > 1, "equal now: take it off the list"
        return
    assert worst <= (3 if one.pixels.transfer_syntax in px.JPEG else 1)
