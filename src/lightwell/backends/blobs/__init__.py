"""Object stores behind the archive's `BlobStore` port: memory, a local folder, any S3 bucket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lightwell.domain.archive.ports import BlobStore

if TYPE_CHECKING:
    from lightwell.backends.blobs.cached import Fetching

__all__ = ["open_store"]


def open_store(
    location: str | Path,
    staging: Path,
    *,
    environment: Mapping[str, str] | None = None,
    cache: Path | None = None,
    cache_bytes: int | None = None,
    reserve: int = 0,
    examine: bool = True,
) -> BlobStore:
    """Open the store at a folder's path or at `s3://bucket/prefix?endpoint=…&region=…`.

    `staging` holds what is on its way to a bucket; a folder needs none. `environment` (default: the
    process's) holds a bucket's credentials. `reserve`: bytes of the local volume that objects may
    not use. `cache` is a folder for chunks of what is read from a bucket, `cache_bytes` how much may
    lie there (None: a share of its volume; 0: nothing is kept). With `examine`, a bucket is asked at
    once whether it can do what is needed.

    Raises Invalid for an unclear location, StoreBroken for a store that is of no use,
    StoreUnavailable for one that does not answer. Call it after any `fork`, not before.
    """
    text = str(location)
    if "://" in text:  # no folder is meant, whatever the scheme; `parse` refuses what is not s3
        # Here, so that a store in a folder does not load the S3 client in each process.
        from lightwell.backends.blobs.s3 import BucketStore
        from lightwell.backends.blobs.s3_settings import S3Settings

        values = os.environ if environment is None else environment
        bucket = BucketStore(S3Settings.parse(text, values), staging, reserve=reserve)
        if examine:
            bucket.examine()
        return bucket if cache is None else _behind_cache(bucket, cache, cache_bytes)
    from lightwell.backends.blobs.local import LocalStore

    return LocalStore(Path(text), reserve=reserve)


def _behind_cache(store: Fetching, folder: Path, limit: int | None) -> BlobStore:
    from lightwell.backends.blobs.cached import CHUNK, CachedStore
    from lightwell.backends.blobs.chunks import ChunkFolder, default_limit

    limit = default_limit(folder) if limit is None else limit
    if limit == 0:
        return store
    return CachedStore(store, ChunkFolder(folder, limit, CHUNK))
