"""`lightwell peer`: the machines at the door. A change acts on the next association."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from lightwell.access.context import Context
from lightwell.app.commands.options import (
    DataOption,
    JsonOption,
    TenantOption,
    console,
    with_house,
)
from lightwell.app.settings import Endpoint, parse_endpoint
from lightwell.app.wiring import House
from lightwell.domain.peers.api import peer_to_json
from lightwell.domain.peers.model import PLAIN_DAYS, Peer, PeerType
from lightwell.domain.tenants.model import DEFAULT

app = typer.Typer(no_args_is_help=True, help="DICOM peers: who may connect and what they may do.")


def _bounds(peer: Peer) -> str:
    """What is more to say of what it may do."""
    bounds = []
    if peer.grants & {"find", "move", "get"}:
        if peer.site and not peer.certified:
            bounds.append(f"of {peer.site}")
        if peer.window:
            bounds.append(f"of the last {peer.window} days")
    if peer.identity:
        bounds.append("when it says who it speaks for")
    return "".join(f", {bound}" for bound in bounds)


def _words(text: str | None) -> list[str]:
    return [word for word in (text or "").replace(",", " ").split() if word]


@app.command()
def add(
    aet: str,
    address: Annotated[str, typer.Argument(metavar="HOST:PORT")],
    data: DataOption,
    allow: Annotated[
        str | None, typer.Option(help="What it may do: store,find,move,get. Default: by its type.")
    ] = None,
    type_: Annotated[PeerType, typer.Option("--type", help="Kind of machine.")] = PeerType.MODALITY,
    site: Annotated[
        str | None,
        typer.Option(
            help="Site it stands at. Without a certificate it sees studies of this Institution Name only."
        ),
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(help="Issuer of its patient IDs when objects name none.")
    ] = None,
    charset: Annotated[str | None, typer.Option(help="Its character set when unstated.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Its IANA time zone.")] = None,
    syntaxes: Annotated[
        str | None, typer.Option(help="Transfer syntax UIDs it wants, best first.")
    ] = None,
    certificate: Annotated[
        str | None, typer.Option(help="SHA-256 of its TLS client certificate (hex).")
    ] = None,
    identity: Annotated[
        bool,
        typer.Option("--identity", help="Each association must say who it speaks for."),
    ] = False,
    days: Annotated[
        int | None,
        typer.Option(
            help="It sees what was received within so many days; 0: all. "
            f"Default: {PLAIN_DAYS}, with a certificate all."
        ),
    ] = None,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Let a machine in, or change what it may do."""
    endpoint = parse_endpoint(address)
    peer = Peer(
        aet=aet,
        host=endpoint.host,
        port=endpoint.port,
        type=type_,
        allow=frozenset(_words(allow)),
        site=site,
        issuer=issuer,
        charset=charset,
        zone=timezone,
        syntaxes=tuple(_words(syntaxes)),
        certificate=certificate or None,
        identity=identity,
        days=days,
    )

    async def work(house: House, context: Context) -> None:
        await house.peers.add(context, peer)
        may = ", ".join(sorted(peer.grants))
        console.print(f"{aet} at {endpoint} may {may}{_bounds(peer)}.", highlight=False)

    with_house(data, work, tenant=tenant, founds=True)


@app.command()
def remove(aet: str, data: DataOption, tenant: TenantOption = DEFAULT) -> None:
    """Shut a machine out."""

    async def work(house: House, context: Context) -> None:
        await house.peers.remove(context, aet)
        console.print(f"{aet} is removed.", highlight=False)

    with_house(data, work, tenant=tenant)


@app.command("list")
def list_(data: DataOption, tenant: TenantOption = DEFAULT, as_json: JsonOption = False) -> None:
    """Show all peers of a tenant."""

    async def work(house: House, context: Context) -> None:
        peers = await house.peers.list(context)
        if as_json:
            console.print_json(json.dumps([peer_to_json(p) for p in peers]))
            return
        table = Table("AE title", "Address", "Type", "May", "Site", "Issuer")
        for p in peers:
            table.add_row(
                p.aet,
                str(Endpoint(p.host, p.port)),
                p.type.value,
                " ".join(sorted(p.grants)),
                p.site or "",
                p.issuer or "",
            )
        console.print(table)

    with_house(data, work, tenant=tenant)
