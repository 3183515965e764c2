"""What an S3 server's answers mean in the words of the port.

obstore raises a few exception types and puts the rest into text, so the status is read from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from lightwell.backends.blobs.keys import exists_text, missing_text
from lightwell.domain.archive.ports import (
    BlobExists,
    BlobMissing,
    StoreBroken,
    StoreFull,
    StoreUnavailable,
)

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_KIND = re.compile(r"HttpError \{\s+kind: (\w+)")
_TEMPORARY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_FULL_CODES = frozenset(
    {"QuotaExceeded", "StorageFull", "XMinioStorageFull", "InsufficientStorage"}
)
_FOR_GOOD = ("Received redirect", "Server does not support", "invalid URL", "builder error")


class RangeBeyondEnd(Exception):
    """Status 416: the range begins at or after the object's end. Never leaves the S3 backend."""


@contextmanager
def in_words_of_the_port(action: str, key: str, *, writing: bool = False) -> Iterator[None]:
    """Turn obstore's errors into the port's, cause kept. The text never holds credentials."""
    try:
        yield
    except (BaseError, FileNotFoundError, OSError) as error:
        raise _translated(error, action, key, writing=writing) from error


def _translated(error: Exception, action: str, key: str, *, writing: bool) -> Exception:
    text = str(error)
    status = _first(_STATUS, text)
    code = _first(_CODE, text) or ""
    said = f"{status} {code}".strip() if status else _without_answer(text)
    reason = f"The object store could not {action} {key}: {said}."
    if code == "NoSuchBucket" or (writing and isinstance(error, FileNotFoundError)):
        return StoreBroken(reason, remedy="Create the bucket, or correct its name.")
    if isinstance(error, FileNotFoundError):
        return BlobMissing(missing_text(key))
    if isinstance(error, AlreadyExistsError | PreconditionError) and status != "409":
        return BlobExists(exists_text(key))
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return StoreBroken(reason, remedy="Check the credentials and what they may do.")
    if status == "416":
        return RangeBeyondEnd(reason)
    if status == "507" or code in _FULL_CODES:
        return StoreFull(reason, remedy="Enlarge the bucket's quota or its disks.")
    if "InvalidCertificate(" in text:
        return StoreBroken(
            f"{reason} Its certificate is not trusted.",
            remedy="Name the file of its authority with ca= in the address.",
        )
    if status is None:  # no answer at all: refused, timed out, cut off
        if any(words in text for words in _FOR_GOOD):
            return StoreBroken(reason, remedy="Check endpoint and region.")
        return StoreUnavailable(reason)
    if int(status) in _TEMPORARY:
        return StoreUnavailable(reason)
    return StoreBroken(reason)


def _without_answer(text: str) -> str:
    """The end of the message proper, and whether it was the connection or the time."""
    told = text.partition("Debug source")[0].strip()[-200:]
    kind = _first(_KIND, text)
    return f"{told} ({kind})" if kind else told


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return found.group(1) if found else None
