"""`poolwatch quarantine`: what ingest refused, why, and how it comes into the store after all."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.contract.times import format_timestamp
from poolwatch.clock import system_clock_ms
from poolwatch.folder import DataFolder
from poolwatch.journal_command import Journal, chosen_journals
from poolwatch.options import DEFAULT_DATA_DIR, DataDir

quarantine_app = typer.Typer(
    help="What ingest refused, and why.", no_args_is_help=True, rich_markup_mode="rich"
)
Gateway = Annotated[str | None, typer.Option("--gateway", help="Only what this gateway sent.")]
Code = Annotated[str | None, typer.Option("--reason", help="Only this reason, as unknown_sensor.")]
Pool = Annotated[str | None, typer.Option("--pool", help="Only what is about this pool.")]
MessageId = Annotated[
    int, typer.Argument(help="Number of the message, as `quarantine list` shows it.", min=1)
]


@quarantine_app.command("list")
def list_refusals(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    journal: Journal = None,
    limit: Annotated[int, typer.Option(help="How many of the newest to show.", min=1)] = 50,
    gateway: Gateway = None,
    reason: Code = None,
    pool: Pool = None,
) -> None:
    """Show refusals, the newest first, each with its reason, and how many there are of each reason."""
    from ingest.journal.quarantine import count_quarantine, read_quarantine

    console = Console()
    counts: dict[str, int] = {}
    for place in chosen_journals(DataFolder(data_dir), journal):
        for entry in read_quarantine(place, limit=limit, gateway_id=gateway, code=reason, pool_id=pool):
            item = "whole message" if entry.position is None else f"item {entry.position}"
            sender = entry.gateway_id or "unknown gateway"
            at = format_timestamp(entry.received_at_ms)
            console.print(
                f"[bold]{entry.message_id}[/]  [dim]{at}[/]  [bold]{entry.code}[/]  {item} from {sender}",
                highlight=False,
                soft_wrap=True,
            )
            console.print(
                f"    {entry.topic}\n    {entry.text}", markup=False, highlight=False, soft_wrap=True
            )
        for code, number in count_quarantine(place).items():
            counts[code] = counts.get(code, 0) + number
    console.print(
        "nothing in quarantine" if not counts else ", ".join(f"{code}: {n}" for code, n in counts.items())
    )


@quarantine_app.command("count")
def count(data_dir: DataDir = DEFAULT_DATA_DIR, journal: Journal = None) -> None:
    """Count refusals by gateway and reason."""
    from ingest.journal.quarantine import count_quarantine_by_gateway

    counts: dict[tuple[str, str], int] = {}
    for place in chosen_journals(DataFolder(data_dir), journal):
        for key, number in count_quarantine_by_gateway(place).items():
            counts[key] = counts.get(key, 0) + number
    table = Table()
    table.add_column("gateway")
    table.add_column("reason")
    table.add_column("refusals", justify="right")
    for (gateway_id, code), number in sorted(counts.items(), key=lambda item: -item[1]):
        table.add_row(gateway_id or "unknown", code, str(number))
    Console().print(table if counts else "nothing in quarantine")


@quarantine_app.command("show")
def show(message: MessageId, data_dir: DataDir = DEFAULT_DATA_DIR, journal: Journal = None) -> None:
    """Print a message as it came, byte for byte, so that it can be piped."""
    from ingest.journal.quarantine import explain

    for place in chosen_journals(DataFolder(data_dir), journal):
        payload = explain(place, message).payload
        if payload is not None:
            typer.get_binary_stream("stdout").write(payload)
            typer.echo(err=True)
            return
    raise typer.BadParameter("the journal has that message no longer: its day was removed")


@quarantine_app.command("explain")
def explain_refusals(
    message: MessageId, data_dir: DataDir = DEFAULT_DATA_DIR, journal: Journal = None
) -> None:
    """Say of each refusal of a message what was wrong, and what to do about it."""
    from ingest.journal.quarantine import explain, read_quarantine

    console = Console()
    for place in chosen_journals(DataFolder(data_dir), journal):
        for entry in read_quarantine(place, message_id=message):
            found = explain(place, message, entry.position)
            item = "the whole message" if entry.position is None else f"item {entry.position}"
            console.print(f"[bold]{entry.code}[/]  {item}: {entry.text}", highlight=False, soft_wrap=True)
            console.print(f"    {found.advice}", markup=False, highlight=False, soft_wrap=True)
            shown = found.refused.decode("utf-8", errors="replace") if found.refused else entry.excerpt
            console.print(f"    {shown[:1000]}", markup=False, highlight=False, soft_wrap=True)


@quarantine_app.command("release")
def release_refusals(
    by: Annotated[str, typer.Option("--by", help="Name of the person who releases; it is recorded.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    journal: Journal = None,
    message: Annotated[int | None, typer.Option("--message", help="Only this message.", min=1)] = None,
    gateway: Gateway = None,
    reason: Code = None,
    pool: Pool = None,
    why: Annotated[str, typer.Option("--why", help="A note that is kept with the release.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Also messages of a cloned gateway, which needs --why.")
    ] = False,
) -> None:
    """Judge what was refused again by the present registry; what is good now goes into the store."""
    from ingest.journal.releasing import release

    folder = DataFolder(data_dir)
    registry = folder.read_registry()
    released = kept = 0
    console = Console()
    for place in chosen_journals(folder, journal):
        report = release(
            place,
            registry=registry,
            registry_sha256=registry.sha256,
            who=by,
            now_ms=system_clock_ms(),
            reason=why,
            force=force,
            message_id=message,
            gateway_id=gateway,
            code=reason,
            pool_id=pool,
        )
        released += len(report.released)
        kept += len(report.kept)
        for entry in report.kept[:20]:
            console.print(
                f"stays  {entry.message_id}  {entry.code}: {entry.text}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    console.print(f"{released} released: ingest writes them within seconds; {kept} stay in quarantine")
