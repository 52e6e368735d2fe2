"""`poolwatch influx`: preparing the production store."""

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from poolwatch.folder import FolderError

influx_app = typer.Typer(
    help="The production store, InfluxDB 2.7.", no_args_is_help=True, rich_markup_mode="rich"
)


@influx_app.callback()
def _influx() -> None:
    """Keep `init` a command of its own."""


@influx_app.command()
def init(
    url: Annotated[str, typer.Option(help="Where InfluxDB is, like http://127.0.0.1:8086.")],
    out: Annotated[
        Path,
        typer.Option(help="Folder for the services' address files, each with its token.", file_okay=False),
    ],
    org: Annotated[str, typer.Option(help="Organisation to use, made if absent.")] = "poolwatch",
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the operator token of a server that is set up already; without it, operator.toml in OUT.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    keep_facts_days: Annotated[
        int,
        typer.Option(help="How long a new bucket keeps readings and what was published; 0: for ever.", min=0),
    ] = 1_100,
    keep_states_days: Annotated[
        int, typer.Option(help="How long a new bucket keeps pool states; 0: for ever.", min=0)
    ] = 90,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make new tokens and delete the old ones.")
    ] = False,
) -> None:
    """Make organisation, buckets and one token for each service; run again, it changes nothing and says so.

    A server that was never set up gets a user and an operator token, which are written to OUT/operator.toml.
    """
    from ingest.store.influx_setup import KEEP_DAYS, is_fresh, prepare, set_up_first

    out.mkdir(parents=True, exist_ok=True)
    operator_file = out / "operator.toml"
    changes = 0
    if token_file is not None:
        token = token_file.read_text(encoding="utf-8").strip()
    elif is_fresh(url):
        token = set_up_first(url, org=org, folder=out)
        typer.echo(
            f"{operator_file}: written; the server was fresh and has its first user now. Keep this file safe"
        )
        changes += 1
    elif operator_file.exists():
        token = tomllib.loads(operator_file.read_text(encoding="utf-8"))["token"]
    else:
        raise FolderError(
            f"InfluxDB at {url} is set up already: give its operator token with --token-file, "
            f"or the folder that holds its operator.toml with --out"
        )
    keep_days = KEEP_DAYS | {  # type: ignore[operator]
        "facts": keep_facts_days,
        "published": keep_facts_days,
        "states": keep_states_days,
    }
    changes += prepare(
        url, org=org, token=token, folder=out, keep_days=keep_days, rotate=rotate, say=typer.echo
    )
    typer.echo(f"{changes} thing(s) changed" if changes else "all is there already: nothing changed")
    typer.echo(f"ingest, for one, takes --store influx:{out / 'ingest.toml'}")
