"""The main job as a person runs it: `poolwatch demo` with real processes, some of them killed with SIGKILL."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import pytest

from analytics.results import Verdict, VerdictState, decode_verdict
from analytics.service import AnalyticsService
from analytics.verdicts import without_identity
from ingest.store.opening import open_store
from poolwatch.folder import DataFolder
from poolwatch.ports import choose_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

_SERVICES = ("broker", "ingest", "analytics", "dashboards", "simulate")


class _Demo:
    """A running demo and what it said."""

    def __init__(self, folder: Path, *, duration_s: int, pools: int) -> None:
        self.folder = DataFolder(folder)
        self.port = choose_port(given=None, default=28080, option="--port")
        self.output = folder.with_suffix(".out")
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "poolwatch", "demo", "--data-dir", str(folder)),
                    *("--port", str(self.port), "--pools", str(pools), "--duration", str(duration_s)),
                    *("--broker-port", str(choose_port(given=None, default=21883, option="--broker-port"))),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            content: bytes = answer.read()
            return content

    def service(self, name: str) -> psutil.Process:
        for child in psutil.Process(self.process.pid).children():
            if name in child.cmdline()[:5]:
                return child
        raise AssertionError(f"{name} does not run:\n{self.said()}")


def _wait_for(condition: Callable[[], bool], *, within_s: float, what: str, demo: _Demo) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if demo.process.poll() is not None:
            pytest.fail(f"the demo ended before {what}:\n{demo.said()}")
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.1)
    pytest.fail(f"not within {within_s} s: {what}\n{demo.said()}")


@contextmanager
def _demo(folder: Path, *, duration_s: int, pools: int) -> Iterator[_Demo]:
    demo = _Demo(folder, duration_s=duration_s, pools=pools)
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            children = psutil.Process(demo.process.pid).children(recursive=True)
            demo.process.terminate()
            try:
                demo.process.wait(60)
            except subprocess.TimeoutExpired:
                demo.process.kill()
                for child in children:
                    child.kill()


def _current_verdicts(folder: DataFolder) -> list[Verdict]:
    store = open_store(folder.store_url(None))
    try:
        return [
            decode_verdict(row.body)
            for pool_id in folder.read_registry().pools
            for row in store.verdicts(pool_id)
            if row.state != VerdictState.WITHDRAWN
        ]
    finally:
        store.close()


def test_an_exceedance_and_a_lapse_open_and_close_and_the_account_is_whole(tmp_path: Path) -> None:
    with _demo(tmp_path / "demo", duration_s=130, pools=6) as demo:
        _wait_for(
            lambda: any(pool["measured_at"] for pool in json.loads(demo.get("/v1/pools"))["pools"]),
            within_s=20,
            what="the first value on the page",
            demo=demo,
        )
        assert demo.process.wait(200) == 0, demo.said()
        said = demo.said()
        assert "exceedance opens" in said
        assert "exceedance closes" in said
        assert "lapse opens" in said
        assert "lapse closes" in said
        assert not psutil.Process().children() or all(
            "poolwatch" not in " ".join(child.cmdline())
            for child in psutil.Process().children(recursive=True)
        )
        closed = [
            verdict for verdict in _current_verdicts(demo.folder) if verdict.state is VerdictState.CLOSED
        ]
        assert all(verdict.clause and verdict.standard and verdict.edition for verdict in closed)


def test_any_service_killed_and_nothing_lost_or_doubled(tmp_path: Path) -> None:
    with _demo(tmp_path / "demo", duration_s=75, pools=4) as demo:
        _wait_for(
            lambda: b"Open http" in demo.said().encode(), within_s=30, what="the demo is ready", demo=demo
        )
        for name in _SERVICES:
            victim = demo.service(name)
            victim.kill()
            _wait_for(
                lambda name=name: re.search(rf"{name} ended with code -9", demo.said()) is not None,  # type: ignore[misc]
                within_s=10,
                what=f"{name} is started again",
                demo=demo,
            )
            _wait_for(
                lambda: demo.get("/readyz") != b"",
                within_s=30,
                what=f"ready after {name} was killed",
                demo=demo,
            )
        assert demo.process.wait(160) == 0, demo.said()
        verify = subprocess.run(
            [sys.executable, "-m", "poolwatch", "journal", "verify", "--data-dir", str(demo.folder.root)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert verify.returncode == 0, verify.stderr
        _assert_verdicts_are_those_of_the_facts(demo.folder, tmp_path / "judged-anew.sqlite")


def _assert_verdicts_are_those_of_the_facts(folder: DataFolder, anew: Path) -> None:
    """What was judged piece by piece, through the kills, is what a judge finds who sees all facts at once."""
    registry = folder.read_registry()
    facts = open_store(folder.store_url(None))
    fresh = open_store(f"sqlite:{anew}")
    try:
        now_ms = max(row.at_ms for row in facts.pool_states().values()) + 1000
        found = []
        for results in (facts, fresh):
            service = AnalyticsService(facts=facts, results=results, registry=registry, clock=lambda: now_ms)
            for _ in range(20):  # arrivals come in portions
                service.step(now_ms)
            assert service.counters.failures == 0
            found.append(
                sorted(
                    msgspec.json.encode(without_identity(decode_verdict(row.body)))
                    for pool_id in registry.pools
                    for row in results.verdicts(pool_id)
                    if row.state != VerdictState.WITHDRAWN
                )
            )
        assert found[0]
        assert found[0] == found[1]
    finally:
        facts.close()
        fresh.close()
