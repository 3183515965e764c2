"""What obstore's exceptions are turned into; the texts are those of obstore 0.12.1."""

from __future__ import annotations

import pytest
from obstore.exceptions import (
    AlreadyExistsError,
    GenericError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from lightwell.backends.blobs.s3_faults import RangeBeyondEnd, in_words_of_the_port
from lightwell.domain.archive.ports import (
    BlobExists,
    BlobMissing,
    StoreBroken,
    StoreFull,
    StoreUnavailable,
)

HEAD = "Generic S3 error: Error performing GET http://127.0.0.1:1/b/k in 1ms - "


def status(number: int, code: str = "") -> str:
    body = f"<Error><Code>{code}</Code></Error>" if code else ""
    return (
        f"{HEAD}Server returned non-2xx status code: {number} X: {body}\n\nDebug source:\nGeneric"
    )


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (FileNotFoundError(status(404, "NoSuchKey")), BlobMissing),
        (FileNotFoundError(status(404, "NoSuchBucket")), StoreBroken),
        (AlreadyExistsError(status(412, "PreconditionFailed")), BlobExists),
        (PreconditionError(status(412)), BlobExists),
        (AlreadyExistsError(status(409, "ConditionalRequestConflict")), StoreUnavailable),
        (PermissionDeniedError(status(403, "AccessDenied")), StoreBroken),
        (UnauthenticatedError(status(401)), StoreBroken),
        (GenericError(status(416, "InvalidRange")), RangeBeyondEnd),
        (GenericError(status(507)), StoreFull),
        (GenericError(status(400, "QuotaExceeded")), StoreFull),
        (GenericError(status(400, "BadDigest")), StoreBroken),
        (GenericError(status(501)), StoreBroken),
        *[(GenericError(status(n)), StoreUnavailable) for n in (408, 429, 500, 502, 503, 504)],
        (
            GenericError(f"{HEAD}HTTP error: error sending request\n\nDebug source: x"),
            StoreUnavailable,
        ),
        (GenericError("Received redirect without LOCATION, wrong region"), StoreBroken),
        (ConnectionResetError("reset"), StoreUnavailable),
    ],
)
def test_each_failure_has_one_meaning(raised: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught, in_words_of_the_port("read", "a/b"):
        raise raised
    assert type(caught.value) is expected
    assert caught.value.__cause__ is raised
    assert "Debug" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_not_found_while_writing_is_a_missing_bucket_not_a_missing_object() -> None:
    with pytest.raises(StoreBroken), in_words_of_the_port("store", "a/b", writing=True):
        raise FileNotFoundError(status(404))


def test_bugs_pass_through() -> None:
    with pytest.raises(KeyError), in_words_of_the_port("read", "a/b"):
        raise KeyError("bug")
