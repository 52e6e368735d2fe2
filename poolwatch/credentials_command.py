"""Commands that change `credentials.toml`. A running broker follows the file; each command waits until it has."""

import re
import secrets
from collections.abc import Mapping
from typing import Annotated

import msgspec
import typer

from gateway.contract.credentials import Credential, Credentials, parse_credentials, render_credentials
from gateway.contract.errors import ContractError
from gateway.contract.readings import ID_PATTERN
from ingest.broker_config import all_credentials, is_ingest
from ingest.broker_watch import wait_until_in_force
from ingest.pki_files import PkiFiles
from ingest.private_files import write_private
from poolwatch.folder import DataFolder, FolderError
from poolwatch.options import DEFAULT_DATA_DIR, DataDir

_CA_FILE = "pki/ca.crt"
_DEFAULT_HOST, _DEFAULT_PORT = "127.0.0.1", 1883

credentials_app = typer.Typer(
    help="Who may connect to the broker. Changes of credentials.toml keep no comments.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Name = Annotated[str, typer.Argument(help="Id of the gateway as in pools.toml, or name of the service.")]
Service = Annotated[bool, typer.Option("--service", help="A service (ingest, ingest-2 …), not a gateway.")]
Host = Annotated[str | None, typer.Option("--host", help="Name or address of the broker for this client.")]
Port = Annotated[int | None, typer.Option("--port", help="Port of the broker.", min=1, max=65535)]


@credentials_app.command("add")
def credentials_add(
    name: Name,
    service: Service = False,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make a gateway's (or service's) user name and password and print its table, once."""
    folder = DataFolder(data_dir)
    credentials = _read(folder, may_be_absent=True)
    entries = _section(credentials, service=service)
    if re.search(ID_PATTERN, name) is None:
        raise FolderError(f"{name!r} must be lower-case letters, digits and hyphens, at most 63")
    if name in entries:
        raise FolderError(f"{name!r} has credentials: see `poolwatch credentials rotate {name}`")
    known = next(iter([*credentials.services.values(), *credentials.gateways.values()]), None)
    tls = PkiFiles(folder.pki).server.exists()
    entries[name] = Credential(
        username=f"poolwatch-{name}" if service else name,
        password=_new_password(),
        host=host or (_DEFAULT_HOST if known is None else known.host),
        port=port or (_DEFAULT_PORT if known is None else known.port),
        tls=tls,
        ca_file=_CA_FILE if tls else None,
        share_group=_share_group(credentials.services) if service and is_ingest(name) else None,
    )
    _apply(folder, credentials)
    typer.echo(_snippet(name, entries[name], service=service))
    if not service and name not in folder.read_registry().gateways:
        typer.echo(
            f"{name} may do nothing until [gateways.{name}] of {folder.registry} names its pools", err=True
        )


@credentials_app.command("list")
def credentials_list(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Name every client with its user name, broker and pools; never a password."""
    folder = DataFolder(data_dir)
    credentials, registry = _read(folder), folder.read_registry()
    for name, entry in credentials.services.items():
        typer.echo(f"service  {name}  {_address(entry)}")
    for name, entry in credentials.gateways.items():
        known = registry.gateways.get(name)
        pools = "not in pools.toml: may do nothing" if known is None else ", ".join(sorted(known.pools))
        typer.echo(f"gateway  {name}  {_address(entry)}  {pools}")
    for name in registry.gateways.keys() - credentials.gateways.keys():
        typer.echo(f"gateway  {name}  no credentials: poolwatch credentials add {name}")


@credentials_app.command("rotate")
def credentials_rotate(name: Name, service: Service = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Replace a password and print the new table, once. The old one ends at once: the outbox keeps readings until then."""
    folder = DataFolder(data_dir)
    credentials = _read(folder)
    entries = _section(credentials, service=service)
    entries[name] = msgspec.structs.replace(_entry(entries, name), password=_new_password())
    _apply(folder, credentials)
    typer.echo(_snippet(name, entries[name], service=service))


@credentials_app.command("revoke")
def credentials_revoke(name: Name, service: Service = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Take a client's credentials away; a running broker disconnects it."""
    folder = DataFolder(data_dir)
    credentials = _read(folder)
    entries = _section(credentials, service=service)
    _entry(entries, name)
    del entries[name]
    _apply(folder, credentials)
    typer.echo(f"{name} can connect no more")


@credentials_app.command("export")
def credentials_export(name: Name, service: Service = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Print one client's table for its own credentials.toml, with its password; copy pki/ca.crt beside it for TLS."""
    credentials = _read(DataFolder(data_dir))
    typer.echo(_snippet(name, _entry(_section(credentials, service=service), name), service=service))


@credentials_app.command("tls")
def credentials_tls(host: Host = None, port: Port = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Let every client use TLS and trust pki/ca.crt; --host and --port replace where they find the broker."""
    folder = DataFolder(data_dir)
    if not PkiFiles(folder.pki).server.exists():
        raise FolderError(f"no certificates in {folder.pki}: `poolwatch pki init` first")
    credentials = _read(folder)
    for entries in (credentials.gateways, credentials.services):
        for name, entry in entries.items():
            entries[name] = msgspec.structs.replace(
                entry, tls=True, ca_file=_CA_FILE, host=host or entry.host, port=port or entry.port
            )
    _apply(folder, credentials)
    typer.echo("every client of credentials.toml uses TLS; give the gateways their tables and pki/ca.crt")


def _read(folder: DataFolder, *, may_be_absent: bool = False) -> Credentials:
    """The file as it is, without making its paths absolute: it is written again."""
    if may_be_absent and not folder.credentials.exists():
        return Credentials({}, {})
    try:
        return parse_credentials(folder.credentials.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ContractError) as error:
        raise FolderError(f"{folder.credentials} cannot be used: {error}") from error


def _section(credentials: Credentials, *, service: bool) -> dict[str, Credential]:
    return credentials.services if service else credentials.gateways


def _entry(entries: dict[str, Credential], name: str) -> Credential:
    if name not in entries:
        raise FolderError(f"{name!r} has no credentials; there are: {', '.join(entries) or 'none'}")
    return entries[name]


def _apply(folder: DataFolder, credentials: Credentials) -> None:
    """Write the file in one step and wait until a running broker follows it."""
    all_credentials(credentials)
    text = render_credentials(credentials)
    try:
        write_private(folder.credentials, text)
    except OSError as error:
        raise FolderError(f"{folder.credentials} cannot be written: {error.strerror}") from error
    in_force = wait_until_in_force(folder.broker, text)
    if in_force is None:
        typer.echo("no broker runs on this folder: it holds from its next start", err=True)
    elif in_force:
        typer.echo("the running broker has taken it", err=True)
    else:
        raise FolderError("written, but the running broker has not taken it within 10 s: see its log")


def _snippet(name: str, entry: Credential, *, service: bool) -> str:
    one = {name: entry}
    return render_credentials(Credentials({}, one) if service else Credentials(one, {}))


def _share_group(services: Mapping[str, Credential]) -> str:
    """All ingests share one group; its name cannot be guessed, for whoever knows it can join."""
    known = [entry.share_group for entry in services.values() if entry.share_group is not None]
    return known[0] if known else f"ingest-{secrets.token_hex(16)}"


def _address(entry: Credential) -> str:
    return f"{entry.username} at {entry.host}:{entry.port}{' (TLS)' if entry.tls else ''}"


def _new_password() -> str:
    return secrets.token_urlsafe(24)
