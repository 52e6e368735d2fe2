"""The fault bench with a real InfluxDB as its store; each service has the token that `poolwatch influx init` made for it."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from ingest.store.influx_address import read_address, render_address
from ingest.store.influx_setup import prepare, set_up_first
from tests.ingest.store.influx_server import InfluxServer
from tests.integration.fault_bench import Bench

INFLUXD = "influxd"


class InfluxBench(Bench):
    """A bench with one more process, `influxd`."""

    def __init__(self, root: Path, gateways: Sequence[str] = ("g1",), *, program: str) -> None:
        super().__init__(root, gateways)
        place = root / "influxdb"
        place.mkdir()
        self.server = InfluxServer(program, place)
        self.server.start()
        self.folder.influx.mkdir()
        token = set_up_first(self.server.url, org="poolwatch", folder=self.folder.influx)
        prepare(
            self.server.url, org="poolwatch", token=token, folder=self.folder.influx, say=lambda _text: None
        )

    def store_of(self, service: str) -> dict[str, str]:
        """Environment that names the store to a service."""
        return {"POOLWATCH_STORE": f"influx:{self.folder.influx / service}.toml"}

    def put_between(self, url: str) -> None:
        """Have ingest find InfluxDB at another address; everybody else goes to the server itself."""
        path = self.folder.influx / "ingest.toml"
        path.write_text(
            render_address(msgspec.structs.replace(read_address(path), url=url)), encoding="utf-8"
        )

    def start(self, name: str) -> None:
        """Begin to run a process by its name; InfluxDB is not waited for."""
        if name == INFLUXD:
            self.server.launch()
        else:
            super().start(name)

    def kill(self, name: str) -> None:
        """Kill a process with SIGKILL."""
        if name == INFLUXD:
            self.server.kill()
        else:
            super().kill(name)

    def close(self) -> None:
        """Kill whatever still runs."""
        super().close()
        self.server.kill()
