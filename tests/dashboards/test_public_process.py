"""The public service as a process of its own: ended by SIGTERM with clients on, and killed in the middle of its work."""

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingest.store.opening import open_store
from ingest.store.ports import Store
from ingest.store.records import PoolStateRow

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

_PROGRAM = """
import sys, time
from pathlib import Path
from dashboards.public.service import run_dashboards
folder = Path(sys.argv[1])
run_dashboards(registry_path=folder / "pools.toml", public_dir=folder / "public",
    store_url=f"sqlite:{folder / 'store.sqlite'}", replica="r", host="127.0.0.1", port=int(sys.argv[2]),
    clock=lambda: time.time_ns() // 1_000_000)
(folder / "ended-well").touch()
"""
_REGISTRY = """schema = 1
[venues.v]
name_zh = "清枫"
name_en = "Qingfeng"
district = "天宁"
[pools.p1]
venue = "v"
name_zh = "主池"
name_en = "Main pool"
kind = "indoor"
"""
_TOP_S = 20.0


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _TOP_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {_TOP_S:.0f} s: {what}"
        time.sleep(0.02)


class _Process:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(folder), str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        )
        _wait_for(self._alive, "the service answers")

    def _alive(self) -> bool:
        assert self.process.poll() is None, "the service ended at its start"
        try:
            return httpx.get(f"{self.url}/healthz", timeout=1).status_code == 200
        except httpx.TransportError:
            return False

    def end(self, sig: signal.Signals) -> int:
        self.process.send_signal(sig)
        return self.process.wait(15)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], _Process]]:
    (tmp_path / "pools.toml").write_text(_REGISTRY, encoding="utf-8")
    started: list[_Process] = []

    def begun() -> _Process:
        started.append(_Process(tmp_path))
        return started[-1]

    yield begun
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:{tmp_path / 'store.sqlite'}")
    yield opened
    opened.close()


def _judge(store: Store, state: Any) -> None:
    from analytics.results import encode

    row = PoolStateRow(state.pool_id, state.at_ms, state.state.value, encode(state))
    store.write_results(verdicts=[], states=[row])


def _snapshots(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: ") and name == "snapshot":
            yield json.loads(line.removeprefix("data: "))


def test_sigterm_ends_it_at_once_and_well_with_a_client_on_the_stream(
    start: Callable[[], _Process], store: Store, make_state: Any, make_value: Any
) -> None:
    running = start()
    with httpx.Client(timeout=10) as web, web.stream("GET", f"{running.url}/v1/stream") as answer:
        snapshots = _snapshots(answer.iter_lines())
        next(snapshots)
        now_ms = time.time_ns() // 1_000_000
        _judge(store, make_state(make_value(measured_at_ms=now_ms), at_ms=now_ms))
        while next(snapshots)["state"] != "in_standard":
            pass
        began = time.monotonic()
        assert running.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < 6
        with pytest.raises(StopIteration):
            while True:
                next(snapshots)
    assert (running.folder / "ended-well").exists()
    assert store.counts().publications == 1


def test_whatever_a_client_saw_was_logged_and_is_stored_after_a_kill(
    start: Callable[[], _Process], store: Store, make_state: Any, make_value: Any
) -> None:
    running = start()
    seen: set[str] = set()
    with httpx.Client(timeout=10) as web, web.stream("GET", f"{running.url}/v1/stream") as answer:
        snapshots = _snapshots(answer.iter_lines())
        next(snapshots)
        for n in range(3):
            now_ms = time.time_ns() // 1_000_000
            _judge(store, make_state(make_value(0.5 + n / 10, measured_at_ms=now_ms), at_ms=now_ms))
            seen.add(next(snapshots)["hash"])
        running.end(signal.SIGKILL)
    assert len(seen) == 3
    with sqlite3.connect(running.folder / "public" / "publications.sqlite") as connection:
        logged = {row[0] for row in connection.execute("SELECT content_hash FROM publication")}
        # As if the kill had come before any of them was stored.
        connection.execute("UPDATE publication SET stored = 0")
        count = connection.execute("SELECT count(*) FROM publication").fetchone()[0]
    connection.close()
    assert seen <= logged
    again = start()
    assert httpx.get(f"{again.url}/v1/pools/p1").json()["hash"] in logged
    with sqlite3.connect(running.folder / "public" / "publications.sqlite") as connection:

        def nothing_waits() -> bool:
            waiting = connection.execute("SELECT count(*) FROM publication WHERE stored = 0").fetchone()
            return bool(waiting == (0,))

        _wait_for(nothing_waits, "the log is stored")
        assert again.end(signal.SIGTERM) == 0
        # Time alone may have changed what is shown since, and that is logged too.
        (stored,) = connection.execute("SELECT count(*) FROM publication WHERE stored = 1").fetchone()
    connection.close()
    assert store.counts().publications == stored >= count
