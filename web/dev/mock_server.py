"""Developer tool: serve the built web app with just enough API over a folder of DICOM files.

Not part of the product: no database, no security, loopback only. It answers the routes the
browser app uses, so that the app can be worked on without an archive:

    ../.venv/bin/python dev/mock_server.py FOLDER... [--port 8900]

Two tenants show the same files: "default" and "demo".
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import re
import sys
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame

STATIC = Path(__file__).resolve().parents[2] / "src" / "lightwell" / "app" / "static"
CSP = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'self'; "
    "form-action 'self'"
)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".css": "text/css",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
}
RAW = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
EXPLICIT_LE = "1.2.840.10008.1.2.1"
BULK = ("OB", "OW", "OF", "OD", "UN", "OL", "OV")
log = logging.getLogger("mock")


@dataclass
class Series:
    """Instances of one series, by SOP Instance UID."""

    uid: str
    paths: dict[str, Path] = field(default_factory=dict)
    head: Dataset = field(default_factory=Dataset)


@dataclass
class Study:
    """Series of one study, by UID."""

    uid: str
    series: dict[str, Series] = field(default_factory=dict)

    @property
    def head(self) -> Dataset:
        return next(iter(self.series.values())).head


def scan(folders: list[Path]) -> dict[str, Study]:
    """Read the header of every file that pydicom can read; the others are counted and left out."""
    studies: dict[str, Study] = {}
    skipped = 0
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.is_file()):
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            study_uid, series_uid, sop = (
                ds.StudyInstanceUID,
                ds.SeriesInstanceUID,
                ds.SOPInstanceUID,
            )
        except Exception as error:  # noqa: BLE001 - any unreadable file is left out
            log.debug("skipped %s: %s", path.name, type(error).__name__)
            skipped += 1
            continue
        study = studies.setdefault(study_uid, Study(study_uid))
        series = study.series.setdefault(series_uid, Series(series_uid, head=ds))
        series.paths[sop] = path
    log.info("%d studies, %d files left out", len(studies), skipped)
    return studies


def text(ds: Dataset, name: str) -> str:
    """An attribute as text; several values joined as in DICOM."""
    value = ds.get(name)
    if value is None:
        return ""
    joined = isinstance(value, pydicom.multival.MultiValue)
    return "\\".join(map(str, value)) if joined else str(value)


def study_item(root: str, study: Study) -> dict[str, Any]:
    """A row of the console's study list."""
    ds = study.head
    name = text(ds, "PatientName")
    return {
        "study_uid": study.uid,
        "patient_name": name,
        "patient_id": text(ds, "PatientID"),
        "issuer": text(ds, "IssuerOfPatientID"),
        "birth_date": text(ds, "PatientBirthDate"),
        "sex": text(ds, "PatientSex"),
        "study_date": text(ds, "StudyDate"),
        "study_time": text(ds, "StudyTime"),
        "accession": text(ds, "AccessionNumber"),
        "description": text(ds, "StudyDescription"),
        "modalities": sorted({text(s.head, "Modality") for s in study.series.values()}),
        "series": len(study.series),
        "instances": sum(len(s.paths) for s in study.series.values()),
        # Marks without a meaning here, spread so that each can be looked at.
        "held": 2 if study.uid.endswith("1") else 0,
        "rejected": 0,
        "outside": study.uid.endswith("3"),
        "patient_changed": study.uid.endswith("5"),
        "institution": text(ds, "InstitutionName"),
        "thumbnail": f"{root}/dicomweb/studies/{study.uid}/thumbnail",
    }


def series_item(root: str, study: Study, series: Series) -> dict[str, Any]:
    """A series of the console's study detail."""
    ds = series.head
    base = f"{root}/dicomweb/studies/{study.uid}/series/{series.uid}"
    return {
        "series_uid": series.uid,
        "modality": text(ds, "Modality"),
        "number": ds.get("SeriesNumber"),
        "description": text(ds, "SeriesDescription"),
        "body_part": text(ds, "BodyPartExamined"),
        "instances": len(series.paths),
        "frames": len(series.paths),
        "thumbnail": f"{base}/thumbnail?viewport=128,128" if "Rows" in ds else None,
    }


def frame_bytes(ds: Dataset, number: int) -> tuple[bytes, str]:
    """Bytes of a frame (1-based) and their transfer syntax; big endian is swapped."""
    syntax = str(ds.file_meta.get("TransferSyntaxUID", "1.2.840.10008.1.2"))
    frames = int(ds.get("NumberOfFrames") or 1)
    if syntax not in RAW and syntax != "1.2.840.10008.1.2.1.99":
        return get_frame(ds.PixelData, number - 1, number_of_frames=frames), syntax
    bits = ds.Rows * ds.Columns * ds.get("SamplesPerPixel", 1) * ds.BitsAllocated
    if ds.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    size = bits // 8
    raw = ds.PixelData[(number - 1) * size : number * size]
    if syntax == "1.2.840.10008.1.2.2" and ds.BitsAllocated == 16:
        raw = np.frombuffer(raw, ">u2").astype("<u2").tobytes()
    return raw, EXPLICIT_LE


def decoded(ds: Dataset, number: int) -> np.ndarray[Any, Any]:
    """Samples of a frame, for thumbnails."""
    raw, syntax = frame_bytes(ds, number)
    codecs = {
        ".4.50": imagecodecs.jpeg8_decode,
        ".4.57": imagecodecs.ljpeg_decode,
        ".4.70": imagecodecs.ljpeg_decode,
        ".4.80": imagecodecs.jpegls_decode,
        ".4.81": imagecodecs.jpegls_decode,
        ".4.90": imagecodecs.jpeg2k_decode,
        ".4.91": imagecodecs.jpeg2k_decode,
        ".4.201": imagecodecs.htj2k_decode,
    }
    for end, decode in codecs.items():
        if syntax.endswith(end):
            return np.asarray(decode(raw))
    kind = ("i" if ds.get("PixelRepresentation") else "u") + str(ds.BitsAllocated // 8)
    flat = np.frombuffer(raw, "<" + kind)
    samples = ds.get("SamplesPerPixel", 1)
    shape = (ds.Rows, ds.Columns) if samples == 1 else (ds.Rows, ds.Columns, samples)
    return flat[: int(np.prod(shape))].reshape(shape)


def thumbnail(series: Series, side: int = 128) -> bytes:
    """JPEG of the middle image."""
    ordered = sorted(series.paths.values())
    ds = pydicom.dcmread(ordered[len(ordered) // 2])
    image = decoded(ds, max(1, int(ds.get("NumberOfFrames") or 1) // 2)).astype(float)
    step = max(1, -(-max(image.shape[:2]) // side))
    image = image[::step, ::step]
    if image.ndim == 2:
        low, high = np.percentile(image, [1, 99])
        image = np.clip((image - low) / max(high - low, 1) * 255, 0, 255)
        if ds.get("PhotometricInterpretation") == "MONOCHROME1":
            image = 255 - image
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(image.astype(np.uint8))))


def metadata(root: str, study: Study, series: Series) -> list[Any]:
    """DICOM JSON of every instance; bulk data left out, small tables inline."""
    out = []
    for path in series.paths.values():
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        for element in list(ds):
            private = element.tag.is_private
            if private or (element.VR in BULK and len(element.value or b"") > 200_000):
                del ds[element.tag]
        item = ds.to_json_dict(suppress_invalid_tags=True)
        syntax = str(ds.file_meta.get("TransferSyntaxUID", ""))
        item["00083002"] = {"vr": "UI", "Value": [syntax if syntax not in RAW else EXPLICIT_LE]}
        out.append(item)
    return out


class Handler(BaseHTTPRequestHandler):
    """Routes; the studies hang on the class."""

    protocol_version = "HTTP/1.1"
    studies: dict[str, Study] = {}

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)

    def answer(self, status: int, body: bytes, kind: str, cache: str = "no-cache") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", cache)
        self.send_header("Content-Security-Policy", CSP)
        self.end_headers()
        self.wfile.write(body)

    def json(self, value: Any, kind: str = "application/json") -> None:
        self.answer(200, json.dumps(value).encode(), kind)

    def missing(self, title: str) -> None:
        body = json.dumps({"title": title}).encode()
        self.answer(404, body, "application/problem+json")

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        found = re.match(r"^(/t/[a-z0-9-]+)?(/.*)$", url.path)
        root, path = (found[1] or "", found[2]) if found else ("", "/")
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        try:
            if path.startswith("/api/v1/"):
                self.console(root, path.removeprefix("/api/v1/").split("/"), query)
            elif path.startswith("/dicomweb/"):
                self.dicomweb(root, path.removeprefix("/dicomweb/").split("/"))
            else:
                self.static(path)
        except BrokenPipeError:
            log.debug("the browser went away")
        except Exception as error:
            log.exception("request failed")
            body = json.dumps({"title": f"{type(error).__name__}"}).encode()
            self.answer(500, body, "application/problem+json")

    def static(self, path: str) -> None:
        file = (STATIC / path.lstrip("/")).resolve()
        if file.is_file() and file.is_relative_to(STATIC):
            kind = TYPES.get(file.suffix, "application/octet-stream")
            self.answer(200, file.read_bytes(), kind, "public, max-age=31536000, immutable")
        elif path.startswith("/assets/"):
            self.missing("No such file")
        else:
            self.answer(200, (STATIC / "index.html").read_bytes(), TYPES[".html"])

    def console(self, root: str, parts: list[str], query: dict[str, str]) -> None:
        if parts == ["tenants"]:
            demo = {"name": "demo", "label": "Demo", "demo": True}
            self.json([{"name": "default", "label": "Default"}, demo])
        elif parts == ["studies"]:
            self.study_list(root, query)
        elif parts[0] == "studies" and parts[1] in self.studies:
            study = self.studies[parts[1]]
            rows = [series_item(root, study, s) for s in study.series.values()]
            self.json({**study_item(root, study), "series": rows})
        else:
            self.missing("This study is not in the archive")

    def study_list(self, root: str, query: dict[str, str]) -> None:
        rows = [study_item(root, study) for study in self.studies.values()]
        if wanted := query.get("q", "").lower():
            fields = ("patient_name", "patient_id", "accession", "description")
            rows = [r for r in rows if any(wanted in r[f].lower() for f in fields)]
        if modality := query.get("modality"):
            rows = [r for r in rows if modality in r["modalities"]]
        rows = [r for r in rows if r["study_date"] >= query.get("from", "")]
        rows = [r for r in rows if r["study_date"] <= query.get("to", "9999")]
        sort = query.get("sort", "-StudyDate")
        names = {"StudyDate": "study_date", "PatientName": "patient_name"}
        names |= {"PatientID": "patient_id", "StudyDescription": "description"}
        key = names.get(sort.lstrip("-"), "study_date")
        rows.sort(key=lambda r: str(r[key]), reverse=sort.startswith("-"))
        start, limit = int(query.get("cursor", 0)), int(query.get("limit", 50))
        more = str(start + limit) if start + limit < len(rows) else None
        page = rows[start : start + limit]
        self.json({"items": page, "next_cursor": more, "total": len(rows)})

    def dicomweb(self, root: str, parts: list[str]) -> None:
        named = dict(zip(parts[::2], parts[1::2], strict=False))
        study = self.studies.get(named.get("studies", ""))
        if study is None:
            self.missing("No such study")
            return
        if parts[-1] == "thumbnail" and "series" not in named:
            shown = [s for s in study.series.values() if "Rows" in s.head]
            self.picture(max(shown, key=lambda s: len(s.paths)) if shown else None)
            return
        series = study.series.get(named.get("series", ""))
        if series is None:
            self.missing("No such series")
        elif parts[-1] == "thumbnail":
            self.picture(series)
        elif parts[-1] == "metadata":
            self.json(metadata(root, study, series), "application/dicom+json")
        else:
            self.frame(series.paths[named["instances"]], int(named["frames"]))

    def picture(self, series: Series | None) -> None:
        try:
            body = thumbnail(series) if series else b""
        except Exception as error:  # noqa: BLE001 - a picture less
            log.debug("no thumbnail: %s", type(error).__name__)
            body = b""
        if body:
            self.answer(200, body, "image/jpeg", "private, max-age=600")
        else:
            self.missing("No picture")

    def frame(self, path: Path, number: int) -> None:
        body, syntax = frame_bytes(pydicom.dcmread(path), number)
        out = io.BytesIO()
        out.write(b"--mock\r\nContent-Type: application/octet-stream; ")
        out.write(f"transfer-syntax={syntax}\r\n\r\n".encode())
        out.write(body)
        out.write(b"\r\n--mock--\r\n")
        kind = 'multipart/related; type="application/octet-stream"; boundary=mock'
        self.answer(200, out.getvalue(), kind, "private, max-age=600")


def main() -> None:
    """Parse the arguments and serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--port", type=int, default=8900)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    Handler.studies = scan(options.folders)
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
