"""The five services, each one process: `poolwatch broker | simulate | ingest | analytics | dashboards`."""

from contextlib import closing
from typing import Annotated

import typer

from poolwatch.clock import stop_on_signals, system_clock_ms
from poolwatch.folder import DataFolder, FolderError
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


def broker(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    port: Annotated[
        int, typer.Option(help="Port of the MQTT listener.", envvar="POOLWATCH_BROKER_PORT")
    ] = 1883,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; loopback unless told otherwise.", envvar="POOLWATCH_BROKER_HOST"
        ),
    ] = "127.0.0.1",
    tls: Annotated[
        bool | None,
        typer.Option(
            "--tls/--no-tls",
            help="Encrypt; by default wherever `poolwatch pki init` has made certificates.",
            envvar="POOLWATCH_BROKER_TLS",
        ),
    ] = None,
    private_network: Annotated[
        bool,
        typer.Option(
            "--private-network",
            help="Only containers of this machine reach --host: no TLS is needed.",
            envvar="POOLWATCH_BROKER_PRIVATE_NETWORK",
        ),
    ] = False,
    monitor_port: MonitorPort = None,
    monitor_host: MonitorHost = LOOPBACK,
    verbose: Verbose = False,
) -> None:
    """Run the MQTT broker: Mosquitto where it is installed, else the embedded one. Credentials come from the folder."""
    configure_logs(service="broker", verbose=verbose)
    from functools import partial

    from ingest.broker import MOSQUITTO, broker_name, run_broker, write_broker_files
    from ingest.broker_watch import BrokerWatch, Watched
    from ingest.pki_files import PkiFiles
    from poolwatch.broker_monitor import make_monitor_credential, watching_broker

    folder = DataFolder(data_dir)
    registry, credentials = folder.read_registry(), folder.read_credentials()
    made = PkiFiles(folder.pki).server
    if tls and not made.exists():
        raise FolderError(
            f"no certificate at {made}: make one with `poolwatch pki init --data-dir {data_dir}`"
        )
    server_pem = None if tls is False or not made.exists() else made
    monitor = None
    if monitor_port is not None and broker_name() == MOSQUITTO:
        monitor = make_monitor_credential(host=host, port=port)
    write = partial(
        write_broker_files,
        folder.broker,
        port=port,
        host=host,
        server_pem=server_pem,
        private_network=private_network,
        monitor=monitor,
    )
    watched = Watched(folder.registry, folder.credentials, server_pem)
    with BrokerWatch(
        folder.broker,
        watched,
        write=lambda registry, credentials: write(registry=registry, credentials=credentials),
        clock=system_clock_ms,
    ) as watch:
        files = write(registry=registry, credentials=credentials)
        with watching_broker(
            host=host,
            port=port,
            credential=monitor,
            ca_file=None if server_pem is None else PkiFiles(folder.pki).bundle,
            figures=watch.figures,
            monitor_host=monitor_host,
            monitor_port=monitor_port,
        ):
            code = run_broker(files, stop_on_signals(), watch=watch)
    raise typer.Exit(code)


def simulate(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    scenario: Annotated[str, typer.Option(help="Name of the scenario: demo, steady or load.")] = "demo",
    pools: Annotated[int, typer.Option(help="How many pools are simulated.", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="Same seed, same water.")] = 1,
    start_ms: Annotated[
        int | None,
        typer.Option(help="Start of the scenario in ms since 1970, so that a restart goes on in it."),
    ] = None,
    monitor_port: MonitorPort = None,
    monitor_host: MonitorHost = LOOPBACK,
    verbose: Verbose = False,
) -> None:
    """Run the simulated gateways of a scenario: water, probes, staff and faults, over the real wire."""
    configure_logs(service="simulate", verbose=verbose)
    from poolwatch.gateway_monitor import watching_gateways
    from simulators.scenarios import build_scenario
    from simulators.service import run_scenario

    folder = DataFolder(data_dir)
    begun_ms = system_clock_ms() if start_ms is None else start_ms
    run_scenario(
        build_scenario(scenario, pools=pools, seed=seed, start_ms=begun_ms),
        gateways_dir=folder.gateways,
        credentials=folder.read_credentials(),
        clock=system_clock_ms,
        stop=stop_on_signals(),
        watch=watching_gateways(host=monitor_host, port=monitor_port, clock=system_clock_ms),
    )


def analytics(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    store: StoreUrl = None,
    shard: Annotated[
        str,
        typer.Option(help="Which part of the pools to judge, as 2/3; one service for each part."),
    ] = "1/1",
    monitor_port: MonitorPort = None,
    monitor_host: MonitorHost = LOOPBACK,
    verbose: Verbose = False,
) -> None:
    """Judge what arrived in the store, and what time alone changes, into verdicts and states of pools."""
    configure_logs(service="analytics", verbose=verbose)
    from analytics.service import AnalyticsService
    from analytics.shard import parse_shard
    from ingest.store.opening import await_store
    from poolwatch.monitor import monitored, stuck

    try:
        part = parse_shard(shard)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--shard") from error
    folder = DataFolder(data_dir)
    stop = stop_on_signals()
    registry = folder.read_registry()
    opened = await_store(folder.store_url(store), stop)
    if opened is None:
        return
    service = AnalyticsService(
        facts=opened, results=opened, registry=registry, clock=system_clock_ms, shard=part
    )
    started_ms = system_clock_ms()

    def not_alive() -> list[str]:
        last_ms = service.counters.last_round_at_ms
        return stuck(last_ms, started_ms=started_ms, clock=system_clock_ms, what="judged")

    with (
        closing(opened),
        monitored(
            "analytics",
            host=monitor_host,
            port=monitor_port,
            counters=service.counters,
            not_alive=not_alive,
            not_ready=service.not_ready,
        ),
    ):
        service.run(stop)


def dashboards(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; loopback unless told otherwise.", envvar="POOLWATCH_HOST"),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of pages and API.", envvar="POOLWATCH_PORT")] = 8080,
    replica: Annotated[str, typer.Option(help="Name of this replica in the publication log.")] = "public-1",
    store: StoreUrl = None,
    monitor_port: MonitorPort = None,
    monitor_host: MonitorHost = LOOPBACK,
    verbose: Verbose = False,
) -> None:
    """Serve the public pages, screens and API, and keep the publication log."""
    configure_logs(service="dashboards", verbose=verbose)
    from contextlib import AbstractContextManager

    from dashboards.public import health
    from dashboards.public.metrics import BoardCollector
    from dashboards.public.service import run_dashboards
    from dashboards.public.site import Site
    from poolwatch.monitor import monitored

    folder = DataFolder(data_dir)

    def watch(site: Site) -> AbstractContextManager[None]:
        return monitored(
            "dashboards",
            host=monitor_host,
            port=monitor_port,
            gauges=BoardCollector(site).collect,
            not_alive=lambda: health.not_alive(site),
            not_ready=lambda: health.not_ready(site),
        )

    run_dashboards(
        registry_path=folder.registry,
        public_dir=folder.public,
        store_url=folder.store_url(store),
        replica=replica,
        host=host,
        port=port,
        clock=system_clock_ms,
        watch=watch,
    )
