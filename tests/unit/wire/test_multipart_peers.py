"""Other people's multipart code as the other end: dicomweb-client and the standard library's email."""

from __future__ import annotations

import random
from email import policy
from email.parser import BytesParser
from io import BytesIO

import pytest
from dicomweb_client.web import DICOMwebClient
from requests import Response

from lightwell.wire.multipart import (
    PART_END,
    MultipartParser,
    PartBegin,
    PartData,
    PartEnd,
    boundary_of,
    closing,
    content_type,
    new_boundary,
    part_head,
)

PARTS = [random.Random(seed).randbytes(seed * 997) for seed in range(1, 8)] + [b"", b"\r\n", b"--"]
CLIENT_TYPE = (
    'multipart/related; type="application/dicom"; boundary="0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1"'
)


def written(boundary: str, parts: list[bytes]) -> bytes:
    heads = [part_head(boundary, "application/dicom", content_location=f"/{i}") for i in range(99)]
    joined = PART_END.join(h + p for h, p in zip(heads, parts, strict=False))
    return joined + closing(boundary)


def read(header: str, body: bytes, step: int) -> list[bytes]:
    parser = MultipartParser(boundary_of(header))
    parts: list[bytearray] = []
    whole = 0
    for at in range(0, len(body), step):
        for event in parser.feed(body[at : at + step]):
            match event:
                case PartBegin():
                    parts.append(bytearray())
                case PartData(data):
                    parts[-1] += data
                case PartEnd():
                    whole += 1
    whole += sum(isinstance(event, PartEnd) for event in parser.close())
    assert whole == len(parts)
    return [bytes(part) for part in parts]


@pytest.mark.parametrize("step", [1, 4096, 1 << 20])
def test_what_dicomweb_client_posts_is_read(step: int) -> None:
    body = DICOMwebClient._encode_multipart_message(PARTS, CLIENT_TYPE)
    assert read(CLIENT_TYPE, body, step) == PARTS


@pytest.mark.parametrize("stream", [True, False])
def test_what_we_write_dicomweb_client_reads(stream: bool) -> None:
    boundary = new_boundary()
    response = Response()
    response.status_code = 200
    response.headers["content-type"] = content_type(boundary, "application/dicom")
    response.raw = BytesIO(written(boundary, PARTS))
    client = DICOMwebClient("http://127.0.0.1:1", chunk_size=1000)
    got = [bytes(part) for part in client._decode_multipart_message(response, stream=stream)]
    assert got == PARTS


def test_what_we_write_the_standard_library_reads() -> None:
    boundary = new_boundary()
    texts = [b"one", b"two\r\nlines", b"", b"--\r\n--x"]
    head = f"Content-Type: {content_type(boundary, 'application/dicom')}\r\n\r\n".encode()
    message = BytesParser(policy=policy.HTTP).parsebytes(head + written(boundary, texts))
    assert not message.defects
    assert message.get_param("type") == "application/dicom"
    parts = list(message.iter_parts())
    assert [part.get_content_type() for part in parts] == ["application/dicom"] * len(texts)
    assert [part["Content-Location"] for part in parts] == [f"/{i}" for i in range(len(texts))]
    assert [part.get_payload(decode=True) for part in parts] == texts
