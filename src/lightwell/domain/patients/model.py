"""Identity of a patient and its comparison. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

# An issuer that we made up to keep IDs apart begins so; it is never sent to anybody.
PRIVATE = "~"
_STATED = "\\"  # in front of one that was stated and looks like that


@dataclass(frozen=True, slots=True)
class PatientFacts:
    """Identity as compared by admission; name, birth date and sex as in the object."""

    issuer: str
    pid: str
    name: str = ""
    birth: str = ""
    sex: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return (self.issuer, self.pid)

    @property
    def family(self) -> str:
        """Family name of the first component group, folded (PS3.5 6.2.1)."""
        return self.name.split("=")[0].split("^")[0].strip().casefold()


class Agreement(StrEnum):
    """How two descriptions of the same (issuer, ID) relate."""

    SAME = "same"
    DIFFERS = "differs"  # worth a look; the object is shown
    CONTRADICTS = "contradicts"  # birth date and family name both differ: somebody else


def _folded(name: str) -> str:
    """A PN without trailing separators and case: `DOE^JOHN^^` and `Doe^John` are one."""
    return "=".join(group.rstrip("^ ") for group in name.split("=")).rstrip("=").casefold()


def differing(known: PatientFacts, claimed: PatientFacts) -> tuple[str, ...]:
    """Names of the fields that both give and that differ. An absent value contradicts nothing."""
    found = []
    if known.name and claimed.name and _folded(known.name) != _folded(claimed.name):
        found.append("name")
    if known.birth and claimed.birth and known.birth != claimed.birth:
        found.append("birth-date")
    if known.sex and claimed.sex and known.sex != claimed.sex:
        found.append("sex")
    return tuple(found)


def completed(known: PatientFacts, claimed: PatientFacts) -> PatientFacts:
    """What was known, with what only the newer object says: an ID whose first object had no name must
    not stay without one, or nobody could ever contradict it."""
    return replace(
        known,
        name=known.name or claimed.name,
        birth=known.birth or claimed.birth,
        sex=known.sex or claimed.sex,
    )


def compare(known: PatientFacts, claimed: PatientFacts) -> Agreement:
    """One differing field flags; birth date plus family name together contradict."""
    fields = differing(known, claimed)
    if not fields:
        return Agreement.SAME
    other_family = bool(known.family and claimed.family) and known.family != claimed.family
    if "birth-date" in fields and other_family:
        return Agreement.CONTRADICTS
    return Agreement.DIFFERS


def _spelled(stated: str) -> str:
    """A stated issuer as a key: one that looks like ours must not open another sender's patients.

    No value of a data set holds a backslash, so that no other issuer is spelled so.
    """
    return _STATED + stated if stated.startswith(PRIVATE) else stated


def issuer_for(stated: str, given: str | None, *, source: str, pid: str, study_uid: str) -> str:
    """The issuer an object's patient ID is read with.

    `stated` is in the object, `given` is the sender's or site's. Without either the ID is private to
    its source; without even an ID, the patient is nobody but the one of this study.
    """
    if not pid:
        return f"{PRIVATE}study:{study_uid}"
    return _spelled(stated) or given or f"{PRIVATE}{source}"


def public_issuer(issuer: str) -> str:
    """What may be sent to others as Issuer of Patient ID: nothing for an issuer we made up."""
    return "" if issuer.startswith(PRIVATE) else issuer.removeprefix(_STATED)
