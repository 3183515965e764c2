"""The `lightwell` command. Each subcommand is a thin function: parse, one call, show.

Import is kept cheap: what a command needs is imported when it runs, so that `--help` is instant.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from lightwell.app.commands import (
    archive_commands,
    certificate_commands,
    correct_commands,
    database_commands,
    glass_commands,
    jobs_commands,
    peer_commands,
    people_commands,
    provider_commands,
    sight_commands,
    tenant_commands,
)
from lightwell.app.commands.options import DataOption, refusals_said, settings_from
from lightwell.app.settings import (
    DEFAULT_DIMSE,
    DEFAULT_HTTP,
    TlsFiles,
    TlsPair,
    checked,
    parse_endpoint,
)
from lightwell.kernel.errors import Invalid

PLUGINS = "lightwell.commands"  # entry points: functions that are given the application


def add_plugins(app: typer.Typer) -> None:
    """Commands of packages that stand above this one, such as `lightwell demo`."""
    for plugin in entry_points(group=PLUGINS):
        plugin.load()(app)


app = typer.Typer(
    name="lightwell",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Lightwell: archive and reading room for medical images. Not a cleared medical device.",
)
app.add_typer(peer_commands.app, name="peer")
app.add_typer(provider_commands.app, name="provider")
app.add_typer(tenant_commands.app, name="tenant")
app.add_typer(certificate_commands.app, name="certificate")
app.add_typer(database_commands.app, name="database")
app.add_typer(correct_commands.app, name="correct")
app.add_typer(jobs_commands.app, name="jobs")
archive_commands.add_to(app)
people_commands.add_to(app)
sight_commands.add_to(app)
app.add_typer(glass_commands.app, name="glass")
add_plugins(app)


@app.command()
def serve(
    data: DataOption,
    http: Annotated[
        str, typer.Option(envvar="LIGHTWELL_HTTP", help="Where web app and DICOMweb listen.")
    ] = DEFAULT_HTTP,
    dimse: Annotated[
        str, typer.Option(envvar="LIGHTWELL_DIMSE", help="Where DICOM peers connect.")
    ] = DEFAULT_DIMSE,
    dimse_tls: Annotated[
        str | None, typer.Option(envvar="LIGHTWELL_DIMSE_TLS", help="DICOM over mutual TLS.")
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            envvar="LIGHTWELL_TLS_CERT",
            help="Of DICOM over TLS, with --tls-key and --tls-ca; none: the installation's own.",
        ),
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(envvar="LIGHTWELL_TLS_KEY")] = None,
    tls_ca: Annotated[Path | None, typer.Option(envvar="LIGHTWELL_TLS_CA")] = None,
    http_cert: Annotated[
        Path | None,
        typer.Option(
            envvar="LIGHTWELL_HTTP_CERT",
            help="Of the web door, with --http-key; none: beyond loopback the installation's own.",
        ),
    ] = None,
    http_key: Annotated[Path | None, typer.Option(envvar="LIGHTWELL_HTTP_KEY")] = None,
    proxy: Annotated[
        str,
        typer.Option(
            envvar="LIGHTWELL_PROXY",
            help="Addresses of the reverse proxy whose X-Forwarded headers count, with commas.",
        ),
    ] = "",
    public_url: Annotated[
        str | None,
        typer.Option(
            envvar="LIGHTWELL_PUBLIC_URL", help="Where browsers find it: https://pacs.example"
        ),
    ] = None,
    aet: Annotated[
        str, typer.Option(envvar="LIGHTWELL_AET", help="AE title of the default tenant.")
    ] = "LIGHTWELL",
    demo: Annotated[
        bool, typer.Option("--demo", envvar="LIGHTWELL_DEMO", help="Make the demo tenant.")
    ] = False,
    workers: Annotated[int, typer.Option(envvar="LIGHTWELL_WORKERS", help="Processes a door.")] = 2,
    work_at_once: Annotated[
        int,
        typer.Option(envvar="LIGHTWELL_WORK_AT_ONCE", help="Steps of background work at a time."),
    ] = 2,
    settle_after: Annotated[
        float,
        typer.Option(
            envvar="LIGHTWELL_SETTLE_AFTER", help="Seconds of quiet until a series is packed."
        ),
    ] = 60.0,
    landed_grace: Annotated[
        float,
        typer.Option(
            envvar="LIGHTWELL_LANDED_GRACE", help="Seconds that what was packed stays besides."
        ),
    ] = 24 * 3600.0,
    cool_after: Annotated[
        float,
        typer.Option(
            envvar="LIGHTWELL_COOL_AFTER",
            help="Days without anybody opening a study until its packs go to the cool store, if one is"
            " named (LIGHTWELL_COOL_STORE_URL).",
        ),
    ] = 180.0,
    regions: Annotated[
        Path | None,
        typer.Option(
            envvar="LIGHTWELL_REGIONS",
            help="File that names several stores and where they are; none: one store.",
        ),
    ] = None,
    cache_bytes: Annotated[
        int | None,
        typer.Option(
            envvar="LIGHTWELL_CACHE_BYTES",
            help="Bytes kept on this machine of what is read from a bucket; 0: none.",
            show_default="a twentieth of the volume, at most 16 GiB",
        ),
    ] = None,
) -> None:
    """Run the server: database, DICOM and web doors, background work."""
    from lightwell.app.supervisor import Supervisor

    tls = None
    if tls_cert and tls_key and tls_ca:
        tls = TlsFiles(tls_cert.absolute(), tls_key.absolute(), tls_ca.absolute())
    elif tls_cert or tls_key or tls_ca:
        raise Invalid("--tls-cert, --tls-key and --tls-ca are given together, or none of them.")
    settings = checked(
        settings_from(
            data,
            http=parse_endpoint(http),
            dimse=parse_endpoint(dimse),
            dimse_tls=parse_endpoint(dimse_tls) if dimse_tls else None,
            tls=tls,
            aet=aet,
            demo=demo,
            workers=workers,
            work_at_once=work_at_once,
            settle_after=settle_after,
            landed_grace=landed_grace,
            cool_after=cool_after,
            cache_bytes=cache_bytes,
            regions=regions,
            http_tls=_pair(http_cert, http_key),
            proxies=proxy,
            public_url=public_url.rstrip("/") if public_url else None,
        )
    )
    raise typer.Exit(Supervisor(settings, lambda text: print(text, flush=True)).run())


def _pair(certificate: Path | None, key: Path | None) -> TlsPair | None:
    if certificate and key:
        return TlsPair(certificate.absolute(), key.absolute())
    if certificate or key:
        raise Invalid("--http-cert and --http-key are given together, or none of them.")
    return None


def main() -> None:
    """Entry point."""
    with refusals_said():
        app()


if __name__ == "__main__":
    main()
