"""The house is what ARCHITECTURE.md says: floors, operations, actions, tables."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import lightwell
from lightwell.access.actions import Action
from lightwell.access.cedar import ACTIONS
from lightwell.domain.archive.model import SUCCESSES, Outcome
from lightwell.kernel.errors import Kind

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "lightwell"
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager", "managers", "base", "misc"}


def modules() -> list[str]:
    return [m.name for m in pkgutil.walk_packages(lightwell.__path__, "lightwell.")]


def test_the_linter_sees_the_modules_and_holds_the_floors() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True
    )
    seen = re.search(r"Analyzed (\d+) files, (\d+) dependencies", done.stdout)
    assert seen, done.stdout
    assert int(seen[1]) > 150
    assert int(seen[2]) > 300
    assert "0 broken" in done.stdout, done.stdout
    assert done.returncode == 0


def test_only_the_work_process_loads_the_engine() -> None:
    """The linter reads imports; this looks at what is loaded."""
    names = ["main", "supervisor", "dimse_process", "http_process", "commands.jobs_commands"]
    text = "; ".join([f"import lightwell.app.{name}" for name in names])
    check = "import sys; print([m for m in ('dbos', 'sqlalchemy', 'psycopg') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{text}; {check}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_no_module_has_a_name_that_says_nothing() -> None:
    found = modules()
    assert len(found) > 150
    bad = [name for name in found if FORBIDDEN_NAMES & set(name.split("."))]
    assert bad == []


def rooms() -> list[type]:
    found = []
    for name in modules():
        if re.fullmatch(r"lightwell\.(domain\.\w+|workflows)\.\w*api", name):
            module = importlib.import_module(name)
            found += [
                value
                for value in vars(module).values()
                if inspect.isclass(value)
                and value.__module__ == name
                and {"policy", "committer"} <= set(inspect.signature(value).parameters)
            ]
    return found


# Not operations, each for a reason a reviewer can check.
PLAIN = {
    "SignIn.recognise": "makes the context",
    "SignIn.by_password": "runs before there is a context; records itself",
    "SignIn.passkey_request": "runs before there is a context",
    "SignIn.by_passkey": "runs before there is a context; records itself",
    "SignIn.by_link": "runs before there is a context; records itself",
    "SignIn.enrolment": "runs before there is a context",
    "SignIn.enrol": "runs before there is a context; records itself",
    "SignIn.sign_out": "ends what made the context; records itself",
    "ProviderSignIn.offered": "runs before there is a context",
    "ProviderSignIn.begin": "runs before there is a context",
    "ProviderSignIn.arrive": "runs before there is a context; records itself",
    "ProviderSignIn.way_out": "runs when what made the context has ended",
    "SignIn.recognise_certificate": "runs before there is a context",
    "SignIn.unchanged": "part of a reading that was permitted",
    "MachineSignIn.by_key": "runs before there is a context; records itself",
    "MachineSignIn.by_signed_token": "runs before there is a context; records itself",
    "MachineSignIn.token": "runs before there is a context; records itself",
    "MachineSignIn.unchanged": "part of what was permitted",
    "Glass.standing": "asks policy itself; one's own, asked for by every page twice a minute",
    "Policies.permitted": "what the caller's own acts would be answered; reads nothing",
    "Tenants.named": "runs before there is a context",
    "Tenants.branding": "runs before there is a context",
    "Tenants.called": "runs before there is a context",
    "Tenants.at": "runs before there is a context",
    "Tenants.known": "for operators of this machine, before there is a context; part of operations",
    "Tenants.serves": "part of a reading that was permitted",
    "Tenants.everyone": "our own background work",
    "Tenants.everyones_usage": "our own background work",
    "Erasing.erasures": "our own background work, operators of this machine",
    "Peers.identify": "makes the context",
    "Peers.destination": "part of a retrieve that was permitted",
    "Archive.may_store": "asks policy itself",
    "Archive.store": "asks policy itself; its record travels with the row",
    "Archive.locate": "gives a held lease, or calls the operation that grants one",
    "Archive.adopt": "part of a re-index that was permitted",
    "Archive.corrections": "asks policy itself",
    "Archive.rejections": "asks policy itself",
    "Archive.vouch": "our own background work",
}


def test_every_asynchronous_front_door_is_an_operation() -> None:
    found = rooms()
    assert len(found) >= 3
    used: set[Action] = set()
    open_doors = []
    for room in found:
        for name, method in inspect.getmembers(room, inspect.iscoroutinefunction):
            action = getattr(method, "action", None)
            if action is not None:
                used.add(action)
            elif not name.startswith("_") and f"{room.__name__}.{name}" not in PLAIN:
                open_doors.append(f"{room.__name__}.{name}")
    assert open_doors == []
    # The store's action is asked for by `permit`, not by a decorator; whoever signs in is not known yet.
    other = {Action.ARCHIVE_INSTANCE_STORE, Action.PEOPLE_SESSION_OPEN}
    assert used | other == set(Action)


def test_actions_are_alphabetical_documented_and_granted_by_name() -> None:
    text = (SOURCE / "access" / "actions.py").read_text()
    lines = re.findall(r"    ([A-Z_]+) = \"([a-z:-]+)\"(  # .+)?", text)
    assert [value for _, value, _ in lines] == sorted(action.value for action in Action)
    assert all(comment for _, _, comment in lines)
    assert all(re.fullmatch(r"\w+:\w+:\w+", action.value) for action in Action)
    assert set(ACTIONS) == set(Action), "schema.cedarschema names every action, in a group"


def tables_of(gateway: str) -> list[set[object]]:
    """The keys of every table in a gateway's status module, inner tables too."""
    module = importlib.import_module(f"lightwell.gateways.{gateway}.status")
    outer = [value for value in vars(module).values() if isinstance(value, Mapping)]
    inner = [v for table in outer for v in table.values() if isinstance(v, Mapping)]
    return [set(table) for table in (*outer, *inner) if table]


@pytest.mark.parametrize("gateway", ["dimse", "dicomweb"])
def test_each_gateway_has_total_tables(gateway: str) -> None:
    tables = tables_of(gateway)
    kinds = [keys for keys in tables if keys <= set(Kind)]
    assert kinds, "a table for every kind of error"
    assert all(keys == set(Kind) for keys in kinds)
    outcomes = [keys for keys in tables if keys <= set(Outcome)]
    assert outcomes, "a table for what is not acknowledged"
    assert all(keys | SUCCESSES == set(Outcome) for keys in outcomes)


def test_success_is_reached_through_acknowledge_only() -> None:
    """Only the gateways' status modules know both an outcome and a success status."""
    calls = [
        path.relative_to(SOURCE).as_posix()
        for path in (SOURCE / "gateways").rglob("*.py")
        if re.search(r"\backnowledge\(", path.read_text())
    ]
    assert calls, "no gateway acknowledges anything"
    for path in (SOURCE / "gateways").rglob("*.py"):
        text = path.read_text()
        assert "committed(" not in text.replace("is committed(", ""), path
        assert "Stored(" not in text, path


def test_no_silent_except_around_what_must_not_fail() -> None:
    silent = re.compile(r"except (Exception|BaseException)[^:]*:\s*\n\s*(pass|\.\.\.)\s*\n")
    bad = [
        path.relative_to(ROOT).as_posix()
        for path in SOURCE.rglob("*.py")
        if silent.search(path.read_text())
    ]
    assert bad == []
