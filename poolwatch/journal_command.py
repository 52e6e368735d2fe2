"""`poolwatch journal`: verify the chain, fill a store again from it."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from poolwatch.clock import stop_on_signals, system_clock_ms
from poolwatch.folder import DataFolder, FolderError
from poolwatch.options import DEFAULT_DATA_DIR, DataDir

journal_app = typer.Typer(
    help="Every message as it came, hash-chained, a file a day.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
Journal = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        help="Folder of one journal; without it, all that are in the data folder.",
        file_okay=False,
    ),
]


def chosen_journals(folder: DataFolder, given: Path | None) -> list[Path]:
    """Folders of the journals that a command is about; FolderError if there is none."""
    journals = folder.journals() if given is None else [given]
    if not journals:
        raise FolderError(f"no journal in {folder.root}: name the folder with --data-dir")
    return journals


@journal_app.command("verify")
def verify(data_dir: DataDir = DEFAULT_DATA_DIR, journal: Journal = None) -> None:
    """Walk the hash chain; exits with 1 at the first message that was changed, added, moved or taken out."""
    from ingest.journal.verification import verify_journal

    is_broken = False
    for place in chosen_journals(DataFolder(data_dir), journal):
        result = verify_journal(place)
        if result.broken_at is None:
            typer.echo(f"{place}: {result.messages} messages, the chain holds; head {result.head}")
        else:
            is_broken = True
            typer.echo(f"{place}: the chain breaks at message {result.broken_at}: {result.reason}", err=True)
    raise typer.Exit(1 if is_broken else 0)


@journal_app.command("rebuild")
def rebuild(
    into: Annotated[
        str,
        typer.Option("--into", help="Address of the store to fill, as sqlite:new.sqlite.", metavar="STORE"),
    ],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    journal: Journal = None,
) -> None:
    """Fill a store from the journals: every reading, logbook entry and status again, in their order.

    What the store has already stays as it is, so it can be repeated and interrupted. Registry versions come from the data
    folder's pools.toml; verdicts follow when analytics runs on the new store.
    """
    from ingest.rebuilding import rebuild_store
    from ingest.store.opening import await_store

    folder = DataFolder(data_dir)
    journals = chosen_journals(folder, journal)
    stop = stop_on_signals()
    store = await_store(into, stop)
    if store is None:
        raise typer.Exit(3)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with closing(store), Progress(*columns) as progress:
        task = progress.add_task("messages", total=None)
        result = rebuild_store(
            journals,
            store,
            registry_path=folder.registry,
            clock=system_clock_ms,
            stop=stop,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    typer.echo(
        f"{result.messages} messages: {result.stored} readings stored, {result.known} were there, "
        f"{len(result.refused)} refused by the store"
    )
    for text in result.refused[:20]:
        typer.echo(f"refused: {text}", err=True)
    raise typer.Exit(3 if stop.is_set() else 0)
