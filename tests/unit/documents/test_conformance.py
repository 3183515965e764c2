"""The conformance pages hold what the code holds: their tables are made here and compared.

    LIGHTWELL_WRITE_DOCUMENTS=1 .venv/bin/pytest tests/unit/documents

writes the tables between their markers anew; the prose around them is for people.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from lightwell.dicom.uids import sop_class_name
from lightwell.domain.archive.model import SUCCESSES, Outcome
from lightwell.gateways.dicomweb.status import REASON_OF_OUTCOME
from lightwell.gateways.dimse.association_service import POLICY
from lightwell.gateways.dimse.limits import DimseLimits
from lightwell.gateways.dimse.status import NOT_ACKNOWLEDGED, Service, of_error
from lightwell.gateways.http.problems import STATUS_OF_KIND
from lightwell.kernel.errors import Kind, LightwellError
from lightwell.wire.dimse.negotiation import choose_transfer_syntax
from lightwell.wire.dimse.syntaxes import LOSSLESS, UNCOMPRESSED

PAGES = Path(__file__).resolve().parents[3] / "docs" / "conformance"

SERVICE_NAMES = {
    "1.2.840.10008.1.1": "Verification",
    "1.2.840.10008.1.20.1": "Storage Commitment Push Model",
    "1.2.840.10008.5.1.4.1.2.1.1": "Patient Root Query/Retrieve – FIND",
    "1.2.840.10008.5.1.4.1.2.1.2": "Patient Root Query/Retrieve – MOVE",
    "1.2.840.10008.5.1.4.1.2.1.3": "Patient Root Query/Retrieve – GET",
    "1.2.840.10008.5.1.4.1.2.2.1": "Study Root Query/Retrieve – FIND",
    "1.2.840.10008.5.1.4.1.2.2.2": "Study Root Query/Retrieve – MOVE",
    "1.2.840.10008.5.1.4.1.2.2.3": "Study Root Query/Retrieve – GET",
}

MEANING = {
    Outcome.STORED: "stored",
    Outcome.DUPLICATE: "the same data set is stored already",
    Outcome.CANDIDATE: "the same pixels under another header: kept, the first stays current",
    Outcome.HELD: "contradicts what is known of the patient or study: kept, shown to nobody yet",
    Outcome.STILL_REJECTED: "rejected before: kept, stays hidden",
    Outcome.CONFLICT: "another object under a stored UID: kept aside, not acknowledged",
    Outcome.REJECTED: "rejected for patient safety or a wrong worklist entry",
    Outcome.UNREADABLE: "cannot be read: the bytes are in quarantine, not acknowledged",
    Outcome.MISMATCH: "not what the command or the address said it is",
}


def of_kind(kind: Kind) -> LightwellError:
    """An error of this kind."""
    error = LightwellError("A message.")
    error.kind = kind
    return error


def lines(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    separator = tuple("---" for _ in head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, separator, *rows))


def services() -> str:
    """What is served besides storage."""
    rows = ((SERVICE_NAMES[uid], f"`{uid}`") for uid in sorted(POLICY.services))
    return lines(("service", "SOP class"), rows)


def syntaxes() -> str:
    """The order in which a transfer syntax for storage is chosen."""
    names = {
        "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
        "1.2.840.10008.1.2.1.99": "Deflated Explicit VR Little Endian",
        "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
        "1.2.840.10008.1.2": "Implicit VR Little Endian",
    }
    left, order = set(names), []
    while left:  # ask the code itself which of those that are left it takes
        best = choose_transfer_syntax(sorted(left))
        assert best is not None
        order.append(best)
        left.remove(best)
    assert tuple(order) == UNCOMPRESSED
    rows = [(str(n), names[uid], f"`{uid}`") for n, uid in enumerate(order, 1)]
    compressed = ", ".join(
        f"`.{uid.removeprefix('1.2.840.10008.1.2.')}`" for uid in sorted(LOSSLESS)
    )
    rows += [
        ("5", "lossless compression, in the sender's order", compressed),
        ("6", "syntaxes this version does not know, private ones among them", ""),
        ("7", "pixel data by reference", ""),
        ("8", "lossy compression and video", ""),
    ]
    return lines(("", "transfer syntax", "UID (1.2.840.10008.1.2…)"), rows)


def verdicts() -> str:
    """What becomes of an arrival, in C-STORE and in STOW-RS."""

    def codes(outcome: Outcome) -> tuple[str, str]:
        if outcome in SUCCESSES:
            assert REASON_OF_OUTCOME[outcome] is None
            return "0000", "referenced"
        reason = REASON_OF_OUTCOME[outcome]
        return f"{NOT_ACKNOWLEDGED[outcome]:04X}", f"failed, {reason:04X}"

    rows = ((MEANING[outcome], *codes(outcome)) for outcome in Outcome)
    return lines(("what became of it", "C-STORE", "STOW-RS"), rows)


def failures() -> str:
    """Failures of a request, by kind, in each service."""
    shown = (Service.STORE, Service.FIND, Service.RETRIEVE, Service.ACTION)
    rows = (
        (str(kind.value), *(f"{of_error(of_kind(kind), service):04X}" for service in shown))
        for kind in Kind
    )
    return lines(("kind", "C-STORE", "C-FIND", "C-MOVE, C-GET", "N-ACTION"), rows)


def limits() -> str:
    """Bounds of the DIMSE door."""
    ours = DimseLimits()
    rows = [
        ("largest PDU we take", f"{ours.max_pdu >> 10} KiB"),
        ("association request must come within", f"{ours.request:.0f} s"),
        ("silence within a message", f"{ours.silence:.0f} s"),
        ("silence between messages", f"{ours.idle:.0f} s"),
        ("ARTIM timer", f"{ours.artim:.0f} s"),
        ("associations of a process, a tenant, a peer",
         f"{ours.associations}, {ours.associations_per_tenant}, {ours.associations_per_peer}"),
        ("matches of one C-FIND", f"{ours.find_rows:,}"),
        ("references of one commitment request", f"{ours.commitment_references:,}"),
    ]  # fmt: skip
    return lines(("limit", ""), rows)


def http_statuses() -> str:
    """Failures of a request over HTTP."""
    rows = [(str(kind.value), str(status)) for kind, status in STATUS_OF_KIND.items()]
    rows += [("too large", "413"), ("the store is full", "507")]
    return lines(("kind", "status"), rows)


TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "services": ("dimse.md", services),
    "syntaxes": ("dimse.md", syntaxes),
    "verdicts": ("dimse.md", verdicts),
    "failures": ("dimse.md", failures),
    "limits": ("dimse.md", limits),
    "http-statuses": ("dicomweb.md", http_statuses),
}


@pytest.mark.parametrize("name", TABLES)
def test_table_says_what_the_code_does(name: str) -> None:
    page, make = TABLES[name]
    path = PAGES / page
    text = path.read_text("utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    wanted = make()
    if os.environ.get("LIGHTWELL_WRITE_DOCUMENTS"):
        path.write_text(pattern.sub(lambda m: f"{m[1]}\n{wanted}\n\n{m[2]}", text), "utf-8")
        text = path.read_text("utf-8")
    found = pattern.search(text)
    assert found is not None, f"{page} has no place <!-- {name} -->"
    assert found[0] == f"{found[1]}\n{wanted}\n\n{found[2]}"


def test_every_service_has_its_name() -> None:
    assert set(SERVICE_NAMES) == POLICY.services
    assert set(MEANING) == set(Outcome)
    assert not any(uid == sop_class_name(uid) for uid in ("1.2.840.10008.5.1.4.1.1.2",))
