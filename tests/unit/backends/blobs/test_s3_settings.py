"""Addresses of buckets, and what they must not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightwell.backends.blobs.s3_settings import S3Settings
from lightwell.kernel.errors import Invalid

KEYS = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SECRETWORD"}


def test_a_full_address() -> None:
    made = S3Settings.parse(
        "s3://bucket/pre/fix?endpoint=http://127.0.0.1:18333&region=eu-north-1", KEYS
    )
    assert (made.bucket, made.prefix, made.region) == ("bucket", "pre/fix", "eu-north-1")
    configuration = made.configuration(checksum=True)
    assert configuration["endpoint"] == "http://127.0.0.1:18333"
    assert configuration["checksum_algorithm"] == "SHA256"
    assert configuration["access_key_id"] == "AK"
    assert "session_token" not in configuration
    assert made.client_options() == {"allow_http": True}


def test_the_shortest_address_is_amazons_over_https() -> None:
    made = S3Settings.parse("s3://bucket", {**KEYS, "AWS_SESSION_TOKEN": "T"})
    assert made.endpoint is None
    assert made.client_options() == {"allow_http": False}
    configuration = made.configuration(checksum=False)
    assert "endpoint" not in configuration
    assert "checksum_algorithm" not in configuration
    assert configuration["session_token"] == "T"


def test_secrets_do_not_show() -> None:
    made = S3Settings.parse("s3://bucket", KEYS)
    assert "SECRETWORD" not in repr(made)
    assert "AK" not in repr(made)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://bucket", "address"),
        ("s3://", "address"),
        ("s3://AK:SECRETWORD@bucket", "environment|AWS_ACCESS_KEY_ID"),
        ("s3://bucket?secret=SECRETWORD", "secret"),
        ("s3://bucket?region=a&region=b", "twice"),
        ("s3://bucket/Upper", "prefix"),
        ("s3://bucket/../other", "prefix"),
        ("s3://bucket?endpoint=ftp://h", "endpoint"),
        ("s3://bucket?endpoint=http://u:p@127.0.0.1", "endpoint"),
        ("s3://bucket?endpoint=http://storage.example", "encryption"),
        ("s3://bucket?endpoint=http://127.0.0.1.evil.example", "encryption"),
        ("s3://bucket?ca=/nowhere/ca.pem", "certificate"),
    ],
)
def test_unclear_addresses_are_refused(url: str, word: str) -> None:
    with pytest.raises(Invalid, match=word) as refusal:
        S3Settings.parse(url, KEYS)
    assert "SECRETWORD" not in str(refusal.value)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.9.9.9"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    assert S3Settings.parse(f"s3://b?endpoint=http://{host}", KEYS).endpoint == f"http://{host}"


def test_plain_http_elsewhere_must_be_asked_for() -> None:
    made = S3Settings.parse("s3://b?endpoint=http://storage.example/&allow_http=1", KEYS)
    assert made.endpoint == "http://storage.example"


@pytest.mark.parametrize(
    "environment", [{}, {"AWS_ACCESS_KEY_ID": "AK"}, {"AWS_SECRET_ACCESS_KEY": "SECRETWORD"}]
)
def test_both_halves_of_the_credentials_are_needed(environment: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="AWS_SECRET_ACCESS_KEY"):
        S3Settings.parse("s3://bucket", environment)


def test_a_private_authority_is_read(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("PEM")
    made = S3Settings.parse(f"s3://b?ca={tmp_path}/ca.pem", KEYS)
    assert made.client_options()["root_certificate"] == "PEM"
