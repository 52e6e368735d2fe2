"""A real InfluxDB says the time, and on one machine it is the same."""

import time

import pytest

from ingest.clock_watch import ClockWatch
from ingest.store.clock import ask_clock
from ingest.store.influx_address import InfluxAddress, render_address

pytestmark = pytest.mark.integration


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_on_one_machine_the_clocks_may_be_the_same(influx_address: InfluxAddress) -> None:
    ahead = ask_clock(f"{influx_address.url}/ping", _now_ms)
    assert ahead.least_ms <= 0 <= ahead.most_ms


def test_an_ingest_whose_clock_is_wrong_is_told(
    influx_address: InfluxAddress, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("clock") / "ingest.toml"
    path.write_text(render_address(influx_address), encoding="utf-8")
    watch = ClockWatch(f"influx:{path}", clock=lambda: _now_ms() - 60_000)
    watch.look()
    (reason,) = watch.not_ready()
    assert "from this machine's: set both by NTP" in reason
    assert 58 < (watch.ahead_s or 0) < 95
