"""The command line: one entry point, `poolwatch`, whose help teaches the way of the data."""

import sys

import typer

from poolwatch import desk, files, services
from poolwatch.credentials_command import credentials_app
from poolwatch.demo_command import demo
from poolwatch.folder import FolderError
from poolwatch.influx_command import influx_app
from poolwatch.ingest_command import ingest_app
from poolwatch.journal_command import journal_app
from poolwatch.judge_command import judge
from poolwatch.pki_command import pki_app
from poolwatch.ports import PortTakenError
from poolwatch.profile_command import profile_app
from poolwatch.quarantine_command import quarantine_app
from poolwatch.reconcile_command import reconcile

_SERVICES = "Services, each one process"
_POOL = "At the pool"
_LOOK = "Looking and checking"

app = typer.Typer(
    name="poolwatch",
    help=(
        "Online monitoring of public pool water.\n\n"
        "Readings go from a gateway at the pool over MQTT to ingest, which keeps every message in its journal and fills the "
        "store; analytics judges them against the standard and the opening hours; dashboards publishes them.\n\n"
        "To see all of it at once on this machine: [bold]poolwatch demo[/]"
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command(rich_help_panel="Start here")(demo)
app.command(rich_help_panel=_SERVICES)(services.broker)
app.add_typer(ingest_app, name="ingest", rich_help_panel=_SERVICES)
for service in (services.analytics, services.dashboards, services.simulate):
    app.command(rich_help_panel=_SERVICES)(service)
app.command("test", rich_help_panel=_POOL)(desk.test)
for command in (desk.close, desk.reopen):
    app.command(rich_help_panel=_POOL)(command)
app.command(rich_help_panel=_POOL)(files.replay)
app.command(rich_help_panel=_LOOK)(reconcile)
app.command(rich_help_panel=_LOOK)(judge)


def _group(name: str, help_text: str) -> typer.Typer:
    group = typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode="rich")
    app.add_typer(group, name=name, rich_help_panel=_LOOK)
    return group


_group("registry", "The file that says which pools exist, pools.toml.").command("check")(files.registry_check)
app.add_typer(quarantine_app, name="quarantine", rich_help_panel=_LOOK)
app.add_typer(journal_app, name="journal", rich_help_panel=_LOOK)
app.add_typer(influx_app, name="influx", rich_help_panel=_LOOK)
app.add_typer(profile_app, name="profile", rich_help_panel=_LOOK)
app.add_typer(credentials_app, name="credentials", rich_help_panel=_LOOK)
app.add_typer(pki_app, name="pki", rich_help_panel=_LOOK)
_group("schemas", "The published contract as JSON Schema and AsyncAPI.").command("write")(files.schemas_write)


def main() -> None:
    """Run the command line; an error that a user can cause ends with one sentence and code 2."""
    try:
        app()
    except Exception as error:
        if not _is_for_users(error):
            raise
        print(f"poolwatch: {error}", file=sys.stderr)
        sys.exit(2)


def _is_for_users(error: Exception) -> bool:
    """Whether an error's text says what a user should do; imported late, since most commands need none of it."""
    from analytics.errors import AnalyticsError
    from dashboards.public.publication_log import PublicationLogError
    from gateway.contract.errors import ContractError
    from gateway.errors import GatewayError
    from ingest.errors import IngestError
    from ingest.store.ports import StoreError
    from simulators.scenarios import ScenarioError

    kinds = (FolderError, PortTakenError, ContractError, GatewayError, IngestError, StoreError)
    return isinstance(error, (*kinds, AnalyticsError, PublicationLogError, ScenarioError))
