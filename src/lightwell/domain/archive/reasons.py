"""Why an object was kept aside, as a sentence for people; the codes are those of admission and of QC rows."""

from __future__ import annotations

from typing import Final

REASONS: Final = {
    "study-of-other-patient": "Its study belongs to another patient.",
    "patient-contradicts-id": "Birth date and family name are not those of the patient with this ID.",
    "identity-given-twice": "It says twice whose it is, or of which study, and not the same.",
    "uid-in-other-series": "An object of the same UID is in another study or series.",
    "uid-of-other-patient": "An object of the same UID is another patient's.",
    "uid-with-other-pixels": "An object of the same UID with other pixels came first, and stays.",
    "same-pixels-other-header": "The same image came before with another header, which stays.",
    "conflict-again": "The same object was in conflict before.",
}


def sentence(kind: str, reason: str) -> str:
    """What to tell about an item; of what could not be read, the reason is the reader's own words."""
    if kind == "quarantined":
        return f"It cannot be read: {reason}"
    return REASONS.get(reason, reason)
