"""Commands that read or write files: registry, recordings, quarantine, journal, schemas, account."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.contract.errors import RegistryError
from gateway.contract.registry_file import parse_registry
from poolwatch.clock import stop_on_signals, system_clock_ms
from poolwatch.folder import DataFolder, FolderError
from poolwatch.options import DEFAULT_DATA_DIR, DataDir


def registry_check(
    file: Annotated[Path, typer.Argument(help="A pools.toml.", exists=True, dir_okay=False)],
) -> None:
    """Explain every mistake of a registry file with its line; exits with 1 if there is one."""
    try:
        registry = parse_registry(file.read_text(encoding="utf-8"))
    except RegistryError as error:
        for mistake in error.mistakes:
            typer.echo(f"{file}:{mistake}", err=True)
        typer.echo(f"{len(error.mistakes)} mistake(s)", err=True)
        raise typer.Exit(1) from error
    except UnicodeDecodeError as error:
        raise FolderError(f"{file} is not UTF-8 text: {error}") from error
    sensors = sum(len(pool.sensors) for pool in registry.pools.values())
    typer.echo(
        f"{file}: {len(registry.venues)} venues, {len(registry.pools)} pools, {sensors} sensors, "
        f"{len(registry.gateways)} gateways, {len(registry.displays)} displays; no mistake"
    )


def schemas_write(
    folder: Annotated[Path, typer.Argument(help="Where to write.", file_okay=False)] = Path(
        "gateway/contract/schema"
    ),
) -> None:
    """Write the JSON Schemas and the AsyncAPI document of the wire contract."""
    from gateway.contract.documents import documents

    folder.mkdir(parents=True, exist_ok=True)
    for name, content in documents().items():
        (folder / name).write_text(content, encoding="utf-8")
        typer.echo(str(folder / name))


def replay(
    file: Annotated[Path, typer.Argument(help="A recorded CSV file.", exists=True, dir_okay=False)],
    map_file: Annotated[
        Path,
        typer.Option("--map", help="TOML file that says which column is what.", exists=True, dir_okay=False),
    ],
    speed: Annotated[
        float, typer.Option(help="Recorded seconds per second; 0: as fast as it goes.", min=0)
    ] = 0,
    now: Annotated[
        bool, typer.Option("--now", help="Move the recorded times so that the first row is measured now.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Publish a recording through a gateway's outbox, as if its sensors were measuring."""
    from gateway.errors import GatewayError
    from gateway.replay import read_replay_map, replay_file

    folder = DataFolder(data_dir)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        mapping = read_replay_map(map_file)
        credential = folder.read_credentials().gateways.get(mapping.gateway_id)
        if credential is None:
            raise FolderError(
                f"no [gateways.{mapping.gateway_id}] in {folder.credentials}, which {map_file} names"
            )
        with Progress(*columns) as progress:
            task = progress.add_task("rows", total=None)
            result = replay_file(
                file,
                mapping=mapping,
                credential=credential,
                outbox_path=folder.outbox(mapping.gateway_id),
                speed=speed,
                shift_to_now=now,
                clock=system_clock_ms,
                stop=stop_on_signals(),
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
    except GatewayError as error:
        raise FolderError(str(error)) from error
    for problem in result.problems[:20]:
        typer.echo(f"{file}: {problem}", err=True)
    typer.echo(
        f"{result.rows} rows, {result.readings} readings published, {result.dropouts} of them as dropouts, "
        f"{result.empty_cells} empty cells skipped, {result.problem_count} problem(s); "
        f"{result.pending} message(s) not yet confirmed"
    )
    raise typer.Exit(0 if result.pending == 0 else 3)
