"""`poolwatch judge`: from a file of readings to verdicts, for somebody who has no server but a file."""

import sys
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from gateway.contract.errors import RegistryError
from gateway.contract.local_time import time_zone, to_ms, wall_time
from gateway.contract.registry import Registry
from gateway.contract.registry_file import parse_registry
from poolwatch.folder import FolderError

if TYPE_CHECKING:
    from analytics.offline.request import Summary
    from analytics.standards.profile import Profile


def judge(
    readings: Annotated[
        Path,
        typer.Argument(
            help="CSV or Parquet with pool_id, sensor_id, quantity, measured_at, value and, if you have it, status.",
            exists=True,
            dir_okay=False,
        ),
    ],
    registry: Annotated[
        Path, typer.Option(help="The pools and their sensors: a pools.toml.", exists=True, dir_okay=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the tables.", file_okay=False)],
    profile: Annotated[
        str | None,
        typer.Option(help="Judge every pool by this profile: a name, or the path of a .toml file."),
    ] = None,
    publications: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet with the columns of READINGS and published_at.", exists=True, dir_okay=False
        ),
    ] = None,
    first: Annotated[
        str | None,
        typer.Option("--from", help="First local day, or an instant like 2026-07-01T06:00:00+08:00."),
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="Last local day, which counts whole, or an instant.")
    ] = None,
    flags: Annotated[
        bool, typer.Option("--flags", help="Write the quality of every reading too, as Parquet.")
    ] = False,
) -> None:
    """Judge a file of readings: quality, exceedances, lapses, compliance and indicator, as CSV and Parquet."""
    registered = _read_registry(registry)
    profiles = _profiles(registered, profile)
    from analytics.offline.request import Request
    from analytics.offline.run import judge_files

    request = Request(
        readings=readings,
        registry=registered,
        profiles=profiles,
        folder=out,
        publications=publications,
        first=_bound(first, "--from"),
        last=_bound(last, "--to"),
        with_flags=flags,
    )
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("rows", total=None)
        summary = judge_files(
            request, progress=lambda done, total: progress.update(task, completed=done, total=total)
        )
    _print(console, summary, registered, out)


def _read_registry(path: Path) -> Registry:
    try:
        return parse_registry(path.read_text(encoding="utf-8"))
    except RegistryError as error:
        mistakes = "\n".join(f"{path}:{mistake}" for mistake in error.mistakes)
        raise FolderError(f"{path} cannot be used:\n{mistakes}") from error
    except UnicodeDecodeError as error:
        raise FolderError(f"{path} is not UTF-8 text: {error}") from error


def _profiles(registry: Registry, given: str | None) -> "dict[str, Profile]":
    from analytics.standards.profile import load_profile

    names = {pool.profile for pool in registry.pools.values()}
    return {name: load_profile(name if given is None else given) for name in sorted(names)}


def _bound(text: str | None, option: str) -> date | int | None:
    """A local day, or an instant in milliseconds since the epoch."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no day like 2026-07-01, and no time like 2026-07-01T06:00:00Z", param_hint=option
        ) from error
    if instant.tzinfo is None:
        raise typer.BadParameter(
            f"{text!r} has no time zone: write Z, or an offset like +08:00", param_hint=option
        )
    return to_ms(instant)


def _print(console: Console, summary: "Summary", registry: Registry, out: Path) -> None:
    zone = time_zone(next(iter(registry.pools.values())).time_zone)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")

    def add(name: str, number: int, remark: str = "") -> None:
        table.add_row(name, f"{number:,}", remark)

    begin, end = (
        wall_time(at, zone).isoformat(sep=" ", timespec="minutes") for at in (summary.from_ms, summary.to_ms)
    )
    table.add_row("judged", "", f"{begin} to {end} ({zone.key})")
    add("pools", summary.pools, f"{summary.series:,} series of probes")
    if summary.pools_without_rows:
        add("  without rows", summary.pools_without_rows, "not connected: not judged")
    add("rows", summary.rows, f"{summary.samples:,} of them tests by people")
    add("  refused", summary.refused.total(), _counts(summary.refused))
    add("  outside the time", summary.outside)
    if summary.without_value:
        add("  without a value", summary.without_value, "their status says why")
    if summary.publications:
        add("publications", summary.publications)
        add("  refused", summary.refused_publications.total(), _counts(summary.refused_publications))
    for name in ("good", "suspect", "fail"):
        add(f"readings {name}", summary.flags[name])
    steps = ", ".join(f"{step:g} s ({number:,} series)" for step, number in sorted(summary.steps_s.items()))
    if steps:
        table.add_row("step of the grid", "", steps)
    add("exceedances", summary.exceedances)
    for duty in summary.judged:
        add(f"lapses of {duty}", summary.lapses[duty])
    console.print(table)
    if summary.left_out:
        needs = (
            "" if "online_publication" in summary.judged else "; without --publications no publication either"
        )
        console.print(
            f"Not judged, since such files do not show them: {', '.join(summary.left_out)}{needs}.",
            highlight=False,
            soft_wrap=True,
        )
    several = " and refused_publications.csv" if summary.publications else ""
    console.print(
        f"Tables are in {out}, refused rows in {out / 'refused.csv'}{several}.",
        highlight=False,
        soft_wrap=True,
    )


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{reason.replace('_', ' ')} {number:,}" for reason, number in counts.most_common())
