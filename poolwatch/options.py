"""Options that several commands share, described once. Each can be given as an environment variable too."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_DATA_DIR = Path("demo-data")

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        help="Folder with pools.toml, credentials.toml and everything that poolwatch writes.",
        envvar="POOLWATCH_DATA_DIR",
        file_okay=False,
    ),
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="Address of the store; without it, the embedded one in the data folder.",
        envvar="POOLWATCH_STORE",
    ),
]
MonitorPort = Annotated[
    int | None,
    typer.Option(
        "--monitor-port",
        help="Serve /metrics, /healthz and /readyz on this port; without it, nowhere.",
        envvar="POOLWATCH_MONITOR_PORT",
        min=0,
        max=65535,
    ),
]
MonitorHost = Annotated[
    str,
    typer.Option(
        "--monitor-host",
        help="Address for --monitor-port; loopback unless told otherwise.",
        envvar="POOLWATCH_MONITOR_HOST",
    ),
]
LOOPBACK = "127.0.0.1"
Verbose = Annotated[bool, typer.Option("--verbose", help="Say more.")]
PoolId = Annotated[str, typer.Option("--pool", help="Id of the pool, as in pools.toml.")]
By = Annotated[str, typer.Option("--by", help="Name of the person who did it.")]
GatewayId = Annotated[
    str,
    typer.Option("--gateway", help="Gateway that speaks: it needs credentials and the pool in pools.toml."),
]
