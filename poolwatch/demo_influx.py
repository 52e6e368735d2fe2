"""InfluxDB for the demo: a server of its own on loopback, prepared as a deployment's is."""

import os
import shutil
import time
from pathlib import Path

from ingest.store.ports import StoreUnavailableError
from poolwatch.folder import DataFolder
from poolwatch.ports import choose_port
from poolwatch.supervisor import Child, Supervisor

_DEFAULT_PORT = 8086
_READY_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.2


class InfluxAbsentError(Exception):
    """The demo was asked to store in InfluxDB, and there is none; says what to do."""


def influxd_program() -> str:
    """Program of an InfluxDB 2.7 server: POOLWATCH_INFLUXD, or `influxd` on PATH.

    Raises
    ------
    InfluxAbsentError
        If there is none.
    """
    program = os.environ.get("POOLWATCH_INFLUXD") or shutil.which("influxd")
    if program is None or not Path(program).is_file():
        raise InfluxAbsentError(
            "influxd is not on PATH: install InfluxDB 2.7, or name its program in POOLWATCH_INFLUXD; "
            "without --store the demo uses the embedded store"
        )
    return program


def start_influx(folder: DataFolder, supervisor: Supervisor) -> None:
    """Start a server with its files in the folder, and prepare it if it is new.

    Raises
    ------
    InfluxAbsentError
        If there is no server program, or it does not answer.
    """
    from ingest.store.influx_setup import is_fresh, prepare, set_up_first

    program = influxd_program()
    port = choose_port(given=None, default=_DEFAULT_PORT, option="--store")
    place = folder.root / "influxdb"
    url = f"http://127.0.0.1:{port}"
    arguments = [
        f"--bolt-path={place / 'influxd.bolt'}",
        f"--engine-path={place / 'engine'}",
        f"--sqlite-path={place / 'influxd.sqlite'}",
        f"--http-bind-address=127.0.0.1:{port}",
        "--reporting-disabled",
        "--log-level=warn",
    ]
    place.mkdir(parents=True, exist_ok=True)
    supervisor.start(Child("influxd", arguments, folder.logs / "influxd.log", program=(program,)))
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            fresh = is_fresh(url)
        except StoreUnavailableError as error:
            supervisor.restart_dead()
            if time.monotonic() > deadline:
                raise InfluxAbsentError(
                    f"influxd did not answer within {_READY_WITHIN_S:.0f} s: {error}"
                ) from error
            time.sleep(_LOOK_EVERY_S)
        else:
            break
    addresses = folder.influx
    addresses.mkdir(parents=True, exist_ok=True)
    operator = addresses / "operator.toml"
    token = set_up_first(url, org="poolwatch", folder=addresses) if fresh else _token_of(operator)
    prepare(url, org="poolwatch", token=token, folder=addresses, say=lambda _text: None)


def _token_of(operator: Path) -> str:
    import tomllib

    return str(tomllib.loads(operator.read_text(encoding="utf-8"))["token"])
