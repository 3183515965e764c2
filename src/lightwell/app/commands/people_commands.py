"""`lightwell user`, `token`, `login-link`, `sessions`, `policy`, `explain`: for operators."""

from __future__ import annotations

import difflib
import itertools
import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lightwell.access.actions import Action
from lightwell.access.cedar import ABOUT_STUDIES
from lightwell.access.context import Context
from lightwell.access.policy import Decision
from lightwell.access.sight import Fact, Kind
from lightwell.app.commands.options import (
    DataOption,
    JsonOption,
    TenantOption,
    console,
    notes,
    web_root,
    with_house,
)
from lightwell.app.wiring import House
from lightwell.domain.people.glass import DEFAULT_PLACES
from lightwell.domain.people.model import Person
from lightwell.domain.people.policy_api import Explained
from lightwell.domain.tenants.model import DEFAULT
from lightwell.kernel.errors import Invalid

RolesOption = Annotated[
    list[str], typer.Option("--role", help="admin, pacs-admin, radiologist, …; may be repeated.")
]
HttpOption = Annotated[
    str | None,
    typer.Option(
        "--http",
        envvar="LIGHTWELL_HTTP",
        help="The whole URL of the web app, behind a proxy. HOST:PORT counts when no server runs; else"
        " the running one says itself where it is.",
    ),
]

users = typer.Typer(no_args_is_help=True, help="Accounts of a tenant.")
tokens = typer.Typer(no_args_is_help=True, help="Keys of programs.")
sessions = typer.Typer(no_args_is_help=True, help="Who is signed in.")
policies = typer.Typer(no_args_is_help=True, help="What a tenant adds to the policies that ship.")


def link_url(root: str, tenant: str, token: str, page: str = "enrol") -> str:
    """Where a one-time link leads, below the web app's URL. The secret is in the fragment: no server and no
    log sees it."""
    place = "" if tenant == DEFAULT else f"/t/{tenant}"
    return f"{root.rstrip('/')}{place}/{page}#{token}"


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Invalid(f"{text!r} is no id.", remedy="`list` shows them.") from None


def _show_secret(text: str) -> None:
    """On a line of its own, as it is: scripts read it."""
    console.print(text, highlight=False, soft_wrap=True)


# --- accounts ----------------------------------------------------------------------------------------


@users.command("add")
def add_user(
    login: str,
    data: DataOption,
    role: RolesOption,
    name: Annotated[str, typer.Option(help="Name shown to people.")] = "",
    http: HttpOption = None,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Make an account; prints a link with which its owner chooses what they sign in with (24 h, once)."""

    async def work(house: House, context: Context) -> None:
        root = await web_root(house, http)
        made = await house.people.add(context, login, name=name, roles=role)
        notes.print(f"{login} chooses a password or passkey at, within 24 hours:", highlight=False)
        _show_secret(link_url(root, tenant, made.secret))

    with_house(data, work, tenant=tenant, founds=True)


@users.command("list")
def list_users(
    data: DataOption, tenant: TenantOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """Show all accounts of a tenant."""

    async def work(house: House, context: Context) -> None:
        people = await house.people.list(context)
        if as_json:
            rows = [
                {
                    "login": p.login,
                    "name": p.name,
                    "roles": sorted(p.roles),
                    "disabled": p.disabled,
                    "issuer": p.issuer or None,
                    "sealed": _seal(p),
                    "enrolled": p.enrolled,
                    "created": p.created.isoformat(),
                }
                for p in people
            ]
            console.print_json(json.dumps(rows))
            return
        table = Table("Login", "Name", "Roles", "Through", "")
        for p in people:
            new = "" if p.enrolled else "has not signed in yet"
            state = ", ".join(filter(None, ("shut" if p.disabled else "", _seal(p) or "", new)))
            table.add_row(p.login, p.name, " ".join(sorted(p.roles)), p.issuer, state)
        console.print(table)

    with_house(data, work, tenant=tenant)


def _seal(person: Person) -> str | None:
    """How the envelope of a sealed account is."""
    if person.seal is None:
        return None
    return f"unsealed {person.seal.broken:%Y-%m-%d}" if person.seal.broken else "sealed"


@users.command("change")
def change_user(
    login: str,
    data: DataOption,
    role: Annotated[
        list[str] | None, typer.Option("--role", help="From now on; may be repeated.")
    ] = None,
    disable: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Shut or open the account.")
    ] = None,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Give other roles, shut or open an account. Open sessions follow within seconds."""

    async def work(house: House, context: Context) -> None:
        person = await house.people.change(context, login, roles=role, disabled=disable)
        state = "shut" if person.disabled else "open"
        console.print(f"{person.login}: {' '.join(sorted(person.roles))}, {state}", highlight=False)

    with_house(data, work, tenant=tenant)


@users.command("enrol")
def enrol_user(
    login: str, data: DataOption, http: HttpOption = None, tenant: TenantOption = DEFAULT
) -> None:
    """Print a new link with which the owner of an account chooses what they sign in with (24 h, once)."""

    async def work(house: House, context: Context) -> None:
        root = await web_root(house, http)
        made = await house.people.new_enrolment(context, login)
        _show_secret(link_url(root, tenant, made.secret))

    with_house(data, work, tenant=tenant)


@users.command("seal")
def seal_user(
    login: str,
    data: DataOption,
    role: Annotated[
        list[str] | None, typer.Option("--role", help="Of an account that is made now.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name shown to people.")] = "",
    place: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            help="Where it may be used: loopback, private, public, or a network; may be repeated."
            "  [default: loopback, private]",
        ),
    ] = None,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Seal an emergency account: prints its new password, once, for an envelope. Each use of it alarms, and
    waits for review; seal it again afterwards."""

    async def work(house: House, context: Context) -> None:
        made = await house.people.seal(
            context, login, name=name, roles=role or (), places=place or DEFAULT_PLACES
        )
        notes.print(f"{login} is sealed. Its password, for the envelope:", highlight=False)
        _show_secret(made.secret)

    with_house(data, work, tenant=tenant, founds=True)


# --- keys of programs ----------------------------------------------------------------------------------


@tokens.command("create")
def create_token(
    data: DataOption,
    role: RolesOption,
    name: Annotated[str, typer.Option(help="Which program it is for.")] = "command",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", help="An action or its beginning, archive:*; default: all its roles may."
        ),
    ] = None,
    days: Annotated[float, typer.Option(help="How long it is good for, at most 366.")] = 90.0,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Give a program a key; prints the bearer token, which is shown once."""

    async def work(house: House, context: Context) -> None:
        made = await house.people.new_key(
            context, name, roles=role, scopes=scope or (), life=_days(days)
        )
        notes.print(f"Key {made.id}, good for {days:g} days:", highlight=False)
        _show_secret(made.secret)

    with_house(data, work, tenant=tenant, founds=True)


def _days(days: float) -> timedelta:
    try:
        return timedelta(days=days)
    except (OverflowError, ValueError):
        raise Invalid("--days is a number of days.") from None


@tokens.command("certificate")
def certify_token(
    fingerprint: Annotated[
        str, typer.Argument(help="SHA-256 of the certificate: 64 hexadecimal digits.")
    ],
    data: DataOption,
    key: Annotated[
        str | None, typer.Option("--key", help="Id of the program's key, as `list` shows it.")
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="No program comes with it any more.")
    ] = False,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Let a program come with a client certificate that a proxy verifies, instead of its key."""
    if remove == (key is not None):
        raise Invalid("Say which key the certificate is for.", remedy="--key ID, or --remove.")

    async def work(house: House, context: Context) -> None:
        if key is None:
            await house.people.release_certificate(context, fingerprint)
            console.print("No program comes with it any more.", highlight=False)
            return
        program = await house.people.bind_certificate(context, _id(key), fingerprint)
        console.print(f"Whoever comes with it is {program.name}.", highlight=False)

    with_house(data, work, tenant=tenant)


@tokens.command("list")
def list_tokens(
    data: DataOption, tenant: TenantOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """Show all keys of a tenant, never their secrets."""

    async def work(house: House, context: Context) -> None:
        keys = await house.people.keys(context)
        if as_json:
            rows = [
                {
                    "id": str(k.program_id),
                    "name": k.name,
                    "roles": sorted(k.roles),
                    "scopes": sorted(k.scopes),
                    "expires": k.expires.isoformat(),
                    "revoked": k.revoked.isoformat() if k.revoked else None,
                    "made_by": k.made_by,
                }
                for k in keys
            ]
            console.print_json(json.dumps(rows))
            return
        table = Table("Id", "Program", "Roles", "Scopes", "Until", "")
        for k in keys:
            table.add_row(
                str(k.program_id),
                k.name,
                " ".join(sorted(k.roles)),
                " ".join(sorted(k.scopes)),
                f"{k.expires:%Y-%m-%d}",
                "revoked" if k.revoked else "",
            )
        console.print(table)

    with_house(data, work, tenant=tenant)


@tokens.command("revoke")
def revoke_token(key: str, data: DataOption, tenant: TenantOption = DEFAULT) -> None:
    """Take a key away: within seconds it opens nothing."""

    async def work(house: House, context: Context) -> None:
        await house.people.revoke_key(context, _id(key))
        console.print("The key is revoked.")

    with_house(data, work, tenant=tenant)


# --- sign-in links, sessions -----------------------------------------------------------------------------


def login_link(
    data: DataOption,
    role: RolesOption,
    http: HttpOption = None,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Print a one-time link that signs a browser in with a role (30 minutes, once)."""

    async def work(house: House, context: Context) -> None:
        root = await web_root(house, http)
        made = await house.people.new_link(context, role)
        _show_secret(link_url(root, tenant, made.secret, "sign-in"))

    with_house(data, work, tenant=tenant, founds=True)


@sessions.command("list")
def list_sessions(
    data: DataOption, tenant: TenantOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """Show who is signed in."""

    async def work(house: House, context: Context) -> None:
        there = await house.people.sessions(context)
        if as_json:
            rows = [
                {
                    "id": str(s.session_id),
                    "who": s.name,
                    "how": s.how,
                    "origin": s.origin,
                    "since": s.created.isoformat(),
                    "seen": s.seen.isoformat(),
                    "until": s.expires.isoformat(),
                }
                for s in there
            ]
            console.print_json(json.dumps(rows))
            return
        table = Table("Id", "Who", "How", "From", "Since", "Last seen")
        for s in there:
            since, seen = f"{s.created:%Y-%m-%d %H:%M}", f"{s.seen:%H:%M}"
            table.add_row(str(s.session_id), s.name, s.how, s.origin, since, seen)
        console.print(table)

    with_house(data, work, tenant=tenant)


@sessions.command("revoke")
def revoke_session(session: str, data: DataOption, tenant: TenantOption = DEFAULT) -> None:
    """End a session: within seconds every door is shut to it."""

    async def work(house: House, context: Context) -> None:
        await house.people.revoke_session(context, _id(session))
        console.print("The session is ended.")

    with_house(data, work, tenant=tenant)


# --- policies ----------------------------------------------------------------------------------------------


@policies.command("list")
def list_policies(data: DataOption, tenant: TenantOption = DEFAULT) -> None:
    """Show every policy in force: what ships, and the tenant's own."""

    async def work(house: House, context: Context) -> None:
        table = Table("Policy", "", "Says", "")
        for each in await house.policies.list(context):
            table.add_row(each.name, each.effect, each.reason, "" if each.shipped else "own")
        console.print(table)

    with_house(data, work, tenant=tenant)


@policies.command("put")
def put_policy(
    file: Annotated[Path, typer.Argument(help="A file with one Cedar policy.")],
    data: DataOption,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Write one policy of the tenant's own; it is checked against the schema first."""
    try:
        with file.open("rb") as opened:
            text = opened.read(1 << 20).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} cannot be read: {type(error).__name__}.") from None

    async def work(house: House, context: Context) -> None:
        console.print(f"Policy {await house.policies.put(context, text)} is in force.")

    with_house(data, work, tenant=tenant)


@policies.command("remove")
def remove_policy(name: str, data: DataOption, tenant: TenantOption = DEFAULT) -> None:
    """Take back one policy of the tenant's own."""

    async def work(house: House, context: Context) -> None:
        await house.policies.remove(context, name)
        console.print(f"Policy {name} is gone.")

    with_house(data, work, tenant=tenant)


def _kind(kind: Kind) -> str:
    """A kind of studies in words: 'treated, not sensitive'."""
    return ", ".join(
        [
            *(fact for fact in Fact if fact in kind.has),
            *(f"not {f}" for f in Fact if f in kind.lacks),
        ]
    )


def explain(
    who: Annotated[str, typer.Argument(help="A login, or - with --role.")],
    data: DataOption,
    action: Annotated[
        str, typer.Argument(help="For example archive:study:query; left out: every action.")
    ] = "",
    role: Annotated[list[str] | None, typer.Option("--role", help="Instead of an account.")] = None,
    study: Annotated[str, typer.Option(help="With this study: its Study Instance UID.")] = "",
    at: Annotated[
        str, typer.Option(help="At this time instead of now: 07:30, 2026-03-29T07:30, with Z.")
    ] = "",
    tenant: TenantOption = DEFAULT,
) -> None:
    """Say whether somebody may do something here, with all studies or one, and which policy says so."""
    if action and action not in set(Action):
        near = difflib.get_close_matches(action, list(Action), n=3, cutoff=0.5)
        raise Invalid(
            f"There is no action {action!r}.",
            remedy=f"Did you mean {' or '.join(near)}?"
            if near
            else "Leave it out to see all of them.",
        )
    if study and not action:
        raise Invalid("Nothing is said to be done with the study.", remedy="Name an action.")

    async def work(house: House, context: Context) -> None:
        roles = frozenset(role) if role else None
        if not action:
            everything = await house.policies.explain_all(context, who, roles=roles, at=at)
            console.print(_overview(everything))
            notes.print("Name one of them to be told why: lightwell explain WHO ROOM:WHAT:VERB")
            return
        asked = Action(action)
        if asked not in ABOUT_STUDIES and not study:
            _say(await house.policies.explain(context, who, asked, roles=roles, at=at))
            return
        found = await house.policies.reach(context, who, asked, roles=roles, study_uid=study, at=at)
        _say(found.decision)
        if study:
            console.print(f"the study is: {', '.join(found.facts) or 'nothing to them'}")
        elif found.decision.allowed and not found.sight.everything:
            kinds = "; or ".join(map(_kind, found.sight.kinds)) or "of somebody they treat or are"
            console.print(f"of studies that are: {kinds}", highlight=False)

    with_house(data, work, tenant=tenant)


def _say(decision: Decision) -> None:
    word = "allowed" if decision.allowed else "refused"
    by = ", ".join(decision.policies) or "no policy permits it"
    console.print(f"{word}: {decision.reason} ({by})", highlight=False)


def _overview(found: Explained) -> Table:
    """What somebody may do, a row a room; "some": with some studies only."""
    table = Table("Room", "May", "May not", show_lines=True)
    decisions = found.decisions
    for room, actions in itertools.groupby(decisions, key=lambda action: action.partition(":")[0]):
        sides: dict[bool, list[str]] = {True: [], False: []}
        for action in actions:
            some = " (some)" if action in found.partly else ""
            sides[decisions[action].allowed].append(f"{action.partition(':')[2]}{some}")
        table.add_row(room, " ".join(sides[True]), " ".join(sides[False]))
    return table


def consent(
    data: DataOption,
    hours: Annotated[float, typer.Option(help="For how long, at most 168; 0 ends it.")] = 8.0,
    tenant: TenantOption = DEFAULT,
) -> None:
    """Let support staff into a tenant for a while, or end that."""

    async def work(house: House, context: Context) -> None:
        life = timedelta(hours=hours) if 0 < hours < 10_000 else None
        until = await house.policies.consent(context, life)
        console.print(
            f"Support is let in until {until:%Y-%m-%d %H:%M} UTC." if until else "Support is out."
        )

    with_house(data, work, tenant=tenant)


def add_to(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.add_typer(users, name="user")
    app.add_typer(tokens, name="token")
    app.add_typer(sessions, name="sessions")
    app.add_typer(policies, name="policy")
    app.command("login-link")(login_link)
    app.command("explain")(explain)
    app.command("support-consent")(consent)
