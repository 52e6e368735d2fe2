"""kill -9 of gateway, broker, ingest and influxd at random moments: every reading that was sent is in InfluxDB once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("influxdb_client", reason="a store in InfluxDB needs the extra `influx`")

from tests.ingest.store.influx_server import influxd_program
from tests.integration.fault_bench import needs_mosquitto
from tests.integration.fault_influx import INFLUXD, InfluxBench
from tests.integration.fault_kills import kill_at_random

SEEDS = range(3)
#: Rounds of all seeds together.
ROUNDS = int(os.environ.get("POOLWATCH_FAULT_ROUNDS", "51"))
_ROUNDS_EACH = -(-ROUNDS // len(SEEDS))
_VICTIMS = ("g1", "broker", "ingest", INFLUXD)

pytestmark = [pytest.mark.integration, needs_mosquitto, pytest.mark.timeout(240 + 4 * _ROUNDS_EACH)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[InfluxBench]:
    bench = InfluxBench(tmp_path, ("g1", "bystander"), program=influxd_program())
    yield bench
    bench.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_kills_of_influxd_and_of_all_others_lose_and_double_nothing(bench: InfluxBench, seed: int) -> None:
    kill_at_random(
        bench, _VICTIMS, seed=seed, rounds=_ROUNDS_EACH, is_under_way=lambda: len(bench.stored()) > 10
    )
