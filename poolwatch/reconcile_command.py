"""`poolwatch reconcile`: the account, and whether anything is missing."""

import re
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from poolwatch.clock import system_clock_ms
from poolwatch.folder import DataFolder
from poolwatch.journal_command import Journal, chosen_journals
from poolwatch.options import DEFAULT_DATA_DIR, DataDir, StoreUrl

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def reconcile(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    store: StoreUrl = None,
    journal: Journal = None,
    day: Annotated[
        str | None,
        typer.Option("--day", help="Only what was received on this UTC day, as 2026-11-24.", metavar="DAY"),
    ] = None,
) -> None:
    """Add up what was sent, received, stored, judged and published, gateway by gateway; exits with 1 if anything is missing.

    Every reading that left the journal is looked for in the store, one by one. A lost tail, or a boot that never arrived,
    shows through the gateways' statuses.
    """
    from ingest.store.opening import open_store
    from poolwatch.reconcile import print_account, take_account
    from poolwatch.reconciled import Reconciled, write_reconciled

    if day is not None and not _DAY.fullmatch(day):
        raise typer.BadParameter(f"{day!r} is no day: write it as 2026-11-24", param_hint="--day")
    folder = DataFolder(data_dir)
    journals: list[Path] = chosen_journals(folder, journal)
    with closing(open_store(folder.store_url(store))) as opened:
        taken = take_account(journals, opened, day=day, outboxes=folder.outboxes())
    print_account(Console(), taken)
    outcome = Reconciled(
        at_ms=system_clock_ms(),
        day=day,
        checked_readings=taken.audit.checked,
        found_readings=taken.audit.found,
        holes=len(taken.holes),
    )
    try:
        write_reconciled(folder.reconciled, outcome)
    except OSError as error:
        typer.echo(
            f"ingest's metrics will not tell of this run: {folder.reconciled}: {error.strerror}", err=True
        )
    raise typer.Exit(1 if taken.holes else 0)
