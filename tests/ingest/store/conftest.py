"""Every adapter that the conformance suite runs against: a new one joins by one line. And a real InfluxDB for it."""

import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from influxdb_client import BucketRetentionRules, InfluxDBClient

from ingest.store.influx_address import InfluxAddress, InfluxBuckets, render_address
from ingest.store.opening import open_store
from ingest.store.ports import Store

Opener = Callable[[], Store]
ORG = "testers"
OPERATOR_TOKEN = "operator-token-of-tests"
_SCHEMES = ("sqlite", "influx")
_PREFIXES = itertools.count()


class InfluxServer:
    """A real influxd on loopback with a folder of its own; may be killed and started again."""

    def __init__(self, program: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        arguments = [
            self._program,
            "run",
            f"--engine-path={self._folder / 'engine'}",
            f"--bolt-path={self._folder / 'influxd.bolt'}",
            f"--sqlite-path={self._folder / 'influxd.sqlite'}",
            f"--http-bind-address=127.0.0.1:{self._port}",
            "--reporting-disabled",
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        with InfluxDBClient(self.url, token="", timeout=1_000) as client:
            while not client.ping():
                assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
                assert time.monotonic() < deadline, "influxd did not answer within 60 s"
                time.sleep(0.05)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def set_up(self) -> None:
        with InfluxDBClient(self.url, token="") as client:
            from influxdb_client import OnboardingRequest
            from influxdb_client.service.setup_service import SetupService

            request = OnboardingRequest(
                username="operator",
                password="password-of-tests",
                org=ORG,
                bucket="first",
                token=OPERATOR_TOKEN,
            )
            SetupService(client.api_client).post_setup(request)


def _influxd() -> str:
    program = os.environ.get("POOLWATCH_INFLUXD") or shutil.which("influxd")
    if program is None:
        pytest.skip(
            "influxd is not here: name an InfluxDB 2.7 server in POOLWATCH_INFLUXD, or put it on PATH"
        )
    return program


@pytest.fixture
def fresh_influxd(tmp_path: Path) -> Iterator[InfluxServer]:
    """A server of this test alone, not set up."""
    folder = tmp_path / "influxd"
    folder.mkdir()
    server = InfluxServer(_influxd(), folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """A server for all tests, set up; each test makes buckets of its own."""
    server = InfluxServer(_influxd(), tmp_path_factory.mktemp("influxd"))
    server.start()
    server.set_up()
    yield server
    server.kill()


@pytest.fixture
def influx_address(influxd: InfluxServer) -> InfluxAddress:
    """Fresh buckets, and the token that may do all."""
    return _make_buckets(influxd.url)


@pytest.fixture
def make_buckets() -> Callable[..., InfluxAddress]:
    """Fresh buckets in a server of the test's own."""
    return _make_buckets


def _make_buckets(url: str, *, keep_s: int = 0) -> InfluxAddress:
    prefix = f"t{next(_PREFIXES)}"
    buckets = InfluxBuckets(*(f"{prefix}-{name}" for name in InfluxBuckets.__struct_fields__))
    with InfluxDBClient(url, token=OPERATOR_TOKEN, org=ORG) as client:
        for name in InfluxBuckets.__struct_fields__:
            client.buckets_api().create_bucket(
                bucket_name=getattr(buckets, name),
                org=ORG,
                retention_rules=[BucketRetentionRules(type="expire", every_seconds=keep_s)],
            )
    return InfluxAddress(url=url, org=ORG, token=OPERATOR_TOKEN, buckets=buckets)


@pytest.fixture(params=_SCHEMES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'store.sqlite'}"
    path = tmp_path / "influx.toml"
    path.write_text(render_address(request.getfixturevalue("influx_address")))
    return f"influx:{path}"


@pytest.fixture
def open_adapter(store_url: str) -> Iterator[Opener]:
    """Opens the same store again at each call, as another process would; all are closed in the end."""
    opened: list[Store] = []

    def open_once_more() -> Store:
        opened.append(open_store(store_url))
        return opened[-1]

    yield open_once_more
    for store in opened:
        store.close()


@pytest.fixture
def store(open_adapter: Opener) -> Store:
    return open_adapter()
