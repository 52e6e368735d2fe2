"""Every adapter that the conformance suite runs against: a new one joins by one line. And a real InfluxDB for it."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from influxdb_client import BucketRetentionRules, InfluxDBClient

from ingest.store.influx_address import InfluxAddress, InfluxBuckets, render_address
from ingest.store.opening import open_store
from ingest.store.ports import Store
from tests.ingest.store.influx_server import OPERATOR_TOKEN, ORG, InfluxServer, influxd_program

Opener = Callable[[], Store]
_SCHEMES = ("sqlite", "influx")
_PREFIXES = itertools.count()


@pytest.fixture
def fresh_influxd(tmp_path: Path) -> Iterator[InfluxServer]:
    """A server of this test alone, not set up."""
    folder = tmp_path / "influxd"
    folder.mkdir()
    server = InfluxServer(influxd_program(), folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """A server for all tests, set up; each test makes buckets of its own."""
    server = InfluxServer(influxd_program(), tmp_path_factory.mktemp("influxd"))
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
