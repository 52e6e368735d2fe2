"""What people at the pool enter: tests by hand, closing and reopening. A desk is a gateway with an outbox of its own."""

from typing import Annotated

import typer

from gateway.contract.credentials import Credential
from gateway.contract.logbook import EntryKind, LogbookEntry
from gateway.contract.quantities import Quantity
from gateway.contract.times import format_timestamp
from poolwatch.clock import system_clock_ms
from poolwatch.folder import DataFolder, FolderError
from poolwatch.options import DEFAULT_DATA_DIR, By, DataDir, GatewayId, PoolId

_DESK = "gw-desk"


def _speaker(folder: DataFolder, *, gateway_id: str, pool_id: str) -> Credential:
    """Credential of a gateway that may speak for a pool; FolderError says what is missing."""
    registry = folder.read_registry()
    if pool_id not in registry.pools:
        raise FolderError(f"no pool {pool_id!r} in {folder.registry}; it has: {', '.join(registry.pools)}")
    entry = registry.gateways.get(gateway_id)
    if entry is None or pool_id not in entry.pools:
        raise FolderError(
            f"gateway {gateway_id!r} may not speak for pool {pool_id!r}: add it under [gateways.{gateway_id}] in "
            f"{folder.registry}, or name another with --gateway"
        )
    credential = folder.read_credentials().gateways.get(gateway_id)
    if credential is None:
        raise FolderError(f"no [gateways.{gateway_id}] in {folder.credentials}")
    return credential


def test(
    pool_id: PoolId,
    by: By,
    fc: Annotated[float | None, typer.Option("--fc", help="Free chlorine in mg/L.")] = None,
    ph: Annotated[float | None, typer.Option("--ph", help="pH.")] = None,
    temp: Annotated[float | None, typer.Option("--temp", help="Water temperature in °C.")] = None,
    method: Annotated[
        str, typer.Option("--method", help="How it was tested.")
    ] = "DPD-1 / phenol red / thermometer",
    gateway_id: GatewayId = _DESK,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Record a test by hand. It is kept in an outbox until ingest confirms it, so a broker that is away loses nothing."""
    from gateway.desk import record_test
    from gateway.errors import GatewayError

    given = {Quantity.FREE_CHLORINE_MG_L: fc, Quantity.PH: ph, Quantity.WATER_TEMP_C: temp}
    values = {quantity: value for quantity, value in given.items() if value is not None}
    if not values:
        raise FolderError("nothing to record: give at least one of --fc, --ph, --temp")
    folder = DataFolder(data_dir)
    credential = _speaker(folder, gateway_id=gateway_id, pool_id=pool_id)
    try:
        result = record_test(
            folder.outbox(gateway_id),
            credential=credential,
            gateway_id=gateway_id,
            pool_id=pool_id,
            values=values,
            by=by,
            method=method,
            measured_at_ms=system_clock_ms(),
            clock=system_clock_ms,
        )
    except GatewayError as error:
        raise FolderError(str(error)) from error
    _report(stored=result.stored, pending=result.pending)


def close(
    pool_id: PoolId,
    by: By,
    text: Annotated[str, typer.Option("--text", help="Why.")] = "",
    gateway_id: GatewayId = _DESK,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Close a pool from now on, whatever its opening hours say."""
    _enter(
        EntryKind.CLOSURE,
        pool_id=pool_id,
        by=by,
        text=text,
        gateway_id=gateway_id,
        folder=DataFolder(data_dir),
    )


def reopen(
    pool_id: PoolId,
    by: By,
    text: Annotated[str, typer.Option("--text", help="Why.")] = "",
    gateway_id: GatewayId = _DESK,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """End a closure: from now on the opening hours hold again."""
    _enter(
        EntryKind.REOPENING,
        pool_id=pool_id,
        by=by,
        text=text,
        gateway_id=gateway_id,
        folder=DataFolder(data_dir),
    )


def _enter(kind: EntryKind, *, pool_id: str, by: str, text: str, gateway_id: str, folder: DataFolder) -> None:
    from gateway.desk import record_entry
    from gateway.errors import GatewayError

    credential = _speaker(folder, gateway_id=gateway_id, pool_id=pool_id)
    try:
        result = record_entry(
            folder.outbox(gateway_id),
            credential=credential,
            gateway_id=gateway_id,
            pool_id=pool_id,
            entry=LogbookEntry(kind=kind, at=format_timestamp(system_clock_ms()), by=by, text=text),
            clock=system_clock_ms,
        )
    except GatewayError as error:
        raise FolderError(str(error)) from error
    _report(stored=result.stored, pending=result.pending)


def _report(*, stored: bool, pending: int) -> None:
    if stored:
        typer.echo("recorded: it is in the journal")
        return
    typer.echo(
        f"kept, not yet confirmed: {pending} message(s) wait in this gateway's outbox and go with its next command; "
        "see that broker and ingest run",
        err=True,
    )
    raise typer.Exit(3)
