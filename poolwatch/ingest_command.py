"""`poolwatch ingest`: the service, alone or one of several, and `poolwatch ingest retire` for a member that is gone."""

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from poolwatch.clock import stop_on_signals, system_clock_ms
from poolwatch.folder import DataFolder
from poolwatch.logs import configure_logs
from poolwatch.options import (
    DEFAULT_DATA_DIR,
    LOOPBACK,
    DataDir,
    MonitorHost,
    MonitorPort,
    StoreUrl,
    Verbose,
)

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from ingest.service import IngestService
    from ingest.store.records import GatewayStatusRow
    from poolwatch.account_watch import AccountWatch

#: SQLite gives up the interpreter at each step, and at the default of 5 ms each return of it would take longer than the
#: work; other stores are waited for without it, and gain by fewer turns. Measured. [s]
_SWITCH_INTERVAL_S = {"sqlite": 0.0005}
#: A batch makes thousands of objects that all go with it: fewer looks for cycles among them.
_COLLECT_EVERY = 200_000

ingest_app = typer.Typer(invoke_without_command=True, rich_markup_mode="rich")


@contextmanager
def _opened(
    data_dir: DataDir,
    store: StoreUrl,
    member: str | None,
    stop: threading.Event,
    *,
    keep_days: int | None = None,
    is_retiring: bool = False,
) -> "Iterator[IngestService | None]":
    from ingest.running import opened_ingest
    from ingest.subscriber_share import ShareMember

    folder = DataFolder(data_dir)
    credential = folder.service_credential("ingest" if member is None else f"ingest-{member}")
    try:
        share = None if member is None else ShareMember(member, group=credential.share_group or "ingest")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    store_url = folder.store_url(store)
    sys.setswitchinterval(_SWITCH_INTERVAL_S.get(store_url.partition(":")[0], sys.getswitchinterval()))
    with opened_ingest(
        registry_path=folder.registry,
        credential=credential,
        journal_folder=folder.journal_of(member),
        store_url=store_url,
        clock=system_clock_ms,
        stop=stop,
        member=share,
        keep_days=keep_days,
        is_retiring=is_retiring,
    ) as service:
        # What is loaded by now stays: no collection need look at it again.
        gc.freeze()
        gc.set_threshold(_COLLECT_EVERY)
        yield service


@ingest_app.callback()
def ingest(
    context: typer.Context,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    store: StoreUrl = None,
    member: Annotated[
        str | None,
        typer.Option(
            help="Name of this ingest where several share the messages; its credentials are services.ingest-NAME.",
        ),
    ] = None,
    keep_days: Annotated[
        int | None,
        typer.Option(
            help="Days of the journal that stay once the store has them; without it, all.",
            envvar="POOLWATCH_KEEP_DAYS",
            min=1,
        ),
    ] = None,
    monitor_port: MonitorPort = None,
    monitor_host: MonitorHost = LOOPBACK,
    verbose: Verbose = False,
) -> None:
    """Take messages from the broker into the journal, acknowledge, give receipts, and fill the store."""
    if context.invoked_subcommand is not None:
        return
    configure_logs(service="ingest", verbose=verbose)
    from ingest.clock_watch import ClockWatch
    from poolwatch.ingest_watch import IngestWatch, watching
    from poolwatch.monitor import as_gauges, as_histograms, monitored, stuck

    stop = stop_on_signals()
    folder = DataFolder(data_dir)
    with _opened(data_dir, store, member, stop, keep_days=keep_days) as service:
        if service is None:
            return
        started_ms = system_clock_ms()
        clocks = ClockWatch(folder.store_url(store), clock=system_clock_ms)
        # Taking the account costs something, and without the monitor nobody sees it.
        account = None if monitor_port is None else _account_watch(folder, store, member, service)
        watch = IngestWatch(clocks=clocks, account=account)

        def gauges() -> "list[Metric]":
            own = as_gauges("ingest", {**service.gauges(), **clocks.gauges(), **watch.gauges()})
            told = [] if account is None else account.metrics()
            return [*own, *as_histograms("ingest", service.latencies()), *told]

        def not_alive() -> list[str]:
            last_ms = service.counters.last_round_at_ms
            return stuck(last_ms, started_ms=started_ms, clock=system_clock_ms, what="taken in")

        with (
            watching(watch),
            monitored(
                "ingest",
                host=monitor_host,
                port=monitor_port,
                counters=service.counters,
                gauges=gauges,
                not_alive=not_alive,
                not_ready=lambda: [*service.not_ready(), *clocks.not_ready()],
            ),
        ):
            service.run(stop)


def _account_watch(
    folder: DataFolder, store: StoreUrl, member: str | None, service: "IngestService"
) -> "AccountWatch":
    """The account of all ingests whose journals are here; of this one alone if some journal is elsewhere."""
    from ingest.broker_config import INGEST_SERVICE, is_ingest
    from poolwatch.account_watch import AccountWatch

    statuses: dict[str, GatewayStatusRow] = {}
    service.statuses = statuses
    own = folder.journal_of(member)
    others = [
        folder.journal_of(name.removeprefix(f"{INGEST_SERVICE}-"))
        for name in folder.read_credentials().services
        if is_ingest(name) and name != INGEST_SERVICE
    ]

    def is_whole() -> bool:
        return all((journal / "state.sqlite").exists() for journal in others)

    return AccountWatch(
        journals=lambda: folder.journals() if is_whole() else [own],
        is_whole=is_whole,
        is_only=not others,
        statuses=statuses.copy,
        gateways=service.gateways,
        store_url=folder.store_url(store),
        reconciled=folder.reconciled,
        clock=system_clock_ms,
    )


@ingest_app.command("retire")
def retire(
    member: Annotated[str, typer.Argument(help="Name of the member that is gone, as given with --member.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    store: StoreUrl = None,
    verbose: Verbose = False,
) -> None:
    """Take over what the broker still holds for a member that is gone, store it, and end its session.

    Run it where the member's journal is, or anywhere with its credentials: what is drained is journalled in the data folder
    and stored as usual. The member must not run.
    """
    configure_logs(service="ingest", verbose=verbose)
    stop = stop_on_signals()
    with _opened(data_dir, store, member, stop, is_retiring=True) as service:
        drained = service is not None and service.drain(stop)
        taken = 0 if service is None else service.counters.received_messages
    if not drained:
        typer.echo(f"stopped: the broker still keeps the session of {member}; run it again", err=True)
        raise typer.Exit(3)
    typer.echo(f"{member} is retired: {taken} messages were left in its session and are stored now")
