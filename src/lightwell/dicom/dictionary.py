"""The data dictionary: VR and keyword of a tag (PS3.6), private tags included where published.

The tables are pydicom's (`published.py`).

Ambiguous entries are settled by the context that PS3.5 A.1 and PS3.3 give:
* "US or SS": SS when Pixel Representation (0028,0103) of the data set or of the nearest enclosing
  one is 1, else US.
* "OB or OW": OW (Implicit VR knows no OB pixel data; PS3.5 A.1).
* "US or OW", "US or SS or OW" (LUT Data): OW, whose bytes are the same; numbers are made by the
  consumer, who knows the LUT descriptor.
"""

from __future__ import annotations

from functools import lru_cache

from lightwell.dicom.published import private_entry, public_entry, tag_of_keyword

PIXEL_DATA = 0x7FE00010


@lru_cache(maxsize=16384)
def listed_vr(tag: int, private_creator: str | None = None) -> str:
    """The dictionary's VR, which may be ambiguous ("US or SS"); "UN" when the tag is not listed."""
    group, element = tag >> 16, tag & 0xFFFF
    if element == 0:
        return "UL"  # group length (PS3.5 7.2)
    if group & 1 and element < 0x10:
        return "UN"
    if group & 1 and element <= 0xFF:
        return "LO"  # private creator (PS3.5 7.8.1)
    if group & 1:
        entry = private_entry(tag, private_creator) if private_creator else None
    else:
        entry = public_entry(tag)
    return "UN" if entry is None else entry[0]


def vr_of(tag: int, private_creator: str | None = None, *, signed: bool = False) -> str:
    """The VR of a tag as PS3.6 lists it, "UN" when unknown; ambiguities settled as described above.

    `signed` is Pixel Representation = 1 of the nearest data set that has it.
    """
    vr = listed_vr(tag, private_creator)
    if len(vr) == 2:
        return vr
    if vr == "US or SS":
        return "SS" if signed else "US"
    if "OW" in vr:
        return "OW"
    return "UN"


@lru_cache(maxsize=16384)
def keyword_of(tag: int) -> str | None:
    """The keyword of a public tag ("PatientID"); None for private and unknown ones."""
    if (tag >> 16) & 1:
        return None
    entry = public_entry(tag)
    return None if entry is None else entry[4] or None


@lru_cache(maxsize=4096)
def tag_for(keyword: str) -> int | None:
    """The tag of a keyword, None when there is none."""
    return tag_of_keyword(keyword)


@lru_cache(maxsize=4096)
def multiplicity_of(tag: int) -> str:
    """The value multiplicity ("1", "1-n", "3"); "1-n" for private and unknown tags."""
    entry = public_entry(tag)
    return "1-n" if entry is None else entry[1]
