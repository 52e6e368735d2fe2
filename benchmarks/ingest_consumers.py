"""What takes messages from the broker and fills a store: our ingest, into SQLite or InfluxDB, and Telegraf."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.ingest_load import PROBES, TELEGRAF_USER
from benchmarks.ingest_servers import InfluxServer, Program
from gateway.contract.topics import LOGBOOK_FILTER, READINGS_FILTER, STATUS_FILTER
from ingest.store.opening import open_store
from poolwatch.folder import DataFolder

_COMMAND_WITHIN_S = 120.0
_FACTS_BUCKET = "poolwatch-facts"


class NotMeasuredError(Exception):
    """Something cannot be measured here; says why."""


class Consumer(Protocol):
    """A program under test, its session at the broker, and what its store holds."""

    name: str
    #: User name at the broker, which is the client id too.
    username: str
    filters: tuple[str, ...]

    def start(self, log: Path) -> Program:
        """Start it; what it says goes to the log."""
        ...

    def progress(self) -> float:
        """A number that grows whenever the store has taken something, cheap to ask for."""
        ...

    def count(self) -> int:
        """Readings with a value that the store holds."""
        ...


@dataclass
class Ingest:
    """`poolwatch ingest` with a store; `progress` and `count` ask that store."""

    name: str
    folder: DataFolder
    store_url: str | None
    progress: Callable[[], float]
    count: Callable[[], int]
    username: str = "poolwatch-ingest"
    filters: tuple[str, ...] = (READINGS_FILTER, LOGBOOK_FILTER, STATUS_FILTER)

    def start(self, log: Path) -> Program:
        """Start the service as a deployment does."""
        store = [] if self.store_url is None else ["--store", self.store_url]
        root = str(self.folder.root)
        return Program(
            [sys.executable, "-m", "poolwatch", "ingest", "--data-dir", root, *store],
            log=log,
            environment={"PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        )


def ingest_into_sqlite(folder: DataFolder) -> Ingest:
    """Our ingest with the embedded store of its folder."""
    path = Path(folder.store_url(None).partition(":")[2])

    def progress() -> float:
        # The log in front of the database is written with every commit; folding it back changes the database's size.
        files = (path, path.with_name(f"{path.name}-wal"))
        return float(sum(file.stat().st_mtime_ns for file in files if file.exists()))

    def count() -> int:
        store = open_store(f"sqlite:{path}")
        try:
            return store.counts().readings
        finally:
            store.close()

    return Ingest("poolwatch, SQLite", folder, None, progress, count)


def ingest_into_influx(folder: DataFolder, influx: InfluxServer) -> Ingest:
    """Our ingest with InfluxDB.

    Raises
    ------
    NotMeasuredError
        If this poolwatch has no such store.
    """
    fields = [f"{sensor}/{quantity}" for sensor, quantity, *_ in PROBES]
    return Ingest(
        "poolwatch, InfluxDB",
        folder,
        prepare_influx(folder, influx),
        influx.points,
        lambda: influx.count(bucket=_FACTS_BUCKET, fields=fields),
    )


def prepare_influx(folder: DataFolder, influx: InfluxServer) -> str:
    """Make buckets and tokens as a deployment does; the store's address."""
    made = folder.root / "influx"
    made.mkdir(parents=True, exist_ok=True)
    token = made / "operator-token"
    token.write_text(influx.token, encoding="utf-8")
    wanted = ["influx", "init", "--url", influx.url, "--org", influx.org, "--out", str(made)]
    wanted += ["--token-file", str(token)]
    ended = subprocess.run(
        [sys.executable, "-m", "poolwatch", *wanted],
        env=influx.environment(Path(__file__).resolve().parents[1]),
        capture_output=True,
        text=True,
        check=False,
        timeout=_COMMAND_WITHIN_S,
    )
    if ended.returncode:
        # The command line draws a frame round what it says.
        said = " ".join(re.findall(r"^│ (.+?) +│$", ended.stderr, re.MULTILINE)) or ended.stderr.strip()
        raise NotMeasuredError(f"`poolwatch influx init` says: {said[:300]}")
    return f"influx:{made / 'ingest.toml'}"


@dataclass(frozen=True, slots=True)
class TelegrafSettings:
    """What of Telegraf's settings decides its speed; the best of several is measured."""

    parser: str = "json"
    encoding: str = "identity"
    batch: int = 1000

    def __str__(self) -> str:
        return f"{self.parser}, {self.encoding}, batches of {self.batch:,}"


#: Tried in turn on a part of the load.
TELEGRAF_TRIALS = (
    TelegrafSettings("json"),
    TelegrafSettings("json_v2"),
    TelegrafSettings("xpath_json"),
    TelegrafSettings("json", "gzip"),
    TelegrafSettings("json", batch=3000),
    TelegrafSettings("json", batch=5000),
    TelegrafSettings("json", batch=10_000),
)

_PARSERS = {
    "json": """
  data_format = "json"
  json_query = "readings"
  tag_keys = ["sensor_id", "quantity"]
  json_time_key = "measured_at"
  json_time_format = "2006-01-02T15:04:05Z07:00"
""",
    "json_v2": """
  data_format = "json_v2"
  [[inputs.mqtt_consumer.json_v2]]
    [[inputs.mqtt_consumer.json_v2.object]]
      path = "readings"
      timestamp_key = "measured_at"
      timestamp_format = "rfc3339"
      tags = ["sensor_id", "quantity"]
""",
    "xpath_json": """
  data_format = "xpath_json"
  xpath_native_types = true
  [[inputs.mqtt_consumer.xpath]]
    metric_selection = "/readings/*"
    timestamp = "measured_at"
    timestamp_format = "rfc3339"
    [inputs.mqtt_consumer.xpath.tags]
      sensor_id = "sensor_id"
      quantity = "quantity"
    [inputs.mqtt_consumer.xpath.fields]
      value = "number(value)"
""",
}


@dataclass
class Telegraf:
    """Telegraf with a persistent session, QoS 1, raised buffers, and acknowledgement once InfluxDB has taken it."""

    program: str
    root: Path
    password: str
    port: int
    influx: InfluxServer
    settings: TelegrafSettings = TelegrafSettings()
    name: str = "Telegraf, InfluxDB"
    username: str = TELEGRAF_USER
    filters: tuple[str, ...] = (READINGS_FILTER,)

    def start(self, log: Path) -> Program:
        """Write its configuration and start it."""
        conf = self.root / "telegraf.conf"
        conf.touch(mode=0o600)
        conf.write_text(self._configuration(), encoding="utf-8")
        return Program([self.program, "--config", str(conf)], log=log)

    def progress(self) -> float:
        """Points that InfluxDB took."""
        return self.influx.points()

    def count(self) -> int:
        """Values in its bucket."""
        return self.influx.count(bucket="telegraf", fields=["value"])

    def _configuration(self) -> str:
        return f"""[agent]
  interval = "1s"
  flush_interval = "200ms"
  metric_batch_size = {self.settings.batch}
  metric_buffer_limit = 2000000
  omit_hostname = true
  quiet = true
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{self.port}"]
  topics = ["{READINGS_FILTER}"]
  topic_tag = ""
  qos = 1
  persistent_session = true
  client_id = "{self.username}"
  username = "{self.username}"
  password = "{self.password}"
  max_undelivered_messages = 100000
  name_override = "reading"
{_PARSERS[self.settings.parser]}
  [[inputs.mqtt_consumer.topic_parsing]]
    topic = "{READINGS_FILTER}"
    tags = "_/pool_id/_/gateway_id/_"
[[outputs.influxdb_v2]]
  urls = ["{self.influx.url}"]
  token = "{self.influx.token}"
  organization = "{self.influx.org}"
  bucket = "telegraf"
  content_encoding = "{self.settings.encoding}"
  timeout = "60s"
"""
