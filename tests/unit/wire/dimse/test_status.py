"""Status codes: their categories, held against pynetdicom's tables."""

from __future__ import annotations

import pytest
from pynetdicom.status import GENERAL_STATUS, STORAGE_SERVICE_CLASS_STATUS

from lightwell.wire.dimse import status
from lightwell.wire.dimse.status import Category, category


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (status.SUCCESS, Category.SUCCESS),
        (status.PENDING, Category.PENDING),
        (status.PENDING_OPTIONAL_KEYS_UNSUPPORTED, Category.PENDING),
        (status.CANCEL, Category.CANCEL),
        (status.COERCION_OF_DATA_ELEMENTS, Category.WARNING),
        (status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS_WARNING, Category.WARNING),
        (status.OUT_OF_RESOURCES, Category.FAILURE),
        (status.CANNOT_UNDERSTAND, Category.FAILURE),
        (status.NOT_AUTHORIZED, Category.FAILURE),
        (0x4711, Category.FAILURE),
    ],
)
def test_category(code: int, expected: Category) -> None:
    assert category(code) is expected


def test_pynetdicom_files_the_general_and_storage_statuses_alike() -> None:
    for code, (name, *_rest) in {**GENERAL_STATUS, **STORAGE_SERVICE_CLASS_STATUS}.items():
        assert category(code).value == name.lower(), f"{code:04X}"
