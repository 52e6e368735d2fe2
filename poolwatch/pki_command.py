"""Commands for the deployment's own certificates: made once, shown, renewed, and moved to a new authority in two steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from gateway.contract.times import format_timestamp
from poolwatch.clock import system_clock_ms
from poolwatch.folder import DataFolder, FolderError
from poolwatch.options import DEFAULT_DATA_DIR, DataDir

pki_app = typer.Typer(
    help="TLS certificates of a deployment's own authority, for the broker.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Names = Annotated[
    list[str] | None,
    typer.Option("--name", help="Host name or address by which clients reach the broker; may be repeated."),
]


def _need_library() -> None:
    """FolderError where the extra is absent."""
    try:
        import ingest.pki  # noqa: F401 - only whether it can be imported
    except ImportError as error:
        raise FolderError("certificates need the extra `pki`: pip install 'poolwatch[pki]'") from error


@pki_app.command("init")
def pki_init(names: Names = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Make an authority and the broker's certificate; loopback names are always in it. Never overwrites anything."""
    _need_library()
    from ingest.pki import LOOPBACK_NAMES, create_pki

    folder = DataFolder(data_dir)
    if not folder.root.is_dir():
        raise FolderError(f"no folder {folder.root}: name the deployment's with --data-dir")
    create_pki(folder.pki, names=[*LOOPBACK_NAMES, *(names or [])], now_ms=system_clock_ms())
    typer.echo(f"made {folder.pki}; keep authority-1.pem secret, give pki/ca.crt to every gateway")
    typer.echo(
        "next: `poolwatch credentials tls` lets every client of credentials.toml use it; restart the broker and ingest"
    )


@pki_app.command("renew")
def pki_renew(names: Names = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Give the broker a new key and certificate under the same authority; --name replaces its names."""
    _need_library()
    from ingest.pki import LOOPBACK_NAMES, renew_server

    wanted = [*LOOPBACK_NAMES, *names] if names else []

    def renew(folder: Path, *, now_ms: int) -> None:
        renew_server(folder, now_ms=now_ms, names=wanted)

    _step(renew, data_dir, "renewed; a running broker takes it for new connections within a second")


@pki_app.command("rotate-ca")
def pki_rotate(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Make the next authority beside the present one: give the new pki/ca.crt to every client, then `switch-ca`."""
    _need_library()
    from ingest.pki import rotate_authority

    _step(
        rotate_authority,
        data_dir,
        "pki/ca.crt holds both authorities: give it to every gateway, restart ingest, then run `poolwatch pki switch-ca`",
    )


@pki_app.command("switch-ca")
def pki_switch(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Sign the broker's certificate by the newest authority. A client that still lacks its certificate is locked out."""
    _need_library()
    from ingest.pki import switch_authority

    _step(
        switch_authority,
        data_dir,
        "the newest authority is in use; pki/ca.crt keeps the old one until it expires",
    )


@pki_app.command("show")
def pki_show(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Print names, expiry and fingerprints; exits with 1 if a certificate has less than 30 days left."""
    _need_library()
    from ingest.pki import WARN_DAYS, read_certificates

    now_ms = system_clock_ms()
    soon = False
    for certificate in read_certificates(DataFolder(data_dir).pki):
        days = certificate.days_left(now_ms)
        typer.echo(f"{certificate.path.name}: {certificate.subject}")
        if certificate.names:
            typer.echo(f"  names    {', '.join(certificate.names)}")
        typer.echo(f"  issuer   {certificate.issuer}")
        typer.echo(f"  expires  {format_timestamp(certificate.not_after_ms)}, {days} days left")
        typer.echo(f"  SHA-256  {certificate.fingerprint}")
        if days < WARN_DAYS:
            soon = True
            typer.echo(f"{certificate.path.name} ends in {days} days: see `poolwatch pki --help`", err=True)
    raise typer.Exit(1 if soon else 0)


def _step(change: Callable[..., None], data_dir: Path, done: str) -> None:
    change(DataFolder(data_dir).pki, now_ms=system_clock_ms())
    typer.echo(done)
