"""The tables of PS3.6 and the private dictionaries, as pydicom publishes them.

Only the files with the tables are loaded, each when it is first asked: importing the package loads numpy,
an image library and an HTTP client besides, a third of a second and 30 MB in every process.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

Entry = tuple[str, ...]
"""VR, VM, name, "Retired" or "", and of public tags the keyword."""


def _tables(file: str) -> Any:
    """One file of the package, which stays unimported itself."""
    package = find_spec("pydicom")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("No module named 'pydicom'")
    path = Path(package.origin).with_name(f"{file}.py")
    spec = spec_from_file_location(f"lightwell.dicom.published{file}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=1)
def _public() -> tuple[dict[int, Entry], list[tuple[int, int, Entry]]]:
    """Tags with their entries, and those that repeat: value, mask (0 where any digit does), entry."""
    tables = _tables("_dicom_dict")
    repeating = []
    for pattern, entry in tables.RepeatersDictionary.items():
        mask = int("".join("0" if digit == "x" else "F" for digit in pattern), 16)
        repeating.append((int(pattern.replace("x", "0"), 16), mask, entry))
    return tables.DicomDictionary, repeating


@lru_cache(maxsize=1)
def _private() -> dict[str, dict[str, Entry]]:
    found: dict[str, dict[str, Entry]] = _tables("_private_dict").private_dictionaries
    return found


@lru_cache(maxsize=1)
def _keywords() -> dict[str, int]:
    return {entry[4]: tag for tag, entry in _public()[0].items()}


def public_entry(tag: int) -> Entry | None:
    """The entry of a public tag; the first that matches where groups or elements repeat (60xx)."""
    entries, repeating = _public()
    found = entries.get(tag)
    if found is None and not (tag >> 16) & 1:
        found = next((e for value, mask, e in repeating if tag & mask == value), None)
    return found


def private_entry(tag: int, creator: str) -> Entry | None:
    """The entry of a private tag, wherever its block lies (PS3.5 7.8.1), or None."""
    entries = _private().get(creator)
    if entries is None:
        return None
    text = f"{tag:08X}"
    for key in (text, f"{text[:4]}xx{text[6:]}", f"{text[:2]}xxxx{text[6:]}"):
        if key in entries:
            return entries[key]
    return None


def tag_of_keyword(keyword: str) -> int | None:
    """The tag of a public keyword that does not repeat, or None."""
    return _keywords().get(keyword)


def unique_identifiers() -> dict[str, Entry]:
    """UID -> name, kind, further words (PS3.6 A)."""
    found: dict[str, Entry] = _tables("_uid_dict").UID_dictionary
    return found
