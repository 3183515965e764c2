"""`lightwell provider`: who else may say who somebody is (OpenID Connect)."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lightwell.access.context import Context
from lightwell.app.commands.options import (
    DataOption,
    JsonOption,
    TenantOption,
    console,
    notes,
    web_root,
    with_house,
)
from lightwell.app.settings import checked_public_url
from lightwell.app.wiring import House
from lightwell.domain.people.providers import (
    DEFAULT_GROUPS_CLAIM,
    DEFAULT_LOGIN_CLAIM,
    DEFAULT_SCOPES,
)
from lightwell.domain.tenants.model import DEFAULT
from lightwell.gateways.console.provider_sign_in import callback_path, signed_out_path
from lightwell.kernel.errors import Invalid

PublicUrlOption = Annotated[
    str | None,
    typer.Option(
        "--public-url",
        envvar="LIGHTWELL_PUBLIC_URL",
        help="What browsers call the web app.",
        show_default="what the running server says",
    ),
]
SECRET_BYTES = 4096

app = typer.Typer(
    no_args_is_help=True, help="Identity providers (OpenID Connect) that a tenant trusts."
)


class YesNo(StrEnum):
    """An answer on the command line."""

    YES = "yes"
    NO = "no"


def role_map(given: list[str]) -> dict[str, list[str]]:
    """`GROUP=ROLE[,ROLE]` as group to roles; a group may come again. Raises Invalid."""
    found: dict[str, list[str]] = {}
    for each in given:
        group, equals, roles = each.rpartition("=")  # a group's name may hold the sign, a role not
        if not equals or not group or not roles:
            raise Invalid(f"{each!r} is not GROUP=ROLE.", remedy="For example readers=radiologist.")
        found.setdefault(group, []).extend(roles.split(","))
    return found


def read_secret(source: str) -> str:
    """The client secret from a file, or from standard input (`-`): arguments can be read by everybody."""
    try:
        if source == "-":
            raw = sys.stdin.buffer.read(SECRET_BYTES)
        else:
            with Path(source).open("rb") as opened:
                raw = opened.read(SECRET_BYTES)
        return raw.decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"The secret cannot be read: {type(error).__name__}.") from None


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Short name, a-z, 0-9, '-': stands in addresses.")],
    issuer: Annotated[str, typer.Argument(help="Its issuer, https://…, to the letter.")],
    data: DataOption,
    client_id: Annotated[str, typer.Option(help="What the provider calls us.")],
    role_of: Annotated[
        list[str],
        typer.Option(
            "--map",
            metavar="GROUP=ROLE[,ROLE]",
            help="What a group of the provider is here; may be repeated. '*': whoever it lets through.",
        ),
    ],
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret-file",
            help="File with the client secret, - for standard input.",
            show_default="none: a public client",
        ),
    ] = None,
    label: Annotated[str, typer.Option(help="What the button calls it.")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Asked for beside openid; may be repeated.", show_default="profile"),
    ] = None,
    groups_claim: Annotated[
        str, typer.Option(help="Claim with the groups, or a path: realm_access.roles.")
    ] = DEFAULT_GROUPS_CLAIM,
    login_claim: Annotated[
        str, typer.Option(help="Claim that becomes the login of a new account.")
    ] = DEFAULT_LOGIN_CLAIM,
    end_session: Annotated[
        YesNo, typer.Option(help="Whether signing out here leads to signing out there.")
    ] = YesNo.NO,
    public_url: PublicUrlOption = None,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Trust an identity provider; prints the redirect address that it has to be told."""
    said = checked_public_url(public_url.rstrip("/")) if public_url else None

    async def work(house: House, context: Context) -> None:
        root = await web_root(house, said)
        await house.providers.add(
            context,
            name,
            issuer=issuer,
            client_id=client_id,
            roles=role_map(role_of),
            secret=read_secret(secret) if secret else None,
            label=label,
            scopes=scope or DEFAULT_SCOPES,
            groups_claim=groups_claim,
            login_claim=login_claim,
            end_session=end_session is YesNo.YES,
        )
        notes.print("Register this redirect address there, then `lightwell provider test`:")
        console.print(root + callback_path(tenant, name), highlight=False, soft_wrap=True)
        if end_session is YesNo.YES:
            notes.print("And this one, to which it sends people back who have signed out:")
            console.print(root + signed_out_path(tenant), highlight=False, soft_wrap=True)

    with_house(data, work, tenant=tenant)


@app.command("list")
def list_providers(
    data: DataOption,
    public_url: PublicUrlOption = None,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Show the identity providers of a tenant, never their secrets."""
    said = checked_public_url(public_url.rstrip("/")) if public_url else None

    async def work(house: House, context: Context) -> None:
        there = await house.providers.list(context)
        if as_json:
            root = await web_root(house, said)
            rows = [
                {
                    "name": p.name,
                    "label": p.label,
                    "issuer": p.issuer,
                    "client_id": p.client_id,
                    "public": p.secret is None,
                    "scopes": list(p.scopes),
                    "groups_claim": p.groups_claim,
                    "login_claim": p.login_claim,
                    "roles": {group: sorted(roles) for group, roles in p.roles.items()},
                    "enabled": p.enabled,
                    "end_session": p.end_session,
                    "callback": root + callback_path(tenant, p.name),
                    "made_by": p.made_by,
                }
                for p in there
            ]
            console.print_json(json.dumps(rows))
            return
        table = Table("Provider", "Issuer", "Client", "Groups", "")
        for p in there:
            groups = "\n".join(f"{group}: {' '.join(sorted(r))}" for group, r in p.roles.items())
            table.add_row(p.name, p.issuer, p.client_id, groups, "" if p.enabled else "off")
        console.print(table)

    with_house(data, work, tenant=tenant)


@app.command()
def change(
    name: str,
    data: DataOption,
    enable: Annotated[
        bool | None,
        typer.Option("--enable/--disable", help="Let people sign in through it, or not."),
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(help="What the provider calls us from now on.")
    ] = None,
    role_of: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="GROUP=ROLE[,ROLE]",
            help="Another map in the place of the one there is; may be repeated.",
        ),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret-file", help="File with another client secret, - for standard input."
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(help="What the button calls it.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="Asked for beside openid; may be repeated.")
    ] = None,
    groups_claim: Annotated[
        str | None, typer.Option(help="Claim with the groups, or a path: realm_access.roles.")
    ] = None,
    login_claim: Annotated[
        str | None, typer.Option(help="Claim that becomes the login of a new account.")
    ] = None,
    end_session: Annotated[
        YesNo | None,
        typer.Option(
            help="Whether signing out here leads to signing out there; its own page asks people then."
        ),
    ] = None,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Change an identity provider, or switch it on or off; what is not said stays. Sessions go on."""
    said = (enable, client_id, role_of, secret, label, scope, groups_claim, login_claim)
    parts = (*said, end_session)
    if all(part is None for part in parts):
        raise Invalid("Nothing is said.", remedy="For example --disable, or --secret-file FILE.")

    async def work(house: House, context: Context) -> None:
        changed = await house.providers.change(
            context,
            name,
            enabled=enable,
            client_id=client_id,
            roles=role_map(role_of) if role_of else None,
            secret=read_secret(secret) if secret else None,
            label=label,
            scopes=scope,
            groups_claim=groups_claim,
            login_claim=login_claim,
            end_session=None if end_session is None else end_session is YesNo.YES,
        )
        console.print(f"Provider {name} is {'on' if changed.enabled else 'off'}.", highlight=False)

    with_house(data, work, tenant=tenant)


@app.command()
def remove(name: str, data: DataOption, tenant: TenantOption = DEFAULT) -> None:
    """Trust an identity provider no longer. Accounts that came through it stay and open no more."""

    async def work(house: House, context: Context) -> None:
        await house.providers.remove(context, name)
        console.print(f"Provider {name} is gone.", highlight=False)

    with_house(data, work, tenant=tenant)


@app.command("test")
def examine_provider(
    name: str, data: DataOption, tenant: TenantOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """Look at each part of the connection to an identity provider. Ends with 1 when one fails."""

    async def work(house: House, context: Context) -> bool:
        found = await house.providers.test(context, name)
        if as_json:
            rows = [{"step": f.step, "good": f.good, "text": f.text} for f in found]
            console.print_json(json.dumps(rows))
        else:
            table = Table("Part", "", "Found")
            for f in found:
                table.add_row(f.step, "ok" if f.good else "fails", f.text)
            console.print(table)
        return all(f.good for f in found)

    if not with_house(data, work, tenant=tenant):
        raise typer.Exit(1)
