"""`lightwell certificate`: the installation's own authority, and certificates for devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightwell.app.commands.options import (
    DataOption,
    check_installed,
    console,
    notes,
    settings_from,
)
from lightwell.kernel.clock import SystemClock
from lightwell.kernel.errors import Conflict, Invalid

app = typer.Typer(no_args_is_help=True, help="Certificates of the installation's own authority.")


@app.command("authority")
def show_authority(data: DataOption) -> None:
    """Print the authority's certificate (PEM): what browsers and devices are given to trust."""
    from lightwell.backends.identity.own_authority import OwnAuthority

    settings = settings_from(data)
    check_installed(settings)
    pem = OwnAuthority(settings.tls_folder).certificate(SystemClock().now())
    console.print(pem.decode(), highlight=False, soft_wrap=True, end="")


@app.command("issue")
def issue(
    name: Annotated[
        str, typer.Argument(help="What the device is called, for example its AE title.")
    ],
    data: DataOption,
    to: Annotated[Path, typer.Option(help="Folder for NAME.crt, NAME.key and authority.crt.")],
) -> None:
    """Make a certificate for a device that connects over TLS; prints what `peer add --certificate` takes."""
    from lightwell.backends.identity.own_authority import OwnAuthority

    settings = settings_from(data)
    check_installed(settings)
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name[0] == ".":
        raise Invalid(f"{name!r} is no name for files.", remedy="Use letters, digits, - and _.")
    authority, now = OwnAuthority(settings.tls_folder), SystemClock().now()
    certificate, key = to / f"{name}.crt", to / f"{name}.key"
    taken = [path.name for path in (certificate, key) if path.exists()]
    if taken:
        raise Conflict(f"{to} holds {taken[0]} already.", remedy="Choose another folder or name.")
    made, trusted = authority.issue_client(name, now), authority.certificate(now)
    try:
        to.mkdir(parents=True, exist_ok=True)
        key.touch(0o600)
        key.write_bytes(made.key)
        certificate.write_bytes(made.certificate)
        (to / "authority.crt").write_bytes(trusted)
    except OSError as error:
        raise Invalid(
            f"{to} cannot be written: {error.strerror}.", remedy="Choose another --to."
        ) from error
    notes.print(f"{certificate}, {key} and authority.crt; its SHA-256:", highlight=False)
    console.print(made.fingerprint, highlight=False, soft_wrap=True)
