"""Options of `poolwatch demo`, apart from what it does, so that `--help` need not load the system."""

from pathlib import Path
from typing import Annotated

import typer

from poolwatch.options import DEFAULT_DATA_DIR
from poolwatch.ports import choose_port


def demo(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder for everything; one that exists is gone on with. [default: {DEFAULT_DATA_DIR}, made anew]",
            file_okay=False,
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the pages. [default: 8080 or the next free one]")
    ] = None,
    broker_port: Annotated[
        int | None, typer.Option(help="Port of the MQTT broker. [default: 1883 or the next free one]")
    ] = None,
    pools: Annotated[
        int, typer.Option(help="How many pools are simulated, besides the guest pool.", min=2, max=200)
    ] = 12,
    seed: Annotated[int, typer.Option(help="Same seed, same water and same faults.")] = 1,
    store: Annotated[
        str,
        typer.Option(
            help="sqlite, embedded; or influx: an InfluxDB 2.7 of the demo's own, whose influxd is on PATH.",
        ),
    ] = "sqlite",
    duration: Annotated[
        float | None,
        typer.Option(help="Seconds after which it stops cleanly. [default: until Ctrl-C]", min=1),
    ] = None,
) -> None:
    """Run broker, gateways, ingest, analytics and pages on this machine, with simulated pools that go wrong in turn.

    It ends with the account of what was sent, stored, judged and published, and exits with 1 if anything is missing.
    """
    from poolwatch.demo import DemoError, DemoSettings, run_demo
    from poolwatch.demo_influx import InfluxAbsentError
    from poolwatch.supervisor import ChildFailedError

    if store not in ("sqlite", "influx"):
        raise typer.BadParameter(f"{store!r} is no store of the demo: sqlite or influx", param_hint="--store")
    settings = DemoSettings(
        data_dir=data_dir or DEFAULT_DATA_DIR,
        keep=data_dir is not None,
        port=choose_port(given=port, default=8080, option="--port"),
        broker_port=choose_port(given=broker_port, default=1883, option="--broker-port"),
        pools=pools,
        seed=seed,
        duration_s=duration,
        store=store,
    )
    try:
        code = run_demo(settings)
    except (DemoError, ChildFailedError, InfluxAbsentError) as error:
        typer.echo(f"poolwatch: {error}", err=True)
        code = 2
    raise typer.Exit(code)
