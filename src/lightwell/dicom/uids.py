"""Unique identifiers: syntax rules, transfer syntaxes, storage classes (PS3.5 9, PS3.6 A).

`acceptable_uid` is the door: real files carry 65-character UIDs and components with leading zeros, so
it takes digits and dots up to 128 characters and nothing else; no path, no control character, no quote
can pass. `valid_uid` is the standard's rule, for what we make ourselves and for the defect list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from uuid import UUID, uuid4

from lightwell.dicom.published import unique_identifiers
from lightwell.dicom.vrs import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, Encoding

LONGEST_ACCEPTED = 128  # twice the standard's 64: the longest met in the field is 65

_VALID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*", re.ASCII)
_ACCEPTABLE = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)


def valid_uid(uid: str) -> bool:
    """Whether it keeps PS3.5 9.1: at most 64 characters, no leading zero in a component."""
    return len(uid) <= 64 and _VALID.fullmatch(uid) is not None


def acceptable_uid(uid: str) -> bool:
    """Whether we may store it: components of digits between single dots, 1 to 128 characters."""
    return len(uid) <= LONGEST_ACCEPTED and _ACCEPTABLE.fullmatch(uid) is not None


def uuid_uid(value: UUID) -> str:
    """The UID derived from a UUID (PS3.5 B.2): `2.25.` and its value in decimal."""
    return f"2.25.{value.int}"


def new_uid() -> str:
    """A fresh UID under 2.25."""
    return uuid_uid(uuid4())


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """One transfer syntax. `media_type` is the DICOMweb type of its frames (PS3.18 Table 8.7.3-5).

    `lossy` means *may* be lossy (.81, .91, .203 also carry reversible data). `renderable` says that
    the coding is one a decoder may be asked for; it promises no decoder. `video` streams have no
    frame boundaries in their fragments. `by_reference` (JPIP, SMPTE) holds no pixels of its own.
    """

    uid: str
    name: str
    implicit: bool = False
    little_endian: bool = True
    deflated: bool = False
    encapsulated: bool = False
    lossy: bool = False
    media_type: str = "application/octet-stream"
    renderable: bool = True
    video: bool = False
    by_reference: bool = False
    known: bool = True

    @property
    def encoding(self) -> Encoding:
        """How the elements of a data set in this syntax are framed (after inflation)."""
        if self.implicit:
            return IMPLICIT_LE
        return EXPLICIT_LE if self.little_endian else EXPLICIT_BE

    @property
    def lossless(self) -> bool:
        """True when no conforming encoder can have lost anything."""
        return not self.lossy

    @property
    def web_banned(self) -> bool:
        """Never sent over the web (PS3.18 8.7.3): Implicit VR LE, Explicit VR BE, Papyrus 3."""
        return self.implicit or not self.little_endian


_ROOT = "1.2.840.10008.1.2"
OCTETS = "application/octet-stream"


def _native() -> list[TransferSyntax]:
    return [
        TransferSyntax(_ROOT, "Implicit VR Little Endian", implicit=True),
        TransferSyntax(f"{_ROOT}.1", "Explicit VR Little Endian"),
        TransferSyntax(f"{_ROOT}.1.99", "Deflated Explicit VR Little Endian", deflated=True),
        TransferSyntax(f"{_ROOT}.2", "Explicit VR Big Endian", little_endian=False),
        TransferSyntax("1.2.840.10008.1.20", "Papyrus 3 Implicit VR Little Endian", implicit=True),
        TransferSyntax(
            f"{_ROOT}.4.94", "JPIP Referenced", lossy=True, renderable=False, by_reference=True
        ),
        TransferSyntax(
            f"{_ROOT}.4.95",
            "JPIP Referenced Deflate",
            deflated=True,
            lossy=True,
            renderable=False,
            by_reference=True,
        ),
        TransferSyntax(
            f"{_ROOT}.4.204",
            "JPIP HTJ2K Referenced",
            lossy=True,
            renderable=False,
            by_reference=True,
        ),
        TransferSyntax(
            f"{_ROOT}.4.205",
            "JPIP HTJ2K Referenced Deflate",
            deflated=True,
            lossy=True,
            renderable=False,
            by_reference=True,
        ),
        *(
            TransferSyntax(
                f"{_ROOT}.7.{n}", f"SMPTE ST 2110-{kind}", renderable=False, by_reference=True
            )
            for n, kind in (
                (1, "20 Uncompressed Progressive Active Video"),
                (2, "20 Uncompressed Interlaced Active Video"),
                (3, "30 PCM Digital Audio"),
            )
        ),
    ]


def _still(suffix: str, name: str, media: str, *, lossy: bool, ok: bool = True) -> TransferSyntax:
    return TransferSyntax(
        f"{_ROOT}.{suffix}", name, encapsulated=True, lossy=lossy, media_type=media, renderable=ok
    )


def _stills() -> list[TransferSyntax]:
    retired_lossy = {
        52: "Extended (Process 3 and 5)",
        53: "Spectral Selection, Non-Hierarchical (Process 6 and 8)",
        54: "Spectral Selection, Non-Hierarchical (Process 7 and 9)",
        55: "Full Progression, Non-Hierarchical (Process 10 and 12)",
        56: "Full Progression, Non-Hierarchical (Process 11 and 13)",
        59: "Extended, Hierarchical (Process 16 and 18)",
        60: "Extended, Hierarchical (Process 17 and 19)",
        61: "Spectral Selection, Hierarchical (Process 20 and 22)",
        62: "Spectral Selection, Hierarchical (Process 21 and 23)",
        63: "Full Progression, Hierarchical (Process 24 and 26)",
        64: "Full Progression, Hierarchical (Process 25 and 27)",
    }
    retired_lossless = {
        58: "Lossless, Non-Hierarchical (Process 15)",
        65: "Lossless, Hierarchical (Process 28)",
        66: "Lossless, Hierarchical (Process 29)",
    }
    retired = [
        _still(f"4.{n}", f"JPEG {name}", "image/jpeg", lossy=lossy, ok=n in (53, 55))
        for table, lossy in ((retired_lossy, True), (retired_lossless, False))
        for n, name in table.items()
    ]
    return [
        *retired,
        _still("1.98", "Encapsulated Uncompressed Explicit VR Little Endian", OCTETS, lossy=False),
        _still("8.1", "Deflated Image Frame Compression", OCTETS, lossy=False),
        _still("5", "RLE Lossless", "image/dicom-rle", lossy=False),
        _still("4.50", "JPEG Baseline (Process 1)", "image/jpeg", lossy=True),
        _still("4.51", "JPEG Extended (Process 2 and 4)", "image/jpeg", lossy=True),
        _still("4.57", "JPEG Lossless (Process 14)", "image/jpeg", lossy=False),
        _still("4.70", "JPEG Lossless (Process 14, Selection Value 1)", "image/jpeg", lossy=False),
        _still("4.80", "JPEG-LS Lossless", "image/jls", lossy=False),
        _still("4.81", "JPEG-LS Near-Lossless", "image/jls", lossy=True),
        _still("4.90", "JPEG 2000 (Lossless Only)", "image/jp2", lossy=False),
        _still("4.91", "JPEG 2000", "image/jp2", lossy=True),
        _still("4.92", "JPEG 2000 Part 2 (Lossless Only)", "image/jpx", lossy=False),
        _still("4.93", "JPEG 2000 Part 2", "image/jpx", lossy=True),
        _still("4.110", "JPEG XL Lossless", "image/jxl", lossy=False),
        _still("4.111", "JPEG XL JPEG Recompression", "image/jxl", lossy=True),
        _still("4.112", "JPEG XL", "image/jxl", lossy=True),
        _still("4.201", "High-Throughput JPEG 2000 (Lossless Only)", "image/jphc", lossy=False),
        _still("4.202", "High-Throughput JPEG 2000 with RPCL", "image/jphc", lossy=False),
        _still("4.203", "High-Throughput JPEG 2000", "image/jphc", lossy=True),
    ]


def _video() -> list[TransferSyntax]:
    streams = (
        (100, "MPEG2 Main Profile / Main Level", "video/mpeg"),
        (101, "MPEG2 Main Profile / High Level", "video/mpeg"),
        (102, "MPEG-4 AVC/H.264 High Profile / Level 4.1", "video/mp4"),
        (103, "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", "video/mp4"),
        (104, "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", "video/mp4"),
        (105, "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", "video/mp4"),
        (106, "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", "video/mp4"),
        (107, "HEVC/H.265 Main Profile / Level 5.1", "video/H265"),
        (108, "HEVC/H.265 Main 10 Profile / Level 5.1", "video/H265"),
    )
    return [
        TransferSyntax(
            f"{_ROOT}.4.{n}{suffix}",
            f"{prefix}{name}",
            encapsulated=True,
            lossy=True,
            media_type=media,
            renderable=False,
            video=True,
        )
        for n, name, media in streams
        # HEVC has no fragmentable variants (PS3.5 A.4.11, A.4.12 allow fragments already).
        for suffix, prefix in (("", ""), (".1", "Fragmentable "))
        if not (suffix and n >= 107)
    ]


TRANSFER_SYNTAXES = MappingProxyType(
    {syntax.uid: syntax for syntax in (*_native(), *_stills(), *_video())}
)

ImplicitVRLittleEndian = TRANSFER_SYNTAXES[_ROOT]
ExplicitVRLittleEndian = TRANSFER_SYNTAXES[f"{_ROOT}.1"]
DeflatedExplicitVRLittleEndian = TRANSFER_SYNTAXES[f"{_ROOT}.1.99"]
ExplicitVRBigEndian = TRANSFER_SYNTAXES[f"{_ROOT}.2"]
EncapsulatedUncompressed = TRANSFER_SYNTAXES[f"{_ROOT}.1.98"]
RLELossless = TRANSFER_SYNTAXES[f"{_ROOT}.5"]
JPEGBaseline = TRANSFER_SYNTAXES[f"{_ROOT}.4.50"]
JPEGLossless = TRANSFER_SYNTAXES[f"{_ROOT}.4.57"]
JPEGLosslessSV1 = TRANSFER_SYNTAXES[f"{_ROOT}.4.70"]
JPEGLSLossless = TRANSFER_SYNTAXES[f"{_ROOT}.4.80"]
JPEG2000Lossless = TRANSFER_SYNTAXES[f"{_ROOT}.4.90"]
JPEG2000 = TRANSFER_SYNTAXES[f"{_ROOT}.4.91"]
HTJ2KLossless = TRANSFER_SYNTAXES[f"{_ROOT}.4.201"]
HTJ2KLosslessRPCL = TRANSFER_SYNTAXES[f"{_ROOT}.4.202"]


def syntax_of(uid: str) -> TransferSyntax:
    """The transfer syntax of that UID. Total: an unknown one is taken as encapsulated Explicit VR LE.

    Every syntax added since 1993 is framed that way (PS3.5 A.4), so a header can be read and the bytes
    be kept; nothing is promised about its pixels (`known` and `renderable` are False).
    """
    found = TRANSFER_SYNTAXES.get(uid)
    if found is not None:
        return found
    return TransferSyntax(
        uid,
        "Unknown Transfer Syntax",
        encapsulated=True,
        lossy=True,
        renderable=False,
        known=False,
    )


Verification = "1.2.840.10008.1.1"
SecondaryCaptureImageStorage = "1.2.840.10008.5.1.4.1.1.7"
CTImageStorage = "1.2.840.10008.5.1.4.1.1.2"
MRImageStorage = "1.2.840.10008.5.1.4.1.1.4"
MediaStorageDirectoryStorage = "1.2.840.10008.1.3.10"
StorageCommitmentPushModel = "1.2.840.10008.1.20.1"
StorageCommitmentPushModelInstance = "1.2.840.10008.1.20.1.1"
PatientRootFind = "1.2.840.10008.5.1.4.1.2.1.1"
PatientRootMove = "1.2.840.10008.5.1.4.1.2.1.2"
PatientRootGet = "1.2.840.10008.5.1.4.1.2.1.3"
StudyRootFind = "1.2.840.10008.5.1.4.1.2.2.1"
StudyRootMove = "1.2.840.10008.5.1.4.1.2.2.2"
StudyRootGet = "1.2.840.10008.5.1.4.1.2.2.3"


@lru_cache(maxsize=1)
def storage_classes() -> MappingProxyType[str, str]:
    """Storage SOP Class UID -> name, current and retired (PS3.6 A.1), without DICOMDIR and services."""
    return MappingProxyType(
        {
            uid: name.removesuffix(" (Retired)")
            for uid, (name, kind, *_rest) in unique_identifiers().items()
            if kind == "SOP Class"
            and "Storage" in name
            and "Commitment" not in name
            and uid != MediaStorageDirectoryStorage
        }
    )


def sop_class_name(uid: str) -> str:
    """The standard's name of a storage class; the UID itself when it is private or unknown."""
    return storage_classes().get(uid, uid)
